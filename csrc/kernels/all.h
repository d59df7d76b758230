/* all.h: the kernels for one element type, and their table. */
#define table F(table)

#include "math.h"

#include "decay.h"

#include "activations.h"
#include "costs.h"
#include "lines.h"
#include "products.h"

#include "optimizers.h"
#include "updates.h"

/* in the order of table.h */
static const pynn_kernels table = {
    product,       product_scratch, bias_gradient, activate, activation_gradient,
    activate_both, cost_sum,        cost_gradient, multiply, gradient_descent,
    line_forward,  line_backward,   prepare,       update,   square_sum,
};
