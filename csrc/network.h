/* network.h: a network as its four files see it: its stages, its workspace, and what one of the files has for another.
 *
 * A dense layer and the activation after it are one stage; what works on each row by itself (rows.h) is a stage of its own. Training keeps
 * for every stage its output y and, from the same evaluation, f' of its input; going back, each stage multiplies by f' as it produces dC/dX,
 * the `gradient` of the stage before, and parameters are updated by the kernel that sums their gradient, or that reads them
 * next. The order of operations is that of the single kernels called one by one.
 *
 * network.c makes networks, network_batch.c and network_sample.c predict and take a step, network_training.c takes one step after the other.
 */
#ifndef PYNN_NETWORK_H
#define PYNN_NETWORK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"
#include "kernels.h"
#include "pynn.h"

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
    void *statistics; /* of a normalisation, (storage, 2) in the workspace */
    void *y, *derivative, *gradient; /* (storage, out) in the workspace; derivative NULL without an activation */
    atomic_size_t turn; /* of a step: blocks of rows that have been added to its sums */
} stage;

struct pynn_network {
    int dtype;
    size_t size, count, widest, hidden;        /* of an element in bytes; of stages; of all layers; of all outputs but the last one's */
    int by_rows;                               /* whether it has stages that work on rows (pynn_run_rows) */
    double row_work; /* multiply-adds for a row, other work counted as what takes as long */
    size_t line_work, line_wide,
        line_scratch; /* of the largest layer in multiply-adds; bytes for an output, and for scratch, of one sample */
    char *parameters;
    size_t parameter_bytes;
    size_t block_rows; /* of a step at most, which go through all stages by themselves; 0: never */
    /* the workspace of training, for batches of up to `capacity` rows on up to `threads` threads, by these kernels; `storage` rows of them are
     * there at a time */
    size_t capacity, storage, threads, scratch_each;
    const pynn_kernels *kernels;
    void *memory;
    void *x, *target, *weights; /* (capacity, in), (capacity, out), (capacity) */
    void *sums; /* as the parameters, if they are few */
    void *second; /* (widest), of network_sample.c */
    void *scratch;
    atomic_int training;
    stage stages[];
};

enum {
    ROOM = 64, /* bytes of a cache line and of the widest vector, in which roomy arrays (kernels/lines.h) are written */
    UPDATE_AT_ONCE = 16 * 1024, /* bytes of a gradient that is used up in a level 1 cache */
    ROWS_AT_ONCE_BYTES = 256 * 1024, /* of activations that stay in a level 2 cache */
    BLOCK_LEAST = 64, /* rows worth a block of their own */
    SUMS_MOST = 32 * 1024, /* bytes of parameters whose sums, in a cache of level 1, go from block to block of rows */
    PREDICT_ON_STACK = 24 * 1024, /* bytes of workspace for which predicting allocates nothing */
};

/* Counts what a workspace needs: give() moves a cursor, and says so if the sum does not fit. */
typedef struct {
    char *base; /* NULL while counting */
    size_t used;
    int overflow;
} cursor;

INLINE void *give(cursor *c, size_t rows, size_t columns, size_t size)
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

INLINE void *aligned(void *memory) { return (char *)memory + (ROOM - (uintptr_t)memory % ROOM); }

/* Where a layer's weight goes, and its bias: to its gradients, or, without an arena of gradients, to the updated parameters */
INLINE char *weight_of(const pynn_network *net, const stage *s, void *gradients)
{
    return gradients && s->w ? (char *)gradients + s->weight * net->size : s->w;
}

INLINE char *bias_of(const pynn_network *net, const stage *s, void *gradients)
{
    return gradients && s->b ? (char *)gradients + s->bias * net->size : s->b;
}

/* ---- network_batch.c ------------------------------------------------------------------------------------------------- */

/* Bytes of scratch that a thread needs at most, for one layer of so many rows; PYNN_TOO_LARGE where they cannot be counted */
int pynn_most_scratch(const pynn_network *net, size_t rows, size_t *each, int training);
/* y (rows, out) of rows first, first + 1, ... of a stage that works on each row by itself; dropout drops in training alone, and a
 * normalisation keeps its statistics unless NULL */
void pynn_run_rows(const pynn_network *net, const stage *s, size_t first, size_t rows, const void *x, size_t ld_x, void *y, int training,
                   void *statistics, size_t threads);
/* For a step of up to `rows` rows: rows of one block at most, and rows that are in the workspace at a time */
size_t pynn_step_most_rows(const pynn_network *net, size_t rows);
size_t pynn_step_storage(const pynn_network *net, size_t rows, size_t threads);
int pynn_predict_batch(const pynn_network *net, size_t rows, const void *x, size_t ld_x, void *y);
/* The cost of `rows` rows, and its gradients; or, given a learning rate, a step down them */
double pynn_step_batch(pynn_network *net, const pynn_objective *objective, size_t rows, const void *x, size_t ld_x, const void *target,
                       const void *weights, const void *learning_rate, void *gradients, size_t threads);

/* ---- network_sample.c ------------------------------------------------------------------------------------------------ */

int pynn_predict_line(const pynn_network *net, const void *x, void *y);
/* Whether the step of the first stage's weight may be held, for the next sample's forward pass to take as it reads the weight: where that has
 * whole rows of it for each thread, and as many threads */
int pynn_can_hold(const pynn_network *net, size_t threads);
/* The cost of one sample, and its gradients; or, given a learning rate, a step down them; or, given an update, its steps (then gradients are
 * room for them). Takes the step that is `held`, unless NULL, and, if `hold`, leaves out that of the first stage's weight, whose dC/dY stays in
 * its `gradient` until the cost of the next sample is known; x must stay where it is as long. */
double pynn_step_line(pynn_network *net, const pynn_objective *objective, const void *x, const void *target, const void *learning_rate,
                      void *gradients, const pynn_update *update, const pynn_held *held, int hold, size_t threads);

#endif
