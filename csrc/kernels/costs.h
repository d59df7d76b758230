/* costs.h: mean squared error   C = 1/n sum_i (p_i - t_i)^2   dC/dp_i = (2/n) (p_i - t_i) */
#define squared_error F(squared_error)
#define squared_error_gradient F(squared_error_gradient)

/* sum_i (p_i - t_i)^2 in double precision: element i goes to chain i mod 8, the chains are added as a tree */
static double squared_error(size_t n, const void *prediction, const void *target)
{
    const T *const p = prediction, *const t = target;
    double sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++) {
            const double d = (double)p[i + j] - (double)t[i + j];
            sum[j] += d * d;
        }
    for (size_t j = 0; i + j < n; j++) {
        const double d = (double)p[i + j] - (double)t[i + j];
        sum[j] += d * d;
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* g_i = (p_i - t_i) scale, where scale = 2/n rounded to T; g may be p or t */
static void squared_error_gradient(size_t n, double scale, const void *prediction, const void *target, void *gradient)
{
    const T *const p = prediction, *const t = target;
    T *const g = gradient;
    const V s = v_set1((T)scale);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) v_store(g + i, v_mul(v_sub(v_load(p + i), v_load(t + i)), s));
    if (i < n) v_store_n(g + i, v_mul(v_sub(v_load_n(p + i, n - i), v_load_n(t + i, n - i)), s), n - i);
}
