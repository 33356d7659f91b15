"""A backend of plain array code, as on a device without our kernels."""

from thinc.api import NumpyOps, Ops


class ArrayOps(Ops):
    """thinc's array code, with the hash of its kernels, which it has not."""

    def hash(self, ids, seed):
        return NumpyOps().hash(ids, seed)
