"""Packs running text into documents that spaCy's reader of raw text keeps.

That reader drops documents of fewer than 5 and of 500 or more tokens silently,
so short texts are joined here, long ones cut, and everything done is counted.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from spacy_embedkit.checks import InputError

SHORTEST = 5
TARGET = 200
# A piece has at most as many tokens as characters: cut here, it stays below 500.
LONGEST_WORD = 400
SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f\ufeff]")
Unit = tuple[str, str]


def clean(text: str, counts: Counter[str]) -> str:
    """Return text with single spaces, no control characters, no half characters."""
    text, found = SURROGATE.subn("\ufffd", text)
    counts["lone surrogates replaced by U+FFFD"] += found
    text, found = CONTROL.subn(" ", text)
    counts["control characters replaced by a space"] += found
    return " ".join(text.split())


def read_lines(text: str, name: str) -> Iterator[Unit]:
    """Yield the lines of a plain text; an empty line ends a paragraph."""
    paragraph = 0
    for line in text.split("\n"):
        if not line.strip():
            paragraph += 1
        yield f"{name}:{paragraph}", line


def read_jsonl(text: str, name: str) -> Iterator[Unit]:
    """Yield the "text" of each line of JSON."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            yield name, ""
            continue
        try:
            record = json.loads(line)
        except ValueError as err:
            raise InputError(f"{name}, line {number}: not JSON ({err})") from err
        value = record.get("text") if isinstance(record, dict) else None
        if not isinstance(value, str):
            raise InputError(
                f'{name}, line {number}: {line[:40]!r} has no string under "text"; '
                'write {"text": "..."}'
            )
        yield f"{name}:{number}", value


def cut_words(text: str, counts: Counter[str]) -> Iterator[str]:
    """Yield the words of a text, very long ones in pieces."""
    for word in text.split(" "):
        counts["long words cut"] += len(word) > LONGEST_WORD
        for start in range(0, len(word), LONGEST_WORD):
            yield word[start : start + LONGEST_WORD]


def cut(
    text: str, count: Callable[[str], int], counts: Counter[str]
) -> Iterator[tuple[str, int]]:
    """Yield text and its number of tokens, in pieces if it is a long one."""
    pieces = list(cut_words(text, counts))
    text = " ".join(pieces)
    size = count(text)
    if size <= TARGET:
        yield text, size
        return
    counts["long texts cut"] += 1
    words: list[str] = []
    total = 0
    for piece in pieces:
        size = count(piece)
        if words and total + size > TARGET:
            yield " ".join(words), total
            words, total = [], 0
        words.append(piece)
        total += size
    yield " ".join(words), total


def pack(
    units: Iterable[Unit], count: Callable[[str], int], counts: Counter[str]
) -> Iterator[str]:
    """Yield documents of about TARGET tokens, at least SHORTEST, below 500.

    units: Pairs of paragraph and text; texts of one paragraph are joined.
    count: Gives the number of tokens of a text.
    counts: Takes the number of texts joined, cut, repaired and left empty.
    """
    last, buffer, total, group = "", list[str](), 0, ""
    for new_group, raw in units:
        text = clean(raw, counts)
        if not text:
            counts["empty lines"] += 1
            continue
        counts["texts read"] += 1
        for piece, size in cut(text, count, counts):
            full = new_group != group or total + size > TARGET
            if buffer and full and total >= SHORTEST:
                if last:
                    yield last
                last, buffer, total = " ".join(buffer), [], 0
            elif buffer and new_group != group:
                counts["short texts joined to the next"] += 1
            buffer.append(piece)
            total += size
            group = new_group
            counts["tokens"] += size
    if total < SHORTEST and not last:
        raise InputError(
            f"the raw text holds {total} tokens, but at least {SHORTEST} are needed; "
            "give more text"
        )
    if total >= SHORTEST and last:
        yield last
        last = ""
    elif last and buffer:
        counts["short texts joined to the one before"] += 1
    yield " ".join(filter(None, [last, *buffer]))
