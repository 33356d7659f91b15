"""What a checkpoint holds: progress, weights, optimizer and random generators."""

import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy
from thinc.api import Model, Optimizer, fix_random_seed
from thinc.compat import has_torch, has_torch_cuda_gpu, torch

from ...checks import InputError
from ..masked_model import LossMeter

RngState = Dict[str, Any]
Key = Tuple[int, str]
COUNTS = ("nr_update", "last_seen")
ARRAYS = ("mom1", "mom2", "averages")


@dataclass
class RunProgress:
    """Counters of a run.

    epoch, n_batches: The epoch, from 0, and the batches of it that are done.
    step, words: Updates and words so far.
    eval_every: Words between evaluations.
    evaluated_at: Words at the last evaluation.
    best, best_words: The lowest held-out loss, and the words at which it was reached.
    best_weights: What model-best.bin held then.
    n_worse: Evaluations since.
    seconds: Time used, that before a resume included.
    losses: Of the training since the last evaluation.
    rows: Lines of the log.
    """

    eval_every: int
    epoch: int = 0
    n_batches: int = 0
    step: int = 0
    words: int = 0
    evaluated_at: int = 0
    best: Optional[float] = None
    best_words: int = 0
    best_weights: Optional[bytes] = None
    n_worse: int = 0
    seconds: float = 0.0
    losses: LossMeter = field(default_factory=LossMeter)
    rows: List[Dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> Dict[str, Any]:
        """Return all fields by name."""
        return {**vars(self), "losses": self.losses.sums}

    @classmethod
    def from_dict(cls, state: Dict[str, Any]) -> "RunProgress":
        """Return the progress that to_dict described."""
        return cls(**{**state, "losses": LossMeter(state["losses"])})

    def add_row(self, row: Dict[str, Any], best_weights: Optional[bytes]) -> None:
        """Add an evaluation to the log.

        best_weights: What model-best.bin is to hold, if it is the best so far.
        """
        self.rows.append(row)
        self.evaluated_at = self.words
        if best_weights is not None:
            self.best, self.best_words = row["held_out_total"], self.words
            self.best_weights, self.n_worse = best_weights, 0
        elif row["held_out_loss"]:
            self.n_worse += 1


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

        Raises: InputError if the model has other weights.
        """
        optimizer = self._optimizer
        if _shapes(map(_layer_to_dict, self._layers)) != _shapes(state["layers"]):
            raise InputError(
                "the weights of the checkpoint do not fit the model, though the "
                "settings are the same; use the spaCy and packages that it was made "
                "with, and the same vectors"
            )
        for node, saved in zip(self._layers, state["layers"], strict=True):
            node.attrs.update(saved["attrs"])
            for name, value in saved["params"].items():
                node.set_param(name, self._array(value))
            for shim, data in zip(node.shims, saved["shims"], strict=True):
                shim.from_bytes(data)
        for name in (*ARRAYS, *COUNTS):
            kept = getattr(optimizer, name)
            if state[name] is None or kept is None:
                continue
            for place, value in state[name].items():
                kept[self._key(place)] = self._array(value) if name in ARRAYS else value
        optimizer._radam_buffer = [list(row) for row in state["radam"]]
        for _ in range(n_steps):
            optimizer.step_schedules()

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


def _shapes(layers: Any) -> List[Dict[str, Tuple[int, ...]]]:
    return [{k: value.shape for k, value in x["params"].items()} for x in layers]


def get_rng_state(*, with_torch: bool = True) -> RngState:
    """Return the states of the global random generators as types of msgpack.

    with_torch: Whether to include those of torch.
    """
    version, words, gauss = random.getstate()
    state: RngState = {
        "python": [version, *words, gauss],
        "numpy": list(numpy.random.get_state(legacy=True)),
    }
    if has_torch and with_torch:
        state["torch"] = torch.get_rng_state().numpy().copy()
        if has_torch_cuda_gpu and torch.cuda.is_initialized():
            state["cuda"] = [s.numpy() for s in torch.cuda.get_rng_state_all()]
    return state


def set_rng_state(state: RngState) -> None:
    """Set the global random generators to what get_rng_state returned."""
    version, *words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy.random.set_state(tuple(state["numpy"]))
    if has_torch and "torch" in state:
        torch.set_rng_state(torch.tensor(state["torch"]))
        if "cuda" in state:
            torch.cuda.set_rng_state_all([torch.tensor(s) for s in state["cuda"]])


@contextmanager
def fork_rng(seed: Optional[int] = None, *, with_torch: bool = True) -> Iterator[None]:
    """Restore the global random generators after the body.

    seed: Start the body's generators with this; they go on if it is left out.
    with_torch: Whether the generators of torch are restored too.
    """
    state = get_rng_state(with_torch=with_torch)
    if seed is not None:
        fix_random_seed(seed)
    try:
        yield
    finally:
        set_rng_state(state)
