"""Pipelines on the fast backend: from config alone, saved, in threads and processes."""

import os
import subprocess
import sys
import threading

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.training import Example
from spacy.util import Config, load_model_from_config
from thinc.api import NumpyOps, set_current_ops, use_ops

from spacy_embedkit.backend import THREAD_VARIABLES, EmbedkitOps

from .helpers.hidden_packages import HIDE
from .helpers.tagger_configs import EMBEDS, HEAD


@pytest.fixture(autouse=True)
def numpy_backend():
    with use_ops("numpy"):
        yield


PARSER = """
[components.parser]
factory = "parser"
min_action_freq = 1

[components.parser.model]
@architectures = "spacy.TransitionBasedParser.v2"
state_type = "parser"
extra_state_tokens = false
hidden_width = 16
maxout_pieces = 2
use_upper = true

[components.parser.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = 16
"""

FAST = """
[nlp.before_creation]
@callbacks = "spacy-embedkit.fast_ops.v1"
"""


def config_with_parser(fast):
    text = HEAD.replace('"tagger"]', '"tagger", "parser"]') + EMBEDS["multi_hash"]
    return Config().from_str(text + PARSER + (FAST if fast else ""))


@pytest.fixture
def trained():
    """A stock-backend pipeline that parses what it was trained on."""
    spacy.util.fix_random_seed(0)
    nlp = load_model_from_config(config_with_parser(False), auto_fill=True)
    gold = {
        "tags": ["D", "N", "V"],
        "heads": [1, 2, 2],
        "deps": ["det", "nsubj", "ROOT"],
    }
    examples = [Example.from_dict(nlp.make_doc("The cat sat"), gold)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(60):
        nlp.update(examples, sgd=optimizer)
    return nlp


TEXTS = ["The cat sat", "", "A dog ran on the mat and sat", "cat"] * 25


def annotate(nlp, texts=TEXTS):
    docs = list(nlp.pipe(texts, batch_size=16))
    labels = [[(t.tag_, t.dep_, t.head.i) for t in doc] for doc in docs]
    return labels, numpy.vstack([doc.tensor.reshape(-1, 16) for doc in docs])


def test_config_alone_switches_every_model(trained):
    labels, tensors = annotate(trained)
    nlp = load_model_from_config(config_with_parser(True), auto_fill=True)
    nlp.from_bytes(trained.to_bytes(exclude=["config"]))
    for name, pipe in nlp.pipeline:
        # spaCy itself pins the parser's last layer to thinc's own backend.
        ops = {type(node.ops) for node in pipe.model.walk()}
        assert type(pipe.model.ops) is EmbedkitOps, name
        assert ops <= ({EmbedkitOps, NumpyOps} if name == "parser" else {EmbedkitOps})
    fast_labels, fast_tensors = annotate(nlp)
    assert any(dep == "nsubj" for doc in labels for _, dep, _ in doc)
    assert fast_labels == labels
    assert_allclose(fast_tensors, tensors, atol=1e-5)


def test_training_gives_the_numbers_of_stock(trained):
    losses = []
    for fast in (False, True):
        spacy.util.fix_random_seed(0)
        set_current_ops(NumpyOps())
        nlp = load_model_from_config(config_with_parser(fast), auto_fill=True)
        gold = {"tags": ["D", "N", "V"], "heads": [1, 2, 2], "deps": ["d", "n", "ROOT"]}
        examples = [Example.from_dict(nlp.make_doc("The cat sat"), gold)]
        optimizer = nlp.initialize(lambda examples=examples: examples)
        for _ in range(5):
            loss = nlp.update(examples, sgd=optimizer)
        losses.append([loss[name] for name in sorted(loss)])
    assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_two_processes_and_eight_threads_agree(trained):
    nlp = load_model_from_config(config_with_parser(True), auto_fill=True)
    nlp.from_bytes(trained.to_bytes(exclude=["config"]))
    labels, _ = annotate(nlp)
    docs = nlp.pipe(TEXTS, n_process=2, batch_size=16)
    assert [[(t.tag_, t.dep_, t.head.i) for t in doc] for doc in docs] == labels
    results = [None] * 8

    def work(i):
        results[i] = annotate(nlp)[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [labels] * 8


def test_pipeline_loads_without_us_once_the_line_is_removed(trained, tmp_path):
    text = config_with_parser(True).to_str()
    stock = "spacy.MultiHashEmbed.v2"
    config = Config().from_str(text.replace("spacy-embedkit.MultiHashEmbed.v1", stock))
    nlp = load_model_from_config(config, auto_fill=True)
    nlp.from_bytes(trained.to_bytes(exclude=["config"]))
    nlp.to_disk(tmp_path / "nlp")
    path = tmp_path / "nlp" / "config.cfg"
    saved = path.read_text()
    assert "fast_ops" in saved
    path.write_text(
        saved.replace(FAST.strip(), "").replace(
            "[nlp]", "[nlp]\nbefore_creation = null"
        )
    )
    hide = HIDE.replace('"torch",', '"torch", "spacy-embedkit",').replace(
        '"torch", "cupy"', '"torch", "cupy", "spacy_embedkit"'
    )
    code = hide + (
        "import sys, spacy\n"
        "doc = spacy.load(sys.argv[1])('The cat sat')\n"
        "assert 'spacy_embedkit' not in sys.modules\n"
        "print([t.dep_ for t in doc])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "nlp")],
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "['det', 'nsubj', 'ROOT']", run.stderr


COUNT_THREADS = """
import os
from spacy_embedkit.backend import use_fast_ops
from threadpoolctl import threadpool_info
use_fast_ops()
pid = os.fork()
if pid:
    os.wait()
pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
print(max(pool["num_threads"] for pool in pools), flush=True)
if not pid:
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
@pytest.mark.parametrize(
    ("variables", "expected"), [({}, "1\n1"), ({"OMP_NUM_THREADS": "2"}, "2\n2")]
)
def test_it_and_its_forks_multiply_on_one_thread_unless_told(variables, expected):
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two cores to tell")
    env = {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES}
    run = subprocess.run(
        [sys.executable, "-c", COUNT_THREADS],
        env={**env, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == expected


SPAWN = """
import multiprocessing, pickle, sys
from spacy_embedkit.backend import EmbedkitOps
from threadpoolctl import threadpool_info

def work(ops):
    ops.cblas()
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    print(type(ops).__name__, max(pool["num_threads"] for pool in pools))

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(
        target=work, args=(EmbedkitOps(),)
    )
    process.start()
    process.join()
"""


def test_spawned_process_multiplies_on_one_thread(tmp_path):
    (tmp_path / "spawn.py").write_text(SPAWN)
    env = {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES}
    run = subprocess.run(
        [sys.executable, "spawn.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "EmbedkitOps 1", run.stderr
