"""`spacy embedkit vectors learn` and `distill`."""

from typing import Annotated, Optional

import typer

from .convert_vectors import write_table
from .options import (
    Algorithm,
    DTypeOption,
    Force,
    Name,
    OutDir,
    Raw,
    TextLang,
    Threads,
    TrainingModel,
    UnseenOption,
    Weighting,
    WordContext,
)


def learn(
    raw: Raw,
    out_dir: OutDir,
    lang: TextLang,
    algorithm: Annotated[
        Algorithm, typer.Option(help="Which vectors, and the library that learns them.")
    ] = "floret",
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
        TrainingModel,
        typer.Option(help="Guess a word from its context, or the context from a word."),
    ] = "skipgram",
    negative: Annotated[int, typer.Option(help="Random words per guess.")] = 5,
    learning_rate: Annotated[float, typer.Option(help="At the start.")] = 0.05,
    threads: Threads = 1,
    seed: Annotated[int, typer.Option(help="Same vectors, with one thread.")] = 0,
    dtype: DTypeOption = "float32",
    name: Name = None,
    unseen: UnseenOption = None,
    force: Force = False,
) -> None:
    """Learn vectors from raw text, by floret or gensim, and convert them."""
    from ..io import work_folder
    from ..vectors.build.learn import learn as learn_vectors
    from ..vectors.build.output import check_target
    from ..vectors.sources import open_source

    # Before hours of work.
    check_target(out_dir, force)
    with work_folder(out_dir) as folder:
        path = learn_vectors(
            raw,
            folder,
            lang=lang,
            algorithm=algorithm,
            width=width,
            buckets=buckets,
            minn=minn,
            maxn=maxn,
            hash_count=hash_count,
            min_count=min_count,
            epochs=epochs,
            window=window,
            model=model,
            negative=negative,
            learning_rate=learning_rate,
            threads=threads,
            seed=seed,
        )
        has_ngrams = algorithm == "fasttext" and maxn > 0
        source = open_source(str(path), subwords=has_ngrams)
        write_table(
            source,
            out_dir,
            lang,
            name=name,
            dtype=dtype,
            unseen=unseen,
            force=force,
        )


def distill(
    transformer: Annotated[
        str, typer.Argument(help="Folder of a transformer, or its name on the hub.")
    ],
    raw: Raw,
    out_dir: OutDir,
    lang: TextLang,
    how: Annotated[
        WordContext, typer.Option(help="Words alone, or the mean over their contexts.")
    ] = "isolated",
    max_words: Annotated[int, typer.Option(help="Frequent words to keep.")] = 50_000,
    min_count: Annotated[int, typer.Option(help="Rarer words are left out.")] = 2,
    n_contexts: Annotated[
        int, typer.Option(help="Largest number of contexts per word.")
    ] = 50,
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
    ] = "none",
    batch_size: Annotated[int, typer.Option(help="Texts encoded at once.")] = 64,
    threads: Threads = 1,
    device: Annotated[str, typer.Option(help="Device, as torch names it.")] = "cpu",
    dtype: DTypeOption = "float32",
    name: Name = None,
    force: Force = False,
) -> None:
    """Extract static vectors for the words of a text from a transformer."""
    from ..checks import InputError
    from ..vectors.build.distill import distill as distill_vectors
    from ..vectors.build.output import check_target

    check_target(out_dir, force)
    try:
        chosen = None if layers is None else [int(i) for i in layers.split(",")]
    except ValueError as err:
        raise InputError(f"--layers is {layers!r}; give numbers such as 2,3,4") from err
    source = distill_vectors(
        transformer,
        raw,
        lang=lang,
        how=how,
        max_words=max_words,
        min_count=min_count,
        n_contexts=n_contexts,
        layers=chosen,
        width=width or None,
        remove_top=remove_top,
        weighting=weighting,
        batch_size=batch_size,
        threads=threads,
        device=device,
    )
    write_table(source, out_dir, lang, name=name, dtype=dtype, force=force)
