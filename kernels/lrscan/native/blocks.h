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

/* A row to read: where it lies, or padded in `spare`. */
INLINE const REAL *NAME(row)(const REAL *from, REAL *spare, int64_t n) {
    if (n == LANES) return from;
    NAME(load)(spare, from, n);
    return spare;
}

/* A row to write: where it goes, or `spare`, from where `done` takes it past the caches or in part. */
INLINE REAL *NAME(room)(REAL *to, REAL *spare, int64_t n, int stream) { return n == LANES && !stream ? to : spare; }

INLINE void NAME(done)(REAL *to, const REAL *spare, int64_t n, int stream) {
    if (n != LANES) NAME(store)(to, spare, n);
    else if (stream) stream_bytes(to, spare, LANES * sizeof(REAL));
}

/* sigmoid(x) and 1 - sigmoid(x), each to full precision, from e = exp(-|x|) and p = 1 / (1 + e) */
INLINE REAL NAME(open)(REAL x, REAL e, REAL p) { return x < 0 ? e * p : p; }
INLINE REAL NAME(shut)(REAL x, REAL e, REAL p) { return x < 0 ? p : e * p; }
INLINE REAL NAME(faded)(REAL x) { return NAME(exp_negative)(x < 0 ? x : -x); }
