"""Losses of the heads: what is to be predicted about tokens, and how far off it is."""

from typing import Any, List, Literal, Tuple

import numpy
from spacy.attrs import ORTH
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
    positions = get_array_ops(prediction.positions).to_numpy(prediction.positions)
    keys = numpy.concatenate([doc.to_array([ORTH]) for doc in docs])[positions]
    # spaCy's own encoder, over a doc of the predicted words alone.
    words = Doc(docs[0].vocab, words=keys.tolist())
    bytes_: Any = words.to_utf8_array(nr_char=n_characters)
    classes = ops.asarray(bytes_.reshape(-1))
    diff: Any = prediction.data.reshape((-1, 256)).copy()
    diff[ops.xp.arange(len(diff)), classes] -= 1.0
    loss = float(ops.xp.vdot(diff, diff))
    diff /= float(prediction.n_tokens)
    return loss, diff.reshape(prediction.data.shape)
