"""Distil static vectors for the words of a corpus from a transformer."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, List, Literal, Optional, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from tqdm import tqdm

from ...checks import InputError, check_choice, check_range
from ...text.read import read_texts
from ...text.tokens import iter_tokens
from ...transformer.inference import InferenceModel, load_inference_model, torch_threads
from ..sources.source import Batch, Source
from .mean_rows import mean_rows
from .pca import principal_axes

BATCH_ROWS = 4096
# Of Arora et al. 2017: words with a larger share of the tokens are made shorter.
SIF_SHARE = 1e-3
RANGES = {
    "max_words": (1, 2**31 - 1),
    "min_count": (1, 2**31 - 1),
    "n_contexts": (1, 2**31 - 1),
    "remove_top": (0, 10_000),
    "batch_size": (1, 65_536),
    "threads": (1, 1024),
}


@dataclass(frozen=True)
class DistillSettings:
    """How vectors are distilled. The defaults did best on word similarity in English.

    lang: Language code, or folder or package of a pipeline: its tokenizer is used.
    how: "isolated": each word is encoded alone. "contexts": mean over its places in
        the text (Bommasani et al. 2020, aclanthology.org/2020.acl-main.431); a word
        that has none, because its texts were cut off, is encoded alone.
    special: Whether special tokens, such as [CLS] and [SEP], count in the mean of a
        word encoded alone, besides its wordpieces.
    max_words: The most frequent words that get a vector, 1 or more.
    min_count: Rarer words get no vector, 1 or more.
    n_contexts: Largest number of places of a word that count, 1 or more.
    layers: Hidden layers that are averaged (Vulic et al. 2020, arXiv:2010.05731): 0 the
        embeddings, 1 the first, -1 the last; None: all of them.
    width: Largest number of columns: the rows are centred and rotated to their
        principal components. None: as many as there are.
    remove_top: Components left out, the largest ones first: they say how frequent a
        word is, not what it means (Mu and Viswanath 2018, arXiv:1702.01417, who take
        1 in 100); 0 or more.
    weighting: Length of a row by the word's frequency, for means of many words. "sif":
        times a / (a + p), p the share of the tokens, a = 0.001 (Arora et al. 2017,
        openreview.net/forum?id=SyK00v5xx). "zipf": times log(1 + rank), scaled to 1
        (Tulkens and van Dongen 2024, github.com/MinishLab/model2vec). "none": as is.
    batch_size: Texts encoded at once. threads: For the CPU. device: As torch names it.
    Raises: InputError naming the setting that is out of its range.
    """

    lang: str
    how: Literal["isolated", "contexts"] = "isolated"
    special: bool = True
    max_words: int = 50_000
    min_count: int = 2
    n_contexts: int = 50
    layers: Optional[Sequence[int]] = None
    width: Optional[int] = 300
    remove_top: int = 4
    weighting: Literal["none", "sif", "zipf"] = "none"
    batch_size: int = 64
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check every setting."""
        check_choice("distill", ("isolated", "contexts"), how=self.how)
        check_choice("distill", ("none", "sif", "zipf"), weighting=self.weighting)
        for name, (low, high) in RANGES.items():
            check_range("distill", low, high, **{name: getattr(self, name)})
        if self.width is not None:
            check_range("distill", 1, 10_000, width=self.width)


def distill(transformer: str, paths: Sequence[str], **settings: Any) -> Source:
    """Return static vectors for the words of raw text, from a transformer.

    transformer: Folder of a transformer, or its name on the Hugging Face hub, from
        which it is downloaded then; see load_pretrained.
    paths: Files of raw text, as in read_texts; read twice for contexts, so that
        standard input won't do there.
    settings: Fields of DistillSettings; lang has no default.
    Rows are by falling frequency, float32. Memory: the table, and the count of each
    different word of the text. Progress goes to standard error if that is a terminal.
    Raises: InputError, for settings out of range, for broken or too little text and
        for a transformer that can't be used; ImportError naming the extra.
    """
    chosen = DistillSettings(**settings)
    if chosen.how == "contexts" and "-" in paths:
        raise InputError("contexts reads the text twice; save standard input to a file")
    with torch_threads(chosen.threads):
        encoder = load_inference_model(transformer, chosen.layers, chosen.device)
        if chosen.remove_top >= encoder.width:
            raise InputError(
                f"remove_top is {chosen.remove_top}, but {transformer} is "
                f"{encoder.width} wide; leave out fewer components"
            )
        words, shares = _count_words(paths, chosen)
        rows, seen = _encode(encoder, paths, words, chosen)
    if not seen.any():
        raise InputError(f"{transformer} can't read any word of the text; take another")
    words = [word for word, known in zip(words, seen, strict=True) if known]
    rows = principal_components(rows[seen], chosen.width, chosen.remove_top)
    rows *= _weights(shares[seen], chosen.weighting)[:, None]
    source = _source(transformer, words, rows)
    if lost := int((~seen).sum()):
        source.notes.append(f"{lost} words that the transformer can't read: left out")
    return source


def _count_words(
    paths: Sequence[str], settings: DistillSettings
) -> Tuple[List[str], NDArray]:
    """Return the V words by falling frequency, and their shares of the tokens (V,)."""
    counts: Counter[str] = Counter()
    texts = iter_tokens(settings.lang, read_texts(paths))
    for tokens in tqdm(texts, "counting", unit=" texts", disable=None):
        counts.update(tokens)
    common = counts.most_common(settings.max_words)
    common = [pair for pair in common if pair[1] >= settings.min_count]
    if not common:
        raise InputError(
            f"the raw text has {counts.total()} tokens, and no word occurs "
            f"{settings.min_count} times or more; give more text or lower min_count"
        )
    shares = numpy.asarray([count for _, count in common]) / counts.total()
    return [word for word, _ in common], shares


def _encode(
    encoder: InferenceModel,
    paths: Sequence[str],
    words: List[str],
    settings: DistillSettings,
) -> Tuple[NDArray, NDArray]:
    """Return the words' rows, (V, width) float32, and which of them have one, (V,)."""
    rows = numpy.zeros((len(words), encoder.width), dtype="f")
    seen = numpy.zeros(len(words), dtype="bool")
    if settings.how == "contexts":
        texts = iter_tokens(settings.lang, read_texts(paths))
        n, size = encoder.window, settings.batch_size
        windows = (text[i : i + n] for text in texts for i in range(0, len(text), n))
        rows, counts = mean_rows(encoder, windows, words, settings.n_contexts, size)
        seen = counts > 0
    left = numpy.flatnonzero(~seen)
    alone = [words[i] for i in left]
    texts = ([word] for word in alone)
    rows[left], counts = mean_rows(
        encoder, texts, alone, 1, settings.batch_size, special=settings.special
    )
    seen[left] = counts > 0
    return rows, seen


def principal_components(
    rows: NDArray, width: Optional[int], remove_top: int
) -> NDArray:
    """Return the rows' coordinates along their principal components, largest first.

    rows: (V, D) float32; their mean is taken off.
    width: Largest number of components kept; None: all.
    remove_top: Components left out before these.
    Returns: (V, min(width, D - remove_top)) float32. Signs are chosen so that the
        largest entry of a component is positive. With all, distances stay the same.
    """
    mean, _, axes = principal_axes(rows)
    largest = numpy.abs(axes).argmax(axis=0)
    axes = axes * numpy.sign(axes[largest, numpy.arange(len(axes))])
    end = None if width is None else remove_top + width
    axes = axes[:, remove_top:end]
    out = numpy.empty((len(rows), axes.shape[1]), dtype="f")
    for start in range(0, len(rows), BATCH_ROWS):
        out[start : start + BATCH_ROWS] = (
            rows[start : start + BATCH_ROWS] - mean
        ) @ axes
    return out


def _weights(shares: NDArray, weighting: str) -> NDArray:
    """Return a factor for each row, (V,) float32; shares fall."""
    if weighting == "sif":
        weights = SIF_SHARE / (SIF_SHARE + shares)
    elif weighting == "zipf":
        weights = numpy.log1p(numpy.arange(1, len(shares) + 1))
        weights = weights / weights.max(initial=1.0)
    else:
        weights = numpy.ones(len(shares))
    return weights.astype("f")


def _source(transformer: str, words: List[str], rows: NDArray) -> Source:
    batches = (
        Batch(
            words[start : start + BATCH_ROWS],
            rows[start : start + BATCH_ROWS],
            lambda i, start=start: f"word {start + i + 1}",  # type: ignore[misc]
        )
        for start in range(0, len(words), BATCH_ROWS)
    )
    name = f"distilled from {transformer}"
    return Source(transformer, name, rows.shape[1], batches, n_rows=len(words))
