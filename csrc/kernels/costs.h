/* costs.h: c(p, t) and dc/dp of every cost in cost_list.h: one function cost_<name>, whose unused result costs nothing. A new cost is its
 * function here and its line in the list.
 *
 * A cost is computed in double precision whatever the dtype: float32 is converted first. Element i of a run goes to chain i mod 8, and the
 * chains are added as a tree. A gradient is computed in its dtype: dc/dp, times scale rounded to that dtype. */
#include "cost_list.h"

#define cost_at F(cost_at)
#define add_costs F(add_costs)
#define cost_gradient F(cost_gradient)
#define cost_gradient_loop F(cost_gradient_loop)
#define COST(name) INLINE void F(cost_##name)(V p, V t, MAYBE_UNUSED V parameter, V *c, V *dc)

/* mse   c = (p - t)^2   c' = 2 (p - t) */
COST(mse)
{
    const V d = v_sub(p, t);
    *c = v_mul(d, d);
    *dc = v_add(d, d);
}

/* mae   c = |p - t|   c' = sign(p - t), 0 of 0 */
COST(mae)
{
    const V d = v_sub(p, t);
    *c = v_abs(d);
    *dc = v_select(v_lt(v_zero(), v_abs(d)), v_copysign(v_set1(1), d), d);
}

/* huber   c = w (|d| - w/2)   c' = w sign(d), where d = p - t, w = min(|d|, delta) */
COST(huber)
{
    const V d = v_sub(p, t), a = v_abs(d), w = v_min(parameter, a);
    *c = v_mul(w, v_fma(w, v_set1((T)-0.5), a));
    *dc = v_copysign(w, d);
}

/* quantile   c = max(q d, (q - 1) d), d = t - p   c' = -q where d > 0, 1 - q where d < 0, 0 of 0 */
COST(quantile)
{
    const V d = v_sub(t, p), over = v_sub(v_set1(1), parameter);
    *c = v_mul(v_select(v_lt(d, v_zero()), over, parameter), v_abs(d));
    *dc = v_select(v_lt(v_zero(), d), v_neg(parameter), v_select(v_lt(d, v_zero()), over, d));
}

/* log_cosh   c = log(cosh(d)) = |d| + log(1 + e^-2|d|) - log(2)   c' = tanh(d), where d = p - t. Below 1/4 what is left of the terms is not
 * enough, so there it is the series at 0, whose next term is below 2^-56 of the sum. */
COST(log_cosh)
{
    static const T series[] = {0.5,
                               (T)(-1.0 / 12),
                               (T)(1.0 / 45),
                               (T)(-17.0 / 2520),
                               (T)(31.0 / 14175),
                               (T)(-691.0 / 935550),
                               (T)(10922.0 / 42567525),
                               (T)(-929569.0 / 10216206000),
                               (T)(3202291.0 / 97692469875)};
    const V d = v_sub(p, t), a = v_abs(d), z = v_mul(d, d);
    V rest, slope;
    math_softplus(v_mul(v_set1(-2), a), &rest, &slope);
    const V far = v_add(a, v_sub(rest, v_set1(NUMBER(0x1.62e43p-1, 0x1.62e42fefa39efp-1))));
    *c = v_select(v_lt(a, v_set1(0.25)), v_mul(z, polynomial(z, v_mul(z, z), series, sizeof series / sizeof *series, 1)), far);
    math_tanh(d, dc, &slope);
}

/* poisson   c = e^p - t p   c' = e^p - t, p being the logarithm of the rate */
COST(poisson)
{
    const exp_decay e = exp_negative(v_abs(p), v_zero());
    const V down = shrink(e.u, e.scale), exp = v_select(v_lt(v_zero(), p), v_div(v_set1(1), down), down);
    *c = v_sub(exp, v_mul(t, p));
    *dc = v_sub(exp, t);
}

/* binary_cross_entropy   c = p ((p > 0) - t) + log(1 + e^-|p|)   c' = 1 - t - m where p > 0, m - t elsewhere, m = 1 / (1 + e^|p|), p being
 * the logit of the probability of t = 1; an infinite one counts as the largest number, so that it costs nothing where t agrees */
COST(binary_cross_entropy)
{
    const M positive = v_lt(v_zero(), p);
    V rest, m;
    math_softplus(v_neg(v_abs(p)), &rest, &m);
    const V most = v_copysign(v_min(v_set1(NUMBER(0x1.fffffep127, 0x1.fffffffffffffp1023)), v_abs(p)), p);
    const V off = v_sub(v_select(positive, v_set1(1), v_zero()), t);
    *c = v_fma(most, off, rest);
    *dc = v_sub(v_select(positive, off, m), v_select(positive, m, t));
}

#define ROW(name, ...) F(COST_##name),
enum { COSTS(ROW) };
#undef ROW

/* the cost of that number; the number is a constant where this is inlined */
INLINE void cost_at(int cost, V p, V t, V parameter, V *c, V *dc)
{
    switch (cost) {
#define ROW(name, ...) \
    case F(COST_##name): F(cost_##name)(p, t, parameter, c, dc); break;
        COSTS(ROW)
#undef ROW
    default: *c = *dc = p;
    }
}

#if IS_F64
/* chain[i mod 8] += c(p_i, t_i) */
INLINE void cost_chains_loop(int cost, double parameter, size_t n, const double *p, const double *t, double chain[8])
{
    const V a = v_set1(parameter);
    V sum[8 / LANES], c, dc;
    size_t i = 0;
    UNROLL_FOR (size_t v = 0; v < 8 / LANES; v++) sum[v] = v_load(chain + v * LANES);
    for (; i + 8 <= n; i += 8)
        UNROLL_FOR (size_t v = 0; v < 8 / LANES; v++) {
            cost_at(cost, v_load(p + i + v * LANES), v_load(t + i + v * LANES), a, &c, &dc);
            sum[v] = v_add(sum[v], c);
        }
    UNROLL_FOR (size_t v = 0; v < 8 / LANES; v++) v_store(chain + v * LANES, sum[v]);
    for (size_t j = 0; i < n; i += LANES, j += LANES) {
        const size_t left = n - i < LANES ? n - i : LANES;
        double rest[LANES];
        cost_at(cost, v_load_n(p + i, left), v_load_n(t + i, left), a, &c, &dc);
        v_store(rest, c);
        for (size_t l = 0; l < left; l++) chain[j + l] += rest[l];
    }
}

static void cost_chains(int cost, double parameter, size_t n, const double *p, const double *t, double chain[8])
{
    switch (cost) {
#define ROW(name, ...) \
    case F(COST_##name): cost_chains_loop(F(COST_##name), parameter, n, p, t, chain); break;
        COSTS(ROW)
#undef ROW
    }
}
#endif

/* chains[i mod 8] += c(p_i, t_i) */
static void add_costs(int cost, double parameter, size_t n, const void *prediction, const void *target, double chains[COST_CHAINS])
{
    const T *const p = prediction, *const t = target;
#if IS_F64
    cost_chains(cost, parameter, n, p, t, chains);
#else
    enum { AT_ONCE = 256 };
    ALIGNED(64) double wide[2][AT_ONCE];
    for (size_t i = 0; i < n; i += AT_ONCE) {
        const size_t some = n - i < AT_ONCE ? n - i : AT_ONCE;
        for (size_t j = 0; j < some; j++) {
            wide[0][j] = (double)p[i + j];
            wide[1][j] = (double)t[i + j];
        }
        cost_chains(cost, parameter, some, wide[0], wide[1], chains);
    }
#endif
}

/* g_i = dc/dp(p_i, t_i) scale, times factor_i if there are factors; where roomy, p, factor and g take whole vectors */
INLINE void cost_gradient_loop(int cost, double parameter, size_t n, double scale, const T *p, const T *t, const T *factor, T *g, int roomy)
{
    const V a = v_set1((T)parameter), s = v_set1((T)scale);
    V c, dc;
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i < LANES ? n - i : LANES;
        const int whole = left == LANES, all = whole || roomy;
        cost_at(cost, all ? v_load(p + i) : v_load_n(p + i, left), whole ? v_load(t + i) : v_load_n(t + i, left), a, &c, &dc);
        dc = v_mul(dc, s);
        if (factor) dc = v_mul(all ? v_load(factor + i) : v_load_n(factor + i, left), dc);
        if (all) v_store(g + i, dc);
        else v_store_n(g + i, dc, left);
    }
}

/* g_i = dc/dp(p_i, t_i) scale, times factor_i unless factor is NULL; g may be p or t; roomy as in lines.h, but for t */
static void cost_gradient(int cost, double parameter, size_t n, double scale, const void *p, const void *t, const void *factor, void *g,
                          int roomy)
{
    switch (cost) {
#define ROW(name, ...) \
    case F(COST_##name): cost_gradient_loop(F(COST_##name), parameter, n, scale, p, t, factor, g, roomy); break;
        COSTS(ROW)
#undef ROW
    }
}
#undef COST
