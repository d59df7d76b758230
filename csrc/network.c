/* network.c: prediction and training over a flat plan of layers.
 *
 * A dense layer and the activation after it are one stage; what works on each row by itself (rows.h) is a stage of its own. Training keeps for every stage its output y and, from the same
 * evaluation, f' of its input; going back, each stage multiplies by f' as it produces dC/dX, and parameters are updated by
 * the kernel that sums their gradient. The order of operations is that of the single kernels called one by one.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arithmetic.h"
#include "compiler.h"
#include "dispatch.h"
#include "kernels.h"
#include "rows.h"
#include "threads.h"

typedef struct {
    int kind;         /* as in pynn.h */
    int activation;   /* after the product, or on its own, or PYNN_NO_ACTIVATION */
    double parameter; /* of the activation, or as in pynn.h */
    int order;
    size_t in, out, weight, bias; /* weight, bias: where they begin in the arena */
    size_t ld;                    /* of the weight */
    char *w, *b;                  /* or NULL */
    const void *mean, *deviation; /* these to step: as in pynn.h */
    uint64_t seed, *step, step_taken;
    void *statistics; /* of a normalisation, (capacity, 2) in the workspace */
    void *y, *derivative; /* (capacity, out) in the workspace; derivative NULL without an activation */
} stage;

struct pynn_network {
    int dtype;
    size_t size, count, widest, hidden;        /* of an element in bytes; of stages; of all layers; of all outputs but the last one's */
    int by_rows;                               /* whether it has stages that work on rows (run_rows) */
    size_t line_work, line_wide,
        line_scratch; /* of the largest layer in multiply-adds; bytes for an output, and for scratch, of one sample */
    char *parameters;
    size_t parameter_bytes;
    /* the workspace of training, for batches of up to `capacity` rows on up to `threads` threads, by these kernels */
    size_t capacity, threads, scratch_each;
    const pynn_kernels *kernels;
    void *memory;
    void *x, *target, *weights, *gradient, *gradient_2; /* (capacity, in), (capacity, out), (capacity), (capacity, widest) twice */
    void *second; /* (widest), of run_line */
    void *scratch;
    atomic_int training;
    stage stages[];
};

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

enum {
    ROOM = 64,                  /* bytes of a cache line and of the widest vector, in which roomy arrays (kernels/lines.h) are written */
    UPDATE_AT_ONCE = 16 * 1024, /* bytes of a gradient that is used up in a level 1 cache */
};

/* Counts what a workspace needs: give() moves a cursor, and says so if the sum does not fit. */
typedef struct {
    char *base; /* NULL while counting */
    size_t used;
    int overflow;
} cursor;

static void *give(cursor *c, size_t rows, size_t columns, size_t size)
{
    size_t n, bytes;
    if (pynn_multiply_sizes(rows, columns, &n) || pynn_multiply_sizes(n, size, &bytes) || bytes > SIZE_MAX / 2 - c->used) {
        c->overflow = 1;
        return NULL;
    }
    void *const p = c->base ? c->base + c->used : NULL;
    c->used += (bytes + ROOM - 1) / ROOM * ROOM;
    return p;
}

static void *aligned(void *memory) { return (char *)memory + (ROOM - (uintptr_t)memory % ROOM); }

/* ---- making ---------------------------------------------------------------------------------------------------------- */

static int is_identity(int activation) { return !strcmp(pynn_activation_name((size_t)activation), "identity"); }

/* Where n parameters begin; NULL where there are none */
static char *place(pynn_network *net, size_t begin, size_t n)
{
    if (begin == SIZE_MAX) return NULL;
    if ((begin + n) * net->size > net->parameter_bytes) net->parameter_bytes = (begin + n) * net->size;
    return net->parameters + begin * net->size;
}

static NOINLINE int make(int dtype, size_t count, const pynn_layer *layers, void *parameters, pynn_network **network)
{
    if ((dtype != PYNN_F32 && dtype != PYNN_F64) || !count) return PYNN_UNKNOWN;
    if (count > SIZE_MAX / sizeof(stage) - sizeof(pynn_network)) return PYNN_TOO_LARGE;
    pynn_network *const net = calloc(1, sizeof *net + count * sizeof(stage));
    if (!net) return PYNN_NO_MEMORY;
    pynn_fork_generation();
    net->dtype = dtype;
    net->size = pynn_size_of(dtype);
    net->parameters = parameters;
    net->widest = layers[0].in;
    for (size_t i = 0; i < count; i++) {
        const pynn_layer *const layer = layers + i;
        const int dense = layer->kind == PYNN_DENSE;
        const int activation = layer->kind >= 0;
        if (layer->kind < PYNN_DROPOUT || (activation && (size_t)layer->kind >= pynn_activation_count())) {
            free(net);
            return PYNN_UNKNOWN;
        }
        stage *const last = net->count ? net->stages + net->count - 1 : NULL;
        if (activation && last && last->kind == PYNN_DENSE && last->activation == PYNN_NO_ACTIVATION) {
            if (!is_identity(layer->kind)) {
                last->activation = layer->kind;
                last->parameter = layer->parameter;
            }
        } else {
            stage *const s = net->stages + net->count++;
            *s = (stage){.kind = layer->kind,
                         .activation = activation ? layer->kind : PYNN_NO_ACTIVATION,
                         .parameter = layer->parameter,
                         .order = layer->order,
                         .in = layer->in,
                         .out = layer->out,
                         .weight = layer->weight,
                         .bias = layer->bias,
                         .ld = layer->order == PYNN_IN_MAJOR ? layer->out : layer->in,
                         .mean = layer->mean,
                         .deviation = layer->deviation,
                         .seed = layer->seed,
                         .step = layer->step};
            if (dense || layer->kind == PYNN_LAYER_NORM) {
                s->w = place(net, s->weight, dense ? s->in * s->out : s->out);
                s->b = place(net, s->bias, s->out);
            }
            if (layer->kind < PYNN_DENSE) net->by_rows = 1;
        }
        if (layer->out > net->widest) net->widest = layer->out;
        if (i + 1 < count && layer->out > net->hidden) net->hidden = layer->out;
    }
    cursor wide = {NULL, 0, 0}, scratch = {NULL, 0, 0};
    give(&wide, net->widest, 1, net->size);
    give(&scratch, wide.used / net->size, 4, net->size);
    for (const stage *s = net->stages; s < net->stages + net->count; s++)
        if (s->kind == PYNN_DENSE) {
            size_t work;
            if (pynn_multiply_sizes(s->in, s->out, &work)) wide.overflow = 1;
            else if (work > net->line_work) net->line_work = work;
        }
    if (wide.overflow || scratch.overflow || scratch.used > SIZE_MAX / 1024) { /* there may be 255 threads */
        free(net);
        return PYNN_TOO_LARGE;
    }
    net->line_wide = wide.used;
    net->line_scratch = scratch.used;
    *network = net;
    return PYNN_OK;
}

int pynn_network_new(int dtype, size_t count, const pynn_layer *layers, void *parameters, pynn_network **network)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = make(dtype, count, layers, parameters, network);
    pynn_restore_arithmetic(callers);
    return status;
}

void pynn_network_free(pynn_network *net)
{
    if (net && !atomic_load_explicit(&net->training, memory_order_relaxed)) free(net->memory); /* see begin_training */
    free(net);
}

int pynn_network_dtype(const pynn_network *net) { return net->dtype; }
size_t pynn_network_in(const pynn_network *net) { return net->stages[0].in; }
int pynn_network_overlaps(const pynn_network *net, const void *data, size_t bytes)
{
    const char *const from = data;
    return from < net->parameters + net->parameter_bytes && from + bytes > net->parameters;
}
size_t pynn_network_parameters(const pynn_network *net) { return net->parameter_bytes / net->size; }
size_t pynn_network_out(const pynn_network *net) { return net->stages[net->count - 1].out; }

static int most_scratch(const pynn_network *net, size_t rows, size_t *each, int training)
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
        if (s->kind == PYNN_DENSE && training) { /* backward_task: rows of a gradient */
            size_t bytes;
            if (pynn_multiply_sizes(s->ld * net->size, ROOM / net->size, &bytes)) return PYNN_TOO_LARGE;
            if (bytes < UPDATE_AT_ONCE) bytes = UPDATE_AT_ONCE;
            if (bytes > *each) *each = bytes;
        }
    }
    return PYNN_OK;
}

static void lay_out(pynn_network *net, cursor *c, size_t rows, size_t threads, size_t scratch_each)
{
    net->x = give(c, rows, net->stages[0].in, net->size);
    net->target = give(c, rows, net->stages[net->count - 1].out, net->size);
    net->weights = give(c, rows, 1, net->size);
    net->gradient = give(c, rows, net->widest, net->size);
    net->gradient_2 = give(c, rows, net->widest, net->size);
    net->second = give(c, 1, net->widest, net->size);
    for (size_t i = 0; i < net->count; i++) {
        stage *const s = net->stages + i;
        s->y = give(c, rows, s->out, net->size);
        if (s->activation != PYNN_NO_ACTIVATION) s->derivative = give(c, rows, s->out, net->size);
        if (s->kind == PYNN_LAYER_NORM) s->statistics = give(c, rows, 2, net->size);
    }
    net->scratch = give(c, threads, scratch_each, 1);
}

/* Room for steps of up to `rows` rows on `threads` threads; allocates when there was less, or other kernels need more. */
static int reserve(pynn_network *net, size_t rows, size_t threads)
{
    const pynn_kernels *const kernels = pynn_table(net->dtype);
    if (rows <= net->capacity && threads <= net->threads && kernels == net->kernels) return PYNN_OK;
    size_t each;
    cursor counted = {NULL, 0, 0};
    if (rows < net->capacity) rows = net->capacity;
    if (threads < net->threads) threads = net->threads;
    net->capacity = 0; /* until all of it is there */
    if (most_scratch(net, rows, &each, 1)) return PYNN_TOO_LARGE;
    lay_out(net, &counted, rows, threads, each);
    if (counted.overflow) return PYNN_TOO_LARGE;
    free(net->memory);
    net->memory = malloc(counted.used + ROOM);
    if (!net->memory) return PYNN_NO_MEMORY;
    cursor placed = {aligned(net->memory), 0, 0};
    lay_out(net, &placed, rows, threads, each);
    net->capacity = rows;
    net->threads = threads;
    net->scratch_each = each;
    net->kernels = kernels;
    return PYNN_OK;
}

/* ---- forward --------------------------------------------------------------------------------------------------------- */

/* Where a layer's weight goes, and its bias: to its gradients, or, without an arena of gradients, to the updated parameters */
static char *weight_of(const pynn_network *net, const stage *s, void *gradients)
{
    return gradients ? (char *)gradients + s->weight * net->size : s->w;
}

static char *bias_of(const pynn_network *net, const stage *s, void *gradients)
{
    return gradients && s->b ? (char *)gradients + s->bias * net->size : s->b;
}

/* y (rows, out) of a stage that works on each row by itself; dropout drops in training alone */
static void run_rows(const pynn_network *net, const stage *s, size_t rows, const void *x, size_t ld_x, void *y, int training,
                     size_t threads)
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
 * down them, as step() says */
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
        run_rows(net, s, rows, x, ld_x, y, training, threads);
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

/* ---- one sample ------------------------------------------------------------------------------------------------------
 *
 * Without the machinery for batches, whose calls would take longer than the work in a small net. Outputs are roomy (kernels/lines.h): each lies
 * at a multiple of 64 bytes with nothing else in its last 64. Large layers are shared out so that each thread has rows of the weight, which
 * follow one another in memory: back by inputs; forward by halves of the four chains where the weight is far (1024 x 1024, two threads,
 * float32: by halves of the outputs 31 us, by halves of the chains 25 us, of 24 us that reading takes), else by outputs.
 */

enum {
    SHARE_LINE_FROM = 1 << 18, /* multiply-adds */
    HALVE_LINE_FROM = 1 << 20, /* bytes of a weight that is not in a level 2 cache as a whole */
    PREDICT_ON_STACK = 24 * 1024,
};

typedef struct {
    const pynn_kernels *kernels;
    const stage *s;
    size_t size, each, halves, scratch_each;
    const char *x, *dy;
    char *factor, *y, *second, *derivative, *dx, *scratch;
    const void *learning_rate;
    const pynn_update *update;
    char *new_weight, *new_bias;
} line_job;

static size_t part(size_t all, size_t from, size_t each) { return all - from < each ? all - from : each; }

static char *past(char *p, size_t bytes) { return p ? p + bytes : NULL; }

/* Strips of `each` outputs, two tasks for each if there are four chains: one half goes to y, the other to `second` */
static void forward_task(void *context, size_t task, size_t slot)
{
    const line_job *const job = context;
    const stage *const s = job->s;
    const size_t j = task / job->halves * job->each, bytes = j * job->size, n = part(s->out, j, job->each);
    char *const w = s->w + bytes, *const b = past(s->b, bytes), *const scratch = job->scratch + slot * job->scratch_each;
    if (job->halves == 2)
        job->kernels->line_half(s->in, n, w, s->ld, job->x, b, (int)(task % 2), (task % 2 ? job->second : job->y) + bytes, scratch);
    else
        job->kernels->line_forward(s->in, n, w, s->ld, s->order, job->x, b, s->activation, s->parameter, job->y + bytes,
                                   past(job->derivative, bytes), scratch);
}

static void backward_task(void *context, size_t task, size_t slot)
{
    const line_job *const job = context;
    const stage *const s = job->s;
    const size_t begin = task * job->each, end = begin + part(s->in, begin, job->each);
    const size_t room = ROOM / job->size, fitting = UPDATE_AT_ONCE / (s->ld * job->size + 1) / room * room;
    const size_t rows = !job->update ? job->each : fitting ? fitting : room;
    char *const gradient = job->scratch + slot * job->scratch_each;
    for (size_t i = begin; i < end; i += rows) {
        const size_t n = part(end, i, rows), bytes = i * job->size;
        job->kernels->line_backward(n, s->out, s->w + bytes * s->ld, s->ld, s->order, job->x + bytes, job->dy, past(job->dx, bytes),
                                    past(job->factor, bytes), job->learning_rate, job->update ? gradient : job->new_weight + bytes * s->ld,
                                    i ? NULL : job->new_bias);
        if (job->update) pynn_update_some(job->update, s->weight + i * s->ld, n * s->ld, gradient);
    }
}

/* Elements per task, in whole rooms, where it pays to share `n` of them out */
static size_t line_share(const stage *s, size_t n, size_t threads, size_t size)
{
    const size_t room = ROOM / size;
    if (threads < 2 || s->order != PYNN_IN_MAJOR || n < 2 * room || (double)s->in * (double)s->out < SHARE_LINE_FROM) return n;
    return ((n + threads - 1) / threads + room - 1) / room * room;
}

/* y = f(b + W x), derivative = f' of the same unless NULL; second: room for as many */
static void run_line(const pynn_network *net, const stage *s, const void *x, void *y, void *second, void *derivative, size_t threads,
                     void *scratch, size_t scratch_each)
{
    const pynn_kernels *const kernels = pynn_table(net->dtype);
    if (s->kind < PYNN_DENSE) {
        run_rows(net, s, 1, x, s->in, y, 0, threads);
        return;
    }
    if (s->kind != PYNN_DENSE) {
        if (derivative) kernels->activate_both(s->activation, s->parameter, s->in, x, y, derivative);
        else kernels->activate(s->activation, s->parameter, s->in, x, y);
        return;
    }
    const int far = s->in * s->out * net->size > HALVE_LINE_FROM && s->in >= CHAINS_FROM;
    const size_t halves = far && line_share(s, s->out, threads, net->size) < s->out ? 2 : 1;
    const size_t each = threads / halves > 1 ? line_share(s, s->out, threads / halves, net->size) : s->out;
    if (halves == 1 && each == s->out) {
        kernels->line_forward(s->in, s->out, s->w, s->ld, s->order, x, s->b, s->activation, s->parameter, y, derivative, scratch);
        return;
    }
    line_job job = {.kernels = kernels,
                    .s = s,
                    .size = net->size,
                    .each = each,
                    .halves = halves,
                    .scratch_each = scratch_each,
                    .x = x,
                    .y = y,
                    .second = second,
                    .derivative = derivative,
                    .scratch = scratch};
    pynn_parallel((s->out + each - 1) / each * halves, forward_task, &job, threads);
    if (halves == 2) kernels->line_join(s->out, second, s->activation, s->parameter, y, derivative);
}

/* The cost of one sample, and its gradients; or, given a learning rate, a step down them; or, given an update, its steps (then gradients are
 * room for them) */
static double step_line(pynn_network *net, const pynn_objective *objective, const void *x, const void *target, const void *learning_rate,
                        void *gradients, const pynn_update *update, size_t threads)
{
    const pynn_kernels *const kernels = net->kernels;
    const stage *s = net->stages, *const last = s + net->count - 1;
    const void *in = x;
    for (;; s++) {
        run_line(net, s, in, s->y, net->second, s->derivative, threads, net->scratch, net->scratch_each);
        in = s->y;
        if (s == last) break;
    }
    char *dy = net->gradient, *dx = net->gradient_2;
    double cost;
    if (objective->cost == PYNN_SOFTMAX_CROSS_ENTROPY) {
        cost = kernels->cross_entropy(s->out, objective->labels, objective->parameter, s->y, target);
        kernels->cross_entropy_gradient(s->out, objective->labels, objective->parameter, 1, s->y, target, s->derivative, dy);
    } else {
        cost = kernels->cost_sum(objective->cost, objective->parameter, s->out, s->y, target) / (double)s->out;
        kernels->cost_gradient(objective->cost, objective->parameter, s->out, 1 / (double)s->out, s->y, target, s->derivative, dy, 1);
    }
    for (;; s--) {
        const stage *const below = s == net->stages ? NULL : s - 1;
        if (s->kind != PYNN_DENSE) {
            if (!below) break;
            if (below->derivative) kernels->multiply(s->in, below->derivative, dy);
            continue;
        }
        const void *const input = below ? below->y : x;
        char *const factor = below ? below->derivative : NULL, *const wanted = below ? dx : NULL;
        char *const weight = weight_of(net, s, gradients), *const bias = bias_of(net, s, gradients);
        const size_t each = line_share(s, s->in, threads, net->size);
        if (each == s->in && (!update || s->order != PYNN_IN_MAJOR)) {
            kernels->line_backward(s->in, s->out, s->w, s->ld, s->order, input, dy, wanted, factor, learning_rate, weight, bias);
            if (update) pynn_update_some(update, s->weight, s->in * s->out, weight);
        } else {
            line_job job = {.kernels = kernels,
                            .s = s,
                            .size = net->size,
                            .each = each,
                            .x = input,
                            .dy = dy,
                            .factor = factor,
                            .dx = wanted,
                            .scratch = net->scratch,
                            .scratch_each = net->scratch_each,
                            .learning_rate = learning_rate,
                            .update = update,
                            .new_weight = weight,
                            .new_bias = bias};
            pynn_parallel((s->in + each - 1) / each, backward_task, &job, threads);
        }
        if (update && bias) pynn_update_some(update, s->bias, s->out, bias);
        if (!below) break;
        char *const swap = dy;
        dy = dx;
        dx = swap;
    }
    return cost;
}

static NOINLINE int predict_line(const pynn_network *net, const void *x, void *y)
{
    ALIGNED(64) char on_stack[PREDICT_ON_STACK];
    const size_t limit = pynn_get_num_threads(), threads = net->line_work >= SHARE_LINE_FROM ? limit : 1;
    const size_t bytes = 3 * net->line_wide + threads * net->line_scratch; /* checked when the network was made */
    void *const memory = bytes > sizeof on_stack ? malloc(bytes + ROOM) : NULL;
    if (bytes > sizeof on_stack && !memory) return PYNN_NO_MEMORY;
    char *const workspace = memory ? aligned(memory) : on_stack;
    const stage *s = net->stages;
    const void *in = x;
    for (size_t i = 0; i < net->count; i++, s++) {
        void *const to = workspace + i % 2 * net->line_wide;
        run_line(net, s, in, to, workspace + 2 * net->line_wide, NULL, threads, workspace + 3 * net->line_wide, net->line_scratch);
        in = to;
    }
    memcpy(y, in, pynn_network_out(net) * net->size);
    free(memory);
    return PYNN_OK;
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

static NOINLINE int predict_batch(const pynn_network *net, size_t rows, const void *x, size_t ld_x, void *y)
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
    if (most_scratch(net, job.rows_each, &job.scratch_each, 0)) return PYNN_TOO_LARGE;
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

int pynn_network_predict(const pynn_network *net, size_t rows, const void *x, size_t ld_x, void *y)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = rows == 1 ? predict_line(net, x, y) : predict_batch(net, rows, x, ld_x, y);
    pynn_restore_arithmetic(callers);
    return status;
}

/* ---- training -------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *from;
    char *to;
    const int64_t *order; /* or NULL */
    size_t first, rows, columns, ld, size, rows_each;
} gathering;

static void gather_task(void *context, size_t task, size_t slot)
{
    const gathering *const g = context;
    const size_t begin = task * g->rows_each, end = begin + g->rows_each < g->rows ? begin + g->rows_each : g->rows;
    const size_t bytes = g->columns * g->size;
    (void)slot;
    for (size_t i = begin; i < end; i++)
        memcpy(g->to + i * bytes, g->from + (g->order ? (size_t)g->order[g->first + i] : g->first + i) * g->ld * g->size, bytes);
}

enum { GATHER_ALONE = 64 * 1024 /* bytes that one thread copies in the time that sharing takes */ };

/* Rows first .. first + rows - 1 in the order of `order`, close together: as they lie if they do, or copied to `room` */
static const void *batch_of(const void *from, size_t ld, size_t columns, size_t size, const int64_t *order, size_t first, size_t rows,
                            int close, void *room, size_t threads)
{
    if (rows == 1 || (!order && (ld == columns || !close))) return (const char *)from + (order ? (size_t)order[first] : first) * ld * size;
    gathering g = {from, room, order, first, rows, columns, ld, size, rows};
    if (threads > 1 && rows * columns * size > GATHER_ALONE) g.rows_each = (rows + threads - 1) / threads;
    if (g.rows_each == rows) gather_task(&g, 0, 0);
    else pynn_parallel((rows + g.rows_each - 1) / g.rows_each, gather_task, &g, threads);
    return room;
}

/* The cost of `rows` rows, and its gradients; or, given a learning rate, a step down them */
static double step(pynn_network *net, const pynn_objective *objective, size_t rows, const void *x, size_t ld_x, const void *target,
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

/* One trainer at a time. The mark of a trainer that was cut off by a fork means nothing to the child, but that the workspace may have been
 * half made, or freed: the child leaves it where it is. */
static void begin_training(pynn_network *net)
{
    const int mine = pynn_fork_generation() + 1;
    for (;;) {
        int holder = atomic_load_explicit(&net->training, memory_order_relaxed);
        if (holder != mine &&
            atomic_compare_exchange_weak_explicit(&net->training, &holder, mine, memory_order_acquire, memory_order_relaxed)) {
            if (holder) {
                net->memory = NULL;
                net->capacity = 0;
            }
            return;
        }
        pynn_yield();
    }
}

static void end_training(pynn_network *net) { atomic_store_explicit(&net->training, 0, memory_order_release); }

/* Whether a step is theta -= rate gradient and no more, which the kernel that sums a gradient can do at once; momentum that was there before
 * and may come back has its state kept */
static int plain(const pynn_optimizer *o)
{
    return o->hyperparameters[0] == 0 && !o->state[0] && !o->runs && !(o->clip_value < INFINITY) && !(o->clip_norm < INFINITY) &&
           !strcmp(pynn_optimizer_name((size_t)o->kind), "sgd");
}

/* Parameters that do not stay in a level 1 cache with their gradients and state: one sample's gradients are then used up as they are made
 * (Adam, three layers of 1024, two threads: a step of 1760 us before, 1380 us) */
enum { UPDATE_IN_PARTS_FROM = 1 << 13 };

static NOINLINE int train(pynn_network *net, const pynn_training *t)
{
    const size_t in = pynn_network_in(net), out = t->objective.labels ? 1 : pynn_network_out(net);
    const size_t batch = t->batch && t->batch < t->rows ? t->batch : t->rows;
    if (!t->rows) return PYNN_OK;
    begin_training(net);
    pynn_optimizer optimizer = *t->optimizer; /* which another thread may change: in one call, it stays as it is */
    const int at_once = !(t->gradients && t->gradients_wanted) && plain(&optimizer);
    void *const gradients = at_once ? NULL : t->gradients;
    const size_t limit = pynn_get_num_threads(), parameters = pynn_network_parameters(net);
    const int in_parts = !at_once && !t->gradients_wanted && !(optimizer.clip_norm < INFINITY) && parameters >= UPDATE_IN_PARTS_FROM;
    const int status = at_once || gradients ? reserve(net, batch, limit) : PYNN_UNKNOWN;
    for (size_t done = 0, b = 0; status == PYNN_OK && done < t->rows; done += batch, b++) {
        const size_t first = t->first + done, n = t->rows - done < batch ? t->rows - done : batch;
        const double learning_rate = t->learning_rates ? t->learning_rates[b] : t->learning_rate;
        const float rate_f32 = (float)learning_rate;
        const void *const rate = !at_once ? NULL : net->dtype == PYNN_F32 ? (const void *)&rate_f32 : (const void *)&learning_rate;
        const void *const x = batch_of(t->x, t->ld_x, in, net->size, t->order, first, n, 0, net->x, limit);
        const void *const target = batch_of(t->target, t->ld_target, out, net->size, t->order, first, n, 1, net->target, limit);
        const int line = n == 1 && !t->weights && !net->by_rows;
        if (line && in_parts) {
            const pynn_update update = pynn_begin_update(net->dtype, &optimizer, parameters, net->parameters, learning_rate);
            t->costs[b] = step_line(net, &t->objective, x, target, NULL, gradients, &update, limit);
        } else {
            const void *const weights = t->weights ? batch_of(t->weights, 1, 1, net->size, t->order, first, n, 1, net->weights, limit)
                                                   : NULL;
            if (line) t->costs[b] = step_line(net, &t->objective, x, target, rate, gradients, NULL, limit);
            else t->costs[b] = step(net, &t->objective, n, x, x == net->x ? in : t->ld_x, target, weights, rate, gradients, limit);
            if (at_once) optimizer.steps++;
            else pynn_run_optimizer(net->dtype, &optimizer, parameters, net->parameters, gradients, learning_rate);
        }
        t->optimizer->steps = optimizer.steps;
        memcpy(t->optimizer->running, optimizer.running, sizeof optimizer.running);
    }
    end_training(net);
    return status;
}

int pynn_network_train(pynn_network *net, const pynn_training *training)
{
    const int optimizer = training->optimizer->kind;
    if (!pynn_known_objective(&training->objective)) return PYNN_UNKNOWN;
    if (optimizer < 0 || (size_t)optimizer >= pynn_optimizer_count()) return PYNN_UNKNOWN;
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = train(net, training);
    pynn_restore_arithmetic(callers);
    return status;
}
