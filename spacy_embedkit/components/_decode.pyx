"""CPU kernels of greedy decoding, for the entity recognizer and the parser.

Design: as in _ops.pyx, the loops neither check nor allocate nor raise.
components/decoding.py, their only caller, does that. N is the number of tokens of all
docs, one doc after another; each token is named by its place among them, 0..N-1. F is
the number of feature tokens of a state, P of maxout pieces, H the hidden width, C the
number of classes. Moves have the numbers, and are valid under the conditions, of
spaCy's BiluoPushDown and ArcEager.
"""

from libc.stdint cimport int8_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef enum EntityMove:
    MISSING, BEGIN, IN, LAST, UNIT, OUT

cdef enum ArcMove:
    SHIFT, REDUCE, LEFT, RIGHT, BREAK


# No class, and no token.
cdef int NONE = -1


cdef struct Network:
    # table: (N + 1, F, P, H), row 0 for no token. bias: (P, H). upper: (C, H), or NULL
    # where the hidden values are the scores. upper_bias: (C,).
    const float* table
    const float* bias
    const float* upper
    const float* upper_bias
    int F
    int P
    int H
    int C


cdef Network network(
    const float[:, ::1] table,
    const float[:, ::1] bias,
    const float[:, ::1] upper,
    const float[::1] upper_bias,
) noexcept nogil:
    cdef Network net
    net.table, net.bias = &table[0, 0], &bias[0, 0]
    net.P, net.H = <int>bias.shape[0], <int>bias.shape[1]
    net.F = <int>(table.shape[1] // (net.P * net.H))
    net.C = <int>upper.shape[0] if upper.shape[0] else net.H
    net.upper = &upper[0, 0] if upper.shape[0] else NULL
    net.upper_bias = &upper_bias[0] if upper.shape[0] else NULL
    return net


cdef void hidden_state(
    const Network* net, const int* tokens, float* sums, float* out
) noexcept nogil:
    """Compute the hidden values of a state: the largest of the pieces of the sum.

    tokens: (F,), -1 for none. sums: (P, H), scratch. out: (H,).
    """
    cdef Py_ssize_t f, p, i, size = net.P * net.H
    cdef const float* row
    for f in range(net.F):
        row = net.table + ((tokens[f] + 1) * net.F + f) * size
        if f == 0:
            memcpy(sums, row, size * sizeof(float))
        else:
            for i in range(size):
                sums[i] += row[i]
    for i in range(size):
        sums[i] += net.bias[i]
    memcpy(out, sums, net.H * sizeof(float))
    for p in range(1, net.P):
        row = sums + p * net.H
        for i in range(net.H):
            out[i] = row[i] if row[i] > out[i] else out[i]


cdef void score_all(
    const Network* net, const float* columns, const float* hidden, float* out
) noexcept nogil:
    """Compute the scores of all classes but for the bias, without any packing.

    columns: upper transposed, (H, C).
    """
    cdef Py_ssize_t k, c, n = net.C, whole = net.H - net.H % 4
    cdef const float* column = columns
    for c in range(n):
        out[c] = 0
    for k in range(0, whole, 4):
        for c in range(n):
            out[c] += (
                hidden[k] * column[c]
                + hidden[k + 1] * column[n + c]
                + hidden[k + 2] * column[2 * n + c]
                + hidden[k + 3] * column[3 * n + c]
            )
        column += 4 * n
    for k in range(whole, net.H):
        for c in range(n):
            out[c] += hidden[k] * column[c]
        column += n


cdef float score(const Network* net, const float* hidden, int label) noexcept nogil:
    """Compute the score of one class."""
    cdef float[8] lanes
    cdef float out = 0
    cdef Py_ssize_t i, k, whole = net.H - net.H % 8
    cdef const float* row
    if net.upper == NULL:
        return hidden[label]
    row = net.upper + <Py_ssize_t>label * net.H
    for k in range(8):
        lanes[k] = 0
    for i in range(0, whole, 8):
        for k in range(8):
            lanes[k] += hidden[i + k] * row[i + k]
    for k in range(8):
        out += lanes[k]
    for i in range(whole, net.H):
        out += hidden[i] * row[i]
    return out + net.upper_bias[label]


def hidden_states(
    const float[:, ::1] table not None,  # in       (N + 1, F * P * H)
    const float[:, ::1] bias not None,   # in       (P, H)
    const int[:, ::1] tokens not None,   # in       (M, F), entries -1..N-1
    float[::1] sums not None,            # scratch  (P * H,)
    float[:, ::1] out not None,          # out      (M, H)
):
    """out[j] = the hidden values of the state with the feature tokens tokens[j]."""
    cdef Py_ssize_t j
    cdef Network net = network(table, bias, bias[:0], bias[0])
    with nogil:
        for j in range(tokens.shape[0]):
            hidden_state(&net, &tokens[j, 0], &sums[0], &out[j, 0])


cdef struct EntityState:
    # What the token at hand and the next one had before, and the entity that is open.
    int iob
    uint64_t type
    int next_iob
    int next_start
    bint is_space
    bint is_last
    bint is_open
    uint64_t label


cdef inline bint can_take(
    const EntityState* s, int move, uint64_t label
) noexcept nogil:
    if move == BEGIN:
        if s.is_open or s.is_last or label == 0 or s.iob == 1:
            return False
        if s.iob == 3:
            return label == s.type and s.next_iob == 1
        return s.next_iob != 3 and s.next_start != 1 and not s.is_space
    if move == IN:
        if not s.is_open or s.is_last or label == 0 or label != s.label:
            return False
        if s.iob == 3 or s.next_iob == 3:
            return False
        if s.iob == 1:
            return s.next_iob != 0 and s.next_iob != 2 and label == s.type
        return s.next_start != 1
    if move == LAST:
        if label == 0 or not s.is_open:
            return False
        if s.iob == 1 and s.next_iob != 1:
            return label == s.type
        return label == s.label and s.next_iob != 1
    if move == UNIT:
        if label == 0:
            # A blocked token, even where an entity is open.
            return s.type == 0 and s.iob == 3
        if s.is_open or s.next_iob == 1:
            return False
        if s.iob == 3:
            return label == s.type
        return not s.is_space
    if move == OUT:
        return not s.is_open and s.iob != 3 and s.iob != 1
    return False


cdef inline int best_entity_class(
    const float* scores,
    const EntityState* s,
    const int* moves,
    const uint64_t* labels,
    int n_classes,
) noexcept nogil:
    """Return the first of the valid classes with the highest score, or NONE."""
    cdef int c, out = NONE
    for c in range(n_classes):
        if out == NONE or scores[c] > scores[out]:
            if can_take(s, moves[c], labels[c]):
                out = c
    return out


cdef inline int better_class(
    const Network* net, const float* hidden, int a, int b
) noexcept nogil:
    """Return the class with the higher score, the lower one of equals.

    Either may be NONE.
    """
    if a == NONE or b == NONE:
        return max(a, b)
    if b < a:
        a, b = b, a
    return b if score(net, hidden, b) > score(net, hidden, a) else a


cdef inline void set_entity_tokens(
    int* tokens, int n_features, int first, int token, int end
) noexcept nogil:
    """Fill in the feature tokens of a state whose open entity begins at first."""
    cdef int f
    tokens[0] = token
    for f in range(1, n_features):
        tokens[f] = NONE
    if n_features == 3:
        tokens[1], tokens[2] = first, token - 1
    elif n_features == 6:
        for f in range(1, min(6, token - first + 1)):
            tokens[f] = first + f - 1
    elif n_features >= 8 and token + 1 < end:
        tokens[1] = token + 1


def decode_entities(
    const float[:, ::1] table not None,    # in       (N + 1, F * P * H)
    const float[:, ::1] bias not None,     # in       (P, H)
    const float[:, ::1] upper not None,    # in       (C, H), or (0, H)
    const float[::1] upper_bias not None,  # in       (C,), or any
    const float[:, ::1] scores not None,   # in       (N, C), where no entity is open
    const int[::1] moves not None,         # in       (C,)
    const uint64_t[::1] labels not None,   # in       (C,)
    const int[:, ::1] inside not None,     # in       (C, 2), for a class of BEGIN those
                                           #          of IN and LAST, or -1
    const int[::1] lengths not None,       # in       (D,), their sum is N
    const uint64_t[:, ::1] attrs not None,  # in      (N, 4 or more), ENT_IOB, ENT_TYPE,
                                            #         SENT_START, IS_SPACE
    int[::1] tokens not None,              # scratch  (F,)
    float[:, ::1] sums not None,           # scratch  (P + 1, H)
    uint64_t[:, ::1] out not None,         # out      (N, 2), ENT_IOB and ENT_TYPE
):
    """Find the entities of the docs; an entity that is never closed is none."""
    cdef Network net = network(table, bias, upper, upper_bias)
    cdef EntityState state
    cdef Py_ssize_t d, i, k, first, begin, end = 0
    cdef int c, c_in, c_last, guess
    cdef bint is_free
    cdef float* hidden = &sums[net.P, 0]
    with nogil:
        for d in range(lengths.shape[0]):
            begin, end = end, end + lengths[d]
            state.is_open, state.label = False, 0
            first = begin
            c_in = c_last = NONE
            for i in range(begin, end):
                out[i, 0], out[i, 1] = 2, 0
            for i in range(begin, end):
                state.is_last = i + 1 == end
                state.iob, state.type = <int>attrs[i, 0], attrs[i, 1]
                state.is_space = attrs[i, 3] != 0
                state.next_iob = 0 if state.is_last else <int>attrs[i + 1, 0]
                state.next_start = 0 if state.is_last else <int>attrs[i + 1, 2]
                is_free = state.iob in (0, 2) and state.next_iob in (0, 2)
                if not state.is_open:
                    guess = best_entity_class(
                        &scores[i, 0], &state, &moves[0], &labels[0], net.C
                    )
                elif is_free and (state.is_last or state.next_start == 1):
                    guess = c_last
                else:
                    set_entity_tokens(&tokens[0], net.F, <int>first, <int>i, <int>end)
                    hidden_state(&net, &tokens[0], &sums[0, 0], hidden)
                    guess = NONE
                    if is_free:
                        # The label is known: the entity continues or ends here.
                        guess = better_class(&net, hidden, c_in, c_last)
                    else:
                        for c in range(net.C):
                            if can_take(&state, moves[c], labels[c]):
                                guess = better_class(&net, hidden, guess, c)
                if guess == NONE:
                    break
                if moves[guess] == BEGIN:
                    state.is_open, state.label, first = True, labels[guess], i
                    c_in, c_last = inside[guess, 0], inside[guess, 1]
                elif moves[guess] == LAST:
                    state.is_open = False
                    for k in range(first, i + 1):
                        out[k, 0], out[k, 1] = 1, state.label
                    out[first, 0] = 3
                elif moves[guess] == UNIT:
                    state.is_open = False
                    if labels[guess]:
                        out[i, 0], out[i, 1] = 3, labels[guess]


cdef struct ArcState:
    # The tokens of the doc, and how far its stack and its buffer are.
    int begin
    int end
    int next
    int depth
    int n_back


cdef struct Arcs:
    # By token. stack, back: Of each doc, what lies on the stack, and what came from
    # there back to the buffer, from the place of its first token on. left, right: The
    # child that came last on that side; sibling: the one before. starts: 1 where a
    # sentence starts, -1 where it must not.
    int* stack
    int* back
    int* heads
    int* classes
    int* left
    int* right
    int* sibling
    int8_t* starts
    uint8_t* was_back


cdef inline int on_stack(const ArcState* s, const Arcs* arcs, int i) noexcept nogil:
    return arcs.stack[s.begin + s.depth - 1 - i] if i < s.depth else -1


cdef inline int in_buffer(const ArcState* s, const Arcs* arcs, int i) noexcept nogil:
    cdef int token
    if i < s.n_back:
        return arcs.back[s.begin + s.n_back - 1 - i]
    token = s.next + i - s.n_back
    return token if token < s.end else -1


cdef inline int child(
    const int* last, const int* sibling, int head, int n
) noexcept nogil:
    """Return the n-th child from the end, 1 or 2, or -1."""
    cdef int found = last[head] if head >= 0 else -1
    return sibling[found] if n == 2 and found >= 0 else found


cdef inline int valid_moves(const ArcState* s, const Arcs* arcs) noexcept nogil:
    """Return a bit for each move that is valid."""
    cdef int n = s.end - s.next + s.n_back
    cdef int b0 = in_buffer(s, arcs, 0), b1 = in_buffer(s, arcs, 1)
    cdef bint starts = b0 >= 0 and arcs.starts[b0] == 1
    cdef int out = 0
    if s.depth == 0 or (n >= 2 and not starts and not arcs.was_back[b0]):
        out |= 1 << SHIFT
    if s.depth and (n == 0 or s.depth > 1 or b0 < 0 or arcs.starts[b0] != -1):
        out |= 1 << REDUCE
    if s.depth and n and not starts:
        out |= (1 << LEFT) | (1 << RIGHT)
    if n >= 2 and b1 == b0 + 1 and arcs.starts[b1] == 0:
        out |= 1 << BREAK
    return out


cdef inline void set_arc_tokens(
    int* tokens, int n_features, const ArcState* s, const Arcs* arcs
) noexcept nogil:
    """Fill in the feature tokens of a state of the parser."""
    cdef int b0 = in_buffer(s, arcs, 0), s0 = on_stack(s, arcs, 0), s1, f
    cdef const int* left = arcs.left
    cdef const int* right = arcs.right
    cdef const int* sibling = arcs.sibling
    tokens[0] = b0
    if n_features == 2:
        tokens[1] = s0
    elif n_features < 8:
        for f in range(1, n_features):
            tokens[f] = -1
    else:
        s1 = on_stack(s, arcs, 1)
        tokens[1], tokens[2], tokens[3] = in_buffer(s, arcs, 1), s0, s1
        tokens[4] = on_stack(s, arcs, 2)
        if n_features == 8:
            tokens[5] = child(left, sibling, b0, 1)
            tokens[6] = child(left, sibling, s0, 1)
            tokens[7] = child(right, sibling, s0, 1)
        else:
            tokens[5] = child(left, sibling, s0, 1)
            # spaCy means the second child on the left, and overwrites it.
            tokens[6] = child(right, sibling, s0, 1)
            tokens[7] = child(left, sibling, b0, 1)
            tokens[8] = child(right, sibling, s0, 2)
            tokens[9] = child(left, sibling, s1, 1)
            tokens[10] = child(left, sibling, s1, 2)
            tokens[11] = child(right, sibling, s1, 1)
            tokens[12] = child(right, sibling, s1, 2)


cdef inline bint add_arc(Arcs* arcs, int head, int token, int c) noexcept nogil:
    """Attach a token, and detach it from its head; return False if that is not easy."""
    cdef int old = arcs.heads[token]
    cdef int* last
    if old >= 0:
        last = &arcs.left[old] if old > token else &arcs.right[old]
        if last[0] != token:
            return False
        last[0] = arcs.sibling[token]
    last = &arcs.left[head] if head > token else &arcs.right[head]
    arcs.sibling[token] = last[0]
    last[0] = token
    arcs.heads[token], arcs.classes[token] = head, c
    return True


cdef inline int best_class(
    const float* scores,
    const float* bias,
    const int* moves,
    const uint8_t* subtoken,
    int n_classes,
    int valid,
    bint is_next,
) noexcept nogil:
    """Return the first of the valid classes with the highest score, or NONE.

    bias: Added to the scores, unless it is NULL. is_next: Whether an arc would join two
    neighbours.
    """
    cdef int c, out = NONE
    cdef float found, best = 0
    for c in range(n_classes):
        if not (valid >> moves[c]) & 1 or (subtoken[c] and not is_next):
            continue
        found = scores[c] if bias == NULL else scores[c] + bias[c]
        if out == NONE or found > best:
            out, best = c, found
    return out


cdef inline bint take(ArcState* s, Arcs* arcs, int c, int move) noexcept nogil:
    """Take the move of a class, or NONE; return False if it can't be followed."""
    cdef int b0 = in_buffer(s, arcs, 0), s0 = on_stack(s, arcs, 0)
    cdef bint ok = True
    if move == NONE:
        # What came back to the buffer stays there.
        s.depth, s.next = 0, s.end
        return True
    if move == LEFT:
        ok = add_arc(arcs, b0, s0, c)
        arcs.was_back[b0] = False
        s.depth -= 1
    elif move == BREAK:
        arcs.starts[b0 + 1] = 1
    elif move == REDUCE:
        if arcs.heads[s0] < 0 and s.depth > 1:
            arcs.was_back[s0] = True
            arcs.back[s.begin + s.n_back] = s0
            s.n_back += 1
        s.depth -= 1
    else:
        if move == RIGHT:
            ok = add_arc(arcs, s0, b0, c)
        if s.n_back:
            s.n_back -= 1
        else:
            s.next += 1
        arcs.stack[s.begin + s.depth] = b0
        s.depth += 1
    return ok


def decode_arcs(
    const float[:, ::1] table not None,    # in       (N + 1, F * P * H)
    const float[:, ::1] bias not None,     # in       (P, H)
    const float[:, ::1] upper not None,    # in       (C, H), or (0, H)
    const float[::1] upper_bias not None,  # in       (C,), or any
    const float[:, ::1] columns not None,  # in       (H, C), upper transposed
    const int[::1] moves not None,         # in       (C,)
    const uint8_t[::1] subtoken not None,  # in       (C,), arcs to neighbours alone
    const int[::1] lengths not None,       # in       (D,), their sum is N
    int8_t[::1] starts not None,           # in out   (N,), of sentences: -1, 0 or 1
    int[:, ::1] links not None,            # scratch  (5, N)
    uint8_t[::1] was_back not None,        # scratch  (N,), all 0
    float[:, ::1] sums not None,           # scratch  (P + 1, H)
    float[::1] scores not None,            # scratch  (C,)
    int[::1] heads not None,               # out      (N,), -1 for none
    int[::1] classes not None,             # out      (N,), of the arc to the head
):
    """Parse the docs.

    Returns False if an arc was to be replaced that isn't its head's last one.
    """
    cdef Network net = network(table, bias, upper, upper_bias)
    cdef Arcs arcs
    cdef ArcState s
    cdef int[16] tokens
    cdef float* hidden = &sums[net.P, 0]
    cdef const float* found = hidden
    cdef Py_ssize_t d, i
    cdef int guess
    cdef bint ok = True
    arcs.stack, arcs.back = &links[0, 0], &links[1, 0]
    arcs.left, arcs.right, arcs.sibling = &links[2, 0], &links[3, 0], &links[4, 0]
    arcs.heads, arcs.classes = &heads[0], &classes[0]
    arcs.starts, arcs.was_back = &starts[0], &was_back[0]
    s.end = 0
    with nogil:
        for i in range(heads.shape[0]):
            heads[i] = classes[i] = NONE
            arcs.left[i] = arcs.right[i] = arcs.sibling[i] = NONE
        for d in range(lengths.shape[0]):
            s.begin = s.next = s.end
            s.end += lengths[d]
            s.depth = s.n_back = 0
            while ok and (s.depth or s.n_back or s.next < s.end):
                set_arc_tokens(tokens, net.F, &s, &arcs)
                hidden_state(&net, tokens, &sums[0, 0], hidden)
                if net.upper != NULL:
                    score_all(&net, &columns[0, 0], hidden, &scores[0])
                    found = &scores[0]
                guess = best_class(
                    found, net.upper_bias, &moves[0], &subtoken[0], net.C,
                    valid_moves(&s, &arcs),
                    on_stack(&s, &arcs, 0) == in_buffer(&s, &arcs, 0) - 1
                )
                ok = take(&s, &arcs, guess, moves[guess] if guess >= 0 else NONE)
    return ok
