/* table.h: what one instruction set offers for one element type; the order of operations stands beside each kernel. */
#ifndef PYNN_TABLE_H
#define PYNN_TABLE_H

#include <stddef.h>

#include "../pynn.h"

enum { CHAINS_FROM = 32 }; /* sums of so many terms have four chains */

/* A learning_rate points to one element; where it is not NULL the result is subtracted instead of stored: C -= rate * sum. */
typedef struct {
    void (*product)(size_t rows, size_t columns, size_t depth, const void *a, size_t a_row, size_t a_step, const void *b, size_t b_step,
                    size_t b_column, const void *start, int chains, const void *learning_rate, void *c, size_t ld_c, void *scratch);
    size_t (*product_scratch)(size_t rows, size_t columns, size_t depth); /* in elements */
    void (*bias_gradient)(size_t rows, size_t columns, const void *y_gradient, size_t ld, const void *learning_rate, void *c);
    void (*activate)(int activation, double parameter, size_t n, const void *x, void *y);
    void (*activation_gradient)(int activation, double parameter, size_t n, const void *x, const void *y_gradient, void *x_gradient);
    void (*activate_both)(int activation, double parameter, size_t n, const void *x, void *y, void *derivative);
    double (*squared_error)(size_t n, const void *prediction, const void *target);
    void (*squared_error_gradient)(size_t n, double scale, const void *prediction, const void *target, void *gradient);
    void (*multiply)(size_t n, const void *a, void *b);
    void (*gradient_descent)(size_t n, void *parameters, const void *gradients, const void *learning_rate);
    void (*line_forward)(size_t in, size_t out, const void *weight, size_t ld, int order, const void *x, const void *bias, int activation,
                         double parameter, void *y, void *derivative, void *scratch);
    void (*line_backward)(size_t in, size_t out, void *weight, size_t ld, int order, const void *x, const void *dy, void *bias, void *dx,
                          const void *factor, const void *learning_rate);
    double (*line_error)(size_t n, double scale, const void *y, const void *target, const void *factor, void *dy);
} pynn_kernels;

typedef struct {
    const char *name;
    const pynn_kernels *of[2]; /* PYNN_F32, PYNN_F64 */
} pynn_isa;

extern const pynn_isa pynn_isa_portable, pynn_isa_avx2, pynn_isa_avx512, pynn_isa_neon;

#endif
