/* threads.c: a pool of workers that help with the tasks of one job at a time.
 *
 * All that a worker must know to claim a task is one atomic word: the job's number and how many tasks are left. It takes one off
 * by compare-and-swap, so nobody can claim a task of a job that is over; whoever claimed one holds the job open until it is
 * done. The caller works too and waits only for tasks in progress, never for a worker to wake, so a busy or sleeping processor costs
 * nothing but its help. Workers start at the first need, spin for a while after each job, then sleep.
 *
 * fork: the child starts with an empty pool, whatever its parent's threads were doing.
 */
#if !defined(_WIN32) && !defined(PYNN_NO_THREADS)
#if defined(__linux__)
#define _GNU_SOURCE /* sched_getcpu and affinity */
#else
#define _POSIX_C_SOURCE 200809L
#endif
#define HAVE_PTHREADS 1
#endif

#include "threads.h"

#include <stdatomic.h>

#include "arithmetic.h"
#include "pynn.h"

static atomic_size_t limit = 1;

size_t pynn_get_num_threads(void) { return atomic_load_explicit(&limit, memory_order_relaxed); }

static void run_alone(size_t count, void (*task)(void *, size_t, size_t), void *context)
{
    for (size_t i = 0; i < count; i++) task(context, i, 0);
}

#if HAVE_PTHREADS

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("isb")
#else
#define PAUSE() ((void)0)
#endif

typedef void (*task_function)(void *, size_t, size_t);

enum {
    SPIN_NANOSECONDS = 60000, /* longer than the Python between two calls of a busy loop; shorter than a scheduler's time slice */
    SPINS_PER_LOOK = 64,      /* between two looks at the clock */
    SPINS_BEFORE_YIELD = 1000, /* some tens of microseconds */
};

static struct {
    atomic_flag taken;       /* one caller at a time */
    _Atomic uint64_t ticket; /* number of the job << 40 | threads that may help << 32 | tasks left */
    atomic_size_t done;      /* tasks done of this job */
    task_function task;
    void *context;
    size_t count;
    pthread_mutex_t lock; /* guards what follows, and sleeping */
    pthread_cond_t wake, finished;
    atomic_int sleeping, waiting; /* workers for a job; the caller for the last task of its own */
    atomic_size_t started;                    /* workers 1 .. started - 1 need not be started again */
    unsigned char running[PYNN_MOST_THREADS + 1]; /* by slot; 0 is the caller's */
#if defined(__linux__)
    pid_t thread[PYNN_MOST_THREADS + 1]; /* its number; 0 before it runs */
    cpu_set_t place[PYNN_MOST_THREADS + 1]; /* processors that it was told to keep to; none before it was */
#endif
} pool = {
    .taken = ATOMIC_FLAG_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .finished = PTHREAD_COND_INITIALIZER};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int generation;

/* In a forked child no worker exists, and locks are as some thread of the parent left them. */
static void forget_parent(void)
{
    atomic_fetch_add(&generation, 1);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.finished, NULL);
    atomic_store(&pool.waiting, 0);
    atomic_store(&pool.sleeping, 0);
    atomic_store(&pool.started, 0);
    atomic_store(&pool.ticket, 0);
    for (size_t slot = 0; slot <= PYNN_MOST_THREADS; slot++) {
        pool.running[slot] = 0;
#if defined(__linux__)
        pool.thread[slot] = 0;
#endif
    }
    atomic_flag_clear(&pool.taken);
}

static void register_fork_handler(void) { pthread_atfork(NULL, NULL, forget_parent); }

/* Called when a network is made and when the number of threads is set, as it is at import, not only at first need: a fork that has begun
 * in one thread does not know of a handler that another one registers. */
int pynn_fork_generation(void)
{
    pthread_once(&once, register_fork_handler);
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

void pynn_yield(void) { sched_yield(); }

void pynn_await(const atomic_size_t *counter, size_t value)
{
    for (size_t i = 0; atomic_load_explicit(counter, memory_order_acquire) != value; i++) {
        if (i < SPINS_BEFORE_YIELD) PAUSE();
        else sched_yield(); /* to the task that is awaited, if there are too few processors */
    }
}

/* Takes tasks of the job in hand until none is left; whether it did any. */
static int help(size_t slot)
{
    int helped = 0;
    uint64_t ticket = atomic_load_explicit(&pool.ticket, memory_order_acquire);
    while ((uint32_t)ticket && slot < (ticket >> 32 & 255)) {
        if (!atomic_compare_exchange_weak_explicit(&pool.ticket, &ticket, ticket - 1, memory_order_acq_rel, memory_order_acquire)) continue;
        pool.task(pool.context, pool.count - (uint32_t)ticket, slot);
        const size_t count = pool.count; /* the next job may change it once this task is done */
        if (atomic_fetch_add(&pool.done, 1) + 1 == count && atomic_load(&pool.waiting)) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.finished);
            pthread_mutex_unlock(&pool.lock);
        }
        helped = 1;
        ticket = atomic_load_explicit(&pool.ticket, memory_order_acquire);
    }
    return helped;
}

static uint64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Linux often wakes a thread on the processor of the one that wakes it, and leaves both there for milliseconds while another processor
 * idles, since a thread that waits for its turn cannot move itself (256 rows through 784-128-10, after 60 ms of rest: 484 us a call by
 * "two" threads for the first three calls, 270 us by two). So before they are woken, workers are told to stay off that processor, and to
 * have the caller's others. */
#if defined(__linux__)
static void note_worker(size_t slot, int running)
{
    pool.thread[slot] = running ? (pid_t)syscall(SYS_gettid) : 0;
    CPU_ZERO(&pool.place[slot]);
}

/* With the lock held. */
static void place_workers(void)
{
    cpu_set_t allowed;
    const int processor = sched_getcpu();
    if (processor < 0 || processor >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed)) return;
    CPU_CLR((size_t)processor, &allowed);
    if (!CPU_COUNT(&allowed)) CPU_SET((size_t)processor, &allowed);
    for (size_t slot = 1; slot < pool.started; slot++)
        if (pool.thread[slot] && !CPU_EQUAL(&allowed, &pool.place[slot]) && !sched_setaffinity(pool.thread[slot], sizeof allowed, &allowed))
            pool.place[slot] = allowed;
}
#else
static void note_worker(size_t slot, int running)
{
    (void)slot;
    (void)running;
}
static void place_workers(void) {}
#endif

static int tasks_left(void) { return (uint32_t)atomic_load(&pool.ticket) != 0; }

static void *worker(void *slot_as_pointer)
{
    const size_t slot = (size_t)(uintptr_t)slot_as_pointer;
    pynn_default_arithmetic(); /* as any caller of pynn_parallel, whatever a new thread begins with */
    pthread_mutex_lock(&pool.lock);
    note_worker(slot, 1);
    pthread_mutex_unlock(&pool.lock);
    for (;;) {
        uint64_t until = nanoseconds() + SPIN_NANOSECONDS;
        while (slot < pynn_get_num_threads() && nanoseconds() < until) {
            for (int i = 0; i < SPINS_PER_LOOK && !tasks_left(); i++) PAUSE();
            if (help(slot)) until = nanoseconds() + SPIN_NANOSECONDS;
        }
        pthread_mutex_lock(&pool.lock);
        atomic_fetch_add(&pool.sleeping, 1);
        while (slot < pynn_get_num_threads() && !tasks_left()) /* after sleeping is raised: the caller looks the other way round */
            pthread_cond_wait(&pool.wake, &pool.lock);
        atomic_fetch_sub(&pool.sleeping, 1);
        const int surplus = slot >= pynn_get_num_threads();
        if (surplus) {
            pool.running[slot] = 0;
            note_worker(slot, 0);
        }
        pthread_mutex_unlock(&pool.lock);
        if (surplus) return NULL;
    }
}

/* With the pool taken: one worker for each slot up to the limit. A thread that cannot be had is done without. */
static void start_workers(size_t threads)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the program's own threads' business */
    pthread_mutex_lock(&pool.lock);
    for (size_t slot = 1; slot < threads; slot++) {
        pthread_t thread;
        if (!pool.running[slot] && !pthread_create(&thread, &attributes, worker, (void *)(uintptr_t)slot)) pool.running[slot] = 1;
    }
    atomic_store(&pool.started, threads);
    pthread_mutex_unlock(&pool.lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* Returns when all tasks are done. A worker that the system has put aside in the middle of one may not run again until this processor is
 * free, so after a while this thread sleeps. */
static void wait_for(size_t count)
{
    const uint64_t until = nanoseconds() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < SPINS_PER_LOOK; i++) {
            if (atomic_load_explicit(&pool.done, memory_order_acquire) == count) return;
            PAUSE();
        }
    } while (nanoseconds() < until);
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.waiting, 1); /* before looking: whoever finishes looks the other way round */
    while (atomic_load(&pool.done) != count) pthread_cond_wait(&pool.finished, &pool.lock);
    atomic_store(&pool.waiting, 0);
    pthread_mutex_unlock(&pool.lock);
}

void pynn_parallel(size_t count, void (*task)(void *, size_t, size_t), void *context, size_t threads)
{
    if (count < 2 || threads < 2 || count > UINT32_MAX || atomic_flag_test_and_set_explicit(&pool.taken, memory_order_acquire)) {
        run_alone(count, task, context);
        return;
    }
    if (atomic_load_explicit(&pool.started, memory_order_relaxed) < threads) start_workers(threads);
    const uint64_t number = (atomic_load_explicit(&pool.ticket, memory_order_relaxed) >> 40) + 1;
    pool.task = task;
    pool.context = context;
    pool.count = count;
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    atomic_store(&pool.ticket, number << 40 | (uint64_t)threads << 32 | count);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.lock);
        place_workers();
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    help(0);
    wait_for(count);
    atomic_flag_clear_explicit(&pool.taken, memory_order_release);
}

void pynn_set_num_threads(size_t n)
{
    const size_t threads = n < 1 ? 1 : n > PYNN_MOST_THREADS ? PYNN_MOST_THREADS : n;
    pynn_fork_generation();
    pthread_mutex_lock(&pool.lock);
    atomic_store(&limit, threads);
    atomic_store(&pool.started, 0); /* a call that began with more threads may have started some that went at once */
    pthread_cond_broadcast(&pool.wake); /* workers beyond the limit go */
    pthread_mutex_unlock(&pool.lock);
}

#else

void pynn_parallel(size_t count, void (*task)(void *, size_t, size_t), void *context, size_t threads)
{
    (void)threads;
    run_alone(count, task, context);
}
void pynn_set_num_threads(size_t n) { (void)n; }
int pynn_fork_generation(void) { return 0; }
void pynn_yield(void) {}
void pynn_await(const atomic_size_t *counter, size_t value)
{
    (void)counter;
    (void)value;
}

#endif
