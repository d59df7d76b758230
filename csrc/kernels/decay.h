/* decay.h: functions made of e^-|x|: ELU, softplus, and x times a number between 0 and 1 (SiLU, GELU, Mish), each with its derivative.
 *
 * The rules of math.h hold. What vanishes as x -> -infinity is computed as a product, with e^-|x| as a factor and its power of two
 * multiplied in last, so that it keeps its digits until it is subnormal and is rounded once there. Where f' crosses zero, at
 * x = -0.75 to -1.28, any formula that subtracts has lost its digits: there f' is (x - crossing) times a polynomial.
 *
 * Worst error over all of float32, in units of the last place, subnormal results included (docs/accuracy.md, with float64):
 *   ELU       f 0.89   f' 0.77         SELU       f 1.00   f' 0.78
 *   softplus  f 0.88   f' 0.78         SiLU       f 0.81   f' 1.22
 *   GELU      f 0.89   f' 1.63         GELUTanh   f 0.80   f' 1.97
 *   Mish      f 0.81   f' 1.51
 */
#define exp_decay F(exp_decay)
#define exp_negative F(exp_negative)
#define shrink F(shrink)
#define decay_sum F(decay_sum)
#define decay_divisor F(decay_divisor)
#define quotient F(quotient)
#define two_sum_lo F(two_sum_lo)
#define scaled_ratio F(scaled_ratio)
#define near_crossing F(near_crossing)
#define math_elu F(math_elu)
#define math_softplus F(math_softplus)
#define math_gate F(math_gate)
#define math_silu F(math_silu)
#define math_gelu F(math_gelu)
#define math_gelu_tanh F(math_gelu_tanh)
#define math_mish F(math_mish)

/* e^-(v + v_lo) = S u, u + u_lo = 1 + p, S = 2^-j, for v >= 0 or NaN. |r| <= (ln 2)/2 up to v = 128 or 1060 (EXP_END), far beyond where
 * e^-v, and x^2 e^-v, have vanished; from there on j stays. */
#define EXP_END NUMBER(128, 1060)
typedef struct {
    V p, p_lo;
    V u, u_lo;
    V s;     /* S, subnormal and 0 where it must be */
    V scale; /* 2^64 S or 2^512 S, which is normal */
} exp_decay;

INLINE exp_decay exp_negative(V v, V v_lo)
{
    const V one = v_set1(1), end = v_set1(EXP_END + 2), shift = v_set1(NUMBER(0x1.8p23 + 64, 0x1.8p52 + 512));
    const V t = v_fma(v_min(v, v_set1(EXP_END)), v_set1(NUMBER(-0x1.715476p+0, -0x1.71547652b82fep+0)), shift); /* never NaN */
    const V minus_j = v_sub(t, shift);
    const V w = v_fma(minus_j, v_set1(NUMBER(-0x1.62e4p-1, -0x1.62e42fefa38p-1)), v_neg(v_min(end, v))); /* exact, as in math_sigmoid */
    const V r_lo = v_sub(v_mul(minus_j, v_set1(NUMBER(-0x1.7f7d1cp-20, -0x1.ef35793c7673p-45))), v_lo);
    const V r = v_add(w, r_lo), z = v_mul(r, r), small = v_fma(z, exp_polynomial(r, z), r_lo);
    exp_decay e;
    e.p = v_add(w, small);
    e.p_lo = v_add(v_sub(w, e.p), small);
    e.u = v_add(one, e.p);
    e.u_lo = v_add(v_add(v_sub(one, e.u), e.p), e.p_lo);
    e.scale = v_exponent(t);
    e.s = v_mul(e.scale, v_set1(NUMBER(0x1p-64, 0x1p-512)));
    return e;
}

/* a S, rounded once, for a < 2^64 or 2^512 */
INLINE V shrink(V a, V scale) { return v_mul(v_mul(a, scale), v_set1(NUMBER(0x1p-64, 0x1p-512))); }

/* what a + b lacks, the sum being given (Knuth, The Art of Computer Programming 2, 4.2.2) */
INLINE V two_sum_lo(V a, V b, V sum)
{
    const V b_part = v_sub(sum, a);
    return v_add(v_sub(a, v_sub(sum, b_part)), v_sub(b, b_part));
}

/* A number d + d_lo, and q = 1/d rounded, error = 1 - q (d + d_lo) */
typedef struct {
    V d, d_lo, q, error;
} decay_sum;

INLINE decay_sum decay_divisor(V d, V d_lo)
{
    decay_sum s = {.d = d, .d_lo = d_lo};
    s.q = v_div(v_set1(1), d);
    const V minus_q = v_sub(v_zero(), s.q);
    s.error = v_fma(minus_q, d_lo, v_fma(minus_q, d, v_set1(1)));
    return s;
}

/* (n + n_lo) / (d + d_lo) */
INLINE V quotient(V n, V n_lo, decay_sum s)
{
    const V first = v_mul(n, s.q), minus = v_sub(v_zero(), first);
    return v_fma(v_add(v_fma(minus, s.d_lo, v_fma(minus, s.d, n)), n_lo), s.q, first);
}

/* (n + n_lo) (u + u_lo) S / (d + d_lo)^2 */
INLINE V scaled_ratio(V n, V n_lo, V u, V u_lo, V scale, decay_sum s)
{
    const V a = v_mul(n, u), a_lo = v_fma(n_lo, u, v_fma(n, u_lo, v_fma(n, u, v_sub(v_zero(), a))));
    const V b = v_mul(s.q, s.q), b_lo = v_fma(v_add(s.error, s.error), b, v_fma(s.q, s.q, v_sub(v_zero(), b)));
    const V m = v_mul(a, b), m_lo = v_fma(a_lo, b, v_fma(a, b_lo, v_fma(a, b, v_sub(v_zero(), m))));
    return shrink(v_add(m, m_lo), scale);
}

/* f' next to its zero at -(crossing + crossing_lo): (x - zero) (c(x - zero) + c_lo) within reach of it, else df */
INLINE V near_crossing(V x, T crossing, T crossing_lo, T reach, const T *c, int n, T c_lo, V df)
{
    const V t = v_add(x, v_set1(crossing)), z = v_mul(t, t); /* exact there */
    const V factor = polynomial(t, z, c, n, 2), local = v_fma(t, factor, v_fma(t, v_set1(c_lo), v_mul(v_set1(crossing_lo), factor)));
    return v_select(v_lt(v_abs(t), v_set1(reach)), local, df);
}

/* For x <= 0, f = (a + a_lo) (e^x - 1), f' = (a + a_lo) e^x. Below x = -EXP_END f' is 0, as it is for any a below 2^36 (float64: 2^460). */
INLINE void math_elu(V x, V a, V a_lo, V *y, V *df)
{
    const V v = v_abs(x), one = v_set1(1);
    const exp_decay e = exp_negative(v, v_zero());
    const V base = v_sub(e.s, one), h = v_fma(e.s, e.p, base);
    const V h_lo = v_fma(e.s, e.p_lo, v_fma(e.s, e.p, v_sub(base, h)));
    *y = v_fma(a, h, v_fma(a, h_lo, v_mul(a_lo, h)));
    const V g = v_fma(a, e.u, v_fma(a, e.u_lo, v_mul(a_lo, e.u)));
    const V tail = v_select(v_le(v_set1(EXP_END), v), v_zero(), shrink(g, e.scale));
    *df = v_select(v_lt(v, v_set1(NUMBER(64, 360))), v_mul(g, e.s), tail); /* else a 2^64, or 2^512, may overflow */
}

/* softplus(x) = max(x, 0) + log(1 + q), f' = q / (1 + q) for x < 0, 1 / (1 + q) for x >= 0, where q = e^-|x| */
INLINE void math_softplus(V x, V *y, V *df)
{
    static const T c[] = {
#if IS_F64 /* log(1 + q) = q - q^2 / 2 + q^3 (3/16 + c(q)), c(1) is about 0; 0 <= q <= 1, relative error 2^-62.2 */
        0x1.2aaaaaaaaaa57p-3,  -0x1.fffffffffd4dfp-3, 0x1.9999999909d39p-3,  -0x1.55555544a749dp-3, 0x1.249247e75cf4p-3,
        -0x1.ffffdf500c49fp-4, 0x1.c71b36d554db9p-4,  -0x1.99909f34daf52p-4, 0x1.742a2189a7188p-4,  -0x1.546fcab46f3d6p-4,
        0x1.37d22da709032p-4,  -0x1.1aeb011d491c2p-4, 0x1.f2e17c2dfbd5dp-5,  -0x1.9f8db3290a906p-5, 0x1.3beadd17835dbp-5,
        -0x1.a64565c1e56b3p-6, 0x1.dd503b884aed9p-7,  -0x1.b59da1a78e05dp-8, 0x1.358724b4ba763p-9,  -0x1.3acfe4ca1b064p-11,
        0x1.97d302c6280bep-14, -0x1.f7c40dab5196p-18,
#else /* 2^-28.1 */
        0x1.2aa93800p-3f, -0x1.ffd92ep-3f, 0x1.97f9b6p-3f,  -0x1.4be012p-3f, 0x1.0281b6p-3f,
        -0x1.5c7a8p-4f,   0x1.64daf2p-5f,  -0x1.d57cfcp-7f, 0x1.20ebb4p-9f,
#endif
    };
    const V one = v_set1(1), zero = v_zero();
    const exp_decay e = exp_negative(v_abs(x), zero);
    const V q = v_mul(e.u, e.s), q_lo = v_mul(e.u_lo, e.s), z = v_mul(q, q);
    const V slope = v_fma(q, v_fma(q, v_set1((T)0.5), v_neg(one)), one); /* about 1 / (1 + q), to 6% */
    const V minus_half = v_mul(q, v_set1((T)-0.5)), two_terms = v_fma(minus_half, q, q),
            two_terms_lo = v_fma(minus_half, q, v_sub(q, two_terms));
    const V cube = v_mul(z, q), cube_lo = v_fma(v_fma(q, q, v_sub(zero, z)), q, v_fma(z, q, v_sub(zero, cube)));
    const V third = v_set1((T)0.1875), terms = v_fma(third, cube, two_terms), terms_lo = v_fma(third, cube, v_sub(two_terms, terms));
    const V small = v_fma(cube_lo, third, v_add(v_fma(q_lo, slope, two_terms_lo), terms_lo));
    const V rest = v_fma(cube, polynomial(q, z, c, sizeof c / sizeof *c, 0), small);
    const V h = v_add(terms, rest), h_lo = v_add(v_sub(terms, h), rest);
    *y = v_add(v_add(v_select(v_lt(zero, x), x, zero), h_lo), h);
    const V d = v_add(one, q), d_lo = v_add(v_add(v_sub(one, d), q), q_lo);
    const decay_sum s = decay_divisor(d, d_lo);
    const M negative = v_lt(x, zero);
    *df = quotient(v_select(negative, q, one), v_select(negative, q_lo, zero), s);
}

/* f = x / (1 + e^-g) for an odd g, of x's sign: |f| = v q / (1 + q) for x < 0, v / (1 + q) for x >= 0, with v = |x| <= EXP_END, q = e^-|g|;
 * f' = q (1 + q - w) / (1 + q)^2 for x < 0, w = v g'(v), and f'(x) = 1 - f'(-x) */
INLINE void math_gate(V v, M negative, exp_decay e, V w, V w_lo, V *y, V *df)
{
    const V one = v_set1(1), zero = v_zero();
    const V q = v_mul(e.u, e.s), q_lo = v_mul(e.u_lo, e.s);
    const V d = v_add(one, q), d_lo = v_add(v_add(v_sub(one, d), q), q_lo);
    const decay_sum s = decay_divisor(d, d_lo);
    const V product = v_mul(v, e.u), product_lo = v_fma(v, e.u_lo, v_fma(v, e.u, v_sub(zero, product)));
    const V n = v_select(negative, product, v), n_lo = v_select(negative, product_lo, zero);
    *y = shrink(quotient(n, n_lo, s), v_select(negative, e.scale, v_set1(NUMBER(0x1p64, 0x1p512))));
    const V minus_w = v_sub(zero, w), difference = v_add(d, minus_w);
    const V m = scaled_ratio(difference, v_add(two_sum_lo(d, minus_w, difference), v_sub(d_lo, w_lo)), e.u, e.u_lo, e.scale, s);
    *df = v_select(negative, m, v_sub(one, m));
}

/* SiLU: g = x */
INLINE void math_silu(V x, V *y, V *df)
{
    static const T c[] = {
#if IS_F64 /* relative error of f' near its zero 2^-56.86 */
        0x1.be1410460527fp-3,  0x1.2c563458cc0b5p-3,  0x1.353eb573ca4p-6,   -0x1.f2d0e32c355f5p-7,  -0x1.b0f82c4919858p-8,
        0x1.098efafefd2f7p-13, 0x1.a2a7c5f6bba8ep-11, 0x1.84e90b0198d3p-13, -0x1.571c26e2ff844p-15,
#else /* 2^-32.04 */
        0x1.be141p-3f, 0x1.2c5634p-3f, 0x1.353eaep-6f, -0x1.f2c694p-7f, -0x1.b0a672p-8f,
#endif
    };
    const V v = v_min(v_set1(EXP_END), v_abs(x));
    V f, slope;
    math_gate(v, v_lt(x, v_zero()), exp_negative(v, v_zero()), v, v_zero(), &f, &slope);
    slope = near_crossing(x, NUMBER(0x1.474974p+0, 0x1.474973c84120bp+0), NUMBER(-0x1.bdf6fap-27, 0x1.f8d74bc9ac154p-54), (T)0.0625, c,
                          sizeof c / sizeof *c, NUMBER(0x1.1814ap-29, -0x1.2541062177473p-58), slope);
    *y = v_select(v_lt(x, v_set1(EXP_END)), v_copysign(f, x), x); /* NaN stays what it is */
    *df = v_select(v_eq(x, x), slope, x);
}

/* GELU by tanh: x (1 + tanh(g / 2)) / 2 = x / (1 + e^-g), g = x (A + B x^2), A = sqrt(8 / pi), B = 0.044715 A */
INLINE void math_gelu_tanh(V x, V *y, V *df)
{
    static const T c[] = {
#if IS_F64 /* relative error of f' near its zero 2^-56.48 */
        0x1.b8bacd2c96b91p-2,   0x1.8cd1a2b2fff2cp-2,  -0x1.029615edb06f7p-6, -0x1.d2b773463f0fdp-4,
        -0x1.104a83edcccf6p-6,  0x1.427996afde32dp-6,  0x1.58c9ed6fd91b6p-8,  -0x1.3d8c9a9cac005p-9,
        -0x1.e63e75ae138cep-11, 0x1.132d4dacf1edap-12, 0x1.03713878006dcp-13,
#else /* 2^-28.75 */
        0x1.b8bacep-2f, 0x1.8cd1a2p-2f, -0x1.02986ep-6f, -0x1.d2b4aep-4f, -0x1.0e698cp-6f, 0x1.3fb5dp-6f,
#endif
    };
    const V a = v_set1(NUMBER(0x1.988454p+0, 0x1.9884533d43651p+0)), a_lo = v_set1(NUMBER(-0x1.857936p-25, -0x1.cbc0d30ebfd15p-54));
    const V b = v_set1(NUMBER(0x1.2444f2p-4, 0x1.2444f2a4d8b4bp-4)), b_lo = v_set1(NUMBER(0x1.49b16ap-29, -0x1.3023b0e5fbc6ep-58)),
            b3 = v_set1(NUMBER(0x1.b6676cp-3, 0x1.b6676bf7450fp-3)), zero = v_zero();
    const V v = v_min(v_set1(NUMBER(16, 32)), v_abs(x)); /* e^-g(16) has vanished */
    const V square = v_mul(v, v), square_lo = v_fma(v, v, v_sub(zero, square));
    const V bs = v_mul(b, square), bs_lo = v_fma(b, square, v_sub(zero, bs));
    const V sum = v_add(a, bs);
    const V sum_lo = v_add(two_sum_lo(a, bs, sum), v_add(v_fma(b_lo, square, v_fma(b, square_lo, bs_lo)), a_lo));
    const V g = v_mul(v, sum), g_lo = v_fma(v, sum_lo, v_fma(v, sum, v_sub(zero, g)));
    const V slope = v_fma(b3, square, a),
            slope_lo = v_add(v_fma(b3, square, v_sub(a, slope)), a_lo); /* g', to more than T where it matters */
    const V w = v_mul(v, slope), w_lo = v_fma(v, slope_lo, v_fma(v, slope, v_sub(zero, w)));
    V f, derivative;
    math_gate(v, v_lt(x, zero), exp_negative(g, g_lo), w, w_lo, &f, &derivative);
    derivative = near_crossing(x, NUMBER(0x1.8142ap-1, 0x1.81429f9e97e4dp-1), NUMBER(-0x1.85a06cp-27, -0x1.3ce60c9e3b279p-55), (T)0.125, c,
                               sizeof c / sizeof *c, NUMBER(-0x1.a6d28ep-27, 0x1.3232ca0739b2p-56), derivative);
    *y = v_select(v_lt(x, v_set1(NUMBER(16, 32))), v_copysign(f, x), x);
    *df = v_select(v_eq(x, x), derivative, x);
}

/* GELU: f = x Phi(x), f' = Phi(x) + x phi(x), where Phi(-v) = e^(-v^2 / 2) R, R = P(t) / (v + 9/8), t = (v - k) / (v + k),
 * v = |x| (Shepherd and Laframboise, 1981, approximate erfc so; with 9/8, P is nearly flat, so that what its terms round off hardly matters), phi(v) = e^(-v^2 / 2) / sqrt(2 pi). m = f'(-v) = e^(-v^2 / 2) (R - v / sqrt(2 pi)),
 * and for x >= 0, f = v - v Phi(-v), f' = 1 - m. */
INLINE void math_gelu(V x, V *y, V *df)
{
    static const T p[] = {
#if IS_F64 /* k = 6, relative error 2^-57.8 for v <= 39.5 */
        0x1.d8a13fa3b3f15p-2,   -0x1.9b57325149051p-4, 0x1.b281b31d1dc5cp-5,  -0x1.decb55bcfb47p-7,   -0x1.282d77a2cde01p-7,
        0x1.2a5d0019e8cfp-6,    -0x1.1cf79c51ae157p-6, 0x1.8dd6971823441p-7,  -0x1.b2ac33694a97fp-8,  0x1.702d86ee08377p-9,
        -0x1.bbc854e977785p-11, 0x1.fba9e03faf7dbp-14, 0x1.278a58f5141e4p-15, -0x1.aea1f06b950d4p-16, 0x1.2c1f2a4554637p-18,
        0x1.c6d1ef6e2c1fap-20,  -0x1.088fc93d7401p-20, 0x1.ea0e1db6bd164p-28, 0x1.15f102f4f04dep-23,  -0x1.5e7d7414238a9p-26,
        -0x1.05fa48f7d1889p-26, 0x1.8fa99e55ddc8ap-29, 0x1.a212a770dd7b9p-30,
#else /* k = 4, 2^-30.2 for v <= 15 */
        0x1.ef779p-2f,  -0x1.e3575p-4f,   0x1.e4192p-6f,  0x1.41bb28p-6f,   -0x1.d04e78p-6f,  0x1.147c2p-6f,
        -0x1.4401ap-8f, -0x1.bcde36p-13f, 0x1.67328p-11f, -0x1.4205aep-14f, -0x1.83dcecp-14f, -0x1.2a38d8p-17f,
#endif
    };
    static const T c[] = {
#if IS_F64 /* relative error of f' near its zero 2^-57.78 */
        0x1.b9d98fa5a3215p-2,  0x1.8d9a941de3ac4p-2,   -0x1.2a2ef9bb865b9p-6, -0x1.d2fa4c17c7468p-4,  -0x1.e4088244f46dep-7,
        0x1.3e346dedfbee7p-6,  0x1.297b9d6a7a0eep-8,   -0x1.258a6b53aa413p-9, -0x1.8680ecfe250a9p-11, 0x1.86c4b8584e839p-13,
        0x1.6957f7edc4974p-14, -0x1.7559584df902dp-17, -0x1.003b3beefbc3p-17,
#else /* 2^-27.39 */
        0x1.b9d99p-2f, 0x1.8d9a9p-2f, -0x1.2a2edp-6f, -0x1.d2f23cp-4f, -0x1.e40c78p-7f, 0x1.3a3328p-6f, 0x1.266d42p-8f,
#endif
    };
    const V zero = v_zero(), one = v_set1(1), half = v_set1((T)0.5), m_0 = v_set1((T)1.125);
    const M negative = v_lt(x, zero);
    const V v = v_min(v_set1(NUMBER(15, 39.5)), v_abs(x));
    const V square = v_mul(v, v), square_lo = v_fma(v, v, v_sub(zero, square));
    const exp_decay e = exp_negative(v_mul(half, square), v_mul(half, square_lo));
    const V d = v_add(v, m_0), k = v_set1(NUMBER(4, 6)), dk = v_add(k, v), dk_lo = v_add(v_sub(k, dk), v);
    const V both = v_div(one, v_mul(d, dk)), inverse = v_mul(both, d);
    const decay_sum s = {.d = d, .d_lo = two_sum_lo(m_0, v, d), .q = v_mul(both, dk), .error = zero};
    const V minus_inverse = v_sub(zero, inverse), error = v_fma(minus_inverse, dk_lo, v_fma(minus_inverse, dk, one));
    const V minus_2k = v_set1(NUMBER(-8, -12)), t = v_fma(minus_2k, v_mul(inverse, error), v_fma(minus_2k, inverse, one));
    /* The first terms one by one: by pairs they are larger than their sum near t = -1, and f is 1.07 off in float32, 1.13 in float64. */
    const V tail = polynomial(t, v_mul(t, t), p + 1, sizeof p / sizeof *p - 1, IS_F64 ? 2 : 1), c0 = v_set1(p[0]);
    const V n = v_fma(t, tail, c0),
            small = v_fma(t, v_set1(NUMBER(-0x1.4d97ccp-29, 0x1.ca60eafb1776ep-58)), v_set1(NUMBER(0x1.436d9ep-28, 0x1.4698b01365d4ep-56)));
    const V n_lo = v_add(v_fma(t, tail, v_sub(c0, n)), small);
    const V r = v_mul(n, s.q), minus_r = v_sub(zero, r);
    const V r_lo = v_mul(v_add(v_fma(minus_r, s.d_lo, v_fma(minus_r, s.d, n)), n_lo), s.q);
    const V vr = v_mul(v, r), vr_lo = v_fma(v, r_lo, v_fma(v, r, v_sub(zero, vr)));
    const V h = v_mul(vr, e.u), h_lo = v_fma(vr_lo, e.u, v_fma(vr, e.u_lo, v_fma(vr, e.u, v_sub(zero, h))));
    const V minus_s = v_sub(zero, e.s), above = v_fma(minus_s, h, v), above_lo = v_fma(minus_s, h_lo, v_fma(minus_s, h, v_sub(v, above)));
    const V f = v_select(negative, shrink(v_add(h, h_lo), e.scale), v_add(above, above_lo));
    *y = v_select(v_lt(x, v_set1(NUMBER(15, 39.5))), v_copysign(f, x), x);
    const V density = v_set1(NUMBER(-0x1.988454p-2, -0x1.9884533d43651p-2)),
            density_lo = v_set1(NUMBER(0x1.857936p-27, 0x1.cbc0d30ebfd15p-56));
    const V dv = v_mul(density, v), difference = v_add(r, dv);
    const V dv_lo = v_fma(density_lo, v, v_fma(density, v, v_sub(zero, dv))),
            difference_lo = v_add(two_sum_lo(r, dv, difference), v_add(dv_lo, r_lo));
    const V du = v_mul(difference, e.u);
    const V du_lo = v_fma(difference_lo, e.u, v_fma(difference, e.u_lo, v_fma(difference, e.u, v_sub(zero, du))));
    const V m = shrink(v_add(du, du_lo), e.scale);
    const V derivative = near_crossing(x, NUMBER(0x1.80ead2p-1, 0x1.80ead197f00b4p-1), NUMBER(-0x1.a03fd4p-27, -0x1.13e74c58cada8p-56),
                                       (T)0.25, c, sizeof c / sizeof *c, NUMBER(-0x1.69737ap-28, 0x1.f7c1a23190c7cp-56),
                                       v_select(negative, m, v_sub(one, m)));
    *df = v_select(v_eq(x, x), derivative, x);
}

/* Mish: f = x tanh(softplus(x)), q = e^-|x|. For x < 0, f = x q C / D with C = 2 + q, D = 2 + 2q + q^2, and
 * f' = q (C D - 4 |x| (1 + q)) / D^2; for x >= 0, f = x C / D with C = 1 + 2q, D = C + 2q^2, and
 * f' = 1 - 2q^2 (D - 2 x (1 + q)) / D^2. */
INLINE void math_mish(V x, V *y, V *df)
{
    static const T c[] = {
#if IS_F64 /* relative error of f' near its zero 2^-56.6 */
        0x1.115acb42500bbp-2,  0x1.a34a251d8ad88p-3,  0x1.574f121a86915p-5,  -0x1.4c222fe6a16c4p-6, -0x1.03369d4b30acdp-6,
        -0x1.b87dd653789dap-9, 0x1.1e5e3053cd148p-10, 0x1.0360af7f0fa82p-10, 0x1.09f6fc50a87adp-12,
#else /* 2^-29.71 */
        0x1.115accp-2f, 0x1.a34a28p-3f, 0x1.574f0ep-5f, -0x1.4c6e02p-6f, -0x1.031d06p-6f,
#endif
    };
    const V zero = v_zero(), one = v_set1(1), two = v_set1(2);
    const V v = v_min(v_set1(EXP_END), v_abs(x));
    const M negative = v_lt(x, zero);
    const exp_decay e = exp_negative(v, zero);
    const V q = v_mul(e.u, e.s), q_lo = v_mul(e.u_lo, e.s), z = v_mul(q, q), z_lo = v_fma(q, q, v_sub(zero, z));
    const V a = v_select(negative, two, one), b = v_select(negative, one, two); /* D = a + 2q + b q^2 */
    const V q2 = v_add(q, q), sum = v_add(a, q2), bz = v_mul(b, z);
    const V sum_lo = v_fma(two, q_lo, two_sum_lo(a, q2, sum));
    const V d = v_add(sum, bz), d_lo = v_add(v_add(v_sub(sum, d), bz), v_fma(b, v_fma(q2, q_lo, z_lo), sum_lo));
    const V c2 = v_add(two, q), numerator = v_select(negative, c2, sum);
    const V numerator_lo = v_select(negative, v_add(v_add(v_sub(two, c2), q), q_lo), sum_lo);
    const decay_sum s = decay_divisor(d, d_lo);
    const V xu = v_mul(v, e.u), xu_lo = v_fma(v, e.u_lo, v_fma(v, e.u, v_sub(zero, xu)));
    const V factor = v_select(negative, xu, v), factor_lo = v_select(negative, xu_lo, zero);
    const V n = v_mul(factor, numerator);
    const V n_lo = v_fma(factor_lo, numerator, v_fma(factor, numerator_lo, v_fma(factor, numerator, v_sub(zero, n))));
    const V scale = v_select(negative, e.scale, v_set1(NUMBER(0x1p64, 0x1p512))), f = shrink(quotient(n, n_lo, s), scale);
    *y = v_select(v_lt(x, v_set1(EXP_END)), v_copysign(f, x), x);

    const V v4 = v_mul(v, v_set1(4)), b1 = v_add(one, q), b1_lo = v_add(v_add(v_sub(one, b1), q), q_lo);
    const V vb = v_mul(v4, b1), vb_lo = v_fma(v4, b1_lo, v_fma(v4, b1, v_sub(zero, vb))), half = v_set1((T)0.5);
    const V cd = v_mul(c2, d), cd_lo = v_fma(numerator_lo, d, v_fma(c2, d_lo, v_fma(c2, d, v_sub(zero, cd))));
    const V plus = v_select(negative, cd, v_mul(half, vb)), plus_lo = v_select(negative, cd_lo, v_mul(half, vb_lo));
    const V minus = v_sub(zero, v_select(negative, vb, d)), minus_lo = v_select(negative, vb_lo, d_lo), difference = v_add(plus, minus);
    const V weight = v_select(negative, e.u, bz), weight_lo = v_select(negative, e.u_lo, v_mul(b, v_fma(q2, q_lo, z_lo)));
    const V m = scaled_ratio(difference, v_add(two_sum_lo(plus, minus, difference), v_sub(plus_lo, minus_lo)), weight, weight_lo, scale, s);
    const V derivative = near_crossing(x, NUMBER(0x1.31432cp+0, 0x1.31432c0d12d84p+0), NUMBER(0x1.a25b08p-29, 0x1.bf319154da21p-55),
                                       (T)0.0625, c, sizeof c / sizeof *c, NUMBER(-0x1.7b5fe8p-27, 0x1.1ad72de557d4cp-56),
                                       v_select(negative, m, v_add(one, m)));
    *df = v_select(v_eq(x, x), derivative, x);
}
