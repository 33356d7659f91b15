"""Changes of bytes, and of trees of dicts and lists."""

from random import Random
from typing import Any, List, Tuple

NUMBERS = [0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 1000, 65535, 65536, 2**20, 2**24]
NUMBERS += [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63]
NUMBERS += [2**64 - 1, 500_000_000]
ATOMS: List[Any] = [None, True, False, "", "a", "\0", "\ud800", "ORTH", "x" * 300]
ATOMS += [1.5, 1e308, float("nan"), float("inf"), -0.0, [], {}, [0], [[]], {"a": 0}]
DESCRS = ["<f4", ">f4", "<f2", "<f8", "<i4", "<i8", "|i1", "|u1", "<u8", "|S4", "<U3"]
DESCRS += ["|O", "|V4", "|b1", "<c8", "<M8[s]", "", "f4,f4", "<f4\n"]
ODD_DESCRS: List[Any] = [*DESCRS, [("a", "<f4")], (), ("<f4", (2,)), 4, None]


def number(rng: Random) -> int:
    """Return a number that bounds are often wrong at."""
    n = rng.choice(NUMBERS)
    return rng.choice([n, n, -n, n - 1, n + 1])


def spoil_randomly(data: bytes, rng: Random) -> bytes:
    """Change, remove, repeat or add some bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(5)
        if kind == 0 or at == len(changed):
            changed[at:at] = rng.randbytes(rng.choice([1, 1, 2, 8]))
        elif kind == 1:
            del changed[at : at + rng.choice([1, 1, 2, 8, len(changed)])]
        elif kind == 2:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            changed[at] = rng.randrange(256)
        else:
            part = changed[at : at + rng.choice([1, 4, 16])]
            changed[at:at] = part * rng.choice([1, 2, 100])
    return bytes(changed)


def set_number(data: bytes, rng: Random) -> bytes:
    """Write a number of 1 to 8 bytes somewhere."""
    size = rng.choice([1, 2, 4, 4, 8])
    at = rng.randrange(max(1, len(data) - size + 1))
    if rng.random() < 0.5:
        # Fields of headers.
        at = min(at, rng.randrange(128))
    value = (number(rng) % 2 ** (8 * size)).to_bytes(size, "little")
    return data[:at] + value + data[at + size :]


def change_tree(value: Any, rng: Random) -> Any:
    """Replace, remove, add or rename one thing in nested dicts and lists."""
    places: List[Tuple[Any, Any]] = []
    collect(value, places, 0)
    if not places or rng.random() < 0.01:
        return rng.choice(ATOMS)
    for _ in range(rng.choice([1, 1, 1, 2])):
        parent, key = rng.choice(places)
        if isinstance(parent, dict) and key not in parent:
            continue
        if isinstance(parent, list) and key >= len(parent):
            continue
        _change_place(parent, key, places, rng)
    return value


def collect(value: Any, places: List[Tuple[Any, Any]], depth: int) -> None:
    """List the places of all values below a value: parent and key."""
    if depth > 20:
        return
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        places.append((value, key))
        collect(inner, places, depth + 1)


def _change_place(parent: Any, key: Any, places: List[Any], rng: Random) -> None:
    old, choice = parent[key], rng.random()
    if choice < 0.08:
        del parent[key]
    elif choice < 0.14 and isinstance(parent, list):
        parent.insert(key, old)
    elif choice < 0.14:
        parent[rng.choice([*map(str, range(2)), "", 0, b"a"])] = parent.pop(key)
    elif choice < 0.22:
        other, place = rng.choice(places)
        if isinstance(other, dict) and place in other:
            parent[key] = other[place]
    elif choice < 0.25:
        deep: Any = []
        for _ in range(rng.choice([30, 300, 3000])):
            deep = [deep]
        parent[key] = deep
    elif isinstance(old, bool) or choice < 0.4:
        parent[key] = rng.choice([number(rng), *rng.sample(ATOMS, 2)])
    else:
        parent[key] = _change_atom(old, rng)


def _change_atom(old: Any, rng: Random) -> Any:
    if isinstance(old, int):
        return rng.choice([old + 1, old - 1, -old, number(rng), number(rng), old / 2])
    if isinstance(old, float):
        return rng.choice([-old, old * 1e38, float("nan"), float("inf"), 0, old + 1])
    if isinstance(old, str):
        if old in DESCRS and rng.random() < 0.7:
            return rng.choice(DESCRS)
        at = rng.randrange(len(old) + 1)
        return rng.choice(
            [
                old[:at],
                old[at:],
                old[:at] + "\0" + old[at:],
                old * 2,
                [old],
                "../" + old,
            ]
        )
    if isinstance(old, bytes):
        spoilt = set_number(old, rng) if old else b"\xff"
        return rng.choice([spoilt, spoilt, spoil_randomly(old, rng), old[:-1], b""])
    return rng.choice([number(rng), *rng.sample(ATOMS, 2)])
