"""Blocks of configs for the page on embeddings, and pipelines made of them."""

import contextlib

import spacy
from spacy.cli import app
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.util import Config, load_model_from_config, registry
from thinc.api import fix_random_seed
from typer.testing import CliRunner

WIDTH = 12
TEXTS = ["The cat sat on the mat. A dog ran.", "the  cat", "", "dog", "A mat sat."]
ANIMALS = {"cat", "dog"}

EMBED = """
[{at}.embed]
@architectures = "spacy-embedkit.MultiHashEmbed.v1"
width = 12
attrs = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
rows = [50, 25, 25, 25]
include_static_vectors = false
"""
ENCODE = """
[{at}]
@architectures = "spacy.Tok2Vec.v2"

[{at}.encode]
@architectures = "spacy-embedkit.MaxoutWindowEncoder.v1"
width = 12
depth = 2
window_size = 1
maxout_pieces = 2
"""
TOK2VEC = """
[components.tok2vec]
factory = "tok2vec"
"""
TAGGER = """
[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"
"""
NER = """
[components.ner]
factory = "ner"

[components.ner.model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "ner"
extra_state_tokens = false
hidden_width = 16
maxout_pieces = 2
use_upper = false
"""
LISTENER = """
[components.{name}.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 12
"""


def head(*pipeline):
    """Begin a config."""
    names = ", ".join(f'"{name}"' for name in pipeline)
    return f'[nlp]\nlang = "en"\npipeline = [{names}]\n\n[components]\n'


def own_tok2vec(at, embed=EMBED):
    """Blocks of an embedding layer and an encoder."""
    return (ENCODE + embed).format(at=at)


def make(text):
    """Make the pipeline, ready to be trained on its examples."""
    fix_random_seed(0)
    nlp = load_model_from_config(Config().from_str(text), auto_fill=True)
    examples = examples_of(nlp)
    nlp.initialize(lambda: examples)
    return nlp, examples


def examples_of(nlp, layers=("tags", "entities")):
    """Tag tokens by their length, and call some of them animals."""
    found = []
    for doc in map(nlp.make_doc, TEXTS):
        gold = {
            "tags": [str(min(len(token), 3)) for token in doc],
            "entities": ["U-ANIMAL" if t.text in ANIMALS else "O" for t in doc],
        }
        known = {layer: gold[layer] for layer in layers}
        found.append(Example.from_dict(doc, known))
    return found


def write_examples(path):
    """Write the examples as `spacy train` reads them."""
    docs = [example.reference for example in examples_of(spacy.blank("en"))]
    DocBin(docs=[doc for doc in docs if len(doc)]).to_disk(path)


def predictions(nlp):
    """Return the tags and entities of the texts."""
    return [
        ([token.tag_ for token in doc], [(ent.text, ent.label_) for ent in doc.ents])
        for doc in nlp.pipe(TEXTS)
    ]


def assert_saved(nlp, folder):
    """Assert that the saved pipeline predicts the same; return it."""
    nlp.to_disk(folder)
    loaded = spacy.load(folder)
    assert predictions(loaded) == predictions(nlp)
    return loaded


def weights(nlp, name):
    """Copy the weights of a component."""
    return nlp.get_pipe(name).model.to_bytes()


def nodes(nlp, name, kind):
    """Nodes of the model of a component that have the name `kind`."""
    return [node for node in nlp.get_pipe(name).model.walk() if node.name == kind]


def spacy_command(folder, *args):
    """Run a spaCy command in a folder, in this process."""
    registry.cli.get_all()  # Adds the commands of plugins.
    with contextlib.chdir(folder):
        result = CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
