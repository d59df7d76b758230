/* Every function that computes gives the same bits however the caller rounds, flushes subnormal numbers or traps exceptions, and leaves the
 * caller's mode and exception flags as they were. */
#if defined(__linux__)
#define _GNU_SOURCE /* feenableexcept */
#endif
#include <fenv.h>
#include <math.h>

#include "pynn.h"

#include "memory.h"

enum { ROWS = 350, IN = 37, OUT = 21, HIDDEN = 45, PARAMETERS = HIDDEN * IN + HIDDEN + OUT * HIDDEN + OUT, MOST = 1 << 14 };

/* ---- the caller's arithmetic -------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
typedef unsigned mode;
enum { FLUSHING = 0x8040, SUBNORMAL_SEEN = 0x02 };
static mode get_mode(void) { return __builtin_ia32_stmxcsr(); }
static void set_flushing(void) { __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | FLUSHING); }
static void set_flags(int all) { __builtin_ia32_ldmxcsr((__builtin_ia32_stmxcsr() & ~0x3fu) | (all ? 0x3fu : 0u)); }
#elif defined(__aarch64__)
typedef struct {
    uint64_t control, status;
} mode;
static mode get_mode(void)
{
    mode m;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(m.control), "=r"(m.status));
    return m;
}
static void set_flushing(void) { __asm__ volatile("msr fpcr, %0" : : "r"(get_mode().control | 1u << 24)); }
static void set_flags(int all) { __asm__ volatile("msr fpsr, %0" : : "r"((uint64_t)(all ? 0x9f : 0))); }
#else
typedef int mode;
static mode get_mode(void) { return fegetround() << 8 | fetestexcept(FE_ALL_EXCEPT); }
static void set_flags(int all)
{
    if (all) feraiseexcept(FE_ALL_EXCEPT);
    else feclearexcept(FE_ALL_EXCEPT);
}
#endif

static void set_upward(void) { fesetround(FE_UPWARD); }
static void set_downward(void) { fesetround(FE_DOWNWARD); }
static void set_toward_zero(void) { fesetround(FE_TOWARDZERO); }
static void set_nothing(void) {}
#if defined(__GLIBC__)
static void set_traps(void) { feenableexcept(FE_ALL_EXCEPT); }
#endif

/* What plain C makes of it: 1 + 2^-60 tells the directions apart, the square of 2^-537 what is flushed. */
static int is_set(void (*set)(void))
{
    volatile double one = 1, little = 0x1p-60, tiny = 0x1p-537, largest = 0x1.fffffffffffffp+1023;
    if (set == set_upward) return one + little > 1;
    if (set == set_downward) return one - little < 1 && largest * 2 == largest;
    if (set == set_toward_zero) return one - little < 1 && -one + little > -1;
#if defined(__x86_64__) || defined(__aarch64__)
    if (set == set_flushing) return tiny * tiny == 0;
#endif
#if defined(__GLIBC__)
    if (set == set_traps) return fegetexcept() == FE_ALL_EXCEPT;
#endif
    return one + little == 1 && one - little == 1 && tiny * tiny > 0;
}

/* ---- what computes ------------------------------------------------------------------------------------------------------ */

/* All that a call reads and writes */
static struct {
    union {
        float f32[MOST];
        double f64[MOST];
    } x, y, weight, parameters, gradients, out;
    double costs[ROWS];
} a;

static int dtype, order, activation;
static int wild; /* whether numbers overflow too: most of what is summed of them is NaN, which no mode changes */

/* Numbers of which some are subnormal, or their products */
static void fill_wildly(void *array, size_t n)
{
    const double least = dtype == PYNN_F32 ? 0x1p-70 : 0x1p-530, most = dtype == PYNN_F32 ? 0x1p100 : 0x1p1000;
    for (size_t i = 0; i < n; i++) {
        const double scale = i % 11 == 3 ? least : i % 13 == 5 ? least * least * 0x1p10 : wild && i % 911 == 910 ? most : 1;
        set(dtype, array, i, number() * scale);
    }
}

static size_t ld(void) { return order == PYNN_IN_MAJOR ? OUT : IN; }

static void affine(void) { pynn_affine(dtype, ROWS, IN, OUT, &a.weight, ld(), order, &a.x, IN, &a.y, &a.out, OUT); }
static void input_gradient(void) { pynn_input_gradient(dtype, ROWS, IN, OUT, &a.weight, ld(), order, &a.y, OUT, &a.out, IN); }
static void weight_gradient(void) { pynn_weight_gradient(dtype, ROWS, IN, OUT, &a.y, OUT, &a.x, IN, &a.out, ld(), order); }
static void bias_gradient(void) { pynn_bias_gradient(dtype, ROWS, OUT, &a.y, OUT, &a.out); }
static void activate(void) { pynn_activation(dtype, activation, 0.3, MOST, &a.x, &a.out); }
static void activation_gradient(void) { pynn_activation_gradient(dtype, activation, 0.3, MOST, &a.x, &a.y, &a.out); }
static void cost(void)
{
    for (int kind = 0; kind <= (int)pynn_cost_count(); kind++) {
        const pynn_objective objective = {.cost = kind < (int)pynn_cost_count() ? kind : PYNN_SOFTMAX_CROSS_ENTROPY, .parameter = 0.3};
        a.costs[2 * kind] = pynn_cost(dtype, &objective, ROWS, OUT, &a.x, &a.y, NULL);
        a.costs[2 * kind + 1] = pynn_cost(dtype, &objective, ROWS, OUT, &a.x, &a.y, &a.weight);
        pynn_cost_gradient(dtype, &objective, ROWS, OUT, &a.x, &a.y, kind % 2 ? &a.weight : NULL, &a.out);
        a.costs[ROWS - 1 - kind] = pynn_cost(dtype, &objective, ROWS, OUT, &a.out, &a.y, NULL); /* so that each gradient counts */
    }
}
static void optimize(void)
{
    for (int kind = 0; kind < (int)pynn_optimizer_count(); kind++) {
        pynn_optimizer optimizer = {.kind = kind,
                                    .hyperparameters = {0.5, 0.9, 0.1, 0.9},
                                    .running = {1, 1, 1},
                                    .clip_value = 1e30,
                                    .clip_norm = 1e30,
                                    .state = {&a.out, &a.weight}};
        if (pynn_optimize(dtype, &optimizer, MOST, &a.parameters, &a.gradients, 0.1)) fail("optimize");
    }
}
static void gradient_descent(void) { pynn_gradient_descent(dtype, MOST, &a.parameters, &a.gradients, 0.1); }
static void softmax(void)
{
    for (int log = 0; log < 2; log++) {
        pynn_softmax(dtype, log, MOST / OUT, OUT, &a.x, OUT, &a.out, OUT);
        pynn_softmax_gradient(dtype, log, MOST / OUT, OUT, &a.out, OUT, &a.y, OUT, log ? &a.gradients : &a.parameters, OUT);
    }
}
static void layer_norm(void)
{
    const size_t rows = MOST / OUT / 2; /* so that statistics have room */
    pynn_layer_norm(dtype, rows, OUT, 1e-5, &a.x, OUT, &a.weight, &a.y, &a.out, OUT, &a.parameters);
    pynn_layer_norm_gradient(dtype, rows, OUT, &a.x, OUT, &a.parameters, &a.weight, &a.y, OUT, &a.gradients, OUT);
    pynn_layer_norm_scale_gradient(dtype, rows, OUT, &a.x, OUT, &a.parameters, &a.y, OUT, &a.weight);
}
static void standardize(void) { pynn_standardize(dtype, MOST / OUT, OUT, &a.x, OUT, &a.y, &a.weight, &a.out, OUT); }
static void dropout(void) { pynn_dropout(dtype, 0.3, 1, 2, 3, MOST, &a.x, &a.out); }

static pynn_network *new_network(void)
{
    const pynn_layer layers[] = {
        {.kind = PYNN_DENSE, .order = order, .in = IN, .out = HIDDEN, .weight = 0, .bias = IN * HIDDEN},
        {.kind = activation, .in = HIDDEN, .out = HIDDEN, .parameter = 0.3},
        {.kind = PYNN_DENSE, .order = order, .in = HIDDEN, .out = OUT, .weight = IN * HIDDEN + HIDDEN, .bias = PARAMETERS - OUT},
        {.kind = activation, .in = OUT, .out = OUT, .parameter = 0.3},
    };
    pynn_network *net;
    if (pynn_network_new(dtype, 4, layers, &a.parameters, &net)) fail("pynn_network_new");
    return net;
}

static pynn_network *net; /* made in the default arithmetic; `make` makes another one in the caller's */

static void predict(void)
{
    if (pynn_network_predict(net, ROWS, &a.x, IN, &a.out)) fail("predict");
}
static void predict_one(void)
{
    if (pynn_network_predict(net, 1, &a.x, IN, &a.out)) fail("predict");
}
static void train_on(pynn_network *network, int kind, size_t rows, size_t batch, void *gradients)
{
    const pynn_run penalties = {.end = PARAMETERS, .l1 = 0.01, .l2 = 0.03, .decay = 0.001};
    pynn_optimizer optimizer = {.kind = kind,
                                .hyperparameters = {kind ? 0.5 : 0, 0.9, 0.1, 0.9},
                                .running = {1, 1, 1},
                                .clip_value = kind ? 0.7 : INFINITY,
                                .clip_norm = kind ? 0.3 : INFINITY,
                                .state = {kind ? &a.out : NULL, kind ? &a.weight : NULL},
                                .runs = kind ? 1 : 0,
                                .run = &penalties};
    const pynn_training training = {.optimizer = &optimizer,
                                    .learning_rate = 0.1,
                                    .rows = rows,
                                    .batch = batch,
                                    .x = &a.x,
                                    .target = &a.y,
                                    .ld_x = IN,
                                    .ld_target = OUT,
                                    .gradients = gradients,
                                    .gradients_wanted = gradients != NULL,
                                    .costs = a.costs};
    if (pynn_network_train(network, &training)) fail("train");
}
static void train(void) { train_on(net, 0, ROWS, 200, NULL); }
static void train_on_each(void) { train_on(net, 0, 3, 1, NULL); }
static void train_by_each_optimizer(void)
{
    for (int kind = 0; kind < (int)pynn_optimizer_count(); kind++) {
        memset(&a.weight, 0, sizeof a.weight); /* states, squares among them */
        memset(&a.out, 0, sizeof a.out);
        train_on(net, kind, ROWS, 200, &a.gradients);
    }
}
static void make(void)
{
    pynn_network *const other = new_network();
    train_on(other, 0, 1, 1, NULL);
    pynn_network_free(other);
}

#define CALL(f) {f, #f}
static const struct {
    void (*call)(void);
    const char *name;
} calls[] = {CALL(activate),
             CALL(activation_gradient),
             CALL(affine),
             CALL(input_gradient),
             CALL(weight_gradient),
             CALL(bias_gradient),
             CALL(cost),
             CALL(optimize),
             CALL(gradient_descent),
             CALL(softmax),
             CALL(layer_norm),
             CALL(standardize),
             CALL(dropout),
             CALL(predict),
             CALL(predict_one),
             CALL(train),
             CALL(train_on_each),
             CALL(train_by_each_optimizer),
             CALL(make)};
enum { FOR_EACH_ACTIVATION = 2 }; /* the first of them; the others have two activations, and so both orders of a weight */

static const struct {
    void (*set)(void);
    const char *name;
} modes[] = {
    {set_nothing, "the default"},
    {set_upward, "rounding up"},
    {set_downward, "rounding down"},
    {set_toward_zero, "rounding toward zero"},
#if defined(__x86_64__) || defined(__aarch64__)
    {set_flushing, "flushing subnormal numbers"},
#endif
#if defined(__GLIBC__)
    {set_traps, "trapping exceptions"},
#endif
};

static void start(void)
{
    state = 3;
    fill_wildly(&a.x, MOST);
    fill_wildly(&a.y, MOST);
    fill_wildly(&a.weight, MOST);
    fill_wildly(&a.parameters, MOST);
    fill_wildly(&a.gradients, MOST);
    memset(&a.out, 0, sizeof a.out);
    memset(a.costs, 0, sizeof a.costs);
}

static size_t mode_count = sizeof modes / sizeof *modes;

static void check_call(size_t i, fenv_t *usual)
{
    static unsigned char wanted[sizeof a];
    for (size_t m = 0; m < mode_count; m++)
        for (int flags = 0; flags < (m ? 1 : 2); flags++) {
            start();
            set_flags(flags);
            modes[m].set();
            const mode before = get_mode();
            calls[i].call();
            const mode after = get_mode();
            const int same = !memcmp(&before, &after, sizeof before), was_set = is_set(modes[m].set);
            fesetenv(usual);
            if (!m && !flags) memcpy(wanted, &a, sizeof a);
            const int same_bits = !memcmp(wanted, &a, sizeof a);
            if (same && same_bits && was_set) continue;
            fprintf(stderr, "%s in %s, dtype %d, activation %s, on %s\n", calls[i].name, modes[m].name, dtype,
                    pynn_activation_name((size_t)activation), pynn_instruction_set());
            fail(!was_set ? "the mode has no effect, so this shows nothing"
                 : !same  ? "the caller's mode or flags are not as they were"
                          : "the mode changes the result");
        }
}

int main(void)
{
    fenv_t usual;
    fegetenv(&usual);
#if defined(__GLIBC__)
    if (feenableexcept(FE_ALL_EXCEPT) == -1) {
        printf("this processor traps no exceptions: not tested\n");
        mode_count--;
    }
    fesetenv(&usual);
#endif
    for (size_t set = 0; set < pynn_instruction_set_count(); set++) {
        pynn_use_instruction_set(pynn_instruction_set_name(set));
        for (size_t threads = 1; threads <= 3; threads += 2) {
            pynn_set_num_threads(threads);
            wild = threads == 1;
            for (dtype = PYNN_F32; dtype <= PYNN_F64; dtype++)
                for (activation = 0; activation < (int)pynn_activation_count(); activation++) {
                    order = activation % 2 ? PYNN_OUT_MAJOR : PYNN_IN_MAJOR;
                    net = new_network();
                    for (size_t i = 0; i < (activation < 2 ? sizeof calls / sizeof *calls : FOR_EACH_ACTIVATION); i++)
                        check_call(i, &usual);
                    pynn_network_free(net);
                }
        }
        printf("arithmetic on %s: good\n", pynn_instruction_set());
    }
    return 0;
}
