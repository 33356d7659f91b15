"""Wordpieces of spans, and their alignment with tokens."""

from typing import Any, Dict, List, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc, Span
from spacy_transformers.align import get_alignment
from spacy_transformers.data_classes import WordpieceBatch
from thinc.types import Floats2d, Ints1d, Ints2d, Ragged

from ..text.boundaries import core_ranges, token_chars
from .pretrained import unreadable, wordpiece_ids

NestedSpans = List[List[Span]]


class WordpieceReader:
    """Reads spans with the tokenizer of a transformer, as spacy-transformers does."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        vocab = wordpiece_ids(tokenizer)
        # IDs may be left out, so there can be more of them than names.
        self._names = numpy.full(max(vocab.values()) + 1, "", dtype=object)
        self._names[[*vocab.values()]] = [*vocab]

    def __call__(
        self, spans: NestedSpans, *, count_once: bool
    ) -> Tuple[WordpieceBatch, Ragged]:
        """Return the wordpieces, and the places of those of each token.

        spans: Of each doc. What is longer than the transformer takes is cut off.
        count_once: Whether a token in several spans has the wordpieces of one of them,
            by core_ranges; if not, those of all.
        Returns (wordpieces, align): N spans, padded to L wordpieces; align has the
            places in the (N * L,) wordpieces, int32, and how many are of each token,
            for all tokens of docs with spans.
        """
        flat = [span for of_doc in spans for span in of_doc]
        encoded = self._encode([span.text for span in flat])
        full = encoded["input_ids"].shape[1]
        length = min(full, self.tokenizer.model_max_length)
        tokens = TokenNumbers(flat)
        if self.tokenizer.is_fast:
            owners, places = _pairs(flat, encoded["offset_mapping"], tokens)
        else:
            owners, places = self._guess(flat, encoded["input_ids"])
        if length < full:
            is_kept = places % full < length
            owners, places = owners[is_kept], places[is_kept]
            places = places // full * length + places % full
        if count_once:
            core = _core_spans(spans, tokens)
            is_core = core[owners] == places // length
            owners, places = owners[is_core], places[is_core]
        lengths = numpy.bincount(owners, minlength=tokens.n_tokens)
        return self._batch(encoded, length), _ragged(places, lengths)

    def _encode(self, texts: List[str]) -> Any:
        try:
            return self.tokenizer(
                texts,
                add_special_tokens=True,
                return_attention_mask=True,
                return_offsets_mapping=self.tokenizer.is_fast,
                return_tensors="np",
                return_token_type_ids=None,
                padding="longest",
            )
        except Exception as err:
            # The library raises exceptions of no class of their own.
            raise unreadable(err) from err

    def _batch(self, encoded: Any, length: int) -> WordpieceBatch:
        arrays = {
            name: numpy.ascontiguousarray(encoded[name][:, :length])
            for name in ("input_ids", "attention_mask", "token_type_ids")
            if name in encoded
        }
        mask = arrays["attention_mask"]
        return WordpieceBatch(
            strings=self._names[arrays["input_ids"]].tolist(),
            input_ids=cast(Ints2d, arrays["input_ids"]),
            attention_mask=cast(Floats2d, mask.astype("float32")),
            lengths=mask.sum(axis=1).tolist(),
            token_type_ids=cast(Ints2d, arrays.get("token_type_ids")),
        )

    def _guess(self, spans: List[Span], ids: NDArray) -> Tuple[NDArray, NDArray]:
        """Align by comparing texts, for a tokenizer that gives no offsets."""
        special = self.tokenizer.all_special_tokens
        align = get_alignment(spans, self._names[ids].tolist(), special)
        lengths = numpy.asarray(align.lengths)
        owners = numpy.repeat(numpy.arange(len(lengths)), lengths)
        return owners, numpy.asarray(align.dataXd)


class TokenNumbers:
    """Numbers of the tokens of all docs that have spans, in the order of these.

    n_tokens: Of all these docs.
    """

    def __init__(self, spans: List[Span]) -> None:
        self._first: Dict[int, int] = {}
        self._docs: List[Doc] = []
        self.n_tokens = 0
        for span in spans:
            doc = span.doc
            if id(doc) not in self._first:
                self._first[id(doc)] = self.n_tokens
                self._docs.append(doc)
                self.n_tokens += len(doc)

    def first_of(self, doc: Doc) -> int:
        """Return the number of the doc's first token."""
        return self._first[id(doc)]

    def starts(self) -> Tuple[NDArray, Dict[int, int]]:
        """Return where each token starts, as if the docs were one text: (T,) int64.

        Also returns where each doc starts, by its id.
        """
        starts, chars, n_chars = [numpy.zeros(0, dtype="int64")], {}, 0
        for doc in self._docs:
            chars[id(doc)] = n_chars
            first, _ = token_chars(doc)
            starts.append(first + n_chars)
            n_chars += len(doc.text)
        return numpy.concatenate(starts), chars


def split_align(spans: NestedSpans, align: Ragged, length: int) -> List[Ragged]:
    """Return the part of each doc, with places in its own wordpieces.

    spans, align: As in WordpieceReader. length: Wordpieces of a span with its padding.
    """
    tokens = TokenNumbers([span for of_doc in spans for span in of_doc])
    places = numpy.asarray(align.dataXd).reshape(-1)
    lengths = numpy.asarray(align.lengths)
    ends = numpy.concatenate([[0], numpy.cumsum(lengths)])
    parts, n_spans = [], 0
    for of_doc in spans:
        low = high = 0
        if of_doc:
            first = tokens.first_of(of_doc[0].doc)
            low, high = first + of_doc[0].start, first + of_doc[-1].end
        own = places[ends[low] : ends[high]] - n_spans * length
        parts.append(_ragged(own, lengths[low:high]))
        n_spans += len(of_doc)
    return parts


def _pairs(
    spans: List[Span], offsets: NDArray, tokens: TokenNumbers
) -> Tuple[NDArray, NDArray]:
    """Return pairs of a token and the place of a wordpiece of it, sorted: (P,) int64.

    offsets: (N, L, 2), the characters of each wordpiece in the text of its span. Space
        after a token belongs to it; a wordpiece can be of several tokens.
    """
    starts, chars = tokens.starts()
    bases = [chars[id(span.doc)] + span.start_char for span in spans]
    is_piece = offsets[..., 0] < offsets[..., 1]
    places = numpy.flatnonzero(is_piece)
    if not len(places):
        return places, places
    base = numpy.asarray(bases, dtype="int64")[places // offsets.shape[1]]
    within = offsets[is_piece]
    first = numpy.searchsorted(starts, base + within[:, 0], side="right") - 1
    last = numpy.searchsorted(starts, base + within[:, 1] - 1, side="right") - 1
    counts = last - first + 1
    pair = numpy.repeat(numpy.arange(len(places)), counts)
    step = numpy.arange(len(pair)) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
    owners = first[pair] + step
    order = numpy.argsort(owners, kind="stable")
    return owners[order], places[pair][order]


def _core_spans(spans: NestedSpans, tokens: TokenNumbers) -> NDArray:
    """Return the number of the span that each token counts in, (T,) int64."""
    core = numpy.full(tokens.n_tokens, -1)
    n_spans = 0
    for of_doc in spans:
        for span, (start, end) in zip(of_doc, core_ranges(of_doc), strict=True):
            first = tokens.first_of(span.doc)
            core[first + start : first + end] = n_spans
            n_spans += 1
    return core


def _ragged(places: NDArray, lengths: NDArray) -> Ragged:
    return Ragged(
        cast(Ints1d, places.astype("int32")), cast(Ints1d, lengths.astype("int32"))
    )
