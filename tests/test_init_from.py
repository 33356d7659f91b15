"""`spacy embedkit init --from`: what moves, what stays, and the weights."""

import json

import numpy
import pytest
import spacy
from spacy.cli.init_config import init_config
from spacy.util import load_model_from_config
from thinc.api import Config, Model
from typer.testing import CliRunner

from spacy_embedkit.cli import embedkit_cli
from spacy_embedkit.recipes.draft import walk_blocks
from spacy_embedkit.recipes.moving import move

from .helpers.annotated_docs import make_examples

CALLBACKS = {
    "nlp.before_creation: null -> spacy-embedkit.fast_ops.v1",
    "nlp.after_pipeline_creation: null -> spacy-embedkit.accelerate.v1",
}
COMPONENTS = ["tagger", "morphologizer", "trainable_lemmatizer", "parser", "senter"]
COMPONENTS += ["ner", "spancat", "textcat", "textcat_multilabel"]
HEAD = """
# Of a comment, nothing is lost.
[paths]
train = null

[nlp]
lang = "en"
pipeline = ["tok2vec", "tagger"]

[components]

[components.tok2vec]
factory = "tok2vec"

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = {width}
"""
V1 = """
[components.tok2vec.model]
@architectures = "spacy.Tok2Vec.v1"

[components.tok2vec.model.embed]
@architectures = "spacy.MultiHashEmbed.v1"
width = 8
attrs = ["NORM", "SHAPE"]
rows = [50, 40]
include_static_vectors = false

[components.tok2vec.model.encode]
@architectures = "spacy.MaxoutWindowEncoder.v1"
width = 8
depth = 2
window_size = 1
maxout_pieces = 2
"""
CNN = """
[components.tok2vec.model]
# The default one.
@architectures = "spacy.HashEmbedCNN.{version}"
width = 8
depth = 2
embed_size = 50
window_size = 1
maxout_pieces = 2
subword_features = {features}
pretrained_vectors = null
"""
OF_CNN = "${components.tok2vec.model.width}"


def move_text(text: str):
    return move(text, Config().from_str(text, interpolate=False))


def flat(config: Config) -> dict[str, str]:
    """All settings by their dotted names, as JSON."""
    found = {}
    for name, block in [("", config), *walk_blocks(config)]:
        for key, value in block.items():
            if not isinstance(value, dict):
                found[f"{name}.{key}"] = json.dumps(value)
    return found


@pytest.mark.parametrize("kind", ["efficiency", "accuracy", "transformer"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_all_else_of_a_quickstart_config_stays(kind, lang):
    config = init_config(
        lang=lang,
        pipeline=COMPONENTS,
        optimize="accuracy" if kind == "accuracy" else "efficiency",
        gpu=kind == "transformer",
        pretraining=kind == "efficiency",
    )
    text = config.to_str(interpolate=False)
    moved = move_text(text)
    before = flat(Config().from_str(text, interpolate=False))
    after = flat(Config().from_str(str(moved.text), interpolate=False))
    ours = {key for key in after if after[key].startswith('"spacy-embedkit.')}
    cnn = "components.senter.model.tok2vec."
    for key in before.keys() | after.keys():
        is_moved = key in ours or key.startswith(cnn)
        is_callback = key in ("nlp.before_creation", "nlp.after_pipeline_creation")
        assert is_moved or is_callback or before[key] == after[key], key
    listed = {change.split(":")[0] for change in moved.changes if ": " in change}
    assert {key.rpartition(".")[0] for key in ours} - {
        cnn + "embed",
        cnn + "encode",
    } <= (listed)
    nlp = load_model_from_config(Config().from_str(str(moved.text)), auto_fill=True)
    assert nlp.config["paths"] == config["paths"]


def weights(text: str) -> tuple[bytes, list[numpy.ndarray]]:
    config = Config().from_str(text)
    nlp = load_model_from_config(config, auto_fill=True)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    model = nlp.get_pipe("tok2vec").model
    return model.to_bytes(), model.predict([eg.reference for eg in examples])


def load_weights(text: str, data: bytes) -> list[numpy.ndarray]:
    nlp = load_model_from_config(Config().from_str(text), auto_fill=True)
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    model: Model = nlp.get_pipe("tok2vec").model
    model.from_bytes(data)
    return model.predict([eg.reference for eg in examples])


@pytest.mark.parametrize(
    "text",
    [
        HEAD.format(width=8) + V1,
        HEAD.format(width=OF_CNN) + CNN.format(version="v2", features="true"),
        HEAD.format(width=OF_CNN) + CNN.format(version="v1", features="false"),
        HEAD.format(width=8) + V1.replace("spacy.", "spacy-legacy."),
    ],
    ids=["v1", "cnn.v2", "cnn.v1", "legacy"],
)
def test_weights_load_with_the_moved_layers(text):
    text = text.replace("spacy-legacy.Tagger", "spacy.Tagger")
    data, expected = weights(text)
    moved = str(move_text(text).text)
    assert "spacy-embedkit.MultiHashEmbed.v1" in moved
    assert "spacy-embedkit.MaxoutWindowEncoder.v1" in moved
    for one, other in zip(load_weights(moved, data), expected, strict=True):
        numpy.testing.assert_allclose(one, other, atol=1e-5)


def test_variables_that_named_a_setting_find_it():
    text = HEAD.format(width=OF_CNN) + CNN.format(version="v2", features="true")
    moved = move_text(text)
    assert set(moved.changes) - CALLBACKS == {
        "components.tok2vec.model: spacy.HashEmbedCNN.v2 -> spacy.Tok2Vec.v2 of "
        "spacy-embedkit.MultiHashEmbed.v1 and spacy-embedkit.MaxoutWindowEncoder.v1",
        f"{OF_CNN} -> ${{components.tok2vec.model.encode.width}}",
    }
    assert "# The default one." in str(moved.text)
    assert "# Of a comment, nothing is lost." in str(moved.text)


def test_own_sections_and_lines_stay_as_they_are():
    own = "\n[mine]\nx  =  ${paths.train}\n; y = 1\n[mine.more]\ntext = a\n   b\n"
    text = HEAD.format(width=8) + V1 + own
    assert str(move_text(text).text).endswith(own)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("embed_size = 50", "embed_size = ${mine.size}", "embed_size is a variable"),
        ("embed_size = 50\n", "", "embed_size not set; run spacy init fill-config"),
        ("v2", "v1", "its static vectors are not those of v2"),
    ],
)
def test_what_is_left_has_a_reason(old, new, why):
    cnn = CNN.format(version="v2", features="true").replace("null", "true")
    text = HEAD.format(width=8) + "[mine]\nsize = 50\n" + cnn.replace(old, new)
    moved = move_text(text)
    assert set(moved.changes) == CALLBACKS
    [left] = moved.left
    assert why in left


def test_callbacks_of_the_user_stay():
    callback = '[nlp.before_creation]\n@callbacks = "mine.v1"\n'
    moved = move_text(HEAD.format(width=8) + V1 + callback)
    [left] = moved.left
    assert left.startswith("nlp.before_creation: ")
    assert left.endswith("there is room for one only")
    assert Config().from_str(str(moved.text))["nlp"]["before_creation"] == {
        "@callbacks": "mine.v1"
    }


def test_layers_that_are_not_in_the_config_are_reported():
    text = '[nlp]\nlang = "en"\n\n[components]\n\n[components.ner]\nfactory = "ner"\n'
    text += '\n[components.a]\nsource = "en_core_web_sm"\n'
    text += '\n[components.sentencizer]\nfactory = "sentencizer"\n'
    left = sorted(move_text(text).left)
    assert [line.partition(":")[0] for line in left] == [
        "components.a",
        "components.ner",
    ]


def test_poolings_move_with_their_listener():
    text = """[nlp]
lang = "en"

[components]

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy-transformers.TransformerListener.v1"
pooling = {"@layers":"reduce_mean.v1"}
"""
    moved = move_text(text)
    block = Config().from_str(str(moved.text))["components"]["tagger"]["model"]
    assert block["tok2vec"]["pooling"]["@layers"] == "spacy-embedkit.reduce_mean.v1"


def test_command_writes_and_lists_changes(tmp_path):
    old, new = tmp_path / "old.cfg", tmp_path / "new.cfg"
    text = HEAD.format(width=8) + V1
    old.write_text(text)
    args = [str(new), "--from", str(old)]
    result = CliRunner().invoke(embedkit_cli, ["init", *args])
    assert result.exit_code == 0, result.output
    assert old.read_text() == text
    embed = "components.tok2vec.model.embed: spacy.MultiHashEmbed.v1 -> "
    assert f"  {embed}spacy-embedkit.MultiHashEmbed.v1\n" in result.output
    assert f"{new}: 5 changes" in result.output
    spacy.util.load_model_from_config(Config().from_disk(new), auto_fill=True)
    # A config that was moved has nothing more to move.
    args = [str(tmp_path / "again.cfg"), "--from", str(new)]
    result = CliRunner().invoke(embedkit_cli, ["init", *args])
    assert "0 changes" in result.output
    assert "Left as it was" not in result.output
    assert (tmp_path / "again.cfg").read_text() == new.read_text()
