"""What a comparison of trainings consists of."""

from pathlib import Path
from typing import Annotated, Any, Dict, Iterator, Literal, Optional, Tuple, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

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
    pipeline: Folder or package of a trained pipeline, which is scored and timed as it
        is, once for each amount; the settings of training do not go with it.
    docs: Amounts of annotation it is trained on; all of the plan's if left out.
    seeds: Seeds in place of the plan's.
    overrides: Settings of the config, after those of the plan and of the amount.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_.+-]+$")
    config: Optional[Path] = None
    train: Optional[Path] = None
    init_tok2vec: Optional[str] = None
    pipeline: Optional[str] = None
    docs: Optional[Tuple[DocsField, ...]] = None
    seeds: Optional[Seeds] = None
    overrides: Overrides = {}

    @model_validator(mode="after")
    def _check_pipeline(self) -> "Variant":
        given = self.config, self.train, self.init_tok2vec, self.overrides or None
        if self.pipeline is not None and any(x is not None for x in given):
            raise ValueError(
                "a pipeline is not trained; leave out config, train, init_tok2vec and "
                "overrides"
            )
        return self

    def weights(self, seed: int, docs: Docs) -> Optional[Path]:
        """Return the file of pretrained weights of a trial, if it has one."""
        if not self.init_tok2vec:
            return None
        name = self.init_tok2vec.replace("{seed}", str(seed))
        return Path(name.replace("{docs}", str(docs)))


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
        scored apart. Without a test, the report compares the scores on dev.
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
    test: Optional[Path] = None
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
        trained = [v.name for v in self.variants if v.pipeline is None]
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
        if self.best not in (None, *trained):
            raise ValueError(f"best is {self.best!r}, which is not trained here")
        for variant in self.variants:
            for n in variant.docs or ():
                if n not in docs:
                    raise ValueError(f"{variant.name} wants {n} docs, no amount has")
        return self

    @property
    def keeps_models(self) -> bool:
        """Whether the models of the trials are needed after them."""
        return bool(self.speed or self.best)

    @property
    def judge(self) -> Tuple[str, Path]:
        """What the report compares scores on: the name of the split, and its docs."""
        return ("dev", self.dev) if self.test is None else ("test", self.test)

    def seeds_of(self, variant: Variant) -> Tuple[int, ...]:
        """Return the seeds of a variant: one is enough where nothing is trained."""
        seeds = variant.seeds or self.seeds
        return seeds[:1] if variant.pipeline else seeds

    def trials(self) -> Iterator[Tuple[Variant, Amount, int]]:
        """Yield the trials, in an order in which the first ones can be compared."""
        every = [*self.seeds, *(s for v in self.variants for s in v.seeds or ())]
        for seed in dict.fromkeys(every):
            for amount in self.amounts:
                for variant in self.variants:
                    if seed in self.seeds_of(variant) and (
                        variant.docs is None or amount.docs in variant.docs
                    ):
                        yield variant, amount, seed
