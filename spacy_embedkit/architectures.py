"""Registered layers of a Tok2Vec model.

The embedding layers, Model[List[Doc], List[Floats2d]], are drop-in values of
`[components.tok2vec.model.embed]` and run once per word type, see layers/types.py. The
encoder, Model[List[Floats2d], List[Floats2d]], is one of
`[components.tok2vec.model.encode]`.
"""

from functools import partial
from typing import Dict, List, Optional, Union, cast

from spacy.ml.models.tok2vec import MaxoutWindowEncoder, MultiHashEmbed
from spacy.tokens import Doc
from thinc.api import Maxout, Model, add, chain, concatenate
from thinc.types import Floats2d

from .checks import (
    check_key2row,
    check_ngrams,
    check_not_negative,
    check_positive,
    check_tables,
    text_attr,
)
from .layers import multi_hash, window_encoder
from .layers.hash_tables import hash_tables
from .layers.ngram_table import ngram_table
from .layers.per_type import CACHE_ROWS, per_type
from .layers.static_vectors import static_vectors
from .layers.types import Types
from .layers.word_table import word_table
from .row_cache import CACHE, CachedValue, RowCache


def build_multi_hash_embed_v1(
    width: int,
    attrs: Union[List[str], List[int], List[Union[str, int]]],
    rows: List[int],
    include_static_vectors: bool,
    cache_rows: int = CACHE_ROWS,
) -> Model[List[Doc], List[Floats2d]]:
    """Embed each token by hashed attributes: spacy.MultiHashEmbed.v2, per type.

    Same parameters, nodes, weights and numbers as the stock layer: each loads what
    the other saved. Gradients are summed by type before they go back.

    width (int): Output width, and the width of every table; 1 or more. Usual values
        are 64 to 300.
    attrs (List[Union[str, int]]): Token attributes, each with a table of its own,
        such as NORM, PREFIX, SUFFIX, SHAPE; at least one.
    rows (List[int]): Rows of each table, 1 or more; as many entries as attrs. Usual
        values are 1000 to 10000.
    include_static_vectors (bool): Whether to use the vocab's vectors as well.
    cache_rows (int): Types whose rows prediction caches, 0 or more; 0 caches none. A
        row takes 4 * width bytes.
    Shapes: docs of N tokens -> one (N, width) float32 array per doc.
    Raises: ValueError on a width, attribute or number of rows that is not allowed,
        and at initialization on static vectors without a vectors table.
    Source: https://spacy.io/api/architectures#MultiHashEmbed
    """
    name = "MultiHashEmbed.v1"
    check_positive(name, width=width, **{"the number of attrs": len(attrs)})
    check_tables(name, "attrs", attrs, "rows", rows)
    check_not_negative(name, cache_rows=cache_rows)
    model = MultiHashEmbed(width, attrs, rows, include_static_vectors)
    model.replace_callbacks(
        multi_hash.forward, init=partial(multi_hash.init, model.init)
    )
    model.attrs[CACHE] = RowCache(cache_rows)
    return model


def build_subword_hash_embed_v1(
    width: int,
    rows: int,
    *,
    min_n: int = 3,
    max_n: int = 5,
    n_hashes: int = 2,
    boundaries: bool = True,
    attr: str = "NORM",
    attrs: Optional[List[str]] = None,
    attr_rows: Optional[List[int]] = None,
    include_static_vectors: bool = False,
    cache_rows: int = CACHE_ROWS,
) -> Model[List[Doc], List[Floats2d]]:
    """Embed each token by its character n-grams, and by hashed attributes if given.

    The n-gram sum, the attribute tables and the static vectors, each `width` wide,
    are put side by side and mixed by a maxout layer of three pieces.

    width (int): Output width; 1 or more. Usual values are 64 to 300.
    rows (int): Rows (buckets) of the n-gram table; 1 or more. Usual values are 5000
        to 50000.
    min_n, max_n (int): Length of the n-grams in code points, 1 <= min_n <= max_n.
        A word shorter than min_n counts as one n-gram.
    n_hashes (int): Rows summed for each n-gram, 1 to 8. With 2 or more, two n-grams
        rarely share all of their rows.
    boundaries (bool): Put < and > around the word before the n-grams are taken.
    attr (str): Attribute whose n-grams are taken: ORTH, NORM, LOWER, SHAPE, PREFIX
        or SUFFIX.
    attrs (Optional[List[str]]): Token attributes with hashed tables beside the
        n-grams. None stands for NORM, PREFIX, SUFFIX, SHAPE; [] for none.
    attr_rows (Optional[List[int]]): Rows of each of these tables, 1 or more. None
        stands for 5000, 1000, 2500, 2500, and goes with attrs = None only.
    include_static_vectors (bool): Whether to use the vocab's vectors as well.
    cache_rows (int): Types whose rows prediction caches, 0 or more; 0 caches none. A
        row takes 4 * width bytes.
    Shapes: docs of N tokens -> one (N, width) float32 array per doc.
    Raises: ValueError on a setting that is not allowed, and at initialization on
        static vectors without a vectors table.
    Source: Bojanowski et al. 2017, arXiv:1607.04606; the hash is in ops.ngram_rows.
    """
    name = "SubwordHashEmbed.v1"
    check_positive(name, width=width, rows=rows)
    check_ngrams(name, min_n, max_n, n_hashes)
    check_not_negative(name, cache_rows=cache_rows)
    if attrs is None and attr_rows is None:
        attrs = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
        attr_rows = [5000, 1000, 2500, 2500]
    columns = check_tables(name, "attrs", attrs or [], "attr_rows", attr_rows or [])
    text = text_attr(name, attr)
    features: List[Model[Types, Floats2d]] = [
        ngram_table(
            width,
            rows,
            attr=text,
            min_n=min_n,
            max_n=max_n,
            n_hashes=n_hashes,
            boundaries=boundaries,
        )
    ]
    if columns:
        features.append(hash_tables(width, columns, attr_rows or []))
    if include_static_vectors:
        features.append(static_vectors(width))
    n_features = 1 + len(columns) + include_static_vectors
    mix = Maxout(width, width * n_features, nP=3, normalize=True)
    return per_type(
        chain(concatenate(*features), mix),
        [text, *columns],
        include_static_vectors=include_static_vectors,
        cache_rows=cache_rows,
    )


def build_static_vectors_v1(
    width: int,
    *,
    vector_width: Optional[int] = None,
    learn_unseen: bool = False,
    cache_rows: int = CACHE_ROWS,
) -> Model[List[Doc], List[Floats2d]]:
    """Embed each token as its projected static vector alone.

    width (int): Output width; 1 or more.
    vector_width (Optional[int]): Width that the vocab's vectors must have; None
        accepts any.
    learn_unseen (bool): Let words without a vector share a row that is learned;
        otherwise they get what the table returns for them, usually zeros.
    cache_rows (int): Types whose rows prediction caches, 0 or more; 0 caches none. A
        row takes 4 * width bytes.
    Shapes: docs of N tokens -> one (N, width) float32 array per doc.
    Raises: ValueError on a setting that is not allowed, and at initialization if the
        vocab has no vectors or vectors of another width.
    Source: https://spacy.io/usage/embeddings-transformers#custom-embedding-layer
    """
    name = "StaticVectors.v1"
    check_positive(name, width=width, vector_width=vector_width)
    check_not_negative(name, cache_rows=cache_rows)
    return per_type(
        static_vectors(width, vector_width, learn_unseen=learn_unseen),
        [],
        include_static_vectors=True,
        cache_rows=cache_rows,
    )


def build_static_hash_embed_v1(
    output_width: int,
    embed_rows: int,
    *,
    vector_width: Optional[int] = None,
    key2row: Optional[Dict[Union[str, int], int]] = None,
    unseen_row: int = 0,
    attr: str = "ORTH",
    learn_unseen: bool = False,
    cache_rows: int = CACHE_ROWS,
) -> Model[List[Doc], List[Floats2d]]:
    """Embed each token as its projected static vector plus a learned row.

    The sum of the vocab's vectors, which stay as they are, and a small table that
    learns what the task needs on top of them.

    output_width (int): Output width; 1 or more.
    embed_rows (int): Rows of the learned table; 1 or more.
    vector_width (Optional[int]): Width that the vocab's vectors must have; None
        accepts any.
    key2row (Optional[Dict[Union[str, int], int]]): Row of each word that is to have
        one, 0..embed_rows-1. A word is written as its text; from Python it may be
        its number in the string store. None hashes every word to four rows.
    unseen_row (int): Row that all words outside key2row share, 0..embed_rows-1. Not
        used without key2row, and then has to be 0.
    attr (str): Attribute that the learned table is keyed by: ORTH, NORM, LOWER,
        SHAPE, PREFIX or SUFFIX.
    learn_unseen (bool): Let words without a vector share a row that is learned, in
        place of their static vector.
    cache_rows (int): Types whose rows prediction caches, 0 or more; 0 caches none. A
        row takes 4 * output_width bytes.
    Shapes: docs of N tokens -> one (N, output_width) float32 array per doc.
    Raises: ValueError on a setting that is not allowed, and at initialization if the
        vocab has no vectors or vectors of another width.
    Source: https://spacy.io/usage/embeddings-transformers#custom-embedding-layer
    """
    name = "StaticHashEmbed.v1"
    sizes = {"output_width": output_width, "embed_rows": embed_rows}
    check_positive(name, **sizes, vector_width=vector_width)
    check_key2row(name, key2row, unseen_row, embed_rows)
    check_not_negative(name, cache_rows=cache_rows)
    text = text_attr(name, attr)
    learned: Model[Types, Floats2d]
    if key2row is None:
        learned = hash_tables(output_width, [text], [embed_rows])
    else:
        learned = word_table(
            output_width, embed_rows, attr=text, key2row=key2row, unseen_row=unseen_row
        )
    static = static_vectors(output_width, vector_width, learn_unseen=learn_unseen)
    return per_type(
        cast(Model, add(static, learned)),
        [text],
        include_static_vectors=True,
        cache_rows=cache_rows,
    )


def build_maxout_window_encoder_v1(
    width: int, window_size: int, maxout_pieces: int, depth: int
) -> Model[List[Floats2d], List[Floats2d]]:
    """Encode context by convolutions: spacy.MaxoutWindowEncoder.v2, faster.

    Same parameters, nodes, weights and numbers as the stock layer: each loads what
    the other saved. It skips the padding that no token reads and works on rows that
    are in the CPU's cache; the first convolution runs once per word type after an
    embedding layer of this package. On a GPU it runs the stock layer.

    width (int): Width of input and output; 1 or more. Usual values are 64 to 300.
    window_size (int): Neighbours on each side that a convolution sees; 1 or more.
        The usual value is 1.
    maxout_pieces (int): Pieces of the maxout; 1 or more. Usual values are 2 and 3.
    depth (int): Number of convolutions; 1 or more. The usual value is 4.
    Shapes: one (N, width) float32 array per doc, in and out.
    Raises: ValueError on a setting below 1.
    Source: https://spacy.io/api/architectures#MaxoutWindowEncoder
    """
    name = "MaxoutWindowEncoder.v1"
    check_positive(name, width=width, window_size=window_size)
    check_positive(name, maxout_pieces=maxout_pieces, depth=depth)
    model = MaxoutWindowEncoder(width, window_size, maxout_pieces, depth)
    model.replace_callbacks(window_encoder.forward, init=model.init)
    model.attrs[CACHE] = CachedValue()
    return model
