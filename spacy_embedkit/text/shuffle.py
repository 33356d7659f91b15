"""Shuffles a stream with a buffer."""

from random import Random
from typing import Iterable, Iterator, List

from spacy.tokens import Doc
from tqdm import tqdm

# A token takes 128 bytes: a buffer of a million 130 MB.
MOST_TOKENS = 1_000_000
# The bar is not shown for shorter.
SECONDS = 2.0


def shuffled(docs: Iterable[Doc], size: int, rng: Random) -> Iterator[Doc]:
    """Yield the docs in an order that is random within a buffer.

    size: Docs that the buffer holds, 1 or more; fewer when they have MOST_TOKENS.
    A doc comes at most `size` places early; how late, chance decides.
    """
    buffer: List[Doc] = []
    n_tokens = 0
    with tqdm(
        desc="reading",
        unit=" docs",
        total=size,
        delay=SECONDS,
        leave=False,
        disable=None,
    ) as bar:
        for doc in docs:
            buffer.append(doc)
            n_tokens += len(doc)
            bar.update()
            while len(buffer) > size or (n_tokens > MOST_TOKENS and len(buffer) > 1):
                # The first doc comes out when the buffer is full.
                bar.close()
                i = rng.randrange(len(buffer))
                buffer[i], buffer[-1] = buffer[-1], buffer[i]
                n_tokens -= len(buffer[-1])
                yield buffer.pop()
    rng.shuffle(buffer)
    while buffer:
        yield buffer.pop()
