"""Reader of fastText's .bin, and of floret's, which has two settings more.

fastText 0.9.2: magic, version, 12 settings, dictionary, input matrix, output matrix.
A word's vector is the mean of its own row and of those of its n-grams.
"""

import mmap
import struct
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional, Tuple

import numpy
from numpy.typing import NDArray
from thinc.backends import get_array_ops

from ... import ops
from ...checks import InputError
from ..file_arrays import FileArray, cut_off, damaged
from ..ngrams import FASTTEXT, FLORET, Ngrams, ngram_rows
from .inputs import Input
from .source import Batch, Source, row_name, rows_per_batch

MAGIC, SUPERVISED = 793712314, 3
FASTTEXT_MODE, FLORET_MODE = 1, 2
# The seed that floret hashes with; its .bin does not hold it.
FLORET_SEED = 2166136261
END_OF_SENTENCE = b"</s>"
# Rows of n-grams that are held at a time; more than any real words have.
BATCH_WORDS, MAX_NGRAMS = 1024, 1 << 18


@dataclass(frozen=True)
class _Model:
    """The settings of a model; begin is the first byte of its dictionary."""

    width: int
    bucket: int
    n_words: int
    n_entries: int
    begin: int
    ngrams: Optional[Ngrams]


def open_fasttext(input: Input, subwords: bool) -> Source:
    """Read the words of a fastText model, or the table of a floret one.

    subwords: Whether to return the n-grams of a fastText model, too.
    Raises: InputError, also from batches, if the file is broken, cut off or quantised.
    """
    path, label = input.local(), input.label
    if not path.stat().st_size:
        raise cut_off(label, 0, "the file is empty")
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    model = _read_head(data, label)
    floats = _find_matrix(data, model, label)
    # As bytes: the numbers may not be aligned to 4.
    shape = (floats.shape[0], 4 * model.width)
    matrix = FileArray(numpy.dtype("u1"), shape, floats.offset).map(path)
    if model.ngrams is not None and model.ngrams.scheme == FLORET:
        return _bucket_source(matrix[model.n_words :], model, label, "floret")
    notes: List[str] = []
    source = Source(
        label,
        "fastText binary",
        model.width,
        _word_batches(data, matrix, model, label, notes),
        n_rows=model.n_words,
        notes=notes,
    )
    if subwords and model.ngrams is not None:
        source.subwords = _bucket_source(
            matrix[model.n_words :], model, f"{label}, n-grams", "fastText"
        )
    elif subwords:
        notes.append(f"{label}: was trained without n-grams; it has words alone")
    return source


def _unpack(data: Any, kinds: str, at: int, label: str) -> Tuple[Any, ...]:
    if at + struct.calcsize("<" + kinds) > len(data):
        raise cut_off(label, len(data), "the settings or sizes end")
    return struct.unpack_from("<" + kinds, data, at)


def _read_head(data: Any, label: str) -> _Model:
    magic, version = _unpack(data, "2i", 0, label)
    if magic != MAGIC or version not in (11, 12):
        raise InputError(
            f"{label}: is not a fastText binary of version 11 or 12, but {version}; "
            "save it again with fastText 0.9"
        )
    width, *_, kind, bucket, minn, maxn = _unpack(data, "11i", 8, label)
    # Only where the layout is right do the counts of the dictionary fit together.
    for begin in (52, 60):
        sizes = _unpack(data, "id3i2q", begin, label)
        n_entries, n_words, n_labels, n_tokens, n_pruned = sizes[2:]
        if 0 < n_words <= n_entries == n_words + n_labels and n_tokens >= 0:
            break
    else:
        raise damaged(label, 64, f"a dictionary of {n_entries} words is not possible")
    if width < 1 or bucket < 0 or minn < 0 or n_pruned < -1:
        raise damaged(label, 8, f"width {width}, {bucket} buckets, minn {minn}")
    if n_pruned > 0:
        raise _quantised(label)
    # A classifier of version 11 has no n-grams, whatever its settings are.
    if not n_pruned or (version == 11 and kind == SUPERVISED):
        maxn = 0
    mode = _unpack(data, "2i", 52, label) if begin == 60 else (FASTTEXT_MODE, 1)
    ngrams = _find_ngrams(mode, minn, maxn, label)
    if ngrams is not None and not bucket:
        raise damaged(label, 8, f"n-grams of up to {maxn}, but no buckets for them")
    begin += struct.calcsize("<id3i2q")
    return _Model(width, bucket, n_words, n_entries, begin, ngrams)


def _find_ngrams(
    mode: Tuple[int, ...], minn: int, maxn: int, label: str
) -> Optional[Ngrams]:
    try:
        if mode[0] == FLORET_MODE:
            return Ngrams(FLORET, minn, maxn, mode[1], FLORET_SEED)
        if mode[0] != FASTTEXT_MODE:
            raise ValueError("is neither fasttext nor floret")
        # Without n-grams, minn may be larger than maxn.
        return Ngrams(FASTTEXT, minn, maxn) if minn <= maxn and maxn else None
    except ValueError as err:
        raise damaged(label, 52, f"mode {mode[0]}: {err}") from err


def _quantised(label: str) -> InputError:
    return InputError(
        f"{label}: is quantised (.ftz), which keeps no rows of floats; name the .bin "
        "that it was made from"
    )


def _find_matrix(data: Any, model: _Model, label: str) -> FileArray:
    # The sizes are checked before the dictionary is walked, which may be long.
    shape = (model.n_words + model.bucket, model.width)
    at = model.begin
    if at + 10 * model.n_entries > len(data):
        raise cut_off(label, len(data), f"{model.n_entries} words don't fit in")
    for _, end in _entries(data, model, label):
        at = end
    is_quantised, n_rows, width = _unpack(data, "?2q", at, label)
    if is_quantised:
        raise _quantised(label)
    if (n_rows, width) != shape:
        raise damaged(
            label,
            at + 1,
            f"a matrix of {n_rows} x {width}, not {shape[0]} x {shape[1]}",
        )
    matrix = FileArray(numpy.dtype("<f4"), shape, at + 17)
    matrix.check_end(label, len(data))
    # The matrix after it is not read, but it shows whether the file is complete.
    is_coded, n_rows, width = _unpack(data, "?2q", matrix.end, label)
    if not is_coded:
        if n_rows < 0 or width < 0:
            raise damaged(label, matrix.end, f"an output matrix of {n_rows} x {width}")
        output = FileArray(numpy.dtype("<f4"), (n_rows, width), matrix.end + 17)
        output.check_end(label, len(data))
    return matrix


def _entries(data: Any, model: _Model, label: str) -> Iterator[Tuple[bytes, int]]:
    """Yield each word or label of the dictionary, and its end."""
    at = model.begin
    for i in range(model.n_entries):
        end = data.find(b"\0", at)
        if end < 0 or end + 10 > len(data):
            raise cut_off(label, len(data), f"word {i + 1} of {model.n_entries} ends")
        # Words come before labels.
        if data[end + 9] != (i >= model.n_words):
            raise damaged(label, end + 9, f"word {i + 1} is of type {data[end + 9]}")
        yield data[at:end], end + 10
        at = end + 10


def _word_batches(
    data: Any, matrix: NDArray, model: _Model, label: str, notes: List[str]
) -> Iterator[Batch]:
    entries = _entries(data, model, label)
    n_bad = 0
    step = min(BATCH_WORDS, rows_per_batch(model.width))
    for start in range(0, model.n_words, step):
        n = min(step, model.n_words - start)
        raw = [next(entries)[0] for _ in range(n)]
        words = [word.decode("utf8", "replace") for word in raw]
        kept = [i for i in range(n) if words[i].encode("utf8") == raw[i]]
        n_bad += n - len(kept)
        words = [words[i] for i in kept]
        rows = matrix[start : start + n][kept].view("<f4")
        if model.ngrams is not None:
            _add_ngrams(rows, words, matrix[model.n_words :], model.ngrams, label)
        yield Batch(words, rows, _row_names([start + i for i in kept]))
    if n_bad:
        notes.append(f"{label}: {n_bad} words are not UTF-8, and were left out")


def _row_names(rows: List[int]) -> Callable[[int], str]:
    return lambda i: f"row {rows[i] + 1}"


def _add_ngrams(
    rows: NDArray, words: List[str], buckets: NDArray, ngrams: Ngrams, label: str
) -> None:
    """Turn each word's own row into the mean with the rows of its n-grams."""
    sizes = [min(len(word) + 2, ngrams.maxn) * (len(word) + 2) for word in words]
    if sum(sizes) > MAX_NGRAMS * 4:
        longest = words[sizes.index(max(sizes))]
        raise InputError(
            f"{label}: has words with too many n-grams, such as {longest[:40]!r} of "
            f"{len(longest)} letters; the file is damaged; download it again"
        )
    # The end of a sentence has no n-grams, and neither has an empty text.
    texts = ["" if word == END_OF_SENTENCE.decode() else word for word in words]
    picks, starts = ngram_rows(ngrams, texts, len(buckets))
    used, picks = numpy.unique(picks, return_inverse=True)
    table: Any = buckets[used].view("<f4")
    counts: Any = numpy.diff(starts)
    picked: Any = picks.astype("i")
    rows += ops.sum_rows(get_array_ops(table), table, picked, counts)
    rows *= (1.0 / (1 + counts)).astype("f")[:, None]


def _bucket_source(buckets: NDArray, model: _Model, label: str, name: str) -> Source:
    def batches() -> Iterator[Batch]:
        step = rows_per_batch(model.width)
        for at in range(0, len(buckets), step):
            rows = numpy.array(buckets[at : at + step]).view("<f4")
            yield Batch([], rows, row_name(at))

    return Source(
        label,
        f"{name} binary",
        model.width,
        batches(),
        n_rows=len(buckets),
        ngrams=model.ngrams,
    )
