"""`spacy embedkit vectors convert`, and what ends every command that makes a table."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .options import (
    Attr,
    DType,
    Duplicates,
    Keys,
    Lang,
    Mode,
    Name,
    OutDir,
    Store,
    Unknown,
)


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
    from ..checks import InputError
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


def write_table(source: object, out_dir: Path, lang: str, **settings: object) -> None:
    """Convert an opened source, and say what was written."""
    from ..vectors.build.convert import Settings
    from ..vectors.build.convert import convert as convert_vectors
    from ..vectors.sources.source import Source

    assert isinstance(source, Source)
    if settings.get("unseen") is None:
        settings["unseen"] = "subwords" if source.subwords else "zeros"
    code = language_of(lang)
    report = convert_vectors(source, out_dir, code, Settings(**settings))  # type: ignore[arg-type]
    for note in report.notes:
        print(f"note: {note}")
    rows, width = report.shape
    keys = "n-grams" if report.n_keys < 0 else f"{report.n_keys:,} words"
    print(f"{out_dir}: {rows:,} x {width} for {keys} ({report.format})")


def language_of(lang: str) -> str:
    """Return a language code, that of a pipeline if it is the name of one."""
    import spacy
    from spacy.util import get_lang_class

    from ..checks import InputError

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
