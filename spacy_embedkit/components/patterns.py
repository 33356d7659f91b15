"""What the patterns of an attribute ruler ask of one token, attribute by attribute."""

import re
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

import numpy
from numpy.typing import NDArray
from spacy.attrs import IDS
from spacy.strings import StringStore, get_string_id

# What patterns may ask for, of those that Doc.to_array and the matcher read alike.
READABLE = {
    *("ORTH", "LOWER", "NORM", "SHAPE", "PREFIX", "SUFFIX", "LENGTH", "SPACY"),
    *("TAG", "POS", "MORPH", "LEMMA", "DEP", "IS_ALPHA", "IS_ASCII", "IS_DIGIT"),
    *("IS_LOWER", "IS_UPPER", "IS_TITLE", "IS_PUNCT", "IS_SPACE", "IS_STOP"),
    *("IS_BRACKET", "IS_QUOTE", "IS_LEFT_PUNCT", "IS_RIGHT_PUNCT", "IS_CURRENCY"),
    *("LIKE_NUM", "LIKE_URL", "LIKE_EMAIL"),
}
# Cells of the table of conditions, and combinations of values that are kept.
MAX_CELLS, MAX_KEPT = 50_000_000, 100_000


class UnknownPatternError(ValueError):
    """A rule that has to be left to spaCy's matcher."""


class Condition(NamedTuple):
    """What a pattern wants of an attribute: one of these values, or none of them.

    regex: Or a string that matches it.
    """

    values: FrozenSet[int]
    is_negated: bool = False
    regex: Optional[str] = None


Spec = Tuple[Tuple[int, Condition], ...]


class Column:
    """One attribute: values between which no pattern distinguishes have one code.

    takes: (specs, codes) bool, which codes each token of a pattern takes.
    Raises: UnknownPatternError if that table were too large.
    """

    def __init__(self, attr: int, specs: List[Spec], strings: StringStore) -> None:
        wanted = [[c for a, c in spec if a == attr] for spec in specs]
        conditions = {c for cs in wanted for c in cs}
        named = {value for c in conditions for value in c.values}
        self._listed = numpy.asarray(sorted(named), dtype="uint64")
        regexes = sorted({c.regex for c in conditions if c.regex is not None})
        self._regexes = [re.compile(regex) for regex in regexes]
        self._strings = strings
        self._bits: Dict[int, int] = {}
        # A code is the place of the value and a bit per regular expression.
        self._n_bits = 1 << len(regexes)
        self.n_codes = (len(self._listed) + 1) * self._n_bits
        if self.n_codes * len(specs) > MAX_CELLS:
            raise UnknownPatternError(f"its {len(specs)} patterns are too many")
        place, bits = numpy.divmod(numpy.arange(self.n_codes), self._n_bits)
        self.takes = numpy.ones((len(specs), self.n_codes), dtype=bool)
        for row, cs in zip(self.takes, wanted, strict=True):
            for condition in cs:
                if condition.regex is not None:
                    row &= (bits >> regexes.index(condition.regex) & 1).astype(bool)
                else:
                    # Of one dtype: others are compared as floats.
                    values = numpy.asarray([*condition.values], dtype="uint64")
                    is_named = numpy.isin(self._listed, values)
                    is_named = numpy.concatenate([[False], is_named])[place]
                    row &= is_named != condition.is_negated

    def encode(self, values: NDArray) -> NDArray:
        """Return the code of each value, (N,) int64."""
        codes = numpy.zeros(len(values), dtype="int64")
        if len(self._listed):
            codes = numpy.searchsorted(self._listed, values)
            codes[codes == len(self._listed)] = 0
            codes = numpy.where(self._listed[codes] == values, codes + 1, 0)
        if self._regexes:
            unique, inverse = numpy.unique(values, return_inverse=True)
            bits = [self._match(value) for value in unique.tolist()]
            codes = codes * self._n_bits + numpy.asarray(bits, dtype="int64")[inverse]
        return codes

    def _match(self, value: int) -> int:
        """Return a bit for each regular expression that is found in the value."""
        bits = self._bits.get(value)
        if bits is None:
            text = self._strings[value]
            bits = sum(
                bool(regex.search(text)) << i for i, regex in enumerate(self._regexes)
            )
            if len(self._bits) > MAX_KEPT:
                self._bits = {}
            self._bits[value] = bits
        return bits


def to_spec(token: Dict[str, Any], rule: int) -> Spec:
    """Return what a pattern asks of a token: attributes and their values."""
    if not token:
        raise UnknownPatternError(f"rule {rule} has a pattern for any token")
    conditions = []
    for name, value in token.items():
        attr = "ORTH" if name.upper() == "TEXT" else name.upper()
        if attr not in READABLE:
            raise UnknownPatternError(f"rule {rule} asks for {name}")
        wanted = value if isinstance(value, dict) else {"IN": [value]}
        for predicate, values in wanted.items():
            if predicate == "REGEX" and isinstance(values, str):
                condition = Condition(frozenset(), regex=values)
            elif predicate in ("IN", "NOT_IN"):
                ids = frozenset(_to_id(one, rule) for one in values)
                condition = Condition(ids, predicate == "NOT_IN")
            else:
                raise UnknownPatternError(f"rule {rule} asks for {predicate}")
            conditions.append((IDS[attr], condition))
    return tuple(sorted(conditions, key=repr))


def _to_id(value: Any, rule: int) -> int:
    if isinstance(value, (str, bool, int)) and value is not None:
        number = get_string_id(value) if isinstance(value, str) else int(value)
        if number >= 0:
            return int(number)
    raise UnknownPatternError(f"rule {rule} asks for {value!r:.40}")


def attr_name(attr: Any) -> str:
    """Return the name of an attribute, or what it is instead of one."""
    names = {number: name for name, number in IDS.items()}
    return str(names.get(attr, attr))
