/* activation_loops.h: activations of n numbers: two vectors at a time where registers allow, then one, then what is left. */
#define activate F(activate)
#define activation_gradient F(activation_gradient)
#define activate_both F(activate_both)
#define activation_loop F(activation_loop)

/* y_i = f(x_i); derivative_i = f'(x_i), times factor_i if there are factors; where y or derivative is NULL, not that */
INLINE void activation_loop(int activation, double parameter, size_t n, const T *x, const T *factor, T *y, T *derivative)
{
    const T p = (T)parameter;
    size_t i = 0;
#define STEPS(step, lanes)         \
    for (; i + lanes <= n; i += lanes) \
        step(activation, p, x + i, factor ? factor + i : NULL, y ? y + i : NULL, derivative ? derivative + i : NULL)
#if MANY_REGISTERS
    STEPS(PAIR(activation_step), PAIR(LANES));
#endif
    STEPS(activation_step, LANES);
#undef STEPS
    if (i < n) {
        V f, df;
        activation_at(activation, v_load_n(x + i, n - i), v_set1(p), &f, &df);
        if (factor) df = v_mul(v_load_n(factor + i, n - i), df);
        if (y) v_store_n(y + i, f, n - i);
        if (derivative) v_store_n(derivative + i, df, n - i);
    }
}

/* y_i = f(x_i); y may be x */
static void activate(int activation, double parameter, size_t n, const void *x, void *y)
{
    switch (activation) {
#define ROW(name, ...) \
    case F(ACT_##name): activation_loop(F(ACT_##name), parameter, n, x, NULL, y, NULL); break;
        ACTIVATIONS(ROW)
#undef ROW
    }
}

/* dC/dx_i = dC/dy_i f'(x_i); x_gradient may be x or y_gradient */
static void activation_gradient(int activation, double parameter, size_t n, const void *x, const void *y_gradient, void *x_gradient)
{
    switch (activation) {
#define ROW(name, ...) \
    case F(ACT_##name): activation_loop(F(ACT_##name), parameter, n, x, y_gradient, NULL, x_gradient); break;
        ACTIVATIONS(ROW)
#undef ROW
    }
}

/* y_i = f(x_i), derivative_i = f'(x_i); x may be y or derivative */
static void activate_both(int activation, double parameter, size_t n, const void *x, void *y, void *derivative)
{
    switch (activation) {
#define ROW(name, ...) \
    case F(ACT_##name): activation_loop(F(ACT_##name), parameter, n, x, NULL, y, derivative); break;
        ACTIVATIONS(ROW)
#undef ROW
    }
}
