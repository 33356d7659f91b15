"""A table of learned rows for each attribute, addressed by hash."""

from typing import Any, Callable, List, Optional, Tuple, cast

from thinc.api import HashEmbed, Model
from thinc.types import Floats2d

from .types import Types

# The seed of stock MultiHashEmbed's first table is 8.
FIRST_SEED = 8


def hash_tables(nO: int, columns: List[int], rows: List[int]) -> Model[Types, Floats2d]:
    """Embed A attributes of each type, side by side.

    Each attribute value is hashed to four rows of its table, which are summed.

    nO (int): Width of each table.
    columns (List[int]): The A attribute IDs.
    rows (List[int]): Rows of each table.
    Shapes: T types -> (T, A * nO) float32.
    Source: thinc.HashEmbed; Svenstrup et al. 2017, arXiv:1709.03933.
    """
    tables: List[Model] = [
        cast(Model, HashEmbed(nO, nV, seed=FIRST_SEED + i, dropout=0.0))
        for i, nV in enumerate(rows)
    ]
    return Model(
        "hash_tables",
        forward,
        init=init,
        layers=tables,
        dims={"nO": nO * len(rows)},
        attrs={"columns": columns},
    )


def forward(
    model: Model[Types, Floats2d], types: Types, is_train: bool
) -> Tuple[Floats2d, Callable]:
    """Look each attribute up in its table."""
    outputs, backprops = [], []
    for table, attr in zip(model.layers, model.attrs["columns"], strict=True):
        keys = model.ops.asarray(types.column(attr), dtype="uint64")
        Y, backprop_table = table(keys, is_train)
        outputs.append(Y)
        backprops.append(backprop_table)

    def backprop(dY: Floats2d) -> List[Any]:
        start = 0
        for backprop_table, Y in zip(backprops, outputs, strict=True):
            end = start + Y.shape[1]
            backprop_table(model.ops.as_contig(dY[:, start:end]))
            start = end
        return []

    return model.ops.xp.hstack(outputs), backprop


def init(
    model: Model[Types, Floats2d],
    X: Optional[Types] = None,
    Y: Optional[Floats2d] = None,
) -> None:
    """Draw the tables."""
    for table in model.layers:
        table.initialize()
