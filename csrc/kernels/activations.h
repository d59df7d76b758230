/* activations.h: y = f(x) and f'(x) of every activation in activation_list.h: one function act_<name>, whose unused result costs
 * nothing; parameter is that of the layer, in every lane. A new activation is its function here and its line in the list. */
#include "activation_list.h"

#define activation_at F(activation_at)
#define activation_step F(activation_step)
#define ACTIVATION(name) INLINE void F(act_##name)(V x, MAYBE_UNUSED V parameter, V *y, V *df)

/* relu   y = max(0, x)   f' = 1 if x > 0 else 0, and NaN of NaN */
ACTIVATION(relu)
{
    const M off = v_le(x, v_zero());
    *y = v_select(off, v_zero(), x);
    *df = v_select(off, v_zero(), v_select(v_lt(v_zero(), x), v_set1(1), x));
}

/* sigmoid   y = 1 / (1 + e^-x)   f' = e^-|x| / (1 + e^-|x|)^2 */
ACTIVATION(sigmoid) { math_sigmoid(x, y, df); }

/* arctan   y = arctan(x)   f' = 1 / (1 + x^2) */
ACTIVATION(arctan)
{
    *y = math_atan(x);
    *df = math_atan_gradient(x);
}

/* tanh   y = tanh(x)   f' = 4 e^-2|x| / (1 + e^-2|x|)^2 */
ACTIVATION(tanh) { math_tanh(x, y, df); }

/* identity   y = x   f' = 1 */
ACTIVATION(identity)
{
    *y = x;
    *df = v_set1(1);
}

/* leaky_relu   y = x if x > 0 else a x   f' = 1 if x > 0 else a   a: negative_slope */
ACTIVATION(leaky_relu)
{
    const M on = v_lt(v_zero(), x);
    *y = v_select(on, x, v_mul(parameter, x));
    *df = v_select(on, v_set1(1), v_select(v_eq(x, x), parameter, x));
}

/* elu   y = x if x > 0 else a (e^x - 1)   f' = 1 if x > 0 else a e^x   a: alpha */
ACTIVATION(elu)
{
    V f, slope;
    math_elu(x, parameter, v_zero(), &f, &slope);
    *y = v_select(v_lt(x, v_zero()), f, x);
    *df = v_select(v_lt(v_zero(), x), v_set1(1), v_select(v_eq(x, x), slope, x));
}

/* selu   y = s x if x > 0 else s a (e^x - 1)   f' = s if x > 0 else s a e^x   s and a: see the list */
ACTIVATION(selu)
{
    const V scale = v_set1(NUMBER(0x1.0cfabcp+0, 0x1.0cfabd6a91131p+0));             /* scale_lo > 0, or infinity would become NaN */
    const V scale_lo = v_set1(NUMBER(0x1.6a9114p-24, 0x1p-52));
    V f, slope;
    math_elu(x, v_set1(NUMBER(0x1.c212ccp+0, 0x1.c212cc640f03p+0)), v_set1(NUMBER(0x1.903c0cp-26, 0x1.092dbf6372048p-54)), &f, &slope);
    *y = v_select(v_lt(x, v_zero()), f, v_fma(scale, x, v_mul(scale_lo, x)));
    *df = v_select(v_lt(v_zero(), x), v_add(scale, scale_lo), v_select(v_eq(x, x), slope, x));
}

/* softplus   y = log(1 + e^x)   f' = 1 / (1 + e^-x) */
ACTIVATION(softplus) { math_softplus(x, y, df); }

/* softsign   y = x / (1 + |x|)   f' = 1 / (1 + |x|)^2 */
ACTIVATION(softsign)
{
    const V v = v_min(v_set1(NUMBER(0x1p100, 0x1p1000)), v_abs(x)), one = v_set1(1);
    const V d = v_add(one, v);
    const decay_sum s = decay_divisor(d, two_sum_lo(one, v, d));
    const V inverse = v_fma(s.q, s.error, s.q);
    *y = v_copysign(quotient(v, v_zero(), s), x);
    *df = v_mul(inverse, inverse);
}

/* silu   y = x / (1 + e^-x)   f' = (1 + x / (1 + e^x)) / (1 + e^-x) */
ACTIVATION(silu) { math_silu(x, y, df); }

/* gelu   y = x Phi(x)   f' = Phi(x) + x phi(x)   Phi, phi: the normal distribution and its density */
ACTIVATION(gelu) { math_gelu(x, y, df); }

/* gelu_tanh   y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 */
ACTIVATION(gelu_tanh) { math_gelu_tanh(x, y, df); }

/* hard_sigmoid   y = min(max((x + 3) / 6, 0), 1)   f' = 1/6 if |x| < 3 else 0 */
ACTIVATION(hard_sigmoid)
{
    const V three = v_set1(3), zero = v_zero(), sixth = v_set1(NUMBER(0x1.555556p-3, 0x1.5555555555555p-3));
    const V sum = v_add(three, x), sum_lo = v_add(v_sub(three, sum), x);
    const V inside = v_fma(sum, sixth, v_fma(sum, v_set1(NUMBER(-0x1.555556p-28, 0x1.5555555555555p-57)), v_mul(sum_lo, sixth)));
    *y = v_select(v_le(x, v_neg(three)), zero, v_select(v_le(three, x), v_set1(1), inside));
    *df = v_select(v_lt(v_abs(x), three), sixth, v_select(v_eq(x, x), zero, x));
}

/* hard_tanh   y = min(max(x, -1), 1)   f' = 1 if |x| < 1 else 0 */
ACTIVATION(hard_tanh)
{
    const V one = v_set1(1);
    *y = v_select(v_lt(one, v_abs(x)), v_copysign(one, x), x);
    *df = v_select(v_lt(v_abs(x), one), one, v_select(v_eq(x, x), v_zero(), x));
}

/* mish   y = x tanh(log(1 + e^x)) */
ACTIVATION(mish) { math_mish(x, y, df); }

#define ROW(name, ...) F(ACT_##name),
enum { ACTIVATIONS(ROW) };
#undef ROW

/* the activation of that number; the number is a constant where this is inlined */
INLINE void activation_at(int activation, V x, V parameter, V *y, V *df)
{
    switch (activation) {
#define ROW(name, ...) \
    case F(ACT_##name): F(act_##name)(x, parameter, y, df); break;
        ACTIVATIONS(ROW)
#undef ROW
    default: *y = *df = x;
    }
}

/* y = f(x), derivative = f'(x), times factor if there is one, for LANES numbers; where y or derivative is NULL, not that */
INLINE void activation_step(int activation, T parameter, const T *x, const T *factor, T *y, T *derivative)
{
    V f, df;
    activation_at(activation, v_load(x), v_set1(parameter), &f, &df);
    if (factor) df = v_mul(v_load(factor), df);
    if (y) v_store(y, f);
    if (derivative) v_store(derivative, df);
}
#undef ACTIVATION
