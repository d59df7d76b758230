/* optimizer_list.h: every optimizer: X(name, arrays of state), where prepare_<name> and optimizer_<name> in optimizers.h make a step. Their
 * hyperparameters are named in pynn/optimizers.py. */
#ifndef PYNN_OPTIMIZER_LIST_H
#define PYNN_OPTIMIZER_LIST_H

#define OPTIMIZERS(X) \
    X(sgd, 1)         \
    X(rmsprop, 2)     \
    X(adagrad, 1)     \
    X(adam, 2)        \
    X(nadam, 2)       \
    X(rprop, 2)

#endif
