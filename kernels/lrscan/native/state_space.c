#include "blocks.h"

/* States of `states` numbers a channel:  h = exp(dt A) h + dt u B,  y = sum_n C_n h_n + D u.
 *
 * Two operators in one: selective_scan, where A is [states, channels] and dt a channel's own (by_head = 0); ssd_scan, where
 * the channels of a head share dt and A, and each group of heads its B and C (by_head = 1). A block's lanes are channels of
 * one group; the states of a lane lie LANES apart.
 */
typedef struct {
    const REAL *u, *dt, *A, *B, *C, *D, *h0;
    int64_t u_pitch, dt_pitch, b_pitch, c_pitch;
    const uint8_t *reset;
    int64_t reverse, channels, heads, groups, states;
} NAME(Space);

typedef struct {
    REAL u[LANES], dt[LANES], entered[LANES], decay[LANES];
} NAME(SpaceRow);

/* What stays the same for a block of channels: d the first one, head[k] whose dt lane k takes. */
typedef struct {
    int64_t d, n, group, head[LANES];
    REAL skip[LANES], *rate;
} NAME(SpaceBlock);

INLINE void NAME(space_block)(NAME(SpaceBlock) * of, const NAME(Space) * in, int by_head, int64_t d, int64_t n, REAL *rate) {
    of->d = d, of->n = n, of->rate = rate, of->group = d / (in->channels / in->groups);
    EACH_LANE {
        of->head[k] = (d + (k < n ? k : 0)) / (in->channels / in->heads);
        of->skip[k] = in->D && k < n ? in->D[of->head[k]] : 0;
        if (by_head) rate[k] = k < n ? in->A[of->head[k]] : 0;
    }
    if (!by_head)
        for (int64_t m = 0; m < in->states; m++) NAME(load)(rate + m * LANES, in->A + m * in->channels + d, n);
}

INLINE void NAME(space_row)(NAME(SpaceRow) * to, const NAME(Space) * in, const NAME(SpaceBlock) * at, int by_head, int64_t row,
                            int64_t n) {
    NAME(load)(to->u, in->u + row * in->u_pitch + at->d, n);
    if (by_head) {
        EACH_LANE to->dt[k] = in->dt[row * in->dt_pitch + at->head[k]];
        EACH_LANE to->decay[k] = NAME(exp)(to->dt[k] * at->rate[k]);
    } else {
        NAME(load)(to->dt, in->dt + row * in->dt_pitch + at->d, n);
    }
    EACH_LANE to->entered[k] = to->dt[k] * to->u[k];
}

/* decay of state m, for every lane */
INLINE void NAME(space_decay)(REAL *decay, const NAME(SpaceRow) * row, const REAL *rate, int by_head) {
    if (by_head) EACH_LANE decay[k] = row->decay[k];
    else EACH_LANE decay[k] = NAME(exp)(row->dt[k] * rate[k]);
}

/* One step of all states of a block. y: [LANES] or null; decays: [states, LANES] kept for the way back, or null. */
INLINE void NAME(space_step)(REAL *to, const REAL *from, const NAME(Space) * in, const NAME(SpaceBlock) * at,
                             int by_head, int64_t row, int64_t n, REAL *y, REAL *decays) {
    NAME(SpaceRow) of;
    REAL decay[LANES], out[LANES];
    int cut = in->reset && in->reset[row];
    NAME(space_row)(&of, in, at, by_head, row, n);
    EACH_LANE out[k] = at->skip[k] * of.u[k];
    for (int64_t m = 0; m < in->states; m++) {
        REAL b = in->B[row * in->b_pitch + at->group * in->states + m], c = in->C[row * in->c_pitch + at->group * in->states + m];
        REAL *state = to + m * LANES;
        const REAL *old = from + m * LANES;
        NAME(space_decay)(decay, &of, at->rate + m * LANES, by_head);
        if (cut) EACH_LANE state[k] = of.entered[k] * b;
        else EACH_LANE state[k] = decay[k] * old[k] + of.entered[k] * b;
        EACH_LANE out[k] += state[k] * c;
        if (decays) EACH_LANE decays[m * LANES + k] = decay[k];
    }
    if (y) NAME(store)(y, out, n);
}

INLINE void NAME(space_forward_block)(const NAME(Space) * in, int by_head, REAL *y, REAL *last, int64_t s, int64_t start,
                                      int64_t length, int64_t d, int64_t n, REAL *scratch) {
    NAME(SpaceBlock) at;
    REAL *state = scratch, *rate = scratch + in->states * LANES;
    NAME(space_block)(&at, in, by_head, d, n, rate);
    for (int64_t m = 0; m < in->states; m++)
        NAME(load_or_zero)(state + m * LANES, in->h0 ? in->h0 + (s * in->states + m) * in->channels + d : 0, n);
    for (int64_t q = 0; q < length; q++) {
        int64_t row = start + (in->reverse ? length - 1 - q : q);
        NAME(space_step)(state, state, in, &at, by_head, row, n, y + row * in->channels + d, 0);
    }
    for (int64_t m = 0; m < in->states; m++)
        NAME(store)(last + (s * in->states + m) * in->channels + d, state + m * LANES, n);
}

/* Calls BLOCK(by_head, d, n) for the blocks of every group, n a constant where the block is full. */
#define EACH_BLOCK(channels, groups)                                                                        \
    for (int64_t first = 0, width = (channels) / (groups); first < (channels); first += width)              \
        for (int64_t d = first; d < first + width; d += LANES) {                                            \
            int64_t n = first + width - d < LANES ? first + width - d : LANES;                              \
            if (by_head) { if (n == LANES) BLOCK(1, LANES); else BLOCK(1, n); }                             \
            else { if (n == LANES) BLOCK(0, LANES); else BLOCK(0, n); }                                     \
        }

void NAME(state_space_forward)(int64_t by_head, const REAL *u, int64_t u_pitch, const REAL *dt, int64_t dt_pitch, const REAL *A,
                         const REAL *B, int64_t b_pitch, const REAL *C, int64_t c_pitch, const REAL *D, const REAL *h0, REAL *y,
                         REAL *last, int64_t heads, int64_t groups, int64_t states, const uint8_t *reset, int64_t reverse,
                         const int64_t *start, const int64_t *length, int64_t sequences, int64_t rows, int64_t channels, int64_t threads) {
    const NAME(Space) in = {u, dt, A, B, C, D, h0, u_pitch, dt_pitch, b_pitch, c_pitch, reset, reverse, channels, heads, groups, states};
    (void)rows;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++) {
        REAL *scratch = malloc((2 * states + 1) * LANES * sizeof(REAL));
#define BLOCK(by_head, n) NAME(space_forward_block)(&in, by_head, y, last, s, start[s], length[s], d, n, scratch)
        EACH_BLOCK(channels, groups)
#undef BLOCK
        free(scratch);
    }
}

typedef struct {
    REAL *du, *ddt, *dB, *dC, *dh0;
    double *dA, *dD;
} NAME(SpaceGradients);

INLINE REAL NAME(lane_sum)(REAL *of) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) of[k] += of[k + half];
    return of[0];
}

/* One step backwards. carry: [states, LANES] what later steps hand back; sums over time, in double because
 * terms may cancel: dA [states or 1, LANES], dD. */
INLINE void NAME(space_step_backward)(const NAME(Space) * in, const NAME(SpaceBlock) * at, int by_head, int64_t row, int64_t n,
                                      const REAL *g, const REAL *old, const REAL *state, const REAL *decays, REAL *restrict carry,
                                      double *restrict dA, double *restrict dD,
                                      const NAME(SpaceGradients) * to) {
    NAME(SpaceRow) of;
    REAL written[LANES], through[LANES], pb[LANES], pc[LANES];
    int cut = in->reset && in->reset[row];
    NAME(space_row)(&of, in, at, by_head, row, n);
    EACH_LANE written[k] = through[k] = 0;
    for (int64_t m = 0; m < in->states; m++) {
        int64_t own = (row * in->groups + at->group) * in->states + m;
        REAL b = in->B[row * in->b_pitch + at->group * in->states + m], c = in->C[row * in->c_pitch + at->group * in->states + m];
        const REAL *decay = decays + m * LANES, *before = old + m * LANES, *after = state + m * LANES, *rate = at->rate + m * LANES;
        REAL *back = carry + m * LANES;
        double *sum = dA + m * LANES;
        EACH_LANE {
            REAL v = back[k] + g[k] * c;
            pb[k] = v * of.entered[k];
            pc[k] = g[k] * after[k];
            written[k] += v * b;
            REAL handed = cut ? 0 : v * decay[k];
            REAL q = cut ? 0 : handed * before[k]; /* gradient of dt A */
            if (by_head) {
                through[k] += q;
            } else {
                through[k] += q * rate[k];
                sum[k] += q * of.dt[k];
            }
            back[k] = handed;
        }
        to->dB[own] += NAME(lane_sum)(pb);
        to->dC[own] += NAME(lane_sum)(pc);
    }
    EACH_LANE {
        if (by_head) dA[k] += through[k] * of.dt[k], through[k] *= at->rate[k];
        through[k] += of.u[k] * written[k];
        written[k] = of.dt[k] * written[k] + at->skip[k] * g[k];
        dD[k] += g[k] * of.u[k];
    }
    NAME(store)(to->ddt + row * in->channels + at->d, through, n);
    NAME(store)(to->du + row * in->channels + at->d, written, n);
}

/* No state was kept: noted every `piece` steps on a first run, and made again piece by piece on the way back. */
INLINE void NAME(space_backward_block)(const NAME(Space) * in, int by_head, const REAL *g, int64_t g_pitch, const REAL *g_last,
                                       const NAME(SpaceGradients) * to, int64_t s, int64_t start, int64_t length, int64_t piece,
                                       int64_t d, int64_t n, REAL *scratch, double *sums) {
    const int64_t size = in->states * LANES, pieces = (length + piece - 1) / piece, own = s * in->states * in->channels + d;
    NAME(SpaceBlock) at;
    double *dA = sums, *dD = dA + size;
    REAL *rate = scratch, *carry = rate + size;
    REAL *noted = carry + size, *replayed = noted + (pieces + 1) * size, *decays = replayed + (piece + 1) * size, gv[LANES];
    NAME(space_block)(&at, in, by_head, d, n, rate);
    for (int64_t m = 0; m < in->states; m++) {
        NAME(load_or_zero)(noted + m * LANES, in->h0 ? in->h0 + own + m * in->channels : 0, n);
        NAME(load_or_zero)(carry + m * LANES, g_last ? g_last + own + m * in->channels : 0, n);
    }
    memset(sums, 0, (size + LANES) * sizeof(double));
    for (int64_t p = 0; p + 1 < pieces; p++) {
        const REAL *from = noted + p * size;
        for (int64_t q = p * piece; q < (p + 1) * piece; q++) {
            int64_t row = start + (in->reverse ? length - 1 - q : q);
            NAME(space_step)(noted + (p + 1) * size, from, in, &at, by_head, row, n, 0, 0);
            from = noted + (p + 1) * size;
        }
    }
    for (int64_t p = pieces - 1; p >= 0; p--) {
        int64_t begin = p * piece, end = begin + piece < length ? begin + piece : length;
        memcpy(replayed, noted + p * size, size * sizeof(REAL));
        for (int64_t q = begin; q < end; q++) {
            int64_t row = start + (in->reverse ? length - 1 - q : q);
            NAME(space_step)(replayed + (q - begin + 1) * size, replayed + (q - begin) * size, in, &at, by_head, row, n, 0,
                             decays + (q - begin) * size);
        }
        for (int64_t q = end - 1; q >= begin; q--) {
            int64_t row = start + (in->reverse ? length - 1 - q : q), j = q - begin;
            NAME(load)(gv, g + row * g_pitch + d, n);
            NAME(space_step_backward)(in, &at, by_head, row, n, gv, replayed + j * size, replayed + (j + 1) * size,
                                      decays + j * size, carry, dA, dD, to);
        }
    }
    for (int64_t k = 0; k < n; k++) {
        for (int64_t m = 0; m < (by_head ? 1 : in->states); m++)
            to->dA[(s * (by_head ? 1 : in->states) + m) * in->channels + d + k] = dA[m * LANES + k];
        to->dD[s * in->channels + d + k] = dD[k];
    }
    if (to->dh0)
        for (int64_t m = 0; m < in->states; m++) NAME(store)(to->dh0 + own + m * in->channels, carry + m * LANES, n);
}

void NAME(state_space_backward)(int64_t by_head, const REAL *u, int64_t u_pitch, const REAL *dt, int64_t dt_pitch, const REAL *A,
                          const REAL *B, int64_t b_pitch, const REAL *C, int64_t c_pitch, const REAL *D, const REAL *h0,
                          const REAL *g, int64_t g_pitch, const REAL *g_last, REAL *du, REAL *ddt, double *dA, REAL *dB, REAL *dC,
                          double *dD, REAL *dh0, int64_t heads, int64_t groups, int64_t states, const uint8_t *reset,
                          int64_t reverse, const int64_t *start, const int64_t *length, int64_t sequences, int64_t rows, int64_t channels,
                          int64_t threads) {
    const NAME(Space) in = {u, dt, A, B, C, D, h0, u_pitch, dt_pitch, b_pitch, c_pitch, reset, reverse, channels, heads, groups, states};
    const NAME(SpaceGradients) to = {du, ddt, dB, dC, dh0, dA, dD};
    (void)rows;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++) {
        int64_t piece = 1;
        while (piece * piece < length[s]) piece++;
        int64_t pieces = (length[s] + piece - 1) / piece;
        REAL *scratch = malloc((pieces + 2 * piece + 4) * states * LANES * sizeof(REAL));
        double *sums = malloc((states + 1) * LANES * sizeof(double));
#define BLOCK(by_head, n) NAME(space_backward_block)(&in, by_head, g, g_pitch, g_last, &to, s, start[s], length[s], piece, d, n, scratch, sums)
        EACH_BLOCK(channels, groups)
#undef BLOCK
        free(sums);
        free(scratch);
    }
}
