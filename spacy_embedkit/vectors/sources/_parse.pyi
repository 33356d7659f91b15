"""Types of the kernel that reads text; the arguments are described in _parse.pyx."""

from typing import Any, Union

from numpy.typing import NDArray

_Text = Union[bytes, bytearray, memoryview]
_Array = NDArray[Any]

def parse_lines(
    text: _Text,
    begin: int,
    rows: _Array,
    words: _Array,
    ends: _Array,
    status: _Array,
) -> int: ...
