"""Results of trials: read again, unless they were made with other settings."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence

from ..checks import InputError
from .plan import Plan
from .processes import TRIALS, check_folder
from .trials import Trial, make_trials

Result = Dict[str, Any]
DATA, SPEED = "data", "speed"


@dataclass
class Outcome:
    """What came of a plan: results by trial, and why trials failed or were left out.

    speeds: Words/s in each round, by variant; empty if they were not measured.
    """

    results: Dict[str, Result]
    failed: Dict[str, str] = field(default_factory=dict)
    left: List[str] = field(default_factory=list)
    speeds: Dict[str, List[float]] = field(default_factory=dict)


def read_outcome(plan: Plan, out: Path) -> Outcome:
    """Return what is there of a plan, as run_plan does."""
    check_folder(out)
    trials = make_trials(plan, out / DATA)
    results = read_results(trials, out)
    names = [trial.name for trial in trials]
    speeds: Dict[str, List[float]] = {}
    if plan.speed and (out / f"{SPEED}.json").exists():
        speeds = json.loads((out / f"{SPEED}.json").read_text())["words_per_second"]
    left = [name for name in names if name not in results]
    return Outcome(results, left=left, speeds=speeds)


def read_results(
    trials: Sequence[Trial], out: Path, skip_others: bool = False
) -> Dict[str, Result]:
    """Return the results that are there, in the order of the trials.

    skip_others: Leave out results that were made with other settings.
    Raises InputError naming the settings that differ, if there is one otherwise.
    """
    results = {}
    for trial in trials:
        path = out / TRIALS / f"{trial.name}.json"
        if not path.exists():
            continue
        try:
            result = json.loads(path.read_text(encoding="utf8"))
            found = differences(trial, result)
        except (ValueError, KeyError, TypeError) as err:
            raise InputError(
                f"{path}: is not the result of a trial; delete it"
            ) from err
        if found and skip_others:
            continue
        if found:
            raise InputError(
                f"{path}: was made with other settings: {'; '.join(found[:3])}"
                f"{f' and {len(found) - 3} more' if len(found) > 3 else ''}; delete "
                "the file, name another output folder, or give --force"
            )
        results[trial.name] = result
    return results


def differences(trial: Trial, result: Dict[str, Any]) -> List[str]:
    """Return one text for each setting or input that differs: its name, both values.

    An input that is gone differs from nothing: what was learned from it is still true.
    """
    inputs = {
        name: value
        for name, value in result["inputs"].items()
        if name not in trial.inputs or trial.inputs[name].exists()
    }
    here = {name: value for name, value in trial.hashes().items() if value}
    old, new = {**result["settings"], **inputs}, {**trial.settings, **here}
    # Settings went through JSON once, and tuples came back as lists.
    new = json.loads(json.dumps(new))
    absent = object()
    return [
        f"{key} is {_short(old.get(key))} there and {_short(new.get(key))} here"
        for key in sorted({**old, **new})
        if old.get(key, absent) != new.get(key, absent)
    ]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
