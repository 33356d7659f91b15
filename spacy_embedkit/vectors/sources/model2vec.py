"""Reader of model2vec: a table of tokens, whose words are in a tokenizer's file."""

import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import numpy
from numpy.typing import NDArray

from ...checks import InputError
from ..file_arrays import FileArray
from .safetensors_files import read_safetensors
from .source import Batch, Source, rows_per_batch

# Folder of both files and name of the table, by who wrote them.
LAYOUTS = (
    (".", "embeddings"),
    (".", "embedding.weight"),
    ("0_StaticEmbedding", "embedding.weight"),
)
SPECIAL = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<pad>"}
SPECIAL |= {"<unk>", "<mask>", "<bos>", "<eos>"}


def find_model2vec(path: Path) -> Optional[Tuple[Path, Path]]:
    """Name the files of a model: the table and the tokenizer."""
    for name, _ in LAYOUTS:
        files = path / name / "model.safetensors", path / name / "tokenizer.json"
        if all(file.is_file() for file in files):
            return files
    return None


def open_model2vec(path: Path, table: Path, tokenizer: Path) -> Source:
    """Read the tokens that are complete words.

    Raises: InputError if the files are broken, or don't belong together.
    """
    tensors, _ = read_safetensors(table, str(table))
    name = next((name for _, name in LAYOUTS if name in tensors), "")
    if not name or not tensors[name].is_table:
        raise InputError(
            f"{table}: has no table called embeddings, as model2vec writes; name the "
            "folder of a model2vec model"
        )
    words, ids, n_left_out, n_tokens = _complete_words(tokenizer)
    n_rows, width = tensors[name].shape
    mapping = _vector(table, tensors.get("mapping"), "mapping")
    weights = _vector(table, tensors.get("weights"), "weights")
    rows = ids if mapping is None else mapping[ids.clip(max=len(mapping) - 1)]
    for what, n in (("mapping", mapping), ("weights", weights)):
        if n is not None and len(n) < n_tokens:
            raise InputError(
                f"{table}: has {len(n)} {what} for {n_tokens} tokens of {tokenizer}; "
                "download the model again"
            )
    if not len(words) or rows.min() < 0 or rows.max() >= n_rows:
        raise InputError(
            f"{table}: has {n_rows} rows, and {tokenizer} {len(words)} words in other "
            "rows; download the model again"
        )
    factors = None if weights is None else weights[ids]
    batches = _batches(tensors[name], table, words, ids, rows.astype("int64"), factors)
    source = Source(str(path), "model2vec", width, batches, n_rows=len(words))
    if n_left_out:
        source.notes.append(
            f"{path}: left out {n_left_out} of {n_tokens} tokens, which are special "
            "or parts of words"
        )
    return source


def _vector(table: Path, tensor: Optional[FileArray], name: str) -> Optional[NDArray]:
    if tensor is None:
        return None
    kinds = "iu" if name == "mapping" else "fiu"
    is_list = len(tensor.shape) == 1 and tensor.shape[0] > 0
    if not is_list or not tensor.is_numeric or tensor.dtype.kind not in kinds:
        raise InputError(f"{table}: {name} is {tensor.describe()}, not one list")
    return tensor.map(table) if name == "mapping" else tensor.floats(tensor.map(table))


def _batches(
    tensor: FileArray,
    path: Path,
    words: List[str],
    ids: NDArray,
    rows: NDArray,
    weights: Optional[NDArray],
) -> Iterator[Batch]:
    table = tensor.map(path)
    step = rows_per_batch(tensor.shape[1])
    for at in range(0, len(words), step):
        X = tensor.floats(table[rows[at : at + step]])
        if weights is not None:
            X *= weights[at : at + step, None]
        yield Batch(words[at : at + step], X, _id_name(ids, at))


def _id_name(ids: NDArray, start: int) -> Callable[[int], str]:
    return lambda i: f"token {ids[start + i]}"


def _complete_words(path: Path) -> Tuple[List[str], NDArray, int, int]:
    """Return the tokens that are words, their ids, and how many tokens are not."""
    try:
        tokenizer = json.loads(path.read_bytes())
        model = tokenizer["model"]
        ids = _token_ids(model, tokenizer.get("added_tokens") or [])
        special = _special_tokens(model, tokenizer.get("added_tokens") or [])
        words = {id: _word(token, model) for token, id in ids.items()}
        words = {ids[t]: "" if t in special else words[ids[t]] for t in ids}
    except OSError as err:
        raise InputError(f"{path}: {err.strerror}; check permissions") from err
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as err:
        raise InputError(
            f"{path}: is not a tokenizer with a vocabulary "
            f"({type(err).__name__}: {err}); download the model again"
        ) from err
    kept = sorted(id for id, word in words.items() if word)
    n_tokens = max(words, default=-1) + 1
    texts = [words[id] for id in kept]
    return texts, numpy.asarray(kept, dtype="int64"), len(words) - len(kept), n_tokens


def _token_ids(model: Dict[str, Any], added: List[Dict[str, Any]]) -> Dict[str, int]:
    vocab = model["vocab"]
    if isinstance(vocab, list):
        vocab = {entry[0]: i for i, entry in enumerate(vocab)}
    ids = {**vocab, **{token["content"]: token["id"] for token in added}}
    if not all(isinstance(t, str) and type(i) is int for t, i in ids.items()):
        raise TypeError("tokens have to be strings, and their ids integers")
    if not all(0 <= id < 2**31 for id in ids.values()):
        raise ValueError("an id is not a row number")
    return ids


def _special_tokens(model: Dict[str, Any], added: List[Dict[str, Any]]) -> Set[str]:
    special = {token["content"] for token in added if token.get("special")}
    return special | {*SPECIAL, str(model.get("unk_token"))}


def _word(token: str, model: Dict[str, Any]) -> str:
    """Return the word of a token; "" if it is only a part of one."""
    prefix = model.get("continuing_subword_prefix") or "##"
    kind = model.get("type")
    if kind in ("Unigram", "BPE"):
        # Sentencepiece and byte-level BPE mark where a word begins.
        if token[:1] not in ("▁", "Ġ"):
            return ""
        return _from_bytes(token[1:]) if token[0] == "Ġ" else token[1:]
    return "" if token.startswith(prefix) and token != prefix else token


def _from_bytes(token: str) -> str:
    """Undo byte-level BPE, which writes each byte as a printable letter."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(byte): byte for byte in plain}
    letters |= {chr(256 + i): byte for i, byte in enumerate(others)}
    try:
        return bytes(letters[letter] for letter in token).decode("utf8")
    except (LookupError, UnicodeDecodeError):
        return ""
