/* blocks.h: a large product, where 16 registers are all. A and B are packed in blocks, chain by chain, so that a tile reads both as they lie; and of B
 * the next block is packed a little with each tile of this one, so that FMAs hide the wait for it. (1024 x 1024, AVX2, against panels of all chains
 * and an A that is not packed: 256 rows, float32 6.52 ms, 6.02 ms, float64 14.6 ms, 12.4 ms.)
 *
 * C (rows, columns) in blocks: of rows, of columns, of depth, and in each of them chain by chain. Sums wait in memory for their other chains, and
 * for the next block of depth. */
#define rows_of_block F(rows_of_block)
#define blocks_scratch F(blocks_scratch)
#define in_blocks F(in_blocks)
#define chain_steps F(chain_steps)
#define steps_before F(steps_before)
#define pack_tiles F(pack_tiles)
#define pack_more F(pack_more)
#define pieces_ahead F(pieces_ahead)
#define b_pieces F(b_pieces)
#define next_block F(next_block)
#define tiles_of_chain F(tiles_of_chain)
#define product_in_blocks F(product_in_blocks)
#define BLOCK_ROWS F(BLOCK_ROWS)
#define BLOCK_BYTES F(BLOCK_BYTES)
#define LEAST_ROWS F(LEAST_ROWS)
#define DEEPEST F(DEEPEST)
#define BLOCK_PANELS F(BLOCK_PANELS)
#define ASK_EACH F(ASK_EACH)
#define CHAIN F(CHAIN)
#define TILE F(TILE)
#define IN_LINE F(IN_LINE)

enum {
    TILE = TILE_ROWS * PANEL,
    CHAIN = TILE_DEPTH * PANEL, /* of one chain of a panel, which stays in a level 1 cache while tiles below each other use it */
    BLOCK_ROWS = 256, /* of A at most, fewer where they would be more than */
    BLOCK_BYTES = 2 * 1024 * 1024,
    LEAST_ROWS = 64, /* for fewer, B would be packed again too often, so nothing deeper is taken in blocks than */
    DEEPEST = BLOCK_BYTES / sizeof(T) / LEAST_ROWS,
    BLOCK_PANELS = 2, /* of B, which are whole lines where it lies along its columns; else one, whose columns share sets of the caches */
    IN_LINE = LINE_BYTES / sizeof(T),
    ASK_EACH =
        16, /* steps, between which lines of the next block are asked of memory (1024 x 1024, 32 rows: all before the first, 12 % slower) */
};

_Static_assert(TILE_ROWS == 4 && LANES >= 4 && TILE_DEPTH / 4 * 3 % IN_LINE == 0,
               "what pack_tiles and the sizes of parts take for granted");

/* Steps that chain c takes */
INLINE size_t chain_steps(size_t depth, size_t chains, size_t c) { return (depth - c + chains - 1) / chains; }

/* and those of the chains before it */
INLINE size_t steps_before(size_t depth, size_t chains, size_t c)
{
    return c * (depth / chains) + (c < depth % chains ? c : depth % chains);
}

/* Rows of A in a block */
static size_t rows_of_block(size_t rows, size_t depth)
{
    const size_t fitting = BLOCK_BYTES / (depth * sizeof(T)) / LEAST_ROWS * LEAST_ROWS, most = fitting < BLOCK_ROWS ? fitting : BLOCK_ROWS;
    return rows < most ? (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS : most;
}

/* Whether a product pays for it that few_rows.h does not take, and LEAST_ROWS of its A are no more than a block. Where b_column is not 1, columns of B
 * are rows in memory, and must be transposed, in float64: few_rows.h takes almost all of float32's. (AVX2, against tiles alone, in blocks at the
 * first size and below it. 32 rows in float32: of 512 x 512 0.97, of 784 x 200, 612 KiB, 1.04; 48 rows of 784 x 256 0.95, 16 rows 1.00 to 1.08.
 * 256 rows: of 784 x 100 0.91, of 512 x 48 1.06, of 512 x 60, transposed, in float32, 1.09; of 224 x 224 in float64 0.98, of 192 x 192 1.06.) */
INLINE int in_blocks(size_t rows, size_t columns, size_t depth, size_t b_column)
{
    const int far = columns * depth * sizeof(T) >= 4 * FAR;
    const size_t least = b_column != 1 ? (IS_F64 ? (far ? 32 : 64) : SIZE_MAX) : columns * depth * sizeof(T) >= FAR / 4 * 3 ? 32 : 48;
    return rows >= least && columns > 2 * PANEL && rows * columns >= 4096 && depth > (IS_F64 && rows >= 128 ? 200 : TILE_DEPTH) &&
           depth <= DEEPEST;
}

/* Elements that a product of this size or of a smaller one may use */
static size_t blocks_scratch(size_t rows, size_t columns, size_t depth)
{
    const size_t all = (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS,
                 kept = (all < BLOCK_ROWS ? all : BLOCK_ROWS) * 4 * BLOCK_PANELS * PANEL;
    const size_t deepest = depth < DEEPEST ? depth : DEEPEST, most = BLOCK_BYTES / sizeof(T);
    if (!in_blocks(rows, columns, deepest, 1)) return 0;
    return 2 * BLOCK_PANELS * 4 * CHAIN + kept + (all <= most / deepest ? all * deepest : most);
}

/* packed [chain][tile][step][TILE_ROWS] = A along depth, four chains; rows beyond the last are as the last */
static void pack_tiles(size_t rows, size_t depth, const T *a, size_t a_row, T *packed)
{
    const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    T *to[4];
    for (size_t c = 0; c < 4; c++) to[c] = packed + tiles * TILE_ROWS * steps_before(depth, 4, c);
    for (size_t t = 0; t < tiles; t++) {
        const T *row[TILE_ROWS];
        for (size_t r = 0, i = t * TILE_ROWS; r < TILE_ROWS; r++, i++) row[r] = a + (i < rows ? i : rows - 1) * a_row;
        size_t k = 0;
        for (; k + LANES <= depth; k += LANES) {
            V block[4];
            UNROLL_FOR (size_t r = 0; r < 4; r++) block[r] = v_load(row[r] + k);
            v_transpose_4s(block);
            UNROLL_FOR (size_t c = 0; c < 4; c++) v_store(to[c] + k, block[c]);
        }
        for (; k < depth; k++)
            for (size_t r = 0; r < TILE_ROWS; r++) to[k % 4][k / 4 * TILE_ROWS + r] = row[r][k];
        for (size_t c = 0; c < 4; c++) to[c] += TILE_ROWS * chain_steps(depth, 4, c);
    }
}

/* A block of B, packed [panel][chain][step][width] little by little, while tiles of the block before it are computed */
typedef struct {
    size_t columns, depth, chains, b_step, b_column;
    const T *b;
    T *packed;
    size_t done, each; /* steps packed so far, and at a time */
} next_block;

/* Packs `each` steps more */
static NOINLINE void pack_more(next_block *g)
{
    const size_t from = g->done, to = g->depth - from < g->each ? g->depth : from + g->each;
    g->done = to;
    for (size_t j = 0; j < g->columns; j += PANEL) {
        const size_t n = g->columns - j < PANEL ? g->columns - j : PANEL;
        const T *const b = g->b + j * g->b_column;
        T *const packed = g->packed + j / PANEL * 4 * CHAIN;
        if (g->chains == 4) pack(4, n, from, to, b, g->b_step, g->b_column, packed, CHAIN);
        else pack(1, n, from, to, b, g->b_step, g->b_column, packed, CHAIN);
    }
}

/* What the next steps to be packed lie in: rows of B, or, where it lies along depth, columns, of which the first line was asked for before */
typedef struct {
    size_t count, apart, bytes;
    const char *first;
} b_pieces;

INLINE b_pieces pieces_ahead(const next_block *g)
{
    const size_t left = g->depth - g->done, steps = left < g->each ? left : g->each;
    const char *const b = (const char *)(g->b + g->done * g->b_step);
    if (g->b_column == 1) return (b_pieces){steps, g->b_step * sizeof(T), g->columns * sizeof(T), b};
    return (b_pieces){steps ? g->columns : 0, g->b_column * sizeof(T), steps * sizeof(T), b};
}

/* One chain of the tiles below each other of a panel, of rows from row i; its last steps, if `last`, end them */
INLINE void tiles_of_chain(const size_t nv, size_t chain, size_t steps, size_t i, size_t rows, const T *a, const T *b, int first, int last,
                           T *kept, const panel_work *p, next_block *next)
{
    const size_t ld_c = p->ld_c, chains = p->chains;
    for (const size_t end = i + rows; i < end; i += TILE_ROWS, a += steps * TILE_ROWS, kept += 4 * TILE) {
        const size_t mr = end - i < TILE_ROWS ? end - i : TILE_ROWS;
        V sum[TILE_ROWS][TILE_VECTORS];
        T *const own = kept + chain * TILE;
        if (first) tile_begin(TILE_ROWS, nv, mr, chain == 0 ? p->start : NULL, p->before, p, i, sum);
        else
            UNROLL_FOR (size_t r = 0; r < TILE_ROWS; r++)
                UNROLL_FOR (size_t v = 0; v < nv; v++) sum[r][v] = v_load(own + (r * nv + v) * LANES);
        if (last && chain + 1 == chains && p->fetch_c)
            UNROLL_FOR (size_t r = 0; r < TILE_ROWS; r++)
                UNROLL_FOR (size_t v = 0; v < nv; v++) PREFETCH(p->c + (r < mr ? i + r : i) * ld_c + v * LANES);
        if (next->done < next->depth) pack_more(next);
        b_pieces ask = pieces_ahead(next);
        const size_t at_once = ask.count ? ASK_EACH : steps, each = ask.count * ASK_EACH / (steps + 1) + 1;
        const int across = next->b_column == 1;
        for (size_t k = 0; k < steps; k += at_once) {
            for (size_t n = ask.count < each ? ask.count : each; n; n--, ask.count--, ask.first += ask.apart) {
                const char *line = across ? ask.first - (uintptr_t)ask.first % LINE_BYTES : ask.first + LINE_BYTES - 1;
                for (; line < ask.first + ask.bytes; line += LINE_BYTES) PREFETCH(line);
            }
            const size_t end_k = steps - k < at_once ? steps : k + at_once;
            BY_FOUR_FOR (size_t step = k; step < end_k; step++) {
                V bk[TILE_VECTORS];
                UNROLL_FOR (size_t v = 0; v < nv; v++) bk[v] = v_load(b + (step * nv + v) * LANES);
                tile_step(TILE_ROWS, nv, 1, a, TILE_ROWS, NULL, step, bk, sum);
            }
        }
        if (chain + 1 < chains || !last) {
            UNROLL_FOR (size_t r = 0; r < TILE_ROWS; r++)
                UNROLL_FOR (size_t v = 0; v < nv; v++) v_store(own + (r * nv + v) * LANES, sum[r][v]);
            continue;
        }
        if (chains == 4)
            UNROLL_FOR (size_t r = 0; r < TILE_ROWS; r++)
                UNROLL_FOR (size_t v = 0; v < nv; v++) {
                    const T *const at = kept + (r * nv + v) * LANES;
                    sum[r][v] = v_add(v_add(v_load(at), v_load(at + TILE)), v_add(v_load(at + 2 * TILE), sum[r][v]));
                }
        if (mr == TILE_ROWS) tile_end(TILE_ROWS, nv, sum, p, i);
        else
            UNROLL_FOR (size_t r = 0; r < TILE_ROWS - 1; r++)
                if (r < mr) tile_end(1, nv, sum + r, p, i + r);
    }
}

/* A product of the sizes of `whole` */
static void product_in_blocks(size_t columns, size_t b_column, const panel_work *whole, T *scratch)
{
    const size_t depth = whole->depth, a_stride = whole->a_stride, b_step = whole->b_step, chains = whole->chains;
    const int a_along_rows = chains == 1; /* a weight gradient, also if its A, a window that slides, lies both ways */
    const size_t deepest = chains * part_of(a_along_rows), parts = (depth + deepest - 1) / deepest;
    const size_t depth_each = ((depth + parts - 1) / parts + IN_LINE - 1) / IN_LINE * IN_LINE,
                 rows_each = rows_of_block(whole->rows, depth), columns_each = b_column == 1 ? BLOCK_PANELS * PANEL : PANEL;
    T *b = scratch, *const kept = b + 2 * BLOCK_PANELS * 4 * CHAIN, *const a = kept + rows_each * 4 * BLOCK_PANELS * PANEL;
    next_block next = {.chains = chains, .b_step = b_step, .b_column = b_column, .packed = b + BLOCK_PANELS * 4 * CHAIN};
    for (size_t i = 0; i < whole->rows; i += rows_each) {
        const size_t rows = whole->rows - i < rows_each ? whole->rows - i : rows_each, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
        for (size_t k = 0; k < depth; k += depth_each) {
            const size_t steps = depth - k < depth_each ? depth - k : depth_each;
            T *const to = a + k * tiles * TILE_ROWS;
            if (a_along_rows) pack_rows(TILE_ROWS, rows, steps, whole->a + k * a_stride + i, a_stride, to);
            else pack_tiles(rows, steps, whole->a + i * a_stride + k, a_stride, to);
        }
        next.columns = columns < columns_each ? columns : columns_each;
        next.depth = next.each = depth < depth_each ? depth : depth_each;
        next.b = whole->b;
        next.done = 0;
        for (size_t j = 0; j < columns; j += columns_each)
            for (size_t k = 0; k < depth; k += depth_each) {
                while (next.done < next.depth) pack_more(&next);
                const size_t n = next.columns, steps = next.depth;
                T *const packed = next.packed;
                next.packed = b;
                b = packed;
                const size_t next_k = k + depth_each < depth ? k + depth_each : 0, next_j = next_k ? j : j + columns_each;
                if (next_j < columns) {
                    const size_t turns = tiles * chains * ((n + PANEL - 1) / PANEL);
                    next.columns = columns - next_j < columns_each ? columns - next_j : columns_each;
                    next.depth = depth - next_k < depth_each ? depth - next_k : depth_each;
                    next.each = ((next.depth + turns - 1) / turns + IN_LINE - 1) / IN_LINE * IN_LINE;
                    next.b = whole->b + next_j * b_column + next_k * b_step;
                    next.done = 0;
                }
                for (size_t chain = 0; chain < chains; chain++)
                    for (size_t q = 0; q < n; q += PANEL) {
                        const size_t m = n - q < PANEL ? n - q : PANEL, nv = (m + LANES - 1) / LANES;
                        panel_work work = *whole;
                        take_panel(&work, j + q, m);
#define TILES_OF(VECTORS)                                                                                                              \
    tiles_of_chain(VECTORS, chain, chain_steps(steps, chains, chain), i, rows, a + tiles * TILE_ROWS * (k + steps_before(steps, chains, chain)), \
                   b + (q / PANEL * 4 + chain) * CHAIN, k == 0, k + depth_each >= depth, kept + q * rows_each * 4, &work, &next)
                        if (nv == 1) TILES_OF(1);
                        else if (nv == 2) TILES_OF(2);
                        else TILES_OF(3);
#undef TILES_OF
                    }
            }
    }
}
