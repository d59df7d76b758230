"""Fixtures and options of the whole suite."""

import os

import pytest
from hypothesis import settings
from support import ACTIVATIONS, DTYPES, INSTRUCTION_SETS, using

import pynn

# Continuous integration wants the same examples every time; at home, new ones. A shared machine makes any deadline flaky.
settings.register_profile("home", deadline=None, max_examples=60)
settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "home")


def pytest_addoption(parser):
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="check float32 functions on all 2^32 numbers (minutes each), and more shapes and networks against the specification",
    )


def pytest_report_header():
    sets = ", ".join(INSTRUCTION_SETS)
    return f"pynn: {pynn.instruction_set()} of {sets}; {pynn.get_num_threads()} threads; built by {pynn.kernels.compiler()}"


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request):
    """Each instruction set this processor can run, in use."""
    with using(request.param):
        yield request.param


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture(params=ACTIVATIONS)
def activation(request):
    return request.param


@pytest.fixture(autouse=True)
def _global_state_stays():
    """A test that left another instruction set or number of threads behind would change what all later ones test."""
    before = pynn.instruction_set(), pynn.get_num_threads()
    yield
    assert (pynn.instruction_set(), pynn.get_num_threads()) == before
