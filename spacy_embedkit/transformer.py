"""A transformer as a source of rows: each token the mean of its wordpieces."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from tqdm import tqdm

from .files import InputError
from .settings import import_extra, one_line

# Batches that are sorted together, so that texts of one batch are of one length.
BATCHES_AT_ONCE = 32


@dataclass(frozen=True)
class Encoder:
    """A transformer, its tokenizer, and the hidden layers that are averaged.

    layers: 0 is the embedding layer, 1 the first; negative ones count from the last.
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
    """Load a transformer for inference in float32.

    transformer: Folder with config.json, model.safetensors and a tokenizer; if there is
        none, the name of a model on the Hugging Face hub, owner/name, from which it is
        downloaded. Code of the model is never run, pickled weights never read.
    Raises: InputError, if it can't be loaded, has no fast tokenizer or fewer layers;
        ImportError naming the extra.
    """
    tokenizer, model = _load(transformer)
    n_layers = int(model.config.num_hidden_layers)
    layers = range(n_layers + 1) if layers is None else layers
    if not layers or not all(
        -n_layers <= layer + 1 <= n_layers + 1 for layer in layers
    ):
        raise InputError(
            f"layers is {list(layers)}, but {transformer} has {n_layers}: give one or "
            f"more of {-n_layers - 1} to {n_layers}"
        )
    try:
        model = model.to(device).eval()
    except (RuntimeError, AssertionError) as err:
        raise InputError(f"device is {device!r}: {one_line(err)}; try cpu") from err
    most = getattr(model.config, "max_position_embeddings", 512)
    most = min(tokenizer.model_max_length, most, 512)
    return Encoder(model, tokenizer, layers, device, most)


def _load(name: str) -> Tuple[Any, Any]:
    """Load tokenizer and model, and make both fit for words in batches."""
    torch = import_extra("torch", "transformers")
    library = import_extra("transformers", "transformers")
    is_folder = Path(name).is_dir()
    if not is_folder and (name.count("/") > 1 or name.startswith((".", "/", "~"))):
        raise InputError(f"{name}: no such folder; name that of a transformer")
    # Nothing is fetched for a folder; its code is never run, pickles are never read.
    safe = {"local_files_only": is_folder, "trust_remote_code": False}
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


def mean_rows(
    encoder: Encoder,
    texts: Iterable[List[str]],
    words: Sequence[str],
    most: int,
    batch_size: int,
    special: bool = False,
) -> Tuple[NDArray, NDArray]:
    """Return the mean row of each word over its places, and how many these were.

    texts: Tokens of each, at most encoder.window. words: V different words.
    most: Places of a word that count.
    special: Whether marks around a text count for its word; it has one alone then.
    Returns: (V, width) float32, zeros for words that were not seen; (V,) int64.
    """
    index = {word: i for i, word in enumerate(words)}
    sums = numpy.zeros((len(words), encoder.width), dtype="f")
    counts = numpy.zeros(len(words), dtype="int64")
    texts = iter(texts)
    with tqdm(desc="encoding", unit=" texts", disable=None) as bar:
        while group := list(islice(texts, BATCHES_AT_ONCE * batch_size)):
            wanted = [text for text in group if _is_wanted(text, index, counts, most)]
            wanted.sort(key=len)
            for start in range(0, len(wanted), batch_size):
                batch = wanted[start : start + batch_size]
                for word, row in _token_rows(encoder, batch, special):
                    i = index.get(word, -1)
                    if i >= 0 and counts[i] < most:
                        sums[i] += row
                        counts[i] += 1
            bar.update(len(group))
    return sums / numpy.maximum(counts, 1)[:, None].astype("f"), counts


def _is_wanted(text: List[str], index: Any, counts: NDArray, most: int) -> bool:
    return any(word in index and counts[index[word]] < most for word in text)


def _token_rows(
    encoder: Encoder, texts: List[List[str]], special: bool
) -> Iterator[Tuple[str, NDArray]]:
    """Yield each token with the mean row of its wordpieces, if it has any.

    The piece that stands for all unknown characters does not count.
    """
    pieces = encoder.tokenizer(
        texts,
        is_split_into_words=True,
        padding=True,
        truncation=True,
        max_length=encoder.max_length,
        return_tensors="pt",
    )
    places = _places(encoder, pieces, len(texts), special)
    if not places:
        return
    text, token, piece = numpy.asarray(places).T
    rows = _hidden(encoder, pieces)[text, piece]
    # The pieces of a token are neighbours: a new one starts where either changes.
    changes = (numpy.diff(text) != 0) | (numpy.diff(token) != 0)
    starts = numpy.concatenate([[0], numpy.flatnonzero(changes) + 1])
    lengths = numpy.diff(starts, append=len(rows))
    means = numpy.add.reduceat(rows, starts, axis=0) / lengths[:, None].astype("f")
    for start, row in zip(starts, means, strict=True):
        yield texts[text[start]][token[start]], row


def _places(
    encoder: Encoder, pieces: Any, n_texts: int, special: bool
) -> List[Tuple[int, int, int]]:
    """List text, token and position of all wordpieces that count, in order."""
    ids, mask = pieces["input_ids"].numpy(), pieces["attention_mask"].numpy()
    unknown = encoder.tokenizer.unk_token_id
    places = []
    for i in range(n_texts):
        tokens = pieces.word_ids(i)
        known = [
            p for p, t in enumerate(tokens) if t is not None and ids[i, p] != unknown
        ]
        if special and known:
            marks = (p for p, t in enumerate(tokens) if t is None and mask[i, p])
            places += [(i, 0, p) for p in sorted([*known, *marks])]
        else:
            places += [(i, tokens[p], p) for p in known]
    return places


def _hidden(encoder: Encoder, pieces: Any) -> NDArray:
    """Return the mean of the hidden layers, (texts, pieces, width) float32."""
    torch = import_extra("torch", "transformers")
    names = ("input_ids", "attention_mask")
    with torch.inference_mode():
        states = encoder.model(
            **{name: pieces[name].to(encoder.device) for name in names},
            output_hidden_states=True,
        ).hidden_states
        mean = torch.stack([states[layer] for layer in encoder.layers]).mean(0)
    return mean.float().cpu().numpy()
