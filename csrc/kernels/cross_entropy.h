/* cross_entropy.h: the cross-entropy of a softmax, of logits x and a target t of one row:
 *     c = sum_j u_j (log S - d_j), d_j = x_j - m, S = sum_j e^d_j, m = max_j x_j, and dc/dx_j = e^d_j / S sum_k u_k - u_j
 * where u_j = (1 - a) t_j + a / columns, a being the label smoothing. The target is a row of probabilities, or the number of a class, which
 * stands for t_j = 1 there and 0 elsewhere; any other number is NaN. u_j = 0 costs nothing even where d_j is infinite.
 *
 * c is computed in double precision, as all costs; its sums along a row have the order of rows.h, and so have those of the gradient. */
#define cross_entropy F(cross_entropy)
#define cross_entropy_gradient F(cross_entropy_gradient)
#define class_of F(class_of)

/* the number of a class, or -1 */
INLINE ptrdiff_t class_of(T label, size_t columns)
{
    if (!(label >= 0 && label < (T)columns)) return -1;
    const size_t number = (size_t)label;
    return (T)number == label ? (ptrdiff_t)number : -1;
}

#if IS_F64
enum { COLUMNS_AT_ONCE = 256 };

/* chain[j mod 16] += e^d_j */
static void exponential_chains(size_t columns, const double *d, double chain[ROW_CHAINS])
{
    V sum[ROW_VECTORS];
    UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) sum[v] = v_load(chain + v * LANES);
    FOR_ROW(columns) sum[v] = v_add(sum[v], present(n, exp_nonpositive(load_part(d + j, n)), v_zero()));
    UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) v_store(chain + v * LANES, sum[v]);
}

static double chains_as_tree(double chain[ROW_CHAINS])
{
    V vectors[ROW_VECTORS];
    UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) vectors[v] = v_load(chain + v * LANES);
    return row_sum(vectors);
}
#endif

/* c of one row */
static double cross_entropy(size_t columns, int labels, double smoothing, const void *x_, const void *target)
{
    const T *const x = x_, *const t = target, m = softmax_max(columns, x);
    const ptrdiff_t class = labels ? class_of(*t, columns) : 0;
    const double rest = smoothing / (double)columns;
    ALIGNED(64) double d[COLUMNS_AT_ONCE], sum[ROW_CHAINS] = {0}, cost[ROW_CHAINS] = {0};
    if (class < 0) return NAN;
    for (size_t from = 0; from < columns; from += COLUMNS_AT_ONCE) {
        const size_t n = columns - from < COLUMNS_AT_ONCE ? columns - from : COLUMNS_AT_ONCE;
        for (size_t j = 0; j < n; j++) d[j] = x[from + j] == m ? 0 : (double)x[from + j] - (double)m;
        exponential_chains(n, d, sum);
    }
    const double log_sum = logarithm(chains_as_tree(sum));
    for (size_t j = 0; j < columns; j++) {
        const double distance = x[j] == m ? 0 : (double)x[j] - (double)m;
        const double u = (1 - smoothing) * (labels ? (ptrdiff_t)j == class : (double)t[j]) + rest;
        if (u != 0) cost[j % ROW_CHAINS] += u * (log_sum - distance);
    }
    return log_sum != log_sum ? NAN : chains_as_tree(cost);
}

/* g_j = dc/dx_j scale of one row, times factor_j unless factor is NULL; g may be x, and t unless it is a label */
static void cross_entropy_gradient(size_t columns, int labels, double smoothing, double scale, const void *x_, const void *target,
                                   const void *factor_, void *gradient)
{
    const T *const x = x_, *const t = target, *const factor = factor_, keep = (T)(1 - smoothing), rest = (T)(smoothing / (double)columns);
    const T label = labels ? *t : 0, m = softmax_max(columns, x);
    const ptrdiff_t class = labels ? class_of(label, columns) : 0;
    T *const g = gradient;
    V sum[ROW_VECTORS], targets[ROW_VECTORS];
    UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) sum[v] = targets[v] = v_zero();
    FOR_ROW(columns)
    {
        const V a = load_part(x + j, n), d = v_select(v_eq(a, v_set1(m)), v_zero(), v_sub(a, v_set1(m)));
        sum[v] = v_add(sum[v], present(n, exp_nonpositive(d), v_zero()));
        if (!labels) targets[v] = v_add(targets[v], present(n, v_fma(v_set1(keep), load_part(t + j, n), v_set1(rest)), v_zero()));
    }
    const T total = labels ? 1 : row_sum(targets), inverse = class < 0 ? (T)NAN : total / row_sum(sum);
    FOR_ROW(columns)
    {
        const V a = load_part(x + j, n), d = v_select(v_eq(a, v_set1(m)), v_zero(), v_sub(a, v_set1(m)));
        V u = v_set1(rest);
        if (!labels) u = v_fma(v_set1(keep), load_part(t + j, n), u);
        else if ((size_t)class >= j && (size_t)class < j + n) {
            ALIGNED(64) T one[LANES] = {0};
            one[(size_t)class - j] = keep;
            u = v_add(v_load(one), u);
        }
        V dx = v_mul(v_fma(exp_nonpositive(d), v_set1(inverse), v_neg(u)), v_set1((T)scale));
        if (factor) dx = v_mul(load_part(factor + j, n), dx);
        store_part(g + j, dx, n);
    }
}
