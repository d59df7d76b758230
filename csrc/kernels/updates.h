/* updates.h: elementwise work on flat arrays */
#define multiply F(multiply)
#define gradient_descent F(gradient_descent)

/* b_i = a_i b_i */
static void multiply(size_t n, const void *a_, void *b_)
{
    const T *const a = a_;
    T *const b = b_;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(b + i, v_mul(v_load(a + i), v_load(b + i)));
    if (i < n) v_store_n(b + i, v_mul(v_load_n(a + i, n - i), v_load_n(b + i, n - i)), n - i);
}

/* theta_i = theta_i - learning_rate g_i, one FMA */
static void gradient_descent(size_t n, void *parameters, const void *gradients, const void *learning_rate)
{
    T *const theta = parameters;
    const T *const g = gradients;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) finish(theta + i, v_load(g + i), LANES, learning_rate);
    if (i < n) finish(theta + i, v_load_n(g + i, n - i), n - i, learning_rate);
}
