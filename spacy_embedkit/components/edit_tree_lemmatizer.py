"""spaCy's EditTreeLemmatizer, which applies a tree to a form once."""

from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, cast

import numpy
from numpy.typing import NDArray
from spacy.attrs import LEMMA, ORTH
from spacy.pipeline import EditTreeLemmatizer
from spacy.tokens import Doc
from thinc.types import Ints2d

from .. import ops
from .lemmas import tokens_at, write_lemmas

MEMO = "_embedkit_memo"
# Pairs of a tree and a form that are kept.
MAX_KEPT = 200_000
# Tokens of a batch with which array code pays.
MIN_TOKENS = 300
# What spaCy predicts where no tree applies.
NO_TREE = -1


class TreeMemo:
    """Lemmas by tree and form, None where one doesn't apply, and whose trees they are.

    A tree keeps its number, unless other trees are loaded, with a new list of labels.
    """

    def __init__(self, pipe: EditTreeLemmatizer) -> None:
        self.lemmas: Dict[Tuple[int, int], Optional[str]] = {}
        self._trees, self._labels = pipe.trees, pipe.cfg["labels"]

    def __reduce__(self) -> Tuple[Any, ...]:
        """Become None in pickles and copies, whose lemmatizer makes another."""
        return type(None), ()

    def is_current(self, pipe: EditTreeLemmatizer) -> bool:
        """Return whether trees have the numbers that they had, and there is room."""
        return (
            self._trees is pipe.trees
            and self._labels is pipe.cfg["labels"]
            and len(self.lemmas) < MAX_KEPT
        )


class CachedEditTreeLemmatizer(EditTreeLemmatizer):
    """An EditTreeLemmatizer that keeps what its trees make of forms.

    Batches of a few tokens are left to spaCy's own code.
    """

    def _scores2guesses_top_k_equals_1(
        self, docs: Sequence[Doc], scores: Sequence[Any]
    ) -> List[NDArray]:
        if sum(map(len, docs)) < MIN_TOKENS:
            return super()._scores2guesses_top_k_equals_1(docs, scores)  # type: ignore[no-any-return]
        best = [self.numpy_ops.asarray(s.argmax(axis=1)) for s in scores]
        trees = numpy.asarray(self.cfg["labels"])[numpy.concatenate(best)]
        forms = numpy.concatenate([doc.to_array(ORTH) for doc in docs])
        lemmas, inverse = self._apply(docs, trees, forms, numpy.arange(len(trees)))
        applies = numpy.asarray([lemma is not None for lemma in lemmas])
        guesses = numpy.where(applies[inverse], trees, NO_TREE)
        return numpy.split(guesses, numpy.cumsum([len(doc) for doc in docs])[:-1])

    def set_annotations(self, docs: Iterable[Doc], batch_tree_ids: Any) -> None:
        """Set the lemmas of docs by the trees that were predicted for their tokens."""
        docs = list(docs)
        given = [self.numpy_ops.asarray(ids) for ids in batch_tree_ids]
        is_usual = [ids.shape for ids in given] == [(len(doc),) for doc in docs]
        if not is_usual or sum(map(len, docs)) < MIN_TOKENS:
            super().set_annotations(docs, batch_tree_ids)
            return
        trees, columns = numpy.concatenate(given), cast(Any, [ORTH, LEMMA])
        values = numpy.concatenate([doc.to_array(columns) for doc in docs])
        forms, before = values[:, 0], values[:, 1]
        is_open = (before == 0) | self.overwrite
        places = numpy.flatnonzero(is_open & (trees != NO_TREE))
        lemmas, inverse = self._apply(docs, trees[places], forms[places], places)
        write_lemmas(docs, before, places, cast(List[str], lemmas), inverse)
        if self.backoff is not None:
            others = numpy.flatnonzero(is_open & (trees == NO_TREE))
            for token in tokens_at(docs, others):
                token.lemma = getattr(token, self.backoff)

    def _apply(
        self, docs: Sequence[Doc], trees: NDArray, forms: NDArray, places: NDArray
    ) -> Tuple[List[Optional[str]], Any]:
        """Apply trees to forms, (N,) each, of the tokens at these places.

        Returns the lemmas of the distinct pairs, None where a tree doesn't apply, and
        the number of each token's, (N,).
        """
        pairs = numpy.stack([trees.astype("uint64"), forms], axis=1)
        first, inverse = ops.unique_rows(cast(Ints2d, pairs))
        keys: List[Tuple[int, int]] = [(t, f) for t, f in pairs[first].tolist()]
        known = self._find_memo().lemmas
        missing = [nth for nth, key in enumerate(keys) if key not in known]
        tokens = tokens_at(docs, places[first[missing]])
        for nth, token in zip(missing, tokens, strict=True):
            known[keys[nth]] = self.trees.apply(keys[nth][0], token.text)
        return [known[key] for key in keys], inverse

    def _find_memo(self) -> TreeMemo:
        memo: Optional[TreeMemo] = self.__dict__.get(MEMO)
        if memo is None or not memo.is_current(self):
            memo = self.__dict__[MEMO] = TreeMemo(self)
        return memo


def restore_edit_trees(pipe: CachedEditTreeLemmatizer) -> None:
    """Give a component its own class back."""
    pipe.__class__ = EditTreeLemmatizer
    pipe.__dict__.pop(MEMO, None)
