"""Words as sets of bits: hashed character n-grams, and the hashed word itself."""

from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model, Ops
from thinc.types import Floats1d, Floats2d

from .. import ops as kernels
from .masked_model import Prediction, predicted_keys

# Expected share of the bits that a word sets: the initial probability of every bit.
DENSITY = 0.02
# Adam moves a bias by as much as a weight in each step. With this factor the biases
# learn the frequencies of the bits in hundreds of steps, before the weights do.
BIAS_SCALE = 10.0
# Longer words are cut: a line of base64 sets every bit.
MAX_CHARACTERS = 100


@dataclass(frozen=True)
class SubwordBits:
    """The Bloom filter of a word; see build_pretrain_subwords_v1 for the settings."""

    n_bits: int
    min_n: int
    max_n: int
    n_hashes: int
    word_hashes: int

    def __call__(self, vocab: Vocab, keys: NDArray) -> NDArray:
        """Return (T, n_bits) float32, 0 or 1, for T words given by their hashes."""
        bits = numpy.zeros((len(keys), self.n_bits), dtype="f")
        if self.n_hashes:
            texts = [vocab.strings[int(key)][:MAX_CHARACTERS] for key in keys]
            rows, lengths = kernels.ngram_rows(
                [f"<{text}>" for text in texts],
                self.min_n,
                self.max_n,
                self.n_hashes,
                self.n_bits,
            )
            places = numpy.repeat(numpy.arange(len(keys)), cast(Any, lengths))
            bits[places, rows] = 1.0
        # Double hashing: the halves of one hash give any number of hashes.
        low, high = keys & 0xFFFFFFFF, (keys >> 32) | 1
        for k in range(self.word_hashes):
            bits[numpy.arange(len(keys)), (low + k * high) % self.n_bits] = 1.0
        return bits


def subwords_loss(
    ops: Ops, docs: List[Doc], prediction: Prediction, *, bits: SubwordBits
) -> Tuple[float, Floats2d]:
    """Return the binary cross-entropy of the bits, over the predicted tokens.

    docs: The docs before masking.
    Returns (loss, gradient): a sum, in nats; and (M, n_bits), divided by the number of
        all tokens.
    """
    types, inverse = numpy.unique(predicted_keys(docs, prediction), return_inverse=True)
    target = ops.asarray2f(cast(Any, bits(docs[0].vocab, types)[inverse]))
    Y: Any = prediction.data
    # exp(-|Y|) can't overflow.
    small = ops.xp.exp(-ops.xp.abs(Y))
    probability = ops.xp.where(Y >= 0, 1.0, small) / (1.0 + small)
    loss = ops.xp.maximum(Y, 0).sum() + ops.xp.log1p(small).sum() - (Y * target).sum()
    return float(loss), (probability - target) / float(prediction.n_tokens)


def bit_scores(nO: int, nI: int) -> Model[Floats2d, Floats2d]:
    """Score bits by a linear layer whose bias starts low and learns fast.

    Shapes: (M, nI) -> (M, nO), the log-odds of each bit. W (nO, nI) starts with zeros;
    b (nO,) is multiplied by BIAS_SCALE.
    """
    return Model(
        "bit_scores",
        forward,
        init=init,
        dims={"nO": nO, "nI": nI},
        params={"W": None, "b": None},
    )


def forward(
    model: Model[Floats2d, Floats2d], X: Floats2d, is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], Floats2d]]:
    """Multiply by W and add the scaled bias."""
    W = cast(Floats2d, model.get_param("W"))
    b = cast(Floats1d, model.get_param("b"))
    Y = model.ops.gemm(X, W, trans2=True)
    Y += BIAS_SCALE * b

    def backprop(dY: Floats2d) -> Floats2d:
        model.inc_grad("W", model.ops.gemm(dY, X, trans1=True))
        model.inc_grad("b", BIAS_SCALE * dY.sum(axis=0))
        return model.ops.gemm(dY, W)

    return Y, backprop


def init(
    model: Model[Floats2d, Floats2d],
    X: Optional[Floats2d] = None,
    Y: Optional[Floats2d] = None,
) -> None:
    """Give every bit the probability DENSITY, whatever the input."""
    model.set_param("W", model.ops.alloc2f(model.get_dim("nO"), model.get_dim("nI")))
    b = model.ops.alloc1f(model.get_dim("nO"))
    b += float(numpy.log(DENSITY / (1 - DENSITY))) / BIAS_SCALE
    model.set_param("b", b)
