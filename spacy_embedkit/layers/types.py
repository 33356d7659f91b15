"""The word types of a batch of docs.

A type is a distinct row of token attributes. What an embedding layer computes
depends on nothing else, so it runs once per type, and each token gets a copy.
"""

from dataclasses import dataclass
from typing import List, Sequence, Tuple, cast

import numpy
from spacy.attrs import ORTH
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d, Ints1d, Ints2d

from .. import ops


@dataclass
class Types:
    """The distinct words of a batch of docs.

    vocab: Vocabulary of the docs.
    columns: IDs of the A attributes that tell types apart.
    keys: (T, A) uint64 on the CPU, values of these attributes.
    """

    vocab: Vocab
    columns: List[int]
    keys: Ints2d

    def __len__(self) -> int:
        return self.keys.shape[0]

    def column(self, attr: int) -> Ints1d:
        """Return the values of one attribute: (T,) uint64."""
        return self.keys[:, self.columns.index(attr)]

    def strings(self, attr: int) -> List[str]:
        """Return the text of a string attribute such as NORM, for each type."""
        return [self.vocab.strings[int(key)] for key in self.column(attr)]


class TokenRows(List[Floats2d]):
    """Embedded tokens, one (len(doc), nO) array per doc, with their types.

    An encoder that computes per type too uses the types; to others this is a list.

    table: (T, nO), the rows of the types.
    inverse: (N,) int32, the type of each token.
    """

    def __init__(
        self, arrays: Sequence[Floats2d], table: Floats2d, inverse: Ints1d
    ) -> None:
        super().__init__(arrays)
        self.table = table
        self.inverse = inverse


def vectors_attr(vocab: Vocab) -> int:
    """Return the ID of the attribute that the vocab's vectors table is keyed by."""
    return getattr(vocab.vectors, "attr", ORTH)


def find_types(
    model: Model, docs: Sequence[Doc], columns: Sequence[int]
) -> Tuple[Types, Ints1d]:
    """Collect the types of a batch that holds at least one token.

    columns: IDs of the attributes that tell types apart, without repeats.
    Returns (types, inverse): inverse (N,) int32 on the device of the model, the type
        of each token.
    """
    # A single column comes back one-dimensional.
    shape = (-1, len(columns))
    rows = numpy.concatenate(
        [doc.to_array(list(columns)).reshape(shape) for doc in docs if len(doc)]
    )
    first, inverse = ops.unique_rows(cast(Ints2d, rows))
    keys = rows[first].astype("uint64", copy=False)
    types = Types(docs[0].vocab, list(columns), cast(Ints2d, keys))
    return types, model.ops.asarray1i(inverse)


def split(Y: Floats2d, lengths: Sequence[int]) -> List[Floats2d]:
    """Cut the rows of all tokens into one array per doc."""
    ends = numpy.cumsum(lengths)
    return [Y[end - n : end] for end, n in zip(ends, lengths, strict=True)]
