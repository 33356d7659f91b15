"""The fuzzing itself: its seeds are read, and what is not documented is found."""

import time
from random import Random

import pytest

from stress.fuzz.base import Reader, WrongNumberError
from stress.fuzz.changes import spoil_randomly
from stress.fuzz.judge import Judge, Tally, read_tally
from stress.fuzz.packing import SkipError, pack, unpack
from stress.fuzz.readers import NAMES, make_reader

# Readers that load a transformer or go on with a run for each input.
SLOW = ("transformer-bytes", "transformer-folder", "wordpiece-tokenizer", "checkpoint")
LIBRARIES = {"parquet": "pyarrow", "transformer": "spacy_transformers"}


@pytest.mark.parametrize("name", sorted(NAMES.keys() - {*SLOW}))
def test_seeds_are_read_and_so_are_changes_of_them(tmp_path, name) -> None:
    for part, library in LIBRARIES.items():
        if part in name:
            pytest.importorskip(library, reason="reads these files")
    pytest.importorskip("spacy_transformers", reason="has readers of its own")
    reader = make_reader(name, tmp_path)
    rng = Random(0)
    seeds = reader.seeds()
    assert seeds
    n_read = 0
    for seed in seeds:
        try:
            reader.check(seed, reader.read(seed))
            n_read += 1
        except reader.documented:
            # Some are examples of what is refused.
            pass
        changed = reader.mutate(seed, rng, lambda part: spoil_randomly(part, rng))
        assert isinstance(changed, bytes)
    assert n_read


class Fake(Reader):
    """Does what the input says."""

    documented = (ValueError,)
    errors = (
        (b"key", KeyError("a")),
        (b"number", WrongNumberError("rows: 1, not 2")),
        (b"lines", ValueError("a\nb")),
        (b"line", ValueError("a")),
        (b"skip", SkipError()),
    )

    def seeds(self) -> list[bytes]:
        return [b""]

    def read(self, data: bytes) -> None:
        for text, error in self.errors:
            if data == text:
                raise error


def test_what_is_not_documented_is_kept_once(tmp_path) -> None:
    tally = Tally(tmp_path / "counts", 100)
    judge = Judge(Fake(tmp_path), tmp_path / "findings", tally)
    for data in (b"", b"line", b"key", b"key", b"skip", b"number", b"lines"):
        assert judge.run(data) == (data != b"skip")
    kept = {path.read_bytes() for path in (tmp_path / "findings").glob("*.bin")}
    assert kept == {b"key", b"number", b"lines"}
    assert read_tally(tmp_path / "counts") == (7, 1, b"lines")


class Slow(Fake):
    """Takes a moment for `slow`, and for `first` the first time alone."""

    cpu_seconds = 0.02
    first = True

    def read(self, data: bytes) -> None:
        if data == b"slow" or (data == b"first" and self.first):
            self.first = False
            end = time.process_time() + 2 * self.cpu_seconds
            while time.process_time() < end:
                pass


def test_what_is_slow_is_kept_unless_only_the_first_call_was(tmp_path) -> None:
    tally = Tally(tmp_path / "counts", 100)
    judge = Judge(Slow(tmp_path), tmp_path / "findings", tally)
    assert judge.run(b"first")
    assert not [*tmp_path.glob("findings/*")]
    assert judge.run(b"slow")
    (kept,) = (tmp_path / "findings").glob("*.bin")
    assert kept.read_bytes() == b"slow"


def test_packed_files_come_back_and_never_leave_their_folder() -> None:
    files = {"a.npy": b"\0", "vocab/key2row": b""}
    assert unpack(pack(files)) == files
    for name in ("../a", "/a", "a/../b", "", "a\0"):
        with pytest.raises(SkipError):
            unpack(pack({name: b""}))
    with pytest.raises(SkipError):
        unpack(pack(files)[:-1] + b"\xff")
