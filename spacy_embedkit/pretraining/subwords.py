"""Words as sets of bits: hashed character n-grams, and the hashed word itself."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, List, Optional, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.attrs import ORTH
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import LayerNorm, Maxout, Model, Ops, chain
from thinc.backends import get_array_ops
from thinc.types import Floats1d, Floats2d

from .. import ops as kernels
from ..checks import check_ngrams, check_not_negative, check_positive
from .masked_model import Head, Prediction, masked_language_model
from .masking import TOKEN_MASKING, Masking
from .objectives import Objective

# Share of the bits that a word sets, about: where the chances of all bits start.
DENSITY = 0.02
# A step of Adam moves a bias as far as that of this many weights, so that chances
# find their place in hundreds of steps; frequent bits are then no news to the weights.
BIAS_SCALE = 10.0
# Longer words are cut: a line of base64 sets every bit.
MAX_CHARACTERS = 100


@dataclass(frozen=True)
class SubwordBits:
    """The Bloom filter of a word: which of n_bits its parts set.

    n_bits: Number of bits, 1 or more.
    min_n, max_n: Length of the n-grams in code points, of the word between < and >.
    n_hashes: Bits that an n-gram sets; 0 leaves n-grams out.
    word_hashes: Bits that the word as a whole sets.
    """

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
        # Two halves of one hash make as many as are wanted.
        low, high = keys & 0xFFFFFFFF, (keys >> 32) | 1
        for k in range(self.word_hashes):
            bits[numpy.arange(len(keys)), (low + k * high) % self.n_bits] = 1.0
        return bits


def subwords_loss(
    ops: Ops, docs: List[Doc], prediction: Prediction, *, bits: SubwordBits
) -> Tuple[float, Floats2d]:
    """Cross-entropy of the bits, each by itself, over the predicted tokens.

    docs: The docs before masking.
    Returns (loss, gradient): a sum, in nats; and (M, n_bits), divided by the number of
        all tokens.
    """
    positions = get_array_ops(prediction.positions).to_numpy(prediction.positions)
    keys = numpy.concatenate([doc.to_array([ORTH]) for doc in docs])[positions]
    types, inverse = numpy.unique(keys, return_inverse=True)
    target = ops.asarray2f(cast(Any, bits(docs[0].vocab, types)[inverse]))
    Y: Any = prediction.data
    # exp never overflows, whatever the sign of Y.
    small = ops.xp.exp(-ops.xp.abs(Y))
    chance = ops.xp.where(Y >= 0, 1.0, small) / (1.0 + small)
    loss = ops.xp.maximum(Y, 0).sum() + ops.xp.log1p(small).sum() - (Y * target).sum()
    return float(loss), (chance - target) / float(prediction.n_tokens)


def bit_scores(nO: int, nI: int) -> Model[Floats2d, Floats2d]:
    """Score bits: a linear layer whose bias starts low and learns fast.

    Shapes: (M, nI) -> (M, nO), the log of the odds of each bit; W (nO, nI), zeros at
    first, and b (nO,), of which BIAS_SCALE times the value is added.
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
    """Multiply with W and add the bias."""
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
    """Let every bit have the chance DENSITY, whatever the input."""
    model.set_param("W", model.ops.alloc2f(model.get_dim("nO"), model.get_dim("nI")))
    b = model.ops.alloc1f(model.get_dim("nO"))
    b += float(numpy.log(DENSITY / (1 - DENSITY))) / BIAS_SCALE
    model.set_param("b", b)


def build_pretrain_subwords_v1(
    maxout_pieces: int,
    hidden_size: int,
    n_bits: int = 1024,
    min_n: int = 3,
    max_n: int = 5,
    n_hashes: int = 2,
    word_hashes: int = 4,
    masking: Masking = TOKEN_MASKING,
) -> Objective:
    """Predict the character n-grams of masked words, and which words they are.

    A word is a set of bits: each n-gram of it, and the word as a whole, are hashed to
    a few. Each bit is predicted by itself, without a softmax, so the output stays
    small whatever the number of words. Biases learn how frequent the bits are before
    weights do, so that those are left with what the context tells.

    maxout_pieces (int): Pieces of the hidden maxout layer, 1 or more; 2 or 3 are
        usual.
    hidden_size (int): Width of the hidden layer, 1 or more; 128 to 300 are usual.
    n_bits (int): Bits of a word, 1 or more; 512 to 4096 are usual.
    min_n, max_n (int): Length of the n-grams in code points, of the word between < and
        >; 1 <= min_n <= max_n. n-grams beyond the first 100 characters are left out.
    n_hashes (int): Bits that each n-gram sets, 0 to 8; 0 leaves n-grams out.
    word_hashes (int): Bits that the word as a whole sets, 0 or more, and 1 or more
        without n-grams.
    masking (callable): Chooses and disguises tokens; 15% of them, one by one, if left
        out.
    Shapes: docs of N tokens, M of them masked -> (M, n_bits).
    Raises: ValueError on a number that is not allowed.
    Sources: Serra and Karatzoglou 2017 (Bloom filters as outputs), arXiv:1706.03993;
        Bojanowski et al. 2017 (n-grams), arXiv:1607.04606; Kirsch and Mitzenmacher
        2006 (two hashes are enough), doi:10.1007/11841036_42.
    """
    name = "PretrainSubwords.v1"
    check_positive(
        name, maxout_pieces=maxout_pieces, hidden_size=hidden_size, n_bits=n_bits
    )
    if n_hashes:
        check_ngrams(name, min_n, max_n, n_hashes)
        check_not_negative(name, word_hashes=word_hashes)
    else:
        check_positive(name, **{"word_hashes, without n-grams,": word_hashes})
    bits = SubwordBits(n_bits, min_n, max_n, n_hashes, word_hashes)

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        output_layer: Model[Floats2d, Floats2d] = chain(
            Maxout(nO=hidden_size, nP=maxout_pieces),
            LayerNorm(nI=hidden_size),
            bit_scores(n_bits, hidden_size),
        )
        head = Head("subwords", output_layer, partial(subwords_loss, bits=bits))
        return masked_language_model(tok2vec, [head], masking)

    return create_objective
