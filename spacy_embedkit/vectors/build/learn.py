"""Learn vectors from raw text, tokenized by the pipeline's own tokenizer."""

import struct
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, Literal, Optional, Sequence

from tqdm import tqdm

from ...checks import InputError, check_choice, check_range, import_extra
from ...text.tokens import write_tokens
from ..ngrams import MAX_LENGTH

BUCKETS = {"floret": 50_000, "fasttext": 200_000, "word2vec": 1}
FASTTEXT_HEAD = struct.pack("<2i", 793712314, 12)
RANGES = {
    "width": (1, 10_000),
    "buckets": (1, 2**31 - 1),
    "minn": (0, MAX_LENGTH),
    "maxn": (0, MAX_LENGTH),
    "hash_count": (1, 4),
    "min_count": (1, 2**31 - 1),
    "epochs": (1, 10_000),
    "window": (1, 1000),
    "negative": (1, 1000),
    "learning_rate": (1e-6, 1.0),
    "threads": (1, 1024),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class LearnSettings:
    """How vectors are learned. The defaults suit 1 to 100 million tokens.

    lang: Language code, or folder or package of a pipeline: its tokenizer is used.
    algorithm: "floret": one table of n-grams, vectors for all words (Boyd and
        Warmerdam 2022, github.com/explosion/floret). "fasttext": words and n-grams
        (Bojanowski et al. 2017, arXiv:1607.04606), by the floret library, the fork of
        fastText that has wheels. "word2vec": words alone (Mikolov et al. 2013,
        arXiv:1301.3781), by gensim.
    width: Numbers in a row, 1 to 10,000.
    buckets: Rows for n-grams, 1 or more; None: 50,000, or 200,000 for fasttext.
    minn, maxn: Length of the n-grams in code points, 0 to 100; with maxn 0 there are
        none. hash_count: Rows of an n-gram in a floret table, 1 to 4.
    min_count: Words that are rarer are not learned from, 1 or more.
    epochs: Passes over the text, 1 or more. The libraries take 5, which is too few for
        a text of 1 or 2 million tokens.
    window: Words to either side that count as context, 1 to 1000.
    model: "skipgram" guesses the context from a word, "cbow" a word from its context:
        faster, up to three times, but worse on a text of 1 or 2 million tokens.
    negative: Random words that a guess is compared with, 1 to 1000.
    learning_rate: At the start, 1e-6 to 1; it falls to 0.
    threads: More than 1 write into one table unordered: vectors differ on each run.
    seed: 0 to 2**31 - 1; with 1 thread, the same seed gives the same vectors.
    Raises: InputError naming the setting that is out of its range.
    """

    lang: str
    algorithm: Literal["floret", "fasttext", "word2vec"] = "floret"
    width: int = 300
    buckets: Optional[int] = None
    minn: int = 3
    maxn: int = 5
    hash_count: int = 2
    min_count: int = 5
    epochs: int = 10
    window: int = 5
    model: Literal["cbow", "skipgram"] = "skipgram"
    negative: int = 5
    learning_rate: float = 0.05
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Fill in the number of buckets, and check every setting."""
        check_choice("learn", tuple(BUCKETS), algorithm=self.algorithm)
        check_choice("learn", ("cbow", "skipgram"), model=self.model)
        if self.buckets is None:
            object.__setattr__(self, "buckets", BUCKETS[self.algorithm])
        for name, (low, high) in RANGES.items():
            check_range("learn", low, high, **{name: getattr(self, name)})
        if self.minn > self.maxn > 0:
            raise InputError(
                f"minn is {self.minn} and maxn {self.maxn}; give a smaller minn"
            )


def learn(paths: Sequence[str], target: Path, **settings: Any) -> Path:
    """Learn vectors from raw text; write and return one file that convert reads.

    paths: Files of raw text, as in read_texts.
    target: Empty folder, which gets vectors.floret, vectors.bin (fastText's format) or
        vectors.w2v.bin (word2vec's); temporarily also the tokens of all text.
    settings: Fields of LearnSettings; lang has no default.
    Progress goes to standard error if that is a terminal.
    Raises: InputError, for settings out of range and for broken or too little text;
        OSError for a file that was cut off; ImportError naming the extra.
    """
    chosen = LearnSettings(**settings)
    run = _learn_word2vec if chosen.algorithm == "word2vec" else _learn_floret
    # Before the text is tokenized, which may take an hour.
    import_extra("gensim" if run is _learn_word2vec else "floret_pybind", "vectors")
    with TemporaryDirectory(dir=target) as folder:
        tokens = Path(folder) / "tokens.txt"
        total = write_tokens(chosen.lang, paths, tokens)
        _check_counts(tokens, total, chosen.min_count)
        return run(tokens, target, chosen)


def _check_counts(tokens: Path, total: int, min_count: int) -> None:
    """Raise InputError unless some word reaches min_count."""
    counts: Counter[str] = Counter()
    with tokens.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            words = line.split()
            counts.update(words)
            if any(counts[word] >= min_count for word in words):
                return
    raise InputError(
        f"the raw text has {total} tokens, and no word occurs {min_count} times or "
        "more; give more text or lower min_count"
    )


def _learn_floret(tokens: Path, target: Path, settings: LearnSettings) -> Path:
    """Learn by the floret library, and check that its file is complete."""
    model = _train_floret(tokens, settings)
    if settings.algorithm == "floret":
        path = target / "vectors.floret"
        model.saveFloretVectors(str(path))
        _check_rows(path, settings)
        return path
    path, saved = target / "vectors.bin", tokens.with_name("saved.bin")
    # The disk space of the tokens is needed now.
    tokens.unlink()
    model.saveModel(str(saved))
    _write_fasttext(saved, path)
    _check_size(path, model.getVocab("strict")[0], settings)
    return path


def _train_floret(tokens: Path, settings: LearnSettings) -> Any:
    # The library's own function of this name can't be given a seed.
    floret = import_extra("floret_pybind", "vectors")
    args = floret.args()
    args.input, args.output, args.saveOutput = str(tokens), "", False
    args.mode = getattr(floret.mode_name, settings.algorithm)
    args.model = getattr(floret.model_name, settings.model)
    args.loss = floret.loss_name.ns
    args.dim, args.ws, args.epoch = settings.width, settings.window, settings.epochs
    args.minCount, args.neg = settings.min_count, settings.negative
    args.minn, args.maxn = settings.minn, settings.maxn
    args.bucket, args.lr = settings.buckets, settings.learning_rate
    args.thread, args.seed = settings.threads, settings.seed
    args.hashCount = settings.hash_count if settings.algorithm == "floret" else 1
    if settings.algorithm == "fasttext" and not settings.maxn:
        args.bucket = 0
    # No token holds a space, so that none is taken for a label.
    args.label = " "
    args.verbose = 2 if sys.stderr.isatty() else 0
    model = floret.fasttext()
    try:
        floret.train(model, args)
    except (RuntimeError, ValueError) as err:
        raise InputError(
            f"{settings.algorithm} stopped ({err}); lower learning_rate or give more "
            "text"
        ) from err
    return model


def _check_rows(path: Path, settings: LearnSettings) -> None:
    """Refuse a table that was cut off: floret does not report a full disk."""
    n_fields = settings.width + 1
    with path.open(encoding="utf-8") as file:
        next(file, "")
        n_complete = sum(
            line.count(" ") >= n_fields - 1 and line[-1] == "\n" for line in file
        )
    if n_complete != settings.buckets:
        raise OSError(f"{n_complete} of {settings.buckets} rows were written")


def _write_fasttext(saved: Path, path: Path) -> None:
    """Copy a file of the floret library without the two numbers it adds to fastText's.

    They are the mode and hash_count, after eleven others.
    """
    with saved.open("rb") as source, path.open("wb") as target:
        head = source.read(60)
        if not head.startswith(FASTTEXT_HEAD) or head[52:] != struct.pack("<2i", 1, 1):
            raise RuntimeError("floret writes another format; install floret 0.10")
        target.write(head[:52])
        copyfileobj(source, target, 2**20)


def _check_size(path: Path, words: Sequence[str], settings: LearnSettings) -> None:
    """Refuse a file that was cut off: its size follows from words and settings."""
    n_ngrams = settings.buckets if settings.maxn else 0
    numbers = (2 * len(words) + (n_ngrams or 0)) * settings.width
    # Heads of the file, the words and two tables; a word ends with 10 more bytes.
    expected = 64 + 28 + 2 * 17 + sum(len(w.encode()) + 10 for w in words) + 4 * numbers
    size = path.stat().st_size
    if size != expected:
        raise OSError(f"{size} of {expected} bytes were written")


def _learn_word2vec(tokens: Path, target: Path, settings: LearnSettings) -> Path:
    """Learn by gensim, in lines of up to 10,000 tokens; longer ones are split."""
    word2vec = import_extra("gensim.models.word2vec", "vectors")
    with tqdm(
        desc="learning", total=settings.epochs, unit=" epochs", disable=None
    ) as bar:
        model = word2vec.Word2Vec(
            word2vec.LineSentence(str(tokens)),
            vector_size=settings.width,
            sg=int(settings.model == "skipgram"),
            min_count=settings.min_count,
            epochs=settings.epochs,
            window=settings.window,
            negative=settings.negative,
            alpha=settings.learning_rate,
            workers=settings.threads,
            seed=settings.seed,
            sample=1e-4,
            callbacks=[_epoch_counter(bar)],
        )
    path = target / "vectors.w2v.bin"
    model.wv.save_word2vec_format(str(path), binary=True)
    return path


def _epoch_counter(bar: Any) -> Any:
    """Make the object that gensim calls at each epoch's end."""
    callbacks = import_extra("gensim.models.callbacks", "vectors")
    counter = callbacks.CallbackAny2Vec()
    counter.on_epoch_end = lambda model: bar.update()
    return counter
