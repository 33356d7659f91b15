"""Greedy decoding of spaCy's transition-based models, block by block.

What a token adds to the hidden values of a state doesn't depend on the state. So, as in
spaCy, it is computed for all tokens by one product; but for blocks of tokens that stay
in the processor's cache, and with the pieces in an order in which kernels run over
neighbours.
"""

from itertools import pairwise
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.ml import tb_framework
from spacy.ml._precomputable_affine import forward as precompute
from spacy.tokens import Doc
from thinc.api import Model, Ops
from thinc.layers.linear import forward as linear

from ..ops import has_kernels
from . import _decode

# Numbers of feature tokens that spaCy knows.
N_FEATURES = (1, 2, 3, 6, 8, 13)
# With these, a state depends on the next token of the buffer, too.
N_FEATURES_AHEAD = (8, 13)
# The reason that goes away once weights are loaded.
NOT_YET = "it isn't initialized"
# Tokens of a block; a longer doc is a block of its own.
BLOCK = 512


class DecoderWeights(NamedTuple):
    """The weights of the layers after tok2vec, as the kernels want them.

    lower: (I, F * P * H). pad: (F * P * H,), for no token. bias: (P, H). upper: (C, H),
    or (0, H) where the hidden values are the scores. upper_bias: (C,) or (0,). columns:
    (H, C) or (H, 0), upper transposed.
    """

    n_features: int
    lower: NDArray
    pad: NDArray
    bias: NDArray
    upper: NDArray
    upper_bias: NDArray
    columns: NDArray

    @property
    def n_classes(self) -> int:
        """Return the number of scores of a state."""
        return len(self.upper) or self.bias.shape[1]


class EntityMoves(NamedTuple):
    """The classes of the entity recognizer.

    moves: (C,) int32, the number of the move. labels: (C,) uint64. inside: (C, 2)
    int32, for a class that begins an entity those inside it and at its end, else -1.
    """

    moves: NDArray
    labels: NDArray
    inside: NDArray


class ArcMoves(NamedTuple):
    """The classes of the parser.

    moves: (C,) int32, the number of the move. labels: (C,) uint64. is_subtoken: (C,)
    uint8, whether an arc joins neighbours alone. is_decorated: (C,) bool, whether the
    label is one of an arc that was made projective.
    """

    moves: NDArray
    labels: NDArray
    is_subtoken: NDArray
    is_decorated: NDArray


def weights_of(model: Model) -> List[NDArray]:
    """Return the arrays that read_weights depends on."""
    nodes = model.layers[1 : 2 + bool(model.attrs["has_upper"])]
    return [
        cast(NDArray, node.get_param(k)) for node in nodes for k in node.param_names
    ]


def read_weights(model: Model) -> DecoderWeights:
    """Put the weights of a parser_model into the order of the kernels.

    Raises ValueError if their shapes don't fit each other, as after a damaged file.
    """
    lower, upper = model.layers[1], model.layers[2]
    W, b, pad = (cast(NDArray, lower.get_param(name)) for name in ("W", "b", "pad"))
    n_features, n_hidden, n_pieces, n_in = W.shape
    last_W, last_b = numpy.empty((0, n_hidden)), numpy.empty(0)
    if model.attrs["has_upper"]:
        last_W, last_b = (cast(NDArray, upper.get_param(name)) for name in ("W", "b"))
    found = (b.shape, pad.shape, last_W.shape[1:], last_b.shape)
    if found != (
        (n_hidden, n_pieces),
        (1, n_features, n_hidden, n_pieces),
        (n_hidden,),
        last_W.shape[:1],
    ):
        raise ValueError(
            f"the weights of {model.name} don't fit each other: W has the shape "
            f"{W.shape}, b {b.shape}, pad {pad.shape}, and the output layer "
            f"{last_W.shape} and {last_b.shape}; load them again"
        )
    return DecoderWeights(
        n_features,
        # (F, H, P, I) to (I, F, P, H)
        _floats(W.transpose(3, 0, 2, 1)).reshape(n_in, -1),
        _floats(pad[0].transpose(0, 2, 1)).reshape(-1),
        _floats(b.T),
        _floats(last_W),
        _floats(last_b),
        _floats(last_W.T),
    )


def _floats(array: NDArray) -> NDArray:
    return numpy.ascontiguousarray(array, dtype="f")


def find_reason(pipe: Any, system: Any) -> Optional[str]:
    """Say why spaCy has to decode a component of its own; None if we can.

    system: The class of its transition system.
    """
    model, moves = pipe.model, pipe.moves
    if not isinstance(model, Model) or model._func is not tb_framework.forward:
        return "its model isn't that of spacy.TransitionBasedParser"
    lower, upper = model.layers[1:]
    has_upper = bool(model.attrs["has_upper"])
    known = lower._func is precompute and (not has_upper or upper._func is linear)
    if not known or type(moves) is not system:
        return "its model or its transition system isn't spaCy's own"
    if not all(node.has_param("W") for node in (lower, upper)[: 1 + has_upper]):
        return NOT_YET
    if pipe.cfg["beam_width"] != 1:
        return f"it searches with a beam of {pipe.cfg['beam_width']}"
    if model.attrs["unseen_classes"]:
        return "it has labels that it wasn't trained on"
    W = cast(Any, lower.get_param("W"))
    if not has_kernels(model.ops) or not isinstance(W, numpy.ndarray):
        return "it runs on a GPU"
    n_classes = cast(Any, upper.get_param("W")).shape[0] if has_upper else W.shape[1]
    if W.shape[0] not in N_FEATURES or n_classes != moves.n_moves or not n_classes:
        return (
            f"it has {W.shape[0]} feature tokens, {n_classes} scores and "
            f"{moves.n_moves} moves"
        )
    return None


class Block(NamedTuple):
    """Some docs, and what each of their tokens adds to a state.

    lengths: (D,) int32. begin, end: Their tokens among those of all docs.
    table: (N + 1, F * P * H), row 0 for no token; valid until the next block.
    """

    docs: List[Doc]
    lengths: NDArray
    begin: int
    end: int
    table: NDArray


def make_blocks(
    ops: Ops, weights: DecoderWeights, docs: List[Doc], vectors: NDArray
) -> Iterator[Block]:
    """Split docs, none of them empty, into blocks.

    vectors: (N, I), those of tok2vec for all tokens.
    """
    lengths = numpy.asarray([len(doc) for doc in docs], dtype="i")
    ends = numpy.cumsum(lengths).tolist()
    bounds = [0]
    for nth, end in enumerate(ends):
        begin = ends[bounds[-1] - 1] if bounds[-1] else 0
        if end - begin > BLOCK and nth > bounds[-1]:
            bounds.append(nth)
    bounds.append(len(docs))
    places = [ends[nth - 1] if nth else 0 for nth in bounds]
    size = max(end - begin for begin, end in pairwise(places))
    table = numpy.empty((size + 1, len(weights.pad)), dtype="f")
    table[0] = weights.pad
    for (first, last), (begin, end) in zip(
        pairwise(bounds), pairwise(places), strict=True
    ):
        part = table[: end - begin + 1]
        ops.gemm(vectors[begin:end], weights.lower, out=part[1:])  # type: ignore
        yield Block(docs[first:last], lengths[first:last], begin, end, part)


def decode_entities(
    ops: Ops,
    weights: DecoderWeights,
    moves: EntityMoves,
    block: Block,
    attrs: NDArray,
) -> NDArray:
    """Return the entities that the recognizer finds: (N, 2), ENT_IOB and ENT_TYPE.

    attrs: (N, 4 or more) uint64, ENT_IOB, ENT_TYPE, SENT_START, IS_SPACE.
    """
    n = block.end - block.begin
    # States in which no entity is open are known beforehand.
    tokens = numpy.full((n, weights.n_features), -1, dtype="i")
    tokens[:, 0] = numpy.arange(n)
    if weights.n_features in N_FEATURES_AHEAD:
        tokens[:, 1] = tokens[:, 0] + 1
        tokens[numpy.cumsum(block.lengths) - 1, 1] = -1
    n_pieces, n_hidden = weights.bias.shape
    sums = numpy.empty((n_pieces + 1, n_hidden), dtype="f")
    hidden = numpy.empty((n, n_hidden), dtype="f")
    _decode.hidden_states(block.table, weights.bias, tokens, sums.reshape(-1), hidden)
    scores: Any = hidden
    if len(weights.upper):
        scores = ops.gemm(hidden, weights.upper, trans2=True)  # type: ignore
        scores += weights.upper_bias
    out = numpy.empty((n, 2), dtype="uint64")
    _decode.decode_entities(
        block.table,
        weights.bias,
        weights.upper,
        weights.upper_bias,
        scores,
        *moves,
        block.lengths,
        attrs,
        tokens[0],
        sums,
        out,
    )
    return out


def decode_arcs(
    weights: DecoderWeights,
    moves: ArcMoves,
    block: Block,
    starts: NDArray,
) -> Optional[Tuple[NDArray, NDArray]]:
    """Return the head of each token, and the class of its arc.

    starts: (N,), SENT_START.
    Returns (N,) int32, a token of the block or -1, and (N,) int32, for those that have
        a head; None if spaCy has to parse these docs.
    """
    n = block.end - block.begin
    n_pieces, n_hidden = weights.bias.shape
    heads, classes = numpy.empty((2, n), dtype="i")
    ok = _decode.decode_arcs(
        block.table,
        weights.bias,
        weights.upper,
        weights.upper_bias,
        weights.columns,
        moves.moves,
        moves.is_subtoken,
        block.lengths,
        starts.astype("int8"),
        numpy.empty((5, n), dtype="i"),
        numpy.zeros(n, dtype="uint8"),
        numpy.empty((n_pieces + 1, n_hidden), dtype="f"),
        numpy.empty(weights.n_classes, dtype="f"),
        heads,
        classes,
    )
    return (heads, classes) if ok else None
