/* few_rows.h: few rows times a large B that lies along depth, as a weight of (outputs, inputs) does, where 16 registers are all. The rows are packed, which
 * are the smaller operand, and B is read as it lies: vectors lie along the rows of C, and Cᵀ = B Aᵀ is computed, and written transposed. The operands
 * of an FMA change places, the order of FMAs does not. (1024 x 1024, float32, against panels of B that are packed: 8 rows 0.94 of their time, 16
 * rows 0.62, 32 rows 0.71, 256 rows 0.97.)
 */
#define in_few_rows F(in_few_rows)
#define few_rows_scratch F(few_rows_scratch)
#define rows_at_once F(rows_at_once)
#define write_columns F(write_columns)
#define column_step F(column_step)
#define tile_of_columns F(tile_of_columns)
#define columns_of_panel F(columns_of_panel)
#define few_rows_of F(few_rows_of)
#define product_of_few_rows F(product_of_few_rows)
#define rows_panel F(rows_panel)
#define FEW_ROWS F(FEW_ROWS)
#define FEW_ROWS_BYTES F(FEW_ROWS_BYTES)
#define COLUMNS_KEPT F(COLUMNS_KEPT)

enum {
    FEW_ROWS = 48, /* packed at a time at most, two panels of float32, */
    FEW_ROWS_BYTES =
        1024 * 1024, /* and what of them a level 2 cache lets pass by in time (4096 x 1024, 32 rows, float32, which are 512 KiB: 0.71) */
    COLUMNS_KEPT = LINE_BYTES / sizeof(T), /* until they are written, a line of each row of C at once */
};

/* Up to PANEL rows of A: packed [chain][step][vectors], chains `apart` */
typedef struct {
    size_t depth, vectors, apart, ld_b;
    const T *packed, *b, *start;
    T *sums; /* (COLUMNS_KEPT, FEW_ROWS), of these rows */
} rows_panel;

/* Whether a product pays for it. Below these sizes packing B costs less, and more rows of float64 miss the cache that B passes through (against
 * panels: 128 x 256, 32 rows, float32 1.01; 256 x 256, float32, 48 rows 0.93, 96 rows 0.99; float64, 16 rows 0.83, 24 rows 1.23, of 1024 x 1024 0.74). */
INLINE int in_few_rows(size_t rows, size_t columns, size_t depth)
{
    const size_t least_depth = IS_F64 ? (rows <= 16 ? 192 : 512) : rows < 64 ? 192 : TILE_DEPTH + 1;
    return rows >= (IS_F64 ? 5 : 8) && rows <= (IS_F64 ? 24 : SIZE_MAX) && columns >= 64 && depth >= least_depth &&
           depth <= FEW_ROWS_BYTES / (PANEL * sizeof(T));
}

/* Elements that a product of this size or of a smaller one may use */
static size_t few_rows_scratch(size_t rows, size_t depth)
{
    const size_t most = FEW_ROWS_BYTES / sizeof(T) + 4 * FEW_ROWS,
                 width = ((rows < FEW_ROWS ? rows : FEW_ROWS) + LANES - 1) / LANES * LANES;
    return width * (depth + 3) < most ? width * (depth + 3) : most;
}

/* Rows of A at a time: those that fit, and blocks of them that are as large as each other */
INLINE size_t rows_at_once(size_t rows, size_t depth)
{
    const size_t fitting = FEW_ROWS_BYTES / (depth * sizeof(T) * PANEL) * PANEL, most = fitting < FEW_ROWS ? fitting : FEW_ROWS;
    const size_t blocks = (rows + most - 1) / most;
    return ((rows + blocks - 1) / blocks + LANES - 1) / LANES * LANES;
}

/* C (rows, columns), rows ld_c apart = factor sums, sums (columns, FEW_ROWS); factor may be NULL and lies as C does */
INLINE void write_columns(size_t columns, size_t rows, const T *sums, const T *factor, T *c, size_t ld_c)
{
    for (size_t i = 0; i < columns; i += LANES, sums += LANES * FEW_ROWS) {
        const size_t n = columns - i < LANES ? columns - i : LANES;
        for (size_t j = 0; j < rows; j += LANES) {
            V block[LANES];
            UNROLL_FOR (size_t q = 0; q < LANES; q++) block[q] = v_load(sums + q * FEW_ROWS + j);
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

/* Step k of a tile, a its vectors of A */
INLINE void column_step(const size_t mr, const size_t nv, const T *a, const T *const *column, size_t k, V (*sum)[TILE_VECTORS])
{
    V av[TILE_VECTORS];
    UNROLL_FOR (size_t v = 0; v < nv; v++) av[v] = v_load(a + v * LANES);
    tile_step(mr, nv, 0, NULL, 0, column, k, av, sum);
}

/* mr columns of C from column i on, nv vectors of its rows; of `ahead` columns of B after these, at most mr, lines are asked of memory meanwhile */
INLINE void tile_of_columns(const size_t mr, const size_t nv, const rows_panel *p, size_t i, size_t ahead)
{
    enum { LINE = LINE_BYTES / sizeof(T) };
    V sum[2 * TILE_ROWS][TILE_VECTORS];
    T kept[3 * 2 * TILE_ROWS * PANEL]; /* three chains, while the registers hold the fourth */
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
        for (; k + LINE <= depth; k += LINE, a += LINE / 4 * nv * LANES) {
            if (ahead) PREFETCH(next);
            if (ahead && mr > TILE_ROWS) PREFETCH(next + second);
            next += LINE;
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
            v_store(p->sums + (i + r) % COLUMNS_KEPT * FEW_ROWS + v * LANES, all);
        }
}

/* n columns of C from column i on, mr or what is left */
INLINE void columns_of_panel(const size_t mr, const size_t nv, const rows_panel *p, size_t i, size_t n, size_t ahead)
{
    if (n == mr) tile_of_columns(mr, nv, p, i, ahead);
    else
        for (; n; i++, n--) tile_of_columns(1, nv, p, i, 0);
}

/* Rows that rows_at_once says, from row `first` on */
static NOINLINE void few_rows_of(size_t first, size_t rows, size_t columns, size_t ld_b, const panel_work *whole, T *scratch)
{
    T sums[COLUMNS_KEPT * FEW_ROWS];
    rows_panel panels[FEW_ROWS / LANES];
    const size_t depth = whole->depth, ld_c = whole->ld_c;
    const size_t vectors = (rows + LANES - 1) / LANES, count = (vectors + TILE_VECTORS - 1) / TILE_VECTORS;
    for (size_t q = 0, j = 0; q < count; q++) {
        const size_t nv = vectors / count + (q < vectors % count), n = rows - j < nv * LANES ? rows - j : nv * LANES;
        const size_t apart = (depth + 3) / 4 * nv * LANES;
        pack(4, n, 0, depth, whole->a + (first + j) * whole->a_stride, 1, whole->a_stride, scratch, apart);
        panels[q] = (rows_panel){depth, nv, apart, ld_b, scratch, whole->b, whole->start, sums + j};
        scratch += 4 * apart;
        j += n;
    }
    const size_t each = vectors == 1 ? 2 * TILE_ROWS : TILE_ROWS; /* of one vector twice the columns, or sums would wait for each other */
    for (size_t i = 0; i < columns; i += each) {
        const size_t left = columns - i, n = left < each ? left : each;
        for (const rows_panel *p = panels; p < panels + count; p++) {
            const size_t ahead = p > panels ? 0 : left - n < each ? left - n : each;
            if (p->vectors == 1) columns_of_panel(2 * TILE_ROWS, 1, p, i, n, ahead);
            else if (p->vectors == 2) columns_of_panel(TILE_ROWS, 2, p, i, n, ahead);
            else columns_of_panel(TILE_ROWS, 3, p, i, n, ahead);
        }
        const size_t end = i + n, from = i / COLUMNS_KEPT * COLUMNS_KEPT;
        if (end % COLUMNS_KEPT == 0 || end == columns)
            write_columns(end - from, rows, sums, whole->factor ? whole->factor + first * ld_c + from : NULL,
                          whole->c + first * ld_c + from, ld_c);
    }
}

/* A product of the sizes of `whole`, with four chains */
static void product_of_few_rows(size_t columns, size_t ld_b, const panel_work *whole, T *scratch)
{
    const size_t rows = whole->rows, at_once = rows_at_once(rows, whole->depth);
    for (size_t i = 0; i < rows; i += at_once) few_rows_of(i, rows - i < at_once ? rows - i : at_once, columns, ld_b, whole, scratch);
}
