"""Files of pretrained weights: what layers they hold, read without trust."""

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy
import srsly
from spacy.attrs import intify_attr
from thinc.api import Model

from ...checks import InputError, one_line
from ...io import describe_os_error

Shape = Tuple[int, ...]
# What a layer may be set to without being another layer.
FREE_ATTRS = ("dropout_rate", "is_enabled", "pad", "column")


@dataclass(frozen=True)
class Layer:
    """One node of a model: what has to be the same for weights to fit.

    name: Kind of the node, such as hashembed; made of those within for a combinator.
    where: Path in the model, such as "embed > hashembed PREFIX"; "" if not known.
    dims: Those that are known. shapes: Of the parameters, None if not allocated.
    attrs: Those that are plain values and make a difference.
    n_shims: Wrapped models of another library.
    """

    name: str
    where: str
    dims: Mapping[str, int]
    shapes: Mapping[str, Optional[Shape]]
    attrs: Mapping[str, Any]
    n_shims: int = 0

    @property
    def is_leaf(self) -> bool:
        """Whether it has weights of its own."""
        return bool(self.shapes) or self.n_shims > 0


def read_layers(path: Path) -> List[Layer]:
    """Return the layers of a file of weights, in the order of Model.walk.

    Nothing of the file is run or unpickled.
    Raises InputError if there is no file, if it is cut short or is something else, or
    if a weight is no finite number.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err
    try:
        message = _unpack(data)
        columns = (message[key] for key in ("nodes", "attrs", "params", "shims"))
        return [
            _layer_of(node, attrs, params, shims)
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
            f"{path}: is no file of weights, or was cut short ({one_line(err)[:80]}); "
            "name a model*.bin that pretraining wrote"
        ) from err


def _unpack(data: bytes) -> Any:
    # srsly leaves the collector off where it stumbles.
    was_on = gc.isenabled()
    try:
        return srsly.msgpack_loads(data)
    finally:
        if was_on:
            gc.enable()


def _layer_of(
    node: Dict[str, Any],
    attrs: Dict[str, bytes],
    params: Dict[str, Any],
    shims: List[Any],
) -> Layer:
    shapes: Dict[str, Optional[Shape]] = {}
    for name, value in params.items():
        if value is None:
            shapes[name] = None
            continue
        if not isinstance(value, numpy.ndarray) or value.dtype.kind != "f":
            raise ValueError(f"{node['name']}: {name} is no array of floats")
        if not numpy.isfinite(value).all():
            raise ValueError(f"{node['name']}: {name} has numbers that are not finite")
        shapes[name] = value.shape
    dims = {name: int(n) for name, n in node["dims"].items() if n is not None}
    plain = {name: _unpack(value) for name, value in attrs.items()}
    return Layer(str(node["name"]), "", dims, shapes, _fixed(plain), len(shims))


def layers_of(model: Model) -> List[Layer]:
    """Return the layers of a model, initialized or not, in the order of Model.walk."""
    places = _places(model)
    layers = []
    for node in model.walk():
        known = {name: node.maybe_get_dim(name) for name in node.dim_names}
        dims = {name: n for name, n in known.items() if n is not None}
        params = {name: node.maybe_get_param(name) for name in node.param_names}
        shapes = {k: None if p is None else tuple(p.shape) for k, p in params.items()}
        where = places[id(node)]
        attrs = _fixed(node.attrs)
        layers.append(Layer(node.name, where, dims, shapes, attrs, len(node.shims)))
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


def _places(model: Model) -> Dict[int, str]:
    """Map each node to its path: roles, numbered layers, and its own name."""
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
    from spacy.attrs import NAMES

    value = intify_attr(attr)
    return str(attr) if value is None else str(NAMES[value])
