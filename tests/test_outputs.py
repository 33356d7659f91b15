"""Files and folders that commands write: nothing of others is lost, nothing is left."""

import subprocess
import sys
import threading

import numpy
import pytest
import spacy

from spacy_embedkit import io, locks
from spacy_embedkit.checks import InputError
from spacy_embedkit.io import atomic_folder, work_folder, write_atomic
from spacy_embedkit.locks import exclusive, remove_unlocked, try_lock
from spacy_embedkit.vectors.build import learn as learning

from .helpers.vector_tables import make_folder
from .helpers.vectors_command import run

LEFT = "0123456789abcdef"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def pipeline(tmp_path):
    """A trained pipeline with vectors."""
    folder = make_folder(tmp_path / "out")
    nlp = spacy.load(folder)
    nlp.add_pipe("ner").add_label("X")
    nlp.add_pipe("sentencizer")
    nlp.initialize()
    nlp.to_disk(folder)
    return folder


def test_a_trained_pipeline_is_replaced_by_force_alone(pipeline, tmp_path):
    (tmp_path / "table.txt").write_text("a 1 2\nb 3 4\n")
    before = sorted(pipeline.rglob("*"))
    output = run("convert", tmp_path / "table.txt", pipeline, status=1)
    assert f"{pipeline}: holds other files, which would be lost (ner, " in output
    assert "--force" in output
    assert len(output.splitlines()) == 1
    assert sorted(pipeline.rglob("*")) == before
    run("convert", tmp_path / "table.txt", pipeline, "--force")
    assert spacy.load(pipeline).pipe_names == []
    assert names(tmp_path) == ["out", "table.txt"]


@pytest.mark.parametrize("command", ["learn", "distill"])
def test_commands_ask_for_force_before_their_work(command, pipeline, tmp_path):
    sources = {"learn": ["no.txt"], "distill": ["no", "no.txt"]}[command]
    output = run(command, *sources, pipeline, "--lang", "en", status=1)
    assert "would be lost (ner, " in output


def test_components_without_files_are_not_replaced(tmp_path):
    nlp = spacy.load(make_folder(tmp_path / "out"))
    nlp.add_pipe("merge_entities")
    nlp.to_disk(tmp_path / "out")
    with pytest.raises(InputError, match="the component merge_entities"):
        make_folder(tmp_path / "out")


def test_bare_pipelines_with_vectors_are_replaced(tmp_path):
    nlp = spacy.blank("en")
    nlp.to_disk(tmp_path / "out")
    with pytest.raises(InputError, match="a pipeline without vectors"):
        make_folder(tmp_path / "out")
    nlp.vocab.set_vector("a", numpy.ones(2, dtype="f"))
    nlp.to_disk(tmp_path / "out")
    make_folder(tmp_path / "out")
    (tmp_path / "out" / "vocab" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"would be lost \(vocab/notes.txt\)"):
        make_folder(tmp_path / "out")


def test_the_folder_one_works_in_is_never_replaced(tmp_path, monkeypatch):
    (tmp_path / "work" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "inner")
    (tmp_path / "table.txt").write_text("a 1 2\n")
    for folder in (tmp_path / "work", "."):
        (tmp_path / "work" / "inner" / "thesis.txt").touch()
        output = run("convert", tmp_path / "table.txt", folder, "--force", status=1)
        assert "name another folder" in output


HOLD = """
import pathlib, sys, time
from spacy_embedkit.io import atomic_folder
with atomic_folder(sys.argv[1]) as folder:
    (folder / "a").touch()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_the_second_of_two_writers_stops_and_a_killed_one_leaves_nothing(tmp_path):
    target = tmp_path / "out"
    command = [sys.executable, "-c", HOLD, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        with (
            pytest.raises(InputError, match="out: another command is writing it; wait"),
            atomic_folder(target),
        ):
            pytest.fail("two at once")
        process.kill()
    assert len(names(tmp_path)) == 2
    with atomic_folder(target) as folder:
        (folder / "b").touch()
    assert names(tmp_path) == ["out"]
    assert names(target) == ["b"]


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_folder_is_replaced_in_one_step_or_two(tmp_path, monkeypatch, in_one_step):
    if not in_one_step:
        monkeypatch.setattr(io, "_exchange", lambda one, other: False)
    for name in ("a", "b"):
        with atomic_folder(tmp_path / "out") as folder:
            (folder / name).touch()
        assert names(tmp_path) == ["out"]
        assert names(tmp_path / "out") == [name]


def test_a_run_killed_between_the_steps_loses_nothing(tmp_path):
    old = tmp_path / f".out.{LEFT}.old"
    old.mkdir()
    (old / "precious").touch()
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["precious"]


def test_files_of_others_are_left_alone(tmp_path):
    others = [".out.partial", ".out.old", f".out.b.{LEFT}.partial", f"out.{LEFT}.old"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".out.lock").write_text("mine")
    with atomic_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == sorted([*others, ".out.lock", "out"])


def test_a_file_gets_one_of_the_contents_of_its_writers(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([i]) * 100_000 for i in range(4)]
    errors = []

    def write(content):
        try:
            for _ in range(25):
                write_atomic(path, content)
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=write, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert path.read_bytes() in contents
    assert names(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_removed_unless_it_is_held(tmp_path):
    left, held = (tmp_path / f".file.{c * 16}.partial" for c in "ab")
    left.write_bytes(b"x")
    (tmp_path / ".file.partial").touch()
    with held.open("wb") as file:
        assert try_lock(file)
        write_atomic(tmp_path / "file", b"y")
        assert names(tmp_path) == [held.name, ".file.partial", "file"]
        assert not remove_unlocked(held)
    assert remove_unlocked(held)


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    write_atomic(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "file", b"new", "text")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    def fail(file):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks, "try_lock", fail)
    left = tmp_path / f".out.{LEFT}.partial"
    left.mkdir()
    (tmp_path / f".file.{LEFT}.partial").touch()
    with atomic_folder(tmp_path / "out"):
        pass
    write_atomic(tmp_path / "file", b"y")
    assert names(tmp_path) == [f".file.{LEFT}.partial", left.name, "file", "out"]


def test_threads_exclude_each_other(tmp_path):
    with exclusive(tmp_path / "out") as is_locked:
        assert is_locked
        with pytest.raises(InputError), exclusive(tmp_path / "out"):
            pytest.fail("two at once")
    with exclusive(tmp_path / "out"):
        pass
    assert names(tmp_path) == []


def test_a_work_folder_goes_and_so_does_that_of_a_killed_run(tmp_path):
    left = tmp_path / f".out.{LEFT}.work"
    (left / "files").mkdir(parents=True)
    (left / "lock").touch()
    with work_folder(tmp_path / "out") as one:
        assert names(tmp_path) == [one.parent.name]
        with work_folder(tmp_path / "out") as two:
            (two / "a").touch()
        assert names(tmp_path) == [one.parent.name]
        assert names(one) == []
    assert names(tmp_path) == []


def test_an_interrupt_while_a_work_folder_goes_leaves_its_lock(tmp_path, monkeypatch):
    removed = []

    def interrupted(path, **options):
        removed.append(path.name)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "out") as folder:
        monkeypatch.setattr(io.shutil, "rmtree", interrupted)
    monkeypatch.undo()
    assert removed[0] == "files"
    assert names(folder.parent) == ["files", "lock"]
    with work_folder(tmp_path / "out"):
        assert len(names(tmp_path)) == 1


def test_learn_works_next_to_its_output(tmp_path, monkeypatch):
    seen = []

    def learn(raw, folder, **settings):
        seen.append(folder.parent.parent)
        raise InputError("enough")

    monkeypatch.setattr(learning, "learn", learn)
    run("learn", "raw.txt", tmp_path / "out", "--lang", "en", status=1)
    assert seen == [tmp_path]
    assert names(tmp_path) == []
