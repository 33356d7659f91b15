"""Vectors distilled from a tiny random transformer, against plain loops."""

import json
import sys

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose

from spacy_embedkit.checks import InputError
from spacy_embedkit.vectors.build.distill import distill, principal_components

torch = pytest.importorskip("torch", reason="needs the extra transformers")
transformers = pytest.importorskip("transformers", reason="needs the extra")

WIDTH, LAYERS = 16, 2
TEXTS = [
    "the cat sat on the mat . the dog ran",
    "a cat and a dog and the catalogue",
    "The mat , the cat , the dog " * 6,
    "東 sat 東 on 東 the zebra zebra",
]
PLAIN = {"lang": "en", "special": False, "remove_top": 0, "width": None, "min_count": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT whose pieces are letters and some words; 東 it does not know."""
    folder = tmp_path_factory.mktemp("bert")
    letters = [chr(i) for i in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", *letters]
    pieces += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    vocab = str(folder / "vocab.txt")
    transformers.BertTokenizerFast(vocab).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        # Large, so that a word's context matters.
        initializer_range=0.5,
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder, safe_serialization=True)
    return str(folder)


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    return [str(path)]


@pytest.fixture
def table(folder, raw):
    """Distil; return the words with their rows, and the source."""

    def table(**settings):
        source = distill(folder, raw, **{**PLAIN, **settings})
        words, rows = [], []
        for batch in source.batches:
            words += batch.words
            rows += list(batch.rows)
        assert source.n_rows == len(words) == len(set(words))
        assert all(row.shape == (source.width,) for row in rows)
        assert all(row.dtype == "float32" for row in rows)
        return dict(zip(words, rows, strict=True)), source

    return table


@pytest.fixture(scope="module")
def hidden(folder):
    """Encode one text alone: its word ids, and all layers (layers, pieces, width)."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()

    def hidden(tokens):
        pieces = tokenizer([tokens], is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**pieces, output_hidden_states=True).hidden_states
        return pieces.word_ids(0), torch.cat(states).numpy()

    return hidden


def assert_same_shape(rows, expected):
    """All differences have the same lengths and angles: one is the other, turned."""
    words = list(expected)
    A = numpy.asarray([rows[word] for word in words], dtype="d")
    B = numpy.asarray([expected[word] for word in words], dtype="d")
    A, B = A - A.mean(axis=0), B - B.mean(axis=0)
    assert_allclose(A @ A.T, B @ B.T, atol=1e-3)


@pytest.mark.parametrize("layers", [None, [2], [-1], [0, 1]])
@pytest.mark.parametrize("special", [True, False])
def test_isolated_word_is_the_mean_of_its_wordpieces(table, hidden, layers, special):
    rows, source = table(layers=layers, special=special, batch_size=3)
    expected = {}
    for word in rows:
        ids, states = hidden([word])
        mean = states[[0, 1, 2] if layers is None else layers].mean(axis=0)
        use = [special or i is not None for i in ids]
        expected[word] = mean[use].mean(axis=0)
    assert {"the", "The", "catalogue", "zebra", ",", "."} <= set(rows)
    assert source.width == WIDTH
    assert source.format == f"distilled from {source.path}"
    assert_same_shape(rows, expected)


@pytest.mark.parametrize("n_contexts", [1000, 1])
def test_word_in_contexts_is_the_mean_over_its_places(table, hidden, n_contexts):
    rows, _ = table(
        how="contexts", layers=[2], n_contexts=n_contexts, batch_size=1, max_words=99
    )
    places = {}
    # In the order of encoding: windows of a quarter of 64 pieces, sorted by length.
    tokenizer = spacy.blank("en").tokenizer
    tokens = [[t.text for t in tokenizer(x) if not t.is_space] for x in TEXTS]
    windows = [t[i : i + 16] for t in tokens for i in range(0, len(t), 16)]
    for window in sorted(windows, key=len):
        ids, states = hidden(window)
        for i, word in enumerate(window):
            pieces = [p for p, token in enumerate(ids) if token == i]
            if word != "東" and len(places.setdefault(word, [])) < n_contexts:
                places[word].append(states[2][pieces].mean(axis=0))
    assert_same_shape(rows, {w: numpy.mean(x, axis=0) for w, x in places.items()})
    assert set(rows) == set(places)


def test_contexts_differ_from_words_alone(table):
    alone, _ = table()
    contexts, _ = table(how="contexts")
    assert not numpy.allclose(
        numpy.linalg.norm(alone["cat"] - alone["dog"]),
        numpy.linalg.norm(contexts["cat"] - contexts["dog"]),
        rtol=1e-3,
    )


@pytest.mark.parametrize("how", ["isolated", "contexts"])
def test_word_without_known_pieces_is_left_out_and_noted(table, how):
    rows, source = table(how=how)
    assert "東" not in rows
    assert source.notes == ["1 words that the transformer can't read: left out"]


def test_word_that_was_cut_off_in_its_text_is_encoded_alone(folder, tmp_path, hidden):
    # Four long words fill the 64 pieces; "the" behind them is never seen.
    words = [letter * 20 for letter in "abcd"]
    (tmp_path / "raw").write_text(" ".join([*words, "the", "cat"]))
    source = distill(
        folder, [str(tmp_path / "raw")], **PLAIN, how="contexts", layers=[2]
    )
    [batch] = source.batches
    expected = {"the": hidden(["the"])[1][2][1], "cat": hidden(["cat"])[1][2][1]}
    rows = dict(zip(batch.words, batch.rows, strict=True))
    assert len(rows) == 6
    assert_allclose(
        numpy.linalg.norm(rows["the"] - rows["cat"]),
        numpy.linalg.norm(expected["the"] - expected["cat"]),
        rtol=1e-4,
    )


def test_words_are_the_most_frequent_ones(table):
    rows, _ = table(max_words=3)
    assert list(rows) == ["the", ",", "cat"]
    rows, _ = table(min_count=8)
    assert set(rows) == {"the", "dog", "cat", ","}


@pytest.mark.parametrize("how", ["isolated", "contexts"])
def test_distilling_twice_gives_the_same_rows(table, how):
    first, _ = table(how=how)
    second, _ = table(how=how)
    assert list(first) == list(second)
    for word, row in first.items():
        assert row.tobytes() == second[word].tobytes()


@pytest.mark.parametrize(("width", "expected"), [(4, 4), (None, 14), (300, 14)])
def test_width_is_at_most_what_is_left_of_the_transformer(table, width, expected):
    _, source = table(width=width, remove_top=2)
    assert source.width == expected


def test_all_components_keep_distances_and_are_sorted():
    rows = numpy.random.default_rng(0).normal(size=(9000, 5)).astype("f")
    rows = rows * [3, 1, 5, 2, 4] + 7
    out = principal_components(rows, None, 0)
    for i, j in [(0, 1), (5, 8999), (4095, 4096)]:
        assert_allclose(
            numpy.linalg.norm(out[i] - out[j]),
            numpy.linalg.norm(rows[i] - rows[j]),
            rtol=1e-5,
        )
    assert_allclose(out.mean(axis=0), 0, atol=1e-4)
    assert_allclose(out.std(axis=0), [5, 4, 3, 2, 1], rtol=0.05)


def test_components_that_are_left_out_are_the_largest():
    rows = numpy.random.default_rng(0).normal(size=(50, 5)).astype("f")
    whole = principal_components(rows, None, 0)
    assert_allclose(principal_components(rows, 2, 1), whole[:, 1:3], atol=1e-6)


@pytest.mark.parametrize("rows", [numpy.ones((1, 3), "f"), numpy.ones((4, 3), "f")])
def test_components_of_equal_rows_are_zero(rows):
    assert_allclose(principal_components(rows, None, 0), numpy.zeros_like(rows))


def test_weights_shorten_frequent_words_by_their_share(table):
    plain, _ = table()
    sif, _ = table(weighting="sif")
    zipf, _ = table(weighting="zipf")
    tokens = " ".join(TEXTS).split()
    share = tokens.count("the") / len(tokens)
    assert_allclose(sif["the"], plain["the"] * 1e-3 / (1e-3 + share), rtol=1e-5)
    factor = numpy.log(2) / numpy.log(len(plain) + 1)
    assert_allclose(zipf["the"], plain["the"] * factor, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"how": "both"}, "how is 'both'; choose one of isolated, contexts"),
        ({"weighting": "idf"}, "weighting is 'idf'; choose one of none, sif, zipf"),
        ({"width": 0}, "width is 0, but 1 to 10000 is allowed"),
        ({"max_words": 0}, "max_words is 0"),
        ({"layers": [3]}, r"layers is \[3\], but .* has 2: give .* -3 to 2"),
        ({"layers": []}, r"layers is \[\], but"),
        ({"remove_top": 16}, "remove_top is 16, but .* is 16 wide"),
        ({"device": "nonsense"}, "device is 'nonsense': .*; try cpu"),
        ({"min_count": 999}, "has 74 tokens, and no word occurs 999 times or more"),
    ],
)
def test_impossible_settings_are_named(table, settings, words):
    with pytest.raises(InputError, match=words):
        table(**settings)


def test_contexts_from_standard_input_are_refused(folder):
    with pytest.raises(InputError, match="reads the text twice; save standard input"):
        distill(folder, ["-"], lang="en", how="contexts")


def test_text_that_the_transformer_cannot_read_is_named(folder, tmp_path):
    (tmp_path / "raw").write_text("東 東")
    with pytest.raises(InputError, match="can't read any word of the text"):
        distill(folder, [str(tmp_path / "raw")], lang="en")


def test_missing_folder_is_named_without_network(raw, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        distill(str(tmp_path / "nothing"), raw, lang="en")


def test_pickled_weights_are_refused(folder, raw, tmp_path):
    copy = tmp_path / "pickled"
    model = transformers.AutoModel.from_pretrained(folder)
    model.save_pretrained(copy, safe_serialization=False)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(copy)
    assert [path.name for path in copy.glob("*model*")] == ["pytorch_model.bin"]
    with pytest.raises(InputError, match=r"can't be loaded .*model\.safetensors"):
        distill(str(copy), raw, lang="en")


@pytest.mark.parametrize("module", ["torch", "transformers"])
def test_missing_library_names_the_extra(folder, raw, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"'spacy-embedkit\[transformers\]'"):
        distill(folder, raw, lang="en")


def test_threads_of_torch_are_put_back(table):
    before = torch.get_num_threads()
    table(threads=before + 1)
    assert torch.get_num_threads() == before
