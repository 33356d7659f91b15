"""From the outputs of a transformer to one vector per token."""

from typing import Any, Callable, Iterable, List, Literal, Sequence, Tuple, Union

import numpy
from spacy_transformers.data_classes import TransformerData
from thinc.api import Model, Ops, Optimizer, Shim
from thinc.types import Floats2d, Ints1d, Ragged
from transformers.file_utils import ModelOutput

from .. import ops as kernels
from .scheduled import Scheduled
from .trf_data import HiddenLayersData

Layers = Union[Literal["last", "mix"], List[int]]
# Params of a mix: weights of the layers before softmax, (layers + 1,), and scale, (1,).
WEIGHTS, SCALE = "layer_weights", "scale"


def token_vectors(
    pooling: Model[Ragged, Floats2d],
    grad_factor: Union[float, Iterable[float]],
    layers: Layers,
) -> Model[List[TransformerData], List[Floats2d]]:
    """Pool the wordpieces of each token, see build_transformer_listener_v1."""
    factor = Scheduled(grad_factor)
    return Model(
        "token-vectors",
        forward,
        layers=[pooling],
        params={WEIGHTS: None, SCALE: None},
        attrs={"layers": layers, "scheduled_factor": factor},
        shims=[] if factor.is_constant else [ScheduleShim(factor)],
    )


class ScheduleShim(Shim):
    """Advances a schedule when weights are updated, not when a batch is seen."""

    def finish_update(self, optimizer: Optimizer) -> None:
        """Go on to the next update."""
        self._model.advance()

    def to_bytes(self) -> bytes:
        """Save nothing: prediction needs no schedule."""
        return b""

    def from_bytes(self, bytes_data: bytes) -> "ScheduleShim":
        """Load nothing."""
        return self


def forward(
    model: Model[List[TransformerData], List[Floats2d]],
    datas: List[TransformerData],
    is_train: bool,
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], List[TransformerData]]]:
    """Return the vectors of each doc's tokens, (tokens, width), and backprop."""
    pooling: Model[Ragged, Floats2d] = model.layers[0]
    ops, factor = model.ops, model.attrs["scheduled_factor"].value
    full = [data for data in datas if _has_output(data)]
    states = [mix_layers(model, data) for data in full]
    tables = [ops.reshape2f(state, -1, state.shape[-1]) for state in states]
    rows = [_rows(ops, data) for data in full]
    gathered = [
        kernels.gather_rows(ops, table, index)
        for table, index in zip(tables, rows, strict=True)
    ]
    n_tokens = [len(data.align.lengths) for data in full]
    pooled, backprop_pooling = pooling(_concatenate(model, gathered, full), is_train)
    split = iter(ops.xp.split(pooled, numpy.cumsum(n_tokens)[:-1]) if full else [])
    empty = ops.alloc2f(0, pooled.shape[1])
    outputs = [next(split) if _has_output(data) else empty for data in datas]

    def backprop(d_outputs: List[Floats2d]) -> List[TransformerData]:
        kept = [
            d for d, data in zip(d_outputs, datas, strict=True) if _has_output(data)
        ]
        if not kept:
            return []
        d_gathered = backprop_pooling(ops.xp.concatenate(kept)).dataXd
        ends = numpy.cumsum([len(index) for index in rows])[:-1]
        result = []
        for data, state, index, d_rows in zip(
            full, states, rows, ops.xp.split(d_gathered, ends), strict=True
        ):
            d_table = kernels.scatter_add_rows(
                ops, ops.as_contig(d_rows), index, state.size // state.shape[-1]
            )
            d_state = d_table.reshape(state.shape)
            result.append(back_to_layers(model, data, d_state, factor))
        return result

    return outputs, backprop


def _rows(ops: Ops, data: TransformerData) -> Ints1d:
    index: Any = data.align.data
    return ops.asarray1i(index.reshape(-1))


def _has_output(data: TransformerData) -> bool:
    output: Any = data.model_output
    return "last_hidden_state" in output and bool(output.last_hidden_state.size)


def _concatenate(
    model: Model, gathered: List[Floats2d], full: Sequence[TransformerData]
) -> Ragged:
    ops = model.ops
    if not full:
        return Ragged(ops.alloc2f(0, 0), ops.alloc1i(0))
    lengths = [ops.asarray1i(data.align.lengths) for data in full]
    return Ragged(ops.xp.concatenate(gathered), ops.xp.concatenate(lengths))


def mix_layers(model: Model, data: TransformerData) -> Any:
    """Return the wordpiece rows that are pooled: (spans, L, width)."""
    layers = model.attrs["layers"]
    output: Any = data.model_output
    if layers == "last":
        return output.last_hidden_state
    states = hidden_states(data)
    if layers == "mix":
        shares = layer_shares(model, len(states))
        total = sum(share * state for share, state in zip(shares, states, strict=True))
        return total * float(model.get_param(SCALE)[0])
    chosen = [states[i] for i in _numbers(layers, len(states))]
    return sum(chosen[1:], start=chosen[0]) / len(chosen)


def hidden_states(data: TransformerData) -> List[Any]:
    """Return the outputs of all layers, the embeddings first.

    In initialization, before anything is predicted, that is the last one alone.
    Raises: ValueError naming the setting, if the transformer does not give them.
    """
    output: Any = data.model_output
    if "hidden_states" in output:
        return list(output.hidden_states)
    if not output.last_hidden_state.any():
        return [output.last_hidden_state]
    raise ValueError(
        "TransformerListener.v1: layers other than the last are asked for, but the "
        "transformer does not give them; set output_hidden_states = true in "
        "[components.transformer.model.transformer_config]"
    )


def layer_shares(model: Model, n_layers: int) -> List[float]:
    """Return the share of each layer in the mix, equal ones at first."""
    if not model.has_param(WEIGHTS) or len(model.get_param(WEIGHTS)) != n_layers:
        model.set_param(WEIGHTS, model.ops.alloc1f(n_layers))
        model.set_param(SCALE, model.ops.alloc1f(1) + 1)
    shares: List[float] = model.ops.softmax(model.get_param(WEIGHTS)).tolist()
    return shares


def _numbers(layers: Sequence[int], n_layers: int) -> List[int]:
    if n_layers == 1:
        return [0]
    if not all(-n_layers <= layer < n_layers for layer in layers):
        raise ValueError(
            f"TransformerListener.v1: layers is {list(layers)}, but there are "
            f"{n_layers} with the embeddings: give {-n_layers} to {n_layers - 1}"
        )
    return [layer % n_layers for layer in layers]


def back_to_layers(
    model: Model, data: TransformerData, d_state: Any, factor: float
) -> TransformerData:
    """Return the gradient of the last layer; leave those of the others on the data."""
    layers = model.attrs["layers"]
    d_last = d_state * factor
    if layers != "last":
        states = hidden_states(data)
        scales = _scales(model, states, d_state)
        d_last = d_last * scales.pop(len(states) - 1, 0.0)
        for layer, scale in scales.items() if factor else ():
            if not isinstance(data, HiddenLayersData):
                raise ValueError(
                    "TransformerListener.v1: gradients of layers other than the last "
                    'need a transformer with @architectures = "spacy-embedkit.'
                    'TransformerModel.v1"; take that, or set grad_factor = 0'
                )
            data.add_gradient(layer, d_state * (factor * scale))
    return TransformerData(
        wordpieces=data.wordpieces,
        model_output=ModelOutput(last_hidden_state=d_last),
        align=data.align,
    )


def _scales(model: Model, states: List[Any], d_state: Any) -> dict[int, float]:
    """Return the factor of each layer; add to the gradients of a mix's params."""
    layers = model.attrs["layers"]
    if layers != "mix":
        numbers = _numbers(layers, len(states))
        return {i: numbers.count(i) / len(numbers) for i in numbers}
    xp = model.ops.xp
    shares = xp.asarray(layer_shares(model, len(states)), dtype="f")
    scale = float(model.get_param(SCALE)[0])
    along = xp.asarray([float((d_state * state).sum()) for state in states], dtype="f")
    mean = (shares * along).sum()
    model.inc_grad(WEIGHTS, shares * (along - mean) * scale)
    model.inc_grad(SCALE, mean.reshape(1))
    return dict(enumerate((shares * scale).tolist()))
