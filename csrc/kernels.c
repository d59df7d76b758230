/* kernels.c: the public kernels: sizes checked, scratch provided, work shared out over threads by output, never within a sum. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arithmetic.h"
#include "compiler.h"
#include "dispatch.h"
#include "threads.h"

enum {
    SCRATCH_ON_STACK = 16 * 1024,
    HALVE_FROM = 1 << 23,
    SHARE_ACTIVATION_FROM = 1 << 14, /* and elements of an activation, */
    SHARE_ELEMENTS_FROM = 1 << 17,   /* or of a sum or product: as long, in a level 2 cache */
    COLUMNS_EACH_BYTES = 2048, /* of a row of C for each thread, from which on packing B once is worth more than rows in one piece */
    OUT_MAJOR_MOST_OUT = 15,
    STREAM_FROM = 32 * 1024 * 1024, /* bytes of a C that no cache keeps for who reads it next, */
    STREAM_ROW_FROM = 2000, /* and of its rows, few of whose lines are shared (20,000 x 500: 3.2 ms, 2.3 ms; 100,000 x 100: 2.8, 3.9) */
};

size_t pynn_size_of(int dtype) { return dtype == PYNN_F32 ? sizeof(float) : sizeof(double); }

int pynn_multiply_sizes(size_t a, size_t b, size_t *product)
{
    if (b && a > SIZE_MAX / b) return PYNN_TOO_LARGE;
    *product = a * b;
    return PYNN_OK;
}

int pynn_weight_order(size_t in, size_t out) { return out <= OUT_MAJOR_MOST_OUT && in >= 2 * out ? PYNN_OUT_MAJOR : PYNN_IN_MAJOR; }

/* ---- sharing out ------------------------------------------------------------------------------------------------------ */

static size_t round_up(size_t n, size_t granule) { return (n + granule - 1) / granule * granule; }

typedef struct {
    const pynn_product *of;
    size_t rows_each, columns_each, tasks; /* rows and columns per task; one of them is the whole */
} shared_product;

typedef struct {
    const pynn_kernels *kernels;
    size_t size;         /* of an element */
    size_t scratch_each; /* bytes, per slot */
    char *scratch;
    shared_product products[PYNN_MOST_PRODUCTS];
} product_job;

static const void *at(const void *p, size_t elements, size_t size) { return p ? (const char *)p + elements * size : NULL; }

static void *out_at(void *p, size_t elements, size_t size) { return p ? (char *)p + elements * size : NULL; }

/* f on `columns` columns of `rows` rows of C from row i, column j on */
static void activate_product(const product_job *job, const pynn_product *p, size_t i, size_t j, size_t rows, size_t columns)
{
    const size_t times = columns == p->ld_c ? 1 : rows, n = columns == p->ld_c ? rows * columns : columns;
    for (size_t r = 0; r < times; r++) {
        const size_t from = (i + r) * p->ld_c + j;
        void *const c = out_at(p->c, from, job->size);
        if (p->derivative) job->kernels->activate_both(p->activation, p->parameter, n, c, c, out_at(p->derivative, from, job->size));
        else job->kernels->activate(p->activation, p->parameter, n, c, c);
    }
}

/* Whether C is an outer product so large that all the time goes to writing it (5792 x 5792, float32, AVX2: 14.5 ms, past the caches 6.6 ms) */
static int streams_product(const product_job *job, const pynn_product *p)
{
    const int outer = p->depth == 1 && p->a && p->b_column == 1 && !p->start && !p->before, alone = !p->factor && !p->column_sums;
    return job->kernels->stream_outer && outer && alone && !p->learning_rate && p->activation == PYNN_NO_ACTIVATION &&
           p->columns >= STREAM_ROW_FROM / job->size && p->rows * p->columns >= STREAM_FROM / job->size && (uintptr_t)p->c % job->size == 0;
}

/* `rows` rows and `columns` columns of C from row i, column j on */
static void product_part(const product_job *job, const pynn_product *p, size_t i, size_t j, size_t rows, size_t columns, size_t slot)
{
    void *const c = out_at(p->c, i * p->ld_c + j, job->size), *const column_sums = i ? NULL : out_at(p->column_sums, j, job->size);
    const void *const b = at(p->b, j * p->b_column, job->size), *const before = at(p->before, i * p->ld_c + j, job->size);
    if (!p->a) job->kernels->bias_gradient(p->depth, columns, b, p->b_step, before, p->learning_rate, c);
    else if (streams_product(job, p)) job->kernels->stream_outer(rows, columns, at(p->a, i * p->a_row, job->size), p->a_row, b, c, p->ld_c);
    else
        job->kernels->product(rows, columns, p->depth, at(p->a, i * p->a_row, job->size), p->a_row, p->a_step, b, p->b_step, p->b_column,
                              at(p->start, j, job->size), before, p->chains, p->learning_rate, at(p->factor, i * p->ld_c + j, job->size), c,
                              p->ld_c, at(p->column_sums_before, j, job->size), column_sums, job->scratch + slot * job->scratch_each);
    if (p->activation != PYNN_NO_ACTIVATION) activate_product(job, p, i, j, rows, columns);
}

static void product_task(void *context, size_t task, size_t slot)
{
    const product_job *const job = context;
    const shared_product *share = job->products;
    for (; task >= share->tasks; share++) task -= share->tasks;
    const pynn_product *const p = share->of;
    const size_t across = (p->columns + share->columns_each - 1) / share->columns_each;
    const size_t i = task / across * share->rows_each, j = task % across * share->columns_each;
    const size_t rows = p->rows - i < share->rows_each ? p->rows - i : share->rows_each;
    const size_t columns = p->columns - j < share->columns_each ? p->columns - j : share->columns_each;
    product_part(job, p, i, j, rows, columns, slot);
}

int pynn_product_scratch(int dtype, size_t rows, size_t columns, size_t depth, size_t *bytes)
{
    size_t checked;
    if (pynn_multiply_sizes(depth + 1, 4096, &checked) || pynn_multiply_sizes(rows > columns ? rows : columns, 64, bytes))
        return PYNN_TOO_LARGE;
    *bytes = round_up(pynn_table(dtype)->product_scratch(rows, columns, depth) * pynn_size_of(dtype), 64);
    return PYNN_OK;
}

int pynn_shares_columns(size_t columns, size_t threads, size_t size) { return columns >= threads * (COLUMNS_EACH_BYTES / size); }

/* In multiply-adds */
static double work_of(const pynn_product *p)
{
    const size_t after = p->activation == PYNN_NO_ACTIVATION ? 0 : PYNN_ACTIVATION_WORK;
    return (double)p->rows * (double)p->columns * ((double)p->depth + (double)after);
}

/* How a product is cut into tasks for so many threads */
static shared_product share_product(const pynn_product *p, size_t threads, size_t size)
{
    shared_product s = {p, p->rows, p->columns, p->rows && p->columns};
    const double work = work_of(p);
    if (work < PYNN_SHARE_FROM) return s;
    const size_t parts = work >= HALVE_FROM ? 2 * threads
                                            : threads; /* where it costs little, so that a thread that is held up holds up less */
    const size_t line = 64 / size;
    /* Rows are split where each part is large enough to repay packing B again, and where C is a weight: threads that write strips of the
     * same rows have lines fetched ahead from each other's caches (a step of 784-128-10 on one sample: 10 us alone, 57 us in strips). Else
     * columns, in whole cache lines. */
    const int weight = p->a_step != 1, by_rows = p->rows >= (weight ? 16 : 64) * threads;
    if (by_rows && (weight || !pynn_shares_columns(p->columns, threads, size))) s.rows_each = round_up((p->rows + parts - 1) / parts, 8);
    else if (p->columns >= (weight ? 1 : 2) * line * threads) s.columns_each = round_up((p->columns + parts - 1) / parts, line);
    else if (p->rows >= 16 * threads) s.rows_each = round_up((p->rows + parts - 1) / parts, 8);
    s.tasks = (p->rows + s.rows_each - 1) / s.rows_each * ((p->columns + s.columns_each - 1) / s.columns_each);
    return s;
}

void pynn_run_products(int dtype, size_t count, const pynn_product *products, size_t threads, void *scratch, size_t scratch_each)
{
    product_job job;
    double work = 0;
    size_t tasks = 0;
    job.kernels = pynn_table(dtype);
    job.size = pynn_size_of(dtype);
    job.scratch_each = scratch_each;
    job.scratch = scratch;
    for (size_t i = 0; i < count; i++) work += work_of(products + i);
    if (threads < 2 || work < PYNN_SHARE_FROM) {
        for (const pynn_product *p = products; p < products + count; p++)
            if (p->rows && p->columns) product_part(&job, p, 0, 0, p->rows, p->columns, 0);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        job.products[i] = share_product(products + i, threads, job.size);
        tasks += job.products[i].tasks;
    }
    pynn_parallel(tasks, product_task, &job, threads);
}

static int chains_of(size_t depth) { return depth >= CHAINS_FROM ? 4 : 1; }

pynn_product pynn_affine_product(size_t rows, size_t in, size_t out, const void *weight, size_t ld_weight, int order, const void *x,
                                 size_t ld_x, const void *bias, void *y, size_t ld_y)
{
    const int along_out = order == PYNN_IN_MAJOR;
    return (pynn_product){.rows = rows,
                          .columns = out,
                          .depth = in,
                          .a = x,
                          .a_row = ld_x,
                          .a_step = 1,
                          .b = weight,
                          .b_step = along_out ? ld_weight : 1,
                          .b_column = along_out ? 1 : ld_weight,
                          .start = bias,
                          .chains = chains_of(in),
                          .c = y,
                          .ld_c = ld_y,
                          .activation = PYNN_NO_ACTIVATION};
}

pynn_product pynn_input_gradient_product(size_t rows, size_t in, size_t out, const void *weight, size_t ld_weight, int order,
                                         const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient)
{
    /* dC/dX = dC/dY W is Y = X Wᵀ with inputs and outputs exchanged, and so the order of the weight. */
    const int exchanged = order == PYNN_OUT_MAJOR ? PYNN_IN_MAJOR : PYNN_OUT_MAJOR;
    return pynn_affine_product(rows, out, in, weight, ld_weight, exchanged, y_gradient, ld_y_gradient, NULL, x_gradient, ld_x_gradient);
}

pynn_product pynn_weight_gradient_product(size_t rows, size_t in, size_t out, const void *y_gradient, size_t ld_y_gradient, const void *x,
                                          size_t ld_x, void *weight_gradient, size_t ld_weight_gradient, int order,
                                          const void *learning_rate)
{
    const int out_major = order == PYNN_OUT_MAJOR;
    return (pynn_product){.rows = out_major ? out : in,
                          .columns = out_major ? in : out,
                          .depth = rows,
                          .a = out_major ? y_gradient : x,
                          .a_row = 1,
                          .a_step = out_major ? ld_y_gradient : ld_x,
                          .b = out_major ? x : y_gradient,
                          .b_step = out_major ? ld_x : ld_y_gradient,
                          .b_column = 1,
                          .chains = 1,
                          .learning_rate = learning_rate,
                          .c = weight_gradient,
                          .ld_c = ld_weight_gradient,
                          .activation = PYNN_NO_ACTIVATION};
}

pynn_product pynn_bias_gradient_product(size_t rows, size_t out, const void *y_gradient, size_t ld_y_gradient, void *bias_gradient,
                                        const void *learning_rate)
{
    return (pynn_product){.rows = 1,
                          .columns = out,
                          .depth = rows,
                          .b = y_gradient,
                          .b_step = ld_y_gradient,
                          .b_column = 1,
                          .learning_rate = learning_rate,
                          .c = bias_gradient,
                          .ld_c = out,
                          .activation = PYNN_NO_ACTIVATION};
}

/* A product on its own, with scratch of its own. */
static NOINLINE int run_with_scratch(int dtype, const pynn_product *p)
{
    ALIGNED(64) char on_stack[SCRATCH_ON_STACK];
    size_t each, bytes;
    const size_t threads = pynn_get_num_threads();
    if (dtype != PYNN_F32 && dtype != PYNN_F64) return PYNN_UNKNOWN;
    if (!p->rows || !p->columns) return PYNN_OK;
    if (pynn_product_scratch(dtype, p->rows, p->columns, p->depth, &each)) return PYNN_TOO_LARGE;
    if (pynn_multiply_sizes(each, threads, &bytes)) return PYNN_TOO_LARGE;
    if (bytes <= sizeof on_stack) {
        pynn_run_products(dtype, 1, p, threads, on_stack, each);
        return PYNN_OK;
    }
    char *const memory = malloc(bytes + 64);
    if (!memory) return PYNN_NO_MEMORY;
    pynn_run_products(dtype, 1, p, threads, memory + (64 - (uintptr_t)memory % 64), each);
    free(memory);
    return PYNN_OK;
}

static int run(int dtype, const pynn_product *p)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = run_with_scratch(dtype, p);
    pynn_restore_arithmetic(callers);
    return status;
}

int pynn_affine(int dtype, size_t rows, size_t in, size_t out, const void *weight, size_t ld_weight, int order, const void *x, size_t ld_x,
                const void *bias, void *y, size_t ld_y)
{
    const pynn_product p = pynn_affine_product(rows, in, out, weight, ld_weight, order, x, ld_x, bias, y, ld_y);
    return run(dtype, &p);
}

int pynn_input_gradient(int dtype, size_t rows, size_t in, size_t out, const void *weight, size_t ld_weight, int order,
                        const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient)
{
    const pynn_product p =
        pynn_input_gradient_product(rows, in, out, weight, ld_weight, order, y_gradient, ld_y_gradient, x_gradient, ld_x_gradient);
    return run(dtype, &p);
}

int pynn_weight_gradient(int dtype, size_t rows, size_t in, size_t out, const void *y_gradient, size_t ld_y_gradient, const void *x,
                         size_t ld_x, void *weight_gradient, size_t ld_weight_gradient, int order)
{
    const pynn_product p =
        pynn_weight_gradient_product(rows, in, out, y_gradient, ld_y_gradient, x, ld_x, weight_gradient, ld_weight_gradient, order, NULL);
    return run(dtype, &p);
}

int pynn_bias_gradient(int dtype, size_t rows, size_t out, const void *y_gradient, size_t ld_y_gradient, void *bias_gradient)
{
    if (dtype != PYNN_F32 && dtype != PYNN_F64) return PYNN_UNKNOWN;
    const pynn_arithmetic callers = pynn_default_arithmetic();
    pynn_table(dtype)->bias_gradient(rows, out, y_gradient, ld_y_gradient, NULL, NULL, bias_gradient);
    pynn_restore_arithmetic(callers);
    return PYNN_OK;
}

/* ---- elementwise -------------------------------------------------------------------------------------------------------- */

typedef struct elementwise {
    void (*part)(const struct elementwise *job, size_t from, size_t n);
    const pynn_kernels *kernels;
    size_t size, n, each;
    int which; /* activation or cost */
    int expensive; /* each element takes as long as ten of a sum */
    double parameter, scale;
    const pynn_update *update;
    const void *a, *b;
    void *c, *d;
} elementwise;

static void elementwise_task(void *context, size_t task, size_t slot)
{
    const elementwise *const job = context;
    const size_t from = task * job->each;
    (void)slot;
    job->part(job, from, job->n - from < job->each ? job->n - from : job->each);
}

static void run_elementwise(int dtype, size_t threads, elementwise job)
{
    job.kernels = pynn_table(dtype);
    job.size = pynn_size_of(dtype);
    job.each = job.n;
    if (threads > 1 && job.n >= (job.expensive ? SHARE_ACTIVATION_FROM : SHARE_ELEMENTS_FROM))
        job.each = round_up((job.n + threads - 1) / threads, 64);
    if (job.each == job.n) job.part(&job, 0, job.n);
    else pynn_parallel((job.n + job.each - 1) / job.each, elementwise_task, &job, threads);
}

#define A at(job->a, from, job->size)
#define B at(job->b, from, job->size)
#define C out_at(job->c, from, job->size)
#define D out_at(job->d, from, job->size)

static void activate_part(const elementwise *job, size_t from, size_t n) { job->kernels->activate(job->which, job->parameter, n, A, C); }

static void activate_both_part(const elementwise *job, size_t from, size_t n)
{
    job->kernels->activate_both(job->which, job->parameter, n, A, C, D);
}

static void activation_gradient_part(const elementwise *job, size_t from, size_t n)
{
    job->kernels->activation_gradient(job->which, job->parameter, n, A, B, C);
}

static void cost_gradient_part(const elementwise *job, size_t from, size_t n)
{
    job->kernels->cost_gradient(job->which, job->parameter, n, job->scale, A, B, out_at(job->d, from, job->size), C, 0);
}

static void update_part(const elementwise *job, size_t from, size_t n) { pynn_update_some(job->update, from, n, A); }

static void multiply_part(const elementwise *job, size_t from, size_t n) { job->kernels->multiply(n, A, C); }

static void gradient_descent_part(const elementwise *job, size_t from, size_t n) { job->kernels->gradient_descent(n, C, A, job->b); }

void pynn_activate(int dtype, size_t threads, int activation, double parameter, size_t n, const void *x, void *y)
{
    run_elementwise(
        dtype, threads,
        (elementwise){.part = activate_part, .n = n, .which = activation, .expensive = 1, .parameter = parameter, .a = x, .c = y});
}

void pynn_activate_both(int dtype, size_t threads, int activation, double parameter, size_t n, const void *x, void *y, void *derivative)
{
    run_elementwise(dtype, threads,
                    (elementwise){.part = activate_both_part,
                                  .n = n,
                                  .which = activation,
                                  .expensive = 1,
                                  .parameter = parameter,
                                  .a = x,
                                  .c = y,
                                  .d = derivative});
}

void pynn_multiply(int dtype, size_t threads, size_t n, const void *a, void *b)
{
    run_elementwise(dtype, threads, (elementwise){.part = multiply_part, .n = n, .a = a, .c = b});
}

static double weight_at(int dtype, const void *weights, size_t i)
{
    return dtype == PYNN_F32 ? (double)((const float *)weights)[i] : ((const double *)weights)[i];
}

static double weight_sum(int dtype, size_t rows, const void *weights)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++) sum += weight_at(dtype, weights, i);
    return sum;
}

/* The cost of one row, times its outputs where it is a mean over them */
static double row_cost(const pynn_kernels *kernels, const pynn_objective *o, size_t columns, const void *prediction, const void *target)
{
    if (o->cost == PYNN_SOFTMAX_CROSS_ENTROPY) return kernels->cross_entropy(columns, o->labels, o->parameter, prediction, target);
    double chains[COST_CHAINS] = {0};
    kernels->add_costs(o->cost, o->parameter, columns, prediction, target, chains);
    return pynn_sum_chains(chains);
}

double pynn_objective_size(int dtype, const pynn_objective *o, size_t rows, size_t columns, const void *weights)
{
    const double all = weights ? weight_sum(dtype, rows, weights) : (double)rows;
    if (!columns) return 0;
    return o->cost == PYNN_SOFTMAX_CROSS_ENTROPY ? all : all * (double)columns;
}

static int row_by_row(const pynn_objective *o, const void *weights) { return weights || o->cost == PYNN_SOFTMAX_CROSS_ENTROPY; }

NOINLINE void pynn_objective_add(int dtype, const pynn_objective *o, size_t rows, size_t columns, const void *prediction,
                                 const void *target, const void *weights, double chains[COST_CHAINS])
{
    const pynn_kernels *const kernels = pynn_table(dtype);
    const size_t size = pynn_size_of(dtype);
    if (!row_by_row(o, weights)) {
        kernels->add_costs(o->cost, o->parameter, rows * columns, prediction, target, chains);
        return;
    }
    for (size_t i = 0; i < rows && columns; i++)
        chains[0] += (weights ? weight_at(dtype, weights, i) : 1) *
                     row_cost(kernels, o, columns, at(prediction, i * columns, size), at(target, o->labels ? i : i * columns, size));
}

typedef struct {
    int dtype;
    const pynn_kernels *kernels;
    const pynn_objective *objective;
    size_t rows, columns, rows_each;
    double scale;
    const void *prediction, *target, *weights, *factor;
    void *gradient;
} row_gradients;

static void row_gradients_task(void *context, size_t task, size_t slot)
{
    const row_gradients *const job = context;
    const pynn_objective *const o = job->objective;
    const size_t size = pynn_size_of(job->dtype), begin = task * job->rows_each;
    (void)slot;
    for (size_t i = begin; i < job->rows && i < begin + job->rows_each; i++) {
        const size_t first = i * job->columns;
        const double scale = job->weights ? weight_at(job->dtype, job->weights, i) * job->scale : job->scale;
        const void *const p = at(job->prediction, first, size), *const t = at(job->target, o->labels ? i : first, size);
        const void *const factor = at(job->factor, first, size);
        void *const g = out_at(job->gradient, first, size);
        if (o->cost == PYNN_SOFTMAX_CROSS_ENTROPY)
            job->kernels->cross_entropy_gradient(job->columns, o->labels, o->parameter, scale, p, t, factor, g);
        else job->kernels->cost_gradient(o->cost, o->parameter, job->columns, scale, p, t, factor, g, 0);
    }
}

NOINLINE void pynn_objective_gradient(int dtype, size_t threads, const pynn_objective *o, double size, size_t rows, size_t columns,
                                      const void *prediction, const void *target, const void *weights, const void *factor, void *gradient)
{
    const size_t n = rows * columns;
    const double scale = size != 0 ? 1 / size : 0;
    if (!n) return;
    if (!row_by_row(o, weights)) {
        run_elementwise(dtype, threads,
                        (elementwise){.part = cost_gradient_part,
                                      .which = o->cost,
                                      .parameter = o->parameter,
                                      .n = n,
                                      .scale = scale,
                                      .a = prediction,
                                      .b = target,
                                      .c = gradient,
                                      .d = (void *)(uintptr_t)factor});
        return;
    }
    row_gradients job = {dtype, pynn_table(dtype), o, rows, columns, rows, scale, prediction, target, weights, factor, gradient};
    if (threads > 1 && rows > threads && n >= SHARE_ACTIVATION_FROM) job.rows_each = (rows + threads - 1) / threads;
    if (job.rows_each == rows) row_gradients_task(&job, 0, 0);
    else pynn_parallel((rows + job.rows_each - 1) / job.rows_each, row_gradients_task, &job, threads);
}

void pynn_descend(int dtype, size_t threads, size_t n, void *parameters, const void *gradients, const void *learning_rate)
{
    run_elementwise(dtype, threads,
                    (elementwise){.part = gradient_descent_part, .n = n, .a = gradients, .b = learning_rate, .c = parameters});
}

int pynn_known_objective(const pynn_objective *o)
{
    return o->cost == PYNN_SOFTMAX_CROSS_ENTROPY || (o->cost >= 0 && (size_t)o->cost < pynn_cost_count() && !o->labels);
}

static int known_dtype(int dtype) { return dtype == PYNN_F32 || dtype == PYNN_F64; }
static int known_activation(int activation) { return activation >= 0 && (size_t)activation < pynn_activation_count(); }

int pynn_activation(int dtype, int activation, double parameter, size_t n, const void *x, void *y)
{
    if (!known_dtype(dtype) || !known_activation(activation)) return PYNN_UNKNOWN;
    const pynn_arithmetic callers = pynn_default_arithmetic();
    pynn_activate(dtype, pynn_get_num_threads(), activation, parameter, n, x, y);
    pynn_restore_arithmetic(callers);
    return PYNN_OK;
}

int pynn_activation_gradient(int dtype, int activation, double parameter, size_t n, const void *x, const void *y_gradient, void *x_gradient)
{
    if (!known_dtype(dtype) || !known_activation(activation)) return PYNN_UNKNOWN;
    const pynn_arithmetic callers = pynn_default_arithmetic();
    run_elementwise(dtype, pynn_get_num_threads(),
                    (elementwise){.part = activation_gradient_part,
                                  .n = n,
                                  .which = activation,
                                  .expensive = 1,
                                  .parameter = parameter,
                                  .a = x,
                                  .b = y_gradient,
                                  .c = x_gradient});
    pynn_restore_arithmetic(callers);
    return PYNN_OK;
}

double pynn_cost(int dtype, const pynn_objective *objective, size_t rows, size_t columns, const void *prediction, const void *target,
                 const void *weights)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    double chains[COST_CHAINS] = {0};
    pynn_objective_add(dtype, objective, rows, columns, prediction, target, weights, chains);
    const double cost = pynn_objective_mean(chains, pynn_objective_size(dtype, objective, rows, columns, weights));
    pynn_restore_arithmetic(callers);
    return cost;
}

int pynn_cost_gradient(int dtype, const pynn_objective *objective, size_t rows, size_t columns, const void *prediction, const void *target,
                       const void *weights, void *gradient)
{
    if (!known_dtype(dtype) || !pynn_known_objective(objective)) return PYNN_UNKNOWN;
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const double size = pynn_objective_size(dtype, objective, rows, columns, weights);
    pynn_objective_gradient(dtype, pynn_get_num_threads(), objective, size, rows, columns, prediction, target, weights, NULL, gradient);
    pynn_restore_arithmetic(callers);
    return PYNN_OK;
}

static NOINLINE void gradient_descent(int dtype, size_t n, void *parameters, const void *gradients, double learning_rate)
{
    const float rate_f32 = (float)learning_rate;
    const void *const rate = dtype == PYNN_F32 ? (const void *)&rate_f32 : (const void *)&learning_rate;
    pynn_descend(dtype, pynn_get_num_threads(), n, parameters, gradients, rate);
}

int pynn_gradient_descent(int dtype, size_t n, void *parameters, const void *gradients, double learning_rate)
{
    if (!known_dtype(dtype)) return PYNN_UNKNOWN;
    const pynn_arithmetic callers = pynn_default_arithmetic();
    gradient_descent(dtype, n, parameters, gradients, learning_rate);
    pynn_restore_arithmetic(callers);
    return PYNN_OK;
}

/* ---- optimizers --------------------------------------------------------------------------------------------------------- */

enum { SQUARES_AT_ONCE = 4096 };

/* The length of the gradient: sums of 4096 squares each, added one after the other */
static double norm(int dtype, size_t n, const void *gradients)
{
    const pynn_kernels *const kernels = pynn_table(dtype);
    double sum = 0;
    for (size_t i = 0; i < n; i += SQUARES_AT_ONCE)
        sum += kernels->square_sum(n - i < SQUARES_AT_ONCE ? n - i : SQUARES_AT_ONCE, at(gradients, i, pynn_size_of(dtype)));
    return sqrt(sum);
}

pynn_update pynn_begin_update(int dtype, pynn_optimizer *o, size_t n, void *parameters, double learning_rate)
{
    pynn_update u = {.dtype = dtype, .optimizer = o, .learning_rate = learning_rate, .scale = 1, .count = n, .parameters = parameters};
    o->steps++;
    pynn_table(dtype)->prepare(o->kind, o->hyperparameters, o->running, learning_rate, u.constants);
    return u;
}

void pynn_update_some(const pynn_update *u, size_t begin, size_t n, const void *gradients)
{
    const pynn_kernels *const kernels = pynn_table(u->dtype);
    const pynn_optimizer *const o = u->optimizer;
    const size_t size = pynn_size_of(u->dtype), end = begin + n;
    const pynn_run all = {.end = u->count}, *run = o->runs ? o->run : &all;
    for (size_t i = 0; i < (o->runs ? o->runs : 1); i++, run++) {
        const size_t from = run->begin > begin ? run->begin : begin, to = run->end < end ? run->end : end;
        if (from >= to) continue;
        const pynn_extra extra = {u->scale, o->clip_value, run->l1, run->l2, 1 - u->learning_rate * run->decay};
        const int any = extra.scale != 1 || extra.clip < INFINITY || run->l1 != 0 || run->l2 != 0 || run->decay != 0;
        kernels->update(o->kind, u->constants, any ? &extra : NULL, to - from, u->parameters + from * size,
                        at(gradients, from - begin, size), out_at(o->state[0], from, size), out_at(o->state[1], from, size));
    }
}

NOINLINE void pynn_run_optimizer(int dtype, pynn_optimizer *o, size_t n, void *parameters, const void *gradients, double learning_rate)
{
    pynn_update u = pynn_begin_update(dtype, o, n, parameters, learning_rate);
    if (o->clip_norm < INFINITY) {
        const double length = norm(dtype, n, gradients);
        if (!(length <= o->clip_norm)) u.scale = o->clip_norm / length;
    }
    run_elementwise(dtype, pynn_get_num_threads(),
                    (elementwise){.part = update_part, .expensive = 1, .n = n, .update = &u, .a = gradients});
}

int pynn_optimize(int dtype, pynn_optimizer *optimizer, size_t n, void *parameters, const void *gradients, double learning_rate)
{
    if (!known_dtype(dtype) || optimizer->kind < 0 || (size_t)optimizer->kind >= pynn_optimizer_count()) return PYNN_UNKNOWN;
    const pynn_arithmetic callers = pynn_default_arithmetic();
    pynn_run_optimizer(dtype, optimizer, n, parameters, gradients, learning_rate);
    pynn_restore_arithmetic(callers);
    return PYNN_OK;
}
