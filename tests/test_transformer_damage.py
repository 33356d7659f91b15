"""Tokenizers and folders of transformers that are damaged or hostile: one line."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("spacy_transformers", reason="needs the extra transformers")

import spacy

from spacy_embedkit.checks import InputError
from spacy_embedkit.span_getters import build_wordpiece_spans_v1
from spacy_embedkit.transformer.inference import load_inference_model
from spacy_embedkit.transformer.pretrained import load_pretrained
from spacy_embedkit.transformer.wordpieces import WordpieceReader

from .helpers.tiny_bert import make_bert

LINE = re.compile(r"[^\n]+")


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(make_bert(tmp_path / "bert", width=4, layers=1))


def change(path: Path, **settings: object) -> None:
    """Set fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text("utf8")), **settings}))


def change_vocab(folder: Path, **ids: int) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf8"))
    tokenizer["model"]["vocab"].update(ids)
    path.write_text(json.dumps(tokenizer))


def test_id_that_asks_for_gigabytes_is_refused(folder) -> None:
    tokenizer, _ = load_pretrained(str(folder))
    change_vocab(folder, cat=500_000_000)
    with pytest.raises(InputError, match="IDs up to 500,000,000"):
        load_pretrained(str(folder))
    spans = build_wordpiece_spans_v1(16, str(folder))
    with pytest.raises(ValueError, match="IDs up to 500,000,000"):
        spans([spacy.blank("en")("the cat")])
    tokenizer.add_tokens(["dog"])
    assert "dog" in WordpieceReader(tokenizer)._names


def test_id_without_an_embedding_is_one_line(folder) -> None:
    change_vocab(folder, mouse=1_000)
    config = {
        "@architectures": "spacy-embedkit.TransformerModel.v1",
        "name": str(folder),
        "get_spans": {"@span_getters": "spacy-embedkit.sent_spans.v1", "max_length": 9},
    }
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("transformer", config={"model": config})
    nlp.initialize()
    with pytest.raises(ValueError, match=r"read what its tokenizer gives.*again$"):
        nlp("mouse")


def test_text_that_a_tokenizer_cannot_read_is_one_line(folder) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf8"))
    tokenizer["model"]["unk_token"] = "[NO]"
    path.write_text(json.dumps(tokenizer))
    doc = spacy.blank("en")("東")
    with pytest.raises(ValueError, match=r"can't read a text .*again"):
        build_wordpiece_spans_v1(16, str(folder))([doc])
    reader = WordpieceReader(load_pretrained(str(folder))[0])
    with pytest.raises(ValueError, match=r"can't read a text .*again"):
        reader([[doc[:]]], count_once=False)


def test_padding_and_truncation_of_a_file_are_not_special_wordpieces(folder) -> None:
    expected = load_inference_model(str(folder), None, "cpu").special_pieces
    padding = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_id": 0}
    padding |= {"pad_to_multiple_of": None, "pad_type_id": 0, "pad_token": "[PAD]"}
    cut = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst"}
    change(folder / "tokenizer.json", padding=padding, truncation={**cut, "stride": 2})
    assert load_inference_model(str(folder), None, "cpu").special_pieces == expected


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("config.json", {"num_attention_heads": "2"}),
        ("config.json", {"hidden_size": 0}),
        ("config.json", {"hidden_act": "x\ny"}),
        ("config.json", {"_attn_implementation": "owner/name:attention"}),
        ("tokenizer.json", {"model": None}),
        ("tokenizer.json", {"added_tokens": 5}),
        ("tokenizer_config.json", {"tokenizer_class": 5}),
        ("tokenizer_config.json", {"model_max_length": "many"}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {}}}),
    ],
)
def test_damaged_folder_is_one_line(folder, name, settings) -> None:
    change(folder / name, **settings)
    with pytest.raises(InputError) as caught:
        load_pretrained(str(folder))
    assert LINE.fullmatch(str(caught.value))
    assert str(caught.value).startswith(str(folder))


def test_damaged_weights_are_one_line(folder) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="can't be loaded"):
        load_pretrained(str(folder))
