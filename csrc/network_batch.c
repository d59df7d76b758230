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

void pynn_run_rows(const pynn_network *net, const stage *s, size_t rows, const void *x, size_t ld_x, void *y, int training, size_t threads)
{
    const int dtype = net->dtype;
    const size_t n = s->out;
    switch (s->kind) {
    case PYNN_SOFTMAX:
    case PYNN_LOG_SOFTMAX: pynn_run_softmax(dtype, threads, s->kind == PYNN_LOG_SOFTMAX, rows, n, x, ld_x, y, n); break;
    case PYNN_LAYER_NORM:
        pynn_run_layer_norm(dtype, threads, rows, n, s->parameter, x, ld_x, s->w, s->b, y, n, training ? s->statistics : NULL);
        break;
    case PYNN_STANDARDIZE: pynn_run_standardize(dtype, threads, rows, n, x, ld_x, s->mean, s->deviation, y, n); break;
    default:
        for (size_t i = 0, each = ld_x == n ? rows : 1; i < rows; i += each) {
            const void *const from = (const char *)x + i * ld_x * net->size;
            char *const to = (char *)y + i * n * net->size;
            if (training) pynn_run_dropout(dtype, threads, s->parameter, s->seed, s->step_taken, i * n, each * n, from, to);
            else memcpy(to, from, each * n * net->size);
        }
    }
}

/* dx (rows, in) of such a stage, from its input x, its output y and dy, unless dx is NULL; and the gradients of its parameters, or a step
 * down them, as pynn_step_batch says */
static void run_rows_backward(const pynn_network *net, const stage *s, size_t rows, const void *x, size_t ld_x, const void *dy, void *dx,
                              const void *learning_rate, void *gradients, size_t threads)
{
    const int dtype = net->dtype;
    const size_t n = s->out;
    switch (dx ? s->kind : PYNN_DENSE) {
    case PYNN_SOFTMAX:
    case PYNN_LOG_SOFTMAX: pynn_run_softmax_gradient(dtype, threads, s->kind == PYNN_LOG_SOFTMAX, rows, n, s->y, n, dy, n, dx, n); break;
    case PYNN_LAYER_NORM: /* before its scale changes */
        pynn_run_layer_norm_gradient(dtype, threads, rows, n, x, ld_x, s->statistics, s->w, dy, n, dx, n);
        break;
    case PYNN_STANDARDIZE: pynn_run_standardize(dtype, threads, rows, n, dy, n, NULL, s->deviation, dx, n); break;
    case PYNN_DROPOUT: pynn_run_dropout(dtype, threads, s->parameter, s->seed, s->step_taken, 0, rows * n, dy, dx); break;
    default: break;
    }
    if (s->w)
        pynn_run_layer_norm_scale_gradient(dtype, threads, rows, n, x, ld_x, s->statistics, dy, n, learning_rate,
                                           weight_of(net, s, gradients));
    if (s->b) net->kernels->bias_gradient(rows, n, dy, n, learning_rate, bias_of(net, s, gradients));
}

/* y (rows, out) = f(x (rows, in) Wᵀ + b), and derivative = f' of the same unless it is NULL */
static void run_stage(const pynn_network *net, const stage *s, size_t rows, const void *x, size_t ld_x, void *y, void *derivative,
                      int training, size_t threads, void *scratch, size_t scratch_each)
{
    if (s->kind == PYNN_DENSE) {
        pynn_product p = pynn_affine_product(rows, s->in, s->out, s->w, s->ld, s->order, x, ld_x, s->b, y, s->out);
        p.activation = s->activation;
        p.parameter = s->parameter;
        p.derivative = derivative;
        pynn_run_products(net->dtype, 1, &p, threads, scratch, scratch_each);
        return;
    }
    if (s->kind < PYNN_DENSE) {
        pynn_run_rows(net, s, rows, x, ld_x, y, training, threads);
        return;
    }
    const size_t times = ld_x == s->in ? 1 : rows, n = ld_x == s->in ? rows * s->in : s->in;
    for (size_t i = 0; i < times; i++) {
        const void *const from = (const char *)x + i * ld_x * net->size;
        char *const to = (char *)y + i * s->out * net->size;
        if (derivative)
            pynn_activate_both(net->dtype, threads, s->activation, s->parameter, n, from, to, (char *)derivative + i * s->out * net->size);
        else pynn_activate(net->dtype, threads, s->activation, s->parameter, n, from, to);
    }
}

/* ---- prediction ------------------------------------------------------------------------------------------------------ */

enum {
    ROWS_AT_ONCE_LEAST = 256, /* fewer would pack weights too often */
    ROWS_AT_ONCE_BYTES = 256 * 1024, /* of activations that stay in a level 2 cache */
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
    char *const hidden[2] = {workspace, workspace + wide}, *const scratch = workspace + 2 * wide;
    const void *x = job->x + from * job->ld_x * net->size;
    size_t ld_x = job->ld_x;
    for (size_t i = 0; i < net->count; i++) {
        void *const y = i + 1 < net->count ? hidden[i % 2] : job->y + from * out * net->size;
        run_stage(net, net->stages + i, rows, x, ld_x, y, NULL, 0, threads, scratch, job->scratch_each);
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

static double work_per_row(const pynn_network *net)
{
    double work = 0;
    for (size_t i = 0; i < net->count; i++) {
        const stage *const s = net->stages + i;
        if (s->kind == PYNN_DENSE) work += (double)s->in * (double)s->out;
        if (s->activation != PYNN_NO_ACTIVATION) work += PYNN_ACTIVATION_WORK * (double)s->out;
    }
    return work;
}

NOINLINE int pynn_predict_batch(const pynn_network *net, size_t rows, const void *x, size_t ld_x, void *y)
{
    ALIGNED(64) char on_stack[PREDICT_ON_STACK];
    const size_t limit = pynn_get_num_threads();
    const double work = limit > 1 ? work_per_row(net) * (double)rows : 0;
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

double pynn_step_batch(pynn_network *net, const pynn_objective *objective, size_t rows, const void *x, size_t ld_x, const void *target,
                       const void *weights, const void *learning_rate, void *gradients, size_t threads)
{
    const int dtype = net->dtype;
    stage *s;
    const void *in = x;
    size_t ld_in = ld_x;
    for (size_t i = 0; i < net->count; i++) {
        s = net->stages + i;
        if (s->kind == PYNN_DROPOUT) s->step_taken = (*s->step)++;
        run_stage(net, s, rows, in, ld_in, s->y, s->derivative, 1, threads, net->scratch, net->scratch_each);
        in = s->y;
        ld_in = s->out;
    }
    s = net->stages + net->count - 1;
    const double cost = pynn_objective_cost(dtype, objective, rows, s->out, s->y, target, weights);
    void *dy = net->gradient, *dx = net->gradient_2;
    pynn_objective_gradient(dtype, threads, objective, rows, s->out, s->y, target, weights, s->derivative, dy);

    for (size_t i = net->count; i-- > 0; s--) { /* dy is dC/d(input of the activation of stage i) */
        const stage *const below = i ? s - 1 : NULL;
        const void *const input = below ? below->y : x;
        const size_t ld_input = below ? below->out : ld_x;
        if (s->kind < PYNN_DENSE) {
            run_rows_backward(net, s, rows, input, ld_input, dy, below ? dx : NULL, learning_rate, gradients, threads);
            if (below && below->derivative) pynn_multiply(dtype, threads, rows * below->out, below->derivative, dx);
            void *const swap = dy;
            dy = dx;
            dx = swap;
            continue;
        }
        if (s->kind != PYNN_DENSE) {
            if (below && below->derivative) pynn_multiply(dtype, threads, rows * below->out, below->derivative, dy);
            continue;
        }
        pynn_product products[PYNN_MOST_PRODUCTS];
        size_t n = 0;
        if (below) {
            products[n] = pynn_input_gradient_product(rows, s->in, s->out, s->w, s->ld, s->order, dy, s->out, dx, s->in);
            products[n++].factor = below->derivative;
            if (!gradients) { /* before the weight changes */
                pynn_run_products(dtype, 1, products, threads, net->scratch, net->scratch_each);
                n = 0;
            }
        }
        products[n++] = pynn_weight_gradient_product(rows, s->in, s->out, dy, s->out, input, ld_input, weight_of(net, s, gradients), s->ld,
                                                     s->order, learning_rate);
        if (s->b) products[n++] = pynn_bias_gradient_product(rows, s->out, dy, s->out, bias_of(net, s, gradients), learning_rate);
        pynn_run_products(dtype, n, products, threads, net->scratch, net->scratch_each);
        void *const swap = dy;
        dy = dx;
        dx = swap;
    }
    return cost;
}
