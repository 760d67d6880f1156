/* Scalar functions that the compiler turns into vector code, exact to about one unit in the last place. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifndef LANES
#define LANES 64
#endif
#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(f) JOIN(f, REAL)
/* Lanes never meet, so a loop over them need not fear that what it writes is what it reads. */
#define EACH_LANE _Pragma("GCC ivdep") for (int k = 0; k < LANES; k++)

/* exp(x) for x <= 0: 2^n * p(r), |r| <= ln2 / 2. */
INLINE float exp_negative_float(float x) {
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

INLINE float exp_float(float x) { return exp_negative_float(x > 88.0f ? 88.0f : x); }
INLINE double exp_double(double x) { return exp(x); }

/* 1 - exp(-z) for z >= 0 without cancellation, from e = exp(-z): a series below 1/2. */
INLINE float one_minus_exp_float(float z, float e) {
    float p = -2.4801587e-5f;
    p = fmaf(p, z, 1.9841270e-4f);
    p = fmaf(p, z, -1.3888889e-3f);
    p = fmaf(p, z, 8.3333333e-3f);
    p = fmaf(p, z, -4.1666667e-2f);
    p = fmaf(p, z, 1.6666667e-1f);
    p = fmaf(p, z, -0.5f);
    p = fmaf(p, z, 1.0f) * z;
    return z < 0.5f ? p : 1.0f - e;
}

INLINE double exp_negative_double(double x) { return exp(x); }
INLINE double one_minus_exp_double(double z, double e) {
    (void)e;
    return -expm1(-z);
}
INLINE float root_float(float x) { return sqrtf(x); }
INLINE double root_double(double x) { return sqrt(x); }

/* Whether outputs should pass the caches by: they and what is read with them would not fit, and writing a line without
 * reading it first saves a third of a scan's traffic. What the system calls the last cache may be the sum over the machine,
 * and other cores share it: a third of it is counted on, and never more than SHARE. Rows must begin on cache lines. */
#define SHARE (12 << 20)
static inline int streams(int64_t bytes, int64_t row_bytes, const void *to) {
    int64_t cache = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    cache = sysconf(_SC_LEVEL3_CACHE_SIZE) / 3;
#endif
    if (cache <= 0 || cache > SHARE) cache = SHARE;
    return bytes > cache && row_bytes % 64 == 0 && (uintptr_t)to % 64 == 0;
}

INLINE void stream_bytes(void *to, const void *from, int64_t bytes) {
#if defined(__AVX512F__)
    for (int64_t k = 0; k < bytes; k += 64) _mm512_stream_si512((void *)((char *)to + k), _mm512_loadu_si512((const char *)from + k));
#elif defined(__AVX__)
    for (int64_t k = 0; k < bytes; k += 32) _mm256_stream_si256((void *)((char *)to + k), _mm256_loadu_si256((const void *)((const char *)from + k)));
#elif defined(__SSE2__)
    for (int64_t k = 0; k < bytes; k += 16) _mm_stream_si128((void *)((char *)to + k), _mm_loadu_si128((const void *)((const char *)from + k)));
#else
    memcpy(to, from, bytes);
#endif
}

/* What was streamed is seen by other threads from here on. */
INLINE void stream_end(void) {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

/* The state before row `row` of step q: the scan's own row, the first state, or zero after a reset. */
INLINE const REAL *NAME(before)(const REAL *h, const REAL *first, int64_t row, int64_t q, int64_t channels, int64_t reverse,
                                int cut) {
    if (cut) return 0;
    return q > 0 ? h + (row + (reverse ? 1 : -1)) * channels : first;
}
