"""Raw text in: streams texts out of files, and cuts them by a pipeline's tokenizer."""

import gzip
import json
import re
import sys
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Callable, Iterable, Iterator, List, Sequence, cast

import spacy
from spacy.tokens import Doc
from spacy.util import is_package
from tqdm import tqdm

from ..files import InputError, describe_os_error
from .settings import one_line

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SURROGATE = re.compile("[\ud800-\udfff]")
# What files of tokens and of vectors separate words by.
SEPARATOR = re.compile(r"[\s\0]+")


def read_texts(paths: Sequence[str]) -> Iterator[str]:
    """Yield the texts of files one after another, without holding a file in memory.

    paths: Files of plain text, a text per line, or of JSONL, an object per line with
        the text under "text"; either may be compressed by gzip; "-" is standard input.
        What a file is, its content decides: JSONL starts with "{".
    Blank texts are left out; half characters, which JSON can hold, become U+FFFD.
    Raises: InputError naming file and line, for what is not UTF-8, not JSON or has no
        text; InputError naming the file, if it can't be read or is cut off.
    """
    for path in paths:
        shown = "standard input" if path == "-" else path
        with _opened(path, shown) as file:
            yield from _read_lines(file, shown)


@contextmanager
def _opened(path: str, shown: str) -> Iterator[BinaryIO]:
    """Open a file, decompressed, and name it in whatever goes wrong with it."""
    try:
        with ExitStack() as stack:
            file: Any = sys.stdin.buffer
            if path != "-":
                file = stack.enter_context(Path(path).open("rb"))
            # Standard input and files are both buffered, so that both can peek.
            packed = file.peek(2)[:2] == GZIP_MAGIC
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file
    except (EOFError, zlib.error) as err:
        raise InputError(f"{shown}: broken gzip data ({err}); copy it again") from err
    except OSError as err:
        raise InputError(describe_os_error(err, shown)) from err


def _read_lines(file: BinaryIO, shown: str) -> Iterator[str]:
    is_json = None
    for number, line in enumerate(file, 1):
        line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        if not line.strip():
            continue
        if is_json is None:
            is_json = line.lstrip().startswith(b"{")
        text = _decode(line, f"{shown}, line {number}", is_json)
        if text.strip():
            yield text


def _decode(line: bytes, where: str, is_json: bool) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as err:
        raise InputError(
            f"{where}: byte {err.start + 1} is {line[err.start]:#04x}, which is not "
            "UTF-8; convert the file to UTF-8"
        ) from err
    if not is_json:
        return text.strip()
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InputError(f"{where}: not JSON ({err}); mend the line") from err
    value = record.get("text") if isinstance(record, dict) else None
    if not isinstance(value, str):
        raise InputError(
            f'{where}: {text.strip()[:40]!r} has no string under "text"; '
            'write {"text": "..."}'
        )
    return SURROGATE.sub("\ufffd", value)


def load_tokenizer(lang_or_pipeline: str) -> Callable[[str], Doc]:
    """Return the tokenizer of a pipeline, or that of a language.

    lang_or_pipeline: Folder or installed package of a pipeline, or a language code.
    Raises: InputError, if it is neither, or its tokenizer can't be loaded.
    """
    is_pipeline = Path(lang_or_pipeline).is_dir() or is_package(lang_or_pipeline)
    load = spacy.load if is_pipeline else spacy.blank
    try:
        return load(lang_or_pipeline).tokenizer
    except (ImportError, ValueError, OSError) as err:
        raise InputError(
            f"{lang_or_pipeline}: no tokenizer ({one_line(err)}); name a "
            'language code such as "en", or the folder or package of a pipeline'
        ) from err


def iter_tokens(lang_or_pipeline: str, texts: Iterable[str]) -> Iterator[List[str]]:
    """Yield the tokens of each text by the pipeline's own tokenizer.

    lang_or_pipeline: As in load_tokenizer.
    Tokens of nothing but whitespace are left out; a text may have no tokens.
    Raises: InputError as load_tokenizer does, before the first text is read.
    """
    tokenizer = load_tokenizer(lang_or_pipeline)
    # Tokenizers that are plain functions have no pipe.
    pipe = getattr(tokenizer, "pipe", lambda texts: map(tokenizer, texts))
    return ([token.text for token in doc if not token.is_space] for doc in pipe(texts))


def write_tokens(lang: str, paths: Sequence[str], target: Path) -> int:
    """Write one text per line, tokens joined by a space; return the number of tokens.

    lang: As in load_tokenizer. paths: As in read_texts.
    target: File to write, UTF-8. Whitespace within a token becomes "_".
    Raises: InputError as read_texts and load_tokenizer do.
    """
    total = 0
    tokenized = iter_tokens(lang, read_texts(paths))
    with target.open("w", encoding="utf-8", newline="\n") as file:
        for tokens in tqdm(tokenized, "tokenizing", unit=" texts", disable=None):
            words = [SEPARATOR.sub("_", token) for token in tokens]
            file.write(" ".join(words) + "\n")
            total += len(words)
    return total
