"""The trials of a plan, ready to be run: config, files, and what tells them apart."""

import hashlib
import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Dict, List, Optional

from spacy.language import DEFAULT_CONFIG, DEFAULT_CONFIG_PRETRAIN_PATH
from spacy.tokens import DocBin
from spacy.util import dict_to_dot, get_package_path, is_package, load_config
from thinc.api import Config

from ..checks import InputError, one_line
from ..io import write_atomic
from .plan import ALL, Amount, Docs, Overrides, Plan, Variant

# Says which layer does not fit, where spaCy's own error does not.
CHECK = {"@callbacks": "spacy-embedkit.check_tok2vec.v1"}
# Where the files of a trial lie says nothing about it; what is in them does.
PLACES = re.compile(
    r"paths\..*|system\.seed|initialize\.(vectors|init_tok2vec|before_init.*)"
)


@dataclass(frozen=True)
class Trial:
    """One training.

    settings: Of its config, by dotted names, without the places of files.
    inputs: Files and folders that it reads, by what they are to it.
    """

    variant: Variant
    docs: Docs
    seed: int
    config: Config
    settings: Dict[str, Any]
    inputs: Dict[str, Path]

    @property
    def name(self) -> str:
        """Name of the trial and of its result."""
        return trial_name(self.variant.name, self.docs, self.seed)

    @property
    def steps(self) -> int:
        """Largest number of updates; 1 without a limit, 0 for a finished pipeline."""
        if self.variant.pipeline:
            return 0
        return int(self.config["training"].get("max_steps") or 1)

    @property
    def missing(self) -> List[Path]:
        """Inputs that are not there."""
        return [path for path in self.inputs.values() if not path.exists()]

    def hashes(self) -> Dict[str, Optional[str]]:
        """Return the hash of each input by name, None for one that is not there."""
        return {
            name: content_hash(path) if path.exists() else None
            for name, path in self.inputs.items()
        }


def trial_name(variant: str, docs: Docs, seed: int) -> str:
    """Return the name of a trial."""
    return f"{variant}-{docs}-{seed}"


def make_trials(plan: Plan, folder: Path) -> List[Trial]:
    """Make the trials, or raise InputError naming the setting that is wrong.

    folder: Where write_subsets puts the smaller training files.
    """
    return [_make_trial(plan, *trial, folder) for trial in plan.trials()]


def _make_trial(
    plan: Plan, variant: Variant, amount: Amount, seed: int, folder: Path
) -> Trial:
    path, docs = variant.config or plan.config, amount.docs
    inputs = {"dev": plan.dev, **({"test": plan.test} if plan.test else {})}
    if variant.pipeline:
        inputs["pipeline"] = pipeline_folder(variant.pipeline)
        return Trial(variant, docs, seed, Config(), {"docs": docs}, inputs)
    inputs = {"train": variant.train or plan.train, **inputs}
    try:
        config = fill_blocks(load_config(path, interpolate=False))
        for overrides in (plan.overrides, amount.overrides, variant.overrides):
            config = override(config, overrides)
        weights = variant.weights(seed, docs)
        _set_seed_and_weights(config, seed, weights)
        train = subset_path(plan, variant, docs, folder)
        places = {}
        for split, data in (("train", train), ("dev", plan.dev)):
            places[f"{config['training'][f'{split}_corpus']}.path"] = str(data)
        config = override(config, places)
        plain = dict_to_dot(config.interpolate())
    except (ValueError, OSError) as err:
        raise InputError(f"{path}: {one_line(err)}") from err
    others = {"init_tok2vec": weights, "code": plan.code}
    others["initialize.vectors"] = plain.get("initialize.vectors")
    inputs.update({name: Path(file) for name, file in others.items() if file})
    settings = {
        key: value
        for key, value in plain.items()
        if key not in places and not PLACES.fullmatch(key)
    }
    settings["docs"] = docs
    settings["subset_seed"] = None if docs == ALL else plan.subset_seed
    return Trial(variant, docs, seed, config, settings, inputs)


def pipeline_folder(name: str) -> Path:
    """Return the folder of an installed pipeline, or the path that the name is."""
    if not is_package(name):
        return Path(name)
    configs = sorted(get_package_path(name).glob("*/config.cfg"))
    return configs[0].parent if configs else get_package_path(name)


def override(config: Config, overrides: Overrides) -> Config:
    """Return a config with other settings, as `spacy train --NAME VALUE` has them."""
    dotted = dict_to_dot(overrides, for_overrides=True)
    return Config().from_str(config.to_str(), overrides=dotted, interpolate=False)


def fill_blocks(config: Config) -> Config:
    """Return a config with the blocks of spaCy's default that it lacks.

    spaCy fills them when it trains; before, so that overrides find every block.
    """
    # What is missing in [nlp] depends on the language.
    blocks = {key: block for key, block in DEFAULT_CONFIG.items() if key != "nlp"}
    return Config(blocks).merge(config)


def _set_seed_and_weights(config: Config, seed: int, weights: Optional[Path]) -> None:
    config["system"]["seed"] = config["training"]["seed"] = seed
    initialize = config["initialize"]
    initialize["init_tok2vec"] = None if weights is None else str(weights)
    if weights is None:
        return
    if not initialize.get("before_init"):
        initialize["before_init"] = CHECK
    # spaCy loads no weights where this block is empty.
    default = load_config(DEFAULT_CONFIG_PRETRAIN_PATH, interpolate=False)
    given = config.get("pretraining", {})
    config["pretraining"] = {**default["pretraining"], **given}


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
                f"{file}: is not a .spacy file, or differs from the others in what it "
                f"stores ({one_line(err)}); run `spacy convert` again"
            ) from err
    assert docs is not None
    return docs


def subset_path(plan: Plan, variant: Variant, docs: Docs, folder: Path) -> Path:
    """Return where the training docs of a trial lie."""
    if docs == ALL:
        return variant.train or plan.train
    return folder / f"{variant.name if variant.train else 'train'}-{docs}.spacy"


def write_subsets(plan: Plan, trials: List[Trial], folder: Path) -> None:
    """Write the training docs of each smaller amount: the first ones of one shuffle.

    Nothing of a doc is changed, and a smaller amount is a part of a larger one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        subset_path(plan, trial.variant, trial.docs, folder): trial
        for trial in trials
        if trial.docs != ALL
        and "train" in trial.inputs
        and trial.inputs["train"].exists()
    }
    for path, trial in parts.items():
        docs, wanted = read_docs(trial.inputs["train"]), int(trial.docs)
        if wanted > len(docs):
            raise InputError(
                f"{trial.inputs['train']}: has {len(docs)} docs, but an amount asks "
                f"for {wanted}; give fewer, or all"
            )
        order = list(range(len(docs)))
        random.Random(plan.subset_seed).shuffle(order)
        part = DocBin(store_user_data=docs.store_user_data)
        part.attrs, part.strings = docs.attrs, docs.strings
        for name in ("tokens", "spaces", "cats", "flags", "span_groups", "user_data"):
            values = getattr(docs, name)
            setattr(part, name, [values[i] for i in order[:wanted]])
        write_atomic(path, part.to_bytes())


def content_hash(path: Path) -> str:
    """Return the sha256 of a file, or of the names and contents in a folder."""
    if path.is_dir():
        lines = [
            f"{file.relative_to(path)} {content_hash(file)}\n"
            for file in sorted(path.rglob("*"))
            if file.is_file()
        ]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    status = path.stat()
    return _hash_file(path, status.st_size, status.st_mtime_ns)


@cache
def _hash_file(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
