"""Release the memory of a transformer's outputs on docs, once they are not needed."""

from typing import Any, List, Literal

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import get_ops
from thinc.compat import has_cupy_gpu
from thinc.util import to_numpy

from .token_vectors import TOKEN_VECTORS, declare_extension, mean_wordpieces

Keep = Literal["nothing", "token_vectors", "last_hidden_state"]
Dtype = Literal["float32", "float16"]
Device = Literal["cpu", "gpu"]


class Release:
    """Component that drops or shrinks doc._.trf_data of each doc that passes it.

    Its place is after the last component that listens to the transformer; one that
    listens later gets an error. See build_release_v1 for the settings. It changes
    nothing in training unless it is named in `annotating_components`.
    """

    def __init__(self, name: str, keep: Keep, dtype: Dtype, device: Device) -> None:
        self.name = name
        self.keep = keep
        self.dtype = dtype
        self.device = device

    def __call__(self, doc: Doc) -> Doc:
        """Release one doc, and return it."""
        release_doc(doc, self.keep, self.dtype, self.device)
        return doc


def make_release(
    nlp: Language, name: str, keep: Keep, dtype: Dtype, device: Device
) -> Release:
    """Make the component `embedkit_release`.

    keep, dtype, device: As in build_release_v1.
    Raises: ValueError if the device is gpu, and there is none.
    """
    check_device("embedkit_release", device)
    return Release(name, keep, dtype, device)


# Here and not in setup.cfg alone, because a factory without a default config would
# need all settings.
Language.factory(
    "embedkit_release",
    func=make_release,
    default_config={"keep": "nothing", "dtype": "float32", "device": "cpu"},
)


def check_device(name: str, device: Device) -> None:
    """Raise ValueError if the device is a GPU and there is none."""
    if device == "gpu" and not has_cupy_gpu:
        raise ValueError(
            f"{name}: device is gpu, but there is none that cupy can use; set it to cpu"
        )


def release_docs(
    docs: List[Doc], batch: Any, *, keep: Keep, dtype: Dtype, device: Device
) -> None:
    """Release each doc; as an annotation setter."""
    for doc in docs:
        release_doc(doc, keep, dtype, device)


def release_doc(doc: Doc, keep: Keep, dtype: Dtype, device: Device) -> None:
    """Drop or shrink doc._.trf_data, if there is any.

    What is kept is copied: a view would keep the arrays of the whole batch.
    """
    # It imports torch, which an entry point must not do.
    from .trf_data import get_released, shrink

    data = doc._.get("trf_data") if Doc.has_extension("trf_data") else None
    if data is None or data is get_released():
        return
    if keep == "last_hidden_state":
        doc._.trf_data = shrink(data, lambda array: _move(array, dtype, device))
        return
    if keep == "token_vectors":
        declare_extension(TOKEN_VECTORS)
        rows = doc._.get(TOKEN_VECTORS)
        if rows is None or len(rows) != len(doc):
            rows = mean_wordpieces(len(doc), data)
        doc._.set(TOKEN_VECTORS, _move(rows, dtype, device))
    doc._.trf_data = get_released()


def _move(array: Any, dtype: Dtype, device: Device) -> Any:
    array = get_ops("cupy").asarray(array) if device == "gpu" else to_numpy(array)
    return array.astype(dtype)
