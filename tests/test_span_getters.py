"""Span getters: what they promise of every doc, and what stock ones lose."""

import copy
import pickle
import string
from itertools import pairwise

import numpy
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc

from spacy_embedkit.span_getters import (
    build_paragraph_spans_v1,
    build_sent_spans_v1,
    build_wordpiece_spans_v1,
)
from spacy_embedkit.text.boundaries import core_ranges

NLP = spacy.blank("en")
SENTENCIZED = spacy.blank("en")
SENTENCIZED.add_pipe("sentencizer")
ODD = [
    "the",
    "cat",
    "don't",
    "naïve",
    ".",
    "?",
    " ",
    "  ",
    "\n\n",
    "🙂",
    "東京",
    "x" * 9,
]
odd_texts = st.one_of(
    st.lists(st.sampled_from(ODD), max_size=60).map("".join),
    st.lists(st.sampled_from(ODD), max_size=60).map(" ".join),
    st.text(alphabet=string.printable + "é\u0301\u200b\u3000", max_size=150),
)


def texts_of(spans):
    return [span.text.strip() for span in spans]


def assert_covers(doc, spans):
    """Each token once, in order, without empty spans."""
    assert [token.i for span in spans for token in span] == list(range(len(doc)))
    assert all(len(span) for span in spans)


@given(odd_texts, st.integers(1, 12), st.integers(0, 12))
def test_sent_spans_pack_neighbours_as_long_as_they_fit(text, max_length, more):
    doc, pack = SENTENCIZED(text), max_length + more
    [spans] = build_sent_spans_v1(max_length, pack)([doc])
    assert_covers(doc, spans)
    assert max(map(len, spans), default=0) <= pack
    [pieces] = build_sent_spans_v1(max_length)([doc])
    first = {piece.start: len(piece) for piece in pieces}
    assert all(len(a) + first[b.start] > pack for a, b in pairwise(spans))


def test_spans_are_not_packed_across_docs():
    docs = [SENTENCIZED(text) for text in ("A cat. A dog.", "Yes.")]
    first, second = build_sent_spans_v1(5, pack=50)(docs)
    assert texts_of(first) == ["A cat. A dog."]
    assert texts_of(second) == ["Yes."]


@pytest.mark.parametrize("build", [build_sent_spans_v1, build_paragraph_spans_v1])
def test_lengths_that_make_no_sense_are_named(build):
    with pytest.raises(ValueError, match="max_length is 0, but 1 or more"):
        build(0)
    with pytest.raises(ValueError, match=r"pack is 4, .* max_length = 5 .* give 5"):
        build(5, 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\n\nc", ["a b", "c"]),
        ("a\nb", ["a\nb"]),
        ("a\r\nb", ["a\r\nb"]),
        ("a\r\n\r\nb", ["a", "b"]),
        ("a \n \t\n b\n\n\n\nc\n\n", ["a", "b", "c"]),
        ("\n\na", ["", "a"]),
        ("a\u2029b", ["a", "b"]),
        ("", []),
    ],
)
def test_paragraphs_end_at_blank_lines(text, expected):
    doc = NLP(text)
    [spans] = build_paragraph_spans_v1(10)([doc])
    assert texts_of(spans) == expected
    assert_covers(doc, spans)


def test_line_breaks_of_their_own_tokens_are_a_blank_line():
    words = ["a", "\n", "\n", " ", "\n", "b"]
    doc = Doc(NLP.vocab, words=words, spaces=[False] * len(words))
    [spans] = build_paragraph_spans_v1(10)([doc])
    assert [len(span) for span in spans] == [5, 1]


@pytest.mark.parametrize("nlp", [NLP, SENTENCIZED])
def test_long_paragraphs_are_cut_between_sentences(nlp):
    doc = nlp("One. Two it is. Three.\n\nA b c d e f g.\n\nYes. No.")
    [spans] = build_paragraph_spans_v1(6)([doc])
    expected = ["One. Two it is.", "Three.", "A b c d e f", "g.", "Yes. No."]
    assert texts_of(spans) == expected
    assert_covers(doc, spans)


def test_paragraphs_are_packed():
    [spans] = build_paragraph_spans_v1(4, pack=6)([NLP("a b\n\nc d\n\ne f")])
    assert texts_of(spans) == ["a b\n\nc d", "e f"]


@given(odd_texts, st.integers(1, 12))
def test_paragraph_spans_cover_each_token_once(text, max_length):
    doc = NLP(text)
    [spans] = build_paragraph_spans_v1(max_length)([doc])
    assert_covers(doc, spans)
    assert max(map(len, spans), default=0) <= max_length


def make_byte_bpe(folder):
    """A byte-level BPE: " the" is another piece than "the" at the start of a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" the the naïve cat don't . ."] * 9, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>"
    )
    wrapped.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    pytest.importorskip("spacy_transformers", reason="needs the extra transformers")
    from .helpers.tiny_bert import make_bert

    root = tmp_path_factory.mktemp("tokenizers")
    return {"bert": make_bert(root / "bert"), "bpe": make_byte_bpe(root / "bpe")}


@pytest.fixture(scope="module")
def tokenizers(folders):
    from transformers import AutoTokenizer

    return {name: AutoTokenizer.from_pretrained(dir_) for name, dir_ in folders.items()}


GETTERS = {}


def wordpiece_spans(folder, max_wordpieces, context):
    """One getter for all examples: tokenizers take longer to load than to use."""
    if (folder, max_wordpieces, context) not in GETTERS:
        getter = build_wordpiece_spans_v1(max_wordpieces, folder, context)
        getter._has_warned = True
        GETTERS[folder, max_wordpieces, context] = getter
    return GETTERS[folder, max_wordpieces, context]


@pytest.mark.parametrize("kind", ["bert", "bpe"])
@given(
    texts=st.lists(odd_texts, max_size=3),
    max_wordpieces=st.sampled_from([8, 9, 16, 30]),
    context=st.sampled_from([0, 1, 2]),
    nlp=st.sampled_from([NLP, SENTENCIZED]),
)
@settings(max_examples=150)
def test_wordpiece_spans_keep_every_promise(
    kind, folders, tokenizers, texts, max_wordpieces, context, nlp
):
    docs = list(nlp.pipe(texts))
    for doc, spans in zip(
        docs, wordpiece_spans(folders[kind], max_wordpieces, context)(docs), strict=True
    ):
        cores = core_ranges(spans)
        assert [i for core in cores for i in range(*core)] == list(range(len(doc)))
        for span, (start, end) in zip(spans, cores, strict=True):
            size = len(tokenizers[kind](span.text)["input_ids"])
            assert size <= max_wordpieces or len(span) == 1
            assert span.start <= start < end <= span.end
            assert context or (span.start, span.end) == (start, end)


@pytest.mark.parametrize("kind", ["bert", "bpe"])
def test_few_long_spans_of_about_equal_size(kind, folders, tokenizers):
    doc = NLP(" ".join(["the cat"] * 300))
    [spans] = build_wordpiece_spans_v1(50, folders[kind])([doc])
    sizes = [len(tokenizers[kind](span.text)["input_ids"]) for span in spans]
    total = sum(sizes) - 2 * len(sizes)
    assert len(sizes) <= -(-total // 48) + 1
    assert max(sizes) - min(sizes) <= 8


def test_cuts_are_between_sentences_then_words(folders):
    getter = build_wordpiece_spans_v1(14, folders["bert"])
    [spans] = getter([NLP("the cat the cat. the cat the the cat cat. the cat the.")])
    assert texts_of(spans) == [
        "the cat the cat.",
        "the cat the the cat cat. the cat the.",
    ]
    [spans] = getter([NLP("the cat-the-cat-the-cat the cat-the-cat-the cat")])
    starts = [span.doc[span.start - 1].whitespace_ for span in spans[1:]]
    assert starts == [" "] * len(starts)
    [spans] = getter([NLP("the  " * 30)])
    assert not any(span[0].is_space for span in spans)


@pytest.mark.parametrize("context", [0, 1, 4])
def test_context_takes_no_more_spans_than_its_wordpieces_need(folders, context):
    [spans] = build_wordpiece_spans_v1(30, folders["bert"], context)(
        [NLP(" ".join(["the"] * 400))]
    )
    # All but the first and the last have context on both sides.
    assert len(spans) == -(-(400 - 2 * context) // (28 - 2 * context))


def test_context_is_shared_by_halves(folders):
    doc = NLP(" ".join(["the"] * 40))
    [spans] = build_wordpiece_spans_v1(16, folders["bert"], context=3)([doc])
    for left, right in pairwise(spans):
        assert left.end - right.start == 6
    [(_, cut), *_] = core_ranges(spans)
    assert (spans[1].start, spans[0].end) == (cut - 3, cut + 3)


def test_a_token_longer_than_the_budget_is_alone_and_reported_once(folders):
    getter = build_wordpiece_spans_v1(12, folders["bpe"])
    doc = NLP("the cat " + "qz" * 5000 + " the cat " + "zq" * 5000)
    with pytest.warns(UserWarning, match="'qzqz.* 10000 characters .* 12") as caught:
        [spans] = getter([doc])
    assert len(caught) == 1
    assert_covers(doc, spans)
    assert [span.text for span in spans if len(span.text) > 99] == [
        doc[2].text,
        doc[5].text,
    ]
    getter([doc])


def test_one_unknown_wordpiece_that_becomes_many_is_cut(folders, tokenizers):
    assert len(tokenizers["bert"]("🙂" * 99)["input_ids"]) == 3
    doc = NLP("🙂" * 99 + " " + "the " * 60)
    [spans] = build_wordpiece_spans_v1(40, folders["bert"])([doc])
    assert_covers(doc, spans)
    assert max(len(tokenizers["bert"](s.text)["input_ids"]) for s in spans) <= 40


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("n_known", [1, 9])
def test_cut_within_an_unknown_wordpiece_makes_more_cuts(
    folders, tokenizers, context, n_known
):
    # BERT takes a word of over 100 letters as one unknown wordpiece, its parts not.
    words = [*["xxxxxxxxxx"] * 11, *["-"] * n_known] * 12
    doc = Doc(NLP.vocab, words=words, spaces=[False] * len(words))
    [spans] = build_wordpiece_spans_v1(16, folders["bert"], context)([doc])
    sizes = [len(tokenizers["bert"](span.text)["input_ids"]) for span in spans]
    assert max(sizes) <= 16
    cores = core_ranges(spans)
    assert [i for core in cores for i in range(*core)] == list(range(len(doc)))


def test_getter_is_copied_and_pickled(folders):
    docs = [NLP("the cat " * 30), NLP("")]
    getter = build_wordpiece_spans_v1(16, folders["bert"], context=2)
    for used in (False, True):
        for other in (copy.deepcopy(getter), pickle.loads(pickle.dumps(getter))):
            assert texts_of(other(docs)[0]) == texts_of(
                build_wordpiece_spans_v1(16, folders["bert"], context=2)(docs)[0]
            )
        if not used:
            getter(docs)


def test_the_models_own_tokenizer_is_used_and_left_alone(folders, tokenizers):
    getter = build_wordpiece_spans_v1(16)
    with pytest.raises(
        ValueError, match=r"tokenizer is null.*transformer\.model\.name"
    ):
        getter([NLP("a")])
    padding = {"padding": "max_length", "max_length": 99}
    tokenizers["bert"]("a", **padding)
    getter.set_tokenizer(tokenizers["bert"])
    tokenizers["bert"]("a", **padding)
    [spans] = getter([NLP("the cat " * 30)])
    assert len(spans) == 5
    tokenizers["bert"](["a"], padding=False)


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"max_wordpieces": 0}, "max_wordpieces is 0"),
        ({"max_wordpieces": 9, "context": -1}, "context is -1"),
        (
            {"max_wordpieces": 9, "tokenizer_config": {"trust_remote_code": True}},
            "never run",
        ),
    ],
)
def test_wrong_settings_are_named_at_once(given_settings, message):
    with pytest.raises(ValueError, match=message):
        build_wordpiece_spans_v1(**given_settings)


def test_wrong_settings_are_named_when_the_tokenizer_is_there(folders, tmp_path):
    with pytest.raises(ValueError, match=r"8, but 2 special ones and .* 3 leave no"):
        build_wordpiece_spans_v1(8, folders["bert"], 3)([NLP("a")])
    config = {"model_max_length": 64}
    with pytest.raises(ValueError, match="is 65, but the transformer takes 64"):
        build_wordpiece_spans_v1(65, folders["bert"], 0, config)([NLP("a")])
    with pytest.raises(ValueError, match="can't be loaded"):
        build_wordpiece_spans_v1(65, str(tmp_path))([NLP("a")])
    with pytest.raises(ValueError, match="is a BertTokenizer, but a fast one"):
        build_wordpiece_spans_v1(65, folders["bert"], 0, {"use_fast": False})(
            [NLP("a")]
        )


STRIDED = (
    '@span_getters = "spacy-transformers.strided_spans.v1"\nwindow = 128\nstride = 96'
)
WORDPIECES = """@span_getters = "spacy-embedkit.wordpiece_spans.v1"
max_wordpieces = 64
context = {context}
tokenizer = ${{components.transformer.model.name}}"""
LONG = "cat unbelievable🙂  incomprehensible catastrophe: " * 12


@pytest.fixture(scope="module")
def short_bert(folders, tmp_path_factory):
    """Folder of a BERT that cuts texts off after 64 wordpieces."""
    from transformers import AutoModel, AutoTokenizer

    folder = tmp_path_factory.mktemp("short")
    tokenizer = AutoTokenizer.from_pretrained(folders["bert"], model_max_length=64)
    tokenizer.save_pretrained(folder)
    AutoModel.from_pretrained(folders["bert"]).save_pretrained(folder)
    return folder


def rows_missing(doc):
    """Tokens other than space for which the transformer gives nothing."""
    lengths = doc._.trf_data.align.lengths
    return [token.text for token in doc if not token.is_space and not lengths[token.i]]


@pytest.mark.parametrize("context", [0, 5])
def test_no_token_is_lost_where_stock_spans_lose_some(short_bert, context):
    from .helpers.tiny_pipelines import make_pipeline

    stock = make_pipeline(short_bert, spans=STRIDED, pipeline=["transformer"])
    assert len(rows_missing(stock(LONG))) > 10
    spans = WORDPIECES.format(context=context)
    nlp = make_pipeline(short_bert, spans=spans, pipeline=["transformer"])
    docs = list(nlp.pipe([LONG, "", "The  cat"]))
    assert not any(map(rows_missing, [docs[0], docs[2]]))
    pieces = docs[0]._.trf_data.wordpieces
    assert pieces.input_ids.shape[1] <= 64


def test_pipeline_with_wordpiece_spans_trains_and_survives_saving(short_bert):
    from .helpers.tiny_pipelines import TEXTS, make_pipeline, tagged

    nlp = make_pipeline(short_bert, spans=WORDPIECES.format(context=5))
    nlp.update([tagged(nlp, text) for text in [LONG, *TEXTS]], losses=(losses := {}))
    assert losses["tagger"] > 0
    expected = nlp(LONG)
    restored = spacy.util.load_model_from_config(nlp.config, auto_fill=True)
    restored.from_bytes(nlp.to_bytes())
    doc = restored(LONG)
    assert [token.tag_ for token in doc] == [token.tag_ for token in expected]
    hidden = [d._.trf_data.model_output.last_hidden_state for d in (doc, expected)]
    numpy.testing.assert_allclose(*hidden, atol=1e-5)


def test_stock_sentence_spans_do_not_name_the_remedy(folders):
    from spacy_transformers.span_getters import get_sent_spans

    with pytest.raises(ValueError, match="E030") as caught:
        get_sent_spans([NLP("no bounds here")])
    assert "annotating_components" not in str(caught.value)
