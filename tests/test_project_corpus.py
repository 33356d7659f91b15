"""The project's corpus step: treebanks and raw text, good and bad."""

import itertools
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from spacy.training import Corpus, Example, JsonlCorpus

from spacy_embedkit.checks import InputError

from .helpers.checkout import ROOT
from .helpers.project_scripts import call_script, load_script

SAMPLE = ROOT / "assets" / "sample.conllu"
WORD = "1\tOi\toi\tINTJ\t_\t_\t_\t_\t_\t_"
common = load_script("common")
conllu = load_script("conllu")
rawtext = load_script("rawtext")
make_corpus = load_script("make_corpus")


def pack(texts: list[str]) -> tuple[list[str], Counter[str]]:
    """Pack texts, each a paragraph, counting tokens as spaCy does."""
    counts: Counter[str] = Counter()
    count = make_corpus.token_counter(spacy.blank("pt"))
    units = [(str(i), text) for i, text in enumerate(texts)]
    return list(rawtext.pack(units, count, counts)), counts


@pytest.fixture(scope="module")
def sample_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus step on the sample of the smoke workflow."""
    out = tmp_path_factory.mktemp("project") / "corpus"
    raw = ["--raw", ROOT / "assets" / "sample.txt"]
    bank = f"sample={SAMPLE}"
    call_script("make_corpus", out, "--lang", "pt", "--treebank", bank, *raw)
    return out


def test_split_depends_on_document_names_alone() -> None:
    sizes = {f"doc-{i}": 5 + i % 3 for i in range(60)}
    backwards = dict(reversed(sizes.items()))
    assert make_corpus.split_documents(sizes) == make_corpus.split_documents(backwards)


def test_split_comes_near_a_tenth_each() -> None:
    sizes = {f"doc-{i}": 5 + i % 3 for i in range(300)}
    result = make_corpus.split_documents(sizes)
    for split in ("dev", "test"):
        total = sum(sizes[name] for name in sizes if result[name] == split)
        assert 0.09 <= total / sum(sizes.values()) <= 0.1


def test_split_of_few_documents_gives_each_part_one_or_refuses() -> None:
    result = make_corpus.split_documents({"a": 9, "b": 400, "c": 300})
    assert sorted(result.values()) == ["dev", "test", "train"]
    with pytest.raises(InputError, match="give at least 3"):
        make_corpus.split_documents({"a": 1, "b": 1})


def test_parts_share_no_document() -> None:
    parts = make_corpus.read_treebank(str(SAMPLE))
    names = [{sent.document for sent in parts[split]} for split in make_corpus.SPLITS]
    assert all(not a & b for a, b in itertools.combinations(names, 2))
    assert sum(map(len, names)) == 24


def test_raw_text_has_no_sentence_of_dev_or_test(sample_corpus: Path) -> None:
    raw = (sample_corpus / "raw.jsonl").read_text(encoding="utf-8")
    parts = make_corpus.read_treebank(str(SAMPLE))
    held_out = [sent.text for split in ("dev", "test") for sent in parts[split]]
    assert len(held_out) >= 20
    assert not [text for text in held_out if text in raw]
    assert all(sent.text in raw for sent in parts["train"] if '"' not in sent.text)


def test_other_raw_text_loses_sentences_of_dev_and_test() -> None:
    parts = make_corpus.read_treebank(str(SAMPLE))
    counts: Counter[str] = Counter()
    units = [("a", f" {parts['test'][0].text}  "), ("b", "novo")]
    assert [*make_corpus.without_held_out(units, {"x": parts}, counts)] == units[1:]
    assert counts.total() == 1


def test_reader_of_raw_text_drops_nothing(sample_corpus: Path) -> None:
    path = sample_corpus / "raw.jsonl"
    reader = JsonlCorpus(path, min_length=5, max_length=500)
    assert len(list(reader(spacy.blank("pt")))) == len(list(srsly.read_jsonl(path)))


def test_docs_keep_heads_and_sentences(sample_corpus: Path) -> None:
    path = sample_corpus / "test" / "sample.spacy"
    docs = list(DocBin().from_disk(path).get_docs(spacy.blank("pt").vocab))
    parts = make_corpus.read_treebank(str(SAMPLE))
    sents = [sent for doc in docs for sent in doc.sents]
    assert [[t.text for t in s] for s in sents] == [s.words for s in parts["test"]]
    found = [[0 if t.head == t else t.head.i - s.start + 1 for t in s] for s in sents]
    assert found == [s.heads for s in parts["test"]]
    assert max(len(list(doc.sents)) for doc in docs) <= 10


def make_examples(nlp: Any, path: Path) -> list[Example]:
    docs = make_corpus.make_docs(nlp, make_corpus.load(str(path)), 10)
    DocBin(docs=docs).to_disk(path.with_suffix(".spacy"))
    return list(Corpus(path.with_suffix(".spacy"))(nlp))


@pytest.fixture
def headless(tmp_path: Path) -> Path:
    """The sample without its heads."""
    text = SAMPLE.read_text(encoding="utf-8")
    path = tmp_path / "headless.conllu"
    path.write_text(re.sub(r"\t\d+\t[a-z:]+\t_\t", "\t_\t_\t_\t", text), "utf-8")
    return path


def test_docs_without_heads_have_sentences_but_no_parse(headless: Path) -> None:
    examples = make_examples(spacy.blank("pt"), headless)
    docs = [example.reference for example in examples]
    assert not any(doc.has_annotation("DEP") for doc in docs)
    assert all(token.head == token for doc in docs for token in doc)
    assert sum(len(list(doc.sents)) for doc in docs) == 156


def test_parser_learns_nothing_from_docs_without_heads(headless: Path) -> None:
    nlp = spacy.blank("pt")
    nlp.add_pipe("parser")
    path = shutil.copy(SAMPLE, headless.with_name("sample.conllu"))
    parsed = make_examples(nlp, path)
    nlp.initialize(lambda: parsed)
    assert nlp.update(make_examples(nlp, headless))["parser"] == 0.0
    assert nlp.update(parsed)["parser"] > 0.0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1\tOi\toi\tINTJ\t_\t_\t_\t_\t_", "9 columns"),
        ("1 Oi oi INTJ _ _ _ _ _ _", "1 columns"),
        ("1\tOi\toi\tINTJ\t_\t_\tzero\troot\t_\t_", "head 'zero'"),
        ("1\tOi\toi\tINTJ\t_\t_\t-1\troot\t_\t_", "head '-1'"),
        ("1\tOi\toi\tINTX\t_\t_\t0\troot\t_\t_", "tag 'INTX'"),
        ("2\tOi\toi\tINTJ\t_\t_\t0\troot\t_\t_", "expected 1"),
        ("1\t\toi\tINTJ\t_\t_\t0\troot\t_\t_", "form is empty"),
        ("1\tOi\toi\tINTJ\t_\t_\t7\troot\t_\t_", "beyond its 1 words"),
        ("1\tOi\toi\tINTJ\t_\t_\t1\troot\t_\t_", "in a circle"),
    ],
)
def test_bad_annotation_is_named_with_its_line(line: str, words: str) -> None:
    text = f"# sent_id = a-1\n{WORD}\n\n# sent_id = a-2\n{line}\n"
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        list(conllu.read_sentences(text, "bank.conllu"))
    assert "bank.conllu" in str(caught.value)
    assert "line 5" in str(caught.value)


def test_heads_on_some_words_only_are_refused() -> None:
    text = "1\ta\ta\tX\t_\t_\t0\troot\t_\t_\n2\tb\tb\tX\t_\t_\t_\t_\t_\t_\n"
    with pytest.raises(InputError, match="1 of 2 words have a head"):
        list(conllu.read_sentences(text, "bank"))


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# text = a\n\n", "1-2\tna\t" + "_\t" * 7 + "_\n"]
)
def test_annotated_file_without_sentences_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="bank: holds no sentence"):
        list(conllu.read_sentences(text, "bank"))


def test_contractions_and_empty_nodes_are_not_words() -> None:
    [sentence] = [s for s in make_corpus.load(str(SAMPLE)) if s.document == "porto-01"][
        :1
    ]
    assert sentence.words[:3] == ["Em", "a", "gaivota"]
    assert sentence.spaces[2] is False


def test_windows_line_ends_and_underscore_words() -> None:
    text = WORD.replace("Oi\toi", "_\t_")[:-1] + "SpaceAfter=No\r\n\r\n"
    [sentence] = conllu.read_sentences(text, "bank")
    assert (sentence.words, sentence.lemmas, sentence.heads) == (["_"], ["_"], None)
    assert sentence.spaces == [False]


def test_odd_features_are_left_out_and_kept_in_mind() -> None:
    text = WORD.replace("INTJ\t_\t_", "INTJ\t_\tXXX|A=B|C=D=E")
    [sentence] = conllu.read_sentences(text, "bank")
    assert sentence.morphs == ["A=B"]
    assert sentence.odd_features == ["bank, line 1: XXX", "bank, line 1: C=D=E"]


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (["", "  \t", "uma linha com cinco palavras"], "empty lines"),
        (["um dois três quatro cinco\r", "\r"], "empty lines"),
        (["sim", "não", "um dois três quatro"], "short texts joined to the next"),
        (["um dois três quatro cinco", "sim"], "short texts joined to the one before"),
        (["palavra " * 12_500], "long texts cut"),
        (["x" * 100_000], "long words cut"),
        (["a.b,c" * 20_000], "long words cut"),
        (["um \ud800 dois três quatro"], "lone surrogates replaced by U+FFFD"),
        (["um\x00dois três quatro cinco"], "control characters replaced by a space"),
    ],
)
def test_odd_raw_text_is_counted_and_kept(texts: list[str], what: str) -> None:
    docs, counts = pack(texts)
    assert counts[what] >= 1
    count = make_corpus.token_counter(spacy.blank("pt"))
    assert docs
    assert all(5 <= count(doc) < 500 for doc in docs)
    letters = [re.sub(r"[\s\x00\ud800\ufffd]", "", "".join(x)) for x in (texts, docs)]
    assert letters[0] == letters[1]
    "".join(docs).encode("utf-8")


def test_too_little_raw_text_is_refused() -> None:
    with pytest.raises(InputError, match="holds 2 tokens, but at least 5"):
        pack(["oi você"])


@pytest.mark.parametrize("line", ['{"text": 3}', "[1]", "{", '{"txt": "a"}'])
def test_bad_json_line_is_named(line: str) -> None:
    with pytest.raises(InputError, match=r"raw\.jsonl, line 2: "):
        list(rawtext.read_jsonl('{"text": "a"}\n' + line, "raw.jsonl"))


def test_surrogate_in_json_reaches_the_raw_text_replaced(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text('{"text": "um \\ud800 dois três quatro cinco"}\n', encoding="utf-8")
    docs, _ = pack([text for _, text in make_corpus.read_units(str(path))])
    assert docs == ["um \ufffd dois três quatro cinco"]


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes("pão".encode("latin-1"))
    with pytest.raises(InputError, match="byte 1 is not UTF-8"):
        list(common.read_source(str(path)))
