/* specification.c: what pynn computes, one rounded operation after another, as plainly as C can say it.
 *
 * docs/reproducibility.md says the same in words, and tests/test_specification.py holds every kernel to it, bit by bit. It shares nothing with
 * csrc/ and is slow. It is compiled once for each type, by -DBITS=32 and -DBITS=64, with -ffp-contract=off.
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
#else
typedef double real;
#define NAME(name) name##_f64
#define FMA fma
#define ABS fabs
#define COPYSIGN copysign
#define LDEXP ldexp
#endif

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

/* The exponential in tanh and sigmoid: for v >= 0 or NaN, e^v = (1 + p) / s, where k = -v / ln 2 rounded to a whole number, s = 2^k, r = v + k ln 2,
 * and p = e^r - 1 = r + r^2 c(r), which is left in parts: r = w + r_lo, z = r^2, c. */
typedef struct {
    real s, w, r, r_lo, z, c;
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
    e.w = FMA(k, LN_2_HIGH, v > END ? END : v); /* exact; NaN of NaN */
    e.r_lo = k * LN_2_LOW;
    e.r = FMA(k, LN_2_LOW, e.w);
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

/* With v = 2 |x|: tanh |x| = (1 - s + p) / (1 + s + p), its derivative 4 (m - m^2) where m = s / (1 + s + p) */
void NAME(spec_tanh)(real x, real parameter, real *y, real *derivative)
{
    (void)parameter;
    const real a = ABS(x);
    const exponential e = exponential_of(a + a);
    const real small = FMA(e.z, e.c, e.r_lo);
    const real p = e.w + small;
    const real difference = 1 - e.s;
    const real n = difference + p;
    const real n_lo = ((difference - n) + e.w) + small; /* w + small has what p has lost */
    const real d = (1 + e.s) + p;
    const real d_lo = (FMA(e.s, 2, difference - d) + e.w) + small;
    const real q = 1 / d;
    const real first = n * q;
    const real missing = FMA(-first, d_lo, FMA(-first, d, n)) + n_lo;
    *y = COPYSIGN(FMA(missing, q, first), x);
    const real inverse = reciprocal(d, d_lo);
    const real m = inverse * e.s;
    *derivative = (FMA(-m, inverse, inverse) * 4) * e.s;
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

/* ---- cost and update --------------------------------------------------------------------------------------------------- */

/* 1/n sum (p_i - t_i)^2, all of it in double precision: eight chains, added as a tree; 0 where n is 0 */
double NAME(spec_mean_squared_error)(size_t n, const real *prediction, const real *target)
{
    double chain[8] = {0};
    for (size_t i = 0; i < n; i++) {
        const double difference = (double)prediction[i] - (double)target[i], square = difference * difference;
        chain[i % 8] = chain[i % 8] + square;
    }
    const double sum = ((chain[0] + chain[1]) + (chain[2] + chain[3])) + ((chain[4] + chain[5]) + (chain[6] + chain[7]));
    return n ? sum / (double)n : 0;
}

/* twice p_i - t_i, times 1/n, which is computed in double precision and then rounded to the type */
void NAME(spec_mean_squared_error_gradient)(size_t n, const real *prediction, const real *target, real *gradient)
{
    const real scale = (real)(1.0 / (double)n);
    for (size_t i = 0; i < n; i++) {
        const real difference = prediction[i] - target[i];
        gradient[i] = (difference + difference) * scale;
    }
}

/* theta = theta - rate gradient, with the rate rounded to the type */
void NAME(spec_gradient_descent)(size_t n, real *parameters, const real *gradients, double learning_rate)
{
    const real rate = (real)learning_rate;
    for (size_t i = 0; i < n; i++) parameters[i] = FMA(-rate, gradients[i], parameters[i]);
}

/* ---- networks ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    activation *f; /* an activation, or NULL: a dense layer */
    double parameter;
    size_t in, out;
    real *weight, *bias; /* bias may be NULL */
} layer;

static real *room(size_t n)
{
    real *const memory = malloc((n + 1) * sizeof(real));
    if (!memory) abort();
    return memory;
}

static void forward(const layer *l, size_t rows, const real *x, real *y)
{
    if (l->f) NAME(spec_activation)(l->f, l->parameter, rows * l->in, x, y);
    else NAME(spec_affine)(rows, l->in, l->out, l->weight, x, l->bias, y);
}

/* dC/dX from dC/dY, with the parameters as they are; then these take their step */
static void backward_and_update(const layer *l, size_t rows, const real *x, const real *y_gradient, real *x_gradient, double rate)
{
    if (l->f) {
        NAME(spec_activation_gradient)(l->f, l->parameter, rows * l->in, x, y_gradient, x_gradient);
        return;
    }
    NAME(spec_input_gradient)(rows, l->in, l->out, l->weight, y_gradient, x_gradient);
    real *const gradient = room(l->in * l->out + l->out);
    NAME(spec_weight_gradient)(rows, l->in, l->out, y_gradient, x, gradient);
    NAME(spec_gradient_descent)(l->in * l->out, l->weight, gradient, rate);
    if (l->bias) {
        NAME(spec_bias_gradient)(rows, l->out, y_gradient, gradient);
        NAME(spec_gradient_descent)(l->out, l->bias, gradient, rate);
    }
    free(gradient);
}

/* y (rows, out of the last layer) of x (rows, in of the first) */
void NAME(spec_predict)(size_t count, const layer *layers, size_t rows, const real *x, real *y)
{
    const layer *const last = layers + count - 1;
    real *from = room(rows * layers->in);
    memcpy(from, x, rows * layers->in * sizeof(real));
    for (const layer *l = layers; l <= last; l++) {
        real *const to = room(rows * l->out);
        forward(l, rows, from, to);
        free(from);
        from = to;
    }
    memcpy(y, from, rows * last->out * sizeof(real));
    free(from);
}

/* One step of gradient descent on a batch; the cost before it */
static double step(size_t count, const layer *layers, size_t rows, const real *x, const real *target, double rate)
{
    const layer *const last = layers + count - 1;
    real **const value = malloc((count + 1) * sizeof *value); /* value[i] goes into layer i, value[count] is the prediction */
    if (!value) abort();
    value[0] = room(rows * layers->in);
    memcpy(value[0], x, rows * layers->in * sizeof(real));
    for (size_t i = 0; i < count; i++) {
        value[i + 1] = room(rows * layers[i].out);
        forward(layers + i, rows, value[i], value[i + 1]);
    }
    const size_t n = rows * last->out;
    const double cost = NAME(spec_mean_squared_error)(n, value[count], target);
    real *y_gradient = room(n);
    NAME(spec_mean_squared_error_gradient)(n, value[count], target, y_gradient);
    for (size_t i = count; i-- > 0;) {
        real *const x_gradient = room(rows * layers[i].in);
        backward_and_update(layers + i, rows, value[i], y_gradient, x_gradient, rate);
        free(y_gradient);
        y_gradient = x_gradient;
    }
    free(y_gradient);
    for (size_t i = 0; i <= count; i++) free(value[i]);
    free(value);
    return cost;
}

/* One epoch: a step on each batch of `batch` rows, the last perhaps with fewer, of x and target in the given order; costs has the cost of each */
void NAME(spec_epoch)(size_t count, const layer *layers, size_t rows, const real *x, const real *target, const int64_t *order, size_t batch,
                      double rate, double *costs)
{
    const size_t in = layers->in, out = layers[count - 1].out;
    real *const some_x = room(batch * in), *const some_target = room(batch * out);
    for (size_t first = 0; first < rows; first += batch) {
        const size_t n = rows - first < batch ? rows - first : batch;
        for (size_t i = 0; i < n; i++) {
            const size_t row = (size_t)order[first + i];
            memcpy(some_x + i * in, x + row * in, in * sizeof(real));
            memcpy(some_target + i * out, target + row * out, out * sizeof(real));
        }
        *costs++ = step(count, layers, n, some_x, some_target, rate);
    }
    free(some_x);
    free(some_target);
}
