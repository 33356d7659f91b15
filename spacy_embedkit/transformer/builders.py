"""Registered architectures with a transformer; torch is imported when one is built."""

from typing import Any, Callable, Dict, Generator, List, Literal, Optional, Union

from spacy.tokens import Doc
from thinc.api import Model, chain
from thinc.types import Floats2d, Ragged

from ..checks import check_above_0, check_positive, import_extra
from ..layers.pooling import build_reduce_mean_v1
from .scheduled import Scheduled

Schedule = Union[float, List[float], Generator]
Layers = Union[Literal["last", "mix"], List[int]]
Precision = Literal["float32", "bfloat16", "int8"]


def build_transformer_model_v1(
    name: str,
    get_spans: Callable,
    tokenizer_config: Optional[Dict[str, Any]] = None,
    transformer_config: Optional[Dict[str, Any]] = None,
    mixed_precision: bool = False,
    grad_scaler_config: Optional[Dict[str, Any]] = None,
    batch_pieces: int = 2048,
    keep_layers: Optional[int] = None,
    trained_layers: Union[int, List[int], Generator, None] = None,
    layer_decay: float = 1.0,
    learn_rate_factor: float = 1.0,
    inference_precision: Precision = "float32",
    lora: Optional[Dict[str, Any]] = None,
) -> Model[List[Doc], Any]:
    """Run a transformer, for `[components.transformer.model]`.

    Takes the place of `spacy-transformers.TransformerModel.v3`: the same outputs within
    rounding, and it loads what that has saved. Texts of like lengths are put together,
    so that little is padded. Weights are saved as safetensors.

    name (str): Folder of a transformer, or its name on the Hugging Face hub.
    get_spans (callable): Span getter; the texts that are read at a time.
    tokenizer_config, transformer_config (dict): Given to the tokenizer and the
        transformer when they are first loaded; output_hidden_states = true is for
        listeners to other layers than the last.
    mixed_precision (bool), grad_scaler_config (dict): As in spacy-transformers.
    batch_pieces (int): Wordpieces that are encoded at once, with their padding, unless
        one span alone has more; 1 or more.
    keep_layers (int): Layers kept, the lowest ones, 1 or more; all if left out.
    trained_layers (int or schedule): Layers that learn, the top ones. 0: none, and no
        time is spent on it; as many as there are: all but the embeddings; one more, or
        left out: all. A schedule has a number for each update, see unfreeze.v1.
    layer_decay (float): What the learning rate of each layer is multiplied by for the
        one below, above 0; 1 is the same for all.
    learn_rate_factor (float): What the optimizer's learning rate is multiplied by for
        the whole transformer, above 0: new components need a larger one than it does.
    Shapes: docs -> FullTransformerBatch, `last_hidden_state` (spans, L, width).
    Raises: ValueError on a setting that is not allowed; ImportError naming the extra.
    Source: Howard and Ruder 2018, arXiv:1801.06146, for layer_decay and for unfreezing
        layer by layer; Hu et al. 2021, arXiv:2106.09685, for lora.
    """
    label = "TransformerModel.v1"
    check_positive(label, batch_pieces=batch_pieces)
    check_above_0(label, layer_decay=layer_decay, learn_rate_factor=learn_rate_factor)
    import_extra("spacy_transformers", "transformers")
    from .model import TransformerModel, TransformerSettings

    return TransformerModel(
        TransformerSettings(
            name,
            get_spans,
            tokenizer_config or {},
            transformer_config or {},
            mixed_precision,
            grad_scaler_config or {},
            batch_pieces,
            keep_layers,
            None if trained_layers is None else Scheduled(trained_layers),
            layer_decay,
            learn_rate_factor,
            inference_precision,
            lora,
        )
    )


def build_transformer_listener_v1(
    pooling: Optional[Model[Ragged, Floats2d]] = None,
    grad_factor: Schedule = 1.0,
    layers: Layers = "last",
    upstream: str = "*",
) -> Model[List[Doc], List[Floats2d]]:
    """Give a component the vectors of a transformer earlier in the pipeline.

    Takes the place of `spacy-transformers.TransformerListener.v1`.

    pooling (Model): From the wordpieces of a token to its vector; their mean if left
        out. A token without any has zeros from the poolings of this package.
    grad_factor (float or schedule): What the gradients are multiplied by on their way
        to the transformer, one value for each update of the weights. 0 keeps this
        component from changing it.
    layers (str or list): "last"; a list of hidden layers, whose mean is taken, 0 being
        the embeddings and -1 the last; "mix": a mean of all with learned weights.
        Other than "last" needs output_hidden_states = true in the transformer_config
        of the transformer, and to change it in training TransformerModel.v1.
    upstream (str): Name of the transformer's component, or * for any.
    Shapes: docs of N tokens -> (N, width) for each.
    Raises: ImportError naming the extra; in use, ValueError for layers that are not
        there.
    Source: Peters et al. 2018, arXiv:1802.05365, for the mix.
    """
    import_extra("spacy_transformers", "transformers")
    from spacy_transformers.layers import TransformerListener

    from .listener import token_vectors

    listener = TransformerListener(upstream_name=upstream)
    model: Model[List[Doc], List[Floats2d]] = chain(
        listener, token_vectors(pooling or build_reduce_mean_v1(), grad_factor, layers)
    )
    model.set_ref("listener", listener)
    return model


def build_tok2vec_transformer_v1(
    name: str,
    get_spans: Callable,
    pooling: Optional[Model[Ragged, Floats2d]] = None,
    grad_factor: Schedule = 1.0,
    layers: Layers = "last",
    tokenizer_config: Optional[Dict[str, Any]] = None,
    transformer_config: Optional[Dict[str, Any]] = None,
    mixed_precision: bool = False,
    grad_scaler_config: Optional[Dict[str, Any]] = None,
    batch_pieces: int = 2048,
    keep_layers: Optional[int] = None,
    trained_layers: Union[int, List[int], Generator, None] = None,
    layer_decay: float = 1.0,
    learn_rate_factor: float = 1.0,
    inference_precision: Precision = "float32",
    lora: Optional[Dict[str, Any]] = None,
) -> Model[List[Doc], List[Floats2d]]:
    """Run a transformer that one component has for itself.

    This is what `replace_listeners` makes of TransformerModel.v1 and a listener.

    pooling, grad_factor, layers: As in TransformerListener.v1.
    The others: As in TransformerModel.v1.
    Shapes: docs of N tokens -> (N, width) for each.
    """
    model = build_transformer_model_v1(
        name,
        get_spans,
        tokenizer_config,
        transformer_config,
        mixed_precision,
        grad_scaler_config,
        batch_pieces,
        keep_layers,
        trained_layers,
        layer_decay,
        learn_rate_factor,
        inference_precision,
        lora,
    )
    from spacy_transformers.layers import split_trf_batch

    from .listener import token_vectors

    tokens = token_vectors(pooling or build_reduce_mean_v1(), grad_factor, layers)
    return chain(chain(model, split_trf_batch()), tokens)  # type: ignore[arg-type]
