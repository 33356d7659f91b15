"""What a comparison of trainings consists of, read from a TOML file."""

import re
import tomllib
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Dict,
    Iterator,
    Literal,
    Optional,
    Sequence,
    Tuple,
    Type,
    Union,
)

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ..checks import InputError, one_line
from ..io import describe_os_error

ALL: Literal["all"] = "all"


def _check_docs(value: Any) -> Any:
    if value != ALL and (type(value) is not int or value < 1):
        raise ValueError("give a number of 1 or more, or all")
    return value


def _list_seeds(value: Any) -> Any:
    seeds = list(range(value)) if type(value) is int else value
    if (
        not isinstance(seeds, (list, tuple))
        or not seeds
        or any(type(seed) is not int or not 0 <= seed < 2**32 for seed in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise ValueError(
            "give a number of 1 or more, or a list of different numbers of 0 or more"
        )
    return tuple(seeds)


Docs = Union[int, Literal["all"]]
DocsField = Annotated[Any, AfterValidator(_check_docs)]
Seeds = Annotated[Tuple[int, ...], BeforeValidator(_list_seeds)]
Overrides = Dict[str, Any]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Variant(_Settings):
    """One of the trainings that are compared.

    name: Letters, digits and _ . + - only.
    config: Config in place of the plan's.
    train: Training docs in place of the plan's.
    init_tok2vec: File of pretrained weights. {seed} and {docs} in its name stand for
        those of the trial.
    docs: Amounts of annotation it is trained on; all of the plan's if left out.
    seeds: Seeds in place of the plan's.
    overrides: Settings of the config, after those of the plan and of the amount.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.+-]+$")
    config: Optional[Path] = None
    train: Optional[Path] = None
    init_tok2vec: Optional[str] = None
    docs: Optional[Tuple[DocsField, ...]] = None
    seeds: Optional[Seeds] = None
    overrides: Overrides = {}

    def weights(self, seed: int, docs: Docs) -> Optional[Path]:
        """Return the file of pretrained weights of a trial, if it has one."""
        if not self.init_tok2vec:
            return None
        return Path(_substitute(self.init_tok2vec, {"seed": seed, "docs": docs}))


class Amount(_Settings):
    """How many of the training docs are used: a number or "all"."""

    docs: DocsField
    overrides: Overrides = {}


class Contribution(_Settings):
    """An ingredient: what variant `variant` has, and `base`, else the same, has not."""

    name: str
    variant: str
    base: str


class SpeedSettings(_Settings):
    """How words/s of nlp.pipe are measured: one thread, the variants in turns.

    words: Words of the test texts in a round.
    rounds: Timed rounds of each variant.
    """

    words: int = Field(10_000, ge=1)
    rounds: int = Field(7, ge=1)


class Plan(_Settings):
    """Trials of a config: each variant at each amount of annotation with each seed.

    config: Config that the variants start from.
    train, dev, test: A .spacy file or a folder of them. Each file of dev and test is
        scored apart.
    seeds: A list, or a number n for 0 to n - 1.
    subset_seed: Chooses the docs of the smaller amounts.
    baseline: Variant that the others are compared with; the first if left out.
    best: Variant whose best model by dev score is kept as OUT/best.
    metrics: Scores to report first; if left out, those that the config weighs.
    overrides: Settings of the config, dotted or as tables; a table that names a
        registered function replaces the block that is there.
    code: Python file to import first, as `spacy train --code`.
    notes: Text file to put into the report.
    vars: Values for "{NAME}" in the texts of the plan; a text that is "{NAME}" alone
        becomes its value, such as a number.
    """

    config: Path
    train: Path
    dev: Path
    test: Path
    variants: Tuple[Variant, ...] = Field(min_length=1)
    amounts: Tuple[Amount, ...] = Field((Amount(docs=ALL),), min_length=1)
    seeds: Seeds = (0, 1, 2)
    subset_seed: int = 0
    baseline: str = ""
    best: Optional[str] = None
    metrics: Tuple[str, ...] = ()
    contributions: Tuple[Contribution, ...] = ()
    speed: Optional[SpeedSettings] = None
    overrides: Overrides = {}
    code: Optional[Path] = None
    notes: Optional[Path] = None
    vars: Dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _fill_baseline(cls, data: Any) -> Any:
        variants = data.get("variants")
        if isinstance(variants, list) and variants and isinstance(variants[0], dict):
            data = {"baseline": variants[0].get("name"), **data}
        return data

    @model_validator(mode="after")
    def _check_names(self) -> "Plan":
        names = [variant.name for variant in self.variants]
        docs = [amount.docs for amount in self.amounts]
        for kind, values in (("variants", names), ("amounts", docs)):
            if len(set(values)) < len(values):
                raise ValueError(f"two {kind} are the same: {values}; rename one")
        used = {"baseline": self.baseline, "best": self.best or self.baseline}
        for i, item in enumerate(self.contributions):
            used[f"contributions[{i}].variant"] = item.variant
            used[f"contributions[{i}].base"] = item.base
        for key, name in used.items():
            if name not in names:
                raise ValueError(
                    f"{key} is {name!r}, but the variants are {', '.join(names)}"
                )
        for variant in self.variants:
            for n in variant.docs or ():
                if n not in docs:
                    raise ValueError(f"{variant.name} wants {n} docs, no amount has")
        return self

    @property
    def keeps_models(self) -> bool:
        """Whether the models of the trials are needed after them."""
        return bool(self.speed or self.best)

    def trials(self) -> Iterator[Tuple[Variant, Amount, int]]:
        """Yield the trials, in an order in which the first ones can be compared."""
        every = [*self.seeds, *(s for v in self.variants for s in v.seeds or ())]
        for seed in dict.fromkeys(every):
            for amount in self.amounts:
                for variant in self.variants:
                    if seed in (variant.seeds or self.seeds) and (
                        variant.docs is None or amount.docs in variant.docs
                    ):
                        yield variant, amount, seed


def read_plan(path: Path, changes: Sequence[str] = ()) -> Plan:
    """Read a plan from a TOML file, or raise InputError naming the key.

    changes: KEY=VALUE each, with a dotted key and a TOML value or plain text. Paths
        start from the current folder.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: is not a TOML file ({one_line(err)})") from err
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err
    for change in changes:
        _set(data, change)
    names = data.get("vars")
    if isinstance(names, dict):
        data = {**_substitute(data, names), "vars": names}
    try:
        return Plan(**data)
    except ValidationError as err:
        first: Dict[str, Any] = dict(err.errors()[0])
        raise InputError(f"{path}: {_describe(first)}") from err


def _set(data: Dict[str, Any], change: str) -> None:
    key, sign, text = change.partition("=")
    if not sign:
        raise InputError(f"--set {change}: give KEY=VALUE, such as seeds=2")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parts, last = key.split(".")
    for part in parts:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise InputError(f"--set {change}: {part} is not a table of the plan")
    data[last] = value


def _substitute(value: Any, names: Dict[str, Any]) -> Any:
    """Put the values of names for {NAME} in all texts; other braces stay.

    A text that is a name alone becomes its value, which may be a number.
    """
    if isinstance(value, dict):
        return {key: _substitute(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, names) for item in value]
    if not isinstance(value, str):
        return value
    if value[:1] == "{" and value[1:-1] in names and value[-1] == "}":
        return names[value[1:-1]]
    return re.sub(r"\{(\w+)\}", lambda m: str(names.get(m[1], m[0])), value)


def _describe(error: Dict[str, Any]) -> str:
    """Return the first error of pydantic in our words."""
    key = ""
    for part in error["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        kinds: Dict[Any, Type[_Settings]] = {
            "variants": Variant,
            "amounts": Amount,
            "contributions": Contribution,
            "speed": SpeedSettings,
        }
        kind = kinds.get(error["loc"][0], Plan) if len(error["loc"]) > 1 else Plan
        return f"{key} is not a setting; choose from {', '.join(kind.model_fields)}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key} is {error['input']!r}: {message}" if key else message
