"""What is to be distilled, and how."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..checks import InputError
from ..experiments.trials import pipeline_folder
from ..text.files import find_files


@dataclass(frozen=True)
class Request:
    """What is to be distilled, and how.

    teacher: Folder or package of a pipeline. raw: File, folder or pattern of raw text.
    train, dev, test: Annotated docs, as in Plan. config: Of the student; None for the
        components of the teacher on a small network. overrides: Of its settings, by
        dotted names.
    docs: Training docs to use, the first ones; None for all.
    epochs: Passes over the raw text; None for up to 20.
    seeds: Trainings of each variant. jobs: Trainings at a time.
    baseline: Whether to train the student without its teacher too.
    force: Whether to do steps again that were done for other inputs or settings.
    """

    teacher: str
    raw: str
    train: Path
    dev: Path
    test: Optional[Path] = None
    config: Optional[Path] = None
    overrides: Dict[str, Any] = field(default_factory=dict)
    docs: Optional[int] = None
    epochs: Optional[int] = None
    seeds: int = 1
    jobs: int = 1
    baseline: bool = True
    force: bool = False

    def check(self) -> None:
        """Raise InputError naming the input that is not there."""
        for name in ("train", "dev", "test", "config"):
            path = getattr(self, name)
            if path is not None and not path.exists():
                raise InputError(f"--{name} {path}: no such file or folder")
        for file in self.raw_files():
            if not file.is_file():
                raise InputError(f"{file}: no such file; name raw text")
        if not (self.teacher_folder() / "config.cfg").is_file():
            raise InputError(
                f"{self.teacher}: is neither the folder of a pipeline nor an installed "
                "one"
            )

    def raw_files(self) -> List[Path]:
        """Return the files of raw text."""
        return [Path(path) for path in find_files([self.raw])]

    def teacher_folder(self) -> Path:
        """Return the folder of the teacher."""
        return pipeline_folder(self.teacher)
