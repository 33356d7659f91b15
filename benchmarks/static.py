"""Static vectors, looked up and projected, against spaCy's."""

import tempfile
from functools import partial
from pathlib import Path

import numpy
import spacy
import typer
from spacy.ml.staticvectors import StaticVectors
from spacy.tokens import Doc
from spacy.vectors import Vectors
from thinc.api import fix_random_seed, require_cpu

from spacy_embedkit import use_fast_ops
from spacy_embedkit.layers import static_vectors
from spacy_embedkit.layers.per_type import CACHE_ROWS
from spacy_embedkit.row_cache import CACHE, RowCache
from spacy_embedkit.vectors.build.convert import ConvertSettings, convert
from spacy_embedkit.vectors.inspection import open_vectors
from spacy_embedkit.vectors.sources import open_source

from .floret import look_up
from .texts import batches, join_docs
from .timing import Row, Setting, compare
from .tok2vec import predict

WIDTH, VECTOR_WIDTH = 96, 300


def run(setting: Setting) -> list[Row]:
    """Predict with a random table that holds four in five of the words."""
    sentences = with_vectors(setting.docs)
    fix_random_seed(0)
    stock = StaticVectors(WIDTH).initialize(X=sentences[:1])
    if not use_fast_ops():
        raise typer.BadParameter("the fast backend is not used on this machine")
    on_our_ops = StaticVectors(WIDTH).initialize(X=sentences[:1])
    sides = {}
    for state, cache_rows in (("warm", CACHE_ROWS), ("cold", 0)):
        ours = StaticVectors(WIDTH).initialize(X=sentences[:1])
        ours.replace_callbacks(static_vectors.predict_forward, init=ours.init)
        ours.attrs[CACHE] = RowCache(cache_rows)
        sides[state] = ours
    require_cpu()
    rows = []
    units = {"sentences": sentences, "documents": join_docs(sentences, 20)}
    for unit, docs in units.items():
        parts = batches(docs, 128)
        for state, ours in sides.items():
            for name, model in (("stock", stock), ("stock on our ops", on_our_ops)):
                rows.append(
                    compare(
                        f"static vectors, {unit}, {state}, against {name}",
                        sum(len(doc) for doc in docs),
                        partial(predict, model, parts),
                        partial(predict, ours, parts),
                        setting.repeats,
                    )
                )
    return rows + lookup_rows(sentences, setting.repeats)


def lookup_rows(docs: list[Doc], repeats: int) -> list[Row]:
    """Get the vectors of each batch's tokens, from our table in each store."""
    stock = docs[0].vocab.vectors
    keys = [
        numpy.concatenate([doc.to_array("ORTH") for doc in part])
        for part in batches(docs, 128)
    ]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        docs[0].vocab.vectors.to_disk(Path(name) / "stock")
        docs[0].vocab.strings.to_disk(Path(name) / "stock" / "strings.json")
        for store in ("float32", "float16", "int8", "pq"):
            folder = Path(name) / store
            source = open_source(f"{name}/stock")
            convert(source, folder, "en", ConvertSettings(dtype=store))  # type: ignore[arg-type]
            rows.append(
                compare(
                    f"get_batch, {store}",
                    sum(len(part) for part in keys),
                    partial(look_up, stock.get_batch, keys),
                    partial(look_up, open_vectors(str(folder)).get_batch, keys),
                    repeats,
                )
            )
    return rows


def with_vectors(docs: list[Doc]) -> list[Doc]:
    """Copy the docs into a vocabulary with vectors."""
    vocab = spacy.blank("en").vocab
    words = sorted({token.text for doc in docs for token in doc})
    keys = [word for i, word in enumerate(words) if i % 5]
    random = numpy.random.default_rng(0)
    data = random.normal(size=(len(keys), VECTOR_WIDTH)).astype("f")
    vocab.vectors = Vectors(strings=vocab.strings, data=data, keys=keys)
    return [Doc(vocab, words=[token.text for token in doc]) for doc in docs]
