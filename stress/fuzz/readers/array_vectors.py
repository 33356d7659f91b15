"""Arrays with words: npy, npz, safetensors and Parquet, against their own libraries."""

import json
import zipfile
from io import BytesIO
from typing import Any, Dict, List

import numpy

from spacy_embedkit.vectors.sources import open_source
from spacy_embedkit.vectors.sources.safetensors_files import open_safetensors

from ..base import PackReader, Reader, same
from ..packing import SkipError, pack, unpack
from .binary_vectors import WORDS, table
from .text_vectors import input_of, read_source, same_rows


def npy(array: Any) -> bytes:
    """Write an array as numpy.save does."""
    file = BytesIO()
    numpy.save(file, array)
    return file.getvalue()


def safetensors(tensors: Dict[str, Any], metadata: Dict[str, str]) -> bytes:
    """Write float32 arrays as safetensors does."""
    header: Dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    body = b""
    kinds = {"f": "F", "i": "I", "u": "U"}
    for name, array in tensors.items():
        begin, body = len(body), body + array.tobytes()
        kind = f"{kinds[array.dtype.kind]}{8 * array.dtype.itemsize}"
        header[name] = {"dtype": kind, "shape": list(array.shape)}
        header[name]["data_offsets"] = [begin, len(body)]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def floats(array: Any) -> Any:
    """Convert to float32 as a plain reading would."""
    with numpy.errstate(all="ignore"):
        return array.astype("f")


class Npy(PackReader):
    """A table and a list of words."""

    def seeds(self) -> List[bytes]:
        """Make tables of some types."""
        words = "\n".join(WORDS).encode()
        kinds = ("<f4", "<f2", ">f8", "<i4")
        arrays = [npy(table(5, 3).astype(kind)) for kind in kinds]
        arrays += [npy(numpy.asfortranarray(table(5, 3)))]
        return [pack({"a.npy": array, "a.txt": words}) for array in arrays]

    def read(self, data: bytes) -> Any:
        """Read the table."""
        files = unpack(data)
        if {*files} != {"a.npy", "a.txt"}:
            raise SkipError
        path = self.folder / "a.npy"
        path.unlink(missing_ok=True)
        path.write_bytes(files["a.npy"])
        (self.folder / "a.txt").write_bytes(files["a.txt"])
        if not files["a.npy"].startswith(b"\x93NUMPY"):
            raise SkipError
        source = open_source(str(path), words=str(self.folder / "a.txt"))
        return files, read_source(source)

    def check(self, data: bytes, result: Any) -> None:
        """Compare with numpy.load."""
        files, (_, rows) = result
        same_rows(rows, floats(numpy.load(BytesIO(files["a.npy"]), allow_pickle=False)))


class Npz(PackReader):
    """A zip archive of a table and its words; its checksums are right."""

    def seeds(self) -> List[bytes]:
        """Make tables with words of both types."""
        words = [numpy.array(WORDS), numpy.array([w.encode() for w in WORDS])]
        rows = table(5, 3)
        return [
            *[pack({"vectors.npy": npy(rows), "words.npy": npy(w)}) for w in words],
            pack({"a.npy": npy(rows), "b.npy": npy(words[0]), "c.npy": npy(rows[0])}),
        ]

    def read(self, data: bytes) -> Any:
        """Read the archive."""
        files = unpack(data)
        file = BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        if not files:
            raise SkipError
        path = self.folder / "a.npz"
        path.unlink(missing_ok=True)
        path.write_bytes(file.getvalue())
        source = open_source(str(path))
        return files, read_source(source)

    def check(self, data: bytes, result: Any) -> None:
        """Compare with numpy.load."""
        files, (words, rows) = result
        arrays = [load(content) for content in files.values()]
        found = [a for a in arrays if a.ndim == 2 and a.dtype.kind in "fiu" and a.size]
        if len(found) == 1:
            same_rows(rows, floats(found[0]))
        texts = [a for a in arrays if a.dtype.kind in "US"]
        if len(texts) == 1:
            plain = texts[0].tolist()
            plain = [w.decode() if isinstance(w, bytes) else w for w in plain]
            same("words", words, plain)


def load(data: bytes) -> Any:
    """Load an array that may be anything."""
    try:
        return numpy.load(BytesIO(data), allow_pickle=False)
    except Exception:
        return numpy.zeros(0)


class Safetensors(Reader):
    """A table whose words are in the metadata."""

    def seeds(self) -> List[bytes]:
        """Make tables with words in both forms."""
        words = ["\n".join(WORDS), json.dumps(WORDS)]
        tensors = {"embeddings": table(5, 3), "other": table(2, 2).astype("<i8")}
        return [safetensors(tensors, {"words": text}) for text in words]

    def read(self, data: bytes) -> Any:
        """Read the table."""
        path = self.folder / "a.safetensors"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return read_source(open_safetensors(input_of(data, path), None))

    def check(self, data: bytes, result: Any) -> None:
        """Compare with the library, unless that takes less."""
        from safetensors.numpy import load as load_all

        try:
            tensors = load_all(data)
        except Exception:
            return
        found = [t for t in tensors.values() if t.ndim == 2 and t.size]
        if len(found) == 1:
            same_rows(result[1], floats(found[0]))


class Parquet(Reader):
    """A column of words and one of lists."""

    max_bytes = 8192

    def seeds(self) -> List[bytes]:
        """Make a column of lists, and one column a number."""
        import pyarrow
        from pyarrow import parquet

        rows = table(5, 3)
        lists = pyarrow.array(list(rows), pyarrow.list_(pyarrow.float32()))
        made = [pyarrow.table({"word": WORDS, "vector": lists})]
        made += [pyarrow.table({"w": WORDS, "a": rows[:, 0], "b": rows[:, 1]})]
        found = []
        for content in made:
            file = BytesIO()
            parquet.write_table(content, file, compression="none", store_schema=False)
            found.append(file.getvalue())
        return found

    def read(self, data: bytes) -> Any:
        """Read the rows."""
        from spacy_embedkit.vectors.sources.parquet import open_parquet

        path = self.folder / "a.parquet"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return read_source(open_parquet(input_of(data, path), None))
