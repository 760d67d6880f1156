/* Rows as vectors that stay in registers.
 *
 * Sequences and pitches are those of blocks.h. Channels are taken in blocks of VECTORS, half as many, ..., one vector of WIDTH
 * numbers; what is left over is padded with zeros. A channel's bits never depend on the block it falls in, nor on where a
 * sequence was split. Compilers with GNU vectors split a vector where the processor's are shorter.
 */
#include "lanes.h"

#define WIDTH ((int64_t)(64 / sizeof(REAL)))
#define VECTORS 8
typedef REAL VECTOR __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
#define EACH_VECTOR _Pragma("GCC unroll 8") for (int64_t j = 0; j < vectors; j++)

/* n numbers of a row, WIDTH or fewer, the rest zero; a row that is not there is zero. */
INLINE VECTOR NAME(get)(const REAL *from, int64_t n) {
    VECTOR v = {0};
    if (from && n == WIDTH) return *(const VECTOR *)from;
    if (from) memcpy(&v, from, n * sizeof(REAL));
    return v;
}

INLINE void NAME(put)(REAL *to, VECTOR v, int64_t n, int stream) {
    if (n != WIDTH) memcpy(to, &v, n * sizeof(REAL));
    else if (stream) stream_bytes(to, &v, sizeof v);
    else *(VECTOR *)to = v;
}

/* CALL(vectors, n) at each block's first channel `d`, both constant but in the last block, whose only vector holds n. */
#define EACH_BLOCK_OF_VECTORS(CALL)                                    \
    for (int64_t d = 0, left; (left = channels - d) > 0;)              \
        if (left >= 8 * WIDTH) { CALL(8, WIDTH); d += 8 * WIDTH; }     \
        else if (left >= 4 * WIDTH) { CALL(4, WIDTH); d += 4 * WIDTH; } \
        else if (left >= 2 * WIDTH) { CALL(2, WIDTH); d += 2 * WIDTH; } \
        else if (left >= WIDTH) { CALL(1, WIDTH); d += WIDTH; }        \
        else { CALL(1, left); d += left; }
