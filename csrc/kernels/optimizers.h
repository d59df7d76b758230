/* optimizers.h: one step of every optimizer in optimizer_list.h over a flat array of parameters. A new optimizer is its two functions here and
 * its line in the list (and its class in pynn/optimizers.py).
 *
 * prepare_<name> makes the constants k of a step in double precision, from the hyperparameters h, the learning rate, and running numbers r,
 * which are 1 before the first step and live on from step to step; powers are running products, since pow() differs between machines.
 * optimizer_<name> gives the new theta, from theta, its gradient g and up to two numbers of state s, u, which begin at 0. */
#include "optimizer_list.h"

#define prepare F(prepare)
#define update F(update)
#define update_loop F(update_loop)
#define sign_of F(sign_of)
#define prepare_moments F(prepare_moments)
#define moments F(moments)
#define square_sum F(square_sum)
#define PREPARE(name) \
    static void F(prepare_##name)(MAYBE_UNUSED const double *h, MAYBE_UNUSED double *r, MAYBE_UNUSED double rate, MAYBE_UNUSED T *k)
#define OPTIMIZER(name) INLINE V F(optimizer_##name)(V theta, V g, MAYBE_UNUSED V *s, MAYBE_UNUSED V *u, MAYBE_UNUSED const T *k)

/* sign(x), 0 of 0, NaN of NaN */
INLINE V sign_of(V x) { return v_select(v_lt(v_zero(), v_abs(x)), v_copysign(v_set1(1), x), x); }

/* sgd   s = mu s + g, or g itself where mu is 0   theta -= rate s, or with Nesterov's momentum rate (g + mu s)   h: mu, whether Nesterov's */
PREPARE(sgd)
{
    k[0] = (T)-rate;
    k[1] = (T)h[0];
    k[2] = (T)h[1];
}
OPTIMIZER(sgd)
{
    const V mu = v_set1(k[1]);
    if (k[1] == 0) { /* as gradient descent: 0 times infinity is NaN, and -0 + 0 is not -0 */
        *s = g;
        return v_fma(v_set1(k[0]), g, theta);
    }
    *s = v_fma(mu, *s, g);
    return v_fma(v_set1(k[0]), k[2] != 0 ? v_fma(mu, *s, g) : *s, theta);
}

/* rmsprop   s = rho s + (1 - rho) g^2   u = mu u + g / (sqrt(s) + eps)   theta -= rate u   h: rho, eps, mu */
PREPARE(rmsprop)
{
    k[0] = (T)-rate;
    k[1] = (T)h[0];
    k[2] = (T)(1 - h[0]);
    k[3] = (T)h[1];
    k[4] = (T)h[2];
}
OPTIMIZER(rmsprop)
{
    *s = v_fma(v_set1(k[1]), *s, v_mul(v_mul(v_set1(k[2]), g), g));
    *u = v_fma(v_set1(k[4]), *u, v_div(g, v_add(v_sqrt(*s), v_set1(k[3]))));
    return v_fma(v_set1(k[0]), *u, theta);
}

/* adagrad   s = s + g^2   theta -= rate g / (sqrt(s) + eps)   h: eps */
PREPARE(adagrad)
{
    k[0] = (T)-rate;
    k[1] = (T)h[0];
}
OPTIMIZER(adagrad)
{
    *s = v_fma(g, g, *s);
    return v_fma(v_set1(k[0]), v_div(g, v_add(v_sqrt(*s), v_set1(k[1]))), theta);
}

/* what Adam and NAdam share   r_1 = b2^t, k: b1, 1 - b1, b2, 1 - b2, 1 / sqrt(1 - b2^t), eps   h: b1, b2, eps */
static void prepare_moments(const double *h, double *r, T *k)
{
    r[1] *= h[1];
    k[1] = (T)h[0];
    k[2] = (T)(1 - h[0]);
    k[3] = (T)h[1];
    k[4] = (T)(1 - h[1]);
    k[5] = (T)(1 / sqrt(1 - r[1]));
    k[6] = (T)h[2];
}
/* s = b1 s + (1 - b1) g   u = b2 u + (1 - b2) g^2; gives sqrt(u / (1 - b2^t)) + eps */
INLINE V moments(V g, V *s, V *u, const T *k)
{
    *s = v_fma(v_set1(k[1]), *s, v_mul(v_set1(k[2]), g));
    *u = v_fma(v_set1(k[3]), *u, v_mul(v_mul(v_set1(k[4]), g), g));
    return v_fma(v_sqrt(*u), v_set1(k[5]), v_set1(k[6]));
}

/* adam   s = b1 s + (1 - b1) g   u = b2 u + (1 - b2) g^2   theta -= rate / (1 - b1^t) s / (sqrt(u / (1 - b2^t)) + eps)   h: b1, b2, eps */
PREPARE(adam)
{
    prepare_moments(h, r, k);
    r[0] *= h[0];
    k[0] = (T)(-rate / (1 - r[0]));
}
OPTIMIZER(adam)
{
    const V length = moments(g, s, u, k);
    return v_fma(v_set1(k[0]), v_div(*s, length), theta);
}

/* nadam   s, u as adam's   mu_t = b1 (1 - c^t / 2)   m_t = mu_1 ... mu_t
 * theta -= rate ((1 - mu_t) / (1 - m_t) g + mu_(t+1) / (1 - m_(t+1)) s) / (sqrt(u / (1 - b2^t)) + eps)   h: b1, b2, eps, c */
PREPARE(nadam)
{
    r[2] *= h[3];
    const double now = h[0] * (1 - 0.5 * r[2]), next = h[0] * (1 - 0.5 * r[2] * h[3]);
    prepare_moments(h, r, k);
    r[0] *= now;
    k[0] = (T)(-rate * (1 - now) / (1 - r[0]));
    k[7] = (T)(-rate * next / (1 - r[0] * next));
}
OPTIMIZER(nadam)
{
    const V length = moments(g, s, u, k), step = v_fma(v_set1(k[7]), *s, v_mul(v_set1(k[0]), g));
    return v_add(theta, v_div(step, length));
}

/* rprop   u = u times: up where g s > 0, down where g s < 0 (and g becomes 0), within [least, most], beginning at the learning rate
 * theta -= sign(g) u   s = g   h: down, up, least, most */
PREPARE(rprop)
{
    k[0] = (T)h[0];
    k[1] = (T)h[1];
    k[2] = (T)h[2];
    k[3] = (T)h[3];
    k[4] = (T)rate;
}
OPTIMIZER(rprop)
{
    const V turn = v_mul(g, *s), before = v_select(v_lt(v_zero(), *u), *u, v_set1(k[4]));
    const M against = v_lt(turn, v_zero());
    const V factor = v_select(v_lt(v_zero(), turn), v_set1(k[1]), v_select(against, v_set1(k[0]), v_set1(1)));
    *u = v_neg(v_min(v_neg(v_min(v_mul(before, factor), v_set1(k[3]))), v_neg(v_set1(k[2]))));
    *s = v_select(against, v_zero(), g);
    return v_sub(theta, v_mul(sign_of(*s), *u));
}

#define ROW(name, states) F(OPTIMIZER_##name),
enum { OPTIMIZERS(ROW) };
#undef ROW

/* constants of the next step, as prepare_<name> says */
static void prepare(int optimizer, const double *h, double *r, double rate, void *k)
{
    switch (optimizer) {
#define ROW(name, states) \
    case F(OPTIMIZER_##name): F(prepare_##name)(h, r, rate, k); break;
        OPTIMIZERS(ROW)
#undef ROW
    }
}

/* What happens to a gradient g before the optimizer sees it, and to theta besides: g = scale g, within ±clip, + l2 theta + l1 sign(theta);
 * theta = keep theta. Numbers that change nothing cost their time only where `extra` says that others do. */
INLINE void update_loop(const int optimizer, const int states, size_t n, const T *k, const pynn_extra *extra, T *theta, const T *gradient,
                        T *s, T *u)
{
    for (size_t i = 0; i < n; i += LANES) {
        const size_t left = n - i < LANES ? n - i : LANES;
        const int whole = left == LANES;
        V x = whole ? v_load(theta + i) : v_load_n(theta + i, left), g = whole ? v_load(gradient + i) : v_load_n(gradient + i, left);
        V a = v_zero(), b = v_zero();
        if (states > 0 && s) a = whole ? v_load(s + i) : v_load_n(s + i, left);
        if (states > 1 && u) b = whole ? v_load(u + i) : v_load_n(u + i, left);
        if (extra) {
            const V clip = v_set1((T)extra->clip);
            g = v_mul(g, v_set1((T)extra->scale));
            g = v_neg(v_min(clip, v_neg(v_min(clip, g))));
            g = v_fma(v_set1((T)extra->l1), sign_of(x), v_fma(v_set1((T)extra->l2), x, g));
            x = v_mul(v_set1((T)extra->keep), x);
        }
        switch (optimizer) {
#define ROW(name, states) \
    case F(OPTIMIZER_##name): x = F(optimizer_##name)(x, g, &a, &b, k); break;
            OPTIMIZERS(ROW)
#undef ROW
        }
        if (whole) {
            v_store(theta + i, x);
            if (states > 0 && s) v_store(s + i, a);
            if (states > 1 && u) v_store(u + i, b);
        } else {
            v_store_n(theta + i, x, left);
            if (states > 0 && s) v_store_n(s + i, a, left);
            if (states > 1 && u) v_store_n(u + i, b, left);
        }
    }
}

/* one step of an optimizer on n parameters; extra, s, u may be NULL */
static void update(int optimizer, const void *k, const pynn_extra *extra, size_t n, void *theta, const void *gradient, void *s, void *u)
{
    switch (optimizer) {
#define ROW(name, states) \
    case F(OPTIMIZER_##name): update_loop(F(OPTIMIZER_##name), states, n, k, extra, theta, gradient, s, u); break;
        OPTIMIZERS(ROW)
#undef ROW
    }
}

/* sum_i g_i^2 in double precision, element i in chain i mod 8, the chains added as a tree */
static double square_sum(size_t n, const void *gradient)
{
    const T *const g = gradient;
    double sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++) sum[j] += (double)g[i + j] * (double)g[i + j];
    for (size_t j = 0; i + j < n; j++) sum[j] += (double)g[i + j] * (double)g[i + j];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}
#undef PREPARE
#undef OPTIMIZER
