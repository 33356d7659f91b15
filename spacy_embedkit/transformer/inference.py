"""Run a transformer outside a pipeline, for the mean of its hidden layers."""

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Iterator, List, Optional, Sequence, Tuple

import numpy
from numpy.typing import NDArray

from ..checks import InputError, import_extra, one_line
from .pretrained import check_layers, drop_layers_above, hidden_states, load_pretrained
from .windows import Window

# A text that would fill less of its row starts another batch, unless that is a small
# one: each batch costs time of its own.
MIN_FILLED = 0.93
MIN_SHARE = 0.25


@dataclass(frozen=True)
class InferenceModel:
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
        """Tokens to encode as one text, so that four wordpieces of each fit."""
        return max(1, self.max_length // 4)

    @cached_property
    def special_pieces(self) -> Tuple[List[int], List[int]]:
        """IDs of the special wordpieces before and after a text."""
        probe = self.tokenizer.backend_tokenizer.encode("a")
        is_special = [bool(mark) for mark in probe.special_tokens_mask]
        ids = list(probe.ids)
        if all(is_special):
            return ids, []
        first, last = is_special.index(False), is_special[::-1].index(False)
        return ids[:first], ids[len(ids) - last :]

    def mean_hidden_states(self, ids: Any, mask: Any, bfloat16: bool = False) -> Any:
        """Return the mean of the layers, a tensor (texts, pieces, width) float32.

        ids, mask: Tensors (texts, pieces) int64: wordpieces, and 0 for padding.
        bfloat16: Whether matrices are multiplied in bfloat16.
        """
        torch = import_extra("torch", "transformers")
        ids, mask = ids.to(self.device), mask.to(self.device)
        kind = torch.device(self.device).type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=bfloat16):
            states = hidden_states(self.model, ids, mask)
        with torch.inference_mode():
            total = states[self.layers[0]].float()
            for layer in self.layers[1:]:
                total = total + states[layer]
            return total / len(self.layers)

    def token_rows(
        self, windows: Sequence[Window], batch_pieces: int, bfloat16: bool
    ) -> Iterator[Tuple[NDArray, NDArray]]:
        """Yield M tokens and the mean of the wordpieces of each, (M, width) float32.

        windows: A token is in one of them. Those of like lengths are encoded together,
            and each batch is yielded once it is done.
        batch_pieces: Wordpieces of a batch with its padding.
        """
        n_special = sum(map(len, self.special_pieces))
        lengths = numpy.asarray([len(window.ids) + n_special for window in windows])
        for places in sorted_batches(lengths, batch_pieces):
            batch = [windows[place] for place in places]
            yield self._encode(batch, lengths[places], bfloat16)

    def _encode(
        self, windows: Sequence[Window], lengths: NDArray, bfloat16: bool
    ) -> Tuple[NDArray, NDArray]:
        torch = import_extra("torch", "transformers")
        before, after = self.special_pieces
        shape = (len(windows), int(lengths.max()))
        ids = numpy.full(shape, self.tokenizer.pad_token_id or 0, dtype="int64")
        for row, window in zip(ids, windows, strict=True):
            full = [*before, *window.ids, *after]
            row[: len(full)] = full
        mask = numpy.arange(shape[1]) < lengths[:, None]
        states = self.mean_hidden_states(
            torch.from_numpy(ids), torch.from_numpy(mask.astype("int64")), bfloat16
        )
        n_pairs = [len(window.tokens) for window in windows]
        row = numpy.repeat(numpy.arange(len(windows)), n_pairs)
        piece = numpy.concatenate([window.pieces for window in windows])
        token = numpy.concatenate([window.tokens for window in windows])
        flat = torch.from_numpy(row * shape[1] + piece + len(before))
        rows = states.flatten(0, 1)[flat.to(states.device)].cpu().numpy()
        return _mean_by_token(token, rows)


def load_inference_model(
    transformer: str, layers: Optional[Sequence[int]], device: str
) -> InferenceModel:
    """Load a transformer in float32, without layers that are not asked for.

    transformer: As in load_pretrained. layers: As in check_layers.
    device: As torch names it.
    Raises: InputError, if it can't be loaded, has no fast tokenizer or fewer layers;
        ImportError naming the extra.
    """
    tokenizer, model = load_pretrained(transformer)
    wanted = check_layers(transformer, layers, int(model.config.num_hidden_layers))
    max_length = getattr(model.config, "max_position_embeddings", 512)
    max_length = min(tokenizer.model_max_length, max_length, 512)
    model.eval()
    drop_layers_above(model, max(wanted))
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as err:
        raise InputError(f"device is {device!r}: {one_line(err)}; try cpu") from err
    return InferenceModel(model, tokenizer, wanted, device, max_length)


def sorted_batches(lengths: NDArray, max_pieces: int) -> Iterator[NDArray]:
    """Yield the places of the texts of each batch, (n,) int64, the longest first.

    lengths: (N,) wordpieces of each text, 1 or more.
    max_pieces: Wordpieces of a batch with its padding, unless one text alone has more.
    """
    order = numpy.argsort(-numpy.asarray(lengths), kind="stable")
    batch: List[int] = []
    length = 0
    for place in order.tolist():
        own, padded = int(lengths[place]), length * len(batch)
        is_shorter = own < MIN_FILLED * length and padded >= MIN_SHARE * max_pieces
        if batch and (padded + length > max_pieces or is_shorter):
            yield numpy.asarray(batch)
            batch = []
        length = length if batch else own
        batch.append(place)
    if batch:
        yield numpy.asarray(batch)


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


def _mean_by_token(token: NDArray, rows: NDArray) -> Tuple[NDArray, NDArray]:
    """Return the different tokens, and the mean of the rows of each."""
    if not len(token):
        return token, rows
    order = numpy.argsort(token, kind="stable")
    token, rows = token[order], rows[order]
    starts = numpy.flatnonzero(numpy.diff(token, prepend=-1))
    counts = numpy.diff(starts, append=len(token))
    sums = numpy.add.reduceat(rows, starts, axis=0)
    return token[starts], sums / counts[:, None].astype("f")
