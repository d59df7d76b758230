/* exp.h: e^v for v <= 0 as vectors, and the logarithm of one number; only operations that IEEE-754 rounds exactly, in a fixed
 * order and without a branch, so every instruction set gives the same bits. */
#define exp_nonpositive F(exp_nonpositive)

/* e^v = S + S p for v <= 0 or NaN: v = j ln 2 + r, j whole, S = 2^j, p = e^r - 1, as in math.h; 1 at 0, 0 where it vanishes.
 * Worst error found, in units of the last place, subnormal results included: 0.86 in float32, every input, and in float64, 10
 * million random ones. */
INLINE V exp_nonpositive(V v)
{
    const V minus_v = v_neg(v), last = v_set1(NUMBER(103.5, 744.6)), end = v_set1(NUMBER(105.5, 746.6));
    const V shift = v_set1(NUMBER(0x1.8p23 + 64, 0x1.8p52 + 512)); /* v_exponent makes 2^64 S or 2^512 S, normal numbers */
    const V t = v_fma(v_min(minus_v, last), v_set1(NUMBER(-0x1.715476p+0, -0x1.71547652b82fep+0)), shift); /* never NaN */
    const V j = v_sub(t, shift), s = v_exponent(t);
    const V w = v_fma(j, v_set1(NUMBER(-0x1.62e4p-1, -0x1.62e42fefa38p-1)), v_neg(v_min(end, minus_v))); /* exact */
    const V r_lo = v_mul(j, v_set1(NUMBER(-0x1.7f7d1cp-20, -0x1.ef35793c7673p-45)));
    const V r = v_add(w, r_lo), z = v_mul(r, r);
    const V p = v_add(w, v_fma(z, exp_polynomial(r, z), r_lo));
    return v_mul(v_fma(s, p, s), v_set1(NUMBER(0x1p-64, 0x1p-512)));
}

#ifndef PYNN_LOGARITHM
#define PYNN_LOGARITHM

/* log x in double precision for x >= 1; NaN for NaN.  x = 2^k m, sqrt(1/2) <= m < sqrt 2, log m = 2 artanh s, s = f / (2 + f),
 * f = m - 1, by its series 2 s (1 + z/3 + z^2/5 + ...), z = s^2. Worst error found in 12 million numbers: 0.89 units in the last place. */
static MAYBE_UNUSED double logarithm(double x)
{
    static const double c[] = {1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};
    const uint64_t root = 0x3fe6a09e667f3bcd; /* the bits of sqrt(1/2), from which on above carries into the exponent */
    uint64_t bits;
    double m, sum = c[10];
    if (x != x) return x;
    memcpy(&bits, &x, sizeof bits);
    const uint64_t above = bits - root;
    const double k = (double)(above >> 52);
    bits = (above & 0xfffffffffffff) + root;
    memcpy(&m, &bits, sizeof m);
    const double f = m - 1, s = f / (m + 1), z = s * s; /* f is exact */
    UNROLL_FOR (int i = 9; i >= 0; i--) sum = sum * z + c[i];
    return k * 0x1.62e42fefa38p-1 + (f - (s * (f - 2 * z * sum) - k * 0x1.ef35793c7673p-45)); /* 2 s = f - s f */
}
#endif
