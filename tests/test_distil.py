"""`spacy embedkit distil`: from a slow pipeline to a fast one, step by step."""

import json
import random
import re
import shutil
import time

import pytest
import spacy
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.converters import conllu_to_docs
from thinc.api import use_ops
from typer.testing import CliRunner

from spacy_embedkit.checks import InputError
from spacy_embedkit.cli import embedkit_cli
from spacy_embedkit.cli.interrupts import STOPPED
from spacy_embedkit.distillation import distilling
from spacy_embedkit.distillation.finished_steps import STATE, FinishedSteps, Step
from spacy_embedkit.distillation.student import make_student
from spacy_embedkit.distillation.teaching import Text, has_transformer
from spacy_embedkit.experiments.trials import read_docs
from spacy_embedkit.pretraining.run.run_report import ENDS

from .helpers.checkout import ROOT
from .helpers.processes import exit_code, start_process

SMALL = ["--epochs", 2, "--training.max_steps", 4, "--training.eval_frequency", 2]
SMALL += ["--components.tok2vec.model.encode.width", 16]
SMALL += ["--embedkit.pretrain.held_out", 0.2, "--embedkit.pretrain.report", "false"]
SMALL += ["--embedkit.pretrain.checkpoint_minutes", 0]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a teacher, annotated documents and raw text."""
    folder = tmp_path_factory.mktemp("inputs")
    text = (ROOT / "assets" / "sample.conllu").read_text(encoding="utf8")
    # spaCy's own reader of CoNLL-U takes no word that has no annotation.
    text = re.sub(r"^\d+\.\d+\t.*\n", "", text, flags=re.MULTILINE)
    docs = list(conllu_to_docs(text, n_sents=5, no_print=True))
    DocBin(docs=docs[::2]).to_disk(folder / "train.spacy")
    DocBin(docs=docs[1::2]).to_disk(folder / "dev.spacy")
    lines = (ROOT / "assets" / "sample.txt").read_text(encoding="utf8").splitlines()
    (folder / "raw.txt").write_text("\n".join(lines[:60]), encoding="utf8")
    nlp = spacy.blank("en")
    for name in ("tagger", "parser", "attribute_ruler", "ner"):
        nlp.add_pipe(name)
    nlp.get_pipe("ner").add_label("PLACE")
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
    nlp.initialize(lambda: examples)
    nlp.get_pipe("attribute_ruler").add([[{"LOWER": "the"}]], {"LEMMA": "THE"})
    nlp.to_disk(folder / "teacher")
    return folder


def arguments(inputs, out, *options):
    """The command line after `distil`."""
    files = [inputs / "teacher", inputs / "raw.txt", out]
    docs = ["--train", inputs / "train.spacy", "--dev", inputs / "dev.spacy"]
    return list(map(str, ["distil", *files, *docs, *SMALL, *options]))


def call(*command, status=0):
    # The fast backend of a config would stay for the tests that come after.
    with use_ops("numpy"):
        result = CliRunner().invoke(embedkit_cli, [str(word) for word in command])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    """The folder of a finished run, and what it printed."""
    out = tmp_path_factory.mktemp("done") / "out"
    return out, call(*arguments(inputs, out))


def result_of(out):
    """What has to be the same after a run that was interrupted."""
    found = {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted((out / "model-best").rglob("*"))
        # Configs and meta have paths.
        if path.is_file() and path.suffix not in (".cfg", ".json")
    }
    found["pretrained"] = (out / "pretrain" / "model-last.bin").read_bytes()
    report = json.loads((out / "report.json").read_text())
    found["scores"] = json.dumps(report["comparisons"])
    return found


def test_slow_pipeline_becomes_a_fast_one(done, inputs):
    out, output = done
    assert "note: the student has no ner: the training documents have no" in output
    assert "no transformer, so the student is pretrained on the words" in output
    assert f'Next: nlp = spacy.load("{out}/model-best")' in output
    nlp = spacy.load(out / "model-best")
    assert nlp.pipe_names == ["tok2vec", "tagger", "parser", "attribute_ruler"]
    doc = nlp("The cat sat")
    assert doc[0].lemma_ == "THE"
    assert doc.has_annotation("DEP")
    report = json.loads((out / "report.json").read_text())
    rows = {(row["variant"], row["metric"]): row for row in report["comparisons"]}
    assert {name for name, _ in rows} == {"plain", "teacher", "distilled"}
    assert set(report["words_per_second"]) == {"plain", "teacher", "distilled"}
    assert {row["name"] for row in report["contributions"]} == {"the teacher"}
    for name in ("report.html", "report.md"):
        assert "distilled" in (out / name).read_text()
    scores = spacy.load(inputs / "teacher").evaluate(
        [
            Example(nlp.make_doc(doc.text), doc)
            for doc in read_docs(inputs / "dev.spacy").get_docs(nlp.vocab)
        ]
    )
    assert rows["teacher", "tag_acc"]["mean"] == 100 * scores["tag_acc"]


def test_student_starts_from_what_was_pretrained(done):
    out, _ = done
    files = (out / "trainings" / "trials").glob("*.json")
    trials = [json.loads(path.read_text()) for path in files]
    inputs = {each["variant"]: each["inputs"] for each in trials}
    assert "init_tok2vec" in inputs["distilled"]
    assert "init_tok2vec" not in inputs["plain"]


def test_finished_steps_are_not_done_again(done, inputs):
    out, _ = done
    kept = [out / "pretrain" / "model-last.bin", *(out / "trainings").glob("*/*.json")]
    before = {path: path.stat().st_mtime_ns for path in kept}
    assert "pretrain: is done" in call(*arguments(inputs, out))
    assert {path: path.stat().st_mtime_ns for path in kept} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--epochs", 3], "its pretrain was made with others: .*max_epochs is 2 there"),
        (["--pretraining.dropout", 0.5], "pretraining.dropout is 0.0 there and 0.5"),
        (["--training.max_steps", 5], "training.max_steps is 4 there and 5 here"),
    ],
)
def test_other_settings_are_refused(done, inputs, options, words):
    out, _ = done
    before = result_of(out)
    output = call(*arguments(inputs, out, *options), status=1)
    assert re.search(words, output)
    assert "--force" in output
    assert result_of(out) == before


@pytest.mark.slow
def test_other_raw_text_is_taken_by_force(done, inputs, tmp_path):
    shutil.copytree(done[0], tmp_path / "out")
    text = (inputs / "raw.txt").read_text(encoding="utf8")
    (tmp_path / "more.txt").write_text(
        f"{text}\nOne more line of text, the last one.\n"
    )
    command = arguments(inputs, tmp_path / "out")
    command[2] = str(tmp_path / "more.txt")
    assert "its raw text was made with others: raw is" in call(*command, status=1)
    call(*command, "--force")
    before, after = result_of(done[0]), result_of(tmp_path / "out")
    assert before["pretrained"] != after["pretrained"]
    # What does not depend on it is kept.
    plain = "trainings/trials/plain-all-0.json"
    assert (tmp_path / "out" / plain).read_text() == (done[0] / plain).read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teacher": "no-such"}, "no-such: is neither the folder of a pipeline nor"),
        ({"raw.txt": "no.txt"}, "no.txt: no such file; name raw text"),
        ({"dev.spacy": "no.spacy"}, "--dev .*no.spacy: no such file or folder"),
        ({"out": "full"}, "full: holds other files, such as thesis.txt; name a new"),
        ({"out": "file"}, "file: is a file; name a folder"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_done(inputs, tmp_path, change, words):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    (tmp_path / "file").touch()
    command = arguments(inputs, tmp_path / "out")
    [(old, new)] = change.items()
    command = [re.sub(rf"(.*/){re.escape(old)}$", rf"\g<1>{new}", w) for w in command]
    output = call(*command, status=1)
    [line] = output.splitlines()
    assert re.search(words, line)
    assert not (tmp_path / "out").exists()


def test_setting_that_is_not_one_is_named(inputs, tmp_path):
    command = arguments(inputs, tmp_path / "out", "--trainings.max_steps", 3)
    output = call(*command, status=1)
    assert "the student's config: " in output
    assert "trainings" in output


def test_pretraining_that_is_interrupted_is_one_line(inputs, tmp_path, monkeypatch):
    def pretrain(config, folder, resume, say):
        assert resume
        say(ENDS["signal"])
        return "signal"

    monkeypatch.setattr(distilling, "pretrain", pretrain)
    output = call(*arguments(inputs, tmp_path / "out"), status=STOPPED)
    *said, last = output.splitlines()
    assert last.startswith("error: interrupted; finished steps are kept; run the")
    assert ENDS["signal"] not in said
    assert "minutes" not in FinishedSteps(tmp_path / "out").found["pretrain"]


@pytest.mark.slow
def test_student_of_ones_own_learns_from_the_first_documents(inputs, tmp_path):
    config, _ = make_student(
        spacy.load(inputs / "teacher").config, "", read_docs(inputs / "train.spacy")
    )
    config["nlp"]["pipeline"] = ["tok2vec", "tagger"]
    config["components"] = {
        name: config["components"][name] for name in ("tok2vec", "tagger")
    }
    config.to_disk(tmp_path / "own.cfg")
    own = ["--config", tmp_path / "own.cfg", "--docs", 3, "--no-baseline"]
    call(*arguments(inputs, tmp_path / "out", *own))
    nlp = spacy.load(tmp_path / "out" / "model-best")
    assert nlp.pipe_names == ["tok2vec", "tagger"]
    assert nlp.config["corpora"]["train"]["limit"] == 3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {row["variant"] for row in report["comparisons"]} == {"teacher", "distilled"}


def test_help_is_found_by_other_words():
    words = " ".join(call("distil", "--help").split())
    assert "From a slow pipeline to a fast one" in words
    assert "--no-baseline" in words


def test_student_of_a_text_classifier_listens(inputs):
    nlp = spacy.blank("en")
    nlp.add_pipe("textcat", config={"threshold": 0.25})
    nlp.add_pipe("spancat", config={"spans_key": "mine"})
    doc = nlp.make_doc("The cat sat")
    doc.cats = {"yes": 1.0, "no": 0.0}
    doc.spans["mine"] = [spacy.tokens.Span(doc, 0, 1, "NP")]
    bins = DocBin(docs=[doc], store_user_data=True)
    config, left = make_student(nlp.config, "teacher", bins)
    assert not left
    assert config["components"]["textcat"]["threshold"] == 0.25
    student = spacy.util.load_model_from_config(config, auto_fill=True)
    student.initialize(lambda: [Example(student.make_doc(doc.text), doc)])
    assert student.get_pipe("tok2vec").listening_components == ["textcat", "spancat"]


def test_text_is_read_as_often_as_it_is_short():
    assert Text("", 1000).epochs == 20
    assert Text("", 3_000_000).epochs == 3
    assert Text("", 30_000_000).epochs == 1
    assert Text("", 1000, 5).epochs == 5
    assert Text("", 4000, 5).steps == 11


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("spacy-transformers.TransformerModel.v3", True),
        ("spacy-embedkit.Tok2VecTransformer.v1", True),
        ("spacy-transformers.TransformerListener.v1", False),
        ("spacy.HashEmbedCNN.v2", False),
    ],
)
def test_transformer_is_told_by_the_config(name, has):
    config = {"components": {"a": {"model": {"@architectures": name}}}}
    assert has_transformer(spacy.util.Config(config)) == has


def test_damaged_state_is_named(tmp_path):
    (tmp_path / STATE).write_text('{"pretrain": 3}')
    with pytest.raises(InputError, match=r"distil\.json: is damaged; delete"):
        FinishedSteps(tmp_path)


def test_step_that_did_not_end_is_not_done(tmp_path):
    step, done = Step("a", {"n": [1]}), FinishedSteps(tmp_path)
    with pytest.raises(KeyboardInterrupt), done.alone(), done.doing(step):
        raise KeyboardInterrupt
    done = FinishedSteps(tmp_path)
    assert not done.is_done(step)
    done.check([step])
    with pytest.raises(InputError, match=r"its a was made .*n is \[1\] there and 2"):
        done.check([Step("a", {"n": 2})])
    with done.alone(), done.doing(step) as kept:
        kept["words"] = 3
    assert FinishedSteps(tmp_path).is_done(step)
    assert not FinishedSteps(tmp_path).is_done(Step("a", {"n": 2}))


def _run(command):
    import os
    import sys

    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    embedkit_cli(command)


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(inputs, done, tmp_path):
    moments, n_kills = random.Random(0), 0
    command = arguments(inputs, tmp_path / "out")
    began = time.monotonic()
    assert exit_code(start_process(_run, arguments(inputs, tmp_path / "timed"))) == 0
    seconds = time.monotonic() - began
    # `python -m stress faults` kills it more often.
    while n_kills < 2:
        process = start_process(_run, command)
        process.join(moments.uniform(0.1, 0.9) * seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            n_kills += 1
        else:
            assert process.exitcode == 0
            shutil.rmtree(tmp_path / "out")
    assert exit_code(start_process(_run, command)) == 0
    assert result_of(tmp_path / "out") == result_of(done[0])
    assert not [path for path in (tmp_path / "out").iterdir() if path.name[0] == "."]
