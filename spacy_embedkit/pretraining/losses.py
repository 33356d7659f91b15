"""Losses of the heads: what is to be predicted about tokens, and how far off it is."""

from typing import Any, List, Literal, Tuple

import numpy
from spacy.tokens import Doc
from spacy.vectors import Vectors
from thinc.api import CosineDistance, Ops
from thinc.backends import get_array_ops
from thinc.types import Floats2d

from ..layers.static_vectors import look_up
from ..layers.types import vectors_attr
from .masked_model import Prediction


def vectors_loss(
    ops: Ops,
    docs: List[Doc],
    prediction: Prediction,
    *,
    distance: Literal["cosine", "L2"],
) -> Tuple[float, Floats2d]:
    """Distance of the vectors, over the predicted tokens.

    docs: The docs before masking.
    Returns (loss, gradient): a sum; and (M, width), divided by the number of all
        tokens, as in the stock objective.
    """
    vocab = docs[0].vocab
    keys = numpy.concatenate([doc.to_array([vectors_attr(vocab)]) for doc in docs])
    positions = get_array_ops(prediction.positions).to_numpy(prediction.positions)
    target, missing = look_up(ops, vocab, keys.reshape(-1)[positions])
    if isinstance(vocab.vectors, Vectors):
        target[missing] = 0
    if distance == "L2":
        diff: Any = prediction.data - target
        return float((diff**2).sum()), diff / float(prediction.n_tokens)
    cosine = CosineDistance(normalize=False, ignore_zeros=True)
    gradient, loss = cosine(prediction.data, target)
    return float(loss), gradient / float(prediction.n_tokens)


def characters_loss(
    ops: Ops, docs: List[Doc], prediction: Prediction, *, n_characters: int
) -> Tuple[float, Floats2d]:
    """Squared error of the bytes, over the predicted tokens.

    docs: The docs before masking.
    Returns (loss, gradient): a sum; and (M, 256 * n_characters), divided by the
        number of all tokens, as in the stock objective.
    """
    bytes_ = ops.xp.vstack(
        [ops.asarray(doc.to_utf8_array(nr_char=n_characters)) for doc in docs]
    )
    target = one_hot(ops, bytes_[prediction.positions], 256)
    diff = prediction.data - target.reshape(prediction.data.shape)
    return float((diff**2).sum()), diff / float(prediction.n_tokens)


def one_hot(ops: Ops, classes: Any, n_classes: int) -> Any:
    """Spread class numbers to rows of 0 and 1: (...) to (..., n_classes) float32."""
    return (classes[..., None] == ops.xp.arange(n_classes)).astype("f")
