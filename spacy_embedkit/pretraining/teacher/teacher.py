"""A transformer as the teacher: one row for each token of a doc."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Callable, Iterator, List, Literal, Optional, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc

from ...checks import InputError, import_extra, one_line
from ...transformer.batches import sorted_batches
from ...transformer.encoder import (
    Encoder,
    check_layers,
    find_folder,
    load_encoder,
    mean_states,
    torch_threads,
)
from .windows import Window, cut_windows

# Files of a transformer that decide what it gives for a text.
MODEL_FILES = ("*.safetensors", "*.model", "vocab.*", "merges.txt", "*token*.json")
# Texts that are cut into wordpieces at once.
TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class TeacherSettings:
    """Which transformer it is, and how it is run.

    transformer: Folder, or name on the Hugging Face hub.
    layers: Hidden layers whose mean is taken, as in check_layers; None: all but the
        embedding layer.
    window: Wordpieces of a text that are encoded together, with the marks around them.
    batch_pieces: Wordpieces that are encoded at once, at most, unless one text alone
        has more.
    precision: Of the products of matrices.
    device: As torch names it. threads: For the CPU.
    """

    transformer: str
    layers: Optional[Sequence[int]] = None
    window: int = 128
    batch_pieces: int = 512
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    threads: int = 1


class Teacher:
    """Rows of tokens by a transformer, which is loaded when it is first asked.

    Raises: InputError, if there is no such transformer or it has fewer layers;
        ImportError naming the extra.
    """

    def __init__(self, settings: TeacherSettings) -> None:
        self.settings = settings
        self.folder = find_folder(settings.transformer)
        config = self._read_config()
        n_layers, layers = int(config.num_hidden_layers), settings.layers
        self.layers = check_layers(
            settings.transformer,
            range(1, n_layers + 1) if layers is None else layers,
            n_layers,
        )
        self.width = int(config.hidden_size)

    def _read_config(self) -> Any:
        # Not used here, but better missed now than after the corpus was read.
        import_extra("torch", "transformers")
        library = import_extra("transformers", "transformers")
        try:
            return library.AutoConfig.from_pretrained(
                str(self.folder), local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as err:
            raise InputError(
                f"{self.settings.transformer}: can't be loaded ({one_line(err)}); name "
                "a folder with config.json, model.safetensors and tokenizer.json"
            ) from err

    @cached_property
    def identity(self) -> str:
        """A hash of all that decides about the rows, but for rounding."""
        chosen = self.settings
        parts = [f"1 {sorted(self.layers)} {chosen.window} {chosen.precision}".encode()]
        names = {path for name in MODEL_FILES for path in self.folder.glob(name)}
        for path in sorted({*names, self.folder / "config.json"}):
            with path.open("rb") as file:
                parts.append(f"{path.name} {_digest(file)}".encode())
        return sha256(b"\n".join(parts)).hexdigest()

    @cached_property
    def encoder(self) -> Encoder:
        """The transformer itself."""
        chosen = self.settings
        encoder = load_encoder(str(self.folder), self.layers, chosen.device)
        backend = encoder.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        return encoder

    @cached_property
    def marks(self) -> Tuple[List[int], List[int]]:
        """Wordpieces that the transformer wants before and after a text."""
        probe = self.encoder.tokenizer.backend_tokenizer.encode("a")
        is_mark = [bool(mark) for mark in probe.special_tokens_mask]
        ids = list(probe.ids)
        if all(is_mark):
            return ids, []
        first, last = is_mark.index(False), is_mark[::-1].index(False)
        return ids[:first], ids[len(ids) - last :]

    def __call__(
        self, docs: Sequence[Doc], advance: Callable[[int], Any] = lambda n: None
    ) -> List[NDArray]:
        """Return a row for each token of each doc, the mean of its wordpieces.

        advance: Is told how many tokens are done, batch by batch.
        Whitespace between tokens is as in the text. A wordpiece that covers several
        tokens counts for each; the one that stands for unknown characters for none.
        Docs that are longer than the window are cut between tokens, at the ends of
        sentences where that is possible; a token that is longer by itself is the mean
        of its first wordpieces.
        Returns: One (tokens, width) float32 array a doc; rows of NaN for tokens
            without a wordpiece.
        Raises: InputError, if the transformer gives no numbers.
        """
        starts = numpy.cumsum([0, *map(len, docs)])
        rows = numpy.full((starts[-1], self.width), numpy.nan, dtype="f")
        with torch_threads(self.settings.threads):
            windows = self._cut(docs, starts)
            for batch in self._batches(windows):
                tokens, means = self._encode(batch)
                if not numpy.isfinite(means).all():
                    raise InputError(
                        f"{self.settings.transformer}: gives infinite rows or none; "
                        "its weights are damaged, or precision has to be float32"
                    )
                rows[tokens] = means
                advance(len(tokens))
        return [rows[starts[i] : starts[i + 1]] for i in range(len(docs))]

    def _cut(self, docs: Sequence[Doc], starts: NDArray) -> List[Window]:
        tokenizer = self.encoder.tokenizer
        n_marks = sum(map(len, self.marks))
        size = max(1, min(self.settings.window, self.encoder.max_length) - n_marks)
        windows: List[Window] = []
        for first in range(0, len(docs), TEXTS_AT_ONCE):
            some = docs[first : first + TEXTS_AT_ONCE]
            texts = [doc.text for doc in some]
            backend = tokenizer.backend_tokenizer
            for i, pieces in enumerate(
                backend.encode_batch(texts, add_special_tokens=False), first
            ):
                windows += cut_windows(
                    docs[i], pieces, int(starts[i]), size, tokenizer.unk_token_id
                )
        return windows

    def _batches(self, windows: List[Window]) -> Iterator[List[Window]]:
        """Yield windows of like lengths, the longest first."""
        n_marks = sum(map(len, self.marks))
        lengths = numpy.asarray([len(window.ids) + n_marks for window in windows])
        for places in sorted_batches(lengths, self.settings.batch_pieces):
            yield [windows[place] for place in places]

    def _encode(self, windows: List[Window]) -> Tuple[NDArray, NDArray]:
        """Return M places of tokens, and the means of their wordpieces, (M, width)."""
        torch = import_extra("torch", "transformers")
        before, after = self.marks
        lengths = numpy.asarray([len(window.ids) for window in windows])
        shape = (len(windows), int(lengths.max()) + len(before) + len(after))
        pad = self.encoder.tokenizer.pad_token_id
        ids = numpy.full(shape, 0 if pad is None else pad, dtype="int64")
        for row, window in zip(ids, windows, strict=True):
            full = [*before, *window.ids, *after]
            row[: len(full)] = full
        n_pieces = lengths[:, None] + len(before) + len(after)
        mask = numpy.arange(shape[1]) < n_pieces
        states = mean_states(
            self.encoder,
            torch.from_numpy(ids),
            torch.from_numpy(mask.astype("int64")),
            self.settings.precision == "bfloat16",
        )
        text = numpy.repeat(
            numpy.arange(len(windows)), [len(window.tokens) for window in windows]
        )
        piece = numpy.concatenate([window.pieces for window in windows])
        token = numpy.concatenate([window.tokens for window in windows])
        flat = torch.from_numpy(text * shape[1] + piece + len(before))
        chosen = states.flatten(0, 1)[flat.to(states.device)].cpu().numpy()
        return _means(token, chosen)


def _means(token: NDArray, rows: NDArray) -> Tuple[NDArray, NDArray]:
    """Return the different tokens, and the mean of the rows of each."""
    if not len(token):
        return token, rows
    order = numpy.argsort(token, kind="stable")
    token, rows = token[order], rows[order]
    starts = numpy.flatnonzero(numpy.diff(token, prepend=-1))
    counts = numpy.diff(starts, append=len(token))
    sums = numpy.add.reduceat(rows, starts, axis=0)
    return token[starts], sums / counts[:, None].astype("f")


def _digest(file: Any) -> str:
    found = sha256()
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()
