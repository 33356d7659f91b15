"""A transformer as the teacher: one row for each token of a doc."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Callable, List, Literal, Optional, Sequence

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc

from ...checks import InputError, import_extra, one_line
from ...transformer.inference import (
    InferenceModel,
    load_inference_model,
    torch_threads,
)
from ...transformer.pretrained import check_layers, find_folder
from ...transformer.windows import RULE, Window, cut_windows

# Files of a transformer that decide what it gives for a text.
MODEL_FILES = ("*.safetensors", "*.model", "vocab.*", "merges.txt", "*token*.json")
# Texts that are cut into wordpieces at once.
TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class TeacherSettings:
    """Which transformer teaches, and how it is run.

    transformer: Folder, or name on the Hugging Face hub.
    layers: Hidden layers whose mean is taken, as in check_layers; None: all but the
        embedding layer.
    window: Wordpieces of a text that are encoded together, special ones included.
    batch_pieces: Wordpieces of a batch with its padding, unless one text alone has
        more.
    precision: Of matrix products.
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
    """Rows of tokens from a transformer, which is loaded when it is first called.

    Raises: InputError if the transformer does not exist or has fewer layers;
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
        # Not used here, but an error now is better than one after the corpus was read.
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
        """A hash of all that decides about the rows, except for rounding."""
        chosen = self.settings
        about = f"{RULE} {sorted(self.layers)} {chosen.window} {chosen.precision}"
        parts = [about.encode()]
        names = {path for name in MODEL_FILES for path in self.folder.glob(name)}
        for path in sorted({*names, self.folder / "config.json"}):
            with path.open("rb") as file:
                parts.append(f"{path.name} {_digest(file)}".encode())
        return sha256(b"\n".join(parts)).hexdigest()

    @cached_property
    def model(self) -> InferenceModel:
        """The transformer itself."""
        chosen = self.settings
        model = load_inference_model(str(self.folder), self.layers, chosen.device)
        backend = model.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        return model

    def __call__(
        self, docs: Sequence[Doc], advance: Callable[[int], Any] = lambda n: None
    ) -> List[NDArray]:
        """Return a row for each token of each doc, the mean of its wordpieces.

        advance: Called with the number of tokens done, batch by batch.
        Whitespace between tokens is as in the text. A wordpiece that covers several
        tokens counts for each; the unknown wordpiece counts for none.
        Docs that are longer than the window are cut between tokens, at the ends of
        sentences where that is possible; a token that is longer by itself is the mean
        of its first wordpieces.
        Returns: One (tokens, width) float32 array a doc; rows of NaN for tokens
            without a wordpiece.
        Raises: InputError, if the transformer gives no numbers.
        """
        starts = numpy.cumsum([0, *map(len, docs)])
        rows = numpy.full((starts[-1], self.width), numpy.nan, dtype="f")
        chosen = self.settings
        with torch_threads(chosen.threads):
            for tokens, means in self.model.token_rows(
                self._cut(docs, starts),
                chosen.batch_pieces,
                chosen.precision == "bfloat16",
            ):
                if not numpy.isfinite(means).all():
                    raise InputError(
                        f"{chosen.transformer}: gives infinite rows or none; its "
                        "weights are damaged, or precision has to be float32"
                    )
                rows[tokens] = means
                advance(len(tokens))
        return [rows[starts[i] : starts[i + 1]] for i in range(len(docs))]

    def _cut(self, docs: Sequence[Doc], starts: NDArray) -> List[Window]:
        tokenizer = self.model.tokenizer
        n_special = sum(map(len, self.model.special_pieces))
        size = max(1, min(self.settings.window, self.model.max_length) - n_special)
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


def _digest(file: Any) -> str:
    found = sha256()
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()
