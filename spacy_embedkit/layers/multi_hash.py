"""The nodes of spaCy's MultiHashEmbed, run once a type.

The stock layer maps docs to ids (extract), ids to table rows (lookup), concatenates
static vectors, and mixes (maxout, layer norm, dropout). Its tree of nodes stays as it
is, so that weights go both ways; only the forward and init of the root are ours.
"""

from typing import Callable, List, NamedTuple, Optional, Tuple

from spacy.attrs import intify_attr
from spacy.tokens import Doc
from spacy.vectors import Vectors
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.layers.chain import forward as stock_forward
from thinc.types import Floats2d

from .static_vectors import check_vectors, embed_stock
from .types import MEMORY, Types, run_per_type, vectors_attr


class Nodes(NamedTuple):
    """The nodes of a stock tree that compute something."""

    extract: Model
    lookup: Model
    static: Optional[Model]
    mix: Model
    dropout: Model


def find_nodes(model: Model) -> Nodes:
    """Pick the nodes out of the tree that spacy.MultiHashEmbed.v2 builds."""
    static = None
    if len(model.layers) == 3:
        features, mixer, _ = model.layers
        (extract, _, lookup), static = features.layers[0].layers, features.layers[1]
    else:
        extract, _, lookup, mixer, _ = model.layers
    mix, dropout = mixer.layers[0].layers
    return Nodes(extract, lookup.layers[0], static, mix, dropout)


def forward(
    model: Model[List[Doc], List[Floats2d]], docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Run the nodes once a type."""
    nodes = find_nodes(model)
    columns = [intify_attr(attr) for attr in nodes.extract.attrs["columns"]]
    n_attrs = len(columns)
    if docs and nodes.static is not None:
        columns.append(vectors_attr(docs[0].vocab))

    def embed(types: Types) -> Tuple[Floats2d, Callable]:
        keys = model.ops.asarray(types.keys[:, :n_attrs], dtype="uint64")
        H, backprop_lookup = nodes.lookup(keys, is_train)
        width = H.shape[1]
        backprop_static: Optional[Callable] = None
        if nodes.static is not None:
            S, backprop_static = embed_stock(nodes.static, types, is_train)
            H = model.ops.xp.hstack([H, S])
        Y, backprop_mix = nodes.mix(H, is_train)

        def backprop(dY: Floats2d) -> None:
            dH = backprop_mix(dY)
            backprop_lookup(dH[:, :width])
            if backprop_static is not None:
                backprop_static(model.ops.as_contig(dH[:, width:]))

        return Y, backprop

    return run_per_type(
        model,
        docs,
        is_train,
        columns=columns,
        embed=embed,
        reads_vectors=nodes.static is not None,
        dropout=nodes.dropout,
    )


def predict_forward(
    model: Model[List[Doc], List[Floats2d]], docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Predict as forward does, train as the stock layer does."""
    if is_train:
        model.attrs[MEMORY].forget()
        return stock_forward(model, docs, is_train)
    return forward(model, docs, is_train)


def init(
    stock_init: Callable,
    model: Model[List[Doc], List[Floats2d]],
    X: Optional[List[Doc]] = None,
    Y: Optional[List[Floats2d]] = None,
) -> None:
    """Initialize as the stock layer does, on a vectors table of any dtype."""
    if X and find_nodes(model).static is not None:
        # Stock runs the layer on the sample, for its widths. It takes float32 tables
        # alone, so it gets a sample with such a table, of the same width.
        vocab = Vocab()
        width = check_vectors(X[0].vocab)
        vocab.vectors = Vectors(strings=vocab.strings, shape=(1, width))
        X = [Doc(vocab, words=["sample"])]
    stock_init(model, X=X, Y=Y)
