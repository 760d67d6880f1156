/* Rows of LANES channels.
 *
 * Sequences are rows of matrices: sequence s owns rows start[s] .. start[s] + length[s] - 1 of every operand. Operands have
 * unit channel stride and a row pitch of their own. Channels are taken in blocks of LANES; a short last block is padded with
 * zeros in registers, so a channel's bits never depend on how many there are, nor on where a sequence was split.
 *
 * Each operator is a file, compiled for REAL = float or double.
 */
#include "lanes.h"

/* One row of LANES channels, n of them real. */
INLINE void NAME(load)(REAL *restrict to, const REAL *restrict from, int64_t n) {
    if (n == LANES) {
        EACH_LANE to[k] = from[k];
    } else {
        EACH_LANE to[k] = 0;
        for (int64_t k = 0; k < n; k++) to[k] = from[k];
    }
}

INLINE void NAME(load_or_zero)(REAL *restrict to, const REAL *restrict from, int64_t n) {
    if (from) NAME(load)(to, from, n);
    else EACH_LANE to[k] = 0;
}

INLINE void NAME(store)(REAL *restrict to, const REAL *restrict from, int64_t n) {
    if (n == LANES) {
        EACH_LANE to[k] = from[k];
    } else {
        for (int64_t k = 0; k < n; k++) to[k] = from[k];
    }
}

/* sigmoid(x) and 1 - sigmoid(x), each to full precision */
INLINE void NAME(gate)(REAL x, REAL *open, REAL *shut) {
    REAL e = NAME(exp_negative)(x < 0 ? x : -x), p = 1 / (1 + e), q = e * p;
    *open = x < 0 ? q : p;
    *shut = x < 0 ? p : q;
}

/* The state before row `row` of step q: the scan's own row, the first state, or zero after a reset. */
INLINE const REAL *NAME(before)(const REAL *h, const REAL *first, int64_t row, int64_t q, int64_t channels, int64_t reverse,
                                int cut) {
    if (cut) return 0;
    return q > 0 ? h + (row + (reverse ? 1 : -1)) * channels : first;
}
