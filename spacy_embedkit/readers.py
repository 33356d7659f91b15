"""Registered corpus readers, for the [corpora] block of a config."""

from pathlib import Path
from typing import Callable, Iterator, List, Optional, Union

from spacy.language import Language
from spacy.tokens import Doc

from .checks import check_not_negative
from .text.corpus import RawTextCorpus
from .text.docs_cache import DocsCache
from .text.pieces import Unit
from .text.split import Lengths

MAX_LENGTH = 10_000


def build_raw_text_v1(
    path: Optional[Union[str, Path, List[Union[str, Path]]]],
    text_key: str = "text",
    max_length: int = 500,
    min_length: int = 5,
    join_short: bool = True,
    shuffle: int = 10_000,
    limit: int = 0,
    cache_dir: Optional[Union[str, Path]] = None,
    max_cache_gb: float = 10.0,
    unit: Unit = "line",
) -> Callable[[Language], Iterator[Doc]]:
    """Read raw text for pretraining, and drop no word of it.

    Goes into `[corpora.pretrain]`. Each epoch has the same docs, in another order. They
    have words, spaces and norms.

    path (str, Path or list of them): Files of plain text (see unit), JSONL or Parquet,
        told apart by their content; the first two may be gzipped. Folders stand for the
        files in them, patterns such as "raw-*.jsonl.gz" for what they match. Null is an
        error only when the corpus is read. "~" is the user's home.
    text_key (str): Key of the text in JSONL; column of the text in Parquet.
    max_length (int): Tokens of the longest doc, 1 to 10,000. Longer texts are split
        between sentences where possible, else between any tokens.
    min_length (int): Texts with fewer tokens are short, 0 to max_length.
    join_short (bool): Whether to join a short text to the next one of its file. If not,
        it is a doc of its own.
    shuffle (int): Size of the buffer that docs are drawn from, in docs; 0 keeps their
        order. It holds a million tokens at most. Files are shuffled too. The order
        depends on numpy's global random state at the call that starts the epoch.
    limit (int): Number of docs to read, always the first ones; 0 for all.
    cache_dir (str or Path): Folder for tokenized docs, 4 to 6 bytes a token, so that
        only the first epoch tokenizes. It is created if need be, and can be shared by
        runs. Null for no cache. It pays for slow tokenizers: with it, a later epoch of
        PretrainCharacters took 15% less CPU time in Japanese, 9% in Chinese (jieba), 3%
        in Portuguese, 1% in English. Empty it after texts or settings change: nothing
        is removed from it.
    max_cache_gb (float): Gigabytes that the folder may hold, 0 or more.
    unit (str): What is a text in files of plain text: "line"; or "paragraph", all lines
        up to a blank one, joined by spaces, for text that is wrapped at some width. A
        warning says when lines look like that.
    Returns: Function of nlp that yields docs of 1 to max_length tokens. After a pass
        that went to the end, its attribute `counts` tells what became of the texts; the
        first such pass is logged.
    Raises: ValueError if a setting is out of its range. When called or read, InputError
        naming the file, if it is missing, broken or not UTF-8, or has no text at all.
    """
    name = "RawText.v1"
    if not 1 <= max_length <= MAX_LENGTH:
        raise ValueError(
            f"{name}: max_length is {max_length}, but 1 to {MAX_LENGTH} is allowed"
        )
    if not 0 <= min_length <= max_length:
        raise ValueError(
            f"{name}: min_length is {min_length}, but 0 to max_length, {max_length}, "
            "is allowed"
        )
    check_not_negative(name, shuffle=shuffle, limit=limit)
    if not 0 <= max_cache_gb < float("inf"):
        raise ValueError(
            f"{name}: max_cache_gb is {max_cache_gb}, but 0 or more is needed"
        )
    paths = path if isinstance(path, list) else [path or ""]
    cache = None
    if cache_dir is not None:
        cache = DocsCache(Path(cache_dir).expanduser(), max_cache_gb)
    return RawTextCorpus(
        [str(p) for p in paths],
        text_key=text_key,
        lengths=Lengths(max_length, min_length, join_short),
        shuffle=shuffle,
        limit=limit,
        cache=cache,
        unit=unit,
    )
