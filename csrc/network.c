/* network.c: a network is made of a list of layers, says what it is, predicts, and is freed. */
#include "network.h"

#include <stdlib.h>
#include <string.h>

#include "arithmetic.h"
#include "threads.h"

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
    double row_size = 1 + (double)net->stages[0].in; /* numbers that a step keeps of one sample */
    for (const stage *s = net->stages; s < net->stages + net->count; s++) {
        row_size += 3 * (double)s->out;
        if (s->activation != PYNN_NO_ACTIVATION || s->kind < PYNN_DENSE) net->row_work += PYNN_ACTIVATION_WORK * (double)s->out;
        if (s->kind == PYNN_DENSE) {
            size_t work;
            net->row_work += (double)s->in * (double)s->out;
            if (pynn_multiply_sizes(s->in, s->out, &work)) wide.overflow = 1;
            else if (work > net->line_work) net->line_work = work;
        }
    }
    if (net->parameter_bytes <= SUMS_MOST) {
        const size_t fitting = (size_t)(ROWS_AT_ONCE_BYTES / ((double)net->size * row_size)) / COST_CHAINS * COST_CHAINS;
        net->block_rows = fitting < BLOCK_LEAST ? BLOCK_LEAST : fitting;
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
    if (net && !atomic_load_explicit(&net->training, memory_order_relaxed)) free(net->memory); /* see network_training.c */
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
double pynn_network_work(const pynn_network *net) { return net->row_work; }

int pynn_network_predict(const pynn_network *net, size_t rows, const void *x, size_t ld_x, void *y)
{
    const pynn_arithmetic callers = pynn_default_arithmetic();
    const int status = rows == 1 ? pynn_predict_line(net, x, y) : pynn_predict_batch(net, rows, x, ld_x, y);
    pynn_restore_arithmetic(callers);
    return status;
}
