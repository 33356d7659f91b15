"""Whether pretrained weights fit a layer, and if not, which setting to change."""

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from spacy.util import dict_to_dot, load_config
from thinc.api import Model

from ...checks import InputError
from .saved_layers import LayerInfo, attr_name, model_layers, read_layers

Layers = List[LayerInfo]
Settings = Mapping[str, Any]
# What architectures call a setting, the most specific name first.
OTHER_NAMES = {
    "rows": ("attr_rows", "rows", "embed_size"),
    "ngram_rows": ("rows",),
    "attrs": ("attrs", "subword_features"),
    "include_static_vectors": ("include_static_vectors", "pretrained_vectors"),
}


def check_fit(
    path: Path, layer: Model, config: Optional[Settings] = None, name: str = "tok2vec"
) -> None:
    """Raise InputError unless a file of weights can be loaded into a layer.

    The error names the first layer that differs, both shapes, and the settings to
    change.

    layer: Initialized, so that its shapes are known.
    config: Config of the pipeline, for the names of the settings.
    name: Name of the component that has the layer.
    """
    file, here = read_layers(path), model_layers(layer)
    found = _first_difference(file, here)
    if found is None:
        return
    block = dict_to_dot((config or {}).get("components", {}).get(name, {}))
    hints = _from_pretraining_config(path, block, name)
    hints = hints or _guess_settings(file, here, block, name)
    advice = "give it the settings of the pretraining run, or pretrain with this config"
    if hints:
        advice = f"set {', '.join(hints)}, or pretrain again with this config"
    raise InputError(f"{path}: does not fit: {name} > {found}; {advice}")


def _first_difference(file: Layers, here: Layers) -> Optional[str]:
    """Describe the first layer that differs, and how; None if all are the same."""
    theirs = [layer for layer in file if layer.is_leaf]
    ours = [layer for layer in here if layer.is_leaf]
    for i, mine in enumerate(ours):
        other = theirs[i] if i < len(theirs) else None
        if other is None or other.name != mine.name:
            if other is not None and _has_more(theirs, ours, other.name):
                return _on_one_side(other, "in the file, not here")
            return _on_one_side(mine, "here, not in the file")
        for param, shape in mine.shapes.items():
            if other.shapes.get(param) != shape:
                theirs_shape = other.shapes.get(param)
                return (
                    f"{mine.path}: {param} is {theirs_shape} in the file, {shape} here"
                )
            if other.dtypes.get(param) != mine.dtypes.get(param):
                return (
                    f"{mine.path}: {param} is {other.dtypes.get(param)} in the file, "
                    f"{mine.dtypes.get(param)} here"
                )
        if other.n_shims != mine.n_shims:
            return f"{mine.path}: wraps another library's model here or there only"
    if len(theirs) > len(ours):
        return _on_one_side(theirs[len(ours)], "in the file, not here")
    if len(file) != len(here):
        return f"{here[0].path}: {len(file)} layers in the file, {len(here)} here"
    return _first_attr(file, here)


def _first_attr(file: Layers, here: Layers) -> Optional[str]:
    for other, mine in zip(file, here, strict=True):
        for name, found, wanted in _pairs(other, mine):
            if found != wanted:
                return f"{mine.path}: {name} is {found} in the file, {wanted} here"
        for attr in mine.attrs:
            if other.attrs.get(attr) != mine.attrs[attr]:
                values = [_attr_text(attr, x.attrs.get(attr)) for x in (other, mine)]
                return (
                    f"{mine.path}: {attr} is {values[0]} in the file, {values[1]} here"
                )
    return None


def _pairs(other: LayerInfo, mine: LayerInfo) -> Iterator[Tuple[str, Any, Any]]:
    """Yield what a layer is made of but for its attributes: name, there and here."""
    for dim, n in other.dims.items():
        yield dim, n, mine.dims.get(dim, n if dim in mine.dim_names else "unknown")
    for ref, number in other.refs.items():
        yield f"the layer {ref}", number, mine.refs.get(ref, "unknown")
    for attr, kind in other.kinds.items():
        known = mine.kinds.get(attr, kind)
        if "NoneType" not in (kind, known):
            yield f"the type of {attr}", kind, known


def _has_more(theirs: Layers, ours: Layers, name: str) -> bool:
    counts = [sum(layer.name == name for layer in x) for x in (theirs, ours)]
    return counts[0] > counts[1]


def _on_one_side(layer: LayerInfo, where: str) -> str:
    shapes = ", ".join(f"{name} {shape}" for name, shape in layer.shapes.items())
    return f"{layer.path or layer.name} ({shapes}) is {where}"


def _attr_text(attr: str, value: Any) -> str:
    if attr == "columns" and isinstance(value, list):
        return f"[{', '.join(map(attr_name, value))}]"
    return repr(value)


def _from_pretraining_config(path: Path, block: Settings, name: str) -> List[str]:
    """Compare with the config that pretraining writes next to its weights."""
    written = path.parent / "config.cfg"
    if not written.is_file():
        return []
    try:
        config = load_config(written).interpolate()
    except (ValueError, OSError):
        return []
    theirs = dict_to_dot(config.get("components", {}).get(name, {}))
    return [
        f"components.{name}.{key} = {json.dumps(theirs[key])}"
        for key in block
        if key.startswith("model.") and theirs.get(key, block[key]) != block[key]
    ]


def _guess_settings(
    file: Layers, here: Layers, block: Settings, name: str
) -> List[str]:
    """Return the settings that differ, each with the value that fits the file."""
    theirs, ours = _facts(file), _facts(here)
    hints = []
    for fact, wanted in theirs.items():
        if fact not in ours or ours[fact] == wanted:
            continue
        if fact == "vectors":
            hints.append(f"initialize.vectors to a table {wanted} wide")
            continue
        for key in _setting_names(block, fact):
            value = wanted
            if key.endswith(("embed_size", "subword_features")):
                value = wanted[0] if fact == "rows" else len(wanted) > 1
            elif fact == "rows" and len(wanted) == len(ours[fact]):
                key, value = _one_of(key, wanted, ours[fact])
            hints.append(f"components.{name}.{key} = {json.dumps(value)}")
    return hints


def _facts(layers: Layers) -> Dict[str, Any]:
    """Infer the settings of the usual architectures."""
    facts: Dict[str, Any] = {}
    if layers and "nO" in layers[0].dims:
        facts["width"] = layers[0].dims["nO"]
    columns = [x.attrs["columns"] for x in layers if "columns" in x.attrs]
    if columns:
        facts["attrs"] = list(map(attr_name, columns[0]))
    facts["rows"] = [x.dims.get("nV") for x in layers if x.name == "hashembed"]
    for layer in layers:
        if layer.name == "ngram_table":
            facts["ngram_rows"] = layer.dims.get("nV")
        elif layer.name == "static_vectors" and "nM" in layer.dims:
            facts["vectors"] = layer.dims["nM"]
        elif layer.name == "maxout":
            facts["maxout_pieces"] = layer.dims.get("nP")
        elif layer.name == "expand_window":
            facts["window_size"] = layer.attrs.get("window_size")
    names = [layer.name for layer in layers]
    facts["include_static_vectors"] = "static_vectors" in names
    facts["depth"] = names.count("expand_window")
    return facts


def _one_of(key: str, wanted: List[Any], given: List[Any]) -> Tuple[str, Any]:
    """Return key and value of the entry that differs, if it is the only one."""
    unequal = [i for i, n in enumerate(wanted) if n != given[i]]
    if len(unequal) > 1:
        return key, wanted
    return f"{key}[{unequal[0]}]", wanted[unequal[0]]


def _setting_names(block: Settings, fact: str) -> List[str]:
    """Return the keys by which the config has a setting."""
    for name in OTHER_NAMES.get(fact, (fact,)):
        keys = [k for k in block if k.startswith("model.") and k.endswith(f".{name}")]
        if keys:
            return keys
    return []
