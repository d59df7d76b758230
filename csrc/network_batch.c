/* network_batch.c: what a network does with a batch: its stages forward and back, prediction, and a step of training. */
#include "network.h"

#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "threads.h"

/* ---- stages ---------------------------------------------------------------------------------------------------------- */

int pynn_most_scratch(const pynn_network *net, size_t rows, size_t *each, int training)
{
    *each = 0;
    for (size_t i = 0; i < net->count; i++) {
        const stage *const s = net->stages + i;
        const size_t in = s->in, out = s->out, shapes[4][3] = {{rows, out, in}, {rows, in, out}, {in, out, rows}, {out, in, rows}};
        for (int shape = 0; s->kind == PYNN_DENSE && shape < (training ? 4 : 1); shape++) {
            size_t bytes;
            if (pynn_product_scratch(net->dtype, shapes[shape][0], shapes[shape][1], shapes[shape][2], &bytes)) return PYNN_TOO_LARGE;
            if (bytes > *each) *each = bytes;
        }
        if (s->kind == PYNN_DENSE && training) { /* network_sample.c: rows of a gradient */
            size_t bytes;
            if (pynn_multiply_sizes(s->ld * net->size, ROOM / net->size, &bytes)) return PYNN_TOO_LARGE;
            if (bytes < UPDATE_AT_ONCE) bytes = UPDATE_AT_ONCE;
            if (bytes > *each) *each = bytes;
        }
    }
    return PYNN_OK;
}

void pynn_run_rows(const pynn_network *net, const stage *s, size_t first, size_t rows, const void *x, size_t ld_x, void *y, int training,
                   void *statistics, size_t threads)
{
    const int dtype = net->dtype;
    const size_t n = s->out;
    switch (s->kind) {
    case PYNN_SOFTMAX:
    case PYNN_LOG_SOFTMAX: pynn_run_softmax(dtype, threads, s->kind == PYNN_LOG_SOFTMAX, rows, n, x, ld_x, y, n); break;
    case PYNN_LAYER_NORM: pynn_run_layer_norm(dtype, threads, rows, n, s->parameter, x, ld_x, s->w, s->b, y, n, statistics); break;
    case PYNN_STANDARDIZE: pynn_run_standardize(dtype, threads, rows, n, x, ld_x, s->mean, s->deviation, y, n); break;
    default:
        for (size_t i = 0, each = ld_x == n ? rows : 1; i < rows; i += each) {
            const void *const from = (const char *)x + i * ld_x * net->size;
            char *const to = (char *)y + i * n * net->size;
            if (training) pynn_run_dropout(dtype, threads, s->parameter, s->seed, s->step_taken, (first + i) * n, each * n, from, to);
            else memcpy(to, from, each * n * net->size);
        }
    }
}

/* Rows first .. first + rows - 1 of a batch, on their way through the stages; in training they lie in the workspace from row `own` on */
typedef struct {
    const pynn_network *net;
    size_t first, rows, own, threads, scratch_each;
    int training;
    void *scratch;
} block;

/* The block's rows of what a stage has in the workspace, `columns` numbers each; NULL of what it does not have */
static void *rows_of(const block *b, const void *of, size_t columns)
{
    return of ? (char *)(uintptr_t)of + b->own * columns * b->net->size : NULL;
}

/* dx (rows, in) of a stage that works on each row by itself, from dy */
static void run_rows_backward(const block *b, const stage *s, const void *x, size_t ld_x, const void *dy, void *dx)
{
    const int dtype = b->net->dtype;
    const size_t n = s->out;
    const void *const y = rows_of(b, s->y, n), *const statistics = rows_of(b, s->statistics, 2);
    switch (s->kind) {
    case PYNN_SOFTMAX:
    case PYNN_LOG_SOFTMAX: pynn_run_softmax_gradient(dtype, b->threads, s->kind == PYNN_LOG_SOFTMAX, b->rows, n, y, n, dy, n, dx, n); break;
    case PYNN_LAYER_NORM: pynn_run_layer_norm_gradient(dtype, b->threads, b->rows, n, x, ld_x, statistics, s->w, dy, n, dx, n); break;
    case PYNN_STANDARDIZE: pynn_run_standardize(dtype, b->threads, b->rows, n, dy, n, NULL, s->deviation, dx, n); break;
    default: pynn_run_dropout(dtype, b->threads, s->parameter, s->seed, s->step_taken, b->first * n, b->rows * n, dy, dx);
    }
}

/* y (rows, out) = f(x (rows, in) Wᵀ + b), and derivative = f' of the same unless it is NULL */
static void run_stage(const block *b, const stage *s, const void *x, size_t ld_x, void *y, void *derivative)
{
    const pynn_network *const net = b->net;
    const size_t rows = b->rows;
    if (s->kind == PYNN_DENSE) {
        pynn_product p = pynn_affine_product(rows, s->in, s->out, s->w, s->ld, s->order, x, ld_x, s->b, y, s->out);
        p.activation = s->activation;
        p.parameter = s->parameter;
        p.derivative = derivative;
        pynn_run_products(net->dtype, 1, &p, b->threads, b->scratch, b->scratch_each);
        return;
    }
    if (s->kind < PYNN_DENSE) {
        pynn_run_rows(net, s, b->first, rows, x, ld_x, y, b->training, b->training ? rows_of(b, s->statistics, 2) : NULL, b->threads);
        return;
    }
    const size_t times = ld_x == s->in ? 1 : rows, n = ld_x == s->in ? rows * s->in : s->in;
    for (size_t i = 0; i < times; i++) {
        const void *const from = (const char *)x + i * ld_x * net->size;
        char *const to = (char *)y + i * s->out * net->size;
        if (derivative)
            pynn_activate_both(net->dtype, b->threads, s->activation, s->parameter, n, from, to,
                               (char *)derivative + i * s->out * net->size);
        else pynn_activate(net->dtype, b->threads, s->activation, s->parameter, n, from, to);
    }
}

/* ---- prediction ------------------------------------------------------------------------------------------------------ */

enum {
    ROWS_AT_ONCE_LEAST = 256, /* fewer would pack weights too often */
    ROWS_EACH_LEAST = 16, /* for a thread of its own */
    SHARE_PREDICTION_FROM = 1 << 17, /* multiply-adds */
};

typedef struct {
    const pynn_network *net;
    size_t rows, rows_each, ld_x, scratch_each, each; /* `each`: bytes of workspace per slot */
    const char *x;
    char *y, *workspace;
} prediction;

static void predict_rows(const prediction *job, size_t from, size_t rows, size_t threads, char *workspace)
{
    const pynn_network *const net = job->net;
    const size_t out = net->stages[net->count - 1].out, wide = (rows * net->hidden * net->size + ROOM - 1) / ROOM * ROOM;
    char *const hidden[2] = {workspace, workspace + wide};
    const block b = {
        .net = net, .first = from, .rows = rows, .threads = threads, .scratch_each = job->scratch_each, .scratch = workspace + 2 * wide};
    const void *x = job->x + from * job->ld_x * net->size;
    size_t ld_x = job->ld_x;
    for (size_t i = 0; i < net->count; i++) {
        void *const y = i + 1 < net->count ? hidden[i % 2] : job->y + from * out * net->size;
        run_stage(&b, net->stages + i, x, ld_x, y, NULL);
        x = y;
        ld_x = net->stages[i].out;
    }
}

static void predict_task(void *context, size_t task, size_t slot)
{
    const prediction *const job = context;
    const size_t from = task * job->rows_each, left = job->rows - from;
    predict_rows(job, from, left < job->rows_each ? left : job->rows_each, 1, job->workspace + slot * job->each);
}

NOINLINE int pynn_predict_batch(const pynn_network *net, size_t rows, const void *x, size_t ld_x, void *y)
{
    ALIGNED(64) char on_stack[PREDICT_ON_STACK];
    const size_t limit = pynn_get_num_threads();
    const double work = limit > 1 ? net->row_work * (double)rows : 0;
    const size_t threads = work >= SHARE_PREDICTION_FROM ? limit : 1;
    size_t slots = 1;
    prediction job = {.net = net, .rows = rows, .rows_each = rows, .ld_x = ld_x, .x = x, .y = y, .workspace = on_stack};
    if (!rows) return PYNN_OK;

    /* Each thread takes rows of its own through the whole net, unless layers are so wide that they are better shared out one by one. */
    const size_t fitting = ROWS_AT_ONCE_BYTES / (net->size * net->hidden + 1);
    const size_t most = fitting < ROWS_AT_ONCE_LEAST ? ROWS_AT_ONCE_LEAST : fitting;
    if (threads > 1 && rows >= ROWS_EACH_LEAST * threads && !pynn_shares_columns(net->hidden, threads, net->size)) {
        slots = threads;
        job.rows_each = (rows + threads - 1) / threads;
    }
    if (job.rows_each > most) job.rows_each = most;

    cursor space = {NULL, 0, 0};
    if (pynn_most_scratch(net, job.rows_each, &job.scratch_each, 0)) return PYNN_TOO_LARGE;
    give(&space, job.rows_each, net->hidden, net->size);
    give(&space, job.rows_each, net->hidden, net->size);
    give(&space, slots > 1 ? 1 : threads, job.scratch_each, 1);
    job.each = space.used;
    space.used = 0;
    give(&space, slots, job.each, 1);
    if (space.overflow) return PYNN_TOO_LARGE;
    void *memory = NULL;
    if (space.used > sizeof on_stack) {
        memory = malloc(space.used + ROOM);
        if (!memory) return PYNN_NO_MEMORY;
        job.workspace = aligned(memory);
    }
    if (slots > 1) pynn_parallel((rows + job.rows_each - 1) / job.rows_each, predict_task, &job, threads);
    else
        for (size_t from = 0; from < rows; from += job.rows_each)
            predict_rows(&job, from, rows - from < job.rows_each ? rows - from : job.rows_each, threads, job.workspace);
    free(memory);
    return PYNN_OK;
}

/* ---- a step ---------------------------------------------------------------------------------------------------------- */

enum { BLOCKS_EACH = 4 /* of each thread at least, so that it makes little difference when one is done */ };

/* Where parameters are few, rows go through the whole net and back in blocks, each in the cache of one thread, and stages add up the sums of
 * the blocks in order (4-32-16-4, 10,000 rows, Adam, two threads: one stage after the other for all rows 453 us, so 398 us). Else all rows
 * are one block, whose products are shared out. */
typedef struct {
    pynn_network *net;
    const pynn_objective *objective;
    size_t rows, rows_each, ld_x, threads; /* threads: within a block */
    const void *x, *target, *weights, *learning_rate;
    void *gradients;
    double size, chains[COST_CHAINS]; /* of the cost */
} step;

static size_t rows_in_block(const pynn_network *net, size_t rows, size_t threads)
{
    const size_t most = net->block_rows;
    if (!most) return rows;
    size_t turns = rows / (BLOCK_LEAST * threads); /* in which every thread has a block */
    if (threads < 2 || !turns || 2 * net->row_work * (double)rows < PYNN_SHARE_FROM) return rows < most ? rows : most;
    if (turns > BLOCKS_EACH) turns = BLOCKS_EACH;
    if (turns * threads * most < rows) turns = (rows + threads * most - 1) / (threads * most);
    return ((rows + turns * threads - 1) / (turns * threads) + COST_CHAINS - 1) / COST_CHAINS * COST_CHAINS;
}

size_t pynn_step_most_rows(const pynn_network *net, size_t rows)
{
    return net->block_rows && net->block_rows < rows ? net->block_rows : rows;
}

size_t pynn_step_storage(const pynn_network *net, size_t rows, size_t threads)
{
    /* A place for the largest block of each thread, or of all blocks that there are; enough for fewer rows and threads too, which may have
     * larger blocks. */
    const size_t each = pynn_step_most_rows(net, rows), blocks = rows + each, most = each * threads;
    return !net->block_rows ? rows : blocks < most ? blocks : most;
}

/* Of the batch, not of the workspace */
static const void *at_row(const pynn_network *net, const void *of, size_t row, size_t columns)
{
    return of ? (const char *)of + row * columns * net->size : NULL;
}

/* The first stage has the batch for its input, others the output of the stage before. */
static const void *input_of(const step *job, const block *b, const stage *s, size_t *ld)
{
    *ld = s == job->net->stages ? job->ld_x : s->in;
    return s == job->net->stages ? at_row(job->net, job->x, b->first, job->ld_x) : rows_of(b, s[-1].y, s->in);
}

/* The gradient of the stage below from that of s, which is dC/d(input of its activation); or the product that gives it, to be run with others */
static size_t go_back(const step *job, const block *b, const stage *s, pynn_product *product)
{
    const pynn_network *const net = job->net;
    const stage *const below = s - 1;
    const void *const dy = rows_of(b, s->gradient, s->out), *const factor = rows_of(b, below->derivative, s->in);
    void *const dx = rows_of(b, below->gradient, s->in);
    if (s->kind == PYNN_DENSE) {
        *product = pynn_input_gradient_product(b->rows, s->in, s->out, s->w, s->ld, s->order, dy, s->out, dx, s->in);
        product->factor = factor;
        if (job->gradients && b->rows == job->rows) return 1;
        /* before the weight changes, and before another block is waited for */
        pynn_run_products(net->dtype, 1, product, b->threads, b->scratch, b->scratch_each);
        return 0;
    }
    if (s->kind < PYNN_DENSE) run_rows_backward(b, s, rows_of(b, below->y, s->in), s->in, dy, dx);
    if (factor) pynn_multiply(net->dtype, b->threads, b->rows * s->in, factor, dx);
    return 0;
}

/* Adds the block to the sums of a stage, after the `n` products that there are already. They lie where gradients do, or, of a step without
 * gradients, in the workspace; the last block ends in the parameters then. */
static void add_up(const step *job, const block *b, const stage *s, pynn_product *products, size_t n)
{
    const pynn_network *const net = job->net;
    const int is_first = !b->first, is_last = b->first + b->rows == job->rows;
    char *const so_far = job->gradients ? job->gradients : net->sums, *const into = is_last ? job->gradients : so_far;
    const void *const before_weight = is_first || !s->w ? NULL : weight_of(net, s, so_far);
    const void *const before_bias = is_first || !s->b ? NULL : bias_of(net, s, so_far);
    const void *const learning_rate = is_last ? job->learning_rate : NULL, *const dy = rows_of(b, s->gradient, s->out);
    char *const weight = weight_of(net, s, into), *const bias = bias_of(net, s, into);
    size_t ld_x;
    const void *const x = input_of(job, b, s, &ld_x);
    if (s->kind != PYNN_DENSE) {
        if (s->w)
            pynn_run_layer_norm_scale_gradient(net->dtype, b->threads, b->rows, s->out, x, ld_x, rows_of(b, s->statistics, 2), dy, s->out,
                                               before_weight, learning_rate, weight);
        if (s->b) net->kernels->bias_gradient(b->rows, s->out, dy, s->out, before_bias, learning_rate, bias);
        return;
    }
    products[n] = pynn_weight_gradient_product(b->rows, s->in, s->out, dy, s->out, x, ld_x, weight, s->ld, s->order, learning_rate);
    products[n].before = before_weight;
    if (s->b && s->order == PYNN_IN_MAJOR) { /* whose B is dY */
        products[n].column_sums = bias;
        products[n].column_sums_before = before_bias;
    }
    n++;
    if (s->b && s->order != PYNN_IN_MAJOR) {
        products[n] = pynn_bias_gradient_product(b->rows, s->out, dy, s->out, bias, learning_rate);
        products[n++].before = before_bias;
    }
    pynn_run_products(net->dtype, n, products, b->threads, b->scratch, b->scratch_each);
}

static void step_task(void *context, size_t task, size_t slot)
{
    step *const job = context;
    pynn_network *const net = job->net;
    const size_t first = task * job->rows_each, left = job->rows - first;
    const block b = {.net = net,
                     .first = first,
                     .rows = left < job->rows_each ? left : job->rows_each,
                     .own = slot * job->rows_each,
                     .threads = job->threads,
                     .scratch_each = net->scratch_each,
                     .training = 1,
                     .scratch = (char *)net->scratch + slot * net->scratch_each};
    stage *s = net->stages, *const last = s + net->count - 1;
    for (; s <= last; s++) {
        size_t ld_x;
        const void *const x = input_of(job, &b, s, &ld_x);
        run_stage(&b, s, x, ld_x, rows_of(&b, s->y, s->out), rows_of(&b, s->derivative, s->out));
    }
    const void *const y = rows_of(&b, last->y, last->out), *const weights = at_row(net, job->weights, first, 1);
    const void *const target = at_row(net, job->target, first, job->objective->labels ? 1 : last->out);
    pynn_objective_gradient(net->dtype, b.threads, job->objective, job->size, b.rows, last->out, y, target, weights,
                            rows_of(&b, last->derivative, last->out), rows_of(&b, last->gradient, last->out));
    for (s = last;; s--) {
        pynn_product products[PYNN_MOST_PRODUCTS];
        const size_t n = s > net->stages ? go_back(job, &b, s, products) : 0;
        pynn_await(&s->turn, task);
        if (s == last) pynn_objective_add(net->dtype, job->objective, b.rows, last->out, y, target, weights, job->chains);
        add_up(job, &b, s, products, n);
        atomic_store_explicit(&s->turn, task + 1, memory_order_release);
        if (s == net->stages) break;
    }
}

double pynn_step_batch(pynn_network *net, const pynn_objective *objective, size_t rows, const void *x, size_t ld_x, const void *target,
                       const void *weights, const void *learning_rate, void *gradients, size_t threads)
{
    step job = {.net = net,
                .objective = objective,
                .rows = rows,
                .rows_each = rows_in_block(net, rows, threads),
                .ld_x = ld_x,
                .x = x,
                .target = target,
                .weights = weights,
                .learning_rate = learning_rate,
                .gradients = gradients,
                .size = pynn_objective_size(net->dtype, objective, rows, net->stages[net->count - 1].out, weights)};
    const size_t blocks = job.rows_each == rows ? 1 : (rows + job.rows_each - 1) / job.rows_each;
    job.threads = blocks > 1 ? 1 : threads;
    for (stage *s = net->stages; s < net->stages + net->count; s++) {
        if (s->kind == PYNN_DROPOUT) s->step_taken = (*s->step)++;
        atomic_store_explicit(&s->turn, 0, memory_order_relaxed);
    }
    const size_t places = blocks > 1 ? net->storage / job.rows_each : 1; /* of blocks in the workspace; a slot has one of its own */
    pynn_parallel(blocks, step_task, &job, threads < places ? threads : places);
    return pynn_objective_mean(job.chains, job.size);
}
