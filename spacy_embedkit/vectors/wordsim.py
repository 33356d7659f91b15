"""Word similarity: how well the cosines of vectors rank pairs as people do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Optional, Tuple, Union

import numpy
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..checks import InputError
from ..io import describe_os_error


@dataclass(frozen=True)
class PairScore:
    """What score_pairs found.

    spearman: Rank correlation of the cosines with the ratings, -1 to 1, over the known
        pairs; NaN if they are fewer than 3, or all cosines or all ratings are equal.
    n_pairs: Pairs in the file. n_known: Pairs of which both words have a vector.
    """

    spearman: float
    n_pairs: int
    n_known: int


def read_pairs(path: Union[str, Path]) -> List[Tuple[str, str, float]]:
    """Return the pairs of a file with two words and a rating per line, apart by tabs.

    path: UTF-8; blank lines and lines that start with "#" are left out.
    Raises: InputError naming the file, and the line that can't be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err
    except UnicodeDecodeError as err:
        raise InputError(f"{path}: not UTF-8 ({err}); convert it to UTF-8") from err
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            one, two, rating = line.split("\t")
            pairs.append((one.strip(), two.strip(), float(rating)))
        except ValueError as err:
            raise InputError(
                f"{path}, line {number}: {line[:40]!r} is no pair; write word, tab, "
                "word, tab, rating"
            ) from err
    if not pairs:
        raise InputError(f"{path}: no pairs; write word, tab, word, tab, rating")
    return pairs


def score_pairs(
    path: Union[str, Path],
    vector_of: Callable[[List[str]], NDArray],
    known: Callable[[str], bool],
) -> PairScore:
    """Return Spearman's rank correlation of cosines and ratings.

    path: As in read_pairs.
    vector_of: Gives the vectors of n known words, shape (n, width).
    known: Whether a word has a vector; if not, the word in lower case is tried.
    A pair with a vector of zeros has the cosine 0.
    Raises: InputError as read_pairs does.
    """
    pairs = read_pairs(path)
    found = [(_find(one, known), _find(two, known), r) for one, two, r in pairs]
    ones, twos, ratings = [], [], []
    for one, two, rating in found:
        if one is not None and two is not None:
            ones.append(one)
            twos.append(two)
            ratings.append(rating)
    spearman = float("nan")
    if len(ratings) >= 3:
        cosines = _cosines(vector_of(ones), vector_of(twos))
        spearman = _correlate(rankdata(cosines), rankdata(ratings))
    return PairScore(spearman, len(pairs), len(ratings))


def _find(word: str, known: Callable[[str], bool]) -> Optional[str]:
    return next((form for form in (word, word.lower()) if known(form)), None)


def _cosines(A: NDArray, B: NDArray) -> NDArray:
    A, B = A.astype("float64"), B.astype("float64")
    norms = numpy.linalg.norm(A, axis=1) * numpy.linalg.norm(B, axis=1)
    return (A * B).sum(axis=1) / numpy.where(norms, norms, 1.0)


def _correlate(x: NDArray, y: NDArray) -> float:
    """Pearson's correlation; of ranks it is Spearman's (ties have their mean)."""
    x, y = x - x.mean(), y - y.mean()
    size = float(numpy.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size else float("nan")
