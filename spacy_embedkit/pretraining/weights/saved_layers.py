"""The layers of a model, and those of a file of weights, read without trusting it."""

from dataclasses import dataclass, field
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
MAX_FREE = 1000


@dataclass(frozen=True)
class LayerInfo:
    """One node of a model: what has to be the same for weights to fit.

    name: Of the node, such as hashembed; a combinator's is made of those of its layers.
    path: Where it is in the model, such as "embed > hashembed PREFIX"; "" in a file.
    dims: The dimensions that are known.
    shapes: Of the parameters by name; None for those that are not allocated.
    attrs: The attributes that are plain values and have to be the same.
    n_shims: Number of wrapped models of other libraries.
    dtypes: Of the parameters that are allocated, by name.
    refs: Numbers of other layers by reference; None for those that are not set.
    kinds: Types of the attributes by name.
    dim_names: Of all dimensions, known or not; empty in a file.
    """

    name: str
    path: str
    dims: Mapping[str, int]
    shapes: Mapping[str, Optional[Shape]]
    attrs: Mapping[str, Any]
    n_shims: int = 0
    dtypes: Mapping[str, str] = field(default_factory=dict)
    refs: Mapping[str, Optional[int]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    dim_names: Tuple[str, ...] = ()

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
        columns = [message[key] for key in ("nodes", "attrs", "params", "shims")]
        layers = [_unpack_layer(*each) for each in zip(*columns, strict=True)]
        for layer in layers:
            if not all(n is None or 0 <= n < len(layers) for n in layer.refs.values()):
                raise ValueError(f"a layer that does not exist, from {layer.name}")
        return layers
    except (ArithmeticError, LookupError, TypeError, ValueError) as err:
        raise InputError(
            f"{path}: is not a file of weights, or was cut short "
            f"({one_line(err)[:80]}); name a model*.bin that pretraining wrote"
        ) from err


def _unpack_layer(node: Any, attrs: Any, params: Any, shims: Any) -> LayerInfo:
    """Return a layer of a file; what is wrong may raise a TypeError or LookupError."""
    name, dims, refs = node["name"], node["dims"], node["refs"]
    _expect(name, dict, dims=dims, refs=refs, attrs=attrs, params=params)
    _expect(name, list, shims=shims)
    _expect(name, bytes, **{f"shims[{i}]": shim for i, shim in enumerate(shims)})
    _expect(name, int, **{k: v for k, v in {**dims, **refs}.items() if v is not None})
    allocated = {k: value for k, value in params.items() if value is not None}
    for param, value in allocated.items():
        if not isinstance(value, numpy.ndarray) or value.dtype.kind != "f":
            raise ValueError(f"{param} is not an array of floats, in {name}")
        if not numpy.isfinite(value).all():
            raise ValueError(f"{param} has values that are not finite, in {name}")
    plain = {key: load_msgpack(value) for key, value in attrs.items()}
    _check_attrs(name, plain)
    return LayerInfo(
        name,
        "",
        {dim: n for dim, n in dims.items() if n is not None},
        {param: None if x is None else x.shape for param, x in params.items()},
        _fixed(plain),
        len(shims),
        {param: str(x.dtype) for param, x in allocated.items()},
        refs,
        _kinds(plain),
    )


def _expect(layer: Any, kind: type, **values: Any) -> None:
    for name, value in {"name": layer, **values}.items():
        wanted = str if name == "name" else kind
        if type(value) is not wanted:
            raise ValueError(f"{name} is not of type {wanted.__name__}, in {layer}")


def _check_attrs(layer: str, attrs: Mapping[str, Any]) -> None:
    for name in FREE_ATTRS:
        value = attrs.get(name)
        if value is None:
            continue
        limit = 1 if name == "dropout_rate" else MAX_FREE
        if not isinstance(value, (bool, int, float)) or not 0 <= value <= limit:
            raise ValueError(f"{name} is {str(value)[:20]}, in {layer}")
    columns = attrs.get("columns", [])
    if type(columns) is not list or not {*map(type, columns)} <= {int, str}:
        raise ValueError(f"columns are not attributes of tokens, in {layer}")


def model_layers(model: Model) -> List[LayerInfo]:
    """Return the layers of a model, initialized or not, in the order of Model.walk."""
    paths, nodes = _paths(model), list(model.walk())
    numbers = {id(node): i for i, node in enumerate(nodes)}
    layers = []
    for node in nodes:
        known = {name: node.maybe_get_dim(name) for name in node.dim_names}
        params = {name: node.maybe_get_param(name) for name in node.param_names}
        refs = {name: node.maybe_get_ref(name) for name in node.ref_names}
        layers.append(
            LayerInfo(
                node.name,
                paths[id(node)],
                {name: n for name, n in known.items() if n is not None},
                {k: None if p is None else tuple(p.shape) for k, p in params.items()},
                _fixed(node.attrs),
                len(node.shims),
                {k: str(p.dtype) for k, p in params.items() if p is not None},
                {k: None if x is None else numbers[id(x)] for k, x in refs.items()},
                _kinds(node.attrs),
                tuple(node.dim_names),
            )
        )
    return layers


def _kinds(attrs: Mapping[str, Any]) -> Dict[str, str]:
    kinds = {}
    for name, value in attrs.items():
        if name == "dropout_rate":
            # Training sets it to what the config has, which may be 0 or 0.0.
            continue
        kinds[name] = "list" if isinstance(value, tuple) else type(value).__name__
    return kinds


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
