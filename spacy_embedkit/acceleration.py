"""Faster prediction for pipelines as they are: their weights, their configs."""

import copy
from dataclasses import dataclass, field
from typing import (
    Any,
    Dict,
    Iterable,
    List,
    Literal,
    Optional,
    Tuple,
    get_args,
)

from spacy.language import Language
from thinc.api import Model
from wasabi import table

from .backend import EmbedkitOps, is_stock_cpu, limit_threads
from .checks import check_choice, check_not_negative
from .components import accelerate_component, restore_component
from .layers.known_layers import accelerate_layers, find_unknown, restore_layers
from .layers.per_type import CACHE_ROWS
from .ops import has_kernels
from .speed import Speed, compare_speed
from .transformer.stock_transformers import (
    accelerate_transformers,
    restore_transformers,
)

FewerBits = Literal["bfloat16", "int8"]


@dataclass
class Acceleration:
    """What accelerate did to a pipeline.

    changed: For each component, its parts that predict faster now.
    left_alone: Why a component, or its embedding or encoding layer, stayed as it was.
    """

    _nlp: Language = field(repr=False)
    changed: Dict[str, List[str]] = field(default_factory=dict)
    left_alone: Dict[str, str] = field(default_factory=dict)

    def undo(self) -> None:
        """Restore the prediction of the layers, and the components themselves."""
        for place, (name, pipe) in enumerate(self._nlp.components):
            self._nlp._components[place] = (name, restore_component(pipe))
            if model := _model_of(pipe):
                _undo(model)

    def measure(self, texts: Iterable[str]) -> Speed:
        """Compare what annotating texts took before with what it takes now.

        It runs copies of the pipeline, which stays as it is.

        texts: Some hundreds, such as the pipeline is for; they are read into memory.
        Returns seconds and differences, which print as a table: words a second, and
            for each component microseconds a word.
        Raises: TypeError on a single text, ValueError if the texts have no words.
        """
        stock, fast = _copy(self._nlp), _copy(self._nlp)
        Acceleration(stock).undo()
        return compare_speed(stock, fast, texts)

    def __str__(self) -> str:
        rows = [
            (name, ", ".join(self.changed.get(name, ())), self.left_alone.get(name, ""))
            for name, _ in self._nlp.components
        ]
        if not rows:
            return "The pipeline has no components, so there is nothing to accelerate."
        header = ("component", "faster", "as before, because")
        text = table(rows, header=header, divider=True, max_col=80)
        return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))


def accelerate(
    nlp: Language,
    *,
    cache_rows: int = CACHE_ROWS,
    fast_ops: bool = True,
    precision: Optional[FewerBits] = None,
) -> Acceleration:
    """Let the layers of a pipeline predict faster, with the same weights.

    It looks for the layers of spacy.HashEmbedCNN, MultiHashEmbed, MaxoutWindowEncoder
    (every version) and for static vectors, in every component, shared or its own. They
    compute once per word type what depends on the word alone, cache it from batch to
    batch while the weights stay the same, and encode without waste (see
    layers/window_encoder.py). Predictions stay the same within rounding: a tensor of
    values around 1 differs by about 1e-6.

    The attribute ruler and the lemmatizers of spaCy keep what they found for tokens
    with the same attributes, and the span categorizer suggests and picks spans for a
    whole batch; their annotation is the same. The entity recognizer and
    the parser make way for components that share their model, labels and settings, and
    decode it by kernels of ours; their annotation is the same, too, unless two classes
    score within rounding of each other. A reference to the component taken before
    stays valid, and as slow as it was.

    Transformers of spacy-transformers and spacy-curated-transformers encode the spans
    that they did, batched by length, so that little is padded.

    Nothing else changes: layers train by their own code, and to_disk and to_bytes save
    what they saved before, so it loads where this package is not installed.

    nlp (Language): The pipeline, changed in place.
    cache_rows (int): Types whose rows each embedding layer caches, 0 or more; 0 turns
        the caches off. A row takes 4 * width bytes.
    fast_ops (bool): Whether components that use thinc's backend for the CPU, the parser
        and the entity recognizer too, multiply by backend.EmbedkitOps, on one thread
        unless OMP_NUM_THREADS or OPENBLAS_NUM_THREADS is set.
    precision (str): With what these transformers predict: "bfloat16", or "int8" for
        the products of linear layers; less exact, and faster on processors that have
        instructions for them. None: as they are. A TransformerModel.v1 of ours has its
        own setting.
    Returns what was changed and what was left alone; its undo() reverts it.
    Raises: TypeError if nlp is not a spaCy pipeline, ValueError on cache_rows
        or precision.
    """
    if not isinstance(nlp, Language):
        raise TypeError(
            f"accelerate: got {nlp!r:.80}, of type {type(nlp).__name__}; give it a "
            "pipeline, such as spacy.load returns"
        )
    check_not_negative("accelerate", cache_rows=cache_rows)
    if precision is not None:
        check_choice("accelerate", get_args(FewerBits), precision=precision)
    result = Acceleration(nlp)
    for place, (name, pipe) in enumerate(nlp.components):
        pipe, decoder, reason = accelerate_component(pipe)
        nlp._components[place] = (name, pipe)
        changed, reasons = [decoder], [reason]
        model = _model_of(pipe)
        if model is None:
            reasons.append("" if decoder or reason else "it has no model")
        else:
            parts, found = _accelerate_model(model, cache_rows, fast_ops, precision)
            changed += parts
            reasons += found
            if not any(changed) and not any(reasons):
                reasons = ["none of its layers is a known one"]
        if any(changed):
            result.changed[name] = [part for part in changed if part]
        if any(reasons):
            result.left_alone[name] = "; ".join(part for part in reasons if part)
    if any("fast ops" in parts for parts in result.changed.values()):
        limit_threads()
    return result


def _copy(nlp: Language) -> Language:
    made = copy.deepcopy(nlp)
    if hasattr(made.vocab.vectors, "strings"):
        # spaCy's copies have strings of their own there, without words to come.
        made.vocab.vectors.strings = made.vocab.strings
    return made


def _model_of(pipe: Any) -> Optional[Model]:
    model = getattr(pipe, "model", None)
    return model if isinstance(model, Model) else None


def _accelerate_model(
    model: Model, cache_rows: int, fast_ops: bool, precision: Optional[FewerBits]
) -> Tuple[List[str], List[str]]:
    """Return what is faster now, and why something stayed as it was."""
    if not has_kernels(model.ops):
        kind = type(model.ops).__name__
        return [], [f"it runs on {kind}; only layers on a CPU are accelerated"]
    _undo(model)
    changed, reasons = accelerate_transformers(model, precision)
    changed += accelerate_layers(model, cache_rows)
    reasons.append(find_unknown(model))
    if fast_ops and _switch_ops(model):
        changed.append("fast ops")
    return changed, reasons


def _switch_ops(model: Model) -> bool:
    """Let nodes on thinc's backend for the CPU multiply by ours; return if any does."""
    switched: Dict[int, EmbedkitOps] = {}
    for node in model.walk():
        if is_stock_cpu(node.ops):
            ops = switched.setdefault(id(node.ops), EmbedkitOps())
            ops.replaced, node.ops = node.ops, ops
    return bool(switched)


def _undo(model: Model) -> None:
    restore_transformers(model)
    restore_layers(model)
    for node in model.walk():
        if isinstance(node.ops, EmbedkitOps) and node.ops.replaced:
            node.ops = node.ops.replaced
