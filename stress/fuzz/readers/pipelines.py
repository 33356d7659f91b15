"""Saved layers, and configs that name what is registered."""

import json
from functools import cache
from inspect import signature
from pathlib import Path
from random import Random
from typing import Any, Dict, List, cast

import numpy
import spacy
from spacy import registry
from srsly import msgpack_dumps, msgpack_loads
from thinc.api import Model
from thinc.config import ConfigValidationError

from tests.helpers.checkout import NAMES

from ..base import Reader
from ..changes import set_number
from ..mutate import Spoil, change_msgpack
from ..packing import SkipError

PREFIX = "spacy-embedkit."
# Arguments that have no default.
REQUIRED: Dict[str, Any] = {
    "maxout_pieces": 2,
    "hidden_size": 4,
    "loss": "L2",
    "n_characters": 2,
    "width": 4,
    "depth": 1,
    "window_size": 1,
    "attrs": ["NORM"],
    "include_static_vectors": False,
    "rows": 7,
    "attr_rows": [5],
    "output_width": 4,
    "embed_rows": 7,
    "steps": 2,
    "frozen_steps": 1,
    "transformer": "missing",
}
LAYERS: List[Dict[str, Any]] = [
    {
        "@architectures": "spacy-embedkit.MultiHashEmbed.v1",
        "width": 4,
        "attrs": ["NORM", "SHAPE"],
        "rows": [7, 5],
        "include_static_vectors": False,
    },
    {
        "@architectures": "spacy-embedkit.SubwordHashEmbed.v1",
        "width": 4,
        "rows": 7,
        "attrs": ["PREFIX"],
        "attr_rows": [5],
    },
    {
        "@architectures": "spacy-embedkit.StaticHashEmbed.v1",
        "output_width": 4,
        "embed_rows": 7,
    },
    {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy-embedkit.MultiHashEmbed.v1",
            "width": 4,
            "attrs": ["NORM"],
            "rows": [7],
            "include_static_vectors": False,
        },
        "encode": {
            "@architectures": "spacy-embedkit.MaxoutWindowEncoder.v1",
            "width": 4,
            "depth": 2,
            "window_size": 1,
            "maxout_pieces": 2,
        },
    },
    {"@architectures": "spacy-embedkit.StaticVectors.v1", "width": 4},
]
TEXTS = ["The cat sat on the mat.", "", "x"]
# What layers of thinc and numpy raise on weights that don't fit; they may.
ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
ERRORS += (RecursionError, MemoryError)  # type: ignore[assignment]


class RefusedError(Exception):
    """thinc does not take it."""


@cache
def pipeline() -> Any:
    """Make a pipeline of words with vectors."""
    nlp = spacy.blank("xx")
    rows = numpy.arange(8, dtype="f").reshape(2, 4)
    for word, row in zip(("cat", "mat"), rows, strict=True):
        nlp.vocab.set_vector(word, cast(Any, row))
    return nlp


class Layers(Reader):
    """The bytes of a layer, which then predicts: no wrong read, whatever they are."""

    documented = (RefusedError,)
    max_bytes = 1 << 15

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.models: List[Model] = []
        docs = [pipeline().make_doc(text) for text in TEXTS]
        for config in LAYERS:
            [model] = registry.resolve({"model": config}).values()
            self.models.append(model.initialize(X=docs))
        self.docs = docs
        self.saved = [model.to_bytes() for model in self.models]

    def seeds(self) -> List[bytes]:
        """Save all layers, each with its number."""
        return [
            msgpack_dumps({"n": i, "layer": saved})
            for i, saved in enumerate(self.saved)
        ]

    def mutate(self, data: bytes, rng: Random, spoil: Spoil) -> bytes:
        """Change the layer, not its number."""
        try:
            tree = msgpack_loads(data)
            layer = tree["layer"]
            change = change_msgpack(layer, rng, spoil) if rng.random() < 0.8 else None
            tree["layer"] = change or set_number(layer, rng)
            return bytes(msgpack_dumps(tree))
        except Exception:
            return data

    def read(self, data: bytes) -> Any:
        """Load the layer, and predict."""
        try:
            tree = msgpack_loads(data)
            number, layer = int(tree["n"]), bytes(tree["layer"])
            model, saved = self.models[number], self.saved[number]
        except Exception as err:
            raise SkipError from err
        try:
            model.from_bytes(layer)
            with numpy.errstate(all="ignore"):
                return model.predict(self.docs)
        except ERRORS as err:
            raise RefusedError(type(err).__name__) from err
        finally:
            for node, fresh in zip(model.walk(), _fresh(saved), strict=True):
                node.attrs.update(fresh)
            model.from_bytes(saved)


@cache
def _fresh(saved: bytes) -> List[Dict[str, Any]]:
    # from_bytes keeps attributes that the bytes lack.
    attrs = msgpack_loads(saved)["attrs"]
    return [{k: msgpack_loads(v) for k, v in node.items()} for node in attrs]


class Configs(Reader):
    """Arguments of all that is registered, from the config of a pipeline."""

    documented = (ValueError, ImportError, ConfigValidationError)

    def seeds(self) -> List[bytes]:
        """Take the defaults of each."""
        found = []
        for kind, name in NAMES:
            config: Dict[str, Any] = {f"@{kind}": name}
            arguments = signature(registry.get(kind, name)).parameters
            config |= {k: v for k, v in REQUIRED.items() if k in arguments}
            if "Multi" in name:
                config["rows"] = [7]
            found.append(json.dumps({"x": config}).encode())
        more: List[Dict[str, Any]] = [x for x in LAYERS if _is_ours(x)]
        spans = {"max_length": 5, "pack": 9}
        for name in ("sent_spans", "paragraph_spans"):
            more.append({"@span_getters": f"{PREFIX}{name}.v1", **spans})
        settings = {"max_wordpieces": 5, "context": 1, "tokenizer": None}
        more.append({"@span_getters": f"{PREFIX}wordpiece_spans.v1", **settings})
        attr = {"name": "a", "what": "trf_data"}
        more.append({"@annotation_setters": f"{PREFIX}custom_attr.v1", **attr})
        text = {"path": ["x"], "max_length": 9, "min_length": 2, "shuffle": 3}
        more.append({"@readers": f"{PREFIX}RawText.v1", **text})
        model = {
            "name": "x",
            "get_spans": more[-5],
            "layer_decay": 0.5,
            "lora": {"r": 1},
        }
        more.append({"@architectures": f"{PREFIX}TransformerModel.v1", **model})
        more.append(
            {"@architectures": f"{PREFIX}TransformerListener.v1", "layers": [1]}
        )
        return [*found, *(json.dumps({"x": config}).encode() for config in more)]

    def read(self, data: bytes) -> Any:
        """Make what the config names."""
        try:
            config = json.loads(data)
        except (ValueError, RecursionError) as err:
            raise SkipError from err
        if not isinstance(config, dict) or not _is_ours(config.get("x")):
            raise SkipError
        try:
            return registry.resolve(config)["x"]
        except ConfigValidationError as err:
            # Its text has several lines; it is spaCy's.
            raise ValueError("refused") from err
        except registry_errors() as err:
            raise ValueError("refused") from err


def registry_errors() -> Any:
    """Return what the registry itself raises for names and trees."""
    from catalogue import RegistryError

    return (RegistryError, RecursionError)


def _is_ours(config: Any) -> bool:
    names = config.items() if isinstance(config, dict) else ()
    kinds = [(k, v) for k, v in names if isinstance(k, str) and k.startswith("@")]
    return len(kinds) == 1 and (kinds[0][0][1:], kinds[0][1]) in NAMES
