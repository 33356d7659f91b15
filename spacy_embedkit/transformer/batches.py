"""Texts as wordpieces, in batches that a transformer pads little."""

from typing import Iterator, List

import numpy
from numpy.typing import NDArray

# A text that would fill less of its row starts another batch, unless that is a small
# one: each batch costs time of its own.
LEAST_FILLED = 0.93
LEAST_SHARE = 0.25


def sorted_batches(lengths: NDArray, most: int) -> Iterator[NDArray]:
    """Yield the places of the texts of each batch, (n,) int64, the longest first.

    lengths: (N,) wordpieces of each text, 1 or more.
    most: Wordpieces of a batch with its padding, unless one text alone has more.
    """
    order = numpy.argsort(-numpy.asarray(lengths), kind="stable")
    batch: List[int] = []
    length = 0
    for place in order.tolist():
        own, padded = int(lengths[place]), length * len(batch)
        is_shorter = own < LEAST_FILLED * length and padded >= LEAST_SHARE * most
        if batch and (padded + length > most or is_shorter):
            yield numpy.asarray(batch)
            batch = []
        length = length if batch else own
        batch.append(place)
    if batch:
        yield numpy.asarray(batch)
