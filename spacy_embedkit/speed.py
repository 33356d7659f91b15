"""Two pipelines on the same texts: what each component takes, and what differs."""

import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Tuple

from spacy.language import Language
from spacy.tokens import Doc
from wasabi import table

# All that spaCy's components set on tokens.
ANNOTATION: Any = (
    *("TAG", "POS", "MORPH", "LEMMA", "HEAD", "DEP", "SENT_START"),
    *("ENT_IOB", "ENT_TYPE", "ENT_KB_ID", "ENT_ID"),
)
BATCH, ROUNDS = 128, 3
# Scores of categories that differ by less are the same but for rounding.
TOLERANCE = 1e-4


@dataclass
class Speed:
    """What two pipelines take for the same texts, and how their annotations differ.

    n_words, n_docs: Of the texts. before, after: Seconds of the tokenizer and of each
    component, the least of the rounds. n_other_words: Words with other annotations.
    n_other_docs: Docs with other spans or categories.
    """

    n_words: int
    n_docs: int
    before: Dict[str, float]
    after: Dict[str, float]
    n_other_words: int
    n_other_docs: int

    def __str__(self) -> str:
        sides = (self.before, self.after)
        total = [sum(side.values()) for side in sides]
        rows = [
            (name, *(f"{1e6 * side[name] / self.n_words:.1f}" for side in sides))
            for name in self.before
        ]
        rows.append(("all", *(f"{1e6 * sum_ / self.n_words:.1f}" for sum_ in total)))
        rows.append(("words a second", *(f"{self.n_words / t:,.0f}" for t in total)))
        header = ("microseconds a word", "before", "after")
        text = table(rows, header=header, divider=True, aligns=("l", "r", "r"))
        return (
            f"{text.strip()}\n{total[0] / total[1]:.1f}x; {self.n_other_words:,} of "
            f"{self.n_words:,} words are annotated differently, {self.n_other_docs:,} "
            f"of {self.n_docs:,} docs have other spans or categories"
        )


def compare_speed(
    stock: Language,
    fast: Language,
    texts: Iterable[str],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Annotate texts by two pipelines of the same components, in turn.

    Raises: TypeError on a single text, ValueError if the texts have no words.
    """
    if isinstance(texts, str):
        raise TypeError(f"measure: got the text {texts!r:.40}; give a list of texts")
    texts = list(texts)
    n_words = sum(len(doc) for doc in map(stock.make_doc, texts))
    if not n_words:
        raise ValueError(f"measure: {len(texts)} texts have no words; give others")
    rounds: List[List[Dict[str, float]]] = []
    for _ in range(ROUNDS):
        docs, seconds = zip(
            *(_annotate(nlp, texts, clock) for nlp in (stock, fast)), strict=True
        )
        rounds.append(list(seconds))
    before, after = (
        {name: min(took[side][name] for took in rounds) for name in rounds[0][side]}
        for side in (0, 1)
    )
    pairs = list(zip(*docs, strict=True))
    return Speed(
        n_words,
        len(texts),
        before,
        after,
        n_other_words=sum(_count_other_words(*pair) for pair in pairs),
        n_other_docs=sum(_is_other(*pair) for pair in pairs),
    )


def _annotate(
    nlp: Language, texts: List[str], clock: Callable[[], float]
) -> Tuple[List[Doc], Dict[str, float]]:
    """Return the docs, and the seconds that the tokenizer and each component took."""
    start = clock()
    docs = [nlp.make_doc(text) for text in texts]
    seconds = {"tokenizer": clock() - start}
    for name, pipe in nlp.pipeline:
        start = clock()
        docs = [
            doc
            for begin in range(0, len(docs), BATCH)
            for doc in _run(pipe, docs[begin : begin + BATCH])
        ]
        seconds[name] = clock() - start
    return docs, seconds


def _run(pipe: Any, docs: List[Doc]) -> Iterable[Doc]:
    if hasattr(pipe, "pipe"):
        found: Iterable[Doc] = pipe.pipe(docs, batch_size=BATCH)
        return found
    return map(pipe, docs)


def _count_other_words(doc: Doc, other: Doc) -> int:
    facts: List[Any] = [d.to_array(ANNOTATION) for d in (doc, other)]
    return int((facts[0] != facts[1]).any(axis=1).sum())


def _is_other(doc: Doc, other: Doc) -> bool:
    """Return whether spans or categories differ by more than rounding."""
    spans, cats = [_spans(d) for d in (doc, other)], (doc.cats, other.cats)
    return (
        spans[0] != spans[1]
        or cats[0].keys() != cats[1].keys()
        or any(abs(cats[0][name] - cats[1][name]) > TOLERANCE for name in cats[0])
    )


def _spans(doc: Doc) -> Dict[str, List[Tuple[Any, ...]]]:
    return {
        key: [(span.start, span.end, span.label_, span.id_) for span in group]
        for key, group in doc.spans.items()
    }
