"""pynn/initializers.py: distributions as they should be, and the same bits on every machine."""

import copy
import pickle

import mpmath
import numpy as np
import pytest
from support import INSTRUCTION_SETS, digest, same_bits, using

import pynn
from pynn import initializers


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


class Given:
    """A generator of the uniform numbers that it is given."""

    def __init__(self, numbers):
        self.numbers = numbers

    def random(self, shape):
        return self.numbers.reshape(shape)


STANDARD_DEVIATIONS = {
    "glorot_uniform": (2 / 1100) ** 0.5,
    "glorot_normal": (2 / 1100) ** 0.5,
    "he_uniform": (2 / 500) ** 0.5,
    "he_normal": (2 / 500) ** 0.5,
    "lecun_uniform": (1 / 500) ** 0.5,
    "lecun_normal": (1 / 500) ** 0.5,
}


@pytest.mark.parametrize("name", STANDARD_DEVIATIONS)
def test_moments_are_those_of_the_distribution(name):
    x = initializers.INITIALIZERS[name]((600, 500), generator()) / STANDARD_DEVIATIONS[name]
    n = x.size
    kurtosis = 1.8 if name.endswith("uniform") else 3
    assert x.shape == (600, 500)
    assert abs(x.mean()) < 5 / n**0.5
    assert abs((x**2).mean() - 1) < 5 * ((kurtosis - 1) / n) ** 0.5
    assert abs((x**3).mean()) < 5 * (15 / n) ** 0.5
    assert abs((x**4).mean() - kurtosis) < 5 * (96 / n) ** 0.5
    assert (np.abs(x).max() <= 3**0.5) == name.endswith("uniform")


def test_normal_numbers_are_the_inverse_of_their_distribution():
    random = generator(1)
    u = np.concatenate([random.random(1000), 2.0 ** -random.uniform(1, 53, 500), 1 - 2.0 ** -random.uniform(1, 53, 500)])
    u = np.concatenate([np.round(u * 2**53) / 2**53, [0, 2**-53, 0.075, 0.5, 0.925, 1 - 2**-53]])
    u = u[u < 1]
    got = initializers.normal(u.shape, Given(u))
    with mpmath.workprec(150):
        for each, z in zip(u, got, strict=True):
            q = mpmath.mpf(float(each)) - 0.5
            tail = max(0.5 - abs(q), mpmath.mpf(2) ** -54)
            exact = mpmath.sign(q) * mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * tail)
            assert abs(mpmath.mpf(float(z)) - exact) <= 1e-15 * abs(exact), each
    assert np.abs(got).max() < 8.3


def test_normal_numbers_lie_where_they_should():
    x = initializers.normal((2**18,), generator())
    for limit in (0, 0.5, 1, 2, 3, 4):
        p = float(mpmath.ncdf(-limit))
        for share in ((x < -limit).mean(), (x > limit).mean()):
            assert abs(share - p) <= 5 * (p * (1 - p) / x.size) ** 0.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 5), (3, 40), (70, 30), (100, 100), (200, 65)], ids=str)
def test_orthogonal_rows_are_orthogonal(shape):
    q = initializers.orthogonal(shape, generator())
    assert q.shape == shape
    few = q if shape[0] <= shape[1] else q.T
    assert np.abs(few @ few.T - np.eye(len(few))).max() < 1e-14


def test_orthogonal_matrices_turn_every_way():
    # Of matrices of 3 x 3 drawn uniformly, an element has mean 0 and variance 1/3, and half are reflections.
    random = generator()
    many = np.array([initializers.orthogonal((3, 3), random) for _ in range(2000)])
    assert np.abs(many.mean(axis=0)).max() < 5 * (1 / 3 / 2000) ** 0.5
    assert np.abs((many**2).mean(axis=0) - 1 / 3).max() < 5 * (4 / 45 / 2000) ** 0.5
    assert abs((np.linalg.det(many) > 0).mean() - 0.5) < 5 * (0.25 / 2000) ** 0.5


# Bits that every machine must come to.
DIGESTS = {
    "glorot_uniform": "8f6fd199bc62e479",
    "glorot_normal": "b098e2f10ef61669",
    "he_uniform": "6037f85a4881d258",
    "he_normal": "217a0e55187c282d",
    "lecun_uniform": "413f8a0bc48ac1bd",
    "lecun_normal": "1f5507174cddeba0",
    "orthogonal": "d08a78f2963dca51",
    "zeros": "bb6ef4284e3580b2",
}


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_bits_are_the_same_on_every_machine(name):
    assert set(DIGESTS) == set(initializers.INITIALIZERS)
    for instruction_set in INSTRUCTION_SETS:
        with using(instruction_set):
            x = np.concatenate([initializers.INITIALIZERS[name](shape, generator(5)).ravel() for shape in ((90, 70), (40, 130))])
        assert digest(x)[:16] == DIGESTS[name], instruction_set


# ---- in a layer ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_a_layer_takes_an_initializer_by_name_or_as_a_function(name):
    by_name = pynn.Network([pynn.Dense(5, 4, initializer=name)], seed=1)
    as_function = pynn.Network([pynn.Dense(5, 4, initializer=initializers.INITIALIZERS[name])], seed=1)
    assert same_bits(by_name.parameters, as_function.parameters)
    assert (name in repr(by_name.layers[0])) == (name != "glorot_uniform")


def test_a_layer_takes_a_constant():
    layer = pynn.Dense(5, 4, initializer=initializers.constant(0.25))
    for each in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert (each.weight == 0.25).all()
        assert repr(each) == "Dense(5, 4, initializer=constant(0.25))"
    assert initializers.constant(1) == initializers.constant(1.0) != initializers.constant(2)
    for bad, error in (("1", TypeError), (np.inf, ValueError)):
        with pytest.raises(error, match="constant: value is"):
            initializers.constant(bad)


def test_a_layer_takes_an_array_and_keeps_a_copy():
    weight = np.arange(6.0).reshape(2, 3)
    layer = pynn.Dense(3, 2, initializer=weight)
    weight[:] = 0
    for each in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert pynn.Network([each], dtype="float64").layers[0].weight.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert repr(each) == "Dense(3, 2, initializer=<array>)"
    with pytest.raises(ValueError, match=r"initializer has shape \(3, 2\), wanted \(2, 3\)"):
        pynn.Dense(3, 2, initializer=np.ones((3, 2)))
    with pytest.raises(TypeError, match="initializer has dtype complex128"):
        pynn.Dense(3, 2, initializer=np.ones((2, 3), complex))
