"""The contestants of ``python -m bench peers``: one class each, with the same methods, computing the same network.

Each takes NumPy arrays and gives NumPy arrays back. ``predict`` and ``step`` are one call from Python; ``epoch`` goes through
data that ``prepare`` has put as the library likes it best. Imports are within the classes: only what is asked for is loaded, in a
process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

OPTIMIZERS = {"sgd": 0.01, "adam": 0.001}  # and the learning rate of each
COSTS = {"mse": "mean squared error", "softmax_cross_entropy": "softmax cross-entropy of classes"}
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of Adam


@dataclass(frozen=True)
class Net:
    """A network with an activation after each layer but the last, a cost, and gradient descent or Adam."""

    widths: tuple[int, ...]
    activation: str = "sigmoid"
    dtype: str = "float32"
    optimizer: str = "sgd"
    cost: str = "mse"

    @property
    def learning_rate(self) -> float:
        """What the optimizer takes."""
        return OPTIMIZERS[self.optimizer]

    def __str__(self) -> str:
        """The widths, as the command line takes them."""
        return "-".join(map(str, self.widths))

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(in, out) of each layer."""
        return list(zip(self.widths[:-1], self.widths[1:], strict=True))

    @property
    def weights(self) -> int:
        """How many weights there are."""
        return sum(inputs * outputs for inputs, outputs in self.layers)

    def parameters(self) -> list[tuple[Any, Any]]:
        """The same first values for everyone: weight (out, in) and bias (out,) of each layer."""
        random = np.random.default_rng(0)
        scale = [(6 / sum(pair)) ** 0.5 for pair in self.layers]
        return [
            ((random.uniform(-s, s, (outputs, inputs))).astype(self.dtype), random.uniform(-0.1, 0.1, outputs).astype(self.dtype))
            for (inputs, outputs), s in zip(self.layers, scale, strict=True)
        ]

    def data(self, rows: int, seed: int = 1) -> tuple[Any, Any]:
        """The same inputs and targets for everyone; targets (rows,) of integers, if they are classes."""
        random = np.random.default_rng(seed)
        x = random.standard_normal((rows, self.widths[0])).astype(self.dtype)
        if self.cost == "softmax_cross_entropy":
            return x, random.integers(0, self.widths[-1], rows)
        return x, random.uniform(0, 1, (rows, self.widths[-1])).astype(self.dtype)


class Contestant:
    """What all have in common: rows in batches, one step after another, unless the library has something better."""

    modules: tuple[str, ...] = ()  # what must be installed
    comparable = True  # whether it has the parameters that all begin with
    threaded = True  # whether it can use more than one thread
    tasks: tuple[str, ...] = ("predict", "step", "epoch", "full-batch")
    costs: tuple[str, ...] = ("mse",)

    def __init__(self, net: Net, batch: int, threads: int) -> None:
        """Build ``net``, to be trained in batches of ``batch`` rows."""
        if net.cost not in self.costs:
            raise NotImplementedError(f"has no {COSTS[net.cost]} here")
        self.net, self.batch, self.threads = net, batch, threads
        self.setup(net.parameters())

    @classmethod
    def installed(cls) -> bool:
        """Whether it can take part."""
        return all(importlib.util.find_spec(module) for module in cls.modules)

    @staticmethod
    def environment(threads: int) -> dict[str, str]:
        """What limits the library to so many threads, set before its process starts."""
        return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:
        """Build the network with these parameters; ``NotImplementedError`` if the library cannot."""
        raise NotImplementedError("builds no network")

    def predict(self, x: Any) -> Any:
        """Y."""
        raise NotImplementedError("has no prediction")

    def step(self, x: Any, y: Any) -> float:
        """One step of the optimizer; the cost before it."""
        raise NotImplementedError("has no training")

    def prepare(self, x: Any, y: Any) -> Any:
        """The data of an epoch, transferred once."""
        return x, y

    def epoch(self, data: Any) -> None:
        """One epoch in batches, in order."""
        x, y = data
        for i in range(0, len(x), self.batch):
            self.step(x[i : i + self.batch], y[i : i + self.batch])


class Pynn(Contestant):
    """This library: train_step, and fit for one epoch."""

    modules = ("pynn",)
    costs = tuple(COSTS)

    @staticmethod
    def environment(threads: int) -> dict[str, str]:  # noqa: D102
        return {"PYNN_NUM_THREADS": str(threads)}

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        import pynn

        activation = getattr(pynn, pynn.kernels.ACTIVATIONS[self.net.activation].class_name)
        layers: list[Any] = []
        for inputs, outputs in self.net.layers:
            layers += [pynn.Dense(inputs, outputs), activation()]
        optimizer = {"sgd": pynn.SGD, "adam": pynn.Adam}[self.net.optimizer](self.net.learning_rate)
        cost = {"mse": pynn.MSE, "softmax_cross_entropy": pynn.SoftmaxCrossEntropy}[self.net.cost]()
        self.network = pynn.Network(layers[:-1], cost, optimizer, dtype=self.net.dtype, seed=0)
        for layer, (weight, bias) in zip(self.network.layers[::2], parameters, strict=True):
            layer.weight, layer.bias = weight, bias
        self.predict, self.step = self.network.predict, self.network.train_step  # type: ignore[method-assign]  # nothing in between

    def epoch(self, data: Any) -> None:  # noqa: D102
        self.network.fit(*data, epochs=1, batch_size=self.batch, shuffle=False)


def by_formula(name: str) -> tuple[Any, Any]:
    """f(x) and f'(x) of an activation that nobody here has written out, by its formulas in pynn's list."""
    from pynn import reference

    return lambda x: reference.activation(name, x), lambda x, y: reference.activation_gradient(name, x, np.ones_like(x))


class NumPy(Contestant):
    """Plain NumPy, written with some care: weights as the products want them, no array made twice, one run of parameters."""

    modules = ("numpy",)
    costs = tuple(COSTS)

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        # f(x) and f'(x) as a function of x and y = f(x)
        self.f, self.derivative = {
            "relu": (lambda x: np.maximum(x, 0), lambda x, y: x > 0),
            "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x, y: y * (1 - y)),
            "tanh": (np.tanh, lambda x, y: 1 - y * y),
            "arctan": (np.arctan, lambda x, y: 1 / (1 + x * x)),
            "identity": (lambda x: x, lambda x, y: 1),
        }.get(self.net.activation) or by_formula(self.net.activation)
        self.parameters = np.concatenate([each.ravel() for weight, bias in parameters for each in (weight.T, bias)])
        self.gradients, self.m, self.v = (np.zeros_like(self.parameters) for _ in range(3))
        self.weights, self.biases = self._views(self.parameters)
        self.weight_gradients, self.bias_gradients = self._views(self.gradients)
        self.steps = 0

    def _views(self, array: Any) -> tuple[list[Any], list[Any]]:
        """Weights (in, out) and biases, in a run of all parameters."""
        weights, biases, begin = [], [], 0
        for inputs, outputs in self.net.layers:
            end = begin + inputs * outputs
            weights.append(array[begin:end].reshape(inputs, outputs))
            biases.append(array[end : end + outputs])
            begin = end + outputs
        return weights, biases

    def _update(self) -> None:
        parameters, g, m, v, rate = self.parameters, self.gradients, self.m, self.v, self.net.learning_rate
        if self.net.optimizer == "sgd":
            g *= rate
            parameters -= g
            return
        self.steps += 1
        m *= BETA_1
        v *= BETA_2
        change = g * (1 - BETA_1)
        m += change
        g *= g
        g *= 1 - BETA_2
        v += g
        np.sqrt(v, out=g)
        g *= 1 / (1 - BETA_2**self.steps) ** 0.5
        g += EPSILON
        np.divide(m, g, out=change)
        change *= rate / (1 - BETA_1**self.steps)
        parameters -= change

    def predict(self, x: Any) -> Any:  # noqa: D102
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = x @ weight
            x += bias
            x = self.f(x)
        x = x @ self.weights[-1]
        x += self.biases[-1]
        return x

    def _cost(self, prediction: Any, y: Any) -> tuple[float, Any]:
        """The cost, and its gradient."""
        if self.net.cost == "mse":
            gradient = prediction - y
            cost = float(np.vdot(gradient, gradient)) / gradient.size
            gradient *= 2 / gradient.size
            return cost, gradient
        rows = np.arange(len(y))
        logits = prediction - prediction.max(axis=1, keepdims=True)
        gradient = np.exp(logits)
        sums = gradient.sum(axis=1, keepdims=True)
        cost = float(np.log(sums).sum() - logits[rows, y].sum()) / len(y)
        gradient /= sums
        gradient[rows, y] -= 1
        gradient /= len(y)
        return cost, gradient

    def step(self, x: Any, y: Any) -> float:  # noqa: D102
        before, after = [], [x]
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = after[-1] @ weight
            z += bias
            before.append(z)
            after.append(z if i == last else self.f(z))
        cost, gradient = self._cost(after[-1], y)
        for i in range(last, -1, -1):
            product = np.multiply if len(x) == 1 else np.matmul  # a product of one row is slow
            product(after[i].T, gradient, out=self.weight_gradients[i])
            gradient.sum(axis=0, out=self.bias_gradients[i])
            if i:
                gradient = gradient @ self.weights[i].T
                gradient *= self.derivative(before[i - 1], after[i])
        self._update()
        return cost


class Torch(Contestant):
    """PyTorch, eager: its functions themselves, fused optimizers, since those are two to six times faster than others here."""

    modules = ("torch",)
    costs = tuple(COSTS)

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        import torch

        torch.set_num_threads(self.threads)
        self.torch = torch
        functional = torch.nn.functional
        self.loss = {"mse": functional.mse_loss, "softmax_cross_entropy": functional.cross_entropy}[self.net.cost]
        self.f = {"identity": lambda x: x}.get(self.net.activation) or getattr(torch, self.net.activation)
        self.parameters = [tuple(torch.tensor(each, requires_grad=True) for each in pair) for pair in parameters]
        optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.net.optimizer]
        self.optimizer = optimizer([each for pair in self.parameters for each in pair], lr=self.net.learning_rate, fused=True)

    def forward(self, x: Any) -> Any:
        """Y as a tensor."""
        linear = self.torch.nn.functional.linear
        for weight, bias in self.parameters[:-1]:
            x = self.f(linear(x, weight, bias))
        return linear(x, *self.parameters[-1])

    def cost(self, x: Any, y: Any) -> Any:
        """The cost as a tensor."""
        return self.loss(self.forward(x), y)

    def predict(self, x: Any) -> Any:  # noqa: D102
        with self.torch.inference_mode():
            return self.forward(self.torch.from_numpy(x)).numpy()

    def step(self, x: Any, y: Any) -> float:  # noqa: D102
        cost = self.cost(self.torch.from_numpy(x), self.torch.from_numpy(y))
        self.optimizer.zero_grad()
        cost.backward()
        self.optimizer.step()
        return float(cost.item())


class TorchCompiled(Torch):
    """PyTorch with torch.compile."""

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        super().setup(parameters)
        self.forward = self.torch.compile(super().forward)  # type: ignore[method-assign]
        self.cost = self.torch.compile(super().cost)  # type: ignore[method-assign]


class JAX(Contestant):
    """JAX: jit of a step, and of an epoch as one lax.scan; Adam is Optax's."""

    modules = ("jax",)
    costs = tuple(COSTS)

    @staticmethod
    def environment(threads: int) -> dict[str, str]:  # noqa: D102
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == 1 else ""
        return Contestant.environment(threads) | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        f = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "arctan": jnp.arctan, "identity": lambda x: x}[
            self.net.activation
        ]
        rate = self.net.learning_rate
        adam: Any = None
        if self.net.optimizer == "adam":
            try:
                import optax
            except ImportError as error:
                raise NotImplementedError("its Adam is that of Optax, which is not installed") from error
            adam = optax.adam(rate, BETA_1, BETA_2, EPSILON)
            if self.net.weights < 1000:
                adam = optax.flatten(adam)  # one run of parameters: 0.75 us a step of 2-8-1, else 1.16; slower from 8-64-64-4 on

        def forward(parameters: Any, x: Any) -> Any:
            for weight, bias in parameters[:-1]:
                x = f(x @ weight + bias)
            weight, bias = parameters[-1]
            return x @ weight + bias

        def cross_entropy(logits: Any, y: Any) -> Any:
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1))

        cost_of = {"mse": lambda prediction, y: jnp.mean((prediction - y) ** 2), "softmax_cross_entropy": cross_entropy}[
            self.net.cost
        ]

        def step(trained: Any, data: Any) -> Any:
            parameters, state = trained
            x, y = data
            cost, gradients = jax.value_and_grad(lambda parameters: cost_of(forward(parameters, x), y))(parameters)
            if adam is None:
                updates = jax.tree.map(lambda gradient: -rate * gradient, gradients)
            else:
                updates, state = adam.update(gradients, state)
            return (jax.tree.map(jnp.add, parameters, updates), state), cost

        def epoch(trained: Any, data: Any) -> Any:
            trained, costs = jax.lax.scan(step, trained, data)
            return trained, jnp.mean(costs)

        self.jnp = jnp
        first = [(jnp.asarray(weight.T), jnp.asarray(bias)) for weight, bias in parameters]
        self.trained = first, None if adam is None else adam.init(first)
        self.jit_forward = jax.jit(forward)
        self.jit_step = jax.jit(step, donate_argnums=0)
        self.jit_epoch = jax.jit(epoch, donate_argnums=0)

    def predict(self, x: Any) -> Any:  # noqa: D102
        return np.asarray(self.jit_forward(self.trained[0], x))

    def step(self, x: Any, y: Any) -> float:  # noqa: D102
        self.trained, cost = self.jit_step(self.trained, (x, y))
        return float(cost)

    def prepare(self, x: Any, y: Any) -> Any:  # noqa: D102
        return tuple(self.jnp.asarray(each.reshape(-1, self.batch, *each.shape[1:])) for each in (x, y))

    def epoch(self, data: Any) -> None:  # noqa: D102
        self.trained, cost = self.jit_epoch(self.trained, data)
        float(cost)  # waits for the end


class ONNXRuntime(Contestant):
    """ONNX Runtime: prediction only."""

    modules = ("onnxruntime", "onnx")
    tasks = ("predict",)
    costs = tuple(COSTS)  # which a prediction does without

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        import onnx
        import onnxruntime
        from onnx import helper, numpy_helper

        operator = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "arctan": "Atan", "identity": "Identity"}[
            self.net.activation
        ]
        nodes, constants = [], []
        for i, (weight, bias) in enumerate(parameters):
            constants += [
                numpy_helper.from_array(np.ascontiguousarray(weight.T), f"w{i}"),
                numpy_helper.from_array(bias, f"b{i}"),
            ]
            nodes.append(helper.make_node("Gemm", [f"x{i}", f"w{i}", f"b{i}"], [f"z{i}"]))
            nodes.append(helper.make_node(operator, [f"z{i}"], [f"x{i + 1}"]))
        result = nodes[-2].output[0]  # before what would be the last activation
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.net.dtype))
        x, y = (
            helper.make_tensor_value_info(name, kind, [None, width])
            for name, width in (("x0", self.net.widths[0]), (result, self.net.widths[-1]))
        )
        model = helper.make_model(
            helper.make_graph(nodes[:-1], "net", [x], [y], constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        )
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        try:
            self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no public base; some operators exist in one dtype only
            raise NotImplementedError(str(error)) from error

    def predict(self, x: Any) -> Any:  # noqa: D102
        return self.session.run(None, {"x0": x})[0]


class ScikitLearn(Contestant):
    """scikit-learn's MLPRegressor: partial_fit is one step on one batch, or one epoch over many."""

    modules = ("sklearn",)

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        from sklearn.neural_network import MLPRegressor

        names = {"relu": "relu", "sigmoid": "logistic", "tanh": "tanh", "identity": "identity"}
        if self.net.activation not in names:
            raise NotImplementedError(f"has no {self.net.activation}")
        scale = self.net.widths[-1] / 2  # its cost is half the sum over outputs
        self.model = MLPRegressor(
            hidden_layer_sizes=self.net.widths[1:-1], activation=names[self.net.activation],
            solver=self.net.optimizer, alpha=0, batch_size=self.batch, shuffle=False,
            learning_rate_init=self.net.learning_rate / (1 if self.net.optimizer == "adam" else scale),
            momentum=0, nesterovs_momentum=False,
            beta_1=BETA_1, beta_2=BETA_2, epsilon=EPSILON * scale * (1 - BETA_2) ** 0.5,  # it adds it before v is corrected
        )  # fmt: skip
        self.step(*self.net.data(self.batch))  # makes the arrays
        for i, (weight, bias) in enumerate(parameters):
            self.model.coefs_[i][...], self.model.intercepts_[i][...] = weight.T, bias
        del self.model._optimizer  # it has taken a step; the next one makes another

    def predict(self, x: Any) -> Any:  # noqa: D102
        return self.model.predict(x).reshape(len(x), -1)

    def step(self, x: Any, y: Any) -> float:  # noqa: D102
        self.model.partial_fit(x, y[:, 0] if y.shape[1] == 1 else y)
        return 2.0 * self.model.loss_

    def epoch(self, data: Any) -> None:  # noqa: D102
        self.step(*data)


class Numba(Contestant):
    """A hand-written loop, compiled by Numba, in one thread."""

    modules = ("numba",)
    threaded = False

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        from bench import numba_loop

        self.loop = numba_loop
        weights = tuple(np.ascontiguousarray(weight.T) for weight, _ in parameters)
        biases = tuple(bias.copy() for _, bias in parameters)
        values, deltas = (tuple(np.empty(width, self.net.dtype) for width in self.net.widths) for _ in range(2))
        gradients, m, v = ((tuple(map(np.zeros_like, weights)), tuple(map(np.zeros_like, biases))) for _ in range(3))
        code = numba_loop.ACTIVATIONS.index(self.net.activation)
        self.arrays = weights, biases, values, deltas, *gradients, code
        self.of_predict = weights, biases, values, code  # all that it reads: with the rest a call of 2-8-1 took 2.05 us, not 1.56
        self.rate, *betas, epsilon = map(np.dtype(self.net.dtype).type, (self.net.learning_rate, BETA_1, BETA_2, EPSILON))
        self.adam = (*m, *v), np.ones(2), tuple(betas), epsilon  # the ones: powers of both betas, so far

    def predict(self, x: Any) -> Any:  # noqa: D102
        return self.loop.predict(*self.of_predict, x)

    def step(self, x: Any, y: Any) -> float:  # noqa: D102
        if self.net.optimizer == "sgd":
            return float(self.loop.epoch(self.arrays, x, y, self.batch, self.rate))
        return float(self.loop.epoch_of_adam(self.arrays, x, y, self.batch, self.rate, *self.adam))

    def epoch(self, data: Any) -> None:  # noqa: D102
        self.step(*data)


class FANN(Contestant):
    """The C library FANN, version 2, called through cffi: fann_train, or fann_train_epoch over a batch."""

    threaded = False
    DECLARATIONS = """
    struct fann_train_data {
        int errno_f; void *error_log; char *errstr; unsigned num_data, num_input, num_output; T **input, **output;
    };
    struct fann_connection { unsigned from_neuron, to_neuron; T weight; };
    struct fann *fann_create_standard_array(unsigned layers, const unsigned *widths);
    void fann_destroy(struct fann *);
    void fann_set_activation_function_hidden(struct fann *, int);
    void fann_set_activation_function_output(struct fann *, int);
    void fann_set_activation_steepness_hidden(struct fann *, T);
    void fann_set_activation_steepness_output(struct fann *, T);
    void fann_set_train_error_function(struct fann *, int);
    void fann_set_training_algorithm(struct fann *, int);
    void fann_set_learning_rate(struct fann *, float);
    unsigned fann_get_total_connections(struct fann *);
    void fann_get_connection_array(struct fann *, struct fann_connection *);
    void fann_set_weight_array(struct fann *, struct fann_connection *, unsigned);
    T *fann_run(struct fann *, const T *);
    void fann_train(struct fann *, const T *x, const T *y);
    float fann_train_epoch(struct fann *, struct fann_train_data *);
    float fann_get_MSE(struct fann *);
    void fann_reset_MSE(struct fann *);
    struct fann_train_data *fann_create_train(unsigned rows, unsigned in, unsigned out);
    void fann_destroy_train(struct fann_train_data *);
    """

    @staticmethod
    def load(dtype: str) -> tuple[Any, Any]:
        """cffi's interface and the library; OSError where it is not installed."""
        import cffi

        kind = {"float32": "float", "float64": "double"}[dtype]
        ffi = cffi.FFI()
        ffi.cdef(f"typedef {kind} T;" + FANN.DECLARATIONS)
        return ffi, ffi.dlopen(f"lib{kind}fann.so.2")

    @classmethod
    def installed(cls) -> bool:  # noqa: D102
        try:
            cls.load("float32")
        except (ImportError, OSError):
            return False
        return True

    def setup(self, parameters: Sequence[tuple[Any, Any]]) -> None:  # noqa: D102
        if self.net.optimizer != "sgd":
            raise NotImplementedError(f"has no {self.net.optimizer}")
        codes = {"sigmoid": 3, "tanh": 5, "identity": 0}  # FANN_SIGMOID, FANN_SIGMOID_SYMMETRIC, FANN_LINEAR
        if self.net.activation not in codes:
            raise NotImplementedError(f"has no {self.net.activation}")
        self.ffi, self.lib = self.load(self.net.dtype)
        lib, widths = self.lib, self.net.widths
        self.network = self.ffi.gc(lib.fann_create_standard_array(len(widths), list(widths)), lib.fann_destroy)
        lib.fann_set_activation_function_hidden(self.network, codes[self.net.activation])
        lib.fann_set_activation_function_output(self.network, codes["identity"])
        # FANN's functions of s x are sigmoid(2 s x), tanh(s x) and s x; s is a half unless told otherwise.
        lib.fann_set_activation_steepness_hidden(self.network, 0.5 if self.net.activation == "sigmoid" else 1.0)
        lib.fann_set_activation_steepness_output(self.network, 1.0)
        lib.fann_set_train_error_function(self.network, 0)  # FANN_ERRORFUNC_LINEAR: the error itself, not a function of it
        lib.fann_set_training_algorithm(self.network, 0 if self.batch == 1 else 1)  # FANN_TRAIN_INCREMENTAL, FANN_TRAIN_BATCH
        lib.fann_set_learning_rate(self.network, self.net.learning_rate * 2 / widths[-1])  # its cost is half the sum over outputs
        # It looks for each weight among all, so larger networks keep the random weights that they have and are not compared;
        # nor are those of doubles, whose learning rate and cost are floats even so.
        self.comparable = self.net.weights <= 10_000 and self.net.dtype == "float32"
        if self.comparable:
            connections = self.ffi.new("struct fann_connection[]", lib.fann_get_total_connections(self.network))
            lib.fann_get_connection_array(self.network, connections)
            values = np.concatenate(
                [np.column_stack(pair).ravel() for pair in parameters]
            )  # each neuron's weights, then its bias
            for connection, value in zip(connections, values, strict=True):
                connection.weight = value
            lib.fann_set_weight_array(self.network, connections, len(connections))

    def _pointer(self, array: Any) -> Any:
        return self.ffi.cast("T *", self.ffi.from_buffer(array))

    def _data(self, x: Any, y: Any) -> Any:
        data = self.ffi.gc(self.lib.fann_create_train(len(x), x.shape[1], y.shape[1]), self.lib.fann_destroy_train)
        self.ffi.memmove(data.input[0], self.ffi.from_buffer(x), x.nbytes)
        self.ffi.memmove(data.output[0], self.ffi.from_buffer(y), y.nbytes)
        return data

    def predict(self, x: Any) -> Any:  # noqa: D102
        result = np.empty((len(x), self.net.widths[-1]), x.dtype)
        source, width = self._pointer(x), x.shape[1]
        target, row = self.ffi.from_buffer(result, require_writable=True), result.strides[0]
        for i in range(len(x)):
            self.ffi.memmove(target[i * row : (i + 1) * row], self.lib.fann_run(self.network, source + i * width), row)
        return result

    def step(self, x: Any, y: Any) -> float:  # noqa: D102
        if self.batch > 1:
            return float(self.lib.fann_train_epoch(self.network, self._data(x, y)))
        self.lib.fann_reset_MSE(self.network)
        self.lib.fann_train(self.network, self._pointer(x), self._pointer(y))
        return float(self.lib.fann_get_MSE(self.network))

    def prepare(self, x: Any, y: Any) -> Any:  # noqa: D102
        batch = self.batch if self.batch > 1 else len(x)
        return [self._data(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch)]

    def epoch(self, data: Any) -> None:  # noqa: D102
        for batch in data:
            self.lib.fann_train_epoch(self.network, batch)


CONTESTANTS: dict[str, type[Contestant]] = {
    "pynn": Pynn,
    "NumPy": NumPy,
    "torch": Torch,
    "torch.compile": TorchCompiled,
    "JAX": JAX,
    "ONNX Runtime": ONNXRuntime,
    "scikit-learn": ScikitLearn,
    "Numba": Numba,
    "FANN": FANN,
}


def serve(pipe: Any, name: str, threads: int) -> None:
    """What a contestant's process does: build, check and time as it is told through ``pipe``, until that closes."""
    from bench import timing

    contestant: Any = None
    batch: tuple[Any, Any] = ()  # type: ignore[assignment]
    data: Any = None
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    while True:
        try:
            command, *arguments = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Any = None
        try:
            if command == "build":
                net, rows = arguments
                contestant = data = None  # frees the one before
                contestant = CONTESTANTS[name](net, rows, threads)
                batch = net.data(rows)
            elif command == "check":
                # A prediction; then the cost of a step, a prediction after it, and one after an epoch of two more.
                answer = [np.array(contestant.predict(batch[0]))]
                if "step" in contestant.tasks:
                    answer += [contestant.step(*batch), np.array(contestant.predict(batch[0]))]
                    contestant.epoch(contestant.prepare(*contestant.net.data(2 * contestant.batch, seed=2)))
                    answer.append(np.array(contestant.predict(batch[0])))
                if not contestant.comparable:
                    answer = []
            elif command == "prepare":
                data = contestant.prepare(*contestant.net.data(arguments[0] * contestant.batch, seed=3))
            elif command == "time":
                task, calls, clock = arguments
                call = {
                    "predict": (contestant.predict, batch[0]),
                    "step": (contestant.step, *batch),
                    "epoch": (contestant.epoch, data),
                    "full-batch": (contestant.epoch, data),
                }[task]
                answer = timing.calls_of(*call, clock=getattr(time, clock))(calls)
            pipe.send(("done", answer))
        except Exception as error:  # goes to the process that asked, which says what to do about it
            pipe.send(("cannot" if isinstance(error, NotImplementedError) else "failed", f"{type(error).__name__}: {error}"))
