"""pynn/costs.py and csrc/kernels/costs.h: every cost of the list, its gradient, weights, and costs of one's own."""

import copy
import pickle

import numpy as np
import pytest
from support import INSTRUCTION_SETS, same_bits, threads, unit, using, values

import pynn
from pynn import kernels, reference


def test_mean_squared_error_is_the_mean_of_squared_errors_at_every_size(instruction_set, dtype):
    for n in [*range(70), 127, 128, 129, 1000, 40001]:
        p, t = values(n, dtype, 1), values(n, dtype, 2)
        exact = float(np.mean((p.astype(np.longdouble) - t) ** 2)) if n else 0.0
        # Differences and sum are taken in double precision for both dtypes.
        assert kernels.mean_squared_error(p, t) == pytest.approx(exact, rel=(n + 4) * unit("float64"), abs=0)
        assert reference.mean_squared_error(p, t) == pytest.approx(exact, rel=(n + 4) * unit(dtype), abs=0)


def test_its_gradient_is_two_nths_of_the_error_at_every_size(instruction_set, dtype):
    for n in [*range(70), 127, 128, 129, 1000, 40001]:
        p, t = values(n, dtype, 1), values(n, dtype, 2)
        exact = (p.astype(np.longdouble) - t) * 2 / max(1, n)
        for got in (kernels.mean_squared_error_gradient(p, t), reference.mean_squared_error_gradient(p, t)):
            np.testing.assert_allclose(got.astype(np.longdouble), exact, rtol=4 * unit(dtype), atol=0)


def test_the_mean_is_over_samples_and_outputs():
    prediction, target = np.zeros((4, 3)), np.full((4, 3), 2.0)
    assert pynn.MSE()(prediction, target) == 4
    assert pynn.MSE().gradient(prediction, target).tolist() == [[-2 * 2 / 12] * 3] * 4
    assert pynn.MSE()(prediction[0], target[0]) == 4


def test_its_gradient_is_the_slope_of_the_cost():
    cost, h = pynn.MSE(), 1e-6
    p, t = values((3, 4), "float64", 1), values((3, 4), "float64", 2)
    gradient = cost.gradient(p, t)
    for at in np.ndindex(p.shape):
        step = np.zeros_like(p)
        step[at] = h
        # The cost is quadratic, so central differences have only the rounding of two costs below 4 in them.
        assert (cost(p + step, t) - cost(p - step, t)) / (2 * h) == pytest.approx(gradient[at], abs=8 * unit("float64") / h)


def test_a_cost_is_a_python_float_and_a_gradient_has_the_dtype_of_its_arguments(dtype):
    p, t = values((3, 4), dtype, 1), values((3, 4), dtype, 2)
    assert type(pynn.MSE()(p, t)) is float
    assert pynn.MSE().gradient(p, t).dtype == dtype
    assert type(pynn.MSE()([1, 2], [3, 4])) is float
    assert pynn.MSE()([1, 2], [3, 4]) == 4


def test_a_large_error_does_not_overflow_in_float32():
    assert kernels.mean_squared_error(np.array([3e38], "float32"), np.array([-3e38], "float32")) == pytest.approx(3.6e77)


def test_any_number_of_threads_gives_the_same_cost(dtype):
    p, t = values(100_003, dtype, 1), values(100_003, dtype, 2)
    seen = set()
    for number in (1, 2, 3):
        with threads(number):
            seen.add((kernels.mean_squared_error(p, t), kernels.mean_squared_error_gradient(p, t).tobytes()))
    assert len(seen) == 1


def test_nothing_costs_nothing(dtype):
    none = np.empty((0, 3), dtype)
    assert pynn.MSE()(none, none) == 0
    assert pynn.MSE().gradient(none, none).shape == (0, 3)


def test_shapes_are_not_broadcast():
    # (5, 1) against (5,) would silently be a (5, 5) of differences.
    with pytest.raises(ValueError, match=r"\(5, 1\).*\(5,\)"):
        pynn.MSE()(np.zeros((5, 1)), np.zeros(5))
    with pytest.raises(ValueError, match=r"\(5, 1\).*\(5,\)"):
        pynn.MSE().gradient(np.zeros((5, 1)), np.zeros(5))


class AbsoluteError:
    """A cost of a user's own."""

    def __call__(self, prediction, target):
        return float(np.abs(prediction - target).mean())

    def gradient(self, prediction, target):
        return np.sign(prediction - target) / prediction.size


def test_a_network_trains_on_a_cost_of_ones_own(dtype):
    net = pynn.Network([pynn.Dense(2, 4), pynn.Tanh(), pynn.Dense(4, 1)], cost=AbsoluteError(), dtype=dtype, seed=0)
    x = values((40, 2), dtype)
    y = x.sum(axis=1, keepdims=True)
    history = net.fit(x, y, epochs=60, batch_size=4)
    assert history.cost[-1] < history.cost[0] / 2
    assert net.evaluate(x, y) == AbsoluteError()(net.predict(x), y)


def test_the_gradient_a_cost_gives_is_the_one_that_goes_back():
    class Constant:
        def __call__(self, prediction, target):
            return 0.0

        def gradient(self, prediction, target):
            return np.full_like(prediction, 3)

    net = pynn.Network([pynn.Dense(2, 2)], cost=Constant(), optimizer=pynn.SGD(1.0), dtype="float64", seed=0)
    bias = net.layers[0].bias.copy()
    net.train_step(np.ones((5, 2)), np.ones((5, 2)))
    assert same_bits(net.layers[0].bias, bias - 15)


def test_it_prints_as_the_code_that_makes_it():
    assert repr(pynn.MSE()) == "MSE()"
    assert type(eval(repr(pynn.MSE()), vars(pynn))) is pynn.MSE


# ---- every cost of the list -----------------------------------------------------------------------------------------------


COSTS = list(kernels.COSTS)
SIZES = [*range(1, 35), 63, 64, 65, 255, 256, 257, 1000, 5003]
LOGITS = {"poisson", "binary_cross_entropy"}  # whose prediction is a logarithm, or a logit, and whose target is from 0 up


@pytest.fixture(params=COSTS)
def name(request):
    return request.param


def made(name, *parameter):
    return getattr(pynn, kernels.COSTS[name].class_name)(*parameter)


def pair(name, shape, dtype, seed=0):
    """Predictions and targets of every size, many of them as far apart as 1e-6 or as 30."""
    p, t = values(shape, dtype, 10 * seed + 1), values(shape, dtype, 10 * seed + 2)
    if name in LOGITS:
        return (p * 20).astype(dtype), np.abs(t)
    return (t + p * 10 ** (4 * values(shape, dtype, 10 * seed + 3) - 2.5)).astype(dtype), t


def exactly(name, which, p, t, parameter=None):
    """c or dc/dp of one element by the formula in the list, in 200 bits."""
    import mpmath

    row = kernels.COSTS[name]
    words = {
        "abs": abs, "exp": mpmath.exp, "log": mpmath.log, "log1p": mpmath.log1p, "tanh": mpmath.tanh, "sign": mpmath.sign,
        "heaviside": lambda x, at_zero: mpmath.mpf(x > 0) if x else mpmath.mpf(at_zero),
        "where": lambda condition, yes, no: yes if condition else no,
        "maximum": max, "minimum": min, "clip": lambda x, least, most: min(max(x, least), most),
    }  # fmt: skip
    with mpmath.workprec(200):
        given = row.default if parameter is None else parameter
        return eval(
            getattr(row, which), words, {"p": mpmath.mpf(float(p)), "t": mpmath.mpf(float(t)), row.parameter: mpmath.mpf(given)}
        )


def magnitude(name, p, t):
    """The sum of the absolute values of the terms of c, to which an error is in proportion where they cancel."""
    p, t = p.astype(np.float64), t.astype(np.float64)
    if name == "poisson":
        return np.exp(p) + np.abs(t * p)
    return 0.0


def of_product(name, which, p, t):
    """How c or dc/dp changes with t p, which is rounded before it is taken from something; 0 where there is no such product."""
    if "t * p" not in getattr(kernels.COSTS[name], which):
        return 0.0
    step, pairs = 2.0**-30, list(zip(p.astype(np.float64), t, strict=True))
    changes = (exactly(name, which, one * (1 + step), other) - exactly(name, which, one, other) for one, other in pairs)
    return np.array([abs(float(each)) / step for each in changes])


def test_a_cost_of_one_element_is_its_formula_in_double_precision(instruction_set, dtype, name):
    p, t = pair(name, 400, dtype)
    got = np.array([kernels.cost(name, p[i : i + 1], t[i : i + 1]) for i in range(p.size)])
    wanted = np.array([float(exactly(name, "formula", *each)) for each in zip(p, t, strict=True)])
    # A dozen operations, each within a rounding of its result, or of the larger terms where they cancel; the exponential and the
    # logarithm are within 1 unit in the last place, which is two roundings.
    terms = np.maximum(magnitude(name, p, t), of_product(name, "formula", p, t))
    bound = 12 * unit("float64") * np.maximum(np.abs(wanted), terms)
    if name == "log_cosh":  # from 1/4 on |d| - log 2 cancels to a 14th of its terms at worst
        bound = bound * 4
    assert (np.abs(got - wanted) <= bound).all()


def test_a_gradient_is_its_formula_at_every_size(instruction_set, dtype, name):
    p, t = pair(name, 400, dtype)
    exact = np.array([float(exactly(name, "derivative", *each)) for each in zip(p, t, strict=True)])
    # Of two terms that cancel, as e^p - t, each is rounded: the bound is in proportion to the larger one.
    terms = np.exp(p.astype(np.float64)) if name == "poisson" else of_product(name, "derivative", p, t)
    bound = 6 * unit(dtype) * np.maximum(np.abs(exact), terms)
    if name == "binary_cross_entropy":
        bound = 6 * unit(dtype) * np.maximum(np.abs(exact), 1)
    whole = kernels.cost_gradient(name, p, t).astype(np.float64) * p.size
    assert (np.abs(whole - exact) <= bound + 2 * unit(dtype) * np.abs(exact)).all()
    for n in SIZES:
        p, t = pair(name, n, dtype, n)
        wanted = [kernels.cost_gradient(name, p[i : i + 1], t[i : i + 1])[0] for i in range(min(n, 70))]
        alone = np.array(wanted, dtype) * np.dtype(dtype).type(1 / n)  # a derivative, and one product by the rounded 1/n
        assert same_bits(kernels.cost_gradient(name, p, t)[:70], alone), n
        assert (kernels.cost_gradient(name, p, t)[70:] != 0).any() or n <= 70


def test_a_cost_is_the_mean_of_its_elements_at_every_size(instruction_set, dtype, name):
    for n in SIZES:
        p, t = pair(name, n, dtype, n)
        each = np.array([kernels.cost(name, p[i : i + 1], t[i : i + 1]) for i in range(n)])
        assert kernels.cost(name, p, t) == pytest.approx(
            np.mean(each.astype(np.longdouble)), rel=0, abs=(n / 8 + 8) * unit("float64") * np.abs(each).mean()
        )
        # NumPy's formulas lose digits where terms of about 1 cancel, as those of log cosh do.
        assert reference.cost(name, p, t) == pytest.approx(kernels.cost(name, p, t), rel=30 * unit(dtype), abs=30 * unit(dtype))
    assert kernels.cost(name, p[:0], t[:0]) == 0.0
    assert kernels.cost_gradient(name, p[:0], t[:0]).shape == (0,)


def test_a_gradient_is_the_slope_of_its_cost(name):
    p, t = pair(name, (4, 5), "float64", 5)
    away = np.abs(np.abs(p - t) - 1) > 1e-3  # not where Huber's two pieces meet, and none of them where f' jumps
    h, gradient = 1e-6 * np.maximum(1, np.abs(p)), kernels.cost_gradient(name, p, t)
    scale = np.abs(kernels.cost(name, p, t)) + 1
    for at in zip(*np.nonzero(away & ((np.abs(p - t) > 1e-4) | (name in LOGITS))), strict=True):
        step = np.zeros_like(p)
        step[at] = h[at]
        slope = (kernels.cost(name, p + step, t) - kernels.cost(name, p - step, t)) / (2 * h[at])
        assert slope == pytest.approx(gradient[at], rel=1e-6, abs=1e-9 * scale + 40 * unit("float64") * scale / h[at])


def test_all_instruction_sets_and_threads_give_the_same_bits(dtype, name):
    p, t = pair(name, (1501, 23), dtype)
    weights, seen = np.abs(values(1501, dtype, 9)), set()
    for isa in INSTRUCTION_SETS:
        for number in (1, 2, 3, 4):
            with using(isa), threads(number):
                for given in (None, weights):
                    one = kernels.cost(name, p, t, given), kernels.cost_gradient(name, p, t, given).tobytes()
                    seen.add((given is None, *one))
                # No number depends on where it lies: other rows, the last of them, and a memory order of their own.
                part = kernels.cost_gradient(name, np.asfortranarray(p[:7]), np.asfortranarray(t[:7]))
                assert same_bits(part, kernels.cost_gradient(name, p[:7], t[:7]))
    assert len(seen) == 2


def test_a_gradient_may_be_written_over_its_arguments(dtype, name):
    p, t = pair(name, (9, 5), dtype)
    wanted = kernels.cost_gradient(name, p, t)
    for which in (0, 1):
        arguments = [p.copy(), t.copy()]
        assert kernels.cost_gradient(name, *arguments, out=arguments[which]) is arguments[which]
        assert same_bits(arguments[which], wanted)


def test_nan_goes_through_and_infinity_is_what_the_limit_is(instruction_set, dtype, name):
    nan, inf = np.array([np.nan], dtype), np.array([np.inf], dtype)
    one, zero = np.ones(1, dtype), np.zeros(1, dtype)
    for n in (1, 3, 8, 20):  # in whole vectors and in tails
        for p, t in ((nan, one), (one, nan)):
            p, t = np.repeat(p, n), np.repeat(t, n)
            assert np.isnan(kernels.cost(name, p, t))
            if not (name == "poisson" and np.isnan(t).all()):
                assert np.isnan(kernels.cost_gradient(name, p, t)).all()
    if name == "poisson":  # ∞ - 0 ∞, as the formula has it
        assert np.isnan(kernels.cost(name, inf, zero))
        assert kernels.cost_gradient(name, inf, one)[0] == np.inf
    if "p - t" in kernels.COSTS[name].formula or "t - p" in kernels.COSTS[name].formula:
        assert kernels.cost(name, inf, zero) == np.inf
        assert kernels.cost(name, -inf, zero) == np.inf
        assert kernels.cost(name, zero, inf) == np.inf
        assert kernels.cost(name, zero, zero) == 0 == kernels.cost_gradient(name, zero, zero)[0]
        assert np.isfinite(kernels.cost_gradient(name, inf, zero)[0]) == (name != "mse")


def test_extreme_logits_cost_what_they_should(instruction_set, dtype):
    cost, gradient = pynn.BinaryCrossEntropy(), pynn.BinaryCrossEntropy().gradient
    for logit in (30.0, 800.0, 1e30, np.inf):
        right, wrong = np.array([logit, -logit], dtype), np.array([-logit, logit], dtype)
        t = np.array([1, 0], dtype)
        assert 0 <= cost(right, t) <= np.exp(-logit) * (1 + 1e-12)
        assert cost(wrong, t) >= min(logit, 1e300)
        assert (np.abs(gradient(right, t)) <= np.exp(-logit)).all()
        np.testing.assert_allclose(gradient(wrong, t), [-0.5, 0.5], rtol=np.exp(-logit) + unit(dtype), atol=0)
    p = np.array([1e4, -1e4, -np.inf], dtype)
    assert pynn.Poisson()(p[:1], p[:1] * 0) == np.inf
    assert pynn.Poisson().gradient(p[1:], np.array([2, 0], dtype)).tolist() == [-1, 0]
    assert pynn.LogCosh()(p[:1], p[:1] * 0) == pytest.approx(1e4 - np.log(2), rel=4 * unit("float64"))
    for small in (1e-3, 1e-8, 1e-18):  # log cosh d is d²/2 there, not the 0 that log(cosh(d)) gives
        d = np.array([small], dtype)
        assert pynn.LogCosh()(d, d * 0) == pytest.approx(float(d[0]) ** 2 / 2, rel=float(d[0]) ** 2 / 5 + 4 * unit("float64"))


# ---- weights ---------------------------------------------------------------------------------------------------------------


def test_a_weight_of_k_is_the_row_k_times(instruction_set, dtype, name):
    for columns in (1, 3, 8, 17):
        p, t = pair(name, (13, columns), dtype, columns)
        counts = np.arange(13) % 4
        often = np.repeat(np.arange(13), counts)
        assert kernels.cost(name, p, t, counts) == pytest.approx(kernels.cost(name, p[often], t[often]), rel=1e-13, abs=1e-13)
        weighed, repeated = kernels.cost_gradient(name, p, t, counts), np.zeros((13, columns), np.longdouble)
        np.add.at(repeated, often, kernels.cost_gradient(name, p[often], t[often]))
        np.testing.assert_allclose(weighed, repeated.astype(dtype), rtol=8 * unit(dtype), atol=0)
        assert (weighed[counts == 0] == 0).all()


def test_weights_of_one_weigh_nothing_and_of_zero_leave_nothing(dtype, name):
    p, t = pair(name, (6, 3), dtype)
    assert kernels.cost(name, p, t, np.ones(6)) == pytest.approx(kernels.cost(name, p, t), rel=1e-14, abs=1e-14)
    assert same_bits(kernels.cost_gradient(name, p, t, np.ones(6)), kernels.cost_gradient(name, p, t))
    assert kernels.cost(name, p, t, np.zeros(6)) == 0
    assert not kernels.cost_gradient(name, p, t, np.zeros(6)).any()
    assert kernels.cost(name, p[0], t[0], [5.0]) == pytest.approx(kernels.cost(name, p[0], t[0]), rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("shape", [(), (5,), (7,), (6, 1), (6, 3), (0,)], ids=str)
def test_weights_of_another_shape_are_a_value_error(name, shape):
    p, t = pair(name, (6, 3), "float64")
    for call in (made(name), made(name).gradient):
        with pytest.raises(ValueError, match="sample_weight has shape"):
            call(p, t, np.ones(shape))
        with pytest.raises(TypeError, match="sample_weight has dtype"):
            call(p, t, np.array(["1"] * 6))


# ---- parameters and names --------------------------------------------------------------------------------------------------

PARAMETERS = {"delta": [1e-3, 0.5, 7, np.float32(2)], "quantile": [0.01, 0.5, 0.99, np.float64(0.3)]}
WRONG = {"delta": [0, -1, np.nan, np.inf, 10**400], "quantile": [0, 1, -0.5, 1.5, np.nan, np.inf]}


def test_every_parameter_is_what_its_formula_takes(instruction_set, dtype, name):
    row = kernels.COSTS[name]
    if not row.parameter:
        with pytest.raises(TypeError, match="no parameter"):
            kernels.cost(name, np.ones(2), np.ones(2), parameter=0.5)
        with pytest.raises(TypeError):
            made(name, 0.5)
        return
    p, t = pair(name, 60, dtype)
    for number in PARAMETERS[row.parameter]:
        cost, rounded = made(name, number), float(np.dtype(dtype).type(number))
        wanted = [float(exactly(name, "formula", *each, float(number))) for each in zip(p, t, strict=True)]
        assert cost(p, t) == pytest.approx(np.mean(wanted), rel=60 * unit("float64"))
        slopes = np.array([float(exactly(name, "derivative", *each, rounded)) for each in zip(p, t, strict=True)]) / 60
        np.testing.assert_allclose(cost.gradient(p, t), slopes, rtol=8 * unit(dtype), atol=0)
        assert reference.cost(name, p, t, parameter=float(number)) == pytest.approx(cost(p, t), rel=60 * unit(dtype))


@pytest.mark.parametrize(("parameter", "value"), [(key, value) for key, values in WRONG.items() for value in values], ids=repr)
def test_a_parameter_that_makes_no_sense_is_a_value_error(parameter, value):
    (name,) = [row.name for row in kernels.COSTS.values() if row.parameter == parameter]
    with pytest.raises(ValueError, match=parameter):
        made(name, value)
    with pytest.raises(ValueError, match=parameter):
        kernels.cost(name, np.ones(1), np.ones(1), parameter=value)
    with pytest.raises(ValueError, match=parameter):
        kernels.cost_gradient(name, np.ones(1), np.ones(1), parameter=value)


@pytest.mark.parametrize("value", ["0.5", True, [0.5], 1j], ids=repr)
def test_a_parameter_that_is_no_number_is_a_type_error(value):
    for make, parameter in ((pynn.Huber, "delta"), (pynn.Quantile, "quantile")):
        with pytest.raises(TypeError, match=parameter):
            make(value)


def test_parameters_of_activations_are_free():
    assert pynn.LeakyReLU(-2).negative_slope == -2
    assert pynn.ELU(-0.5).alpha == -0.5


def test_each_cost_pickles_copies_and_prints_as_the_code_that_makes_it(name):
    row = kernels.COSTS[name]
    for cost in [made(name), *([made(name, PARAMETERS[row.parameter][0])] if row.parameter else [])]:
        for other in (pickle.loads(pickle.dumps(cost)), copy.deepcopy(cost), eval(repr(cost), vars(pynn))):
            assert type(other) is type(cost)
            assert other.parameter == cost.parameter
            assert repr(other) == repr(cost)
        if row.parameter:
            assert getattr(cost, row.parameter) == cost.parameter
            for attribute in (row.parameter, "parameter"):
                with pytest.raises(AttributeError, match=f"'{attribute}' of '{row.class_name}'"):
                    setattr(cost, attribute, 0.5)
    assert "= " + row.formula in type(cost).__doc__
    assert row.class_name in pynn.__all__


@pytest.mark.parametrize("name", ["hinge", "", "MSE", 3, None, ["mse"], ("mse",)], ids=repr)
def test_an_unknown_name_is_a_value_error_that_lists_those_there_are(name):
    for function in (kernels.cost, kernels.cost_gradient):
        with pytest.raises(ValueError, match="unknown cost .*" + ", ".join(map(repr, COSTS))):
            function(name, np.ones(2), np.ones(2))


def test_the_base_of_costs_is_none_itself():
    with pytest.raises(TypeError, match="MSE, MAE"):
        pynn.Cost()


def test_shapes_and_dtypes_that_do_not_fit_are_refused(name):
    for call in (made(name), made(name).gradient):
        with pytest.raises(ValueError, match=r"\(5, 1\).*\(5,\)"):
            call(np.zeros((5, 1)), np.zeros(5))
        with pytest.raises(TypeError, match="dtype complex128"):
            call(np.zeros(2, complex), np.zeros(2))


def test_a_network_trains_on_every_cost_as_it_does_layer_by_layer(dtype, name):
    x, y = values((37, 4), dtype, 1), np.abs(values((37, 3), dtype, 2))
    nets = []
    for first in (pynn.Dense(4, 9), type("OwnDense", (pynn.Dense,), {})(4, 9)):
        net = pynn.Network([first, pynn.Tanh(), pynn.Dense(9, 3)], cost=made(name), optimizer=pynn.SGD(0.05), dtype=dtype, seed=3)
        history = net.fit(x, y, epochs=30, batch_size=8, sample_weight=1 + np.arange(37) % 3)
        assert history.cost[-1] < history.cost[0]
        nets.append((net, history))
    assert nets[0][0]._plan is not None is not nets[1][0]._objective
    assert nets[1][0]._plan is None
    assert same_bits(nets[0][0].parameters, nets[1][0].parameters)
    assert nets[0][1].cost == nets[1][1].cost


# ---- beside other libraries ------------------------------------------------------------------------------------------------


def torchs(name):
    functional = pytest.importorskip("torch.nn.functional", reason="torch is not installed").__dict__
    return {
        "mse": functional["mse_loss"],
        "mae": functional["l1_loss"],
        "huber": lambda p, t: functional["huber_loss"](p, t, delta=1.0),
        "poisson": lambda p, t: functional["poisson_nll_loss"](p, t, log_input=True),
        "binary_cross_entropy": functional["binary_cross_entropy_with_logits"],
    }[name]


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "poisson", "binary_cross_entropy"])
def test_pytorch_has_the_same_cost_and_gradient(name):
    theirs = torchs(name)
    import torch

    p, t = pair(name, (31, 7), "float64")
    prediction = torch.tensor(p, requires_grad=True)
    cost = theirs(prediction, torch.tensor(t))
    cost.backward()
    assert kernels.cost(name, p, t) == pytest.approx(cost.item(), rel=1e-13)
    np.testing.assert_allclose(kernels.cost_gradient(name, p, t), prediction.grad.numpy(), rtol=1e-12, atol=1e-16)


def test_scikit_learn_has_the_same_pinball_loss():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    p, t = pair("quantile", (31, 7), "float64")
    weights = np.arange(31.0)
    for quantile in (0.1, 0.5, 0.75):
        theirs = metrics.mean_pinball_loss(t, p, alpha=quantile)
        assert pynn.Quantile(quantile)(p, t) == pytest.approx(theirs, rel=1e-13)
        theirs = metrics.mean_pinball_loss(t, p, alpha=quantile, sample_weight=weights)
        assert pynn.Quantile(quantile)(p, t, weights) == pytest.approx(theirs, rel=1e-13)
