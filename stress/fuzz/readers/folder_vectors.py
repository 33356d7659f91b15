"""Folders, archives and whatever a user names as vectors."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from typing import Any, List

from srsly import msgpack_dumps

from spacy_embedkit.vectors.sources import open_source
from spacy_embedkit.vectors.sources.word_lists import read_words

from ..base import PackReader, Reader, same
from ..packing import pack, unpack, write_folder
from .array_vectors import Npy, Npz, Parquet, Safetensors, load, npy, safetensors
from .binary_vectors import WORDS, FastText, Word2vecBinary, table
from .text_vectors import TextVectors, read_source, same_rows

FILES = (TextVectors, Word2vecBinary, FastText, Safetensors, Parquet)


class FolderReader(PackReader):
    """Files of a folder, which is emptied before."""

    def write(self, data: bytes) -> dict[str, bytes]:
        """Write the files of an input; return them."""
        files = unpack(data)
        for path in self.folder.rglob("*"):
            if path.is_file():
                path.unlink()
        write_folder(files, self.folder)
        return files


class Model2vec(FolderReader):
    """A table of tokens, and their tokenizer."""

    def seeds(self) -> List[bytes]:
        """Make models with and without a mapping, of some kinds of tokenizer."""
        found = []
        for kind, prefix in (("WordPiece", ""), ("Unigram", "▁"), ("BPE", "Ġ")):
            names = ["[PAD]", *(prefix + word for word in WORDS[:4])]
            vocab: Any = {name: i for i, name in enumerate(names)}
            if kind == "Unigram":
                vocab = [[name, -1.0] for name in names]
            added = [{"id": 0, "content": "[PAD]", "special": True}]
            tokenizer = {"model": {"type": kind, "vocab": vocab}, "added_tokens": added}
            tensors = {"embeddings": table(5, 3)}
            if kind == "BPE":
                tensors["mapping"] = table(1, 5)[0].astype("<i8").clip(0, 4)
                tensors["weights"] = table(1, 5)[0]
            files = {"tokenizer.json": json.dumps(tokenizer).encode()}
            files["model.safetensors"] = safetensors(tensors, {})
            found.append(pack(files))
        return found

    def read(self, data: bytes) -> Any:
        """Read the model."""
        self.write(data)
        return read_source(open_source(str(self.folder)))


class SpacyVectors(FolderReader):
    """The vectors of a pipeline, as spaCy saves them."""

    def seeds(self) -> List[bytes]:
        """Make vectors with keys, and vectors of floret."""
        from spacy.strings import get_string_id

        keys = {get_string_id(word): i for i, word in enumerate(WORDS)}
        files = {"key2row": msgpack_dumps(keys), "vectors": npy(table(5, 3))}
        files["strings.json"] = json.dumps(WORDS).encode()
        files["vectors.cfg"] = json.dumps({"mode": "default", "attr": 65}).encode()
        config = {"mode": "floret", "minn": 2, "maxn": 3, "hash_count": 2}
        config |= {"hash_seed": 7, "bow": "<", "eow": ">", "attr": "ORTH"}
        return [
            pack(files),
            pack({**files, "vectors.cfg": json.dumps(config).encode()}),
        ]

    def read(self, data: bytes) -> Any:
        """Read the vectors."""
        files = self.write(data)
        source = open_source(str(self.folder))
        return files, read_source(source), source.keys

    def check(self, data: bytes, result: Any) -> None:
        """Compare with numpy.load."""
        files, (_, rows), keys = result
        same_rows(rows, load(files["vectors"]).astype("f"))
        if keys is not None and ((keys[1] < 0) | (keys[1] >= len(rows))).any():
            same("rows", "outside", "inside")


class AnyFile(Reader):
    """A file whose format is detected."""

    def seeds(self) -> List[bytes]:
        """Take the seeds of all readers of files, and some that are refused."""
        files = [seed for kind in FILES for seed in kind(self.folder).seeds()]
        packs = [seed for kind in (Npy, Npz) for seed in kind(self.folder).seeds()]
        files += [file for seed in packs for file in unpack(seed).values()]
        return [*files, b"\x80\x04K\x01.", b"<html>", b"\xff\xfea\0"]

    def read(self, data: bytes) -> Any:
        """Open and read the file."""
        path = self.folder / "file"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return read_source(open_source(str(path), skip_bad=True))


class Archive(Reader):
    """A compressed file or an archive of one."""

    def seeds(self) -> List[bytes]:
        """Pack a table in all ways."""
        text = b"cat 1 2 3\ndog 4 5 6\n"
        found = [gzip.compress(text, mtime=0), bz2.compress(text), lzma.compress(text)]
        for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", kind) as archive:
                archive.writestr(zipfile.ZipInfo("a.txt"), text)
            found.append(file.getvalue())
        for mode in ("w", "w:gz"):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode=mode) as tar:
                info = tarfile.TarInfo("a.txt")
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text))
            found.append(file.getvalue()[:2048])
        return found

    def read(self, data: bytes) -> Any:
        """Unpack and read."""
        path = self.folder / "packed"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return read_source(open_source(str(path)))


class WordLists(Reader):
    """A list of words as text or JSON."""

    def seeds(self) -> List[bytes]:
        """Make both."""
        return ["\r\n".join(WORDS).encode(), json.dumps(WORDS).encode(), b"a\n\nb\n"]

    def read(self, data: bytes) -> Any:
        """Read the words."""
        path = self.folder / "words"
        path.write_bytes(data)
        return read_words(path)

    def check(self, data: bytes, result: Any) -> None:
        """Compare with a plain reading."""
        text = data.decode("utf-8-sig")
        if text.lstrip().startswith('["'):
            same("words", result, json.loads(text))
        elif not data.startswith(b"PAR1"):
            # A last line may lack its \n, or all of \r\n.
            plain = text.removesuffix("\r").replace("\r\n", "\n").removesuffix("\n")
            same("words", "\n".join(result), plain)
