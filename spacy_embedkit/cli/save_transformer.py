"""`spacy embedkit save-transformer`: the fine-tuned transformer of a pipeline."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .options import Force


def save_transformer(
    pipeline: Annotated[str, typer.Argument(help="Folder or package of a pipeline.")],
    out_dir: Annotated[Path, typer.Argument(help="Folder to write.")],
    component: Annotated[
        Optional[str],
        typer.Option(help="Component whose transformer to write, if several have one."),
    ] = None,
    force: Force = False,
) -> None:
    """Write a pipeline's transformer as a folder that transformers can load.

    It holds config.json, model.safetensors and the tokenizer. PretrainTransformer.v1
    and `vectors distill` take such a folder as their teacher.
    """
    from ..transformer.pretrained import save_transformer as save

    print(save(pipeline, out_dir, component, force))
