"""The commands `python -m spacy embedkit vectors ...`."""

import tempfile
from pathlib import Path
from typing import Annotated, List, Optional

import typer

from .options import (
    Algorithm,
    Coverage,
    Duplicates,
    How,
    Keys,
    Mode,
    NetworkModel,
    Store,
    Unseen,
    Weighting,
)

VECTORS_HELP = "Word vectors: convert, learn, distill, and look at them."
Raw = Annotated[
    List[str],
    typer.Argument(
        help="Raw text: JSONL with a key text, or lines; also gz; - is stdin."
    ),
]
OutDir = Annotated[Path, typer.Argument(help="Folder to write, which spaCy loads.")]
Lang = Annotated[str, typer.Option("--lang", "-l", help="Language code of the folder.")]
TextLang = Annotated[
    str,
    typer.Option("--lang", "-l", help="Language code, or a pipeline: its tokenizer."),
]
Name = Annotated[Optional[str], typer.Option("--name", "-n", help="Name of the table.")]
Attr = Annotated[
    Optional[str],
    typer.Option(
        "--attr", "-a", help="Token attribute that is looked up.", show_default="ORTH"
    ),
]
DType = Annotated[
    Store,
    typer.Option(help="float16 halves the table, int8 quarters it, pq takes 6%."),
]
Unknown = Annotated[
    Optional[Unseen],
    typer.Option(
        "--unseen",
        help="What words without a row get.",
        show_default="subwords if the table has any, else zeros",
    ),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads.")]


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="File, folder or installed pipeline; - is stdin. Told by content: "
            "word2vec, GloVe, fastText, floret, gensim, npy, npz, Parquet, "
            "safetensors, model2vec, spaCy; also in gz, bz2, xz, zip, tar."
        ),
    ],
    out_dir: OutDir,
    lang: Lang = "xx",
    name: Name = None,
    attr: Attr = None,
    truncate: Annotated[
        Optional[int], typer.Option(help="Rows to keep, from the start.")
    ] = None,
    prune: Annotated[
        Optional[int],
        typer.Option(help="Rows to keep; the other words share the nearest."),
    ] = None,
    dtype: DType = Store.float32,
    mode: Annotated[
        Optional[Mode],
        typer.Option(
            help="Stop unless the source is of this kind.", show_default="what it is"
        ),
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Make all rows of length 1.")
    ] = False,
    keys: Annotated[
        Keys,
        typer.Option(help="forms: Title and UPPER forms share the row of a word."),
    ] = Keys.as_is,
    duplicates: Annotated[
        Duplicates, typer.Option(help="What happens to a word that comes up again.")
    ] = Duplicates.error,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out rows that are broken.")
    ] = False,
    words: Annotated[
        Optional[str],
        typer.Option(help="Words of an array: text, JSON, Parquet; ARCHIVE!MEMBER."),
    ] = None,
    member: Annotated[
        Optional[str], typer.Option(help="File to take out of an archive.")
    ] = None,
    subwords: Annotated[
        bool, typer.Option("--subwords", help="Keep the n-grams of a fastText .bin.")
    ] = False,
    backoff: Annotated[
        Optional[str],
        typer.Option(help="Table of n-grams for unseen words, of the same width."),
    ] = None,
    unseen: Unknown = None,
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            help="Open gensim's own files, pickles, which CAN RUN ANY CODE.",
        ),
    ] = False,
) -> None:
    """Convert vectors of any format to a folder that loads at once.

    The folder is for `vectors` in [initialize], with `@vectors =
    "spacy-embedkit.Vectors.v1"` in [nlp.vectors], or for spacy.load.
    """
    from ..files import InputError
    from ..vectors.sources import open_source

    language_of(lang)
    opened = open_source(
        source,
        words=words,
        member=member,
        subwords=subwords,
        trust_pickle=trust_pickle,
        skip_bad=skip_bad,
    )
    found = "default" if opened.ngrams is None else "floret"
    if mode is not None and mode.value != found:
        raise InputError(
            f"{source}: is a table of mode {found}, but --mode is {mode.value}; leave "
            "--mode out, or name another file"
        )
    if backoff is not None:
        opened.subwords = open_source(backoff)
    write_table(
        opened,
        out_dir,
        lang,
        attr=attr,
        name=name,
        truncate=truncate,
        prune=prune,
        dtype=dtype.value,
        normalise=normalise,
        forms=keys == Keys.forms,
        duplicates=duplicates.value,
        skip_bad=skip_bad,
        unseen=unseen and unseen.value,
    )


def learn(
    raw: Raw,
    out_dir: OutDir,
    lang: TextLang,
    algorithm: Annotated[
        Algorithm, typer.Option(help="Which vectors, and the library that learns them.")
    ] = Algorithm.floret,
    width: Annotated[int, typer.Option(help="Numbers in a row.")] = 300,
    buckets: Annotated[
        Optional[int],
        typer.Option(help="Rows for n-grams.", show_default="50000; fasttext 200000"),
    ] = None,
    minn: Annotated[int, typer.Option(help="Shortest n-gram.")] = 3,
    maxn: Annotated[int, typer.Option(help="Longest n-gram; 0 for none.")] = 5,
    hash_count: Annotated[int, typer.Option(help="floret: rows of an n-gram.")] = 2,
    min_count: Annotated[int, typer.Option(help="Rarer words are left out.")] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the text.")] = 10,
    window: Annotated[int, typer.Option(help="Words of context to each side.")] = 5,
    model: Annotated[
        NetworkModel, typer.Option(help="What is guessed from what.")
    ] = NetworkModel.skipgram,
    negative: Annotated[int, typer.Option(help="Random words per guess.")] = 5,
    learning_rate: Annotated[float, typer.Option(help="At the start.")] = 0.05,
    threads: Threads = 1,
    seed: Annotated[int, typer.Option(help="Same vectors, with one thread.")] = 0,
    dtype: DType = Store.float32,
    name: Name = None,
    unseen: Unknown = None,
) -> None:
    """Learn vectors from raw text, by floret or gensim, and convert them."""
    from ..files import check_output
    from ..vectors.learn import learn as learn_vectors
    from ..vectors.sources import open_source

    # Before hours are spent.
    check_output(out_dir, replaces="meta.json")
    with tempfile.TemporaryDirectory() as folder:
        path = learn_vectors(
            raw,
            Path(folder),
            lang=lang,
            algorithm=algorithm.value,
            width=width,
            buckets=buckets,
            minn=minn,
            maxn=maxn,
            hash_count=hash_count,
            min_count=min_count,
            epochs=epochs,
            window=window,
            model=model.value,
            negative=negative,
            learning_rate=learning_rate,
            threads=threads,
            seed=seed,
        )
        has_ngrams = algorithm == Algorithm.fasttext and maxn > 0
        source = open_source(str(path), subwords=has_ngrams)
        write_table(
            source,
            out_dir,
            lang,
            name=name,
            dtype=dtype.value,
            unseen=unseen and unseen.value,
        )


def distill(
    transformer: Annotated[
        str, typer.Argument(help="Folder of a transformer, or its name on the hub.")
    ],
    raw: Raw,
    out_dir: OutDir,
    lang: TextLang,
    how: Annotated[
        How, typer.Option(help="Words alone, or the mean over their contexts.")
    ] = How.isolated,
    max_words: Annotated[int, typer.Option(help="Frequent words to keep.")] = 50_000,
    min_count: Annotated[int, typer.Option(help="Rarer words are left out.")] = 2,
    n_contexts: Annotated[int, typer.Option(help="Contexts of a word, at most.")] = 50,
    layers: Annotated[
        Optional[str],
        typer.Option(
            help="Hidden layers to average, such as 2,3,4.", show_default="all"
        ),
    ] = None,
    width: Annotated[
        int, typer.Option(help="Principal components to keep; 0 for all.")
    ] = 300,
    remove_top: Annotated[int, typer.Option(help="Largest components to drop.")] = 4,
    weighting: Annotated[
        Weighting, typer.Option(help="Length of a row by frequency.")
    ] = Weighting.none,
    batch_size: Annotated[int, typer.Option(help="Texts encoded at once.")] = 64,
    threads: Threads = 1,
    device: Annotated[str, typer.Option(help="Device, as torch names it.")] = "cpu",
    dtype: DType = Store.float32,
    name: Name = None,
) -> None:
    """Make static vectors for the words of a text out of a transformer."""
    from ..files import InputError, check_output
    from ..vectors.distill import distill as distill_vectors

    check_output(out_dir, replaces="meta.json")
    try:
        chosen = None if layers is None else [int(i) for i in layers.split(",")]
    except ValueError as err:
        raise InputError(f"--layers is {layers!r}; give numbers such as 2,3,4") from err
    source = distill_vectors(
        transformer,
        raw,
        lang=lang,
        how=how.value,
        max_words=max_words,
        min_count=min_count,
        n_contexts=n_contexts,
        layers=chosen,
        width=width or None,
        remove_top=remove_top,
        weighting=weighting.value,
        batch_size=batch_size,
        threads=threads,
        device=device,
    )
    write_table(source, out_dir, lang, name=name, dtype=dtype.value)


def info(
    path: Annotated[str, typer.Argument(help="Folder or package with vectors.")],
    text: Coverage = None,
    words: Annotated[
        Optional[str], typer.Option(help="Show the neighbours of these: one,two.")
    ] = None,
) -> None:
    """Show what a table holds: size, norms, coverage of a text, neighbours."""
    from wasabi import msg, table

    from ..vectors.look import coverage, describe, neighbours, open_vectors

    vectors = open_vectors(path)
    msg.divider(path)
    print(table(list(describe(vectors).items())))
    if text:
        print(table(list(coverage(vectors, text).items())))
    for word in words.split(",") if words else []:
        found = neighbours(vectors, word, 5)
        print(f"{word}: {', '.join(f'{w} {score:.2f}' for w, score in found)}")


def similar(
    path: Annotated[str, typer.Argument(help="Folder or package with vectors.")],
    words: Annotated[List[str], typer.Argument(help="Words to start from.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Neighbours of a word.")] = 10,
) -> None:
    """Show the words nearest to each word, by cosine."""
    from wasabi import table

    from ..vectors.look import neighbours, open_vectors

    vectors = open_vectors(path)
    for word in words:
        print(f"\n{word}")
        print(table([(w, f"{s:.4f}") for w, s in neighbours(vectors, word, n)]))


def write_table(source: object, out_dir: Path, lang: str, **settings: object) -> None:
    """Convert an opened source, and say what was written."""
    from ..vectors.convert import Settings
    from ..vectors.convert import convert as convert_vectors
    from ..vectors.source import Source

    assert isinstance(source, Source)
    if settings.get("unseen") is None:
        settings["unseen"] = "subwords" if source.subwords else "zeros"
    code = language_of(lang)
    report = convert_vectors(source, out_dir, code, Settings(**settings))  # type: ignore[arg-type]
    for note in report.notes:
        print(f"note: {note}")
    rows, width = report.shape
    keys = "n-grams" if report.n_keys < 0 else f"{report.n_keys:,} words"
    print(f"{out_dir}: {rows:,} x {width} for {keys}, from {report.format}")


def language_of(lang: str) -> str:
    """Return a language code, that of a pipeline if it is the name of one."""
    import spacy
    from spacy.util import get_lang_class

    from ..files import InputError

    try:
        return get_lang_class(lang).lang or lang
    except ImportError:
        pass
    try:
        return spacy.load(lang).lang or "xx"
    except OSError as err:
        raise InputError(
            f"--lang is {lang!r}, which is no language code of spaCy's and no pipeline"
        ) from err
