/* math.h: tanh, sigmoid and atan as vectors, each with its derivative, from one set of formulas for float32 and float64.
 *
 * Only operations that IEEE-754 rounds exactly, in a fixed order and without a branch, so every instruction set gives the same
 * bits. What would cost more than half a unit in the last place is carried on as a second word (..._lo) and added last. No two
 * different NaN meet here (hence 0 - m for -m, and -1/d), for instruction sets differ in which one they keep; but for one in 256
 * in tanh (2048 in float64), from whose low bits v_exponent makes an infinity, and that another NaN.
 *
 * How far each is off at most: docs/accuracy.md, by python -m bench accuracy --exhaustive.
 */
#define NUMBER(f32, f64) ((T)(IS_F64 ? (f64) : (f32))) /* a constant of the element type */
#define polynomial F(polynomial)
#define exp_polynomial F(exp_polynomial)
#define math_tanh F(math_tanh)
#define math_sigmoid F(math_sigmoid)
#define math_atan F(math_atan)
#define math_atan_gradient F(math_atan_gradient)

/* c[0] + c[1] z + ... + c[n - 1] z^(n - 1), two terms at a time from term `single` on: a chain half as long; below it one by one,
 * which rounds what matters most last */
INLINE V polynomial(V z, V z2, const T *c, int n, int single)
{
    int i = (n - single - 1) / 2 * 2 + single;
    V sum = i + 1 < n ? v_fma(v_set1(c[i + 1]), z, v_set1(c[i])) : v_set1(c[i]);
    UNROLL_FOR (i -= 2; i >= single; i -= 2) sum = v_fma(sum, z2, v_fma(v_set1(c[i + 1]), z, v_set1(c[i])));
    UNROLL_FOR (i = single - 1; i >= 0; i--) sum = v_fma(sum, z, v_set1(c[i]));
    return sum;
}

/* c of e^r - 1 = r + r^2 c, |r| <= (ln 2)/2 */
INLINE V exp_polynomial(V r, V z)
{
    static const T c[] = {
#if IS_F64 /* relative error of p 2^-59.6 */
        0.5,
        0x1.5555555555559p-3,
        0x1.555555555553ep-5,
        0x1.111111110f6c4p-7,
        0x1.6c16c16c1f0e8p-10,
        0x1.a01a01afdd8fbp-13,
        0x1.a01a017baf16fp-16,
        0x1.71ddf863b299ap-19,
        0x1.27e536461d32dp-22,
        0x1.af5ea860f0eacp-26,
        0x1.1ee8847cf6eb8p-29,
#else /* 2^-28.7 */
        0.5f, 0x1.555554p-3f, 0x1.5554bp-5f, 0x1.11118ap-7f, 0x1.6d723ep-10f, 0x1.a032e4p-13f,
#endif
    };
    return polynomial(r, z, c, sizeof c / sizeof *c, 0);
}

/* sigmoid(x) = m for x < 0, 1 - m for x >= 0, and f' = m - m^2, where m = 1 / (1 + e^|x|) = S / D and D = 1 + S + p with |x| = j ln 2 + r,
 * j whole, S = 2^-j, p = e^r - 1. |r| <= (ln 2)/2 while 2^-j can be stored, be it as a subnormal; then j stays and r grows, until m has
 * vanished. */
INLINE void math_sigmoid(V x, V *y, V *df)
{
    const V v = v_abs(x), one = v_set1(1), last = v_set1(NUMBER(103.5, 744.6)), end = v_set1(NUMBER(105.5, 746.6));
    /* What is added to it is rounded to a whole number, in the low bits, from which v_exponent makes 2^64 S or 2^512 S. */
    const V shift = v_set1(NUMBER(0x1.8p23 + 64, 0x1.8p52 + 512));
    const V t = v_fma(v_min(v, last), v_set1(NUMBER(-0x1.715476p+0, -0x1.71547652b82fep+0)), shift); /* never NaN */
    const V minus_j = v_sub(t, shift), minus_s = v_mul(v_exponent(t), v_set1(NUMBER(-0x1p-64, -0x1p-512)));
    const V w = v_fma(minus_j, v_set1(NUMBER(0x1.62e4p-1, 0x1.62e42fefa38p-1)), v_min(end, v)); /* exact: bits are left for j */
    const V r = v_fma(minus_j, v_set1(NUMBER(0x1.7f7d1cp-20, 0x1.ef35793c7673p-45)), w);
    const V z = v_mul(r, r), c = exp_polynomial(r, z), p = v_fma(z, c, r);
    const V d = v_add(v_sub(one, minus_s), p), lacks_p = v_sub(v_sub(one, d), minus_s); /* 1 - d is exact */
    /* With p not rounded in float64: else f is 1.02 units off near -37.78; float32 stays below 1 without it, and 5 % faster. */
    const V d_lo = IS_F64 ? v_add(v_add(lacks_p, r), v_mul(z, c)) : v_add(lacks_p, p);
    const V q = v_div(v_set1(-1), d), minus_inverse = v_fma(v_fma(q, d_lo, v_fma(q, d, one)), q, q);
    const V m = v_mul(minus_inverse, minus_s), rest = v_sub(one, m);
    *y = v_select(v_lt(x, v_zero()), m, rest);
    *df = v_fma(v_sub(v_zero(), m), m, m);
}

/* |x| = j (ln 2)/2 + r, S = 2^-j, t = tanh r: tanh |x| = N / D with N = (1 - S) + (1 + S) t and D = (1 + S) + (1 - S) t, and with
 * k = (1 - t) / D, f' = 4 S k (1 - S k). Where j = 0, D is 2 exactly and f is t. (Abramowitz and Stegun, 1964, 4.5.28.) */
INLINE void math_tanh(V x, V *y, V *df)
{
    static const T c[] = {
#if IS_F64 /* tanh r = r + r^3 c(r^2), |r| <= 0.2556: relative error 2^-57.3 */
        -0x1.55555555554d3p-2, 0x1.11111110f8371p-3, -0x1.ba1ba186ae4b9p-5,  0x1.664f2f402e494p-6,
        -0x1.22678efcb18a2p-7, 0x1.d4e52268027dfp-9, -0x1.57ff54c2b9c1cp-10,
#else /* 2^-28.1 */
        -0x1.55550ep-2f,
        0x1.10dd10p-3f,
        -0x1.a467dap-5f,
#endif
    };
    /* What is added to it is rounded to a whole number, in the low bits, from which v_exponent makes 2^64 S or 2^512 S. */
    const V shift = v_set1(NUMBER(0x1.8p23 + 64, 0x1.8p52 + 512)), one = v_set1(1);
    const V a = v_min(v_set1(NUMBER(53.1, 373.6)), v_abs(x)); /* f' has vanished there */
    /* j is 0 up to |x| = 1/4, not (ln 2)/4: what r and t have lost by rounding shows where t is large beside f. */
    const V away = v_sub(a, v_set1(NUMBER(0.0766, 0.0766)));
    const V turn = v_fma(away, v_set1(NUMBER(-0x1.715476p+1, -0x1.71547652b82fep+1)), shift);
    const V minus_j = v_sub(turn, shift), scaled = v_exponent(turn);
    const V w = v_fma(minus_j, v_set1(NUMBER(0x1.62e4p-2, 0x1.62e42fefa38p-2)), a); /* exact: bits are left for j */
    const V r = v_fma(minus_j, v_set1(NUMBER(0x1.7f7d1cp-21, 0x1.ef35793c7673p-46)), w);
    const V z = v_mul(r, r);
    const V t = v_fma(v_mul(r, z), polynomial(z, v_mul(z, z), c, sizeof c / sizeof *c, IS_F64 ? 3 : 1), r);
    const V s = v_mul(scaled, v_set1(NUMBER(0x1p-64, 0x1p-512)));
    const V plus = v_add(one, s), minus = v_sub(plus, v_add(s, s)); /* so that N - D keeps -2 S where 1 + S is rounded */
    const V n = v_fma(plus, t, minus), n_lo = v_fma(plus, t, v_sub(minus, n));
    const V d = v_fma(minus, t, plus), d_lo = v_fma(minus, t, v_sub(plus, d));
    const V q = v_div(v_set1(-1), d), first = v_mul(n, q); /* -f, and what N + first D leaves */
    const V minus_y = v_fma(v_fma(first, d_lo, v_add(v_fma(first, d, n), n_lo)), q, first);
    *y = v_copysign(minus_y, x);
    const V rough = v_fma(v_sub(v_zero(), t), q, q); /* -k, and what 1 - t - k D leaves */
    const V minus_k = v_fma(v_fma(rough, d_lo, v_sub(v_fma(rough, d, one), t)), q, rough);
    *df = v_mul(v_mul(v_fma(v_mul(minus_k, s), minus_k, minus_k), v_set1(NUMBER(-0x1p-62, -0x1p-510))), scaled);
}

/* atan |x| = atan(t) or, beyond 1, pi/2 + atan(t): t = |x| or -1/|x| */
INLINE V math_atan(V x)
{
    static const T c[] = {
#if IS_F64 /* atan(t) = t + t^3 c(t^2), 0 <= t <= 1, relative error 2^-57.3 */
        -0x1.555555555551dp-2, 0x1.9999999994b2ap-3,  -0x1.249249235b8ddp-3, 0x1.c71c7177f1d86p-4,   -0x1.745d112838a0ep-4,
        0x1.3b1360a94707bp-4,  -0x1.110e21d2aa6dbp-4, 0x1.e1b97f3da4c75p-5,  -0x1.ae55096996625p-5,  0x1.82bb6365a1b7dp-5,
        -0x1.5952abd1cf784p-5, 0x1.2b8aa9f4c1520p-5,  -0x1.e7f86ec4965d9p-6, 0x1.65cb86206e8e6p-6,   -0x1.c2ff51fa79166p-7,
        0x1.d14dfd97cbb44p-8,  -0x1.73a83b91a357dp-9, 0x1.aac07eb56f30ep-11, -0x1.37417a05e610cp-13, 0x1.af3c2a88f6fccp-17,
#else /* 2^-27.8 */
        -0x1.55553ep-2f, 0x1.9991e4p-3f,  -0x1.242086p-3f, 0x1.c08c50p-4f,   -0x1.580938p-4f,
        0x1.da2ac6p-5f,  -0x1.fd8024p-6f, 0x1.642726p-7f,  -0x1.d35c14p-10f,
#endif
    };
    const V a = v_min(v_set1(NUMBER(0x1p100, 0x1p1000)), v_abs(x)); /* infinity would make 0 times infinity below */
    const M far = v_lt(v_set1(1), a);
    const V inverse = v_div(v_set1(-1), a);
    const V t = v_select(far, inverse, a), z = v_mul(t, t);
    const V t_lo = v_mul(inverse, v_fma(inverse, a, v_set1(1))); /* of -1/a; atan' is about 1 - t^2 / 2 */
    const V slope = v_fma(z, v_set1(NUMBER(-0.5, -0.5)), v_set1(1));
    const V far_lo = v_fma(t_lo, slope, v_set1(NUMBER(-0x1.777a5cp-25, 0x1.1a62633145c07p-54)));
    const V base = v_select(far, v_set1(NUMBER(0x1.921fb6p+0, 0x1.921fb54442d18p+0)), v_zero());
    const V y = v_add(base, t), y_lo = v_add(v_add(v_sub(base, y), t), v_select(far, far_lo, v_zero()));
    const V cube = v_mul(t, z), cube_lo = v_fma(t, z, v_neg(cube)); /* to be multiplied by c, where it matters about -0.22 */
    const V sum_lo = v_fma(cube_lo, v_set1(NUMBER(-0.22, -0.22)), y_lo);
    return v_copysign(v_add(y, v_fma(cube, polynomial(z, v_mul(z, z), c, sizeof c / sizeof *c, IS_F64 ? 4 : 3), sum_lo)), x);
}

/* 1 / (1 + x^2); where 1 + x^2 is x^2 (far), (1/x)^2 instead, because x^2 overflows before its inverse vanishes */
INLINE V math_atan_gradient(V x)
{
    const V a = v_min(v_set1(NUMBER(0x1p100, 0x1p1000)), v_abs(x));
    const M far = v_lt(v_set1(NUMBER(0x1p40, 0x1p80)), a);
    const V s = v_fma(a, a, v_set1(1));
    const V r = v_div(v_set1(1), v_select(far, a, s));
    return v_select(far, v_mul(r, r), r);
}
