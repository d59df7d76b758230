/* pynn.h: the whole C interface. cffi reads its declarations from this file; a C program can include it.
 *
 * Shapes are (rows, columns), row-major unless said otherwise; a leading dimension `ld_*` is the distance between rows,
 * in elements. `dtype` is PYNN_F32 or PYNN_F64, and every data pointer of a call points to elements of that type.
 * A weight matrix W (out, in) is stored in one of two orders:
 *     PYNN_OUT_MAJOR   w[m, n] at weight[m * ld_weight + n]      (NumPy's C order of (out, in))
 *     PYNN_IN_MAJOR    w[m, n] at weight[n * ld_weight + m]
 * The result is the same to the last bit, in either order, by any number of threads and on any instruction set.
 * Functions that can fail return PYNN_OK or a negative pynn_status; nothing prints, exits or keeps a pointer it was given,
 * but for a pynn_network, which keeps those of its arenas. Outputs must not overlap inputs, unless said otherwise.
 */
#ifndef PYNN_H
#define PYNN_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define PYNN_API
#define PYNN_VISIBLE
#else
#define PYNN_API __attribute__((visibility("hidden")))
#define PYNN_VISIBLE __attribute__((visibility("default"))) /* threadpoolctl looks these up in the loaded library */
#endif

typedef enum {
    PYNN_OK = 0,
    PYNN_NO_MEMORY = -1,   /* scratch memory could not be allocated */
    PYNN_TOO_LARGE = -2,   /* a product of sizes does not fit size_t */
    PYNN_UNKNOWN = -3,     /* no such instruction set, dtype, activation, cost or layer kind */
    PYNN_UNSUPPORTED = -4, /* an instruction set that this processor or operating system lacks */
    PYNN_BUSY = -5,        /* another trainer is at work on this network, and nothing has been done */
} pynn_status;

enum { PYNN_F32 = 0, PYNN_F64 = 1 };
enum { PYNN_OUT_MAJOR = 0, PYNN_IN_MAJOR = 1 };

/* ---- what runs the kernels ------------------------------------------------------------------------------------ */

/* Instruction sets this processor and operating system can run, best first; "portable" is always last. */
PYNN_API size_t pynn_instruction_set_count(void);
PYNN_API const char *pynn_instruction_set_name(size_t index);
/* The one in use; and its choice by name (NULL: the best). Not to be called while another thread computes. */
PYNN_API const char *pynn_instruction_set(void);
PYNN_API int pynn_use_instruction_set(const char *name);

/* How many threads a call may use at most, the calling one included; n = 0 means 1. */
PYNN_VISIBLE size_t pynn_get_num_threads(void);
PYNN_VISIBLE void pynn_set_num_threads(size_t n);

/* The compiler that built the core, for reports. */
PYNN_API const char *pynn_compiler(void);

/* ---- activations: numbered 0 .. count - 1 in the order of the list in kernels/activation_list.h -------------------- */

PYNN_API size_t pynn_activation_count(void);
PYNN_API const char *pynn_activation_name(size_t index);       /* "sigmoid" */
PYNN_API const char *pynn_activation_class(size_t index);      /* "Sigmoid" */
PYNN_API const char *pynn_activation_parameter(size_t index);  /* "negative_slope", or "" */
PYNN_API double pynn_activation_default(size_t index);         /* of its parameter */
PYNN_API const char *pynn_activation_formula(size_t index);    /* "1 / (1 + exp(-x))" */
PYNN_API const char *pynn_activation_derivative(size_t index); /* "exp(-abs(x)) / (1 + exp(-abs(x))) ** 2" */
PYNN_API const char *pynn_activation_source(size_t index);     /* "Nair and Hinton, 2010" */

/* ---- costs and optimizers, likewise: kernels/cost_list.h, kernels/optimizer_list.h ---------------------------------- */

PYNN_API size_t pynn_cost_count(void);
PYNN_API const char *pynn_cost_name(size_t index);       /* "mse" */
PYNN_API const char *pynn_cost_class(size_t index);      /* "MSE" */
PYNN_API const char *pynn_cost_parameter(size_t index);  /* "delta", or "" */
PYNN_API double pynn_cost_default(size_t index);         /* of its parameter */
PYNN_API const char *pynn_cost_formula(size_t index);    /* "(p - t) ** 2" */
PYNN_API const char *pynn_cost_derivative(size_t index); /* "2 * (p - t)" */
PYNN_API const char *pynn_cost_source(size_t index);     /* "Legendre, 1805" */
PYNN_API size_t pynn_optimizer_count(void);
PYNN_API const char *pynn_optimizer_name(size_t index); /* "adam" */
PYNN_API size_t pynn_optimizer_states(size_t index);    /* how many arrays of state it keeps */

/* ---- kernels: x (rows, in)  y (rows, out)  weight (out, in)  bias (out)  and gradients of the same shapes ------- */

/* The order in which a Dense layer of this shape does best to keep its weight. */
PYNN_API int pynn_weight_order(size_t in, size_t out);

/* Y = X Wᵀ + B;  bias may be NULL */
PYNN_API int pynn_affine(int dtype, size_t rows, size_t in, size_t out, const void *weight, size_t ld_weight, int order, const void *x,
                         size_t ld_x, const void *bias, void *y, size_t ld_y);

/* dC/dW = dC/dYᵀ X, summed over rows */
PYNN_API int pynn_weight_gradient(int dtype, size_t rows, size_t in, size_t out, const void *y_gradient, size_t ld_y_gradient,
                                  const void *x, size_t ld_x, void *weight_gradient, size_t ld_weight_gradient, int order);

/* dC/dB = dC/dY, summed over rows */
PYNN_API int pynn_bias_gradient(int dtype, size_t rows, size_t out, const void *y_gradient, size_t ld_y_gradient, void *bias_gradient);

/* dC/dX = dC/dY W */
PYNN_API int pynn_input_gradient(int dtype, size_t rows, size_t in, size_t out, const void *weight, size_t ld_weight, int order,
                                 const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient);

/* Y = f(X), n elements; y may be x */
PYNN_API int pynn_activation(int dtype, int activation, double parameter, size_t n, const void *x, void *y);

/* dC/dX = dC/dY f'(X), elementwise, n elements; x_gradient may be x or y_gradient */
PYNN_API int pynn_activation_gradient(int dtype, int activation, double parameter, size_t n, const void *x, const void *y_gradient,
                                      void *x_gradient);

enum { PYNN_SOFTMAX_CROSS_ENTROPY = -1 }; /* of logits, the mean over rows: kernels/cross_entropy.h */

/* What training makes small */
typedef struct {
    int cost;         /* its number, or PYNN_SOFTMAX_CROSS_ENTROPY */
    double parameter; /* of a cost that has one; label smoothing */
    int labels;       /* of the cross-entropy: the target is one class for each row, and not a probability for each element */
} pynn_objective;

/* C = 1/n sum c(p, t), n = rows columns, in double precision; or, given a weight w for each row, sum w c / (columns sum w); 0 where n or
 * the sum of weights is 0 */
PYNN_API double pynn_cost(int dtype, const pynn_objective *objective, size_t rows, size_t columns, const void *prediction,
                          const void *target, const void *weights);

/* dC/dP; gradient may be prediction or target */
PYNN_API int pynn_cost_gradient(int dtype, const pynn_objective *objective, size_t rows, size_t columns, const void *prediction,
                                const void *target, const void *weights, void *gradient);

/* theta := theta - learning_rate * gradient, n elements, in place */
PYNN_API int pynn_gradient_descent(int dtype, size_t n, void *parameters, const void *gradients, double learning_rate);

/* Parameters begin .. end - 1 have these penalties: gradient += l2 theta + l1 sign(theta); theta -= learning_rate decay theta */
typedef struct {
    size_t begin, end;
    double l1, l2, decay;
} pynn_run;

/* An optimizer with its state; see kernels/optimizers.h */
typedef struct {
    int kind;      /* its number */
    int64_t steps; /* taken so far */
    double hyperparameters[4];
    double running[3];            /* 1 before the first step */
    double clip_value, clip_norm; /* of the gradient, or infinity: elementwise, and for all of it together */
    void *state[2];               /* arrays like the parameters, 0 before the first step; NULL where they stay 0 */
    size_t runs;                  /* that cover the parameters; none: without penalties */
    const pynn_run *run;
} pynn_optimizer;

/* One step on n parameters, in place. */
PYNN_API int pynn_optimize(int dtype, pynn_optimizer *optimizer, size_t n, void *parameters, const void *gradients, double learning_rate);

/* ---- rows: x, y and gradients (rows, columns); an output may be an input in the same place -------------------------- */

/* y_j = e^(x_j - m) / sum_k e^(x_k - m) with m = max_k x_k; with `log`, y_j = (x_j - m) - log sum_k e^(x_k - m) */
PYNN_API int pynn_softmax(int dtype, int log, size_t rows, size_t columns, const void *x, size_t ld_x, void *y, size_t ld_y);

/* dC/dX = Y (dC/dY - sum_k y_k dC/dy_k), elementwise; with `log`, dC/dY - e^Y sum_k dC/dy_k, where Y <= 0 */
PYNN_API int pynn_softmax_gradient(int dtype, int log, size_t rows, size_t columns, const void *y, size_t ld_y, const void *y_gradient,
                                   size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient);

/* y_j = h_j scale_j + bias_j, h_j = (x_j - mean) / sqrt(variance + epsilon) of a row; scale (columns), bias (columns) and statistics
 * may be NULL; statistics (rows, 2), apart from all else, takes each row's mean and 1 / sqrt(variance + epsilon) */
PYNN_API int pynn_layer_norm(int dtype, size_t rows, size_t columns, double epsilon, const void *x, size_t ld_x, const void *scale,
                             const void *bias, void *y, size_t ld_y, void *statistics);
/* dC/dX = (Q - mean(Q) - H mean(Q H)) / sqrt(variance + epsilon), Q = dC/dY scale, means along a row */
PYNN_API int pynn_layer_norm_gradient(int dtype, size_t rows, size_t columns, const void *x, size_t ld_x, const void *statistics,
                                      const void *scale, const void *y_gradient, size_t ld_y_gradient, void *x_gradient,
                                      size_t ld_x_gradient);
/* dC/dscale = dC/dY H, summed over rows */
PYNN_API int pynn_layer_norm_scale_gradient(int dtype, size_t rows, size_t columns, const void *x, size_t ld_x, const void *statistics,
                                            const void *y_gradient, size_t ld_y_gradient, void *scale_gradient);

/* y_j = (x_j - mean_j) / deviation_j; mean (columns) may be NULL, for 0 */
PYNN_API int pynn_standardize(int dtype, size_t rows, size_t columns, const void *x, size_t ld_x, const void *mean, const void *deviation,
                              void *y, size_t ld_y);

/* y_k = 0 with probability rate (0 <= rate < 1, else PYNN_UNKNOWN), else x_k / (1 - rate): which, is a function of rate, seed, step and
 * first + k alone, n elements; y may be x. The gradient is the same function of dC/dY. */
PYNN_API int pynn_dropout(int dtype, double rate, uint64_t seed, uint64_t step, uint64_t first, size_t n, const void *x, void *y);

/* ---- a network: a flat plan of layers over one arena of parameters ------------------------------------------------- */

/* The kind of a layer: one of these, or the number of an activation */
enum { PYNN_DENSE = -1, PYNN_SOFTMAX = -2, PYNN_LOG_SOFTMAX = -3, PYNN_LAYER_NORM = -4, PYNN_STANDARDIZE = -5, PYNN_DROPOUT = -6 };

typedef struct {
    int kind;
    int order;                    /* of the weight of a dense layer */
    size_t in, out;               /* the same number for all but dense layers */
    size_t weight, bias;          /* where they, or scale and bias of a normalisation, begin in the arena; SIZE_MAX where there is none */
    double parameter;             /* of an activation that has one; epsilon of a normalisation; rate of dropout */
    const void *mean, *deviation; /* of standardisation, one element for each column; kept, not copied */
    uint64_t seed;                /* of dropout */
    uint64_t *step;               /* how many batches dropout has seen, which training counts up; kept */
} pynn_layer;

typedef struct pynn_network pynn_network;

/* Keeps `parameters`, not `layers`. Layers must fit each other; there must be at least one. */
PYNN_API int pynn_network_new(int dtype, size_t count, const pynn_layer *layers, void *parameters, pynn_network **network);
PYNN_API void pynn_network_free(pynn_network *network);
PYNN_API int pynn_network_dtype(const pynn_network *network);
PYNN_API size_t pynn_network_in(const pynn_network *network);
PYNN_API size_t pynn_network_out(const pynn_network *network);
PYNN_API size_t pynn_network_parameters(const pynn_network *network); /* how many */
PYNN_API double pynn_network_work(const pynn_network *network); /* multiply-adds for a row, other work counted as what takes as long */
/* Whether any of these bytes are among the network's parameters. */
PYNN_API int pynn_network_overlaps(const pynn_network *network, const void *data, size_t bytes);

/* y (rows, out) = f(x (rows, in)); rows of y close together. Any number of threads may predict at once. */
PYNN_API int pynn_network_predict(const pynn_network *network, size_t rows, const void *x, size_t ld_x, void *y);

/* How to train: rows first .. first + rows - 1 of x and target in the order of `order` (the number of each row, from 0; NULL: as they
 * lie), in batches of `batch` rows (the last may have fewer), each a step of the optimizer. */
typedef struct {
    pynn_objective objective;
    pynn_optimizer *optimizer;
    double learning_rate;
    const double *learning_rates; /* one for each batch, or NULL */
    size_t first, rows, batch;
    const void *x, *target;
    size_t ld_x, ld_target;
    const void *weights; /* one for each row, or NULL */
    const int64_t *order;
    void *gradients; /* an arena like that of the parameters: filled, unless plain gradient descent does without */
    int gradients_wanted;
    double *costs;   /* of each batch, before its update */
    int no_waiting;  /* for another trainer of the network: PYNN_BUSY */
} pynn_training;

/* A second caller waits for the first, unless it wants not to. */
PYNN_API int pynn_network_train(pynn_network *network, const pynn_training *training);

#endif
