/* Nothing but memory limits this one, which likes long rows. */
#define LANES 128
#include "blocks.h"

/* h_t = a_t h_{t-1} + b_t */
INLINE void NAME(linear_forward_block)(const REAL *restrict a, int64_t a_pitch, const REAL *restrict b, int64_t b_pitch,
                                       const REAL *h0, REAL *restrict h, REAL *last, const uint8_t *reset, int64_t reverse,
                                       int64_t start, int64_t length, int64_t channels, int stream, int64_t n) {
    REAL state[LANES], as[LANES], bs[LANES], hs[LANES];
    NAME(load_or_zero)(state, h0, n);
    for (int64_t q = 0; q < length; q++) {
        int64_t row = start + (reverse ? length - 1 - q : q);
        const REAL *av = NAME(row)(a + row * a_pitch, as, n), *bv = NAME(row)(b + row * b_pitch, bs, n);
        REAL *out = NAME(room)(h + row * channels, hs, n, stream);
        if (reset && reset[row]) EACH_LANE state[k] = 0;
        EACH_LANE out[k] = state[k] = av[k] * state[k] + bv[k];
        NAME(done)(h + row * channels, out, n, stream);
    }
    NAME(store)(last, state, n);
}

void NAME(linear_forward)(const REAL *a, int64_t a_pitch, const REAL *b, int64_t b_pitch, const REAL *h0, REAL *h, REAL *last,
                          const uint8_t *reset, int64_t reverse, const int64_t *start, const int64_t *length,
                          int64_t sequences, int64_t rows, int64_t channels, int64_t threads) {
    int stream = streams(3 * rows * channels * sizeof(REAL), channels * sizeof(REAL), h);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES, at = s * channels + d;
#define BLOCK(n) NAME(linear_forward_block)(a + d, a_pitch, b + d, b_pitch, h0 ? h0 + at : 0, h + d, last + at, reset, reverse, start[s], length[s], channels, stream, n)
            if (n == LANES) BLOCK(LANES);
            else if (n == LANES / 2) BLOCK(LANES / 2);
            else BLOCK(n);
#undef BLOCK
            stream_end();
        }
}

/* v_t = g_t + a_{t+1} v_{t+1};  db = v;  da_t = v_t h_{t-1};  dh0 = a_1 v_1 */
INLINE void NAME(linear_backward_block)(const REAL *restrict a, int64_t a_pitch, const REAL *restrict h, const REAL *restrict g,
                                        int64_t g_pitch, const REAL *g_last, const REAL *h0, REAL *restrict da,
                                        REAL *restrict db, REAL *dh0, const uint8_t *reset, int64_t reverse, int64_t start,
                                        int64_t length, int64_t channels, int stream, int64_t n) {
    REAL carry[LANES], as[LANES], gs[LANES], hs[LANES], das[LANES], dbs[LANES], zero[LANES];
    NAME(load_or_zero)(carry, g_last, n);
    EACH_LANE zero[k] = 0;
    for (int64_t q = length - 1; q >= 0; q--) {
        int64_t row = start + (reverse ? length - 1 - q : q);
        int cut = reset && reset[row];
        const REAL *earlier = NAME(before)(h, h0, row, q, channels, reverse, cut);
        const REAL *av = NAME(row)(a + row * a_pitch, as, n), *gv = NAME(row)(g + row * g_pitch, gs, n);
        const REAL *before = earlier ? NAME(row)(earlier, hs, n) : zero;
        REAL *ov = NAME(room)(db + row * channels, dbs, n, stream), *oa = NAME(room)(da + row * channels, das, n, stream);
        EACH_LANE {
            REAL v = carry[k] + gv[k];
            ov[k] = v;
            oa[k] = v * before[k];
            carry[k] = av[k] * v;
        }
        if (cut) EACH_LANE carry[k] = 0;
        NAME(done)(db + row * channels, ov, n, stream);
        NAME(done)(da + row * channels, oa, n, stream);
    }
    if (dh0) NAME(store)(dh0, carry, n);
}

void NAME(linear_backward)(const REAL *a, int64_t a_pitch, const REAL *h, const REAL *g, int64_t g_pitch, const REAL *g_last,
                           const REAL *h0, REAL *da, REAL *db, REAL *dh0, const uint8_t *reset, int64_t reverse,
                           const int64_t *start, const int64_t *length, int64_t sequences, int64_t rows, int64_t channels, int64_t threads) {
    int stream = streams(5 * rows * channels * sizeof(REAL), channels * sizeof(REAL), da) && (uintptr_t)db % 64 == 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES, at = s * channels + d;
#define BLOCK(n) NAME(linear_backward_block)(a + d, a_pitch, h + d, g + d, g_pitch, g_last ? g_last + at : 0, h0 ? h0 + at : 0, da + d, db + d, dh0 ? dh0 + at : 0, reset, reverse, start[s], length[s], channels, stream, n)
            if (n == LANES) BLOCK(LANES);
            else if (n == LANES / 2) BLOCK(LANES / 2);
            else BLOCK(n);
#undef BLOCK
            stream_end();
        }
}
