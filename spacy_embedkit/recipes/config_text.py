"""The text of a config, section by section, for changes that leave the rest alone."""

import re
from dataclasses import dataclass
from typing import Any, Dict, List

import srsly

HEADER = re.compile(r"\[([^\]]+)\]\s*")


@dataclass
class Section:
    """A part of a config: its name, "" for what is before the first, and its lines."""

    name: str
    lines: List[str]


class ConfigText:
    """Sections of a config in their order, with comments and blank lines."""

    def __init__(self, text: str) -> None:
        self.sections = [Section("", [])]
        for line in text.split("\n"):
            if match := HEADER.fullmatch(line):
                self.sections.append(Section(match[1].strip(), []))
            self.sections[-1].lines.append(line)

    def __str__(self) -> str:
        return "\n".join(line for part in self.sections for line in part.lines)

    def find(self, block: str) -> Section:
        """Return the section that holds a block, which may be the value of a line."""
        names = [part.name for part in self.sections if part.name]
        inside = [n for n in names if block == n or block.startswith(f"{n}.")]
        longest = max(inside, key=len)
        return next(part for part in self.sections if part.name == longest)

    def rename(self, block: str, old: str, new: str) -> None:
        """Replace a registered name in a block."""
        pattern = re.compile(rf"(?<![\w.-]){re.escape(old)}(?![\w.-])")
        section = self.find(block)
        section.lines = [
            line if line.startswith(("#", ";")) else pattern.sub(new, line)
            for line in section.lines
        ]

    def replace(self, name: str, sections: Dict[str, Dict[str, Any]]) -> None:
        """Put other sections in place of one, whose comments stay at the first."""
        section = self.find(name)
        place = self.sections.index(section)
        comments = [line for line in section.lines if line.startswith(("#", ";"))]
        made = [_section(new, settings) for new, settings in sections.items()]
        made[0].lines[1:1] = comments
        self.sections[place : place + 1] = made

    def set_block(self, outer: str, key: str, settings: Dict[str, Any]) -> None:
        """Give a section a block, in a section of its own, instead of a setting."""
        section = self.find(outer)
        setting = re.compile(rf"{re.escape(key)}\s*[=:]")
        section.lines = [line for line in section.lines if not setting.match(line)]
        if section.lines[-1].strip():
            section.lines.append("")
        place = self.sections.index(section) + 1
        self.sections.insert(place, _section(f"{outer}.{key}", settings))

    def refer(self, old: str, new: str) -> int:
        """Replace a variable everywhere; return how often it was there."""
        outer, _, key = old.rpartition(".")
        pattern = re.compile(rf"\$\{{{re.escape(outer)}[.:]{re.escape(key)}\}}")
        n_found = 0
        for section in self.sections:
            for i, line in enumerate(section.lines):
                section.lines[i], n = pattern.subn(f"${{{new}}}", line)
                n_found += n
        return n_found


def _section(name: str, settings: Dict[str, Any]) -> Section:
    lines = [f"[{name}]"]
    lines += [f"{key} = {_value(value)}" for key, value in settings.items()]
    return Section(name, [*lines, ""])


def _value(value: Any) -> str:
    is_variable = isinstance(value, str) and value.startswith("${")
    return value if is_variable else srsly.json_dumps(value)
