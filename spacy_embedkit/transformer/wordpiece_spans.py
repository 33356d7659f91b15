"""Spans that are no longer, in wordpieces, than a transformer takes."""

import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc, Span

from ..checks import check_not_negative, check_positive, import_extra, one_line
from ..text.boundaries import (
    after_half,
    choose_cut,
    even_cuts,
    sentence_starts,
    token_chars,
    word_starts,
)
from .pretrained import unreadable, wordpiece_ids

NAME = "wordpiece_spans.v1"


class WordpieceSpans:
    """Cuts docs into spans; see build_wordpiece_spans_v1."""

    def __init__(
        self,
        max_wordpieces: int,
        tokenizer: Optional[str] = None,
        context: int = 0,
        tokenizer_config: Optional[Dict[str, Any]] = None,
    ) -> None:
        check_positive(NAME, max_wordpieces=max_wordpieces)
        check_not_negative(NAME, context=context)
        if (tokenizer_config or {}).get("trust_remote_code"):
            raise ValueError(
                f"{NAME}: tokenizer_config asks for trust_remote_code, but code of a "
                "tokenizer is never run; name one with a tokenizer.json"
            )
        self.max_wordpieces = max_wordpieces
        self.tokenizer = tokenizer
        self.context = context
        self.tokenizer_config = dict(tokenizer_config or {})
        self._backend: Any = None
        self._n_special = 0
        self._has_warned = False

    @property
    def has_tokenizer(self) -> bool:
        """Whether one was loaded or handed over."""
        return self._backend is not None

    def set_tokenizer(self, tokenizer: Any) -> None:
        """Use the tokenizer of a model, a transformers.PreTrainedTokenizerFast.

        It is copied, so that padding and truncation of the model stay as they are.
        Raises: ValueError, if it is not a fast tokenizer, or its model takes fewer
            wordpieces than max_wordpieces.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"{NAME}: the tokenizer is a {type(tokenizer).__name__}, but a fast "
                "one is needed; save the model with a tokenizer.json"
            )
        wordpiece_ids(tokenizer)
        if self.max_wordpieces > tokenizer.model_max_length:
            raise ValueError(
                f"{NAME}: max_wordpieces is {self.max_wordpieces}, but the transformer "
                f"takes {tokenizer.model_max_length}; lower it"
            )
        backend = tokenizer.backend_tokenizer
        n_special = backend.num_special_tokens_to_add(False)
        if self.max_wordpieces <= n_special + 2 * self.context:
            raise ValueError(
                f"{NAME}: max_wordpieces is {self.max_wordpieces}, but {n_special} "
                f"special ones and twice a context of {self.context} leave no room; "
                "raise it, or lower context"
            )
        self._backend = type(backend).from_str(backend.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._n_special = n_special

    def __call__(self, docs: List[Doc]) -> List[List[Span]]:
        """Return the spans of each doc, in order; they cover all tokens.

        Raises: As build_wordpiece_spans_v1 does.
        """
        if self._backend is None:
            self.set_tokenizer(self._load())
        max_size = self.max_wordpieces - self._n_special
        plans = [_Plan(doc, max_size, self.context) for doc in docs]
        while spans := [(plan, *span) for plan in plans for span in plan.to_measure()]:
            self._measure(spans)
        if not self._has_warned:
            self._warn(plans)
        return [[plan.doc[a:b] for a, b in plan.spans()] for plan in plans]

    def _measure(self, spans: List[Tuple["_Plan", int, int]]) -> None:
        texts = [plan.doc[start:end].text for plan, start, end in spans]
        try:
            encodings = self._backend.encode_batch(texts, add_special_tokens=False)
        except Exception as err:
            # The library raises exceptions of no class of their own.
            raise unreadable(err) from err
        for (plan, start, end), encoding in zip(spans, encodings, strict=True):
            plan.set_size(start, end, encoding)

    def _warn(self, plans: List["_Plan"]) -> None:
        """Report the first token that has too many wordpieces by itself."""
        for plan in plans:
            for start, size in sorted(plan.too_long.items())[:1]:
                self._has_warned = True
                text = plan.doc[start].text
                warnings.warn(
                    f"{NAME}: the token {text[:20]!r}... of {len(text)} characters has "
                    f"{size + self._n_special} wordpieces, but max_wordpieces is "
                    f"{self.max_wordpieces}: it gets a span of its own, which the "
                    "transformer cuts off; further such tokens are not reported",
                    stacklevel=3,
                )
                return

    def _load(self) -> Any:
        name = self.tokenizer
        if name is None:
            raise ValueError(
                f"{NAME}: tokenizer is null, and the model hands none over; name the "
                "folder or hub name of the transformer, such as "
                "${components.transformer.model.name}"
            )
        library = import_extra("transformers", "transformers")
        safe = {"local_files_only": Path(name).is_dir(), "trust_remote_code": False}
        try:
            return library.AutoTokenizer.from_pretrained(
                name, **{"use_fast": True, **self.tokenizer_config, **safe}
            )
        except Exception as err:
            # The library trusts its files, so that it may fail anywhere.
            raise ValueError(
                f"{NAME}: tokenizer is {name!r}, which can't be loaded "
                f"({one_line(err)}); name a folder with tokenizer.json, or a model on "
                "the Hugging Face hub"
            ) from err


class _Plan:
    """Where a doc is cut: cuts[k] to cuts[k + 1] is the core of span k.

    max_size: Wordpieces of a span with its context. too_long: Tokens that have more.
    """

    def __init__(self, doc: Doc, max_size: int, context: int) -> None:
        self.doc = doc
        self.max_size = max_size
        self.context = context
        self.cuts = [0, len(doc)] if len(doc) else [0]
        self.too_long: Dict[int, int] = {}
        self._bare: Set[int] = set()
        self._sizes: Dict[Tuple[int, int], int] = {}

    def spans(self) -> List[Tuple[int, int]]:
        """Return start and end of each span, with its context."""
        shared = [0, *map(self._overlap, range(1, len(self.cuts) - 1)), 0]
        n_spans = len(self.cuts) - 1
        return [
            (self.cuts[k] - shared[k], self.cuts[k + 1] + shared[k + 1])
            for k in range(n_spans)
        ]

    def set_size(self, start: int, end: int, encoding: Any) -> None:
        """Note the wordpieces of a span's text; cut the doc by those of all of it."""
        size = self._sizes[start, end] = len(encoding.ids)
        if (start, end) == (0, len(self.doc)) and size > self.max_size:
            self.pieces = _count_pieces(self.doc, encoding)
            self._starts = sentence_starts(self.doc), word_starts(self.doc)
            inner = even_cuts(self.pieces, self.max_size, *self._starts, self.context)
            self.cuts = [0, *inner, len(self.doc)]

    def to_measure(self) -> List[Tuple[int, int]]:
        """Cut what turned out too long; return the spans whose size is not known."""
        while True:
            spans = self.spans()
            sizes = [self._sizes.get(span, 0) for span in spans]
            # From the last on, so that new cuts leave the other numbers as they are.
            is_shorter = [
                self._shorten(k)
                for k in reversed(range(len(spans)))
                if sizes[k] > self.max_size
            ]
            if not any(is_shorter):
                return [span for span in spans if span not in self._sizes]

    def _shorten(self, k: int) -> bool:
        """Cut span k in two, or take its context away; return whether it could be."""
        start, end = self.cuts[k], self.cuts[k + 1]
        if end - start > 1:
            first, last = self.pieces[start], self.pieces[end]
            cut, aim = (start + end) // 2, (first + last) / 2
            # What was one unknown wordpiece in the doc may be many in its parts; then
            # the numbers of wordpieces say nothing.
            if last - first > self.max_size // 2:
                low = after_half(self.pieces, start, aim)
                cut = choose_cut(self.pieces, aim, low, end - 1, *self._starts)
            self.cuts.insert(k + 1, cut)
            return True
        if self._overlap(k) or self._overlap(k + 1):
            self._bare |= {start, end}
            return True
        if self._sizes.get((start, end), 0) > self.max_size:
            self.too_long[start] = self._sizes[start, end]
        return False

    def _overlap(self, k: int) -> int:
        """Return how many tokens on each side of cut k both spans have."""
        is_edge = k in (0, len(self.cuts) - 1)
        if is_edge or not self.context or self.cuts[k] in self._bare:
            return 0
        cut, pieces = self.cuts[k], self.pieces
        low = int(numpy.searchsorted(pieces, pieces[cut] - self.context))
        high = int(numpy.searchsorted(pieces, pieces[cut] + self.context, "right")) - 1
        return min(cut - max(low, self.cuts[k - 1]), min(high, self.cuts[k + 1]) - cut)


def _count_pieces(doc: Doc, encoding: Any) -> NDArray:
    """Return how many wordpieces start before each token, and in all: (N + 1,) int64.

    encoding: Of the doc's text, without special tokens.
    """
    offsets = numpy.asarray(encoding.offsets, dtype="int64").reshape(-1, 2)
    _, ends = token_chars(doc)
    tokens = numpy.searchsorted(ends, offsets[:, 0], side="right")
    counts = numpy.bincount(tokens.clip(max=len(doc) - 1), minlength=len(doc))
    return numpy.concatenate([[0], numpy.cumsum(counts)])
