"""spaCy's DependencyParser, decoded by kernels of ours."""

from typing import Any, ClassVar, Dict, List

import numpy
from numpy.typing import NDArray
from spacy.attrs import DEP, HEAD, SENT_START
from spacy.pipeline import DependencyParser
from spacy.pipeline._parser_internals.arc_eager import ArcEager
from spacy.pipeline._parser_internals.nonproj import DELIMITER, deprojectivize
from spacy.tokens import Doc

from .decoding import ArcMoves, decode_arcs
from .transitions import GreedyDecoder

ATTRS: Any = (SENT_START, HEAD, DEP)
PARSE: Any = (HEAD, DEP)
LEFT, RIGHT = 2, 3
# Arcs with this label, between the parts of a word, join neighbours alone.
SUBTOKEN = "subtok"


class FastDependencyParser(GreedyDecoder, DependencyParser):
    """A DependencyParser that finds the same heads and labels in less time."""

    system = ArcEager
    move_numbers: ClassVar[Dict[str, int]] = {
        "S": 0,
        "D": 1,
        "L": LEFT,
        "R": RIGHT,
        "B": 4,
    }

    def _make_moves(
        self, moves: NDArray, labels: NDArray, names: List[str]
    ) -> ArcMoves:
        is_arc = (moves == LEFT) | (moves == RIGHT)
        is_subtoken = is_arc & [name == SUBTOKEN for name in names]
        is_decorated = numpy.asarray([DELIMITER in name for name in names], dtype=bool)
        return ArcMoves(moves, labels, is_subtoken.view("uint8"), is_decorated)

    def _annotate(self, docs: List[Doc]) -> None:
        filled = [doc for doc in docs if len(doc)]
        if not filled or self._find_reason():
            self._annotate_by_spacy(docs)
            return
        moves = self._read_moves()
        attrs: Any = numpy.concatenate([doc.to_array(ATTRS) for doc in filled])
        given = attrs.view("int64")
        for weights, block in self._make_blocks(filled):
            part = given[block.begin : block.end]
            arcs = decode_arcs(weights, moves, block, part[:, 0])
            if arcs is None:
                self._annotate_by_spacy(block.docs)
                continue
            heads, labels = arcs
            # Tokens without an arc keep the head that they had.
            has_arc = heads >= 0
            values = numpy.empty((len(heads), 2), dtype="int64")
            values[:, 0] = numpy.where(
                has_arc, heads - numpy.arange(len(heads)), part[:, 1]
            )
            found = values.view("uint64")
            found[:, 1] = numpy.where(
                has_arc, moves.labels[labels], part[:, 2].view("uint64")
            )
            found[values[:, 0] == 0, 1] = self.moves.root_label
            # Of labels that were there before, any may be.
            may_be_decorated = numpy.where(
                has_arc, moves.is_decorated[labels], part[:, 2] != 0
            )
            self._set(block.docs, found, may_be_decorated)

    def _set(self, docs: List[Doc], found: Any, may_be_decorated: Any) -> None:
        hooks = [hook for hook in self.postprocesses if hook is not deprojectivize]
        end, is_any = 0, bool(may_be_decorated.any())
        for doc in docs:
            start, end = end, end + len(doc)
            if not found[start:end, 1].any():
                # from_array would take the doc for one that isn't parsed.
                self._annotate_by_spacy([doc])
                continue
            doc.from_array(PARSE, found[start:end])
            if is_any and may_be_decorated[start:end].any():
                deprojectivize(doc)
            for hook in hooks:
                hook(doc)
