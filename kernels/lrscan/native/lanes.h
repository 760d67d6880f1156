/* Scalar functions that the compiler turns into vector code, exact to about one unit in the last place. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 64
#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(f) JOIN(f, REAL)
#define EACH_LANE for (int k = 0; k < LANES; k++)

/* exp(x), meant for x <= 0 and good to 88: 2^n * p(r), |r| <= ln2 / 2. */
INLINE float exp_negative_float(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
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
INLINE float one_minus_exp_float(float z) {
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

INLINE double exp_negative_double(double x) { return exp(x); }
INLINE double one_minus_exp_double(double z) { return -expm1(-z); }
INLINE float root_float(float x) { return sqrtf(x); }
INLINE double root_double(double x) { return sqrt(x); }
