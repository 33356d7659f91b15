"""What a checkpoint may hold: types and ranges, checked before any of it is used.

A right checksum only says that a file is as it was written, not who wrote it.
"""

from typing import Annotated, Any, Dict, List, Optional

import numpy
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    JsonValue,
    ValidationError,
)

from ...checks import InputError
from .random_state import check_rng_state

# Schedules are stepped one by one, so a number of updates is also a time.
MAX_STEPS = 100_000_000
Count = Annotated[int, Field(ge=0, lt=2**63)]
Steps = Annotated[int, Field(ge=0, le=MAX_STEPS)]
Size = Annotated[int, Field(ge=1, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, lt=1e12)]
Array = InstanceOf[numpy.ndarray]
Arrays = Dict[str, Array]
_Radam = Annotated[List[Optional[float]], Field(min_length=3, max_length=3)]
Losses = Dict[str, float]
Generators = Annotated[Dict[str, Any], AfterValidator(check_rng_state)]


class _Block(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Row(_Block):
    words: Count
    epoch: Count
    step: Count
    minutes: Seconds
    words_per_second: int
    learn_rate: float
    train_loss: Losses
    train_total: float
    held_out_loss: Losses
    held_out_total: Optional[float]
    is_best: bool


class _Progress(_Block):
    eval_every: Size
    epoch: Count
    n_batches: Count
    step: Steps
    words: Count
    evaluated_at: Count
    best: Optional[float]
    best_words: Count
    best_weights: Optional[bytes]
    n_worse: Count
    seconds: Seconds
    losses: Dict[str, Annotated[List[float], Field(min_length=2, max_length=2)]]
    rows: List[_Row]
    at_end: List[Count] = []


class _Layer(_Block):
    attrs: Dict[str, Any]
    params: Arrays
    shims: List[bytes]


class _Weights(_Block):
    layers: List[_Layer]
    radam: Annotated[List[_Radam], Field(min_length=10, max_length=10)]
    mom1: Optional[Arrays]
    mom2: Optional[Arrays]
    averages: Optional[Arrays]
    nr_update: Dict[str, Count]
    last_seen: Dict[str, Count]


class _Objective(_Block):
    words: Optional[List[str]]
    n_seen: Optional[Annotated[int, Field(ge=0, lt=2**53)]]
    stock: List[List[Count]]


class _Corpus(_Block):
    n_docs: Count
    n_words: Count
    checksum: str


class _Checkpoint(_Block):
    settings: Dict[str, JsonValue]
    versions: Dict[str, str]
    corpus: _Corpus
    prepared: str = ""
    progress: _Progress
    weights: _Weights
    objective: _Objective
    data: Generators
    random: Generators


def check_contents(state: Any) -> Dict[str, Any]:
    """Return the contents of a checkpoint as they are.

    Raises: InputError naming the first value that no run has written.
    """
    try:
        _Checkpoint.model_validate(state)
        _check_draws(state["data"].get("draws"))
    except ValidationError as err:
        first: Dict[str, Any] = dict(err.errors(include_url=False)[0])
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise _refusal(where, first["msg"].removeprefix("Value error, ")) from err
    return state


def _check_draws(draws: Any) -> None:
    if not isinstance(draws, list) or not all(
        type(n) is int and 0 <= n <= MAX_STEPS for n in draws
    ):
        raise _refusal("data.draws", "has to be a list of counts")


def _refusal(where: str, what: str) -> InputError:
    return InputError(
        f"the checkpoint is not one that pretraining wrote ({where[:80]}: "
        f"{' '.join(what.split())[:120]}); take one from a source that you trust, or "
        "start again with --force"
    )
