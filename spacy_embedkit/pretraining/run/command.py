"""A pretraining run from a config, with everything around the loop."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from thinc.api import Config

from ...checks import InputError
from . import outputs as files
from .build import Parts, build
from .checkpoint import Checkpoints
from .compare import check_same, relevant_settings
from .data import TrainingData
from .held_out import HeldOut
from .log import Console
from .loop import Run
from .outputs import Outputs
from .progress import Progress
from .random_state import make_states, set_aside
from .stopping import StopSignals
from .survey import Corpus, survey

# Evaluations of a run, if an epoch has fewer than one of them.
N_EVALUATIONS = 20
LONG_DOC = 20_000
# Of the seed, so that reader and network do not draw the same numbers.
DATA_SEED = 1

Say = Callable[[str], None]


def pretrain(
    raw_config: Config,
    folder: Path,
    *,
    use_gpu: int = -1,
    resume: bool = False,
    force: bool = False,
    say: Say = print,
) -> str:
    """Pretrain, and return why it ended: epochs, patience, time or signal.

    raw_config: With its variables, as it was read.
    folder: To write to.
    resume: Go on where a run in the folder ended; begin if there is none.
    force: Remove an earlier run of the folder.
    say: Called with lines for the user.
    Raises: InputError with one line; ConfigValidationError.
    """
    started = time.monotonic()
    outputs = Outputs(folder)
    outputs.check(resume=resume, force=force)
    checkpoints = Checkpoints(folder, say)
    state = checkpoints.load() if resume and not force else None
    parts = build(raw_config.interpolate(), use_gpu)
    settings = _settings_of(parts)
    if state is not None:
        check_same(state["settings"], settings)
        _compare_versions(state["versions"], say)
    data = TrainingData(
        parts.nlp, parts.reader, parts.batcher, make_states(parts.seed + DATA_SEED)
    )
    corpus = _survey(parts, data, say)
    progress = _progress(parts, corpus, state)
    if state is None:
        outputs.clear()
    elif state["corpus"] != _facts_of(corpus):
        raise InputError(
            f"the corpus is not that of the checkpoint: it had {_said(state['corpus'])}"
            f", now {_said(_facts_of(corpus))}; put back what was there, or begin anew"
        )
    console = Console(
        corpus.n_words * parts.pretraining["max_epochs"], progress.words, say
    )
    run = Run(
        parts,
        data,
        corpus,
        outputs,
        checkpoints,
        progress,
        {"settings": settings, "corpus": _facts_of(corpus), "versions": _versions()},
        on_evaluation=console.on_evaluation,
        on_update=console.on_update,
        started=started,
    )
    try:
        return _train(run, state, raw_config, say)
    finally:
        console.close()


def _train(run: Run, state: Optional[Dict[str, Any]], config: Config, say: Say) -> str:
    with StopSignals() as stop:
        if state is None:
            run.save()
        else:
            run.restore(state)
            say(f"goes on after {run.progress.words:,} words")
        run.outputs.write(files.CONFIG, config.to_str(interpolate=False).encode())
        reason = run.train(stop, None if state is None else state["random"])
        if reason == "signal":
            run.write_last()
        else:
            run.finish()
        _report(run, reason, say)
    return reason


def _report(run: Run, reason: str, say: Say) -> None:
    if not run.parts.settings.report:
        return
    from .page import picture, report

    try:
        svg: Optional[str] = picture(run.progress.rows)
    except ImportError as err:
        say(f"no picture: {err}")
        svg = None
    if svg is not None:
        run.outputs.write(files.PICTURE, svg.encode("utf8"))
    run.outputs.write(files.PAGE, report(run, reason, svg).encode("utf8"))


def _survey(parts: Parts, data: TrainingData, say: Say) -> Corpus:
    own = parts.settings
    say("reads the corpus once")
    with set_aside():
        held_out = HeldOut(own.held_out, own.max_held_out_words)
        corpus = survey(data, held_out, parts.model.attrs.get("prepare"))
    found = corpus.summary
    n_held_out = sum(map(len, corpus.held_out))
    say(
        f"{found.n_docs:,} documents with {found.n_words:,} words"
        + (f", {found.n_empty:,} empty" if found.n_empty else "")
        + f"; held out: {len(corpus.held_out):,} with {n_held_out:,}"
    )
    if found.longest > LONG_DOC:
        say(
            f"the longest document has {found.longest:,} words, which takes memory; "
            "let the reader split it"
        )
    if not corpus.n_words:
        raise InputError("all documents are held out; set held_out = 0 in the config")
    if not corpus.held_out:
        if own.patience:
            raise InputError(
                "patience needs a held-out part, but none is held out; give more "
                f"documents, or a held_out above {own.held_out}"
            )
        say("no part is held out, so there will be no model-best.bin")
    return corpus


def _progress(
    parts: Parts, corpus: Corpus, state: Optional[Dict[str, Any]]
) -> Progress:
    if state is not None:
        return Progress(**state["progress"])
    n_words = corpus.n_words * parts.pretraining["max_epochs"]
    every = min(corpus.n_words, -(-n_words // N_EVALUATIONS))
    return Progress(eval_every=parts.settings.eval_every or max(1, every))


def _settings_of(parts: Parts) -> Dict[str, Any]:
    kept = parts.config.copy()
    kept["embedkit"] = {"pretrain": parts.settings.model_dump()}
    return relevant_settings(kept, parts.pretraining["corpus"])


def _facts_of(corpus: Corpus) -> Dict[str, Any]:
    found = corpus.summary
    return {
        "n_docs": found.n_docs,
        "n_words": found.n_words,
        "checksum": f"{found.checksum:016x}",
    }


def _said(facts: Dict[str, Any]) -> str:
    return f"{facts['n_docs']:,} documents with {facts['n_words']:,} words"


def _compare_versions(before: Dict[str, str], say: Say) -> None:
    now = _versions()
    changed = [
        f"{name} {before.get(name)} to {now[name]}"
        for name in now
        if before.get(name) != now[name]
    ]
    if changed:
        said = ", ".join(changed)
        say(f"changed since the checkpoint: {said}; last digits may differ")


def _versions() -> Dict[str, str]:
    return {name: version(name) for name in ("spacy", "thinc", "numpy")}
