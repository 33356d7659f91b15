"""Raw text, and the cache of tokenized docs."""

import gzip
import json
import zlib
from io import BytesIO
from typing import Any, List

import spacy
from spacy.vocab import Vocab

from spacy_embedkit.text.docs_cache import DocsCache, DocsWriter
from spacy_embedkit.text.read import read_pieces
from spacy_embedkit.text.split import Counts, Lengths, make_docs

from ..base import PackReader, Reader, WrongNumberError, same
from ..packing import SkipError, pack, unpack

SIZE_BYTES = 4
TEXTS = ["The cat sat. It slept!", "A b c d e f g h i j k l.", "häuser 🙂 東京\u2028x"]


class RawText(Reader):
    """Plain text or JSONL, read and cut into docs."""

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self.nlp = spacy.blank("xx")

    def seeds(self) -> List[bytes]:
        """Make both."""
        lines = [json.dumps({"text": text, "n": 1}) for text in TEXTS]
        plain = "\n\n".join(TEXTS).encode()
        return [plain, b"\xef\xbb\xbf" + plain, "\n".join(lines).encode()]

    def write(self, data: bytes) -> bytes:
        """Return the content of the file."""
        return data

    def read(self, data: bytes) -> Any:
        """Read the texts, and the words of their docs."""
        path = self.folder / "text"
        path.unlink(missing_ok=True)
        path.write_bytes(self.write(data))
        pieces = list(read_pieces(str(path)))
        counts = Counts()
        docs = list(make_docs(self.nlp, iter(pieces), Lengths(20, 3, True), counts))
        return pieces, docs

    def check(self, data: bytes, result: Any) -> None:
        """Compare with a plain reading: no letter is lost."""
        pieces, docs = result
        lines = data.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
        texts = [piece.text for piece in pieces]
        first = next((line for line in lines if line.strip()), "")
        if not first.encode().lstrip().startswith(b"{"):
            # Without an end of its last line, a file has one line fewer.
            same("texts", texts, [s.strip() for s in lines][: len(texts)])
        letters = "".join("".join(texts).split())
        found = "".join("".join(doc.text for doc in docs).split())
        same("letters", found, letters)
        if any(len(doc) > 20 or not len(doc) for doc in docs):
            raise WrongNumberError(f"length of docs: {[*map(len, docs)]}")


class GzippedText(RawText):
    """The same, gzipped: damaged, or with a damaged content."""

    def seeds(self) -> List[bytes]:
        """Compress the seeds."""
        plain = super().seeds()
        return [*(gzip.compress(seed, mtime=0) for seed in plain), *plain]

    def check(self, data: bytes, result: Any) -> None:
        """Compare the content."""
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        super().check(data, result)


class ParquetText(Reader):
    """A column of text."""

    max_bytes = 8192

    def seeds(self) -> List[bytes]:
        """Make a column of text."""
        import pyarrow
        from pyarrow import parquet

        file = BytesIO()
        content = pyarrow.table({"text": [*TEXTS, None], "n": [1, 2, 3, 4]})
        parquet.write_table(content, file, compression="none", store_schema=False)
        return [file.getvalue()]

    def read(self, data: bytes) -> Any:
        """Read the texts."""
        path = self.folder / "text.parquet"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return list(read_pieces(str(path)))


class CachedDocs(PackReader):
    """A file of the cache: blocks that are compressed with right checksums.

    A damaged one is made anew, whatever is in it.
    """

    documented = ()
    max_bytes = 8192

    def __init__(self, folder: Any) -> None:
        super().__init__(folder)
        self.nlp = spacy.blank("xx")
        self.cache = DocsCache(folder, 1.0)

    def make(self, counts: Counts) -> Any:
        """Make the docs that are cached."""
        counts.texts += len(TEXTS)
        return iter([self.nlp.make_doc(text) for text in TEXTS])

    def seeds(self) -> List[bytes]:
        """Make one and two blocks."""
        path = self.folder / "seed.docs"
        writer = DocsWriter(path, 1 << 30)
        for doc in self.make(Counts()):
            writer.add(doc)
        writer.finish(Counts(texts=3).as_dict())
        data = path.read_bytes()
        path.unlink()
        size = int.from_bytes(data[:SIZE_BYTES], "little")
        block = zlib.decompress(data[SIZE_BYTES : SIZE_BYTES + size])
        counts = zlib.decompress(data[2 * SIZE_BYTES + size :])
        files = {"1": block, "end": counts}
        return [pack(files), pack({"1": block, "2": block, "end": counts})]

    def read(self, data: bytes) -> Any:
        """Read the docs of the cache, and make those that are missing."""
        files = unpack(data)
        if "end" not in files:
            raise SkipError
        end = zlib.compress(files.pop("end"))
        parts = []
        for part in map(zlib.compress, files.values()):
            parts += [len(part).to_bytes(SIZE_BYTES, "little"), part]
        path = self.folder / "key.docs"
        path.write_bytes(b"".join([*parts, bytes(SIZE_BYTES), end]))
        vocab = Vocab()
        counts = Counts()
        docs = list(self.cache.docs("key", vocab, self.make, counts))
        return [doc.text for doc in docs], vars(counts)

    def check(self, data: bytes, result: Any) -> None:
        """Nothing to compare: the cache may hold other docs."""
        if not all(type(n) is int for n in result[1].values()):
            raise WrongNumberError(f"counts: {result[1]}")
