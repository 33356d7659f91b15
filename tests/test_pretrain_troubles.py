"""What goes wrong ends a run with one line, and the last checkpoint whole."""

import errno
import multiprocessing
import os
import sys
from functools import partial

import pytest

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.run import checkpoint as checkpoints
from spacy_embedkit.pretraining.run import command as module
from spacy_embedkit.pretraining.run.checkpoint import NAME, PREVIOUS
from spacy_embedkit.pretraining.run.loop import Run

from .helpers.pretraining_runs import (
    make_config,
    own,
    result_of,
    run,
    sample_texts,
    write_jsonl,
)


@pytest.fixture
def corpus(tmp_path):
    return write_jsonl(tmp_path / "raw.jsonl", sample_texts())


def fails(config, folder, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        run(config, folder, **options)
    assert "\n" not in str(caught.value)


@pytest.fixture
def whole(tmp_path, corpus):
    """A run that is done, and its config."""
    config = make_config(corpus)
    run(config, tmp_path / "whole")
    return config, tmp_path / "whole"


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
        ({"pretraining__corpus": "corpora.raw"}, "no such block"),
        ({"pretraining__max_epochs": 0}, "max_epochs is 0"),
        ({"pretraining__objective__hidden_size": 0}, "hidden_size is 0"),
        (own(patince=3), "patince, which is no setting; .* patience"),
        (own(held_out=2), "held_out is 2"),
        ({"pretraining": {}}, "no \\[pretraining\\]"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, corpus, settings, match):
    fails(make_config(corpus, **settings), tmp_path / "out", match)


def test_a_layer_that_is_no_tok2vec_is_named(tmp_path, corpus):
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


def test_the_cause_is_shown_where_a_model_cannot_be_made(tmp_path, corpus):
    objective = {"@architectures": "spacy-embedkit.PretrainVectors.v1"}
    objective.update(maxout_pieces=2, hidden_size=8, loss="L2")
    config = make_config(corpus, pretraining__objective=objective)
    fails(config, tmp_path / "out", "embedkit vectors convert")


def test_another_config_is_named_by_its_first_difference(tmp_path, corpus, whole):
    _, folder = whole
    config = make_config(corpus, components__tok2vec__model__width=12)
    match = r"components.tok2vec.model.width was 8 and is 12"
    fails(config, folder, match, resume=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"pretraining__n_save_epoch": 1},
        own(patience=9, max_minutes=60.0, checkpoint_minutes=1.0),
    ],
)
def test_what_the_weights_do_not_depend_on_may_change(
    tmp_path, corpus, whole, settings
):
    _, folder = whole
    before = result_of(folder)
    run(make_config(corpus, **settings), folder, resume=True)
    assert result_of(folder) == before


def test_more_epochs_go_on(tmp_path, corpus, whole):
    _, folder = whole
    config = make_config(corpus, pretraining__max_epochs=4)
    run(make_config(corpus), folder, resume=True)
    run(config, folder, resume=True)
    run(config, tmp_path / "long")
    assert result_of(folder)[0] == result_of(tmp_path / "long")[0]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, whole):
    config, folder = whole
    before = result_of(folder)
    path = folder / NAME
    data = bytearray(path.read_bytes())
    for damaged in (data[:100], data[:-1], data[:-9] + b"x" + data[-8:], b""):
        path.write_bytes(damaged)
        said = run(config, folder, resume=True)
        assert any("going on from checkpoint.previous.bin" in line for line in said)
        assert result_of(folder) == before


def test_a_damaged_checkpoint_never_replaces_a_good_one(tmp_path):
    kept = checkpoints.Checkpoints(tmp_path, print)
    for n in (1, 2):
        kept.save({"n": n})
    for n in (3, 4):
        (tmp_path / NAME).write_bytes(b"nothing")
        kept = checkpoints.Checkpoints(tmp_path, print)
        assert kept.load() == {"n": 1}
        kept.save({"n": n})
        assert kept.load() == {"n": n}


def test_only_damaged_checkpoints_are_an_error_and_stay(tmp_path, whole):
    config, folder = whole
    for name in (NAME, PREVIOUS):
        (folder / name).write_bytes(b"nothing")
    fails(config, folder, "no whole checkpoint.*--force", resume=True)
    assert (folder / NAME).read_bytes() == b"nothing"


def test_a_changed_corpus_is_an_error(tmp_path, corpus, whole):
    config, folder = whole
    write_jsonl(corpus, sample_texts(39))
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


@pytest.mark.parametrize("n", [0, 1, 5, 12])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_stops_it_and_resume_goes_on(
    tmp_path, whole, monkeypatch, n, where
):
    config, done = whole
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    folder = tmp_path / "full"
    with monkeypatch.context() as patch:
        owner = {"fsync": os, "replace": checkpoints.Path}[where]
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


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_real_limit_of_the_system_stops_it(tmp_path, whole):
    config, done = whole
    size = (done / NAME).stat().st_size
    context = multiprocessing.get_context("fork")
    # Room for the first checkpoint, but not for one with the state of the optimizer.
    args = (config.to_bytes(), tmp_path / "full", size // 2)
    process = context.Process(target=_run_limited, args=args)
    process.start()
    process.join(60)
    assert process.exitcode == 3
    run(config, tmp_path / "full", resume=True)
    assert result_of(tmp_path / "full") == result_of(done)


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
    run(config, tmp_path / "whole")
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
    assert (tmp_path / "out" / NAME).exists()
    hidden.rename(shards / "3.jsonl")
    run(config, tmp_path / "out", resume=True)
    # What is missing in a folder is noticed at the end of an epoch that lacks it.
    if method == "_step":
        assert result_of(tmp_path / "out") == result_of(tmp_path / "whole")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_it(tmp_path, whole, monkeypatch, value):
    config, done = whole
    n_left = [4]

    def spoiled(ops, docs, prediction, loss=None):
        n_left[0] -= 1
        total, gradient = loss(ops, docs, prediction)
        return (value if n_left[0] == 0 else total), gradient

    build = module.build

    def build_spoiled(*args):
        parts = build(*args)
        loss = parts.model.attrs["loss"]
        parts.model.attrs["loss"] = partial(spoiled, loss=loss)
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(module, "build", build_spoiled)
        fails(config, tmp_path / "out", f"the loss is {value}.* learn_rate")
    run(config, tmp_path / "out", resume=True)
    assert result_of(tmp_path / "out") == result_of(done)


def test_a_gradient_that_is_no_number_is_not_kept(tmp_path, whole, monkeypatch):
    config, done = whole
    build, n_left = module.build, [2]

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
        patch.setattr(module, "build", build_spoiled)
        fails(config, tmp_path / "out", "a weight is NaN or infinite after 2 updates")
    run(config, tmp_path / "out", resume=True)
    assert result_of(tmp_path / "out") == result_of(done)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_no_numbers_are_never_kept(tmp_path, corpus, monkeypatch):
    config = make_config(corpus, pretraining__optimizer__learn_rate=1e38)
    config["pretraining"]["optimizer"]["grad_clip"] = 0.0
    fails(config, tmp_path / "out", "(loss|weight).* learn_rate")


def test_what_is_in_the_way_is_not_overwritten(tmp_path, corpus, whole):
    config, folder = whole
    fails(config, folder, "holds a run; go on with it by --resume")
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.cfg").write_text("mine")
    (other / "notes.txt").write_text("mine")
    fails(config, other, "holds other files")
    fails(config, other, "holds other files", resume=True)
    fails(config, corpus, "is a file")
    assert (other / "config.cfg").read_text() == "mine"
    before = result_of(folder)
    run(config, folder, force=True)
    assert result_of(folder) == before
