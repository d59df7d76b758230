/* math.h: exp, tanh, sigmoid and atan as vectors, each with its derivative, from one set of formulas for float32 and float64.
 *
 * Only operations that IEEE-754 rounds exactly, in a fixed order and without a branch, so every instruction set gives the same
 * bits. What would cost more than half a unit in the last place is carried on as a second word (..._lo) and added last. Nothing
 * here flips the sign of a NaN, for instruction sets differ in what that does inside an FMA. */
#define NUMBER(f32, f64) ((T)(IS_F64 ? (f64) : (f32))) /* a constant of the element type */
#define polynomial F(polynomial)
#define half_exp F(half_exp)
#define exp_quotient F(exp_quotient)
#define exp_over_square F(exp_over_square)
#define math_tanh F(math_tanh)
#define math_sigmoid F(math_sigmoid)
#define math_atan F(math_atan)
#define math_atan_gradient F(math_atan_gradient)

/* c[0] + c[1] z + ... + c[n - 1] z^(n - 1); all but the first four terms with odd and even powers apart: two chains half as long,
 * which would cost accuracy in the terms that matter most */
INLINE V polynomial(V z, const T *c, int n)
{
    V sum = v_set1(c[n - 1]);
    int i = n - 2;
    if (n > 6) {
        const V z2 = v_mul(z, z);
        V next = v_set1(c[i--]);
        UNROLL for (; i >= 5; i -= 2) {
            sum = v_fma(sum, z2, v_set1(c[i]));
            next = v_fma(next, z2, v_set1(c[i - 1]));
        }
        sum = v_fma(sum, z, next);
    }
    UNROLL for (; i >= 0; i--) sum = v_fma(sum, z, v_set1(c[i]));
    return sum;
}

/* e^-2a = S (1 - w) / (1 + w), what tanh and sigmoid are made of: with a = j (ln 2)/2 + rho, j whole, |rho| <= (ln 2)/4,
 * S = 2^-j and w = tanh(rho). A quotient, because its divisor merges with that of the function: one division in all; and w,
 * being odd and small, takes half the polynomial of an exponential and has its error below the last place of 1 + w. */
typedef struct {
    V w, w_lo;     /* w + w_lo = tanh(rho) */
    V scale;       /* S 2^SCALE, a normal number even where S is not */
    V plus, minus; /* 1 + S = plus + lost, 1 - S = minus - lost */
    V lost;
    V q, q_lo;     /* D = (1 + S) + w (1 - S), -1/D = q + q q_lo */
} F(exp_parts);
#define exp_parts F(exp_parts)
#define TWO_TO_SCALE NUMBER(0x1p64, 0x1p512)

/* a >= 0 and below 2^6 (f32), 2^9 (f64), or NaN */
INLINE exp_parts half_exp(V a, V rounded)
{
    static const T c[] = {
#if IS_F64 /* tanh(rho) = rho + rho^3 c(rho^2), relative error 2^-56.8 */
        -0x1.555555555544fp-2, 0x1.11111110c53d4p-3,  -0x1.ba1ba0d07cf66p-5,
        0x1.664ea2eaef802p-6,  -0x1.2232c2b7b904fp-7, 0x1.c1bbaf698eee2p-9,
#else /* 2^-32.0 */
        -0x1.55554cp-2f, 0x1.110392p-3f, -0x1.aefc1cp-5f,
#endif
    };
    const V shift = v_set1(NUMBER(0x1.8p23, 0x1.8p52)); /* what is added to it is rounded to a whole number, in the low bits */
    const V half_ln2_lo = v_set1(NUMBER(-0x1.7f7d1cp-21, -0x1.ef35793c7673p-46));
    exp_parts p;
    const V t = v_fma(rounded, v_set1(NUMBER(0x1.715476p+1, 0x1.71547652b82fep+1)), shift);
    const V j = v_sub(t, shift);
    const V w = v_fma(j, v_set1(NUMBER(-0x1.62e4p-2, -0x1.62e42fefa38p-2)), a); /* exact: the constant leaves room for j */
    const V rho = v_fma(j, half_ln2_lo, w);
    const V z = v_mul(rho, rho);
    const V w_lo = v_fma(j, half_ln2_lo, v_mul(v_mul(rho, z), polynomial(z, c, sizeof c / sizeof *c)));
    p.w = v_add(w, w_lo);
    p.w_lo = v_add(v_sub(w, p.w), w_lo);

    p.scale = v_exponent(v_sub(v_set1(NUMBER(0x1.8p24 + 64, 0x1.8p53 + 512)), t));
    p.plus = v_fma(p.scale, v_set1(1 / TWO_TO_SCALE), v_set1(1));
    p.minus = v_sub(v_set1(2), p.plus);
    p.lost = v_fma(p.scale, v_set1(1 / TWO_TO_SCALE), v_sub(p.minus, v_set1(1)));

    const V d = v_fma(p.w, p.minus, p.plus);
    const V d_lo = v_fma(p.w, p.minus, v_add(v_sub(p.plus, d), p.lost));
    p.q = v_div(v_set1(-1), d);
    p.q_lo = v_fma(p.q, d_lo, v_fma(p.q, d, v_set1(1)));
    return p;
}

/* -(n + n_lo) / D, rounded once */
INLINE V exp_quotient(exp_parts p, V n, V n_lo) { return v_fma(n, p.q, v_mul(p.q, v_fma(n, p.q_lo, n_lo))); }

/* factor e^-2a / (1 + e^-2a)^2 = factor S (1 - w^2) / D^2; rounded once more where the result is subnormal */
INLINE V exp_over_square(exp_parts p, T factor)
{
    const V q_lo = v_mul(p.q, p.q_lo), n = v_fma(p.w, p.w, v_set1(-1));
    const V once = v_fma(n, p.q, v_mul(n, q_lo)), ratio = v_fma(once, p.q, v_mul(once, q_lo));
    return v_mul(v_mul(ratio, p.scale), v_set1(-factor / TWO_TO_SCALE));
}

/* tanh(x) = ((1 - S) + w (1 + S)) / D for a = |x|; f' = 4 e^-2a / (1 + e^-2a)^2 */
INLINE void math_tanh(V x, V *y, V *df)
{
    const V a = v_min(v_set1(NUMBER(52.75, 373.5)), v_abs(x)); /* f' is zero there */
    const exp_parts p = half_exp(a, v_sub(a, v_set1(NUMBER(0x1p-7, 0x1p-7))));
    const V n = v_fma(p.w, p.plus, p.minus);
    const V n_lo = v_fma(p.w_lo, p.plus, v_fma(p.w, p.plus, v_sub(v_sub(p.minus, n), p.lost)));
    *y = v_copysign(exp_quotient(p, n, n_lo), x);
    *df = exp_over_square(p, 4);
}

/* 1 / (1 + e^-x) = (1 + w) / D for x >= 0, S (1 - w) / D for x < 0, a = |x| / 2; f' = e^-2a / (1 + e^-2a)^2 */
INLINE void math_sigmoid(V x, V *y, V *df)
{
    const V a = v_mul(v_min(v_set1(NUMBER(104.5, 746)), v_abs(x)), v_set1(NUMBER(0.5, 0.5))); /* both are zero there */
    const exp_parts p = half_exp(a, a);
    const V sign = v_copysign(v_set1(1), x);
    const V n = v_fma(sign, p.w, v_set1(1));
    const V n_lo = v_fma(sign, p.w, v_sub(v_set1(1), n));
    const V scale = v_select(v_lt(x, v_zero()), p.scale, v_set1(TWO_TO_SCALE));
    *y = v_mul(v_mul(exp_quotient(p, n, n_lo), scale), v_set1(-1 / TWO_TO_SCALE));
    *df = exp_over_square(p, 1);
}

/* atan(x), up to 1 from its polynomial, beyond 1 as pi/2 + atan(-1/|x|) */
INLINE V math_atan(V x)
{
    static const T c[] = {
#if IS_F64 /* atan(t) = t + t^3 c(t^2), 0 <= t <= 1, relative error 2^-56.4 */
        -0x1.5555555555526p-2, 0x1.99999999955b0p-3, -0x1.249249237ecf6p-3, 0x1.c71c717f93de3p-4, -0x1.745d11a89c94dp-4,
        0x1.3b136644586c7p-4, -0x1.110e4deac608cp-4, 0x1.e1bb7a9c126d4p-5, -0x1.ae5d99f75bb5bp-5, 0x1.82d7b2d1c34c9p-5,
        -0x1.599b1795779d4p-5, 0x1.2c1aeeb9342b6p-5, -0x1.e9b882e261f34p-6, 0x1.67e7931de4da5p-6, -0x1.c6e6a87113dc6p-7,
        0x1.d6bda88905429p-8, -0x1.792a8d14a643cp-9, 0x1.b26b02c60ad1fp-11, -0x1.3dcd7a8b5e9dbp-13, 0x1.b994954034334p-17,
#else /* 2^-27.8 */
        -0x1.55553ep-2f, 0x1.9991e4p-3f, -0x1.242086p-3f, 0x1.c08c50p-4f, -0x1.580938p-4f,
        0x1.da2ac6p-5f, -0x1.fd8024p-6f, 0x1.642726p-7f, -0x1.d35c14p-10f,
#endif
    };
    const V a = v_min(v_set1(NUMBER(0x1p100, 0x1p1000)), v_abs(x)); /* infinity would make 0 times infinity below */
    const M far = v_lt(v_set1(1), a);
    const V inverse = v_div(v_set1(-1), a);
    const V t = v_select(far, inverse, a);
    const V t_lo = v_select(far, v_fma(inverse, v_fma(inverse, a, v_set1(1)), v_set1(NUMBER(-0x1.777a5cp-25, 0x1.1a62633145c07p-54))), v_zero());
    const V base = v_select(far, v_set1(NUMBER(0x1.921fb6p+0, 0x1.921fb54442d18p+0)), v_zero());
    const V z = v_mul(t, t);
    const V y = v_add(base, t);
    const V y_lo = v_add(v_add(v_sub(base, y), t), t_lo);
    return v_copysign(v_add(y, v_fma(v_mul(t, z), polynomial(z, c, sizeof c / sizeof *c), y_lo)), x);
}

/* 1 / (1 + x^2); beyond LARGE, where 1 + x^2 = x^2 and the square overflows before its inverse vanishes, (1/x)^2 */
INLINE V math_atan_gradient(V x)
{
    const V a = v_min(v_set1(NUMBER(0x1p100, 0x1p1000)), v_abs(x));
    const M far = v_lt(v_set1(NUMBER(0x1p40, 0x1p80)), a);
    const V s = v_fma(a, a, v_set1(1));
    const V r = v_div(v_set1(1), v_select(far, a, s));
    return v_select(far, v_mul(r, r), r);
}
