"""Reads CoNLL-U text; every refusal names the file and the line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from spacy_embedkit.checks import InputError

COLUMNS = 10
TAGS = "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X"
UPOS = frozenset([*TAGS.split(), "_"])
SENTENCE_NUMBER = re.compile(r"[-_.](?:SENT|s)?\d+$")
FEATURE = re.compile(r"[^=]+=[^=]+")


@dataclass
class Sentence:
    """One sentence of syntactic words; heads is None where none are annotated."""

    document: str
    text: str = ""
    words: list[str] = field(default_factory=list)
    spaces: list[bool] = field(default_factory=list)
    lemmas: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    morphs: list[str] = field(default_factory=list)
    deps: list[str] = field(default_factory=list)
    heads: list[int] | None = None
    odd_features: list[str] = field(default_factory=list)


def document_of(sent_id: str) -> str:
    """Return the sentence id without its sentence number."""
    return SENTENCE_NUMBER.sub("", sent_id)


def blocks(text: str, name: str) -> Iterator[tuple[Sentence, list[tuple[int, str]]]]:
    """Yield each sentence's comments, as a Sentence, and its numbered lines."""
    document = name
    sentence, rows = Sentence(document), list[tuple[int, str]]()
    for number, line in enumerate(f"{text}\n\n".split("\n"), 1):
        line = line.removesuffix("\r")
        key, _, value = line.removeprefix("#").partition("=")
        if not line.strip():
            if rows:
                yield sentence, rows
            sentence, rows = Sentence(document), []
        elif not line.startswith("#"):
            rows.append((number, line))
        elif key.strip() == "newdoc id":
            document = sentence.document = value.strip()
        elif key.strip() == "sent_id":
            sentence.document = document_of(value.strip())
        elif key.strip() == "text":
            sentence.text = value.strip()


def read_texts(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield document and running text of each sentence, whatever its columns."""
    found = False
    for sentence, _ in blocks(text, name):
        if sentence.text:
            found = True
            yield sentence.document, sentence.text
    if not found:
        raise InputError(f"{name}: no '# text =' line; give a CoNLL-U file with text")


def read_sentences(text: str, name: str) -> Iterator[Sentence]:
    """Yield every sentence of a CoNLL-U text, checked."""
    found = False
    for sentence, rows in blocks(text, name):
        heads: list[int] = []
        for number, row in rows:
            add_word(sentence, heads, row.split("\t"), f"{name}, line {number}")
        if not sentence.words:
            continue
        check_heads(sentence, heads, f"{name}, sentence at line {rows[0][0]}")
        found = True
        yield sentence
    if not found:
        raise InputError(f"{name}: holds no sentence; give an annotated CoNLL-U file")


def add_word(sentence: Sentence, heads: list[int], row: list[str], where: str) -> None:
    """Check one line of ten columns and add its word, if it is a syntactic one."""
    if len(row) != COLUMNS:
        raise InputError(
            f"{where}: {len(row)} columns, but CoNLL-U has {COLUMNS}; "
            "separate them by single tabs"
        )
    index, form, lemma, tag, _, feats, head, dep, _, misc = row
    if re.fullmatch(r"\d+(-\d+|\.\d+)", index):
        # Surface contractions and empty nodes are not syntactic words.
        return
    expected = len(sentence.words) + 1
    if index != str(expected):
        raise InputError(f"{where}: word number {index!r}, expected {expected}")
    if not form.strip():
        raise InputError(f"{where}: the word form is empty; write '_' for none")
    if tag not in UPOS:
        raise InputError(f"{where}: tag {tag!r} is not a universal part of speech")
    if head != "_" and not (head.isascii() and head.isdigit()):
        raise InputError(
            f"{where}: head {head!r} is not a whole number; "
            "write a word number, 0 for the root, or '_' for none"
        )
    if head != "_":
        heads.append(int(head))
    sentence.words.append(form)
    sentence.spaces.append("SpaceAfter=No" not in misc.split("|"))
    sentence.lemmas.append(lemma if lemma != "_" or form == "_" else "")
    sentence.tags.append(tag if tag != "_" else "")
    pairs = feats.split("|") if feats != "_" else []
    sentence.morphs.append("|".join(filter(FEATURE.fullmatch, pairs)))
    odd = [pair for pair in pairs if not FEATURE.fullmatch(pair)]
    sentence.odd_features += [f"{where}: {pair}" for pair in odd]
    sentence.deps.append(dep if dep != "_" else "dep")


def check_heads(sentence: Sentence, heads: list[int], where: str) -> None:
    """Set the heads of a sentence (0 is the root), or none if none are given."""
    size = len(sentence.words)
    if not heads:
        sentence.deps = []
        return
    if len(heads) != size:
        raise InputError(
            f"{where}: {len(heads)} of {size} words have a head; annotate all or none"
        )
    if max(heads) > size:
        raise InputError(f"{where}: head {max(heads)} is beyond its {size} words")
    for start in range(1, size + 1):
        word, steps = start, 0
        while word and steps <= size:
            word, steps = heads[word - 1], steps + 1
        if word:
            raise InputError(f"{where}: the heads of word {start} go in a circle")
    sentence.heads = heads
