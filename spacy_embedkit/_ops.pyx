"""CPU kernels on typed memoryviews.

Design: the array loops below neither check nor allocate nor raise. ops.py, their
only caller, does that, and reference_ops.py has the same maths as array code.
Each argument is marked in, out or scratch. Directives stand in setup.py, so that
a build with EMBEDKIT_CHECKED=1 can turn bounds checks on.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

ctypedef fused real:
    float
    double

# FNV-1a, 64 bit: http://www.isthe.com/chongo/tech/comp/fnv/
cdef uint64_t FNV_OFFSET = 14695981039346656037ULL
cdef uint64_t FNV_PRIME = 1099511628211ULL
# 2**64 / golden ratio, the increment of SplitMix64.
cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15ULL


cdef inline uint64_t mix64(uint64_t x) noexcept nogil:
    # The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9ULL
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EBULL
    return x ^ (x >> 31)


cdef inline bint starts_char(unsigned char byte) noexcept nogil:
    # UTF-8 continuation bytes are 10xxxxxx.
    return (byte & 0xC0) != 0x80


cdef inline uint64_t hash_row(
    const uint64_t[:, ::1] rows, Py_ssize_t i
) noexcept nogil:
    cdef Py_ssize_t a
    cdef uint64_t h = 0
    for a in range(rows.shape[1]):
        h = mix64(h + GOLDEN + rows[i, a])
    return h


cdef inline bint same_row(
    const uint64_t[:, ::1] rows,
    Py_ssize_t i,
    const uint64_t[:, ::1] others,
    Py_ssize_t j,
) noexcept nogil:
    cdef Py_ssize_t a
    for a in range(rows.shape[1]):
        if rows[i, a] != others[j, a]:
            return False
    return True


def unique_rows(
    const uint64_t[:, ::1] rows not None,  # in       (N, A)
    int[::1] slots not None,               # scratch  (2**k,), 2**k > N, all -1
    int[::1] first not None,               # out      (N,)
    int[::1] inverse not None,             # out      (N,)
):
    """Number the distinct rows 0, 1, ... in order of first appearance.

    first[u] is where distinct row u appears first, inverse[i] the number of row i.
    Returns the count of distinct rows; first is filled up to it.
    """
    cdef Py_ssize_t i, slot
    cdef Py_ssize_t mask = slots.shape[0] - 1
    cdef int n_unique = 0
    with nogil:
        for i in range(rows.shape[0]):
            slot = hash_row(rows, i) & mask
            while slots[slot] >= 0 and not same_row(rows, first[slots[slot]], rows, i):
                slot = (slot + 1) & mask
            if slots[slot] < 0:
                slots[slot] = n_unique
                first[n_unique] = <int>i
                n_unique += 1
            inverse[i] = slots[slot]
    return n_unique


def find_rows(
    const uint64_t[:, ::1] rows not None,   # in   (N, A)
    const uint64_t[:, ::1] table not None,  # in   (V, A)
    const int[::1] slots not None,          # in   (2**k,), made by add_rows
    int[::1] out not None,                  # out  (N,)
):
    """out[i] = the table row that is equal to rows[i], or -1."""
    cdef Py_ssize_t i, slot
    cdef Py_ssize_t mask = slots.shape[0] - 1
    with nogil:
        for i in range(rows.shape[0]):
            slot = hash_row(rows, i) & mask
            while slots[slot] >= 0 and not same_row(table, slots[slot], rows, i):
                slot = (slot + 1) & mask
            out[i] = slots[slot]


def add_rows(
    const uint64_t[:, ::1] table not None,  # in      (V, A), distinct rows
    int begin,
    int end,                                # in      0 <= begin <= end <= V
    int[::1] slots not None,                # in out  (2**k,), 2**k > V, all -1 at first
):
    """Let find_rows find the table rows begin..end-1."""
    cdef Py_ssize_t slot
    cdef Py_ssize_t mask = slots.shape[0] - 1
    cdef int i
    with nogil:
        for i in range(begin, end):
            slot = hash_row(table, i) & mask
            while slots[slot] >= 0:
                slot = (slot + 1) & mask
            slots[slot] = i


cdef inline uint64_t hash_words(
    const unsigned char* data, Py_ssize_t size, Py_ssize_t n_samples
) noexcept nogil:
    # Words of 32 bits; the last one is hashed in any case, what is left of one, too.
    cdef const uint32_t* words = <const uint32_t*>data
    cdef Py_ssize_t i, n = size // 4, step = 1
    cdef uint64_t h = FNV_OFFSET
    if n_samples and n > n_samples:
        step = n // n_samples
    for i in range((n + step - 1) // step):
        h = (h ^ words[i * step]) * FNV_PRIME
    if n:
        h = (h ^ words[n - 1]) * FNV_PRIME
    for i in range(4 * n, size):
        h = (h ^ data[i]) * FNV_PRIME
    return h


def checksums(
    list arrays not None,  # in  contiguous arrays
    Py_ssize_t n_samples,  # in  0 or more
):
    """Hash the bits of each array, or about n_samples words of it if that isn't 0."""
    cdef Py_buffer view
    cdef list out = []
    for array in arrays:
        PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
        out.append(hash_words(<const unsigned char*>view.buf, view.len, n_samples))
        PyBuffer_Release(&view)
    return out


def checksum_rows(
    const uint32_t[:, ::1] words not None,  # in   (N, M)
    uint64_t[::1] out not None,             # out  (N,)
):
    """Hash each row."""
    cdef Py_ssize_t i, m
    cdef uint64_t h
    with nogil:
        for i in range(words.shape[0]):
            h = FNV_OFFSET
            for m in range(words.shape[1]):
                h = (h ^ words[i, m]) * FNV_PRIME
            out[i] = mix64(h)


cdef inline Py_ssize_t walk_ngrams(
    const unsigned char[::1] text,
    Py_ssize_t begin,
    Py_ssize_t end,
    int min_n,
    int max_n,
    uint64_t n_rows,
    int n_hashes,
    int[:, ::1] out,
    Py_ssize_t at,
) noexcept nogil:
    # Visits the n-grams of one word: writes their rows to out[at:] where n_hashes
    # is not 0, and returns how many there are. One pass extends the hash of all
    # n-grams that share a start.
    cdef Py_ssize_t i, j, count = 0
    cdef int n, k
    cdef uint64_t h
    for i in range(begin, end):
        if not starts_char(text[i]):
            continue
        h = FNV_OFFSET
        n = 0
        j = i
        while j < end and n < max_n:
            h = (h ^ text[j]) * FNV_PRIME
            j += 1
            while j < end and not starts_char(text[j]):
                h = (h ^ text[j]) * FNV_PRIME
                j += 1
            n += 1
            if n >= min_n:
                for k in range(n_hashes):
                    out[at + count, k] = <int>(mix64(h + k * GOLDEN) % n_rows)
                count += 1
    if count == 0:
        # Shorter than min_n: the word as a whole is its one n-gram.
        h = FNV_OFFSET
        for i in range(begin, end):
            h = (h ^ text[i]) * FNV_PRIME
        for k in range(n_hashes):
            out[at, k] = <int>(mix64(h + k * GOLDEN) % n_rows)
        count = 1
    return count


def ngram_rows(
    const unsigned char[::1] text not None,  # in   UTF-8 of all words, joined
    const int[::1] starts not None,          # in   (T + 1,), word t is starts[t:t+2]
    int min_n,
    int max_n,
    int n_rows,
    int[:, ::1] out not None,                # out  (sum of counts, K)
):
    """out[p, k] = row k of n-gram p: mix64(fnv1a(n-gram) + k * GOLDEN) % n_rows."""
    cdef Py_ssize_t t, at = 0
    cdef int n_hashes = <int>out.shape[1]
    with nogil:
        for t in range(starts.shape[0] - 1):
            at += walk_ngrams(
                text, starts[t], starts[t + 1], min_n, max_n, n_rows, n_hashes, out, at
            )


def first_outside(
    const int[::1] rows not None,  # in  (N,)
    int n_rows,
):
    """Position of the first entry that is not in 0..n_rows-1, or -1."""
    cdef Py_ssize_t i, bad = -1
    with nogil:
        for i in range(rows.shape[0]):
            if rows[i] < 0 or rows[i] >= n_rows:
                bad = i
                break
    return bad


def gather_rows(
    const real[:, ::1] table not None,  # in   (V, O)
    const int[::1] rows not None,       # in   (N,), entries 0..V-1
    real[:, ::1] out not None,          # out  (N, O)
):
    """out[i] = table[rows[i]]."""
    cdef Py_ssize_t i, width = table.shape[1]
    if width == 0:
        return
    with nogil:
        for i in range(rows.shape[0]):
            memcpy(&out[i, 0], &table[rows[i], 0], width * sizeof(real))


def scatter_add_rows(
    const real[:, ::1] values not None,  # in   (N, O)
    const int[::1] rows not None,        # in   (N,), entries 0..V-1
    real[:, ::1] out not None,           # out  (V, O), added to
):
    """out[rows[i]] += values[i]."""
    cdef Py_ssize_t i, o
    with nogil:
        for i in range(rows.shape[0]):
            for o in range(out.shape[1]):
                out[rows[i], o] += values[i, o]


def sum_rows(
    const real[:, ::1] table not None,  # in   (V, O)
    const int[::1] rows not None,       # in   (P,), entries 0..V-1
    const int[::1] starts not None,     # in   (T + 1,), segment t is starts[t:t+2]
    real[:, ::1] out not None,          # out  (T, O), zeros on entry
):
    """out[t] += sum of table[rows[p]] over p in segment t.

    Eight rows at a time, so that as many are on their way from memory at once.
    """
    cdef Py_ssize_t t, p, o, width = out.shape[1]
    cdef const real *a, *b, *c, *d, *e, *f, *g, *h
    cdef real* to
    if width == 0:
        return
    with nogil:
        for t in range(out.shape[0]):
            to = &out[t, 0]
            p = starts[t]
            while p + 8 <= starts[t + 1]:
                a, b = &table[rows[p], 0], &table[rows[p + 1], 0]
                c, d = &table[rows[p + 2], 0], &table[rows[p + 3], 0]
                e, f = &table[rows[p + 4], 0], &table[rows[p + 5], 0]
                g, h = &table[rows[p + 6], 0], &table[rows[p + 7], 0]
                for o in range(width):
                    to[o] += (a[o] + b[o] + c[o] + d[o]) + (e[o] + f[o] + g[o] + h[o])
                p += 8
            while p < starts[t + 1]:
                a = &table[rows[p], 0]
                for o in range(width):
                    to[o] += a[o]
                p += 1


def scatter_add_sums(
    const real[:, ::1] values not None,  # in   (T, O)
    const int[::1] rows not None,        # in   (P,), entries 0..V-1
    const int[::1] starts not None,      # in   (T + 1,), segment t is starts[t:t+2]
    real[:, ::1] out not None,           # out  (V, O), added to
):
    """out[rows[p]] += values[t] for p in segment t: the gradient of sum_rows."""
    cdef Py_ssize_t t, p, o
    with nogil:
        for t in range(values.shape[0]):
            for p in range(starts[t], starts[t + 1]):
                for o in range(out.shape[1]):
                    out[rows[p], o] += values[t, o]


def mean_rows(
    const real[:, ::1] table not None,  # in   (V, O)
    const int[::1] rows not None,       # in   (P,), entries 0..V-1
    const int[::1] starts not None,     # in   (T + 1,), segment t is starts[t:t+2]
    real[:, ::1] out not None,          # out  (T, O)
):
    """out[t] = mean of table[rows[p]] over p in segment t, 0 if it is empty."""
    cdef Py_ssize_t t, p, o, end, width = out.shape[1]
    cdef const real *a, *b, *c, *d
    cdef real* to
    cdef real scale
    if width == 0:
        return
    with nogil:
        for t in range(out.shape[0]):
            to, p, end = &out[t, 0], starts[t], starts[t + 1]
            if p == end:
                memset(to, 0, width * sizeof(real))
                continue
            memcpy(to, &table[rows[p], 0], width * sizeof(real))
            if p + 1 == end:
                continue
            scale = <real>1 / (end - p)
            p += 1
            while p + 4 <= end:
                a, b = &table[rows[p], 0], &table[rows[p + 1], 0]
                c, d = &table[rows[p + 2], 0], &table[rows[p + 3], 0]
                for o in range(width):
                    to[o] += (a[o] + b[o]) + (c[o] + d[o])
                p += 4
            while p < end:
                a = &table[rows[p], 0]
                for o in range(width):
                    to[o] += a[o]
                p += 1
            for o in range(width):
                to[o] *= scale


def scatter_add_means(
    const real[:, ::1] values not None,  # in   (T, O)
    const int[::1] rows not None,        # in   (P,), entries 0..V-1
    const int[::1] starts not None,      # in   (T + 1,), segment t is starts[t:t+2]
    real[:, ::1] out not None,           # out  (V, O), added to
):
    """out[rows[p]] += values[t] / P_t for the P_t places p of segment t."""
    cdef Py_ssize_t t, p, o
    cdef real scale
    with nogil:
        for t in range(values.shape[0]):
            if starts[t] == starts[t + 1]:
                continue
            scale = <real>1 / (starts[t + 1] - starts[t])
            for p in range(starts[t], starts[t + 1]):
                for o in range(out.shape[1]):
                    out[rows[p], o] += values[t, o] * scale


def max_rows(
    const real[:, ::1] table not None,  # in   (V, O)
    const int[::1] rows not None,       # in   (P,), entries 0..V-1
    const int[::1] starts not None,     # in   (T + 1,), segment t is starts[t:t+2]
    real[:, ::1] out not None,          # out  (T, O)
    int[:, ::1] which not None,         # out  (T, O)
):
    """out[t, o] = largest of table[rows[p], o] over p in segment t, 0 if it is empty.

    which[t, o] is the row that has it, the first p of several, or -1.
    """
    cdef Py_ssize_t t, p, o, width = out.shape[1]
    cdef const real* row
    cdef real* best
    cdef int* best_row
    cdef int here
    cdef bint better
    if width == 0:
        return
    with nogil:
        for t in range(out.shape[0]):
            best, best_row = &out[t, 0], &which[t, 0]
            if starts[t] == starts[t + 1]:
                memset(best, 0, width * sizeof(real))
                memset(best_row, 0xFF, width * sizeof(int))
                continue
            here = rows[starts[t]]
            memcpy(best, &table[here, 0], width * sizeof(real))
            for o in range(width):
                best_row[o] = here
            for p in range(starts[t] + 1, starts[t + 1]):
                here = rows[p]
                row = &table[here, 0]
                # Without branches, so that the compiler can take several at once.
                for o in range(width):
                    better = row[o] > best[o]
                    best_row[o] += (here - best_row[o]) * better
                for o in range(width):
                    best[o] = row[o] if row[o] > best[o] else best[o]


def scatter_add_maxes(
    const real[:, ::1] values not None,  # in   (T, O)
    const int[:, ::1] which not None,    # in   (T, O), entries -1..V-1
    real[:, ::1] out not None,           # out  (V, O), added to
):
    """out[which[t, o], o] += values[t, o]: the gradient of max_rows."""
    cdef Py_ssize_t t, o
    with nogil:
        for t in range(values.shape[0]):
            for o in range(values.shape[1]):
                if which[t, o] >= 0:
                    out[which[t, o], o] += values[t, o]
