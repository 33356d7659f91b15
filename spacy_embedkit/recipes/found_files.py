"""Looks at raw text, vectors and transformers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from spacy.language import Language
from spacy.util import get_package_path, is_package, load_config
from thinc.api import Config
from tqdm import tqdm

from ..checks import InputError, one_line
from ..text.files import find_files
from ..text.read import read_pieces

CONFIG = "config.cfg"
# Characters that are tokenized to tell how many a word has.
SAMPLE_CHARS = 300_000
BAR_DELAY = 2.0


@dataclass(frozen=True)
class RawText:
    """Texts and words of raw text; words are estimated from the first ones."""

    n_texts: int
    n_words: int


def look_at_text(paths: Sequence[str], nlp: Language) -> RawText:
    """Read raw text once; words are counted by the tokenizer at the start of it.

    Raises: InputError naming a file that is missing or broken, or if there is no text.
    """
    if "-" in paths:
        raise InputError("--raw is '-', but the text is read again; name a file")
    n_texts = n_chars = 0
    sample_chars = sample_words = 0
    with tqdm(
        desc="reading raw text",
        unit=" chars",
        unit_scale=True,
        delay=BAR_DELAY,
        leave=False,
        disable=None,
    ) as bar:
        for path in find_files(paths):
            for piece in read_pieces(path):
                text = piece.text.strip()
                n_texts += bool(text) and piece.starts
                n_chars += len(text)
                bar.update(len(text))
                if sample_chars < SAMPLE_CHARS:
                    cut = text[: SAMPLE_CHARS - sample_chars]
                    sample_chars += len(cut)
                    sample_words += len(nlp.make_doc(cut)) if cut else 0
    if not sample_words:
        raise InputError(f"{', '.join(paths)}: no text; name files with text")
    return RawText(n_texts, round(n_chars * sample_words / sample_chars))


def pipeline_config(name: str) -> Optional[Config]:
    """Return the config of a pipeline, by its folder or package; None if it's none."""
    folder = Path(name)
    if not folder.exists() and is_package(name):
        folder = get_package_path(name)
        found = sorted(folder.glob(f"*/{CONFIG}"))
        folder = found[0].parent if found else folder
    path = folder / CONFIG
    if not path.is_file():
        return None
    try:
        return load_config(path, interpolate=False)
    except (OSError, ValueError) as err:
        raise InputError(
            f"{path}: can't be read ({one_line(err)}); name another pipeline"
        ) from err


def lang_of(config: Optional[Config]) -> Optional[str]:
    """The language of a pipeline, if it is one."""
    if config is None:
        return None
    lang = config.get("nlp", {}).get("lang")
    return lang if isinstance(lang, str) else None


def check_vectors(name: str) -> None:
    """Raise InputError if there are no vectors of that name."""
    if not Path(name).exists() and not is_package(name):
        raise InputError(
            f"--vectors is {name}, but there is no such file, folder or package; name "
            "a folder of vectors, or a file to convert"
        )


@dataclass(frozen=True)
class FoundTransformer:
    """What is known of a transformer without loading it; None for what is not.

    is_pipeline: Whether the name is that of a pipeline that has it.
    """

    is_pipeline: bool = False
    n_layers: Optional[int] = None
    width: Optional[int] = None


def look_at_transformer(name: str) -> FoundTransformer:
    """Look at the config of a transformer; one on the hub is not asked for.

    Raises: InputError for a folder without a transformer.
    """
    config = pipeline_config(name)
    if config is not None:
        blocks = config.get("components", {}).values()
        if not any("transformer" in str(block.get("factory")) for block in blocks):
            raise InputError(
                f"{name}: is a pipeline without a transformer; name one that has a "
                "transformer, or the transformer's folder or name on the hub"
            )
        return FoundTransformer(is_pipeline=True)
    folder = Path(name)
    if folder.exists() or name.count("/") > 1 or name.startswith((".", "/", "~")):
        settings = _read_settings(folder)
        layers = ("num_hidden_layers", "n_layers", "n_layer")
        widths = ("hidden_size", "dim", "d_model")
        return FoundTransformer(
            n_layers=_number(settings, layers), width=_number(settings, widths)
        )
    return FoundTransformer()


def _read_settings(folder: Path) -> Dict[str, Any]:
    path = folder / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf8"))
        if not isinstance(settings, dict):
            raise ValueError("config.json is not an object")
    except (OSError, ValueError) as err:
        raise InputError(
            f"{folder}: is not the folder of a transformer ({one_line(err)}); name one "
            "with config.json, or a name on the hub"
        ) from err
    return settings


def _number(settings: Dict[str, Any], names: Sequence[str]) -> Optional[int]:
    found = [settings[name] for name in names if isinstance(settings.get(name), int)]
    return found[0] if found else None
