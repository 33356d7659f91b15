"""Transformers for inference: loading them, and the mean of their hidden layers."""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from ..checks import InputError, import_extra, one_line

# What is downloaded of a model on the hub.
HUB_FILES = ["*.json", "*.txt", "*.model", "model*.safetensors"]


@dataclass(frozen=True)
class Encoder:
    """A transformer, its tokenizer, and the hidden layers that are averaged.

    layers: 0 is the embedding layer, 1 the first. The model may have lost those above
        the highest of them.
    max_length: Wordpieces that it takes at once.
    """

    model: Any
    tokenizer: Any
    layers: Sequence[int]
    device: str
    max_length: int

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return int(self.model.config.hidden_size)

    @property
    def window(self) -> int:
        """Tokens that are encoded as one text, so that four wordpieces each fit."""
        return max(1, self.max_length // 4)


def load_encoder(
    transformer: str, layers: Optional[Sequence[int]], device: str
) -> Encoder:
    """Load a transformer for inference in float32, without layers nobody asks for.

    transformer: Folder with config.json, model.safetensors and a tokenizer; if there is
        none, the name of a model on the Hugging Face hub, owner/name, from which it is
        downloaded. Code of the model is never run, pickled weights never read.
    layers: As in check_layers.
    Raises: InputError, if it can't be loaded, has no fast tokenizer or fewer layers;
        ImportError naming the extra.
    """
    tokenizer, model = _load(transformer)
    wanted = check_layers(transformer, layers, int(model.config.num_hidden_layers))
    most = getattr(model.config, "max_position_embeddings", 512)
    most = min(tokenizer.model_max_length, most, 512)
    model.eval()
    drop_layers_above(model, max(wanted))
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as err:
        raise InputError(f"device is {device!r}: {one_line(err)}; try cpu") from err
    return Encoder(model, tokenizer, wanted, device, most)


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


def find_folder(name: str) -> Path:
    """Return the folder of a transformer, downloaded from the hub if it is none.

    name: As in load_encoder.
    Raises: InputError, if there is no such folder or model.
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
    """Raise InputError for what can only be a folder, and is not there."""
    is_path = name.count("/") > 1 or name.startswith((".", "/", "~"))
    if is_path and not Path(name).is_dir():
        raise InputError(f"{name}: no such folder; name that of a transformer")


def _load(name: str) -> Tuple[Any, Any]:
    """Load tokenizer and model, and make both fit for words in batches."""
    torch = import_extra("torch", "transformers")
    library = import_extra("transformers", "transformers")
    check_name(name)
    # Nothing is fetched for a folder; its code is never run, pickles are never read.
    safe = {"local_files_only": Path(name).is_dir(), "trust_remote_code": False}
    weights = {"use_safetensors": True, "torch_dtype": torch.float32}
    try:
        # Tokenizers of the GPT-2 kind take words only with the space before them.
        tokenizer = library.AutoTokenizer.from_pretrained(
            name, add_prefix_space=True, **safe
        )
        model = library.AutoModel.from_pretrained(name, **safe, **weights)
    except (OSError, ValueError, KeyError) as err:
        raise InputError(
            f"{name}: can't be loaded ({one_line(err)}); name a folder with "
            "config.json, model.safetensors and tokenizer.json"
        ) from err
    if not tokenizer.is_fast:
        raise InputError(
            f"{name}: has no tokenizer.json; save it with a fast tokenizer"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    is_pair = getattr(model.config, "is_encoder_decoder", False)
    return tokenizer, model.get_encoder() if is_pair else model


def drop_layers_above(model: Any, highest: int) -> None:
    """Take out the layers whose states nobody asks for, if that changes no others.

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
    before = _states(model, ids, torch.ones_like(ids))[: highest + 1]
    setattr(parent, name, stack[:highest])
    model.config.num_hidden_layers = highest
    try:
        after = _states(model, ids, torch.ones_like(ids))
        is_same = len(after) == len(before) and all(map(torch.equal, before, after))
    except (IndexError, AttributeError, TypeError, ValueError, RuntimeError):
        is_same = False
    if not is_same:
        setattr(parent, name, stack)
        model.config.num_hidden_layers = n_layers


def mean_states(encoder: Encoder, ids: Any, mask: Any, bfloat16: bool = False) -> Any:
    """Return the mean of the hidden layers, a tensor (texts, pieces, width) float32.

    ids, mask: Tensors (texts, pieces) int64: wordpieces, and 1 for those that are no
        padding.
    bfloat16: Whether matrices are multiplied in bfloat16.
    """
    torch = import_extra("torch", "transformers")
    ids, mask = ids.to(encoder.device), mask.to(encoder.device)
    kind = torch.device(encoder.device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=bfloat16):
        states = _states(encoder.model, ids, mask)
    with torch.inference_mode():
        total = states[encoder.layers[0]].float()
        for layer in encoder.layers[1:]:
            total = total + states[layer]
        return total / len(encoder.layers)


def _states(model: Any, ids: Any, mask: Any) -> Any:
    torch = import_extra("torch", "transformers")
    with torch.inference_mode():
        return model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True
        ).hidden_states


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Let torch use n threads of the CPU within the body."""
    torch = import_extra("torch", "transformers")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
