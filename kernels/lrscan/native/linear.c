#include "blocks.h"

/* h_t = a_t h_{t-1} + b_t */
INLINE void NAME(linear_forward_block)(const REAL *restrict a, int64_t a_pitch, const REAL *restrict b, int64_t b_pitch,
                                       const REAL *h0, REAL *restrict h, REAL *last, const uint8_t *reset, int64_t reverse,
                                       int64_t start, int64_t length, int64_t channels, int64_t n) {
    REAL state[LANES], av[LANES], bv[LANES];
    NAME(load_or_zero)(state, h0, n);
    for (int64_t q = 0; q < length; q++) {
        int64_t row = start + (reverse ? length - 1 - q : q);
        NAME(load)(av, a + row * a_pitch, n);
        NAME(load)(bv, b + row * b_pitch, n);
        if (reset && reset[row]) EACH_LANE state[k] = 0;
        EACH_LANE state[k] = av[k] * state[k] + bv[k];
        NAME(store)(h + row * channels, state, n);
    }
    NAME(store)(last, state, n);
}

void NAME(linear_forward)(const REAL *a, int64_t a_pitch, const REAL *b, int64_t b_pitch, const REAL *h0, REAL *h, REAL *last,
                          const uint8_t *reset, int64_t reverse, const int64_t *start, const int64_t *length,
                          int64_t sequences, int64_t channels, int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES, at = s * channels + d;
#define BLOCK(n) NAME(linear_forward_block)(a + d, a_pitch, b + d, b_pitch, h0 ? h0 + at : 0, h + d, last + at, reset, reverse, start[s], length[s], channels, n)
            if (n == LANES) BLOCK(LANES);
            else BLOCK(n);
#undef BLOCK
        }
}

/* v_t = g_t + a_{t+1} v_{t+1};  db = v;  da_t = v_t h_{t-1};  dh0 = a_1 v_1 */
INLINE void NAME(linear_backward_block)(const REAL *restrict a, int64_t a_pitch, const REAL *restrict h, const REAL *restrict g,
                                        int64_t g_pitch, const REAL *g_last, const REAL *h0, REAL *restrict da,
                                        REAL *restrict db, REAL *dh0, const uint8_t *reset, int64_t reverse, int64_t start,
                                        int64_t length, int64_t channels, int64_t n) {
    REAL carry[LANES], av[LANES], before[LANES], gv[LANES];
    NAME(load_or_zero)(carry, g_last, n);
    for (int64_t q = length - 1; q >= 0; q--) {
        int64_t row = start + (reverse ? length - 1 - q : q);
        int cut = reset && reset[row];
        NAME(load)(av, a + row * a_pitch, n);
        NAME(load)(gv, g + row * g_pitch, n);
        NAME(load_or_zero)(before, NAME(before)(h, h0, row, q, channels, reverse, cut), n);
        EACH_LANE carry[k] += gv[k];
        NAME(store)(db + row * channels, carry, n);
        EACH_LANE before[k] *= carry[k];
        NAME(store)(da + row * channels, before, n);
        if (cut) EACH_LANE carry[k] = 0;
        else EACH_LANE carry[k] *= av[k];
    }
    if (dh0) NAME(store)(dh0, carry, n);
}

void NAME(linear_backward)(const REAL *a, int64_t a_pitch, const REAL *h, const REAL *g, int64_t g_pitch, const REAL *g_last,
                           const REAL *h0, REAL *da, REAL *db, REAL *dh0, const uint8_t *reset, int64_t reverse,
                           const int64_t *start, const int64_t *length, int64_t sequences, int64_t channels, int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES, at = s * channels + d;
#define BLOCK(n) NAME(linear_backward_block)(a + d, a_pitch, h + d, g + d, g_pitch, g_last ? g_last + at : 0, h0 ? h0 + at : 0, da + d, db + d, dh0 ? dh0 + at : 0, reset, reverse, start[s], length[s], channels, n)
            if (n == LANES) BLOCK(LANES);
            else BLOCK(n);
#undef BLOCK
        }
}
