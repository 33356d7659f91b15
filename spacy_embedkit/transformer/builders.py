"""Registered architectures with a transformer. torch is imported when one is built."""

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

    Takes the place of `spacy-transformers.TransformerModel.v3`: it gives the same
    outputs within rounding and loads what that has saved. Texts of like lengths are
    batched together, so that little is padded. Weights are saved as safetensors.

    name (str): Folder of a transformer, or its name on the Hugging Face hub.
    get_spans (callable): Span getter, which cuts docs into the texts that are encoded.
    tokenizer_config (dict): Arguments for the tokenizer when it is first loaded.
    transformer_config (dict): Arguments for the transformer when it is first loaded.
        Listeners to layers other than the last need output_hidden_states = true.
    mixed_precision (bool): Whether to compute in float16 on a GPU, as in
        spacy-transformers.
    grad_scaler_config (dict): Arguments for thinc's PyTorchGradScaler, which scales
        gradients if mixed_precision is on.
    batch_pieces (int): Wordpieces that are encoded at once, with their padding, unless
        one span alone has more; 1 or more.
    keep_layers (int): Layers to keep, counted from the bottom, 1 or more. None: all.
    trained_layers (int or schedule): Layers that learn, counted from the top. 0: none,
        and no backward pass is run; the number of layers: all but the embeddings; one
        more, or None: the embeddings too. A schedule, such as unfreeze.v1, gives a
        number for each update.
    layer_decay (float): Factor, above 0, of the learning rate of each layer against
        the layer above it; 1 gives all the same.
    learn_rate_factor (float): Factor, above 0, of the optimizer's learning rate for
        the whole transformer; new components usually need a larger one than it does.
    inference_precision (str): With what predictions are computed: "float32";
        "bfloat16"; or "int8", on the CPU, for the products of linear layers. The last
        two are faster on processors that have instructions for them. Training and
        saved weights stay float32, so a trained pipeline can be loaded with another.
    lora (dict): Arguments of peft.LoraConfig, such as r and target_modules: low-rank
        adapters learn, and all other weights are frozen. Needs the extra `lora`. None:
        without adapters.
    Shapes: docs -> FullTransformerBatch, `last_hidden_state` (spans, L, width).
    Raises: ValueError on a setting that is not allowed; ImportError naming the extra.
    Source: Howard and Ruder 2018, arXiv:1801.06146, for layer_decay and for unfreezing
        layer by layer; Hu et al. 2021, arXiv:2106.09685, for lora.
    """
    # All arguments by their names, which are those of the settings.
    settings = dict(locals())
    label = "TransformerModel.v1"
    check_positive(label, batch_pieces=batch_pieces)
    check_above_0(label, layer_decay=layer_decay, learn_rate_factor=learn_rate_factor)
    import_extra("spacy_transformers", "transformers")
    from .model import TransformerModel
    from .shim import TransformerSettings

    if trained_layers is not None:
        settings["trained_layers"] = Scheduled(trained_layers)
    return TransformerModel(TransformerSettings(**settings))


def build_transformer_listener_v1(
    pooling: Optional[Model[Ragged, Floats2d]] = None,
    grad_factor: Schedule = 1.0,
    layers: Layers = "last",
    upstream: str = "*",
) -> Model[List[Doc], List[Floats2d]]:
    """Give a component the vectors of a transformer earlier in the pipeline.

    Takes the place of `spacy-transformers.TransformerListener.v1`.

    pooling (Model): Layer from the wordpieces of a token to its vector. None: their
        mean. Poolings of this package give zeros to a token without wordpieces.
    grad_factor (float or schedule): Factor of the gradients that reach the transformer;
        a schedule gives one for each update. 0 keeps this component from changing it.
    layers (str or list): "last"; a list of hidden layers whose mean is taken, 0 for
        the embeddings and -1 for the last; "mix": a mean of all with learned weights.
        Layers other than the last need output_hidden_states = true in the
        transformer_config of the transformer, and TransformerModel.v1 to train it.
    upstream (str): Name of the transformer component, or * for any.
    Shapes: docs of N tokens -> (N, width) for each.
    Raises: ImportError naming the extra; when run, ValueError for layers that the
        transformer does not have.
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
    """Run a transformer that belongs to one component.

    `replace_listeners` makes this of TransformerModel.v1 and a listener.

    pooling, grad_factor, layers: As in TransformerListener.v1.
    name, get_spans and all others: As in TransformerModel.v1.
    Shapes: docs of N tokens -> (N, width) for each.
    """
    settings = dict(locals())
    for setting in ("pooling", "grad_factor", "layers"):
        del settings[setting]
    model = build_transformer_model_v1(**settings)
    from spacy_transformers.layers import split_trf_batch

    from .listener import token_vectors

    tokens = token_vectors(pooling or build_reduce_mean_v1(), grad_factor, layers)
    return chain(chain(model, split_trf_batch()), tokens)  # type: ignore[arg-type]
