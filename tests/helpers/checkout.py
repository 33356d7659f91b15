"""The checkout: its folder, and what its setup.cfg declares."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[2]


def declared_names():
    """Registry and name of every entry point that a config can name."""
    parser = configparser.ConfigParser(delimiters=["="])
    parser.optionxform = str
    parser.read(ROOT / "setup.cfg")
    for group, lines in parser["options.entry_points"].items():
        for line in filter(None, lines.splitlines()):
            if group not in ("spacy_factories", "spacy_cli", "thinc_ops"):
                registry = group.removeprefix("spacy_").removeprefix("thinc_")
                yield registry, line.split("=")[0].strip()


def entry_modules():
    """Modules that the entry points of setup.cfg are in."""
    parser = configparser.ConfigParser(delimiters=["="])
    parser.read(ROOT / "setup.cfg")
    lines = "\n".join(parser["options.entry_points"].values()).splitlines()
    return sorted({line.split("=")[1].split(":")[0].strip() for line in lines if line})


NAMES = list(declared_names())
