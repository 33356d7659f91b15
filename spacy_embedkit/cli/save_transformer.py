"""`spacy embedkit save-transformer`: what a pipeline has fine-tuned, by itself."""

from pathlib import Path
from typing import Annotated, Optional

import typer


def save_transformer(
    pipeline: Annotated[str, typer.Argument(help="Folder or package of a pipeline.")],
    out_dir: Annotated[Path, typer.Argument(help="Folder to write.")],
    component: Annotated[
        Optional[str],
        typer.Option(help="Whose transformer, if several components have one."),
    ] = None,
) -> None:
    """Write a pipeline's transformer as a folder that transformers can load.

    With config.json, model.safetensors and its tokenizer, it can teach:
    PretrainTransformer.v1 and `vectors distill` take such a folder.
    """
    from ..transformer.pretrained import save_transformer as save

    print(save(pipeline, out_dir, component))
