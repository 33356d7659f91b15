"""Registered objectives, for `spacy pretrain` and `spacy embedkit pretrain`.

An objective is a function of (vocab, tok2vec) that returns a model of docs whose
`attrs["loss"]` is a function of (ops, docs, prediction).
"""

from functools import partial
from typing import Callable, Literal

from spacy.vocab import Vocab
from thinc.api import LayerNorm, Linear, Maxout, Model, MultiSoftmax, chain, zero_init
from thinc.types import Floats2d

from ..checks import check_positive
from ..layers.static_vectors import check_vectors
from .losses import characters_loss, vectors_loss
from .masked_model import Head, masked_language_model
from .masking import TOKEN_MASKING, Masking

Objective = Callable[[Vocab, Model], Model]


def build_pretrain_characters_v1(
    maxout_pieces: int,
    hidden_size: int,
    n_characters: int,
    masking: Masking = TOKEN_MASKING,
) -> Objective:
    """Predict the first and last UTF-8 bytes of masked words.

    The maths of spacy.PretrainCharacters.v1: the same masking, output layer, weights
    and gradient. It differs in three points. The output layer runs on the masked
    tokens only, and the reported loss is summed over them only. Replacement words
    are drawn from the text read so far, not from the vocab, which may be empty.

    maxout_pieces (int): Pieces of the hidden maxout layer, 1 or more; 2 or 3 are
        usual.
    hidden_size (int): Width of the hidden layer, 1 or more; 128 to 300 are usual.
    n_characters (int): Bytes to predict, half from each end; 1 or more, 4 is usual.
    masking (callable): Chooses and disguises tokens; 15% of them, one by one, as in
        stock, if left out.
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

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        output_layer: Model[Floats2d, Floats2d] = chain(
            Maxout(nO=hidden_size, nP=maxout_pieces),
            LayerNorm(nI=hidden_size),
            MultiSoftmax((256,) * n_characters, nI=hidden_size),
        )
        loss = partial(characters_loss, n_characters=n_characters)
        head = Head("characters", output_layer, loss)
        return masked_language_model(tok2vec, [head], masking)

    return create_objective


def build_pretrain_vectors_v1(
    maxout_pieces: int,
    hidden_size: int,
    loss: Literal["cosine", "L2"],
    masking: Masking = TOKEN_MASKING,
) -> Objective:
    """Predict the static vectors of masked words, from a table of any kind.

    The maths of spacy.PretrainVectors.v1: the same masking, output layer, weights and
    gradient. It differs as PretrainCharacters.v1 does: the output layer runs on the
    masked tokens only, the reported loss is the sum over them, and replacement words
    are drawn from the text. A word without a row has what the table gives it as its
    target; where that is zeros, the cosine loss leaves it out, as in stock.

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

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        output_layer: Model[Floats2d, Floats2d] = chain(
            Maxout(nO=hidden_size, nP=maxout_pieces),
            LayerNorm(nI=hidden_size),
            Linear(nO=check_vectors(vocab), nI=hidden_size, init_W=zero_init),
        )
        head = Head("vectors", output_layer, partial(vectors_loss, distance=loss))
        return masked_language_model(tok2vec, [head], masking)

    return create_objective
