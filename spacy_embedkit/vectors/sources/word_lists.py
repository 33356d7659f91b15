"""Lists of words that name the rows of an array: text, JSON or Parquet."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, TypeVar

from ...checks import InputError
from ...io import describe_os_error
from .inputs import open_input
from .unpacking import MAX_BYTES, MAX_RATIO

WORDS_PER_BATCH = 65_536
SUFFIXES = (".txt", ".words", ".vocab", ".json", ".parquet")

# What pyarrow raises on broken data, besides its own errors.
_BROKEN = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)

Result = TypeVar("Result")


def find_words(label: str, words: Optional[str], n_rows: int) -> List[str]:
    """Read the list that was named, or one next to the array with the same stem.

    Raises: InputError if there is none, or not one word for each row.
    """
    if words is None:
        same_stem = [Path(label).with_suffix(suffix) for suffix in SUFFIXES]
        found = [path for path in same_stem if path.is_file() and str(path) != label]
        if len(found) != 1:
            raise InputError(
                f"{label}: has no words for its {n_rows} rows, and {len(found)} lists "
                "of the same name are next to it; give the list with --words"
            )
        words = str(found[0])
    texts = read_words(_local_list(words))
    check_count(label, n_rows, words, len(texts))
    return texts


def _local_list(words: str) -> Path:
    # ARCHIVE!MEMBER names a list inside an archive, as messages do.
    archive, _, member = words.partition("!")
    if Path(words).exists() or not member:
        return Path(words)
    return open_input(archive, member).local()


def check_count(label: str, n_rows: int, words: str, n_words: int) -> None:
    """Raise InputError unless there is one word for each row."""
    if n_words != n_rows:
        raise InputError(
            f"{label}: has {n_rows} rows, but {words} has {n_words} words; give the "
            "list that belongs to it with --words"
        )


def read_words(path: Path) -> List[str]:
    """Read one word a line, a JSON list, or the column of text of a Parquet file."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PAR1":
            return _read_parquet(path)
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as err:
        raise InputError(f"{describe_os_error(err, path)}; check --words") from err
    except UnicodeDecodeError as err:
        raise InputError(
            f"{path}: byte {err.start}: is not UTF-8; save the list of words as UTF-8"
        ) from err
    if path.suffix == ".json" or text.lstrip().startswith('["'):
        return parse_json_words(str(path), text)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def parse_json_words(label: str, text: str) -> List[str]:
    """Read a JSON list of strings."""
    try:
        words = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{label}: is not JSON: {err}; give a list of words") from err
    if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise InputError(f"{label}: is not a JSON list of strings; give one")
    return words


def _read_parquet(path: Path) -> List[str]:
    file = open_parquet_file(path, str(path))
    column = text_column(str(path), file.schema_arrow)
    if column is None:
        raise InputError(f"{path}: has no column of text; give a list of words")
    batches = arrow_batches(file, path, str(path), [column], WORDS_PER_BATCH)
    texts = (with_arrow(str(path), batch.column(0).to_pylist) for batch in batches)
    return [word or "" for batch in texts for word in batch]


def open_parquet_file(path: Path, label: str) -> Any:
    """Open a Parquet file with pyarrow; InputError if either is missing or broken."""
    try:
        from pyarrow import parquet
    except ImportError as err:
        raise InputError(
            f"{label}: is a Parquet file, which pyarrow reads; run: pip install "
            "'spacy-embedkit[vectors]'"
        ) from err
    return with_arrow(
        label,
        lambda: parquet.ParquetFile(
            path, memory_map=True, page_checksum_verification=True
        ),
    )


def arrow_batches(
    file: Any, path: Path, label: str, columns: List[str], n_rows: int
) -> Iterator[Any]:
    """Yield batches of up to n_rows rows of an open Parquet file.

    Raises: InputError if it is broken, or far smaller than what it unpacks to. That is
        counted here: to ask pyarrow for the sizes that the file states would crash it
        where the statistics beside them are damaged.
    """
    # A run of equal numbers takes few bytes, whatever its length.
    limit, n_bytes = max(MAX_RATIO * path.stat().st_size, MAX_BYTES), 0
    stream = with_arrow(label, lambda: file.iter_batches(n_rows, columns=columns))
    while (batch := with_arrow(label, partial(next, stream, None))) is not None:
        n_bytes += batch.nbytes
        if n_bytes > limit:
            raise InputError(
                f"{label}: unpacks to more than {MAX_RATIO} times the bytes of the "
                "file, as no vectors do; get the file elsewhere"
            )
        yield batch


def with_arrow(label: str, read: Callable[[], Result]) -> Result:
    """Call pyarrow, and turn its errors into InputError."""
    import pyarrow

    try:
        return read()
    except (pyarrow.ArrowException, *_BROKEN) as err:
        reason = str(err).strip().splitlines()
        raise InputError(
            f"{label}: is not a complete Parquet file "
            f"({reason[0] if reason else 'no memory'}); download it again"
        ) from err


def text_column(label: str, schema: Any) -> Optional[str]:
    """Return the name of the column of text or None; InputError for several."""
    from pyarrow import types

    def is_text(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return types.is_string(kind) or types.is_large_string(kind)

    names = [field.name for field in schema if is_text(field.type)]
    if len(names) > 1 or len(set(schema.names)) < len(schema.names):
        raise InputError(
            f"{label}: has the columns {', '.join(schema.names[:20])}, several of them "
            "text; keep one column of words"
        )
    return names[0] if names else None
