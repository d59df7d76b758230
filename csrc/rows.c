/* rows.c: the public kernels that work on each row by itself, and dropout: rows, or elements, shared out over threads. */
#include "rows.h"

#include "arithmetic.h"
#include "compiler.h"
#include "dispatch.h"
#include "kernels.h"
#include "threads.h"

enum {
    SHARE_FROM = 1 << 15, /* elements of a softmax or normalisation worth sharing: some 10 microseconds of one core */
    COLUMNS_EACH = 64
};

typedef struct row_job {
    void (*part)(const struct row_job *job, size_t from, size_t n);
    const pynn_kernels *kernels;
    size_t size, count, each; /* rows, or columns, or elements, in all and for each task */
    size_t rows, columns;
    int log;
    double number; /* epsilon, or rate */
    uint64_t seed, step, first;
    const void *x, *b, *c, *y_gradient, *statistics;
    size_t ld_x, ld_y_gradient, ld_y;
    void *y, *new_statistics;
} row_job;

static const void *at(const void *p, size_t elements, size_t size) { return p ? (const char *)p + elements * size : NULL; }
static void *out_at(void *p, size_t elements, size_t size) { return p ? (char *)p + elements * size : NULL; }

static void task(void *context, size_t index, size_t slot)
{
    const row_job *const job = context;
    const size_t from = index * job->each;
    (void)slot;
    job->part(job, from, job->count - from < job->each ? job->count - from : job->each);
}

/* `count` things in parts of a multiple of `granule` */
static NOINLINE int run(int dtype, size_t threads, size_t count, size_t granule, row_job job)
{
    if (dtype != PYNN_F32 && dtype != PYNN_F64) return PYNN_UNKNOWN;
    if (!count || !job.columns) return PYNN_OK;
    job.kernels = pynn_table(dtype);
    job.size = pynn_size_of(dtype);
    job.count = job.each = count;
    if (threads > 1 && count > granule && (double)job.rows * (double)job.columns >= SHARE_FROM)
        job.each = (count / threads + granule) / granule * granule;
    if (job.each >= count) job.part(&job, 0, count);
    else pynn_parallel((count + job.each - 1) / job.each, task, &job, threads);
    return PYNN_OK;
}

#define X at(job->x, from *job->ld_x, job->size)
#define G at(job->y_gradient, from *job->ld_y_gradient, job->size)
#define Y out_at(job->y, from *job->ld_y, job->size)
#define STATISTICS at(job->statistics, 2 * from, job->size)

static void softmax_part(const row_job *job, size_t from, size_t n)
{
    job->kernels->softmax(job->log, n, job->columns, X, job->ld_x, Y, job->ld_y);
}

static void softmax_gradient_part(const row_job *job, size_t from, size_t n)
{
    if (job->log) job->kernels->log_softmax_gradient(n, job->columns, X, job->ld_x, G, job->ld_y_gradient, Y, job->ld_y);
    else job->kernels->softmax_gradient(n, job->columns, X, job->ld_x, G, job->ld_y_gradient, Y, job->ld_y);
}

static void layer_norm_part(const row_job *job, size_t from, size_t n)
{
    job->kernels->layer_norm(n, job->columns, job->number, X, job->ld_x, job->b, job->c, Y, job->ld_y,
                             out_at(job->new_statistics, 2 * from, job->size));
}

static void layer_norm_gradient_part(const row_job *job, size_t from, size_t n)
{
    job->kernels->layer_norm_gradient(n, job->columns, X, job->ld_x, STATISTICS, job->b, G, job->ld_y_gradient, Y, job->ld_y);
}

static void layer_norm_scale_gradient_part(const row_job *job, size_t from, size_t n)
{
    job->kernels->layer_norm_scale_gradient(job->rows, n, at(job->x, from, job->size), job->ld_x, job->statistics,
                                            at(job->y_gradient, from, job->size), job->ld_y_gradient, at(job->c, from, job->size), job->b,
                                            out_at(job->y, from, job->size));
}

static void standardize_part(const row_job *job, size_t from, size_t n)
{
    job->kernels->standardize(n, job->columns, X, job->ld_x, job->b, job->c, Y, job->ld_y);
}

static void dropout_part(const row_job *job, size_t from, size_t n)
{
    job->kernels->dropout(job->number, job->seed, job->step, job->first + from, n, X, Y);
}

int pynn_run_softmax(int dtype, size_t threads, int log, size_t rows, size_t columns, const void *x, size_t ld_x, void *y, size_t ld_y)
{
    return run(dtype, threads, rows, 1,
               (row_job){.part = softmax_part, .rows = rows, .columns = columns, .log = log, .x = x, .ld_x = ld_x, .y = y, .ld_y = ld_y});
}

int pynn_run_softmax_gradient(int dtype, size_t threads, int log, size_t rows, size_t columns, const void *y, size_t ld_y,
                              const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient)
{
    return run(dtype, threads, rows, 1,
               (row_job){.part = softmax_gradient_part,
                         .rows = rows,
                         .columns = columns,
                         .log = log,
                         .x = y,
                         .ld_x = ld_y,
                         .y_gradient = y_gradient,
                         .ld_y_gradient = ld_y_gradient,
                         .y = x_gradient,
                         .ld_y = ld_x_gradient});
}

int pynn_run_layer_norm(int dtype, size_t threads, size_t rows, size_t columns, double epsilon, const void *x, size_t ld_x,
                        const void *scale, const void *bias, void *y, size_t ld_y, void *statistics)
{
    return run(dtype, threads, rows, 1,
               (row_job){.part = layer_norm_part,
                         .rows = rows,
                         .columns = columns,
                         .number = epsilon,
                         .x = x,
                         .ld_x = ld_x,
                         .b = scale,
                         .c = bias,
                         .y = y,
                         .ld_y = ld_y,
                         .new_statistics = statistics});
}

int pynn_run_layer_norm_gradient(int dtype, size_t threads, size_t rows, size_t columns, const void *x, size_t ld_x, const void *statistics,
                                 const void *scale, const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient)
{
    return run(dtype, threads, rows, 1,
               (row_job){.part = layer_norm_gradient_part,
                         .rows = rows,
                         .columns = columns,
                         .x = x,
                         .ld_x = ld_x,
                         .statistics = statistics,
                         .b = scale,
                         .y_gradient = y_gradient,
                         .ld_y_gradient = ld_y_gradient,
                         .y = x_gradient,
                         .ld_y = ld_x_gradient});
}

int pynn_run_layer_norm_scale_gradient(int dtype, size_t threads, size_t rows, size_t columns, const void *x, size_t ld_x,
                                       const void *statistics, const void *y_gradient, size_t ld_y_gradient, const void *before,
                                       const void *learning_rate, void *c)
{
    return run(dtype, threads, columns, COLUMNS_EACH,
               (row_job){.part = layer_norm_scale_gradient_part,
                         .rows = rows,
                         .columns = columns,
                         .x = x,
                         .ld_x = ld_x,
                         .statistics = statistics,
                         .b = learning_rate,
                         .c = before,
                         .y_gradient = y_gradient,
                         .ld_y_gradient = ld_y_gradient,
                         .y = c});
}

int pynn_run_standardize(int dtype, size_t threads, size_t rows, size_t columns, const void *x, size_t ld_x, const void *mean,
                         const void *deviation, void *y, size_t ld_y)
{
    return run(dtype, threads, rows, 1,
               (row_job){.part = standardize_part,
                         .rows = rows,
                         .columns = columns,
                         .x = x,
                         .ld_x = ld_x,
                         .b = mean,
                         .c = deviation,
                         .y = y,
                         .ld_y = ld_y});
}

int pynn_run_dropout(int dtype, size_t threads, double rate, uint64_t seed, uint64_t step, uint64_t first, size_t n, const void *x, void *y)
{
    if (!(rate >= 0 && rate < 1)) return PYNN_UNKNOWN;
    return run(dtype, threads, n, COLUMNS_EACH,
               (row_job){.part = dropout_part,
                         .rows = 1,
                         .columns = n,
                         .number = rate,
                         .seed = seed,
                         .step = step,
                         .first = first,
                         .x = x,
                         .ld_x = 1,
                         .y = y,
                         .ld_y = 1});
}

/* ---- the same on as many threads as a call may use, in the default arithmetic ------------------------------------------------------------------------ */

int pynn_softmax(int dtype, int log, size_t rows, size_t columns, const void *x, size_t ld_x, void *y, size_t ld_y)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = pynn_run_softmax(dtype, pynn_get_num_threads(), log, rows, columns, x, ld_x, y, ld_y);
    pynn_restore_arithmetic(callers);
    return status;
}

int pynn_softmax_gradient(int dtype, int log, size_t rows, size_t columns, const void *y, size_t ld_y, const void *y_gradient,
                          size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = pynn_run_softmax_gradient(dtype, pynn_get_num_threads(), log, rows, columns, y, ld_y, y_gradient, ld_y_gradient,
                                                 x_gradient, ld_x_gradient);
    pynn_restore_arithmetic(callers);
    return status;
}

int pynn_layer_norm(int dtype, size_t rows, size_t columns, double epsilon, const void *x, size_t ld_x, const void *scale, const void *bias,
                    void *y, size_t ld_y, void *statistics)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status =
        pynn_run_layer_norm(dtype, pynn_get_num_threads(), rows, columns, epsilon, x, ld_x, scale, bias, y, ld_y, statistics);
    pynn_restore_arithmetic(callers);
    return status;
}

int pynn_layer_norm_gradient(int dtype, size_t rows, size_t columns, const void *x, size_t ld_x, const void *statistics, const void *scale,
                             const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = pynn_run_layer_norm_gradient(dtype, pynn_get_num_threads(), rows, columns, x, ld_x, statistics, scale, y_gradient,
                                                    ld_y_gradient, x_gradient, ld_x_gradient);
    pynn_restore_arithmetic(callers);
    return status;
}

int pynn_layer_norm_scale_gradient(int dtype, size_t rows, size_t columns, const void *x, size_t ld_x, const void *statistics,
                                   const void *y_gradient, size_t ld_y_gradient, void *scale_gradient)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = pynn_run_layer_norm_scale_gradient(dtype, pynn_get_num_threads(), rows, columns, x, ld_x, statistics, y_gradient,
                                                          ld_y_gradient, NULL, NULL, scale_gradient);
    pynn_restore_arithmetic(callers);
    return status;
}

int pynn_standardize(int dtype, size_t rows, size_t columns, const void *x, size_t ld_x, const void *mean, const void *deviation, void *y,
                     size_t ld_y)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = pynn_run_standardize(dtype, pynn_get_num_threads(), rows, columns, x, ld_x, mean, deviation, y, ld_y);
    pynn_restore_arithmetic(callers);
    return status;
}

int pynn_dropout(int dtype, double rate, uint64_t seed, uint64_t step, uint64_t first, size_t n, const void *x, void *y)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = pynn_run_dropout(dtype, pynn_get_num_threads(), rate, seed, step, first, n, x, y);
    pynn_restore_arithmetic(callers);
    return status;
}
