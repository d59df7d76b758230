/* all.h: the kernels for one element type, and their table. */
#define table F(table)

#if MANY_REGISTERS
#define WIDTH _pair
#include "pair.h"

#include "math.h"

#include "decay.h"

#include "activations.h"
#undef WIDTH
#endif
#define WIDTH
#include "math.h"

#include "decay.h"

#include "activations.h"

#include "activation_loops.h"
#include "costs.h"
#include "lines.h"
#include "updates.h"

#include "products.h"

#include "exp.h"

#include "optimizers.h"
#include "random.h"
#include "rows.h"

#include "cross_entropy.h"

/* in the order of table.h */
static const pynn_kernels table = {
    product,
#if CAN_STREAM
    stream_outer,
#else
    NULL,
#endif
    product_scratch,
    bias_gradient,
    activate,
    activation_gradient,
    activate_both,
    add_costs,
    cost_gradient,
    multiply,
    gradient_descent,
    line_forward,
    line_half,
    line_join,
    line_backward,
    prepare,
    update,
    square_sum,
    softmax,
    softmax_gradient,
    log_softmax_gradient,
    layer_norm,
    layer_norm_gradient,
    layer_norm_scale_gradient,
    standardize,
    dropout,
    cross_entropy,
    cross_entropy_gradient,
};
#undef WIDTH
