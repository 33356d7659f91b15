"""Changes that get past the first check: fields, headers and lengths, not noise alone.

The first bytes of a file say what it is. Lengths and checksums are corrected after a
change, so that most changes reach the code that comes after the header.
"""

import ast
import json
from random import Random
from typing import Any, Callable, Dict, List, Tuple

from srsly.msgpack import _packer, _unpacker

from .changes import ODD_DESCRS, change_tree, collect, set_number
from .packing import SkipError, pack, unpack

# Changes bytes blindly, or as the coverage tells.
Spoil = Callable[[bytes], bytes]


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
    except SkipError:
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
    collect(tree, places, 0)
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
        fields["descr"] = rng.choice(ODD_DESCRS)
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
