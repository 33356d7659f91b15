"""One scenario on one pipeline: its docs, and the comparison."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from .compare import Annotate, Comparer
from .pipelines import Source
from .recipes import Recipe, Writer, batches

BATCH = 256


@dataclass
class Run:
    """One scenario on one pipeline.

    progress: Is told how many docs have gone through.
    """

    source: Source
    writer: Writer
    compare: Comparer
    docs: int
    threads: int
    processes: int
    progress: Callable[[int], None]

    def pair(self, **settings: Any) -> tuple[Language, Language]:
        """Make a stock and an accelerated pipeline, each with a vocab of its own."""
        return self.source.make(None), self.source.make_fast(**settings)

    def recipes(
        self, write: Callable[[int], list[Recipe]] | None = None, size: int = BATCH
    ) -> Iterator[list[Recipe]]:
        """Write all docs of the run, a batch at a time, in four batches or more."""
        for n in batches(self.docs, max(1, min(size, self.docs // 4))):
            yield (write or self.writer.usual)(n)
            self.progress(n)

    def check(
        self,
        recipes: list[Recipe],
        stock: Language,
        fast: Language,
        redo: Annotate | None = None,
    ) -> None:
        """Run a batch through both pipelines, and compare."""
        size = int(self.writer.random.integers(1, 400))
        self.compare(
            recipes,
            annotate(stock, recipes, size),
            annotate(fast, recipes, size),
            stock,
            redo,
        )


def annotate(nlp: Language, recipes: list[Recipe], size: int = BATCH) -> list[Doc]:
    """Run docs through a pipeline, some at a time."""
    return list(nlp.pipe([recipe.make(nlp) for recipe in recipes], batch_size=size))
