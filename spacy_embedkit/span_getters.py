"""Registered span getters: what a transformer reads at a time.

A span getter is a function of docs that returns a list of spans for each doc.
"""

from functools import partial
from typing import Callable, List

from spacy.tokens import Doc, Span

from .checks import check_positive

SpanGetter = Callable[[List[Doc]], List[List[Span]]]


def build_sent_spans_v1(max_length: int) -> SpanGetter:
    """Take each sentence, and cut those that are too long.

    Every token is in exactly one span. Sentence boundaries have to be set before the
    transformer runs, in training too.

    max_length (int): Most tokens in a span, 1 or more. Tokens are counted as spaCy's;
        a transformer reads 1.2 to 2 times as many wordpieces in most languages.
    Raises: ValueError if max_length is below 1; when called, if a doc of two or more
        tokens has no sentence boundaries.
    Source: https://spacy.io/usage/embeddings-transformers#transformers-training-config
    """
    check_positive("sent_spans.v1", "max_length", max_length)
    return partial(sent_spans, max_length=max_length)


def sent_spans(docs: List[Doc], *, max_length: int) -> List[List[Span]]:
    """Return the sentences of each doc in pieces of up to max_length tokens."""
    spans = []
    for i, doc in enumerate(docs):
        if len(doc) > 1 and not doc.has_annotation("SENT_START"):
            raise ValueError(
                f"sent_spans.v1: doc {i} of the batch ({doc[:8].text!r}...) has no "
                "sentence boundaries; put a component that sets them, such as "
                '"sentencizer", before the transformer in the pipeline, and name it '
                "in `annotating_components` of [training] as well"
            )
        sents = [doc[:]] if len(doc) == 1 else list(doc.sents)
        spans.append([piece for sent in sents for piece in _cut(sent, max_length)])
    return spans


def _cut(span: Span, max_length: int) -> List[Span]:
    starts = range(span.start, span.end, max_length)
    return [span.doc[i : min(i + max_length, span.end)] for i in starts]
