"""Splits texts into tokens by the tokenizer of a pipeline or language."""

import re
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Sequence

import spacy
from spacy.tokens import Doc
from spacy.util import is_package
from tqdm import tqdm

from ..checks import InputError, one_line
from .read import read_texts

# Separates words in files of tokens and of vectors.
SEPARATOR = re.compile(r"[\s\0]+")


def load_tokenizer(lang_or_pipeline: str) -> Callable[[str], Doc]:
    """Return the tokenizer of a pipeline, or that of a language.

    lang_or_pipeline: Folder or installed package of a pipeline, or a language code.
    Raises: InputError, if it is neither, or its tokenizer can't be loaded.
    """
    try:
        is_pipeline = Path(lang_or_pipeline).is_dir() or is_package(lang_or_pipeline)
        load = spacy.load if is_pipeline else spacy.blank
        return load(lang_or_pipeline).tokenizer
    except Exception as err:
        # What is wrong with the files of a pipeline shows anywhere in spaCy.
        why = one_line(err)[:300] or type(err).__name__
        raise InputError(
            f"{lang_or_pipeline}: no tokenizer ({why}); name a "
            'language code such as "en", or the folder or package of a pipeline'
        ) from err


def iter_tokens(lang_or_pipeline: str, texts: Iterable[str]) -> Iterator[List[str]]:
    """Yield the non-space tokens of each text, which may be none.

    lang_or_pipeline: As in load_tokenizer.
    Raises: InputError as load_tokenizer does, before the first text is read.
    """
    tokenizer = load_tokenizer(lang_or_pipeline)
    # Tokenizers that are plain functions have no pipe.
    pipe = getattr(tokenizer, "pipe", lambda texts: map(tokenizer, texts))
    return ([token.text for token in doc if not token.is_space] for doc in pipe(texts))


def write_tokens(lang: str, paths: Sequence[str], target: Path) -> int:
    """Write one text per line, its tokens joined by spaces; return how many tokens.

    lang: As in load_tokenizer. paths: As in read_texts.
    target: File to write, in UTF-8. White space within a token becomes "_".
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
