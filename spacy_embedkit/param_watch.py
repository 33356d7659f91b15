"""Whether a model is still what something was computed from."""

from typing import Any, Callable, Dict, List, Sequence, Tuple, TypeVar, cast

from numpy.typing import NDArray
from thinc.api import Model

from . import ops

MatchT = TypeVar("MatchT")

# Words of 32 bits that are compared in each array of an untrained model.
N_SAMPLES = 32


class ParamWatch:
    """Tells whether arrays have changed since they were noted.

    An array that was replaced (by from_bytes, from_disk, use_params or set_param) is
    another object. One that an optimizer changed in place is the same object with
    other numbers: a sample of them is compared each time, and all of them once the
    model has been trained in this process.
    """

    def __init__(self) -> None:
        self._noted: Tuple[List[NDArray], List[int]] = ([], [])
        self.is_trained = False

    def refresh(self, arrays: Sequence[NDArray], clear: Callable[[], None]) -> None:
        """Clear what was computed from other arrays, and note these."""
        sums = ops.checksums(arrays, None if self.is_trained else N_SAMPLES)
        noted, noted_sums = self._noted
        same = (
            sums == noted_sums
            and len(arrays) == len(noted)
            and all(a is b for a, b in zip(arrays, noted, strict=True))
        )
        if not same:
            # In this order: an interrupt in between must not leave old values that
            # pass for those of the new arrays.
            clear()
            self._noted = (list(arrays), sums)


class ModelTree:
    """The nodes of a model, to be read again once one of them was exchanged.

    To walk them for each batch would take longer than a short doc.
    """

    def __init__(self, model: Model) -> None:
        self.nodes = list(model.walk())
        self._layers = [[*node.layers] for node in self.nodes]
        self._forwards = [node._func for node in self.nodes]
        self._params = [
            (node, name) for node in self.nodes for name in node.param_names
        ]
        self._is_complete = all(node.has_param(name) for node, name in self._params)
        self._matches: Dict[Callable, Any] = {}

    def is_current(self, model: Model) -> bool:
        """Return whether these are the nodes of the model, with the same layers."""
        return (
            self.nodes[0] is model
            and self._is_complete
            and [node._layers for node in self.nodes] == self._layers
            and [node._func for node in self.nodes] == self._forwards
        )

    def match(self, find: Callable[[Model], MatchT]) -> MatchT:
        """Return what a function finds among the nodes, which it is asked once."""
        if find not in self._matches:
            self._matches[find] = find(self.nodes[0])
        return self._matches[find]

    def params(self) -> List[NDArray]:
        """Return every weight that is set."""
        return [
            cast(NDArray, node.get_param(name))
            for node, name in self._params
            if self._is_complete or node.has_param(name)
        ]

    def set_dropout(self, rate: float) -> None:
        """Do as thinc's set_dropout_rate."""
        for node in self.nodes:
            if "dropout_rate" in node.attrs:
                node.attrs["dropout_rate"] = rate
