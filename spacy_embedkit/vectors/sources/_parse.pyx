"""CPU kernel that reads vectors in text form.

As in _ops.pyx: no checks, no raising, no allocation, and directives in setup.py. The
text ends in a newline, which stops every loop over a field.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcpy

cdef extern from "Python.h":
    # Unlike strtod, the same in every locale.
    double PyOS_string_to_double(const char*, char**, void*) except? -1.0

cdef enum:
    GOOD, BLANK, BAD

cdef int MAX_EXACT = 22     # 10**22 is the largest power of ten that a double holds
cdef int MAX_DIGITS = 19    # as many digits always fit into 64 bits
cdef double[23] POWERS = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
]


cdef inline bint is_space(unsigned char c) noexcept nogil:
    return c == c" " or c == c"\t" or c == c"\r"


cdef inline bint is_digit(unsigned char c) noexcept nogil:
    return <unsigned char>(c - c"0") <= 9


cdef bint slow_number(const char* begin, const char* end, float* out) noexcept with gil:
    # Whatever float() takes, except underscores.
    cdef char* stop = NULL
    try:
        out[0] = <float>PyOS_string_to_double(begin, &stop, NULL)
    except ValueError:
        return False
    return stop == end


cdef inline bint rounds_safely(double x) noexcept nogil:
    # Whether a double that is a few units off gives the right float: it must not be
    # next to the middle between two floats.
    cdef uint64_t bits
    memcpy(&bits, &x, sizeof(x))
    bits &= (1 << 29) - 1
    return (
        1.2e-38 < x < 3.4e38
        and not (1 << 28) - 8 <= <int64_t>bits <= (1 << 28) + 8
    )


cdef inline bint scale(uint64_t digits, int exponent, double* out) noexcept nogil:
    # out = digits * 10**exponent, if that is sure to give the float nearest to the
    # double nearest to it. One correctly rounded operation on exact values is.
    cdef double x = <double>digits
    if exponent > MAX_EXACT or exponent < -2 * MAX_EXACT:
        return False
    if exponent >= 0:
        x *= POWERS[exponent]
    elif exponent >= -MAX_EXACT:
        x /= POWERS[-exponent]
    else:
        x = x / POWERS[MAX_EXACT] / POWERS[-exponent - MAX_EXACT]
    out[0] = x
    if digits <= <uint64_t>1 << 53 and exponent >= -MAX_EXACT:
        return True
    return rounds_safely(x)


cdef inline Py_ssize_t parse_number(
    const unsigned char[::1] text, Py_ssize_t begin, float* out
) noexcept nogil:
    # Returns where the field ends, or -1 if it is not a number.
    cdef Py_ssize_t at = begin, first, n_digits
    cdef uint64_t digits = 0
    cdef int exponent = 0, power = 0
    cdef bint minus
    cdef double x
    if text[at] == c"-" or text[at] == c"+":
        at += 1
    first = at
    while is_digit(text[at]):
        digits = digits * 10 + (text[at] - c"0")
        at += 1
    n_digits = at - first
    if text[at] == c".":
        at += 1
        n_digits -= at
        exponent = <int>at
        while is_digit(text[at]):
            digits = digits * 10 + (text[at] - c"0")
            at += 1
        n_digits += at
        exponent -= <int>at
    if n_digits > 0 and text[at] | 0x20 == c"e":
        at += 1
        minus = text[at] == c"-"
        if minus or text[at] == c"+":
            at += 1
        if not is_digit(text[at]):
            return -1
        while is_digit(text[at]):
            # No need to go on where float() gives 0 or infinity, or takes over.
            power = min(power * 10 + (text[at] - c"0"), 1000)
            at += 1
        exponent += -power if minus else power
    if n_digits > MAX_DIGITS:
        while text[first] == c"0" or text[first] == c".":
            n_digits -= text[first] == c"0"
            first += 1
    if (
        0 < n_digits <= MAX_DIGITS
        and (is_space(text[at]) or text[at] == c"\n")
        and scale(digits, exponent, &x)
    ):
        out[0] = <float>(-x if text[begin] == c"-" else x)
        return at
    while not is_space(text[at]) and text[at] != c"\n":
        at += 1
    if slow_number(<const char*>&text[begin], <const char*>&text[at], out):
        return at
    return -1


cdef inline bint parse_numbers(
    const unsigned char[::1] text,
    Py_ssize_t at,
    Py_ssize_t end,
    float[:, ::1] rows,
    Py_ssize_t i,
) noexcept nogil:
    # Whether text[at:end] holds the numbers of row i and nothing else.
    cdef Py_ssize_t d
    for d in range(rows.shape[1]):
        while is_space(text[at]):
            at += 1
        at = parse_number(text, at, &rows[i, d])
        if at < 0:
            return False
    while is_space(text[at]):
        at += 1
    return at == end


cdef Py_ssize_t skip_back(
    const unsigned char[::1] text, Py_ssize_t begin, Py_ssize_t at, bint spaces
) noexcept nogil:
    # Where the spaces, or the other characters, that end at text[at] begin.
    while at > begin and is_space(text[at - 1]) == spaces:
        at -= 1
    return at


cdef int parse_line(
    const unsigned char[::1] text,
    Py_ssize_t begin,
    Py_ssize_t end,
    float[:, ::1] rows,
    Py_ssize_t i,
    int64_t[:, ::1] words,
) noexcept nogil:
    cdef Py_ssize_t at = begin, piece
    cdef float number
    if skip_back(text, begin, end, True) == begin:
        return BLANK
    if memchr(&text[begin], 0, end - begin) != NULL:
        return BAD
    while not is_space(text[at]) and at < end:
        at += 1
    words[i, 0] = begin
    words[i, 1] = at
    if parse_numbers(text, at, end, rows, i):
        return GOOD
    # A word with spaces in it: the numbers are the last fields. If the word ended in a
    # number, too, the line would rather have too many.
    at = skip_back(text, begin, end, True)
    for _ in range(rows.shape[1]):
        at = skip_back(text, begin, at, False)
        at = skip_back(text, begin, at, True)
    while at > begin and is_space(text[begin]):
        begin += 1
    piece = skip_back(text, begin, at, False)
    if at == begin or (piece > begin and parse_number(text, piece, &number) >= 0):
        return BAD
    words[i, 0] = begin
    words[i, 1] = at
    return GOOD if parse_numbers(text, at, end, rows, i) else BAD


def parse_lines(
    const unsigned char[::1] text not None,  # in   ends in a newline
    Py_ssize_t begin,                        # in   start of a line
    float[:, ::1] rows not None,             # out  (N, D)
    int64_t[:, ::1] words not None,          # out  (N, 2), begin and end of the word
    int64_t[::1] ends not None,              # out  (N,), place of the newline
    signed char[::1] status not None,        # out  (N,), 0 good, 1 blank, 2 bad
):
    """Read up to N lines of a word and D numbers; return how many there were.

    rows[i] and words[i] are set where status[i] is 0.
    """
    cdef Py_ssize_t i = 0, end, size = text.shape[0]
    with nogil:
        while i < rows.shape[0] and begin < size:
            end = <const unsigned char*>memchr(
                &text[begin], c"\n", size - begin
            ) - &text[0]
            status[i] = parse_line(text, begin, end, rows, i, words)
            ends[i] = end
            begin = end + 1
            i += 1
    return i
