"""Components of spaCy that give the same annotation in less time."""

from typing import Any, NamedTuple

from spacy.pipeline import (
    AttributeRuler,
    DependencyParser,
    EditTreeLemmatizer,
    EntityRecognizer,
    Lemmatizer,
    SpanCategorizer,
)

from .attribute_ruler import CachedAttributeRuler, accelerate_ruler, restore_ruler
from .decoding import NOT_YET, find_reason
from .dependency_parser import FastDependencyParser
from .edit_tree_lemmatizer import CachedEditTreeLemmatizer, restore_edit_trees
from .entity_recognizer import FastEntityRecognizer
from .lemmatizer import CachedLemmatizer, accelerate_lemmatizer, restore_lemmatizer
from .span_categorizer import FastSpanCategorizer
from .transitions import GreedyDecoder, exchange, restore

DECODERS = {
    EntityRecognizer: FastEntityRecognizer,
    DependencyParser: FastDependencyParser,
}


class Accelerated(NamedTuple):
    """What became of a component.

    pipe: The component for its place in the pipeline. changed: What is faster now, ""
    if nothing. reason: Why nothing is, if it could have been, else "".
    """

    pipe: Any
    changed: str = ""
    reason: str = ""


def accelerate_component(pipe: Any) -> Accelerated:
    """Let a component of spaCy's own work faster, if it is one of these.

    An attribute ruler or a lemmatizer stays the same object; its class becomes one of
    ours. The classes of the entity recognizer and the parser can't be changed, so
    another object that shares all with them takes their place. Classes of users that
    inherit from those of spaCy stay as they are.
    """
    pipe = restore_component(pipe)
    changed = "annotation cached"
    if type(pipe) is AttributeRuler:
        reason = accelerate_ruler(pipe)
    elif isinstance(pipe, Lemmatizer):
        reason = accelerate_lemmatizer(pipe)
    elif type(pipe) is EditTreeLemmatizer:
        pipe.__class__, reason = CachedEditTreeLemmatizer, None
    elif type(pipe) is SpanCategorizer:
        pipe.__class__ = FastSpanCategorizer
        changed, reason = "span groups", None
    elif fast := DECODERS.get(type(pipe)):
        changed, reason = "decoder", find_reason(pipe, fast.system)
        if reason in (None, NOT_YET):
            pipe, reason = exchange(pipe, fast), None
    else:
        return Accelerated(pipe)
    return Accelerated(pipe, reason=reason) if reason else Accelerated(pipe, changed)


def restore_component(pipe: Any) -> Any:
    """Return the component that was given to accelerate_component, with its class."""
    if isinstance(pipe, CachedAttributeRuler):
        restore_ruler(pipe)
    elif isinstance(pipe, CachedLemmatizer):
        restore_lemmatizer(pipe)
    elif isinstance(pipe, CachedEditTreeLemmatizer):
        restore_edit_trees(pipe)
    elif isinstance(pipe, FastSpanCategorizer):
        pipe.__class__ = SpanCategorizer
    elif isinstance(pipe, GreedyDecoder):
        return restore(pipe)
    return pipe
