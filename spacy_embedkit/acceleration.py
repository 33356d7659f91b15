"""Faster prediction for pipelines as they are: their weights, their configs."""

import re
from dataclasses import dataclass, field
from typing import Callable, Dict, List, NamedTuple, Set, Tuple

from spacy.language import Language
from spacy.ml.staticvectors import forward as stock_static_vectors
from thinc.api import Model, NumpyOps, Ops
from thinc.layers.chain import forward as stock_chain
from thinc.layers.with_array import forward as stock_with_array

from .backend import EmbedkitOps, limit_forked_processes
from .checks import check_not_negative
from .layers import multi_hash, static_vectors, window_encoder
from .layers.types import CACHE_ROWS, MEMORY
from .row_cache import CachedValue, RowCache

# Outlines of the trees that spaCy builds, see _outline.
_MIX = r"chain\(chain\(maxout,layernorm\),dropout\)"
_TABLE = r"chain\(array_getitem,hashembed\)"
_LOOKUP = rf"with_array\((?:{_TABLE}|concatenate\({_TABLE}(?:,{_TABLE})+\))\)"
_FEATURES = rf"featureextractor,list2ragged,{_LOOKUP}"
_RESIDUAL = rf"residual\(chain\(expand_window,{_MIX}\)\)"


class Kind(NamedTuple):
    """A layer that accelerate knows.

    outline: A pattern of its nodes. stock, fast: Its forward, and the one in its
    place. attr: Attribute that holds what the fast one remembers.
    """

    name: str
    outline: str
    stock: Callable
    fast: Callable
    attr: str


KINDS = [
    Kind(
        "MultiHashEmbed",
        rf"chain\((?:{_FEATURES}|concatenate\(chain\({_FEATURES}\),staticvectors\)),"
        rf"with_array\({_MIX}\),ragged2list\)",
        stock_chain,
        multi_hash.predict_forward,
        MEMORY,
    ),
    Kind(
        "MaxoutWindowEncoder",
        rf"with_array\((?:{_RESIDUAL}|chain\({_RESIDUAL}(?:,{_RESIDUAL})+\))\)",
        stock_with_array,
        window_encoder.predict_forward,
        window_encoder.WEIGHTS,
    ),
    # By itself, in an embedding layer that is not known.
    Kind(
        "StaticVectors",
        "staticvectors",
        stock_static_vectors,
        static_vectors.predict_forward,
        MEMORY,
    ),
]


@dataclass
class Acceleration:
    """What accelerate did to a pipeline.

    changed: For each component, what of it predicts faster now.
    left_alone: Why a component, or its embedding or encoding layer, stayed as it was.
    """

    _nlp: Language = field(repr=False)
    changed: Dict[str, List[str]] = field(default_factory=dict)
    left_alone: Dict[str, str] = field(default_factory=dict)
    _ops: List[Tuple[Model, Ops]] = field(default_factory=list, repr=False)

    def undo(self) -> None:
        """Give the layers of the pipeline their own prediction back."""
        for model in _models(self._nlp).values():
            _undo(model)
        for node, ops in self._ops:
            node.ops = ops

    def __str__(self) -> str:
        lines = [f"{name}: {', '.join(what)}" for name, what in self.changed.items()]
        lines += [f"{name}: left alone, {why}" for name, why in self.left_alone.items()]
        return "\n".join(lines)


def accelerate(
    nlp: Language, *, cache_rows: int = CACHE_ROWS, fast_ops: bool = True
) -> Acceleration:
    """Let the layers of a pipeline predict faster, with the same weights.

    It looks for the layers of spacy.HashEmbedCNN, MultiHashEmbed, MaxoutWindowEncoder
    (every version) and for static vectors, in every component, shared or its own. They
    compute once a word type what depends on no more than the word, remember it from
    batch to batch for as long as the weights stay the same, and encode without waste
    (see layers/window_encoder.py). Predictions are those of before within rounding: a
    tensor of values around 1 differs by 1e-6 or so.

    Nothing else changes: layers train by their own code, and what is saved, by
    to_disk or to_bytes, is what would have been saved before, so it loads where this
    package is not installed.

    cache_rows (int): Types that each embedding layer remembers, 0 or more.
    fast_ops (bool): Let all components, the parser and the entity recognizer too,
        multiply by backend.EmbedkitOps, if they use thinc's backend for the CPU.
    Returns what was changed and what was left alone; its undo() takes it all back.
    Raises: TypeError if nlp is not a spaCy pipeline, ValueError on cache_rows.
    """
    if not isinstance(nlp, Language):
        raise TypeError(
            f"accelerate: got {nlp!r:.80}, of type {type(nlp).__name__}; give it a "
            "pipeline, such as spacy.load returns"
        )
    check_not_negative("accelerate", cache_rows=cache_rows)
    result, ops = Acceleration(nlp), EmbedkitOps()
    models = _models(nlp)
    for name, _ in nlp.components:
        if name not in models:
            result.left_alone[name] = "it has no model"
            continue
        model = models[name]
        if not isinstance(model.ops, NumpyOps):
            result.left_alone[name] = (
                f"it runs on {type(model.ops).__name__}, and only layers on a CPU are "
                "made faster"
            )
            continue
        _undo(model)
        changed = _accelerate_layers(model, cache_rows)
        reason = _find_unknown(model)
        if fast_ops:
            switched = [node for node in model.walk() if type(node.ops) is NumpyOps]
            result._ops += [(node, node.ops) for node in switched]
            changed += ["fast ops"] if switched else []
            for node in switched:
                node.ops = ops
        if changed:
            result.changed[name] = changed
        if reason or not changed:
            result.left_alone[name] = reason or "none of its layers is a known one"
    if result._ops:
        limit_forked_processes()
    return result


def _models(nlp: Language) -> Dict[str, Model]:
    pairs = ((name, getattr(pipe, "model", None)) for name, pipe in nlp.components)
    return {name: model for name, model in pairs if isinstance(model, Model)}


def _accelerate_layers(model: Model, cache_rows: int) -> List[str]:
    changed = []
    done: Set[int] = set()
    for node in model.walk():
        if node.id in done:
            continue
        for kind in KINDS:
            if node._func is kind.stock and re.fullmatch(kind.outline, _outline(node)):
                if kind.attr == MEMORY:
                    node.attrs[MEMORY] = RowCache(cache_rows)
                else:
                    node.attrs[kind.attr] = CachedValue()
                node.replace_callbacks(kind.fast, init=node.init)
                done.update(inner.id for inner in node.walk())
                changed.append(kind.name)
                break
    return changed


def _undo(model: Model) -> None:
    for node in model.walk():
        for kind in KINDS:
            if node._func is kind.fast:
                node.replace_callbacks(kind.stock, init=node.init)
                del node.attrs[kind.attr]


def _find_unknown(model: Model) -> str:
    """Name the embedding and encoding layers of Tok2Vec that run as before."""
    unknown = []
    for node in model.walk():
        for ref in ("embed", "encode"):
            layer = node.maybe_get_ref(ref)
            # Ours by its forward, or by that of what Tok2Vec.v1 puts it into.
            if layer is not None and not any(
                _origin(outer).startswith("spacy_embedkit.")
                for outer in (layer, *node.layers)
                if layer in outer.walk()
            ):
                unknown.append(f"its {ref} layer {layer.name:.60} is not a known one")
    return "; ".join(unknown)


def _outline(node: Model) -> str:
    """Write a layer as its kind and those of the layers in it: "chain(maxout,mish)"."""
    name = _origin(node)
    for package in ("thinc.layers.", "spacy.ml."):
        name = name.removeprefix(package)
    inner = ",".join(map(_outline, node.layers))
    return f"{name}({inner})" if inner else name


def _origin(node: Model) -> str:
    """Return the module that the forward of a layer comes from."""
    return getattr(node._func, "__module__", None) or ""
