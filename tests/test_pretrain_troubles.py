"""An error ends a run with one line, and leaves a good checkpoint."""

import errno
import os
import shutil
from functools import partial

import pytest

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.run import command as module
from spacy_embedkit.pretraining.run import run_folder
from spacy_embedkit.pretraining.run.loop import Run
from spacy_embedkit.pretraining.run.run_folder import CHECKPOINT, PREVIOUS, RunFolder

from .helpers.pretraining_runs import (
    change,
    make_config,
    own,
    result_of,
    run,
    sample_texts,
    write_jsonl,
)
from .helpers.processes import exit_code, start_process


@pytest.fixture
def corpus(tmp_path):
    return write_jsonl(tmp_path / "raw.jsonl", sample_texts())


def fails(config, folder, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        run(config, folder, **options)
    assert "\n" not in str(caught.value)


@pytest.fixture
def finished(tmp_path, pretrained):
    """A run that is done, to be changed, and its config."""
    config, folder = pretrained
    shutil.copytree(folder, tmp_path / "finished")
    return config, tmp_path / "finished"


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        ([], "no documents with words.*none"),
        (["", "  ", "\n"], "no documents with words.*3 documents, all empty"),
    ],
)
def test_a_corpus_without_words_is_an_error(tmp_path, texts, match):
    corpus = write_jsonl(tmp_path / "empty.jsonl", texts)
    fails(make_config(corpus), tmp_path / "out", match)
    assert not (tmp_path / "out").exists()


def test_one_giant_line_is_learned_from_and_named(tmp_path):
    corpus = write_jsonl(tmp_path / "giant.jsonl", ["a b c d " * 6000])
    said = run(make_config(corpus, pretraining__max_epochs=1), tmp_path / "out")
    assert any("longest document has 24,000 words" in line for line in said)
    assert any("no model-best.bin" in line for line in said)
    assert (tmp_path / "out" / "model-last.bin").exists()
    assert not (tmp_path / "out" / "model-best.bin").exists()


def test_patience_needs_a_held_out_part(tmp_path, corpus):
    config = make_config(corpus, **own(held_out=0.0, patience=1))
    fails(config, tmp_path / "out", "patience needs a held-out part")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"pretraining__component": "tagger"}, "component is 'tagger', but .* tok2vec"),
        ({"pretraining__layer": "encoder"}, "layer is 'encoder', but .* has"),
        (
            {"pretraining__corpus": "corpora.raw"},
            "which the config does not have; name",
        ),
        ({"pretraining__max_epochs": 0}, "max_epochs is 0"),
        ({"pretraining__objective__hidden_size": 0}, "hidden_size is 0"),
        (own(patince=3), "patince, which is not a setting; did you mean patience"),
        (own(x=3), r"\[embedkit.pretrain\] has x, .* setting; choose from held_out"),
        ({"pretraining__max_epoch": 3}, "max_epoch, which .* you mean max_epochs"),
        ({"pretrainig": {"x": 1}}, r"\[pretrainig\], .* did you mean \[pretraining\]"),
        ({"embedkit__pretrian": {}}, r"\[embedkit\] has pretrian, .* mean pretrain"),
        ({"training__seed": "x"}, "seed is 'x'; set it to a whole number"),
        ({"training__seed": 2**70}, "set it to a whole number"),
        ({"pretraining__corpus": "nlp"}, "corpus is 'nlp', which is not a reader"),
        (own(held_out=2), "held_out is 2"),
        ({"pretraining": {}}, "no \\[pretraining\\]"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, corpus, settings, match):
    fails(make_config(corpus, **settings), tmp_path / "out", match)


def test_a_block_that_is_missing_is_named(tmp_path, corpus):
    config = make_config(corpus)
    del config["initialize"]
    fails(config, tmp_path / "out", r"the config has no \[initialize\]; fill it by")


def test_a_layer_that_is_not_a_tok2vec_is_named(tmp_path, corpus):
    config = make_config(corpus)
    config["nlp"]["pipeline"] = ["tok2vec", "textcat"]
    config["components"]["textcat"] = {
        "factory": "textcat",
        "model": {
            "@architectures": "spacy.TextCatBOW.v3",
            "exclusive_classes": True,
            "ngram_size": 1,
            "no_output_layer": False,
            "nO": 2,
        },
    }
    config["pretraining"]["component"] = "textcat"
    fails(config, tmp_path / "out", "can't be (pretrained|used)")


def test_a_transformer_is_named(tmp_path, corpus):
    pytest.importorskip("spacy_transformers")
    config = make_config(corpus, pretraining__component="transformer")
    config["nlp"]["pipeline"] = ["transformer"]
    config["components"] = {"transformer": {"factory": "transformer"}}
    fails(config, tmp_path / "out", "component 'transformer' is a transformer")


def test_the_cause_is_named_where_a_model_cannot_be_made(tmp_path, corpus):
    objective = {"@architectures": "spacy-embedkit.PretrainVectors.v1"}
    objective.update(maxout_pieces=2, hidden_size=8, loss="L2")
    config = make_config(corpus, pretraining__objective=objective)
    fails(config, tmp_path / "out", "embedkit vectors convert")


def test_another_config_is_named_by_its_first_difference(finished):
    config, folder = finished
    config = change(config, components__tok2vec__model__width=12)
    match = r"components.tok2vec.model.width was 8 and is 12"
    fails(config, folder, match, resume=True)


def test_other_weights_than_the_config_says_are_an_error(finished, monkeypatch):
    config, folder = finished
    # As if a package were another one now.
    monkeypatch.setattr(module, "check_same", lambda *args: None)
    config = change(config, components__tok2vec__model__width=12)
    match = "weights of the checkpoint do not fit the model"
    fails(config, folder, match, resume=True)


def test_other_versions_are_named(finished, monkeypatch):
    config, folder = finished
    versions = {"spacy": "3.9", "thinc": "9", "numpy": "3"}
    monkeypatch.setattr(module, "_versions", lambda: versions)
    said = run(config, folder, resume=True)
    assert any("changed since the checkpoint: spacy 3.8" in line for line in said)


DAMAGES = {
    "cut in the header": lambda data: data[:50],
    "cut in the body": lambda data: data[:-1],
    "changed": lambda data: data[:-9] + b"x" + data[-8:],
    "another version": lambda data: data[:27] + b"\2" + data[28:],
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, name):
    said = []
    folder = RunFolder(tmp_path, said.append)
    for n in (1, 2):
        folder.save_checkpoint({"n": n})
    for n in (3, 4):
        path = tmp_path / CHECKPOINT
        path.write_bytes(DAMAGES[name](path.read_bytes()))
        folder = RunFolder(tmp_path, said.append)
        # The damaged one never replaces the good one before it.
        assert folder.load_checkpoint() == {"n": 1}
        assert said.pop().endswith("continuing from checkpoint.previous.bin")
        folder.save_checkpoint({"n": n})
        assert folder.load_checkpoint() == {"n": n}


def test_a_run_goes_on_from_the_checkpoint_before(finished):
    config, folder = finished
    before = result_of(folder)
    (folder / CHECKPOINT).write_bytes(b"nothing")
    said = run(config, folder, resume=True)
    assert any("continuing from checkpoint.previous.bin" in line for line in said)
    assert result_of(folder) == before


def test_only_damaged_checkpoints_are_an_error_and_stay(finished):
    config, folder = finished
    for name in (CHECKPOINT, PREVIOUS):
        (folder / name).write_bytes(b"nothing")
    fails(config, folder, "is damaged, or not a checkpoint.*--force", resume=True)
    assert (folder / CHECKPOINT).read_bytes() == b"nothing"


def test_a_changed_corpus_is_an_error(tmp_path, finished):
    config, folder = finished
    corpus = write_jsonl(tmp_path / "fewer.jsonl", sample_texts(39))
    config = change(config, paths__raw_text=str(corpus))
    fails(config, folder, "not that of the checkpoint: it had 40 doc", resume=True)


class Failing:
    """Lets a function fail from its n-th call on."""

    def __init__(self, function, n, error):
        self.function, self.n, self.error = function, n, error

    def __call__(self, *args, **kwargs):
        self.n -= 1
        if self.n < 0:
            raise self.error
        return self.function(*args, **kwargs)


@pytest.mark.parametrize(
    ("where", "n"),
    # The first file; the previous checkpoint; the last one, after it became that.
    [("fsync", 0), ("replace", 2), ("replace", 3)],
)
def test_a_full_disk_stops_it_and_resume_goes_on(
    tmp_path, pretrained, monkeypatch, where, n
):
    config, done = pretrained
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    folder = tmp_path / "full"
    with monkeypatch.context() as patch:
        owner = {"fsync": os, "replace": run_folder.Path}[where]
        failing = Failing(getattr(owner, where), n, error)
        patch.setattr(owner, where, lambda *args: failing(*args))
        fails(config, folder, "No space left")
    assert not list(folder.glob(".*.partial"))
    run(config, folder, resume=True)
    assert result_of(folder) == result_of(done)


def _run_limited(config, folder, limit):
    import resource

    from thinc.api import Config

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        run(Config().from_bytes(config, interpolate=False), folder)
    except InputError as err:
        os._exit(3 if "File too large" in str(err) else 4)


def test_a_real_limit_of_the_system_stops_it(tmp_path, pretrained):
    config, done = pretrained
    size = (done / CHECKPOINT).stat().st_size
    folder = tmp_path / "full"
    # Room for the first checkpoint, but not for one with the state of the optimizer.
    process = start_process(_run_limited, config.to_bytes(), folder, size // 2)
    assert exit_code(process) == 3
    run(config, folder, resume=True)
    assert result_of(folder) == result_of(done)


@pytest.mark.parametrize(
    ("method", "n_calls", "match"),
    [("_step", 3, "corpus can't be read"), ("_end_epoch", 1, "corpus has changed")],
)
def test_a_shard_that_vanishes_stops_it_and_resume_goes_on(
    tmp_path, monkeypatch, method, n_calls, match
):
    shards = tmp_path / "shards"
    shards.mkdir()
    texts = sample_texts()
    for i in range(4):
        write_jsonl(shards / f"{i}.jsonl", texts[10 * i : 10 * i + 10])
    config = make_config(shards)
    run(config, tmp_path / "uncut")
    called, n_left = getattr(Run, method), [n_calls]
    hidden = shards / "3.gone"

    def vanish(*args):
        called(*args)
        n_left[0] -= 1
        if not n_left[0]:
            (shards / "3.jsonl").rename(hidden)

    with monkeypatch.context() as patch:
        patch.setattr(Run, method, vanish)
        fails(config, tmp_path / "out", match)
    assert (tmp_path / "out" / CHECKPOINT).exists()
    hidden.rename(shards / "3.jsonl")
    run(config, tmp_path / "out", resume=True)
    # What is missing in a folder is noticed at the end of an epoch that lacks it.
    if method == "_step":
        assert result_of(tmp_path / "out") == result_of(tmp_path / "uncut")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_it(tmp_path, pretrained, monkeypatch, value):
    config, done = pretrained
    n_left = [4]

    def spoiled(ops, docs, prediction, loss=None):
        n_left[0] -= 1
        total, gradient = loss(ops, docs, prediction)
        return (value if n_left[0] == 0 else total), gradient

    build = module.build_parts

    def build_spoiled(*args):
        parts = build(*args)
        loss = parts.model.attrs["loss"]
        parts.model.attrs["loss"] = partial(spoiled, loss=loss)
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(module, "build_parts", build_spoiled)
        fails(config, tmp_path / "out", f"the loss is {value}.* learn_rate")
    run(config, tmp_path / "out", resume=True)
    assert result_of(tmp_path / "out") == result_of(done)


def test_a_gradient_that_is_not_finite_is_not_saved(tmp_path, pretrained, monkeypatch):
    config, done = pretrained
    build, n_left = module.build_parts, [2]

    def build_spoiled(*args):
        parts = build(*args)
        loss = parts.model.attrs["loss"]

        def spoiled(*args):
            n_left[0] -= 1
            total, (gradient,) = loss(*args)
            return total, [gradient * (float("nan") if n_left[0] == 0 else 1)]

        parts.model.attrs["loss"] = spoiled
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(module, "build_parts", build_spoiled)
        fails(config, tmp_path / "out", "a weight is NaN or infinite after 2 updates")
    run(config, tmp_path / "out", resume=True)
    assert result_of(tmp_path / "out") == result_of(done)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_not_finite_are_never_saved(tmp_path, corpus, monkeypatch):
    config = make_config(corpus, pretraining__optimizer__learn_rate=1e38)
    config["pretraining"]["optimizer"]["grad_clip"] = 0.0
    fails(config, tmp_path / "out", "(loss|weight).* learn_rate")


def test_what_is_in_the_way_is_not_overwritten(tmp_path, corpus, finished):
    config, folder = finished
    fails(config, folder, "holds a run; give --resume to continue it")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.cfg").write_text("mine")
    (other / "notes.txt").write_text("mine")
    fails(config, other, "holds other files")
    fails(config, other, "holds other files", resume=True)
    fails(config, corpus, "is a file")
    assert (other / "config.cfg").read_text() == "mine"
    (folder / "model7.bin").write_bytes(b"of the run before")
    before = result_of(folder)
    run(config, folder, force=True)
    assert result_of(folder) == before
    assert not (folder / "model7.bin").exists()
