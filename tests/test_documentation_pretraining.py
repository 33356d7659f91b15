"""The page on embeddings, executed: raw text, objectives, and what starts from them."""

import json

import pytest
import spacy
from spacy.language import DEFAULT_CONFIG_PRETRAIN_PATH
from spacy.schemas import ConfigSchemaPretrain
from spacy.training.initialize import init_nlp
from spacy.util import Config, load_config, load_model_from_config, registry

from .helpers.page_pipelines import (
    LISTENER,
    TAGGER,
    TOK2VEC,
    assert_saved,
    examples_of,
    head,
    own_tok2vec,
    spacy_command,
    weights,
    write_examples,
)
from .helpers.pretraining_runs import (
    OUR_TOK2VEC,
    log_of,
    make_config,
    run,
    sample_texts,
    write_docbin,
    write_jsonl,
)
from .helpers.tiny_pipelines import train
from .helpers.vector_tables import make_folder

READER = """
[corpora.pretrain]
@readers = "spacy-embedkit.RawText.v1"
path = ${paths.raw_text}
"""
OBJECTIVE = """
[pretraining]

[pretraining.objective]
@architectures = "spacy-embedkit.PretrainCharacters.v1"
maxout_pieces = 1
hidden_size = 8
n_characters = 4
"""
CONFIG = "".join(
    [
        head("tok2vec", "tagger"),
        TOK2VEC + own_tok2vec("components.tok2vec.model"),
        TAGGER + LISTENER.format(name="tagger"),
        f"\n[paths]\nraw_text = null\n\n[corpora]\n{READER}{OBJECTIVE}",
    ]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A config that has a block on pretraining, raw text and annotated text."""
    folder = tmp_path_factory.mktemp("pretraining")
    (folder / "config.cfg").write_text(CONFIG)
    fill = ("init", "fill-config", "config.cfg", "config_pretrain.cfg")
    spacy_command(folder, *fill, "--pretraining")
    write_jsonl(folder / "text.jsonl", sample_texts())
    write_examples(folder / "train.spacy")
    return folder


def test_fill_config_adds_the_defaults(folder):
    filled = load_config(folder / "config_pretrain.cfg")
    ours = Config().from_str(CONFIG, interpolate=False)
    default = load_config(DEFAULT_CONFIG_PRETRAIN_PATH)
    for name in set(default["pretraining"]) - {"objective"}:
        assert filled["pretraining"][name] == default["pretraining"][name]
    assert filled["pretraining"]["objective"] == ours["pretraining"]["objective"]
    reader = filled["corpora"]["pretrain"]
    assert reader.items() >= ours["corpora"]["pretrain"].items()
    registry.resolve(filled["pretraining"], schema=ConfigSchemaPretrain)


@pytest.fixture(scope="module")
def weight_files(folder):
    """Weights of two epochs by spaCy's command, and by ours."""
    args = ("config_pretrain.cfg", "./output", "--paths.raw_text", "text.jsonl")
    options = ("--pretraining.max_epochs", 2, "--pretraining.batcher.size", 500)
    spacy_command(folder, "pretrain", *args, *options)
    command = ("embedkit", "pretrain", args[0], "./ours", *args[2:], *options)
    spacy_command(folder, *command, "--embedkit.pretrain.held_out", 0.2)
    return {
        "spacy": folder / "output" / "model1.bin",
        "embedkit": folder / "ours" / "model-best.bin",
    }


@pytest.mark.slow
def test_pretrain_commands_write_weights(weight_files, folder):
    names = {path.name for path in (folder / "output").glob("*.bin")}
    assert names == {"model0.bin", "model1.bin", "model-last.bin"}
    names = {path.name for path in (folder / "ours").iterdir()}
    assert names >= {"model-best.bin", "model-last.bin", "report.html"}
    first = (folder / "output" / "model0.bin").read_bytes()
    assert weight_files["spacy"].read_bytes() != first


START = """
[initialize]
init_tok2vec = ${paths.init_tok2vec}

[initialize.before_init]
@callbacks = "spacy-embedkit.check_tok2vec.v1"
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", ["spacy", "embedkit"])
def test_training_starts_from_the_weights(command, weight_files, folder, tmp_path):
    config = load_config(folder / "config_pretrain.cfg")
    config["paths"] |= {
        "init_tok2vec": str(weight_files[command]),
        "train": str(folder / "train.spacy"),
        "dev": str(folder / "train.spacy"),
    }
    config = Config(config).merge(Config().from_str(START, interpolate=False))
    nlp = init_nlp(config.interpolate())
    start = weights(nlp, "tok2vec")
    nlp.get_pipe("tok2vec").model.from_bytes(weight_files[command].read_bytes())
    assert weights(nlp, "tok2vec") == start
    losses = train(nlp, examples_of(nlp), 10)
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    assert weights(nlp, "tok2vec") != start
    assert_saved(nlp, tmp_path)


LINES = ["One line,\nand another.", "Short.", "Well " * 600, "naïve 🙂"]
DOCBIN = """
[corpora.pretrain]
@readers = "spacy.Corpus.v1"
path = ${paths.raw_text}
gold_preproc = false
"""


@pytest.mark.parametrize("kind", ["jsonl", "spacy"])
def test_readers_keep_every_word(kind, tmp_path):
    write, reader = {"jsonl": (write_jsonl, READER), "spacy": (write_docbin, DOCBIN)}[
        kind
    ]
    path = write(tmp_path / f"text.{kind}", LINES)
    text = f"[paths]\nraw_text = {json.dumps(str(path))}\n[corpora]\n{reader}"
    read = registry.resolve(Config().from_str(text))["corpora"]["pretrain"]
    nlp = spacy.blank("en")
    read_docs = [getattr(item, "reference", item) for item in read(nlp)]
    found = [token.text for doc in read_docs for token in doc if not token.is_space]
    expected = [t.text for line in LINES for t in nlp(line) if not t.is_space]
    assert sorted(found) == sorted(expected)
    assert any("\n" in token.text for doc in read_docs for token in doc)


SUBNETWORKS = {
    "tok2vec": '[pretraining]\ncomponent = "tok2vec"\nlayer = ""\n',
    "textcat": '[pretraining]\ncomponent = "textcat"\nlayer = "tok2vec"\n',
}
TEXTCAT = """
[components.textcat]
factory = "textcat"

[components.textcat.model]
@architectures = "spacy.TextCatEnsemble.v2"

[components.textcat.model.linear_model]
@architectures = "spacy.TextCatBOW.v3"
exclusive_classes = true
length = 256
ngram_size = 1
no_output_layer = false
"""


def pretraining_config(corpus, text):
    """A complete config, with some values from config text."""
    config = make_config(corpus, components__tok2vec__model=OUR_TOK2VEC)
    return config.merge(Config().from_str(text, interpolate=False))


@pytest.mark.parametrize("component", ["tok2vec", "textcat"])
def test_subnetwork_is_chosen_by_component_and_layer(component, tmp_path):
    corpus = write_jsonl(tmp_path / "raw.jsonl", sample_texts())
    text = SUBNETWORKS[component]
    if component == "textcat":
        tok2vec = own_tok2vec("components.textcat.model.tok2vec")
        text += head("tok2vec", "textcat") + TEXTCAT + tok2vec
    # Without decay and averages, what moves weights is their gradient.
    text += '[pretraining.optimizer]\n@optimizers = "Adam.v1"\n'
    text += "L2 = 0.0\nuse_averages = false\n"
    config = pretraining_config(corpus, text)
    nlp = load_model_from_config(config.interpolate(), auto_fill=True)
    model = nlp.get_pipe(component).model
    layer = model.get_ref("tok2vec") if component == "textcat" else model
    found = []
    for epochs in (1, 3):
        config["pretraining"]["max_epochs"] = epochs
        run(config, tmp_path / str(epochs))
        layer.from_bytes((tmp_path / str(epochs) / "model-last.bin").read_bytes())
        [rows] = layer.predict([nlp.make_doc("the cat sat")])
        assert rows.shape[0] == 3
        found.append(rows)
    assert abs(found[1] - found[0]).max() > 1e-4


OBJECTIVES = {
    "characters": '@architectures = "spacy-embedkit.PretrainCharacters.v1"\n'
    "n_characters = 4\n",
    "cosine": '@architectures = "spacy-embedkit.PretrainVectors.v1"\nloss = "cosine"\n',
    "L2": '@architectures = "spacy-embedkit.PretrainVectors.v1"\nloss = "L2"\n',
}


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_objectives_are_learned(name, tmp_path):
    texts = ["the cat sat on the mat .", "the mat sat on the cat ."] * 40
    corpus = write_jsonl(
        tmp_path / "raw.jsonl", [f"{t} {i}" for i, t in enumerate(texts)]
    )
    vectors = make_folder(tmp_path / "vectors")
    sizes = "maxout_pieces = 1\nhidden_size = 16\n"
    text = f"[pretraining]\n[pretraining.objective]\n{OBJECTIVES[name]}{sizes}"
    text += '[pretraining.optimizer]\n@optimizers = "Adam.v1"\nlearn_rate = 0.02\n'
    text += '[nlp]\n[nlp.vectors]\n@vectors = "spacy-embedkit.Vectors.v1"\n'
    text += f'[initialize]\nvectors = "{vectors}"\n'
    config = pretraining_config(corpus, text)
    config["pretraining"]["max_epochs"] = 5
    run(config, tmp_path / "out")
    first, *_, last = [
        sum(row["held_out_loss"].values()) for row in log_of(tmp_path / "out")
    ]
    assert last < 0.9 * first
