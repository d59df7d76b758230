/* network_sample.c: prediction, and a step of training, of one sample.
 *
 * Without the machinery of network_batch.c, whose calls would take longer than the work in a small net. Outputs are roomy (kernels/lines.h):
 * each lies at a multiple of 64 bytes with nothing else in its last 64. Large layers are shared out so that each thread has rows of the
 * weight, which follow one another in memory: back by inputs; forward by halves of the four chains where the weight is far (1024 x 1024, two
 * threads, float32: by halves of the outputs 31 us, by halves of the chains 25 us, of 24 us that reading takes) or is written as it is read, else
 * by outputs. An optimizer
 * takes its step of a few rows of a large weight at a time, while their gradients are in a level 1 cache.
 */
#include "network.h"

#include <stdlib.h>
#include <string.h>

#include "dispatch.h"
#include "threads.h"

enum {
    /* Multiply-adds. A smaller weight, of 1 MiB in float32, stays in one core's level 2 cache; shared out, its lines would go from one core's cache
     * to the other's in each step, also since prefetchers ask for the neighbour's (a step of 784-128-10, AVX2: 15 us by one thread, 24 us by two). */
    SHARE_LINE_FROM = 1 << 18,
    HALVE_LINE_FROM = 1 << 20, /* bytes of a weight that is not in a level 2 cache as a whole */
};

typedef struct {
    const pynn_kernels *kernels;
    const stage *s;
    size_t size, each, halves, scratch_each;
    const char *x, *dy;
    char *factor, *y, *second, *derivative, *dx, *scratch;
    const void *learning_rate;
    const pynn_held *held;
    const pynn_update *update;
    char *new_weight, *new_bias;
} line_job;

static size_t part(size_t all, size_t from, size_t each) { return all - from < each ? all - from : each; }

static char *past(char *p, size_t bytes) { return p ? p + bytes : NULL; }

/* Strips of `each` outputs, two tasks for each if there are four chains: one half goes to y, the other to `second`. A step is held only where
 * halves have whole rows (pynn_can_hold). */
static void forward_task(void *context, size_t task, size_t slot)
{
    const line_job *const job = context;
    const stage *const s = job->s;
    const size_t j = task / job->halves * job->each, bytes = j * job->size, n = part(s->out, j, job->each);
    char *const w = s->w + bytes, *const b = past(s->b, bytes), *const scratch = job->scratch + slot * job->scratch_each;
    if (job->halves == 2)
        job->kernels->line_half(s->in, n, w, s->ld, job->x, b, (int)(task % 2), job->held, (task % 2 ? job->second : job->y) + bytes,
                                scratch);
    else
        job->kernels->line_forward(s->in, n, w, s->ld, s->order, job->x, b, s->activation, s->parameter, NULL, job->y + bytes,
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

/* y = f(b + W x), derivative = f' of the same unless NULL, after the step of W that is held, unless NULL; second: room for as many */
static void run_line(const pynn_network *net, const stage *s, const void *x, const pynn_held *held, void *y, void *second, void *derivative,
                     size_t threads, void *scratch, size_t scratch_each)
{
    const pynn_kernels *const kernels = pynn_table(net->dtype);
    if (s->kind < PYNN_DENSE) {
        pynn_run_rows(net, s, 0, 1, x, s->in, y, 0, NULL, threads);
        return;
    }
    if (s->kind != PYNN_DENSE) {
        if (derivative) kernels->activate_both(s->activation, s->parameter, s->in, x, y, derivative);
        else kernels->activate(s->activation, s->parameter, s->in, x, y);
        return;
    }
    const int far = s->in * s->out * net->size > HALVE_LINE_FROM && s->in >= CHAINS_FROM;
    const size_t halves = (far || held) && line_share(s, s->out, threads, net->size) < s->out ? 2 : 1;
    const size_t each = threads / halves > 1 ? line_share(s, s->out, threads / halves, net->size) : s->out;
    if (halves == 1 && each == s->out) {
        kernels->line_forward(s->in, s->out, s->w, s->ld, s->order, x, s->b, s->activation, s->parameter, held, y, derivative, scratch);
        return;
    }
    line_job job = {.kernels = kernels,
                    .s = s,
                    .size = net->size,
                    .each = each,
                    .halves = halves,
                    .scratch_each = scratch_each,
                    .held = held,
                    .x = x,
                    .y = y,
                    .second = second,
                    .derivative = derivative,
                    .scratch = scratch};
    pynn_parallel((s->out + each - 1) / each * halves, forward_task, &job, threads);
    if (halves == 2) kernels->line_join(s->out, second, s->activation, s->parameter, y, derivative);
}

int pynn_can_hold(const pynn_network *net, size_t threads)
{
    const stage *const s = net->stages;
    if (s->kind != PYNN_DENSE || s->order != PYNN_IN_MAJOR) return 0;
    const int back = line_share(s, s->in, threads, net->size) < s->in, forward = line_share(s, s->out, threads, net->size) < s->out;
    return back || forward ? back && forward && s->in >= CHAINS_FROM && threads < 4 : 1;
}

double pynn_step_line(pynn_network *net, const pynn_objective *objective, const void *x, const void *target, const void *learning_rate,
                      void *gradients, const pynn_update *update, const pynn_held *held, int hold, size_t threads)
{
    const pynn_kernels *const kernels = net->kernels;
    const stage *s = net->stages, *const last = s + net->count - 1;
    const void *in = x;
    for (;; s++) {
        run_line(net, s, in, s == net->stages ? held : NULL, s->y, net->second, s->derivative, threads, net->scratch, net->scratch_each);
        in = s->y;
        if (s == last) break;
    }
    char *const last_gradient = s->gradient;
    double cost;
    if (objective->cost == PYNN_SOFTMAX_CROSS_ENTROPY) {
        cost = kernels->cross_entropy(s->out, objective->labels, objective->parameter, s->y, target);
        kernels->cross_entropy_gradient(s->out, objective->labels, objective->parameter, 1, s->y, target, s->derivative, last_gradient);
    } else {
        double chains[COST_CHAINS] = {0};
        kernels->add_costs(objective->cost, objective->parameter, s->out, s->y, target, chains);
        cost = pynn_sum_chains(chains) / (double)s->out;
        kernels->cost_gradient(objective->cost, objective->parameter, s->out, 1 / (double)s->out, s->y, target, s->derivative,
                               last_gradient, 1);
    }
    for (;; s--) {
        const stage *const below = s == net->stages ? NULL : s - 1;
        if (s->kind != PYNN_DENSE) {
            if (!below) break;
            if (below->derivative) kernels->multiply(s->in, below->derivative, below->gradient);
            continue;
        }
        const void *const input = below ? below->y : x;
        char *const dy = s->gradient, *const factor = below ? below->derivative : NULL, *const wanted = below ? below->gradient : NULL;
        char *const weight = weight_of(net, s, gradients), *const bias = bias_of(net, s, gradients);
        const size_t each = line_share(s, s->in, threads, net->size);
        if (!below && hold) {
            if (bias) kernels->gradient_descent(s->out, bias, dy, learning_rate);
        } else if (each == s->in && (!update || s->order != PYNN_IN_MAJOR)) {
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
    }
    return cost;
}

NOINLINE int pynn_predict_line(const pynn_network *net, const void *x, void *y)
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
        run_line(net, s, in, NULL, to, workspace + 2 * net->line_wide, NULL, threads, workspace + 3 * net->line_wide, net->line_scratch);
        in = to;
    }
    memcpy(y, in, net->stages[net->count - 1].out * net->size);
    free(memory);
    return PYNN_OK;
}
