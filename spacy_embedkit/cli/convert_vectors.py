"""`spacy embedkit vectors convert`, and the last step of learn and distill."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .options import (
    Attr,
    DTypeOption,
    Duplicates,
    Force,
    KeyForms,
    Lang,
    Name,
    OutDir,
    TableMode,
    UnseenOption,
)


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="File, folder or installed pipeline; - is stdin. Detected by content: "
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
    dtype: DTypeOption = "float32",
    mode: Annotated[
        Optional[TableMode],
        typer.Option(
            help="Stop unless the source is of this kind.", show_default="either"
        ),
    ] = None,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Make all rows of length 1.")
    ] = False,
    keys: Annotated[
        KeyForms,
        typer.Option(help="forms: Title and UPPER forms share the row of a word."),
    ] = "as-is",
    duplicates: Annotated[
        Duplicates, typer.Option(help="What to do with a repeated word.")
    ] = "error",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out broken rows.")
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
    unseen: UnseenOption = None,
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            help="Open gensim's own files, pickles, which CAN RUN ANY CODE.",
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Convert vectors of any format to a folder that loads at once.

    The folder is for `vectors` in [initialize], with `@vectors =
    "spacy-embedkit.Vectors.v1"` in [nlp.vectors], or for spacy.load.
    """
    from ..checks import InputError
    from ..vectors.build.output import check_target
    from ..vectors.sources import open_source

    check_target(out_dir, force)
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
    if mode is not None and mode != found:
        raise InputError(
            f"{source}: is a table of mode {found}, but --mode is {mode}; leave "
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
        dtype=dtype,
        normalise=normalise,
        forms=keys == "forms",
        duplicates=duplicates,
        skip_bad=skip_bad,
        unseen=unseen,
        force=force,
    )


def write_table(
    source: object, out_dir: Path, lang: str, *, force: bool, **settings: object
) -> None:
    """Convert an opened source, and print a summary."""
    from ..checks import printable
    from ..vectors.build.convert import ConvertSettings
    from ..vectors.build.convert import convert as convert_vectors
    from ..vectors.sources.source import Source

    assert isinstance(source, Source)
    if settings.get("unseen") is None:
        settings["unseen"] = "subwords" if source.subwords else "zeros"
    code = language_of(lang)
    chosen = ConvertSettings(**settings)  # type: ignore[arg-type]
    report = convert_vectors(source, out_dir, code, chosen, force)
    for note in report.notes:
        print(f"note: {printable(note)}")
    rows, width = report.shape
    keys = "n-grams" if report.n_keys < 0 else f"{report.n_keys:,} words"
    print(f"{out_dir}: {rows:,} x {width} for {keys} ({report.format})")


def language_of(lang: str) -> str:
    """Return a language code, or that of the pipeline of this name."""
    import spacy
    from spacy.util import get_lang_class

    from ..checks import InputError, one_line

    try:
        return get_lang_class(lang).lang or lang
    except ImportError:
        pass
    try:
        return spacy.load(lang).lang or "xx"
    except (OSError, ValueError) as err:
        raise InputError(
            f"--lang is {lang!r}, which is neither a language code nor a pipeline that "
            f"can be loaded ({one_line(err)[:200]})"
        ) from err
