/* neon: 128-bit vectors of 64-bit Arm, which always has them. */
#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../compiler.h"

#define ISA neon
/* 8 x 3 accumulators and 3 vectors of weights, of 32 registers. */
#define TILE_ROWS 8
#define TILE_VECTORS 3

typedef float32x4_t v_f32;
typedef uint32x4_t m_f32;
typedef float64x2_t v_f64;
typedef uint64x2_t m_f64;
enum { LANES_f32 = 4, LANES_f64 = 2 };

INLINE float s_fma_f32(float a, float b, float c) { return fmaf(a, b, c); }
INLINE v_f32 v_set1_f32(float x) { return vdupq_n_f32(x); }
INLINE v_f32 v_load_f32(const float *p) { return vld1q_f32(p); }
INLINE v_f32 v_load_n_f32(const float *p, size_t n)
{
    float whole[4] = {0, 0, 0, 0};
    memcpy(whole, p, n * sizeof *p);
    return vld1q_f32(whole);
}
INLINE void v_store_f32(float *p, v_f32 x) { vst1q_f32(p, x); }
INLINE void v_store_n_f32(float *p, v_f32 x, size_t n)
{
    float whole[4];
    vst1q_f32(whole, x);
    memcpy(p, whole, n * sizeof *p);
}
INLINE v_f32 v_add_f32(v_f32 a, v_f32 b) { return vaddq_f32(a, b); }
INLINE v_f32 v_sub_f32(v_f32 a, v_f32 b) { return vsubq_f32(a, b); }
INLINE v_f32 v_mul_f32(v_f32 a, v_f32 b) { return vmulq_f32(a, b); }
INLINE v_f32 v_div_f32(v_f32 a, v_f32 b) { return vdivq_f32(a, b); }
INLINE v_f32 v_sqrt_f32(v_f32 a) { return vsqrtq_f32(a); }
INLINE v_f32 v_fma_f32(v_f32 a, v_f32 b, v_f32 c) { return vfmaq_f32(c, a, b); }
INLINE v_f32 v_min_f32(v_f32 a, v_f32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
INLINE v_f32 v_neg_f32(v_f32 a) { return vnegq_f32(a); }
INLINE v_f32 v_abs_f32(v_f32 a) { return vabsq_f32(a); }
INLINE v_f32 v_copysign_f32(v_f32 a, v_f32 sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, a); }
INLINE m_f32 v_lt_f32(v_f32 a, v_f32 b) { return vcltq_f32(a, b); }
INLINE m_f32 v_le_f32(v_f32 a, v_f32 b) { return vcleq_f32(a, b); }
INLINE m_f32 v_eq_f32(v_f32 a, v_f32 b) { return vceqq_f32(a, b); }
INLINE v_f32 v_select_f32(m_f32 m, v_f32 a, v_f32 b) { return vbslq_f32(m, a, b); }
INLINE v_f32 v_exponent_f32(v_f32 t)
{
    const uint32x4_t bits = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);
    return vreinterpretq_f32_u32(vaddq_u32(bits, vreinterpretq_u32_f32(vdupq_n_f32(1.0f))));
}
INLINE v_f32 v_load_4s_f32(const float *p, size_t ld)
{
    (void)ld;
    return vld1q_f32(p);
}
INLINE void v_deal_4s_f32(v_f32 *r) { (void)r; }
INLINE v_f32 v_repeat_4_f32(const float *p) { return vld1q_f32(p); }
INLINE void v_spread_4s_f32(v_f32 x, v_f32 r[4])
{
    r[0] = vdupq_laneq_f32(x, 0);
    r[1] = vdupq_laneq_f32(x, 1);
    r[2] = vdupq_laneq_f32(x, 2);
    r[3] = vdupq_laneq_f32(x, 3);
}

INLINE void v_transpose_f32(v_f32 *r)
{
    const float32x4_t a = vtrn1q_f32(r[0], r[1]), b = vtrn2q_f32(r[0], r[1]);
    const float32x4_t c = vtrn1q_f32(r[2], r[3]), d = vtrn2q_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
    r[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    r[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
    r[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
}
INLINE void v_transpose_4s_f32(v_f32 *r) { v_transpose_f32(r); }

INLINE double s_fma_f64(double a, double b, double c) { return fma(a, b, c); }
INLINE v_f64 v_set1_f64(double x) { return vdupq_n_f64(x); }
INLINE v_f64 v_load_f64(const double *p) { return vld1q_f64(p); }
INLINE v_f64 v_load_n_f64(const double *p, size_t n)
{
    double whole[2] = {0, 0};
    memcpy(whole, p, n * sizeof *p);
    return vld1q_f64(whole);
}
INLINE void v_store_f64(double *p, v_f64 x) { vst1q_f64(p, x); }
INLINE void v_store_n_f64(double *p, v_f64 x, size_t n)
{
    double whole[2];
    vst1q_f64(whole, x);
    memcpy(p, whole, n * sizeof *p);
}
INLINE v_f64 v_add_f64(v_f64 a, v_f64 b) { return vaddq_f64(a, b); }
INLINE v_f64 v_sub_f64(v_f64 a, v_f64 b) { return vsubq_f64(a, b); }
INLINE v_f64 v_mul_f64(v_f64 a, v_f64 b) { return vmulq_f64(a, b); }
INLINE v_f64 v_div_f64(v_f64 a, v_f64 b) { return vdivq_f64(a, b); }
INLINE v_f64 v_sqrt_f64(v_f64 a) { return vsqrtq_f64(a); }
INLINE v_f64 v_fma_f64(v_f64 a, v_f64 b, v_f64 c) { return vfmaq_f64(c, a, b); }
INLINE v_f64 v_min_f64(v_f64 a, v_f64 b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
INLINE v_f64 v_neg_f64(v_f64 a) { return vnegq_f64(a); }
INLINE v_f64 v_abs_f64(v_f64 a) { return vabsq_f64(a); }
INLINE v_f64 v_copysign_f64(v_f64 a, v_f64 sign) { return vbslq_f64(vdupq_n_u64(0x8000000000000000u), sign, a); }
INLINE m_f64 v_lt_f64(v_f64 a, v_f64 b) { return vcltq_f64(a, b); }
INLINE m_f64 v_le_f64(v_f64 a, v_f64 b) { return vcleq_f64(a, b); }
INLINE m_f64 v_eq_f64(v_f64 a, v_f64 b) { return vceqq_f64(a, b); }
INLINE v_f64 v_select_f64(m_f64 m, v_f64 a, v_f64 b) { return vbslq_f64(m, a, b); }
INLINE v_f64 v_exponent_f64(v_f64 t)
{
    const uint64x2_t bits = vshlq_n_u64(vreinterpretq_u64_f64(t), 52);
    return vreinterpretq_f64_u64(vaddq_u64(bits, vreinterpretq_u64_f64(vdupq_n_f64(1.0))));
}
INLINE v_f64 v_load_4s_f64(const double *p, size_t ld)
{
    (void)ld;
    return vld1q_f64(p);
}
INLINE void v_deal_4s_f64(v_f64 *r) { (void)r; }
INLINE v_f64 v_repeat_4_f64(const double *p) { return vld1q_f64(p); }
INLINE void v_spread_4s_f64(v_f64 x, v_f64 r[4]) { r[0] = r[1] = r[2] = r[3] = x; } /* never called */
INLINE void v_transpose_4s_f64(v_f64 *r) { (void)r; } /* never called */
INLINE void v_transpose_f64(v_f64 *r)
{
    const float64x2_t a = vzip1q_f64(r[0], r[1]);
    r[1] = vzip2q_f64(r[0], r[1]);
    r[0] = a;
}

#include "../kernels/instantiate.h"

#else
typedef int pynn_neon_is_for_aarch64; /* ISO C wants a declaration in every file */
#endif
