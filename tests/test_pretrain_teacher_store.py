"""The store of targets: limits, damage, errors and several processes."""

import numpy
import pytest

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.teacher import store as store_module
from spacy_embedkit.pretraining.teacher.database import (
    DATABASE,
    DamagedStoreError,
    database_errors,
)
from spacy_embedkit.pretraining.teacher.reduction import Reduction
from spacy_embedkit.pretraining.teacher.store import TargetStore

STANDARDISED = Reduction(numpy.arange(8, dtype="f"), numpy.ones(8, "f"))
COMPONENTS = Reduction(numpy.arange(8, dtype="f"), numpy.ones((8, 3), "f"))


def open_store(folder, width=4, settings="some", max_bytes=1 << 30):
    return TargetStore(folder, width, settings, max_bytes)


def some_targets(n=10, width=4):
    keys = [(i * 7919 + 2**63) % 2**64 for i in range(n)]
    return {key: numpy.full((i % 4, width), i, "f2") for i, key in enumerate(keys)}


def assert_holds(store, targets):
    found = store.read(list(targets))
    assert found.keys() == targets.keys()
    assert all(numpy.array_equal(found[key], targets[key]) for key in found)


def break_database(folder, old, new):
    """Change the first such bytes of a database."""
    [path] = folder.rglob(DATABASE)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


@pytest.mark.parametrize("first", [STANDARDISED, COMPONENTS])
def test_reduction_is_read_back_and_the_first_one_stays(tmp_path, first):
    width = first.axes.shape[-1]
    store = open_store(tmp_path, width)
    assert store.reduction is None
    store.set_reduction(first)
    store.set_reduction(Reduction(first.mean + 1, first.axes))
    store.close()
    found = open_store(tmp_path, width).reduction
    assert numpy.array_equal(found.mean, first.mean)
    assert numpy.array_equal(found.axes, first.axes)


def test_two_stores_of_a_folder_read_what_the_other_adds(tmp_path):
    stores = [open_store(tmp_path) for _ in range(2)]
    targets = some_targets(20)
    for i, (key, array) in enumerate(targets.items()):
        stores[i % 2].add({key: array})
    for store in stores:
        assert_holds(store, targets)
    assert len(stores[0]) == 20


def test_targets_of_a_doc_that_is_added_twice_count_once(tmp_path):
    targets = some_targets()
    n_bytes = sum(array.nbytes for array in targets.values())
    for _ in range(3):
        store = open_store(tmp_path, max_bytes=n_bytes)
        store.add(targets)
        assert not store.is_full
    store.add({1: numpy.zeros((1, 4), "f2")})
    assert store.is_full
    assert_holds(store, targets)


def test_failed_write_is_one_line_and_the_store_goes_on(tmp_path):
    store = open_store(tmp_path)
    targets = some_targets()
    store.add(targets)
    [[n_pages]] = store._database.execute("PRAGMA page_count")
    store._database.execute(f"PRAGMA max_page_count = {n_pages}")
    large = {1: numpy.zeros((9000, 4), "f2")}
    with pytest.raises(InputError, match=r"disk is full; check free space and perm"):
        store.add(large)
    assert_holds(store, targets)
    store._database.execute("PRAGMA max_page_count = 1000000")
    store.add(large)
    assert_holds(store, targets | large)


def test_interrupted_write_leaves_nothing_and_the_store_goes_on(tmp_path):
    class Interrupted(dict):
        def items(self):
            yield from super().items()
            raise KeyboardInterrupt

    store = open_store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.add(Interrupted(some_targets()))
    assert not len(store)
    store.add(some_targets())
    assert_holds(store, some_targets())


def test_damaged_targets_are_left_out_and_replaced(tmp_path):
    targets = some_targets()
    *_, (key, array) = targets.items()
    store = open_store(tmp_path)
    store.add(targets)
    store.close()
    break_database(tmp_path, array.tobytes(), bytes(array.nbytes))
    store = open_store(tmp_path)
    assert store.read(list(targets)).keys() == targets.keys() - {key}
    store.add({key: array})
    assert_holds(store, targets)


def test_damaged_reduction_is_named(tmp_path):
    store = open_store(tmp_path, 8)
    store.set_reduction(STANDARDISED)
    store.close()
    break_database(tmp_path, STANDARDISED.mean.tobytes(), bytes(32))
    with pytest.raises(InputError, match=r"sqlite is damaged .*; its targets are comp"):
        _ = open_store(tmp_path, 8).reduction


@pytest.mark.parametrize("new", [b"x", b"\xff"])
@pytest.mark.parametrize("old", [b"SQLite format 3", b"CREATE TABLE targets"])
def test_damaged_database_is_named(tmp_path, old, new):
    open_store(tmp_path).close()
    break_database(tmp_path, old, new * len(old))
    with pytest.raises(InputError, match=r"sqlite is damaged .*; its targets are comp"):
        open_store(tmp_path)


def test_size_that_asks_for_too_much_memory_is_damage(tmp_path):
    with pytest.raises(DamagedStoreError, match="too large"), database_errors(tmp_path):
        raise MemoryError


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE about",
        "DROP TABLE targets; CREATE VIEW targets AS SELECT 1 AS key, 2 AS data",
        "CREATE TRIGGER x AFTER INSERT ON targets BEGIN DELETE FROM about; END",
        "CREATE TABLE more (x)",
        "DELETE FROM about",
        "INSERT INTO about VALUES ('some, 8 wide', 0)",
        "UPDATE about SET n_bytes = 'many'",
        "UPDATE about SET n_bytes = -1",
        "UPDATE about SET settings = x'00ff'",
        "UPDATE reduction SET mean = NULL",
        "UPDATE reduction SET axes = 'text', crc = 0",
        "UPDATE reduction SET mean = x'0000', axes = x'', crc = 1104745215",
        "UPDATE reduction SET axes = x'0000803f', crc = 0",
        "PRAGMA user_version = 0; CREATE TABLE mine (x)",
    ],
)
def test_database_that_no_run_has_written_is_damaged(tmp_path, change):
    store = open_store(tmp_path, 8)
    store.set_reduction(STANDARDISED)
    store._database.executescript(change)
    store.close()
    with pytest.raises(DamagedStoreError):
        _ = open_store(tmp_path, 8).reduction


@pytest.mark.parametrize(
    "change", ["data = NULL", "data = 'text'", "data = x'00', crc = 3523407757"]
)
def test_targets_of_another_kind_are_left_out_and_replaced(tmp_path, change):
    store = open_store(tmp_path)
    store.add(some_targets())
    store._database.execute(f"UPDATE targets SET {change}")
    assert store.read(list(some_targets())) == {}
    store.add(some_targets())
    assert_holds(store, some_targets())


def test_infinite_targets_are_left_out(tmp_path):
    store = open_store(tmp_path)
    store.add(
        {1: numpy.full((1, 4), -numpy.inf, "f2"), 2: numpy.full((1, 4), 6e4, "f2")}
    )
    store.add({3: numpy.full((1, 4), numpy.nan, "f2")})
    assert store.read([1, 2, 3]).keys() == {2, 3}


def test_other_settings_are_refused(tmp_path):
    open_store(tmp_path).close()
    for settings in ({"width": 5}, {"settings": "other"}):
        with pytest.raises(InputError, match=r"was made with other settings .*some, 4"):
            open_store(tmp_path, **settings)


def test_other_formats_are_refused(tmp_path):
    (tmp_path / "0.index").touch()
    with pytest.raises(InputError, match=r"another format now, .*; delete the folder"):
        open_store(tmp_path)
    store = open_store(tmp_path / "later")
    store._database.execute("PRAGMA user_version = 2")
    store.close()
    with pytest.raises(InputError, match="has format 2, but 1 is read; delete the fo"):
        open_store(tmp_path / "later")


def test_folder_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match=r"x.*; check free space and permissions"):
        open_store(tmp_path / "x" / "y")
    (tmp_path / "y" / DATABASE).mkdir(parents=True)
    with pytest.raises(InputError, match=r"unable to open .*; check free space and"):
        open_store(tmp_path / "y")


def test_error_of_another_process_that_writes_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "TIMEOUT", 0.01)
    first, second = open_store(tmp_path), open_store(tmp_path)
    first._database.execute("BEGIN IMMEDIATE")
    with pytest.raises(InputError, match="database is locked"):
        second.add(some_targets())
    first._database.execute("COMMIT")
    second.add(some_targets())
    assert_holds(first, some_targets())
