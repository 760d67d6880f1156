#include "vectors.h"

/* h_t = a_t h_{t-1} + b_t */
INLINE void NAME(linear_forward_block)(const REAL *restrict a, int64_t a_pitch, const REAL *restrict b, int64_t b_pitch,
                                       const REAL *h0, REAL *restrict h, REAL *last, const uint8_t *reset, int64_t reverse,
                                       int64_t start, int64_t length, int64_t channels, int stream, int64_t vectors, int64_t n) {
    VECTOR state[VECTORS];
    EACH_VECTOR state[j] = NAME(get)(h0 ? h0 + j * WIDTH : 0, n);
    for (int64_t q = 0; q < length; q++) {
        int64_t row = start + (reverse ? length - 1 - q : q);
        const REAL *av = a + row * a_pitch, *bv = b + row * b_pitch;
        REAL *out = h + row * channels;
        if (reset && reset[row]) EACH_VECTOR state[j] = (VECTOR){0};
        EACH_VECTOR {
            state[j] = NAME(get)(av + j * WIDTH, n) * state[j] + NAME(get)(bv + j * WIDTH, n);
            NAME(put)(out + j * WIDTH, state[j], n, stream);
        }
    }
    EACH_VECTOR NAME(put)(last + j * WIDTH, state[j], n, 0);
}

void NAME(linear_forward)(const REAL *a, int64_t a_pitch, const REAL *b, int64_t b_pitch, const REAL *h0, REAL *h, REAL *last,
                          const uint8_t *reset, int64_t reverse, const int64_t *start, const int64_t *length,
                          int64_t sequences, int64_t rows, int64_t channels, int64_t threads) {
    int stream = streams(3 * rows * channels * sizeof(REAL), channels * sizeof(REAL), h);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++) {
        const int64_t own = s * channels;
#define BLOCK(vectors, n) \
    NAME(linear_forward_block)(a + d, a_pitch, b + d, b_pitch, h0 ? h0 + own + d : 0, h + d, last + own + d, reset, reverse, \
                               start[s], length[s], channels, stream, vectors, n)
        EACH_BLOCK_OF_VECTORS(BLOCK)
#undef BLOCK
        stream_end();
    }
}

/* v_t = g_t + a_{t+1} v_{t+1};  db = v;  da_t = v_t h_{t-1};  dh0 = a_1 v_1 */
INLINE void NAME(linear_backward_block)(const REAL *restrict a, int64_t a_pitch, const REAL *restrict h, const REAL *restrict g,
                                        int64_t g_pitch, const REAL *g_last, const REAL *h0, REAL *restrict da,
                                        REAL *restrict db, REAL *dh0, const uint8_t *reset, int64_t reverse, int64_t start,
                                        int64_t length, int64_t channels, int stream, int64_t vectors, int64_t n) {
    VECTOR carry[VECTORS];
    EACH_VECTOR carry[j] = NAME(get)(g_last ? g_last + j * WIDTH : 0, n);
    for (int64_t q = length - 1; q >= 0; q--) {
        int64_t row = start + (reverse ? length - 1 - q : q);
        int cut = reset && reset[row];
        const REAL *av = a + row * a_pitch, *gv = g + row * g_pitch;
        const REAL *before = NAME(before)(h, h0, row, q, channels, reverse, cut);
        REAL *ov = db + row * channels, *oa = da + row * channels;
        EACH_VECTOR {
            VECTOR v = carry[j] + NAME(get)(gv + j * WIDTH, n);
            NAME(put)(ov + j * WIDTH, v, n, stream);
            NAME(put)(oa + j * WIDTH, v * NAME(get)(before ? before + j * WIDTH : 0, n), n, stream);
            carry[j] = NAME(get)(av + j * WIDTH, n) * v;
        }
        if (cut) EACH_VECTOR carry[j] = (VECTOR){0};
    }
    if (dh0) EACH_VECTOR NAME(put)(dh0 + j * WIDTH, carry[j], n, 0);
}

void NAME(linear_backward)(const REAL *a, int64_t a_pitch, const REAL *h, const REAL *g, int64_t g_pitch, const REAL *g_last,
                           const REAL *h0, REAL *da, REAL *db, REAL *dh0, const uint8_t *reset, int64_t reverse,
                           const int64_t *start, const int64_t *length, int64_t sequences, int64_t rows, int64_t channels, int64_t threads) {
    int stream = streams(5 * rows * channels * sizeof(REAL), channels * sizeof(REAL), da) && (uintptr_t)db % 64 == 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++) {
        const int64_t own = s * channels;
#define BLOCK(vectors, n) \
    NAME(linear_backward_block)(a + d, a_pitch, h + d, g + d, g_pitch, g_last ? g_last + own + d : 0, h0 ? h0 + own + d : 0, \
                                da + d, db + d, dh0 ? dh0 + own + d : 0, reset, reverse, start[s], length[s], channels, stream, \
                                vectors, n)
        EACH_BLOCK_OF_VECTORS(BLOCK)
#undef BLOCK
        stream_end();
    }
}
