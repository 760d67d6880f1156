#define LANES 32
#include "blocks.h"

/* The gated delta rule, a step at a time:  y = S k,  w = beta (v - decay y),  S = decay S + w k^T,  o = S q.
 *
 * A block's lanes are rows of one head's state, one for each number of its value; the `keys` numbers of a lane lie LANES
 * apart. Rows do not meet: what they give to the gradients of q, k, decay and beta is added up, block after block.
 */
typedef struct {
    const REAL *q, *k, *v, *decay, *beta, *first;
    int64_t q_pitch, k_pitch, v_pitch, decay_pitch, beta_pitch;
    const uint8_t *reset;
    int64_t reverse, heads, width, keys;
} NAME(Delta);

/* Of head `head`, the n rows from `p` on. */
typedef struct {
    int64_t head, p, n;
} NAME(DeltaBlock);

INLINE int64_t NAME(delta_row)(const NAME(Delta) * in, int64_t start, int64_t length, int64_t q) {
    return start + (in->reverse ? length - 1 - q : q);
}

/* Where a block's part of the state lies: [S, heads, keys, width]. */
INLINE int64_t NAME(delta_place)(const NAME(Delta) * in, const NAME(DeltaBlock) * at, int64_t s, int64_t m) {
    return ((s * in->heads + at->head) * in->keys + m) * in->width + at->p;
}

/* `recalled` becomes S k, zero after a reset; o: [LANES] or null. */
INLINE void NAME(delta_step)(REAL *to, const REAL *from, const NAME(Delta) * in, const NAME(DeltaBlock) * at, int64_t row,
                             int64_t n, REAL *recalled, REAL *o) {
    const REAL *key = in->k + row * in->k_pitch + at->head * in->keys, *query = in->q + row * in->q_pitch + at->head * in->keys;
    const REAL decay = in->decay[row * in->decay_pitch + at->head], beta = in->beta[row * in->beta_pitch + at->head];
    const int cut = in->reset && in->reset[row];
    REAL value[LANES], y[LANES], w[LANES], out[LANES];
    NAME(load)(value, in->v + row * in->v_pitch + at->head * in->width + at->p, n);
    EACH_LANE y[k] = out[k] = 0;
    if (!cut)
        for (int64_t m = 0; m < in->keys; m++) EACH_LANE y[k] += from[m * LANES + k] * key[m];
    EACH_LANE w[k] = beta * (value[k] - decay * y[k]);
    for (int64_t m = 0; m < in->keys; m++) {
        REAL *state = to + m * LANES;
        const REAL *old = from + m * LANES;
        if (cut) EACH_LANE state[k] = w[k] * key[m];
        else EACH_LANE state[k] = decay * old[k] + w[k] * key[m];
        if (o) EACH_LANE out[k] += state[k] * query[m];
    }
    if (recalled) EACH_LANE recalled[k] = y[k];
    if (o) NAME(store)(o, out, n);
}

INLINE void NAME(delta_forward_block)(const NAME(Delta) * in, const NAME(DeltaBlock) * at, int64_t n, REAL *o, REAL *last,
                                      int64_t s, int64_t start, int64_t length, REAL *state) {
    for (int64_t m = 0; m < in->keys; m++)
        NAME(load_or_zero)(state + m * LANES, in->first ? in->first + NAME(delta_place)(in, at, s, m) : 0, n);
    for (int64_t q = 0; q < length; q++) {
        int64_t row = NAME(delta_row)(in, start, length, q);
        NAME(delta_step)(state, state, in, at, row, n, 0, o + (row * in->heads + at->head) * in->width + at->p);
    }
    for (int64_t m = 0; m < in->keys; m++) NAME(store)(last + NAME(delta_place)(in, at, s, m), state + m * LANES, n);
}

/* Runs BLOCK(at, n) for the blocks of every head, n a constant where the block is full. */
#define EACH_BLOCK(heads, width)                                                     \
    for (int64_t head = 0; head < (heads); head++)                                   \
        for (int64_t p = 0; p < (width); p += LANES) {                               \
            NAME(DeltaBlock) at = {head, p, (width) - p < LANES ? (width) - p : LANES}; \
            if (at.n == LANES) BLOCK(&at, LANES);                                    \
            else BLOCK(&at, at.n);                                                   \
        }

void NAME(delta_forward)(const REAL *q, int64_t q_pitch, const REAL *k, int64_t k_pitch, const REAL *v, int64_t v_pitch,
                         const REAL *decay, int64_t decay_pitch, const REAL *beta, int64_t beta_pitch, const REAL *first, REAL *o,
                         REAL *last, int64_t heads, int64_t keys, const uint8_t *reset, int64_t reverse, const int64_t *start,
                         const int64_t *length, int64_t sequences, int64_t rows, int64_t width, int64_t threads) {
    const NAME(Delta) in = {q, k, v, decay, beta, first, q_pitch, k_pitch, v_pitch, decay_pitch, beta_pitch,
                            reset, reverse, heads, width, keys};
    (void)rows;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++) {
        REAL *state = malloc(keys * LANES * sizeof(REAL));
#define BLOCK(at, n) NAME(delta_forward_block)(&in, at, n, o, last, s, start[s], length[s], state)
        EACH_BLOCK(heads, width)
#undef BLOCK
        free(state);
    }
}

typedef struct {
    REAL *dq, *dk, *dv, *ddecay, *dbeta, *dfirst;
} NAME(DeltaGradients);

/* Adds the sum over lanes of a[k] * b[k]. */
INLINE void NAME(add_product)(REAL *to, const REAL *a, const REAL *b) {
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int k = 0; k < LANES; k++) sum += a[k] * b[k];
    *to += sum;
}

/* One step backwards. carry: [keys, LANES] what later steps hand back to the state. */
INLINE void NAME(delta_step_backward)(const NAME(Delta) * in, const NAME(DeltaBlock) * at, int64_t row, int64_t n, const REAL *g,
                                      const REAL *old, const REAL *state, const REAL *recalled, REAL *restrict carry,
                                      const NAME(DeltaGradients) * to) {
    const int64_t gate = row * in->heads + at->head;
    const REAL *key = in->k + row * in->k_pitch + at->head * in->keys, *query = in->q + row * in->q_pitch + at->head * in->keys;
    const REAL decay = in->decay[row * in->decay_pitch + at->head], beta = in->beta[row * in->beta_pitch + at->head];
    const int cut = in->reset && in->reset[row];
    REAL value[LANES], missing[LANES], w[LANES], written[LANES], lacking[LANES], owed[LANES], kept[LANES], ones[LANES];
    NAME(load)(value, in->v + row * in->v_pitch + at->head * in->width + at->p, n);
    EACH_LANE {
        missing[k] = value[k] - decay * recalled[k];
        w[k] = beta * missing[k];
        written[k] = kept[k] = 0;
        ones[k] = 1;
    }
    for (int64_t m = 0; m < in->keys; m++) {
        REAL *back = carry + m * LANES;
        const REAL *after = state + m * LANES;
        NAME(add_product)(to->dq + gate * in->keys + m, after, g);
        EACH_LANE {
            back[k] += g[k] * query[m];
            written[k] += back[k] * key[m];
        }
    }
    EACH_LANE {
        lacking[k] = beta * written[k];
        owed[k] = decay * lacking[k];
    }
    NAME(store)(to->dv + gate * in->width + at->p, lacking, n);
    NAME(add_product)(to->dbeta + gate, written, missing);
    for (int64_t m = 0; m < in->keys; m++) {
        REAL *back = carry + m * LANES;
        const REAL *before = old + m * LANES;
        REAL sum = 0;
        if (cut) {
            NAME(add_product)(&sum, back, w);
            EACH_LANE back[k] = 0;
        } else {
#pragma omp simd reduction(+ : sum)
            for (int k = 0; k < LANES; k++) sum += back[k] * w[k] - owed[k] * before[k];
            EACH_LANE {
                REAL handed = back[k] - lacking[k] * key[m];
                kept[k] += handed * before[k];
                back[k] = decay * handed;
            }
        }
        to->dk[gate * in->keys + m] += sum;
    }
    NAME(add_product)(to->ddecay + gate, kept, ones);
}

/* No state was kept: noted every `piece` steps on a first run, and made again piece by piece on the way back. */
INLINE void NAME(delta_backward_block)(const NAME(Delta) * in, const NAME(DeltaBlock) * at, int64_t n, const REAL *g,
                                       int64_t g_pitch, const REAL *g_last, const NAME(DeltaGradients) * to, int64_t s,
                                       int64_t start, int64_t length, int64_t piece, REAL *scratch) {
    const int64_t size = in->keys * LANES, pieces = (length + piece - 1) / piece;
    REAL *carry = scratch, *noted = carry + size, *replayed = noted + (pieces + 1) * size;
    REAL *recalled = replayed + (piece + 1) * size, gv[LANES];
    for (int64_t m = 0; m < in->keys; m++) {
        NAME(load_or_zero)(noted + m * LANES, in->first ? in->first + NAME(delta_place)(in, at, s, m) : 0, n);
        NAME(load_or_zero)(carry + m * LANES, g_last ? g_last + NAME(delta_place)(in, at, s, m) : 0, n);
    }
    for (int64_t b = 0; b + 1 < pieces; b++) {
        const REAL *from = noted + b * size;
        for (int64_t q = b * piece; q < (b + 1) * piece; q++) {
            NAME(delta_step)(noted + (b + 1) * size, from, in, at, NAME(delta_row)(in, start, length, q), n, 0, 0);
            from = noted + (b + 1) * size;
        }
    }
    for (int64_t b = pieces - 1; b >= 0; b--) {
        int64_t begin = b * piece, end = begin + piece < length ? begin + piece : length;
        memcpy(replayed, noted + b * size, size * sizeof(REAL));
        for (int64_t q = begin; q < end; q++)
            NAME(delta_step)(replayed + (q - begin + 1) * size, replayed + (q - begin) * size, in, at,
                             NAME(delta_row)(in, start, length, q), n, recalled + (q - begin) * LANES, 0);
        for (int64_t q = end - 1; q >= begin; q--) {
            int64_t row = NAME(delta_row)(in, start, length, q), j = q - begin;
            NAME(load)(gv, g + row * g_pitch + at->head * in->width + at->p, n);
            NAME(delta_step_backward)(in, at, row, n, gv, replayed + j * size, replayed + (j + 1) * size, recalled + j * LANES,
                                      carry, to);
        }
    }
    for (int64_t m = 0; m < in->keys; m++) NAME(store)(to->dfirst + NAME(delta_place)(in, at, s, m), carry + m * LANES, n);
}

/* dq, dk, ddecay and dbeta come filled with zeros. */
void NAME(delta_backward)(const REAL *q, int64_t q_pitch, const REAL *k, int64_t k_pitch, const REAL *v, int64_t v_pitch,
                          const REAL *decay, int64_t decay_pitch, const REAL *beta, int64_t beta_pitch, const REAL *first,
                          const REAL *g, int64_t g_pitch, const REAL *g_last, REAL *dq, REAL *dk, REAL *dv, REAL *ddecay,
                          REAL *dbeta, REAL *dfirst, int64_t heads, int64_t keys, const uint8_t *reset, int64_t reverse,
                          const int64_t *start, const int64_t *length, int64_t sequences, int64_t rows, int64_t width,
                          int64_t threads) {
    const NAME(Delta) in = {q, k, v, decay, beta, first, q_pitch, k_pitch, v_pitch, decay_pitch, beta_pitch,
                            reset, reverse, heads, width, keys};
    const NAME(DeltaGradients) to = {dq, dk, dv, ddecay, dbeta, dfirst};
    (void)rows;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (threads > 1)
    for (int64_t s = 0; s < sequences; s++) {
        int64_t piece = 1;
        while (piece * piece < length[s]) piece++;
        int64_t pieces = (length[s] + piece - 1) / piece;
        REAL *scratch = malloc(((pieces + piece + 3) * keys + piece) * LANES * sizeof(REAL));
#define BLOCK(at, n) NAME(delta_backward_block)(&in, at, n, g, g_pitch, g_last, &to, s, start[s], length[s], piece, scratch)
        EACH_BLOCK(heads, width)
#undef BLOCK
        free(scratch);
    }
}
