"""spaCy's SpanCategorizer, which handles the spans of all docs in array code."""

from functools import partial
from typing import Any, Iterable, List, Optional, Sequence, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.pipeline import SpanCategorizer
from spacy.pipeline.spancat import ngram_suggester
from spacy.tokens import Doc, Span, SpanGroup
from thinc.types import Ints1d, Ragged


class FastSpanCategorizer(SpanCategorizer):
    """A SpanCategorizer that suggests n-grams and picks labels for a whole batch.

    Other suggesters, more than one label at most, and spans that must not overlap are
    left to spaCy's own code.
    """

    def predict(self, docs: Iterable[Doc]) -> Tuple[Ragged, Any]:
        """Return the suggested spans, (S, 2) ints, and their scores, (S, labels)."""
        docs = list(docs)
        found = suggest_ngrams(self.suggester, docs)
        if found is None:
            return super().predict(docs)  # type: ignore[no-any-return]
        return found, self.model.predict((docs, found))

    def set_annotations(self, docs: Iterable[Doc], indices_scores: Any) -> None:
        """Set the spans of docs whose scores are high enough."""
        spans, scores = indices_scores
        to_numpy = self.model.ops.to_numpy
        kept = self._find_kept(to_numpy(scores))
        if kept is None:
            super().set_annotations(docs, indices_scores)
            return
        rows, columns, kept_scores = kept
        bounds = to_numpy(spans.dataXd)[rows].tolist()
        labels = self.labels
        names = [labels[column] for column in columns.tolist()]
        begin, n_before = 0, 0
        for doc, n_spans in zip(docs, to_numpy(spans.lengths).tolist(), strict=True):
            n_before += n_spans
            end = int(numpy.searchsorted(rows, n_before))
            group = SpanGroup(doc, name=self.key)
            if n_spans:
                for (start, stop), name in zip(
                    bounds[begin:end], names[begin:end], strict=True
                ):
                    group.append(Span(doc, start, stop, label=name))
                # In the type that spaCy has it without spans.
                own = kept_scores[begin:end].copy() if end > begin else numpy.array([])
                group.attrs["scores"] = own
            doc.spans[self.key] = group
            begin = end

    def _find_kept(self, scores: NDArray) -> Optional[Tuple[NDArray, NDArray, NDArray]]:
        """Return rows, labels and scores of the spans to set, None if stock has to."""
        threshold, n_labels = self.cfg["threshold"], self.cfg["max_positive"]
        if not scores.size:
            return None
        if n_labels is None and threshold is not None:
            rows, columns = numpy.nonzero(scores >= threshold)
            values = scores[rows, columns]
        elif n_labels == 1 and self.cfg["allow_overlap"]:
            rows, columns = numpy.arange(len(scores)), scores.argmax(axis=1)
            # One column, as spaCy has it for these.
            values = numpy.take_along_axis(scores, columns[:, None], axis=1)
            if threshold is not None:
                is_kept = values[:, 0] >= threshold
                rows, columns, values = rows[is_kept], columns[is_kept], values[is_kept]
        else:
            return None
        is_kept = columns != self._negative_label_i
        return rows[is_kept], columns[is_kept], values[is_kept]


def suggest_ngrams(suggester: Any, docs: Sequence[Doc]) -> Optional[Ragged]:
    """Suggest the spans that spaCy's suggester of n-grams does; None if it isn't one.

    Also None if there are none, or sizes below 1 are asked for.
    """
    if not isinstance(suggester, partial) or suggester.func is not ngram_suggester:
        return None
    asked: List[int] = list(suggester.keywords.get("sizes", ()))
    if suggester.args or len(suggester.keywords) != 1 or min(asked, default=0) < 1:
        return None
    n_tokens, sizes = numpy.asarray([len(doc) for doc in docs]), numpy.asarray(asked)
    counts = numpy.maximum(n_tokens[:, None] - sizes + 1, 0)
    lengths, counts = counts.sum(axis=1).astype("i"), counts.ravel()
    if not counts.any():
        return None
    ends = numpy.cumsum(counts)
    starts = numpy.arange(ends[-1]) - numpy.repeat(ends - counts, counts)
    stops = starts + numpy.repeat(numpy.tile(sizes, len(docs)), counts)
    bounds: Any = numpy.stack([starts, stops], axis=1).astype("i")
    return Ragged(bounds, cast(Ints1d, lengths))
