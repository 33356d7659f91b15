"""CPU kernels of the vectors table: keys to rows, rows to numbers, words to n-grams.

The loops neither allocate nor raise; vectors/ checks what it passes. Tables may come
from damaged files: whatever is read from one and used as a position is checked here,
and a wrong one is reported. Each argument is marked in or out.
"""

from libc.stdint cimport int16_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from murmurhash.mrmr cimport hash128_x64

# FNV-1a, 32 bit: http://www.isthe.com/chongo/tech/comp/fnv/
cdef uint32_t FNV_OFFSET = 2166136261U
cdef uint32_t FNV_PRIME = 16777619U


cdef class KeyTable:
    """Ascending keys, each with a row; positions are found by the first bits.

    Keys that are b when shifted right are keys[buckets[b]:buckets[b + 1]].
    """

    cdef const uint64_t[::1] keys   # (K,), ascending
    cdef const int[::1] key_rows    # (K,)
    cdef const int[::1] buckets     # (2**(64 - shift) + 1,)
    cdef int shift                  # 1..63
    cdef int n_rows

    def __init__(self, keys, key_rows, buckets, int shift, int n_rows):
        self.keys = keys
        self.key_rows = key_rows
        self.buckets = buckets
        self.shift = shift
        self.n_rows = n_rows

    cdef inline int row_of(self, uint64_t key) noexcept nogil:
        # The row of a key, -1 if it has none, -2 if that is outside of the table.
        cdef Py_ssize_t low = self.buckets[key >> self.shift]
        cdef Py_ssize_t high = self.buckets[(key >> self.shift) + 1]
        cdef Py_ssize_t middle
        cdef int row
        if low < 0 or high > self.keys.shape[0]:
            return -2
        while low < high:
            middle = (low + high) >> 1
            if self.keys[middle] < key:
                low = middle + 1
            else:
                high = middle
        if low >= self.keys.shape[0] or self.keys[low] != key:
            return -1
        row = self.key_rows[low]
        return row if 0 <= row < self.n_rows else -2

    def find_one(self, uint64_t key):
        """Return the row of a key, -1 if it has none, -2 if the table is damaged."""
        return self.row_of(key)

    def find(
        self,
        const uint64_t[::1] ids not None,  # in   (N,)
        int[::1] out not None,             # out  (N,)
    ):
        """out[i] = the row of ids[i], or -1 or -2. Returns the position of a -2, or -1.
        """
        cdef Py_ssize_t i, bad = -1
        with nogil:
            for i in range(ids.shape[0]):
                out[i] = self.row_of(ids[i])
                if out[i] == -2:
                    bad = i
        return bad


def take_rows(
    const float[:, ::1] table not None,  # in   (V, O)
    const int[::1] rows not None,        # in   (N,), rows, or -1
    float[:, ::1] out not None,          # out  (N, O)
):
    """out[i] = table[rows[i]], or zeros for row -1 and rows outside of the table.

    As all take_ kernels, it returns the position of a row outside of it, or -1.
    """
    cdef Py_ssize_t i, bad = -1, size = table.shape[1] * sizeof(float)
    if size == 0:
        return bad
    with nogil:
        for i in range(rows.shape[0]):
            if rows[i] < 0 or rows[i] >= table.shape[0]:
                memset(&out[i, 0], 0, size)
                bad = bad if rows[i] == -1 else i
            else:
                memcpy(&out[i, 0], &table[rows[i], 0], size)
    return bad


def take_half(
    const uint16_t[:, ::1] table not None,  # in   (V, O), bits of float16
    const int[::1] rows not None,           # in   (N,), rows, or -1
    float[:, ::1] out not None,             # out  (N, O)
):
    """out[i] = table[rows[i]] as float32, or zeros.

    The bits of exponent and fraction, moved to where float32 has them, are the number
    divided by 2**112, the difference between the two biases. Infinity and NaN have
    all bits of the exponent set.
    """
    cdef Py_ssize_t i, bad = -1, o, width = table.shape[1]
    cdef const uint16_t* row
    cdef float* to
    cdef uint32_t bits, carries = 0
    cdef float number, scale = 5192296858534827628530496329220096.0
    if width == 0:
        return bad
    with nogil:
        for i in range(rows.shape[0]):
            to = &out[i, 0]
            if rows[i] < 0 or rows[i] >= table.shape[0]:
                memset(to, 0, width * sizeof(float))
                bad = bad if rows[i] == -1 else i
                continue
            row = &table[rows[i], 0]
            for o in range(width):
                # The shift repeats the sign, in bits that the mask clears again.
                bits = (<uint32_t><int><int16_t>row[o] << 13) & 0x8FFFE000U
                # Bit 28 is set if all bits of the exponent are.
                carries |= bits + (1 << 23)
                memcpy(&number, &bits, sizeof(bits))
                to[o] = number * scale
            if carries & (1 << 28):
                carries = 0
                for o in range(width):
                    if (row[o] & 0x7C00) == 0x7C00:
                        memcpy(&bits, &to[o], sizeof(bits))
                        bits |= 0x7F800000U
                        memcpy(&to[o], &bits, sizeof(bits))
    return bad


def take_int8(
    const signed char[:, ::1] table not None,  # in   (V, O)
    const float[::1] scales not None,          # in   (V,)
    const int[::1] rows not None,              # in   (N,), rows, or -1
    float[:, ::1] out not None,                # out  (N, O)
):
    """out[i] = table[rows[i]] * scales[rows[i]], or zeros."""
    cdef Py_ssize_t i, bad = -1, o, width = table.shape[1]
    cdef const signed char* row
    cdef float scale
    cdef float* to
    if width == 0:
        return bad
    with nogil:
        for i in range(rows.shape[0]):
            to = &out[i, 0]
            if rows[i] < 0 or rows[i] >= table.shape[0]:
                memset(to, 0, width * sizeof(float))
                bad = bad if rows[i] == -1 else i
                continue
            row = &table[rows[i], 0]
            scale = scales[rows[i]]
            for o in range(width):
                to[o] = row[o] * scale
    return bad


def take_codes(
    const unsigned char[:, ::1] codes not None,  # in   (V, P)
    const float[:, ::1] centroids not None,      # in   (256, O)
    const int[::1] starts not None,              # in   (P + 1,), part p of a row is
                                                 #      columns starts[p]:starts[p + 1]
    const int[::1] rows not None,                # in   (N,), rows, or -1
    float[:, ::1] out not None,                  # out  (N, O)
):
    """out[i] = the centroids that the codes name, side by side; or zeros."""
    cdef Py_ssize_t i, bad = -1, p, o, width = centroids.shape[1]
    cdef const float* centroid
    cdef float* to
    if width == 0:
        return bad
    with nogil:
        for i in range(rows.shape[0]):
            to = &out[i, 0]
            if rows[i] < 0 or rows[i] >= codes.shape[0]:
                memset(to, 0, width * sizeof(float))
                bad = bad if rows[i] == -1 else i
                continue
            for p in range(codes.shape[1]):
                centroid = &centroids[codes[rows[i], p], 0]
                for o in range(starts[p], starts[p + 1]):
                    to[o] = centroid[o]
    return bad


cdef inline Py_ssize_t next_char(
    const unsigned char* text, Py_ssize_t at, Py_ssize_t end
) noexcept nogil:
    # UTF-8 continuation bytes are 10xxxxxx.
    at += 1
    while at < end and (text[at] & 0xC0) == 0x80:
        at += 1
    return at


cdef inline Py_ssize_t write_hashes(
    const unsigned char* text,
    Py_ssize_t size,
    int n_hashes,
    uint32_t seed,
    uint32_t n_rows,
    int* out,
) noexcept nogil:
    # Rows of one n-gram; n_hashes 0 means the one of fastText.
    cdef uint64_t[2] hashes
    cdef uint32_t h = FNV_OFFSET
    cdef Py_ssize_t i
    if n_hashes:
        hash128_x64(text, <int>size, seed, hashes)
        for i in range(n_hashes):
            out[i] = <int>(<uint32_t>(hashes[i >> 1] >> (32 * (i & 1))) % n_rows)
        return n_hashes
    for i in range(size):
        # fastText takes a byte as a signed number.
        h = (h ^ <uint32_t><int><signed char>text[i]) * FNV_PRIME
    out[0] = <int>(h % n_rows)
    return 1


cdef Py_ssize_t walk_ngrams(
    const unsigned char* text,
    Py_ssize_t size,
    int minn,
    int maxn,
    int n_hashes,
    uint32_t seed,
    uint32_t n_rows,
    int* out,
) noexcept nogil:
    # Writes the rows of a word, unless out is NULL, and returns how many there are.
    cdef Py_ssize_t begin = 0, end, count = 0
    cdef int n, step = max(1, n_hashes)
    if size == 0:
        return 0
    if n_hashes:
        if out != NULL:
            write_hashes(text, size, n_hashes, seed, n_rows, out)
        count += step
    while begin < size:
        end = begin
        n = 0
        while end < size and n < maxn:
            end = next_char(text, end, size)
            n += 1
            # fastText leaves out the bare marks of begin and end.
            if n < minn or (
                not n_hashes and n == 1 and (begin == 0 or end == size)
            ):
                continue
            if out != NULL:
                write_hashes(
                    text + begin, end - begin, n_hashes, seed, n_rows, out + count
                )
            count += step
        begin = next_char(text, begin, size)
    return count


def count_ngrams(
    const unsigned char[::1] text not None,  # in   UTF-8 of all words, joined
    const int64_t[::1] ends not None,        # in   (T + 1,), word t is ends[t:t + 2]
    int minn,
    int maxn,                                # in   0 <= minn <= maxn
    int n_hashes,                            # in   0 for fastText, else 1..4
    uint32_t seed,
    int[::1] starts not None,                # out  (T + 1,)
):
    """starts[t + 1] - starts[t] = rows of word t. Returns how many there are in all.

    If that is 2**31 or more, starts can't be used.
    """
    cdef Py_ssize_t t, total = 0
    cdef const unsigned char* base = &text[0] if text.shape[0] else NULL
    starts[0] = 0
    with nogil:
        for t in range(ends.shape[0] - 1):
            total += walk_ngrams(
                base + ends[t],
                ends[t + 1] - ends[t],
                minn,
                maxn,
                n_hashes,
                seed,
                1,
                NULL,
            )
            starts[t + 1] = <int>total
    return total


def ngram_rows(
    const unsigned char[::1] text not None,  # in   as for count_ngrams
    const int64_t[::1] ends not None,        # in
    int minn,
    int maxn,
    int n_hashes,
    uint32_t seed,
    uint32_t n_rows,                         # in   1..2**31-1
    const int[::1] starts not None,          # in   (T + 1,), made by count_ngrams
    int[::1] out not None,                   # out  (starts[T],)
):
    """out[starts[t]:starts[t + 1]] = the rows of word t."""
    cdef Py_ssize_t t
    if not text.shape[0] or not out.shape[0] or not n_rows:
        return
    with nogil:
        for t in range(ends.shape[0] - 1):
            if starts[t] < starts[t + 1]:
                walk_ngrams(
                    &text[0] + ends[t],
                    ends[t + 1] - ends[t],
                    minn,
                    maxn,
                    n_hashes,
                    seed,
                    n_rows,
                    &out[0] + starts[t],
                )
