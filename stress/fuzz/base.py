"""What a reader is to the fuzzer."""

from abc import ABC, abstractmethod
from pathlib import Path
from random import Random
from typing import Any, ClassVar, List, Tuple, Type

from spacy_embedkit.checks import InputError

from .mutate import Spoil, change_file, change_pack


class WrongNumberError(Exception):
    """A file was accepted, but a plain reading of it gives something else."""


class Reader(ABC):
    """Something that reads bytes.

    folder: An empty folder, in memory if possible, for what has to be a file.
    documented: Exceptions that refuse an input; their text is one line.
    max_bytes: Of an input. cpu_seconds: That an input may take.
    """

    name: ClassVar[str]
    documented: ClassVar[Tuple[Type[Exception], ...]] = (InputError,)
    max_bytes: ClassVar[int] = 4096
    cpu_seconds: ClassVar[float] = 3.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def seeds(self) -> List[bytes]:
        """Make small valid inputs."""

    @abstractmethod
    def read(self, data: bytes) -> Any:
        """Read an input to its end; SkipError if it is none."""

    def check(self, data: bytes, result: Any) -> None:  # noqa: B027
        """Raise WrongNumberError unless the result is that of a plain reading."""

    def mutate(self, data: bytes, rng: Random, spoil: Spoil) -> bytes:
        """Change an input, which is one file."""
        return change_file(data, rng, spoil)


class PackReader(Reader):
    """A reader of several files, which are packed into the input."""

    def mutate(self, data: bytes, rng: Random, spoil: Spoil) -> bytes:
        """Change some of the files."""
        return change_pack(data, rng, spoil)


def same(what: str, found: Any, expected: Any) -> None:
    """Raise WrongNumberError unless both are equal."""
    if found != expected:
        raise WrongNumberError(
            f"{what}: {found!r:.80} was read, {expected!r:.80} is there"
        )
