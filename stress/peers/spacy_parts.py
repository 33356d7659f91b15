"""Our backend, layers and acceleration in spaCy."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from spacy.language import Language
from spacy.ml import staticvectors
from spacy.ml.models import tok2vec
from spacy.registrations import populate_registry
from spacy_legacy.architectures.tok2vec import MultiHashEmbed_v1
from thinc.api import Model

from spacy_embedkit import acceleration, architectures
from spacy_embedkit.layers import multi_hash, static_vectors, window_encoder
from spacy_embedkit.layers.per_type import CACHE_ROWS
from spacy_embedkit.row_cache import CACHE, RowCache

from . import thinc_parts
from .notes import in_first_half, note, note_calls, noting, replace_everywhere

# The builders of stock.
STOCK: dict[str, list[Callable]] = {
    "MultiHashEmbed": [tok2vec.MultiHashEmbed, MultiHashEmbed_v1],
    "MaxoutWindowEncoder": [tok2vec.MaxoutWindowEncoder],
    "StaticVectors": [staticvectors.StaticVectors],
}
# Functions of ours that do the work, past every reason to call the stock layer.
WORK = [
    (multi_hash, "run_per_type", "MultiHashEmbed ran"),
    (static_vectors, "run_per_type", "StaticVectors ran"),
    (window_encoder, "_predict", "MaxoutWindowEncoder ran"),
    (window_encoder, "_train", "MaxoutWindowEncoder trained"),
]
# Methods of Language after which a pipeline has other models, or others in them.
MAKERS = ("add_pipe", "initialize", "from_bytes", "from_disk", "replace_listeners")


def put_in_place(variant: str) -> Callable[[], Any]:
    """Put the parts of a variant in place; return what to call before each test."""
    # Loads every module that names a layer.
    populate_registry()
    before_each = thinc_parts.put_in_place(variant)
    for module, function, what in WORK:
        note_calls(module, function, what)
    if variant in ("layers", "all"):
        replace_layers(always=variant == "layers")
    else:
        for layer, builders in STOCK.items():
            for builder in builders:
                replace_everywhere(builder, noting(layer, builder))
    if variant in ("accelerate", "all"):
        for method in MAKERS:
            accelerate_after(method)
    return before_each


def replace_layers(*, always: bool) -> None:
    """Put ours under the names of spaCy's layers.

    always: Whether in all tests; in one half of them otherwise, so that in the other
        one acceleration finds layers of stock.
    """
    build_stock_static = staticvectors.StaticVectors

    def build_static_vectors(*args: Any, **settings: Any) -> Model:
        model = build_stock_static(*args, **settings)
        model.attrs[CACHE] = RowCache(CACHE_ROWS)
        model.replace_callbacks(static_vectors.predict_forward, init=model.init)
        return model

    ours: dict[str, Callable] = {
        "MultiHashEmbed": architectures.build_multi_hash_embed_v1,
        "MaxoutWindowEncoder": architectures.build_maxout_window_encoder_v1,
        "StaticVectors": build_static_vectors,
    }
    # Our MultiHashEmbed is built on the static vectors of stock.
    keep = {"StaticVectors": (tok2vec.__name__,)}
    for layer, builders in STOCK.items():
        for builder in builders:
            build = noting(f"our {layer}", ours[layer], builder)
            if not always:
                build = in_one_half(build, noting(layer, builder))
            replace_everywhere(builder, build, keep.get(layer, ()))


def in_one_half(first: Callable, second: Callable) -> Callable:
    """Call one function in one half of the tests, the other in the other."""

    @wraps(second)
    def call(*args: Any, **settings: Any) -> Any:
        return (first if in_first_half() else second)(*args, **settings)

    return call


def accelerate_after(method: str) -> None:
    """Accelerate each pipeline that a method of Language has made or changed."""
    function = getattr(Language, method)

    @wraps(function)
    def run_and_accelerate(self: Language, *args: Any, **settings: Any) -> Any:
        result = function(self, *args, **settings)
        for parts in acceleration.accelerate(self).changed.values():
            for part in parts:
                note(f"accelerated {part}")
        return result

    setattr(Language, method, run_and_accelerate)
