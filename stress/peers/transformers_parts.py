"""Our layers in place of those of spacy-transformers."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import spacy_transformers
from spacy.util import registry
from spacy_transformers import architectures, layers
from spacy_transformers.layers import transformer_model
from thinc.api import Model, chain

from spacy_embedkit.transformer import builders as ours
from spacy_embedkit.transformer import listener, model

from .notes import note

STOCK, OURS = "spacy-transformers", "spacy-embedkit"
MODEL = "TransformerModel"
# Functions of spacy_transformers.architectures, which its entry points name.
FUNCTIONS = {
    f"{MODEL}.v1": "create_TransformerModel_v1",
    f"{MODEL}.v2": "create_TransformerModel_v2",
    f"{MODEL}.v3": "create_TransformerModel_v3",
    "TransformerListener.v1": "transformer_listener_tok2vec_v1",
    "Tok2VecTransformer.v1": "transformer_tok2vec_v1",
    "Tok2VecTransformer.v2": "transformer_tok2vec_v2",
    "Tok2VecTransformer.v3": "transformer_tok2vec_v3",
}


def put_in_place(variant: str) -> Callable[[], Any]:
    """Put our layers in place, unless the variant is stock."""
    record(transformer_model.TransformerModel, "__init__")
    record(transformer_model, "forward")
    record(model, "forward")
    record(sys.modules["spacy_transformers.layers.trfs2arrays"], "forward")
    record(listener, "forward")
    if variant != "stock":
        replace_layers()
    return lambda: None


def record(owner: Any, name: str) -> None:
    """Note the layers that a function is run for, by the modules that define them."""
    function = getattr(owner, name)

    @wraps(function)
    def run_and_note(model: Model, *args: Any, **settings: Any) -> Any:
        is_plain = type(model).__name__ == "Model"
        note(function.__module__ if is_plain else type(model).__module__)
        return function(model, *args, **settings)

    setattr(owner, name, run_and_note)


def replace_layers() -> None:
    """Put ours under the names of stock, wherever its tests may take them from."""
    build_model = named_like_stock(ours.build_transformer_model_v1)
    builders: dict[str, Callable] = {
        MODEL: build_model,
        "TransformerListener": ours.build_transformer_listener_v1,
        "Tok2VecTransformer": ours.build_tok2vec_transformer_v1,
    }
    for name, function in FUNCTIONS.items():
        build = builders[name.split(".")[0]]
        if name in ("Tok2VecTransformer.v1", "Tok2VecTransformer.v2"):
            build = flat(build)
        setattr(architectures, function, build)
        registry.architectures.register(f"{STOCK}.{name}", func=build)

    class LikeOurs(type):
        """Made with the arguments of stock; an instance is any model of ours."""

        __call__ = staticmethod(build_model)

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, model.TransformerModel)

    for module in (spacy_transformers, layers, architectures):
        setattr(module, MODEL, LikeOurs(MODEL, (), {}))


def named_like_stock(build: Callable) -> Callable:
    """Name what a replaced listener becomes as the tests expect it."""

    @wraps(build)
    def build_and_rename(*args: Any, **settings: Any) -> Model:
        model = build(*args, **settings)
        replace = model.attrs["replace_listener_cfg"]

        def replace_and_rename(transformer: Model, listener: Model) -> dict:
            config = replace(transformer, listener)
            assert config["@architectures"] == f"{OURS}.Tok2VecTransformer.v1"
            return {**config, "@architectures": f"{STOCK}.Tok2VecTransformer.v3"}

        model.attrs["replace_listener_cfg"] = replace_and_rename
        return model

    return build_and_rename


def flat(build: Callable) -> Callable:
    """Chain the layers one beside the other, as stock did before its third version."""

    @wraps(build)
    def build_flat(*args: Any, **settings: Any) -> Model:
        transformer, tokens = build(*args, **settings).layers
        return chain(*transformer.layers, tokens)

    return build_flat
