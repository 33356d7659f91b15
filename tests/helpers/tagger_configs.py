"""Config text of a tagger on a tok2vec with one of our embedding layers."""

HEAD = """
[nlp]
lang = "en"
pipeline = ["tok2vec", "tagger"]

[components]

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 16

[components.tok2vec]
factory = "tok2vec"

[components.tok2vec.model]
@architectures = "spacy.Tok2Vec.v2"

[components.tok2vec.model.encode]
@architectures = "spacy.MaxoutWindowEncoder.v2"
width = 16
depth = 2
window_size = 1
maxout_pieces = 2

[components.tok2vec.model.embed]
"""

EMBEDS = {
    "multi_hash": """
@architectures = "spacy-embedkit.MultiHashEmbed.v1"
width = 16
attrs = ["NORM", "SUFFIX", "SHAPE"]
rows = [100, 50, 50]
include_static_vectors = false
""",
    "subword": """
@architectures = "spacy-embedkit.SubwordHashEmbed.v1"
width = 16
rows = 500
""",
    "static_hash": """
@architectures = "spacy-embedkit.StaticHashEmbed.v1"
output_width = 16
embed_rows = 20
key2row = {"the": 1, "cat": 2, "2024": 3}
""",
}
