/* kernels.h: the kernels as a network uses them: work shared out over threads, scratch given by the caller. */
#ifndef PYNN_KERNELS_H
#define PYNN_KERNELS_H

#include <stddef.h>

#include "compiler.h"
#include "kernels/table.h"
#include "pynn.h"

enum {
    PYNN_NO_ACTIVATION = -1,
    PYNN_ACTIVATION_WORK = 16, /* multiply-adds that take as long as an activation, or so */
};

/* A step of an optimizer, of which parts of the parameters are taken one by one */
typedef struct {
    int dtype;
    const pynn_optimizer *optimizer;
    double learning_rate, scale; /* of gradients whose norm is limited */
    double constants[UPDATE_CONSTANTS];
    size_t count;
    char *parameters;
} pynn_update;

/* Counts the step; the optimizer must stay as it is while the step lasts */
pynn_update pynn_begin_update(int dtype, pynn_optimizer *optimizer, size_t n, void *parameters, double learning_rate);
/* Parameters begin to begin + n - 1, whose gradients these are */
void pynn_update_some(const pynn_update *update, size_t begin, size_t n, const void *gradients);
/* pynn_optimize without its checks, in the arithmetic that there is */
void pynn_run_optimizer(int dtype, pynn_optimizer *optimizer, size_t n, void *parameters, const void *gradients, double learning_rate);

/* One product in the terms of kernels/products.h: C (rows, columns) = start + A (rows, depth) B (depth, columns), or with a learning
 * rate C -= rate A B; and what is done to C while it is in cache: at most one of C := f(C), derivative := f'(C), or C := C factor. */
typedef struct {
    size_t rows, columns, depth;
    const void *a; /* NULL: all ones, and the sum begins with `before` or the first row of B */
    size_t a_row, a_step;
    const void *b;
    size_t b_step, b_column;
    const void *start;
    const void *before; /* or NULL: sums over earlier rows, laid out as C, to which a gradient's are added */
    int chains;
    const void *learning_rate;
    void *c;
    size_t ld_c;
    const void *column_sums_before; /* as before, of: */
    void *column_sums; /* or NULL: the sums of B down its columns, or a step down them, as a bias has, which cost little here */
    int activation; /* or PYNN_NO_ACTIVATION */
    double parameter; /* of the activation */
    void *derivative; /* or NULL; rows are ld_c apart, as those of factor */
    const void *factor; /* or NULL */
} pynn_product;

/* The three products of a layer whose weight lies in `order`, its rows close together; x, y and gradients likewise. */
pynn_product pynn_affine_product(size_t rows, size_t in, size_t out, const void *weight, size_t ld_weight, int order, const void *x,
                                 size_t ld_x, const void *bias, void *y, size_t ld_y);
pynn_product pynn_input_gradient_product(size_t rows, size_t in, size_t out, const void *weight, size_t ld_weight, int order,
                                         const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient);
pynn_product pynn_weight_gradient_product(size_t rows, size_t in, size_t out, const void *y_gradient, size_t ld_y_gradient, const void *x,
                                          size_t ld_x, void *weight_gradient, size_t ld_weight_gradient, int order,
                                          const void *learning_rate);
/* And its sums down the columns of dY, which have no A */
pynn_product pynn_bias_gradient_product(size_t rows, size_t out, const void *y_gradient, size_t ld_y_gradient, void *bias_gradient,
                                        const void *learning_rate);

/* Bytes of scratch per thread that a product may use, or one that is smaller in any size; PYNN_TOO_LARGE where they cannot be counted. */
int pynn_product_scratch(int dtype, size_t rows, size_t columns, size_t depth, size_t *bytes);
enum {
    PYNN_MOST_PRODUCTS = 3,
    PYNN_SHARE_FROM = 1 << 18, /* multiply-adds worth sharing: some 5 microseconds of one core */
};
/* Up to PYNN_MOST_PRODUCTS products that do not need each other, shared out together; scratch: `threads` times scratch_each bytes */
void pynn_run_products(int dtype, size_t count, const pynn_product *products, size_t threads, void *scratch, size_t scratch_each);

/* Whether a product with so many columns of C is shared out by columns, and not by rows. */
int pynn_shares_columns(size_t columns, size_t threads, size_t size);

size_t pynn_size_of(int dtype);
/* a * b, unless it does not fit */
int pynn_multiply_sizes(size_t a, size_t b, size_t *product);

/* Y = f(X) and f'(X) together; x may be y or derivative */
void pynn_activate_both(int dtype, size_t threads, int activation, double parameter, size_t n, const void *x, void *y, void *derivative);
void pynn_activate(int dtype, size_t threads, int activation, double parameter, size_t n, const void *x, void *y);
int pynn_known_objective(const pynn_objective *objective);
/* pynn_cost without its checks, in the arithmetic that there is: what the sum of all costs is divided by; adding costs of some rows to it,
 * in order, all but the last of them so many that their elements are a multiple of COST_CHAINS; and the mean */
double pynn_objective_size(int dtype, const pynn_objective *objective, size_t rows, size_t columns, const void *weights);
void pynn_objective_add(int dtype, const pynn_objective *objective, size_t rows, size_t columns, const void *prediction, const void *target,
                        const void *weights, double chains[COST_CHAINS]);
INLINE double pynn_sum_chains(const double c[COST_CHAINS]) { return ((c[0] + c[1]) + (c[2] + c[3])) + ((c[4] + c[5]) + (c[6] + c[7])); }
INLINE double pynn_objective_mean(const double chains[COST_CHAINS], double size) { return size != 0 ? pynn_sum_chains(chains) / size : 0; }
/* dC/dP as pynn_cost_gradient gives it, for some of the rows that `size` is of, times factor unless NULL */
void pynn_objective_gradient(int dtype, size_t threads, const pynn_objective *objective, double size, size_t rows, size_t columns,
                             const void *prediction, const void *target, const void *weights, const void *factor, void *gradient);
/* theta = theta - learning_rate G; learning_rate points to one element */
void pynn_descend(int dtype, size_t threads, size_t n, void *parameters, const void *gradients, const void *learning_rate);
/* B = A B, elementwise */
void pynn_multiply(int dtype, size_t threads, size_t n, const void *a, void *b);

#endif
