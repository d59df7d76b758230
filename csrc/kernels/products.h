/* products.h: the products of a dense layer, all of one kind: each output is a sum over `depth` of products of two numbers.
 *
 *     C (rows, columns) = start + A (rows, depth) B (depth, columns)      start (columns), or `before` (rows, columns)
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
#define tile F(tile)
#define tile_step F(tile_step)
#define columns_at F(columns_at)
#define tile_begin F(tile_begin)
#define tile_end F(tile_end)
#define tile_of_pairs F(tile_of_pairs)
#define tile_rows F(tile_rows)
#define part_of F(part_of)
#define tile_columns F(tile_columns)
#define pack F(pack)
#define narrow F(narrow)
#define narrow_rows F(narrow_rows)
#define product_by_lines F(product_by_lines)
#define product F(product)
#define product_scratch F(product_scratch)
#define bias_gradient F(bias_gradient)
#define bias_columns F(bias_columns)
#define PANEL F(PANEL)
#define LINE_BYTES F(LINE_BYTES)
#define FAR F(FAR)
#define AHEAD F(AHEAD)
#define PAIRS_FROM F(PAIRS_FROM)
#define PLAIN F(PLAIN)
#define FETCH F(FETCH)
#define PACK F(PACK)
#define SUM F(SUM)
#define FROM_PACKED F(FROM_PACKED)
#define SUM_ROWS F(SUM_ROWS)
#define ROWS_CARRIED F(ROWS_CARRIED)
#define A_ROWS F(A_ROWS)
#define A_FAR F(A_FAR)
#define A_BYTES F(A_BYTES)
#define B_FAR F(B_FAR)
#define PAIRS_TO F(PAIRS_TO)
#define carried_scratch F(carried_scratch)
#define packs_rows F(packs_rows)
#define rows_packed F(rows_packed)
#define rows_scratch F(rows_scratch)
#define pack_rows F(pack_rows)
#define packs_in_tile F(packs_in_tile)
#define PANELS_AT_ONCE F(PANELS_AT_ONCE)
#define ROWS_AHEAD F(ROWS_AHEAD)
#define packs_far F(packs_far)
#define packs_panels F(packs_panels)
#define panels_packed F(panels_packed)
#define panels_scratch F(panels_scratch)
#define pack_panels F(pack_panels)
#define take_panel F(take_panel)
#define run_panels F(run_panels)
#define panel_work F(panel_work)

enum {
    PANEL = TILE_VECTORS * LANES,
    LINE_BYTES = 64,
    FAR = 1024 * 1024, /* bytes of an operand that does not stay in a level 2 cache */
    AHEAD = 12,        /* steps that memory is asked ahead, where a step reads a row of B */
    PAIRS_FROM = 32, /* depth; 10,000 rows of 4 to 32: 41 us by tile_of_pairs, 33 us by tile */
    PAIRS_TO =
        192, /* depth, where 16 registers are all, for a whole panel, and half of it for two vectors: more reads then cost what fewer sums save */
    PLAIN = 0,
    FETCH = 1, /* the next panel is fetched into cache */
    PACK = 2, /* this panel is packed while it is used */
    SUM = 3, /* its columns are added up */
    FROM_PACKED = 4, /* it was packed before, and is read at constant distances, by fewer instructions */
    SUM_ROWS = 4, /* with fewer rows of C this would take as long as by itself */
    B_FAR = MANY_REGISTERS ? 1024 : 512, /* bytes between rows of B, of which a level 1 cache then holds few */
    A_FAR = 2048, /* bytes between steps of an A along its rows, */
    A_ROWS = 16, /* of which so many are packed beside each other, */
    A_BYTES = 128 * 1024, /* and of all of them what stays in a level 2 cache with panels of B */
    ROWS_CARRIED = 16 * TILE_ROWS, /* at a time, with a deep panel in parts */
    PANELS_AT_ONCE = 4, /* packed at most, beside each other in rows of B, */
    ROWS_AHEAD = 16, /* of which so many are asked of memory ahead */
};

/* ---- matrix times matrix -------------------------------------------------------------------------------------------- */

/* A panel of up to PANEL columns of C, and what is done besides while it is computed. Its first rows may pack a B that is far away, so that
 * FMAs hide the wait for it (1024 x 1024, 32 rows, float32, two threads, AVX-512: 440 us packed before, 360 us). Others fetch into cache C itself,
 * and the panel of B after this one, a line with each step, since prefetchers do not foresee where it begins in each row.
 *
 * Where an instruction set has a TILE_DEPTH, a deeper panel is taken in parts that stay in a level 1 cache, ROWS_CARRIED rows at a time, and
 * the chains of each tile are carried from part to part in memory. */
typedef struct {
    size_t rows, depth, chains, n_last; /* n_last: columns in the last vector */
    const T *a;
    size_t a_stride; /* between rows of A, or, where A lies along its rows, between steps */
    size_t a_group; /* of a packed A: between A_ROWS rows and the next; else 0 */
    const T *b;
    size_t b_step;
    const T *start, *before, *learning_rate, *factor; /* rows of before and factor are ld_c apart */
    T *c;
    size_t ld_c;
    int fetch_c;
    const T *sums_before;
    T *sums; /* where SUM goes, or NULL */
    T *packed; /* where the first rows pack this panel, or NULL */
    size_t first, end, from, to; /* rows and steps that are taken now */
    T *carried; /* (ROWS_CARRIED / TILE_ROWS, 4, TILE_ROWS, PANEL), or not used where the depth is one part */
    const char *next;
    size_t next_tiles, next_tile, next_chain,
        next_step; /* how many tiles fetch it; bytes from tile to tile, chain to chain, step to step */
} panel_work;

/* Vector v of a row of a panel of nv vectors, the last with n_last columns */
INLINE V columns_at(const size_t nv, const size_t v, size_t n_last, const T *row)
{
    return v < nv - 1 || n_last == LANES ? v_load(row + v * LANES) : v_load_n(row + v * LANES, n_last);
}

/* What the sums of a tile begin with, whose first row is row i: `start`, or `before`; of mr rows, `rows` are there, and the others begin as row i */
INLINE void tile_begin(const size_t mr, const size_t nv, const size_t rows, const T *start, const T *before, const panel_work *p, size_t i,
                       V (*sum)[TILE_VECTORS])
{
    UNROLL_FOR (size_t v = 0; v < nv; v++) {
        const V from = start ? columns_at(nv, v, p->n_last, start) : v_zero();
        UNROLL_FOR (size_t r = 0; r < mr; r++) sum[r][v] = from;
    }
    if (before)
        UNROLL_FOR (size_t r = 0; r < mr; r++)
            UNROLL_FOR (size_t v = 0; v < nv; v++) sum[r][v] = columns_at(nv, v, p->n_last, before + (r < rows ? i + r : i) * p->ld_c);
}

/* What becomes of the sums of a tile whose first row is row i */
INLINE void tile_end(const size_t mr, const size_t nv, V (*sum)[TILE_VECTORS], const panel_work *p, size_t i)
{
    const size_t n_last = p->n_last, ld_c = p->ld_c;
    T *const c = p->c + i * ld_c;
    if (p->factor) {
        const T *const factor = p->factor + i * ld_c;
        UNROLL_FOR (size_t r = 0; r < mr; r++)
            UNROLL_FOR (size_t v = 0; v < nv; v++) sum[r][v] = v_mul(columns_at(nv, v, n_last, factor + r * ld_c), sum[r][v]);
    }
    const T rate = p->learning_rate ? *p->learning_rate : 0; /* a copy, which C cannot overlap */
    const T *const learning_rate = p->learning_rate ? &rate : NULL;
    UNROLL_FOR (size_t r = 0; r < mr; r++)
        UNROLL_FOR (size_t v = 0; v < nv; v++) finish(c + r * ld_c + v * LANES, sum[r][v], v < nv - 1 ? LANES : n_last, learning_rate);
}

/* Step k of a tile, bv its row of B */
INLINE void tile_step(const size_t mr, const size_t nv, const int a_along_rows, const T *a, size_t a_stride, const T *const *row, size_t k,
                      const V *bv, V (*sum)[TILE_VECTORS])
{
    UNROLL_FOR (size_t r = 0; r < mr; r++) {
        const V ark = v_set1(a_along_rows ? a[k * a_stride + r] : row[r][k]);
        UNROLL_FOR (size_t v = 0; v < nv; v++) sum[r][v] = v_fma(ark, bv[v], sum[r][v]);
    }
}

/* One block of C in registers: mr rows from row i, nv vectors of columns; doing nothing (PLAIN), FETCH, PACK or SUM besides, or FROM_PACKED,
 * which has four chains unless A lies along its rows (128 x 128, 256 rows, AVX2: 1.11 million instructions, 1.25 otherwise, which is what counts
 * where another thread has half of the core) */
INLINE void tile(const size_t mr, const size_t nv, const int a_along_rows, const int doing, const panel_work *p, size_t i, size_t number)
{
    const int fetching = doing == FETCH, packing = doing == PACK, summing = doing == SUM, from_packed = doing == FROM_PACKED;
    T on_stack[3 * TILE_ROWS * PANEL]; /* three chains, while the registers hold the fourth */
    T *const kept = TILE_DEPTH && p->carried ? p->carried + (i - p->first) * 4 * PANEL : on_stack;
    const size_t whole = mr * nv * LANES, from = TILE_DEPTH ? p->from : 0, to = TILE_DEPTH ? p->to : p->depth;
    V sum[2 * TILE_ROWS][TILE_VECTORS], total[TILE_VECTORS];
    const T *row[2 * TILE_ROWS];
    const size_t chains = a_along_rows  ? 1
                          : from_packed ? 4
                                        : p->chains,
                 b_step = from_packed ? nv * LANES : p->b_step, a_stride = p->a_stride, n_last = p->n_last;
    const T *const a = !a_along_rows ? p->a + i * a_stride : p->a_group ? p->a + i / A_ROWS * p->a_group + i % A_ROWS : p->a + i;
    T *const c = p->c + i * p->ld_c;
    UNROLL_FOR (size_t r = 0; r < mr; r++) row[r] = a_along_rows ? a + r : a + r * a_stride;
    if (p->fetch_c && to == p->depth)
        UNROLL_FOR (size_t r = 0; r < mr; r++)
            UNROLL_FOR (size_t v = 0; v < nv; v++) PREFETCH(c + r * p->ld_c + v * LANES);
    if (summing) /* from -0 the first sum is the first row, whatever that is */
        UNROLL_FOR (size_t v = 0; v < nv; v++) total[v] = p->sums_before ? columns_at(nv, v, n_last, p->sums_before) : v_set1((T)-0.0);
    size_t chain = 0;
    do {
        /* A weight gradient alone may have sums before it, and no start. */
        tile_begin(mr, nv, mr, !a_along_rows && chain == 0 ? p->start : NULL, a_along_rows ? p->before : NULL, p, i, sum);
        if (TILE_DEPTH && from)
            UNROLL_FOR (size_t r = 0; r < mr; r++)
                UNROLL_FOR (size_t v = 0; v < nv; v++) sum[r][v] = v_load(kept + chain * whole + (r * nv + v) * LANES);
        const T *bk = p->b + (from + chain) * b_step;
        T *packed = packing ? p->packed + chain * nv * LANES : NULL;
        const char *next = fetching ? p->next + number * p->next_tile + chain * p->next_chain + from / chains * p->next_step : NULL;
        size_t k = from + chain;
        if (from_packed)
            BY_FOUR_FOR (; k < to; k += chains, bk += chains * b_step) {
                V bv[TILE_VECTORS];
                UNROLL_FOR (size_t v = 0; v < nv; v++) bv[v] = v_load(bk + v * LANES);
                tile_step(mr, nv, a_along_rows, a, a_stride, row, k, bv, sum);
            }
        for (; k < to; k += chains, bk += chains * b_step) {
            V bv[TILE_VECTORS];
            if (fetching) {
                PREFETCH(next);
                next += p->next_step;
            }
            if (packing) {
                UNROLL_FOR (size_t v = 0; v < nv; v++) {
                    PREFETCH(bk + AHEAD * chains * b_step + v * LANES);
                    bv[v] = columns_at(nv, v, n_last, bk);
                    v_store(packed + v * LANES, bv[v]);
                }
                packed += chains * nv * LANES;
            } else {
                UNROLL_FOR (size_t v = 0; v < nv; v++) bv[v] = v_load(bk + v * LANES);
            }
            if (summing)
                UNROLL_FOR (size_t v = 0; v < nv; v++) total[v] = v_add(total[v], bv[v]);
            tile_step(mr, nv, a_along_rows, a, a_stride, row, k, bv, sum);
        }
        if (chain + 1 < chains || (TILE_DEPTH && to < p->depth)) {
            UNROLL_FOR (size_t r = 0; r < mr; r++)
                UNROLL_FOR (size_t v = 0; v < nv; v++) v_store(kept + chain * whole + (r * nv + v) * LANES, sum[r][v]);
        } else if (chains == 4) {
            UNROLL_FOR (size_t r = 0; r < mr; r++)
                UNROLL_FOR (size_t v = 0; v < nv; v++) {
                    const T *const at = kept + (r * nv + v) * LANES;
                    sum[r][v] = v_add(v_add(v_load(at), v_load(at + whole)), v_add(v_load(at + 2 * whole), sum[r][v]));
                }
        }
    } while (++chain < chains);
    if (TILE_DEPTH && to < p->depth) return;
    if (summing)
        UNROLL_FOR (size_t v = 0; v < nv; v++) finish(p->sums + v * LANES, total[v], v < nv - 1 ? LANES : n_last, p->learning_rate);
    tile_end(mr, nv, sum, p, i);
}

/* The same for A along depth and four chains, two of them at a time in registers, for half the rows: half as many sums pass through memory
 * (64 x 64, 256 rows, AVX-512: float32 22.7 us one by one, 20.8 us; float64 46.4 us, 41.0 us; AVX2: 28.3 us, 22.8 us; 61.0 us, 49.1 us) */
INLINE void tile_of_pairs(const size_t mr, const size_t nv, const panel_work *p, size_t i)
{
    T kept[TILE_ROWS / 2 * PANEL]; /* chains 0 + 1 */
    V sum[2][TILE_ROWS / 2][TILE_VECTORS];
    const T *row[TILE_ROWS / 2];
    const size_t depth = p->depth, b_step = p->b_step, n_last = p->n_last;
    UNROLL_FOR (size_t r = 0; r < mr; r++) row[r] = p->a + (i + r) * p->a_stride;
    for (size_t pair = 0; pair < 4; pair += 2) {
        UNROLL_FOR (size_t v = 0; v < nv; v++) {
            const V from = p->start && pair == 0 ? columns_at(nv, v, n_last, p->start) : v_zero();
            UNROLL_FOR (size_t r = 0; r < mr; r++) {
                sum[0][r][v] = from;
                sum[1][r][v] = v_zero();
            }
        }
        const T *bk = p->b + pair * b_step;
        size_t k = pair;
        BY_FOUR_FOR (; k + 1 < depth; k += 4, bk += 4 * b_step)
            UNROLL_FOR (size_t c = 0; c < 2; c++) {
                V bv[TILE_VECTORS];
                UNROLL_FOR (size_t v = 0; v < nv; v++) {
                    V b = v_load(bk + c * b_step + v * LANES);
                    IN_REGISTER(b); /* and not bv[v], or gcc stores all of bv on the stack in each step (64 x 64, AVX2: 34 us, 23 us) */
                    bv[v] = b;
                }
                UNROLL_FOR (size_t r = 0; r < mr; r++) {
                    const V ark = v_set1(row[r][k + c]);
                    UNROLL_FOR (size_t v = 0; v < nv; v++) sum[c][r][v] = v_fma(ark, bv[v], sum[c][r][v]);
                }
            }
        if (k < depth)
            UNROLL_FOR (size_t r = 0; r < mr; r++)
                UNROLL_FOR (size_t v = 0; v < nv; v++) sum[0][r][v] = v_fma(v_set1(row[r][k]), v_load(bk + v * LANES), sum[0][r][v]);
        UNROLL_FOR (size_t r = 0; r < mr; r++)
            UNROLL_FOR (size_t v = 0; v < nv; v++) {
                T *const at = kept + (r * nv + v) * LANES;
                sum[0][r][v] = v_add(sum[0][r][v], sum[1][r][v]);
                if (pair == 0) v_store(at, sum[0][r][v]);
                else sum[0][r][v] = v_add(v_load(at), sum[0][r][v]);
            }
    }
    tile_end(mr, nv, sum[0], p, i);
}

/* Rows `first` to `end` of a panel of nv vectors */
INLINE void tile_rows(const size_t nv, const int a_along_rows, panel_work *p)
{
    const size_t end = p->end;
    size_t i = p->first, number = i / TILE_ROWS;
    if (MANY_REGISTERS && a_along_rows && p->sums) {
        if (p->rows >= TILE_ROWS) {
            tile(TILE_ROWS, nv, a_along_rows, SUM, p, 0, 0);
            i = TILE_ROWS;
        } else {
            tile(SUM_ROWS, nv, a_along_rows, SUM, p, 0, 0);
            i = SUM_ROWS;
        }
    }
    if (!TILE_DEPTH && p->packed) {
        tile(TILE_ROWS, nv, a_along_rows, PACK, p, 0, 0);
        p->b = p->packed;
        p->b_step = nv * LANES;
        i = TILE_ROWS;
    }
    for (; number < p->next_tiles && i + TILE_ROWS <= end; i += TILE_ROWS) tile(TILE_ROWS, nv, a_along_rows, FETCH, p, i, number++);
    /* A weight gradient's narrow panel leaves registers to spare: operands are then read once for twice the rows (a step of 4-32-16-4 on 10,000
     * rows, two threads: 485 us before, 447 us). */
    if (MANY_REGISTERS && a_along_rows && nv == 1)
        for (; i + 2 * TILE_ROWS <= end; i += 2 * TILE_ROWS) tile(2 * TILE_ROWS, nv, a_along_rows, PLAIN, p, i, 0);
    if (LANES > 1 && nv > 1 && !a_along_rows && p->chains == 4 && p->depth >= PAIRS_FROM &&
        (MANY_REGISTERS || p->depth <= (nv == TILE_VECTORS ? PAIRS_TO : PAIRS_TO / 2)))
        for (; i + TILE_ROWS / 2 <= end; i += TILE_ROWS / 2) tile_of_pairs(TILE_ROWS / 2, nv, p, i);
    if (!MANY_REGISTERS && p->b_step == nv * LANES && (a_along_rows || p->chains == 4))
        for (; i + TILE_ROWS <= end; i += TILE_ROWS) tile(TILE_ROWS, nv, a_along_rows, FROM_PACKED, p, i, 0);
    for (; i + TILE_ROWS <= end; i += TILE_ROWS) tile(TILE_ROWS, nv, a_along_rows, PLAIN, p, i, 0);
#if TILE_ROWS > 4
    if (i + 4 <= end) {
        tile(4, nv, a_along_rows, PLAIN, p, i, 0);
        i += 4;
    }
#endif
    if (i + 2 <= end) {
        tile(2, nv, a_along_rows, PLAIN, p, i, 0);
        i += 2;
    }
    if (i < end) tile(1, nv, a_along_rows, PLAIN, p, i, 0);
}

/* Steps of a part. Where a line holds eight numbers, fewer leave room for the lines of A beside the panel (256 x 256, 256 rows, AVX2, float64: 853 us,
 * 814 us), which is worth more than carrying one chain once more, but not four. */
INLINE size_t part_of(int a_along_rows) { return IS_F64 && a_along_rows ? TILE_DEPTH / 4 * 3 : TILE_DEPTH; }

static NOINLINE void tile_columns(size_t nv, int a_along_rows, panel_work *p)
{
#define PANEL_OF(VECTORS)                              \
    {                                                  \
        if (a_along_rows) tile_rows(VECTORS, 1, p);    \
        else tile_rows(VECTORS, 0, p);                 \
    }
    const size_t part = part_of(a_along_rows);
    if (p->depth <= part) p->carried = NULL;
    const size_t rows = p->carried ? ROWS_CARRIED : p->rows, steps = p->carried ? part : p->depth;
    for (p->first = 0; p->first < p->rows; p->first += rows) {
        p->end = p->rows - p->first < rows ? p->rows : p->first + rows;
        for (p->from = 0;; p->from = p->to) {
            p->to = p->depth - p->from < steps ? p->depth : p->from + steps;
            if (nv == 1) PANEL_OF(1)
            else if (nv == 2) PANEL_OF(2)
            else PANEL_OF(3)
            if (p->to == p->depth) break;
        }
    }
#undef PANEL_OF
}

/* Steps `from` to `to` of a panel: packed [chain][step][width] = columns [0, columns) of B, zeros beyond the last, chains `apart` elements from each
 * other; `from` is a multiple of LANES and of chains */
INLINE void pack(const size_t chains, size_t columns, size_t from, size_t to, const T *b, size_t b_step, size_t b_column, T *packed,
                 size_t apart)
{
    const size_t width = (columns + LANES - 1) / LANES * LANES;
    if (b_column == 1) {
        for (size_t c = 0; c < chains && from + c < to; c++) { /* and not step by step (1024 x 1024, 32 rows, AVX2: 2 to 6 % slower) */
            T *row = packed + c * apart + from / chains * width;
            const T *bk = b + (from + c) * b_step;
            if (columns == PANEL) {
                for (size_t k = from + c; k < to; k += chains, row += PANEL, bk += chains * b_step)
                    UNROLL_FOR (size_t v = 0; v < TILE_VECTORS; v++) v_store(row + v * LANES, v_load(bk + v * LANES));
                continue;
            }
            for (size_t k = from + c; k < to; k += chains, row += width, bk += chains * b_step)
                for (size_t j = 0; j < columns; j += LANES)
                    v_store(row + j, columns - j < LANES ? v_load_n(bk + j, columns - j) : v_load(bk + j));
        }
        return;
    }
    for (size_t j = 0; j < columns; j += LANES) {
        const size_t n = columns - j < LANES ? columns - j : LANES;
        const T *const bj = b + j * b_column;
        for (size_t k = from; k < to; k += LANES) {
            const size_t m = to - k < LANES ? to - k : LANES;
            V block[LANES];
            if (n == LANES && m == LANES) {
                UNROLL_FOR (size_t i = 0; i < LANES; i++) block[i] = v_load(bj + i * b_column + k);
            } else {
                for (size_t i = 0; i < LANES; i++) block[i] = i < n ? v_load_n(bj + i * b_column + k, m) : v_zero();
            }
            v_transpose(block);
            if (m == LANES) {
                UNROLL_FOR (size_t i = 0; i < LANES; i++)
                    v_store(packed + (k + i) % chains * apart + (k + i) / chains * width + j, block[i]);
            } else {
                for (size_t i = 0; i < m; i++) v_store(packed + (k + i) % chains * apart + (k + i) / chains * width + j, block[i]);
            }
        }
    }
}

/* Whether a B along its columns is far away, and rows of C are enough to pack it for */
INLINE int packs_far(size_t rows, size_t columns, size_t depth) { return rows >= 2 * TILE_ROWS && columns * depth * sizeof(T) >= FAR; }

/* Whether panels of such a B are packed several at once, and not by their first rows: where a panel is no whole
 * number of lines and is taken in parts (2048 x 2048, 32 rows, AVX2, none of it in blocks: float32 5450 us by first rows, 4531 us; float64 12978 us,
 * 10011 us) */
INLINE int packs_panels(size_t rows, size_t columns, size_t depth) { return TILE_DEPTH && packs_far(rows, columns, depth); }

/* How many: as many as FAR bytes hold */
static size_t panels_packed(size_t depth)
{
    const size_t fitting = FAR / (depth * PANEL * sizeof(T) + 1);
    return fitting < 1 ? 1 : fitting < PANELS_AT_ONCE ? fitting : PANELS_AT_ONCE;
}

/* Elements for panels of B, of a product of this depth or of less, of which more panels may fit */
static size_t panels_scratch(size_t rows, size_t columns, size_t depth)
{
    const size_t most = FAR / sizeof(T), wanted = PANELS_AT_ONCE * depth * PANEL, one = depth * PANEL;
    if (!packs_panels(rows, columns, depth) || one >= most) return one;
    return wanted < most ? wanted : most;
}

/* packed (columns / PANEL, depth, PANEL) = whole panels of a B along its columns */
static void pack_panels(size_t columns, size_t depth, const T *b, size_t b_step, T *packed)
{
    for (size_t k = 0; k < depth; k++, b += b_step, packed += PANEL) {
        for (size_t j = 0; j < columns; j += LINE_BYTES / sizeof(T)) PREFETCH(b + ROWS_AHEAD * b_step + j);
        for (size_t j = 0; j < columns; j += PANEL)
            UNROLL_FOR (size_t v = 0; v < TILE_VECTORS; v++) v_store(packed + j * depth + v * LANES, v_load(b + j + v * LANES));
    }
}

/* Whether rows of an A along its rows, whose steps are far apart, are packed: they share few sets of each cache, and would be fetched again for
 * each panel (1024 x 1024, 256 rows, AVX2: 9463 us, packed 6959 us) */
INLINE int packs_rows(size_t rows, size_t columns, size_t depth)
{
    return !MANY_REGISTERS && depth >= A_ROWS && columns >= 8 * PANEL && rows >= A_ROWS;
}

/* How many at a time; 0 where so few fit that it does not pay */
static size_t rows_packed(size_t rows, size_t columns, size_t depth)
{
    const size_t fitting = A_BYTES / (depth * sizeof(T) + 1) / A_ROWS * A_ROWS;
    if (!packs_rows(rows, columns, depth) || fitting < 2 * A_ROWS) return 0;
    return rows < fitting ? (rows + A_ROWS - 1) / A_ROWS * A_ROWS : fitting;
}

/* Elements for them, of a product of this depth or of less, of which more rows may fit */
static size_t rows_scratch(size_t rows, size_t columns, size_t depth)
{
    const size_t most = A_BYTES / sizeof(T), groups = (rows + A_ROWS - 1) / A_ROWS;
    if (!packs_rows(rows, columns, depth)) return 0;
    return groups >= most / A_ROWS / depth ? most : groups * A_ROWS * depth;
}

/* packed (rows / group, depth, group) = A along its rows, zeros beyond the last; whole lines are read at a time */
INLINE void pack_rows(const size_t group, size_t rows, size_t depth, const T *a, size_t a_step, T *packed)
{
    for (size_t i = 0; i < rows; i += A_ROWS)
        for (size_t k = 0; k < depth; k++)
            for (size_t r = i; r < i + A_ROWS && r < rows; r += group) {
                T *const to = packed + r * depth + k * group;
                const T *const from = a + k * a_step + r;
                if (rows - r < group)
                    for (size_t q = 0; q < group; q++) to[q] = r + q < rows ? from[q] : 0;
                else if (group % LANES) memcpy(to, from, group * sizeof(T));
                else
                    for (size_t q = 0; q < group; q += LANES) v_store(to + q, v_load(from + q));
            }
}

static size_t carried_scratch(size_t depth) { return TILE_DEPTH && depth > part_of(1) ? 4 * ROWS_CARRIED * PANEL : 0; }

/* Makes of a whole product its n columns of C from column j on; where they begin in B is the caller's to say. */
INLINE void take_panel(panel_work *p, size_t j, size_t n)
{
    p->n_last = (n - 1) % LANES + 1;
    p->c += j;
    if (p->start) p->start += j;
    if (p->before) p->before += j;
    if (p->factor) p->factor += j;
    if (p->sums) p->sums += j;
    if (p->sums_before) p->sums_before += j;
}

#if TILE_DEPTH
#include "blocks.h"

#include "few_rows.h"
#endif

/* Elements of scratch that product may use, also if it is smaller in any size; the caller has checked that they can be counted. */
static size_t product_scratch(size_t rows, size_t columns, size_t depth)
{
    const size_t panel = panels_scratch(rows, columns, depth) + carried_scratch(depth) + rows_scratch(rows, columns, depth);
    const size_t line = 4 * ((rows > columns ? rows : columns) + LANES); /* a part of a product may be a single line */
    size_t most = panel > line ? panel : line;
#if TILE_DEPTH
    const size_t blocks = blocks_scratch(rows, columns, depth);
    if (blocks > most) most = blocks;
    const size_t few = few_rows_scratch(rows, columns, depth);
    if (few > most) most = few;
#endif
    return most;
}

/* C (units * DOT_ROWS, 4) = start (4) + A B, rows of C beside each other in a vector; A lies along depth, B (depth, 4) and C row after row */
INLINE void narrow(const size_t units, const size_t chains, size_t depth, const T *a, size_t a_row, const T *b, const T *start,
                   const T *factor, T *c)
{
    V sum[4][4];
    UNROLL_FOR (size_t u = 0; u < units; u++)
        UNROLL_FOR (size_t i = 0; i < chains; i++) sum[i][u] = start && i == 0 ? v_repeat_4(start) : v_zero();
    for (size_t k = 0; k < depth; k += 4) {
        const size_t left = depth - k;
        V bk[4];
        UNROLL_FOR (size_t q = 0; q < 4; q++) bk[q] = q < left ? v_repeat_4(b + 4 * (k + q)) : v_zero();
        UNROLL_FOR (size_t u = 0; u < units; u++) {
            const T *const from = a + u * DOT_ROWS * a_row + k;
            T rest[4 * DOT_ROWS];
            V ak[4];
            if (left < 4)
                for (size_t i = 0; i < 4 * DOT_ROWS; i++) rest[i] = i % 4 < left ? from[i / 4 * a_row + i % 4] : 0;
            v_spread_4s(left < 4 ? v_load(rest) : v_load_4s(from, a_row), ak);
            UNROLL_FOR (size_t q = 0; q < 4; q++)
                if (q < left) sum[q % chains][u] = v_fma(ak[q], bk[q], sum[q % chains][u]);
        }
    }
    UNROLL_FOR (size_t u = 0; u < units; u++) {
        if (chains == 4) sum[0][u] = v_add(v_add(sum[0][u], sum[1][u]), v_add(sum[2][u], sum[3][u]));
        v_store(c + u * LANES, factor ? v_mul(v_load(factor + u * LANES), sum[0][u]) : sum[0][u]);
    }
}

/* As many rows as narrow does at a time; how many they were. scratch: 4 depth */
static size_t narrow_rows(size_t rows, size_t depth, const T *a, size_t a_row, const T *b, size_t b_step, size_t b_column, const T *start,
                          int chains, const T *factor, T *c, T *scratch)
{
    enum { UNITS = MANY_REGISTERS ? 4 : 2 };
    const size_t each = UNITS * DOT_ROWS;
    size_t i = 0;
    if (b_step != 4 || b_column != 1) {
        for (size_t k = 0; k < depth; k++)
            for (size_t j = 0; j < 4; j++) scratch[4 * k + j] = b[k * b_step + j * b_column];
        b = scratch;
    }
    for (; i + each <= rows; i += each) {
        const T *const factors = factor ? factor + 4 * i : NULL;
        if (chains == 4) narrow(UNITS, 4, depth, a + i * a_row, a_row, b, start, factors, c + 4 * i);
        else narrow(UNITS, 1, depth, a + i * a_row, a_row, b, start, factors, c + 4 * i);
    }
    return i;
}

/* Whether it was done row after row, or column after column, by what lines.h has */
static int product_by_lines(size_t rows, size_t columns, size_t depth, const T *a, size_t a_row, size_t a_step, const T *b, size_t b_step,
                            size_t b_column, const T *start, const T *before, int chains, const T *learning_rate, T *c, size_t ld_c,
                            T *scratch)
{
    if (chains == 4 && !learning_rate && a_step == 1 && b_step == 1) {
        /* Along depth both: below a few rows or columns, re-reading costs less than packing. */
        if (rows <= 3) {
            for (size_t i = 0; i < rows; i++) product_dot(columns, depth, a + i * a_row, b, b_column, start, 1, c + i * ld_c, 1);
            return 1;
        }
        if (columns <= 3) {
            for (size_t j = 0; j < columns; j++)
                product_dot(rows, depth, b + j * b_column, a, a_row, start ? start + j : NULL, 0, c + j, ld_c);
            return 1;
        }
    }
    if (depth == 1 && b_column == 1 && !start && !before) outer(rows, columns, a, a_row, b, learning_rate, c, ld_c);
    else if (rows == 1 && b_column == 1)
        product_line(columns, depth, a, a_step, b, b_step, before ? before : start, 1, chains, learning_rate, c, 0, scratch);
    else if (columns == 1 && a_row == 1 && ld_c == 1) /* the same with the operands' roles exchanged */
        product_line(rows, depth, b, b_step, a, a_step, before ? before : start, before != NULL, chains, learning_rate, c, 0, scratch);
    else return 0;
    return 1;
}

/* ---- dC/dB = dC/dY: sums down the columns, one chain over the rows in order, from the first row on ----------------------- */

INLINE void bias_columns(const size_t vectors, size_t n_last, size_t rows, const T *y_gradient, size_t ld, const T *before,
                         const T *learning_rate, T *c)
{
    V sum[8];
    const int whole = n_last == LANES;
    const size_t last = vectors - 1;
    const T *const first = before ? before : y_gradient, *row = y_gradient + (before ? 0 : ld);
    UNROLL_FOR (size_t v = 0; v < last; v++) sum[v] = v_load(first + v * LANES);
    sum[last] = whole ? v_load(first + last * LANES) : v_load_n(first + last * LANES, n_last);
    for (size_t i = before ? 0 : 1; i < rows; i++, row += ld) {
        UNROLL_FOR (size_t v = 0; v < last; v++) sum[v] = v_add(sum[v], v_load(row + v * LANES));
        sum[last] = v_add(sum[last], whole ? v_load(row + last * LANES) : v_load_n(row + last * LANES, n_last));
    }
    UNROLL_FOR (size_t v = 0; v < vectors; v++) finish(c + v * LANES, sum[v], v < last ? LANES : n_last, learning_rate);
}

/* C (columns) = before + sum over rows of dY (rows, columns), 0 where there are no rows */
static void bias_gradient(size_t rows, size_t columns, const void *y_gradient, size_t ld, const void *before_, const void *learning_rate,
                          void *c)
{
    static const T zeros[8 * LANES] = {0};
    const T *const dy = rows ? y_gradient : zeros, *const before = before_;
    T *const db = c;
    const size_t step = rows ? 1 : 0;
    size_t j = 0;
#define COLUMNS(VECTORS, LAST) \
    bias_columns(VECTORS, LAST, rows, dy + step * j, ld, before ? before + j : NULL, learning_rate, db + j)
    for (; columns - j > 8 * LANES; j += 8 * LANES) COLUMNS(8, LANES);
    for (; columns - j >= 2 * LANES; j += 2 * LANES) COLUMNS(2, LANES);
    for (; columns - j > LANES; j += LANES) COLUMNS(1, LANES);
    if (j < columns) COLUMNS(1, columns - j);
#undef COLUMNS
}

/* Whether the first rows of each panel pack it */
INLINE int packs_in_tile(size_t rows, size_t columns, size_t depth, size_t b_column)
{
    return !TILE_DEPTH && b_column == 1 && packs_far(rows, columns, depth);
}

/* All panels of a product, of which `whole` has what they share, and where the first one begins */
static void run_panels(size_t columns, size_t b_column, int a_along_rows, const panel_work *whole, T *scratch)
{
    const size_t rows = whole->rows, depth = whole->depth, b_step = whole->b_step;
    const int b_far = columns * depth * sizeof(T) >= FAR;
    const size_t at_once = packs_panels(rows, columns, depth) && b_column == 1 ? panels_packed(depth) * PANEL : 0;
    for (size_t j = 0; j < columns; j += PANEL) {
        const size_t n = columns - j < PANEL ? columns - j : PANEL, nv = (n + LANES - 1) / LANES;
        panel_work work = *whole;
        take_panel(&work, j, n);
        work.b += j * b_column;
        if (packs_in_tile(rows, columns, depth, b_column)) {
            work.packed = scratch;
        } else if (at_once && n == PANEL) {
            const size_t left = (columns - j) / PANEL * PANEL;
            if (j % at_once == 0) pack_panels(left < at_once ? left : at_once, depth, work.b, b_step, scratch);
            work.b = scratch + j % at_once * depth;
            work.b_step = PANEL;
        } else if (b_column != 1 || n % LANES || (rows >= 4 * TILE_ROWS && b_step * sizeof(T) >= B_FAR)) {
            pack(1, n, 0, depth, work.b, b_step, b_column, scratch, 0);
            work.b = scratch;
            work.b_step = nv * LANES;
        }
        if (b_far && !at_once && j + PANEL < columns && (work.packed || work.b == scratch)) {
            work.next = (const char *)(whole->b + (j + PANEL) * b_column);
            work.next_tiles = PANEL * sizeof(T) / LINE_BYTES;
            if (b_column == 1) { /* tile t fetches the t-th line of each row */
                work.next_tile = LINE_BYTES;
                work.next_chain = b_step * sizeof(T);
                work.next_step = work.next_chain * work.chains;
            } else { /* columns of B, which are rows in memory, one after the other */
                work.next_step = LINE_BYTES;
                work.next_chain = depth / work.chains * LINE_BYTES;
                work.next_tile = depth * LINE_BYTES;
            }
        }
        tile_columns(nv, a_along_rows, &work);
    }
}

/* ---- any product ---------------------------------------------------------------------------------------------------------- */

static void product(size_t rows, size_t columns, size_t depth, const void *a_, size_t a_row, size_t a_step, const void *b_, size_t b_step,
                    size_t b_column, const void *start_, const void *before_, int chains, const void *learning_rate_, const void *factor_,
                    void *c_, size_t ld_c, const void *column_sums_before, void *column_sums, void *scratch_)
{
    const T *const b = b_, *const start = start_, *const before = before_, *const learning_rate = learning_rate_;
    const T *a = a_, *factor = factor_;
    T *const scratch = scratch_;
    T *c = c_;
    /* A lies along its rows in a weight gradient, which has one chain; rows of x one number apart, as in a window that slides, lie both ways. */
    const int a_along_rows = a_step != 1 || before;
    const int sum_in_tile = MANY_REGISTERS && a_along_rows && rows >= SUM_ROWS && columns > 1 && depth > 1 &&
                            !packs_in_tile(rows, columns, depth, b_column);
    if (column_sums && !sum_in_tile) bias_gradient(depth, columns, b, b_step, column_sums_before, learning_rate, column_sums);
    if (product_by_lines(rows, columns, depth, a, a_row, a_step, b, b_step, b_column, start, before, chains, learning_rate, c, ld_c,
                         scratch)) {
        const size_t times = columns == ld_c ? 1 : rows, n = columns == ld_c ? rows * columns : columns;
        for (size_t i = 0; i < times && factor; i++) multiply(n, factor + i * ld_c, c + i * ld_c);
        return;
    }
    if (LANES >= 4 && columns == 4 && ld_c == 4 && a_step == 1 && !learning_rate &&
        !before) { /* 10,000 rows of 16, AVX-512: 48 us without it, 21 us */
        const size_t done = narrow_rows(rows, depth, a, a_row, b, b_step, b_column, start, chains, factor, c, scratch);
        rows -= done;
        a += done * a_row;
        c += 4 * done;
        if (factor) factor += 4 * done;
    }
    panel_work work = {.rows = rows,
                       .depth = depth,
                       .chains = (size_t)chains,
                       .a = a,
                       .a_stride = a_along_rows ? a_step : a_row,
                       .b = b,
                       .b_step = b_step,
                       .start = start,
                       .before = before,
                       .learning_rate = learning_rate,
                       .factor = factor,
                       .c = c,
                       .ld_c = ld_c,
                       .fetch_c = (learning_rate || TILE_DEPTH) && rows * columns * sizeof(T) > FAR,
                       .sums_before = sum_in_tile ? column_sums_before : NULL,
                       .sums = sum_in_tile ? column_sums : NULL,
                       .carried = carried_scratch(depth) ? scratch + panels_scratch(rows, columns, depth) : NULL};
#if TILE_DEPTH
    if (chains == 4 && !a_along_rows && !learning_rate && in_few_rows(rows, columns, depth, b_step)) {
        product_of_few_rows(columns, b_column, &work, scratch);
        return;
    }
    if (in_blocks(rows, columns, depth, b_column)) {
        product_in_blocks(columns, b_column, &work, scratch);
        return;
    }
#endif
    const size_t each = a_along_rows && a_step * sizeof(T) >= A_FAR ? rows_packed(rows, columns, depth) : 0;
    if (!each) {
        run_panels(columns, b_column, a_along_rows, &work, scratch);
        return;
    }
    T *const packed = scratch + panels_scratch(rows, columns, depth) + carried_scratch(depth);
    work.a = packed;
    work.a_stride = A_ROWS;
    work.a_group = depth * A_ROWS;
    for (size_t i = 0; i < rows; i += each) {
        work.rows = rows - i < each ? rows - i : each;
        work.before = before ? before + i * ld_c : NULL;
        work.factor = factor ? factor + i * ld_c : NULL;
        work.c = c + i * ld_c;
        pack_rows(A_ROWS, work.rows, depth, a + i, a_step, packed);
        run_panels(columns, b_column, a_along_rows, &work, scratch);
    }
}
