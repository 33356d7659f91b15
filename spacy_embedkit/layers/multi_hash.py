"""The nodes of spaCy's MultiHashEmbed, run once per word type.

The stock layer maps docs to ids (extract), ids to table rows (lookup), concatenates
static vectors, and mixes (maxout, layer norm, dropout). Its tree of nodes stays as it
is, so that weights go both ways; only the forward and init of the root are ours.
"""

from typing import Any, Callable, List, NamedTuple, Optional, Tuple

from spacy.attrs import intify_attr
from spacy.tokens import Doc
from spacy.vectors import Vectors
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d

from ..row_cache import CACHE
from .per_type import run_per_type
from .static_vectors import check_vectors, embed_stock
from .stock_nodes import match_mix, stock
from .types import Types, vectors_attr


class MultiHashNodes(NamedTuple):
    """The nodes of a stock tree that compute something."""

    extract: Model
    lookup: Model
    static: Optional[Model]
    mix: Model
    dropout: Model


def match_nodes(model: Model) -> Optional[MultiHashNodes]:
    """Pick the nodes out of a tree of spacy.MultiHashEmbed, or return None."""
    nodes: List[Any] = model.layers
    static: Optional[Any] = None
    match nodes:
        case [
            Model(
                _func=stock.concatenate,
                layers=[
                    Model(_func=stock.chain, layers=features),
                    Model(_func=stock.staticvectors) as static,
                ],
            ),
            *rest,
        ]:
            nodes = [*features, *rest]
    match nodes:
        case [
            Model(_func=stock.featureextractor) as extract,
            Model(_func=stock.list2ragged),
            Model(_func=stock.with_array, layers=[lookup]),
            Model(_func=stock.with_array, layers=[mixer]),
            Model(_func=stock.ragged2list),
        ]:
            mix = match_mix(mixer)
            if mix is not None and _is_lookup(lookup):
                return MultiHashNodes(extract, lookup, static, mix.root, mix.dropout)
    return None


def _is_lookup(node: Model) -> bool:
    """Whether a node looks each column of its input up in a table of its own."""
    tables = node.layers if node._func is stock.concatenate else [node]
    inner = [part._func for table in tables for part in table.layers]
    return inner == [stock.array_getitem, stock.hashembed] * len(tables) and all(
        table._func is stock.chain for table in tables
    )


def forward(
    model: Model[List[Doc], List[Floats2d]], docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable]:
    """Run the nodes once per type; the stock layer, if somebody changed the tree."""
    cache = model.attrs.get(CACHE)
    nodes = (
        cache.tree(model).match(match_nodes)
        if cache is not None
        else match_nodes(model)
    )
    if nodes is None:
        return stock.chain(model, docs, is_train)
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
        # The root lacks it until the layer has seen a sample of docs.
        nO=nodes.mix.layers[0].get_dim("nO"),
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
        model.attrs[CACHE].invalidate()
        return stock.chain(model, docs, is_train)
    return forward(model, docs, is_train)


def init(
    stock_init: Callable,
    model: Model[List[Doc], List[Floats2d]],
    X: Optional[List[Doc]] = None,
    Y: Optional[List[Floats2d]] = None,
) -> None:
    """Initialize as the stock layer does, on a vectors table of any dtype."""
    nodes = match_nodes(model)
    if X and nodes is not None and nodes.static is not None:
        # The stock layer runs on the sample, to infer widths. It takes float32 tables
        # only, so it gets a sample with such a table, of the same width.
        vocab = Vocab()
        width = check_vectors(X[0].vocab)
        vocab.vectors = Vectors(strings=vocab.strings, shape=(1, width))
        X = [Doc(vocab, words=["sample"])]
    stock_init(model, X=X, Y=Y)
