"""The transformer of a trained pipeline as a folder of its own."""

from pathlib import Path
from typing import Any, Dict, Optional

import spacy
from spacy.language import Language
from thinc.api import Model

from ..checks import InputError, import_extra, one_line
from ..io import atomic_folder, check_output
from .adapters import without_adapters

# What every folder of a transformer holds.
CONFIG_FILE = "config.json"
# That of BERT.
LEAST_EPSILON = 1e-12


def save_transformer(pipeline: str, folder: Path, component: Optional[str]) -> str:
    """Write config.json, model.safetensors and the tokenizer, all or nothing.

    pipeline: Folder or package. component: Whose transformer, if there are several.
    Returns: What was written, in one line.
    Raises: InputError, if there is no such pipeline or transformer, or the folder holds
        something else; ImportError naming the extra.
    """
    import_extra("spacy_transformers", "transformers")
    check_output(folder, replaces=CONFIG_FILE)
    try:
        nlp = spacy.load(pipeline)
    except (OSError, ValueError) as err:
        raise InputError(f"{pipeline}: can't be loaded ({one_line(err)})") from err
    model = find_transformer(pipeline, nlp, component)
    transformer = without_adapters(model.transformer)
    config = transformer.config
    # Asked for by the listeners, and no property of the weights.
    config.output_hidden_states = False
    # spacy-transformers loads configs through JSON that rounds tiny numbers to 0.
    if getattr(config, "layer_norm_eps", None) == 0:
        config.layer_norm_eps = LEAST_EPSILON
    with atomic_folder(folder) as partial:
        transformer.save_pretrained(partial, safe_serialization=True)
        model.tokenizer.save_pretrained(partial)
    layers, width = config.num_hidden_layers, config.hidden_size
    return f"{folder}: a transformer of {layers} layers, {width} wide"


def find_transformer(pipeline: str, nlp: Language, component: Optional[str]) -> Any:
    """Return the TransformerModel of a component, or of the only one that has any."""
    from spacy_transformers.layers import TransformerModel

    models = [(name, getattr(pipe, "model", None)) for name, pipe in nlp.components]
    found: Dict[str, Any] = {
        name: node
        for name, model in models
        if isinstance(model, Model)
        for node in model.walk()
        if isinstance(node, TransformerModel) and node.transformer is not None
    }
    if component is None and len(found) == 1:
        return next(iter(found.values()))
    if component in found:
        return found[component]
    if not found:
        raise InputError(f"{pipeline}: no component has a transformer; name another")
    asked = "none is named" if component is None else f"{component!r} is not one"
    raise InputError(
        f"{pipeline}: {', '.join(found)} have a transformer, and {asked} of them; name "
        "one by --component"
    )
