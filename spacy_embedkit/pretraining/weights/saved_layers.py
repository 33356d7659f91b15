"""The layers of a model, and those of a file of weights, read without trusting it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy
from spacy.attrs import NAMES, intify_attr
from thinc.api import Model

from ...checks import InputError, one_line
from ...io import describe_os_error, load_msgpack

Shape = Tuple[int, ...]
# Attributes that may differ: weights fit all the same.
FREE_ATTRS = ("dropout_rate", "is_enabled", "pad", "column")


@dataclass(frozen=True)
class LayerInfo:
    """One node of a model: what has to be the same for weights to fit.

    name: Of the node, such as hashembed; a combinator's is made of those of its layers.
    path: Where it is in the model, such as "embed > hashembed PREFIX"; "" in a file.
    dims: The dimensions that are known.
    shapes: Of the parameters by name; None for those that are not allocated.
    attrs: The attributes that are plain values and have to be the same.
    n_shims: Number of wrapped models of other libraries.
    """

    name: str
    path: str
    dims: Mapping[str, int]
    shapes: Mapping[str, Optional[Shape]]
    attrs: Mapping[str, Any]
    n_shims: int = 0

    @property
    def is_leaf(self) -> bool:
        """Whether it has weights of its own."""
        return bool(self.shapes) or self.n_shims > 0


def read_layers(path: Path) -> List[LayerInfo]:
    """Return the layers of a file of weights, in the order of Model.walk.

    No code of the file is run.
    Raises: InputError if the file is missing, cut short or of another kind, or if a
        weight is not finite.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err
    try:
        message = load_msgpack(data)
        columns = (message[key] for key in ("nodes", "attrs", "params", "shims"))
        return [
            _unpack_layer(node, attrs, params, shims)
            for node, attrs, params, shims in zip(*columns, strict=True)
        ]
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as err:
        raise InputError(
            f"{path}: is not a file of weights, or was cut short "
            f"({one_line(err)[:80]}); name a model*.bin that pretraining wrote"
        ) from err


def _unpack_layer(
    node: Dict[str, Any],
    attrs: Dict[str, bytes],
    params: Dict[str, Any],
    shims: List[Any],
) -> LayerInfo:
    shapes: Dict[str, Optional[Shape]] = {}
    for name, value in params.items():
        if value is None:
            shapes[name] = None
            continue
        if not isinstance(value, numpy.ndarray) or value.dtype.kind != "f":
            raise ValueError(f"{node['name']}: {name} is not an array of floats")
        if not numpy.isfinite(value).all():
            raise ValueError(f"{node['name']}: {name} has values that are not finite")
        shapes[name] = value.shape
    dims = {name: int(n) for name, n in node["dims"].items() if n is not None}
    plain = {name: load_msgpack(value) for name, value in attrs.items()}
    return LayerInfo(str(node["name"]), "", dims, shapes, _fixed(plain), len(shims))


def model_layers(model: Model) -> List[LayerInfo]:
    """Return the layers of a model, initialized or not, in the order of Model.walk."""
    paths = _paths(model)
    layers = []
    for node in model.walk():
        known = {name: node.maybe_get_dim(name) for name in node.dim_names}
        dims = {name: n for name, n in known.items() if n is not None}
        params = {name: node.maybe_get_param(name) for name in node.param_names}
        shapes = {k: None if p is None else tuple(p.shape) for k, p in params.items()}
        path, attrs = paths[id(node)], _fixed(node.attrs)
        layers.append(LayerInfo(node.name, path, dims, shapes, attrs, len(node.shims)))
    return layers


def _fixed(attrs: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the attributes that are plain values and have to be the same."""
    found: Dict[str, Any] = {}
    for name, value in attrs.items():
        if name in FREE_ATTRS:
            continue
        if name == "columns" and isinstance(value, (list, tuple)):
            found[name] = [intify_attr(attr) for attr in value]
        elif isinstance(value, (bool, int, str)):
            found[name] = value
    return found


def _paths(model: Model) -> Dict[int, str]:
    """Return the path of each node: roles, numbered layers, and its own name."""
    columns: Sequence[Any] = next(
        (n.attrs["columns"] for n in model.walk() if "columns" in n.attrs), []
    )
    tables = [node for node in model.walk() if node.name == "hashembed"]
    labels: Dict[int, str] = {}
    if len(tables) == len(columns):
        for node, attr in zip(tables, columns, strict=True):
            labels[id(node)] = f"hashembed {attr_name(attr)}"
    return {id(node): " > ".join(path) for node, path in _walk(model, (), labels)}


def _walk(
    node: Model, above: Tuple[str, ...], labels: Dict[int, str]
) -> Iterator[Tuple[Model, Tuple[str, ...]]]:
    yield node, (*above, labels.get(id(node), node.name.split("(")[0].split(">>")[0]))
    refs = {id(node.maybe_get_ref(name)): name for name in node.ref_names}
    n_residual = 0
    for child in node.layers:
        step: Tuple[str, ...] = ()
        if id(child) in refs:
            step = (refs[id(child)],)
        elif child.name.startswith("residual(") and len(node.layers) > 1:
            n_residual += 1
            step = (f"layer {n_residual}",)
        yield from _walk(child, (*above, *step), labels)


def attr_name(attr: Any) -> str:
    """Return the name of a token attribute that is given by name or number."""
    value = intify_attr(attr)
    return str(attr) if value is None else str(NAMES[value])
