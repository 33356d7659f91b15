"""The scenarios: what is done to both pipelines of a pair while docs go through them.

Each takes a Run and compares as many docs as it says, or a few more.
"""

import pickle
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy

from spacy_embedkit import accelerate, param_watch, row_cache
from tests.helpers.interrupts import interrupted

from .parallel import in_processes, in_threads
from .recipes import Recipe
from .run import Run, annotate
from .small import POS, make_lookups, make_vectors
from .state import models, models_to_bytes, scale, scaled


def plain(run: Run) -> None:
    """Ordinary words in batches of many sizes."""
    stock, fast = run.pair()
    for recipes in run.recipes():
        run.check(recipes, stock, fast)


def odd(run: Run) -> None:
    """Empty docs, odd Unicode, custom words, spaces and NORM, merged tokens."""
    stock, fast = run.pair()
    for recipes in run.recipes(run.writer.odd):
        run.check(recipes, stock, fast)


def lexemes(run: Run) -> None:
    """NORM, LOWER, SHAPE, PREFIX and SUFFIX of lexemes change between calls."""
    stock, fast = run.pair()
    random = run.writer.random
    for recipes in run.recipes(size=128):
        run.check(recipes, stock, fast)
        for recipe in recipes[::4]:
            word = (recipe.text or " ".join(recipe.words)).split(" ")[0]
            attr = str(
                random.choice(["norm_", "lower_", "shape_", "prefix_", "suffix_"])
            )
            for nlp in (stock, fast):
                setattr(nlp.vocab[word], attr, f"{word[::-1]}{attr}")
        run.check(recipes, stock, fast)


def vectors(run: Run) -> None:
    """The table of vectors is swapped, and single vectors are set, between calls."""
    stock, fast = run.pair()
    if not stock.vocab.vectors.size or stock.vocab.vectors.shape[1] != 8:
        return plain(run)
    tables = [(nlp.vocab.vectors, nlp) for nlp in (stock, fast)]
    for table, _ in tables:
        # What is loaded from bytes is read-only.
        table.data = table.data.copy()
    mode = tables[0][0].mode
    for i, recipes in enumerate(run.recipes(size=128)):
        words = sorted({word for recipe in recipes for word in recipe.words})
        for table, nlp in tables:
            if i % 3 == 0:
                other = make_vectors(nlp, words[::3], mode, i // 3)
                nlp.vocab.vectors = other if i else table
            elif i % 3 == 1 and mode == "default":
                row: Any = numpy.random.default_rng(i).normal(size=8).astype("f")
                keys = [nlp.vocab.strings[word] for word in words]
                word = next((k for k in keys if k in nlp.vocab.vectors), None)
                if word is not None:
                    nlp.vocab.set_vector(word, row)
            else:
                # In place, as somebody who normalises a table would do it.
                nlp.vocab.vectors.data *= numpy.float32(1.1)
        run.check(recipes, stock, fast)
    return None


def two_pipelines(run: Run) -> None:
    """Two pipelines of other weights share a vocab, and take turns."""
    stock, fast = run.pair()
    stock2 = run.source.make(stock.vocab)
    fast2 = run.source.make_fast(fast.vocab)
    for nlp in (stock2, fast2):
        scale(nlp, 0.7)
    for i, recipes in enumerate(run.recipes(size=128)):
        run.check(recipes, *((stock2, fast2) if i % 2 else (stock, fast)))


def select_pipes(run: Run) -> None:
    """A part of the components is disabled, another one for each batch."""
    stock, fast = run.pair()
    for recipes in run.recipes(size=128):
        names = [n for n in stock.pipe_names if run.writer.random.random() < 0.4]
        # Without the layer that it listens to, a component of stock raises.
        names = [name for name in names if name not in ("tok2vec", "transformer")]
        with stock.select_pipes(disable=names), fast.select_pipes(disable=names):
            run.check(recipes, stock, fast)


def use_params(run: Run) -> None:
    """Other weights are in place for a while, and then the old ones again."""
    stock, fast = run.pair()
    for i, recipes in enumerate(run.recipes(size=128)):
        factor = numpy.float32(1 + 0.2 * (i % 3))
        with ExitStack() as stack:
            for nlp in (stock, fast):
                stack.enter_context(nlp.use_params(scaled(nlp, factor)))
            run.check(recipes, stock, fast)
        run.check(recipes[:16], stock, fast)


def new_weights(run: Run) -> None:
    """Weights are loaded anew, and changed in place, between calls."""
    stock, fast = run.pair()
    data = {nlp: models_to_bytes(nlp) for nlp in (stock, fast)}
    for i, recipes in enumerate(run.recipes(size=128)):
        for nlp in (stock, fast):
            if i % 2:
                scale(nlp, 1.2)
            else:
                for name, model in data[nlp].items():
                    models(nlp)[name].from_bytes(model)
        run.check(recipes, stock, fast)


def new_rules(run: Run) -> None:
    """Rules are added to the attribute ruler, and other tables to the lemmatizer."""
    stock, fast = run.pair()
    for i, recipes in enumerate(run.recipes(size=128)):
        word = (recipes[0].text or " ".join(recipes[0].words)).split(" ")[0]
        for nlp in (stock, fast):
            if nlp.has_pipe("attribute_ruler"):
                ruler: Any = nlp.get_pipe("attribute_ruler")
                attrs = {"POS": POS[i % 5], "MORPH": f"Case={i % 5}"}
                ruler.add(patterns=[[{"TEXT": word}]], attrs=attrs)
            if nlp.has_pipe("lemmatizer"):
                _change_lemmas(nlp.get_pipe("lemmatizer"), i, word)
        run.check(recipes, stock, fast)


def _change_lemmas(lemmatizer: Any, i: int, word: str) -> None:
    # Changes in place count in spaCy once its cache is cleared.
    if i % 3 == 0:
        lemmatizer.lookups = make_lookups(i)
    elif i % 3 == 1:
        exceptions = lemmatizer.lookups.get_table("lemma_exc")
        exceptions.setdefault(POS[i % 5].lower(), {})[word] = [f"lemma{i}"]
    lemmatizer.cache = {}


def small_caches(run: Run) -> None:
    """Caches hold no row, one, or seven."""
    stock = run.source.make(None)
    pairs = [run.source.make_fast(cache_rows=rows) for rows in (0, 1, 7)]
    for i, recipes in enumerate(run.recipes(size=128)):
        run.check(recipes, stock, pairs[i % 3])


def copies(run: Run) -> None:
    """The accelerated pipeline was pickled after use, and unpickled."""
    stock, fast = run.pair()
    annotate(fast, run.writer.usual(20))
    fast = pickle.loads(pickle.dumps(fast))
    # spaCy gives the vectors strings of their own, and then raises on n-grams of new
    # words, with stock layers as well.
    fast.vocab.vectors.strings = fast.vocab.strings
    for recipes in run.recipes():
        run.check(recipes, stock, fast)


def undo(run: Run) -> None:
    """Acceleration is undone: all numbers are those of stock, to the bit."""
    stock, fast = run.source.make(None), run.source.make(None)
    run.compare.exact = True
    for recipes in run.recipes():
        result = accelerate(fast)
        annotate(fast, recipes[:10])
        result.undo()
        run.check(recipes, stock, fast)


def interrupts(run: Run) -> None:
    """An exception breaks off a batch while new weights are taken up."""
    stock, fast = run.pair()
    random = run.writer.random
    for i, recipes in enumerate(run.recipes(size=128)):
        factor = 0.8 if i % 2 else 1.25
        for nlp in (stock, fast):
            scale(nlp, factor, replace=True)
        with interrupted((row_cache, param_watch), int(random.integers(1, 200))):
            annotate(fast, recipes[:8])
        run.check(recipes, stock, fast)


def fork(run: Run) -> None:
    """Processes that were forked share the docs."""
    in_processes(run, "fork")


def spawn(run: Run) -> None:
    """Processes that were started anew share the docs."""
    in_processes(run, "spawn")


def memory_zone(run: Run) -> None:
    """Words are forgotten after each batch, by nlp.memory_zone."""
    _in_zones(run, run.writer.usual)


def new_words(run: Run) -> None:
    """Every word is new, so that caches fill up; words are forgotten as above."""
    _in_zones(run, run.writer.new)


def _in_zones(run: Run, write: Callable[[int], list[Recipe]]) -> None:
    stock, fast = run.pair()
    for recipes in run.recipes(write):
        with stock.memory_zone(), fast.memory_zone():
            run.check(recipes, stock, fast)


# Shares of the docs go by the numbers: threads and processes get most of them.
SCENARIOS: dict[str, tuple[Callable[[Run], None], int]] = {
    "plain": (plain, 10),
    "odd": (odd, 5),
    "lexemes": (lexemes, 2),
    "vectors": (vectors, 3),
    "two-pipelines": (two_pipelines, 2),
    "select-pipes": (select_pipes, 2),
    "use-params": (use_params, 2),
    "new-weights": (new_weights, 2),
    "new-rules": (new_rules, 2),
    "small-caches": (small_caches, 2),
    "copies": (copies, 2),
    "undo": (undo, 2),
    "interrupts": (interrupts, 2),
    "threads": (in_threads, 30),
    "fork": (fork, 12),
    "spawn": (spawn, 4),
    "memory-zone": (memory_zone, 3),
    "new-words": (new_words, 15),
}
