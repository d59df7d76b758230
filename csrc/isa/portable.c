/* portable: one lane of plain C and fma(); what every other instruction set must agree with to the last bit. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../compiler.h"

#define ISA portable
#define TILE_ROWS 4
#define TILE_VECTORS 3

#define PORTABLE(T, BITS, SUFFIX, FMA, SQRT, MANTISSA, EXPONENT_OF_1)                                                        \
    typedef T v_##SUFFIX;                                                                                              \
    typedef int m_##SUFFIX;                                                                                            \
    enum { LANES_##SUFFIX = 1 };                                                                                       \
    INLINE BITS bits_##SUFFIX(T x) { BITS b; memcpy(&b, &x, sizeof b); return b; }                                     \
    INLINE T value_##SUFFIX(BITS b) { T x; memcpy(&x, &b, sizeof x); return x; }                                       \
    INLINE T s_fma_##SUFFIX(T a, T b, T c) { return FMA(a, b, c); }                                                    \
    INLINE T v_set1_##SUFFIX(T x) { return x; }                                                                        \
    INLINE T v_load_##SUFFIX(const T *p) { return *p; }                                                                \
    INLINE T v_load_n_##SUFFIX(const T *p, size_t n) { return n ? *p : 0; }                                            \
    INLINE void v_store_##SUFFIX(T *p, T x) { *p = x; }                                                                \
    INLINE void v_store_n_##SUFFIX(T *p, T x, size_t n) { if (n) *p = x; }                                             \
    INLINE T v_add_##SUFFIX(T a, T b) { return a + b; }                                                                \
    INLINE T v_sub_##SUFFIX(T a, T b) { return a - b; }                                                                \
    INLINE T v_mul_##SUFFIX(T a, T b) { return a * b; }                                                                \
    INLINE T v_div_##SUFFIX(T a, T b) { return a / b; }                                                                \
    INLINE T v_sqrt_##SUFFIX(T a) { return SQRT(a); }                                                                  \
    INLINE T v_fma_##SUFFIX(T a, T b, T c) { return FMA(a, b, c); }                                                    \
    INLINE T v_min_##SUFFIX(T a, T b) { return a < b ? a : b; }                                                        \
    INLINE T v_neg_##SUFFIX(T a) { return -a; }                                                                        \
    INLINE T v_abs_##SUFFIX(T a) { return value_##SUFFIX(bits_##SUFFIX(a) & (BITS)~((BITS)1 << (sizeof(T) * 8 - 1))); } \
    INLINE T v_copysign_##SUFFIX(T a, T sign)                                                                          \
    {                                                                                                                  \
        const BITS s = (BITS)1 << (sizeof(T) * 8 - 1);                                                                 \
        return value_##SUFFIX((bits_##SUFFIX(a) & ~s) | (bits_##SUFFIX(sign) & s));                                    \
    }                                                                                                                  \
    INLINE int v_lt_##SUFFIX(T a, T b) { return a < b; }                                                               \
    INLINE int v_le_##SUFFIX(T a, T b) { return a <= b; }                                                              \
    INLINE int v_eq_##SUFFIX(T a, T b) { return a == b; }                                                              \
    INLINE T v_select_##SUFFIX(int m, T a, T b) { return m ? a : b; }                                                  \
    INLINE T v_exponent_##SUFFIX(T t) { return value_##SUFFIX((bits_##SUFFIX(t) << MANTISSA) + (BITS)EXPONENT_OF_1); }  \
    INLINE T v_load_4s_##SUFFIX(const T *p, size_t ld) { (void)ld; return *p; }                                        \
    INLINE void v_deal_4s_##SUFFIX(T *r) { (void)r; }                                                                  \
    INLINE void v_transpose_4s_##SUFFIX(T r[4]) { (void)r; } /* never called */                                           \
    INLINE T v_repeat_4_##SUFFIX(const T *p) { return *p; }                                                            \
    INLINE void v_spread_4s_##SUFFIX(T x, T r[4]) { r[0] = r[1] = r[2] = r[3] = x; } /* never called */                  \
    INLINE void v_transpose_##SUFFIX(T *r) { (void)r; }

PORTABLE(float, uint32_t, f32, fmaf, sqrtf, 23, 0x3f800000)
PORTABLE(double, uint64_t, f64, fma, sqrt, 52, 0x3ff0000000000000)

#include "../kernels/instantiate.h"
