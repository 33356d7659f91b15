"""Turns treebanks and running text into train, dev and test files and raw text."""

import hashlib
import json
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, takewhile
from pathlib import Path

import spacy
from common import parser_for, positive, read_source, run_main
from conllu import Sentence, read_sentences, read_texts
from rawtext import Unit, pack, read_jsonl, read_lines
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from tqdm import tqdm

from spacy_embedkit.checks import InputError
from spacy_embedkit.io import atomic_folder

SPLITS = ("train", "dev", "test")
HELD_OUT_SHARE = 0.1
Parts = dict[str, list[Sentence]]


def split_documents(sizes: dict[str, int]) -> dict[str, str]:
    """Assign each document to train, dev or test, by the hash of its name alone.

    sizes (dict): Sentences of each document. Documents are taken in the order of
        their hashes while they fit in a tenth of all sentences, none of them more
        than half of it; then dev is done the same way, and the rest is train.
    """
    if len(sizes) < len(SPLITS):
        raise InputError(
            f"{len(sizes)} documents cannot be split in train, dev and test; "
            "give at least 3, told apart by sent_id"
        )
    order = sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    target = HELD_OUT_SHARE * sum(sizes.values())
    result = dict.fromkeys(order, "train")
    for split in ("test", "dev"):
        free = [name for name in order if result[name] == "train"]
        total, taken = 0, list[str]()
        for name in free:
            if total + sizes[name] <= target and 2 * sizes[name] <= target:
                total += sizes[name]
                taken.append(name)
        for name in taken or [min(free, key=lambda name: sizes[name])]:
            result[name] = split
    return result


def read_treebank(spec: str) -> Parts:
    """Read a treebank: three files if spec has {split}, else one split by document."""
    if "{split}" in spec:
        return {split: load(spec.replace("{split}", split)) for split in SPLITS}
    sentences = load(spec)
    sizes = Counter(sentence.document for sentence in sentences)
    where = split_documents(dict(sizes))
    parts: Parts = {split: [] for split in SPLITS}
    for sentence in sentences:
        parts[where[sentence.document]].append(sentence)
    return parts


def load(spec: str) -> list[Sentence]:
    """Read all sentences that a source names."""
    return [
        sentence
        for name, text in read_source(spec)
        for sentence in read_sentences(text, name)
    ]


def make_docs(
    nlp: Language, sentences: Iterable[Sentence], max_sentences: int
) -> Iterator[Doc]:
    """Join at most `max_sentences` consecutive sentences of a document to a Doc."""
    for _, group in groupby(sentences, key=lambda sentence: sentence.document):
        members = list(group)
        for start in range(0, len(members), max_sentences):
            yield make_doc(nlp, members[start : start + max_sentences])


def make_doc(nlp: Language, sentences: list[Sentence]) -> Doc:
    """Make one annotated Doc; without heads it has sentence starts but no parse."""
    parsed = all(sentence.heads is not None for sentence in sentences)
    heads: list[int] = []
    starts: list[bool | int | None] = []
    for sentence in sentences:
        offset = len(starts)
        for i, head in enumerate(sentence.heads or []):
            heads.append(offset + (head - 1 if head else i))
        starts.extend(i == 0 for i in range(len(sentence.words)))
    deps = ["ROOT" if dep == "root" else dep for sent in sentences for dep in sent.deps]
    return Doc(
        nlp.vocab,
        words=[word for sent in sentences for word in sent.words],
        spaces=[space for sent in sentences for space in sent.spaces],
        tags=[tag for sent in sentences for tag in sent.tags],
        pos=[tag for sent in sentences for tag in sent.tags],
        morphs=[morph for sent in sentences for morph in sent.morphs],
        lemmas=[lemma for sent in sentences for lemma in sent.lemmas],
        heads=heads if parsed else None,
        deps=deps if parsed else None,
        sent_starts=None if parsed else starts,
    )


def read_units(spec: str) -> Iterator[Unit]:
    """Yield paragraph and text from .conllu, .jsonl or plain text files."""
    for name, text in read_source(spec):
        if name.endswith(".conllu"):
            yield from read_texts(text, name)
        elif name.endswith(".jsonl"):
            yield from read_jsonl(text, name)
        else:
            yield from read_lines(text, name)


def training_units(banks: dict[str, Parts]) -> Iterator[Unit]:
    """Yield the running text of the training documents of all treebanks."""
    for parts in banks.values():
        for sentence in parts["train"]:
            yield sentence.document, sentence.text or " ".join(sentence.words)


def without_held_out(
    units: Iterable[Unit], banks: dict[str, Parts], counts: Counter[str]
) -> Iterator[Unit]:
    """Leave out texts that are also a sentence of dev or test."""
    held_out = {
        " ".join(sentence.text.split())
        for parts in banks.values()
        for sentence in parts["dev"] + parts["test"]
    } - {""}
    for group, text in units:
        if " ".join(text.split()) in held_out:
            counts["texts left out because dev or test has them"] += 1
        else:
            yield group, text


def token_counter(nlp: Language) -> Callable[[str], int]:
    """Return a function that counts the tokens the pipeline will make of a text."""
    return lambda text: len(nlp.tokenizer(text))


def write_raw(
    nlp: Language, units: Iterable[Unit], path: Path, max_tokens: int | None
) -> Counter[str]:
    """Write raw text as one JSON record per document, and count what was done.

    max_tokens (int): Tokens after which no more is read; None for all.
    """
    counts: Counter[str] = Counter()
    bar = tqdm(units, "raw text", unit=" texts", mininterval=1)
    packed = pack(bar, token_counter(nlp), counts)
    texts = list(
        takewhile(lambda _: not max_tokens or counts["tokens"] <= max_tokens, packed)
    )
    counts["documents"] = len(texts)
    # Pretraining reads in file order: mixed, or the last source would weigh most.
    texts.sort(key=lambda text: hashlib.sha256(text.encode()).digest())
    with path.open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return counts


def write_parts(
    nlp: Language, banks: dict[str, Parts], out: Path, max_sentences: int
) -> str:
    """Write split/treebank.spacy for all treebanks; return a table of their sizes."""
    lines = []
    for name, parts in banks.items():
        for split in SPLITS:
            (out / split).mkdir(exist_ok=True)
            docs = list(make_docs(nlp, parts[split], max_sentences))
            DocBin(docs=docs).to_disk(out / split / f"{name}.spacy")
            words, documents = sum(map(len, docs)), {s.document for s in parts[split]}
            parsed = "heads" if docs[0].has_annotation("DEP") else "no heads"
            lines.append(
                f"{name} {split}: {len(documents)} documents, {len(parts[split])} "
                f"sentences, {words} words, {parsed}"
            )
            odd = [place for sent in parts[split] for place in sent.odd_features]
            if odd:
                left = "features that are not Name=Value left out, first at"
                lines.append(f"{name} {split}: {len(odd)} {left} {odd[0]}")
    return "\n".join(lines)


def named(option: str) -> tuple[str, str]:
    """Split NAME=SOURCE."""
    name, separator, spec = option.partition("=")
    if not separator or not name.isidentifier():
        raise InputError(f"--treebank {option!r}: write NAME=SOURCE")
    return name, spec


def parse_args() -> Namespace:
    """Read the command line."""
    parser = parser_for(__doc__)
    add = parser.add_argument
    add("out", type=Path, help="folder to make")
    add("--lang", required=True, help="language code of the tokenizer")
    add("--treebank", action="append", required=True, metavar="NAME=SOURCE")
    add("--raw", action="append", default=[], metavar="SOURCE")
    add("--tokens", type=positive, help="of raw text, those of the treebanks first")
    add(
        "--max-sentences",
        type=positive,
        default=10,
        help="sentences in a training document",
    )
    return parser.parse_args()


def main() -> None:
    """Do what the command line asks."""
    args = parse_args()
    nlp = spacy.blank(args.lang)
    banks = {name: read_treebank(spec) for name, spec in map(named, args.treebank)}
    units = [*training_units(banks)]
    for spec in args.raw:
        units += read_units(spec)
    left_out: Counter[str] = Counter()
    with atomic_folder(args.out) as out:
        table = write_parts(nlp, banks, out, args.max_sentences)
        kept = without_held_out(units, banks, left_out)
        counts = write_raw(nlp, kept, out / "raw.jsonl", args.tokens) + left_out
        lines = [f"raw text, {key}: {value}" for key, value in counts.items()]
        summary = "\n".join([table, *lines])
        (out / "summary.txt").write_text(summary + "\n", encoding="utf-8")
    print(summary)


if __name__ == "__main__":
    run_main(main)
