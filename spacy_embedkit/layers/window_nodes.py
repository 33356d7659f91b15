"""The nodes of spaCy's MaxoutWindowEncoder, and their weights for the kernels."""

from typing import List, NamedTuple, Optional, cast

import numpy
from numpy.typing import NDArray
from thinc.api import Model

from .stock_nodes import match_mix, stock


class WindowNodes(NamedTuple):
    """The nodes of one convolution that have weights or settings.

    window_size: Neighbours that a token sees on each side.
    """

    window_size: int
    maxout: Model
    norm: Model
    dropout: Model


class WindowWeights(NamedTuple):
    """Weights of one convolution. A row has P pieces, and each piece nO values.

    W: ((2w + 1) * nO, P * nO), or for the first layer (nO, (2w + 1) * P * nO).
    bias: (P * nO,). G, b: (nO,), of the layer norm.
    """

    W: NDArray
    bias: NDArray
    G: NDArray
    b: NDArray


def match_nodes(model: Model) -> Optional[List[WindowNodes]]:
    """Pick the nodes out of a tree of spacy.MaxoutWindowEncoder, or return None.

    Returns one entry for each convolution, all of one window size.
    """
    inner = model.layers[0]
    # A clone of depth 1 is the layer itself.
    blocks = inner.layers if inner._func is stock.chain else [inner]
    layers = [nodes for block in blocks if (nodes := _match_block(block))]
    sizes = {nodes.window_size for nodes in layers}
    return layers if len(layers) == len(blocks) and len(sizes) == 1 else None


def _match_block(block: Model) -> Optional[WindowNodes]:
    match block:
        case Model(
            _func=stock.residual,
            layers=[
                Model(
                    _func=stock.chain,
                    layers=[Model(_func=stock.expand_window) as expand, mixer],
                )
            ],
        ):
            mix = match_mix(mixer)
            if mix is not None:
                size = expand.attrs["window_size"]
                return WindowNodes(size, mix.maxout, mix.norm, mix.dropout)
    return None


def prediction_weights(nodes: List[WindowNodes]) -> List[WindowWeights]:
    """Return the weights of all convolutions, the first one's for single rows."""
    layers = [layer_weights(layer) for layer in nodes]
    layers = [w._replace(W=numpy.ascontiguousarray(w.W)) for w in layers]
    # Places in the window become places in the output.
    W = layers[0].W
    width = len(layers[0].G)
    W = W.reshape(-1, width, W.shape[1]).transpose(1, 0, 2)
    layers[0] = layers[0]._replace(W=numpy.ascontiguousarray(W).reshape(width, -1))
    return layers


def layer_weights(nodes: WindowNodes) -> WindowWeights:
    """Return the weights of one convolution, for rows that hold windows."""
    W = cast(NDArray, nodes.maxout.get_param("W"))
    bias = cast(NDArray, nodes.maxout.get_param("b"))
    G, b = (cast(NDArray, nodes.norm.get_param(name)) for name in ("G", "b"))
    # thinc has outputs before pieces; the kernels read pieces before outputs.
    W = numpy.ascontiguousarray(W.transpose(1, 0, 2)).reshape(-1, W.shape[2])
    return WindowWeights(W.T, numpy.ascontiguousarray(bias.T).reshape(-1), G, b)
