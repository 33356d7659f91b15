"""What lemmatizers do with the tokens of many docs: find some, write lemmas to all."""

from typing import Any, List, Sequence, cast

import numpy
from numpy.typing import NDArray
from spacy.attrs import LEMMA
from spacy.tokens import Doc, Token


def tokens_at(docs: Sequence[Doc], places: NDArray) -> List[Token]:
    """Return tokens by their places among those of all docs, (N,) ints."""
    ends = numpy.cumsum([len(doc) for doc in docs])
    nths = numpy.searchsorted(ends, places, side="right")
    # Negative, from the end of their doc.
    own = places - ends[nths]
    return [docs[nth][i] for nth, i in zip(nths.tolist(), own.tolist(), strict=True)]


def write_lemmas(
    docs: Sequence[Doc],
    column: NDArray,
    places: NDArray,
    lemmas: List[str],
    inverse: Any,
) -> None:
    """Write lemmas to docs: at places[i] that of number inverse[i].

    column: (N,) uint64, the IDs of the lemmas before, of all tokens; changed in place.
    """
    end, vocab = 0, None
    for doc in docs:
        if doc.vocab is not vocab:
            # Strings may have been removed since, as at the end of a memory zone.
            vocab, add = doc.vocab, doc.vocab.strings.add
            ids = numpy.asarray([add(lemma) for lemma in lemmas], dtype="uint64")
            column[places] = ids[inverse]
        start, end = end, end + len(doc)
        doc.from_array([LEMMA], cast(Any, column[start:end]))
