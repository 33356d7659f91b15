"""The rules of an attribute ruler, by the attributes of tokens that they look at.

Two tokens with the same values of those attributes match the same patterns. So what the
rules do is found once per combination of values, for a whole batch in array code.
"""

import math
import threading
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.attrs import DEP, LEMMA, MORPH, NORM, POS, TAG
from spacy.pipeline import AttributeRuler
from spacy.tokens import Doc
from thinc.types import Ints2d

from .. import ops
from .patterns import Column, Spec, UnknownPatternError, attr_name, to_spec

# What rules may set: attributes of tokens, which nothing else depends on.
SETTABLE = (TAG, POS, MORPH, LEMMA, DEP, NORM)
# Combinations of values that are kept.
MAX_KEPT, MAX_KEY = 100_000, 1 << 62
# The same by the values themselves, which are many more.
MAX_ROWS = 20_000


class Found(NamedTuple):
    """What a combination of values matches.

    effect: Number of what the patterns of one token do. rules: Their rules, sorted.
    specs: Tokens of longer patterns that it may be.
    """

    effect: int
    rules: Tuple[int, ...]
    specs: Tuple[int, ...]


class LongPattern(NamedTuple):
    """A pattern of two tokens or more: what each has to be, its rule and its target."""

    specs: Tuple[int, ...]
    rule: int
    target: int


class Change(NamedTuple):
    """New values of a doc: of some attributes, and the norms of some tokens."""

    doc: Doc
    attrs: Any
    values: Any
    norms: List[Tuple[int, int]]

    def apply(self) -> None:
        """Write the values."""
        if self.values is not None:
            self.doc.from_array(self.attrs, self.values)
        for i, norm in self.norms:
            self.doc[i].norm_ = self.doc.vocab.strings[norm]


class RuleTable:
    """The rules of an AttributeRuler as they were when it was made.

    Raises: UnknownPatternError, with the reason, if a pattern has operators, extensions
        or other conditions than equality, IN, NOT_IN and REGEX, or a rule sets anything
        but tag, pos, morph, lemma, dep and norm.
    """

    def __init__(self, ruler: AttributeRuler) -> None:
        self._state = _state(ruler)
        if not ruler.attrs:
            raise UnknownPatternError("it has no rules")
        self._attrs: List[Dict[int, int]] = ruler.attrs
        self._specs: Dict[Spec, int] = {}
        self._single: Dict[int, List[int]] = {}
        self._long: Dict[int, List[LongPattern]] = {}
        for rule, attrs in enumerate(ruler.attrs):
            if unknown := [attr for attr in attrs if attr not in SETTABLE]:
                raise UnknownPatternError(f"rule {rule} sets {attr_name(unknown[0])}")
            for pattern in ruler.matcher.get(str(rule))[1]:
                self._add(rule, pattern, ruler.indices[rule])
        self._read = sorted({attr for spec in self._specs for attr, _ in spec})
        self._written = sorted({attr for attrs in self._attrs for attr in attrs})
        strings = ruler.vocab.strings
        self._columns = [
            Column(attr, list(self._specs), strings) for attr in self._read
        ]
        if math.prod(column.n_codes for column in self._columns) > MAX_KEY:
            raise UnknownPatternError("its patterns ask for too many attributes")
        self._found: Dict[int, Found] = {}
        self._found_by_row: Dict[Tuple[int, ...], Optional[Found]] = {}
        self._effects: Dict[Tuple[int, ...], int] = {(): 0}
        self._values = numpy.zeros((1, len(self._written)), dtype="uint64")
        self._is_set = numpy.zeros(self._values.shape, dtype=bool)
        self._lock = threading.Lock()

    def __reduce__(self) -> Tuple[Any, ...]:
        """Become None in pickles and copies, whose ruler makes another."""
        return type(None), ()

    def is_current(self, ruler: AttributeRuler) -> bool:
        """Return whether no rule was added or removed since."""
        state = _state(ruler)
        return all(
            old is new for old, new in zip(self._state[0], state[0], strict=True)
        ) and (self._state[1] == state[1])

    def match(self, docs: Sequence[Doc]) -> List["Change"]:
        """Return what the rules do to each doc, all of it before any of it is done."""
        if not docs:
            return [Change(doc, [], None, []) for doc in docs]
        columns: Any = [*self._read, *self._written]
        arrays = [doc.to_array(columns).reshape(len(doc), len(columns)) for doc in docs]
        values = numpy.concatenate(arrays)
        n_read = len(self._read)
        found, inverse = self._find(values[:, :n_read])
        effects = numpy.asarray([f.effect for f in found], dtype="int64")[inverse]
        ends = numpy.cumsum([len(array) for array in arrays])
        if self._long:
            self._match_long(found, inverse, ends, effects)
        return self._make_changes(docs, ends.tolist(), values[:, n_read:], effects)

    def _add(self, rule: int, pattern: List[Dict[str, Any]], index: int) -> None:
        specs = tuple(
            self._specs.setdefault(to_spec(token, rule), len(self._specs))
            for token in pattern
        )
        if not -len(specs) <= index < len(specs):
            raise UnknownPatternError(f"rule {rule} sets token {index} of {len(specs)}")
        if len(specs) == 1:
            self._single.setdefault(specs[0], []).append(rule)
        else:
            target = index % len(specs)
            pattern_of = LongPattern(specs, rule, target)
            self._long.setdefault(specs[0], []).append(pattern_of)

    def _find(self, values: NDArray) -> Tuple[List[Found], NDArray]:
        """Return what each combination of values matches, and the one of each token."""
        first, inverse = ops.unique_rows(cast(Ints2d, values))
        unique = values[first]
        rows = [tuple(row) for row in unique.tolist()]
        known = {row: self._found_by_row.get(row) for row in rows}
        if missing := [nth for nth, row in enumerate(rows) if known[row] is None]:
            new = self._find_by_key(unique[missing])
            known.update(zip((rows[nth] for nth in missing), new, strict=True))
            if len(self._found_by_row) + len(new) > MAX_ROWS:
                self._found_by_row = {}
            self._found_by_row.update((rows[nth], known[rows[nth]]) for nth in missing)
        return cast(List[Found], list(known.values())), cast(NDArray, inverse)

    def _find_by_key(self, values: NDArray) -> List[Found]:
        """Return what combinations of values match, by what patterns ask of them."""
        keys = numpy.zeros(len(values), dtype="int64")
        for column, codes in zip(self._columns, values.T, strict=True):
            keys *= column.n_codes
            keys += column.encode(codes)
        known = {key: self._found.get(key) for key in keys.tolist()}
        if missing := [key for key, found in known.items() if found is None]:
            with self._lock:
                known.update(self._learn(missing))
        return [cast(Found, known[key]) for key in keys.tolist()]

    def _learn(self, keys: List[int]) -> Dict[int, Found]:
        """Find what these combinations of values match."""
        matches = numpy.ones((len(self._specs), len(keys)), dtype=bool)
        codes = numpy.asarray(keys)
        for column in reversed(self._columns):
            matches &= column.takes[:, codes % column.n_codes]
            codes = codes // column.n_codes
        in_long = {s for ps in self._long.values() for p in ps for s in p.specs}
        new = {}
        for key, is_match in zip(keys, matches.T, strict=True):
            specs = numpy.flatnonzero(is_match).tolist()
            rules = tuple(sorted({r for s in specs for r in self._single.get(s, ())}))
            longer = tuple(spec for spec in specs if spec in in_long)
            new[key] = Found(self._effect(rules), rules, longer)
        if len(self._found) + len(new) > MAX_KEPT:
            self._found = {}
        self._found.update(new)
        return new

    def _effect(self, rules: Tuple[int, ...]) -> int:
        """Return the number of what these rules do to a token; later ones win."""
        if rules not in self._effects:
            values = numpy.zeros((1, len(self._written)), dtype="uint64")
            is_set = numpy.zeros(values.shape, dtype=bool)
            for rule in rules:
                for attr, value in self._attrs[rule].items():
                    values[0, self._written.index(attr)] = value
                    is_set[0, self._written.index(attr)] = True
            # Others may be reading the rows that are there.
            self._values = numpy.concatenate([self._values, values])
            self._is_set = numpy.concatenate([self._is_set, is_set])
            self._effects[rules] = len(self._effects)
        return self._effects[rules]

    def _match_long(
        self, found: List[Found], inverse: NDArray, ends: NDArray, effects: NDArray
    ) -> None:
        """Add the rules of longer patterns to the effects of the tokens they set."""
        may_be = numpy.asarray([bool(f.specs) for f in found])[inverse]
        more: Dict[int, List[int]] = {}
        places = numpy.flatnonzero(may_be)
        doc_ends = ends[numpy.searchsorted(ends, places, side="right")]
        for i, end in zip(places.tolist(), doc_ends.tolist(), strict=True):
            for first in found[inverse[i]].specs:
                for specs, rule, target in self._long.get(first, ()):
                    if i + len(specs) <= end and all(
                        spec in found[inverse[i + nth]].specs
                        for nth, spec in enumerate(specs)
                    ):
                        more.setdefault(i + target, []).append(rule)
        with self._lock:
            for i, rules in more.items():
                both = {*rules, *found[inverse[i]].rules}
                effects[i] = self._effect(tuple(sorted(both)))

    def _make_changes(
        self, docs: Sequence[Doc], ends: List[int], old: NDArray, effects: NDArray
    ) -> List["Change"]:
        """Cut the new values of all tokens into those of each doc."""
        is_set = self._is_set[effects]
        columns = list(range(len(self._written)))
        norms: List[Tuple[int, int]] = []
        if NORM in self._written:
            # The array has the norms of words, where tokens have none of their own.
            norm = self._written.index(NORM)
            columns.remove(norm)
            places = numpy.flatnonzero(is_set[:, norm])
            found = self._values[effects[places], norm]
            norms = list(zip(places.tolist(), found.tolist(), strict=True))[::-1]
        attrs = [self._written[column] for column in columns]
        is_set = is_set[:, columns]
        new = numpy.where(is_set, self._values[effects][:, columns], old[:, columns])
        n_changed = [0, *numpy.cumsum(is_set.any(axis=1)).tolist()]
        changes, start = [], 0
        for doc, end in zip(docs, ends, strict=True):
            is_changed = n_changed[end] > n_changed[start]
            own = []
            while norms and norms[-1][0] < end:
                place, value = norms.pop()
                own.append((place - start, value))
            values = new[start:end] if is_changed else None
            changes.append(Change(doc, attrs, values, own))
            start = end
        return changes


def _state(ruler: AttributeRuler) -> Tuple[Tuple[Any, ...], Tuple[int, ...]]:
    parts = (ruler.matcher, ruler.attrs, ruler.indices)
    return parts, tuple(len(part) for part in parts)
