"""Registered annotation setters: what a transformer leaves on the docs.

An annotation setter is a function of (docs, batch) that the `transformer` component
calls after it has set `doc._.trf_data`. Named in the config, it survives saving and
loading of the pipeline.
"""

from typing import Any, Callable, List, Union

import numpy
from spacy.tokens import Doc, Span, Token
from thinc.api import get_array_module
from thinc.backends import get_array_ops

from . import ops as kernels

TOKEN_VECTORS = "token_vectors"
AnnotationSetter = Callable[[List[Doc], Any], None]


def build_doc_vectors_v1() -> AnnotationSetter:
    """Let `.vector` and `.similarity` of docs, spans and tokens use the transformer.

    Sets the extension `doc._.token_vectors`, (N, width) float32: the mean of the
    wordpieces of each token in the last hidden layer, zeros for a token without any.
    `.vector`, `.vector_norm`, `.has_vector` and `.similarity` are hooked to it: a
    token has its row, a span or doc the mean of its rows. The extension is saved
    with the doc; hooks are not, so call add_vector_hooks on a doc that was loaded.

    Source: https://spacy.io/usage/processing-pipelines#custom-components-user-hooks
    """
    return set_doc_vectors


def set_doc_vectors(docs: List[Doc], batch: Any) -> None:
    """Set the token vectors of each doc, and hook its vectors to them.

    batch: A spacy_transformers FullTransformerBatch.
    """
    for doc, data in zip(docs, batch.doc_data, strict=True):
        _declare_extension()
        doc._.set(TOKEN_VECTORS, mean_wordpieces(len(doc), data))
        add_vector_hooks(doc)


def add_vector_hooks(doc: Doc) -> Doc:
    """Hook the vectors of a doc, its spans and tokens to `doc._.token_vectors`.

    `.vector_norm` needs no hook: spaCy computes it from the hooked `.vector`.
    """
    _declare_extension()
    for hooks in (doc.user_hooks, doc.user_span_hooks, doc.user_token_hooks):
        hooks["vector"] = vector
        hooks["has_vector"] = has_vector
        hooks["similarity"] = similarity
    return doc


def mean_wordpieces(n_tokens: int, data: Any) -> Any:
    """Average the wordpiece rows of each token: (n_tokens, width) float32.

    data: A spacy_transformers TransformerData.
    """
    if "last_hidden_state" not in data.model_output:
        return numpy.zeros((n_tokens, 0), dtype="f")
    hidden = data.model_output.last_hidden_state
    ops = get_array_ops(hidden)
    rows = ops.asarray2f(hidden.reshape(-1, hidden.shape[-1]))
    index = ops.asarray1i(data.align.dataXd.reshape(-1))
    lengths = ops.asarray1i(data.align.lengths)
    sums = kernels.sum_rows(ops, rows, index, lengths)
    return sums / ops.xp.maximum(lengths, 1).astype("f")[:, None]


Target = Union[Doc, Span, Token]


def vector(target: Target) -> Any:
    """Return the row of a token, or the mean row of a span or doc: (width,)."""
    if isinstance(target, Token):
        return target.doc._.get(TOKEN_VECTORS)[target.i]
    if isinstance(target, Span):
        rows = target.doc._.get(TOKEN_VECTORS)[target.start : target.end]
    else:
        rows = target._.get(TOKEN_VECTORS)
    xp = get_array_module(rows)
    return rows.mean(axis=0) if len(rows) else xp.zeros(rows.shape[1], dtype="f")


def has_vector(target: Target) -> bool:
    """Return whether the vector has a value other than 0."""
    return bool(vector(target).any())


def similarity(target: Target, other: Any) -> float:
    """Return the cosine of two vectors, -1 to 1; 0.0 if one of them is all zeros.

    other: Anything that has a `.vector` of the same width.
    """
    row, other_row = vector(target), other.vector
    if not row.size or not other_row.size:
        # A batch without tokens never met the transformer, so its width is unknown.
        return 0.0
    if row.shape != other_row.shape:
        raise ValueError(
            f"doc_vectors.v1: similarity of vectors {row.shape[0]} and "
            f"{other_row.shape[0]} wide; compare objects whose docs were made by one "
            "pipeline"
        )
    norm = float((row * row).sum() * (other_row * other_row).sum()) ** 0.5
    return float((row * other_row).sum()) / norm if norm else 0.0


def _declare_extension() -> None:
    if not Doc.has_extension(TOKEN_VECTORS):
        Doc.set_extension(TOKEN_VECTORS, default=None)
