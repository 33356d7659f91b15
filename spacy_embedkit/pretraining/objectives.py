"""Registered objectives, for `spacy pretrain` and `spacy embedkit pretrain`.

An objective is a function of (vocab, tok2vec) that returns a model of docs whose
`attrs["loss"]` is a function of (ops, docs, prediction).
"""

from functools import partial
from typing import Any, Callable, List, Literal, Tuple

from spacy.tokens import Doc
from spacy.vectors import Vectors
from spacy.vocab import Vocab
from thinc.api import (
    CosineDistance,
    LayerNorm,
    Linear,
    Maxout,
    Model,
    MultiSoftmax,
    Ops,
    chain,
    zero_init,
)
from thinc.types import Floats2d

from ..checks import check_ngrams, check_not_negative, check_positive
from ..layers.static_vectors import check_vectors, look_up
from ..layers.types import vectors_attr
from .masked_model import (
    Head,
    HeadLoss,
    Prediction,
    masked_language_model,
    predicted_keys,
)
from .masking import TOKEN_MASKING, Masking
from .subwords import SubwordBits, bit_scores, subwords_loss

Objective = Callable[[Vocab, Model], Model]


def build_pretrain_characters_v1(
    maxout_pieces: int,
    hidden_size: int,
    n_characters: int,
    masking: Masking = TOKEN_MASKING,
) -> Objective:
    """Predict the first and last UTF-8 bytes of masked words.

    The same masking, output layer, weights and gradient as spacy.PretrainCharacters.v1,
    with three differences: the output layer runs on the masked tokens only, the
    reported loss is summed over them only, and replacement words are drawn from the
    text read so far, not from the vocab, which may be empty.

    maxout_pieces (int): Pieces of the hidden maxout layer, 1 or more; 2 or 3 are
        usual.
    hidden_size (int): Width of the hidden layer, 1 or more; 128 to 300 are usual.
    n_characters (int): Bytes to predict, half from each end; 1 or more, 4 is usual.
    masking (callable): Chooses and disguises tokens, such as token_masking.v1, which is
        the default: 15% of the tokens, independently of each other.
    Shapes: docs of N tokens, M of them masked -> (M, 256 * n_characters).
    Raises: ValueError if a number is below 1.
    Source: https://spacy.io/api/architectures#pretrain_chars; the masking is that of
        Devlin et al. 2019, arXiv:1810.04805.
    """
    name = "PretrainCharacters.v1"
    check_positive(
        name,
        maxout_pieces=maxout_pieces,
        hidden_size=hidden_size,
        n_characters=n_characters,
    )

    def build_output(vocab: Vocab) -> Model[Floats2d, Floats2d]:
        return MultiSoftmax((256,) * n_characters, nI=hidden_size)

    loss = partial(characters_loss, n_characters=n_characters)
    sizes = (maxout_pieces, hidden_size)
    return _masked_objective("characters", loss, build_output, *sizes, masking)


def build_pretrain_vectors_v1(
    maxout_pieces: int,
    hidden_size: int,
    loss: Literal["cosine", "L2"],
    masking: Masking = TOKEN_MASKING,
) -> Objective:
    """Predict the static vectors of masked words, from a table of any kind.

    The same masking, output layer, weights and gradient as spacy.PretrainVectors.v1,
    with the differences that PretrainCharacters.v1 has. The target of a word without a
    row is what the table returns for it; where that is zeros, the cosine loss leaves it
    out, as in stock.

    maxout_pieces (int): Pieces of the hidden maxout layer, 1 or more; 2 or 3 are
        usual.
    hidden_size (int): Width of the hidden layer, 1 or more; 128 to 300 are usual.
    loss (str): "cosine" for 1 minus the cosine, "L2" for the squared distance.
    masking (callable): As for PretrainCharacters.v1.
    Shapes: docs of N tokens, M of them masked -> (M, width of the table).
    Raises: ValueError if a number is below 1, or the vocab has no vectors.
    Source: https://spacy.io/api/architectures#pretrain_vectors
    """
    name = "PretrainVectors.v1"
    check_positive(name, maxout_pieces=maxout_pieces, hidden_size=hidden_size)

    def build_output(vocab: Vocab) -> Model[Floats2d, Floats2d]:
        return Linear(nO=check_vectors(vocab), nI=hidden_size, init_W=zero_init)

    head_loss = partial(vectors_loss, distance=loss)
    sizes = (maxout_pieces, hidden_size)
    return _masked_objective("vectors", head_loss, build_output, *sizes, masking)


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

    A word is a set of bits, a few for each of its n-grams and for the word itself,
    chosen by hashes. Bits are predicted independently, without a softmax, so the size
    of the output does not depend on the number of words. Biases learn the frequencies
    of the bits first, so that the weights are left with what the context tells.

    maxout_pieces (int): Pieces of the hidden maxout layer, 1 or more; 2 or 3 are
        usual.
    hidden_size (int): Width of the hidden layer, 1 or more; 128 to 300 are usual.
    n_bits (int): Bits of a word, 1 or more; 512 to 4096 are usual.
    min_n (int): Shortest n-gram in code points, of the word between < and >; 1 or more.
    max_n (int): Longest n-gram, min_n or more. Characters of a word after the first 100
        are left out.
    n_hashes (int): Bits that each n-gram sets, 0 to 8; 0 leaves n-grams out.
    word_hashes (int): Bits that the word itself sets, 0 or more; 1 or more without
        n-grams.
    masking (callable): As for PretrainCharacters.v1.
    Shapes: docs of N tokens, M of them masked -> (M, n_bits).
    Raises: ValueError if a number is out of range.
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

    def build_output(vocab: Vocab) -> Model[Floats2d, Floats2d]:
        return bit_scores(n_bits, hidden_size)

    loss = partial(subwords_loss, bits=bits)
    sizes = (maxout_pieces, hidden_size)
    return _masked_objective("subwords", loss, build_output, *sizes, masking)


def _masked_objective(
    name: str,
    loss: HeadLoss,
    build_output: Callable[[Vocab], Model[Floats2d, Floats2d]],
    maxout_pieces: int,
    hidden_size: int,
    masking: Masking,
) -> Objective:
    """Predict masked words by one head with a hidden layer, as stock objectives do."""

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        output_layer: Model[Floats2d, Floats2d] = chain(
            Maxout(nO=hidden_size, nP=maxout_pieces),
            LayerNorm(nI=hidden_size),
            build_output(vocab),
        )
        return masked_language_model(tok2vec, [Head(name, output_layer, loss)], masking)

    return create_objective


def vectors_loss(
    ops: Ops,
    docs: List[Doc],
    prediction: Prediction,
    *,
    distance: Literal["cosine", "L2"],
) -> Tuple[float, Floats2d]:
    """Return the distance of the vectors, over the predicted tokens.

    docs: The docs before masking.
    Returns (loss, gradient): a sum; and (M, width), divided by the number of all
        tokens, as in the stock objective.
    """
    vocab = docs[0].vocab
    keys = predicted_keys(docs, prediction, vectors_attr(vocab))
    target, missing = look_up(ops, vocab, keys)
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
    """Return the squared error of the bytes, over the predicted tokens.

    docs: The docs before masking.
    Returns (loss, gradient): a sum; and (M, 256 * n_characters), divided by the
        number of all tokens, as in the stock objective.
    """
    # A doc of the predicted words alone, for spaCy's own encoder.
    words = Doc(docs[0].vocab, words=predicted_keys(docs, prediction).tolist())
    bytes_: Any = words.to_utf8_array(nr_char=n_characters)
    classes = ops.asarray(bytes_.reshape(-1))
    diff: Any = prediction.data.reshape((-1, 256)).copy()
    diff[ops.xp.arange(len(diff)), classes] -= 1.0
    loss = float(ops.xp.vdot(diff, diff))
    diff /= float(prediction.n_tokens)
    return loss, diff.reshape(prediction.data.shape)
