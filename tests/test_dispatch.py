"""csrc/dispatch.c and the environment: which instruction set runs, and that wrong wishes are clear errors at import."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from support import INSTRUCTION_SETS, ROOT, Subclass, output, python, using, values

import pynn
from pynn import _core, engine

SHOW = "import pynn; print(pynn.instruction_set(), pynn.get_num_threads())"
KNOWN = {"portable", "avx2", "avx512", "neon"}


def test_portable_runs_everywhere_and_is_the_last_choice():
    assert INSTRUCTION_SETS[-1] == "portable"
    assert set(INSTRUCTION_SETS) <= KNOWN
    assert len(set(INSTRUCTION_SETS)) == len(INSTRUCTION_SETS)


def test_the_best_instruction_set_is_the_default():
    assert output("import pynn; print(pynn.instruction_set() == pynn.instruction_sets()[0])") == "True"


@pytest.mark.skipif(
    not os.path.exists("/proc/cpuinfo") or platform.machine() != "x86_64", reason="needs the list of features of Linux on x86-64"
)
def test_what_is_found_is_what_the_operating_system_says():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = set(next(line for line in file if line.startswith("flags")).split(":")[1].split())
    assert ("avx2" in INSTRUCTION_SETS) == ({"avx2", "fma"} <= flags)
    assert ("avx512" in INSTRUCTION_SETS) == ({"avx2", "fma", "bmi2", "avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags)


@pytest.mark.skipif(platform.machine() not in ("aarch64", "arm64"), reason="not a 64-bit Arm processor")
def test_arm_has_neon():
    assert INSTRUCTION_SETS == ["neon", "portable"]


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_the_environment_forces_an_instruction_set(name):
    assert output(SHOW, PYNN_INSTRUCTION_SET=name, PYNN_NUM_THREADS="1") == f"{name} 1"


@pytest.mark.parametrize("name", sorted(KNOWN - set(INSTRUCTION_SETS)))
def test_one_that_this_processor_lacks_is_an_import_error_that_says_what_it_has(name):
    result = python(SHOW, PYNN_INSTRUCTION_SET=name)
    assert result.returncode == 1
    assert (
        f"ImportError: PYNN_INSTRUCTION_SET={name}: this processor cannot run it; it can run {', '.join(INSTRUCTION_SETS)}"
        in result.stderr
    )


@pytest.mark.parametrize("name", ["sse2", "AVX2", "avx", " avx2", "portable ", "1", "ávx2"])
def test_an_unknown_one_is_an_import_error_that_says_what_there_is(name):
    result = python(SHOW, PYNN_INSTRUCTION_SET=name, PYTHONIOENCODING="utf-8")
    assert result.returncode == 1
    assert f"ImportError: PYNN_INSTRUCTION_SET={name}: unknown, wanted one of portable, avx2, avx512, neon" in result.stderr


def test_an_empty_wish_is_none():
    assert output(SHOW, PYNN_INSTRUCTION_SET="", PYNN_NUM_THREADS="") == output(SHOW)


def test_the_environment_sets_the_number_of_threads():
    assert output(SHOW, PYNN_NUM_THREADS="3").split()[1] == "3"
    assert output(SHOW, PYNN_NUM_THREADS="100000").split()[1] == "255"


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5", " 2", "2x", "٣", "1e3", "+2"])
def test_a_wrong_number_of_threads_is_an_import_error(number):
    result = python(SHOW, PYNN_NUM_THREADS=number, PYTHONIOENCODING="utf-8")
    assert result.returncode == 1
    assert f"ImportError: PYNN_NUM_THREADS={number}: wanted a whole number from 1 up" in result.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to processors")
def test_the_default_number_of_threads_is_that_of_the_processors_this_process_may_run_on():
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + SHOW
    assert output(program).split()[1] == "1"
    assert 1 <= int(output(SHOW).split()[1]) <= len(os.sched_getaffinity(0))


def test_the_c_interface_refuses_unknown_names_and_stays_as_it_was():
    before = pynn.instruction_set()
    for name in [b"", b"no such", b"AVX2"]:
        assert _core.lib.pynn_use_instruction_set(name) == _core.lib.PYNN_UNKNOWN
    for name in KNOWN - set(INSTRUCTION_SETS):
        assert _core.lib.pynn_use_instruction_set(name.encode()) == _core.lib.PYNN_UNSUPPORTED
    assert pynn.instruction_set() == before
    assert _core.lib.pynn_instruction_set_name(len(INSTRUCTION_SETS)) == _core.ffi.NULL


def test_switching_takes_effect_at_once():
    # Forgetting it would make all other tests test one instruction set several times.
    x = values(1000, "float32")
    for name in INSTRUCTION_SETS:
        with using(name):
            assert pynn.instruction_set() == name
            assert np.isfinite(pynn.kernels.activation("tanh", x)).all()


def test_a_network_follows_a_switch_in_the_middle_of_training(dtype):
    nets = [pynn.Network([pynn.Dense(9, 40), pynn.Tanh(), pynn.Dense(40, 2)], dtype=dtype, seed=0) for _ in range(2)]
    x, y = values((33, 9), dtype, 1), values((33, 2), dtype, 2)
    for name in [*INSTRUCTION_SETS, *reversed(INSTRUCTION_SETS)]:
        with using(name):
            nets[0].train_step(x, y)
        nets[1].train_step(x, y)
    assert nets[0].parameters.tobytes() == nets[1].parameters.tobytes()


def test_import_takes_nothing_but_numpy_and_cffi():
    others = "{'matplotlib', 'tqdm', 'threadpoolctl', 'scipy', 'torch'}"
    assert output("import sys, pynn; print({name.split('.')[0] for name in sys.modules} & " + others + ")") == "set()"
    assert output("import sys, pynn; print('pynn.reference' in sys.modules, 'pynn.datasets' in sys.modules)") == "False False"


def test_another_layout_of_arrays_than_numpy_has_would_be_an_import_error():
    # What the check at import compares is what NumPy says; were a field elsewhere, one of these numbers would differ.
    for number, dtype in enumerate(("float32", "float64")):
        array = np.zeros((4, 6), dtype)[:, 1:5:2]
        size = array.itemsize
        wanted = (array.ctypes.data, 2, array.flags.num, id(array.dtype), number, (4, 2), (6 * size, 2 * size))
        assert engine.arrays.describe(array) == wanted
    for other in (None, [[1.0]], array[0], array.view(Subclass), np.zeros(9, "u1")[1:].view("f4").reshape(1, 2)):
        assert engine.arrays.describe(other) is None


def test_functions_of_another_numpy_would_be_an_import_error():
    program = """
import ctypes
import numpy._core._multiarray_umath as functions
version = ctypes.CFUNCTYPE(ctypes.c_uint)(lambda: 0x03000000)
table = (ctypes.c_void_p * 400)(ctypes.cast(version, ctypes.c_void_p).value)
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
functions._ARRAY_API = new(table, None, None)
try:
    import pynn
except ImportError as error:
    print(error)
"""
    assert output(program).startswith("pynn: this build is for NumPy 2,")


def test_it_says_which_compiler_built_it():
    assert any(word in pynn.kernels.compiler() for word in ("gcc", "clang", "unknown"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the symbols of an ELF file")
def test_the_extension_shows_no_symbol_but_its_own():
    # Another library's function of the same name could be called instead of ours, or ours instead of its.
    try:
        listed = subprocess.run(["nm", "-D", "--defined-only", _core.__file__], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no nm on this system")
    names = [line.split()[-1] for line in listed.splitlines()]
    assert names
    assert all(name.startswith(("PyInit__core", "PyInit__arrays", "_cffi_pypyinit", "pynn_")) for name in names), names
    assert ROOT.joinpath("csrc", "pynn.h").exists()
