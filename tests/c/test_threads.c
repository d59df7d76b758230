/* Many threads call the core at once, while its pool works and the number of its threads changes: the same bits as one thread alone. Made
 * for a sanitizer that sees data races. */
#include <math.h>
#include <pthread.h>

#include "pynn.h"

#include "memory.h"

enum { IN = 64, HIDDEN = 160, OUT = 8, BATCH = 128, CALLERS = 6, TIMES = 12, PARAMETERS = IN * HIDDEN + HIDDEN + HIDDEN * OUT };
enum { WIDE = 544, ROWS = 3, WIDE_PARAMETERS = WIDE * WIDE + WIDE * OUT }; /* a weight of more than 1 MiB */

static float x[BATCH * IN], target[BATCH * OUT];

typedef struct {
    float parameters[PARAMETERS], y[BATCH * OUT];
    pynn_network *net;
} model;

static model *new_model(void)
{
    const pynn_layer layers[] = {
        {.kind = PYNN_DENSE, .order = pynn_weight_order(IN, HIDDEN), .in = IN, .out = HIDDEN, .weight = 0, .bias = IN * HIDDEN},
        {.kind = 1, .in = HIDDEN, .out = HIDDEN},
        {.kind = PYNN_DENSE,
         .order = pynn_weight_order(HIDDEN, OUT),
         .in = HIDDEN,
         .out = OUT,
         .weight = IN * HIDDEN + HIDDEN,
         .bias = SIZE_MAX},
    };
    model *const m = malloc(sizeof *m);
    if (!m) fail("no memory");
    state = 5;
    fill(PYNN_F32, m->parameters, PARAMETERS);
    if (pynn_network_new(PYNN_F32, 3, layers, m->parameters, &m->net)) fail("pynn_network_new");
    return m;
}

static void free_model(model *m)
{
    pynn_network_free(m->net);
    free(m);
}

static pynn_optimizer new_sgd(void) { return (pynn_optimizer){.running = {1, 1, 1}, .clip_value = INFINITY, .clip_norm = INFINITY}; }

static pynn_training new_training(pynn_optimizer *sgd, double learning_rate, double *costs)
{
    return (pynn_training){.optimizer = sgd,
                           .learning_rate = learning_rate,
                           .rows = BATCH,
                           .x = x,
                           .target = target,
                           .ld_x = IN,
                           .ld_target = OUT,
                           .costs = costs};
}

static void train_and_predict(model *m)
{
    double costs[4];
    pynn_optimizer sgd = new_sgd();
    pynn_training training = new_training(&sgd, 0.1, costs);
    for (int i = 0; i < TIMES; i++) {
        training.batch = i % 3 ? BATCH : 40;
        if (pynn_network_train(m->net, &training)) fail("train");
    }
    if (pynn_network_predict(m->net, BATCH, x, IN, m->y)) fail("predict");
}

static model *wanted; /* what one thread alone makes of it */
static model *shared; /* asked for predictions by all */

static void *own_network(void *context)
{
    model *const m = context;
    train_and_predict(m);
    return NULL;
}

static void *predictions(void *context)
{
    float *const y = malloc(sizeof shared->y);
    if (!y) fail("no memory");
    for (size_t i = 0; i < 4 * TIMES; i++) {
        const size_t rows = i % 3 ? BATCH : 1 + (size_t)(uintptr_t)context;
        if (pynn_network_predict(shared->net, rows, x, IN, y)) fail("predict");
        if (memcmp(y, wanted->y, rows * OUT * sizeof *y)) fail("a prediction made beside others has other bits");
    }
    free(y);
    return NULL;
}

static float wide_x[ROWS * WIDE], wide_target[ROWS * OUT], wide_wanted[WIDE_PARAMETERS + OUT]; /* parameters and a prediction */

/* Row by row, by Adam and then by plain gradient descent, through a layer that one sample is shared out for, as one thread alone does it;
 * the first call is that one */
static void *wide_samples(void *context)
{
    const pynn_layer layers[] = {
        {.kind = PYNN_DENSE, .order = PYNN_IN_MAJOR, .in = WIDE, .out = WIDE, .weight = 0, .bias = SIZE_MAX},
        {.kind = 1, .in = WIDE, .out = WIDE},
        {.kind = PYNN_DENSE, .order = PYNN_OUT_MAJOR, .in = WIDE, .out = OUT, .weight = WIDE * WIDE, .bias = SIZE_MAX},
    };
    float *const parameters = calloc(4 * WIDE_PARAMETERS + OUT, sizeof *parameters), *const y = parameters + WIDE_PARAMETERS;
    float *const gradients = y + OUT, *const states[] = {gradients + WIDE_PARAMETERS, gradients + 2 * WIDE_PARAMETERS};
    double costs[ROWS];
    pynn_network *net;
    pynn_optimizer adam = {.hyperparameters = {0.9, 0.999, 1e-8},
                           .running = {1, 1, 1},
                           .clip_value = INFINITY,
                           .clip_norm = INFINITY,
                           .state = {states[0], states[1]}};
    if (!parameters) fail("no memory");
    while (strcmp(pynn_optimizer_name((size_t)adam.kind), "adam")) adam.kind++;
    for (size_t i = 0; i < WIDE_PARAMETERS; i++) parameters[i] = (float)(i % 89) / 4096 - 0.01f;
    if (pynn_network_new(PYNN_F32, 3, layers, parameters, &net)) fail("pynn_network_new");
    const pynn_training training = {.optimizer = &adam,
                                    .learning_rate = 0.01,
                                    .rows = ROWS,
                                    .batch = 1,
                                    .x = wide_x,
                                    .target = wide_target,
                                    .ld_x = WIDE,
                                    .ld_target = OUT,
                                    .gradients = gradients,
                                    .costs = costs};
    pynn_optimizer sgd = new_sgd();
    pynn_training by_sgd = training;
    by_sgd.optimizer = &sgd;
    if (pynn_network_train(net, &training) || pynn_network_train(net, &by_sgd) || pynn_network_predict(net, 1, wide_x, WIDE, y))
        fail("a wide network");
    if (!context) memcpy(wide_wanted, parameters, sizeof wide_wanted);
    else if (memcmp(parameters, wide_wanted, sizeof wide_wanted)) fail("a wide network trained by threads has other bits");
    pynn_network_free(net);
    free(parameters);
    return NULL;
}

static void *kernels(void *context)
{
    enum { N = 50000 };
    float *const a = malloc(N * sizeof *a), *const b = malloc(N * sizeof *b);
    (void)context;
    if (!a || !b) fail("no memory");
    for (size_t i = 0; i < N; i++) a[i] = (float)i / N;
    for (int i = 0; i < TIMES; i++)
        if (pynn_activation(PYNN_F32, i % (int)pynn_activation_count(), 0.3, N, a, b) || pynn_gradient_descent(PYNN_F32, N, b, a, 0.1))
            fail("kernels");
    free(a);
    free(b);
    return NULL;
}

static void *one_trainer_of_many(void *context)
{
    double cost;
    pynn_optimizer sgd = new_sgd();
    pynn_training training = new_training(&sgd, 0, &cost);
    for (int i = 0; i < TIMES; i++) {
        const int64_t before = sgd.steps;
        training.no_waiting = i % 2;
        const int status = pynn_network_train(context, &training);
        if (status != PYNN_OK && (status != PYNN_BUSY || !training.no_waiting)) fail("train");
        if (sgd.steps != before + (status == PYNN_OK)) fail("steps");
    }
    return NULL;
}

static void *changes(void *context)
{
    (void)context;
    for (size_t i = 0; i < 40 * TIMES; i++) {
        pynn_set_num_threads(1 + i % 5);
        if (pynn_get_num_threads() < 1) fail("no threads");
    }
    return NULL;
}

/* Runs f(context of each) in CALLERS threads, and perhaps one that changes the number of threads */
static void all(void *(*f)(void *), void **contexts, int changing)
{
    pthread_t callers[CALLERS + 1];
    for (size_t i = 0; i < CALLERS; i++)
        if (pthread_create(callers + i, NULL, f, contexts[i])) fail("pthread_create");
    if (changing && pthread_create(callers + CALLERS, NULL, changes, NULL)) fail("pthread_create");
    for (size_t i = 0; i < CALLERS + (changing ? 1 : 0); i++) pthread_join(callers[i], NULL);
}

int main(void)
{
    fill(PYNN_F32, x, BATCH * IN);
    fill(PYNN_F32, target, BATCH * OUT);
    fill(PYNN_F32, wide_x, ROWS * WIDE);
    fill(PYNN_F32, wide_target, ROWS * OUT);
    pynn_set_num_threads(1);
    wide_samples(NULL);
    wanted = new_model();
    train_and_predict(wanted);
    for (size_t set = 0; set < pynn_instruction_set_count(); set++) {
        pynn_use_instruction_set(pynn_instruction_set_name(set));
        for (int changing = 0; changing < 2; changing++) {
            pynn_set_num_threads(3);
            void *models[CALLERS], *numbers[CALLERS], *same[CALLERS];
            for (size_t i = 0; i < CALLERS; i++) models[i] = new_model();
            all(own_network, models, changing);
            for (size_t i = 0; i < CALLERS; i++) {
                const model *const m = models[i];
                if (memcmp(m->parameters, wanted->parameters, sizeof m->parameters) || memcmp(m->y, wanted->y, sizeof m->y))
                    fail("a network trained beside others has other bits");
            }
            shared = models[0];
            for (size_t i = 0; i < CALLERS; i++) numbers[i] = (void *)(uintptr_t)i;
            all(predictions, numbers, changing);
            all(kernels, numbers, changing);
            all(wide_samples, models, changing);
            for (size_t i = 0; i < CALLERS; i++) same[i] = shared->net; /* one network, many trainers: they wait for each other */
            all(one_trainer_of_many, same, changing);
            if (memcmp(shared->parameters, wanted->parameters, sizeof shared->parameters)) fail("training at rate 0 changed parameters");
            for (size_t i = 0; i < CALLERS; i++) free_model(models[i]);
        }
        printf("threads on %s: good\n", pynn_instruction_set());
    }
    free_model(wanted);
    return 0;
}
