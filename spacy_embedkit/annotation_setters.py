"""Registered annotation setters, which put outputs of a transformer on the docs.

An annotation setter is a function of (docs, batch) that the `transformer` component
calls after it has set `doc._.trf_data`, and before components that listen to it run.
Named in the config, it is saved and loaded with the pipeline. Those of this module
declare the extensions they set. Arrays they set are saved with the doc, those of the
GPU as arrays of the CPU.
"""

from functools import partial
from typing import Any, Callable, List, Literal

import numpy
from spacy.tokens import Doc
from thinc.backends import get_array_ops

from .transformer.release import Device, Dtype, Keep, check_device, release_docs
from .transformer.token_vectors import (
    TOKEN_VECTORS,
    add_vector_hooks,
    declare_extension,
    mean_wordpieces,
    set_token_vectors,
)

__all__ = ["AnnotationSetter", "add_vector_hooks", "mean_wordpieces"]
AnnotationSetter = Callable[[List[Doc], Any], None]
What = Literal[
    "token_vectors", "span_means", "pooler_output", "last_hidden_state", "trf_data"
]


def build_token_vectors_v1() -> AnnotationSetter:
    """Let `.vector` and `.similarity` of tokens use the transformer.

    Sets the extension `doc._.token_vectors`, (N, width) float32: the mean of the
    wordpieces of each token in the last hidden layer, zeros for a token without any.
    `.vector`, `.has_vector`, `.vector_norm` and `.similarity` of tokens are hooked to
    its rows; docs and spans keep spaCy's own. The extension is saved with the doc, but
    hooks are not, and docs from `nlp.pipe(n_process=2)` have none: call
    add_vector_hooks on those.

    Source: https://spacy.io/usage/processing-pipelines#custom-components-user-hooks
    """
    return partial(set_token_vectors, hooks=("token",))


def build_span_vectors_v1() -> AnnotationSetter:
    """Let `.vector` and `.similarity` of tokens and spans use the transformer.

    As token_vectors.v1; any span of the doc (an entity, a sentence, a slice) has the
    mean of the rows of its tokens. Docs have spaCy's own vectors.
    """
    return partial(set_token_vectors, hooks=("token", "span"))


def build_doc_vectors_v1() -> AnnotationSetter:
    """Let `.vector` and `.similarity` of docs, spans and tokens use the transformer.

    As span_vectors.v1; a doc has the mean of the rows of all its tokens.
    """
    return set_token_vectors


def build_custom_attr_v1(name: str, what: What = "token_vectors") -> AnnotationSetter:
    """Declare the extension doc._.name, and set it to an output of the transformer.

    name (str): Of the extension.
    what (str): "token_vectors": (N, width) float32, as in token_vectors.v1, but without
        hooks; "span_means": (spans, width) float32, the mean of the wordpieces of each
        span that the transformer read, special ones too; "pooler_output": (spans,
        width), and "last_hidden_state": (spans, wordpieces, width), as the model gave
        them; "trf_data": all of it. A doc without tokens has arrays without rows.
    Raises: ValueError if the name is not a valid attribute, or is used by spaCy or by
        an extension that can't be set; when called, if the model has no such output.
    """
    if not name.isidentifier() or name in ("trf_data", TOKEN_VECTORS):
        raise ValueError(
            f"custom_attr.v1: name is {name!r}, but a Python name other than trf_data "
            f"and {TOKEN_VECTORS} is needed; choose another one"
        )
    _declare(name)
    return partial(_set_custom_attr, name, what)


def build_release_v1(
    keep: Keep = "nothing", dtype: Dtype = "float32", device: Device = "cpu"
) -> AnnotationSetter:
    """Drop or shrink doc._.trf_data, so that docs that are kept take less memory.

    For a transformer without listeners: these read doc._.trf_data later, and would get
    an error. With listeners, leave this out and put the component `embedkit_release`,
    which has the same settings, after them. In a chain it comes last. Reading what was
    dropped raises an error that says so.

    keep (str): "nothing"; "token_vectors": doc._.token_vectors, as in token_vectors.v1;
        "last_hidden_state": doc._.trf_data, but of the outputs only that.
    dtype (str): Of kept arrays, "float32" or "float16", which has 3 digits.
    device (str): Where the arrays are kept, "cpu" or "gpu".
    Raises: ValueError if the device is gpu and there is none.
    """
    check_device("release.v1", device)
    return partial(release_docs, keep=keep, dtype=dtype, device=device)


def build_chain_v1(*setters: AnnotationSetter) -> AnnotationSetter:
    """Call several setters, one after the other, in the order of the config.

    setters: In a config, blocks [components.transformer.set_extra_annotations.*.NAME]
        with any names; their order survives saving.
    """
    return partial(_set_all, setters)


def _set_all(setters: List[AnnotationSetter], docs: List[Doc], batch: Any) -> None:
    for setter in setters:
        setter(docs, batch)


def _set_custom_attr(name: str, what: What, docs: List[Doc], batch: Any) -> None:
    # Again, because this may be another process than the one that built it.
    _declare(name)
    for doc, data in zip(docs, batch.doc_data, strict=True):
        if what == "trf_data":
            doc._.set(name, data)
        elif what == "token_vectors":
            doc._.set(name, mean_wordpieces(len(doc), data))
        else:
            doc._.set(name, _output(data, what))


def _output(data: Any, what: str) -> Any:
    """Return a copy of an output for one doc, which would keep the batch as a view."""
    output = data.model_output
    if not output:
        return numpy.zeros((0, 0), dtype="f")
    key = "last_hidden_state" if what == "span_means" else what
    if key not in output:
        raise ValueError(
            f"custom_attr.v1: what is {what}, but the model gives only "
            f"{', '.join(output)}; choose token_vectors or span_means"
        )
    if what != "span_means":
        return output[key].copy()
    ops = get_array_ops(output[key])
    mask = ops.asarray2f(data.wordpieces.attention_mask)[:, :, None]
    return (output[key] * mask).sum(axis=1) / mask.sum(axis=1)


def _declare(name: str) -> None:
    declare_extension(name)
    _, method, getter, setter = Doc.get_extension(name)
    if method is not None or (getter is not None and setter is None):
        raise ValueError(
            f"custom_attr.v1: doc._.{name} is an extension that computes its value; "
            "choose another name"
        )
