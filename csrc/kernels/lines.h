/* lines.h: one row at a time: a matrix times a vector, and the outer product of two vectors; and a whole layer's work for one
 * sample made of them. The order of operations is that of products.h; only what is read when, and what is kept in registers, differs.
 */
#define dot_sum F(dot_sum)
#define units_at_once F(units_at_once)
#define units_of_a_step F(units_of_a_step)
#define product_dot F(product_dot)
#define product_line F(product_line)
#define line_tile F(line_tile)
#define line_stream F(line_stream)
#define stream_chains F(stream_chains)
#define line_half F(line_half)
#define line_held F(line_held)
#define line_join F(line_join)
#define finish F(finish)
#define LINE_STREAM F(LINE_STREAM)
#define outer F(outer)
#define stream_outer F(stream_outer)
#define sum_across F(sum_across)
#define update_line F(update_line)
#define stepped F(stepped)
#define stream_sum F(stream_sum)
#define line_activate F(line_activate)
#define line_forward F(line_forward)
#define line_backward F(line_backward)

/* Above this many elements a matrix times a vector is read in whole rows, as it always is where it is written too (stream_chains): a tile of
 * columns reads 128 or 256 bytes of each row, which neither prefetchers nor the TLB like. With 32 registers, what no level 2 cache of today holds for long (1024 x 1024 float32: 66 us, in rows 52 us;
 * 512 x 512: 10.3 and 11.6); with 16, whose tile is half as wide, what no level 1 cache holds (512 x 512, AVX2: 21 us, in rows 16; 200 x 200:
 * 2.1 and 1.9). */
enum { LINE_STREAM = (MANY_REGISTERS ? 1024 : 128) * 1024 / sizeof(T) };

/* W - learning_rate dy x, of which x is one number; the gradient is a sum that starts at +0 */
INLINE V stepped(V w, V x, V dy, V minus_rate) { return v_fma(minus_rate, v_fma(x, dy, v_zero()), w); }

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

/* C (columns) = a B, or C -= rate a B; the sum starts at +0. The last LANES columns are one vector, which may overlap the one before it and
 * is read before anything is written (100 rows of 50, AVX2, float32: 0.86 us, 0.67 us). */
INLINE void update_line(size_t columns, T a, const T *b, const T *learning_rate, T *c)
{
    const V av = v_set1(a);
    if (columns < LANES) {
        if (columns) finish(c, v_fma(av, v_load_n(b, columns), v_zero()), columns, learning_rate);
        return;
    }
    const size_t end = columns - LANES;
    const V minus_rate = v_set1(learning_rate ? -*learning_rate : 0), of_end = v_fma(av, v_load(b + end), v_zero());
    const V last = learning_rate ? v_fma(minus_rate, of_end, v_load(c + end)) : of_end;
    BY_FOUR_FOR (size_t j = 0; j < end; j += LANES) finish(c + j, v_fma(av, v_load(b + j), v_zero()), LANES, learning_rate);
    v_store(c + end, last);
}

/* ---- a matrix stored along depth, times a vector: four chains in four neighbouring lanes ------------------------ */

enum { F(DOT_ROWS) = LANES >= 4 ? LANES / 4 : 1, F(DOT_PARTS) = LANES >= 4 ? 1 : 4 / LANES };
#define DOT_ROWS F(DOT_ROWS)
#define DOT_PARTS F(DOT_PARTS)

/* sums[j] = start[j] + sum_k a[k] b[j * ld + k] for units * DOT_ROWS rows j of B, four chains. Rows are read a vector at a time, whose fours are
 * then dealt out: four numbers of each row at a time would fetch each line of a large B up to four times. Row j = r * units + u is the r-th four of
 * unit u, so that four units transposed are sums in order. Unless x is NULL, b[j * ld + k] -= learning_rate x[j] a[k] besides, while it is
 * near, where LANES >= 4; `to` is b, to be written (a layer of 256 x 256, AVX2, float32: 9.7 us one after the other, 6.3 us). */
INLINE void dot_sum(const size_t units, size_t depth, const T *a, const T *b, size_t ld, const T *start, size_t start_step, T *sums,
                    const T *x, const T *learning_rate, T *to)
{
    T lanes[4 * DOT_ROWS * 4]; /* unit after unit */
    V chain[4][DOT_PARTS];
    const size_t fours = depth - depth % 4;
    if (start)
        for (size_t u = 0; u < units; u++)
            for (size_t r = 0; r < DOT_ROWS; r++) {
                T *const four = lanes + 4 * (u * DOT_ROWS + r);
                four[0] = start[(r * units + u) * start_step];
                four[1] = four[2] = four[3] = 0;
            }
    UNROLL_FOR (size_t u = 0; u < units; u++)
        UNROLL_FOR (size_t p = 0; p < DOT_PARTS; p++) chain[u][p] = start ? v_load(lanes + u * DOT_ROWS * 4 + p * LANES) : v_zero();
    const size_t end = depth - LANES; /* where x is given, depth >= LANES */
    T last[4 * DOT_ROWS * LANES]; /* the last LANES of each row, as in update_line */
    for (size_t j = 0; x && depth % LANES && j < units * DOT_ROWS; j++)
        v_store(last + j * LANES, stepped(v_load(b + j * ld + end), v_set1(x[j]), v_load(a + end), v_set1(-*learning_rate)));
    size_t k = 0;
    for (; DOT_PARTS == 1 && k + LANES <= fours; k += LANES) {
        V dealt[4][DOT_ROWS];
        UNROLL_FOR (size_t u = 0; u < units; u++) {
            UNROLL_FOR (size_t r = 0; r < DOT_ROWS; r++) {
                const size_t j = r * units + u;
                dealt[u][r] = v_load(b + j * ld + k);
                if (x) v_store(to + j * ld + k, stepped(dealt[u][r], v_set1(x[j]), v_load(a + k), v_set1(-*learning_rate)));
            }
            v_deal_4s(dealt[u]);
        }
        UNROLL_FOR (size_t r = 0; r < DOT_ROWS; r++) {
            const V ak = v_repeat_4(a + k + 4 * r);
            UNROLL_FOR (size_t u = 0; u < units; u++) chain[u][0] = v_fma(ak, dealt[u][r], chain[u][0]);
        }
    }
    for (; k < fours; k += 4)
        UNROLL_FOR (size_t p = 0; p < DOT_PARTS; p++) {
            const V ak = v_repeat_4(a + k + p * LANES);
            UNROLL_FOR (size_t u = 0; u < units; u++)
                chain[u][p] = v_fma(ak, v_load_4s(b + u * ld + k + p * LANES, units * ld), chain[u][p]);
        }
    if (DOT_PARTS == 1) {
        V four[4];
        if (fours < depth) { /* lanes that have no number left stay as they are, which -0 + 0 would not */
            const T counts[4] = {0, 1, 2, 3};
            V of_a[DOT_ROWS];
            UNROLL_FOR (size_t r = 0; r < DOT_ROWS; r++) of_a[r] = v_load_n(a + fours, depth - fours);
            v_deal_4s(of_a);
            const M left = v_lt(v_repeat_4(counts), v_set1((T)(depth - fours)));
            UNROLL_FOR (size_t u = 0; u < units; u++) {
                V dealt[DOT_ROWS];
                UNROLL_FOR (size_t r = 0; r < DOT_ROWS; r++) dealt[r] = v_load_n(b + (r * units + u) * ld + fours, depth - fours);
                v_deal_4s(dealt);
                chain[u][0] = v_select(left, v_fma(of_a[0], dealt[0], chain[u][0]), chain[u][0]);
            }
        }
        UNROLL_FOR (size_t u = 0; u < 4; u++) four[u] = u < units ? chain[u][0] : v_zero();
        v_transpose_4s(four);
        v_store(units == 4 ? sums : lanes, v_add(v_add(four[0], four[1]), v_add(four[2], four[3])));
        for (size_t r = 0; r < DOT_ROWS && units < 4; r++)
            for (size_t u = 0; u < units; u++) sums[r * units + u] = lanes[4 * r + u];
        for (size_t j = 0; x && depth % LANES && j < units * DOT_ROWS; j++) v_store(to + j * ld + end, v_load(last + j * LANES));
        return;
    }
    UNROLL_FOR (size_t u = 0; u < units; u++)
        UNROLL_FOR (size_t p = 0; p < DOT_PARTS; p++) v_store(lanes + u * DOT_ROWS * 4 + p * LANES, chain[u][p]);
    for (size_t u = 0; u < units; u++)
        for (size_t r = 0; r < DOT_ROWS; r++) {
            const size_t j = r * units + u;
            T *const four = lanes + 4 * (u * DOT_ROWS + r);
            for (k = fours; k < depth; k++) four[k - fours] = s_fma(a[k], b[j * ld + k], four[k - fours]);
            sums[j] = (four[0] + four[1]) + (four[2] + four[3]);
        }
}

/* Units of rows that are read at a time: four, or, where rows are so many bytes apart that they share few sets of a level 1 cache, those that make
 * eight rows, for what is fetched ahead for sixteen drives itself out (512 x 512, AVX2, float32: four rows 22.8 us, eight 17.3). */
enum { F(FAR_APART) = 2048 };
#define FAR_APART F(FAR_APART)

INLINE size_t units_at_once(size_t ld) { return 4 * DOT_ROWS > 8 && ld * sizeof(T) >= FAR_APART ? 2 : 4; }

/* The same where rows are written besides: at most four of those some 4096 bytes apart or more, for eight that are just so far apart all want the
 * same few places of a level 1 cache (1024 x 1024, AVX2, float32: eight rows 213 us, four 118 us; 1100 x 1100: 153 us, 148 us). */
INLINE size_t units_of_a_step(size_t ld)
{
    const size_t four_rows = DOT_ROWS < 4 ? 4 / DOT_ROWS : 1;
    return ld * sizeof(T) >= 4096 - 64 ? four_rows : units_at_once(ld);
}

/* C (columns) = start + A (depth) B, B[k, j] at b[j * ld + k], four chains; sums go to c, c_step apart */
static void product_dot(size_t columns, size_t depth, const T *a, const T *b, size_t ld, const T *start, size_t start_step, T *c,
                        size_t c_step)
{
    T on_stack[4 * DOT_ROWS];
    for (size_t j = 0; j < columns;) {
        const T *const from = start ? start + j * start_step : NULL, *const bj = b + j * ld;
        size_t n = columns - j;
        T *const sums = c_step == 1 && n >= DOT_ROWS ? c + j : on_stack;
        if (n >= 4 * DOT_ROWS && units_at_once(ld) == 4) {
            n = 4 * DOT_ROWS;
            dot_sum(4, depth, a, bj, ld, from, start_step, sums, NULL, NULL, NULL);
        } else if (n >= 2 * DOT_ROWS) {
            n = 2 * DOT_ROWS;
            dot_sum(2, depth, a, bj, ld, from, start_step, sums, NULL, NULL, NULL);
        } else if (n >= DOT_ROWS) {
            n = DOT_ROWS;
            dot_sum(1, depth, a, bj, ld, from, start_step, sums, NULL, NULL, NULL);
        } else {
            n = 1; /* the same row in every group of four lanes */
            dot_sum(1, depth, a, bj, 0, from, 0, sums, NULL, NULL, NULL);
        }
        for (size_t i = 0; i < n && sums == on_stack; i++) c[(j + i) * c_step] = sums[i];
        j += n;
    }
}

/* ---- a vector times a matrix stored along its columns ------------------------------------------------------------ */

/* `vectors` vectors of columns, the last with n_last of them; of four chains, `at_once` at a time: with 16 registers two, of four vectors, for
 * three vectors of all four end in the middle of a cache line (784 x 128, AVX2: 6.8 us, 5.1 us) */
INLINE void line_tile(const size_t vectors, const size_t chains, const size_t at_once, size_t n_last, size_t depth, const T *a,
                      size_t a_step, const T *b, size_t b_step, const T *start, size_t start_step, const T *learning_rate, T *c, int roomy)
{
    V sum[4][8], half[8];
    const size_t last = vectors - 1;
    const int whole = n_last == LANES;
    UNROLL_FOR (size_t first = 0; first < chains; first += at_once) {
        UNROLL_FOR (size_t v = 0; v < vectors; v++) {
            if (first || !start) sum[0][v] = v_zero();
            else if (!start_step) sum[0][v] = v_set1(*start);
            else if (v < last || whole) sum[0][v] = v_load(start + v * LANES);
            else sum[0][v] = v_load_n(start + v * LANES, n_last);
            UNROLL_FOR (size_t i = 1; i < at_once; i++) sum[i][v] = v_zero();
        }
        size_t k = first;
        for (; k + at_once <= depth; k += chains)
            UNROLL_FOR (size_t i = 0; i < at_once; i++) {
                const V ak = v_set1(a[(k + i) * a_step]);
                const T *const bk = b + (k + i) * b_step;
                UNROLL_FOR (size_t v = 0; v < last; v++) sum[i][v] = v_fma(ak, v_load(bk + v * LANES), sum[i][v]);
                sum[i][last] = v_fma(ak, whole ? v_load(bk + last * LANES) : v_load_n(bk + last * LANES, n_last), sum[i][last]);
            }
        UNROLL_FOR (size_t i = 0; i < at_once; i++)
            if (k + i < depth) {
                const V ak = v_set1(a[(k + i) * a_step]);
                const T *const bk = b + (k + i) * b_step;
                UNROLL_FOR (size_t v = 0; v < last; v++) sum[i][v] = v_fma(ak, v_load(bk + v * LANES), sum[i][v]);
                sum[i][last] = v_fma(ak, whole ? v_load(bk + last * LANES) : v_load_n(bk + last * LANES, n_last), sum[i][last]);
            }
        UNROLL_FOR (size_t v = 0; v < vectors; v++) {
            if (at_once == 4) sum[0][v] = v_add(v_add(sum[0][v], sum[1][v]), v_add(sum[2][v], sum[3][v]));
            else if (at_once == 2) {
                const V pair = v_add(sum[0][v], sum[1][v]);
                if (!first) half[v] = pair;
                else sum[0][v] = v_add(half[v], pair);
            }
        }
    }
    UNROLL_FOR (size_t v = 0; v < vectors; v++) finish(c + v * LANES, sum[0][v], v < last || roomy ? LANES : n_last, learning_rate);
}

/* Chains first .. first + chains - 1 of `all` of the same sums, kept in memory (sums: `chains` times the columns, rounded up to whole vectors),
 * so that rows of B are read from end to end, eight of one chain at a time. The chains of one vector of columns lie side by side: as arrays
 * of their own, they and the rows met in the same cache sets where rows are 3072 bytes apart (768 x 768 float32: 44 us, now 29 us; reading it
 * alone takes 24 us). If `step`, B is still to take the step that `held` has, which is taken as it is read, and written; four rows at a time, whose
 * numbers of A and x then stay in registers (784 x 128, AVX2, float32: step and sums one after the other 14.4 us, eight rows at a time 10.9 us,
 * four 10.6 us; 512 x 512: 45, 43, 30 us). */
INLINE void stream_chains(const size_t chains, const size_t all, size_t first, size_t columns, size_t depth, const T *a, size_t a_step,
                          const T *b, size_t b_step, const T *start, size_t start_step, const int step, const pynn_held *held,
                          T *RESTRICT sums)
{
    enum { MOST = 8 };
    const size_t at_once = step ? 4 : MOST;
    const T *const x = step ? held->x : NULL, *const dy = step ? held->dy : NULL;
    T *const to = step ? held->weight : NULL; /* which is B */
    const V minus_rate = v_set1(step ? -(T)held->learning_rate : 0);
    const size_t whole = columns - columns % LANES, n_last = columns - whole;
    for (size_t j = 0; j < columns; j += LANES) {
        T *const at = sums + chains * j;
        const size_t n = j < whole ? LANES : n_last;
        if (!start || first) v_store(at, v_zero());
        else if (!start_step) v_store(at, v_set1(*start));
        else v_store(at, n == LANES ? v_load(start + j) : v_load_n(start + j, n));
        UNROLL_FOR (size_t i = 1; i < chains; i++) v_store(at + i * LANES, v_zero());
    }
    size_t k = 0;
    for (; k + all * at_once <= depth; k += all * at_once)
        for (size_t i = 0; i < chains; i++) {
            const size_t begin = k + first + i;
            const T *const row = b + begin * b_step;
            T *const sum = sums + i * LANES;
            V ak[MOST], xk[MOST];
            UNROLL_FOR (size_t r = 0; r < at_once; r++) ak[r] = v_set1(a[(begin + all * r) * a_step]);
            UNROLL_FOR (size_t r = 0; r < at_once; r++) xk[r] = step ? v_set1(x[begin + all * r]) : v_zero();
            for (size_t j = 0; j < whole; j += LANES) {
                V s = v_load(sum + chains * j);
                if (step) {
                    const V dyj = v_load(dy + j);
                    V w[MOST];
                    UNROLL_FOR (size_t r = 0; r < at_once; r++) w[r] = stepped(v_load(row + all * r * b_step + j), xk[r], dyj, minus_rate);
                    UNROLL_FOR (size_t r = 0; r < at_once; r++) v_store(to + (begin + all * r) * b_step + j, w[r]);
                    UNROLL_FOR (size_t r = 0; r < at_once; r++) s = v_fma(ak[r], w[r], s);
                } else {
                    UNROLL_FOR (size_t r = 0; r < at_once; r++) s = v_fma(ak[r], v_load(row + all * r * b_step + j), s);
                }
                v_store(sum + chains * j, s);
            }
            if (n_last) {
                V s = v_load(sum + chains * whole);
                UNROLL_FOR (size_t r = 0; r < at_once; r++) {
                    V w = v_load_n(row + all * r * b_step + whole, n_last);
                    if (step) {
                        w = stepped(w, xk[r], v_load_n(dy + whole, n_last), minus_rate);
                        v_store_n(to + (begin + all * r) * b_step + whole, w, n_last);
                    }
                    s = v_fma(ak[r], w, s);
                }
                v_store(sum + chains * whole, s);
            }
        }
    for (; k < depth; k++) {
        if (k % all < first || k % all >= first + chains) continue;
        const T *const row = b + k * b_step;
        T *const sum = sums + (k % all - first) * LANES;
        const V ak = v_set1(a[k * a_step]), xk = step ? v_set1(x[k]) : v_zero();
        for (size_t j = 0; j < whole; j += LANES) {
            V w = v_load(row + j);
            if (step) v_store(to + k * b_step + j, w = stepped(w, xk, v_load(dy + j), minus_rate));
            v_store(sum + chains * j, v_fma(ak, w, v_load(sum + chains * j)));
        }
        if (n_last) {
            V w = v_load_n(row + whole, n_last);
            if (step) v_store_n(to + k * b_step + whole, w = stepped(w, xk, v_load_n(dy + whole, n_last), minus_rate), n_last);
            v_store(sum + chains * whole, v_fma(ak, w, v_load(sum + chains * whole)));
        }
    }
}

/* The four chains of a vector of columns, added */
INLINE V stream_sum(const T *four)
{
    return v_add(v_add(v_load(four), v_load(four + LANES)), v_add(v_load(four + 2 * LANES), v_load(four + 3 * LANES)));
}

/* C (columns) = start + A (depth) B, B[k, j] at b[k * b_step + j] */
static void line_stream(size_t columns, size_t depth, const T *a, size_t a_step, const T *b, size_t b_step, const T *start,
                        size_t start_step, const T *learning_rate, T *c, T *sums)
{
    stream_chains(4, 4, 0, columns, depth, a, a_step, b, b_step, start, start_step, 0, NULL, sums);
    for (size_t j = 0; j < columns; j += LANES)
        finish(c + j, stream_sum(sums + 4 * j), columns - j < LANES ? columns - j : LANES, learning_rate);
}

/* C (columns) = start + A (depth) B, B[k, j] at b[k * b_step + j]; a roomy C may be written in whole vectors */
static void product_line(size_t columns, size_t depth, const T *a, size_t a_step, const T *b, size_t b_step, const T *start,
                         size_t start_step, int chains, const T *learning_rate, T *c, int roomy, T *scratch)
{
    if (chains == 4 && columns * depth > LINE_STREAM && columns >= 8 * LANES) {
        line_stream(columns, depth, a, a_step, b, b_step, start, start_step, learning_rate, c, scratch);
        return;
    }
    for (size_t j = 0; j < columns;) {
        const size_t n = columns - j, vectors = (n + LANES - 1) / LANES, n_last = n % LANES ? n % LANES : LANES;
        const T *const from = start ? start + j * start_step : NULL;
#define LINE(VECTORS, CHAINS, ONCE, LAST) \
    line_tile(VECTORS, CHAINS, ONCE, LAST, depth, a, a_step, b + j, b_step, from, start_step, learning_rate, c + j, roomy)
        if (chains == 4) {
            if (vectors > 4) LINE(4, 4, MANY_REGISTERS ? 4 : 2, LANES);
            else if (vectors == 4) LINE(4, 4, MANY_REGISTERS ? 4 : 2, n_last);
            else if (vectors == 3) LINE(3, 4, 4, n_last);
            else if (vectors == 2) LINE(2, 4, 4, n_last);
            else LINE(1, 4, 4, n_last);
            j += 4 * LANES;
        } else {
            if (vectors > 8) {
                LINE(8, 1, 1, LANES);
                j += 8 * LANES;
            } else if (vectors > 4) {
                LINE(4, 1, 1, LANES);
                j += 4 * LANES;
            } else {
                if (vectors == 4) LINE(4, 1, 1, n_last);
                else if (vectors == 3) LINE(3, 1, 1, n_last);
                else if (vectors == 2) LINE(2, 1, 1, n_last);
                else LINE(1, 1, 1, n_last);
                j += n;
            }
        }
#undef LINE
    }
}

/* ---- an outer product ------------------------------------------------------------------------------------------------ */

/* C (rows, columns) = A (rows) B (columns), or C -= rate A B; row after row, since eight rows of a large C would share cache sets */
static void outer(size_t rows, size_t columns, const T *a, size_t a_row, const T *b, const T *learning_rate, T *c, size_t ld_c)
{
    /* A copy, which C cannot overlap: else the rate is loaded and negated again for each vector. */
    const T rate = learning_rate ? *learning_rate : 0;
    if (learning_rate)
        for (size_t i = 0; i < rows; i++) update_line(columns, a[i * a_row], b, &rate, c + i * ld_c);
    else
        for (size_t i = 0; i < rows; i++) update_line(columns, a[i * a_row], b, NULL, c + i * ld_c);
}

#if CAN_STREAM
/* C = A B past the caches: a store to a line that is in no cache first reads it, which is half of the traffic. Whole lines alone, for one that is
 * written both ways waits for memory twice; and each as it is computed, for a copy from a level 1 cache takes half as long again. */
static void stream_outer(size_t rows, size_t columns, const void *a_, size_t a_row, const void *b_, void *c_, size_t ld_c)
{
    enum { LINE = 64 / sizeof(T) };
    const T *const a = a_, *const b = b_;
    T *c = c_;
    for (size_t i = 0; i < rows; i++, c += ld_c) {
        const size_t before = (64 - (uintptr_t)c % 64) % 64 / sizeof(T);
        const V ai = v_set1(a[i * a_row]);
        size_t j = before < columns ? before : columns;
        update_line(j, a[i * a_row], b, NULL, c);
        for (; j + LINE <= columns; j += LINE)
            UNROLL_FOR (size_t v = 0; v < LINE; v += LANES) v_stream(c + j + v, v_fma(ai, v_load(b + j + v), v_zero()));
        update_line(columns - j, a[i * a_row], b + j, NULL, c + j);
    }
    stream_end();
}
#endif

/* ---- a layer's work for one sample ------------------------------------------------------------------------------------
 *
 * Arrays marked roomy may be read and written up to the next multiple of 64 bytes: a store of a whole vector can be loaded again at once,
 * one of a part only when it has reached the cache.
 */

/* y_i = f(y_i), derivative_i = f' of the same unless NULL; activation may be negative */
INLINE void line_activate(size_t n, int activation, double parameter, T *y, T *derivative)
{
    if (derivative) activate_both(activation, parameter, n, y, y, derivative);
    else if (activation >= 0) activate(activation, parameter, n, y, y);
}

/* y = bias + W x after the step of W that is held; by itself, since what it keeps on the stack is 25 instructions to each call of line_forward */
static NOINLINE void line_held(size_t in, size_t out, const T *w, size_t ld, const T *x, const T *bias, const pynn_held *held, T *y,
                               T *sums)
{
    if (in < CHAINS_FROM) stream_chains(1, 1, 0, out, in, x, 1, w, ld, bias, 1, 1, held, y);
    else {
        stream_chains(4, 4, 0, out, in, x, 1, w, ld, bias, 1, 1, held, sums);
        for (size_t j = 0; j < out; j += LANES) v_store(y + j, stream_sum(sums + 4 * j));
    }
}

/* y = f(bias + W x), derivative = f' of the same unless NULL, after the step of W, then in-major, that `held` has, unless NULL; bias may be
 * NULL, activation negative; y and derivative roomy, scratch 4 out, out rounded up to whole vectors */
static void line_forward(size_t in, size_t out, const void *weight, size_t ld, int order, const void *x_, const void *bias_, int activation,
                         double parameter, const pynn_held *held, void *y_, void *derivative_, void *scratch)
{
    const T *const w = weight, *const x = x_, *const bias = bias_;
    T *const y = y_, *const derivative = derivative_;
    const int chains = in >= CHAINS_FROM ? 4 : 1;
    if (held) line_held(in, out, w, ld, x, bias, held, y, scratch);
    else if (order == PYNN_IN_MAJOR) product_line(out, in, x, 1, w, ld, bias, 1, chains, NULL, y, 1, scratch);
    else if (chains == 4) product_dot(out, in, x, w, ld, bias, 1, y, 1);
    else
        for (size_t j = 0; j < out; j++) {
            T sum = bias ? bias[j] : 0;
            for (size_t k = 0; k < in; k++) sum = s_fma(x[k], w[j * ld + k], sum);
            y[j] = sum;
        }
    line_activate((out + LANES - 1) / LANES * LANES, activation, parameter, y, derivative);
}

/* sum (out) = two of the four chains of bias + W x, added: those of k = 0 and 1, or of 2 and 3, modulo 4; `held` as above, of the rows of W that
 * these read; W in-major, sum roomy, scratch 2 out, out rounded up to whole vectors */
static void line_half(size_t in, size_t out, const void *weight, size_t ld, const void *x, const void *bias, int half,
                      const pynn_held *held, void *sum_, void *scratch)
{
    T *const sum = sum_, *const sums = scratch;
    const size_t first = 2 * (size_t)half;
    if (held) stream_chains(2, 4, first, out, in, x, 1, weight, ld, bias, 1, 1, held, sums);
    else stream_chains(2, 4, first, out, in, x, 1, weight, ld, bias, 1, 0, NULL, sums);
    for (size_t j = 0; j < out; j += LANES) v_store(sum + j, v_add(v_load(sums + 2 * j), v_load(sums + 2 * j + LANES)));
}

/* y = f(y + second), derivative = f' of the same unless NULL: the halves of a layer of `out` joined; all roomy */
static void line_join(size_t out, const void *second_, int activation, double parameter, void *y_, void *derivative)
{
    const T *const second = second_;
    T *const y = y_;
    const size_t whole = (out + LANES - 1) / LANES * LANES;
    for (size_t j = 0; j < out; j += LANES) v_store(y + j, v_add(v_load(y + j), v_load(second + j)));
    line_activate(whole, activation, parameter, y, derivative);
}

/* Sums along rows of B in one chain each: for n <= LANES rows of W, sum_m dy[m] W[n, m] in order; then, unless x is NULL,
 * W[n, m] -= learning_rate x[n] dy[m], while it is in registers; `to` is W, to be written */
INLINE V sum_across(size_t n, size_t out, const T *w, size_t ld, const T *dy, const T *x, T learning_rate, T *to)
{
    const V minus_rate = v_set1(-learning_rate);
    V sum = v_zero();
    for (size_t m = 0; m < out; m += LANES) {
        const size_t left = out - m < LANES ? out - m : LANES;
        const V dym = left == LANES ? v_load(dy + m) : v_load_n(dy + m, left);
        V block[LANES];
        UNROLL_FOR (size_t i = 0; i < LANES; i++) {
            if (i >= n) block[i] = v_zero();
            else if (left == LANES) block[i] = v_load(w + i * ld + m);
            else block[i] = v_load_n(w + i * ld + m, left);
            if (x && i < n) {
                const V stepped_i = stepped(block[i], v_set1(x[i]), dym, minus_rate);
                if (left == LANES) v_store(to + i * ld + m, stepped_i);
                else v_store_n(to + i * ld + m, stepped_i, left);
            }
        }
        v_transpose(block);
        UNROLL_FOR (size_t i = 0; i < LANES; i++)
            if (i < left) sum = v_fma(v_set1(dy[m + i]), block[i], sum);
    }
    return sum;
}

/* dx = W^T dy, times factor unless NULL, unless dx is NULL; then, given a learning rate, new_weight = W -= rate dy x^T and new_bias -= rate dy,
 * or without one new_weight = dy x^T, laid out as W, and new_bias = dy; no bias where new_bias is NULL; dx and factor roomy */
static void line_backward(size_t in, size_t out, const void *weight, size_t ld, int order, const void *x_, const void *dy_, void *dx_,
                          const void *factor_, const void *learning_rate_, void *new_weight, void *new_bias)
{
    const T *const x = x_, *const dy = dy_, *const factor = factor_, *const learning_rate = learning_rate_;
    const T *const w = weight;
    T *const to = new_weight, *const dx = dx_, *const bias = new_bias;
    const int chains = out >= CHAINS_FROM ? 4 : 1;
    const T rate = learning_rate ? *learning_rate : 0; /* a copy, which W cannot overlap */
    /* Each row of W is read once, used for dx, and written while it is in cache. */
    if (order == PYNN_IN_MAJOR) {
        const int at_once = DOT_PARTS == 1 && dx && chains == 4 && learning_rate;
        const size_t units = at_once ? units_of_a_step(ld) : units_at_once(ld), rows = !dx || chains == 1 ? LANES : units * DOT_ROWS;
        for (size_t i = 0; i < in; i += rows) {
            const size_t n = in - i < rows ? in - i : rows;
            const T *const wi = w + i * ld, *const xi = x + i;
            T *const c = to + i * ld;
            if (at_once && n == rows) {
                if (units == 4) dot_sum(4, out, dy, wi, ld, NULL, 0, dx + i, xi, &rate, c);
                else if (units == 2) dot_sum(2, out, dy, wi, ld, NULL, 0, dx + i, xi, &rate, c);
                else dot_sum(1, out, dy, wi, ld, NULL, 0, dx + i, xi, &rate, c);
                continue;
            }
            if (dx && chains == 1 && learning_rate) {
                v_store(dx + i, n == LANES ? sum_across(LANES, out, wi, ld, dy, xi, rate, c) : sum_across(n, out, wi, ld, dy, xi, rate, c));
                continue;
            }
            if (dx && chains == 1) v_store(dx + i, sum_across(n, out, wi, ld, dy, NULL, 0, NULL));
            else if (dx) product_dot(n, out, dy, wi, ld, NULL, 0, dx + i, 1);
            outer(n, out, xi, 1, dy, learning_rate, c, ld);
        }
    } else if (dx && chains == 1) {
        for (size_t i = 0; i < in; i += LANES) {
            const size_t n = in - i < LANES ? in - i : LANES;
            const V xi = n == LANES ? v_load(x + i) : v_load_n(x + i, n);
            V sum = v_zero();
            for (size_t m = 0; m < out; m++) {
                const T *const wm = w + m * ld + i;
                const V dym = v_set1(dy[m]);
                sum = v_fma(dym, n == LANES ? v_load(wm) : v_load_n(wm, n), sum);
                finish(to + m * ld + i, v_fma(dym, xi, v_zero()), n, learning_rate);
            }
            v_store(dx + i, sum);
        }
    } else {
        T sums[4 * LANES];
        for (size_t i = 0; dx && i < in; i += LANES) /* narrow, so that its sums need no scratch */
            product_line(in - i < LANES ? in - i : LANES, out, dy, 1, w + i, ld, NULL, 1, chains, NULL, dx + i, 1, sums);
        outer(out, in, dy, 1, x, learning_rate, to, ld);
    }
    if (dx && factor)
        for (size_t j = 0; j < in; j += LANES) v_store(dx + j, v_mul(v_load(factor + j), v_load(dx + j)));
    if (bias)
        for (size_t j = 0; j < out; j += LANES) {
            const size_t n = out - j < LANES ? out - j : LANES;
            finish(bias + j, n == LANES ? v_load(dy + j) : v_load_n(dy + j, n), n, learning_rate);
        }
}
