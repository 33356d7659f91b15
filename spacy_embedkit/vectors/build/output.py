"""The folder that a conversion writes, which must not hold anything but vectors."""

from pathlib import Path
from typing import List

from ...checks import InputError
from ...io import check_output, refuse_loss
from ..spacy_table import read_json
from ..table import FOLDER, HEADER, SUBWORDS

META = "meta.json"
TABLE = f"vocab/{FOLDER}"
# All files of a pipeline without components, whose tokenizer may be a folder.
FILES = [META, "config.cfg", "tokenizer", "tokenizer/*", "vocab/strings.json"]
FILES += ["vocab/lookups.bin", "vocab/vectors", "vocab/key2row", "vocab/vectors.cfg"]
FILES += [f"{TABLE}/{name}" for name in (HEADER, "*.npy")]
FILES += [f"{TABLE}/{SUBWORDS}/{name}" for name in (HEADER, "*.npy")]


def check_target(folder: Path, force: bool = False) -> None:
    """Raise InputError unless the folder is absent, empty or holds vectors alone.

    force: Whether any other folder may be replaced, too.
    """
    check_output(folder, replaces=META, holds=FILES, force=force)
    if (folder / META).exists() and not force:
        # Some components have no files.
        names = _components(folder / META)
        if names:
            refuse_loss(folder, [f"the component {name}" for name in names], force)
        if not _has_vectors(folder):
            refuse_loss(folder, ["a pipeline without vectors"], force)


def _components(meta: Path) -> List[str]:
    try:
        names = read_json(meta, dict).get("pipeline")
    except InputError:
        return ["of a damaged pipeline"]
    return [str(name) for name in names] if isinstance(names, list) else []


def _has_vectors(folder: Path) -> bool:
    # spaCy saves a table of no rows, too, which is a header alone.
    stock = folder / "vocab" / "vectors"
    is_mapped = (folder / TABLE / HEADER).exists()
    return is_mapped or (stock.is_file() and stock.stat().st_size > 128)
