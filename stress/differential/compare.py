"""Compare what two pipelines predict for the same docs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Model

from .recipes import Recipe

NAMES: list[int | str] = [
    *("TAG", "POS", "MORPH", "LEMMA", "HEAD", "DEP", "SENT_START"),
    *("ENT_IOB", "ENT_TYPE", "ENT_KB_ID", "ENT_ID", "NORM", "ORTH"),
]
# Tensors and scores may differ by this much, times the largest value if above 1.
TOLERANCE = 1e-5
# Weights of stock are disturbed by this much, relatively, that many times.
NOISE, N_DISTURBED = 2e-6, 32

Annotate = Callable[[Recipe], Doc]


@dataclass
class Tally:
    """What the comparison has found.

    largest: The largest difference of a tensor or score. ties, findings: A line each.
    """

    docs: int = 0
    tokens: int = 0
    largest: float = 0.0
    ties: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


class Comparer:
    """Compares docs, and tells ties of scores from errors.

    where: How to run what is compared again, for the lines of findings.
    """

    def __init__(self, tally: Tally, where: str, *, exact: bool = False) -> None:
        self.tally = tally
        self.where = where
        self.exact = exact

    def __call__(
        self,
        recipes: Sequence[Recipe],
        stock: Sequence[Doc],
        fast: Sequence[Doc],
        nlp: Language,
        redo: Annotate | None = None,
    ) -> None:
        """Compare the docs of a batch.

        nlp: The stock pipeline. redo: What it did to a recipe; by default, all of it.
        """
        if not len(recipes) == len(stock) == len(fast):
            self.tally.findings.append(
                f"{self.where}: {len(recipes)} docs went in, {len(stock)} came out of "
                f"stock and {len(fast)} of ours"
            )
            return
        self.tally.docs += len(recipes)
        self.tally.tokens += sum(map(len, stock))
        if self._are_equal(stock, fast):
            return
        for recipe, doc, other in zip(recipes, stock, fast, strict=True):
            problem = self.difference(doc, other)
            if problem:
                self._note(problem, recipe, nlp, redo or (lambda r: nlp(r.make(nlp))))

    def _note(
        self, problem: str, recipe: Recipe, nlp: Language, redo: Annotate
    ) -> None:
        line = f"{self.where}: {problem}; {recipe!r:.500}"
        is_label = not problem.startswith(("tensor", "tokens"))
        flips = 0
        if is_label and not self.exact:
            flips = _count_flips(recipe, nlp, redo)
        if flips:
            self.tally.ties.append(f"{line} (flips in {flips} of {N_DISTURBED})")
        else:
            self.tally.findings.append(line)

    def _are_equal(self, stock: Sequence[Doc], fast: Sequence[Doc]) -> bool:
        """Whether nothing differs in docs that have neither cats nor spans.

        All at once, as most batches are; where something does, each doc is looked at.
        """
        if any(doc.cats or len(doc.spans) for docs in (stock, fast) for doc in docs):
            return False
        facts, facts2 = (
            _join([doc.to_array(NAMES) for doc in d]) for d in (stock, fast)
        )
        if not numpy.array_equal(facts, facts2):
            return False
        # A doc without a tensor has one of one dimension.
        shapes = [[doc.tensor.shape for doc in docs] for docs in (stock, fast)]
        tensors = [_join([doc.tensor for doc in docs]) for docs in (stock, fast)]
        return shapes[0] == shapes[1] and self._is_close(*tensors)

    def difference(self, doc: Doc, other: Doc) -> str:
        """Name the first difference between two docs, or return nothing."""
        if len(doc) != len(other):
            return f"tokens: {len(doc)} and {len(other)}"
        if not self._is_close(doc.tensor, other.tensor):
            return f"tensor: differs by {_distance(doc.tensor, other.tensor):.2e}"
        return _different_labels(doc, other) or self._different_scores(doc, other)

    def _different_scores(self, doc: Doc, other: Doc) -> str:
        if doc.cats.keys() != other.cats.keys():
            return f"cats: {list(doc.cats)} and {list(other.cats)}"
        cats = [numpy.asarray(list(d.cats.values())) for d in (doc, other)]
        if not self._is_close(*cats):
            return f"tensor of cats: {doc.cats} and {other.cats}"
        for key in doc.spans:
            scores = [d.spans[key].attrs.get("scores", ()) for d in (doc, other)]
            if not self._is_close(*map(numpy.asarray, scores)):
                return f"tensor of spans: {scores}"
        return ""

    def _is_close(self, a: NDArray, b: NDArray) -> bool:
        if a.shape != b.shape:
            return False
        if not a.size:
            return True
        distance = _distance(a, b)
        self.tally.largest = max(self.tally.largest, distance)
        if self.exact:
            return bool(numpy.array_equal(a, b))
        return distance <= TOLERANCE * max(1.0, float(abs(a).max()))


def _join(arrays: list[NDArray]) -> NDArray:
    full = [array for array in arrays if array.size]
    return numpy.concatenate(full) if full else numpy.zeros((0, 0))


def _distance(a: NDArray, b: NDArray) -> float:
    # NaN on either side is as far as can be.
    return float(numpy.nan_to_num(abs(a - b), nan=numpy.inf).max(initial=0))


def _different_labels(doc: Doc, other: Doc) -> str:
    facts, facts2 = doc.to_array(NAMES), other.to_array(NAMES)
    if not numpy.array_equal(facts, facts2):
        i, column = numpy.argwhere(facts != facts2)[0].tolist()
        values = [
            _name(d, str(NAMES[column]), int(f[i, column]))
            for d, f in ((doc, facts), (other, facts2))
        ]
        return f"token {i}: {NAMES[column]} is {values[0]}, but {values[1]} in ours"
    spans, spans2 = _spans(doc), _spans(other)
    return f"spans: {spans} and {spans2}" if spans != spans2 else ""


def _name(doc: Doc, attr: str, value: int) -> str:
    if attr in ("HEAD", "SENT_START", "ENT_IOB", "POS"):
        return str(value)
    return repr(doc.vocab.strings.as_string(value))


def _spans(doc: Doc) -> dict[str, list]:
    return {
        key: [(span.start, span.end, span.label_, span.id_) for span in group]
        for key, group in doc.spans.items()
    }


def _count_flips(recipe: Recipe, nlp: Language, redo: Annotate) -> int:
    """Count how often stock's own labels change if its weights do by rounding."""
    expected = redo(recipe)
    flips = 0
    for seed in range(N_DISTURBED):
        with disturbed(nlp, seed):
            flips += bool(_different_labels(expected, redo(recipe)))
    return flips


@contextmanager
def disturbed(nlp: Language, seed: int) -> Iterator[None]:
    """Multiply each weight with a number around 1, and put it back."""
    random = numpy.random.default_rng(seed)
    kept = []
    models = [pipe.model for _, pipe in nlp.pipeline if hasattr(pipe, "model")]
    for model in models:
        for node in model.walk() if isinstance(model, Model) else ():
            for name in node.param_names:
                if node.has_param(name):
                    param: Any = node.get_param(name)
                    kept.append((node, name, param))
                    noise = random.normal(1, NOISE, param.shape)
                    node.set_param(name, (param * noise).astype(param.dtype))
    try:
        yield
    finally:
        for node, name, param in kept:
            node.set_param(name, param)
