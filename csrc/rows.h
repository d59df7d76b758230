/* rows.h: the kernels of rows.c as a network may use them: work shared out over `threads`, in the arithmetic that there is. */
#ifndef PYNN_ROWS_H
#define PYNN_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "pynn.h"

int pynn_run_softmax(int dtype, size_t threads, int log, size_t rows, size_t columns, const void *x, size_t ld_x, void *y, size_t ld_y);
int pynn_run_softmax_gradient(int dtype, size_t threads, int log, size_t rows, size_t columns, const void *y, size_t ld_y,
                              const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient);
int pynn_run_layer_norm(int dtype, size_t threads, size_t rows, size_t columns, double epsilon, const void *x, size_t ld_x,
                        const void *scale, const void *bias, void *y, size_t ld_y, void *statistics);
int pynn_run_layer_norm_gradient(int dtype, size_t threads, size_t rows, size_t columns, const void *x, size_t ld_x, const void *statistics,
                                 const void *scale, const void *y_gradient, size_t ld_y_gradient, void *x_gradient, size_t ld_x_gradient);
/* c = the gradient, or with a learning rate (one element) c -= rate times it; before: of earlier rows, or NULL */
int pynn_run_layer_norm_scale_gradient(int dtype, size_t threads, size_t rows, size_t columns, const void *x, size_t ld_x,
                                       const void *statistics, const void *y_gradient, size_t ld_y_gradient, const void *before,
                                       const void *learning_rate, void *c);
int pynn_run_standardize(int dtype, size_t threads, size_t rows, size_t columns, const void *x, size_t ld_x, const void *mean,
                         const void *deviation, void *y, size_t ld_y);
int pynn_run_dropout(int dtype, size_t threads, double rate, uint64_t seed, uint64_t step, uint64_t first, size_t n, const void *x,
                     void *y);

#endif
