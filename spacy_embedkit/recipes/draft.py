"""A config in the making: blocks, why they are there, and what to run next."""

import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

from thinc.api import Config
from thinc.config import ConfigValidationError

from ..checks import InputError, one_line, printable

COMMENT_WIDTH = 78


@dataclass
class Draft:
    """What a recipe writes and says.

    comments: Why, by the section or setting it is about, in dots. chosen: What was
    chosen, and why, for the user. commands: To run next, in order.
    """

    config: Config
    comments: Dict[str, str] = field(default_factory=dict)
    chosen: List[Tuple[str, str]] = field(default_factory=list)
    commands: List[str] = field(default_factory=list)

    @property
    def components(self) -> Dict[str, Any]:
        """The blocks of the components."""
        return self.config["components"]

    @property
    def pipeline(self) -> List[str]:
        """Names of the components, in order."""
        return self.config["nlp"]["pipeline"]

    def put(self, name: str, value: Any, why: Optional[str] = None) -> None:
        """Set a block or setting, by its dotted name, instead of what is there."""
        *outer, last = name.split(".")
        block = self.config
        for part in outer:
            block = block.setdefault(part, {})
        block[last] = value
        if why:
            self.comments[name] = why

    def say(self, what: str, why: str) -> None:
        """Tell the user what was chosen."""
        self.chosen.append((what, why))


def walk_blocks(
    block: Dict[str, Any], name: str = ""
) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Yield all blocks in a block, with their dotted names."""
    for key, value in list(block.items()):
        if isinstance(value, dict):
            dotted = f"{name}.{key}" if name else key
            yield dotted, value
            yield from walk_blocks(value, dotted)


def to_text(config: Config, comments: Dict[str, str], head: str) -> str:
    """Return the text of a config with comments above what they are about.

    Raises: InputError if it can't be read again as it is, for a path with a dollar.
    """
    lines = [*_comment(head), ""]
    section = ""
    for line in config.to_str(interpolate=False).split("\n"):
        if match := re.fullmatch(r"\[(.+)\]", line):
            section = match[1]
            lines += _comment(comments.get(section, ""))
        elif match := re.match(r"(\S+) = ", line):
            lines += _comment(comments.get(f"{section}.{match[1]}", ""))
        lines.append(line)
    text = "\n".join(lines).strip() + "\n"
    check_same_config(text, config)
    return text


def check_same_config(text: str, config: Config) -> None:
    """Raise InputError unless a text is read as that config."""
    try:
        found = Config().from_str(text, interpolate=False)
        why = "" if dict(found) == dict(config) else "it reads as another config"
    except (ConfigValidationError, ValueError) as err:
        why = one_line(err)
    if why:
        raise InputError(
            f"the config can't be written ({why[:200]}); use paths without $ and line "
            "breaks"
        )


def _comment(text: str) -> List[str]:
    lines: List[str] = []
    for word in printable(text).split():
        if not lines or len(lines[-1]) + len(word) >= COMMENT_WIDTH:
            lines.append("#")
        lines[-1] += f" {word}"
    return lines
