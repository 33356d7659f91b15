"""Convert a source of vectors to a folder that spaCy loads, all or nothing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple, Union

import numpy
import spacy
from numpy.typing import NDArray
from spacy.attrs import IDS
from spacy.strings import get_string_id
from tqdm import tqdm

from ...checks import InputError
from ...io import atomic_folder
from ..file_arrays import map_array
from ..keys import KeyRows, Words
from ..mapped import MappedVectors, Unseen
from ..nearest import nearest_rows
from ..sources.source import Source
from ..table import FOLDER, SUBWORDS, WORD_ARRAYS, Table, finish_table
from .collect import Duplicates, collect
from .output import check_target
from .quantise import DType, encode_rows

NAME = "spacy-embedkit.Vectors.v1"


@dataclass(frozen=True)
class ConvertSettings:
    """How a source is converted.

    attr: Token attribute that is looked up; None takes the source's, or ORTH.
    name: Name of the table; None takes the source's, or LANG.vectors.
    truncate: Rows to keep, from the start. prune: Rows to keep, while the words of the
        others share the row nearest to theirs. 1 or more, or None for all.
    dtype: Store of the rows, see rows.py. normalise: Make all rows of length 1.
    forms: Let the Title and UPPER forms of a word share its row, if they have none.
    duplicates, skip_bad: See collect.
    unseen: Written to the config of the folder, see mapped.build_vectors_v1.
    """

    attr: Optional[str] = None
    name: Optional[str] = None
    truncate: Optional[int] = None
    prune: Optional[int] = None
    dtype: DType = "float32"
    normalise: bool = False
    forms: bool = False
    duplicates: Duplicates = "error"
    skip_bad: bool = False
    unseen: Unseen = "zeros"

    def check(self, source: Source) -> None:
        """Raise InputError on a setting that is not possible for the source."""
        for name in ("truncate", "prune"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name} is {value}; give 1 or more")
            if value is not None and source.ngrams is not None:
                raise InputError(
                    f"--{name} is not possible: {source.path} is a table of n-grams, "
                    "of which every row is needed"
                )
        if self.attr is not None and self.attr.upper() not in IDS:
            raise InputError(
                f"--attr is {self.attr!r}; give a token attribute, such as ORTH, LOWER "
                "or NORM"
            )
        if source.keys is not None and self.truncate is not None:
            raise InputError("--truncate is not possible for spaCy's own table")
        if self.unseen == "subwords" and not (source.subwords or source.ngrams):
            raise InputError(
                '--unseen is "subwords", but there are none; pass --subwords with a '
                "fastText .bin, or --backoff with a floret table"
            )


@dataclass
class Report:
    """The result of a conversion.

    source, format: The file that was read. shape: (rows, width) of the table. n_keys:
    Words and forms that have a row; -1 for n-grams. notes: One line for each thing that
    the user should know.
    """

    source: str
    format: str
    shape: Tuple[int, int]
    n_keys: int
    notes: List[str] = field(default_factory=list)


def convert(
    source: Source,
    target: Union[str, Path],
    lang: str = "xx",
    settings: ConvertSettings = ConvertSettings(),
    force: bool = False,
) -> Report:
    """Write a pipeline folder with the vectors of a source.

    The folder is written next to the target and renamed at the end. A folder that
    holds vectors alone is replaced.
    force: Whether any other folder may be replaced, too, with all that is in it.
    Raises: InputError if the source is broken or the target can't be written.
    """
    target = Path(target)
    check_target(target, force)
    settings.check(source)
    with atomic_folder(target) as folder:
        table_folder = folder / "vocab" / FOLDER
        table_folder.mkdir(parents=True)
        table, counts = _make_table(source, table_folder, settings, lang)
        vectors = {"@vectors": NAME, "unseen": settings.unseen}
        nlp = spacy.blank(lang, config={"nlp": {"vectors": vectors}})
        assert isinstance(nlp.vocab.vectors, MappedVectors)
        nlp.vocab.vectors.table = table
        nlp.to_disk(folder)
        # Hours may have passed.
        check_target(target, force)
    notes = [*source.notes, *(f"{n} rows {reason}" for reason, n in counts.items())]
    n_keys = -1 if table.keys is None else len(table.keys)
    return Report(source.path, source.format, table.rows.shape, n_keys, notes)


def _make_table(
    source: Source, folder: Path, settings: ConvertSettings, lang: str
) -> Tuple[Table, Dict[str, int]]:
    collected = collect(
        source,
        folder,
        normalise=settings.normalise,
        truncate=settings.truncate,
        duplicates=settings.duplicates,
        skip_bad=settings.skip_bad,
    )
    keys, key_rows = source.keys or (collected.ids, numpy.arange(collected.n_rows))
    mean = (collected.total / collected.n_rows).astype("f")
    # Before pruning, so that the forms of a pruned word share its new row.
    if settings.forms and source.ngrams is None:
        keys, key_rows = _add_forms(folder, keys, key_rows)
    if settings.prune is not None and settings.prune < collected.n_rows:
        key_rows, mean = _prune(folder, settings.prune, key_rows)
    try:
        rows = map_array(folder / "rows.npy")
        encode_rows(rows, settings.dtype, folder)
    except ValueError as err:
        raise InputError(f"{source.path}: {err}") from err
    subwords = None
    if source.subwords is not None:
        subwords = _make_subwords(source, folder, settings)
    _save(folder, {"mean": mean})
    if source.ngrams is None:
        _save(folder, KeyRows.build(keys, key_rows, len(rows)).arrays)
    table = finish_table(
        folder,
        dtype=settings.dtype,
        ngrams=source.ngrams,
        subwords=subwords,
        attr=(settings.attr or source.attr or "ORTH").upper(),
        name=settings.name or source.name or f"{lang}.vectors",
    )
    return table, collected.counts


def _make_subwords(source: Source, folder: Path, settings: ConvertSettings) -> Table:
    subwords = source.subwords
    assert subwords is not None
    if subwords.ngrams is None:
        raise InputError(
            f"{subwords.path}: is a table of words, but n-grams are needed for words "
            "without a row; name a floret table"
        )
    if subwords.width != source.width:
        raise InputError(
            f"{subwords.path}: has rows {subwords.width} wide, but {source.path} has "
            f"rows {source.width} wide; both must be of one model"
        )
    (folder / SUBWORDS).mkdir()
    plain = ConvertSettings(dtype=settings.dtype)
    return _make_table(subwords, folder / SUBWORDS, plain, "")[0]


def _prune(folder: Path, n_kept: int, key_rows: NDArray) -> Tuple[NDArray, NDArray]:
    """Keep the first rows, and give the keys of the others the nearest of them."""
    rows = map_array(folder / "rows.npy")
    kept = numpy.array(rows[:n_kept])
    nearest = numpy.arange(len(rows))
    step = 4096
    for start in tqdm(
        range(n_kept, len(rows), step), "pruning", disable=None, leave=False
    ):
        block = rows[start : start + step]
        nearest[start : start + step] = nearest_rows(kept, block)
    del rows
    words = Words.build(_open_words(folder)[:n_kept])
    _save(folder, {"rows": kept, **words.arrays})
    return nearest[key_rows], kept.mean(axis=0, dtype="float64").astype("f")


def _add_forms(
    folder: Path, keys: NDArray, key_rows: NDArray
) -> Tuple[NDArray, NDArray]:
    words = _open_words(folder)
    taken = set(keys.tolist())
    more: Dict[int, int] = {}
    for row, form in _forms(words):
        key = get_string_id(form)
        if key not in taken:
            more.setdefault(key, row)
    new = numpy.fromiter(more.keys(), dtype="uint64", count=len(more))
    rows = numpy.fromiter(more.values(), dtype="int64", count=len(more))
    return numpy.concatenate([keys, new]), numpy.concatenate([key_rows, rows])


def _forms(words: Words) -> Iterator[Tuple[int, str]]:
    for row in tqdm(range(len(words)), "adding forms", disable=None, leave=False):
        word = words[row]
        for form in {word.capitalize(), word.upper()} - {word, ""}:
            yield row, form


def _save(folder: Path, arrays: Dict[str, NDArray]) -> None:
    for name, array in arrays.items():
        numpy.save(folder / f"{name}.npy", array, allow_pickle=False)


def _open_words(folder: Path) -> Words:
    return Words({name: map_array(folder / f"{name}.npy") for name in WORD_ARRAYS})
