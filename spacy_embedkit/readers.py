"""Registered corpus readers, for the [corpora] block of a config."""

from pathlib import Path
from typing import Callable, Iterator, List, Optional, Union

from spacy.language import Language
from spacy.tokens import Doc

from .checks import check_not_negative
from .text.corpus import RawTextCorpus
from .text.docs_cache import DocsCache
from .text.split import Lengths

MOST_TOKENS = 10_000


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
) -> Callable[[Language], Iterator[Doc]]:
    """Read raw text for pretraining; no word of it is dropped.

    Goes into `[corpora.pretrain]`. Each epoch has the same docs, in another order.

    path (str, Path or list of them): Files of plain text (a text per line), of JSONL,
        either compressed by gzip or not, and of Parquet, told apart by content; folders
        of such files; patterns such as "raw-*.jsonl.gz". Null is an error only when
        the corpus is read.
    text_key (str): Where JSONL has its text; column of Parquet.
    max_length (int): Tokens of a doc, 1 to 10,000. Longer texts are split after a
        sentence, without one anywhere.
    min_length (int): Tokens under which a text is short, 0 to max_length.
    join_short (bool): Join a short text to the next of its file. Else it is a doc.
    shuffle (int): Docs of the buffer that they are drawn from, 0 for no shuffling; it
        holds a million tokens at most. Files are shuffled too. The order depends on
        numpy's global random state at the call that starts the epoch.
    limit (int): Docs to read, always the first ones; 0 for all.
    cache_dir (str or Path): Folder for tokenized docs, about 3 bytes a token, so that
        only the first epoch tokenizes; it is made if need be, and may be shared. Null
        for none. Worth it for slow tokenizers: English is read at least 2.5 times as
        fast as it is tokenized, and training takes far longer than both. Empty it when
        texts or settings change: nothing is removed from it.
    max_cache_gb (float): Gigabytes that the folder may hold, 0 or more.
    Returns: Function of nlp that yields docs with words, spaces and norms, of 1 to
        max_length tokens. Its attribute `counts` has what became of the texts, after a
        pass that went to the end; the first such is logged.
    Raises: ValueError on settings out of range. When called or read, InputError naming
        the file: if it is missing, broken, not UTF-8, or there is no text at all.
    """
    name = "RawText.v1"
    if not 1 <= max_length <= MOST_TOKENS:
        raise ValueError(
            f"{name}: max_length is {max_length}, but 1 to {MOST_TOKENS} is allowed"
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
    return RawTextCorpus(
        [str(p) for p in paths],
        text_key=text_key,
        lengths=Lengths(max_length, min_length, join_short),
        shuffle=shuffle,
        limit=limit,
        cache=None if cache_dir is None else DocsCache(Path(cache_dir), max_cache_gb),
    )
