"""What stands in for data of a transformer that was released."""

from typing import Any, Callable, Tuple

from spacy_transformers.data_classes import TransformerData, WordpieceBatch
from thinc.types import Ragged
from thinc.util import to_numpy
from transformers.file_utils import ModelOutput


class ReleasedData(TransformerData):
    """No data; says so when a listener or the user wants some. Saved as empty data."""

    def __init__(self) -> None:
        self.wordpieces = WordpieceBatch.empty()
        self.align = TransformerData.empty().align

    @property
    def model_output(self) -> Any:  # type: ignore[override]
        """Raise ValueError."""
        raise ValueError(
            "doc._.trf_data was released; put the component embedkit_release behind "
            "those that read it, and use it in the place of the setter release.v1 if "
            "components listen to the transformer"
        )

    def to_dict(self) -> Any:
        """Return empty data as spacy_transformers writes it."""
        return TransformerData.empty().to_dict()

    def __repr__(self) -> str:
        return "ReleasedData()"

    def __reduce__(self) -> Tuple[Any, ...]:
        return get_released, ()


_RELEASED = ReleasedData()


def get_released() -> ReleasedData:
    """Return the one object that stands for all released data."""
    return _RELEASED


def shrink(data: Any, move: Callable[[Any], Any]) -> TransformerData:
    """Return TransformerData with the last hidden state alone, which move copies.

    Data without one, of a doc without tokens, is returned as it is.
    """
    if "last_hidden_state" not in data.model_output:
        return data
    pieces = data.wordpieces
    types = pieces.token_type_ids
    return TransformerData(
        wordpieces=WordpieceBatch(
            strings=pieces.strings,
            input_ids=to_numpy(pieces.input_ids).copy(),
            attention_mask=to_numpy(pieces.attention_mask).copy(),
            lengths=pieces.lengths,
            token_type_ids=None if types is None else to_numpy(types).copy(),
        ),
        model_output=ModelOutput(
            last_hidden_state=move(data.model_output.last_hidden_state)
        ),
        align=Ragged(
            to_numpy(data.align.dataXd).copy(), to_numpy(data.align.lengths).copy()
        ),
    )
