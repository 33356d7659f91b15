"""A generated file of word vectors as text."""

from pathlib import Path

import numpy
from tqdm import tqdm


def write_vectors(path: Path, n_rows: int, width: int = 300) -> None:
    """Write n_rows words with numbers of five digits, as word2vec text with header."""
    random = numpy.random.default_rng(0)
    numbers = [f"{number:.5f}" for number in random.normal(size=20_000)]
    with path.open("w", encoding="utf8") as file:
        file.write(f"{n_rows} {width}\n")
        for i in tqdm(range(n_rows), f"writing {path.name}", leave=False):
            chosen = random.integers(0, len(numbers), width).tolist()
            row = " ".join([numbers[j] for j in chosen])
            file.write(f"word{i} {row}\n")
