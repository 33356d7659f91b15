"""Folders of transformers: found or downloaded, loaded, and written from a pipeline."""

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import spacy
from spacy.language import Language
from thinc.api import Model

from ..checks import InputError, import_extra, one_line
from ..io import atomic_folder, check_output
from .adapters import without_adapters

# What is downloaded of a model on the hub.
HUB_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]
# A file that every folder of a transformer holds.
CONFIG_FILE = "config.json"
# Of a folder that transformers saves: the model, and tokenizers of all kinds.
SAVED_FILES = [CONFIG_FILE, "generation_config.json", "model*.safetensors*"]
SAVED_FILES += ["tokenizer*", "special_tokens_map.json", "added_tokens.json"]
SAVED_FILES += ["vocab.*", "merges.txt", "*.model", "chat_template.*", "bpe.codes"]
# IDs of wordpieces that a tokenizer may leave out.
MAX_LEFT_OUT = 1 << 20
# The epsilon of BERT's layer norms.
BERT_EPSILON = 1e-12


def find_folder(name: str) -> Path:
    """Return the folder of a transformer, downloaded from the hub if need be.

    name: As in load_pretrained.
    Raises: InputError if the folder or model does not exist.
    """
    check_name(name)
    if Path(name).is_dir():
        return Path(name)
    hub = import_extra("huggingface_hub", "transformers")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as err:
        raise InputError(
            f"{name}: can't be downloaded ({one_line(err)}); check the name and the "
            "connection, or name a folder"
        ) from err


def check_name(name: str) -> None:
    """Raise InputError if the name can only be that of a folder, and there is none."""
    is_path = name.count("/") > 1 or name.startswith((".", "/", "~"))
    if is_path and not Path(name).is_dir():
        raise InputError(f"{name}: no such folder; name that of a transformer")


def check_layers(
    transformer: str, layers: Optional[Sequence[int]], n_layers: int
) -> List[int]:
    """Return the layers counted from the embedding layer, or raise InputError.

    layers: 0 is the embedding layer, 1 the first; negative ones count from the last,
        -1; None: all, and the embedding layer.
    n_layers: Without the embedding layer.
    """
    layers = range(n_layers + 1) if layers is None else layers
    if not layers or not all(-n_layers - 1 <= layer <= n_layers for layer in layers):
        raise InputError(
            f"layers is {list(layers)}, but {transformer} has {n_layers}: give one or "
            f"more of {-n_layers - 1} to {n_layers}"
        )
    return [layer % (n_layers + 1) for layer in layers]


def load_pretrained(name: str) -> Tuple[Any, Any]:
    """Load a tokenizer, made fit for words in batches, and a model in float32.

    name: Folder with config.json, model.safetensors and a tokenizer; if there is no
        such folder, the name of a model on the Hugging Face hub, owner/name, which is
        downloaded. Code of the model is never run, pickled weights are never read.
    Raises: InputError, if it can't be loaded or has no fast tokenizer; ImportError
        naming the extra.
    """
    torch = import_extra("torch", "transformers")
    library = import_extra("transformers", "transformers")
    check_name(name)
    # Nothing is fetched for a folder.
    safe = {"local_files_only": Path(name).is_dir(), "trust_remote_code": False}
    weights = {"use_safetensors": True, "torch_dtype": torch.float32}
    try:
        # Tokenizers like that of GPT-2 take words only with the space before them.
        tokenizer = library.AutoTokenizer.from_pretrained(
            name, add_prefix_space=True, **safe
        )
        wordpiece_ids(tokenizer)
        config = library.AutoConfig.from_pretrained(name, **safe)
        check_kernels(config)
        model = library.AutoModel.from_pretrained(
            name, config=config, **safe, **weights
        )
    except Exception as err:
        # The library trusts its files, so that it may fail anywhere.
        raise InputError(
            f"{name}: can't be loaded ({one_line(err)}); name a folder with "
            "config.json, model.safetensors and tokenizer.json"
        ) from err
    if not tokenizer.is_fast:
        raise InputError(
            f"{name}: has no tokenizer.json; save it with a fast tokenizer"
        )
    # What its file may set is for texts of another use.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    is_pair = getattr(model.config, "is_encoder_decoder", False)
    return tokenizer, model.get_encoder() if is_pair else model


def check_kernels(config: Any) -> None:
    """Raise ValueError if a config names a kernel on the hub, which is code."""
    kernel = getattr(config, "_attn_implementation_internal", None)
    if "/" in str(kernel):
        raise ValueError(f"its config names the kernel {kernel!r}, which is not run")


def wordpiece_ids(tokenizer: Any) -> Dict[str, int]:
    """Return the ID of each wordpiece by its name.

    Raises: ValueError if an ID is far above their number: the library, and tables of
        all IDs, would take memory and time for those that are left out. Also if the
        greatest length of a text is not a number.
    """
    length = tokenizer.model_max_length
    if not isinstance(length, (int, float)):
        raise ValueError(
            f"model_max_length of the tokenizer is {length!r:.80}, not a number; it is "
            "damaged, save or download it again"
        )
    ids: Dict[str, int] = tokenizer.get_vocab()
    highest = max(ids.values(), default=-1)
    if not ids or highest > len(ids) + MAX_LEFT_OUT:
        raise ValueError(
            f"the tokenizer has {len(ids):,} wordpieces, and IDs up to {highest:,}; it "
            "is damaged, save or download it again"
        )
    return ids


def unreadable(err: Exception) -> ValueError:
    """Return the error for a tokenizer that can't read a text."""
    return ValueError(
        f"the tokenizer can't read a text ({one_line(err)}); it is damaged, save or "
        "download it again"
    )


def drop_layers_above(model: Any, highest: int) -> None:
    """Remove the layers above the highest one needed, if that changes no others.

    Some architectures treat their last layer unlike the others, or share its weights:
    they keep all.
    """
    torch = import_extra("torch", "transformers")
    n_layers = int(model.config.num_hidden_layers)
    stacks = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, torch.nn.ModuleList) and len(child) == n_layers
    ]
    if len(stacks) != 1 or highest >= n_layers:
        return
    [(parent, name, stack)] = stacks
    ids = torch.arange(min(8, int(model.config.vocab_size)))[None]
    before = hidden_states(model, ids, torch.ones_like(ids))[: highest + 1]
    setattr(parent, name, stack[:highest])
    model.config.num_hidden_layers = highest
    try:
        after = hidden_states(model, ids, torch.ones_like(ids))
        is_same = len(after) == len(before) and all(map(torch.equal, before, after))
    except (IndexError, AttributeError, TypeError, ValueError, RuntimeError):
        is_same = False
    if not is_same:
        setattr(parent, name, stack)
        model.config.num_hidden_layers = n_layers


def hidden_states(model: Any, ids: Any, mask: Any) -> Any:
    """Return the states of the embedding layer and of each other, without gradients."""
    torch = import_extra("torch", "transformers")
    with torch.inference_mode():
        return model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states


def save_transformer(
    pipeline: str, folder: Path, component: Optional[str], force: bool = False
) -> str:
    """Write config.json, model.safetensors and the tokenizer, all or nothing.

    pipeline: Folder or package. component: Whose transformer, if there are several.
    force: Whether a folder that holds other files may be replaced.
    Returns: What was written, in one line.
    Raises: InputError if the pipeline or transformer does not exist, or the folder
        holds something else; ImportError naming the extra.
    """
    import_extra("spacy_transformers", "transformers")
    check_output(folder, replaces=CONFIG_FILE, holds=SAVED_FILES, force=force)
    try:
        # Which writes the tokenizer to a temporary folder.
        with _errors_of_rust():
            nlp = spacy.load(pipeline)
    except (OSError, ValueError) as err:
        raise InputError(f"{pipeline}: can't be loaded ({one_line(err)})") from err
    model = _find_transformer(pipeline, nlp, component)
    transformer = without_adapters(model.transformer)
    config = transformer.config
    # The listeners asked for it; it is not a property of the weights.
    config.output_hidden_states = False
    # spacy-transformers loads configs through JSON that rounds tiny numbers to 0.
    if getattr(config, "layer_norm_eps", None) == 0:
        config.layer_norm_eps = BERT_EPSILON
    with atomic_folder(folder) as partial, _errors_of_rust():
        transformer.save_pretrained(partial, safe_serialization=True)
        model.tokenizer.save_pretrained(partial)
    layers, width = config.num_hidden_layers, config.hidden_size
    return f"{folder}: a transformer of {layers} layers, {width} wide"


@contextmanager
def _errors_of_rust() -> Iterator[None]:
    """Raise the OSError that tokenizers and safetensors have made a text of."""
    try:
        yield
    except Exception as err:
        number = re.search(r"\(os error (\d+)\)", str(err))
        if isinstance(err, OSError) or number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from err


def _find_transformer(pipeline: str, nlp: Language, component: Optional[str]) -> Any:
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
