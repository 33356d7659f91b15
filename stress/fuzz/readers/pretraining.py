"""What pretraining keeps on disk: targets, checkpoints and weights."""

import hashlib
import sqlite3
import zlib
from pathlib import Path
from typing import Any, Dict, List

import numpy
import spacy
from srsly import msgpack_dumps
from srsly.msgpack import _unpacker
from thinc.config import ConfigValidationError

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.run.command import pretrain
from spacy_embedkit.pretraining.run.run_folder import (
    CHECKPOINT,
    HEADER,
    MAGIC,
    VERSION,
    RunFolder,
)
from spacy_embedkit.pretraining.teacher.database import DATABASE, FORMAT, TABLES
from spacy_embedkit.pretraining.teacher.reduction import Reduction
from spacy_embedkit.pretraining.teacher.store import TargetStore
from spacy_embedkit.pretraining.weights.fit import check_fit
from tests.helpers.pretraining_runs import make_config, own, sample_texts, write_jsonl

from ..base import Reader, same
from ..packing import SkipError

WIDTH = 3
SETTINGS = "test, 3 wide"
TOK2VEC: Dict[str, Any] = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "width": 4,
    "depth": 1,
    "embed_size": 4,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
    "pretrained_vectors": None,
}


class Store(Reader):
    """Rows of the database of targets; most have a right checksum."""

    def seeds(self) -> List[bytes]:
        """Make targets of two docs, and a reduction of each kind."""
        rows = numpy.arange(6, dtype="<f2").tobytes()
        axes = numpy.arange(12, dtype="<f4")
        targets = [[1, None, rows], [-(2**63), None, rows[:6]], [2, 5, b"abc"]]
        found = []
        for n_axes in (3, 12):
            reduction = [axes[: n_axes // 3].tobytes(), axes[:n_axes].tobytes(), None]
            if n_axes == 3:
                reduction[0] = axes[:3].tobytes()
            tree = {"version": FORMAT, "settings": SETTINGS, "n_bytes": 18}
            tree |= {"targets": targets, "reduction": reduction}
            found.append(msgpack_dumps(tree))
        return found

    def read(self, data: bytes) -> Any:
        """Write the database, and use it."""
        for path in self.folder.glob(f"{DATABASE}*"):
            path.unlink()
        try:
            tree = _unpacker.unpackb(data, raw=False, strict_map_key=False)
            self._write(tree)
        except (
            ValueError,
            TypeError,
            LookupError,
            sqlite3.Error,
            OverflowError,
        ) as err:
            raise SkipError from err
        except AttributeError as err:
            raise SkipError from err
        return tree, use_store(self.folder)

    def check(self, data: bytes, result: Any) -> None:
        """Compare rows with a right checksum."""
        tree, (_, found) = result
        for key, crc, blob in tree["targets"]:
            array = found.get(key % 2**64) if isinstance(key, int) else None
            if array is not None and crc is None:
                same("targets", array.tobytes(), blob)

    def _write(self, tree: Dict[str, Any]) -> None:
        database = sqlite3.connect(self.folder / DATABASE, isolation_level=None)
        try:
            database.execute("PRAGMA page_size = 512")
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN IMMEDIATE")
            for name, columns in TABLES.items():
                database.execute(f"CREATE TABLE {name} {columns}")
            about = [tree["settings"], tree["n_bytes"]]
            database.execute("INSERT INTO about VALUES (?, ?)", about)
            for key, crc, blob in tree["targets"]:
                right = zlib.crc32(blob) if crc is None else crc
                row = [key, right, blob]
                database.execute("INSERT INTO targets VALUES (?, ?, ?)", row)
            mean, axes, crc = tree["reduction"]
            right = zlib.crc32(mean + axes) if crc is None else crc
            row = [mean, axes, right]
            database.execute("INSERT INTO reduction VALUES (?, ?, ?)", row)
            database.execute(f"PRAGMA user_version = {int(tree['version'])}")
            database.execute("COMMIT")
        finally:
            database.close()


class StoreFile(Store):
    """The file of the database."""

    max_bytes = 1 << 14

    def seeds(self) -> List[bytes]:
        """Make the files of the seeds."""
        found = []
        for seed in super().seeds():
            super().read(seed)
            found.append((self.folder / DATABASE).read_bytes())
        return found

    def read(self, data: bytes) -> Any:
        """Use the database."""
        for path in self.folder.glob(f"{DATABASE}*"):
            path.unlink()
        (self.folder / DATABASE).write_bytes(data)
        return use_store(self.folder)

    def check(self, data: bytes, result: Any) -> None:
        """Nothing to compare: the file may hold other targets."""


def use_store(folder: Path) -> Any:
    """Read and add targets, and apply the reduction."""
    store = TargetStore(folder, WIDTH, "test", 1 << 20)
    try:
        n_rows, reduction = len(store), store.reduction
        found = store.read([1, 2, 2**63, 7])
        if not all(array.shape[1] == WIDTH for array in found.values()):
            raise ValueError("a target has another width")
        if reduction is not None:
            reduction_fits(reduction)
        store.add({9: numpy.zeros((2, WIDTH), "<f2")})
        return n_rows, found
    finally:
        store.close()


def reduction_fits(reduction: Reduction) -> None:
    """Apply a reduction to rows as wide as its mean."""
    rows = numpy.ones((2, len(reduction.mean)), dtype="f")
    with numpy.errstate(all="ignore"):
        same("reduced shape", reduction(rows).shape, (2, WIDTH))


def _say(line: str) -> None:
    """Show nothing."""


class StoppedError(Exception):
    """Ends a run after a checkpoint."""


class Checkpoint(Reader):
    """A checkpoint with a valid checksum, from which a run is resumed."""

    documented = (InputError, ConfigValidationError)
    max_bytes = 1 << 16
    cpu_seconds = 20.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        corpus = write_jsonl(folder / "raw.jsonl", sample_texts(6))
        settings = {"components__tok2vec__model": TOK2VEC, "pretraining__max_epochs": 2}
        settings |= {"pretraining__objective__hidden_size": 4}
        self.config = make_config(corpus, **settings, **own(eval_every=100))
        self.out = folder / "out"

    def seeds(self) -> List[bytes]:
        """Stop a run in the middle of its second epoch."""
        save, states = RunFolder.save_checkpoint, []

        def stop(run_folder: RunFolder, state: Dict[str, Any]) -> None:
            save(run_folder, state)
            states.append((run_folder.path / CHECKPOINT).read_bytes()[HEADER.size :])
            if state["progress"]["epoch"]:
                raise StoppedError

        patched: Any = RunFolder
        patched.save_checkpoint = stop
        try:
            pretrain(self.config, self.out, say=_say)
        except StoppedError:
            pass
        finally:
            patched.save_checkpoint = save
        return [states[0], states[-1]]

    def read(self, data: bytes) -> Any:
        """Go on with the run."""
        digest = hashlib.blake2b(data, digest_size=32).digest()
        head = HEADER.pack(MAGIC, VERSION, len(data), digest)
        self.out.mkdir(exist_ok=True)
        (self.out / CHECKPOINT).write_bytes(head + data)
        RunFolder(self.out, _say).load_checkpoint()
        return pretrain(self.config, self.out, resume=True, say=_say)


class Weights(Reader):
    """A file of weights, and the layer that it is for."""

    max_bytes = 1 << 15

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.nlp = spacy.blank("xx")
        self.nlp.add_pipe("tok2vec", config={"model": TOK2VEC})
        self.nlp.initialize()
        tok2vec: Any = self.nlp.get_pipe("tok2vec")
        self.model = tok2vec.model
        self.weights = self.model.to_bytes()

    def seeds(self) -> List[bytes]:
        """Save the layer."""
        return [self.weights]

    def read(self, data: bytes) -> Any:
        """Load weights that fit."""
        path = self.folder / "model.bin"
        path.write_bytes(data)
        check_fit(path, self.model, self.nlp.config)
        self.model.from_bytes(data)
        try:
            return self.model.predict([self.nlp.make_doc("The cat sat.")])
        finally:
            self.model.from_bytes(self.weights)
