#include "blocks.h"

/* h_t = lambda h_{t-1} + u_t with lambda constant in time; complex numbers are (real, imaginary) pairs, PAIRS a block.
 * lambda comes in double and is held as a rounded number and what rounding took away: a constant error would add up over
 * the whole memory. */
#define PAIRS (LANES / 2)
#define EACH_PAIR for (int k = 0; k < PAIRS; k++)

INLINE void NAME(split)(const REAL *row, REAL *re, REAL *im, int64_t n) {
    REAL both[LANES];
    NAME(load_or_zero)(both, row, 2 * n);
    EACH_PAIR re[k] = both[2 * k], im[k] = both[2 * k + 1];
}

INLINE void NAME(join)(REAL *row, const REAL *re, const REAL *im, int64_t n) {
    REAL both[LANES];
    EACH_PAIR both[2 * k] = re[k], both[2 * k + 1] = im[k];
    NAME(store)(row, both, 2 * n);
}

typedef struct {
    REAL re[PAIRS], im[PAIRS], re_rest[PAIRS], im_rest[PAIRS];
} NAME(Eigenvalue);

INLINE void NAME(eigenvalue)(NAME(Eigenvalue) * of, const double *pairs, double sign, int64_t n) {
    EACH_PAIR {
        double re = k < n ? pairs[2 * k] : 0, im = k < n ? sign * pairs[2 * k + 1] : 0;
        of->re[k] = (REAL)re, of->im[k] = (REAL)im;
        of->re_rest[k] = (REAL)(re - of->re[k]), of->im_rest[k] = (REAL)(im - of->im[k]);
    }
}

/* state = eigenvalue * state + entered */
INLINE void NAME(turn)(const NAME(Eigenvalue) * by, REAL *re, REAL *im, const REAL *entered_re, const REAL *entered_im) {
    EACH_PAIR {
        REAL x = re[k], y = im[k];
        re[k] = entered_re[k] + (by->re_rest[k] * x - by->im_rest[k] * y) + by->re[k] * x - by->im[k] * y;
        im[k] = entered_im[k] + (by->re_rest[k] * y + by->im_rest[k] * x) + by->re[k] * y + by->im[k] * x;
    }
}

INLINE void NAME(complex_forward_block)(const double *eigenvalue, const REAL *restrict u, int64_t u_pitch, const REAL *h0,
                                        REAL *restrict h, REAL *last, const uint8_t *reset, int64_t reverse, int64_t start,
                                        int64_t length, int64_t channels, int64_t n) {
    REAL re[PAIRS], im[PAIRS], ur[PAIRS], ui[PAIRS];
    NAME(Eigenvalue) by;
    NAME(eigenvalue)(&by, eigenvalue, 1, n);
    NAME(split)(h0, re, im, n);
    for (int64_t q = 0; q < length; q++) {
        int64_t row = start + (reverse ? length - 1 - q : q);
        NAME(split)(u + row * u_pitch, ur, ui, n);
        if (reset && reset[row]) EACH_PAIR re[k] = im[k] = 0;
        NAME(turn)(&by, re, im, ur, ui);
        NAME(join)(h + 2 * row * channels, re, im, n);
    }
    NAME(join)(last, re, im, n);
}

void NAME(complex_forward)(const double *eigenvalue, const REAL *u, int64_t u_pitch, const REAL *h0, REAL *h, REAL *last,
                           const uint8_t *reset, int64_t reverse, const int64_t *start, const int64_t *length,
                           int64_t sequences, int64_t rows, int64_t channels, int64_t threads) {
    (void)rows;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += PAIRS) {
            int64_t n = channels - d < PAIRS ? channels - d : PAIRS, at = 2 * (s * channels + d);
#define BLOCK(n) \
    NAME(complex_forward_block)(eigenvalue + 2 * d, u + 2 * d, u_pitch, h0 ? h0 + at : 0, h + 2 * d, last + at, reset, \
                                reverse, start[s], length[s], channels, n)
            if (n == PAIRS) BLOCK(PAIRS);
            else BLOCK(n);
#undef BLOCK
        }
}

/* v_t = g_t + conj(lambda) v_{t+1};  du = v;  sum = sum_t v_t conj(h_{t-1}), in double;  dh0 = conj(lambda) v_1 */
INLINE void NAME(complex_backward_block)(const double *eigenvalue, const REAL *restrict h, const REAL *restrict g,
                                         int64_t g_pitch, const REAL *g_last, const REAL *h0, REAL *restrict du, double *sum,
                                         REAL *dh0, const uint8_t *reset, int64_t reverse, int64_t start, int64_t length,
                                         int64_t channels, int64_t n) {
    REAL re[PAIRS], im[PAIRS], gr[PAIRS], gi[PAIRS], hr[PAIRS], hi[PAIRS], zero[PAIRS];
    double sum_re[PAIRS], sum_im[PAIRS];
    NAME(Eigenvalue) by;
    NAME(eigenvalue)(&by, eigenvalue, -1, n);
    NAME(split)(g_last, re, im, n); /* what the steps after this one hand back */
    EACH_PAIR sum_re[k] = sum_im[k] = 0, zero[k] = 0;
    for (int64_t q = length - 1; q >= 0; q--) {
        int64_t row = start + (reverse ? length - 1 - q : q);
        int cut = reset && reset[row];
        NAME(split)(g + row * g_pitch, gr, gi, n);
        NAME(split)(NAME(before)(h, h0, row, q, 2 * channels, reverse, cut), hr, hi, n);
        EACH_PAIR re[k] += gr[k], im[k] += gi[k];
        NAME(join)(du + 2 * row * channels, re, im, n);
        EACH_PAIR {
            sum_re[k] += (double)re[k] * hr[k] + (double)im[k] * hi[k];
            sum_im[k] += (double)im[k] * hr[k] - (double)re[k] * hi[k];
        }
        if (cut) EACH_PAIR re[k] = im[k] = 0;
        else NAME(turn)(&by, re, im, zero, zero);
    }
    for (int64_t k = 0; k < n; k++) sum[2 * k] = sum_re[k], sum[2 * k + 1] = sum_im[k];
    if (dh0) NAME(join)(dh0, re, im, n);
}

void NAME(complex_backward)(const double *eigenvalue, const REAL *h, const REAL *g, int64_t g_pitch, const REAL *g_last,
                            const REAL *h0, REAL *du, double *sum, REAL *dh0, const uint8_t *reset, int64_t reverse,
                            const int64_t *start, const int64_t *length, int64_t sequences, int64_t rows, int64_t channels,
                            int64_t threads) {
    (void)rows;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += PAIRS) {
            int64_t n = channels - d < PAIRS ? channels - d : PAIRS, at = 2 * (s * channels + d);
#define BLOCK(n) \
    NAME(complex_backward_block)(eigenvalue + 2 * d, h + 2 * d, g + 2 * d, g_pitch, g_last ? g_last + at : 0, \
                                 h0 ? h0 + at : 0, du + 2 * d, sum + at, dh0 ? dh0 + at : 0, reset, reverse, start[s], \
                                 length[s], channels, n)
            if (n == PAIRS) BLOCK(PAIRS);
            else BLOCK(n);
#undef BLOCK
        }
}
