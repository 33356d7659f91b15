"""Token vectors of a transformer, and hooks for spaCy's `.vector`."""

from typing import Any, Callable, Dict, Sequence, Union

import numpy
from spacy.tokens import Doc, Span, Token
from thinc.api import get_array_module
from thinc.backends import get_array_ops

from .. import ops as kernels

TOKEN_VECTORS = "token_vectors"
ALL_HOOKS = ("doc", "span", "token")
Target = Union[Doc, Span, Token]


def set_token_vectors(
    docs: Sequence[Doc], batch: Any, *, hooks: Sequence[str] = ALL_HOOKS
) -> None:
    """Set the token vectors of each doc, and hook its vectors to them.

    batch: A spacy_transformers FullTransformerBatch. hooks: As in add_vector_hooks.
    """
    for doc, data in zip(docs, batch.doc_data, strict=True):
        declare_extension(TOKEN_VECTORS)
        doc._.set(TOKEN_VECTORS, mean_wordpieces(len(doc), data))
        add_vector_hooks(doc, hooks)


def add_vector_hooks(doc: Doc, hooks: Sequence[str] = ALL_HOOKS) -> Doc:
    """Hook the vectors of a doc, its spans and tokens to `doc._.token_vectors`.

    hooks: Which of "doc", "span" and "token" get `.vector`, `.has_vector`,
        `.vector_norm` and `.similarity`.
    """
    declare_extension(TOKEN_VECTORS)
    places: Dict[str, Dict[str, Callable]] = {
        "doc": doc.user_hooks,
        "span": doc.user_span_hooks,
        "token": doc.user_token_hooks,
    }
    for kind in hooks:
        places[kind]["vector"] = vector
        places[kind]["has_vector"] = has_vector
        if kind != "span":
            # With this hook, spaCy's Span.vector_norm would call the hook `vector`.
            places[kind]["vector_norm"] = vector_norm
        places[kind]["similarity"] = similarity
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


def vector(target: Target) -> Any:
    """Return the row of a token, or the mean row of a span or doc: (width,) float32.

    Raises: ValueError, if the doc was retokenized since it had its token vectors.
    """
    if isinstance(target, Token):
        return _rows(target.doc)[target.i].astype("f", copy=False)
    if isinstance(target, Span):
        rows = _rows(target.doc)[target.start : target.end]
    else:
        rows = _rows(target)
    xp = get_array_module(rows)
    if not len(rows):
        return xp.zeros(rows.shape[1], dtype="f")
    return rows.mean(axis=0, dtype="f")


def has_vector(target: Target) -> bool:
    """Return whether the vector has a value other than 0."""
    return bool(vector(target).any())


def vector_norm(target: Target) -> float:
    """Return the Euclidean length of the vector, 0 or more.

    Hooked because spaCy caches the norm of a doc's earlier vector.
    """
    row = vector(target)
    return float((row * row).sum()) ** 0.5


def similarity(target: Target, other: Any) -> float:
    """Return the cosine of two vectors, -1 to 1; 0.0 if one of them is all zeros.

    other: Anything that has a `.vector` of the same width.
    """
    row, other_row = vector(target), other.vector
    if not row.size or not other_row.size:
        # The transformer never sees a batch without tokens, so its width is unknown.
        return 0.0
    if row.shape != other_row.shape:
        raise ValueError(
            f"doc_vectors.v1: similarity of vectors {row.shape[0]} and "
            f"{other_row.shape[0]} wide; compare objects whose docs were made by one "
            "pipeline"
        )
    norm = float((row * row).sum() * (other_row * other_row).sum()) ** 0.5
    return float((row * other_row).sum()) / norm if norm else 0.0


def declare_extension(name: str) -> None:
    """Declare the extension doc._.name, None until it is set, unless there is one."""
    if not Doc.has_extension(name):
        Doc.set_extension(name, default=None)


def _rows(doc: Doc) -> Any:
    rows = doc._.get(TOKEN_VECTORS)
    if rows is None:
        # Doc of a span, which shares the hooks but not the rows.
        return numpy.zeros((len(doc), 0), dtype="f")
    if len(rows) != len(doc):
        raise ValueError(
            f"doc_vectors.v1: {len(rows)} token vectors, but the doc has {len(doc)} "
            "tokens; put components that merge or split tokens before the transformer, "
            "and ask spans for vectors before as_doc"
        )
    return rows
