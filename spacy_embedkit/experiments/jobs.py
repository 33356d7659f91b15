"""The runs of a grid, ready to be done: config, files, and what tells them apart."""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from spacy.language import DEFAULT_CONFIG_PRETRAIN_PATH
from spacy.tokens import DocBin
from spacy.util import load_config
from thinc.api import Config

from ..checks import InputError, one_line
from ..io import write_atomic
from .nested_config import content_hash, flatten, merge, nested
from .plan import ALL, Cell, Docs, Grid

# Says which layer does not fit, where spaCy's own error does not.
CHECK = {"@callbacks": "spacy-embedkit.check_tok2vec.v1"}
# Where the files of a run lie says nothing about it; what is in them does.
PLACES = re.compile(r"paths\..*|system\.seed|initialize\.(init_tok2vec|before_init.*)")


@dataclass(frozen=True)
class Job:
    """A run: its cell, its config, and its settings by dotted names.

    weights: The file that it starts from, if any.
    """

    cell: Cell
    config: Config
    settings: Dict[str, Any]
    weights: Optional[Path]

    @property
    def steps(self) -> int:
        """Updates that it takes at most; 1 if there is no limit."""
        return int(self.config["training"].get("max_steps") or 1)


def make_jobs(grid: Grid, folder: Path) -> List[Job]:
    """Make a job of each cell, or raise InputError naming the setting that is wrong.

    folder: Where write_subsets puts the smaller training files.
    """
    try:
        base = load_config(grid.config, interpolate=False)
    except (ValueError, OSError) as err:
        raise InputError(f"{grid.config}: is no config ({one_line(err)})") from err
    n_docs = len(read_docs(grid.train))
    for amount in grid.amounts:
        if amount.n_docs is not None and amount.n_docs > n_docs:
            raise InputError(
                f"{grid.train}: has {n_docs} docs, but an amount asks for "
                f"{amount.docs}; give fewer, or all"
            )
    return [_make_job(grid, cell, base, folder) for cell in grid.cells()]


def _make_job(grid: Grid, cell: Cell, base: Config, folder: Path) -> Job:
    weights = cell.weights.file(cell.seed, cell.amount.docs)
    data = _with_weights(_with_overrides(grid, cell, base), weights)
    train = subset_path(grid, cell.amount.docs, folder)
    places = {}
    for split, path in (("train", train), ("dev", grid.dev)):
        corpus = data["training"].get(f"{split}_corpus", f"corpora.{split}")
        places[f"{corpus}.path"] = str(path)
    data = merge(data, nested(places))
    config = Config(data)
    try:
        plain = flatten(config.interpolate())
    except ValueError as err:
        raise InputError(f"{grid.config}: {one_line(err)}") from err
    settings = {
        key: value
        for key, value in plain.items()
        if key not in places and not PLACES.fullmatch(key)
    }
    for name, file in (("train", grid.train), ("dev", grid.dev), ("test", grid.test)):
        settings[name] = content_hash(file)
    vectors = plain.get("initialize.vectors")
    if vectors and Path(vectors).exists():
        settings["initialize.vectors"] = content_hash(Path(vectors))
    settings["docs"] = cell.amount.docs
    settings["subset_seed"] = None if cell.amount.docs == ALL else grid.subset_seed
    settings["code"] = None if grid.code is None else content_hash(grid.code)
    return Job(cell, config, settings, weights)


def _with_overrides(grid: Grid, cell: Cell, base: Config) -> Dict[str, Any]:
    """Apply the overrides, the special ones last, and set the seed."""
    data: Dict[str, Any] = dict(base)
    seeds: Dict[str, Any] = {"training": {"seed": cell.seed}}
    if "system" in data:
        seeds["system"] = {"seed": cell.seed}
    for new in (
        grid.overrides,
        cell.amount.overrides,
        cell.weights.overrides,
        seeds,
    ):
        data = merge(data, new)
    return data


def _with_weights(data: Dict[str, Any], weights: Optional[Path]) -> Dict[str, Any]:
    """Set the file to start from, in a way that spaCy heeds and that is checked."""
    initialize = dict(data.get("initialize", {}))
    initialize["init_tok2vec"] = None if weights is None else str(weights)
    if weights is not None and not initialize.get("before_init"):
        initialize["before_init"] = CHECK
    data = {**data, "initialize": initialize}
    if weights is not None:
        # spaCy loads no weights where this block is empty.
        default = load_config(DEFAULT_CONFIG_PRETRAIN_PATH, interpolate=False)
        data["pretraining"] = {
            **default["pretraining"],
            **data.get("pretraining", {}),
        }
    return data


def read_docs(path: Path) -> DocBin:
    """Read the docs of a .spacy file, or of all of them in a folder, as they are."""
    files = sorted(path.rglob("*.spacy")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no .spacy file; run `spacy convert` first")
    docs: Optional[DocBin] = None
    for file in files:
        try:
            found = DocBin(store_user_data=True).from_bytes(file.read_bytes())
            if docs is None:
                docs = found
            else:
                docs.merge(found)
        except (ValueError, KeyError, TypeError) as err:
            raise InputError(
                f"{file}: is no .spacy file, or differs from the others in what it "
                f"stores ({one_line(err)}); run `spacy convert` again"
            ) from err
    assert docs is not None
    return docs


def subset_path(grid: Grid, docs: Docs, folder: Path) -> Path:
    """Return where the training docs of an amount lie."""
    return grid.train if docs == ALL else folder / f"train-{docs}.spacy"


def write_subsets(grid: Grid, folder: Path) -> None:
    """Write the training file of each amount: the first docs of one shuffle.

    Nothing of a doc is changed, and a smaller amount is a part of a larger one.
    """
    docs = read_docs(grid.train)
    order = list(range(len(docs)))
    random.Random(grid.subset_seed).shuffle(order)
    folder.mkdir(parents=True, exist_ok=True)
    for amount in grid.amounts:
        if amount.n_docs is None:
            continue
        part = DocBin(store_user_data=docs.store_user_data)
        part.attrs, part.strings = docs.attrs, docs.strings
        for name in ("tokens", "spaces", "cats", "flags", "span_groups", "user_data"):
            values = getattr(docs, name)
            setattr(part, name, [values[i] for i in order[: amount.n_docs]])
        write_atomic(subset_path(grid, amount.docs, folder), part.to_bytes())
