"""The registered objective that regresses token vectors of a transformer."""

from functools import partial
from pathlib import Path
from typing import Any, Callable, List, Literal, Optional, Tuple

from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import LayerNorm, Linear, Maxout, Model, Ops, chain, zero_init
from thinc.initializers import glorot_uniform_init
from thinc.types import Floats2d

from ..checks import check_positive
from .masked_model import Head, Prediction, masked_language_model
from .masking import Masking
from .teacher.reduction import Kind, ReductionSettings
from .teacher.targets import Targets
from .teacher.transformer_teacher import Teacher, TeacherSettings

# The cosine divides by no length below this.
MIN_LENGTH = 1e-6


def build_pretrain_transformer_v1(
    transformer: str,
    maxout_pieces: int,
    hidden_size: int,
    layers: Optional[List[int]] = None,
    targets: Kind = "standardised",
    width: Optional[int] = None,
    whiten: bool = False,
    loss: Literal["L2", "cosine"] = "L2",
    masking: Optional[Masking] = None,
    tokens: Literal["masked", "all"] = "all",
    cache_dir: Optional[str] = None,
    max_cache_gb: float = 10.0,
    window: int = 128,
    batch_pieces: int = 512,
    precision: Literal["float32", "bfloat16"] = "float32",
    device: str = "cpu",
    threads: int = 1,
) -> Callable[[Vocab, Model], Model]:
    """Predict the vectors that a transformer gives for words in their context.

    A word's target is the mean of its wordpieces' rows, each the mean of some hidden
    layers, standardised or turned to principal components. Words without a wordpiece,
    such as line breaks and characters that the transformer does not know, do not
    count. The transformer runs once over the corpus if cache_dir is given, else in
    each epoch.

    `spacy embedkit pretrain` fits the targets' mean and scale to the first 50,000 words
    of the corpus and fills the cache before training. `spacy pretrain` can't: there
    they are fitted to the first batch, and the cache is filled in the first epoch.

    transformer (str): Folder with config.json, model.safetensors and tokenizer.json, or
        the name of a model on the Hugging Face hub.
    maxout_pieces (int): Pieces of the hidden maxout layer, 1 or more; 2 or 3 are usual.
    hidden_size (int): Width of the hidden layer, 1 or more; 300 is usual.
    layers (list): Different hidden layers that are averaged: 0 the embeddings, 1 the
        first, -1 the last. None: all but the embeddings. Layers above the highest one
        are not computed.
    targets (str): "standardised": each number with mean 0 and variance 1. "pca":
        principal components.
    width (int): Components kept, the largest ones, 1 or more. None: all.
    whiten (bool): Whether each component gets variance 1; if not, all are divided by
        one number, so that their mean variance is 1.
    loss (str): For a word with target t of D numbers and prediction p, "L2": the sum of
        (p - t) ** 2 / D, which is 1 on average for a prediction of zeros, at any width;
        "cosine": 1 - cos(p, t). Summed over words; the gradient is that of the sum,
        divided by the number of all words of the batch.
    masking (callable): Chooses and masks words for the layer that is trained; the
        transformer always sees the text itself. None: nothing is masked.
    tokens (str): Words that are predicted, "all" or the "masked" ones.
    cache_dir (str): Folder that keeps targets as float16, 2 * width bytes a word, by
        text, transformer and settings, so that later runs find them. None: nothing is
        kept. Threads, device and batch_pieces only change the rounding, and share
        targets.
    max_cache_gb (float): Gigabytes of targets kept for one choice of settings, above
        0. Others are computed in each epoch.
    window (int): Wordpieces that are encoded together, 8 to 512; longer texts are cut.
    batch_pieces (int): Wordpieces encoded at once, 1 or more; 512 is fastest on CPUs,
        10,000 and more on GPUs.
    precision (str): "bfloat16" multiplies matrices in it, which is faster on processors
        that have it (avx512_bf16, amx) and slower on others.
    device (str): Where the transformer runs, as torch names it.
    threads (int): Threads of the CPU that it uses, 1 or more.
    Shapes: docs of N tokens -> (N, D), or (M, D) for M masked ones.
    Raises: ValueError on a setting that is not allowed, or not for the transformer;
        ImportError naming the extra, if torch or transformers are missing. Both are
        imported when the objective is created from vocab and layer, not before.
    Source: Romero et al. 2015, arXiv:1412.6550, for the regression onto hidden layers
        of a teacher; their mean is as in Vulic et al. 2020, arXiv:2010.05731.
    """
    name = "PretrainTransformer.v1"
    check_positive(
        name,
        maxout_pieces=maxout_pieces,
        hidden_size=hidden_size,
        batch_pieces=batch_pieces,
        threads=threads,
    )
    _check(name, layers, targets, width, whiten, window, max_cache_gb)
    if tokens == "masked" and masking is None:
        raise ValueError(
            f'{name}: tokens is "masked", but there is no masking; give one, or set '
            'tokens to "all"'
        )
    teaching = TeacherSettings(
        transformer, layers, window, batch_pieces, precision, device, threads
    )
    reduction = ReductionSettings(targets, width, whiten)

    def create_objective(vocab: Vocab, tok2vec: Model) -> Model:
        wanted = Targets(
            Teacher(teaching),
            reduction,
            None if cache_dir is None else Path(cache_dir).expanduser(),
            int(max_cache_gb * 1e9),
        )
        # The cosine of a prediction of zeros has no gradient.
        init = zero_init if loss == "L2" else glorot_uniform_init
        output_layer: Model[Floats2d, Floats2d] = chain(
            Maxout(nO=hidden_size, nP=maxout_pieces),
            LayerNorm(nI=hidden_size),
            Linear(nO=wanted.width, nI=hidden_size, init_W=init),
        )
        head_loss = partial(teacher_loss, targets=wanted, loss=loss)
        head = Head("transformer", output_layer, head_loss, tokens)
        model = masked_language_model(tok2vec, [head], masking)
        model.attrs["prepare"] = wanted.prepare
        return model

    return create_objective


def _check(
    name: str,
    layers: Optional[List[int]],
    targets: Kind,
    width: Optional[int],
    whiten: bool,
    window: int,
    max_cache_gb: float,
) -> None:
    if layers is not None and (not layers or len(set(layers)) < len(layers)):
        raise ValueError(
            f"{name}: layers is {layers}, but one or more different ones are needed; "
            "leave it out for all but the embedding layer"
        )
    if width is not None:
        check_positive(name, width=width)
    if targets != "pca" and (width is not None or whiten):
        raise ValueError(
            f'{name}: width and whiten are for targets = "pca", but it is '
            f'"{targets}"; leave them out'
        )
    if not 8 <= window <= 512:
        raise ValueError(f"{name}: window is {window}, but it has to be 8 to 512")
    if not max_cache_gb > 0:
        raise ValueError(
            f"{name}: max_cache_gb is {max_cache_gb}, but it has to be above 0; leave "
            "out cache_dir to keep nothing"
        )


def teacher_loss(
    ops: Ops,
    docs: List[Doc],
    prediction: Prediction,
    *,
    targets: Callable[[List[Doc]], Any],
    loss: Literal["L2", "cosine"],
) -> Tuple[float, Floats2d]:
    """Distance from the targets, over the predicted tokens that have one.

    docs: The docs before masking. targets: Gives (N, D) float32 for them, rows of NaN
        for tokens that have none.
    Returns (loss, gradient): a sum; and (M, D), divided by the number of all tokens.
    """
    if not len(prediction.positions):
        return 0.0, ops.alloc2f(*prediction.data.shape)
    guess: Any = prediction.data
    target: Any = ops.asarray(targets(docs))
    target = target[prediction.positions]
    is_known = ~ops.xp.isnan(target[:, :1])
    # A token without a target gets a gradient of zeros.
    target = ops.xp.where(is_known, target, guess)
    if loss == "L2":
        diff = guess - target
        total = float((diff**2).sum()) / guess.shape[1]
        gradient = diff * (2.0 / (guess.shape[1] * prediction.n_tokens))
        return total, gradient
    lengths = ops.xp.linalg.norm(guess, axis=1, keepdims=True).clip(MIN_LENGTH)
    target /= ops.xp.linalg.norm(target, axis=1, keepdims=True).clip(MIN_LENGTH)
    unit = guess / lengths
    cosine = (unit * target).sum(axis=1, keepdims=True)
    total = float(((1 - cosine) * is_known).sum())
    gradient = (cosine * unit - target) / lengths * is_known
    return total, gradient / float(prediction.n_tokens)
