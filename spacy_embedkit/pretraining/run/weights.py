"""Weights and optimizer, in and out of a checkpoint.

thinc names a weight by the number of its layer, which is another one in each process:
here it is named by the place of the layer in the model, such as "3..W", or "3.0.W"
where the layer wraps another library.
"""

from typing import Any, Dict, List, Tuple

import numpy
from thinc.api import Model, Optimizer

from ...checks import InputError

Key = Tuple[int, str]
COUNTS = ("nr_update", "last_seen")
ARRAYS = ("mom1", "mom2", "averages")


class Weights:
    """Weights of a model, and what an optimizer keeps for them."""

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

    def saved_tok2vec(self) -> bytes:
        """Return what goes into model-*.bin: the averages, where there are any."""
        with self._model.use_params(self._optimizer.averages or {}):
            return self._model.get_ref("tok2vec").to_bytes()

    def is_finite(self) -> bool:
        """Whether no weight has become NaN or infinite."""
        return all(
            bool(node.ops.xp.isfinite(node.get_param(name)).all())
            for node in self._model.walk()
            for name in node.param_names
            if node.has_param(name)
        )

    def to_dict(self) -> Dict[str, Any]:
        """Return weights and optimizer as what msgpack takes."""
        optimizer, ops = self._optimizer, self._model.ops
        state: Dict[str, Any] = {
            "layers": [_layer_to_dict(node) for node in self._layers],
            "radam": [list(map(_number, row)) for row in optimizer._radam_buffer],
        }
        for name in ARRAYS:
            kept = getattr(optimizer, name)
            state[name] = (
                None
                if kept is None
                else {
                    self._place(key): ops.to_numpy(value) for key, value in kept.items()
                }
            )
        for name in COUNTS:
            kept = getattr(optimizer, name)
            state[name] = {self._place(key): int(n) for key, n in kept.items()}
        return state

    def from_dict(self, state: Dict[str, Any], n_steps: int) -> None:
        """Take over what to_dict returned, and the schedules' state after n_steps."""
        optimizer = self._optimizer
        self._check_fits(state["layers"])
        for node, saved in zip(self._layers, state["layers"], strict=True):
            node.attrs.update(saved["attrs"])
            for name, value in saved["params"].items():
                node.set_param(name, self._array(value))
            for shim, data in zip(node.shims, saved["shims"], strict=True):
                shim.from_bytes(data)
        for name in ARRAYS:
            if state[name] is None or getattr(optimizer, name) is None:
                continue
            kept = getattr(optimizer, name)
            for place, value in state[name].items():
                kept[self._key(place)] = self._array(value)
        for name in COUNTS:
            getattr(optimizer, name).update(
                {self._key(place): n for place, n in state[name].items()}
            )
        optimizer._radam_buffer = [list(row) for row in state["radam"]]
        for _ in range(n_steps):
            optimizer.step_schedules()

    def _check_fits(self, layers: List[Dict[str, Any]]) -> None:
        now = [_layer_to_dict(node) for node in self._layers]
        shapes, saved = (
            [
                {name: value.shape for name, value in layer["params"].items()}
                for layer in part
            ]
            for part in (now, layers)
        )
        if shapes != saved:
            raise InputError(
                "the weights of the checkpoint do not fit the model, though the "
                "settings are the same; use the spaCy and packages that it was made "
                "with, and the same vectors"
            )

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
        # What msgpack gives can't be written to.
        copy: Any = numpy.array(value)
        return self._model.ops.asarray(copy)


def _number(value: Any) -> Any:
    return value if value is None or isinstance(value, int) else float(value)


def _layer_to_dict(node: Model) -> Dict[str, Any]:
    # Attributes of these types may be the number of a layer in this process, such as
    # the seed of a hash table.
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
