"""What the faster entity recognizer and the faster parser have in common."""

from typing import (
    Any,
    ClassVar,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Tuple,
    Type,
)

import numpy
from numpy.typing import NDArray
from spacy.pipeline.transition_parser import Parser
from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.api import Optimizer

from ..row_cache import CachedValue
from .decoding import (
    Block,
    DecoderWeights,
    find_reason,
    make_blocks,
    read_weights,
    weights_of,
)


class DecoderCache:
    """What a component computed from its weights and its labels.

    moves: The labels of its transition system, their number, and what it made of them.
    """

    def __init__(self) -> None:
        self.weights: CachedValue[DecoderWeights] = CachedValue()
        self.moves: Tuple[Any, int, Any] = (None, 0, None)

    def __reduce__(self) -> Tuple[Any, ...]:
        """Become an empty one in pickles and copies."""
        return DecoderCache, ()


class GreedyDecoder:
    """Base of components that spaCy's entity recognizer or parser is exchanged for.

    They share its model, moves and settings, and decode by kernels of ours, whole docs
    at once. Whatever else they are asked for, and wherever these kernels don't know the
    way, spaCy's own code does it.
    """

    # The class of spaCy's transition system, and its moves by the first letter of their
    # names.
    system: type
    move_numbers: ClassVar[Dict[str, int]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cache = DecoderCache()

    def __call__(self, doc: Doc) -> Doc:
        """Annotate a doc, in place."""
        pipe: Any = self
        try:
            self._annotate([doc])
            return doc
        except Exception as err:
            # None after an error that was handled, as in spaCy.
            return pipe.get_error_handler()(pipe.name, pipe, [doc], err)

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 256) -> Iterator[Doc]:
        """Annotate a stream of docs, in place."""
        pipe: Any = self
        handle_error = pipe.get_error_handler()
        for batch in minibatch(stream, size=batch_size):
            docs = list(batch)
            try:
                # In the batches of spaCy, which scores of labels that it wasn't
                # trained on depend on.
                by_length = sorted(docs, key=len)
                for part in minibatch(by_length, size=max(batch_size // 4, 2)):
                    self._annotate(list(part))
                yield from docs
            except Exception as err:
                handle_error(pipe.name, pipe, docs, err)

    def finish_update(self, sgd: Optimizer) -> None:
        """Update the weights with the gradients of the last batches."""
        pipe: Any = super()
        pipe.finish_update(sgd)
        self._cache.weights.invalidate()

    def _annotate(self, docs: List[Doc]) -> None:
        raise NotImplementedError

    def _annotate_by_spacy(self, docs: List[Doc]) -> None:
        pipe: Any = self
        pipe.set_annotations(docs, pipe.predict(docs))

    def _find_reason(self) -> Optional[str]:
        return find_reason(self, self.system)

    def _make_moves(self, moves: NDArray, labels: NDArray, names: List[str]) -> Any:
        """Describe the classes of the transition system for the kernels.

        moves: (C,) int32, the move of each class. labels: (C,) uint64, its label, or 0.
        names: The labels as text.
        """
        raise NotImplementedError

    def _read_moves(self) -> Any:
        """Return what _make_moves does, again after labels were added or loaded."""
        pipe: Any = self
        source, n_moves = pipe.moves.labels, pipe.moves.n_moves
        known, n_known, made = self._cache.moves
        if known is not source or n_known != n_moves:
            classes = [pipe.moves.get_class_name(i) for i in range(n_moves)]
            names = [name[2:] for name in classes]
            labels = [pipe.vocab.strings[name] if name else 0 for name in names]
            made = self._make_moves(
                numpy.asarray([self.move_numbers[name[0]] for name in classes], "i"),
                numpy.asarray(labels, dtype="uint64"),
                names,
            )
            self._cache.moves = (source, n_moves, made)
        return made

    def _make_blocks(self, docs: List[Doc]) -> Iterator[Tuple[DecoderWeights, Block]]:
        """Compute what the kernels need, for docs of which none is empty."""
        pipe: Any = self
        model = pipe.model
        cache = self._cache.weights
        cache.tree(model).set_dropout(0.0)
        vectors = model.layers[0].predict(docs)
        weights = cache.get(weights_of(model), lambda: read_weights(model))
        for block in make_blocks(model.ops, weights, docs, vectors):
            yield weights, block


def exchange(pipe: Parser, fast: Type[GreedyDecoder]) -> Any:
    """Make a component of a faster class that shares all with the given one."""
    made: Any = fast(pipe.vocab, pipe.model, pipe.name, pipe.moves)
    _take_over(made, pipe)
    made._stock = pipe
    return made


def restore(pipe: Any) -> Parser:
    """Return the component that exchange was given, as it would be by now."""
    _take_over(pipe._stock, pipe)
    return pipe._stock


def _take_over(pipe: Any, other: Any) -> None:
    """Let a component share what may have been changed of the other one."""
    for name in ("model", "cfg", "scorer", "_multitasks", "_rehearsal_model", "name"):
        setattr(pipe, name, getattr(other, name))
    if hasattr(other, "error_handler"):
        pipe.set_error_handler(other.error_handler)
