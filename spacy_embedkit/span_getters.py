"""Registered span getters: what a transformer reads at a time.

A span getter is a function of docs that returns a list of spans for each doc. Those in
this module cover all tokens; a doc without tokens has no spans.
"""

from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from spacy.tokens import Doc, Span

from .checks import check_positive
from .text.boundaries import (
    cut_pieces,
    pack_pieces,
    paragraph_starts,
    pieces_between,
    sentence_starts,
)
from .transformer.wordpiece_spans import WordpieceSpans

SpanGetter = Callable[[List[Doc]], List[List[Span]]]


def build_sent_spans_v1(max_length: int, pack: Optional[int] = None) -> SpanGetter:
    """Take each sentence as a span, and cut those that are too long.

    Every token is in exactly one span. Sentence boundaries have to be set before the
    transformer runs, in training too.

    max_length (int): Tokens of the longest sentence that is not cut, 1 or more. These
        are spaCy's tokens; most languages have 1.2 to 2 wordpieces per token.
    pack (int): Join neighbours in a doc up to this many tokens, so that there are fewer
        spans and less padding; max_length or more. Null: don't join.
    Raises: ValueError if a setting is out of its range; when called, if a doc of two or
        more tokens has no sentence boundaries.
    Source: https://spacy.io/usage/embeddings-transformers#transformers-training-config
    """
    _check_lengths("sent_spans.v1", max_length, pack)
    return partial(sent_spans, max_length=max_length, pack=pack)


def build_paragraph_spans_v1(max_length: int, pack: Optional[int] = None) -> SpanGetter:
    """Take each paragraph as a span, and cut those that are too long.

    Every token is in exactly one span. A paragraph ends with a blank line: two line
    breaks with only spaces and tabs between them. One that is too long is cut between
    sentences, and a sentence that is too long is cut as in sent_spans. In a doc without
    sentence boundaries, a sentence ends with . ! ? and the like, with the quotes and
    brackets that close after them, or with a line break.

    max_length (int): Tokens of the longest paragraph that is not cut, 1 or more.
    pack (int): Join neighbours in a doc up to this many tokens; max_length or more.
        Null: don't join.
    Raises: ValueError if a setting is out of its range.
    """
    _check_lengths("paragraph_spans.v1", max_length, pack)
    return partial(paragraph_spans, max_length=max_length, pack=pack)


def build_wordpiece_spans_v1(
    max_wordpieces: int,
    tokenizer: Optional[str] = None,
    context: int = 0,
    tokenizer_config: Optional[Dict[str, Any]] = None,
) -> SpanGetter:
    """Cut docs into as few spans as the transformer can take, of about equal length.

    A doc with more than max_wordpieces is cut between sentences (as in
    paragraph_spans), where there are none between words, else between tokens. A token
    that has more by itself gets its own span, which the transformer cuts off; the first
    one is reported by a warning.

    max_wordpieces (int): Wordpieces of the longest span, with its context and special
        tokens; up to what the transformer takes, such as 512.
    tokenizer (str): The tokenizer of the transformer: a folder, or the name of a model
        on the Hugging Face hub; usually ${components.transformer.model.name}. It has to
        be a fast one, and is loaded on first use, also by a saved pipeline; code that
        comes with it is never run. Null: that of the model, if the model calls
        WordpieceSpans.set_tokenizer, as TransformerModel.v1 does.
    context (int): Wordpieces that a span takes from the span before and from the one
        after it, 0 or more; neighbours overlap by up to twice as many. With
        TransformerModel.v1 a token in an overlap counts once, in the span where it has
        more context; with the model of spacy-transformers it gets the mean of both
        spans, as with strided_spans.
    tokenizer_config (dict): Settings of the tokenizer that change its wordpieces; the
        same as in the model.
    Raises: ValueError if a setting is out of its range; when called, if the tokenizer
        can't be loaded or its model takes fewer wordpieces; ImportError naming the
        extra.
    """
    return WordpieceSpans(max_wordpieces, tokenizer, context, tokenizer_config)


def sent_spans(
    docs: List[Doc], *, max_length: int, pack: Optional[int] = None
) -> List[List[Span]]:
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
        sents = [doc[:]] if len(doc) == 1 else doc.sents
        pieces = cut_pieces([(sent.start, sent.end) for sent in sents], max_length)
        spans.append(_spans(doc, pieces if pack is None else pack_pieces(pieces, pack)))
    return spans


def paragraph_spans(
    docs: List[Doc], *, max_length: int, pack: Optional[int] = None
) -> List[List[Span]]:
    """Return the paragraphs of each doc in pieces of up to max_length tokens."""
    spans = []
    for doc in docs:
        pieces = pieces_between(paragraph_starts(doc), len(doc))
        if any(end - start > max_length for start, end in pieces):
            pieces = _cut_paragraphs(doc, pieces, max_length)
        spans.append(_spans(doc, pieces if pack is None else pack_pieces(pieces, pack)))
    return spans


def _cut_paragraphs(
    doc: Doc, paragraphs: List[Tuple[int, int]], max_length: int
) -> List[Tuple[int, int]]:
    starts = sentence_starts(doc)
    pieces = []
    for start, end in paragraphs:
        low, high = starts.searchsorted([start, end])
        sentences = pieces_between(starts[low:high] - start, end - start)
        packed = pack_pieces(cut_pieces(sentences, max_length), max_length)
        pieces += [(start + first, start + last) for first, last in packed]
    return pieces


def _spans(doc: Doc, pieces: List[Tuple[int, int]]) -> List[Span]:
    return [doc[start:end] for start, end in pieces]


def _check_lengths(name: str, max_length: int, pack: Optional[int]) -> None:
    check_positive(name, max_length=max_length)
    if pack is not None and pack < max_length:
        raise ValueError(
            f"{name}: pack is {pack}, but spans of max_length = {max_length} would not "
            f"fit; give {max_length} or more, or null to join none"
        )
