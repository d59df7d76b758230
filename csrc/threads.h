/* threads.h: the worker pool. */
#ifndef PYNN_THREADS_H
#define PYNN_THREADS_H

#include <stdatomic.h>
#include <stddef.h>

enum { PYNN_MOST_THREADS = 255 };

/* Calls task(context, i, slot) for i = 0 .. count - 1, each once, on this thread and on workers that are free, and returns when all are
 * done. slot < threads (at least 1) differs between tasks that run at the same time. They begin in order, so a task may wait for what an
 * earlier one does, but for nothing else. While another thread has the pool, or inside a task, everything runs on this thread. */
void pynn_parallel(size_t count, void (*task)(void *context, size_t i, size_t slot), void *context, size_t threads);

/* How many forks lie between this process and the first one to ask. */
int pynn_fork_generation(void);
/* Returns when a task, after the memory that it wrote, has set *counter to `value`. */
void pynn_await(const atomic_size_t *counter, size_t value);
/* Lets another thread run. */
void pynn_yield(void);

#endif
