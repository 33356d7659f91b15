"""Small files of vectors in all formats, and what reads them."""

import numpy
import pytest

from spacy_embedkit.vectors.sources.inputs import Input

WORDS = ["cat", "häuser", "東京", "🙂", "dog"]
NO_LIBRARY = "writes the files that are read here"


def table():
    return numpy.random.default_rng(0).normal(size=(5, 3)).astype("f")


def input_of(path):
    return Input(
        label=str(path),
        head=path.read_bytes()[:65536],
        open=lambda: path.open("rb"),
        local=lambda: path,
    )


def read(source):
    batches = list(source.batches)
    rows = numpy.concatenate([batch.rows for batch in batches])
    assert rows.dtype == numpy.float32
    assert rows.shape[1] == source.width
    assert len(rows) == source.n_rows or source.notes
    for batch in batches:
        assert len(batch.words) in (0, len(batch.rows))
        assert not len(batch.rows) or batch.where(0)
    return [word for batch in batches for word in batch.words], rows


def write_word2vec(path, newline=b"", words=None, rows=None):
    words, rows = words or WORDS, table() if rows is None else rows
    lines = [
        word.encode() + b" " + row.astype("<f4").tobytes() + newline
        for word, row in zip(words, rows, strict=True)
    ]
    path.write_bytes(f"{len(rows)} {rows.shape[1]}\n".encode() + b"".join(lines))
    return path


def corpus(path, label=""):
    words = [*WORDS, "cats", "straße", "running", "x"]
    picks = numpy.random.default_rng(0).choice(words, size=(200, 8))
    path.write_text("".join(f"{label}{' '.join(row)}\n" for row in picks), "utf8")
    return path


def train(folder, library, minn, maxn, **options):
    module = pytest.importorskip(library, reason=NO_LIBRARY)
    text = str(corpus(folder / "corpus.txt"))
    options |= {"dim": 4, "bucket": 50, "minCount": 1, "epoch": 1, "thread": 1}
    model = module.train_unsupervised(text, minn=minn, maxn=maxn, verbose=0, **options)
    model.save_model(str(folder / "a.bin"))
    return model, folder / "a.bin"


def write_model2vec(folder, kind):
    model2vec = pytest.importorskip("model2vec", reason=NO_LIBRARY)
    tokenizers = pytest.importorskip("tokenizers", reason=NO_LIBRARY)
    tokens = ["[PAD]", "[UNK]", "cat", "##s", "häuser", "東京"]
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(vocab, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    rows = numpy.random.default_rng(0).normal(size=(6, 3)).astype("f")
    more = {}
    if kind != "plain":
        more["weights"] = numpy.linspace(0.1, 2, 6)
    if kind == "mapping":
        more["token_mapping"] = numpy.asarray([0, 0, 1, 2, 1, 2])
        rows = rows[:3]
    model = model2vec.StaticModel(rows, tokenizer, normalize=False, **more)
    model.save_pretrained(folder)
    return model
