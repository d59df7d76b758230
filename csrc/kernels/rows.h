/* rows.h: what works on each row by itself: softmax, layer normalisation, standardisation. x (rows, columns), rows ld_x apart, and so
 * on; an output may be an input in the same place.
 *
 * The order of every sum along a row, the same for float32 and float64 and on every instruction set: sixteen chains, each
 * starting at 0, element j in chain j mod 16, one addition (of squares and products, one fused multiply-add) for each element
 * in the order of j; then the sixteen as a tree: c_i + c_(i+8) for i < 8, of these i + (i+4) for i < 4, then i + (i+2), then
 * the last two, then 0. A missing element at the end of a row adds 0, which makes a chain that is -0 (of products that vanish)
 * +0, and there are as many of them as lanes are left: hence the last 0, after which that has changed nothing. The largest element of a row depends on no order.
 * Sums over rows (dC/dscale) are one chain of fused multiply-adds over the rows in order, starting at 0, as dC/dW.
 */
#define ROW_CHAINS 16
#define ROW_VECTORS (ROW_CHAINS / LANES)
#define present F(present)
#define load_part F(load_part)
#define store_part F(store_part)
#define row_sum F(row_sum)
#define row_max F(row_max)
#define softmax_max F(softmax_max)
#define softmax_sum F(softmax_sum)
#define softmax F(softmax)
#define softmax_gradient F(softmax_gradient)
#define log_softmax_gradient F(log_softmax_gradient)
#define layer_norm F(layer_norm)
#define layer_norm_gradient F(layer_norm_gradient)
#define layer_norm_scale_gradient F(layer_norm_scale_gradient)
#define scale_columns F(scale_columns)
#define standardize F(standardize)

/* FOR_ROW(columns) { ... } runs its body for each vector of a row, in blocks of sixteen elements: j is the first element, v the
 * number of the vector in its block, n how many elements are left in it, LANES in all but the last one. */
#define FOR_ROW(columns)                                                                                                            \
    for (size_t block = 0; block < (columns); block += ROW_CHAINS)                                                                  \
        UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++)                                                                             \
            for (size_t j = block + v * LANES, n = j + LANES <= (columns) ? LANES : j < (columns) ? (columns) - j : 0; n; n = 0)

INLINE V load_part(const T *p, size_t n) { return LIKELY(n == LANES) ? v_load(p) : v_load_n(p, n); }

INLINE void store_part(T *p, V x, size_t n)
{
    if (LIKELY(n == LANES)) v_store(p, x);
    else v_store_n(p, x, n);
}

/* a in the first n lanes, b in the others */
INLINE V present(size_t n, V a, V b)
{
    static const T lane[ROW_CHAINS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return LIKELY(n == LANES) ? a : v_select(v_lt(v_load(lane), v_set1((T)n)), a, b);
}

/* the sixteen chains as a tree */
INLINE T row_sum(const V *chains)
{
    ALIGNED(64) T c[ROW_CHAINS];
    UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) v_store(c + v * LANES, chains[v]);
    UNROLL_FOR (size_t i = 0; i < 8; i++) c[i] += c[i + 8];
    UNROLL_FOR (size_t i = 0; i < 4; i++) c[i] += c[i + 4];
    return ((c[0] + c[2]) + (c[1] + c[3])) + 0;
}

/* the largest of sixteen; none of them is NaN */
INLINE T row_max(const V *largest)
{
    ALIGNED(64) T c[ROW_CHAINS];
    UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) v_store(c + v * LANES, largest[v]);
    UNROLL_FOR (size_t i = 0; i < 8; i++) c[i] = c[i] < c[i + 8] ? c[i + 8] : c[i];
    UNROLL_FOR (size_t i = 0; i < 4; i++) c[i] = c[i] < c[i + 4] ? c[i + 4] : c[i];
    const T a = c[0] < c[2] ? c[2] : c[0], b = c[1] < c[3] ? c[3] : c[1];
    return a < b ? b : a;
}

/* ---- softmax: y_j = e^(x_j - m) / S, S = sum_k e^(x_k - m), m = max_k x_k; its logarithm: y_j = (x_j - m) - log S -------- */

INLINE T softmax_max(size_t columns, const T *x)
{
    const V lowest = v_set1((T)-INFINITY);
    V m[ROW_VECTORS];
    UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) m[v] = lowest;
    FOR_ROW(columns)
    {
        const V a = present(n, load_part(x + j, n), lowest);
        m[v] = v_select(v_lt(m[v], a), a, m[v]); /* NaN is passed over here, and comes to light in the sum */
    }
    return row_max(m);
}

/* y_j = e^(x_j - m), or x_j - m where `log`; returns S. What equals m counts 1 although it be infinite, so that one infinite logit
 * has all of the probability, and equal ones share it. */
INLINE T softmax_sum(size_t columns, const T *x, T m, const int log, T *y)
{
    V sum[ROW_VECTORS];
    UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) sum[v] = v_zero();
    FOR_ROW(columns)
    {
        const V a = load_part(x + j, n), d = v_select(v_eq(a, v_set1(m)), v_zero(), v_sub(a, v_set1(m)));
        const V e = exp_nonpositive(d);
        sum[v] = v_add(sum[v], present(n, e, v_zero()));
        store_part(y + j, log ? d : e, n);
    }
    return row_sum(sum);
}

static void softmax(int log, size_t rows, size_t columns, const void *x_, size_t ld_x, void *y_, size_t ld_y)
{
    const T *x = x_;
    T *y = y_;
    for (size_t i = 0; i < rows; i++, x += ld_x, y += ld_y) {
        const T m = softmax_max(columns, x);
        if (log) {
            const V log_sum = v_set1((T)logarithm((double)softmax_sum(columns, x, m, 1, y)));
            FOR_ROW(columns) store_part(y + j, v_sub(load_part(y + j, n), log_sum), n);
        } else {
            const V inverse = v_set1(1 / softmax_sum(columns, x, m, 0, y));
            FOR_ROW(columns) store_part(y + j, v_mul(load_part(y + j, n), inverse), n);
        }
    }
}

/* dC/dX_j = y_j (g_j - sum_k g_k y_k) */
static void softmax_gradient(size_t rows, size_t columns, const void *y_, size_t ld_y, const void *g_, size_t ld_g, void *dx_, size_t ld_dx)
{
    const T *y = y_, *g = g_;
    T *dx = dx_;
    for (size_t i = 0; i < rows; i++, y += ld_y, g += ld_g, dx += ld_dx) {
        V sum[ROW_VECTORS];
        UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) sum[v] = v_zero();
        FOR_ROW(columns) sum[v] = v_fma(load_part(g + j, n), load_part(y + j, n), sum[v]);
        const V s = v_set1(row_sum(sum));
        FOR_ROW(columns) store_part(dx + j, v_mul(load_part(y + j, n), v_sub(load_part(g + j, n), s)), n);
    }
}

/* dC/dX_j = g_j - e^y_j sum_k g_k, y <= 0 */
static void log_softmax_gradient(size_t rows, size_t columns, const void *y_, size_t ld_y, const void *g_, size_t ld_g, void *dx_,
                                 size_t ld_dx)
{
    const T *y = y_, *g = g_;
    T *dx = dx_;
    for (size_t i = 0; i < rows; i++, y += ld_y, g += ld_g, dx += ld_dx) {
        V sum[ROW_VECTORS];
        UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) sum[v] = v_zero();
        FOR_ROW(columns) sum[v] = v_add(sum[v], load_part(g + j, n));
        const V minus_s = v_set1(-row_sum(sum));
        FOR_ROW(columns) store_part(dx + j, v_fma(exp_nonpositive(load_part(y + j, n)), minus_s, load_part(g + j, n)), n);
    }
}

/* ---- layer normalisation: h_j = (x_j - mean) r, r = 1 / sqrt(variance + epsilon), y_j = h_j scale_j + bias_j ------------- */

/* Mean and variance in two passes, the second of which also sums what the rounding of the mean left over (Chan, Golub and LeVeque
 * 1983): mean' = sum x / n, d = x - mean', mean = mean' + (sum d) / n, variance = (sum d^2 - (sum d)^2 / n) / n. Without it a row of
 * the same large number throughout would come out as +-1. scale and bias may be NULL; `statistics` takes mean and r of each row, or
 * is NULL. */
static void layer_norm(size_t rows, size_t columns, double epsilon, const void *x_, size_t ld_x, const void *scale_, const void *bias_,
                       void *y_, size_t ld_y, void *statistics_)
{
    const T *x = x_, *const scale = scale_, *const bias = bias_;
    T *y = y_, *statistics = statistics_;
    const T count = (T)columns;
    for (size_t i = 0; i < rows; i++, x += ld_x, y += ld_y) {
        V sum[ROW_VECTORS], squares[ROW_VECTORS];
        UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) sum[v] = v_zero();
        FOR_ROW(columns) sum[v] = v_add(sum[v], load_part(x + j, n));
        T mean = row_sum(sum) / count;
        UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) sum[v] = squares[v] = v_zero();
        FOR_ROW(columns)
        {
            const V d = present(n, v_sub(load_part(x + j, n), v_set1(mean)), v_zero());
            sum[v] = v_add(sum[v], d);
            squares[v] = v_fma(d, d, squares[v]);
        }
        const T rest = row_sum(sum), part = rest / count;
        mean += part;
        T variance = (row_sum(squares) - rest * part) / count;
        if (variance < 0) variance = 0; /* by rounding */
        ALIGNED(64) T root[ROW_CHAINS];
        v_store(root, v_sqrt(v_set1(variance + (T)epsilon)));
        const T inverse = 1 / root[0];
        FOR_ROW(columns)
        {
            V h = v_mul(v_sub(load_part(x + j, n), v_set1(mean)), v_set1(inverse));
            if (scale && bias) h = v_fma(h, load_part(scale + j, n), load_part(bias + j, n));
            else if (scale) h = v_mul(h, load_part(scale + j, n));
            else if (bias) h = v_add(h, load_part(bias + j, n));
            store_part(y + j, h, n);
        }
        if (statistics) {
            *statistics++ = mean;
            *statistics++ = inverse;
        }
    }
}

/* dC/dX_j = r (q_j - (sum_k q_k) / n - h_j (sum_k q_k h_k) / n), q_j = g_j scale_j */
static void layer_norm_gradient(size_t rows, size_t columns, const void *x_, size_t ld_x, const void *statistics_, const void *scale_,
                                const void *g_, size_t ld_g, void *dx_, size_t ld_dx)
{
    const T *x = x_, *g = g_, *statistics = statistics_, *const scale = scale_;
    T *dx = dx_;
    const T count = (T)columns;
    for (size_t i = 0; i < rows; i++, x += ld_x, g += ld_g, dx += ld_dx, statistics += 2) {
        const V mean = v_set1(statistics[0]), r = v_set1(statistics[1]);
        V sum[ROW_VECTORS], products[ROW_VECTORS];
        UNROLL_FOR (size_t v = 0; v < ROW_VECTORS; v++) sum[v] = products[v] = v_zero();
        FOR_ROW(columns)
        {
            const V h = v_mul(v_sub(load_part(x + j, n), mean), r), a = load_part(g + j, n);
            const V q = scale ? v_mul(a, load_part(scale + j, n)) : a; /* 0 where an element is missing */
            sum[v] = v_add(sum[v], q);
            products[v] = v_fma(q, present(n, h, v_zero()), products[v]);
        }
        const V a = v_set1(row_sum(sum) / count), b = v_set1(-(row_sum(products) / count));
        FOR_ROW(columns)
        {
            const V h = v_mul(v_sub(load_part(x + j, n), mean), r), p = load_part(g + j, n);
            const V q = scale ? v_mul(p, load_part(scale + j, n)) : p;
            store_part(dx + j, v_mul(v_fma(h, b, v_sub(q, a)), r), n);
        }
    }
}

INLINE void scale_columns(const size_t vectors, size_t n_last, size_t rows, const T *x, size_t ld_x, const T *statistics, const T *g,
                          size_t ld_g, const T *before, const T *learning_rate, T *c)
{
    V sum[8];
    UNROLL_FOR (size_t v = 0; v < vectors; v++)
        sum[v] = before ? load_part(before + v * LANES, v + 1 < vectors ? LANES : n_last) : v_zero();
    for (size_t i = 0; i < rows; i++, x += ld_x, g += ld_g, statistics += 2) {
        const V mean = v_set1(statistics[0]), r = v_set1(statistics[1]);
        UNROLL_FOR (size_t v = 0; v < vectors; v++) {
            const size_t n = v + 1 < vectors ? LANES : n_last;
            const V h = v_mul(v_sub(load_part(x + v * LANES, n), mean), r);
            sum[v] = v_fma(load_part(g + v * LANES, n), h, sum[v]);
        }
    }
    UNROLL_FOR (size_t v = 0; v < vectors; v++) finish(c + v * LANES, sum[v], v + 1 < vectors ? LANES : n_last, learning_rate);
}

/* dC/dscale_j = before_j + sum over rows of g_j h_j */
static void layer_norm_scale_gradient(size_t rows, size_t columns, const void *x_, size_t ld_x, const void *statistics, const void *g_,
                                      size_t ld_g, const void *before_, const void *learning_rate, void *c_)
{
    const T *const x = x_, *const g = g_, *const before = before_;
    T *const c = c_;
    size_t j = 0;
#define COLUMNS(VECTORS, LAST) \
    scale_columns(VECTORS, LAST, rows, x + j, ld_x, statistics, g + j, ld_g, before ? before + j : NULL, learning_rate, c + j)
    for (; columns - j > 8 * LANES; j += 8 * LANES) COLUMNS(8, LANES);
    for (; columns - j > LANES; j += LANES) COLUMNS(1, LANES);
    if (j < columns) COLUMNS(1, columns - j);
#undef COLUMNS
}

/* ---- standardisation: y_j = (x_j - mean_j) / deviation_j; without a mean, x_j / deviation_j, which is its gradient ------- */

static void standardize(size_t rows, size_t columns, const void *x_, size_t ld_x, const void *mean_, const void *deviation_, void *y_,
                        size_t ld_y)
{
    const T *x = x_, *const mean = mean_, *const deviation = deviation_;
    T *y = y_;
    for (size_t i = 0; i < rows; i++, x += ld_x, y += ld_y) FOR_ROW(columns)
        {
            V d = load_part(x + j, n);
            if (mean) d = v_sub(d, load_part(mean + j, n));
            store_part(y + j, v_div(d, load_part(deviation + j, n)), n);
            (void)v;
        }
}
