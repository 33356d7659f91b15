"""A pretraining run from a config, with everything around the loop."""

import signal
import threading
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from thinc.api import Config

from ...checks import InputError
from ...io import describe_os_error
from ...text.corpus import RawTextCorpus
from .checkpoint_contents import check_contents
from .held_out import HeldOutSample
from .loop import Run
from .random_state import fork_rng
from .run_folder import CONFIG, PAGE, PICTURE, RunFolder
from .run_progress import RunProgress
from .run_report import ENDS, Console, next_command, picture, report
from .run_settings import RunParts, build_parts, check_same, relevant_settings
from .training_data import TrainingData

# Evaluations of a run whose epochs have fewer than one each.
N_EVALUATIONS = 20
LONG_DOC = 20_000
# Added to the seed, so that reader and network do not draw the same numbers.
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
    force: Replace a run in the folder.
    say: Called with lines for the user.
    Raises: InputError with one line; ConfigValidationError.
    """
    started = time.monotonic()
    outputs = RunFolder(folder, say)
    outputs.check(resume=resume, force=force)
    checkpoint = outputs.load_checkpoint() if resume and not force else None
    if checkpoint is not None:
        check_contents(checkpoint)
    parts = build_parts(raw_config.interpolate(), use_gpu)
    data, facts = _open_corpus(parts, checkpoint, say)
    progress = _make_progress(parts, data, checkpoint)
    n_words = data.n_words * parts.pretraining["max_epochs"]
    console = Console(n_words, progress.words, say)
    run = Run(parts, data, outputs, progress, console, facts, started)
    try:
        reason = _train(run, checkpoint, raw_config, say)
    except OSError as err:
        raise InputError(
            f"could not write to {folder} ({describe_os_error(err)}); the last "
            "checkpoint is complete: make room or give permission, then --resume"
        ) from err
    finally:
        console.close()
    say(ENDS[reason])
    if reason != "signal":
        say(f"Next: {next_command(outputs, progress)}")
    return reason


def _open_corpus(
    parts: RunParts, checkpoint: Optional[Dict[str, Any]], say: Say
) -> Tuple[TrainingData, Dict[str, Any]]:
    """Return the corpus after a first pass, and what a checkpoint says of the run.

    Raises: InputError if the checkpoint is that of another config or corpus.
    """
    facts: Dict[str, Any] = {
        "settings": relevant_settings(parts),
        "versions": _versions(),
    }
    if checkpoint is not None:
        check_same(checkpoint["settings"], facts["settings"])
        _compare_versions(checkpoint["versions"], facts["versions"], say)
    batcher, seed = parts.pretraining["batcher"], parts.seed + DATA_SEED
    data = TrainingData(parts.nlp, parts.reader, batcher, seed)
    _survey(parts, data, say)
    facts["corpus"] = now = {
        "n_docs": data.counts.n_docs,
        "n_words": data.counts.n_words,
        "checksum": f"{data.counts.checksum:016x}",
    }
    if checkpoint is not None and checkpoint["corpus"] != now:
        old = checkpoint["corpus"]
        raise InputError(
            f"the corpus is not that of the checkpoint: it had {old['n_docs']:,} "
            f"documents with {old['n_words']:,} words, now {now['n_docs']:,} with "
            f"{now['n_words']:,}; put back what was there, or start again with --force"
        )
    facts["prepared"] = data.prepared
    if (checkpoint or {}).get("prepared", data.prepared) != data.prepared:
        say(
            "the targets of the teacher are not those of the checkpoint, since they "
            "were computed anew; what is learned differs from here on"
        )
    return data, facts


def _train(
    run: Run, checkpoint: Optional[Dict[str, Any]], config: Config, say: Say
) -> str:
    with _stop_on_signals() as stop:
        if checkpoint is None:
            run.folder.clear()
            run.save()
        else:
            run.restore(checkpoint)
            say(f"continuing after {run.progress.words:,} words")
        run.folder.write(CONFIG, config.to_str(interpolate=False).encode())
        reason = run.train(stop)
        if run.parts.settings.report:
            _report(run, reason, say)
    return reason


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Set the event on Ctrl-C or SIGTERM, and interrupt at once on a second one."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before: Dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(run: Run, reason: str, say: Say) -> None:
    svg: Optional[str] = None
    try:
        svg = picture(run.progress.rows)
        run.folder.write(PICTURE, svg.encode("utf8"))
    except ImportError as err:
        say(f"no picture: {err}")
    run.progress.seconds = run.seconds
    page = report(run.parts, run.data, run.folder, run.progress, reason, svg)
    run.folder.write(PAGE, page.encode("utf8"))


def _survey(parts: RunParts, data: TrainingData, say: Say) -> None:
    own = parts.settings
    say("reading the corpus once")
    with fork_rng():
        sample = HeldOutSample(own.held_out, own.max_held_out_words)
        data.survey(sample, parts.model.attrs.get("prepare"))
    found, n_held_out = data.counts, sum(map(len, data.held_out))
    say(
        f"{found.n_docs:,} documents with {found.n_words:,} words"
        + (f", {found.n_empty:,} empty" if found.n_empty else "")
        + f"; mean {found.n_words / found.n_docs:.1f}, longest {found.longest:,}"
        + f"; held out: {len(data.held_out):,} with {n_held_out:,}"
    )
    if isinstance(parts.reader, RawTextCorpus):
        say(parts.reader.describe())
    if found.longest > LONG_DOC:
        say(
            f"the longest document has {found.longest:,} words, which takes memory; "
            "let the reader split it"
        )
    if not data.n_words:
        raise InputError("all documents are held out; set held_out = 0 in the config")
    if not data.held_out:
        if own.patience:
            raise InputError(
                "patience needs a held-out part, but none is held out; give more "
                f"documents, or a held_out above {own.held_out}"
            )
        say("no part is held out, so there will be no model-best.bin")


def _make_progress(
    parts: RunParts, data: TrainingData, checkpoint: Optional[Dict[str, Any]]
) -> RunProgress:
    if checkpoint is not None:
        return RunProgress.from_dict(checkpoint["progress"])
    n_words = data.n_words * parts.pretraining["max_epochs"]
    every = min(data.n_words, -(-n_words // N_EVALUATIONS))
    return RunProgress(eval_every=parts.settings.eval_every or max(1, every))


def _compare_versions(before: Dict[str, str], now: Dict[str, str], say: Say) -> None:
    changes = ", ".join(
        f"{name} {before.get(name)} to {new}"
        for name, new in now.items()
        if before.get(name) != new
    )
    if changes:
        say(f"changed since the checkpoint: {changes}; last digits may differ")


def _versions() -> Dict[str, str]:
    return {name: version(name) for name in ("spacy", "thinc", "numpy")}
