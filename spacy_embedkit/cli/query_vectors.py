"""`spacy embedkit vectors info` and `similar`."""

from typing import Annotated, List, Optional

import typer


def info(
    path: Annotated[str, typer.Argument(help="Folder or package with vectors.")],
    text: Annotated[
        Optional[List[str]],
        typer.Option(help="Raw text whose words are looked up; may be repeated."),
    ] = None,
    words: Annotated[
        Optional[str], typer.Option(help="Show the neighbours of these: one,two.")
    ] = None,
    lang: Annotated[
        Optional[str],
        typer.Option(
            "--lang",
            "-l",
            help="Tokenizer of the text: language code, or a pipeline.",
            show_default="the language of the folder, else xx",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read all of the table, and check that it is complete."
        ),
    ] = False,
) -> None:
    """Describe a table: size, norms, coverage of a text, neighbours."""
    from wasabi import msg, table

    from ..checks import InputError
    from ..vectors import inspection
    from ..vectors.inspection import coverage, describe, neighbours

    vectors = inspection.open_vectors(path)
    if verify:
        faults = inspection.find_faults(vectors.table)
        if faults:
            raise InputError(f"{path}: {'; '.join(faults)}; make the table again")
    msg.divider(path)
    print(table(list(describe(vectors).items())))
    if verify:
        msg.good("All of the table is as it was written.")
    if text:
        chosen = lang or inspection.find_lang(path) or "xx"
        print(table(list(coverage(vectors, text, chosen).items())))
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

    from ..vectors.inspection import neighbours, open_vectors

    vectors = open_vectors(path)
    for word in words:
        print(f"\n{word}")
        print(table([(w, f"{s:.4f}") for w, s in neighbours(vectors, word, n)]))
