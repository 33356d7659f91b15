"""The embedding layers that several tests build."""

import spacy

from spacy_embedkit.architectures import (
    build_multi_hash_embed_v1,
    build_static_hash_embed_v1,
    build_static_vectors_v1,
    build_subword_hash_embed_v1,
)

ATTRS = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
ROWS = [40, 20, 30, 10]

BUILDERS = {
    "multi_hash": lambda: build_multi_hash_embed_v1(8, ATTRS, ROWS, False),
    "multi_hash_one": lambda: build_multi_hash_embed_v1(8, ["ORTH"], [20], False),
    "multi_hash_static": lambda: build_multi_hash_embed_v1(8, ATTRS, ROWS, True),
    "subword": lambda: build_subword_hash_embed_v1(8, 50),
    "subword_alone": lambda: build_subword_hash_embed_v1(8, 50, attrs=[], attr_rows=[]),
    "subword_static": lambda: build_subword_hash_embed_v1(
        8, 50, min_n=1, max_n=2, n_hashes=1, include_static_vectors=True
    ),
    "static_unseen": lambda: build_static_vectors_v1(8, learn_unseen=True),
    "static_hash": lambda: build_static_hash_embed_v1(8, 20),
    "static_words": lambda: build_static_hash_embed_v1(
        8, 5, key2row={"the": 1, "cat": 2, "": 3}, unseen_row=4
    ),
}


def build_tok2vec():
    """Build the tok2vec layer that the objectives are put on."""
    nlp = spacy.blank("en")
    config = {"model": {"@architectures": "spacy.HashEmbedCNN.v2"}}
    config["model"].update(
        {"width": 16, "depth": 2, "embed_size": 100, "window_size": 1}
    )
    config["model"].update(
        {"maxout_pieces": 2, "subword_features": True, "pretrained_vectors": None}
    )
    return nlp.add_pipe("tok2vec", config=config).model


def gradients_of(model):
    return {
        (i, name): node.get_grad(name)
        for i, node in enumerate(model.walk())
        for name in node.grad_names
    }
