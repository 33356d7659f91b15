"""A checkpoint with a right checksum and wrong contents is refused in one line."""

import shutil

import numpy
import pytest
import srsly

from spacy_embedkit.checks import InputError
from spacy_embedkit.io import write_atomic
from spacy_embedkit.pretraining.run.random_state import check_rng_state, get_rng_state
from spacy_embedkit.pretraining.run.run_folder import CHECKPOINT, RunFolder, _header

from .helpers.pretraining_runs import result_of, run


@pytest.fixture
def finished(tmp_path, pretrained):
    """A run that is done, to be changed, and its config."""
    config, folder = pretrained
    shutil.copytree(folder, tmp_path / "finished")
    return config, tmp_path / "finished"


def write_checkpoint(folder, state):
    body = srsly.msgpack_dumps(state)
    write_atomic(folder / CHECKPOINT, _header(body), body)


def changed(value, path, new):
    """Change a value in place, by the keys that lead to it."""
    *keys, last = path
    for key in keys:
        value = value[key]
    value[last] = new


FIRST = "weights", "layers"
NUMPY, PYTHON = ("random", "numpy"), ("random", "python")
CHANGES = {
    "numpy position": ((*NUMPY, 2), 500_000_000),
    "numpy position below 0": ((*NUMPY, 2), -1),
    "numpy generator": ((*NUMPY, 0), "PCG64"),
    "numpy words": ((*NUMPY, 1), numpy.zeros(4, dtype="uint32")),
    "numpy type of words": ((*NUMPY, 1), numpy.zeros(624, dtype="uint64")),
    "numpy zeros": ((*NUMPY, 1), numpy.zeros(624, dtype="uint32")),
    "data numpy position": (("data", "numpy", 2), 625),
    "python position": ((*PYTHON, 625), 10**6),
    "python word": ((*PYTHON, 7), 2**40),
    "python version": ((*PYTHON, 0), 2),
    "torch size": (("random", "torch"), numpy.zeros(9, dtype="uint8")),
    "torch type": (("random", "torch"), "seed"),
    "no generators": (("random",), None),
    "draws": (("data", "draws"), [10**15]),
    "number of draws": (("data", "draws"), [1, 2, 3]),
    "steps": (("progress", "step"), 10**15),
    "steps below 0": (("progress", "step"), -1),
    "words": (("progress", "words"), "many"),
    "weights of the best": (("progress", "best_weights"), "text"),
    "row": (("progress", "rows", 0, "words"), []),
    "rows": (("progress", "rows"), 3),
    "losses": (("progress", "losses"), {"characters": [1.0]}),
    "seconds": (("progress", "seconds"), float("nan")),
    "unknown": (("progress", "more"), 1),
    "settings": (("settings",), {"nlp.lang": numpy.zeros(3)}),
    "versions": (("versions",), []),
    "corpus": (("corpus", "n_docs"), "40"),
    "stock words": (("objective", "stock"), [[1, 2]]),
    "words of the sample": (("objective", "words"), []),
    "number of layers": (FIRST, []),
    "layer": ((*FIRST, 0), 3),
    "moments": (("weights", "mom1"), {"0..W": numpy.zeros(1, dtype="f")}),
    "moments of no layer": (("weights", "mom2"), {"-1..W": numpy.zeros(1, dtype="f")}),
    "updates of no layer": (("weights", "nr_update"), {"999..W": 3}),
    "name without a place": (("weights", "last_seen"), {"W": 3}),
    "radam": (("weights", "radam"), [[1, 2.0]] * 10),
    "nothing": (("weights",), None),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_wrong_contents_are_refused_and_nothing_is_written(finished, name):
    config, folder = finished
    state = RunFolder(folder, print).load_checkpoint()
    changed(state, *CHANGES[name])
    write_checkpoint(folder, state)
    before = result_of(folder)
    with pytest.raises(InputError, match="checkpoint") as caught:
        run(config, folder, resume=True)
    assert "\n" not in str(caught.value)
    assert result_of(folder) == before


@pytest.mark.parametrize("kind", ["shape", "float64", "big-endian", "NaN"])
def test_weights_of_another_kind_are_refused(finished, kind):
    config, folder = finished
    state = RunFolder(folder, print).load_checkpoint()
    params = next(x["params"] for x in state["weights"]["layers"] if x["params"])
    name, array = next(iter(params.items()))
    params[name] = {
        "shape": lambda: array[:1],
        "float64": lambda: array.astype("float64"),
        "big-endian": lambda: array.astype(">f4"),
        "NaN": lambda: array * numpy.float32("nan"),
    }[kind]()
    write_checkpoint(folder, state)
    with pytest.raises(InputError, match="checkpoint"):
        run(config, folder, resume=True)


@pytest.mark.parametrize("name", ["mom1", "averages"])
def test_moments_of_another_size_are_refused(finished, name):
    config, folder = finished
    state = RunFolder(folder, print).load_checkpoint()
    arrays = state["weights"][name]
    place = next(iter(arrays))
    arrays[place] = arrays[place][:1]
    write_checkpoint(folder, state)
    with pytest.raises(InputError, match="checkpoint"):
        run(config, folder, resume=True)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x01"])
def test_a_body_of_another_kind_is_refused(finished, body):
    config, folder = finished
    write_atomic(folder / CHECKPOINT, _header(body), body)
    with pytest.raises(InputError, match="checkpoint"):
        run(config, folder, resume=True)


def test_a_torch_state_that_counts_too_far_is_refused():
    torch = pytest.importorskip("torch")
    state = get_rng_state()
    check_rng_state(srsly.msgpack_loads(srsly.msgpack_dumps(state)))
    # torch itself accepts 624 words left after the last one.
    state["torch"][8:12] = numpy.frombuffer(b"\x70\x02\0\0", "uint8")
    state["torch"][16:24] = numpy.frombuffer(b"\x70\x02" + bytes(6), "uint8")
    torch.Generator().set_state(torch.tensor(state["torch"]))
    with pytest.raises(ValueError, match="torch is at 624"):
        check_rng_state(state)
