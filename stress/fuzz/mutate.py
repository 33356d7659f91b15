"""Changes that get past the first check: fields, headers and lengths, not noise alone.

The kind of a file is told from its first bytes, and what holds it together is made
right again after the change, so that most changes reach the code behind the header.
"""

import ast
import json
from random import Random
from typing import Any, Callable, Dict, List, Tuple

from srsly.msgpack import _packer, _unpacker

from .packing import Skip, pack, unpack

# Changes bytes blindly, or as the coverage tells.
Spoil = Callable[[bytes], bytes]

NUMBERS = [0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 1000, 65535, 65536, 2**20, 2**24]
NUMBERS += [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63]
NUMBERS += [2**64 - 1, 500_000_000]
ATOMS: List[Any] = [None, True, False, "", "a", "\0", "\ud800", "ORTH", "x" * 300]
ATOMS += [1.5, 1e308, float("nan"), float("inf"), -0.0, [], {}, [0], [[]], {"a": 0}]
DESCRS = ["<f4", ">f4", "<f2", "<f8", "<i4", "<i8", "|i1", "|u1", "<u8", "|S4", "<U3"]
DESCRS += ["|O", "|V4", "|b1", "<c8", "<M8[s]", "", "f4,f4", "<f4\n", [("a", "<f4")]]


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


def change_file(data: bytes, rng: Random, spoil: Spoil) -> bytes:
    """Change one file by its kind."""
    choice = rng.random()
    if choice < 0.15:
        return spoil(data)
    if choice < 0.25:
        return set_number(data, rng)
    if choice < 0.28:
        return data[: rng.randrange(len(data) + 1)]
    for matches, change in KINDS:
        if matches(data):
            try:
                return change(data, rng, spoil)
            except Exception:
                # What was changed before may fit no kind any more.
                break
    return spoil(data) if rng.random() < 0.7 else set_number(data, rng)


def change_pack(data: bytes, rng: Random, spoil: Spoil) -> bytes:
    """Change one of packed files, or exchange or empty some."""
    try:
        files = unpack(data)
    except Skip:
        return data
    if not files:
        return data
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        name = rng.choice(list(files))
        choice = rng.random()
        if choice < 0.02:
            files[name] = rng.choice(list(files.values()))
        elif choice < 0.03:
            files[name] = b""
        elif choice < 0.04 and len(files) > 1:
            del files[name]
        else:
            files[name] = change_file(files[name], rng, spoil)
    return pack(files)


def change_tree(value: Any, rng: Random) -> Any:
    """Replace, remove, add or rename one thing in nested dicts and lists."""
    places: List[Tuple[Any, Any]] = []
    _collect(value, places, 0)
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


def _collect(value: Any, places: List[Tuple[Any, Any]], depth: int) -> None:
    if depth > 20:
        return
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        places.append((value, key))
        _collect(inner, places, depth + 1)


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


def change_json(data: bytes, rng: Random, spoil: Spoil) -> bytes:
    """Change the tree of a JSON file; text that JSON does not allow stays as it is."""
    return json.dumps(change_tree(json.loads(data), rng)).encode()


def change_jsonl(data: bytes, rng: Random, spoil: Spoil) -> bytes:
    """Change one line."""
    lines = data.split(b"\n")
    i = rng.randrange(len(lines))
    lines[i] = change_json(lines[i], rng, spoil) if lines[i] else spoil(b"\n")
    return b"\n".join(lines)


def change_msgpack(data: bytes, rng: Random, spoil: Spoil) -> bytes:
    """Change the tree of msgpack, in which an array is a dict of type, shape and data.

    Bytes that are a file themselves are changed by their own kind.
    """
    tree = _unpacker.unpackb(data, raw=False, strict_map_key=False)
    places: List[Tuple[Any, Any]] = []
    _collect(tree, places, 0)
    inner = [(p, k) for p, k in places if isinstance(p[k], bytes) and has_kind(p[k])]
    if inner and rng.random() < 0.6:
        parent, key = rng.choice(inner)
        parent[key] = change_file(parent[key], rng, spoil)
    else:
        tree = change_tree(tree, rng)
    errors = "surrogatepass"
    return bytes(_packer.Packer(use_bin_type=True, unicode_errors=errors).pack(tree))


def change_npy(data: bytes, rng: Random, spoil: Spoil) -> bytes:
    """Change a field of the header, or a number of the array."""
    size = int.from_bytes(data[8:10], "little")
    head, body = data[10 : 10 + size], data[10 + size :]
    if rng.random() < 0.6:
        return data[: 10 + size] + set_number(body, rng)
    fields: Dict[str, Any] = ast.literal_eval(head.decode("latin1"))
    kind = rng.randrange(4)
    if kind == 0:
        fields["descr"] = rng.choice(DESCRS)
    elif kind == 1:
        fields["fortran_order"] = not fields["fortran_order"]
    elif kind == 2:
        shape = list(fields["shape"])
        change_tree(shape, rng)
        fields["shape"] = tuple(shape)
    else:
        fields = change_tree(fields, rng)
    new = (repr(fields) + " " * rng.choice([0, 3, 60]) + "\n").encode("utf8", "replace")
    return data[:8] + (len(new) % 65536).to_bytes(2, "little") + new + body


def change_safetensors(data: bytes, rng: Random, spoil: Spoil) -> bytes:
    """Change the header, and make its length right."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.2:
        return data[: 8 + size] + set_number(data[8 + size :], rng)
    header = change_json(data[8 : 8 + size], rng, spoil)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def has_kind(data: bytes) -> bool:
    """Whether the kind of a file is known."""
    return any(matches(data) for matches, _ in KINDS)


def is_map(data: bytes) -> bool:
    """Whether bytes begin as a map of msgpack, and are long enough for one."""
    return len(data) > 2 and (0x81 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF))


KINDS: List[Tuple[Callable[[bytes], bool], Callable[[bytes, Random, Spoil], bytes]]] = [
    (lambda data: data.startswith(b"\x93NUMPY"), change_npy),
    (lambda data: data[8:9] == b"{" and data[2:8] == bytes(6), change_safetensors),
    (lambda data: data[:1] == b"{" and b"}\n{" in data, change_jsonl),
    (lambda data: data[:1] in (b"{", b"["), change_json),
    (is_map, change_msgpack),
]
