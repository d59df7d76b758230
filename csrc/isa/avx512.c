/* avx512: 512-bit vectors with masks (F, VL, DQ, BW: x86-64-v4). */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../compiler.h"

#define ISA avx512
/* 8 x 3 accumulators and 3 vectors of weights, of 32 registers; the other operand comes from memory, broadcast by the FMA. */
#define TILE_ROWS 8
#define TILE_VECTORS 3
#define CAN_STREAM 1
#if defined(__GNUC__) && !defined(__clang__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#endif

TARGET_BEGIN("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi2")

typedef __m512 v_f32;
typedef __mmask16 m_f32;
typedef __m512d v_f64;
typedef __mmask8 m_f64;
enum { LANES_f32 = 16, LANES_f64 = 8 };

INLINE __mmask16 first_f32(size_t n) { return (__mmask16)((1u << n) - 1); }
INLINE __mmask8 first_f64(size_t n) { return (__mmask8)((1u << n) - 1); }

INLINE void stream_end(void) { _mm_sfence(); }
INLINE float s_fma_f32(float a, float b, float c) { return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))); }
INLINE v_f32 v_set1_f32(float x) { return _mm512_set1_ps(x); }
INLINE v_f32 v_load_f32(const float *p) { return _mm512_loadu_ps(p); }
INLINE v_f32 v_load_n_f32(const float *p, size_t n) { return _mm512_maskz_loadu_ps(first_f32(n), p); }
INLINE void v_store_f32(float *p, v_f32 x) { _mm512_storeu_ps(p, x); }
INLINE void v_store_n_f32(float *p, v_f32 x, size_t n) { _mm512_mask_storeu_ps(p, first_f32(n), x); }
INLINE void v_stream_f32(float *p, v_f32 x) { _mm512_stream_ps(p, x); }
INLINE v_f32 v_add_f32(v_f32 a, v_f32 b) { return _mm512_add_ps(a, b); }
INLINE v_f32 v_sub_f32(v_f32 a, v_f32 b) { return _mm512_sub_ps(a, b); }
INLINE v_f32 v_mul_f32(v_f32 a, v_f32 b) { return _mm512_mul_ps(a, b); }
INLINE v_f32 v_div_f32(v_f32 a, v_f32 b) { return _mm512_div_ps(a, b); }
INLINE v_f32 v_sqrt_f32(v_f32 a) { return _mm512_sqrt_ps(a); }
INLINE v_f32 v_fma_f32(v_f32 a, v_f32 b, v_f32 c) { return _mm512_fmadd_ps(a, b, c); }
INLINE v_f32 v_min_f32(v_f32 a, v_f32 b) { return _mm512_min_ps(a, b); }
INLINE v_f32 v_neg_f32(v_f32 a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
INLINE v_f32 v_abs_f32(v_f32 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
INLINE v_f32 v_copysign_f32(v_f32 a, v_f32 sign) { return _mm512_or_ps(v_abs_f32(a), _mm512_and_ps(_mm512_set1_ps(-0.0f), sign)); }
INLINE m_f32 v_lt_f32(v_f32 a, v_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE m_f32 v_le_f32(v_f32 a, v_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
INLINE m_f32 v_eq_f32(v_f32 a, v_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
INLINE v_f32 v_select_f32(m_f32 m, v_f32 a, v_f32 b) { return _mm512_mask_blend_ps(m, b, a); }
INLINE v_f32 v_exponent_f32(v_f32 t)
{
    const __m512i bits = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_castps_si512(_mm512_set1_ps(1.0f))));
}
INLINE v_f32 v_load_4s_f32(const float *p, size_t ld)
{
    const __m512 a = _mm512_castps128_ps512(_mm_loadu_ps(p));
    const __m512 b = _mm512_mask_broadcast_f32x4(a, 0x00f0, _mm_loadu_ps(p + ld));
    const __m512 c = _mm512_mask_broadcast_f32x4(b, 0x0f00, _mm_loadu_ps(p + 2 * ld));
    return _mm512_mask_broadcast_f32x4(c, 0xf000, _mm_loadu_ps(p + 3 * ld));
}
INLINE void v_deal_4s_f32(v_f32 r[4])
{
    const __m512 a = _mm512_shuffle_f32x4(r[0], r[1], 0x44), b = _mm512_shuffle_f32x4(r[0], r[1], 0xee);
    const __m512 c = _mm512_shuffle_f32x4(r[2], r[3], 0x44), d = _mm512_shuffle_f32x4(r[2], r[3], 0xee);
    r[0] = _mm512_shuffle_f32x4(a, c, 0x88);
    r[1] = _mm512_shuffle_f32x4(a, c, 0xdd);
    r[2] = _mm512_shuffle_f32x4(b, d, 0x88);
    r[3] = _mm512_shuffle_f32x4(b, d, 0xdd);
}
INLINE void v_transpose_4s_f32(v_f32 r[4])
{
    const __m512 a = _mm512_unpacklo_ps(r[0], r[1]), b = _mm512_unpackhi_ps(r[0], r[1]);
    const __m512 c = _mm512_unpacklo_ps(r[2], r[3]), d = _mm512_unpackhi_ps(r[2], r[3]);
    r[0] = _mm512_shuffle_ps(a, c, 0x44);
    r[1] = _mm512_shuffle_ps(a, c, 0xee);
    r[2] = _mm512_shuffle_ps(b, d, 0x44);
    r[3] = _mm512_shuffle_ps(b, d, 0xee);
}
INLINE v_f32 v_repeat_4_f32(const float *p) { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }
INLINE void v_spread_4s_f32(v_f32 x, v_f32 r[4])
{
    r[0] = _mm512_permute_ps(x, 0x00);
    r[1] = _mm512_permute_ps(x, 0x55);
    r[2] = _mm512_permute_ps(x, 0xaa);
    r[3] = _mm512_permute_ps(x, 0xff);
}

INLINE void v_transpose_f32(v_f32 *r)
{
    UNROLL_FOR (int i = 0; i < 16; i += 4) v_transpose_4s_f32(r + i);
    UNROLL_FOR (int j = 0; j < 4; j++) {
        const __m512 even0 = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88), odd0 = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
        const __m512 even1 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88), odd1 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
        r[j] = _mm512_shuffle_f32x4(even0, even1, 0x88);
        r[4 + j] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
        r[8 + j] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
        r[12 + j] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
    }
}

INLINE double s_fma_f64(double a, double b, double c) { return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c))); }
INLINE v_f64 v_set1_f64(double x) { return _mm512_set1_pd(x); }
INLINE v_f64 v_load_f64(const double *p) { return _mm512_loadu_pd(p); }
INLINE v_f64 v_load_n_f64(const double *p, size_t n) { return _mm512_maskz_loadu_pd(first_f64(n), p); }
INLINE void v_store_f64(double *p, v_f64 x) { _mm512_storeu_pd(p, x); }
INLINE void v_store_n_f64(double *p, v_f64 x, size_t n) { _mm512_mask_storeu_pd(p, first_f64(n), x); }
INLINE void v_stream_f64(double *p, v_f64 x) { _mm512_stream_pd(p, x); }
INLINE v_f64 v_add_f64(v_f64 a, v_f64 b) { return _mm512_add_pd(a, b); }
INLINE v_f64 v_sub_f64(v_f64 a, v_f64 b) { return _mm512_sub_pd(a, b); }
INLINE v_f64 v_mul_f64(v_f64 a, v_f64 b) { return _mm512_mul_pd(a, b); }
INLINE v_f64 v_div_f64(v_f64 a, v_f64 b) { return _mm512_div_pd(a, b); }
INLINE v_f64 v_sqrt_f64(v_f64 a) { return _mm512_sqrt_pd(a); }
INLINE v_f64 v_fma_f64(v_f64 a, v_f64 b, v_f64 c) { return _mm512_fmadd_pd(a, b, c); }
INLINE v_f64 v_min_f64(v_f64 a, v_f64 b) { return _mm512_min_pd(a, b); }
INLINE v_f64 v_neg_f64(v_f64 a) { return _mm512_xor_pd(a, _mm512_set1_pd(-0.0)); }
INLINE v_f64 v_abs_f64(v_f64 a) { return _mm512_andnot_pd(_mm512_set1_pd(-0.0), a); }
INLINE v_f64 v_copysign_f64(v_f64 a, v_f64 sign) { return _mm512_or_pd(v_abs_f64(a), _mm512_and_pd(_mm512_set1_pd(-0.0), sign)); }
INLINE m_f64 v_lt_f64(v_f64 a, v_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
INLINE m_f64 v_le_f64(v_f64 a, v_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_LE_OQ); }
INLINE m_f64 v_eq_f64(v_f64 a, v_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
INLINE v_f64 v_select_f64(m_f64 m, v_f64 a, v_f64 b) { return _mm512_mask_blend_pd(m, b, a); }
INLINE v_f64 v_exponent_f64(v_f64 t)
{
    const __m512i bits = _mm512_slli_epi64(_mm512_castpd_si512(t), 52);
    return _mm512_castsi512_pd(_mm512_add_epi64(bits, _mm512_castpd_si512(_mm512_set1_pd(1.0))));
}
INLINE v_f64 v_load_4s_f64(const double *p, size_t ld)
{
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(p)), _mm256_loadu_pd(p + ld), 1);
}
INLINE void v_deal_4s_f64(v_f64 r[2])
{
    const __m512d a = _mm512_shuffle_f64x2(r[0], r[1], 0x44);
    r[1] = _mm512_shuffle_f64x2(r[0], r[1], 0xee);
    r[0] = a;
}
INLINE void v_transpose_4s_f64(v_f64 r[4])
{
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    const __m512d a = _mm512_unpacklo_pd(r[0], r[1]), b = _mm512_unpackhi_pd(r[0], r[1]);
    const __m512d c = _mm512_unpacklo_pd(r[2], r[3]), d = _mm512_unpackhi_pd(r[2], r[3]);
    r[0] = _mm512_permutex2var_pd(a, low, c);
    r[1] = _mm512_permutex2var_pd(b, low, d);
    r[2] = _mm512_permutex2var_pd(a, high, c);
    r[3] = _mm512_permutex2var_pd(b, high, d);
}
INLINE v_f64 v_repeat_4_f64(const double *p) { return _mm512_broadcast_f64x4(_mm256_loadu_pd(p)); }
INLINE void v_spread_4s_f64(v_f64 x, v_f64 r[4])
{
    r[0] = _mm512_permutex_pd(x, 0x00);
    r[1] = _mm512_permutex_pd(x, 0x55);
    r[2] = _mm512_permutex_pd(x, 0xaa);
    r[3] = _mm512_permutex_pd(x, 0xff);
}
INLINE void v_transpose_f64(v_f64 *r)
{
    __m512d a[8];
    UNROLL_FOR (int i = 0; i < 8; i += 2) {
        a[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
    }
    UNROLL_FOR (int j = 0; j < 2; j++) {
        const __m512d even0 = _mm512_shuffle_f64x2(a[j], a[2 + j], 0x88), odd0 = _mm512_shuffle_f64x2(a[j], a[2 + j], 0xdd);
        const __m512d even1 = _mm512_shuffle_f64x2(a[4 + j], a[6 + j], 0x88), odd1 = _mm512_shuffle_f64x2(a[4 + j], a[6 + j], 0xdd);
        r[j] = _mm512_shuffle_f64x2(even0, even1, 0x88);
        r[2 + j] = _mm512_shuffle_f64x2(odd0, odd1, 0x88);
        r[4 + j] = _mm512_shuffle_f64x2(even0, even1, 0xdd);
        r[6 + j] = _mm512_shuffle_f64x2(odd0, odd1, 0xdd);
    }
}

#include "../kernels/instantiate.h"

TARGET_END
#else
typedef int pynn_avx512_is_for_x86_64; /* ISO C wants a declaration in every file */
#endif
