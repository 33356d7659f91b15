"""Encode float32 rows for the stores of rows.py, block by block."""

from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Callable, Dict, Iterator, Literal, Tuple

import numpy
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from tqdm import tqdm

from ..rows import N_CENTROIDS, part_starts
from .npy import NpyWriter

DType = Literal["float32", "float16", "int8", "pq"]
# Rows encoded at a time, and rows that centroids are learned from.
BLOCK, SAMPLE = 4096, 150_000
# Parts per column: at 1 byte per part, this is 0.06 of the size of float32.
PARTS = 0.235


def encode_rows(rows: NDArray, dtype: DType, folder: Path) -> None:
    """Write float32 rows, (V, O), as the arrays of another store.

    Float32 rows are those of folder/rows.npy already, and stay.
    Raises: ValueError if a number is too large for float16.
    """
    if dtype == "float32":
        return
    encode, shared = _encoder(rows, dtype)
    starts = range(0, len(rows), BLOCK)
    with ExitStack() as stack:
        writers: Dict[str, NpyWriter] = {}
        for name, part in encode(rows[:0]).items():
            path = folder / f".{name}.npy.encoded"
            writer = NpyWriter(path, part.dtype, part.shape[1:])
            writers[name] = stack.enter_context(writer)
        for start in tqdm(starts, f"encoding as {dtype}", disable=None, leave=False):
            for name, part in encode(rows[start : start + BLOCK]).items():
                writers[name].append(part)
    for name, writer in writers.items():
        writer.path.replace(folder / f"{name}.npy")
    for name, array in shared.items():
        numpy.save(folder / f"{name}.npy", array, allow_pickle=False)


Encode = Callable[[NDArray], Dict[str, NDArray]]


def _encoder(rows: NDArray, dtype: DType) -> Tuple[Encode, Dict[str, NDArray]]:
    if dtype == "float16":
        return to_float16, {}
    if dtype == "int8":
        return to_int8, {}
    n_parts = max(1, round(PARTS * rows.shape[1]))
    centroids = learn_centroids(rows, n_parts)
    return lambda block: to_codes(block, centroids, n_parts), {"centroids": centroids}


def to_float16(rows: NDArray) -> Dict[str, NDArray]:
    """Round to half precision: (N, O) float16."""
    with numpy.errstate(over="ignore"):
        rounded = rows.astype("float16")
    if not numpy.isfinite(rounded).all():
        raise ValueError(
            f"float16 holds numbers up to 65504, but there is {numpy.abs(rows).max()}; "
            "take int8, or normalise the rows"
        )
    return {"rows": rounded}


def to_int8(rows: NDArray) -> Dict[str, NDArray]:
    """Divide each row by 127th of its largest number, and round: (N, O) int8."""
    # Rows of numbers too small to divide by become zeros.
    scales = numpy.abs(rows).max(axis=1, initial=0.0) / numpy.float32(127)
    divisors = numpy.where(scales > 1e-37, scales, numpy.float32(1))
    quantised = numpy.rint(rows / divisors[:, None])
    return {"rows": quantised.astype("int8"), "scales": scales.astype("f")}


def learn_centroids(rows: NDArray, n_parts: int, seed: int = 0) -> NDArray:
    """Cluster each part of a sample of rows by k-means: (256, O) float32.

    Rows are ordered by the frequency of their words, as is usual. The sample prefers
    early ones, so that errors are small for most tokens.
    """
    random = numpy.random.default_rng(seed)
    weights = 1 / (numpy.arange(len(rows)) + 1000)
    chosen = random.choice(len(rows), SAMPLE, p=weights / weights.sum())
    sample = rows[numpy.unique(chosen)].astype("f")
    centroids = numpy.zeros((N_CENTROIDS, rows.shape[1]), dtype="f")
    for begin, end in tqdm(
        list(_parts(rows.shape[1], n_parts)), "k-means", disable=None, leave=False
    ):
        part = sample[:, begin:end]
        distinct = numpy.unique(part, axis=0)
        if len(distinct) <= N_CENTROIDS:
            centroids[: len(distinct), begin:end] = distinct
            continue
        start = distinct[random.choice(len(distinct), N_CENTROIDS, replace=False)]
        found, _ = kmeans2(part, start, iter=20, minit="matrix", missing="warn")
        centroids[:, begin:end] = found
    return centroids


def to_codes(rows: NDArray, centroids: NDArray, n_parts: int) -> Dict[str, NDArray]:
    """Name the nearest centroid of each part: (N, P) uint8."""
    codes = numpy.empty((len(rows), n_parts), dtype="uint8")
    for p, (begin, end) in enumerate(_parts(rows.shape[1], n_parts)):
        C = centroids[:, begin:end]
        codes[:, p] = ((C * C).sum(axis=1) - 2 * rows[:, begin:end] @ C.T).argmin(
            axis=1
        )
    return {"rows": codes}


def _parts(width: int, n_parts: int) -> Iterator[Tuple[int, int]]:
    return pairwise(part_starts(width, n_parts).tolist())
