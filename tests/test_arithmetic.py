"""csrc/arithmetic.h: how the caller rounds, flushes or traps changes no result, and its floating-point state stays as it was.

The state is read and set through the C library, in an interpreter of its own, since a trap that fires ends the process.
tests/c/test_arithmetic.c does the same without Python, for every function of csrc/pynn.h.
"""

import platform
import re

import pytest
from support import INSTRUCTION_SETS, ROOT, output

PROGRAM = """
import ctypes, platform, sys
import numpy as np
import pynn
from pynn import kernels

libm = ctypes.CDLL("libm.so.6")
environment = (ctypes.c_uint32 * 64)()
# Where glibc's fenv_t keeps the registers: MXCSR after the x87 unit's 28 bytes; FPCR and FPSR.
WORDS, UPWARD, FLUSH = {"x86_64": ([7], 1 << 14, 1 << 15 | 1 << 6), "aarch64": ([0, 1], 1 << 22, 1 << 24)}[platform.machine()]
CONTROL, STATUS = WORDS[0], WORDS[-1]
ALL_FLAGS = 0x3F if CONTROL == STATUS else 0x9F
TRAPS = 0x1F80 if CONTROL == STATUS else 0x9F00


def state():
    libm.fegetenv(environment)
    return [environment[word] for word in WORDS]


def enter(control, flags):
    libm.fegetenv(environment)
    environment[CONTROL] = (environment[CONTROL] ^ TRAPS if control == TRAPS else environment[CONTROL] | control) & 0xFFFFFFFF
    environment[STATUS] = environment[STATUS] & ~ALL_FLAGS | (ALL_FLAGS if flags else 0)
    libm.fesetenv(environment)


usual = (ctypes.c_uint32 * 64)()
libm.fegetenv(usual)

tiny, one, little = 2.0**-537, 1.0, 2.0**-60


def has_effect(control):
    if control == UPWARD:
        return one + little > 1
    if control == FLUSH:
        return tiny * tiny == 0
    return True


random = np.random.Generator(np.random.PCG64(1))


def numbers(shape, dtype):
    "Overflow, underflow, subnormal numbers, infinity and NaN are among them and their products."
    array = 2 * random.random(shape) - 1
    run = array.reshape(-1)
    info = np.finfo(dtype)
    run[3::11] *= float(info.tiny) ** 0.5
    run[5::13] *= float(info.tiny)
    run[910::911] *= float(info.max)
    return array.astype(dtype)


def cases():
    for dtype in ("float32", "float64"):
        for width, hidden, out in ((2, 8, 1), (60, 90, 40)):
            for rows in (1, 200):
                x, y = (numbers(shape if rows > 1 else shape[1], dtype) for shape in ((rows, width), (rows, out)))
                net = pynn.Network([pynn.Dense(width, hidden), pynn.Sigmoid(), pynn.Dense(hidden, out)], dtype=dtype, seed=1)
                net.parameters[:] = numbers(net.parameters.size, dtype)
                first = net.parameters.copy()
                result = np.empty((*x.shape[:-1], out), dtype)
                yield f"predict {rows} {dtype}", lambda net=net, x=x, result=result: net.predict(x, out=result), [result], None
                yield f"predict, new {rows} {dtype}", lambda net=net, x=x: net.predict(x), [], None
                yield (f"train_step {rows} {dtype}", lambda net=net, x=x, y=y: net.train_step(x, y), [net._parameters], first)
                w, g = numbers((out, width), dtype), numbers((*x.shape[:-1], out), dtype)
                dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty(out, dtype)
                yield "affine", lambda w=w, x=x, o=result: kernels.affine(w, x, out=o), [result], None
                yield "input_gradient", lambda w=w, g=g, o=dx: kernels.input_gradient(w, g, out=o), [dx], None
                yield "weight_gradient", lambda g=g, x=x, o=dw: kernels.weight_gradient(g, x, out=o), [dw], None
                yield "bias_gradient", lambda g=g, o=db: kernels.bias_gradient(g, out=o), [db], None
                for name in kernels.ACTIVATIONS:
                    yield name, lambda n=name, x=x, o=dx: kernels.activation(n, x, out=o), [dx], None
                    yield name + "'", lambda n=name, x=x, o=dx: kernels.activation_gradient(n, x, x, out=o), [dx], None
                yield "cost", lambda y=y, g=g: kernels.mean_squared_error(g, y), [], None
                yield "cost'", lambda y=y, g=g, o=result: kernels.mean_squared_error_gradient(g, y, out=o), [result], None
                theta, start = x.copy(), x.copy()
                yield "descent", lambda t=theta, x=dx: kernels.gradient_descent(t, x, 0.1), [theta], start


with np.errstate(all="ignore"):
    everything = list(cases())
for name, call, written, first in everything:
    wanted = None
    for control in (0, UPWARD, FLUSH, TRAPS):
        if control == TRAPS and sys.argv[1] != "traps":
            continue
        for flags in (False, True):
            if first is not None:
                written[0][:] = first
            enter(control, flags)
            before = state()
            returned = call()
            after = state()
            effect = has_effect(control)
            libm.fesetenv(usual)
            assert effect, ("the mode has no effect, so this shows nothing", control)
            assert before == after, (name, control, flags, before, after)
            bits = [each.tobytes() for each in (*written, np.asarray(returned if returned is not None else 0))]
            wanted = wanted or bits
            assert bits == wanted, (name, control, "other bits")
print(len(everything) > 100 and "good")
"""


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or platform.machine() not in ("x86_64", "aarch64"),
    reason="reads the floating-point environment as glibc lays it out on x86-64 and AArch64",
)
def test_no_state_of_the_caller_changes_a_bit_and_none_is_changed(instruction_set):
    traps = "traps" if platform.machine() == "x86_64" else "none"  # few processors of the other kind can trap
    assert output(PROGRAM, traps, PYNN_INSTRUCTION_SET=instruction_set, PYNN_NUM_THREADS="2") == "good"


def test_every_function_that_computes_is_tested_in_c():
    header = re.sub(r"/\*.*?\*/", "", (ROOT / "csrc/pynn.h").read_text("utf-8"), flags=re.DOTALL)
    functions = re.findall(r"(\bpynn_\w+)\(([^)]*)\);", header)
    declared = {name for name, arguments in functions if re.search(r"void \*|double|pynn_\w+ \*", arguments)}
    tested = set(re.findall(r"(\bpynn_\w+)\(", (ROOT / "tests/c/test_arithmetic.c").read_text("utf-8")))
    looks = {f"pynn_network_{name}" for name in ("free", "dtype", "in", "out", "parameters", "work", "overlaps")}
    assert declared - looks <= tested, declared - looks - tested
    assert "pynn_network_train" in declared
    assert len(declared) >= 12
