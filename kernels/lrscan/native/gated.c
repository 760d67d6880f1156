#include "blocks.h"

/* The gates of one row, by kind (lrscan/gates.py): 0 BD-LRU and 1 RG-LRU, whose rates differ before they come here; 2 minGRU;
 * 3 HGRN, rate = 1 - lam. */
typedef struct {
    REAL a[LANES], write[LANES];                          /* decay; what multiplies x */
    REAL open[LANES], shut[LANES];                        /* sigmoid(r), 1 - sigmoid(r) */
    REAL beta[LANES], input_open[LANES], input_shut[LANES]; /* kinds 0 and 1 */
} NAME(Gates);

INLINE void NAME(gates)(int64_t kind, const REAL *r, const REAL *i, const REAL *rate, REAL eps, NAME(Gates) * of) {
    if (kind < 2) {
        EACH_LANE {
            NAME(gate)(r[k], &of->open[k], &of->shut[k]);
            NAME(gate)(i[k], &of->input_open[k], &of->input_shut[k]);
            REAL u = rate[k] * of->open[k];
            of->a[k] = NAME(exp_negative)(-u);
            of->beta[k] = NAME(root)(NAME(one_minus_exp)(2 * u) + eps);
            of->write[k] = of->beta[k] * of->input_open[k];
        }
    } else if (kind == 2) {
        EACH_LANE {
            NAME(gate)(r[k], &of->open[k], &of->shut[k]);
            of->a[k] = of->shut[k];
            of->write[k] = of->open[k];
        }
    } else {
        EACH_LANE {
            NAME(gate)(r[k], &of->open[k], &of->shut[k]);
            of->a[k] = (1 - rate[k]) + rate[k] * of->open[k];
            of->write[k] = rate[k] * of->shut[k];
        }
    }
}

typedef struct {
    const REAL *x, *r, *i, *z, *rate, *h0;
    int64_t x_pitch, r_pitch, i_pitch, z_pitch;
    REAL eps;
    const uint8_t *reset;
    int64_t reverse, channels;
} NAME(Gated);

INLINE void NAME(gated_forward_block)(int64_t kind, const NAME(Gated) * in, REAL *restrict h, REAL *restrict y, REAL *last,
                                      int64_t s, int64_t start, int64_t length, int64_t d, int64_t n) {
    REAL state[LANES], xv[LANES], rv[LANES], iv[LANES], zv[LANES], rate[LANES];
    NAME(Gates) of;
    NAME(load)(rate, in->rate + d, n);
    NAME(load_or_zero)(state, in->h0 ? in->h0 + s * in->channels + d : 0, n);
    for (int64_t q = 0; q < length; q++) {
        int64_t row = start + (in->reverse ? length - 1 - q : q), at = row * in->channels + d;
        NAME(load)(xv, in->x + row * in->x_pitch + d, n);
        NAME(load)(rv, in->r + row * in->r_pitch + d, n);
        if (kind < 2) NAME(load)(iv, in->i + row * in->i_pitch + d, n);
        if (in->reset && in->reset[row]) EACH_LANE state[k] = 0;
        NAME(gates)(kind, rv, iv, rate, in->eps, &of);
        EACH_LANE state[k] = of.a[k] * state[k] + of.write[k] * xv[k];
        NAME(store)(h + at, state, n);
        if (y) {
            NAME(load)(zv, in->z + row * in->z_pitch + d, n);
            EACH_LANE {
                REAL open, shut;
                NAME(gate)(zv[k], &open, &shut);
                zv[k] = zv[k] * open * state[k];
            }
            NAME(store)(y + at, zv, n);
        }
    }
    NAME(store)(last + s * in->channels + d, state, n);
}

void NAME(gated_forward)(int64_t kind, const REAL *x, int64_t x_pitch, const REAL *r, int64_t r_pitch, const REAL *i,
                         int64_t i_pitch, const REAL *z, int64_t z_pitch, const REAL *rate, double eps, const REAL *h0,
                         REAL *h, REAL *y, REAL *last, const uint8_t *reset, int64_t reverse, const int64_t *start,
                         const int64_t *length, int64_t sequences, int64_t channels, int64_t threads) {
    const NAME(Gated) in = {x, r, i, z, rate, h0, x_pitch, r_pitch, i_pitch, z_pitch, (REAL)eps, reset, reverse, channels};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES;
#define BLOCK(kind, n) NAME(gated_forward_block)(kind, &in, h, y, last, s, start[s], length[s], d, n)
#define KIND(n) do { if (kind < 2) BLOCK(0, n); else if (kind == 2) BLOCK(2, n); else BLOCK(3, n); } while (0)
            if (n == LANES) KIND(LANES);
            else KIND(n);
#undef KIND
#undef BLOCK
        }
}

typedef struct {
    REAL *dx, *dr, *di, *dz, *dh0;
    double *drate;
} NAME(GatedGradients);

/* Gates are computed again. d beta / du = a^2 / beta is infinite at u = 0, but always meets sigmoid(r), and
 * sigmoid(r) / beta -> 0. `part` is d rate of one element times the rate's own. */
INLINE void NAME(gates_backward)(int64_t kind, const NAME(Gates) * of, const REAL *rate, const REAL *v, const REAL *before,
                                 REAL *xv, REAL *rv, REAL *iv, double *sum) {
    EACH_LANE {
        REAL x = xv[k], vx = v[k] * x;
        xv[k] = v[k] * of->write[k];
        if (kind < 2) {
            REAL ratio = of->beta[k] > 0 ? of->open[k] / of->beta[k] : 0;
            REAL part = of->a[k] * (of->a[k] * vx * of->input_open[k] * ratio - v[k] * before[k] * of->open[k]);
            iv[k] = vx * of->write[k] * of->input_shut[k];
            rv[k] = part * rate[k] * of->shut[k];
            sum[k] += part;
        } else if (kind == 2) {
            rv[k] = (vx - v[k] * before[k]) * (of->open[k] * of->shut[k]);
        } else {
            REAL part = (vx - v[k] * before[k]) * of->shut[k];
            rv[k] = -part * (rate[k] * of->open[k]);
            sum[k] += part;
        }
    }
}

INLINE void NAME(gated_backward_block)(int64_t kind, const NAME(Gated) * in, const REAL *restrict h, const REAL *restrict g,
                                       int64_t g_pitch, const REAL *g_last, const NAME(GatedGradients) * to, int64_t s,
                                       int64_t start, int64_t length, int64_t d, int64_t n) {
    double sum[LANES];
    REAL carry[LANES], xv[LANES], rv[LANES], iv[LANES], zv[LANES], gv[LANES], before[LANES], rate[LANES];
    NAME(Gates) of;
    int64_t own = s * in->channels + d;
    NAME(load)(rate, in->rate + d, n);
    NAME(load_or_zero)(carry, g_last ? g_last + own : 0, n);
    EACH_LANE sum[k] = 0;
    for (int64_t q = length - 1; q >= 0; q--) {
        int64_t row = start + (in->reverse ? length - 1 - q : q), at = row * in->channels + d;
        int cut = in->reset && in->reset[row];
        NAME(load)(xv, in->x + row * in->x_pitch + d, n);
        NAME(load)(rv, in->r + row * in->r_pitch + d, n);
        if (kind < 2) NAME(load)(iv, in->i + row * in->i_pitch + d, n);
        NAME(load)(gv, g + row * g_pitch + d, n);
        if (in->z) {
            REAL out[LANES];
            NAME(load)(zv, in->z + row * in->z_pitch + d, n);
            NAME(load)(out, h + at, n);
            EACH_LANE {
                REAL open, shut;
                NAME(gate)(zv[k], &open, &shut);
                out[k] *= gv[k] * open * (1 + zv[k] * shut);
                gv[k] *= zv[k] * open;
            }
            NAME(store)(to->dz + at, out, n);
        }
        NAME(load_or_zero)(before, NAME(before)(h + d, in->h0 ? in->h0 + own : 0, row, q, in->channels, in->reverse, cut), n);
        NAME(gates)(kind, rv, iv, rate, in->eps, &of);
        EACH_LANE carry[k] += gv[k];
        NAME(gates_backward)(kind, &of, rate, carry, before, xv, rv, iv, sum);
        if (cut) EACH_LANE carry[k] = 0;
        else EACH_LANE carry[k] *= of.a[k];
        NAME(store)(to->dx + at, xv, n);
        NAME(store)(to->dr + at, rv, n);
        if (kind < 2) NAME(store)(to->di + at, iv, n);
    }
    for (int64_t k = 0; k < n; k++) to->drate[own + k] = sum[k];
    if (to->dh0) NAME(store)(to->dh0 + own, carry, n);
}

void NAME(gated_backward)(int64_t kind, const REAL *x, int64_t x_pitch, const REAL *r, int64_t r_pitch, const REAL *i,
                          int64_t i_pitch, const REAL *z, int64_t z_pitch, const REAL *rate, double eps, const REAL *h,
                          const REAL *g, int64_t g_pitch, const REAL *g_last, const REAL *h0, REAL *dx, REAL *dr, REAL *di,
                          REAL *dz, double *drate, REAL *dh0, const uint8_t *reset, int64_t reverse, const int64_t *start,
                          const int64_t *length, int64_t sequences, int64_t channels, int64_t threads) {
    const NAME(Gated) in = {x, r, i, z, rate, h0, x_pitch, r_pitch, i_pitch, z_pitch, (REAL)eps, reset, reverse, channels};
    const NAME(GatedGradients) to = {dx, dr, di, dz, dh0, drate};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES;
#define BLOCK(kind, n) NAME(gated_backward_block)(kind, &in, h, g, g_pitch, g_last, &to, s, start[s], length[s], d, n)
#define KIND(n) do { if (kind < 2) BLOCK(0, n); else if (kind == 2) BLOCK(2, n); else BLOCK(3, n); } while (0)
            if (n == LANES) KIND(LANES);
            else KIND(n);
#undef KIND
#undef BLOCK
        }
}
