/* network_training.c: training, one step after the other: its workspace, the rows of each batch, who may train, and what takes the steps. */
#include "network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arithmetic.h"
#include "dispatch.h"
#include "threads.h"

/* ---- the workspace --------------------------------------------------------------------------------------------------- */

static void lay_out(pynn_network *net, cursor *c, size_t rows, size_t storage, size_t threads, size_t scratch_each)
{
    net->x = give(c, rows, net->stages[0].in, net->size);
    net->target = give(c, rows, net->stages[net->count - 1].out, net->size);
    net->weights = give(c, rows, 1, net->size);
    net->sums = give(c, net->block_rows ? net->parameter_bytes : 0, 1, 1);
    net->second = give(c, 1, net->widest, net->size);
    for (size_t i = net->count; i-- > 0;) {
        stage *const s = net->stages + i;
        s->y = give(c, storage, s->out, net->size);
        /* An activation on its own multiplies in place. */
        s->gradient = i + 1 < net->count && s[1].kind > PYNN_DENSE ? s[1].gradient : give(c, storage, s->out, net->size);
        if (s->activation != PYNN_NO_ACTIVATION) s->derivative = give(c, storage, s->out, net->size);
        if (s->kind == PYNN_LAYER_NORM) s->statistics = give(c, storage, 2, net->size);
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
    const size_t storage = pynn_step_storage(net, rows, threads);
    net->capacity = 0; /* until all of it is there */
    if (pynn_most_scratch(net, pynn_step_most_rows(net, rows), &each, 1)) return PYNN_TOO_LARGE;
    lay_out(net, &counted, rows, storage, threads, each);
    if (counted.overflow) return PYNN_TOO_LARGE;
    free(net->memory);
    net->memory = malloc(counted.used + ROOM);
    if (!net->memory) return PYNN_NO_MEMORY;
    cursor placed = {aligned(net->memory), 0, 0};
    lay_out(net, &placed, rows, storage, threads, each);
    net->capacity = rows;
    net->storage = storage;
    net->threads = threads;
    net->scratch_each = each;
    net->kernels = kernels;
    return PYNN_OK;
}

/* ---- the rows of a batch --------------------------------------------------------------------------------------------- */

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

/* Rows first .. first + rows - 1 in the order of `order`, close together: as they lie if they do, as one row always does, or copied to `room` */
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

/* ---- steps ----------------------------------------------------------------------------------------------------------- */

/* One trainer at a time. The mark of a trainer that was cut off by a fork means nothing to the child, but that the workspace may have been
 * half made, or freed: the child leaves it where it is. PYNN_BUSY where there is one and the caller does not wait. */
static int begin_training(pynn_network *net, int no_waiting)
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
            return PYNN_OK;
        }
        if (no_waiting && holder == mine) return PYNN_BUSY;
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
    const size_t in = net->stages[0].in, out = t->objective.labels ? 1 : net->stages[net->count - 1].out;
    const size_t batch = t->batch && t->batch < t->rows ? t->batch : t->rows;
    if (!t->rows) return PYNN_OK;
    if (begin_training(net, t->no_waiting)) return PYNN_BUSY;
    pynn_optimizer optimizer = *t->optimizer; /* which another thread may change: in one call, it stays as it is */
    const int at_once = !(t->gradients && t->gradients_wanted) && plain(&optimizer);
    void *const gradients = at_once ? NULL : t->gradients;
    const size_t limit = pynn_get_num_threads(), parameters = net->parameter_bytes / net->size;
    const int in_parts = !at_once && !t->gradients_wanted && !(optimizer.clip_norm < INFINITY) && parameters >= UPDATE_IN_PARTS_FROM;
    /* One sample's step of the first weight, which gives no dC/dX, and the next one's forward pass go over that weight together (784-128-10,
     * AVX2, in an epoch: float32 21.6 us, 15.7 us; float64 40.6 us, 30.8 us). */
    const int holding = at_once && batch == 1 && t->rows > 1 && !t->weights && !net->by_rows && pynn_can_hold(net, limit);
    pynn_held held = {NULL, NULL, NULL, 0};
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
            t->costs[b] = pynn_step_line(net, &t->objective, x, target, NULL, gradients, &update, NULL, 0, limit);
        } else {
            const void *const weights = t->weights ? batch_of(t->weights, 1, 1, net->size, t->order, first, n, 1, net->weights, limit)
                                                   : NULL;
            if (line) {
                const int hold = holding && done + 1 < t->rows;
                t->costs[b] = pynn_step_line(net, &t->objective, x, target, rate, gradients, NULL, held.weight ? &held : NULL, hold, limit);
                if (holding) held = (pynn_held){hold ? net->stages->w : NULL, x, net->stages->gradient, learning_rate};
            } else
                t->costs[b] =
                    pynn_step_batch(net, &t->objective, n, x, x == net->x ? in : t->ld_x, target, weights, rate, gradients, limit);
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
