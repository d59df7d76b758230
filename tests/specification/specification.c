/* specification.c: what pynn computes, one rounded operation after another, as plainly as C can say it.
 *
 * docs/reproducibility.md says the same in words, and tests/test_specification.py holds every kernel to it, bit by bit. It shares nothing with
 * csrc/ and is slow. It is compiled once for each type, by -DBITS=32 and -DBITS=64, with -ffp-contract=off, and both are linked into one library,
 * for costs are computed in double precision.
 *
 * + - * / round to the nearest number of the type they are written for, ties to even; FMA(a, b, c) is a b + c rounded once. All other functions used here
 * are exact. Matrices lie row after row: X (rows, in), W (out, in), Y (rows, out), gradients as what they belong to.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "here float is not computed in float"
#endif

#if BITS == 32
typedef float real;
#define NAME(name) name##_f32
#define FMA fmaf
#define ABS fabsf
#define COPYSIGN copysignf
#define LDEXP ldexpf
#define SQRT sqrtf
#else
typedef double real;
#define NAME(name) name##_f64
#define FMA fma
#define ABS fabs
#define COPYSIGN copysign
#define LDEXP ldexp
#define SQRT sqrt
#endif

static real *room(size_t n)
{
    real *const memory = malloc((n + 1) * sizeof(real));
    if (!memory) abort();
    return memory;
}

static real sign(real x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

/* ---- dense layers ------------------------------------------------------------------------------------------------------ */

/* start + sum_k a_k b_k, where a_k is a[k * a_step] and b_k is b[k * b_step] */
static real sum_of_products(real start, size_t terms, const real *a, size_t a_step, const real *b, size_t b_step)
{
    if (terms < 32) {
        real sum = start;
        for (size_t k = 0; k < terms; k++) sum = FMA(a[k * a_step], b[k * b_step], sum);
        return sum;
    }
    real chain[4] = {start, 0, 0, 0};
    for (size_t k = 0; k < terms; k++) chain[k % 4] = FMA(a[k * a_step], b[k * b_step], chain[k % 4]);
    return (chain[0] + chain[1]) + (chain[2] + chain[3]);
}

/* Y = X Wᵀ + B; bias may be NULL */
void NAME(spec_affine)(size_t rows, size_t in, size_t out, const real *weight, const real *x, const real *bias, real *y)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t m = 0; m < out; m++) y[i * out + m] = sum_of_products(bias ? bias[m] : 0, in, x + i * in, 1, weight + m * in, 1);
}

/* dC/dX = dC/dY W */
void NAME(spec_input_gradient)(size_t rows, size_t in, size_t out, const real *weight, const real *y_gradient, real *x_gradient)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t n = 0; n < in; n++) x_gradient[i * in + n] = sum_of_products(0, out, y_gradient + i * out, 1, weight + n, in);
}

/* dC/dW = dC/dYᵀ X: one chain over the rows, however many */
void NAME(spec_weight_gradient)(size_t rows, size_t in, size_t out, const real *y_gradient, const real *x, real *weight_gradient)
{
    for (size_t m = 0; m < out; m++)
        for (size_t n = 0; n < in; n++) {
            real sum = 0;
            for (size_t i = 0; i < rows; i++) sum = FMA(y_gradient[i * out + m], x[i * in + n], sum);
            weight_gradient[m * in + n] = sum;
        }
}

/* dC/dB = dC/dY summed over the rows: one chain that starts with the first row; +0 where there is none */
void NAME(spec_bias_gradient)(size_t rows, size_t out, const real *y_gradient, real *bias_gradient)
{
    for (size_t m = 0; m < out; m++) {
        real sum = rows ? y_gradient[m] : 0;
        for (size_t i = 1; i < rows; i++) sum = sum + y_gradient[i * out + m];
        bias_gradient[m] = sum;
    }
}

/* ---- activations: spec_<name>(x) gives y = f(x) and derivative = f'(x), for some with a parameter ----------------------- */

void NAME(spec_identity)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    *y = x;
    *derivative = 1;
}

void NAME(spec_relu)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    *y = x <= 0 ? 0 : x; /* +0 of -0; NaN of NaN, here and below */
    *derivative = x <= 0 ? 0 : x > 0 ? 1 : x;
}

/* parameter: negative_slope */
void NAME(spec_leaky_relu)(real x, real parameter, real *y, real *derivative)
{
    *y = x > 0 ? x : parameter * x;
    *derivative = x > 0 ? 1 : x <= 0 ? parameter : x;
}

/* c[0] + c[1] x + ... + c[terms - 1] x^(terms - 1), x2 = x x. Terms from `paired` on are taken two at a time, the highest pair first (where the last
 * has no partner, it stands for its pair); those below one by one. */
static real polynomial(size_t terms, const real *c, size_t paired, real x, real x2)
{
    size_t k = paired;
    while (k + 2 < terms) k += 2;
    real sum = k + 1 < terms ? FMA(c[k + 1], x, c[k]) : c[k];
    while (k > paired) {
        k -= 2;
        sum = FMA(sum, x2, FMA(c[k + 1], x, c[k]));
    }
    while (k > 0) {
        k -= 1;
        sum = FMA(sum, x, c[k]);
    }
    return sum;
}

/* The exponential in the sigmoid: for v >= 0 or NaN, e^v = (1 + p) / s, where k = -v / ln 2 rounded to a whole number, s = 2^k, r = v + k ln 2,
 * and p = e^r - 1 = r + z c(r), which is left in parts: r, z = r^2, c. */
typedef struct {
    real s, r, z, c;
} exponential;

#if BITS == 32
static const real LOG2_E = 0x1.715476p+0f;
static const real LN_2_HIGH = 0x1.62e4p-1f, LN_2_LOW = 0x1.7f7d1cp-20f; /* 16 bits; the rest */
static const real ROUNDER = 0x1.8p23f; /* a sum with it is rounded to a whole number */
static const real LAST = 103.5f, END = 105.5f; /* beyond LAST k stays, beyond END r does: s has vanished */
static const real EXP_TERMS[6] = {0.5f, 0x1.555554p-3f, 0x1.5554bp-5f, 0x1.11118ap-7f, 0x1.6d723ep-10f, 0x1.a032e4p-13f};
#else
static const real LOG2_E = 0x1.71547652b82fep+0;
static const real LN_2_HIGH = 0x1.62e42fefa38p-1, LN_2_LOW = 0x1.ef35793c7673p-45; /* 42 bits */
static const real ROUNDER = 0x1.8p52;
static const real LAST = 744.6, END = 746.6;
static const real EXP_TERMS[11] = {0.5,
                                   0x1.5555555555559p-3,
                                   0x1.555555555553ep-5,
                                   0x1.111111110f6c4p-7,
                                   0x1.6c16c16c1f0e8p-10,
                                   0x1.a01a01afdd8fbp-13,
                                   0x1.a01a017baf16fp-16,
                                   0x1.71ddf863b299ap-19,
                                   0x1.27e536461d32dp-22,
                                   0x1.af5ea860f0eacp-26,
                                   0x1.1ee8847cf6eb8p-29};
#endif

static exponential exponential_of(real v)
{
    exponential e;
    const real k = FMA(v < LAST ? v : LAST, -LOG2_E, ROUNDER) - ROUNDER; /* LAST of NaN */
    e.s = LDEXP(1, (int)k); /* exact, be it subnormal */
    e.r = FMA(k, LN_2_LOW, FMA(k, LN_2_HIGH, v > END ? END : v)); /* the inner one is exact; NaN of NaN */
    e.z = e.r * e.r;
    e.c = polynomial(sizeof EXP_TERMS / sizeof *EXP_TERMS, EXP_TERMS, 0, e.r, e.z);
    return e;
}

/* 1 / (d + d_lo), by one step of Newton from 1 / d */
static real reciprocal(real d, real d_lo)
{
    const real q = 1 / d;
    return FMA(FMA(-q, d_lo, FMA(-q, d, 1)), q, q);
}

/* m = 1 / (1 + e^|x|) = s / (1 + s + p); sigmoid is m or 1 - m, its derivative m - m^2 */
void NAME(spec_sigmoid)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const exponential e = exponential_of(ABS(x));
    const real p = FMA(e.z, e.c, e.r);
    const real d = (1 + e.s) + p;
#if BITS == 32
    const real d_lo = ((1 - d) + e.s) + p; /* what d lacks */
#else
    const real d_lo = (((1 - d) + e.s) + e.r) + e.z * e.c; /* what d lacks, and p besides */
#endif
    const real m = reciprocal(d, d_lo) * e.s;
    *y = x < 0 ? m : 1 - m;
    *derivative = FMA(-m, m, m);
}

#if BITS == 32
static const real TWICE_LOG2_E = 0x1.715476p+1f;
static const real HALF_LN_2_HIGH = 0x1.62e4p-2f, HALF_LN_2_LOW = 0x1.7f7d1cp-21f;
static const real TANH_END = 53.1f; /* beyond it the derivative has vanished */
enum { TANH_PAIRED = 1 };
static const real TANH_TERMS[3] = {-0x1.55550ep-2f, 0x1.10dd10p-3f, -0x1.a467dap-5f};
#else
static const real TWICE_LOG2_E = 0x1.71547652b82fep+1;
static const real HALF_LN_2_HIGH = 0x1.62e42fefa38p-2, HALF_LN_2_LOW = 0x1.ef35793c7673p-46;
static const real TANH_END = 373.6;
enum { TANH_PAIRED = 3 };
static const real TANH_TERMS[7] = {-0x1.55555555554d3p-2, 0x1.11111110f8371p-3, -0x1.ba1ba186ae4b9p-5, 0x1.664f2f402e494p-6,
                                   -0x1.22678efcb18a2p-7, 0x1.d4e52268027dfp-9, -0x1.57ff54c2b9c1cp-10};
#endif

/* With |x| = -k (ln 2)/2 + r, s = 2^k and t = tanh r = r + r^3 c(r^2): tanh |x| = N / D, N = (1 - s) + (1 + s) t, D = (1 + s) + (1 - s) t.
 * With i = (1 - t) / D its derivative is 4 s i (1 - s i). */
void NAME(spec_tanh)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    *y = *derivative = x;
    if (x != x) return;
    const real a = ABS(x) > TANH_END ? TANH_END : ABS(x);
    const real k = FMA(a - (real)0.0766, -TWICE_LOG2_E, ROUNDER) - ROUNDER; /* 0 up to a quarter */
    const real s = LDEXP(1, (int)k); /* exact, be it subnormal, or 0 */
    const real r = FMA(k, HALF_LN_2_LOW, FMA(k, HALF_LN_2_HIGH, a)); /* the inner one is exact */
    const real z = r * r;
    const real t = FMA(r * z, polynomial(sizeof TANH_TERMS / sizeof *TANH_TERMS, TANH_TERMS, TANH_PAIRED, z, z * z), r);
    const real plus = 1 + s, minus = plus - (s + s);
    const real n = FMA(plus, t, minus), n_lo = FMA(plus, t, minus - n); /* what n lacks */
    const real d = FMA(minus, t, plus), d_lo = FMA(minus, t, plus - d);
    const real q = 1 / d;
    const real first = n * q;
    const real missing = FMA(-first, d_lo, FMA(-first, d, n) + n_lo); /* N - first D */
    *y = COPYSIGN(FMA(missing, q, first), x);
    const real rough = FMA(-t, q, q);
    const real i = FMA(FMA(-rough, d_lo, FMA(-rough, d, 1) - t), q, rough);
    *derivative = LDEXP(FMA(-(i * s), i, i), 2 + (int)k);
}

#if BITS == 32
static const real MOST = 0x1p100f, SQUARE_FROM = 0x1p40f;
static const real HALF_PI = 0x1.921fb6p+0f, HALF_PI_LOW = -0x1.777a5cp-25f;
enum { ARCTAN_PAIRED = 3 };
static const real ARCTAN_TERMS[9] = {-0x1.55553ep-2f, 0x1.9991e4p-3f,  -0x1.242086p-3f, 0x1.c08c50p-4f,  -0x1.580938p-4f,
                                     0x1.da2ac6p-5f,  -0x1.fd8024p-6f, 0x1.642726p-7f,  -0x1.d35c14p-10f};
#else
static const real MOST = 0x1p1000, SQUARE_FROM = 0x1p80;
static const real HALF_PI = 0x1.921fb54442d18p+0, HALF_PI_LOW = 0x1.1a62633145c07p-54;
enum { ARCTAN_PAIRED = 4 };
static const real ARCTAN_TERMS[20] = {-0x1.555555555551dp-2, 0x1.9999999994b2ap-3,  -0x1.249249235b8ddp-3,  0x1.c71c7177f1d86p-4,
                                      -0x1.745d112838a0ep-4, 0x1.3b1360a94707bp-4,  -0x1.110e21d2aa6dbp-4,  0x1.e1b97f3da4c75p-5,
                                      -0x1.ae55096996625p-5, 0x1.82bb6365a1b7dp-5,  -0x1.5952abd1cf784p-5,  0x1.2b8aa9f4c1520p-5,
                                      -0x1.e7f86ec4965d9p-6, 0x1.65cb86206e8e6p-6,  -0x1.c2ff51fa79166p-7,  0x1.d14dfd97cbb44p-8,
                                      -0x1.73a83b91a357dp-9, 0x1.aac07eb56f30ep-11, -0x1.37417a05e610cp-13, 0x1.af3c2a88f6fccp-17};
#endif

/* arctan |x| = base + t + t^3 c(t^2), where t = |x| and base = 0, or beyond 1 t = -1 / |x| and base = pi / 2 */
void NAME(spec_arctan)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const real a = ABS(x) > MOST ? MOST : ABS(x);
    real base = 0, base_lo = 0, t = a;
    if (a > 1) {
        base = HALF_PI;
        t = -1 / a;
        const real t_lo = t * FMA(t, a, 1); /* what t lacks, which counts by the slope of arctan, 1 - t^2 / 2 */
        base_lo = FMA(t_lo, FMA(t * t, (real)-0.5, 1), HALF_PI_LOW);
    }
    const real z = t * t;
    const real sum = base + t;
    const real sum_lo = ((base - sum) + t) + base_lo;
    const real cube = t * z;
    const real cube_lo = FMA(t, z, -cube); /* counts by c, about -0.22 where it matters */
    const real c = polynomial(sizeof ARCTAN_TERMS / sizeof *ARCTAN_TERMS, ARCTAN_TERMS, ARCTAN_PAIRED, z, z * z);
    *y = COPYSIGN(sum + FMA(cube, c, FMA(cube_lo, (real)-0.22, sum_lo)), x);

    if (a > SQUARE_FROM) *derivative = (1 / a) * (1 / a);
    else *derivative = 1 / FMA(a, a, 1);
}
/* ---- activations made of e^-|x|, in numbers of two parts ---------------------------------------------------------------- */

/* hi + lo, which is not added up */
typedef struct {
    real hi, lo;
} number;

static number one_part(real a) { return (number){a, 0}; }

/* a b */
static number product(number a, number b)
{
    const real hi = a.hi * b.hi;
    return (number){hi, FMA(a.lo, b.hi, FMA(a.hi, b.lo, FMA(a.hi, b.hi, -hi)))};
}

/* 1 + b, b <= 1 */
static number one_and(number b)
{
    const real hi = 1 + b.hi;
    return (number){hi, ((1 - hi) + b.hi) + b.lo};
}

/* what a + b lacks */
static real lost(real a, real b)
{
    const real sum = a + b, b_part = sum - a;
    return (a - (sum - b_part)) + (b - b_part);
}

/* d, q = 1 / d.hi, and error = 1 - q d */
typedef struct {
    number d;
    real q, error;
} divisor;

static divisor divisor_of(number d)
{
    const real q = 1 / d.hi;
    return (divisor){d, q, FMA(-q, d.lo, FMA(-q, d.hi, 1))};
}

/* n / d */
static real quotient(number n, divisor by)
{
    const real first = n.hi * by.q;
    return FMA(FMA(-first, by.d.lo, FMA(-first, by.d.hi, n.hi)) + n.lo, by.q, first);
}

/* The exponential: e^-v = s u, for v >= 0 or NaN, where k = -v / ln 2 rounded to a whole number, s = 2^k, and u = 1 + p. Beyond SETTLED k stays,
 * and 2 further r does. */
typedef struct {
    int k;
    real s;
    number p, u;
} decay;

#if BITS == 32
static const real SETTLED = 128;
static const real LN_2 = 0x1.62e43p-1f, LARGEST = 0x1.fffffep127f;
#else
static const real SETTLED = 1060;
static const real LN_2 = 0x1.62e42fefa39efp-1, LARGEST = 0x1.fffffffffffffp1023;
#endif

static decay decay_of(number v)
{
    const real k = FMA(v.hi < SETTLED ? v.hi : SETTLED, -LOG2_E, ROUNDER) - ROUNDER;
    const real w = FMA(k, -LN_2_HIGH, -(v.hi > SETTLED + 2 ? SETTLED + 2 : v.hi));
    const real r_lo = k * -LN_2_LOW - v.lo;
    const real r = w + r_lo, z = r * r;
    const real small = FMA(z, polynomial(sizeof EXP_TERMS / sizeof *EXP_TERMS, EXP_TERMS, 0, r, z), r_lo);
    const real p = w + small, p_lo = (w - p) + small;
    return (decay){(int)k, LDEXP(1, (int)k), {p, p_lo}, one_and((number){p, p_lo})};
}

/* q = e^-v, a number of two parts */
static number decayed(decay e) { return (number){e.u.hi * e.s, e.u.lo * e.s}; }

/* n u 2^k / d^2, the power of two last */
static real scaled_ratio(number n, number u, int k, divisor by)
{
    const real square = by.q * by.q;
    const number inverse = {square, FMA(by.error + by.error, square, FMA(by.q, by.q, -square))};
    const number m = product(product(n, u), inverse);
    return LDEXP(m.hi + m.lo, k);
}

/* Within reach of a zero at -crossing, with t = x + crossing: t times a polynomial of t, whose constant term is c[0] + c_lo; else derivative */
static real near_crossing(real x, number crossing, real reach, size_t terms, const real *c, real c_lo, real derivative)
{
    const real t = x + crossing.hi;
    if (!(ABS(t) < reach)) return derivative;
    const real factor = polynomial(terms, c, 2, t, t * t);
    return FMA(t, factor, FMA(t, c_lo, crossing.lo * factor));
}
#define TERMS(c) sizeof(c) / sizeof *(c), c

/* a (e^x - 1) and a e^x for x <= 0 */
static void elu_of(real x, number a, real *y, real *derivative)
{
    const decay e = decay_of(one_part(ABS(x)));
    const real base = e.s - 1;
    const real h = FMA(e.s, e.p.hi, base);
    const real h_lo = FMA(e.s, e.p.lo, FMA(e.s, e.p.hi, base - h));
    *y = FMA(a.hi, h, FMA(a.hi, h_lo, a.lo * h));
    const real g = FMA(a.hi, e.u.hi, FMA(a.hi, e.u.lo, a.lo * e.u.hi));
    *derivative = ABS(x) >= SETTLED ? 0 : LDEXP(g, e.k);
}

/* parameter: alpha */
void NAME(spec_elu)(real x, real parameter, real *y, real *derivative)
{
    real f, slope;
    elu_of(x, one_part(parameter), &f, &slope);
    *y = x < 0 ? f : x;
    *derivative = x > 0 ? 1 : x <= 0 ? slope : x;
}

#if BITS == 32
static const number SELU_SCALE = {0x1.0cfabcp+0f, 0x1.6a9114p-24f}, SELU_ALPHA = {0x1.c212ccp+0f, 0x1.903c0cp-26f}; /* scale times alpha */
#else
static const number SELU_SCALE = {0x1.0cfabd6a91131p+0, 0x1p-52}, SELU_ALPHA = {0x1.c212cc640f03p+0, 0x1.092dbf6372048p-54};
#endif

void NAME(spec_selu)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    real f, slope;
    elu_of(x, SELU_ALPHA, &f, &slope);
    *y = x < 0 ? f : FMA(SELU_SCALE.hi, x, SELU_SCALE.lo * x);
    *derivative = x > 0 ? SELU_SCALE.hi + SELU_SCALE.lo : x <= 0 ? slope : x;
}

#if BITS == 32
static const real SOFTPLUS_TERMS[9] = {0x1.2aa93800p-3f, -0x1.ffd92ep-3f, 0x1.97f9b6p-3f,  -0x1.4be012p-3f, 0x1.0281b6p-3f,
                                       -0x1.5c7a8p-4f,   0x1.64daf2p-5f,  -0x1.d57cfcp-7f, 0x1.20ebb4p-9f};
#else
static const real SOFTPLUS_TERMS[22] = {
    0x1.2aaaaaaaaaa57p-3, -0x1.fffffffffd4dfp-3,  0x1.9999999909d39p-3,  -0x1.55555544a749dp-3, 0x1.249247e75cf4p-3,  -0x1.ffffdf500c49fp-4,
    0x1.c71b36d554db9p-4, -0x1.99909f34daf52p-4,  0x1.742a2189a7188p-4,  -0x1.546fcab46f3d6p-4, 0x1.37d22da709032p-4, -0x1.1aeb011d491c2p-4,
    0x1.f2e17c2dfbd5dp-5, -0x1.9f8db3290a906p-5,  0x1.3beadd17835dbp-5,  -0x1.a64565c1e56b3p-6, 0x1.dd503b884aed9p-7, -0x1.b59da1a78e05dp-8,
    0x1.358724b4ba763p-9, -0x1.3acfe4ca1b064p-11, 0x1.97d302c6280bep-14, -0x1.f7c40dab5196p-18};
#endif

/* max(x, 0) + log(1 + q), q = e^-|x|, log(1 + q) = q - q^2 / 2 + 3/16 q^3 + q^3 c(q); its derivative, the sigmoid */
void NAME(spec_softplus)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const number q = decayed(decay_of(one_part(ABS(x))));
    const real slope = FMA(q.hi, FMA(q.hi, (real)0.5, -1), 1); /* of log(1 + q), about */
    const real minus_half = q.hi * (real)-0.5;
    const real two = FMA(minus_half, q.hi, q.hi), two_lo = FMA(minus_half, q.hi, q.hi - two);
    const number cube = product(product(one_part(q.hi), one_part(q.hi)), one_part(q.hi));
    const real third = (real)0.1875;
    const real terms = FMA(third, cube.hi, two), terms_lo = FMA(third, cube.hi, two - terms);
    const real small = FMA(cube.lo, third, FMA(q.lo, slope, two_lo) + terms_lo);
    const real rest = FMA(cube.hi, polynomial(TERMS(SOFTPLUS_TERMS), 0, q.hi, q.hi * q.hi), small);
    const real h = terms + rest, h_lo = (terms - h) + rest;
    *y = ((x > 0 ? x : 0) + h_lo) + h;
    *derivative = quotient(x < 0 ? q : one_part(1), divisor_of(one_and(q)));
}

/* x / (1 + |x|), the square of 1 / (1 + |x|) */
void NAME(spec_softsign)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const real v = ABS(x) > MOST ? MOST : ABS(x);
    const divisor by = divisor_of((number){1 + v, lost(1, v)});
    const real inverse = FMA(by.q, by.error, by.q);
    *y = COPYSIGN(quotient(one_part(v), by), x);
    *derivative = inverse * inverse;
}

/* |f| = v / (1 + e^-g) for x = v >= 0, v q / (1 + q) for x = -v < 0, where q = e^-|g|; f' = q (1 + q - w) / (1 + q)^2 for x < 0, w = v g'(v), and 1 less
 * that for x >= 0 */
static void gate(real v, int negative, decay e, number w, real *y, real *derivative)
{
    const number q = decayed(e);
    const divisor by = divisor_of(one_and(q));
    if (negative) *y = LDEXP(quotient(product(one_part(v), e.u), by), e.k);
    else *y = quotient(one_part(v), by);
    const number difference = {by.d.hi + -w.hi, lost(by.d.hi, -w.hi) + (by.d.lo - w.lo)};
    const real m = scaled_ratio(difference, e.u, e.k, by);
    *derivative = negative ? m : 1 - m;
}

#if BITS == 32
static const number SILU_CROSSING = {0x1.474974p+0f, -0x1.bdf6fap-27f};
static const real SILU_LOW = 0x1.1814ap-29f,
                  SILU_TERMS[5] = {0x1.be141p-3f, 0x1.2c5634p-3f, 0x1.353eaep-6f, -0x1.f2c694p-7f, -0x1.b0a672p-8f};
#else
static const number SILU_CROSSING = {0x1.474973c84120bp+0, 0x1.f8d74bc9ac154p-54};
static const real SILU_LOW = -0x1.2541062177473p-58, SILU_TERMS[9] = {0x1.be1410460527fp-3,  0x1.2c563458cc0b5p-3,  0x1.353eb573ca4p-6,
                                                                      -0x1.f2d0e32c355f5p-7, -0x1.b0f82c4919858p-8, 0x1.098efafefd2f7p-13,
                                                                      0x1.a2a7c5f6bba8ep-11, 0x1.84e90b0198d3p-13,  -0x1.571c26e2ff844p-15};
#endif

/* x / (1 + e^-x) */
void NAME(spec_silu)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const real v = ABS(x) > SETTLED ? SETTLED : ABS(x);
    real f, slope;
    gate(v, x < 0, decay_of(one_part(v)), one_part(v), &f, &slope);
    *y = x < SETTLED ? COPYSIGN(f, x) : x;
    *derivative = near_crossing(x, SILU_CROSSING, (real)0.0625, TERMS(SILU_TERMS), SILU_LOW, slope);
}

#if BITS == 32
static const number GATE_A = {0x1.988454p+0f, -0x1.857936p-25f},
                    GATE_B = {0x1.2444f2p-4f, 0x1.49b16ap-29f}; /* sqrt(8 / pi), 0.044715 times that */
static const real GATE_3B = 0x1.b6676cp-3f, GATE_END = 16;
static const number GATE_CROSSING = {0x1.8142ap-1f, -0x1.85a06cp-27f};
static const real GATE_LOW = -0x1.a6d28ep-27f,
                  GATE_TERMS[6] = {0x1.b8bacep-2f, 0x1.8cd1a2p-2f, -0x1.02986ep-6f, -0x1.d2b4aep-4f, -0x1.0e698cp-6f, 0x1.3fb5dp-6f};
#else
static const number GATE_A = {0x1.9884533d43651p+0, -0x1.cbc0d30ebfd15p-54}, GATE_B = {0x1.2444f2a4d8b4bp-4, -0x1.3023b0e5fbc6ep-58};
static const real GATE_3B = 0x1.b6676bf7450fp-3, GATE_END = 32;
static const number GATE_CROSSING = {0x1.81429f9e97e4dp-1, -0x1.3ce60c9e3b279p-55};
static const real GATE_LOW = 0x1.3232ca0739b2p-56,
                  GATE_TERMS[11] = {0x1.b8bacd2c96b91p-2,   0x1.8cd1a2b2fff2cp-2,  -0x1.029615edb06f7p-6, -0x1.d2b773463f0fdp-4,
                                    -0x1.104a83edcccf6p-6,  0x1.427996afde32dp-6,  0x1.58c9ed6fd91b6p-8,  -0x1.3d8c9a9cac005p-9,
                                    -0x1.e63e75ae138cep-11, 0x1.132d4dacf1edap-12, 0x1.03713878006dcp-13};
#endif

/* x / (1 + e^-g), g = x (A + B x^2) */
void NAME(spec_gelu_tanh)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const real v = ABS(x) > GATE_END ? GATE_END : ABS(x);
    const number square = product(one_part(v), one_part(v)), bs = product(GATE_B, square);
    const number sum = {GATE_A.hi + bs.hi, lost(GATE_A.hi, bs.hi) + (bs.lo + GATE_A.lo)};
    const real slope = FMA(GATE_3B, square.hi, GATE_A.hi); /* g' */
    const number w = product(one_part(v), (number){slope, FMA(GATE_3B, square.hi, GATE_A.hi - slope) + GATE_A.lo});
    real f, df;
    gate(v, x < 0, decay_of(product(one_part(v), sum)), w, &f, &df);
    *y = x < GATE_END ? COPYSIGN(f, x) : x;
    *derivative = near_crossing(x, GATE_CROSSING, (real)0.125, TERMS(GATE_TERMS), GATE_LOW, df);
}

#if BITS == 32
static const real NORMAL_END = 15, NORMAL_K = 4;
enum { NORMAL_PAIRED = 1 };
static const number NORMAL_DENSITY = {0x1.988454p-2f, -0x1.857936p-27f}; /* 1 / sqrt(2 pi) */
static const real NORMAL_FIRST = 0x1.ef779p-2f, NORMAL_FIRST_LOW = 0x1.436d9ep-28f, NORMAL_SECOND_LOW = -0x1.4d97ccp-29f;
static const real NORMAL_TERMS[11] = {-0x1.e3575p-4f,   0x1.e4192p-6f,  0x1.41bb28p-6f,   -0x1.d04e78p-6f,  0x1.147c2p-6f,   -0x1.4401ap-8f,
                                      -0x1.bcde36p-13f, 0x1.67328p-11f, -0x1.4205aep-14f, -0x1.83dcecp-14f, -0x1.2a38d8p-17f};
static const number GELU_CROSSING = {0x1.80ead2p-1f, -0x1.a03fd4p-27f};
static const real GELU_LOW = -0x1.69737ap-28f, GELU_TERMS[7] = {0x1.b9d99p-2f,   0x1.8d9a9p-2f,  -0x1.2a2edp-6f, -0x1.d2f23cp-4f,
                                                                -0x1.e40c78p-7f, 0x1.3a3328p-6f, 0x1.266d42p-8f};
#else
static const real NORMAL_END = 39.5, NORMAL_K = 6;
enum { NORMAL_PAIRED = 2 };
static const number NORMAL_DENSITY = {0x1.9884533d43651p-2, -0x1.cbc0d30ebfd15p-56};
static const real NORMAL_FIRST = 0x1.d8a13fa3b3f15p-2, NORMAL_FIRST_LOW = 0x1.4698b01365d4ep-56, NORMAL_SECOND_LOW = 0x1.ca60eafb1776ep-58;
static const real NORMAL_TERMS[22] = {-0x1.9b57325149051p-4,  0x1.b281b31d1dc5cp-5,   -0x1.decb55bcfb47p-7,   -0x1.282d77a2cde01p-7,
                                      0x1.2a5d0019e8cfp-6,    -0x1.1cf79c51ae157p-6,  0x1.8dd6971823441p-7,   -0x1.b2ac33694a97fp-8,
                                      0x1.702d86ee08377p-9,   -0x1.bbc854e977785p-11, 0x1.fba9e03faf7dbp-14,  0x1.278a58f5141e4p-15,
                                      -0x1.aea1f06b950d4p-16, 0x1.2c1f2a4554637p-18,  0x1.c6d1ef6e2c1fap-20,  -0x1.088fc93d7401p-20,
                                      0x1.ea0e1db6bd164p-28,  0x1.15f102f4f04dep-23,  -0x1.5e7d7414238a9p-26, -0x1.05fa48f7d1889p-26,
                                      0x1.8fa99e55ddc8ap-29,  0x1.a212a770dd7b9p-30};
static const number GELU_CROSSING = {0x1.80ead197f00b4p-1, -0x1.13e74c58cada8p-56};
static const real GELU_LOW = 0x1.f7c1a23190c7cp-56,
                  GELU_TERMS[13] = {0x1.b9d98fa5a3215p-2,   0x1.8d9a941de3ac4p-2,  -0x1.2a2ef9bb865b9p-6, -0x1.d2fa4c17c7468p-4,
                                    -0x1.e4088244f46dep-7,  0x1.3e346dedfbee7p-6,  0x1.297b9d6a7a0eep-8,  -0x1.258a6b53aa413p-9,
                                    -0x1.8680ecfe250a9p-11, 0x1.86c4b8584e839p-13, 0x1.6957f7edc4974p-14, -0x1.7559584df902dp-17,
                                    -0x1.003b3beefbc3p-17};
#endif

/* x Phi(x): Phi(-v) = e^(-v^2 / 2) R, R = P(t) / (v + 9/8), t = (v - K) / (v + K); f = v - v Phi(-v) and f' = 1 - m for x = v >= 0, f = -v Phi(-v) and
 * f' = m for x = -v < 0, where m = e^(-v^2 / 2) (R - v / sqrt(2 pi)) */
void NAME(spec_gelu)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const real v = ABS(x) > NORMAL_END ? NORMAL_END : ABS(x);
    const number square = product(one_part(v), one_part(v));
    const decay e = decay_of((number){(real)0.5 * square.hi, (real)0.5 * square.lo});

    const real d = v + (real)1.125, d_lo = lost((real)1.125, v), dk = NORMAL_K + v, dk_lo = (NORMAL_K - dk) + v;
    const real both = 1 / (d * dk), inverse = both * d, q = both * dk; /* 1 / dk and 1 / d */
    const real error = FMA(-inverse, dk_lo, FMA(-inverse, dk, 1));
    const real t = FMA(-2 * NORMAL_K, inverse * error, FMA(-2 * NORMAL_K, inverse, 1));
    const real tail = polynomial(TERMS(NORMAL_TERMS), NORMAL_PAIRED, t, t * t);
    const real n = FMA(t, tail, NORMAL_FIRST);
    const real n_lo = FMA(t, tail, NORMAL_FIRST - n) + FMA(t, NORMAL_SECOND_LOW, NORMAL_FIRST_LOW);
    const real r_hi = n * q;
    const number r = {r_hi, (FMA(-r_hi, d_lo, FMA(-r_hi, d, n)) + n_lo) * q};

    const number h = product(product(one_part(v), r), e.u);
    if (x < 0) *y = COPYSIGN(LDEXP(h.hi + h.lo, e.k), x);
    else {
        const real above = FMA(-e.s, h.hi, v), above_lo = FMA(-e.s, h.lo, FMA(-e.s, h.hi, v - above));
        *y = x < NORMAL_END ? COPYSIGN(above + above_lo, x) : x;
    }

    const number dv = product((number){-NORMAL_DENSITY.hi, -NORMAL_DENSITY.lo}, one_part(v));
    const number m = product((number){r.hi + dv.hi, lost(r.hi, dv.hi) + (dv.lo + r.lo)}, e.u);
    const real left = LDEXP(m.hi + m.lo, e.k);
    *derivative = near_crossing(x, GELU_CROSSING, (real)0.25, TERMS(GELU_TERMS), GELU_LOW, x < 0 ? left : 1 - left);
}

#if BITS == 32
static const number MISH_CROSSING = {0x1.31432cp+0f, 0x1.a25b08p-29f};
static const real MISH_LOW = -0x1.7b5fe8p-27f,
                  MISH_TERMS[5] = {0x1.115accp-2f, 0x1.a34a28p-3f, 0x1.574f0ep-5f, -0x1.4c6e02p-6f, -0x1.031d06p-6f};
#else
static const number MISH_CROSSING = {0x1.31432c0d12d84p+0, 0x1.bf319154da21p-55};
static const real MISH_LOW = 0x1.1ad72de557d4cp-56, MISH_TERMS[9] = {0x1.115acb42500bbp-2,  0x1.a34a251d8ad88p-3,  0x1.574f121a86915p-5,
                                                                     -0x1.4c222fe6a16c4p-6, -0x1.03369d4b30acdp-6, -0x1.b87dd653789dap-9,
                                                                     0x1.1e5e3053cd148p-10, 0x1.0360af7f0fa82p-10, 0x1.09f6fc50a87adp-12};
#endif

/* x tanh(log(1 + e^x)), q = e^-|x|. x = -v < 0: f = -v q C / D, f' = q (C D - 4 v (1 + q)) / D^2, C = 2 + q, D = 2 + 2q + q^2;
 * x = v >= 0: f = v C / D, f' = 1 + 2q^2 (2 v (1 + q) - D) / D^2, C = 1 + 2q, D = C + 2q^2 */
void NAME(spec_mish)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const real v = ABS(x) > SETTLED ? SETTLED : ABS(x);
    const decay e = decay_of(one_part(v));
    const number q = decayed(e);
    const real a = x < 0 ? 2 : 1, b = x < 0 ? 1 : 2; /* D = a + 2q + b q^2 */
    const number z = product(one_part(q.hi), one_part(q.hi));
    const real q2 = q.hi + q.hi;
    const number sum = {a + q2, FMA(2, q.lo, lost(a, q2))};
    const number square = {b * z.hi, b * FMA(q2, q.lo, z.lo)}; /* b q^2 */
    const real d = sum.hi + square.hi;
    const divisor by = divisor_of((number){d, ((sum.hi - d) + square.hi) + FMA(b, FMA(q2, q.lo, z.lo), sum.lo)});
    const number v4 = product(one_part(v * 4), one_and(q)); /* 4 v (1 + q) */
    if (x < 0) {
        const real c = 2 + q.hi;
        const number numerator = {c, ((2 - c) + q.hi) + q.lo};
        *y = COPYSIGN(LDEXP(quotient(product(product(one_part(v), e.u), numerator), by), e.k), x);
        const number cd = product(numerator, by.d);
        const number difference = {cd.hi + -v4.hi, lost(cd.hi, -v4.hi) + (cd.lo - v4.lo)};
        *derivative = near_crossing(x, MISH_CROSSING, (real)0.0625, TERMS(MISH_TERMS), MISH_LOW, scaled_ratio(difference, e.u, e.k, by));
    } else {
        *y = x < SETTLED ? COPYSIGN(quotient(product(one_part(v), sum), by), x) : x;
        const number v2 = {(real)0.5 * v4.hi, (real)0.5 * v4.lo};
        const number difference = {v2.hi + -by.d.hi, lost(v2.hi, -by.d.hi) + (v2.lo - by.d.lo)};
        *derivative = 1 + scaled_ratio(difference, square, 0, by);
    }
}

#if BITS == 32
static const number SIXTH = {0x1.555556p-3f, -0x1.555556p-28f};
#else
static const number SIXTH = {0x1.5555555555555p-3, 0x1.5555555555555p-57};
#endif

/* (x + 3) / 6, from 0 to 1 */
void NAME(spec_hard_sigmoid)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const real sum = 3 + x, sum_lo = (3 - sum) + x;
    const real inside = FMA(sum, SIXTH.hi, FMA(sum, SIXTH.lo, sum_lo * SIXTH.hi));
    *y = x <= -3 ? 0 : x >= 3 ? 1 : inside;
    *derivative = ABS(x) < 3 ? SIXTH.hi : x == x ? 0 : x;
}

void NAME(spec_hard_tanh)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    *y = ABS(x) > 1 ? COPYSIGN(1, x) : x;
    *derivative = ABS(x) < 1 ? 1 : x == x ? 0 : x;
}

typedef void activation(real x, real parameter, real *y, real *derivative);

/* Y = f(X), n elements; the parameter is rounded to the type */
void NAME(spec_activation)(activation *f, double parameter, size_t n, const real *x, real *y)
{
    real unused;
    for (size_t i = 0; i < n; i++) f(x[i], (real)parameter, y + i, &unused);
}

/* dC/dX = dC/dY f'(X): one product for each element */
void NAME(spec_activation_gradient)(activation *f, double parameter, size_t n, const real *x, const real *y_gradient, real *x_gradient)
{
    for (size_t i = 0; i < n; i++) {
        real unused, derivative;
        f(x[i], (real)parameter, &unused, &derivative);
        x_gradient[i] = y_gradient[i] * derivative;
    }
}

/* ---- costs: spec_<name>(p, t) gives c(p, t) and gradient = dc/dp, for some with a parameter ------------------------------ */

void NAME(spec_mse)(real p, real t, real parameter, real *c, real *gradient)
{
    (void)parameter;
    const real d = p - t;
    *c = d * d;
    *gradient = d + d;
}

void NAME(spec_mae)(real p, real t, real parameter, real *c, real *gradient)
{
    (void)parameter;
    const real d = p - t;
    *c = ABS(d);
    *gradient = ABS(d) > 0 ? COPYSIGN(1, d) : d;
}

/* parameter: delta */
void NAME(spec_huber)(real p, real t, real delta, real *c, real *gradient)
{
    const real d = p - t, w = ABS(d) > delta ? delta : ABS(d);
    *c = w * FMA(w, (real)-0.5, ABS(d));
    *gradient = COPYSIGN(w, d);
}

/* parameter: quantile */
void NAME(spec_quantile)(real p, real t, real quantile, real *c, real *gradient)
{
    const real d = t - p;
    *c = (d < 0 ? 1 - quantile : quantile) * ABS(d);
    *gradient = d > 0 ? -quantile : d < 0 ? 1 - quantile : d;
}

/* log cosh d = |d| + log(1 + e^-2|d|) - log 2, below 1/4 its series */
void NAME(spec_log_cosh)(real p, real t, real parameter, real *c, real *gradient)
{
    static const real series[9] = {0.5,
                                   (real)(-1.0 / 12),
                                   (real)(1.0 / 45),
                                   (real)(-17.0 / 2520),
                                   (real)(31.0 / 14175),
                                   (real)(-691.0 / 935550),
                                   (real)(10922.0 / 42567525),
                                   (real)(-929569.0 / 10216206000),
                                   (real)(3202291.0 / 97692469875)};
    const real d = p - t, z = d * d;
    real rest, unused;
    if (ABS(d) < (real)0.25) *c = z * polynomial(TERMS(series), 1, z, z * z);
    else {
        NAME(spec_softplus)(-2 * ABS(d), 0, &rest, &unused);
        *c = ABS(d) + (rest - LN_2);
    }
    NAME(spec_tanh)(d, parameter, gradient, &unused);
}

void NAME(spec_poisson)(real p, real t, real parameter, real *c, real *gradient)
{
    (void)parameter;
    const decay e = decay_of(one_part(ABS(p)));
    const real down = LDEXP(e.u.hi, e.k), exponential = p > 0 ? 1 / down : down;
    *c = exponential - t * p;
    *gradient = exponential - t;
}

void NAME(spec_binary_cross_entropy)(real p, real t, real parameter, real *c, real *gradient)
{
    real rest, m; /* log(1 + e^-|p|), 1 / (1 + e^|p|) */
    NAME(spec_softplus)(-ABS(p), parameter, &rest, &m);
    const real off = (p > 0 ? 1 : 0) - t;
    *c = FMA(ABS(p) > LARGEST ? COPYSIGN(LARGEST, p) : p, off, rest);
    *gradient = p > 0 ? off - m : m - t;
}

/* ---- sums along rows, softmax ------------------------------------------------------------------------------------------- */

/* e^v = 2^k (1 + p) for v <= 0 or NaN */
real NAME(spec_exponential)(real v)
{
    const real k = FMA(-v < LAST ? -v : LAST, -LOG2_E, ROUNDER) - ROUNDER;
    const real w = FMA(k, -LN_2_HIGH, -(-v > END ? END : -v));
    const real r_lo = k * -LN_2_LOW;
    const real r = w + r_lo, z = r * r;
    const real p = w + FMA(z, polynomial(TERMS(EXP_TERMS), 0, r, z), r_lo);
    return LDEXP(1 + p, (int)k);
}

/* sixteen chains, element j in chain j mod 16, are added so; never -0 */
static real sum_of_sixteen(const real *chain)
{
    real eight[8], four[4];
    for (int i = 0; i < 8; i++) eight[i] = chain[i] + chain[i + 8];
    for (int i = 0; i < 4; i++) four[i] = eight[i] + eight[i + 4];
    return ((four[0] + four[2]) + (four[1] + four[3])) + 0;
}

static real largest(size_t n, const real *x)
{
    real m = (real)-INFINITY;
    for (size_t j = 0; j < n; j++)
        if (x[j] > m) m = x[j]; /* NaN is passed over */
    return m;
}

/* x - m, 0 where they are the same infinity */
static real below(real x, real m) { return x == m ? 0 : x - m; }

#if BITS == 64
/* log x for x >= 1: x = 2^k m, sqrt(1/2) <= m < sqrt 2, f = m - 1, s = f / (2 + f), log m = 2 artanh s */
double spec_logarithm_f64(double x)
{
    if (x != x) return x;
    int k;
    double m = frexp(x, &k);
    if (m < sqrt(0.5)) {
        m = 2 * m;
        k = k - 1;
    }
    const double f = m - 1, s = f / (m + 1), z = s * s;
    double sum = 1.0 / 23;
    for (int n = 21; n >= 3; n -= 2) sum = sum * z + 1.0 / n;
    return k * LN_2_HIGH + (f - (s * (f - 2 * z * sum) - k * LN_2_LOW));
}
#else
double spec_logarithm_f64(double x);
double spec_exponential_f64(double v);
#endif

/* ---- what training makes small ------------------------------------------------------------------------------------------ */

typedef void cost(real p, real t, real parameter, real *c, real *gradient);
typedef void cost_f64(double p, double t, double parameter, double *c, double *gradient);

typedef struct {
    cost_f64 *in_double; /* c is computed in double precision, */
    cost *in_type; /* its gradient in the type; NULL: the cross-entropy of a softmax */
    double parameter; /* label smoothing of the cross-entropy */
    int labels; /* whether its target is the number of a class in each row, and not a row of probabilities */
} objective;

/* sum_i c(p_i, t_i) in double precision: eight chains, added as a tree */
static double sum_of_costs(const objective *o, size_t n, const real *p, const real *t)
{
    double chain[8] = {0};
    for (size_t i = 0; i < n; i++) {
        double c, unused;
        o->in_double((double)p[i], (double)t[i], o->parameter, &c, &unused);
        chain[i % 8] = chain[i % 8] + c;
    }
    return ((chain[0] + chain[1]) + (chain[2] + chain[3])) + ((chain[4] + chain[5]) + (chain[6] + chain[7]));
}

/* the number of the class, or -1 where there is none of that number */
static double class_of(real label, size_t classes)
{
    return label >= 0 && label < (real)classes && label == (real)(size_t)label ? (double)label : -1;
}

/* The same sixteen chains in double precision */
static double sum_of_sixteen_f64(const double *chain)
{
    double eight[8], four[4];
    for (int i = 0; i < 8; i++) eight[i] = chain[i] + chain[i + 8];
    for (int i = 0; i < 4; i++) four[i] = eight[i] + eight[i + 4];
    return ((four[0] + four[2]) + (four[1] + four[3])) + 0;
}

/* sum_j u_j (log S - d_j), d_j = x_j - max x, S = sum_j e^d_j, u_j = (1 - a) t_j + a / n, a being the label smoothing; in double precision */
static double cross_entropy(const objective *o, size_t n, const real *x, const real *target)
{
    const double class = o->labels ? class_of(*target, n) : 0;
    const real m = largest(n, x);
    double chain[16] = {0}, sum[16] = {0};
    if (class < 0) return NAN;
    for (size_t j = 0; j < n; j++) chain[j % 16] = chain[j % 16] + spec_exponential_f64(x[j] == m ? 0 : (double)x[j] - (double)m);
    const double log_sum = spec_logarithm_f64(sum_of_sixteen_f64(chain));
    for (size_t j = 0; j < n; j++) {
        const double t = o->labels ? (double)j == class : (double)target[j];
        const double u = (1 - o->parameter) * t + o->parameter / (double)n;
        if (u != 0) sum[j % 16] = sum[j % 16] + u * (log_sum - (x[j] == m ? 0 : (double)x[j] - (double)m));
    }
    return log_sum == log_sum ? sum_of_sixteen_f64(sum) : NAN;
}

/* (e^d_j sum_k u_k / S - u_j) scale */
static void cross_entropy_gradient(const objective *o, size_t n, double scale, const real *x, const real *target, real *gradient)
{
    const double class = o->labels ? class_of(*target, n) : 0;
    const real keep = (real)(1 - o->parameter), rest = (real)(o->parameter / (double)n), m = largest(n, x);
    real chain[16] = {0}, targets[16] = {0};
    for (size_t j = 0; j < n; j++) {
        chain[j % 16] = chain[j % 16] + NAME(spec_exponential)(below(x[j], m));
        if (!o->labels) targets[j % 16] = targets[j % 16] + FMA(keep, target[j], rest);
    }
    const real total = class < 0 ? (real)NAN : o->labels ? 1 : sum_of_sixteen(targets), share = total / sum_of_sixteen(chain);
    for (size_t j = 0; j < n; j++) {
        const real u = !o->labels ? FMA(keep, target[j], rest) : (double)j == class ? keep + rest : rest;
        gradient[j] = FMA(NAME(spec_exponential)(below(x[j], m)), share, -u) * (real)scale;
    }
}

/* What the costs of all rows together are divided by */
static double size_of(const objective *o, size_t rows, size_t columns, const real *weights)
{
    double sum = weights ? 0 : (double)rows;
    if (weights)
        for (size_t i = 0; i < rows; i++) sum = sum + (double)weights[i];
    return o->in_type ? sum * (double)columns : sum;
}

/* The mean cost of a batch; weights, one for each row, may be NULL. 0 where there is nothing to divide by. */
double NAME(spec_cost)(const objective *o, size_t rows, size_t columns, const real *prediction, const real *target, const real *weights)
{
    const double size = size_of(o, rows, columns, weights);
    if (!rows || !columns) return 0;
    if (o->in_type && !weights) return sum_of_costs(o, rows * columns, prediction, target) / size;
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        const real *const p = prediction + i * columns, *const t = target + i * (o->labels ? 1 : columns);
        const double c = o->in_type ? sum_of_costs(o, columns, p, t) : cross_entropy(o, columns, p, t);
        sum = sum + (weights ? (double)weights[i] : 1) * c;
    }
    return size != 0 ? sum / size : 0;
}

/* dc/dp, times a row's weight over that size, which is computed in double precision and then rounded to the type */
void NAME(spec_cost_gradient)(const objective *o, size_t rows, size_t columns, const real *prediction, const real *target,
                              const real *weights, real *gradient)
{
    const double size = size_of(o, rows, columns, weights), inverse = size != 0 ? 1 / size : 0;
    for (size_t i = 0; i < rows; i++) {
        const double scale = weights ? (double)weights[i] * inverse : inverse;
        const real *const p = prediction + i * columns, *const t = target + i * (o->labels ? 1 : columns);
        if (!o->in_type) cross_entropy_gradient(o, columns, scale, p, t, gradient + i * columns);
        else
            for (size_t j = 0; j < columns; j++) {
                real unused, slope;
                o->in_type(p[j], t[j], (real)o->parameter, &unused, &slope);
                gradient[i * columns + j] = slope * (real)scale;
            }
    }
}

/* ---- optimizers: spec_<name> takes one step ------------------------------------------------------------------------------
 *
 * h are hyperparameters, r running numbers, which are 1 before the first step; s and u, one for each parameter, are 0 then. Whatever is no array is
 * computed in double precision and rounded to the type where an array meets it.
 */

typedef void optimizer_step(const double *h, double *r, double rate, size_t n, real *theta, const real *gradient, real *s, real *u);

/* h: momentum, whether it is Nesterov's */
void NAME(spec_sgd)(const double *h, double *r, double rate, size_t n, real *theta, const real *gradient, real *s, real *u)
{
    (void)r, (void)u;
    const real mu = (real)h[0];
    for (size_t i = 0; i < n; i++) {
        const real g = gradient[i];
        if (mu == 0) s[i] = g;
        else s[i] = FMA(mu, s[i], g);
        theta[i] = FMA((real)-rate, mu != 0 && h[1] != 0 ? FMA(mu, s[i], g) : s[i], theta[i]);
    }
}

/* h: rho, epsilon, momentum */
void NAME(spec_rmsprop)(const double *h, double *r, double rate, size_t n, real *theta, const real *gradient, real *s, real *u)
{
    (void)r;
    for (size_t i = 0; i < n; i++) {
        const real g = gradient[i];
        s[i] = FMA((real)h[0], s[i], ((real)(1 - h[0]) * g) * g);
        u[i] = FMA((real)h[2], u[i], g / (SQRT(s[i]) + (real)h[1]));
        theta[i] = FMA((real)-rate, u[i], theta[i]);
    }
}

/* h: epsilon */
void NAME(spec_adagrad)(const double *h, double *r, double rate, size_t n, real *theta, const real *gradient, real *s, real *u)
{
    (void)r, (void)u;
    for (size_t i = 0; i < n; i++) {
        const real g = gradient[i];
        s[i] = FMA(g, g, s[i]);
        theta[i] = FMA((real)-rate, g / (SQRT(s[i]) + (real)h[0]), theta[i]);
    }
}

/* h: beta_1, beta_2, epsilon */
void NAME(spec_adam)(const double *h, double *r, double rate, size_t n, real *theta, const real *gradient, real *s, real *u)
{
    r[0] = r[0] * h[0];
    r[1] = r[1] * h[1];
    const real step = (real)(-rate / (1 - r[0])), inverse = (real)(1 / sqrt(1 - r[1]));
    for (size_t i = 0; i < n; i++) {
        const real g = gradient[i];
        s[i] = FMA((real)h[0], s[i], (real)(1 - h[0]) * g);
        u[i] = FMA((real)h[1], u[i], ((real)(1 - h[1]) * g) * g);
        theta[i] = FMA(step, s[i] / FMA(SQRT(u[i]), inverse, (real)h[2]), theta[i]);
    }
}

/* h: beta_1, beta_2, epsilon, and 0.96^momentum_decay */
void NAME(spec_nadam)(const double *h, double *r, double rate, size_t n, real *theta, const real *gradient, real *s, real *u)
{
    r[2] = r[2] * h[3];
    const double now = h[0] * (1 - 0.5 * r[2]), next = h[0] * (1 - (0.5 * r[2]) * h[3]);
    r[0] = r[0] * now;
    r[1] = r[1] * h[1];
    const real by_g = (real)((-rate * (1 - now)) / (1 - r[0])), by_s = (real)((-rate * next) / (1 - r[0] * next));
    const real inverse = (real)(1 / sqrt(1 - r[1]));
    for (size_t i = 0; i < n; i++) {
        const real g = gradient[i];
        s[i] = FMA((real)h[0], s[i], (real)(1 - h[0]) * g);
        u[i] = FMA((real)h[1], u[i], ((real)(1 - h[1]) * g) * g);
        theta[i] = theta[i] + FMA(by_s, s[i], by_g * g) / FMA(SQRT(u[i]), inverse, (real)h[2]);
    }
}

/* h: eta_minus, eta_plus, the least step, the largest */
void NAME(spec_rprop)(const double *h, double *r, double rate, size_t n, real *theta, const real *gradient, real *s, real *u)
{
    (void)r;
    for (size_t i = 0; i < n; i++) {
        const real g = gradient[i], turn = g * s[i];
        const real step = (u[i] > 0 ? u[i] : (real)rate) * (turn > 0 ? (real)h[1] : turn < 0 ? (real)h[0] : 1);
        u[i] = step < (real)h[3] ? step : (real)h[3];
        u[i] = u[i] > (real)h[2] ? u[i] : (real)h[2];
        s[i] = turn < 0 ? 0 : g;
        theta[i] = theta[i] - sign(s[i]) * u[i];
    }
}

/* Parameters begin .. end - 1 have these */
typedef struct {
    size_t begin, end;
    double l1, l2, decay;
} penalty;

typedef struct {
    optimizer_step *step;
    double h[4], r[3];
    double clip_value, clip_norm; /* infinite where there are none */
    real *s, *u;
    size_t penalties;
    const penalty *penalty;
} optimizer;

/* The length of the gradient in double precision: 4096 squares at a time, in eight chains that are added as a tree, and these sums one by one */
static double length_of(size_t n, const real *gradient)
{
    double sum = 0;
    for (size_t first = 0; first < n; first += 4096) {
        double chain[8] = {0};
        for (size_t i = 0; i < 4096 && first + i < n; i++) {
            const double g = (double)gradient[first + i], square = g * g;
            chain[i % 8] = chain[i % 8] + square;
        }
        sum = sum + (((chain[0] + chain[1]) + (chain[2] + chain[3])) + ((chain[4] + chain[5]) + (chain[6] + chain[7])));
    }
    return sqrt(sum);
}

/* One step: the gradient is shortened and cut, penalties are added to it, and parameters decay, where any of this has something to do; then they
 * take their step */
void NAME(spec_optimize)(optimizer *o, size_t n, real *theta, const real *gradient, double rate)
{
    double scale = 1;
    if (o->clip_norm < INFINITY) {
        const double length = length_of(n, gradient);
        if (!(length <= o->clip_norm)) scale = o->clip_norm / length;
    }
    real *const g = room(n);
    memcpy(g, gradient, n * sizeof(real));
    for (size_t k = 0; k < o->penalties; k++) {
        const penalty *const p = o->penalty + k;
        if (scale == 1 && !(o->clip_value < INFINITY) && p->l1 == 0 && p->l2 == 0 && p->decay == 0) continue;
        for (size_t i = p->begin; i < p->end; i++) {
            const real clip = (real)o->clip_value, scaled = g[i] * (real)scale;
            const real cut = scaled > clip ? clip : scaled < -clip ? -clip : scaled; /* NaN of NaN */
            g[i] = FMA((real)p->l1, sign(theta[i]), FMA((real)p->l2, theta[i], cut));
            theta[i] = (real)(1 - rate * p->decay) * theta[i];
        }
    }
    o->step(o->h, o->r, rate, n, theta, g, o->s, o->u);
    free(g);
}

/* ---- rows: a sum along a row is sum_of_sixteen -------------------------------------------------------------------------- */

/* sixteen chains of a_j, or, with b, of fused a_j b_j */
static real sum_of_row(size_t n, const real *a, const real *b)
{
    real chain[16] = {0};
    for (size_t j = 0; j < n; j++) chain[j % 16] = b ? FMA(a[j], b[j], chain[j % 16]) : chain[j % 16] + a[j];
    return sum_of_sixteen(chain);
}

/* y_j = e^(x_j - m) / S, S = sum_j e^(x_j - m), m = max x; or, if `log`, its logarithm */
void NAME(spec_softmax)(int log, size_t rows, size_t n, const real *x, real *y)
{
    for (size_t i = 0; i < rows; i++, x += n, y += n) {
        real *const e = room(n);
        const real m = largest(n, x);
        for (size_t j = 0; j < n; j++) e[j] = NAME(spec_exponential)(below(x[j], m));
        const real sum = sum_of_row(n, e, NULL), inverse = 1 / sum, log_sum = (real)spec_logarithm_f64((double)sum);
        for (size_t j = 0; j < n; j++) y[j] = log ? below(x[j], m) - log_sum : e[j] * inverse;
        free(e);
    }
}

/* y_j (g_j - sum_k g_k y_k); if `log`, g_j - e^y_j sum_k g_k */
void NAME(spec_softmax_gradient)(int log, size_t rows, size_t n, const real *y, const real *g, real *x_gradient)
{
    for (size_t i = 0; i < rows; i++, y += n, g += n, x_gradient += n) {
        const real sum = sum_of_row(n, g, log ? NULL : y);
        for (size_t j = 0; j < n; j++) x_gradient[j] = log ? FMA(NAME(spec_exponential)(y[j]), -sum, g[j]) : y[j] * (g[j] - sum);
    }
}

/* h_j = (x_j - mean) r, r = 1 / sqrt(variance + epsilon); y_j = h_j scale_j + bias_j, either of which may be NULL; statistics (rows, 2): mean and r */
void NAME(spec_layer_norm)(size_t rows, size_t n, double epsilon, const real *x, const real *scale, const real *bias, real *y,
                           real *statistics)
{
    const real count = (real)n;
    for (size_t i = 0; i < rows; i++, x += n, y += n, statistics += 2) {
        real *const d = room(n);
        const real first = sum_of_row(n, x, NULL) / count;
        for (size_t j = 0; j < n; j++) d[j] = x[j] - first;
        const real rest = sum_of_row(n, d, NULL), part = rest / count; /* what the first mean lacks */
        const real mean = first + part;
        const real variance = (sum_of_row(n, d, d) - rest * part) / count;
        const real r = 1 / SQRT((variance < 0 ? 0 : variance) + (real)epsilon);
        for (size_t j = 0; j < n; j++) {
            const real h = (x[j] - mean) * r;
            y[j] = scale && bias ? FMA(h, scale[j], bias[j]) : scale ? h * scale[j] : bias ? h + bias[j] : h;
        }
        statistics[0] = mean;
        statistics[1] = r;
        free(d);
    }
}

/* r (q_j - mean q - h_j mean(q h)), q = g scale */
void NAME(spec_layer_norm_gradient)(size_t rows, size_t n, const real *x, const real *statistics, const real *g, const real *scale,
                                    real *x_gradient)
{
    const real count = (real)n;
    for (size_t i = 0; i < rows; i++, x += n, g += n, x_gradient += n, statistics += 2) {
        real *const q = room(n), *const h = room(n);
        for (size_t j = 0; j < n; j++) {
            q[j] = scale ? g[j] * scale[j] : g[j];
            h[j] = (x[j] - statistics[0]) * statistics[1];
        }
        const real a = sum_of_row(n, q, NULL) / count, b = sum_of_row(n, q, h) / count;
        for (size_t j = 0; j < n; j++) x_gradient[j] = FMA(h[j], -b, q[j] - a) * statistics[1];
        free(q);
        free(h);
    }
}

/* one chain of g_j h_j over the rows */
void NAME(spec_layer_norm_scale_gradient)(size_t rows, size_t n, const real *x, const real *statistics, const real *g, real *scale_gradient)
{
    for (size_t j = 0; j < n; j++) {
        real sum = 0;
        for (size_t i = 0; i < rows; i++) sum = FMA(g[i * n + j], (x[i * n + j] - statistics[2 * i]) * statistics[2 * i + 1], sum);
        scale_gradient[j] = sum;
    }
}

/* mean may be NULL */
void NAME(spec_standardize)(size_t rows, size_t n, const real *x, const real *mean, const real *deviation, real *y)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] = (mean ? x[i * n + j] - mean[j] : x[i * n + j]) / deviation[j];
}

/* word 0 .. 3 of Philox4x32-10 */
static uint32_t philox(uint64_t key, uint64_t counter, uint64_t step, unsigned word)
{
    uint32_t x[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)step, (uint32_t)(step >> 32)};
    uint32_t k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    for (int round = 0; round < 10; round++) {
        const uint64_t p = UINT64_C(0xD2511F53) * x[0], q = UINT64_C(0xCD9E8D57) * x[2];
        const uint32_t next[4] = {(uint32_t)(q >> 32) ^ x[1] ^ k[0], (uint32_t)q, (uint32_t)(p >> 32) ^ x[3] ^ k[1], (uint32_t)p};
        memcpy(x, next, sizeof x);
        k[0] += 0x9E3779B9;
        k[1] += 0xBB67AE85;
    }
    return x[word];
}

/* Elements first .. first + n - 1 of a batch */
void NAME(spec_dropout)(double rate, uint64_t seed, uint64_t step, uint64_t first, size_t n, const real *x, real *y)
{
    const double threshold = floor(rate * 0x1p32);
    const real scale = (real)(1 / (1 - rate));
    for (size_t k = 0; k < n; k++) {
        const uint64_t p = first + k;
        const uint32_t drawn = philox(seed, 16 * (p / 64) + p % 16, step, (unsigned)(p / 16 % 4));
        y[k] = drawn < threshold ? 0 : x[k] * scale;
    }
}

/* ---- networks ---------------------------------------------------------------------------------------------------------- */

enum { DENSE, ACTIVATION, SOFTMAX, LOG_SOFTMAX, LAYER_NORM, STANDARDIZE, DROPOUT };

typedef struct {
    int kind;
    activation *f;
    double parameter; /* of f; epsilon of LAYER_NORM, rate of DROPOUT */
    size_t in, out;
    size_t weight,
        bias; /* where they, or scale and bias of LAYER_NORM, begin among the parameters of the network; SIZE_MAX where there is none */
    int by_input; /* whether the weight lies there as (in, out) */
    const real *mean, *deviation; /* of STANDARDIZE */
    uint64_t seed, step; /* of DROPOUT; how many batches it has seen */
} layer;

static const real *parameter_at(size_t place, const real *theta) { return place < SIZE_MAX ? theta + place : NULL; }

static size_t place(const layer *l, size_t m, size_t n) { return l->weight + (l->by_input ? n * l->out + m : m * l->in + n); }

/* W (out, in) */
static void weight_of(const layer *l, const real *theta, real *w)
{
    for (size_t m = 0; m < l->out; m++)
        for (size_t n = 0; n < l->in; n++) w[m * l->in + n] = theta[place(l, m, n)];
}

/* In a prediction DROPOUT drops nothing */
static void forward(const layer *l, int training, const real *theta, size_t rows, const real *x, real *y)
{
    const size_t n = l->in;
    real *const room_for = room(l->kind == DENSE ? l->out * n : 2 * rows);
    switch (l->kind) {
    case DENSE:
        weight_of(l, theta, room_for);
        NAME(spec_affine)(rows, n, l->out, room_for, x, parameter_at(l->bias, theta), y);
        break;
    case ACTIVATION: NAME(spec_activation)(l->f, l->parameter, rows * n, x, y); break;
    case SOFTMAX: NAME(spec_softmax)(0, rows, n, x, y); break;
    case LOG_SOFTMAX: NAME(spec_softmax)(1, rows, n, x, y); break;
    case LAYER_NORM:
        NAME(spec_layer_norm)(rows, n, l->parameter, x, parameter_at(l->weight, theta), parameter_at(l->bias, theta), y, room_for);
        break;
    case STANDARDIZE: NAME(spec_standardize)(rows, n, x, l->mean, l->deviation, y); break;
    case DROPOUT:
        if (training) NAME(spec_dropout)(l->parameter, l->seed, l->step, 0, rows * n, x, y);
        else memcpy(y, x, rows * n * sizeof(real));
        break;
    default: abort();
    }
    free(room_for);
}

/* dC/dX from dC/dY, X and Y; those of the parameters go where these lie */
static void backward(const layer *l, const real *theta, size_t rows, const real *x, const real *y, const real *y_gradient, real *x_gradient,
                     real *gradients)
{
    const size_t n = l->in;
    real *const w = room(l->out * n), *const gradient = room(l->out * n), *const statistics = room(2 * rows), *const again = room(rows * n);
    switch (l->kind) {
    case DENSE:
        weight_of(l, theta, w);
        NAME(spec_input_gradient)(rows, n, l->out, w, y_gradient, x_gradient);
        NAME(spec_weight_gradient)(rows, n, l->out, y_gradient, x, gradient);
        for (size_t i = 0; i < l->out; i++)
            for (size_t j = 0; j < n; j++) gradients[place(l, i, j)] = gradient[i * n + j];
        break;
    case ACTIVATION: NAME(spec_activation_gradient)(l->f, l->parameter, rows * n, x, y_gradient, x_gradient); break;
    case SOFTMAX: NAME(spec_softmax_gradient)(0, rows, n, y, y_gradient, x_gradient); break;
    case LOG_SOFTMAX: NAME(spec_softmax_gradient)(1, rows, n, y, y_gradient, x_gradient); break;
    case LAYER_NORM:
        NAME(spec_layer_norm)(rows, n, l->parameter, x, NULL, NULL, again, statistics);
        NAME(spec_layer_norm_gradient)(rows, n, x, statistics, y_gradient, parameter_at(l->weight, theta), x_gradient);
        if (l->weight < SIZE_MAX) NAME(spec_layer_norm_scale_gradient)(rows, n, x, statistics, y_gradient, gradients + l->weight);
        break;
    case STANDARDIZE: NAME(spec_standardize)(rows, n, y_gradient, NULL, l->deviation, x_gradient); break;
    case DROPOUT: NAME(spec_dropout)(l->parameter, l->seed, l->step, 0, rows * n, y_gradient, x_gradient); break;
    default: abort();
    }
    if (l->bias < SIZE_MAX) NAME(spec_bias_gradient)(rows, l->out, y_gradient, gradients + l->bias);
    free(w);
    free(gradient);
    free(statistics);
    free(again);
}

/* y (rows, out of the last layer) of x (rows, in of the first) */
void NAME(spec_predict)(size_t count, const layer *layers, const real *theta, size_t rows, const real *x, real *y)
{
    const layer *const last = layers + count - 1;
    real *from = room(rows * layers->in);
    memcpy(from, x, rows * layers->in * sizeof(real));
    for (const layer *l = layers; l <= last; l++) {
        real *const to = room(rows * l->out);
        forward(l, 0, theta, rows, from, to);
        free(from);
        from = to;
    }
    memcpy(y, from, rows * last->out * sizeof(real));
    free(from);
}

/* One step on a batch; the cost before it */
static double step(size_t count, layer *layers, size_t parameters, real *theta, const objective *o, optimizer *update, double rate,
                   size_t rows, const real *x, const real *target, const real *weights)
{
    const size_t out = layers[count - 1].out;
    real **const value = malloc((count + 1) * sizeof *value); /* value[i] goes into layer i, value[count] is the prediction */
    if (!value) abort();
    value[0] = room(rows * layers->in);
    memcpy(value[0], x, rows * layers->in * sizeof(real));
    for (size_t i = 0; i < count; i++) {
        value[i + 1] = room(rows * layers[i].out);
        forward(layers + i, 1, theta, rows, value[i], value[i + 1]);
    }
    const double cost = NAME(spec_cost)(o, rows, out, value[count], target, weights);
    real *y_gradient = room(rows * out), *const gradients = room(parameters);
    NAME(spec_cost_gradient)(o, rows, out, value[count], target, weights, y_gradient);
    for (size_t i = count; i-- > 0;) {
        real *const x_gradient = room(rows * layers[i].in);
        backward(layers + i, theta, rows, value[i], value[i + 1], y_gradient, x_gradient, gradients);
        layers[i].step = layers[i].step + 1;
        free(y_gradient);
        y_gradient = x_gradient;
    }
    NAME(spec_optimize)(update, parameters, theta, gradients, rate);
    free(y_gradient);
    free(gradients);
    for (size_t i = 0; i <= count; i++) free(value[i]);
    free(value);
    return cost;
}

/* One epoch: a step on each batch of `batch` rows, the last perhaps with fewer, of x, target and weights (or NULL) in the given order; costs has the
 * cost of each */
void NAME(spec_epoch)(size_t count, layer *layers, size_t parameters, real *theta, const objective *o, optimizer *update, double rate,
                      size_t rows, const real *x, const real *target, const real *weights, const int64_t *order, size_t batch,
                      double *costs)
{
    const size_t in = layers->in, out = o->labels ? 1 : layers[count - 1].out;
    real *const some_x = room(batch * in), *const some_target = room(batch * out), *const some_weights = room(batch);
    for (size_t first = 0; first < rows; first += batch) {
        const size_t n = rows - first < batch ? rows - first : batch;
        for (size_t i = 0; i < n; i++) {
            const size_t row = (size_t)order[first + i];
            memcpy(some_x + i * in, x + row * in, in * sizeof(real));
            memcpy(some_target + i * out, target + row * out, out * sizeof(real));
            if (weights) some_weights[i] = weights[row];
        }
        *costs++ = step(count, layers, parameters, theta, o, update, rate, n, some_x, some_target, weights ? some_weights : NULL);
    }
    free(some_x);
    free(some_target);
    free(some_weights);
}
