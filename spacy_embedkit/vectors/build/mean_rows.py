"""Mean rows of words, over their places in texts that a transformer encodes."""

from itertools import islice
from typing import Any, Iterable, Iterator, List, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from tqdm import tqdm

from ...transformer.inference import InferenceModel

# Batches that are sorted together, so that texts of one batch are of one length.
BATCHES_AT_ONCE = 32


def mean_rows(
    encoder: InferenceModel,
    texts: Iterable[List[str]],
    words: Sequence[str],
    max_places: int,
    batch_size: int,
    special: bool = False,
) -> Tuple[NDArray, NDArray]:
    """Return the mean row of each word over its places, and how many these were.

    texts: Tokens of each, at most encoder.window. words: V different words.
    max_places: Places of a word that count, 1 or more.
    special: Whether special tokens count for the word; each text has one word then.
    Returns: (V, width) float32, zeros for words that were not seen; (V,) int64.
    """
    index = {word: i for i, word in enumerate(words)}
    sums = numpy.zeros((len(words), encoder.width), dtype="f")
    counts = numpy.zeros(len(words), dtype="int64")
    texts = iter(texts)
    with tqdm(desc="encoding", unit=" texts", disable=None) as bar:
        while group := list(islice(texts, BATCHES_AT_ONCE * batch_size)):
            wanted = [
                text for text in group if _is_wanted(text, index, counts, max_places)
            ]
            wanted.sort(key=len)
            for start in range(0, len(wanted), batch_size):
                batch = wanted[start : start + batch_size]
                for word, row in _token_rows(encoder, batch, special):
                    i = index.get(word, -1)
                    if i >= 0 and counts[i] < max_places:
                        sums[i] += row
                        counts[i] += 1
            bar.update(len(group))
    return sums / numpy.maximum(counts, 1)[:, None].astype("f"), counts


def _is_wanted(text: List[str], index: Any, counts: NDArray, max_places: int) -> bool:
    return any(word in index and counts[index[word]] < max_places for word in text)


def _token_rows(
    encoder: InferenceModel, texts: List[List[str]], special: bool
) -> Iterator[Tuple[str, NDArray]]:
    """Yield each token with the mean row of its wordpieces, if it has any.

    The wordpiece of unknown characters does not count.
    """
    pieces = encoder.tokenizer(
        texts,
        is_split_into_words=True,
        padding=True,
        truncation=True,
        max_length=encoder.max_length,
        return_tensors="pt",
    )
    places = _places(encoder, pieces, len(texts), special)
    if not places:
        return
    text, token, piece = numpy.asarray(places).T
    states = encoder.mean_hidden_states(pieces["input_ids"], pieces["attention_mask"])
    rows = states.cpu().numpy()[text, piece]
    # The pieces of a token are neighbours: a new one starts where either changes.
    changes = (numpy.diff(text) != 0) | (numpy.diff(token) != 0)
    starts = numpy.concatenate([[0], numpy.flatnonzero(changes) + 1])
    lengths = numpy.diff(starts, append=len(rows))
    means = numpy.add.reduceat(rows, starts, axis=0) / lengths[:, None].astype("f")
    for start, row in zip(starts, means, strict=True):
        yield texts[text[start]][token[start]], row


def _places(
    encoder: InferenceModel, pieces: Any, n_texts: int, special: bool
) -> List[Tuple[int, int, int]]:
    """List text, token and position of all wordpieces that count, in order."""
    ids, mask = pieces["input_ids"].numpy(), pieces["attention_mask"].numpy()
    unknown = encoder.tokenizer.unk_token_id
    places = []
    for i in range(n_texts):
        tokens = pieces.word_ids(i)
        known = [
            p for p, t in enumerate(tokens) if t is not None and ids[i, p] != unknown
        ]
        if special and known:
            marks = (p for p, t in enumerate(tokens) if t is None and mask[i, p])
            places += [(i, 0, p) for p in sorted([*known, *marks])]
        else:
            places += [(i, tokens[p], p) for p in known]
    return places
