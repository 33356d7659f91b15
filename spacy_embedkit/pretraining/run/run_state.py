"""What a checkpoint holds of a model: its weights, and the state of the optimizer."""

import math
from typing import Any, Dict, List, Tuple

import numpy
from thinc.api import Model, Optimizer

from ...checks import InputError, one_line

Key = Tuple[int, str]
Shape = Tuple[int, ...]
# Attributes that the sizes of arrays follow from.
STRUCTURE = ("column", "dropout_rate", "is_enabled", "pad", "window_size")
NO_FIT = (
    "the weights of the checkpoint do not fit the model, though the settings are the "
    "same; use the spaCy and packages that it was made with, and the same vectors"
)
COUNTS = ("nr_update", "last_seen")
ARRAYS = ("mom1", "mom2", "averages")


class ModelState:
    """The weights of a model, and what its optimizer keeps for them.

    thinc names a weight by the ID of its layer, which differs from process to process.
    Checkpoints name it by the place of the layer in the model, such as "3..W", or
    "3.0.W" where layer 3 wraps a model of another library.
    """

    def __init__(self, model: Model, optimizer: Optimizer) -> None:
        self._model = model
        self._optimizer = optimizer
        self._layers = list(model.walk())
        self._nodes = {node.id: i for i, node in enumerate(self._layers)}
        self._shims = {
            shim.id: (i, j)
            for i, node in enumerate(self._layers)
            for j, shim in enumerate(node.shims)
        }

    def tok2vec_to_bytes(self) -> bytes:
        """Return the content of model-*.bin: averages, if the optimizer keeps them."""
        with self._model.use_params(self._optimizer.averages or {}):
            return self._model.get_ref("tok2vec").to_bytes()

    def is_finite(self) -> bool:
        """Whether all weights are finite numbers."""
        return all(
            bool(node.ops.xp.isfinite(node.get_param(name)).all())
            for node in self._layers
            for name in node.param_names
            if node.has_param(name)
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return weights and optimizer as types of msgpack."""
        optimizer, ops = self._optimizer, self._model.ops
        state: Dict[str, Any] = {
            "layers": [_layer_to_dict(node) for node in self._layers],
            "radam": [list(map(_number, row)) for row in optimizer._radam_buffer],
        }
        for name in ARRAYS:
            kept = getattr(optimizer, name)
            state[name] = None if kept is None else self._by_place(kept, ops.to_numpy)
        for name in COUNTS:
            state[name] = self._by_place(getattr(optimizer, name), int)
        return state

    def from_dict(self, state: Dict[str, Any], n_steps: int) -> None:
        """Set all to what to_dict returned, and the schedules to n_steps.

        Raises: InputError if the model has other weights; then nothing is set.
        """
        optimizer = self._optimizer
        self._check(state)
        for node, saved in zip(self._layers, state["layers"], strict=True):
            node.attrs.update(saved["attrs"])
            for name, value in saved["params"].items():
                node.set_param(name, self._array(value))
            for shim, data in zip(node.shims, saved["shims"], strict=True):
                self._load_shim(shim, data)
        for name in (*ARRAYS, *COUNTS):
            kept = getattr(optimizer, name)
            if state[name] is None or kept is None:
                continue
            for place, value in state[name].items():
                kept[self._key(place)] = self._array(value) if name in ARRAYS else value
        optimizer._radam_buffer = [list(row) for row in state["radam"]]
        for _ in range(n_steps):
            optimizer.step_schedules()

    def _check(self, state: Dict[str, Any]) -> None:
        """Raise InputError unless the arrays are those of this model and optimizer.

        Kernels take the size of the moments from that of the weights.
        """
        layers = [_layer_to_dict(node) for node in self._layers]
        if _kinds(layers) != _kinds(state["layers"]):
            raise InputError(NO_FIT)
        for mine, saved in zip(layers, state["layers"], strict=True):
            if not all(
                numpy.isfinite(array).all() for array in saved["params"].values()
            ):
                raise InputError("the checkpoint has weights that are NaN or infinite")
            for name, value in mine["attrs"].items():
                if name in STRUCTURE and saved["attrs"][name] != value:
                    raise InputError(NO_FIT)
                if name == "seed" and not 0 <= saved["attrs"][name] < 2**32:
                    raise InputError(NO_FIT)
        shapes = self._shapes()
        for name in ARRAYS:
            for place, array in (state[name] or {}).items():
                shape = shapes.get(place)
                if shape is not None and name != "averages":
                    shape = (math.prod(shape),)
                if array.dtype != numpy.dtype("float32") or array.shape != shape:
                    raise InputError(NO_FIT)
        if not {*state["nr_update"], *state["last_seen"]} <= shapes.keys():
            raise InputError(NO_FIT)

    def _shapes(self) -> Dict[str, Shape]:
        """Return the shape of each weight by its place."""
        shapes: Dict[str, Shape] = {}
        for i, node in enumerate(self._layers):
            for name in node.param_names:
                if node.has_param(name):
                    shapes[f"{i}..{name}"] = tuple(node.get_param(name).shape)
            for j, shim in enumerate(node.shims):
                # Of models of torch; thinc has no others that are trained.
                named: Any = getattr(shim._model, "named_parameters", dict)()
                for name, weight in dict(named).items():
                    shapes[f"{i}.{j}.{name}"] = tuple(weight.shape)
        return shapes

    def _load_shim(self, shim: Any, data: bytes) -> None:
        try:
            shim.from_bytes(data)
        except Exception as err:
            # What a library raises for other weights, or for something else, varies.
            raise InputError(f"{NO_FIT} ({one_line(err)[:80]})") from err

    def _by_place(self, kept: Dict[Key, Any], convert: Any) -> Dict[str, Any]:
        return {self._place(key): convert(value) for key, value in kept.items()}

    def _place(self, key: Key) -> str:
        number, name = key
        i = self._nodes.get(number)
        if i is not None and name in self._layers[i].param_names:
            return f"{i}..{name}"
        i, j = self._shims[number]
        return f"{i}.{j}.{name}"

    def _key(self, place: str) -> Key:
        i, j, name = place.split(".", 2)
        node = self._layers[int(i)]
        return (node.shims[int(j)].id if j else node.id), name

    def _array(self, value: Any) -> Any:
        # A copy, since arrays of msgpack are read-only.
        copy: Any = numpy.array(value)
        return self._model.ops.asarray(copy)


def _number(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else float(value)


def _layer_to_dict(node: Model) -> Dict[str, Any]:
    # Other attributes, such as the seed of a hash table, may be the ID of a layer.
    kept = (bool, int, float, str)
    return {
        "attrs": {k: v for k, v in node.attrs.items() if isinstance(v, kept)},
        "params": {
            name: node.ops.to_numpy(node.get_param(name))
            for name in node.param_names
            if node.has_param(name)
        },
        "shims": [shim.to_bytes() for shim in node.shims],
    }


def _kinds(layers: List[Dict[str, Any]]) -> List[Any]:
    """Return what has to be the same for weights to fit."""
    return [
        [
            {name: (array.shape, array.dtype) for name, array in x["params"].items()},
            {name: type(value) for name, value in x["attrs"].items()},
            len(x["shims"]),
        ]
        for x in layers
    ]
