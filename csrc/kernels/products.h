/* products.h: the products of a dense layer, all of one kind: each output is a sum over `depth` of products of two numbers.
 *
 *     C (rows, columns) = start + A (rows, depth) B (depth, columns)
 *     A[i, k] at a[i * a_row + k * a_step]      B[k, j] at b[k * b_step + j * b_column]      one stride of each is 1
 *
 *     affine            Y  = B + X Wᵀ        rows = rows    columns = out    depth = in
 *     input gradient    dX = dY W            rows = rows    columns = in     depth = out
 *     weight gradient   dW = dYᵀ X           rows = out     columns = in     depth = rows     (or both transposed)
 *
 * Order of operations: chain c of `chains` (1 or 4) starts at `start` (c = 0) or +0 and takes k = c, c + chains, ... in order, one FMA
 * each; four chains are added as (0 + 1) + (2 + 3). So vectors lie along the outputs, and no width, tile or thread can
 * change a bit. Four chains, not one, so that one output alone is not bound by the latency of FMA, and so that a matrix stored
 * along `depth` can be read as it lies, four numbers of a row at a time.
 */
#define dot_sum F(dot_sum)
#define product_dot F(product_dot)
#define product_line F(product_line)
#define product_vector F(product_vector)
#define line_tile F(line_tile)
#define line_stream F(line_stream)
#define finish F(finish)
#define tile F(tile)
#define tile_rows F(tile_rows)
#define tile_columns F(tile_columns)
#define pack F(pack)
#define product F(product)
#define product_scratch F(product_scratch)
#define bias_gradient F(bias_gradient)
#define bias_columns F(bias_columns)
#define PANEL F(PANEL)
#define LINE_STREAM F(LINE_STREAM)

enum {
    PANEL = TILE_VECTORS * LANES,
    /* Above this many elements a matrix times a vector is read row after row, whole, for the sake of prefetchers and TLB. */
    LINE_STREAM = 512 * 1024 / sizeof(T),
};

/* What becomes of a finished sum: C = sum, or, given a learning rate, C = C - learning_rate sum. */
INLINE void finish(T *c, V sum, size_t n, const T *learning_rate)
{
    if (n >= LANES) {
        if (learning_rate) sum = v_fma(v_set1(-*learning_rate), sum, v_load(c));
        v_store(c, sum);
    } else {
        if (learning_rate) sum = v_fma(v_set1(-*learning_rate), sum, v_load_n(c, n));
        v_store_n(c, sum, n);
    }
}

/* ---- a matrix stored along depth, times a vector: four chains in four neighbouring lanes ------------------------ */

enum { F(DOT_ROWS) = LANES >= 4 ? LANES / 4 : 1, F(DOT_PARTS) = LANES >= 4 ? 1 : 4 / LANES };
#define DOT_ROWS F(DOT_ROWS)
#define DOT_PARTS F(DOT_PARTS)

/* c[j] = start[j] + sum_k a[k] b[j * ld + k] for units * DOT_ROWS rows j of B, four chains */
INLINE void dot_sum(const size_t units, size_t depth, const T *a, const T *b, size_t ld, const T *start, size_t start_step,
                    T *sums)
{
    T lanes[8 * DOT_ROWS * 4];
    V chain[8][DOT_PARTS];
    const size_t rows = units * DOT_ROWS, whole = depth - depth % 4;
    for (size_t j = 0; j < rows; j++) {
        lanes[4 * j] = start ? start[j * start_step] : 0;
        lanes[4 * j + 1] = lanes[4 * j + 2] = lanes[4 * j + 3] = 0;
    }
    UNROLL for (size_t u = 0; u < units; u++)
        UNROLL for (size_t p = 0; p < DOT_PARTS; p++) chain[u][p] = v_load(lanes + u * DOT_ROWS * 4 + p * LANES);
    for (size_t k = 0; k < whole; k += 4)
        UNROLL for (size_t p = 0; p < DOT_PARTS; p++) {
            const V ak = v_repeat_4(a + k + p * LANES);
            UNROLL for (size_t u = 0; u < units; u++)
                chain[u][p] = v_fma(ak, v_load_4s(b + u * DOT_ROWS * ld + k + p * LANES, ld), chain[u][p]);
        }
    UNROLL for (size_t u = 0; u < units; u++)
        UNROLL for (size_t p = 0; p < DOT_PARTS; p++) v_store(lanes + u * DOT_ROWS * 4 + p * LANES, chain[u][p]);
    for (size_t j = 0; j < rows; j++) {
        T *const four = lanes + 4 * j;
        for (size_t k = whole; k < depth; k++) four[k - whole] = s_fma(a[k], b[j * ld + k], four[k - whole]);
        sums[j] = (four[0] + four[1]) + (four[2] + four[3]);
    }
}

/* C (columns) = start + A (depth) B, B[k, j] at b[j * ld + k], four chains; sums go to c, c_step apart */
static void product_dot(size_t columns, size_t depth, const T *a, const T *b, size_t ld, const T *start, size_t start_step,
                        T *c, size_t c_step)
{
    T sums[8 * DOT_ROWS];
    for (size_t j = 0; j < columns;) {
        const T *const from = start ? start + j * start_step : NULL;
        size_t n = columns - j;
        if (n >= 8 * DOT_ROWS) {
            n = 8 * DOT_ROWS;
            dot_sum(8, depth, a, b + j * ld, ld, from, start_step, sums);
        } else if (n >= DOT_ROWS) {
            n = DOT_ROWS;
            dot_sum(1, depth, a, b + j * ld, ld, from, start_step, sums);
        } else {
            n = 1; /* the same row in every group of four lanes */
            dot_sum(1, depth, a, b + j * ld, 0, from, 0, sums);
        }
        for (size_t i = 0; i < n; i++) c[(j + i) * c_step] = sums[i];
        j += n;
    }
}

/* ---- a vector times a matrix stored along its columns ------------------------------------------------------------ */

/* `vectors` vectors of columns, the last with n_last of them */
INLINE void line_tile(const size_t vectors, const size_t chains, size_t n_last, size_t depth, const T *a, size_t a_step,
                      const T *b, size_t b_step, const T *start, size_t start_step, const T *learning_rate, T *c)
{
    V sum[4][8];
    const size_t last = vectors - 1;
    const int whole = n_last == LANES;
    UNROLL for (size_t v = 0; v < vectors; v++) {
        if (!start) sum[0][v] = v_zero();
        else if (!start_step) sum[0][v] = v_set1(*start);
        else if (v < last || whole) sum[0][v] = v_load(start + v * LANES);
        else sum[0][v] = v_load_n(start + v * LANES, n_last);
        UNROLL for (size_t i = 1; i < chains; i++) sum[i][v] = v_zero();
    }
    size_t k = 0;
    for (; k + chains <= depth; k += chains)
        UNROLL for (size_t i = 0; i < chains; i++) {
            const V ak = v_set1(a[(k + i) * a_step]);
            const T *const bk = b + (k + i) * b_step;
            UNROLL for (size_t v = 0; v < last; v++) sum[i][v] = v_fma(ak, v_load(bk + v * LANES), sum[i][v]);
            sum[i][last] = v_fma(ak, whole ? v_load(bk + last * LANES) : v_load_n(bk + last * LANES, n_last), sum[i][last]);
        }
    UNROLL for (size_t i = 0; i < chains; i++)
        if (k + i < depth) {
            const V ak = v_set1(a[(k + i) * a_step]);
            const T *const bk = b + (k + i) * b_step;
            UNROLL for (size_t v = 0; v < last; v++) sum[i][v] = v_fma(ak, v_load(bk + v * LANES), sum[i][v]);
            sum[i][last] = v_fma(ak, whole ? v_load(bk + last * LANES) : v_load_n(bk + last * LANES, n_last), sum[i][last]);
        }
    UNROLL for (size_t v = 0; v < vectors; v++) {
        if (chains == 4) sum[0][v] = v_add(v_add(sum[0][v], sum[1][v]), v_add(sum[2][v], sum[3][v]));
        finish(c + v * LANES, sum[0][v], v < last ? LANES : n_last, learning_rate);
    }
}

/* The same sums with four chains kept in memory (scratch: 4 * columns), so that each row of B is read from end to end. */
static void line_stream(size_t columns, size_t depth, const T *RESTRICT a, size_t a_step, const T *RESTRICT b, size_t b_step,
                        const T *start, size_t start_step, const T *learning_rate, T *c, T *RESTRICT sums)
{
    for (size_t j = 0; j < columns; j++) sums[j] = start ? start[j * start_step] : 0;
    memset(sums + columns, 0, 3 * columns * sizeof *sums);
    size_t k = 0;
    for (; k + 16 <= depth; k += 16)
        for (size_t i = 0; i < 4; i++) {
            const T *const row = b + (k + i) * b_step, *const ak = a + (k + i) * a_step;
            const V a0 = v_set1(ak[0]), a1 = v_set1(ak[4 * a_step]), a2 = v_set1(ak[8 * a_step]), a3 = v_set1(ak[12 * a_step]);
            T *const sum = sums + i * columns;
            size_t j = 0;
            for (; j + LANES <= columns; j += LANES) {
                V s = v_fma(a0, v_load(row + j), v_load(sum + j));
                s = v_fma(a1, v_load(row + 4 * b_step + j), s);
                s = v_fma(a2, v_load(row + 8 * b_step + j), s);
                v_store(sum + j, v_fma(a3, v_load(row + 12 * b_step + j), s));
            }
            for (; j < columns; j++)
                for (size_t r = 0; r < 4; r++) sum[j] = s_fma(ak[4 * r * a_step], row[4 * r * b_step + j], sum[j]);
        }
    for (; k < depth; k++) {
        const T *const row = b + k * b_step;
        T *const sum = sums + k % 4 * columns;
        for (size_t j = 0; j < columns; j++) sum[j] = s_fma(a[k * a_step], row[j], sum[j]);
    }
    for (size_t j = 0; j < columns; j += LANES) {
        const size_t n = columns - j < LANES ? columns - j : LANES;
        V chain[4];
        UNROLL for (size_t i = 0; i < 4; i++)
            chain[i] = n == LANES ? v_load(sums + i * columns + j) : v_load_n(sums + i * columns + j, n);
        finish(c + j, v_add(v_add(chain[0], chain[1]), v_add(chain[2], chain[3])), n, learning_rate);
    }
}

/* C (columns) = start + A (depth) B, B[k, j] at b[k * b_step + j] */
static void product_line(size_t columns, size_t depth, const T *a, size_t a_step, const T *b, size_t b_step, const T *start,
                         size_t start_step, int chains, const T *learning_rate, T *c, T *scratch)
{
    if (chains == 4 && columns * depth > LINE_STREAM && columns >= 8 * LANES) {
        line_stream(columns, depth, a, a_step, b, b_step, start, start_step, learning_rate, c, scratch);
        return;
    }
    for (size_t j = 0; j < columns;) {
        const size_t n = columns - j, vectors = (n + LANES - 1) / LANES, n_last = n % LANES ? n % LANES : LANES;
        const T *const from = start ? start + j * start_step : NULL;
#define LINE(VECTORS, CHAINS, LAST) \
    line_tile(VECTORS, CHAINS, LAST, depth, a, a_step, b + j, b_step, from, start_step, learning_rate, c + j)
        if (chains == 4) {
            if (vectors > 3) LINE(3, 4, LANES);
            else if (vectors == 3) LINE(3, 4, n_last);
            else if (vectors == 2) LINE(2, 4, n_last);
            else LINE(1, 4, n_last);
            j += 3 * LANES;
        } else {
            if (vectors > 8) {
                LINE(8, 1, LANES);
                j += 8 * LANES;
            } else if (vectors > 4) {
                LINE(4, 1, LANES);
                j += 4 * LANES;
            } else {
                if (vectors == 4) LINE(4, 1, n_last);
                else if (vectors == 3) LINE(3, 1, n_last);
                else if (vectors == 2) LINE(2, 1, n_last);
                else LINE(1, 1, n_last);
                j += n;
            }
        }
#undef LINE
    }
}

/* ---- matrix times matrix -------------------------------------------------------------------------------------------- */

/* One block of C in registers: mr rows, nv vectors of columns, the last with n_last; B (depth, nv * LANES) rows b_step apart */
INLINE void tile(const size_t mr, const size_t nv, const int a_along_rows, size_t n_last, size_t depth, const T *a, size_t a_stride,
                 const T *b, size_t b_step, const T *start, size_t chains, const T *learning_rate, T *c, size_t ld_c)
{
    T first[TILE_ROWS * PANEL], second[TILE_ROWS * PANEL]; /* chains 0 + 1 and 2, while the registers hold the next one */
    V sum[TILE_ROWS][TILE_VECTORS];
    const T *row[TILE_ROWS];
    UNROLL for (size_t i = 0; i < mr; i++) row[i] = a_along_rows ? a + i : a + i * a_stride;
    for (size_t chain = 0; chain < chains; chain++) {
        UNROLL for (size_t v = 0; v < nv; v++) {
            V from = v_zero();
            if (start && chain == 0) from = v < nv - 1 || n_last == LANES ? v_load(start + v * LANES) : v_load_n(start + v * LANES, n_last);
            UNROLL for (size_t i = 0; i < mr; i++) sum[i][v] = from;
        }
        const T *bk = b + chain * b_step;
        for (size_t k = chain; k < depth; k += chains, bk += chains * b_step) {
            V bv[TILE_VECTORS];
            UNROLL for (size_t v = 0; v < nv; v++) bv[v] = v_load(bk + v * LANES);
            UNROLL for (size_t i = 0; i < mr; i++) {
                const V aik = v_set1(a_along_rows ? a[k * a_stride + i] : row[i][k]);
                UNROLL for (size_t v = 0; v < nv; v++) sum[i][v] = v_fma(aik, bv[v], sum[i][v]);
            }
        }
        if (chain + 1 < chains) {
            T *const kept = chain < 2 ? first : second;
            UNROLL for (size_t i = 0; i < mr; i++)
                UNROLL for (size_t v = 0; v < nv; v++) {
                    T *const at = kept + (i * nv + v) * LANES;
                    v_store(at, chain == 1 ? v_add(v_load(at), sum[i][v]) : sum[i][v]);
                }
        } else if (chains == 4) {
            UNROLL for (size_t i = 0; i < mr; i++)
                UNROLL for (size_t v = 0; v < nv; v++) {
                    const size_t at = (i * nv + v) * LANES;
                    sum[i][v] = v_add(v_load(first + at), v_add(v_load(second + at), sum[i][v]));
                }
        }
    }
    UNROLL for (size_t i = 0; i < mr; i++)
        UNROLL for (size_t v = 0; v < nv; v++) finish(c + i * ld_c + v * LANES, sum[i][v], v < nv - 1 ? LANES : n_last, learning_rate);
}

/* All rows of one panel of nv vectors */
INLINE void tile_rows(const size_t nv, const int a_along_rows, size_t n_last, size_t rows, size_t depth, const T *a, size_t a_stride,
                      const T *b, size_t b_step, const T *start, size_t chains, const T *learning_rate, T *c, size_t ld_c)
{
    const size_t a_next = a_along_rows ? 1 : a_stride;
    size_t i = 0;
#define TILE(ROWS)                                                                                                            \
    {                                                                                                                         \
        tile(ROWS, nv, a_along_rows, n_last, depth, a + i * a_next, a_stride, b, b_step, start, chains, learning_rate,        \
             c + i * ld_c, ld_c);                                                                                             \
        i += ROWS;                                                                                                            \
    }
    while (i + TILE_ROWS <= rows) TILE(TILE_ROWS)
#if TILE_ROWS > 4
    if (i + 4 <= rows) TILE(4)
#endif
    if (i + 2 <= rows) TILE(2)
    if (i < rows) TILE(1)
#undef TILE
}

static NOINLINE void tile_columns(size_t nv, int a_along_rows, size_t n_last, size_t rows, size_t depth, const T *a, size_t a_stride,
                         const T *b, size_t b_step, const T *start, size_t chains, const T *learning_rate, T *c, size_t ld_c)
{
#define PANEL_OF(VECTORS)                                                                                                     \
    {                                                                                                                         \
        if (a_along_rows)                                                                                                     \
            tile_rows(VECTORS, 1, n_last, rows, depth, a, a_stride, b, b_step, start, chains, learning_rate, c, ld_c);        \
        else                                                                                                                  \
            tile_rows(VECTORS, 0, n_last, rows, depth, a, a_stride, b, b_step, start, chains, learning_rate, c, ld_c);        \
    }
    if (nv == 1) PANEL_OF(1)
    else if (nv == 2) PANEL_OF(2)
    else PANEL_OF(3)
#undef PANEL_OF
}

/* packed (depth, nv * LANES), zeros beyond the last column = columns [0, columns) of B */
static void pack(size_t nv, size_t columns, size_t depth, const T *b, size_t b_step, size_t b_column, T *packed)
{
    const size_t width = nv * LANES;
    if (b_column == 1) {
        for (size_t k = 0; k < depth; k++) {
            size_t j = 0;
            for (; j + LANES <= columns; j += LANES) v_store(packed + k * width + j, v_load(b + k * b_step + j));
            if (j < columns) v_store(packed + k * width + j, v_load_n(b + k * b_step + j, columns - j));
        }
        return;
    }
    for (size_t j = 0; j < columns; j += LANES) {
        const size_t n = columns - j < LANES ? columns - j : LANES;
        const T *const from = b + j * b_column;
        for (size_t k = 0; k < depth; k += LANES) {
            const size_t m = depth - k < LANES ? depth - k : LANES;
            V block[LANES];
            if (n == LANES && m == LANES) {
                UNROLL for (size_t i = 0; i < LANES; i++) block[i] = v_load(from + i * b_column + k);
            } else {
                for (size_t i = 0; i < LANES; i++) block[i] = i < n ? v_load_n(from + i * b_column + k, m) : v_zero();
            }
            v_transpose(block);
            if (m == LANES) {
                UNROLL for (size_t i = 0; i < LANES; i++) v_store(packed + (k + i) * width + j, block[i]);
            } else {
                for (size_t i = 0; i < m; i++) v_store(packed + (k + i) * width + j, block[i]);
            }
        }
    }
}

/* Elements of scratch that product may use; the caller has checked that they can be counted. */
static size_t product_scratch(size_t rows, size_t columns, size_t depth)
{
    const size_t panel = depth * PANEL, line = 4 * (rows == 1 ? columns : columns == 1 ? rows : 0);
    return panel > line ? panel : line;
}

static void product(size_t rows, size_t columns, size_t depth, const void *a_, size_t a_row, size_t a_step, const void *b_,
                    size_t b_step, size_t b_column, const void *start_, int chains, const void *learning_rate_, void *c_, size_t ld_c,
                    void *scratch_)
{
    const T *const a = a_, *const b = b_, *const start = start_, *const learning_rate = learning_rate_;
    T *const c = c_, *const scratch = scratch_;
    if (chains == 4 && !learning_rate && a_step == 1 && b_step == 1) {
        /* Along depth both: below a few rows or columns, re-reading costs less than packing. */
        if (rows <= 3) {
            for (size_t i = 0; i < rows; i++)
                product_dot(columns, depth, a + i * a_row, b, b_column, start, 1, c + i * ld_c, 1);
            return;
        }
        if (columns <= 3) {
            for (size_t j = 0; j < columns; j++)
                product_dot(rows, depth, b + j * b_column, a, a_row, start ? start + j : NULL, 0, c + j, ld_c);
            return;
        }
    }
    if (rows == 1 && b_column == 1) {
        product_line(columns, depth, a, a_step, b, b_step, start, 1, chains, learning_rate, c, scratch);
        return;
    }
    if (columns == 1 && a_row == 1 && ld_c == 1) { /* the same with the operands' roles exchanged */
        product_line(rows, depth, b, b_step, a, a_step, start, 0, chains, learning_rate, c, scratch);
        return;
    }
    const int a_along_rows = a_step != 1;
    for (size_t j = 0; j < columns; j += PANEL) {
        const size_t n = columns - j < PANEL ? columns - j : PANEL, nv = (n + LANES - 1) / LANES;
        const T *panel = b + j * b_column;
        size_t step = b_step;
        if (b_column != 1 || n % LANES || (rows >= 4 * TILE_ROWS && b_step * sizeof(T) >= 1024)) {
            step = nv * LANES;
            pack(nv, n, depth, panel, b_step, b_column, scratch);
            panel = scratch;
        }
        tile_columns(nv, a_along_rows, n - (nv - 1) * LANES, rows, depth, a, a_along_rows ? a_step : a_row, panel, step,
                     start ? start + j : NULL, (size_t)chains, learning_rate, c + j, ld_c);
    }
}

/* ---- dC/dB = dC/dY: sums down the columns, one chain over the rows in order -------------------------------------------- */

INLINE void bias_columns(const size_t vectors, size_t n_last, size_t rows, const T *y_gradient, size_t ld, const T *learning_rate, T *c)
{
    V sum[8];
    UNROLL for (size_t v = 0; v < vectors; v++) sum[v] = v_zero();
    for (size_t i = 0; i < rows; i++) {
        const T *const row = y_gradient + i * ld;
        UNROLL for (size_t v = 0; v < vectors - 1; v++) sum[v] = v_add(sum[v], v_load(row + v * LANES));
        const T *const last = row + (vectors - 1) * LANES;
        sum[vectors - 1] = v_add(sum[vectors - 1], n_last == LANES ? v_load(last) : v_load_n(last, n_last));
    }
    UNROLL for (size_t v = 0; v < vectors; v++) finish(c + v * LANES, sum[v], v < vectors - 1 ? LANES : n_last, learning_rate);
}

/* C (columns) = sum over rows of dY (rows, columns) */
static void bias_gradient(size_t rows, size_t columns, const void *y_gradient, size_t ld, const void *learning_rate, void *c)
{
    const T *const dy = y_gradient;
    T *const db = c;
    size_t j = 0;
    for (; columns - j > 8 * LANES; j += 8 * LANES) bias_columns(8, LANES, rows, dy + j, ld, learning_rate, db + j);
    for (; columns - j > LANES; j += LANES) bias_columns(1, LANES, rows, dy + j, ld, learning_rate, db + j);
    if (j < columns) bias_columns(1, columns - j, rows, dy + j, ld, learning_rate, db + j);
}
