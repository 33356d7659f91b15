"""A small table with rows of their own for chosen words."""

from typing import Any, Callable, Dict, List, Optional, Tuple, Union, cast

from spacy.strings import get_string_id
from thinc.api import Model
from thinc.initializers import uniform_init
from thinc.types import Floats2d

from .. import ops
from .types import Types


def word_table(
    nO: int,
    nV: int,
    *,
    attr: int,
    key2row: Dict[Union[str, int], int],
    unseen_row: int,
) -> Model[Types, Floats2d]:
    """Embed each type as the one table row that a mapping gives it.

    nO (int): Width of an output row.
    nV (int): Rows of the table E, shape (nV, nO).
    attr (int): ID of the string attribute that is looked up, such as ORTH.
    key2row (Dict[Union[str, int], int]): Row of each word, 0..nV-1. A word is given
        as text, or by its number in the string store.
    unseen_row (int): Row of all other words, 0..nV-1.
    Shapes: T types -> (T, nO) float32.
    """
    return Model(
        "word_table",
        forward,
        init=init,
        dims={"nO": nO, "nV": nV},
        params={"E": None},
        attrs={
            "attr": attr,
            "key2row": {get_string_id(key): row for key, row in key2row.items()},
            "unseen_row": unseen_row,
        },
    )


def forward(
    model: Model[Types, Floats2d], types: Types, is_train: bool
) -> Tuple[Floats2d, Callable]:
    """Copy the row of each type."""
    E = cast(Floats2d, model.get_param("E"))
    key2row, unseen = model.attrs["key2row"], model.attrs["unseen_row"]
    keys = types.column(model.attrs["attr"]).tolist()
    rows = model.ops.asarray1i([key2row.get(key, unseen) for key in keys])

    def backprop(dY: Floats2d) -> List[Any]:
        model.inc_grad("E", ops.scatter_add_rows(model.ops, dY, rows, E.shape[0]))
        return []

    return ops.gather_rows(model.ops, E, rows), backprop


def init(
    model: Model[Types, Floats2d],
    X: Optional[Types] = None,
    Y: Optional[Floats2d] = None,
) -> None:
    """Draw the table as HashEmbed draws its own."""
    shape = (model.get_dim("nV"), model.get_dim("nO"))
    model.set_param("E", uniform_init(model.ops, shape))
