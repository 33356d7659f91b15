"""Texts of files, and the lines of plain text that belong together."""

from itertools import pairwise
from typing import Iterable, Iterator, List, Literal, NamedTuple

from .boundaries import SENTENCE_END

Unit = Literal["line", "paragraph"]
# Of text that is wrapped: lines that tell, their width, and the share that looks so.
MIN_LINES = 20
MAX_WIDTH = 120
SHARE = 0.7


class Piece(NamedTuple):
    """A text, or a part of one that is too long to hold in memory.

    text: May be blank.
    starts: Whether it is the start of a text; its other parts come next.
    """

    text: str
    starts: bool = True


def join_paragraphs(lines: Iterable[Piece], max_chars: int) -> Iterator[Piece]:
    """Join lines up to a blank one by spaces; long paragraphs come in parts."""
    words: List[str] = []
    n_chars, is_new = 0, True
    for text, starts in lines:
        text = text.strip()
        is_end = starts and not text
        if text:
            words.append(text)
            n_chars += len(text)
        if words and (is_end or n_chars >= max_chars):
            yield Piece(" ".join(words), is_new)
            words, n_chars, is_new = [], 0, False
        is_new = is_new or is_end
    if words:
        yield Piece(" ".join(words), is_new)


def is_wrapped(lines: List[str]) -> bool:
    """Whether lines are of about one width, and their sentences go on in the next one.

    Where a line is a text or a sentence, most end with a sentence, or their widths
    differ. The last line of a paragraph does not count.
    """
    stripped = [line.strip() for line in lines]
    inner = [line for line, after in pairwise(stripped) if line and after]
    if len(inner) < MIN_LINES:
        return False
    width = sorted(map(len, inner))[len(inner) * 19 // 20]
    n_wide = sum(len(line) >= SHARE * width for line in inner)
    n_open = sum(not SENTENCE_END.search(f"{line} ", len(line) - 3) for line in inner)
    return width <= MAX_WIDTH and min(n_wide, n_open) >= SHARE * len(inner)
