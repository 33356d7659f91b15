"""The student with and without its teacher: trained, scored, timed, reported."""

import shutil
from pathlib import Path
from typing import List

from ..checks import InputError
from ..experiments.comparison_report import write_report
from ..experiments.engine import BEST, run_plan
from ..experiments.plan import ALL, Amount, Contribution, Plan, SpeedSettings, Variant
from ..io import atomic_folder, write_atomic
from .finished_steps import FinishedSteps
from .request import Request

STUDENT_CONFIG, PLAIN_CONFIG, NOTES = "config.cfg", "plain.cfg", "steps.txt"
TRIALS, MODEL = "trainings", "model-best"
TEACHER, PLAIN, DISTILLED = "teacher", "plain", "distilled"


def compare_students(
    request: Request, out: Path, weights: Path, done: FinishedSteps
) -> str:
    """Train what is not trained yet, and report; return the report as Markdown.

    weights: Of the pretrained layer. The best student by dev is put into model-best.
    """
    notes = [f"{name}: {step['minutes']} minutes" for name, step in done.found.items()]
    write_atomic(out / NOTES, "\n".join(notes).encode())
    plan = make_plan(request, out, weights)
    trials = out / TRIALS
    outcome = run_plan(plan, trials, jobs=request.jobs, force=request.force)
    text = write_report(plan, outcome, out)
    if outcome.failed:
        reasons = "; ".join(outcome.failed.values())
        raise InputError(f"{len(outcome.failed)} trainings failed: {reasons}")
    with atomic_folder(out / MODEL) as partial:
        shutil.copytree(trials / BEST, partial, dirs_exist_ok=True)
    return text


def make_plan(request: Request, out: Path, weights: Path) -> Plan:
    """Return the plan of the trainings."""
    student = Variant(name=DISTILLED, init_tok2vec=str(weights))
    variants = [Variant(name=TEACHER, pipeline=request.teacher), student]
    contributions: List[Contribution] = []
    if request.baseline:
        variants.insert(0, Variant(name=PLAIN, config=out / PLAIN_CONFIG))
        contributions.append(
            Contribution(name="the teacher", variant=DISTILLED, base=PLAIN)
        )
    return Plan(
        amounts=(Amount(docs=ALL),),
        config=out / STUDENT_CONFIG,
        train=request.train,
        dev=request.dev,
        test=request.test,
        variants=tuple(variants),
        contributions=tuple(contributions),
        baseline=variants[0].name,
        best=DISTILLED,
        seeds=tuple(range(request.seeds)),
        speed=SpeedSettings(words=10_000, rounds=7),
        notes=out / NOTES,
    )
