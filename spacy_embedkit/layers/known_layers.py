"""The layers of stock that predict faster by forwards of ours, and finding them."""

from typing import Any, Callable, List, NamedTuple, Set

from thinc.api import Model

from ..row_cache import CACHE, CachedValue, RowCache
from . import extract_spans, multi_hash, static_vectors, window_encoder, window_nodes
from .stock_nodes import stock


class KnownLayer(NamedTuple):
    """A layer that accelerate knows.

    stock, fast: Its forward, and the one that replaces it. match: Returns the nodes of
    its tree, or None. make_cache: Makes the fast one's cache of that many rows; None
    if it has none.
    """

    stock: Callable
    fast: Callable
    match: Callable[[Model], Any]
    make_cache: Callable[[int], Any]


LAYERS = {
    "MultiHashEmbed": KnownLayer(
        stock.chain, multi_hash.predict_forward, multi_hash.match_nodes, RowCache
    ),
    "MaxoutWindowEncoder": KnownLayer(
        stock.with_array,
        window_encoder.predict_forward,
        window_nodes.match_nodes,
        lambda n_rows: CachedValue(),
    ),
    # By itself, in an embedding layer that is not known.
    "StaticVectors": KnownLayer(
        stock.staticvectors, static_vectors.predict_forward, lambda node: node, RowCache
    ),
    "extract_spans": KnownLayer(
        stock.extract_spans,
        extract_spans.predict_forward,
        lambda node: node,
        lambda n_rows: None,
    ),
}


def accelerate_layers(model: Model, cache_rows: int) -> List[str]:
    """Let the known layers of a model predict faster; return their names.

    cache_rows: Types whose rows each embedding layer caches.
    """
    changed = []
    done: Set[int] = set()
    for node in model.walk():
        if node.id in done:
            continue
        if _is_ours(node):
            # It matches the nodes inside itself, so they have to stay stock ones.
            done.update(inner.id for inner in node.walk())
        for name, layer in LAYERS.items():
            if node._func is layer.stock and layer.match(node) is not None:
                if (cache := layer.make_cache(cache_rows)) is not None:
                    node.attrs[CACHE] = cache
                node.replace_callbacks(layer.fast, init=node.init)
                done.update(inner.id for inner in node.walk())
                changed.append(name)
    return changed


def restore_layers(model: Model) -> None:
    """Undo accelerate_layers."""
    for node in model.walk():
        for layer in LAYERS.values():
            if node._func is layer.fast:
                node.replace_callbacks(layer.stock, init=node.init)
                node.attrs.pop(CACHE, None)


def find_unknown(model: Model) -> str:
    """Name the embedding and encoding layers of Tok2Vec that run as before."""
    unknown = []
    for node in model.walk():
        for ref in ("embed", "encode"):
            layer = node.maybe_get_ref(ref)
            # Ours by its forward, or by that of what Tok2Vec.v1 puts it into.
            if layer is not None and not any(
                _is_ours(outer)
                for outer in (layer, *node.layers)
                if layer in outer.walk()
            ):
                unknown.append(f"its {ref} layer {layer.name:.60} is not a known one")
    return "; ".join(unknown)


def _is_ours(node: Model) -> bool:
    return (getattr(node._func, "__module__", "") or "").startswith("spacy_embedkit.")
