"""spaCy's EntityRecognizer, decoded by kernels of ours."""

from typing import Any, ClassVar, Dict, List, Tuple

import numpy
from numpy.typing import NDArray
from spacy.attrs import ENT_IOB, ENT_KB_ID, ENT_TYPE, IS_SPACE, SENT_START
from spacy.pipeline import EntityRecognizer
from spacy.pipeline._parser_internals.ner import BiluoPushDown
from spacy.tokens import Doc, Span

from .decoding import EntityMoves, decode_entities
from .transitions import GreedyDecoder

ATTRS: Any = (ENT_IOB, ENT_TYPE, SENT_START, IS_SPACE, ENT_KB_ID)
ENTITY: Any = (ENT_IOB, ENT_TYPE)
BEGIN, IN, LAST = 1, 2, 3


class FastEntityRecognizer(GreedyDecoder, EntityRecognizer):
    """An EntityRecognizer that finds the same entities in less time."""

    system = BiluoPushDown
    move_numbers: ClassVar[Dict[str, int]] = {
        "M": 0,
        "B": BEGIN,
        "I": IN,
        "L": LAST,
        "U": 4,
        "O": 5,
    }

    def _make_moves(
        self, moves: NDArray, labels: NDArray, names: List[str]
    ) -> EntityMoves:
        pairs = list(zip(moves.tolist(), labels.tolist(), strict=True))
        places = {pair: c for c, pair in enumerate(pairs)}
        inside = [
            [
                places.get((part, label), -1) if move == BEGIN else -1
                for part in (IN, LAST)
            ]
            for move, label in pairs
        ]
        return EntityMoves(moves, labels, numpy.asarray(inside, dtype="i"))

    def _annotate(self, docs: List[Doc]) -> None:
        filled = [doc for doc in docs if len(doc)]
        given = [doc.to_array(ATTRS) for doc in filled]
        if any(attrs[:, 1].any() for attrs in given):
            self._ensure_labels_are_added(filled)
        if not filled or self._find_reason():
            self._annotate_by_spacy(docs)
            return
        moves = self._read_moves()
        attrs = numpy.concatenate(given)
        is_given = [bool(a[:, (0, 1, 4)].any()) for a in given]
        nth = 0
        for weights, block in self._make_blocks(filled):
            found: Any = decode_entities(
                self.model.ops, weights, moves, block, attrs[block.begin : block.end]
            )
            end = 0
            for doc in block.docs:
                start, end = end, end + len(doc)
                if is_given[nth]:
                    add_entities(doc, found[start:end])
                else:
                    doc.from_array(ENTITY, found[start:end])
                nth += 1


def add_entities(doc: Doc, found: NDArray) -> None:
    """Set entities where some were set, or blocked, before."""
    bounds: List[Tuple[int, int, int]] = []
    for i, (iob, label) in enumerate(found.tolist()):
        if iob == 3:
            bounds.append((i, i + 1, label))
        elif iob == 1:
            bounds[-1] = (bounds[-1][0], i + 1, label)
    spans = [
        Span(doc, start, end, label=label, kb_id=doc[start].ent_kb_id)
        for start, end, label in bounds
    ]
    doc.set_ents(spans, default="unmodified")
    values: Any = doc.to_array(ENTITY)
    values[values[:, 0] == 0, 0] = 2
    doc.from_array(ENTITY, values)
