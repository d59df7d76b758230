/* few_rows.h: few rows times a large B, which they would not repay packing, where 16 registers are all. The rows are packed instead, which are
 * the smaller operand, and B is read as it lies, once for FEW_ROWS of them: vectors lie along the rows of C, and Cᵀ = Bᵀ Aᵀ is computed, and
 * written transposed. The order of FMAs is that of products.h. (1024 x 1024, AVX2, against panels of B that are packed. B along depth: float32,
 * 8 rows 0.83 of their time, 16 rows 0.61, 32 rows 0.72, 256 rows 0.97. B along its columns: float32, 4 rows 0.67, 16 rows 0.74; float64, 4
 * rows 0.35, 16 rows 0.80.)
 */
#define in_few_rows F(in_few_rows)
#define few_rows_scratch F(few_rows_scratch)
#define rows_at_once F(rows_at_once)
#define write_columns F(write_columns)
#define pack_few_rows F(pack_few_rows)
#define column_step F(column_step)
#define tile_of_columns F(tile_of_columns)
#define columns_of_panel F(columns_of_panel)
#define few_rows_along_depth F(few_rows_along_depth)
#define add_steps F(add_steps)
#define add_four_or_one F(add_four_or_one)
#define few_rows_along_columns F(few_rows_along_columns)
#define product_of_few_rows F(product_of_few_rows)
#define rows_panel F(rows_panel)
#define FEW_ROWS_DEPTH F(FEW_ROWS_DEPTH)
#define FEW_ROWS_COLUMNS F(FEW_ROWS_COLUMNS)
#define FEW_ROWS F(FEW_ROWS)
#define FEW_ROWS_BYTES F(FEW_ROWS_BYTES)
#define SUMS_BYTES F(SUMS_BYTES)

enum {
    FEW_ROWS_DEPTH = 192, /* at least, and */
    FEW_ROWS_COLUMNS = 64,
    FEW_ROWS = 48, /* at a time at most, two panels of float32 or four of float64, */
    FEW_ROWS_BYTES = 768 * 1024, /* and of them when packed (4096 x 1024, 32 rows of float32, 512 KiB: 0.71 of the time of panels) */
    SUMS_BYTES = 16 * 1024, /* of a chain, in a level 1 cache, to which a B along its columns is added */
};

_Static_assert(FEW_ROWS % PANEL == 0 && IN_LINE % (2 * TILE_ROWS) == 0 && TILE_VECTORS == 3,
               "what panels and lines of sums take for granted");

/* Up to PANEL rows of A, packed [chain][step][vectors], chains `apart`; and what they are multiplied with, where B lies along depth */
typedef struct {
    size_t depth, vectors, apart, ld_b;
    const T *packed, *b, *start;
    T *sums; /* of each column, of these rows */
} rows_panel;

/* Whether a product pays for it, against packing B. Along depth: more rows of float64 miss the cache that B passes through (128 x 256, 32 rows,
 * float32 1.01; 256 x 256, float32, 48 rows 0.93, 96 rows 0.99; float64, 16 rows 0.83, 24 rows 1.23, of 1024 x 1024 0.74). Along columns, of a B
 * that may be a part of what lies b_step apart: float32, 512 x 1024, 4 rows 1.67, 16 rows 0.80; 2048 x 1024, 0.58 and 0.70; 1024 x 1024, 32
 * rows, float32 0.94 to 1.10, float64 0.80 to 0.98. */
INLINE int in_few_rows(size_t rows, size_t columns, size_t depth, size_t b_step)
{
    if (columns < FEW_ROWS_COLUMNS || depth < FEW_ROWS_DEPTH || depth > FEW_ROWS_BYTES / (PANEL * sizeof(T))) return 0;
    if (b_step == 1) {
        if (IS_F64) return rows >= 5 && rows <= (depth >= 512 ? 24 : 16);
        return rows >= 8 && rows < (depth > TILE_DEPTH ? SIZE_MAX : 64);
    }
    const size_t bytes = depth * b_step * sizeof(T);
    return rows <= (IS_F64 ? 32 : 24) && bytes >= (!IS_F64 && rows >= 13 ? 2 : 4) * (size_t)FAR;
}

/* Elements that a product of this size or of a smaller one may use */
static size_t few_rows_scratch(size_t rows, size_t columns, size_t depth)
{
    if (rows < 2 || columns < FEW_ROWS_COLUMNS || depth < FEW_ROWS_DEPTH) return 0;
    const size_t most = FEW_ROWS_BYTES / sizeof(T) + 4 * FEW_ROWS,
                 width = ((rows < FEW_ROWS ? rows : FEW_ROWS) + LANES - 1) / LANES * LANES;
    return (width * (depth + 3) < most ? width * (depth + 3) : most) + 4 * SUMS_BYTES / sizeof(T);
}

/* Rows of A at a time: those that fit, and blocks of them that are as large as each other */
INLINE size_t rows_at_once(size_t rows, size_t depth)
{
    const size_t fitting = FEW_ROWS_BYTES / (depth * sizeof(T) * PANEL) * PANEL, most = fitting < FEW_ROWS ? fitting : FEW_ROWS;
    const size_t blocks = (rows + most - 1) / most;
    return ((rows + blocks - 1) / blocks + LANES - 1) / LANES * LANES;
}

/* C (rows, columns), rows ld_c apart = factor sums, sums (columns rounded up to LANES, width); factor may be NULL and lies as C does */
INLINE void write_columns(size_t columns, size_t rows, size_t width, const T *sums, const T *factor, T *c, size_t ld_c)
{
    for (size_t i = 0; i < columns; i += LANES, sums += LANES * width) {
        const size_t n = columns - i < LANES ? columns - i : LANES;
        for (size_t j = 0; j < rows; j += LANES) {
            V block[LANES];
            UNROLL_FOR (size_t q = 0; q < LANES; q++) block[q] = v_load(sums + q * width + j);
            v_transpose(block);
            UNROLL_FOR (size_t q = 0; q < LANES; q++) {
                const size_t at = (j + q) * ld_c + i;
                if (j + q >= rows) break;
                if (factor) block[q] = v_mul(n < LANES ? v_load_n(factor + at, n) : v_load(factor + at), block[q]);
                finish(c + at, block[q], n, NULL);
            }
        }
    }
}

/* Packs `rows` rows of A from row `first` on, in panels as wide as each other; how many panels. Sums of row j go to `sums` + j. */
INLINE size_t pack_few_rows(size_t first, size_t rows, size_t ld_b, const panel_work *whole, T *sums, T *packed, rows_panel *panels)
{
    const size_t depth = whole->depth, vectors = (rows + LANES - 1) / LANES, count = (vectors + TILE_VECTORS - 1) / TILE_VECTORS;
    for (size_t q = 0, j = 0; q < count; q++) {
        const size_t nv = vectors / count + (q < vectors % count), n = rows - j < nv * LANES ? rows - j : nv * LANES;
        const size_t apart = (depth + 3) / 4 * nv * LANES;
        pack(4, n, 0, depth, whole->a + (first + j) * whole->a_stride, 1, whole->a_stride, packed, apart);
        panels[q] = (rows_panel){depth, nv, apart, ld_b, packed, whole->b, whole->start, sums + j};
        packed += 4 * apart;
        j += n;
    }
    return count;
}

/* ---- B along depth: tiles of its columns -------------------------------------------------------------------------------- */

/* Step k of a tile, a its vectors of A */
INLINE void column_step(const size_t mr, const size_t nv, const T *a, const T *const *column, size_t k, V (*sum)[TILE_VECTORS])
{
    V av[TILE_VECTORS];
    UNROLL_FOR (size_t v = 0; v < nv; v++) av[v] = v_load(a + v * LANES);
    tile_step(mr, nv, 0, NULL, 0, column, k, av, sum);
}

/* mr columns of C from column i on, nv vectors of its rows; lines of `ahead` columns of B after these, at most mr, are asked of memory
 * meanwhile */
INLINE void tile_of_columns(const size_t mr, const size_t nv, const rows_panel *p, size_t i, size_t ahead)
{
    V sum[2 * TILE_ROWS][TILE_VECTORS];
    T kept[3 * TILE_ROWS * PANEL]; /* three chains, while the registers hold the fourth */
    const T *column[2 * TILE_ROWS];
    const size_t ld_b = p->ld_b, depth = p->depth, whole = mr * nv * LANES;
    UNROLL_FOR (size_t r = 0; r < mr; r++) column[r] = p->b + (i + r) * ld_b;
    size_t chain = 0;
    do {
        UNROLL_FOR (size_t r = 0; r < mr; r++) {
            const V from = chain == 0 && p->start ? v_set1(p->start[i + r]) : v_zero();
            UNROLL_FOR (size_t v = 0; v < nv; v++) sum[r][v] = from;
        }
        const T *a = p->packed + chain * p->apart, *next = p->b + (i + (ahead ? mr + chain % ahead : 0)) * ld_b;
        const size_t second = ahead == 2 * TILE_ROWS ? TILE_ROWS * ld_b : 0;
        size_t k = chain;
        /* The steps of a line, written one by one: a loop of them gcc takes for its outer loop, and unrolls that 64 times. */
        for (; k + IN_LINE <= depth; k += IN_LINE, a += IN_LINE / 4 * nv * LANES) {
            if (ahead) PREFETCH(next);
            if (ahead && mr > TILE_ROWS) PREFETCH(next + second);
            next += IN_LINE;
            column_step(mr, nv, a, column, k, sum);
            column_step(mr, nv, a + nv * LANES, column, k + 4, sum);
            if (IS_F64) continue;
            column_step(mr, nv, a + 2 * nv * LANES, column, k + 8, sum);
            column_step(mr, nv, a + 3 * nv * LANES, column, k + 12, sum);
        }
        for (; k < depth; k += 4, a += nv * LANES) column_step(mr, nv, a, column, k, sum);
        if (chain == 3) break;
        UNROLL_FOR (size_t r = 0; r < mr; r++)
            UNROLL_FOR (size_t v = 0; v < nv; v++) v_store(kept + chain * whole + (r * nv + v) * LANES, sum[r][v]);
    } while (++chain);
    UNROLL_FOR (size_t r = 0; r < mr; r++)
        UNROLL_FOR (size_t v = 0; v < nv; v++) {
            const T *const at = kept + (r * nv + v) * LANES;
            const V all = v_add(v_add(v_load(at), v_load(at + whole)), v_add(v_load(at + 2 * whole), sum[r][v]));
            v_store(p->sums + (i + r) % IN_LINE * FEW_ROWS + v * LANES, all);
        }
}

/* n columns of C from column i on, mr or what is left */
INLINE void columns_of_panel(const size_t mr, const size_t nv, const rows_panel *p, size_t i, size_t n, size_t ahead)
{
    if (n == mr) tile_of_columns(mr, nv, p, i, ahead);
    else
        for (; n; i++, n--) tile_of_columns(1, nv, p, i, 0);
}

static NOINLINE void few_rows_along_depth(size_t first, size_t rows, size_t columns, size_t ld_b, const panel_work *whole, T *scratch)
{
    T sums[IN_LINE * FEW_ROWS] = {0}; /* the columns beyond the last are written to no row, but are computed with */
    rows_panel panels[FEW_ROWS / PANEL];
    const size_t ld_c = whole->ld_c, count = pack_few_rows(first, rows, ld_b, whole, sums, scratch, panels);
    const size_t each = rows <= LANES ? 2 * TILE_ROWS : TILE_ROWS; /* of one vector twice the columns, or sums would wait for each other */
    for (size_t i = 0; i < columns; i += each) {
        const size_t left = columns - i, n = left < each ? left : each;
        for (const rows_panel *p = panels; p < panels + count; p++) {
            const size_t ahead = p > panels ? 0 : left - n < each ? left - n : each;
            if (p->vectors == 1) columns_of_panel(2 * TILE_ROWS, 1, p, i, n, ahead);
            else if (p->vectors == 2) columns_of_panel(TILE_ROWS, 2, p, i, n, ahead);
            else columns_of_panel(TILE_ROWS, 3, p, i, n, ahead);
        }
        const size_t end = i + n, from = i / IN_LINE * IN_LINE;
        if (end % IN_LINE == 0 || end == columns)
            write_columns(end - from, rows, FEW_ROWS, sums, whole->factor ? whole->factor + first * ld_c + from : NULL,
                          whole->c + first * ld_c + from, ld_c);
    }
}

/* ---- B along its columns: steps of it, as a stream, added to sums that wait in memory ------------------------------------
 *
 * Steps that lie a power of two apart take longer (16 rows in float32: 1024 x 1024 0.74 of the time of panels, 1024 x 1040 0.67). To transpose
 * four steps at a time into memory of their own cost as much as it saved.
 */

/* sums (n, width) += Bᵀ Aᵀ for `count` steps of a chain and nv vectors of rows of A: a (count, nv LANES), steps of B b_apart; lines of the
 * steps after these are asked of memory meanwhile, if `ahead` */
INLINE void add_steps(const size_t count, const size_t nv, size_t n, const T *a, const T *b, size_t b_apart, int ahead, T *sums,
                      size_t width)
{
    V av[4][TILE_VECTORS];
    UNROLL_FOR (size_t k = 0; k < count; k++)
        UNROLL_FOR (size_t v = 0; v < nv; v++) av[k][v] = v_load(a + (k * nv + v) * LANES);
    for (size_t i = 0; i < n; i += IN_LINE) {
        const size_t end = n - i < IN_LINE ? n : i + IN_LINE;
        if (ahead)
            UNROLL_FOR (size_t k = count; k < 2 * count; k++) PREFETCH(b + k * b_apart + i);
        BY_FOUR_FOR (size_t j = i; j < end; j++) {
            V sum[TILE_VECTORS];
            UNROLL_FOR (size_t v = 0; v < nv; v++) sum[v] = v_load(sums + j * width + v * LANES);
            UNROLL_FOR (size_t k = 0; k < count; k++) {
                const V bk = v_set1(b[k * b_apart + j]);
                UNROLL_FOR (size_t v = 0; v < nv; v++) sum[v] = v_fma(av[k][v], bk, sum[v]);
            }
            UNROLL_FOR (size_t v = 0; v < nv; v++) v_store(sums + j * width + v * LANES, sum[v]);
        }
    }
}

/* The same for four steps, or for one */
INLINE void add_four_or_one(const size_t nv, int four, size_t n, const T *a, const T *b, size_t b_apart, int ahead, T *sums, size_t width)
{
    if (four) add_steps(4, nv, n, a, b, b_apart, ahead, sums, width);
    else add_steps(1, nv, n, a, b, b_apart, ahead, sums, width);
}

static NOINLINE void few_rows_along_columns(size_t first, size_t rows, size_t columns, const panel_work *whole, T *scratch)
{
    rows_panel panels[FEW_ROWS / PANEL];
    const size_t depth = whole->depth, ld_c = whole->ld_c, b_step = whole->b_step, width = (rows + LANES - 1) / LANES * LANES;
    const size_t strip = SUMS_BYTES / sizeof(T) / width / IN_LINE * IN_LINE;
    T *const sums = scratch;
    const size_t count = pack_few_rows(first, rows, 1, whole, sums, scratch + 4 * SUMS_BYTES / sizeof(T), panels);
    for (size_t i = 0; i < columns; i += strip) {
        const size_t n = columns - i < strip ? columns - i : strip, all = n * width;
        for (size_t chain = 0; chain < 4; chain++) {
            const size_t steps = (depth - chain + 3) / 4;
            T *const own = sums + chain * all;
            for (size_t j = 0; j < n; j++) {
                const V from = chain == 0 && whole->start ? v_set1(whole->start[i + j]) : v_zero();
                for (size_t v = 0; v < width; v += LANES) v_store(own + j * width + v, from);
            }
            for (size_t k = 0; k < steps;) {
                const int four = steps - k >= 4;
                const T *const b = whole->b + i + (chain + 4 * k) * b_step;
                for (const rows_panel *p = panels; p < panels + count; p++) {
                    const T *const a = p->packed + chain * p->apart + k * p->vectors * LANES;
                    T *const to = own + (p->sums - sums);
                    if (p->vectors == 1) add_four_or_one(1, four, n, a, b, 4 * b_step, p == panels, to, width);
                    else if (p->vectors == 2) add_four_or_one(2, four, n, a, b, 4 * b_step, p == panels, to, width);
                    else add_four_or_one(3, four, n, a, b, 4 * b_step, p == panels, to, width);
                }
                k += four ? 4 : 1;
            }
        }
        for (size_t j = 0; j < all; j += LANES) {
            const T *const at = sums + j;
            v_store(sums + j, v_add(v_add(v_load(at), v_load(at + all)), v_add(v_load(at + 2 * all), v_load(at + 3 * all))));
        }
        write_columns(n, rows, width, sums, whole->factor ? whole->factor + first * ld_c + i : NULL, whole->c + first * ld_c + i, ld_c);
    }
}

/* A product of the sizes of `whole`, with four chains, A along depth */
static void product_of_few_rows(size_t columns, size_t b_column, const panel_work *whole, T *scratch)
{
    const size_t at_once = rows_at_once(whole->rows, whole->depth);
    for (size_t i = 0; i < whole->rows; i += at_once) {
        const size_t rows = whole->rows - i < at_once ? whole->rows - i : at_once;
        if (whole->b_step == 1) few_rows_along_depth(i, rows, columns, b_column, whole, scratch);
        else few_rows_along_columns(i, rows, columns, whole, scratch);
    }
}
