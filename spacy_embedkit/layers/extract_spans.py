"""The vectors of spans, taken from those of tokens in array code."""

from typing import Any, Callable, Tuple

import numpy
from thinc.api import Model
from thinc.types import Ragged

from .stock_nodes import stock


def predict_forward(
    model: Model[Tuple[Ragged, Ragged], Ragged],
    source_spans: Tuple[Ragged, Ragged],
    is_train: bool,
) -> Tuple[Ragged, Callable]:
    """Do what spaCy's extract_spans does; it trains by its own code."""
    vectors, spans = source_spans
    bounds: Any = spans.dataXd
    sizes = bounds[:, 1] - bounds[:, 0] if bounds.size else bounds
    if is_train or not sizes.size or sizes.min() < 1:
        return stock.extract_spans(model, source_spans, is_train)  # type: ignore[no-any-return]
    lengths: Any = vectors.lengths
    n_spans: Any = spans.lengths
    starts = bounds[:, 0] + numpy.repeat(numpy.cumsum(lengths) - lengths, n_spans)
    ends = numpy.cumsum(sizes)
    # Each span counts on from its start.
    rows = numpy.arange(ends[-1]) + numpy.repeat(starts - ends + sizes, sizes)

    def backprop(dY: Ragged) -> Any:
        return stock.extract_spans(model, source_spans, is_train)[1](dY)

    return Ragged(vectors.dataXd[rows], sizes), backprop  # type: ignore[index]
