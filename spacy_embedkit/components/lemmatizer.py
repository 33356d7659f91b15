"""spaCy's Lemmatizers, which lemmatize tokens of one kind once."""

from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Tuple,
    Type,
    cast,
)

import numpy
from spacy.attrs import LEMMA, LOWER, MORPH, ORTH, POS
from spacy.pipeline import Lemmatizer
from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.types import Ints2d

from .. import ops
from .lemmas import tokens_at, write_lemmas

MEMO = "_embedkit_memo"
MAX_KEPT = 200_000
Key = Tuple[int, ...]


class Kind(NamedTuple):
    """What a lemma depends on, besides the tables.

    attrs: Of the token. kept: Those that spaCy's own cache of a lemmatizer goes by; it
        keeps some lemmas, and so may we. None: it keeps none.
    keeps_all: Whether the others don't depend on entries of tables.
    """

    attrs: Key
    kept: Optional[Key] = None
    keeps_all: bool = False


LOOKUP, FORM_AND_POS = Kind((ORTH,)), Kind((ORTH, POS), (ORTH, POS))
LOWER_AND_POS = Kind((ORTH, POS, LOWER), (LOWER, POS))
MORPHOLOGY = Kind((ORTH, POS, MORPH))
RULE = Kind((ORTH, POS, MORPH), (ORTH, POS, MORPH), keeps_all=True)
# By the language that has a lemmatizer of its own, or "", and the mode. Spanish rules
# look at the start of sentences.
LANGUAGES = ("", "ca", "el", "en", "es", "fr", "ga", "ht", "it", "mk", "nl", "pl")
KNOWN = {
    **{(lang, "lookup"): LOOKUP for lang in LANGUAGES},
    **{(lang, "rule"): RULE for lang in ("", "en")},
    **{(lang, "rule"): FORM_AND_POS for lang in ("ca", "fr", "ht")},
    **{(lang, "rule"): LOWER_AND_POS for lang in ("el", "nl")},
    ("mk", "rule"): Kind((ORTH, POS)),
    **{(lang, "pos_lookup"): MORPHOLOGY for lang in ("ga", "it", "pl")},
}
# Made from the classes of spaCy.
_CLASSES: Dict[type, Type[Lemmatizer]] = {}


class Memo:
    """Lemmas by kinds of tokens, and the tables and the cache that they come from."""

    def __init__(self, pipe: Lemmatizer) -> None:
        self.lemmas: Dict[Key, str] = {}
        self._tables = _tables(pipe)
        self._sizes = [len(table) for table in self._tables]
        self._cache, self._n_cached = pipe.cache, len(pipe.cache)

    def __reduce__(self) -> Tuple[Any, ...]:
        """Become None in pickles and copies, whose lemmatizer makes another."""
        return type(None), ()

    def is_current(self, pipe: Lemmatizer) -> bool:
        """Return whether tables and cache are the same, and have lost nothing."""
        tables, n_cached = _tables(pipe), self._n_cached
        self._n_cached = len(pipe.cache)
        return (
            self._cache is pipe.cache
            and n_cached <= self._n_cached
            and len(self.lemmas) < MAX_KEPT
            and len(tables) == len(self._tables)
            and all(old is new for old, new in zip(self._tables, tables, strict=True))
            and [len(table) for table in tables] == self._sizes
        )


class CachedLemmatizer(Lemmatizer):
    """A Lemmatizer of spaCy that lemmatizes tokens of one kind once.

    Lookups are made again for each batch, so that entries may be changed at any time.
    What rules give is kept from batch to batch, as spaCy keeps it; like its own cache,
    it is dropped when `cache` is cleared, and also when tables are added or replaced.
    """

    def __call__(self, doc: Doc) -> Doc:
        """Set the lemmas of a doc, in place."""
        if not self._set_lemmas([doc]):
            return super().__call__(doc)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Set the lemmas of a stream of docs, in place."""
        for batch in minibatch(stream, size=batch_size):
            docs = list(batch)
            if self._set_lemmas(docs):
                yield from docs
            else:
                yield from super().pipe(docs, batch_size=batch_size)

    def _set_lemmas(self, docs: List[Doc]) -> bool:
        """Set the lemmas of all tokens; return False if spaCy's own code has to.

        That is after an error, too, which happens again there, at the same token.
        """
        kind = _kind(type(self), self.mode)
        own = getattr(type(self), f"{self.mode}_lemmatize", None)
        is_known = getattr(self.lemmatize, "__func__", None) is own
        if kind is None or not is_known or not self._validated:
            return False
        columns: Any = [*kind.attrs, LEMMA]
        arrays = [doc.to_array(columns) for doc in docs]
        values = numpy.concatenate(arrays)
        places = numpy.flatnonzero((values[:, -1] == 0) | self.overwrite)
        open_values = values[places, :-1]
        first, inverse = ops.unique_rows(cast(Ints2d, open_values))
        keys: List[Key] = [tuple(row) for row in open_values[first].tolist()]
        kept = {} if kind.kept is None else self._find_memo().lemmas
        lemmas = [kept.get(key) for key in keys]
        if None in lemmas:
            missing = [nth for nth, lemma in enumerate(lemmas) if lemma is None]
            try:
                tokens = tokens_at(docs, places[first[missing]])
                new = [self.lemmatize(token)[0] for token in tokens]
            except Exception:
                # Tables, and methods of languages, may raise anything.
                return False
            self._keep(
                kind, {keys[n]: text for n, text in zip(missing, new, strict=True)}
            )
            for nth, text in zip(missing, new, strict=True):
                lemmas[nth] = text
        write_lemmas(docs, values[:, -1], places, cast(List[str], lemmas), inverse)
        return True

    def _find_memo(self) -> Memo:
        memo: Optional[Memo] = self.__dict__.get(MEMO)
        if memo is None or not memo.is_current(self):
            memo = self.__dict__[MEMO] = Memo(self)
        return memo

    def _keep(self, kind: Kind, new: Dict[Key, str]) -> None:
        if kind.kept is None:
            return
        if not kind.keeps_all:
            columns = [kind.attrs.index(attr) for attr in kind.kept]
            new = {
                key: lemma
                for key, lemma in new.items()
                if tuple(key[column] for column in columns) in self.cache
            }
        self._find_memo().lemmas.update(new)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle by the class of spaCy, as this one has no name of its own."""
        reduced: Any = super().__reduce_ex__(protocol)
        make, args, *state = reduced
        return _rebuild, (make, _stock(self), *args[1:]), *state


def accelerate_lemmatizer(pipe: Lemmatizer) -> Optional[str]:
    """Change the class of a component; return the reason if it has to stay."""
    if _kind(type(pipe), pipe.mode) is None:
        return f"lemmas of {type(pipe).__name__} in mode {pipe.mode!r} aren't cached"
    pipe.__class__ = _cached_class(type(pipe))
    return None


def restore_lemmatizer(pipe: Lemmatizer) -> None:
    """Give a component its own class back."""
    pipe.__class__ = _stock(pipe)
    pipe.__dict__.pop(MEMO, None)


def _stock(pipe: Lemmatizer) -> Type[Lemmatizer]:
    classes = type(pipe).__mro__
    return classes[classes.index(CachedLemmatizer) + 1]


def _rebuild(make: Callable, stock: Type[Lemmatizer], *args: Any) -> Lemmatizer:
    pipe: Lemmatizer = make(stock, *args)
    pipe.__class__ = _cached_class(stock)
    return pipe


def _cached_class(stock: Type[Lemmatizer]) -> Type[Lemmatizer]:
    if stock not in _CLASSES:
        made = type(f"Cached{stock.__name__}", (CachedLemmatizer, stock), {})
        _CLASSES.setdefault(stock, made)
    return _CLASSES[stock]


def _kind(lemmatizer: Type[Lemmatizer], mode: str) -> Optional[Kind]:
    """Return what the lemmas of a class depend on; None if that isn't known."""
    if issubclass(lemmatizer, CachedLemmatizer):
        return _kind(lemmatizer.__mro__[2], mode)
    module = lemmatizer.__module__
    if lemmatizer is Lemmatizer:
        return KNOWN.get(("", mode))
    if module.startswith("spacy.lang.") and module.endswith(".lemmatizer"):
        return KNOWN.get((module.split(".")[2], mode))
    return None


def _tables(pipe: Lemmatizer) -> List[Any]:
    return [pipe.lookups.get_table(name) for name in pipe.lookups.tables]
