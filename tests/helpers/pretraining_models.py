"""A small stock encoder for the objectives."""

import spacy


def build_tok2vec():
    nlp = spacy.blank("en")
    config = {"model": {"@architectures": "spacy.HashEmbedCNN.v2"}}
    config["model"].update(
        {"width": 16, "depth": 2, "embed_size": 100, "window_size": 1}
    )
    config["model"].update(
        {"maxout_pieces": 2, "subword_features": True, "pretrained_vectors": None}
    )
    return nlp.add_pipe("tok2vec", config=config).model
