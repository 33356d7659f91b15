"""Tables of vectors: mapped folders, bytes, and pipelines that hold one.

What is accepted is used in all ways, and each row that is found is compared with a
plain reading of the arrays.
"""

from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, List

import numpy
import spacy
from spacy.strings import get_string_id
from spacy.vectors import BaseVectors
from srsly import msgpack_loads

from spacy_embedkit.vectors.build.convert import ConvertSettings, convert
from spacy_embedkit.vectors.keys import KeyRows, Words
from spacy_embedkit.vectors.mapped import MappedVectors
from spacy_embedkit.vectors.ngrams import Ngrams
from spacy_embedkit.vectors.rows import ProductRows
from spacy_embedkit.vectors.saving import write_table
from spacy_embedkit.vectors.sources.source import Batch, Source
from spacy_embedkit.vectors.table import FOLDER, Table, open_table

from ..base import Reader, WrongNumberError, same
from ..packing import pack, pack_folder, unpack, write_folder
from .binary_vectors import WORDS, table
from .folder_vectors import FolderReader
from .text_vectors import same_rows

NGRAMS = Ngrams("floret", 2, 3, hash_count=2, hash_seed=7)
NEW_WORDS = ["cats", "", "x" * 50, "東"]


def source(ngrams: Any = None) -> Source:
    """Make a source of five words, or of rows for n-grams."""
    rows = table(5, 4)
    words = [] if ngrams else WORDS
    batches = iter([Batch(words, rows, str)])
    return Source("a", "a list", 4, batches, n_rows=5, ngrams=ngrams)


@cache
def folders() -> List[bytes]:
    """Make the folders of tables of each kind."""
    with_subwords = source()
    with_subwords.subwords = source(NGRAMS)
    made = [
        (source(), ConvertSettings()),
        (source(), ConvertSettings(dtype="float16")),
        (source(), ConvertSettings(dtype="int8")),
        (source(NGRAMS), ConvertSettings()),
        (with_subwords, ConvertSettings(dtype="int8")),
    ]
    found = []
    with TemporaryDirectory() as name:
        for i, (vectors, settings) in enumerate(made):
            folder = Path(name) / str(i)
            convert(vectors, folder, "en", settings)
            found.append(pack_folder(folder / "vocab" / FOLDER))
        # Converting quantises tables of more rows only.
        codes = numpy.arange(10, dtype="u1").reshape(5, 2)
        rows = ProductRows({"rows": codes, "centroids": table(256, 4)})
        keys = numpy.array([get_string_id(word) for word in WORDS], dtype="uint64")
        product = Table(rows, rows.take(numpy.arange(5)).mean(axis=0))
        product.keys = KeyRows.build(keys, numpy.arange(5), 5)
        product.words = Words.build(WORDS)
        write_table(product.sign(), Path(name) / "pq")
        return [*found, pack_folder(Path(name) / "pq")]


def use(vectors: MappedVectors) -> None:
    """Look up in all ways; a table that turns out to be damaged raises ValueError."""
    keys = [*vectors.keys()][:100]
    for call in (
        lambda: vectors.get_batch([*WORDS, *NEW_WORDS]),
        lambda: vectors.get_batch(numpy.array(keys, dtype="uint64")),
        lambda: vectors.most_similar(numpy.ones((1, vectors.vectors_length), "f")),
        lambda: [vectors.word(row) for row in range(min(100, len(vectors)))],
        lambda: [vectors.find(row=row) for row in range(min(10, len(vectors)))],
        lambda: [*zip(range(100), vectors.items(), strict=False)],
        lambda: vectors.to_stock() if vectors.size < 10**6 else None,
    ):
        try:
            call()
        except (ValueError, KeyError) as err:
            if "\n" in str(err):
                raise TypeError("an error of several lines") from err


def compare(vectors: MappedVectors, arrays: Dict[str, Any]) -> None:
    """Raise WrongNumberError unless keys that are found have their rows."""
    keys, key_rows = arrays["keys"].tolist(), arrays["key_rows"].tolist()
    try:
        found = vectors.find_rows(numpy.array(keys, dtype="uint64"))
    except ValueError:
        return
    entries: Dict[int, set] = {}
    for key, row in zip(keys, key_rows, strict=True):
        entries.setdefault(key, set()).add(row)
    for key, row in zip(keys, found.tolist(), strict=True):
        if row >= 0 and row not in entries[key]:
            raise WrongNumberError(f"row of a key: {row}, not one of {entries[key]}")
    if vectors.table.rows.dtype in ("float32", "float16"):
        rows = vectors.data[: len(vectors)]
        same_rows(numpy.asarray(rows), arrays["rows"].astype("f"))


class TableFolder(FolderReader):
    """The folder of a table, which is mapped."""

    documented = (ValueError, OSError)
    max_bytes = 1 << 13

    def seeds(self) -> List[bytes]:
        """Make tables of each kind."""
        return folders()

    def read(self, data: bytes) -> Any:
        """Map the table, and look up in it."""
        files = self.write(data)
        vectors = MappedVectors(table=open_table(self.folder))
        use(vectors)
        return files, vectors

    def check(self, data: bytes, result: Any) -> None:
        """Compare with numpy.load."""
        files, vectors = result
        if vectors.table.keys is None:
            return
        names = ("rows", "keys", "key_rows")
        compare(
            vectors,
            {
                n: numpy.load(BytesIO(files[f"{n}.npy"]), allow_pickle=False)
                for n in names
            },
        )


class TableBytes(Reader):
    """The bytes of a table."""

    documented = (ValueError,)
    max_bytes = 1 << 13

    def seeds(self) -> List[bytes]:
        """Make tables of each kind."""
        found = []
        for files in map(unpack, folders()):
            with TemporaryDirectory() as name:
                write_folder(files, Path(name))
                found.append(MappedVectors(table=open_table(Path(name))).to_bytes())
        return found

    def read(self, data: bytes) -> Any:
        """Load the table, and look up in it."""
        vectors = MappedVectors().from_bytes(data)
        use(vectors)
        return vectors

    def check(self, data: bytes, result: Any) -> None:
        """Compare with the arrays."""
        if result.table.keys is not None:
            compare(result, msgpack_loads(data)["arrays"])


@cache
def pipeline_files() -> Dict[str, bytes]:
    """Make the files of a pipeline with vectors alone, by their paths."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "pipeline"
        convert(source(), folder, "xx", ConvertSettings())
        return unpack(pack_folder(folder))


class TablePipeline(FolderReader):
    """A table in a pipeline that spaCy loads; the other files are spaCy's own."""

    documented = (ValueError, OSError)

    def seeds(self) -> List[bytes]:
        """Take the table alone."""
        inner = f"vocab/{FOLDER}/"
        files = pipeline_files().items()
        return [pack({name: file for name, file in files if name.startswith(inner)})]

    def read(self, data: bytes) -> Any:
        """Load the pipeline, and ask for vectors."""
        stock = {k: v for k, v in pipeline_files().items() if FOLDER not in k}
        self.write(pack({**stock, **unpack(data)}))
        nlp = spacy.load(self.folder)
        vectors: BaseVectors = nlp.vocab.vectors
        doc = nlp("cat x")
        same("a vector", doc[0].vector.shape, (vectors.shape[1],))
        return doc
