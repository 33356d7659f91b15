"""Registered span getters: what a transformer reads at a time.

A span getter is a function of docs that returns a list of spans for each doc. Those of
this module leave no token out, and give none for a doc without tokens.
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
    """Take each sentence, and cut those that are too long.

    Every token is in exactly one span. Sentence boundaries have to be set before the
    transformer runs, in training too.

    max_length (int): Most tokens in a span, 1 or more. Tokens are counted as spaCy's;
        a transformer reads 1.2 to 2 times as many wordpieces in most languages.
    pack (int): Neighbours in a doc are joined while they have no more tokens than this,
        so that there are fewer spans and less padding; max_length or more. None: not
        joined.
    Raises: ValueError if a setting is out of its range; when called, if a doc of two or
        more tokens has no sentence boundaries.
    Source: https://spacy.io/usage/embeddings-transformers#transformers-training-config
    """
    _check_lengths("sent_spans.v1", max_length, pack)
    return partial(sent_spans, max_length=max_length, pack=pack)


def build_paragraph_spans_v1(max_length: int, pack: Optional[int] = None) -> SpanGetter:
    """Take each paragraph, and cut those that are too long between sentences.

    Every token is in exactly one span. A paragraph ends with a blank line: two line
    breaks with at most spaces and tabs between them. One that is too long becomes
    pieces of whole sentences, and a sentence that is too long is cut as in sent_spans.
    Where a doc has no sentence boundaries, they are taken behind . ! ? and the like,
    and behind line breaks.

    max_length, pack: As in sent_spans, of paragraphs.
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

    The text of a span, by itself, has at most max_wordpieces. A doc that has more is
    cut at the starts of sentences (as in paragraph_spans), where there are none between
    words, else between tokens. A token that has more by itself gets its own span and,
    the first time, a warning: the transformer sees as much of it as it can take.

    max_wordpieces (int): Most wordpieces of a span with its context and the special
        tokens, up to what the transformer takes, such as 512.
    tokenizer (str): Of the transformer: a folder, or the name of a model on the Hugging
        Face hub; usually ${components.transformer.model.name}. It is loaded when it is
        first used, by a saved pipeline too, has to be a fast one, and code that comes
        with it is never run. None: that of the model, if the model hands it over with
        WordpieceSpans.set_tokenizer.
    context (int): Wordpieces that a span has in common with the core of the one before,
        and of the one behind, 0 or more: spans overlap by up to twice as much, half of
        it on each side of the cut. With TransformerModel.v1 a token in an overlap
        counts once, in the span where it has most context; with that of
        spacy-transformers it gets the mean of what both spans give, as with
        strided_spans.
    tokenizer_config (dict): Settings of the tokenizer that change its wordpieces, as in
        the model.
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
