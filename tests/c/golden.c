/* The golden runs of tests/golden.py on the C interface alone:  golden RUNS FOLDER
 * RUNS is what `python tests/golden.py runs` wrote. Each is trained on every instruction set, on 1 to 4 threads, by one call an epoch and batch by
 * batch, in memory as it comes and full of NaNs, always with the same bits; they go to FOLDER/<instruction set>/<run>.<what>, little-endian. */
#include <inttypes.h>
#include <math.h>
#include <sys/stat.h>

#include "pynn.h"

#include "memory.h"

typedef struct {
    char name[100];
    int dtype;
    double rate;
    size_t rows, batch, epochs, batches, layer_count, in, out, parameter_count;
    pynn_layer *layers;
    pynn_objective objective;
    pynn_optimizer optimizer; /* before its first step, with state that is yet to be made */
    size_t states;
    pynn_run *penalties;
    void *parameters, *x, *y, *weights; /* or NULL */
    int64_t *orders; /* (epochs, rows), or NULL: as they lie */
} run;

typedef struct {
    void *parameters, *predictions;
    double *costs; /* (epochs, batches) */
} results;

static void *allocate(size_t count, size_t size)
{
    void *const memory = malloc(count * size + 1);
    if (!memory) fail("no memory");
    return memory;
}

/* Frees memory of many sizes with every byte 0xff, a NaN in either type, for the next allocations to find. */
static void leave_dirt(void)
{
    void *all[40];
    for (size_t i = 0; i < 40; i++) {
        const size_t bytes = (size_t)1 << (6 + i % 14);
        all[i] = memset(allocate(bytes, 1), 0xff, bytes);
    }
    for (size_t i = 0; i < 40; i++) free(all[i]);
}

/* ---- reading -------------------------------------------------------------------------------------------------------------- */

static void wanted(int good)
{
    if (!good) fail("the file of runs is not what this program reads");
}

static size_t read_size(FILE *file)
{
    size_t n;
    wanted(fscanf(file, "%zu", &n) == 1);
    return n;
}

static double read_number(FILE *file)
{
    char word[64]; /* strtod is several times as fast as fscanf */
    wanted(fscanf(file, "%63s", word) == 1);
    return strtod(word, NULL);
}

static void *read_numbers(FILE *file, int dtype, size_t count)
{
    void *const array = allocate(count, size_of(dtype));
    for (size_t i = 0; i < count; i++) set(dtype, array, i, read_number(file));
    return array;
}

static int kind_of(const char *name)
{
    static const struct {
        const char *name;
        int kind;
    } others[] = {{"Dense", PYNN_DENSE},          {"Softmax", PYNN_SOFTMAX},         {"LogSoftmax", PYNN_LOG_SOFTMAX},
                  {"LayerNorm", PYNN_LAYER_NORM}, {"Standardize", PYNN_STANDARDIZE}, {"Dropout", PYNN_DROPOUT}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(name, others[i].name)) return others[i].kind;
    for (size_t i = 0; i < pynn_activation_count(); i++)
        if (!strcmp(name, pynn_activation_name(i))) return (int)i;
    fail(name);
    return 0;
}

static int number_of(const char *name, size_t count, const char *(*name_of)(size_t))
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(name, name_of(i))) return (int)i;
    fail(name);
    return 0;
}

/* What is made small, and how */
static int read_aim(FILE *file, run *r)
{
    char word[64];
    wanted(fscanf(file, "%63s", word) == 1);
    r->objective.cost = strcmp(word, "softmax_cross_entropy") ? number_of(word, pynn_cost_count(), pynn_cost_name)
                                                              : PYNN_SOFTMAX_CROSS_ENTROPY;
    r->objective.labels = 0;
    r->objective.parameter = read_number(file);
    const int weighted = read_size(file) != 0;
    wanted(fscanf(file, "%63s", word) == 1);
    r->optimizer = (pynn_optimizer){.kind = number_of(word, pynn_optimizer_count(), pynn_optimizer_name), .running = {1, 1, 1}};
    r->states = read_size(file);
    for (size_t i = 0; i < 4; i++) r->optimizer.hyperparameters[i] = read_number(file);
    r->optimizer.clip_value = read_number(file);
    r->optimizer.clip_norm = read_number(file);
    r->optimizer.runs = read_size(file);
    r->optimizer.run = r->penalties = allocate(r->optimizer.runs, sizeof *r->penalties);
    for (pynn_run *each = r->penalties; each < r->penalties + r->optimizer.runs; each++) {
        each->begin = read_size(file);
        each->end = read_size(file);
        each->l1 = read_number(file);
        each->l2 = read_number(file);
        each->decay = read_number(file);
    }
    return weighted;
}

/* Where w[m, n] of a layer is in the arena */
static size_t weight_at(const pynn_layer *layer, size_t m, size_t n)
{
    return layer->weight + (layer->order == PYNN_OUT_MAJOR ? m * layer->in + n : n * layer->out + m);
}

static int read_run(FILE *file, run *r)
{
    char word[32];
    if (fscanf(file, "%31s", word) != 1) return 0;
    wanted(!strcmp(word, "run") && fscanf(file, "%99s", r->name) == 1);
    r->dtype = (int)read_size(file);
    r->rate = read_number(file);
    r->rows = read_size(file);
    r->batch = read_size(file);
    r->epochs = read_size(file);
    r->batches = (r->rows + r->batch - 1) / r->batch;
    r->layer_count = read_size(file);
    const int weighted = read_aim(file, r);
    r->layers = allocate(r->layer_count, sizeof *r->layers);
    r->parameter_count = 0;
    for (pynn_layer *layer = r->layers; layer < r->layers + r->layer_count; layer++) {
        wanted(fscanf(file, "%31s", word) == 1);
        *layer = (pynn_layer){.kind = kind_of(word)};
        layer->in = read_size(file);
        layer->out = read_size(file);
        layer->weight = layer->bias = SIZE_MAX;
        const double last = read_number(file); /* whether a dense layer has a bias; else a parameter */
        const int dense = layer->kind == PYNN_DENSE, norm = layer->kind == PYNN_LAYER_NORM;
        if (dense) layer->order = pynn_weight_order(layer->in, layer->out);
        else layer->parameter = last;
        if (layer->kind == PYNN_DROPOUT) wanted(fscanf(file, "%" SCNu64, &layer->seed) == 1);
        if (dense || norm) layer->weight = r->parameter_count;
        if (dense || norm) r->parameter_count += dense ? layer->in * layer->out : layer->out;
        if (norm || (dense && last != 0)) layer->bias = r->parameter_count;
        if (layer->bias != SIZE_MAX) r->parameter_count += layer->out;
    }
    r->in = r->layers->in;
    r->out = r->layers[r->layer_count - 1].out;
    r->parameters = allocate(r->parameter_count, size_of(r->dtype));
    for (pynn_layer *layer = r->layers; layer < r->layers + r->layer_count; layer++) {
        if (layer->kind == PYNN_STANDARDIZE) {
            layer->mean = read_numbers(file, r->dtype, layer->in);
            layer->deviation = read_numbers(file, r->dtype, layer->in);
        }
        for (size_t m = 0; layer->kind == PYNN_DENSE && m < layer->out; m++)
            for (size_t n = 0; n < layer->in; n++) set(r->dtype, r->parameters, weight_at(layer, m, n), read_number(file));
        for (size_t m = 0; layer->kind == PYNN_LAYER_NORM && m < layer->out; m++)
            set(r->dtype, r->parameters, layer->weight + m, read_number(file));
        for (size_t m = 0; layer->bias != SIZE_MAX && m < layer->out; m++) set(r->dtype, r->parameters, layer->bias + m, read_number(file));
    }
    r->x = read_numbers(file, r->dtype, r->rows * r->in);
    r->y = read_numbers(file, r->dtype, r->rows * r->out);
    r->weights = weighted ? read_numbers(file, r->dtype, r->rows) : NULL;
    wanted(fscanf(file, "%31s", word) == 1);
    r->orders = strcmp(word, "shuffled") ? NULL : allocate(r->epochs * r->rows, sizeof *r->orders);
    for (size_t i = 0; r->orders && i < r->epochs * r->rows; i++) r->orders[i] = (int64_t)read_size(file);
    return 1;
}

static void free_run(run *r)
{
    for (pynn_layer *layer = r->layers; layer < r->layers + r->layer_count; layer++) {
        free((void *)(uintptr_t)layer->mean);
        free((void *)(uintptr_t)layer->deviation);
    }
    free(r->layers);
    free(r->parameters);
    free(r->x);
    free(r->y);
    free(r->weights);
    free(r->penalties);
    free(r->orders);
}

/* ---- running -------------------------------------------------------------------------------------------------------------- */

static results new_results(const run *r)
{
    const size_t size = size_of(r->dtype);
    return (results){allocate(r->parameter_count, size), allocate(r->rows * r->out, size),
                     allocate(r->epochs * r->batches, sizeof(double))};
}

static void free_results(results *result)
{
    free(result->parameters);
    free(result->predictions);
    free(result->costs);
}

/* by_batch: a call for each batch, which keeps its gradients, and predictions of a few rows at a time */
static void train(const run *r, int by_batch, const results *result)
{
    const size_t size = size_of(r->dtype);
    pynn_network *net;
    void *const gradients = allocate(r->parameter_count, size);
    pynn_optimizer optimizer = r->optimizer;
    for (size_t i = 0; i < r->states; i++) optimizer.state[i] = memset(allocate(r->parameter_count, size), 0, r->parameter_count * size);
    memcpy(result->parameters, r->parameters, r->parameter_count * size);
    pynn_layer *const layers = memcpy(allocate(r->layer_count, sizeof *layers), r->layers, r->layer_count * sizeof *layers);
    uint64_t *const steps = memset(allocate(r->layer_count, sizeof *steps), 0, r->layer_count * sizeof *steps);
    for (size_t i = 0; i < r->layer_count; i++) layers[i].step = steps + i;
    if (pynn_network_new(r->dtype, r->layer_count, layers, result->parameters, &net)) fail("pynn_network_new");
    for (size_t epoch = 0; epoch < r->epochs; epoch++) {
        const int64_t *const order = r->orders ? r->orders + epoch * r->rows : NULL;
        for (size_t first = 0, rows = by_batch ? r->batch : r->rows; first < r->rows; first += rows) {
            if (rows > r->rows - first) rows = r->rows - first;
            double *const costs = result->costs + epoch * r->batches + first / r->batch;
            const pynn_training training = {.objective = r->objective,
                                            .optimizer = &optimizer,
                                            .learning_rate = r->rate,
                                            .first = first,
                                            .rows = rows,
                                            .batch = r->batch,
                                            .x = r->x,
                                            .target = r->y,
                                            .ld_x = r->in,
                                            .ld_target = r->out,
                                            .weights = r->weights,
                                            .order = order,
                                            .gradients = gradients,
                                            .gradients_wanted = by_batch,
                                            .costs = costs};
            if (pynn_network_train(net, &training)) fail("pynn_network_train");
        }
    }
    for (size_t first = 0, rows = by_batch ? 1 : r->rows; first < r->rows; first += rows, rows = by_batch ? rows % 5 + 1 : rows) {
        if (rows > r->rows - first) rows = r->rows - first;
        const char *const x = (const char *)r->x + first * r->in * size;
        if (pynn_network_predict(net, rows, x, r->in, (char *)result->predictions + first * r->out * size)) fail("pynn_network_predict");
    }
    pynn_network_free(net);
    free(layers);
    free(steps);
    for (size_t i = 0; i < r->states; i++) free(optimizer.state[i]);
    free(gradients);
}

static void compare(const run *r, const results *a, const results *b, size_t threads)
{
    const size_t size = size_of(r->dtype);
    if (!memcmp(a->parameters, b->parameters, r->parameter_count * size) &&
        !memcmp(a->predictions, b->predictions, r->rows * r->out * size) &&
        !memcmp(a->costs, b->costs, r->epochs * r->batches * sizeof(double)))
        return;
    fprintf(stderr, "%s on %s, %zu threads: other bits than on one thread\n", r->name, pynn_instruction_set(), threads);
    exit(1);
}

/* ---- writing -------------------------------------------------------------------------------------------------------------- */

static FILE *create(const char *folder, const run *r, const char *what)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, pynn_instruction_set());
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s.%s", folder, pynn_instruction_set(), r->name, what);
    FILE *const file = fopen(path, "wb");
    if (!file) fail(path);
    return file;
}

static void write_number(FILE *file, int dtype, const void *array, size_t i)
{
    uint64_t bits = 0;
    uint32_t bits_32;
    if (dtype == PYNN_F64) memcpy(&bits, (const double *)array + i, sizeof bits);
    else memcpy(&bits_32, (const float *)array + i, sizeof bits_32), bits = bits_32;
    for (size_t byte = 0; byte < size_of(dtype); byte++) putc((int)(bits >> 8 * byte & 0xff), file);
}

static void finish(FILE *file)
{
    if (ferror(file) || fclose(file)) fail("a result cannot be written");
}

static void write_numbers(FILE *file, int dtype, const void *array, size_t count)
{
    for (size_t i = 0; i < count; i++) write_number(file, dtype, array, i);
    finish(file);
}

static void write_results(const char *folder, const run *r, const results *result)
{
    FILE *const file = create(folder, r, "parameters");
    for (const pynn_layer *layer = r->layers; layer < r->layers + r->layer_count; layer++) {
        for (size_t m = 0; layer->kind == PYNN_DENSE && m < layer->out; m++)
            for (size_t n = 0; n < layer->in; n++) write_number(file, r->dtype, result->parameters, weight_at(layer, m, n));
        for (size_t m = 0; layer->kind == PYNN_LAYER_NORM && m < layer->out; m++)
            write_number(file, r->dtype, result->parameters, layer->weight + m);
        for (size_t m = 0; layer->bias != SIZE_MAX && m < layer->out; m++)
            write_number(file, r->dtype, result->parameters, layer->bias + m);
    }
    finish(file);
    write_numbers(create(folder, r, "predictions"), r->dtype, result->predictions, r->rows * r->out);
    write_numbers(create(folder, r, "costs"), PYNN_F64, result->costs, r->epochs * r->batches);
}

int main(int count, char **arguments)
{
    if (count != 3) fail("usage: golden RUNS FOLDER");
    FILE *const file = fopen(arguments[1], "r");
    if (!file) fail("the file of runs cannot be opened");
    for (run r; read_run(file, &r); free_run(&r))
        for (size_t set = 0; set < pynn_instruction_set_count(); set++) {
            pynn_use_instruction_set(pynn_instruction_set_name(set));
            pynn_set_num_threads(1);
            results first = new_results(&r);
            train(&r, 0, &first);
            write_results(arguments[2], &r, &first);
            for (size_t threads = 2; threads <= 4; threads++) {
                pynn_set_num_threads(threads);
                if (threads > 2) leave_dirt();
                results other = new_results(&r);
                train(&r, threads % 2, &other);
                compare(&r, &first, &other, threads);
                free_results(&other);
            }
            free_results(&first);
        }
    fclose(file);
    return 0;
}
