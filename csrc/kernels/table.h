/* table.h: what one instruction set offers for one element type; the order of operations stands beside each kernel. */
#ifndef PYNN_TABLE_H
#define PYNN_TABLE_H

#include <stddef.h>

#include "../pynn.h"

enum {
    CHAINS_FROM = 32, /* sums of so many terms have four chains */
    COST_CHAINS = 8,  /* that a sum of costs has */
};

/* What an update does to a gradient before the optimizer, and to a parameter besides (optimizers.h) */
typedef struct {
    double scale, clip, l1, l2, keep;
} pynn_extra;

/* A step of a weight that is taken when the weight is read next: W -= learning_rate dy x^T, W in-major */
typedef struct {
    void *weight;
    const void *x, *dy;
    double learning_rate;
} pynn_held;

enum { UPDATE_CONSTANTS = 8 }; /* that a step of an optimizer has at most */

/* A learning_rate points to one element; where it is not NULL the result is subtracted instead of stored: C -= rate * sum. `before`, unless
 * NULL, has the sums over earlier rows, laid out as C, from which sums in one chain go on; it may be C. */
typedef struct {
    void (*product)(size_t rows, size_t columns, size_t depth, const void *a, size_t a_row, size_t a_step, const void *b, size_t b_step,
                    size_t b_column, const void *start, const void *before, int chains, const void *learning_rate, const void *factor,
                    void *c, size_t ld_c, const void *column_sums_before, void *column_sums, void *scratch);
    /* C (rows, columns) = A (rows) B (columns) past the caches; NULL where an instruction set has no such stores */
    void (*stream_outer)(size_t rows, size_t columns, const void *a, size_t a_row, const void *b, void *c, size_t ld_c);
    size_t (*product_scratch)(size_t rows, size_t columns, size_t depth); /* in elements; enough for what is smaller in any size */
    void (*bias_gradient)(size_t rows, size_t columns, const void *y_gradient, size_t ld, const void *before, const void *learning_rate,
                          void *c);
    void (*activate)(int activation, double parameter, size_t n, const void *x, void *y);
    void (*activation_gradient)(int activation, double parameter, size_t n, const void *x, const void *y_gradient, void *x_gradient);
    void (*activate_both)(int activation, double parameter, size_t n, const void *x, void *y, void *derivative);
    void (*add_costs)(int cost, double parameter, size_t n, const void *prediction, const void *target, double chains[COST_CHAINS]);
    void (*cost_gradient)(int cost, double parameter, size_t n, double scale, const void *prediction, const void *target,
                          const void *factor, void *gradient, int roomy);
    void (*multiply)(size_t n, const void *a, void *b);
    void (*gradient_descent)(size_t n, void *parameters, const void *gradients, const void *learning_rate);
    void (*line_forward)(size_t in, size_t out, const void *weight, size_t ld, int order, const void *x, const void *bias, int activation,
                         double parameter, const pynn_held *held, void *y, void *derivative, void *scratch);
    void (*line_half)(size_t in, size_t out, const void *weight, size_t ld, const void *x, const void *bias, int half,
                      const pynn_held *held, void *sum, void *scratch);
    void (*line_join)(size_t out, const void *second, int activation, double parameter, void *y, void *derivative);
    void (*line_backward)(size_t in, size_t out, const void *weight, size_t ld, int order, const void *x, const void *dy, void *dx,
                          const void *factor, const void *learning_rate, void *new_weight, void *new_bias);
    void (*prepare)(int optimizer, const double *hyperparameters, double *running, double learning_rate, void *constants);
    void (*update)(int optimizer, const void *constants, const pynn_extra *extra, size_t n, void *parameters, const void *gradients,
                   void *state, void *state_2);
    double (*square_sum)(size_t n, const void *gradients);
    /* rows.h */
    void (*softmax)(int log, size_t rows, size_t columns, const void *x, size_t ld_x, void *y, size_t ld_y);
    void (*softmax_gradient)(size_t rows, size_t columns, const void *y, size_t ld_y, const void *y_gradient, size_t ld_y_gradient,
                             void *x_gradient, size_t ld_x_gradient);
    void (*log_softmax_gradient)(size_t rows, size_t columns, const void *y, size_t ld_y, const void *y_gradient, size_t ld_y_gradient,
                                 void *x_gradient, size_t ld_x_gradient);
    void (*layer_norm)(size_t rows, size_t columns, double epsilon, const void *x, size_t ld_x, const void *scale, const void *bias,
                       void *y, size_t ld_y, void *statistics);
    void (*layer_norm_gradient)(size_t rows, size_t columns, const void *x, size_t ld_x, const void *statistics, const void *scale,
                                const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient);
    void (*layer_norm_scale_gradient)(size_t rows, size_t columns, const void *x, size_t ld_x, const void *statistics,
                                      const void *y_gradient, size_t ld_y_gradient, const void *before, const void *learning_rate, void *c);
    void (*standardize)(size_t rows, size_t columns, const void *x, size_t ld_x, const void *mean, const void *deviation, void *y,
                        size_t ld_y);
    /* random.h */
    void (*dropout)(double rate, uint64_t seed, uint64_t step, uint64_t first, size_t n, const void *x, void *y);
    /* cross_entropy.h, one row; labels: whether target is a class */
    double (*cross_entropy)(size_t columns, int labels, double smoothing, const void *x, const void *target);
    void (*cross_entropy_gradient)(size_t columns, int labels, double smoothing, double scale, const void *x, const void *target,
                                   const void *factor, void *gradient);
} pynn_kernels;

typedef struct {
    const char *name;
    const pynn_kernels *of[2]; /* PYNN_F32, PYNN_F64 */
} pynn_isa;

extern const pynn_isa pynn_isa_portable, pynn_isa_avx2, pynn_isa_avx512, pynn_isa_neon;

#endif
