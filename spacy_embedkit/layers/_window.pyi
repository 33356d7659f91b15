"""Types of the window encoder's kernels; the arguments are described in _window.pyx."""

from typing import Any

from numpy.typing import NDArray

_Array = NDArray[Any]

def gather_windows(X: _Array, centers: _Array, w: int, out: _Array) -> None: ...
def scatter_windows(dY: _Array, centers: _Array, w: int, out: _Array) -> None: ...
def sum_windows(
    products: _Array, rows: _Array, centers: _Array, w: int, out: _Array
) -> None: ...
def maxout_norm(
    Y: _Array,
    bias: _Array,
    G: _Array,
    b: _Array,
    X: _Array,
    index: _Array,
    out: _Array,
) -> None: ...
def maxout_norm_train(
    Y: _Array, bias: _Array, normal: _Array, scale: _Array, which: _Array
) -> None: ...
def backprop_maxout_norm(
    dY: _Array,
    normal: _Array,
    scale: _Array,
    which: _Array,
    G: _Array,
    dZ: _Array,
    dG: _Array,
    db: _Array,
    dbias: _Array,
) -> None: ...
