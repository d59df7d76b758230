"""Every kernel, and whole trainings, against tests/specification/specification.c, bit by bit: the order of operations.

The C compiler at hand builds it, for each dtype. ``pytest --exhaustive`` tries all of float32, and more shapes and networks.
"""

import ctypes
import functools
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support import ACTIVATIONS, DTYPES, INSTRUCTION_SETS, same_bits, threads, using

import pynn
from pynn import kernels

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "tests" / "specification" / "specification.c"
FLAGS = ["-std=c11", "-O2", "-ffp-contract=off", "-fPIC"]

# ---- the specification -----------------------------------------------------------------------------------------------


class Layer(ctypes.Structure):
    """`layer` in specification.c."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("f", ctypes.c_void_p),
        ("parameter", ctypes.c_double),
        ("in", ctypes.c_size_t),
        ("out", ctypes.c_size_t),
        ("weight", ctypes.c_size_t),
        ("bias", ctypes.c_size_t),
        ("by_input", ctypes.c_int),
        ("mean", ctypes.c_void_p),
        ("deviation", ctypes.c_void_p),
        ("seed", ctypes.c_uint64),
        ("step", ctypes.c_uint64),
    )


class Objective(ctypes.Structure):
    """`objective`."""

    _fields_ = (
        ("in_double", ctypes.c_void_p),
        ("in_type", ctypes.c_void_p),
        ("parameter", ctypes.c_double),
        ("labels", ctypes.c_int),
    )


class Penalty(ctypes.Structure):
    """`penalty`."""

    _fields_ = (
        ("begin", ctypes.c_size_t),
        ("end", ctypes.c_size_t),
        ("l1", ctypes.c_double),
        ("l2", ctypes.c_double),
        ("decay", ctypes.c_double),
    )


class Optimizer(ctypes.Structure):
    """`optimizer`."""

    _fields_ = (
        ("step", ctypes.c_void_p),
        ("h", ctypes.c_double * 4),
        ("r", ctypes.c_double * 3),
        ("clip_value", ctypes.c_double),
        ("clip_norm", ctypes.c_double),
        ("s", ctypes.c_void_p),
        ("u", ctypes.c_void_p),
        ("penalties", ctypes.c_size_t),
        ("penalty", ctypes.POINTER(Penalty)),
    )


HYPERPARAMETERS = {  # and the name of its function, for each class
    "SGD": ("sgd", lambda o: (o.momentum, o.nesterov)),
    "RMSProp": ("rmsprop", lambda o: (o.rho, o.epsilon, o.momentum)),
    "Adagrad": ("adagrad", lambda o: (o.epsilon,)),
    "Adam": ("adam", lambda o: (o.beta_1, o.beta_2, o.epsilon)),
    "AdamW": ("adam", lambda o: (o.beta_1, o.beta_2, o.epsilon)),
    "NAdam": ("nadam", lambda o: (o.beta_1, o.beta_2, o.epsilon, float(Decimal("0.96") ** Decimal(o.momentum_decay)))),
    "Rprop": ("rprop", lambda o: (o.eta_minus, o.eta_plus, o.least_step, o.most_step)),
}
KINDS = {
    pynn.Dense: 0,
    pynn.Softmax: 2,
    pynn.LogSoftmax: 3,
    pynn.LayerNorm: 4,
    pynn.Standardize: 5,
    pynn.Dropout: 6,
}  # activations: 1
NOWHERE = 2 ** (8 * ctypes.sizeof(ctypes.c_size_t)) - 1


def arrays_of(net):
    """(array, whether it is a weight that lies by input, whether it is a bias) of each parameter as they lie."""
    for layer in net.layers:
        if isinstance(layer, pynn.Dense):
            few = layer.out_features <= 15 and layer.in_features >= 2 * layer.out_features
            yield layer.weight, not few, False
        elif isinstance(layer, pynn.LayerNorm) and layer.scale is not None:
            yield layer.scale, False, False
        if isinstance(layer, (pynn.Dense, pynn.LayerNorm)) and layer.bias is not None:
            yield layer.bias, False, True


class Specification:
    """The functions of specification.c for one dtype, on arrays of it in C order."""

    def __init__(self, library, dtype):
        self._library, self.dtype = library, np.dtype(dtype)

    def _function(self, name):
        return getattr(self._library, f"spec_{name}_f{8 * self.dtype.itemsize}")

    def _call(self, name, *arguments, result=None):
        kinds = {int: ctypes.c_size_t, float: ctypes.c_double}
        function = self._function(name)
        function.restype = result
        plain = []
        for each in arguments:
            if isinstance(each, np.ndarray):
                assert each.flags.c_contiguous
                assert each.dtype in (self.dtype, np.int64, np.float64)
                plain.append(ctypes.c_void_p(each.ctypes.data))
            elif isinstance(each, (Objective, Optimizer)):
                plain.append(ctypes.byref(each))
            else:
                plain.append(kinds[type(each)](each) if type(each) in kinds else each)
        return function(*plain)

    def has(self, name):
        return hasattr(self._library, f"spec_{name}_f{8 * self.dtype.itemsize}")

    def _pointer(self, name):
        return ctypes.cast(self._function(name), ctypes.c_void_p)

    def affine(self, weight, x, bias=None):
        y = np.empty((len(x), len(weight)), self.dtype)
        self._call("affine", len(x), x.shape[1], len(weight), weight, x, bias, y)
        return y

    def input_gradient(self, weight, y_gradient):
        dx = np.empty((len(y_gradient), weight.shape[1]), self.dtype)
        self._call("input_gradient", len(y_gradient), weight.shape[1], len(weight), weight, y_gradient, dx)
        return dx

    def weight_gradient(self, y_gradient, x):
        dw = np.empty((y_gradient.shape[1], x.shape[1]), self.dtype)
        self._call("weight_gradient", len(x), x.shape[1], y_gradient.shape[1], y_gradient, x, dw)
        return dw

    def bias_gradient(self, y_gradient):
        db = np.empty(y_gradient.shape[1], self.dtype)
        self._call("bias_gradient", *y_gradient.shape, y_gradient, db)
        return db

    def activation(self, name, x, parameter):
        y = np.empty_like(x)
        self._call("activation", self._pointer(name), parameter, x.size, x, y)
        return y

    def activation_gradient(self, name, x, y_gradient, parameter):
        dx = np.empty_like(x)
        self._call("activation_gradient", self._pointer(name), parameter, x.size, x, y_gradient, dx)
        return dx

    def objective(self, name, parameter=0.0, labels=False):
        """What pynn calls ``name``, for ``cost``, ``cost_gradient`` and ``epoch``."""
        if name == "softmax_cross_entropy":
            return Objective(None, None, parameter, labels)
        in_double = ctypes.cast(getattr(self._library, f"spec_{name}_f64"), ctypes.c_void_p)
        return Objective(in_double, self._pointer(name), parameter, labels)

    def cost(self, objective, prediction, target, weights=None):
        rows, columns = prediction.shape if prediction.ndim == 2 else (prediction.size, 1)
        return self._call("cost", objective, rows, columns, prediction, target, weights, result=ctypes.c_double)

    def cost_gradient(self, objective, prediction, target, weights=None):
        rows, columns = prediction.shape if prediction.ndim == 2 else (prediction.size, 1)
        gradient = np.empty_like(prediction)
        self._call("cost_gradient", objective, rows, columns, prediction, target, weights, gradient)
        return gradient

    def optimizer(self, optimizer, runs):
        """A fresh one like a pynn.Optimizer, with penalties for runs of parameters; and what it points to."""
        name, values = HYPERPARAMETERS[type(optimizer).__name__]
        states = np.zeros((2, runs[-1][1] if runs else 0), self.dtype)
        made = Optimizer(self._pointer(name), (ctypes.c_double * 4)(*values(optimizer)), (ctypes.c_double * 3)(1, 1, 1))
        made.clip_value, made.clip_norm = (
            np.inf if limit is None else limit for limit in (optimizer.clip_value, optimizer.clip_norm)
        )
        made.s, made.u = states[0].ctypes.data, states[1].ctypes.data
        made.penalties, made.penalty = len(runs), (Penalty * len(runs))(*(Penalty(*run) for run in runs))
        return made, states

    def optimize(self, optimizer, parameters, gradients, learning_rate):
        """One step, in place."""
        self._call("optimize", optimizer, parameters.size, parameters, gradients, float(learning_rate))

    def gradient_descent(self, parameters, gradients, learning_rate):
        updated = parameters.copy()
        optimizer, _ = self.optimizer(pynn.SGD(), [(0, updated.size, 0, 0, 0)])
        self.optimize(optimizer, updated, gradients, learning_rate)
        return updated

    def softmax(self, x, log):
        y = np.empty_like(x)
        self._call("softmax", log, *x.shape, x, y)
        return y

    def softmax_gradient(self, y, y_gradient, log):
        dx = np.empty_like(y)
        self._call("softmax_gradient", log, *y.shape, y, y_gradient, dx)
        return dx

    def layer_norm(self, x, scale, bias, epsilon):
        y, statistics = np.empty_like(x), np.empty((len(x), 2), x.dtype)
        self._call("layer_norm", *x.shape, epsilon, x, scale, bias, y, statistics)
        return y, statistics

    def layer_norm_gradient(self, x, statistics, y_gradient, scale):
        dx = np.empty_like(x)
        self._call("layer_norm_gradient", *x.shape, x, statistics, y_gradient, scale, dx)
        return dx

    def layer_norm_scale_gradient(self, x, statistics, y_gradient):
        gradient = np.empty(x.shape[1], x.dtype)
        self._call("layer_norm_scale_gradient", *x.shape, x, statistics, y_gradient, gradient)
        return gradient

    def standardize(self, x, mean, deviation):
        y = np.empty_like(x)
        self._call("standardize", *x.shape, x, mean, deviation, y)
        return y

    def dropout(self, x, rate, seed, step, first_row):
        y = np.empty_like(x)
        self._call("dropout", rate, *map(ctypes.c_uint64, (seed, step, first_row * x.shape[1])), x.size, x, y)
        return y

    def network(self, net):
        """A pynn.Network for ``predict`` and ``epoch``: layers, parameters, an optimizer, and what the layers point to."""
        width = next(layer.in_features for layer in net.layers if isinstance(layer, pynn.Dense))
        layers, size, runs, kept = (Layer * len(net.layers))(), 0, [], []
        arrays = list(arrays_of(net))
        penalties = net.optimizer.l1, net.optimizer.l2, net.optimizer.weight_decay
        for array, _, bias in arrays:
            runs.append((size, size + array.size, *((0, 0, 0) if bias and not net.optimizer.regularize_bias else penalties)))
            size += array.size
        places = iter(zip(runs, arrays, strict=True))
        for row, layer in zip(layers, net.layers, strict=True):
            setattr(row, "in", width)
            row.kind, row.weight, row.bias = KINDS.get(type(layer), 1), NOWHERE, NOWHERE
            if isinstance(layer, pynn.Dense):
                (row.weight, *_), (_, row.by_input, _) = next(places)
                width = layer.out_features
            elif isinstance(layer, pynn.LayerNorm):
                row.weight, row.parameter = NOWHERE if layer.scale is None else next(places)[0][0], layer.epsilon
            elif isinstance(layer, pynn.Dropout):
                row.parameter, row.seed = layer.rate, layer.seed
            elif isinstance(layer, pynn.Standardize):
                kept += [layer.mean.astype(self.dtype), layer.deviation.astype(self.dtype)]
                row.mean, row.deviation = (each.ctypes.data for each in kept[-2:])
            elif row.kind == 1:
                row.f, row.parameter = self._pointer(layer.name).value, layer.parameter or 0
            if getattr(layer, "bias", None) is not None:
                row.bias = next(places)[0][0]
            row.out = width
        return layers, parameters_of(net), self.optimizer(net.optimizer, runs), kept

    def predict(self, layers, parameters, x):
        y = np.empty((len(x), layers[-1].out), self.dtype)
        self._call("predict", len(layers), layers, parameters, len(x), x, y)
        return y

    def epoch(self, layers, parameters, objective, optimizer, learning_rate, x, y, weights, order, batch):
        costs = np.empty(-(-len(x) // batch))
        self._call(
            "epoch", len(layers), layers, parameters.size, parameters, objective, optimizer, float(learning_rate),
            len(x), x, y, weights, order, batch, costs,
        )  # fmt: skip
        return costs


@pytest.fixture(scope="session")
def specifications(tmp_path_factory):
    """The specification for each dtype, by the C compiler at hand."""
    named = os.environ.get("CC") or sysconfig.get_config_var("CC") or ""
    choices = [shlex.split(named), ["cc"], ["gcc"], ["clang"]]
    compiler = next((each for each in choices if each and shutil.which(each[0])), None)
    if compiler is None:
        pytest.skip("no C compiler to build tests/specification/specification.c: tried $CC, cc, gcc and clang")
    folder = tmp_path_factory.mktemp("specification")
    library, objects = folder / "specification.so", []
    for dtype in DTYPES:
        bits = 8 * np.dtype(dtype).itemsize
        objects.append(str(folder / f"specification_f{bits}.o"))
        subprocess.run([*compiler, *FLAGS, f"-DBITS={bits}", "-c", str(SOURCE), "-o", objects[-1]], check=True)
    subprocess.run([*compiler, "-shared", *objects, "-o", str(library), "-lm"], check=True)
    return {dtype: Specification(ctypes.CDLL(str(library)), dtype) for dtype in DTYPES}


@pytest.fixture
def specification(specifications, dtype):
    return specifications[dtype]


def epoch_cost(costs, rows, batch, weights=None):
    """Each batch's cost times its rows, or the sum of their weights, is rounded to double precision, then the exact sum of these,
    then that over all of them."""
    counts = [min(batch, rows - first) for first in range(0, rows, batch)]
    if weights is not None:
        counts = [sum(map(float, weights[first : first + batch])) for first in range(0, rows, batch)]
    weighted = [float(cost) * count for cost, count in zip(costs, counts, strict=True)]
    try:
        return float(sum(map(Fraction, weighted))) / (float(sum(map(Fraction, counts))) or 1)
    except (OverflowError, ValueError):  # not a number, or larger than there are
        return np.nan if np.isnan(costs).any() else np.inf


class Random:
    """First weights and orders of rows, from the 64-bit numbers of NumPy's PCG64."""

    def __init__(self, seed):
        self._next, self._kept = np.random.PCG64(seed).random_raw, None

    def weight(self, outputs, inputs, square, dtype):
        """Uniform on ±√square, the first 53 bits of a number each; computed in double precision, then rounded to the dtype."""
        numbers = np.array([(self._next() >> 11) * 2.0**-53 for _ in range(outputs * inputs)])
        return ((2.0 * numbers - 1.0) * np.sqrt(square)).astype(dtype).reshape(outputs, inputs)

    def seed(self):
        """Of dropout: one number."""
        return self._next()

    def _half(self):
        """32 bits: the lower half of a number, then its upper half."""
        if self._kept is None:
            number = self._next()
            self._kept = number >> 32
            return number & 0xFFFFFFFF
        half, self._kept = self._kept, None
        return half

    def _below(self, n):
        """A whole number from 0 to n - 1: as many low bits as n - 1 has, of one half after another until they are below n."""
        while True:
            drawn = self._half() & ((1 << (n - 1).bit_length()) - 1)
            if drawn < n:
                return drawn

    def order(self, rows):
        """0 to rows - 1, shuffled from the last to the second (Fisher and Yates)."""
        order = list(range(rows))
        for i in range(rows - 1, 0, -1):
            j = self._below(i + 1)
            order[i], order[j] = order[j], order[i]
        return np.array(order, np.int64)


def rounded(exact, dtype):
    """The number of ``dtype`` nearest to a fraction, ties to even; good for normal results and zero."""
    double = float(exact)  # correctly rounded, says Python
    if dtype == "float64":
        return np.float64(double)
    # Rounding twice could hit a tie that is none: first round to odd instead (Boldo and Melquiond, 2008).
    if Fraction(double) != exact and not int(np.float64(double).view(np.uint64)) & 1:
        double = float(np.nextafter(double, np.inf if Fraction(double) < exact else -np.inf))
    return np.float32(double)


def test_the_compilers_multiply_add_is_rounded_once(specification, dtype):
    """The one operation of the specification that a C library might get wrong, in exact arithmetic, at ties and beside them."""
    random, info = generator(0), np.finfo(dtype)
    nearly_one = np.array([1 - info.eps, 1, 1 + info.eps], dtype)
    for rate in [*nearly_one, *random.random(100).astype(dtype)]:
        theta, g = (2 * random.random((2, 60)) - 1).astype(dtype)
        if rate in nearly_one:
            theta, g = (
                theta + np.copysign(theta.dtype.type(1), theta),
                random.choice([*nearly_one, *-nearly_one], 60) * info.epsneg,
            )
        else:
            theta *= np.exp2(random.integers(-info.nmant, info.nmant, theta.size)).astype(dtype)
        exact = [Fraction(float(t)) - Fraction(float(rate)) * Fraction(float(each)) for t, each in zip(theta, g, strict=True)]
        assert same_bits(specification.gradient_descent(theta, g, rate), np.array([rounded(e, dtype) for e in exact], dtype))


# ---- numbers and shapes to try it on ---------------------------------------------------------------------------------


def generator(*seed):
    return np.random.Generator(np.random.PCG64(list(seed)))


def any_bits(random, n, dtype):
    return random.integers(0, 2**64, n, dtype=np.uint64).astype(f"u{np.dtype(dtype).itemsize}").view(dtype)


def numbers(random, shape, dtype, kinds=None):
    """Numbers of one kind, that fill the mantissa: a kind is drawn."""
    info, n = np.finfo(dtype), int(np.prod(shape))
    uniform, sign = 2 * random.random(n) - 1, np.where(random.random(n) < 0.5, -1.0, 1.0)
    kind = random.choice(kinds or ["uniform", "cancelling", "wide", "tiny", "huge", "special", "zeros", "bits"])
    with np.errstate(all="ignore"):
        if kind == "uniform":
            drawn = uniform
        elif kind == "cancelling":  # few numbers of either sign, some of them large: what remains is what was rounded
            drawn = random.choice(uniform[:3] * [1, 2.0**12, 2.0**25], n) * sign if n > 3 else uniform
        elif kind == "wide":
            drawn = uniform * np.exp2(random.integers(-30, 30, n))
        elif kind == "tiny":  # products and sums are subnormal
            drawn = uniform * np.sqrt(float(info.smallest_normal)) * np.exp2(random.integers(-8, 2, n))
        elif kind == "huge":  # some sums overflow, and some do and come back in another order
            drawn = uniform * np.exp2(random.choice([0, info.maxexp // 2, info.maxexp - 3, info.maxexp - 1], n))
        elif kind == "special":
            drawn = uniform
            some = random.random(n) < random.choice([0.003, 0.1])
            special = [np.inf, -np.inf, np.nan, 0.0, -0.0, info.max, -info.max, info.smallest_subnormal, -info.smallest_normal]
            drawn[some] = random.choice(np.array(special, float), some.sum())
        elif kind == "zeros":
            drawn = np.where(random.random(n) < 0.5, 0.0, uniform) * sign
        else:
            return any_bits(random, n, dtype).reshape(shape)
        return drawn.astype(dtype).reshape(shape)


def shapes(random, repeat):
    """(rows, inputs, outputs): each number up to 130 in each place, those around 32 terms more often, and a few large ones."""
    few, near, many, sharing, large, deep = ((0, 9), (28, 37), (0, 131), (64, 150), (520, 720), (257, 340))

    def drawn(*ranges):
        return tuple(int(random.integers(*each)) for each in ranges)

    for _ in range(repeat):
        for n in range(131):
            one = (n, n + 1)
            yield drawn(few, one, many)
            yield drawn(few, many, one)
            yield drawn(one, few, near)
            yield drawn(one, near, few)
        for _ in range(300):
            yield drawn(*random.choice([few, near, many], 3))
        for _ in range(20):  # shared out among threads
            yield drawn(sharing, sharing, sharing)
        for _ in range(2):  # beyond what caches hold
            yield drawn((1, 2), large, large)
            yield drawn(few, large, large)
            yield drawn(near, large, large)
        yield drawn(deep, large, deep)  # rows and steps in parts


@pytest.fixture
def exhaustive(request):
    return request.config.getoption("--exhaustive")


COSTS = list(kernels.COSTS)
NUMBERS_OF_THREADS = itertools.cycle((1, 2, 3, 4, 2))  # five, so that each instruction set meets each of them in time


def held(specified, what, function, *arguments, **options):
    """Every instruction set computes what is specified, on one number of threads or another."""
    for instruction_set in INSTRUCTION_SETS:
        with using(instruction_set), threads(next(NUMBERS_OF_THREADS)):
            computed = function(*arguments, **options)
            assert same_bits(computed, specified), f"{what}, on {instruction_set} with {pynn.get_num_threads()} threads"


# ---- kernels ---------------------------------------------------------------------------------------------------------


def test_the_specification_has_every_activation(specifications):
    missing = [f"spec_{name}" for name in ACTIVATIONS for each in specifications.values() if not each.has(name)]
    assert not missing, f"tests/specification/specification.c lacks {sorted(set(missing))}: activations of pynn need one there"


def test_products_are_the_specified_sums(specification, dtype, exhaustive):
    random = generator(1)
    for rows, inputs, outputs in shapes(random, 20 if exhaustive else 1):
        what = f"{dtype}, {rows} rows, {inputs} inputs, {outputs} outputs"
        weight, bias = numbers(random, (outputs, inputs), dtype), numbers(random, outputs, dtype)
        x, dy = numbers(random, (rows, inputs), dtype), numbers(random, (rows, outputs), dtype)
        y, y_without = specification.affine(weight, x, bias), specification.affine(weight, x)
        dx, dw = specification.input_gradient(weight, dy), specification.weight_gradient(dy, x)
        for order in ("C", "F"):
            w, room = np.asarray(weight, order=order), np.empty_like(weight, order=order)
            lying = f"weight in {order} order, {what}"
            held(y, f"affine, {lying}", kernels.affine, w, x, bias)
            held(y_without, f"affine without bias, {lying}", kernels.affine, w, x)
            held(dx, f"input_gradient, {lying}", kernels.input_gradient, w, dy)
            held(dw, f"weight_gradient, {lying}", kernels.weight_gradient, dy, x, out=room)
        held(specification.bias_gradient(dy), f"bias_gradient, {what}", kernels.bias_gradient, dy)


def descended(parameters, gradients, rate):
    updated = parameters.copy()
    kernels.gradient_descent(updated, gradients, rate)
    return updated


def costs_to_try(random, cost):
    """(parameter, how a kernel is told)."""
    row = kernels.COSTS[cost]
    return [(row.default, {}), *((value, {"parameter": value}) for value in (0.37, random.random()) if row.parameter)]


def predictions(random, shape, dtype):
    """Predictions and targets of any kind, often near each other, or 0 and 1 as targets."""
    p, t = numbers(random, shape, dtype), numbers(random, shape, dtype)
    kind = random.choice(["apart", "near", "of the order of 1", "zero or one"])
    with np.errstate(all="ignore"):
        if kind == "near":
            t = p + t * p.dtype.type(1e-3)
        elif kind == "of the order of 1":
            p, t = (numbers(random, shape, dtype, ["uniform"]) * p.dtype.type(10) for _ in range(2))
        elif kind == "zero or one":
            t = (t > 0).astype(dtype)
    return p, t


SIZES = [
    *range(70),
    127,
    128,
    129,
    255,
    256,
    257,
    1000,
    2**17 + 5,
]  # costs are computed by 256; the last one is shared out among threads


@pytest.mark.parametrize("cost", COSTS)
def test_costs_are_the_specified_operations(specification, dtype, cost, exhaustive):
    random = generator(2, COSTS.index(cost))
    for n in SIZES * (20 if exhaustive else 2):
        p, t = predictions(random, n, dtype)
        for parameter, given in costs_to_try(random, cost):
            what, objective = f"{cost} with {given}, {dtype}, {n} elements", specification.objective(cost, parameter)
            held(specification.cost(objective, p, t), what, kernels.cost, cost, p, t, **given)
            gradient = specification.cost_gradient(objective, p, t)
            held(gradient, f"gradient of {what}", kernels.cost_gradient, cost, p, t, **given)
    for rows, columns in [*random.integers(0, 20, (20, 2)), (1, 300), (300, 1), (200, 100)]:  # with a weight for each row
        p, t = predictions(random, (rows, columns), dtype)
        w = numbers(random, rows, dtype) if random.random() < 0.5 else np.abs(numbers(random, rows, dtype, ["uniform"]))
        objective, what = (
            specification.objective(cost, kernels.COSTS[cost].default),
            f"{cost}, {rows} rows of {columns} with weights",
        )
        held(specification.cost(objective, p, t, w), what, kernels.cost, cost, p, t, w)
        held(specification.cost_gradient(objective, p, t, w), f"gradient of {what}", kernels.cost_gradient, cost, p, t, w)


def test_costs_are_the_specified_operations_on_hard_points(specification, dtype):
    """On all exponents and at the seams, as activations."""
    random = generator(6)
    p = hard_points(random, dtype, 2**8 if dtype == "float32" else 2**5)
    t = numbers(random, p.size, dtype, ["special"])
    for cost in COSTS:
        for target in (np.zeros_like(p), t):
            objective = specification.objective(cost, kernels.COSTS[cost].default)
            gradient = specification.cost_gradient(objective, p, target)
            held(gradient, f"gradient of {cost}, {dtype}", kernels.cost_gradient, cost, p, target)
            for first in range(0, p.size, 997):  # short sums, in which an element cannot hide
                some, aim = p[first : first + 3], target[first : first + 3]
                assert same_bits(kernels.cost(cost, some, aim), specification.cost(objective, some, aim)), (
                    f"{cost}, {some}, {aim}"
                )


def test_the_softmax_cross_entropy_is_the_specified_operations(specification, dtype, exhaustive):
    random = generator(7)
    for rows, columns in [*random.integers(1, 40, (200 if exhaustive else 40, 2)), (1, 255), (2, 256), (3, 257), (200, 100)]:
        x = numbers(random, (rows, columns), dtype)
        if random.random() < 0.5:
            x = (numbers(random, (rows, columns), dtype, ["uniform"]) * random.choice([1, 30, 200])).astype(dtype)
        smoothing = float(random.choice([0.0, 0.1, 0.37]))
        w = None if random.random() < 0.5 else np.abs(numbers(random, rows, dtype, ["uniform"]))
        if random.random() < 0.5:
            t = random.integers(0, columns, rows)
            given = t.astype(dtype)
        else:
            t = given = numbers(random, (rows, columns), dtype, ["uniform", "zeros", "special"])
        objective = specification.objective("softmax_cross_entropy", smoothing, t.ndim == 1)
        what = f"softmax cross-entropy of {rows} rows of {columns} by {smoothing}, {dtype}, targets of shape {t.shape}"
        cost = pynn.SoftmaxCrossEntropy(smoothing)
        held(specification.cost(objective, x, given, w), what, cost, x, t, w)
        held(specification.cost_gradient(objective, x, given, w), f"gradient of {what}", cost.gradient, x, t, w)


def normalised(x, scale, bias, epsilon):
    statistics = np.empty((len(x), 2), x.dtype)
    return np.append(kernels.layer_norm(x, scale, bias, epsilon, statistics=statistics), statistics)


def row_shapes(random, repeat):
    for columns in [*range(1, 70), 127, 128, 129, 255, 257, 1000] * repeat:
        yield int(random.integers(1, 6)), columns
    yield from [(0, 5), (3, 0), (300, 130), (40, 1000)]  # the last ones are shared out among threads


def row_values(random, shape, dtype):
    if random.random() < 0.5:
        return numbers(random, shape, dtype)
    return (numbers(random, shape, dtype, ["uniform"]) * random.choice([1, 30, 200]) + random.choice([0, 1000])).astype(dtype)


def test_work_on_rows_is_the_specified_operations(specification, dtype, exhaustive):
    random = generator(10)
    for shape in row_shapes(random, 40 if exhaustive else 4):
        x, g, what = row_values(random, shape, dtype), numbers(random, shape, dtype), f"rows of shape {shape}, {dtype}"
        for log, name in enumerate(("softmax", "log_softmax")):
            y = specification.softmax(x, log)
            held(y, f"{name}, {what}", getattr(kernels, name), x)
            gradient = specification.softmax_gradient(y, g, log)
            held(gradient, f"gradient of {name}, {what}", getattr(kernels, f"{name}_gradient"), y, g)
        scale, bias, epsilon = (
            numbers(random, shape[1], dtype),
            numbers(random, shape[1], dtype),
            random.choice([1e-5, 1e-50, 0.1]),
        )
        scale, bias = (None if random.random() < 0.25 else each for each in (scale, bias))
        if shape[1]:
            y, statistics = specification.layer_norm(x, scale, bias, float(epsilon))
            held(np.append(y, statistics), f"layer_norm, {what}", normalised, x, scale, bias, float(epsilon))
            dx = specification.layer_norm_gradient(x, statistics, g, scale)
            held(dx, f"layer_norm_gradient, {what}", kernels.layer_norm_gradient, x, statistics, g, scale)
            dscale = specification.layer_norm_scale_gradient(x, statistics, g)
            held(dscale, f"layer_norm_scale_gradient, {what}", kernels.layer_norm_scale_gradient, x, statistics, g)
        deviation, mean = numbers(random, shape[1], dtype), None if random.random() < 0.3 else numbers(random, shape[1], dtype)
        held(specification.standardize(x, mean, deviation), f"standardize, {what}", kernels.standardize, x, mean, deviation)


def test_sums_of_products_that_vanish_along_rows_are_never_minus_0(specification, dtype):
    """Lanes that a row leaves empty add +0 to a chain that may be -0."""
    tiny = np.sqrt(np.finfo(dtype).smallest_subnormal) / 4
    for columns in range(1, 70):
        y, g = np.full((2, columns), tiny, dtype), np.full((2, columns), -tiny, dtype)
        g[:, columns // 2], statistics = -0.0, np.array([[0, 1], [0, 1]], dtype)
        dx, what = specification.softmax_gradient(y, g, log=0), f"{columns} columns"
        held(dx, what, kernels.softmax_gradient, y, g)
        held(specification.layer_norm_gradient(y, statistics, g, None), what, kernels.layer_norm_gradient, y, statistics, g)


def test_softmax_is_the_specified_operations_on_hard_points(specification, dtype):
    random = generator(11)
    x = hard_points(random, dtype, 2**8 if dtype == "float32" else 2**5)
    x = x[: x.size - x.size % 4].reshape(-1, 4).copy()
    x[:, 3] = np.where(random.random(len(x)) < 0.7, 0, x[:, 3])
    for log, name in enumerate(("softmax", "log_softmax")):
        held(specification.softmax(x, log), name, getattr(kernels, name), x)


def test_dropout_is_the_specified_operations(specification, dtype, exhaustive):
    random = generator(12)
    for shape in row_shapes(random, 20 if exhaustive else 1):
        x, rate = numbers(random, shape, dtype), float(random.choice([0.0, 0.5, 0.1, 2.0**-32, 1 - 2.0**-33, random.random()]))
        seed, step, row = (int(each) for each in random.integers(0, 2**63, 3))
        first = row % 2**40 if random.random() < 0.5 else row % 5
        what = f"dropout of {shape} by {rate}, seed {seed}, step {step}, from row {first}"
        held(specification.dropout(x, rate, seed, step, first), what, kernels.dropout, x, rate, seed, step, first)


def test_gradient_descent_is_the_specified_operation(specification, dtype, exhaustive):
    random = generator(8)
    for n in SIZES * (20 if exhaustive else 2):
        theta, g, what = numbers(random, n, dtype), numbers(random, n, dtype), f"{dtype}, {n} elements"
        rate = float(random.choice([0.1, 0.003, 1.0, 0.0, 1e-40, 1e30, random.random()]))
        held(specification.gradient_descent(theta, g, rate), f"gradient_descent by {rate}, {what}", descended, theta, g, rate)


def random_optimizer(random, name):
    """A function that makes the same optimizer again and again, with penalties and limits now and then."""
    rate = float(random.choice([0.3, 0.1, 0.02, 0.003]))
    own = {
        "SGD": lambda: {"momentum": random.choice([0.0, 0.5, 0.9]), "nesterov": random.random() < 0.5},
        "RMSProp": lambda: {"rho": random.choice([0.9, 0.99]), "momentum": random.choice([0.0, 0.9])},
        "Rprop": lambda: {"most_step": random.choice([50.0, 0.1])},
    }.get(name, dict)()
    limits = {"clip_value": (0.1, 0.001, 2.0), "clip_norm": (0.1, 1.0, 30.0)}
    for option, values in {"weight_decay": (0.01, 0.3), "l1": (0.01, 1e-4), "l2": (0.01, 0.3), **limits}.items():
        if random.random() < 0.3:
            own[option] = float(random.choice(values))
    own["regularize_bias"] = bool(random.random() < 0.5)
    return lambda: getattr(pynn, name)(rate, **own)


def stepped(made, parameters, gradients):
    optimizer, updated = made(), parameters.copy()
    for each in gradients:
        optimizer.step(updated, each)
    return updated


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_optimizers_are_the_specified_operations(specification, dtype, name, exhaustive):
    random = generator(9, list(HYPERPARAMETERS).index(name))
    for n in [*range(40), 127, 4095, 4096, 4097, 9000, 2**14 + 5] * (20 if exhaustive else 1):
        made, kinds = random_optimizer(random, name), [["uniform"], None][int(random.random() < 0.5)]
        theta, gradients = numbers(random, n, dtype, kinds), [numbers(random, n, dtype, kinds) for _ in range(4)]
        plain, specified = made(), theta.copy()
        optimizer, _kept = specification.optimizer(plain, [(0, n, plain.l1, plain.l2, plain.weight_decay)])
        for each in gradients:
            specification.optimize(optimizer, specified, each, plain.learning_rate)
        held(specified, f"four steps of {plain}, {dtype}, {n} elements", stepped, made, theta, gradients)


def test_the_specification_has_every_cost_and_optimizer(specification):
    assert all(specification.has(cost) for cost in COSTS)
    known = {name for name, each in vars(pynn).items() if isinstance(each, type) and issubclass(each, pynn.Optimizer)}
    assert known - {"Optimizer"} == set(HYPERPARAMETERS)


def hard_points(random, dtype, each):
    """``each`` mantissas for every exponent and sign, and as many numbers again where functions bend, near and at their seams."""
    info = np.finfo(dtype)
    word = np.dtype(f"u{info.bits // 8}")
    mantissas = random.integers(0, 2**info.nmant, (2 ** (info.bits - info.nmant), each), dtype=np.uint64).astype(word)
    mantissas[:, :3] = [0, 1, 2**info.nmant - 1]
    sign_and_exponent = np.arange(len(mantissas), dtype=word)[:, None] << word.type(info.nmant)
    all_exponents = (sign_and_exponent | mantissas).view(dtype).ravel()
    steps = np.arange(-1200, 1200) / 4  # where the exponential goes over to the next power of two, and half way, for x and 2x
    ends = [1, 2**40, 2**80, 2**100, 103.5, 105.5, 744.6, 746.6, 53.1, 373.6, 128, 130, 1060, 1062, 15, 39.5, 16, 32, 3, 360]
    turns = 0.0766 + (np.arange(1100) + 0.5) * np.log(2) / 2  # where tanh does so; few points in between tell how it is rounded
    # Some of the 232 numbers of float32 whose tanh' is another if the second multiply-add that reduces them rounds twice
    rare = ["1.8f4ab2p+1", "1.8f4a4ep+4", "1.cc4d88p+4", "1.71c362p+5", "1.72412p+5"]
    ends += [float.fromhex(f"0x{each}") for each in rare]
    crossings = [1.27846454, 0.75246142, 0.75179160, 1.19243122]  # where derivatives of SiLU, GELUTanh, GELU and Mish are 0
    around = np.add.outer(crossings, [-0.25, -0.125, -0.0625, 0, 0.0625, 0.125, 0.25]).ravel()
    seams = np.concatenate([steps * np.log(2), turns, ends, around]).astype(dtype)
    near = (np.abs(seams).view(word)[:, None] + np.arange(-8, 9).astype(word)).view(dtype).ravel()
    bent = [(2 * random.random(all_exponents.size // 4) - 1) * limit for limit in (1, 4, 30, 800 if dtype == "float64" else 120)]
    return np.concatenate([all_exponents, near, -near, *(each.astype(dtype) for each in bent)])


def parameters(activation):
    """Parameters to try, and how a kernel is told: the default by nothing."""
    row = kernels.ACTIVATIONS[activation]
    return [(row.default, {}), *((value, {"parameter": value}) for value in (0.37, 2.5, -1e-40, 1e300) if row.parameter)]


def test_activations_are_the_specified_operations(specification, dtype, activation):
    if not specification.has(activation):
        pytest.fail(f"tests/specification/specification.c lacks spec_{activation}")
    random = generator(3)
    x = hard_points(random, dtype, 2**10 if dtype == "float32" else 2**7)  # 2^19 and more
    dy = numbers(random, x.size, dtype, ["special"])
    for parameter, given in parameters(activation):
        if parameter == 0.37:  # the others on fewer
            x, dy = x[::7].copy(), dy[::7].copy()
        y = specification.activation(activation, x, parameter)
        dx = specification.activation_gradient(activation, x, dy, parameter)
        for n in [x.size, *range(70), 2**14 + 3]:  # with each end of a vector
            what = f"{activation} with {given}, {dtype}, {n} elements"
            held(y[:n], what, kernels.activation, activation, x[:n], **given)
            held(dx[:n], f"gradient of {what}", kernels.activation_gradient, activation, x[:n], dy[:n], **given)


def test_activations_are_the_specified_operations_on_all_of_float32(specifications, activation, exhaustive):
    if not exhaustive:
        pytest.skip("tries 2^32 numbers, which takes minutes: pytest --exhaustive")
    specification, parameter = specifications["float32"], kernels.ACTIVATIONS[activation].default
    for first in range(0, 2**32, 2**24):
        x = np.arange(first, first + 2**24, dtype=np.uint32).view(np.float32)
        one, what = np.ones_like(x), f"{activation} from {first:#x} on"
        held(specification.activation(activation, x, parameter), what, kernels.activation, activation, x)
        derivative = specification.activation_gradient(activation, x, one, parameter)
        held(derivative, f"gradient of {what}", kernels.activation_gradient, activation, x, one)


def test_constants_are_those_of_the_specification():
    """One unit in the last coefficient would change too few results for any sample of them."""

    def constants(text):
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        return {abs(float.fromhex(each)) for each in re.findall(r"0x[0-9a-f]\.[0-9a-f]{4,}p[-+]?\d+", text)}

    computed = constants("".join(path.read_text("utf-8") for path in sorted((ROOT / "csrc" / "kernels").glob("*.h"))))
    assert computed == constants(SOURCE.read_text("utf-8"))
    assert len(computed) > 40


# ---- trainings -------------------------------------------------------------------------------------------------------


GIVEN_SEED = 2**64 - 3
ON_ROWS = {  # a layer of each kind for rows of some width: class and arguments
    "Softmax": lambda random, width: (pynn.Softmax,),
    "LogSoftmax": lambda random, width: (pynn.LogSoftmax,),
    "LayerNorm": lambda random, width: (
        pynn.LayerNorm, width, float(random.choice([1e-5, 0.1])), bool(random.random() < 0.7), bool(random.random() < 0.7),
    ),
    "Dropout": lambda random, width: (pynn.Dropout, float(random.choice([0.0, 0.2, 0.5])), random.choice([None, GIVEN_SEED])),
    "Standardize": lambda random, width: (pynn.Standardize, width, 2 * random.random(width) - 1, 0.5 + random.random(width)),
}  # fmt: skip


def random_network(random, widths, dtype, seed, optimizer=None, cost=None, on_rows=()):
    """A function that makes the same network again and again, with layers of these kinds on rows among the others."""
    layers = [(pynn.Tanh,)] if random.random() < 0.1 else []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [ON_ROWS[kind](random, inputs) for kind in on_rows if random.random() < 0.4]
        layers.append((pynn.Dense, inputs, outputs, bool(random.random() < 0.8)))
        layers += [ON_ROWS[kind](random, outputs) for kind in on_rows if random.random() < 0.6]
        for name in random.choice(ACTIVATIONS, random.choice([0, 1, 1, 1, 2])):
            row = kernels.ACTIVATIONS[name]
            own = (float(random.choice([row.default, 0.37])),) if row.parameter else ()
            layers.append((getattr(pynn, row.class_name), *own))
    rate = float(random.choice([0.3, 0.1, 0.02, 0.003]))
    optimizer, cost = optimizer or (lambda: pynn.SGD(rate)), cost or pynn.MSE
    return lambda: pynn.Network([made(*of) for made, *of in layers], cost(), optimizer(), dtype=dtype, seed=seed)


def dense(net):
    return [layer for layer in net.layers if isinstance(layer, pynn.Dense)]


def parameters_of(net):
    """All parameters in the order in which they lie."""
    return np.concatenate([(each.T if by_input else each).ravel() for each, by_input, _ in arrays_of(net)])


def fit(net, x, y, weights, batch, shuffle):
    return net.fit(x, y, 2, batch, shuffle, sample_weight=weights, on_divergence="ignore").cost


def fit_in_pieces_of_one_step(net, x, y, weights, batch, shuffle):
    return net.fit(x, y, 2, batch, shuffle, progress=lambda _: None, sample_weight=weights, on_divergence="ignore").cost


class FromPython:
    """A cost as someone else would write it, so that a network goes layer by layer."""

    def __init__(self, cost):
        self.cost = cost
        self.takes_labels = getattr(cost, "takes_labels", False)

    def __call__(self, prediction, target, sample_weight=None):
        return self.cost(prediction, target, sample_weight)

    def gradient(self, prediction, target, sample_weight=None):
        return self.cost.gradient(prediction, target, sample_weight)


def fit_layer_by_layer(net, x, y, weights, batch, shuffle):
    net.cost = FromPython(net.cost)
    assert not net._trains_in_c()
    return fit(net, x, y, weights, batch, shuffle)


def train_step(net, x, y, weights, batch, shuffle):
    assert weights is None
    costs = []
    for _ in range(2):
        order = net._random.permutation(len(x)) if shuffle else np.arange(len(x))
        steps = [net.train_step(x[some], y[some]) for some in np.split(order, range(batch, len(x), batch))]
        costs.append(epoch_cost(steps, len(x), batch))
    return costs


def check_training(specification, dtype, seed, draw, optimizer=None, cost=None, classes=False, on_rows=()):
    random = generator(4, seed)
    widths, rows, batch = draw(random)
    widths, rows, batch = [int(n) for n in widths], int(rows), int(random.integers(1, min(rows, batch) + 1))
    network = random_network(random, widths, dtype, seed, optimizer, cost, on_rows)
    shuffle = random.random() < 0.7 and batch < rows  # rows of the only batch keep their order
    x, y = (numbers(random, (rows, width), dtype, ["uniform"]) for width in (widths[0], widths[-1]))
    weights = np.abs(numbers(random, rows, dtype, ["uniform"])) if cost and random.random() < 0.3 else None
    labels = random.integers(0, widths[-1], rows) if classes else y
    aim = labels.astype(dtype)
    what = f"{network()}, {rows} rows, batches of {batch}, shuffle={shuffle}, with{'' if weights is not None else 'out'} weights"

    net, source = network(), Random(seed)
    for layer in dense(net):
        (outputs, inputs), first = layer.weight.shape, layer.weight
        assert same_bits(first, source.weight(outputs, inputs, 6 / (inputs + outputs), dtype)), f"first weights, {what}"
    for layer in net.layers:
        if isinstance(layer, pynn.Dropout) and layer.seed != GIVEN_SEED:
            assert layer.seed == source.seed(), f"seed of {layer}, {what}"
    (layers, parameters, (update, _state), _kept), costs = specification.network(net), []
    objective = specification.objective(net.cost.name, net.cost.parameter or 0.0, classes)
    for _ in range(2):
        order = source.order(rows) if shuffle else np.arange(rows)
        rate = net.optimizer.learning_rate
        steps = specification.epoch(layers, parameters, objective, update, rate, x, aim, weights, order, batch)
        costs.append(epoch_cost(steps, rows, batch, None if weights is None else weights[order]))
    prediction = specification.predict(layers, parameters, x)
    specified = np.concatenate([costs, parameters, prediction.ravel(), prediction[0]])

    def computed(way):
        net = network()
        costs = way(net, x, labels, weights, batch, shuffle)
        return np.concatenate([costs, parameters_of(net), net.predict(x).ravel(), net.predict(x[0])])

    ways = [fit, fit_in_pieces_of_one_step, *([train_step] if weights is None else []), *([fit_layer_by_layer] if cost else [])]
    for way in ways:
        held(specified, f"{way.__name__}, {what}", computed, way)
    return np.isfinite(specified).all()


TRAININGS = {  # how many; widths, rows, the largest batch
    "small": (16, lambda random: (random.integers(1, 12, random.integers(2, 5)), random.integers(1, 40), 12)),
    "around 32": (16, lambda random: (random.integers(26, 70, random.integers(2, 5)), random.integers(1, 50), 40)),
    "one sample": (16, lambda random: (random.integers(1, 70, random.integers(2, 5)), random.integers(1, 9), 1)),
    "shared out": (4, lambda random: (random.integers(90, 200, 3), random.integers(100, 130), 100)),
    "one large sample": (4, lambda random: ([*random.integers(530, 700, 2), random.integers(1, 20)], 2, 1)),
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_trainings_are_the_specified_operations(specification, dtype, kind, exhaustive):
    number, draw = TRAININGS[kind]
    finite = [check_training(specification, dtype, seed, draw) for seed in range(number * (20 if exhaustive else 1))]
    assert sum(finite) > 0.7 * len(finite)  # those that diverge say little about bits


def small(random):
    return random.integers(1, 40, random.integers(2, 4)), random.integers(1, 30), 12


@pytest.mark.parametrize("cost", COSTS)
def test_trainings_with_each_cost_are_the_specified_operations(specification, dtype, cost, exhaustive):
    made = getattr(pynn, kernels.COSTS[cost].class_name)
    for seed in range(100, 400 if exhaustive else 105):
        check_training(specification, dtype, seed, small, cost=made)


def test_trainings_on_classes_are_the_specified_operations(specification, dtype, exhaustive):
    for seed in range(100, 400 if exhaustive else 108):
        cost = functools.partial(pynn.SoftmaxCrossEntropy, 0.1 * (seed % 3))
        check_training(specification, dtype, seed, small, cost=cost, classes=seed % 2 > 0)


def test_the_specification_has_every_layer_on_rows():
    assert set(ON_ROWS) == set(pynn.rows.__all__) == {each.__name__ for each in KINDS} - {"Dense"}


@pytest.mark.parametrize("kind", ON_ROWS)
def test_trainings_with_each_layer_on_rows_are_the_specified_operations(specification, dtype, kind, exhaustive):
    finite = [
        check_training(specification, dtype, seed, small, cost=pynn.MSE, on_rows=(kind,))
        for seed in range(700, 1000 if exhaustive else 712)
    ]
    assert sum(finite) > 0.7 * len(finite)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_trainings_with_all_layers_on_rows_are_the_specified_operations(specification, dtype, name, exhaustive):
    """And every optimizer; the widest by threads."""
    for seed in range(1000, 1100 if exhaustive else 1003):
        optimizer, wide = random_optimizer(generator(5, seed), name), lambda random: ([70, 110, 15, 4], 130, 100)
        check_training(specification, dtype, seed, wide if seed == 1000 else small, optimizer, pynn.MSE, on_rows=tuple(ON_ROWS))


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_trainings_with_each_optimizer_are_the_specified_operations(specification, dtype, name, exhaustive):
    for seed in range(200, 500 if exhaustive else 205):
        optimizer = random_optimizer(generator(5, seed), name)
        check_training(specification, dtype, seed, small, optimizer, pynn.MSE)


def test_trainings_with_each_optimizer_on_many_parameters_are_the_specified_operations(specification, dtype):
    """A length of more than 4096 squares, in the order in which weights lie, by threads."""
    for seed, name in enumerate(HYPERPARAMETERS):
        optimizer = functools.partial(getattr(pynn, name), 0.01, clip_norm=0.03, l2=0.01)
        check_training(specification, dtype, 600 + seed, lambda random: ([70, 110, 15, 4], 30, 20), optimizer, pynn.MSE)


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_one_sample_at_a_time_with_each_optimizer_is_the_specified_operations(specification, dtype, name):
    """So many that they take their step while the gradient is made; the larger ones by threads."""
    for seed, widths in enumerate([[90, 110, 12], [110, 80, 3]] + [[530, 540, 7]] * (name in ("SGD", "Adam"))):
        optimizer = random_optimizer(generator(5, 700 + seed), name)
        check_training(specification, dtype, 700 + seed, lambda random, widths=widths: (widths, 3, 1), optimizer, pynn.MSE)


def test_the_order_of_rows_and_first_weights_are_written_down(dtype):
    for seed in range(20):
        for name, square in (("glorot_uniform", 6 / 16), ("he_uniform", 6 / 7)):
            net, source = pynn.Network([pynn.Dense(7, 9, initializer=name)], dtype=dtype, seed=seed), Random(seed)
            assert same_bits(net.layers[0].weight, source.weight(9, 7, square, dtype))
            assert same_bits(net.layers[0].bias, np.zeros(9, dtype))
            for rows in (1, 2, 31, 1000, 3):
                assert (net._random.permutation(rows) == source.order(rows)).all(), (
                    "NumPy shuffles in another way now: docs/reproducibility.md"
                )
