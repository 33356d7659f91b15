"""The nodes of stock layers, told by their forward functions."""

from importlib import import_module
from types import SimpleNamespace
from typing import NamedTuple, Optional

from spacy.ml import featureextractor, staticvectors
from thinc.api import Model

_LAYERS = (
    "array_getitem",
    "chain",
    "concatenate",
    "dropout",
    "expand_window",
    "hashembed",
    "layernorm",
    "list2ragged",
    "maxout",
    "ragged2list",
    "residual",
    "with_array",
)
# Forward functions by the modules they are from, so that a pattern can name them:
# `case Model(_func=stock.residual, layers=[inner])`.
stock = SimpleNamespace(
    **{name: import_module(f"thinc.layers.{name}").forward for name in _LAYERS},
    # spaCy has a function of the same name in that package.
    extract_spans=import_module("spacy.ml.extract_spans").forward,
    featureextractor=featureextractor.forward,
    staticvectors=staticvectors.forward,
)


class Mix(NamedTuple):
    """The nodes of thinc.Maxout with a norm; its root; and dropout after them."""

    root: Model
    maxout: Model
    norm: Model
    dropout: Model


def match_mix(node: Model) -> Optional[Mix]:
    """Pick the nodes out of the tree that thinc.Maxout builds with norm and dropout."""
    match node:
        case Model(
            _func=stock.chain,
            layers=[
                Model(
                    _func=stock.chain,
                    layers=[
                        Model(_func=stock.maxout) as maxout,
                        Model(_func=stock.layernorm) as norm,
                    ],
                ) as root,
                Model(_func=stock.dropout) as dropout,
            ],
        ):
            return Mix(root, maxout, norm, dropout)
    return None
