"""CPU kernels of the window encoder: one row a token.

Design: as in _ops.pyx, the loops neither check nor allocate nor raise.
layers/window_encoder.py, their only caller, makes the indices itself, and
reference_ops.py has the same maths as array code. O is
the width, P the number of maxout pieces, w the window size. Where a row has pieces,
all O values of the first piece come first, so that every loop runs over neighbours.
"""

from libc.math cimport sqrt
from libc.string cimport memcpy

ctypedef fused real:
    float
    double

# Added to the variance by thinc's LayerNorm.
cdef double EPSILON = 1e-8


cdef inline real total(const real* x, Py_ssize_t n) noexcept nogil:
    # Sums in lanes: the compiler may not reorder a sum of floats by itself.
    cdef real[16] lanes
    cdef real out = 0
    cdef Py_ssize_t i, k, whole = n - n % 16
    for k in range(16):
        lanes[k] = 0
    for i in range(0, whole, 16):
        for k in range(16):
            lanes[k] += x[i + k]
    for k in range(16):
        out += lanes[k]
    for i in range(whole, n):
        out += x[i]
    return out


cdef inline real dot(const real* x, const real* y, Py_ssize_t n) noexcept nogil:
    cdef real[16] lanes
    cdef real out = 0
    cdef Py_ssize_t i, k, whole = n - n % 16
    for k in range(16):
        lanes[k] = 0
    for i in range(0, whole, 16):
        for k in range(16):
            lanes[k] += x[i + k] * y[i + k]
    for k in range(16):
        out += lanes[k]
    for i in range(whole, n):
        out += x[i] * y[i]
    return out


def gather_windows(
    const real[:, ::1] X not None,     # in   (M, O)
    const int[::1] centers not None,    # in   (N,), entries w..M-w-1
    int w,
    real[:, ::1] out not None,         # out  (N, (2w + 1) * O)
):
    """out[j] = the rows centers[j]-w .. centers[j]+w of X, side by side."""
    cdef Py_ssize_t j, size = out.shape[1] * sizeof(real)
    with nogil:
        for j in range(centers.shape[0]):
            memcpy(&out[j, 0], &X[centers[j] - w, 0], size)


def scatter_windows(
    const real[:, ::1] dY not None,    # in   (N, (2w + 1) * O)
    const int[::1] centers not None,    # in   (N,), entries w..M-w-1
    int w,
    real[:, ::1] out not None,         # out  (M, O), added to
):
    """Gradient of gather_windows: windows that overlap are summed."""
    cdef Py_ssize_t j, i
    cdef const real* source
    cdef real* target
    with nogil:
        for j in range(centers.shape[0]):
            source = &dY[j, 0]
            target = &out[centers[j] - w, 0]
            for i in range(dY.shape[1]):
                target[i] += source[i]


def sum_windows(
    const real[:, ::1] products not None,  # in   (T, (2w + 1) * Q)
    const int[::1] rows not None,           # in   (M,), entries 0..T-1
    const int[::1] centers not None,        # in   (N,), entries w..M-w-1
    int w,
    real[:, ::1] out not None,             # out  (N, Q)
):
    """out[j] = sum over k of block k of products[rows[centers[j] - w + k]]."""
    cdef Py_ssize_t j, k, q, size = out.shape[1]
    cdef const real* block
    cdef real* target
    with nogil:
        for j in range(centers.shape[0]):
            target = &out[j, 0]
            memcpy(target, &products[rows[centers[j] - w], 0], size * sizeof(real))
            for k in range(1, 2 * w + 1):
                block = &products[rows[centers[j] - w + k], k * size]
                for q in range(size):
                    target[q] += block[q]


cdef inline void best_of_pieces(
    real* y, const real* bias, Py_ssize_t width, Py_ssize_t pieces
) noexcept nogil:
    # Leaves the largest piece, bias added, in the first.
    cdef Py_ssize_t p, o
    cdef const real* piece
    cdef real value
    for o in range(width):
        y[o] += bias[o]
    for p in range(1, pieces):
        piece = y + p * width
        for o in range(width):
            value = piece[o] + bias[p * width + o]
            y[o] = value if value > y[o] else y[o]


cdef inline real normalize(real* y, Py_ssize_t width) noexcept nogil:
    # To mean 0 and variance 1; returns one over the deviation.
    cdef real mean = total(y, width) / width
    cdef real scale
    cdef Py_ssize_t o
    for o in range(width):
        y[o] -= mean
    scale = 1 / sqrt(dot(y, y, width) / width + EPSILON)
    for o in range(width):
        y[o] *= scale
    return scale


def maxout_norm(
    real[:, ::1] Y not None,         # scratch  (N, P * O): products with W on entry
    const real[::1] bias not None,   # in       (P * O,)
    const real[::1] G not None,      # in       (O,)
    const real[::1] b not None,      # in       (O,)
    const real[:, ::1] X not None,   # in       (M, O)
    const int[::1] index not None,    # in       (N,), entries 0..M-1
    real[:, ::1] out not None,       # out      (N, O)
):
    """out[j] = X[index[j]] + G * normalized(largest piece of Y[j] + bias) + b."""
    cdef Py_ssize_t j, o, width = out.shape[1], pieces = Y.shape[1] // out.shape[1]
    cdef const real* x
    cdef real* y
    cdef real* target
    with nogil:
        for j in range(index.shape[0]):
            y = &Y[j, 0]
            best_of_pieces(y, &bias[0], width, pieces)
            normalize(y, width)
            x = &X[index[j], 0]
            target = &out[j, 0]
            for o in range(width):
                target[o] = x[o] + (y[o] * G[o] + b[o])


def maxout_norm_train(
    const real[:, ::1] Y not None,        # in   (N, P * O): products with W
    const real[::1] bias not None,        # in   (P * O,)
    real[:, ::1] normal not None,         # out  (N, O)
    real[::1] scale not None,             # out  (N,)
    int[:, ::1] which not None,  # out  (N, O)
):
    """normal[j] = normalized(largest piece of Y[j] + bias), and what backprop needs.

    which says which piece was the largest, the first one where several are; scale is
    one over the deviation.
    """
    cdef Py_ssize_t j, o, width = normal.shape[1]
    cdef Py_ssize_t pieces = Y.shape[1] // normal.shape[1]
    cdef const real* y
    cdef real* best
    cdef int* chosen
    cdef int piece
    cdef real value
    with nogil:
        for j in range(Y.shape[0]):
            y = &Y[j, 0]
            best = &normal[j, 0]
            chosen = &which[j, 0]
            for o in range(width):
                best[o] = y[o] + bias[o]
                chosen[o] = 0
            for piece in range(1, <int>pieces):
                for o in range(width):
                    value = y[piece * width + o] + bias[piece * width + o]
                    # No if here, which the compiler would not vectorize.
                    chosen[o] += (value > best[o]) * (piece - chosen[o])
                    best[o] = value if value > best[o] else best[o]
            scale[j] = normalize(best, width)


def backprop_maxout_norm(
    const real[:, ::1] dY not None,             # in   (N, O)
    const real[:, ::1] normal not None,         # in   (N, O)
    const real[::1] scale not None,             # in   (N,)
    const int[:, ::1] which not None,  # in   (N, O)
    const real[::1] G not None,                 # in   (O,)
    real[:, ::1] dZ not None,                   # out  (N, P * O)
    real[::1] dG not None,                      # out  (O,), added to
    real[::1] db not None,                      # out  (O,), added to
    real[::1] dbias not None,                   # out  (P * O,), added to
):
    """Gradient of G * normal + b to the products, to G, b and the bias."""
    cdef int piece
    cdef Py_ssize_t j, o, width = dY.shape[1]
    cdef Py_ssize_t pieces = dZ.shape[1] // dY.shape[1]
    cdef const real* dy
    cdef const real* x
    cdef const int* chosen
    cdef real* dz
    cdef real* sum_G = &dG[0]
    cdef real* sum_b = &db[0]
    cdef real* sum_bias = &dbias[0]
    cdef real mean, slope, step, value
    with nogil:
        for j in range(dY.shape[0]):
            dy = &dY[j, 0]
            x = &normal[j, 0]
            chosen = &which[j, 0]
            dz = &dZ[j, 0]
            # Loops of few arrays each: the compiler gives up on telling many apart.
            # The first piece holds d loss / d normal until the last loop.
            for o in range(width):
                sum_G[o] += dy[o] * x[o]
            for o in range(width):
                sum_b[o] += dy[o]
            for o in range(width):
                dz[o] = dy[o] * G[o]
            mean = total(dz, width) / width
            slope = dot(dz, x, width) / width
            step = scale[j]
            for o in range(width):
                dz[o] = step * (dz[o] - mean - x[o] * slope)
            for piece in range(<int>pieces - 1, -1, -1):
                for o in range(width):
                    value = dz[o]
                    dz[piece * width + o] = value if chosen[o] == piece else 0
            for o in range(pieces * width):
                sum_bias[o] += dz[o]
