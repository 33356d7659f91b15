from typing import Any

class KeyTable:
    def __init__(
        self, keys: Any, key_rows: Any, buckets: Any, shift: int, n_rows: int
    ) -> None: ...
    def find_one(self, key: int) -> int: ...
    def find(self, ids: Any, out: Any) -> int: ...

def take_rows(table: Any, rows: Any, out: Any) -> int: ...
def take_half(table: Any, rows: Any, out: Any) -> int: ...
def take_int8(table: Any, scales: Any, rows: Any, out: Any) -> int: ...
def take_codes(codes: Any, centroids: Any, starts: Any, rows: Any, out: Any) -> int: ...
def count_ngrams(
    text: Any,
    ends: Any,
    minn: int,
    maxn: int,
    n_hashes: int,
    seed: int,
    starts: Any,
) -> int: ...
def ngram_rows(
    text: Any,
    ends: Any,
    minn: int,
    maxn: int,
    n_hashes: int,
    seed: int,
    n_rows: int,
    starts: Any,
    out: Any,
) -> None: ...
