"""TransformerModel.v1 saved, loaded, copied, and in place of a listener."""

import json
import pickle
from pathlib import Path

import numpy
import pytest
import spacy
import srsly
from numpy.testing import assert_allclose
from spacy.tokens import DocBin
from spacy.util import load_config
from thinc.api import Config

torch = pytest.importorskip(
    "torch", reason="needs pip install 'spacy-embedkit[transformers]'"
)
pytest.importorskip(
    "spacy_transformers", reason="needs pip install 'spacy-embedkit[transformers]'"
)

from .helpers.tiny_pipelines import train  # noqa: E402
from .helpers.transformer_pipelines import (  # noqa: E402
    LISTENER,
    MODEL,
    SCHEDULE,
    TEXTS,
    THAW,
    assert_same_vectors,
    make,
    ours,
    replace,
    shim_of,
    stock,
    vectors,
)


def test_copy_and_replaced_listener_keep_the_learn_rate_factor() -> None:
    nlp, _ = make(ours("learn_rate_factor = 0.5"))
    model = nlp.get_pipe("transformer").model
    assert model.copy().layers[0].shims[0].settings.learn_rate_factor == 0.5
    nlp.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    shims = [shim for x in nlp.get_pipe("tagger").model.walk() for shim in x.shims]
    assert [shim.settings.learn_rate_factor for shim in shims] == [0.5]
    block = nlp.config["components"]["tagger"]["model"]["tok2vec"]
    assert block["learn_rate_factor"] == 0.5


def test_own_files_come_back(tmp_path) -> None:
    nlp, examples = make(ours(listener='layers = "mix"'))
    train(nlp, examples)
    nlp.to_disk(tmp_path)
    assert b"safetensors" in (tmp_path / "transformer" / "model").read_bytes()
    copies = [spacy.load(tmp_path), pickle.loads(pickle.dumps(make(ours())[0]))]
    assert_same_vectors(vectors(copies[0]), vectors(nlp), atol=0)
    assert_same_vectors(vectors(copies[1]), vectors(make(ours())[0]), atol=0)


def test_tiny_settings_come_back(tmp_path) -> None:
    nlp, _ = make(ours())
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path).get_pipe("transformer").model.transformer
    # Written as JSON, it would be 0.
    assert loaded.config.layer_norm_eps == 1e-12
    assert loaded.embeddings.LayerNorm.eps == 1e-12


def test_files_of_a_tokenizer_stay_in_their_folder(tmp_path) -> None:
    shim = shim_of(make(ours())[0])
    message = srsly.msgpack_loads(shim.to_bytes())
    outside = str(tmp_path / "outside.txt")
    message["tokenizer"][outside] = b"hostile"
    with pytest.raises(ValueError, match=r"outside\.txt.*without a folder"):
        shim.from_bytes(srsly.msgpack_dumps(message))
    assert not Path(outside).exists()


def test_schedules_do_not_keep_a_pipeline_from_being_copied() -> None:
    text = ours().to_str() + SCHEDULE + THAW
    nlp, _ = make(Config().from_str(text))
    copy = pickle.loads(pickle.dumps(nlp))
    assert_same_vectors(vectors(copy), vectors(nlp), atol=0)


def test_outputs_are_saved_with_the_doc() -> None:
    nlp, _ = make(ours(listener='layers = "mix"'))
    doc = nlp("the cat sat")
    box = DocBin(docs=[doc], store_user_data=True).to_bytes()
    [loaded] = DocBin().from_bytes(box).get_docs(nlp.vocab)
    output = loaded._.trf_data.model_output
    assert len(output.hidden_states) == 4
    numpy.testing.assert_array_equal(
        output.last_hidden_state, doc._.trf_data.model_output.last_hidden_state
    )


def test_files_of_stock_load(tmp_path) -> None:
    nlp, examples = make(stock())
    train(nlp, examples)
    nlp.to_disk(tmp_path)
    config = load_config(tmp_path / "config.cfg")
    replace(config, MODEL, "spacy-embedkit.TransformerModel.v1")
    replace(config, LISTENER, "spacy-embedkit.TransformerListener.v1")
    config.to_disk(tmp_path / "config.cfg")
    assert_same_vectors(vectors(spacy.load(tmp_path)), vectors(nlp))


def test_listener_can_be_replaced(tmp_path) -> None:
    nlp, examples = make(ours("batch_pieces = 16", 'layers = "mix"'))
    train(nlp, examples)
    expected = nlp.get_pipe("tagger").model.predict(list(nlp.pipe(TEXTS)))
    nlp.replace_listeners("transformer", "tagger", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    replaced = loaded.config["components"]["tagger"]["model"]["tok2vec"]
    assert (replaced["batch_pieces"], replaced["layers"]) == (16, "mix")
    found = loaded.get_pipe("tagger").model.predict(list(loaded.pipe(TEXTS)))
    for scores, others in zip(found, expected, strict=True):
        assert_allclose(scores, others, atol=1e-5)


def saved(change) -> bytes:
    """Bytes of a saved transformer in which something was changed."""
    message = srsly.msgpack_loads(shim_of(make(ours())[0]).to_bytes())
    change(message)
    return srsly.msgpack_dumps(message)


def load_saved(data: bytes) -> None:
    shim_of(make(ours())[0]).from_bytes(data)


def test_code_that_comes_with_a_tokenizer_is_never_run(tmp_path) -> None:
    sprung = tmp_path / "sprung"

    def hide_code(message) -> None:
        files = message["tokenizer"]
        config = json.loads(files["tokenizer_config.json"])
        config["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
        files["tokenizer_config.json"] = json.dumps(config).encode()
        files["evil.py"] = (
            f"open({str(sprung)!r}, 'w')\n"
            "from transformers import BertTokenizerFast as Evil\n"
        ).encode()
        files["kwargs"]["trust_remote_code"] = True

    load_saved(saved(hide_code))
    assert not sprung.exists()


def test_code_of_an_unknown_model_is_never_asked_for(monkeypatch) -> None:
    def name_code(message) -> None:
        message["config"]["auto_map"] = {"AutoConfig": "evil.C", "AutoModel": "evil.M"}
        message["config"]["model_type"] = "evil"

    monkeypatch.setattr("builtins.input", lambda *args: pytest.fail("asked the user"))
    with pytest.raises(ValueError, match="saved transformer is damaged"):
        load_saved(saved(name_code))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 2**20),
        ("intermediate_size", 2**40),
        ("num_hidden_layers", 10**9),
        ("vocab_size", -1),
        ("num_attention_heads", "2"),
        ("hidden_act", "x\ny"),
        ("model_type", []),
    ],
)
def test_config_that_does_not_fit_the_weights_is_one_line(name, value) -> None:
    data = saved(lambda message: message["config"].update({name: value}))
    with pytest.raises(ValueError, match=r"saved transformer is damaged.*again$"):
        load_saved(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message.pop("tokenizer"),
        lambda message: message.update(tokenizer=[]),
        lambda message: message.update(config=1),
        lambda message: message.update(state=b"PK\x03\x04"),
        lambda message: message.update(state=None),
        lambda message: message.update(state_format="torch"),
        lambda message: message["tokenizer"].update({"tokenizer.json": b"{}"}),
        lambda message: message["tokenizer"].update({"tokenizer.json": 5}),
    ],
)
def test_damaged_transformer_is_one_line(change) -> None:
    with pytest.raises(ValueError, match=r"saved transformer is damaged.*again$"):
        load_saved(saved(change))


def test_random_bytes_are_no_transformer() -> None:
    for data in (b"", b"\x81", b"\xc1", b"\x90"):
        with pytest.raises(ValueError, match="saved transformer is damaged"):
            load_saved(data)


def test_kernel_of_the_hub_is_not_named_by_a_saved_config() -> None:
    def name_kernel(message) -> None:
        message["config"]["_attn_implementation"] = "owner/name:attention"

    # It would be fetched, or the package that fetches it be missing.
    load_saved(saved(name_kernel))
