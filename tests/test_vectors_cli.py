"""The commands: what they write and print, and their errors of one line."""

import dataclasses
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import numpy
import pytest
import spacy
from numpy.testing import assert_array_equal

from spacy_embedkit.cli.convert_vectors import convert as convert_command
from spacy_embedkit.cli.learn_vectors import distill as distill_command
from spacy_embedkit.cli.learn_vectors import learn as learn_command
from spacy_embedkit.vectors import inspection
from spacy_embedkit.vectors.build import convert, distill, learn

from .helpers.vector_tables import (
    WIDTH,
    WORDS,
    make_folder,
    make_ngram_source,
    make_rows,
    make_source,
)
from .helpers.vectors_command import run

SAMPLE = Path(__file__).parents[1] / "assets" / "sample.txt"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "table.txt"
    rows = [
        f"{word} {' '.join(map(repr, row.tolist()))}"
        for word, row in zip(WORDS, make_rows(), strict=True)
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf8")
    return path


COMMANDS = ["convert", "learn", "distill", "info", "similar"]


def test_spacy_finds_the_commands():
    done = subprocess.run(
        [sys.executable, "-m", "spacy", "embedkit", "vectors", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(f" {command} " in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_describe_their_options(command):
    assert f"{command} [OPTIONS]" in run(command, "--help")


def choices_of(function, option):
    """Choices of an option, from its annotation."""
    annotation = typing.get_type_hints(function)[option]
    return [
        typing.get_args(part)
        for part in (annotation, *typing.get_args(annotation))
        if typing.get_origin(part) is typing.Literal
    ]


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        (learn_command, learn.LearnSettings),
        (convert_command, convert.ConvertSettings),
        (distill_command, distill.DistillSettings),
    ],
)
def test_the_options_have_the_choices_of_the_functions(command, settings):
    n_compared = 0
    for field in dataclasses.fields(settings):
        if field.name in inspect.signature(command).parameters:
            expected = choices_of(settings, field.name)
            assert choices_of(command, field.name) == expected
            n_compared += len(expected)
    assert n_compared >= 2


def test_ctrl_c_is_one_line_and_status_130(monkeypatch, tmp_path):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(inspection, "open_vectors", interrupt)
    assert run("info", tmp_path, status=130) == (
        "error: interrupted; nothing was written\n"
    )


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        (learn_command, learn.LearnSettings),
        (convert_command, convert.ConvertSettings),
        (distill_command, distill.DistillSettings),
    ],
)
def test_the_options_have_the_defaults_of_the_functions(command, settings):
    options = inspect.signature(command).parameters
    for field in dataclasses.fields(settings):
        option = options.get(field.name)
        # The policy for unseen words depends on the source.
        if option is not None and field.name != "unseen":
            assert option.default in (field.default, inspect.Parameter.empty)


def test_convert_writes_a_folder_that_trains(text, tmp_path):
    output = run("convert", text, tmp_path / "out", "--lang", "en", "--name", "mine")
    assert "9 x 12" in output
    vectors = spacy.load(tmp_path / "out").vocab.vectors
    assert vectors.name == "mine"
    assert_array_equal(vectors.get_batch(WORDS), make_rows())
    config = {"nlp": {"vectors": {"@vectors": "spacy-embedkit.Vectors.v1"}}}
    nlp = spacy.blank("en", config=config)
    nlp.config["initialize"]["vectors"] = str(tmp_path / "out")
    nlp.initialize()
    assert_array_equal(nlp.vocab.vectors.get_batch(WORDS), make_rows())


def test_convert_reads_standard_input(text, tmp_path):
    run("convert", "-", tmp_path / "out", input=text.read_bytes())
    assert len(spacy.load(tmp_path / "out").vocab.vectors) == 9


def test_convert_takes_ngrams_for_unseen_words(text, tmp_path):
    make_folder(tmp_path / "ngrams", make_ngram_source())
    run("convert", text, tmp_path / "out", "--backoff", tmp_path / "ngrams")
    nlp = spacy.load(tmp_path / "out")
    assert nlp("unheard")[0].vector.any()
    assert nlp.config["nlp"]["vectors"]["unseen"] == "subwords"


ERRORS = {
    "nothing there": ["missing.txt", "OUT"],
    "empty": ["empty.txt", "OUT"],
    "ragged": ["ragged.txt", "OUT"],
    "a mode it has not": ["table.txt", "OUT", "--mode", "floret"],
    "output is a file": ["table.txt", "table.txt"],
    "backoff of words": ["table.txt", "OUT", "--backoff", "table.txt"],
    "language": ["table.txt", "OUT", "--lang", "tlh"],
}


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_errors_are_one_line_and_write_nothing(name, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "ragged.txt").write_text("a 1 2 3\nb 1 2\n")
    before = sorted(tmp_path.iterdir())
    output = run("convert", *ERRORS[name], status=1)
    assert len(output.strip().splitlines()) == 1, output
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("algorithm", ["floret", "fasttext", "word2vec"])
def test_learn_makes_vectors_of_raw_text(algorithm, tmp_path):
    pytest.importorskip("gensim" if algorithm == "word2vec" else "floret")
    options = ["--algorithm", algorithm, "--width", 8, "--buckets", 200]
    options += ["--epochs", 1, "--min-count", 2]
    run("learn", SAMPLE, tmp_path / "out", "--lang", "pt", *options)
    nlp = spacy.load(tmp_path / "out")
    assert nlp.lang == "pt"
    assert nlp.vocab.vectors.vectors_length == 8
    assert nlp("que")[0].vector.any()
    assert nlp("palavrório")[0].has_vector == (algorithm != "word2vec")
    assert numpy.isfinite(nlp("Xyzzy")[0].vector).all()


def test_info_shows_size_coverage_and_neighbours(tmp_path):
    make_folder(tmp_path / "out", dtype="int8")
    (tmp_path / "raw.txt").write_text("the cat sat on the moon\n")
    output = run("info", tmp_path / "out", "--text", tmp_path / "raw.txt")
    assert "int8" in output
    assert "83.3%" in output
    assert "moon" in output
    output = run("info", tmp_path / "out", "--words", "cat")
    assert output.count("0.") + output.count("-0.") >= 5


def test_similar_lists_the_nearest_words(tmp_path):
    rows = make_rows()
    rows[2] = rows[1] * 2
    make_folder(tmp_path / "out", make_source(rows))
    output = run("similar", tmp_path / "out", "cat", "-n", 2)
    assert output.split()[:3] == ["cat", "sat", "1.0000"]
    assert "zzz" in run("similar", tmp_path / "out", "zzz", status=1)


def test_info_of_a_stock_pipeline(tmp_path):
    nlp = spacy.blank("en")
    nlp.vocab.set_vector("cat", numpy.ones(WIDTH, dtype="f"))
    nlp.to_disk(tmp_path / "stock")
    assert "12" in run("info", tmp_path / "stock")
    assert "has no vectors" in run("info", tmp_path, status=1)
