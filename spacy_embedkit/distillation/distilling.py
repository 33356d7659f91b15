"""From a teacher, raw text and annotated documents to a trained student."""

import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from catalogue import RegistryError
from spacy.util import dict_to_dot, get_lang_class, load_config
from thinc.api import Config
from thinc.config import ConfigValidationError

from ..checks import InputError, one_line
from ..experiments.trials import content_hash, fill_blocks, override, read_docs
from ..io import describe_os_error, remove, write_atomic
from ..pretraining.run.command import pretrain
from ..pretraining.run.run_folder import BEST, LAST
from ..pretraining.run.run_report import ENDS
from ..transformer.pretrained import save_transformer
from .finished_steps import FinishedSteps, Step
from .request import Request
from .student import make_student
from .students import PLAIN_CONFIG, STUDENT_CONFIG, compare_students
from .teaching import Text, add_pretraining, count_words, has_transformer

TRANSFORMER, PRETRAIN, TARGETS, RAW = "transformer", "pretrain", "targets", "raw text"
# What a pretrained layer depends on, but for where files are.
TAUGHT = ("nlp.lang", "nlp.tokenizer.", "pretraining.", "embedkit.", "training.seed")
PLACES = ("path", "transformer", "cache_dir", "max_minutes", "report")
# Settings of pretraining alone.
OF_PRETRAINING = ("pretraining.", "embedkit.", "corpora.pretrain.")

Say = Callable[[str], None]


def distil(request: Request, out: Path, say: Say = print) -> str:
    """Teach, train, evaluate and report; return the report as Markdown.

    out: Folder of everything. A step that is done is not done again.
    say: Called with lines for the user.
    Raises: InputError with one line, before anything is lost if a step in out was done
        for other inputs or settings; KeyboardInterrupt if a signal comes.
    """
    request.check()
    done = FinishedSteps(out)
    try:
        with done.alone():
            return _Distillation(request, out, done, say).run()
    except (ConfigValidationError, RegistryError) as err:
        raise InputError(f"the config can't be used: {one_line(err)}") from err
    except OSError as err:
        raise InputError(
            f"could not write to {out} ({describe_os_error(err)}); make room or give "
            "permission, then run the same command to go on"
        ) from err


class _Distillation:
    """The steps, in their order."""

    def __init__(
        self, request: Request, out: Path, done: FinishedSteps, say: Say
    ) -> None:
        self.request = request
        self.out = out
        self.done = done
        self.say = say
        folder = request.teacher_folder()
        self.teacher_config = load_config(folder / "config.cfg")
        self.teacher_hash = content_hash(folder)

    def run(self) -> str:
        """Do what is not done yet, and report."""
        config = self._make_config()
        text = self._read_text(config)
        transformer: Optional[Path] = None
        if has_transformer(self.teacher_config):
            transformer = self.out / TRANSFORMER
        else:
            self.say(
                f"note: {self.request.teacher} has no transformer, so the student is "
                "pretrained on the words of the raw text alone"
            )
        plain = self._override(config, of_pretraining=False)
        add_pretraining(config, text, transformer, self.out / TARGETS)
        config = self._override(config)
        steps = [self._pretrain_step(config, text)]
        if transformer:
            steps.insert(0, Step(TRANSFORMER, {"teacher": self.teacher_hash}))
        self._check(steps)
        for name, content in ((STUDENT_CONFIG, config), (PLAIN_CONFIG, plain)):
            data = content.to_str(interpolate=False).encode()
            write_atomic(self.out / name, data)
        if transformer:
            self._save_transformer(steps[0], transformer)
        weights = self._pretrain(steps[-1], config)
        return compare_students(self.request, self.out, weights, self.done)

    def _make_config(self) -> Config:
        request = self.request
        if request.config is None:
            config, left = make_student(
                self.teacher_config, request.teacher, read_docs(request.train)
            )
            for name, reason in left.items():
                self.say(f"note: the student has no {name}: {reason}")
            return config
        try:
            return fill_blocks(load_config(request.config, interpolate=False))
        except (ValueError, OSError) as err:
            raise InputError(f"{request.config}: {one_line(err)}") from err

    def _override(self, config: Config, of_pretraining: bool = True) -> Config:
        """Return the config with the settings of the command line."""
        settings = {
            name: value
            for name, value in self.request.overrides.items()
            if of_pretraining or not name.startswith(OF_PRETRAINING)
        }
        if self.request.docs is not None:
            settings[f"{config['training']['train_corpus']}.limit"] = self.request.docs
        try:
            return override(config, settings)
        except ValueError as err:
            raise InputError(f"the student's config: {one_line(err)}") from err

    def _read_text(self, config: Config) -> Text:
        """Count the words of the raw text, which decide about the learning rate."""
        hashes = [content_hash(path) for path in self.request.raw_files()]
        step = Step(RAW, {"raw": hashes, **_settings(config, ("nlp.lang", "nlp.tok"))})
        self._check([step])
        if not self.done.is_done(step):
            with self.done.doing(step) as kept:
                kept["words"] = count_words(config, self.request.raw)
        n_words = self.done.found[RAW]["words"]
        self.say(f"{RAW}: {n_words:,} words")
        return Text(self.request.raw, n_words, self.request.epochs)

    def _check(self, steps: list[Step]) -> None:
        if not self.request.force:
            self.done.check(steps)

    def _pretrain_step(self, config: Config, text: Text) -> Step:
        block = config["pretraining"]["component"]
        names = (*TAUGHT, f"components.{block}.", f"{config['pretraining']['corpus']}.")
        key = {"teacher": self.teacher_hash, **self.done.found[RAW]["key"]}
        return Step(PRETRAIN, {**key, **_settings(config, names)})

    def _save_transformer(self, step: Step, folder: Path) -> None:
        if self._is_done(step, folder):
            return
        with self.done.doing(step):
            self.say(save_transformer(self.request.teacher, folder, None, force=True))

    def _pretrain(self, step: Step, config: Config) -> Path:
        """Pretrain, or go on; return the file of the weights."""
        folder = self.out / PRETRAIN
        weights = [folder / name for name in (BEST, LAST)]
        if not self._is_done(step, weights[1]):
            if self.done.differences(step):
                # Before the step is noted: a run that is killed must not go on here.
                remove(folder)
            with self.done.doing(step):
                reason = pretrain(
                    _alone(config), folder, resume=True, say=self._say_pretraining
                )
                if reason == "signal":
                    raise KeyboardInterrupt
            # Much larger than all else, and not needed again.
            shutil.rmtree(self.out / TARGETS, ignore_errors=True)
        return next(path for path in weights if path.exists())

    def _say_pretraining(self, line: str) -> None:
        """Say what pretraining says, but for how to go on with it alone."""
        if line != ENDS["signal"] and not line.startswith("Next: "):
            self.say(line)

    def _is_done(self, step: Step, made: Path) -> bool:
        is_done = self.done.is_done(step) and made.exists()
        if is_done:
            self.say(f"{step.name}: is done")
        return is_done


def _alone(config: Config) -> Config:
    """Return the config of the pretrained component alone, filled."""
    name, config = config["pretraining"]["component"], config.copy()
    filled = get_lang_class(config["nlp"]["lang"]).default_config["nlp"]
    config["nlp"] = {**filled, **config["nlp"]}
    config["nlp"]["pipeline"] = [name]
    config["components"] = {name: config["components"][name]}
    return config


def _settings(config: Config, names: tuple[str, ...]) -> Dict[str, Any]:
    return {
        name: value
        for name, value in dict_to_dot(config.interpolate()).items()
        if name.startswith(names) and name.rsplit(".", 1)[-1] not in PLACES
    }
