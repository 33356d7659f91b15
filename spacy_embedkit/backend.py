"""A thinc backend whose matrix products pick kernels for the CPU they run on.

thinc's own backend for the CPU multiplies with BLIS, which is built for a generic
x86-64 or Arm machine if it does not know the processor. NumPy and SciPy ship an
OpenBLAS that detects the processor when it is loaded. This backend uses NumPy's for the
layers, and passes SciPy's to the C code of the parser and the entity recognizer.
"""

import os
from typing import Any, Callable, Optional, Tuple, cast

import numpy
from numpy.typing import NDArray
from thinc.api import NumpyOps, Ops, get_current_ops, set_current_ops
from thinc.types import DeviceTypes, Floats2d, FloatsXd, Shape

from . import _blas

# Variables that set how many threads BLAS takes; limit_threads respects them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# OpenBLAS multiplies without packing up to this many multiplications of two numbers, if
# it has kernels for that (sgemm_small_kernel_permit, on processors with AVX-512).
DIRECT = 100**3
# Rows up to which a matrix counts as thin.
THIN = 64


class EmbedkitOps(NumpyOps):
    """thinc's NumpyOps with another BLAS; registered with thinc as "embedkit"."""

    name = "embedkit"
    # The ops that these stand for in an accelerated pipeline.
    replaced: Optional[NumpyOps] = None

    def __init__(
        self, device_type: DeviceTypes = "cpu", device_id: int = -1, **settings: Any
    ) -> None:
        super().__init__(device_type, device_id, **settings)
        # Loaded now, so that limit_threads finds it.
        self._load_blas()

    def __reduce__(self) -> Tuple[Callable[[int], "EmbedkitOps"], Tuple[int]]:
        return _unpickle, (os.getpid(),)

    def gemm(
        self,
        x: Floats2d,
        y: Floats2d,
        out: Optional[Floats2d] = None,
        trans1: bool = False,
        trans2: bool = False,
    ) -> Floats2d:
        """Multiply two matrices, each transposed first if asked for.

        x, y: (M, K) and (K, N), or their transposes; of one float dtype.
        out: (M, N), overwritten and returned; a new array if None.
        Raises: ValueError if an array is not a matrix or the shapes do not fit.
        """
        if x.ndim != 2 or y.ndim != 2:
            raise ValueError(
                f"gemm: arrays of {x.ndim} and {y.ndim} dimensions were given, but "
                "both need 2; reshape them first"
            )
        left: Any = x.T if trans1 else x
        right: Any = y.T if trans2 else y
        return cast(Floats2d, multiply(left, right, cast(Any, out)))

    def get_dropout_mask(self, shape: Shape, drop: Optional[float]) -> FloatsXd:
        """Draw a mask of zeros, with probability drop, and 1 / (1 - drop).

        Each entry takes 16 random bits of numpy.random's global generator, so the
        probability is drop rounded to 1/65536; thinc takes a float64 each.
        """
        if drop is None or not 0.0 < drop < 1.0:
            return super().get_dropout_mask(shape, drop)
        size = int(numpy.prod(shape))
        coins = numpy.frombuffer(numpy.random.bytes(2 * size), dtype="uint16")
        mask = (coins >= round(drop * 65536)).astype("f")
        mask *= numpy.float32(1.0 / (1.0 - drop))
        return cast(FloatsXd, mask.reshape(shape))

    def cblas(self) -> Any:
        """Return the BLAS functions that C code calls: a thinc CBlas."""
        return _blas.make_cblas()

    @staticmethod
    def _load_blas() -> None:
        from scipy.linalg import cython_blas

        _blas.load(cython_blas.__pyx_capi__)


def multiply(left: NDArray, right: NDArray, out: Optional[NDArray] = None) -> NDArray:
    """Multiply two matrices by NumPy's BLAS: (M, K) and (K, N), of one float dtype.

    Either may be the transpose of a contiguous array, which is not copied for it.
    out: (M, N), overwritten and returned; a new array if None.
    """
    if _is_thin(left, right):
        product = _multiply_thin(left, right)
    elif out is not None and out.flags.c_contiguous and out.dtype == left.dtype:
        return numpy.dot(left, right, out=out)
    else:
        product = numpy.dot(left, right)
    if out is None:
        return product
    numpy.copyto(out, product)
    return out


def _is_thin(left: NDArray, right: NDArray) -> bool:
    """Whether OpenBLAS would spend its time on packing the larger matrix."""
    (m, k), n = left.shape, right.shape[1]
    if left.dtype != right.dtype or 0 in (m, k, n):
        return False
    if right.flags.f_contiguous and not right.flags.c_contiguous:
        return 1 < m <= THIN and m * n > 1200 and k > 1
    return min(m, k) <= THIN // 2 and m * k * n > DIRECT


def _multiply_thin(left: NDArray, right: NDArray) -> NDArray:
    """Multiply in blocks small enough to need no packing: (M, K) (K, N)."""
    (m, k), n = left.shape, right.shape[1]
    if m > THIN:
        # Few terms: blocks of rows.
        out = numpy.empty((m, n), dtype=left.dtype)
        size = max(1, DIRECT // (k * n))
        for i in range(0, m, size):
            numpy.dot(left[i : i + size], right, out=out[i : i + size])
        return out
    size = max(1, DIRECT // (m * k))
    if right.flags.c_contiguous:
        out = numpy.empty((m, n), dtype=left.dtype)
        for i in range(0, n, size):
            out[:, i : i + size] = numpy.dot(left, right[:, i : i + size])
        return out
    # The product of the transposed matrices, whose rows are contiguous.
    out = numpy.empty((n, m), dtype=left.dtype)
    columns = numpy.ascontiguousarray(left.T)
    for i in range(0, n, size):
        numpy.dot(right.T[i : i + size], columns, out=out[i : i + size])
    return numpy.ascontiguousarray(out.T)


def use_fast_ops() -> bool:
    """Use EmbedkitOps in all pipelines made from now on.

    Applies to models made later in this thread, as thinc.set_current_ops does; a model
    keeps the backend it was made with, in whatever thread it runs. From now on, this
    process and those that it starts multiply on one thread, as stock does, unless
    OMP_NUM_THREADS or OPENBLAS_NUM_THREADS is set.

    Returns False, and changes nothing, on a GPU and on backends for the CPU other than
    thinc's own, such as Apple's Accelerate.
    """
    current = get_current_ops()
    if is_stock_cpu(current):
        set_current_ops(EmbedkitOps())
    elif type(current) is not EmbedkitOps:
        return False
    limit_threads()
    return True


def is_stock_cpu(ops: Ops) -> bool:
    """Return whether these are thinc's own ops for the CPU, not those of a subclass."""
    return type(ops) is NumpyOps


def _unpickle(pid: int) -> EmbedkitOps:
    ops = EmbedkitOps()
    # In a worker, such as one of `nlp.pipe(n_process=2)` where processes do not fork.
    if os.getpid() != pid:
        limit_threads()
    return ops


def limit_threads() -> None:
    """Multiply on one thread in this process, unless the environment says how many.

    Batches are too small for more, which would wait for each other on a busy machine.
    That of torch is left alone.
    """
    if not any(name in os.environ for name in THREAD_VARIABLES):
        from threadpoolctl import ThreadpoolController

        libraries = ThreadpoolController().select(user_api="blas")
        paths = [library["filepath"] for library in libraries.info()]
        libraries.select(
            filepath=[path for path in paths if "torch" not in path]
        ).limit(limits=1)
