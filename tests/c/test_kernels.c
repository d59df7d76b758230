/* Every kernel on every instruction set at the edges of vectors and tiles, on arrays with nothing behind or before them: right, the same
 * bits as portable gives, and not a byte read or written outside. The sanitizers that this is run under see no masked load or store;
 * the pages around the arrays do. */
#include <math.h>

#include "kernels.h"
#include "pynn.h"

#include "memory.h"

static const size_t ROWS[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 17, 33};
static const size_t DEPTHS[] = {0, 1, 3, 4, 5, 31, 32, 33, 35, 63};
static const size_t COLUMNS[] = {0, 1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 24, 25, 33, 49, 65};
static const size_t LENGTHS[] = {0,  1,  2,  3,  4,  5,  7,  8,  9,  15,  16,  17,  31,   32,   33,
                                 47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 128, 129, 1000, 16500};

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* Arguments of the program: a number of multiply-adds, above which large products and predictions are left out, for emulators; float32 or
 * float64, to test one alone, so that two processors share the time. */
static size_t most_work = SIZE_MAX;
static int first_dtype = PYNN_F32, last_dtype = PYNN_F64;

static const char *doing = "nothing yet";

static void check(int good, const char *what, size_t a, size_t b, size_t c)
{
    if (good) return;
    fprintf(stderr, "FAILED: %s: %s (%zu, %zu, %zu) on %s\n", doing, what, a, b, c, pynn_instruction_set());
    exit(1);
}

/* The result of a kernel on this instruction set is bit for bit that of portable, which is asked first */
typedef struct {
    void *memory;
    size_t used, room;
    int comparing;
} results;

static void same_as_portable(results *r, const void *array, size_t bytes)
{
    if (!r->comparing && r->used + bytes > r->room) {
        r->room = 2 * (r->used + bytes);
        r->memory = realloc(r->memory, r->room);
        if (!r->memory) fail("no memory");
    }
    char *const at = r->memory ? (char *)r->memory + r->used : NULL;
    if (bytes && !r->comparing) memcpy(at, array, bytes);
    else if (bytes) check(!memcmp(at, array, bytes), "other bits than portable", bytes, r->used, 0);
    r->used += bytes;
}

static double tolerance(int dtype, size_t terms)
{
    return ((double)terms + 4) * (dtype == PYNN_F32 ? 0x1p-23 : 0x1p-52) * ((double)terms + 1);
}

/* ---- products ---------------------------------------------------------------------------------------------------------- */

/* A matrix of `lines` lines of `length`, `ld` apart: the last line is not padded. */
static size_t matrix_bytes(int dtype, size_t lines, size_t length, size_t ld)
{
    return lines ? ((lines - 1) * ld + length) * size_of(dtype) : 0;
}

static void *matrix(int dtype, size_t slot, size_t lines, size_t length, size_t ld, int at_end)
{
    void *const m = place(slot, matrix_bytes(dtype, lines, length, ld), at_end);
    for (size_t i = 0; i < lines; i++)
        for (size_t j = 0; j < ld && i * ld + j < (lines - 1) * ld + length; j++)
            set(dtype, m, i * ld + j, j < length ? number() : (double)NAN);
    return m;
}

static void products(int dtype, int order, size_t rows, size_t in, size_t out, size_t padding, int at_end, results *r)
{
    const size_t size = size_of(dtype), lines = order == PYNN_OUT_MAJOR ? out : in, length = order == PYNN_OUT_MAJOR ? in : out;
    const size_t ld_w = length + padding, ld_x = in + padding, ld_y = out + padding;
    void *const w = matrix(dtype, 0, lines, length, ld_w, at_end), *const x = matrix(dtype, 1, rows, in, ld_x, at_end);
    void *const b = matrix(dtype, 2, 1, out, out, at_end), *const dy = matrix(dtype, 3, rows, out, ld_y, at_end);
    const size_t y_bytes = rows * out * size, dx_bytes = rows * in * size, dw_bytes = in * out * size, db_bytes = out * size;
    void *const y = place(4, y_bytes, at_end), *const dx = place(5, dx_bytes, at_end);
    void *const dw = place(6, dw_bytes, at_end), *const db = place(7, db_bytes, at_end);
    const size_t w_out = order == PYNN_OUT_MAJOR ? ld_w : 1, w_in = order == PYNN_OUT_MAJOR ? 1 : ld_w;

    doing = "affine";
    check(pynn_affine(dtype, rows, in, out, w, ld_w, order, x, ld_x, b, y, out) == PYNN_OK, "status", rows, in, out);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < out; j++) {
            double sum = get(dtype, b, j);
            for (size_t k = 0; k < in; k++) sum += get(dtype, x, i * ld_x + k) * get(dtype, w, j * w_out + k * w_in);
            check(fabs(sum - get(dtype, y, i * out + j)) <= tolerance(dtype, in), "wrong", rows, in, out);
        }
    check(untouched_beside(y, y_bytes, at_end), "wrote beside its output", rows, in, out);
    same_as_portable(r, y, y_bytes);
    check(pynn_affine(dtype, rows, in, out, w, ld_w, order, x, ld_x, NULL, y, out) == PYNN_OK, "status", rows, in, out);
    same_as_portable(r, y, y_bytes);

    doing = "input_gradient";
    check(pynn_input_gradient(dtype, rows, in, out, w, ld_w, order, dy, ld_y, dx, in) == PYNN_OK, "status", rows, in, out);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < in; k++) {
            double sum = 0;
            for (size_t j = 0; j < out; j++) sum += get(dtype, dy, i * ld_y + j) * get(dtype, w, j * w_out + k * w_in);
            check(fabs(sum - get(dtype, dx, i * in + k)) <= tolerance(dtype, out), "wrong", rows, in, out);
        }
    check(untouched_beside(dx, dx_bytes, at_end), "wrote beside its output", rows, in, out);
    same_as_portable(r, dx, dx_bytes);

    doing = "weight_gradient";
    check(pynn_weight_gradient(dtype, rows, in, out, dy, ld_y, x, ld_x, dw, length, order) == PYNN_OK, "status", rows, in, out);
    for (size_t j = 0; j < out; j++)
        for (size_t k = 0; k < in; k++) {
            double sum = 0;
            for (size_t i = 0; i < rows; i++) sum += get(dtype, dy, i * ld_y + j) * get(dtype, x, i * ld_x + k);
            check(fabs(sum - get(dtype, dw, order == PYNN_OUT_MAJOR ? j * in + k : k * out + j)) <= tolerance(dtype, rows), "wrong", rows,
                  in, out);
        }
    check(untouched_beside(dw, dw_bytes, at_end), "wrote beside its output", rows, in, out);
    same_as_portable(r, dw, dw_bytes);

    doing = "bias_gradient";
    check(pynn_bias_gradient(dtype, rows, out, dy, ld_y, db) == PYNN_OK, "status", rows, in, out);
    for (size_t j = 0; j < out; j++) {
        double sum = 0;
        for (size_t i = 0; i < rows; i++) sum += get(dtype, dy, i * ld_y + j);
        check(fabs(sum - get(dtype, db, j)) <= tolerance(dtype, rows), "wrong", rows, in, out);
    }
    check(untouched_beside(db, db_bytes, at_end), "wrote beside its output", rows, in, out);
    same_as_portable(r, db, db_bytes);
}

static void all_products(int dtype, results *r)
{
    size_t turn = 0;
    for (size_t i = 0; i < COUNT(ROWS); i++)
        for (size_t k = 0; k < COUNT(DEPTHS); k++)
            for (size_t j = 0; j < COUNT(COLUMNS); j++, turn++) {
                products(dtype, turn % 2 ? PYNN_OUT_MAJOR : PYNN_IN_MAJOR, ROWS[i], DEPTHS[k], COLUMNS[j], turn / 2 % 3, turn / 3 % 2, r);
                products(dtype, turn % 2 ? PYNN_IN_MAJOR : PYNN_OUT_MAJOR, ROWS[i], COLUMNS[j], DEPTHS[k], turn / 3 % 3, turn / 5 % 2, r);
            }
    /* Where operands are streamed or packed, and where work is shared out among threads: whole, by rows, by columns, a single row left over. */
    static const size_t large[][3] = {{1, 600, 520},  {1, 33, 4500}, {1, 4500, 33},  {2, 40, 2000},  {3, 2000, 40},
                                      {40, 130, 120}, {70, 64, 65},  {130, 70, 30},  {257, 33, 40},  {65, 32, 4200},
                                      {577, 32, 300}, {400, 2, 3},   {1000, 40, 1},  {9, 300, 900},  {71, 301, 63},
                                      {130, 63, 303}, {300, 70, 60}, {66, 1027, 65}, {20, 516, 1030}};
    for (size_t i = 0; i < COUNT(large); i++)
        for (int order = 0; order < 2 && large[i][0] * large[i][1] * large[i][2] <= most_work; order++)
            products(dtype, order, large[i][0], large[i][1], large[i][2], i % 2, (int)i % 2, r);
}

/* A workspace is counted for the largest batch, and smaller ones and their shares use it too. */
static void scratch_is_enough_for_less(int dtype)
{
    static const size_t sizes[] = {1, 40, 200, 257, 520, 2000, 60000}, depths[] = {1, 30, 201, 257, 300, 1000, 4097, 8193, 60000};
    size_t bytes, less;
    doing = "product_scratch";
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t j = 0; j < COUNT(sizes); j++)
            for (size_t k = 0; k < COUNT(depths); k++) {
                check(pynn_product_scratch(dtype, sizes[i], sizes[j], depths[k], &bytes) == PYNN_OK, "status", sizes[i], sizes[j],
                      depths[k]);
                for (size_t q = 0; q < 3; q++) {
                    if ((q == 0 ? i : q == 1 ? j : k) == 0) continue;
                    pynn_product_scratch(dtype, sizes[i - (q == 0)], sizes[j - (q == 1)], depths[k - (q == 2)], &less);
                    check(bytes >= less, "less needs more scratch", sizes[i], sizes[j], depths[k]);
                }
            }
    for (size_t i = 0; i < 2; i++)
        for (size_t depth = 1, before = 0; depth < 9000; depth++, before = bytes) {
            pynn_product_scratch(dtype, i ? 40 : 520, i ? 2000 : 200, depth, &bytes);
            check(bytes >= before, "less depth needs more scratch", i, 0, depth);
        }
}

/* ---- elementwise --------------------------------------------------------------------------------------------------------- */

static void elementwise(int dtype, size_t n, int at_end, results *r)
{
    const size_t bytes = n * size_of(dtype);
    void *const x = place(0, bytes, at_end), *const dy = place(1, bytes, at_end), *const y = place(2, bytes, at_end);
    fill(dtype, x, n);
    fill(dtype, dy, n);
    for (size_t i = 0; i < n; i++) set(dtype, x, i, 6 * get(dtype, x, i));
    for (size_t a = 0; a < pynn_activation_count(); a++) {
        doing = pynn_activation_name(a);
        check(pynn_activation(dtype, (int)a, 0.3, n, x, y) == PYNN_OK, "status", n, 0, 0);
        for (size_t i = 0; i < n; i++) check(isfinite(get(dtype, y, i)), "not finite", n, i, 0);
        check(untouched_beside(y, bytes, at_end), "wrote beside its output", n, 0, 0);
        same_as_portable(r, y, bytes);
        check(pynn_activation_gradient(dtype, (int)a, 0.3, n, x, dy, y) == PYNN_OK, "status", n, 0, 0);
        same_as_portable(r, y, bytes);
        memcpy(y, x, bytes);
        check(pynn_activation(dtype, (int)a, 0.3, n, y, y) == PYNN_OK, "status", n, 0, 0); /* in place */
        same_as_portable(r, y, bytes);
    }
    for (int c = 0; c < (int)pynn_cost_count(); c++) {
        const pynn_objective objective = {.cost = c, .parameter = 0.3};
        void *const weights = matrix(dtype, 5, 1, n, n, at_end);
        doing = "cost";
        for (size_t columns = 1; columns < 4; columns += 2) {
            const size_t rows = n / columns;
            for (int weighted = 0; weighted < 2; weighted++) {
                const double cost = pynn_cost(dtype, &objective, rows, columns, x, dy, weighted ? weights : NULL);
                check(isfinite(cost) && (rows || cost == 0), "wrong", n, 0, 0);
                same_as_portable(r, &cost, sizeof cost);
                place(2, bytes, at_end);
                check(pynn_cost_gradient(dtype, &objective, rows, columns, x, dy, weighted ? weights : NULL, y) == PYNN_OK, "status", n, 0,
                      0);
                check(untouched_beside(y, bytes, at_end), "wrote beside its output", n, 0, 0);
                same_as_portable(r, y, rows * columns * size_of(dtype));
            }
        }
    }
    doing = "mse";
    double sum = 0;
    const pynn_objective mse = {.cost = 0};
    for (size_t i = 0; i < n; i++) sum += (get(dtype, x, i) - get(dtype, dy, i)) * (get(dtype, x, i) - get(dtype, dy, i));
    const double cost = pynn_cost(dtype, &mse, n, 1, x, dy, NULL);
    check(n ? fabs(cost - sum / (double)n) <= 1e-12 * cost : cost == 0, "wrong", n, 0, 0);
    for (int kind = 0; kind < (int)pynn_optimizer_count(); kind++)
        for (int extra = 0; extra < 2; extra++) {
            void *const theta = matrix(dtype, 2, 1, n, n, at_end), *const states[2] = {place(3, bytes, at_end), place(4, bytes, at_end)};
            const pynn_run runs[] = {{0, n / 2, 0.01, 0.02, 0.03}, {n / 2, n, 0, 0, 0}};
            pynn_optimizer optimizer = {.kind = kind,
                                        .hyperparameters = {0.5, 0.9, 1e-3, 0.99},
                                        .running = {1, 1, 1},
                                        .clip_value = extra ? 0.5 : INFINITY,
                                        .clip_norm = extra ? 0.7 : INFINITY,
                                        .state = {states[0], pynn_optimizer_states((size_t)kind) > 1 ? states[1] : NULL},
                                        .runs = extra ? 2 : 0,
                                        .run = runs};
            doing = pynn_optimizer_name((size_t)kind);
            memset(states[0], 0, bytes);
            memset(states[1], 0, bytes);
            for (int times = 0; times < 3; times++) {
                check(pynn_optimize(dtype, &optimizer, n, theta, dy, 0.1) == PYNN_OK, "status", n, 0, 0);
                for (size_t i = 0; i < n; i++) check(isfinite(get(dtype, theta, i)), "not finite", n, i, 0);
                same_as_portable(r, theta, bytes);
            }
            check(untouched_beside(theta, bytes, at_end) && untouched_beside(states[0], bytes, at_end) &&
                      untouched_beside(states[1], bytes, at_end),
                  "wrote beside its output", n, 0, 0);
        }
    place(2, bytes, at_end);
    memcpy(y, x, bytes);
    doing = "gradient_descent";
    check(pynn_gradient_descent(dtype, n, y, dy, 0.1) == PYNN_OK, "status", n, 0, 0);
    check(untouched_beside(y, bytes, at_end), "wrote beside its output", n, 0, 0);
    same_as_portable(r, y, bytes);
}

/* ---- rows ----------------------------------------------------------------------------------------------------------------- */

static void row_kernels(int dtype, size_t rows, size_t columns, size_t padding, int at_end, results *r)
{
    const size_t size = size_of(dtype), ld = columns + padding, bytes = rows * columns * size, statistics_bytes = 2 * rows * size;
    void *const x = matrix(dtype, 0, rows, columns, ld, at_end), *const g = matrix(dtype, 1, rows, columns, ld, at_end);
    void *const scale = matrix(dtype, 2, 1, columns, columns, at_end), *const bias = matrix(dtype, 3, 1, columns, columns, at_end);
    void *const y = place(4, bytes, at_end), *const dx = place(5, bytes, at_end), *const c = place(6, columns * size, at_end);
    void *const statistics = place(7, statistics_bytes, at_end);
    const double close = dtype == PYNN_F32 ? 1e-5 : 1e-13;

    for (int log = 0; log < 2; log++) {
        doing = log ? "log_softmax" : "softmax";
        check(pynn_softmax(dtype, log, rows, columns, x, ld, y, columns) == PYNN_OK, "status", rows, columns, ld);
        for (size_t i = 0; i < rows; i++) {
            double sum = 0;
            for (size_t j = 0; j < columns; j++) sum += log ? exp(get(dtype, y, i * columns + j)) : get(dtype, y, i * columns + j);
            check(!columns || fabs(sum - 1) <= 10 * close, "wrong", rows, columns, ld);
        }
        check(untouched_beside(y, bytes, at_end), "wrote beside its output", rows, columns, ld);
        same_as_portable(r, y, bytes);
        doing = log ? "log_softmax_gradient" : "softmax_gradient";
        check(pynn_softmax_gradient(dtype, log, rows, columns, y, columns, g, ld, dx, columns) == PYNN_OK, "status", rows, columns, ld);
        for (size_t i = 0; i < rows; i++) {
            double sum = 0; /* what a row of logits has in common changes nothing */
            for (size_t j = 0; j < columns; j++) sum += get(dtype, dx, i * columns + j);
            check(fabs(sum) <= close * (double)(columns + 1), "wrong", rows, columns, ld);
        }
        check(untouched_beside(dx, bytes, at_end), "wrote beside its output", rows, columns, ld);
        same_as_portable(r, dx, bytes);
        check(pynn_softmax_gradient(dtype, log, rows, columns, y, columns, g, ld, y, columns) == PYNN_OK, "status", rows, columns, ld);
        check(!bytes || !memcmp(y, dx, bytes), "other bits in place", rows, columns, ld);
    }

    for (int with = 0; with < 4; with++) {
        void *const s = with & 1 ? scale : NULL, *const b = with & 2 ? bias : NULL;
        doing = "layer_norm";
        check(pynn_layer_norm(dtype, rows, columns, 0.01, x, ld, s, b, y, columns, NULL) == PYNN_OK, "status", rows, columns, ld);
        check(untouched_beside(y, bytes, at_end), "wrote beside its output", rows, columns, ld);
        same_as_portable(r, y, bytes);
        check(pynn_layer_norm(dtype, rows, columns, 0.01, x, ld, s, b, y, columns, statistics) == PYNN_OK, "status", rows, columns, ld);
        check(untouched_beside(statistics, statistics_bytes, at_end), "wrote beside its statistics", rows, columns, ld);
        if (columns) same_as_portable(r, statistics, statistics_bytes);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < columns; j++) {
                const double h = (get(dtype, x, i * ld + j) - get(dtype, statistics, 2 * i)) * get(dtype, statistics, 2 * i + 1);
                const double exact = h * (s ? get(dtype, s, j) : 1) + (b ? get(dtype, b, j) : 0);
                check(fabs(get(dtype, y, i * columns + j) - exact) <= 10 * close, "wrong", rows, columns, ld);
            }
        doing = "layer_norm_gradient";
        check(pynn_layer_norm_gradient(dtype, rows, columns, x, ld, statistics, s, g, ld, dx, columns) == PYNN_OK, "status", rows, columns,
              ld);
        check(untouched_beside(dx, bytes, at_end), "wrote beside its output", rows, columns, ld);
        same_as_portable(r, dx, bytes);
    }
    doing = "layer_norm_scale_gradient";
    check(pynn_layer_norm_scale_gradient(dtype, rows, columns, x, ld, statistics, g, ld, c) == PYNN_OK, "status", rows, columns, ld);
    check(untouched_beside(c, columns * size, at_end), "wrote beside its output", rows, columns, ld);
    same_as_portable(r, c, columns * size);

    doing = "standardize";
    for (size_t j = 0; j < columns; j++) set(dtype, scale, j, 1 + fabs(get(dtype, scale, j)));
    for (int with = 0; with < 2; with++) {
        check(pynn_standardize(dtype, rows, columns, x, ld, with ? bias : NULL, scale, y, columns) == PYNN_OK, "status", rows, columns, ld);
        check(untouched_beside(y, bytes, at_end), "wrote beside its output", rows, columns, ld);
        same_as_portable(r, y, bytes);
    }

    doing = "dropout"; /* of what standardize gave; in one piece and in two */
    const size_t n = rows * columns, part = n / 3;
    check(pynn_dropout(dtype, 0.4, 5, 6, 7, n, y, dx) == PYNN_OK, "status", rows, columns, n);
    check(untouched_beside(dx, bytes, at_end), "wrote beside its output", rows, columns, n);
    same_as_portable(r, dx, bytes);
    check(pynn_dropout(dtype, 0.4, 5, 6, 7 + part, n - part, (char *)y + part * size, (char *)y + part * size) == PYNN_OK, "status", rows,
          columns, n);
    check(pynn_dropout(dtype, 0.4, 5, 6, 7, part, y, y) == PYNN_OK, "status", rows, columns, n);
    check(!bytes || !memcmp(y, dx, bytes), "other bits in parts", rows, columns, n);
}

static void all_rows(int dtype, results *r)
{
    size_t turn = 0;
    for (size_t i = 0; i < COUNT(ROWS); i++)
        for (size_t j = 0; j < COUNT(COLUMNS); j++, turn++) row_kernels(dtype, ROWS[i], COLUMNS[j], turn % 3, (int)(turn / 2 % 2), r);
    row_kernels(dtype, 300, 130, 1, 0, r); /* enough to be shared out among threads */
    row_kernels(dtype, 7, 6000, 0, 1, r);
}

/* ---- networks -------------------------------------------------------------------------------------------------------------- */

static void network(int dtype, const size_t *widths, size_t dense, int kind, size_t rows, size_t batch, int at_end, results *r)
{
    const size_t size = size_of(dtype), in = widths[0], out = widths[dense];
    pynn_layer layers[16];
    size_t count = 0, parameters = 0;
    for (size_t i = 0; i < dense; i++) {
        pynn_layer *const layer = layers + count++;
        *layer =
            (pynn_layer){.kind = PYNN_DENSE, .order = pynn_weight_order(widths[i], widths[i + 1]), .in = widths[i], .out = widths[i + 1]};
        layer->weight = parameters;
        parameters += widths[i] * widths[i + 1];
        layer->bias = i % 2 ? SIZE_MAX : parameters;
        if (i % 2 == 0) parameters += widths[i + 1];
        if (i + 1 < dense || kind % 2) layers[count++] = (pynn_layer){.kind = kind, .in = widths[i + 1], .out = widths[i + 1]};
    }
    if (rows * parameters > most_work) return;
    const size_t ld_x = in + 2, y_bytes = rows * out * size, w_bytes = parameters * size;
    void *const w = place(0, w_bytes, at_end), *const y = place(2, y_bytes, at_end), *const gradients = place(3, w_bytes, at_end);
    fill(dtype, w, parameters);
    for (size_t i = 0; i < parameters; i++) set(dtype, w, i, get(dtype, w, i) / 4); /* so that nothing grows beyond all bounds */
    void *const x = matrix(dtype, 1, rows, in, ld_x, at_end), *const target = matrix(dtype, 4, rows, out, out, at_end);
    const size_t batches = batch ? (rows + batch - 1) / batch : rows > 0;
    double *const costs = place(5, batches * sizeof *costs, at_end);
    int64_t *const order = place(6, rows * sizeof *order, at_end);
    for (size_t i = 0; i < rows; i++) order[i] = (int64_t)((i * 7 + 3) % rows); /* rows is no multiple of 7 here */

    doing = "network";
    pynn_network *net = NULL;
    check(pynn_network_new(dtype, count, layers, w, &net) == PYNN_OK, "status", rows, in, out);
    check(pynn_network_in(net) == in && pynn_network_out(net) == out && pynn_network_dtype(net) == dtype, "sizes", rows, in, out);
    doing = "predict";
    check(pynn_network_predict(net, rows, x, ld_x, y) == PYNN_OK, "status", rows, in, out);
    check(untouched_beside(y, y_bytes, at_end), "wrote beside its output", rows, in, out);
    same_as_portable(r, y, y_bytes);
    for (size_t i = 0; i < rows; i++) {
        void *const alone = place(7, out * size, at_end);
        check(pynn_network_predict(net, 1, (char *)x + i * ld_x * size, ld_x, alone) == PYNN_OK, "status", rows, in, out);
        check(!memcmp(alone, (char *)y + i * out * size, out * size), "a row alone has other bits", rows, in, out);
        check(untouched_beside(alone, out * size, at_end), "wrote beside its output", rows, in, out);
    }
    void *const states[2] = {place(8, w_bytes, at_end), place(9, w_bytes, at_end)}, *const weights =
                                                                                        matrix(dtype, 10, 1, rows, rows, at_end);
    for (size_t i = 0; i < rows; i++) set(dtype, weights, i, 0.5 + fabs(get(dtype, weights, i)));
    for (int epoch = 0; epoch < 8; epoch++) {
        doing = "train";
        void *const kept = epoch % 2 ? gradients : NULL;
        pynn_optimizer optimizer = {.kind = epoch < 4 ? 0 : epoch - 3,
                                    .hyperparameters = {epoch < 4 ? 0 : 0.5, 0.9, 0.1, 0.9},
                                    .running = {1, 1, 1},
                                    .clip_value = INFINITY,
                                    .clip_norm = INFINITY,
                                    .state = {epoch < 4 ? NULL : states[0], epoch < 4 ? NULL : states[1]}};
        memset(states[0], 0, w_bytes);
        memset(states[1], 0, w_bytes);
        const int cost = epoch < 4 ? 0 : epoch % (int)pynn_cost_count();
        const char *const name = pynn_cost_name((size_t)cost); /* those of logarithms and logits may be below 0, for targets like these */
        const int least = strcmp(name, "poisson") && strcmp(name, "binary_cross_entropy");
        const pynn_training training = {.objective = {.cost = cost, .parameter = 0.5},
                                        .optimizer = &optimizer,
                                        .learning_rate = 0.001,
                                        .rows = rows,
                                        .batch = batch,
                                        .x = x,
                                        .ld_x = ld_x,
                                        .target = target,
                                        .ld_target = out,
                                        .weights = epoch < 6 ? NULL : weights,
                                        .order = epoch < 2 ? NULL : order,
                                        .gradients = epoch < 4 ? kept : gradients,
                                        .gradients_wanted = 1,
                                        .costs = costs};
        check(pynn_network_train(net, &training) == PYNN_OK, "status", rows, in, out);
        for (size_t i = 0; i < batches; i++) check(isfinite(costs[i]) && (!least || costs[i] >= 0), "cost", rows, in, out);
        check(untouched_beside(w, w_bytes, at_end) && untouched_beside(gradients, w_bytes, at_end), "wrote beside its output", rows, in,
              out);
        check(untouched_beside(costs, batches * sizeof *costs, at_end), "wrote beside costs", rows, in, out);
        same_as_portable(r, w, w_bytes);
        same_as_portable(r, costs, batches * sizeof *costs);
        if (kept && rows) same_as_portable(r, gradients, w_bytes);
    }
    pynn_network_free(net);
}

static void all_networks(int dtype, results *r)
{
    static const size_t widths[][5] = {{2, 8, 1, 5, 3},     {1, 1, 1, 1, 1},     {37, 65, 3, 17, 33},
                                       {64, 31, 33, 16, 9}, {100, 17, 1, 40, 2}, {5, 300, 33, 260, 1}};
    static const size_t rows[] = {0, 1, 2, 3, 9, 33, 66};
    static const size_t batches[] = {0, 1, 2, 8, 32};
    size_t turn = 0;
    for (size_t shape = 0; shape < COUNT(widths); shape++)
        for (size_t dense = 1; dense <= 4; dense++)
            for (size_t i = 0; i < COUNT(rows); i++) {
                const int kind = (int)(turn % pynn_activation_count());
                network(dtype, widths[shape], dense, kind, rows[i], batches[turn % COUNT(batches)], (int)(turn / 2 % 2), r);
                turn++;
            }
    static const size_t large[] = {60, 500, 400, 3};
    network(dtype, large, 3, 1, 150, 40, 1, r);
    /* A last batch, and a last part of a prediction, of one row */
    static const size_t wide[] = {32, 4200};
    network(dtype, wide, 1, 0, 33, 32, 1, r);
    network(dtype, wide, 1, 0, 65, 64, 1, r);
    /* A smaller last batch, of which more rows are packed at a time than of those before */
    static const size_t apart[] = {520, 200};
    if (dtype == PYNN_F32) network(dtype, apart, 1, 0, 585, 293, 1, r);
}

static void refusals(void)
{
    float one = 1, y = 7;
    pynn_network *net = NULL;
    const pynn_layer unknown = {.kind = 99, .in = 1, .out = 1}, good = {.kind = PYNN_DENSE, .in = 1, .out = 1, .bias = SIZE_MAX};
    doing = "refusals";
    check(pynn_affine(7, 1, 1, 1, &one, 1, 0, &one, 1, NULL, &y, 1) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    check(pynn_bias_gradient(-1, 1, 1, &one, 1, &y) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    check(pynn_activation(PYNN_F32, -1, 0, 1, &one, &y) == PYNN_UNKNOWN, "activation", 0, 0, 0);
    check(pynn_activation(PYNN_F32, 99, 0, 1, &one, &y) == PYNN_UNKNOWN, "activation", 0, 0, 0);
    check(pynn_activation_gradient(5, 0, 0, 1, &one, &one, &y) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    check(pynn_gradient_descent(2, 1, &y, &one, 0.1) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    const pynn_objective objective = {.cost = 0}, none = {.cost = 99};
    check(pynn_cost_gradient(2, &objective, 1, 1, &one, &one, NULL, &y) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    check(pynn_cost_gradient(PYNN_F32, &none, 1, 1, &one, &one, NULL, &y) == PYNN_UNKNOWN, "cost", 0, 0, 0);
    pynn_optimizer optimizer = {.kind = 99};
    check(pynn_optimize(PYNN_F32, &optimizer, 1, &y, &one, 0.1) == PYNN_UNKNOWN, "optimizer", 0, 0, 0);
    check(pynn_softmax(2, 0, 1, 1, &one, 1, &y, 1) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    check(pynn_layer_norm(2, 1, 1, 1, &one, 1, NULL, NULL, &y, 1, NULL) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    check(pynn_standardize(-1, 1, 1, &one, 1, NULL, &one, &y, 1) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    check(pynn_dropout(PYNN_F32, 1, 0, 0, 0, 1, &one, &y) == PYNN_UNKNOWN, "rate", 0, 0, 0);
    check(pynn_dropout(PYNN_F32, (double)NAN, 0, 0, 0, 1, &one, &y) == PYNN_UNKNOWN, "rate", 0, 0, 0);
    check(pynn_network_new(PYNN_F32, 1, &unknown, &one, &net) == PYNN_UNKNOWN, "layer", 0, 0, 0);
    check(pynn_network_new(PYNN_F32, 0, &good, &one, &net) == PYNN_UNKNOWN, "no layer", 0, 0, 0);
    check(pynn_network_new(9, 1, &good, &one, &net) == PYNN_UNKNOWN, "dtype", 0, 0, 0);
    check(pynn_affine(PYNN_F32, 1, SIZE_MAX / 2, SIZE_MAX / 2, &one, 1, 0, &one, 1, NULL, &y, 1) == PYNN_TOO_LARGE, "size", 0, 0, 0);
    check(y == 7, "wrote all the same", 0, 0, 0);
    check(pynn_activation_name(99) == NULL && pynn_instruction_set_name(99) == NULL, "names", 0, 0, 0);
    check(pynn_use_instruction_set("no such") == PYNN_UNKNOWN, "instruction set", 0, 0, 0);
    pynn_network_free(NULL);
}

int main(int count, char **arguments)
{
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "float32")) last_dtype = PYNN_F32;
        else if (!strcmp(arguments[i], "float64")) first_dtype = PYNN_F64;
        else most_work = strtoul(arguments[i], NULL, 10);
    }
    if (first_dtype > last_dtype || !most_work) fail("arguments are float32 or float64, or neither, and a number above 0");
    results r[2] = {{NULL, 0, 0, 0}, {NULL, 0, 0, 0}};
    refusals();
    for (size_t set = pynn_instruction_set_count(); set-- > 0;) /* portable is the last in the list */
        for (size_t threads = 1; threads <= 3; threads += 2) {
            const char *const name = pynn_instruction_set_name(set);
            if (pynn_use_instruction_set(name)) fail("an instruction set that is listed cannot be used");
            pynn_set_num_threads(threads);
            for (int dtype = first_dtype; dtype <= last_dtype; dtype++) {
                state = 1;
                r[dtype].used = 0;
                all_products(dtype, &r[dtype]);
                scratch_is_enough_for_less(dtype);
                for (size_t i = 0; i < COUNT(LENGTHS); i++)
                    for (int at_end = 0; at_end < 2; at_end++) elementwise(dtype, LENGTHS[i], at_end, &r[dtype]);
                all_rows(dtype, &r[dtype]);
                all_networks(dtype, &r[dtype]);
                r[dtype].comparing = 1;
            }
            printf("kernels on %s, %zu thread%s, %s: good\n", name, threads, threads > 1 ? "s" : "",
                   first_dtype != last_dtype ? "both dtypes"
                   : first_dtype == PYNN_F32 ? "float32"
                                             : "float64");
        }
    free(r[0].memory);
    free(r[1].memory);
    return 0;
}
