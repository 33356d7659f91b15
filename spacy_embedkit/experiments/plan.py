"""What a grid of training runs consists of: read from its file, spelt out as cells."""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Literal, Mapping, Optional, Tuple, Union

from ..checks import InputError, one_line
from ..io import describe_os_error
from .nested_config import nested

NAME = re.compile(r"[A-Za-z0-9_.+-]+")
ALL = "all"
# In the name of a file of weights.
SEED, DOCS = "{seed}", "{docs}"

Overrides = Mapping[str, Any]
Docs = Union[int, Literal["all"]]


@dataclass(frozen=True)
class Weights:
    """One way to start: a name, a file of weights or none.

    init_tok2vec: May have {seed} and {docs} in its name, for a file of each seed and
        amount.
    """

    name: str
    init_tok2vec: Optional[str] = None
    docs: Optional[Tuple[Docs, ...]] = None
    overrides: Overrides = field(default_factory=dict)

    def file(self, seed: int, docs: Docs) -> Optional[Path]:
        """Return the file of weights for a seed and an amount, if there is one."""
        if not self.init_tok2vec:
            return None
        name = self.init_tok2vec.replace(SEED, str(seed)).replace(DOCS, str(docs))
        return Path(name)


@dataclass(frozen=True)
class Amount:
    """How many of the training docs are used."""

    docs: Docs
    overrides: Overrides = field(default_factory=dict)

    @property
    def n_docs(self) -> Optional[int]:
        """The number of docs, None for all."""
        return self.docs if isinstance(self.docs, int) else None


@dataclass(frozen=True)
class Cell:
    """One training run of a grid."""

    weights: Weights
    amount: Amount
    seed: int

    @property
    def name(self) -> str:
        """Name of the run and of its result."""
        return f"{self.weights.name}-{self.amount.docs}-{self.seed}"


@dataclass(frozen=True)
class Grid:
    """Runs of one config: each weights at each amount of annotation with each seed."""

    config: Path
    train: Path
    dev: Path
    test: Path
    weights: Tuple[Weights, ...]
    amounts: Tuple[Amount, ...]
    seeds: Tuple[int, ...]
    subset_seed: int = 0
    baseline: str = "none"
    overrides: Overrides = field(default_factory=dict)
    code: Optional[Path] = None

    def cells(self) -> Iterator[Cell]:
        """Yield the runs, so that what is done first can be compared."""
        for seed in self.seeds:
            for amount in self.amounts:
                for weights in self.weights:
                    if weights.docs is None or amount.docs in weights.docs:
                        yield Cell(weights, amount, seed)


def read_grid(path: Path) -> Grid:
    """Read a grid from a TOML file, or raise InputError naming the key.

    The keys are those of Grid, `weights` and `amounts` being arrays of tables with the
    keys of Weights and Amount. `seeds` may be a number n, for 0 to n - 1. Overrides
    are keys of the config, dotted or as tables; a table that names a registered
    function replaces what was there. Paths start from the current folder.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise InputError(f"{path}: is no TOML file ({one_line(err)})") from err
    except OSError as err:
        raise InputError(describe_os_error(err, path)) from err
    reader = _Reader(str(path))
    for key in ("config", "train", "dev", "test", "code"):
        if key in data:
            data[key] = Path(reader.expect(key, data[key], str))
    data["weights"] = tuple(
        reader.weights(f"weights[{i}]", entry)
        for i, entry in enumerate(reader.tables("weights", data))
    )
    data["amounts"] = tuple(
        reader.make(Amount, f"amounts[{i}]", dict(entry))
        for i, entry in enumerate(reader.tables("amounts", data))
    )
    for i, amount in enumerate(data["amounts"]):
        reader.docs(f"amounts[{i}].docs", amount.docs)
    data["seeds"] = reader.seeds(data.get("seeds", 3))
    grid: Grid = reader.make(Grid, "", data)
    reader.check(grid)
    return grid


class _Reader:
    """Turns tables into settings; every refusal names the file and the key."""

    def __init__(self, where: str) -> None:
        self.where = where

    def error(self, text: str) -> InputError:
        return InputError(f"{self.where}: {text}")

    def expect(self, key: str, value: Any, kind: type) -> Any:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(f"{key} is {value!r}, but has to be a {kind.__name__}")
        return value

    def tables(self, key: str, data: Mapping[str, Any]) -> List[Dict[str, Any]]:
        entries = data.get(key, [])
        if not isinstance(entries, list) or not entries:
            raise self.error(f"{key} is missing; give one or more [[{key}]] tables")
        return [self.expect(f"{key}[{i}]", e, dict) for i, e in enumerate(entries)]

    def make(self, kind: Any, key: str, data: Dict[str, Any]) -> Any:
        known = set(kind.__dataclass_fields__)
        prefix = f"{key}." if key else ""
        for name in data:
            if name not in known:
                raise self.error(
                    f"{prefix}{name} is no setting; choose from "
                    f"{', '.join(sorted(known))}"
                )
        overrides = self.expect(f"{prefix}overrides", data.get("overrides", {}), dict)
        data["overrides"] = nested(overrides)
        try:
            return kind(**data)
        except TypeError as err:
            missing = sorted(re.findall(r"'(\w+)'", str(err)))
            raise self.error(f"{prefix}{missing[0]} is missing") from err

    def weights(self, key: str, entry: Mapping[str, Any]) -> Weights:
        data = dict(entry)
        name = self.expect(f"{key}.name", data.get("name"), str)
        if not NAME.fullmatch(name):
            raise self.error(f"{key}.name is {name!r}; use letters, digits and _ . + -")
        self.expect(f"{key}.init_tok2vec", data.get("init_tok2vec", ""), str)
        if "docs" in data:
            docs = self.expect(f"{key}.docs", data["docs"], list)
            data["docs"] = tuple(self.docs(f"{key}.docs", n) for n in docs)
        made: Weights = self.make(Weights, key, data)
        return made

    def docs(self, key: str, value: Any) -> Docs:
        if value != ALL and (type(value) is not int or value < 1):
            raise self.error(f"{key} is {value!r}; give a number of 1 or more, or all")
        return value  # type: ignore[no-any-return]

    def seeds(self, value: Any) -> Tuple[int, ...]:
        seeds = list(range(value)) if type(value) is int else value
        if not isinstance(seeds, list) or not seeds or not _unique_numbers(seeds):
            raise self.error(
                f"seeds is {value!r}; give a number of 1 or more, or a list of "
                "different numbers of 0 or more"
            )
        return tuple(seeds)

    def check(self, grid: Grid) -> None:
        self.expect("subset_seed", grid.subset_seed, int)
        names = [weights.name for weights in grid.weights]
        docs = [amount.docs for amount in grid.amounts]
        for kind, values in (("weights", names), ("amounts", docs)):
            if len(set(values)) < len(values):
                raise self.error(f"two {kind} are the same: {values}; rename one")
        if grid.baseline not in names:
            raise self.error(
                f"baseline is {grid.baseline!r}, but the weights are {', '.join(names)}"
            )
        for weights in grid.weights:
            for n in weights.docs or ():
                if n not in docs:
                    raise self.error(f"{weights.name} wants {n} docs, no amount has")


def _unique_numbers(seeds: List[Any]) -> bool:
    return len(set(map(str, seeds))) == len(seeds) and all(
        type(seed) is int and 0 <= seed < 2**32 for seed in seeds
    )
