"""A tok2vec with heads on top: one encoding of a batch, and what each head predicts.

`spacy pretrain` calls the model with docs, then `attrs["loss"]` with the docs and the
prediction, then the backprop with what the loss returned. So the type of a prediction
is ours to choose, and it can name its tokens: the encoder runs over every token, a head
only over those that it predicts, which for most objectives are the masked 15%.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Literal, Optional, Sequence, Tuple, cast

import numpy
from spacy.attrs import ORTH
from spacy.tokens import Doc
from thinc.api import Model, Ops
from thinc.backends import get_array_ops
from thinc.types import Floats2d, Ints1d

from .. import ops as kernels
from .masking import Masking, WordSample


@dataclass
class Prediction:
    """Output of a head for some tokens of a batch.

    data: (M, nO), one row per predicted token.
    positions: (M,) int32, places of these among the N tokens of the batch, ascending.
    n_tokens: N.
    """

    data: Floats2d
    positions: Ints1d
    n_tokens: int


def predicted_keys(docs: List[Doc], prediction: Prediction, attr: int = ORTH) -> Any:
    """Return an attribute of the predicted tokens, (M,) uint64, on the CPU.

    docs: The docs before masking.
    """
    positions = get_array_ops(prediction.positions).to_numpy(prediction.positions)
    keys = numpy.concatenate([doc.to_array([attr]).reshape(-1) for doc in docs])
    return keys[positions]


HeadLoss = Callable[[Ops, List[Doc], Prediction], Tuple[float, Floats2d]]


@dataclass(frozen=True)
class Head:
    """One thing to predict about tokens.

    name: Of its losses in logs and reports.
    output_layer: (M, width of tok2vec) to (M, nO).
    loss: Function of (ops, docs before masking, prediction) that returns the sum of
        the loss over the M tokens, and its gradient (M, nO) divided by N.
    tokens: Which tokens are predicted: the masked ones, or all.
    weight: Factor of loss and gradient, above 0.
    """

    name: str
    output_layer: Model[Floats2d, Floats2d]
    loss: HeadLoss
    tokens: Literal["masked", "all"] = "masked"
    weight: float = 1.0


class LossMeter:
    """Running sums of the losses of each head.

    sums: By head, the loss and the number of predicted tokens.
    """

    def __init__(self, sums: Optional[Dict[str, Tuple[float, int]]] = None) -> None:
        self.sums = dict(sums or {})

    def add(self, name: str, loss: float, n_predicted: int) -> None:
        """Add a batch: the sum of its loss, and the number of predicted tokens."""
        total, n = self.sums.get(name, (0.0, 0))
        self.sums[name] = total + loss, n + n_predicted

    def take(self) -> Dict[str, Tuple[float, int]]:
        """Return the sums, and reset them."""
        taken, self.sums = self.sums, {}
        return taken

    def means(self) -> Dict[str, float]:
        """Return the loss per predicted token by head."""
        return {name: loss / max(1, n) for name, (loss, n) in self.sums.items()}


def masked_language_model(
    tok2vec: Model[List[Doc], List[Floats2d]],
    heads: Sequence[Head],
    masking: Optional[Masking],
) -> Model[List[Doc], List[Prediction]]:
    """Mask docs, encode them, and run each head on the tokens it predicts.

    tok2vec: Docs to one (N, width) array per doc. It is the reference "tok2vec", the
        part that `spacy pretrain` saves.
    masking: Chooses and disguises tokens; None leaves the docs as they are.
    Attributes: "loss", a function of (ops, docs, predictions) that returns the
        weighted sum of the losses and a gradient for each head; "losses", a LossMeter
        that it fills; "heads"; "masking"; "words", the sample that random words are
        drawn from.
    """
    model: Model[List[Doc], List[Prediction]] = Model(
        "masked-language-model",
        forward,
        init=init,
        layers=[tok2vec, *(head.output_layer for head in heads)],
        refs={"tok2vec": tok2vec, "output_layer": heads[0].output_layer},
        attrs={
            "heads": tuple(heads),
            "losses": LossMeter(),
            "masking": masking,
            "words": WordSample(),
        },
    )

    def loss(
        ops: Ops, docs: List[Doc], predictions: List[Prediction]
    ) -> Tuple[float, List[Floats2d]]:
        total, gradients = 0.0, []
        for head, prediction in zip(heads, predictions, strict=True):
            value, gradient = head.loss(ops, docs, prediction)
            model.attrs["losses"].add(head.name, value, len(prediction.positions))
            total += head.weight * value
            gradients.append(gradient * head.weight)
        return total, gradients

    model.attrs["loss"] = loss
    return model


def forward(
    model: Model[List[Doc], List[Prediction]], docs: List[Doc], is_train: bool
) -> Tuple[List[Prediction], Callable]:
    """Predict tokens of a batch with each head."""
    tok2vec, *output_layers = model.layers
    masking: Optional[Masking] = model.attrs["masking"]
    lengths = cast(Ints1d, numpy.asarray([len(doc) for doc in docs], dtype="i"))
    n_tokens = int(lengths.sum())
    inputs, masked = docs, numpy.zeros(0, dtype="i")
    if masking is not None:
        words: WordSample = model.attrs["words"]
        if is_train or not words.n_seen:
            for doc in docs:
                words.add_keys(doc.to_array([ORTH]), doc.vocab.strings)
        inputs, masked = masking(docs, words)
    positions = {"masked": masked, "all": numpy.arange(n_tokens, dtype="i")}
    chosen: List[Ints1d] = [
        model.ops.asarray1i(cast(Ints1d, positions[head.tokens]))
        for head in model.attrs["heads"]
    ]
    if not any(map(len, chosen)):
        nothing = [
            Prediction(model.ops.alloc2f(0, layer.get_dim("nO")), rows, n_tokens)
            for layer, rows in zip(output_layers, chosen, strict=True)
        ]
        return nothing, lambda dYs: []
    Xs, backprop_tok2vec = tok2vec(inputs, is_train)
    X = model.ops.flatten(Xs)
    predictions, backprops = [], []
    for layer, rows in zip(output_layers, chosen, strict=True):
        Y, backprop_head = _run_head(layer, X, rows, is_train)
        predictions.append(Prediction(Y, rows, n_tokens))
        backprops.append(backprop_head)

    def backprop(dYs: List[Floats2d]) -> Any:
        dX = model.ops.alloc2f(*X.shape)
        for backprop_head, dY in zip(backprops, dYs, strict=True):
            dX += backprop_head(dY)
        return backprop_tok2vec(model.ops.unflatten(dX, lengths))

    return predictions, backprop


def _run_head(
    layer: Model[Floats2d, Floats2d], X: Floats2d, rows: Ints1d, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], Any]]:
    """Run an output layer on some rows of X; backprop returns the gradient of X."""
    ops, n_rows = layer.ops, X.shape[0]
    if not len(rows):
        return ops.alloc2f(0, layer.get_dim("nO")), lambda dY: 0.0
    if len(rows) == n_rows:
        return layer(X, is_train)
    Y, backprop_output = layer(kernels.gather_rows(ops, X, rows), is_train)

    def backprop(dY: Floats2d) -> Floats2d:
        return kernels.scatter_add_rows(ops, backprop_output(dY), rows, n_rows)

    return Y, backprop


def init(
    model: Model[List[Doc], List[Prediction]],
    X: Optional[List[Doc]] = None,
    Y: Optional[Any] = None,
) -> None:
    """Initialize the encoder on the docs, and the heads on its output."""
    tok2vec, *output_layers = model.layers
    tok2vec.initialize(X=X)
    sample = None if X is None else model.ops.flatten(tok2vec.predict(X))
    for layer in output_layers:
        layer.initialize(X=sample)
