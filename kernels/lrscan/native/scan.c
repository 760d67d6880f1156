/* The scans on a CPU, one pass over memory each way.
 *
 * Sequences are rows of matrices: sequence s owns rows start[s] .. start[s] + length[s] - 1 of every operand. Operands have
 * unit channel stride and a row pitch of their own. Channels are taken in blocks of LANES; a short last block is padded with
 * zeros in registers, so a channel's bits never depend on how many there are, nor on where a sequence was split.
 *
 * Included twice by itself: REAL is float, then double.
 */
#ifndef REAL
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 64
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(f) JOIN(f, REAL)

/* exp(x) for x <= 0 to 1 ulp: 2^n * p(r), |r| <= ln2 / 2. */
static inline float exp_negative_float(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = rintf(x * 1.44269504088896341f);
    float r = fmaf(n, -0.693359375f, x);
    r = fmaf(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = fmaf(p, r, 1.3981999507e-3f);
    p = fmaf(p, r, 8.3334519073e-3f);
    p = fmaf(p, r, 4.1665795894e-2f);
    p = fmaf(p, r, 1.6666665459e-1f);
    p = fmaf(p, r, 5.0000001201e-1f);
    p = fmaf(p, r * r, r) + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* 1 - exp(-z) for z >= 0 without cancellation: a series below 1/2. */
static inline float one_minus_exp_float(float z) {
    float p = -2.4801587e-5f;
    p = fmaf(p, z, 1.9841270e-4f);
    p = fmaf(p, z, -1.3888889e-3f);
    p = fmaf(p, z, 8.3333333e-3f);
    p = fmaf(p, z, -4.1666667e-2f);
    p = fmaf(p, z, 1.6666667e-1f);
    p = fmaf(p, z, -0.5f);
    p = fmaf(p, z, 1.0f) * z;
    float q = 1.0f - exp_negative_float(-z);
    return z < 0.5f ? p : q;
}

static inline double exp_negative_double(double x) { return exp(x); }
static inline double one_minus_exp_double(double z) { return -expm1(-z); }
static inline float root_float(float x) { return sqrtf(x); }
static inline double root_double(double x) { return sqrt(x); }

#define REAL float
#include "scan.c"
#undef REAL
#define REAL double
#include "scan.c"
#undef REAL

#else

static inline void NAME(load)(REAL *to, const REAL *from, int64_t n) {
    for (int64_t k = 0; k < LANES; k++) to[k] = 0;
    for (int64_t k = 0; k < n; k++) to[k] = from[k];
}

static inline void NAME(store)(REAL *to, const REAL *from, int64_t n) {
    for (int64_t k = 0; k < n; k++) to[k] = from[k];
}

/* h_t = a_t h_{t-1} + b_t */
void NAME(linear_forward)(const REAL *a, int64_t a_pitch, const REAL *b, int64_t b_pitch, const REAL *h0, const uint8_t *reset,
                          int64_t reverse, REAL *h, REAL *last, const int64_t *start, const int64_t *length, int64_t sequences,
                          int64_t channels, int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES;
            REAL state[LANES], av[LANES], bv[LANES];
            if (h0) NAME(load)(state, h0 + s * channels + d, n);
            else for (int k = 0; k < LANES; k++) state[k] = 0;
            for (int64_t q = 0; q < length[s]; q++) {
                int64_t row = start[s] + (reverse ? length[s] - 1 - q : q);
                NAME(load)(av, a + row * a_pitch + d, n);
                NAME(load)(bv, b + row * b_pitch + d, n);
                if (reset && reset[row]) for (int k = 0; k < LANES; k++) state[k] = 0;
                for (int k = 0; k < LANES; k++) state[k] = av[k] * state[k] + bv[k];
                NAME(store)(h + row * channels + d, state, n);
            }
            NAME(store)(last + s * channels + d, state, n);
        }
}

/* v_t = g_t + a_{t+1} v_{t+1};  db = v;  da_t = v_t h_{t-1};  dh0 = a_1 v_1 */
void NAME(linear_backward)(const REAL *a, int64_t a_pitch, const REAL *h, const REAL *g, int64_t g_pitch, const REAL *g_last,
                           const REAL *h0, const uint8_t *reset, int64_t reverse, REAL *da, REAL *db, REAL *dh0,
                           const int64_t *start, const int64_t *length, int64_t sequences, int64_t channels, int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES;
            REAL carry[LANES], av[LANES], before[LANES], gv[LANES], out[LANES];
            NAME(load)(carry, g_last + s * channels + d, n);
            for (int64_t q = length[s] - 1; q >= 0; q--) {
                int64_t row = start[s] + (reverse ? length[s] - 1 - q : q), earlier = row + (reverse ? 1 : -1);
                int cut = reset && reset[row];
                NAME(load)(av, a + row * a_pitch + d, n);
                NAME(load)(gv, g + row * g_pitch + d, n);
                if (!cut && q > 0) NAME(load)(before, h + earlier * channels + d, n);
                else if (!cut && h0) NAME(load)(before, h0 + s * channels + d, n);
                else for (int k = 0; k < LANES; k++) before[k] = 0;
                for (int k = 0; k < LANES; k++) carry[k] += gv[k];
                NAME(store)(db + row * channels + d, carry, n);
                for (int k = 0; k < LANES; k++) out[k] = carry[k] * before[k];
                NAME(store)(da + row * channels + d, out, n);
                for (int k = 0; k < LANES; k++) carry[k] = cut ? 0 : av[k] * carry[k];
            }
            if (dh0) NAME(store)(dh0 + s * channels + d, carry, n);
        }
}

/* BD-LRU: u = rate sigmoid(r), a = exp(-u), beta = sqrt(1 - a^2 + eps), h = a h + beta sigmoid(i) x */
static inline void NAME(gates)(const REAL *r, const REAL *i, const REAL *rate, REAL eps, REAL *a, REAL *beta, REAL *sr, REAL *nr,
                               REAL *si, REAL *ni) {
    for (int k = 0; k < LANES; k++) {
        REAL er = NAME(exp_negative)(-(r[k] < 0 ? -r[k] : r[k])), ei = NAME(exp_negative)(-(i[k] < 0 ? -i[k] : i[k]));
        REAL pr = 1 / (1 + er), pi = 1 / (1 + ei);
        sr[k] = r[k] < 0 ? er * pr : pr;
        nr[k] = r[k] < 0 ? pr : er * pr; /* 1 - sigmoid(r) */
        si[k] = i[k] < 0 ? ei * pi : pi;
        ni[k] = i[k] < 0 ? pi : ei * pi;
        REAL u = rate[k] * sr[k];
        a[k] = NAME(exp_negative)(-u);
        beta[k] = NAME(root)(NAME(one_minus_exp)(2 * u) + eps);
    }
}

void NAME(gated_forward)(const REAL *x, int64_t x_pitch, const REAL *r, int64_t r_pitch, const REAL *i, int64_t i_pitch,
                         const REAL *rate, double eps, const REAL *h0, const uint8_t *reset, int64_t reverse, REAL *h,
                         REAL *last, const int64_t *start, const int64_t *length, int64_t sequences, int64_t channels,
                         int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES;
            REAL state[LANES], xv[LANES], rv[LANES], iv[LANES], cv[LANES];
            REAL a[LANES], beta[LANES], sr[LANES], nr[LANES], si[LANES], ni[LANES];
            NAME(load)(cv, rate + d, n);
            if (h0) NAME(load)(state, h0 + s * channels + d, n);
            else for (int k = 0; k < LANES; k++) state[k] = 0;
            for (int64_t q = 0; q < length[s]; q++) {
                int64_t row = start[s] + (reverse ? length[s] - 1 - q : q);
                NAME(load)(xv, x + row * x_pitch + d, n);
                NAME(load)(rv, r + row * r_pitch + d, n);
                NAME(load)(iv, i + row * i_pitch + d, n);
                if (reset && reset[row]) for (int k = 0; k < LANES; k++) state[k] = 0;
                NAME(gates)(rv, iv, cv, (REAL)eps, a, beta, sr, nr, si, ni);
                for (int k = 0; k < LANES; k++) state[k] = a[k] * state[k] + beta[k] * si[k] * xv[k];
                NAME(store)(h + row * channels + d, state, n);
            }
            NAME(store)(last + s * channels + d, state, n);
        }
}

/* Gates are computed again. d beta / du = a^2 / beta is infinite at u = 0, but always meets sr, and sr / beta -> 0. */
void NAME(gated_backward)(const REAL *x, int64_t x_pitch, const REAL *r, int64_t r_pitch, const REAL *i, int64_t i_pitch,
                          const REAL *rate, double eps, const REAL *h, const REAL *g, int64_t g_pitch, const REAL *g_last,
                          const REAL *h0, const uint8_t *reset, int64_t reverse, REAL *dx, REAL *dr, REAL *di, REAL *drate,
                          REAL *dh0, const int64_t *start, const int64_t *length, int64_t sequences, int64_t channels,
                          int64_t threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++)
        for (int64_t d = 0; d < channels; d += LANES) {
            int64_t n = channels - d < LANES ? channels - d : LANES;
            REAL carry[LANES], sum[LANES], xv[LANES], rv[LANES], iv[LANES], gv[LANES], before[LANES], cv[LANES];
            REAL a[LANES], beta[LANES], sr[LANES], nr[LANES], si[LANES], ni[LANES], ox[LANES], or[LANES], oi[LANES];
            NAME(load)(cv, rate + d, n);
            NAME(load)(carry, g_last + s * channels + d, n);
            for (int k = 0; k < LANES; k++) sum[k] = 0;
            for (int64_t q = length[s] - 1; q >= 0; q--) {
                int64_t row = start[s] + (reverse ? length[s] - 1 - q : q), earlier = row + (reverse ? 1 : -1);
                int cut = reset && reset[row];
                NAME(load)(xv, x + row * x_pitch + d, n);
                NAME(load)(rv, r + row * r_pitch + d, n);
                NAME(load)(iv, i + row * i_pitch + d, n);
                NAME(load)(gv, g + row * g_pitch + d, n);
                if (!cut && q > 0) NAME(load)(before, h + earlier * channels + d, n);
                else if (!cut && h0) NAME(load)(before, h0 + s * channels + d, n);
                else for (int k = 0; k < LANES; k++) before[k] = 0;
                NAME(gates)(rv, iv, cv, (REAL)eps, a, beta, sr, nr, si, ni);
                for (int k = 0; k < LANES; k++) {
                    REAL v = carry[k] + gv[k], vx = v * xv[k];
                    REAL ratio = beta[k] > 0 ? sr[k] / beta[k] : 0;
                    REAL part = a[k] * (a[k] * vx * si[k] * ratio - v * before[k] * sr[k]); /* du * sigmoid(r) */
                    ox[k] = v * beta[k] * si[k];
                    oi[k] = vx * beta[k] * si[k] * ni[k];
                    or[k] = part * cv[k] * nr[k];
                    sum[k] += part;
                    carry[k] = cut ? 0 : a[k] * v;
                }
                NAME(store)(dx + row * channels + d, ox, n);
                NAME(store)(di + row * channels + d, oi, n);
                NAME(store)(dr + row * channels + d, or, n);
            }
            NAME(store)(drate + s * channels + d, sum, n);
            if (dh0) NAME(store)(dh0 + s * channels + d, carry, n);
        }
}
#endif
