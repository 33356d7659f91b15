"""Registered pretraining objectives, for `spacy pretrain`.

An objective is a function of (vocab, tok2vec) that returns a model of docs whose
`attrs["loss"]` is a function of (ops, docs, prediction). Both ends are ours, so the
prediction can say which tokens it is about: the masked ones alone, which are 15% of
all. The encoder runs over every token, the output layer over the masked.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, List, Literal, Optional, Tuple, cast

import numpy
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
    NumpyOps,
    Ops,
    chain,
    zero_init,
)
from thinc.backends import get_array_ops
from thinc.types import Floats2d, Ints1d

from . import ops as kernels
from .checks import check_positive
from .layers.static_vectors import check_vectors, look_up
from .layers.types import vectors_attr
from .masking import MASK_RATE, WordSample, mask_docs

Objective = Callable[[Vocab, Model], Model]


@dataclass
class MaskedPrediction:
    """Output for the masked tokens of a batch.

    data: (M, nO), one row a masked token.
    masked: (M,) int32, their positions among the N tokens of the batch.
    n_tokens: N.
    """

    data: Floats2d
    masked: Ints1d
    n_tokens: int


def build_pretrain_characters_v1(
    maxout_pieces: int, hidden_size: int, n_characters: int
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
    Shapes: docs of N tokens, M of them masked -> (M, 256 * n_characters).
    Raises: ValueError if a number is below 1.
    Source: https://spacy.io/api/architectures#pretrain_chars; the masking is that of
        Devlin et al. 2019, arXiv:1810.04805.
    """
    name = "PretrainCharacters.v1"
    check_positive(name, "maxout_pieces", maxout_pieces)
    check_positive(name, "hidden_size", hidden_size)
    check_positive(name, "n_characters", n_characters)

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        output_layer: Model[Floats2d, Floats2d] = chain(
            Maxout(nO=hidden_size, nP=maxout_pieces),
            LayerNorm(nI=hidden_size),
            MultiSoftmax((256,) * n_characters, nI=hidden_size),
        )
        model = masked_language_model(tok2vec, output_layer)
        model.attrs["loss"] = partial(characters_loss, n_characters=n_characters)
        return model

    return create_objective


def build_pretrain_vectors_v1(
    maxout_pieces: int, hidden_size: int, loss: Literal["cosine", "L2"]
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
    Shapes: docs of N tokens, M of them masked -> (M, width of the table).
    Raises: ValueError if a number is below 1, or the vocab has no vectors.
    Source: https://spacy.io/api/architectures#pretrain_vectors
    """
    name = "PretrainVectors.v1"
    check_positive(name, "maxout_pieces", maxout_pieces)
    check_positive(name, "hidden_size", hidden_size)

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        output_layer: Model[Floats2d, Floats2d] = chain(
            Maxout(nO=hidden_size, nP=maxout_pieces),
            LayerNorm(nI=hidden_size),
            Linear(nO=check_vectors(vocab), nI=hidden_size, init_W=zero_init),
        )
        model = masked_language_model(tok2vec, output_layer)
        model.attrs["loss"] = partial(vectors_loss, distance=loss)
        return model

    return create_objective


def vectors_loss(
    ops: Ops,
    docs: List[Doc],
    prediction: MaskedPrediction,
    *,
    distance: Literal["cosine", "L2"],
) -> Tuple[float, Floats2d]:
    """Distance of the vectors, over the masked tokens.

    docs: The docs before masking.
    Returns (loss, gradient): a sum; and (M, width), divided by the number of all
        tokens, as in the stock objective.
    """
    vocab = docs[0].vocab
    keys = numpy.concatenate([doc.to_array([vectors_attr(vocab)]) for doc in docs])
    masked = get_array_ops(prediction.masked).to_numpy(prediction.masked)
    target, missing = look_up(ops, vocab, keys.reshape(-1)[masked])
    if isinstance(vocab.vectors, Vectors):
        target[missing] = 0
    if distance == "L2":
        diff: Any = prediction.data - target
        return float((diff**2).sum()), diff / float(prediction.n_tokens)
    cosine = CosineDistance(normalize=False, ignore_zeros=True)
    gradient, loss = cosine(prediction.data, target)
    return float(loss), gradient / float(prediction.n_tokens)


def characters_loss(
    ops: Ops, docs: List[Doc], prediction: MaskedPrediction, *, n_characters: int
) -> Tuple[float, Floats2d]:
    """Squared error of the bytes, over the masked tokens.

    docs: The docs before masking.
    Returns (loss, gradient): a sum; and (M, 256 * n_characters), divided by the
        number of all tokens, as in the stock objective.
    """
    bytes_ = ops.xp.vstack(
        [ops.asarray(doc.to_utf8_array(nr_char=n_characters)) for doc in docs]
    )
    target = one_hot(ops, bytes_[prediction.masked], 256)
    diff = prediction.data - target.reshape(prediction.data.shape)
    return float((diff**2).sum()), diff / float(prediction.n_tokens)


def one_hot(ops: Ops, classes: Any, n_classes: int) -> Any:
    """Spread class numbers to rows of 0 and 1: (...) to (..., n_classes) float32."""
    return (classes[..., None] == ops.xp.arange(n_classes)).astype("f")


def masked_language_model(
    tok2vec: Model[List[Doc], List[Floats2d]],
    output_layer: Model[Floats2d, Floats2d],
    mask_rate: float = MASK_RATE,
) -> Model[List[Doc], MaskedPrediction]:
    """Mask docs, encode them, and run the output layer on the masked tokens.

    tok2vec: Docs to one (N, width) array a doc. Kept as the reference "tok2vec",
        which is the part that `spacy pretrain` saves.
    output_layer: (M, width) to (M, nO).
    mask_rate: Share of the tokens to mask, 0 to 1.
    """
    return Model(
        "masked-language-model",
        forward,
        init=init,
        layers=[tok2vec, output_layer],
        refs={"tok2vec": tok2vec, "output_layer": output_layer},
        attrs={"mask_rate": mask_rate, "words": WordSample()},
    )


def forward(
    model: Model[List[Doc], MaskedPrediction], docs: List[Doc], is_train: bool
) -> Tuple[MaskedPrediction, Callable]:
    """Predict the masked tokens of a batch."""
    tok2vec, output_layer = model.layers
    words: WordSample = model.attrs["words"]
    masked_docs, positions = mask_docs(docs, words, model.attrs["mask_rate"])
    masked = model.ops.asarray1i(cast(Ints1d, positions))
    Xs, backprop_tok2vec = tok2vec(masked_docs, is_train)
    X = model.ops.flatten(Xs)
    n_tokens = X.shape[0]
    lengths = NumpyOps().asarray1i([len(doc) for doc in docs])
    if not len(masked):
        empty = model.ops.alloc2f(0, output_layer.get_dim("nO"))
        return MaskedPrediction(empty, masked, n_tokens), lambda dY: []
    Y, backprop_output = output_layer(
        kernels.gather_rows(model.ops, X, masked), is_train
    )

    def backprop(dY: Floats2d) -> Any:
        dX = kernels.scatter_add_rows(model.ops, backprop_output(dY), masked, n_tokens)
        return backprop_tok2vec(model.ops.unflatten(dX, lengths))

    return MaskedPrediction(Y, masked, n_tokens), backprop


def init(
    model: Model[List[Doc], MaskedPrediction],
    X: Optional[List[Doc]] = None,
    Y: Optional[Any] = None,
) -> None:
    """Initialize the encoder on the docs, and the output layer on what it gives."""
    tok2vec, output_layer = model.layers
    tok2vec.initialize(X=X)
    sample = None if X is None else model.ops.flatten(tok2vec.predict(X))
    output_layer.initialize(X=sample)
