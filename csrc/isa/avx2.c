/* avx2: 256-bit vectors with FMA (x86-64-v3). */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../compiler.h"

#define ISA avx2
/* 4 x 3 accumulators, 3 vectors of weights and 1 broadcast fill the 16 registers. */
#define TILE_ROWS 4
#define TILE_VECTORS 3
/* A step takes 6 cycles, in which a level 2 cache gives little more than the 96 bytes of B that it reads (784 x 128, 256 rows, float32, none of it in blocks:
 * 850 us in one part, 684 us so). */
#define TILE_DEPTH 256
#define CAN_STREAM 1
#if defined(__GNUC__) && !defined(__clang__)
#define IN_REGISTER(v) __asm__("" : "+x"(v))
#endif

TARGET_BEGIN("avx2,fma")

typedef __m256 v_f32;
typedef __m256 m_f32;
typedef __m256d v_f64;
typedef __m256d m_f64;
enum { LANES_f32 = 8, LANES_f64 = 4 };

/* n ones and then zeros, read at lanes - n */
static const int32_t mask_f32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
static const int64_t mask_f64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

INLINE __m256i first_f32(size_t n) { return _mm256_loadu_si256((const __m256i *)(const void *)(mask_f32 + 8 - n)); }
INLINE __m256i first_f64(size_t n) { return _mm256_loadu_si256((const __m256i *)(const void *)(mask_f64 + 4 - n)); }

INLINE void stream_end(void) { _mm_sfence(); }
INLINE float s_fma_f32(float a, float b, float c) { return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c))); }
INLINE v_f32 v_set1_f32(float x) { return _mm256_set1_ps(x); }
INLINE v_f32 v_load_f32(const float *p) { return _mm256_loadu_ps(p); }
INLINE v_f32 v_load_n_f32(const float *p, size_t n) { return _mm256_maskload_ps(p, first_f32(n)); }
INLINE void v_store_f32(float *p, v_f32 x) { _mm256_storeu_ps(p, x); }
/* In parts: a store under a mask takes Zen processors twelve cycles (one row's weight gradient of 256 x 257: 7.1 us, so 5.9 us). */
INLINE void v_store_n_f32(float *p, v_f32 x, size_t n)
{
    __m128 part = _mm256_castps256_ps128(x);
    if (n & 4) {
        _mm_storeu_ps(p, part);
        part = _mm256_extractf128_ps(x, 1);
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)(p + (n & 4)), part);
        part = _mm_movehl_ps(part, part);
    }
    if (n & 1) _mm_store_ss(p + (n & 6), part);
}
INLINE void v_stream_f32(float *p, v_f32 x) { _mm256_stream_ps(p, x); }
INLINE v_f32 v_add_f32(v_f32 a, v_f32 b) { return _mm256_add_ps(a, b); }
INLINE v_f32 v_sub_f32(v_f32 a, v_f32 b) { return _mm256_sub_ps(a, b); }
INLINE v_f32 v_mul_f32(v_f32 a, v_f32 b) { return _mm256_mul_ps(a, b); }
INLINE v_f32 v_div_f32(v_f32 a, v_f32 b) { return _mm256_div_ps(a, b); }
INLINE v_f32 v_sqrt_f32(v_f32 a) { return _mm256_sqrt_ps(a); }
INLINE v_f32 v_fma_f32(v_f32 a, v_f32 b, v_f32 c) { return _mm256_fmadd_ps(a, b, c); }
INLINE v_f32 v_min_f32(v_f32 a, v_f32 b) { return _mm256_min_ps(a, b); }
INLINE v_f32 v_neg_f32(v_f32 a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
INLINE v_f32 v_abs_f32(v_f32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE v_f32 v_copysign_f32(v_f32 a, v_f32 sign) { return _mm256_or_ps(v_abs_f32(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), sign)); }
INLINE m_f32 v_lt_f32(v_f32 a, v_f32 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
INLINE m_f32 v_le_f32(v_f32 a, v_f32 b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
INLINE m_f32 v_eq_f32(v_f32 a, v_f32 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
INLINE v_f32 v_select_f32(m_f32 m, v_f32 a, v_f32 b) { return _mm256_blendv_ps(b, a, m); }
INLINE v_f32 v_exponent_f32(v_f32 t)
{
    const __m256i bits = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_castps_si256(_mm256_set1_ps(1.0f))));
}
INLINE v_f32 v_load_4s_f32(const float *p, size_t ld)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + ld), 1);
}
INLINE void v_deal_4s_f32(v_f32 r[2])
{
    const __m256 a = _mm256_permute2f128_ps(r[0], r[1], 0x20);
    r[1] = _mm256_permute2f128_ps(r[0], r[1], 0x31);
    r[0] = a;
}
INLINE void v_transpose_4s_f32(v_f32 r[4])
{
    const __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
    const __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
    r[0] = _mm256_shuffle_ps(a, c, 0x44);
    r[1] = _mm256_shuffle_ps(a, c, 0xee);
    r[2] = _mm256_shuffle_ps(b, d, 0x44);
    r[3] = _mm256_shuffle_ps(b, d, 0xee);
}
INLINE v_f32 v_repeat_4_f32(const float *p) { return _mm256_broadcast_ps((const __m128 *)(const void *)p); }
INLINE void v_spread_4s_f32(v_f32 x, v_f32 r[4])
{
    r[0] = _mm256_permute_ps(x, 0x00);
    r[1] = _mm256_permute_ps(x, 0x55);
    r[2] = _mm256_permute_ps(x, 0xaa);
    r[3] = _mm256_permute_ps(x, 0xff);
}

INLINE void v_transpose_f32(v_f32 *r)
{
    v_transpose_4s_f32(r);
    v_transpose_4s_f32(r + 4);
    UNROLL_FOR (int i = 0; i < 4; i++) {
        const __m256 low = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
        r[i] = low;
    }
}

INLINE double s_fma_f64(double a, double b, double c) { return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c))); }
INLINE v_f64 v_set1_f64(double x) { return _mm256_set1_pd(x); }
INLINE v_f64 v_load_f64(const double *p) { return _mm256_loadu_pd(p); }
INLINE v_f64 v_load_n_f64(const double *p, size_t n) { return _mm256_maskload_pd(p, first_f64(n)); }
INLINE void v_store_f64(double *p, v_f64 x) { _mm256_storeu_pd(p, x); }
INLINE void v_store_n_f64(double *p, v_f64 x, size_t n)
{
    __m128d part = _mm256_castpd256_pd128(x);
    if (n & 2) {
        _mm_storeu_pd(p, part);
        part = _mm256_extractf128_pd(x, 1);
    }
    if (n & 1) _mm_store_sd(p + (n & 2), part);
}
INLINE void v_stream_f64(double *p, v_f64 x) { _mm256_stream_pd(p, x); }
INLINE v_f64 v_add_f64(v_f64 a, v_f64 b) { return _mm256_add_pd(a, b); }
INLINE v_f64 v_sub_f64(v_f64 a, v_f64 b) { return _mm256_sub_pd(a, b); }
INLINE v_f64 v_mul_f64(v_f64 a, v_f64 b) { return _mm256_mul_pd(a, b); }
INLINE v_f64 v_div_f64(v_f64 a, v_f64 b) { return _mm256_div_pd(a, b); }
INLINE v_f64 v_sqrt_f64(v_f64 a) { return _mm256_sqrt_pd(a); }
INLINE v_f64 v_fma_f64(v_f64 a, v_f64 b, v_f64 c) { return _mm256_fmadd_pd(a, b, c); }
INLINE v_f64 v_min_f64(v_f64 a, v_f64 b) { return _mm256_min_pd(a, b); }
INLINE v_f64 v_neg_f64(v_f64 a) { return _mm256_xor_pd(a, _mm256_set1_pd(-0.0)); }
INLINE v_f64 v_abs_f64(v_f64 a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
INLINE v_f64 v_copysign_f64(v_f64 a, v_f64 sign) { return _mm256_or_pd(v_abs_f64(a), _mm256_and_pd(_mm256_set1_pd(-0.0), sign)); }
INLINE m_f64 v_lt_f64(v_f64 a, v_f64 b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
INLINE m_f64 v_le_f64(v_f64 a, v_f64 b) { return _mm256_cmp_pd(a, b, _CMP_LE_OQ); }
INLINE m_f64 v_eq_f64(v_f64 a, v_f64 b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
INLINE v_f64 v_select_f64(m_f64 m, v_f64 a, v_f64 b) { return _mm256_blendv_pd(b, a, m); }
INLINE v_f64 v_exponent_f64(v_f64 t)
{
    const __m256i bits = _mm256_slli_epi64(_mm256_castpd_si256(t), 52);
    return _mm256_castsi256_pd(_mm256_add_epi64(bits, _mm256_castpd_si256(_mm256_set1_pd(1.0))));
}
INLINE v_f64 v_load_4s_f64(const double *p, size_t ld)
{
    (void)ld;
    return _mm256_loadu_pd(p);
}
INLINE void v_deal_4s_f64(v_f64 *r) { (void)r; }
INLINE v_f64 v_repeat_4_f64(const double *p) { return _mm256_loadu_pd(p); }
INLINE void v_spread_4s_f64(v_f64 x, v_f64 r[4])
{
    r[0] = _mm256_permute4x64_pd(x, 0x00);
    r[1] = _mm256_permute4x64_pd(x, 0x55);
    r[2] = _mm256_permute4x64_pd(x, 0xaa);
    r[3] = _mm256_permute4x64_pd(x, 0xff);
}
INLINE void v_transpose_f64(v_f64 *r)
{
    const __m256d a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
    const __m256d c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a, c, 0x20);
    r[1] = _mm256_permute2f128_pd(b, d, 0x20);
    r[2] = _mm256_permute2f128_pd(a, c, 0x31);
    r[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
INLINE void v_transpose_4s_f64(v_f64 *r) { v_transpose_f64(r); }

#include "../kernels/instantiate.h"

TARGET_END
#else
typedef int pynn_avx2_is_for_x86_64; /* ISO C wants a declaration in every file */
#endif
