"""Texts cut into docs: where, how long, and that nothing is lost."""

import json

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from spacy_embedkit.readers import build_raw_text_v1
from spacy_embedkit.text import split
from spacy_embedkit.text.boundaries import cut_text
from spacy_embedkit.text.read import Piece
from spacy_embedkit.text.split import Counts, Lengths, make_docs

NLP = spacy.blank("en")
CHARACTERS = st.sampled_from(
    [*"ab.!?…。'\" \n\t\r\0)]」é東🙂\u0301\u200b\x85\x1c", "don't "]
)
TEXT = st.lists(CHARACTERS, max_size=60).map("".join)


def docs_of(*texts, nlp=NLP, counts=None, **lengths):
    pieces = [t if isinstance(t, Piece) else Piece(t) for t in texts]
    counts = Counts() if counts is None else counts
    return list(make_docs(nlp, pieces, Lengths(**lengths), counts))


def texts_of(*texts, **settings):
    return [doc.text.strip() for doc in docs_of(*texts, **settings)]


def solid(texts):
    return "".join("".join(texts).split())


@given(
    st.lists(TEXT, max_size=8),
    st.integers(1, 12),
    st.integers(0, 12),
    st.booleans(),
    st.sampled_from([1, 3, 10, 1000]),
    st.sampled_from([1, 4, 1000]),
)
def test_no_character_is_lost(texts, longest, shortest, join_short, most, run):
    counts = Counts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "MAX_CHARACTERS", most)
        patch.setattr(split, "MAX_RUN", run)
        docs = docs_of(
            *texts,
            max_length=longest,
            min_length=min(longest, shortest),
            join_short=join_short,
            counts=counts,
        )
    assert solid(doc.text for doc in docs) == solid(texts)
    assert all(1 <= len(doc) <= longest for doc in docs)
    assert not any(doc.text.isspace() for doc in docs)
    assert counts.blank == sum(not text.strip() for text in texts)
    assert counts.texts == len(texts) - counts.blank
    assert max(counts.split, counts.joined) <= counts.texts


@given(st.lists(TEXT, max_size=6), st.booleans(), st.integers(1, 9), st.integers(0, 50))
def test_no_character_of_a_file_is_lost(
    tmp_path_factory, texts, is_json, longest, shuffle
):
    path = tmp_path_factory.mktemp("raw") / "raw"
    lines = [
        json.dumps({"text": t}) if is_json else t.replace("\n", " ") for t in texts
    ]
    path.write_bytes("\n".join(lines).encode())
    corpus = build_raw_text_v1(
        path,
        max_length=longest,
        min_length=min(longest, 3),
        shuffle=shuffle,
        cache_dir=path.parent / "cache",
    )
    if not solid(texts):
        with pytest.raises(ValueError, match="no text"):
            list(corpus(NLP))
        return
    for _ in range(2):
        found = [doc.text for doc in corpus(NLP)]
        assert sorted(solid(found)) == sorted(solid(texts))


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("One two . Three . Four five", 6, ["One two . Three .", "Four five"]),
        ("One two! Three? Four five", 6, ["One two! Three?", "Four five"]),
        ("One two... Three?! Four five", 7, ["One two... Three?!", "Four five"]),
        ("One two\nThree four\nfive six", 7, ["One two\nThree four", "five six"]),
        ("一。二！三？四五", 7, ["一。二！三？", "四五"]),
        ('One two "so it." But not', 8, ['One two "so it."', "But not"]),
        ("(One two so it.) But not", 8, ["(One two so it.)", "But not"]),
        ("「一二。」三四五", 7, ["「一二。」", "三四五"]),
        ('One two. "But not this', 5, ["One two.", '"But not this']),
        ('One two. "So it." But', 7, ["One two.", '"So it." But']),
        ("Mr. X at 3.5 , so it", 6, ["Mr. X at 3.5 , so", "it"]),
        ("a b c d e f g h i", 6, ["a b c d e f", "g h i"]),
    ],
)
def test_long_text_is_split_after_a_sentence(text, most, expected):
    nlp = spacy.blank("zh") if "一" in text else NLP
    assert texts_of(text, nlp=nlp, max_length=most, min_length=1) == expected


def test_rest_of_a_split_text_is_not_short():
    text = " ".join("abcdefghij") + " . k l"
    assert [len(doc) for doc in docs_of(text, max_length=12, min_length=5)] == [8, 5]


def test_short_sentence_alone_is_no_doc():
    text = "A . b c d e f g h i j"
    assert [len(doc) for doc in docs_of(text, max_length=6, min_length=4)] == [6, 5]


def test_each_split_text_counts():
    counts = Counts()
    docs_of("a b c d", "e f g h", "i", max_length=2, min_length=0, counts=counts)
    assert (counts.split, counts.texts) == (2, 3)


def test_joined_text_keeps_its_line_break():
    assert texts_of("Yes\n", "No .") == ["Yes\nNo ."]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One two. Three. Four five six", "One two. Three. "),
        ("Onetwothree four fivesixsevenei", "Onetwothree four "),
        ("Onetwothreefourfivesixseveneight", "Onetwothreefourfives"),
        ("Onetwothreefourfive eight", "Onetwothreefourfive "),
        ("一二三四五六七八九十。一二三四五六七八九十", "一二三四五六七八九十。"),
        ('A bcdefgh ijkl "mn." Op qrs', "A bcdefgh ijkl "),
    ],
)
def test_text_is_cut_after_a_sentence_a_word_or_anywhere(text, first):
    assert text[: cut_text(text, 20)] == first


def test_text_of_max_length_is_not_split():
    counts = Counts()
    assert texts_of("a b c . d", max_length=5, counts=counts) == ["a b c . d"]
    assert counts.split == 0


@pytest.mark.parametrize(
    ("join_short", "expected"),
    [
        (True, ["Yes . No . Then it was said .", "Oh well"]),
        (False, ["Yes .", "No .", "Then it was said .", "Oh well"]),
    ],
)
def test_short_text_is_joined_to_the_next(join_short, expected):
    texts = ["Yes .", " ", "No .", "Then it was said .", "Oh well"]
    counts = Counts()
    assert texts_of(*texts, join_short=join_short, counts=counts) == expected
    assert counts.as_dict() == {
        "texts": 4,
        "docs": 0,
        "tokens": 0,
        "split": 0,
        "joined": 2 * join_short,
        "blank": 1,
    }


def test_short_texts_of_two_files_stay_apart(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(f"{name} x")
    corpus = build_raw_text_v1(tmp_path, shuffle=0)
    assert [doc.text for doc in corpus(NLP)] == ["a x", "b x"]


def test_norms_survive_splitting_and_joining():
    whole = [token.norm_ for text in ("I don't", "we won't go") for token in NLP(text)]
    assert "not" in whole
    for settings in ({"min_length": 4}, {"max_length": 2, "min_length": 0}):
        docs = docs_of("I don't", "we won't go", **settings)
        assert [token.norm_ for doc in docs for token in doc] == whole


@pytest.mark.parametrize("unit", ["!", "'", "🙂", "a.b/"])
def test_long_run_without_whitespace_does_not_stop_the_tokenizer(unit):
    text = (unit * 8_000)[:8_000]
    nlp, lengths = spacy.blank("en"), []
    make_doc = nlp.make_doc
    nlp.make_doc = lambda part: lengths.append(len(part)) or make_doc(part)
    assert solid(texts_of(text, nlp=nlp)) == text
    assert max(lengths) <= split.MAX_RUN


@pytest.mark.parametrize("lang", ["en", "xx"])
def test_very_long_text_is_one_text(lang):
    counts = Counts()
    text = "It was so . \n" * 30_000
    docs = docs_of(text, nlp=spacy.blank(lang), max_length=50, counts=counts)
    assert solid(doc.text for doc in docs) == solid(text)
    assert (counts.texts, counts.split) == (1, 1)
    assert sum(doc.text.strip().endswith("so .") for doc in docs) == len(docs)


def test_parts_of_a_text_are_joined_without_a_space():
    pieces = [Piece("ab"), Piece("cd ef gh", starts=False), Piece("x")]
    counts = Counts()
    docs = docs_of(*pieces, min_length=2, max_length=9, counts=counts)
    assert [doc.text for doc in docs] == ["abcd ef gh", "x"]
    assert (counts.texts, counts.split, counts.joined) == (2, 1, 0)


def test_limit_of_the_pipeline_is_kept():
    nlp = spacy.blank("en")
    nlp.max_length = 20
    text = "It was so . " * 20
    assert solid(texts_of(text, nlp=nlp)) == solid([text])


def test_tokenizer_that_finds_nothing_makes_no_doc():
    nlp = spacy.blank("en")
    nlp.tokenizer = lambda text: Doc(nlp.vocab, words=text.replace("x", "").split())
    assert texts_of("x", "a b", "x", nlp=nlp, join_short=True) == ["a b"]
    assert texts_of("x", "a b", nlp=nlp, join_short=False) == ["a b"]
