"""Pretrained weights that do not fit: what is said, before spaCy loads them."""

import gc
import struct

import numpy
import pytest
import srsly
from spacy.language import DEFAULT_CONFIG_PRETRAIN_PATH
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import Config, load_config, load_model_from_config
from spacy.vectors import Vectors
from thinc.api import ConfigValidationError

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.weights.fit import check_fit
from spacy_embedkit.pretraining.weights.saved_layers import read_layers

CONFIG = """
[nlp]
lang = "en"
pipeline = ["tok2vec", "tagger"]

[components]

[components.tok2vec]
factory = "tok2vec"

[components.tok2vec.model]
@architectures = "spacy.Tok2Vec.v2"

[components.tok2vec.model.embed]
@architectures = "spacy.MultiHashEmbed.v2"
width = 8
attrs = ["NORM", "PREFIX", "SUFFIX"]
rows = [50, 20, 30]
include_static_vectors = false

[components.tok2vec.model.encode]
@architectures = "spacy.MaxoutWindowEncoder.v2"
width = 8
depth = 2
window_size = 1
maxout_pieces = 2

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy.Tok2VecListener.v1"
width = ${components.tok2vec.model.encode.width}

[pretraining]
component = "tok2vec"
layer = ""

[initialize]
init_tok2vec = null

[initialize.before_init]
@callbacks = "spacy-embedkit.check_tok2vec.v1"
"""
EMBED, ENCODE = "components.tok2vec.model.embed.", "components.tok2vec.model.encode."
OURS = """
@architectures = "spacy-embedkit.SubwordHashEmbed.v1"
width = 8
rows = 40
min_n = 3
max_n = 4
n_hashes = 1
boundaries = true
attr = "NORM"
attrs = ["NORM"]
attr_rows = [30]
include_static_vectors = false
"""
CNN = """
[components.tok2vec.model]
@architectures = "spacy.HashEmbedCNN.v2"
width = 8
depth = 1
embed_size = 40
window_size = 1
maxout_pieces = 2
subword_features = true
pretrained_vectors = null
"""


def make_nlp(text=CONFIG, vector_width=0, **overrides):
    config = Config().from_str(text, overrides=overrides)
    if "pretraining" in config:
        default = load_config(DEFAULT_CONFIG_PRETRAIN_PATH)["pretraining"]
        config["pretraining"] = {**default, **config["pretraining"]}
    nlp = load_model_from_config(config, auto_fill=True)
    if vector_width:
        rows = numpy.ones((2, vector_width), dtype="f")
        nlp.vocab.vectors = Vectors(
            strings=nlp.vocab.strings, data=rows, keys=["cat", "dog"]
        )
    return nlp


def initialize(nlp):
    doc = Doc(nlp.vocab, words=["The", "cat"], tags=["D", "N"])
    nlp.initialize(lambda: [Example(nlp.make_doc("The cat"), doc)])
    return nlp


@pytest.fixture
def weights(tmp_path):
    """Write the weights of a config, and return the file."""

    def write(text=CONFIG, vector_width=0, **overrides):
        path = tmp_path / "model3.bin"
        nlp = make_nlp(text, vector_width, **overrides)
        layer = nlp.get_pipe("tok2vec").model
        layer.initialize(X=[nlp.make_doc("The cat")])
        path.write_bytes(layer.to_bytes())
        return path

    return write


def refusal(path, text=CONFIG, vector_width=0):
    """What is said when a pipeline with these settings is to load the file."""
    nlp = make_nlp(text, vector_width, **{"initialize.init_tok2vec": str(path)})
    with pytest.raises(ConfigValidationError) as caught:
        initialize(nlp)
    (error,) = caught.value.errors
    assert error["loc"] == ["initialize", "init_tok2vec"]
    assert "\n" not in error["msg"]
    return error["msg"]


CASES = {
    "width": (
        {EMBED + "width": 12, ENCODE + "width": 12},
        [
            "embed > hashembed NORM: E is (50, 12) in the file, (50, 8) here",
            "embed.width = 12, components.tok2vec.model.encode.width = 12",
        ],
    ),
    "rows": (
        {EMBED + "rows": [50, 25, 30]},
        [
            "embed > hashembed PREFIX: E is (25, 8) in the file, (20, 8) here",
            "components.tok2vec.model.embed.rows[1] = 25",
        ],
    ),
    "attrs": (
        {EMBED + "attrs": ["NORM", "PREFIX"], EMBED + "rows": [50, 20]},
        [
            "embed > hashembed SUFFIX (E (30, 8)) is here, not in the file",
            'embed.attrs = ["NORM", "PREFIX"]',
            "embed.rows = [50, 20]",
        ],
    ),
    "order of attrs": (
        {EMBED + "attrs": ["NORM", "SHAPE", "SUFFIX"]},
        [
            "columns is [NORM, SHAPE, SUFFIX] in the file, [NORM, PREFIX, SUFFIX] here",
            'embed.attrs = ["NORM", "SHAPE", "SUFFIX"]',
        ],
    ),
    "shallower": (
        {ENCODE + "depth": 1},
        [
            "layer 2 > maxout (W (8, 2, 24), b (8, 2)) is here, not in the file",
            "encode.depth = 1",
        ],
    ),
    "deeper": (
        {ENCODE + "depth": 3},
        ["maxout (W (8, 2, 24), b (8, 2)) is in the file, not here", "depth = 3"],
    ),
    "window": (
        {ENCODE + "window_size": 2},
        ["W is (8, 2, 40) in the file, (8, 2, 24) here", "encode.window_size = 2"],
    ),
    "pieces": (
        {ENCODE + "maxout_pieces": 3},
        ["W is (8, 3, 24) in the file, (8, 2, 24) here", "encode.maxout_pieces = 3"],
    ),
}


@pytest.mark.parametrize(("settings", "said"), CASES.values(), ids=CASES)
def test_other_settings_name_layer_shapes_and_setting(weights, settings, said):
    path = weights(**settings)
    message = refusal(path)
    assert message.startswith(f"{path}: does not fit: tok2vec > ")
    for part in said:
        assert part in message
    assert "set components.tok2vec.model." in message


def test_static_vectors_in_the_file_only(weights):
    message = refusal(
        weights(vector_width=6, **{EMBED + "include_static_vectors": True})
    )
    assert "static_vectors (W (8, 6)) is in the file, not here" in message
    assert "embed.include_static_vectors = true" in message


def test_static_vectors_here_only(weights):
    text = CONFIG.replace("static_vectors = false", "static_vectors = true")
    message = refusal(weights(), text, vector_width=6)
    assert "static_vectors (W (8, 6)) is here, not in the file" in message
    assert "embed.include_static_vectors = false" in message


def test_static_vectors_of_another_width(weights):
    text = CONFIG.replace("static_vectors = false", "static_vectors = true")
    message = refusal(weights(text, vector_width=6), text, vector_width=5)
    assert "static_vectors: W is (8, 6) in the file, (8, 5) here" in message
    assert "set initialize.vectors to a table 6 wide" in message


def test_another_architecture(weights):
    start = CONFIG.index("[components.tok2vec.model.embed]")
    end = CONFIG.index("[components.tok2vec.model.encode]")
    text = CONFIG[:start] + "[components.tok2vec.model.embed]" + OURS + CONFIG[end:]
    message = refusal(weights(text))
    assert "ngram_table (E (40, 8)) is in the file, not here" in message


def test_rows_are_called_as_the_config_calls_them(weights):
    start = CONFIG.index("[components.tok2vec.model]")
    end = CONFIG.index("[components.tagger]")
    text = (CONFIG[:start] + CNN + "\n" + CONFIG[end:]).replace(
        "model.encode.", "model."
    )
    path = weights(text, **{"components.tok2vec.model.embed_size": 60})
    message = refusal(path, text)
    assert "hashembed NORM: E is (60, 8) in the file, (40, 8) here" in message
    assert "set components.tok2vec.model.embed_size = 60, or" in message


def test_a_config_next_to_the_file_names_the_settings(weights, tmp_path):
    settings = {EMBED + "rows": [50, 25, 30], ENCODE + "maxout_pieces": 3}
    path = weights(**settings)
    make_nlp(**settings).config.to_disk(tmp_path / "config.cfg")
    message = refusal(path)
    assert "set components.tok2vec.model.embed.rows = [50, 25, 30], " in message
    assert "components.tok2vec.model.encode.maxout_pieces = 3, or" in message


def test_weights_that_fit_are_loaded(weights):
    path = weights()
    nlp = initialize(make_nlp(**{"initialize.init_tok2vec": str(path)}))
    assert nlp.get_pipe("tok2vec").model.to_bytes() == path.read_bytes()


def test_a_dropout_of_0_in_pretraining_fits(weights):
    path = weights()
    message = srsly.msgpack_loads(path.read_bytes())
    # An integer, as from a config or the command line.
    change_attr("dropout_rate", 0)(message)
    path.write_bytes(srsly.msgpack_dumps(message))
    initialize(make_nlp(**{"initialize.init_tok2vec": str(path)}))


def test_nothing_happens_without_weights():
    initialize(make_nlp())


def nest(depth):
    return b"\x91" * depth


def array(descr, data=b"\0" * 8):
    found = {b"nd": True, b"type": descr, b"kind": b"", b"shape": [1], b"data": data}
    node = {"name": "x", "dims": {}, "refs": {}}
    message = {"nodes": [node], "attrs": [{}], "params": [{"E": found}], "shims": [[]]}
    return srsly.msgpack_dumps(message)


HOSTILE = {
    "empty": b"",
    "text": b"These are no weights.\n",
    "pickle": b"\x80\x04cos\nsystem\n",
    "nested": nest(100_000),
    "nested_long": b"".join(b"\xdd" + struct.pack(">I", 2**31) for _ in range(400)),
    "number": srsly.msgpack_dumps(3),
    "other_keys": srsly.msgpack_dumps({"words": []}),
    "odd_nodes": srsly.msgpack_dumps(
        {"nodes": [1], "attrs": [{}], "params": [{}], "shims": [[]]}
    ),
    "uneven": srsly.msgpack_dumps(
        {"nodes": [], "attrs": [{}], "params": [], "shims": []}
    ),
    "objects": array("|O"),
    "not_finite": array("<f8", numpy.array([numpy.nan]).tobytes()),
    "integers": array("<i8"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_file_of_another_kind_is_refused(tmp_path, data):
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is not a file of weights, or was cut short"):
        read_layers(path)
    assert gc.isenabled()


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_a_file_that_was_cut_short_is_refused(weights, share):
    path = weights()
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "is not a file of weights, or was cut short" in refusal(path)


def first_params(message):
    return next(x for x in message["params"] if x)


def change_array(dtype):
    def change(message):
        params = first_params(message)
        params.update({name: array.astype(dtype) for name, array in params.items()})

    return change


def change_attr(name, value):
    def change(message):
        attrs = next(x for x in message["attrs"] if name in x)
        attrs[name] = srsly.msgpack_dumps(value)

    return change


CHANGES = {
    "float16": (change_array("float16"), "is float16 in the file, float32 here"),
    "big-endian": (change_array(">f4"), "is >f4 in the file, float32 here"),
    "dimension": (lambda x: x["nodes"][-1]["dims"].update(nX=3), "nX is 3 in the file"),
    "size": (lambda x: x["nodes"][0]["dims"].update(nO=9), "nO is 9 in the file"),
    "reference": (lambda x: x["nodes"][0]["refs"].update(embed=-1), "does not exist"),
    "other reference": (lambda x: x["nodes"][0]["refs"].update(embed=2), "layer embed"),
    "new reference": (lambda x: x["nodes"][0]["refs"].update(x=2), "the layer x is 2"),
    "rate": (change_attr("dropout_rate", 7.0), "dropout_rate is 7.0"),
    "text for a rate": (change_attr("dropout_rate", "x"), "dropout_rate is x"),
    "pad": (change_attr("pad", 10**12), "pad is 1000000000000"),
    "column": (change_attr("columns", [[1]]), "columns are not attributes"),
    "type of pad": (change_attr("pad", 1.5), "the type of pad is float in the file"),
    "columns": (change_attr("columns", 3), "columns are not attributes"),
    "attributes": (lambda x: x["attrs"].__setitem__(0, {"a": 3}), "bytes-like object"),
    "attribute": (lambda x: x["attrs"].__setitem__(0, {"a": b"\xc1"}), "was cut short"),
    "shims": (lambda x: x["shims"].__setitem__(0, ["x"]), "shims[0] is not of type"),
    "name": (lambda x: x["nodes"][0].update(name=3), "name is not of type str"),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_changed_file_is_refused(weights, name):
    path = weights()
    message = srsly.msgpack_loads(path.read_bytes())
    change, said = CHANGES[name]
    change(message)
    path.write_bytes(srsly.msgpack_dumps(message))
    assert said in refusal(path)


def test_a_file_that_is_missing_is_named(tmp_path):
    path = tmp_path / "model9.bin"
    assert refusal(path) == f"{path}: No such file or directory"


def test_an_empty_pretraining_block_is_refused(weights):
    text = (
        CONFIG[: CONFIG.index("[pretraining]")] + CONFIG[CONFIG.index("[initialize]") :]
    )
    assert "would not be loaded, because [pretraining] is empty" in refusal(
        weights(), text
    )


def test_another_component_is_refused(weights):
    text = CONFIG.replace('component = "tok2vec"', 'component = "tok2vek"')
    assert "component is 'tok2vek', but the pipeline has tok2vec, tagger" in refusal(
        weights(), text
    )


def test_a_layer_within_a_component(weights):
    nlp = make_nlp()
    doc = nlp.make_doc("The cat")
    layer = nlp.get_pipe("tok2vec").model.initialize(X=[doc])
    path = weights()
    check_fit(path, layer)
    with pytest.raises(InputError, match="give it the settings of the pretraining run"):
        check_fit(path, layer.get_ref("embed"))


def test_the_layers_of_a_file_are_those_of_the_model(weights):
    names = [layer.name for layer in read_layers(weights())]
    assert names.count("hashembed") == 3
    assert names.count("expand_window") == 2
