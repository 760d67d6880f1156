#include "blocks.h"

/* The gates of one element, by kind (lrscan/gates.py): 0 BD-LRU and 1 RG-LRU, whose rates differ before they come here;
 * 2 minGRU; 3 HGRN, rate = 1 - lam. */
typedef struct {
    REAL a, write;                /* decay; what multiplies x */
    REAL open, shut;              /* sigmoid(r), 1 - sigmoid(r) */
    REAL beta, input, input_shut; /* kinds 0 and 1: sigmoid(i), 1 - sigmoid(i) */
} NAME(Gate);

INLINE NAME(Gate) NAME(gate)(int64_t kind, REAL r, REAL i, REAL rate, REAL eps) {
    NAME(Gate) of = {0};
    REAL er = NAME(faded)(r);
    if (kind < 2) {
        REAL ei = NAME(faded)(i), both = 1 / ((1 + er) * (1 + ei)), pr = both * (1 + ei), pi = both * (1 + er);
        of.open = NAME(open)(r, er, pr), of.shut = NAME(shut)(r, er, pr);
        of.input = NAME(open)(i, ei, pi), of.input_shut = NAME(shut)(i, ei, pi);
        REAL u = rate * of.open;
        of.a = NAME(exp_negative)(-u);
        of.beta = NAME(root)(NAME(one_minus_exp)(2 * u, of.a * of.a) + eps);
        of.write = of.beta * of.input;
        return of;
    }
    REAL pr = 1 / (1 + er);
    of.open = NAME(open)(r, er, pr), of.shut = NAME(shut)(r, er, pr);
    of.a = kind == 2 ? of.shut : (1 - rate) + rate * of.open;
    of.write = kind == 2 ? of.open : rate * of.shut;
    return of;
}

typedef struct {
    const REAL *x, *r, *i, *z, *rate, *h0;
    int64_t x_pitch, r_pitch, i_pitch, z_pitch;
    REAL eps;
    const uint8_t *reset;
    int64_t reverse, channels;
    int stream;
} NAME(Gated);

INLINE void NAME(gated_forward_block)(int64_t kind, const NAME(Gated) * in, REAL *h, REAL *y, REAL *last, int64_t s,
                                      int64_t start, int64_t length, int64_t d, int64_t n) {
    REAL state[LANES], rate[LANES], xs[LANES], rs[LANES], is[LANES], zs[LANES], hs[LANES], ys[LANES];
    NAME(load)(rate, in->rate + d, n);
    NAME(load_or_zero)(state, in->h0 ? in->h0 + s * in->channels + d : 0, n);
    for (int64_t q = 0; q < length; q++) {
        int64_t row = start + (in->reverse ? length - 1 - q : q), at = row * in->channels + d;
        const REAL *x = NAME(row)(in->x + row * in->x_pitch + d, xs, n), *r = NAME(row)(in->r + row * in->r_pitch + d, rs, n);
        const REAL *i = kind < 2 ? NAME(row)(in->i + row * in->i_pitch + d, is, n) : x;
        REAL *out = NAME(room)(h + at, hs, n, in->stream);
        if (in->reset && in->reset[row]) EACH_LANE state[k] = 0;
        EACH_LANE {
            NAME(Gate) of = NAME(gate)(kind, r[k], i[k], rate[k], in->eps);
            out[k] = state[k] = of.a * state[k] + of.write * x[k];
        }
        NAME(done)(h + at, out, n, in->stream);
        if (y) {
            const REAL *z = NAME(row)(in->z + row * in->z_pitch + d, zs, n);
            REAL *read = NAME(room)(y + at, ys, n, in->stream);
            EACH_LANE {
                REAL e = NAME(faded)(z[k]);
                read[k] = z[k] * NAME(open)(z[k], e, 1 / (1 + e)) * state[k];
            }
            NAME(done)(y + at, read, n, in->stream);
        }
    }
    NAME(store)(last + s * in->channels + d, state, n);
}

/* BLOCK(kind, d, n) for the blocks of a sequence, kind a constant, and n where the block is full. */
#define KIND(n)                        \
    do {                               \
        if (kind < 2) BLOCK(0, n);     \
        else if (kind == 2) BLOCK(2, n); \
        else BLOCK(3, n);              \
    } while (0)
#define EACH_BLOCK                                                    \
    for (int64_t d = 0; d < channels; d += LANES) {                   \
        int64_t n = channels - d < LANES ? channels - d : LANES;      \
        if (n == LANES) KIND(LANES);                                  \
        else KIND(n);                                                 \
    }

void NAME(gated_forward)(int64_t kind, const REAL *x, int64_t x_pitch, const REAL *r, int64_t r_pitch, const REAL *i,
                         int64_t i_pitch, const REAL *z, int64_t z_pitch, const REAL *rate, double eps, const REAL *h0,
                         REAL *h, REAL *y, REAL *last, const uint8_t *reset, int64_t reverse, const int64_t *start,
                         const int64_t *length, int64_t sequences, int64_t rows, int64_t channels, int64_t threads) {
    int64_t tensors = 3 + (kind < 2) + 2 * (y != 0);
    int stream = streams(tensors * rows * channels * sizeof(REAL), channels * sizeof(REAL), h) && (uintptr_t)y % 64 == 0;
    const NAME(Gated) in = {x, r, i, z, rate, h0, x_pitch, r_pitch, i_pitch, z_pitch, (REAL)eps, reset, reverse, channels, stream};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++) {
#define BLOCK(kind, n) NAME(gated_forward_block)(kind, &in, h, y, last, s, start[s], length[s], d, n)
        EACH_BLOCK
#undef BLOCK
        stream_end();
    }
}

typedef struct {
    REAL *dx, *dr, *di, *dz, *dh0;
    double *drate;
} NAME(GatedGradients);

/* dz, and what h gets: h itself has passed through silu(z) */
INLINE void NAME(silu_backward)(const NAME(Gated) * in, const REAL *h, const REAL *g, REAL *dz, REAL *dh, int64_t row, int64_t d,
                                int64_t n) {
    REAL zs[LANES], hs[LANES], out[LANES];
    const REAL *z = NAME(row)(in->z + row * in->z_pitch + d, zs, n), *now = NAME(row)(h + row * in->channels + d, hs, n);
    EACH_LANE {
        REAL e = NAME(faded)(z[k]), p = 1 / (1 + e), open = NAME(open)(z[k], e, p);
        out[k] = now[k] * g[k] * open * (1 + z[k] * NAME(shut)(z[k], e, p));
        dh[k] = g[k] * z[k] * open;
    }
    NAME(store)(dz + row * in->channels + d, out, n);
}

/* Gates are computed again. d beta / du = a^2 / beta is infinite at u = 0, but always meets sigmoid(r), and
 * sigmoid(r) / beta -> 0. `part` is d rate of one element times the rate's own; summed in double, for terms cancel. */
INLINE void NAME(gated_backward_block)(int64_t kind, const NAME(Gated) * in, const REAL *h, const REAL *g, int64_t g_pitch,
                                       const REAL *g_last, const NAME(GatedGradients) * to, int64_t s, int64_t start,
                                       int64_t length, int64_t d, int64_t n) {
    double sum[LANES];
    REAL carry[LANES], rate[LANES], parts[LANES], zero[LANES], xs[LANES], rs[LANES], is[LANES], gs[LANES], hs[LANES], dh[LANES];
    REAL dxs[LANES], drs[LANES], dis[LANES];
    int64_t own = s * in->channels + d;
    int stream = in->stream;
    NAME(load)(rate, in->rate + d, n);
    NAME(load_or_zero)(carry, g_last ? g_last + own : 0, n);
    EACH_LANE sum[k] = 0;
    EACH_LANE zero[k] = 0;
    for (int64_t q = length - 1; q >= 0; q--) {
        int64_t row = start + (in->reverse ? length - 1 - q : q), at = row * in->channels + d;
        int cut = in->reset && in->reset[row];
        const REAL *earlier = NAME(before)(h + d, in->h0 ? in->h0 + own : 0, row, q, in->channels, in->reverse, cut);
        const REAL *x = NAME(row)(in->x + row * in->x_pitch + d, xs, n), *r = NAME(row)(in->r + row * in->r_pitch + d, rs, n);
        const REAL *i = kind < 2 ? NAME(row)(in->i + row * in->i_pitch + d, is, n) : x;
        const REAL *gv = NAME(row)(g + row * g_pitch + d, gs, n), *before = earlier ? NAME(row)(earlier, hs, n) : zero;
        REAL *dx = NAME(room)(to->dx + at, dxs, n, stream), *dr = NAME(room)(to->dr + at, drs, n, stream);
        REAL *di = kind < 2 ? NAME(room)(to->di + at, dis, n, stream) : dis;
        if (in->z) {
            NAME(silu_backward)(in, h, gv, to->dz, dh, row, d, n);
            gv = dh;
        }
        EACH_LANE {
            NAME(Gate) of = NAME(gate)(kind, r[k], i[k], rate[k], in->eps);
            REAL v = carry[k] + gv[k], vx = v * x[k], through = v * before[k];
            dx[k] = v * of.write;
            if (kind < 2) {
                REAL ratio = of.beta > 0 ? of.open / of.beta : 0;
                parts[k] = of.a * (of.a * vx * of.input * ratio - through * of.open);
                di[k] = vx * of.write * of.input_shut;
                dr[k] = parts[k] * rate[k] * of.shut;
            } else {
                parts[k] = (vx - through) * of.shut;
                dr[k] = kind == 2 ? parts[k] * of.open : -parts[k] * (rate[k] * of.open);
            }
            carry[k] = v * of.a;
        }
        if (kind != 2) EACH_LANE sum[k] += parts[k];
        if (cut) EACH_LANE carry[k] = 0;
        NAME(done)(to->dx + at, dx, n, stream);
        NAME(done)(to->dr + at, dr, n, stream);
        if (kind < 2) NAME(done)(to->di + at, di, n, stream);
    }
    for (int64_t k = 0; k < n; k++) to->drate[own + k] = sum[k];
    if (to->dh0) NAME(store)(to->dh0 + own, carry, n);
}

void NAME(gated_backward)(int64_t kind, const REAL *x, int64_t x_pitch, const REAL *r, int64_t r_pitch, const REAL *i,
                          int64_t i_pitch, const REAL *z, int64_t z_pitch, const REAL *rate, double eps, const REAL *h,
                          const REAL *g, int64_t g_pitch, const REAL *g_last, const REAL *h0, REAL *dx, REAL *dr, REAL *di,
                          REAL *dz, double *drate, REAL *dh0, const uint8_t *reset, int64_t reverse, const int64_t *start,
                          const int64_t *length, int64_t sequences, int64_t rows, int64_t channels, int64_t threads) {
    int64_t tensors = 6 + 2 * (kind < 2) + 2 * (z != 0);
    int stream = streams(tensors * rows * channels * sizeof(REAL), channels * sizeof(REAL), dx);
    stream = stream && (uintptr_t)dr % 64 == 0 && (uintptr_t)di % 64 == 0;
    const NAME(Gated) in = {x, r, i, z, rate, h0, x_pitch, r_pitch, i_pitch, z_pitch, (REAL)eps, reset, reverse, channels, stream};
    const NAME(GatedGradients) to = {dx, dr, di, dz, dh0, drate};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++) {
#define BLOCK(kind, n) NAME(gated_backward_block)(kind, &in, h, g, g_pitch, g_last, &to, s, start[s], length[s], d, n)
        EACH_BLOCK
#undef BLOCK
        stream_end();
    }
}
