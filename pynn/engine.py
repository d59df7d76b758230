"""The extension: what it lists, what it keeps from one call to the next, and what its calls run on.

This is the only module that touches the extension, whose file is two modules. ``pynn._core`` is cffi's: all of csrc/pynn.h as it
stands there, for pointers and numbers. ``pynn._arrays`` (csrc/python/), here ``arrays``, has functions that CPython itself calls
with arrays: the equations, for :mod:`pynn.kernels`, and the plans and trainers of networks.
"""

from __future__ import annotations

import os
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

import pynn._core as _core
from pynn.checks import F32, F64, as_parameter, changeable, checked_gradients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from pynn.checks import Array

lib: Any = _core.lib
_ffi: Any = _core.ffi


def _load_arrays() -> Any:
    """The module pynn._arrays, which is in the file of pynn._core."""
    loader = ExtensionFileLoader("pynn._arrays", _core.__file__)
    module = module_from_spec(ModuleSpec("pynn._arrays", loader, origin=_core.__file__))
    loader.exec_module(module)
    return module


arrays = _load_arrays()
NOT_PLAIN: int = arrays.NOT_PLAIN


def _check_arrays() -> None:
    """That the extension reads an array as NumPy lays it out (csrc/python/arrays.c)."""
    dtypes: tuple[np.dtype[Any], ...] = (F32, F64)  # PYNN_F32, PYNN_F64
    for number, dtype in enumerate(dtypes):
        array = np.zeros((5, 7), dtype)[1:4, ::2]
        address = array.__array_interface__["data"][0]
        if arrays.describe(array) != (address, 2, array.flags.num, id(dtype), number, array.shape, array.strides):
            raise ImportError(
                f"pynn: NumPy {np.__version__} lays out its arrays in memory in a way that this build of pynn does not know"
            )


_check_arrays()


def _pointer(to: Any, *kept: Any) -> tuple[int, Any]:
    """A pointer of cffi's as the extension takes it, and what must stay while it is used."""
    return int(_ffi.cast("uintptr_t", to)), (to, kept)


def fail(status: int, where: str) -> NoReturn:
    """Raise what a status of the C core (csrc/pynn.h) means in Python."""
    if status == lib.PYNN_NO_MEMORY:
        raise MemoryError(f"{where}: no memory for the kernel's workspace")
    if status == lib.PYNN_TOO_LARGE:
        raise ValueError(f"{where}: the sizes' product does not fit the address space")
    raise RuntimeError(f"{where}: the kernel refused its arguments with status {status}")


# ---- lists -----------------------------------------------------------------------------------------------------------------


class FunctionInfo(NamedTuple):
    """One row of the list of activations or costs (csrc/kernels/activation_list.h, cost_list.h)."""

    number: int
    name: str
    class_name: str
    parameter: str  # its name, or ""
    default: float  # of the parameter
    formula: str
    derivative: str
    source: str  # who published it, and when


def _text(pointer: Any) -> str:
    text: str = _ffi.string(pointer).decode()
    return text


def _functions(kind: str) -> dict[str, FunctionInfo]:
    """The list of ``kind``, "activation" or "cost", by name."""
    count, default, *texts = (
        getattr(lib, f"pynn_{kind}_{what}")
        for what in ("count", "default", "name", "class", "parameter", "formula", "derivative", "source")
    )
    rows = (
        FunctionInfo(i, name, class_name, parameter, default(i), formula, derivative, source)
        for i in range(count())
        for name, class_name, parameter, formula, derivative, source in ([_text(text(i)) for text in texts],)
    )
    return {row.name: row for row in rows}


ACTIVATIONS = _functions("activation")
COSTS = _functions("cost")
OPTIMIZERS = {_text(lib.pynn_optimizer_name(i)): i for i in range(lib.pynn_optimizer_count())}


def number_of(functions: dict[str, FunctionInfo], name: str, parameter: float | None, where: str, kind: str) -> tuple[int, float]:
    """The number of an activation or cost, and its parameter."""
    try:
        row = functions[name]
    except (KeyError, TypeError):
        raise ValueError(f"{where}: unknown {kind} {name!r}, wanted one of {', '.join(map(repr, functions))}") from None
    if parameter is None:
        return row.number, row.default
    if not row.parameter:
        raise TypeError(f"{where}: {name} has no parameter, got {parameter!r}")
    return row.number, as_parameter(parameter, where, row.parameter)


def parameter_members(row: FunctionInfo, base: Any) -> dict[str, Any]:
    """What a class made from a row of a list has: its name, and its parameter as an argument and a property of that name."""
    members: dict[str, Any] = {"name": row.name}
    if row.parameter:
        initialize = f"lambda self, {row.parameter}={row.default!r}: base.__init__(self, {row.parameter})"
        members["__init__"] = eval(initialize, {"base": base})
        # One of its own: a property that all classes shared would name itself in errors by the last of their parameters
        members[row.parameter] = property(base.parameter.fget)
    else:
        members["__init__"] = lambda self: base.__init__(self)
    return members


def objective(name: str, parameter: float | None = None, labels: bool = False) -> tuple[int, float, bool]:
    """A cost as the extension takes it (pynn_objective); an unknown name is a ``ValueError``.

    "softmax_cross_entropy" is one besides those of ``COSTS``; its parameter is the label smoothing.
    """
    if name == "softmax_cross_entropy":
        return lib.PYNN_SOFTMAX_CROSS_ENTROPY, 0.0 if parameter is None else parameter, labels
    return *number_of(COSTS, name, parameter, "cost", "cost"), labels


# ---- optimizers ------------------------------------------------------------------------------------------------------------

_Run = tuple[int, int, float, float, float]


class Updater:
    """An optimizer of the C core and its state (pynn_optimizer, csrc/kernels/optimizers.h): what pynn.optimizers is made of.

    ``name`` is that of its list. It follows one array of parameters, whose state it keeps. ``pointer`` holds on to all that is
    pointed to from there: another thread may let go of a network's optimizer in the middle of a call.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.states: list[Array] = []
        self._runs: dict[int, Any] = {}  # by their number
        self.handle = _ffi.new(
            "pynn_optimizer *",
            {"kind": OPTIMIZERS[name], "running": [1.0, 1.0, 1.0], "clip_value": np.inf, "clip_norm": np.inf},
        )
        self.pointer = _pointer(self.handle, self.states, self._runs)
        self.most_states: int = lib.pynn_optimizer_states(self.handle.kind)
        self._size = 0

    def reset(self, keep: bool) -> None:
        """Forget all steps; ``keep`` arrays of state, as zeros, and penalties, or forget these too."""
        self.handle.steps, self.handle.running = 0, [1.0, 1.0, 1.0]
        for state in self.states:
            state[:] = 0
        if not keep:
            self.handle.state = [_ffi.NULL, _ffi.NULL]
            self.states.clear()
            self.penalize([])

    def keep_state_for(self, parameters: Array, count: int) -> None:
        """Make room for ``count`` arrays of state like ``parameters``, zeros, unless they are there."""
        self._size = parameters.size
        while len(self.states) < count:
            self.states.append(np.zeros(parameters.size, parameters.dtype))
        self._show_states()

    def _show_states(self) -> None:
        for i, state in enumerate(self.states):
            self.handle.state[i] = _ffi.cast("void *", state.__array_interface__["data"][0])

    def penalize(self, runs: Sequence[_Run]) -> None:
        """Penalties (begin, end, l1, l2, decay) for runs of parameters, which cover all of them; none: no penalties."""
        if runs:
            rows = self._runs.setdefault(len(runs), _ffi.new("pynn_run[]", len(runs)))
            for i, run in enumerate(runs):  # where they are, for another thread may be in the middle of a step
                rows[i] = run
            self.handle.run = rows
        self.handle.runs = len(runs)

    def step(self, parameters: Array, gradients: ArrayLike, learning_rate: float, where: str) -> None:
        """One step on ``parameters``, in place, those that it keeps state for."""
        if parameters.size != self._size:
            raise ValueError(f"{where}: {parameters.size} parameters, wanted those that there is state for, {self._size}")
        if arrays.optimize(parameters, gradients, learning_rate, self.pointer):
            return
        changeable(parameters, where)
        gradients = checked_gradients(parameters, gradients, where)
        updated = np.array(parameters, gradients.dtype, order="C", copy=True)
        run, gradient_run = updated.reshape(-1), np.array(gradients, order="C", copy=True).reshape(-1)
        if not arrays.optimize(run, gradient_run, learning_rate, self.pointer):
            fail(NOT_PLAIN, where)
        np.copyto(parameters, updated)

    def __getstate__(self) -> dict[str, Any]:
        handle = self.handle
        return {
            "name": self.name,
            "steps": handle.steps,
            "hyperparameters": list(handle.hyperparameters),
            "running": list(handle.running),
            "clip_value": handle.clip_value,
            "clip_norm": handle.clip_norm,
            "states": [state.copy() for state in self.states],
            "runs": [(run.begin, run.end, run.l1, run.l2, run.decay) for run in handle.run[0 : handle.runs]]
            if handle.runs
            else [],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Updater.__init__(self, state["name"])
        for name in ("steps", "hyperparameters", "running", "clip_value", "clip_norm"):
            setattr(self.handle, name, state[name])
        self.states.extend(state["states"])
        self.penalize(state["runs"])
        self._show_states()


# ---- a network in one call -------------------------------------------------------------------------------------------------


def new_plan(layers: Sequence[dict[str, Any]], parameters: Array) -> Any:
    """A network as the engine runs it: layers over one arena of parameters (csrc/network.c), as ``arrays.Plan``.

    ``layers`` are the fields of pynn_layer (csrc/pynn.h), one mapping each: "kind" is the name of an activation or of a constant
    PYNN_..., arrays stand for pointers to their first element, and what is left out is none.

    ``plan.predict(x, out)`` gives the result, for ``out`` None a new array; or None, if it does not take them as they are.
    """
    rows = _ffi.new("pynn_layer[]", len(layers))
    nowhere = 2 ** (8 * _ffi.sizeof("size_t")) - 1
    for row, layer in zip(rows, layers, strict=True):
        row.weight = row.bias = nowhere
        for field, value in layer.items():
            if field == "kind":
                row.kind = ACTIVATIONS[value].number if value in ACTIVATIONS else getattr(lib, value)
            elif isinstance(value, np.ndarray):
                setattr(row, field, _ffi.cast(_ffi.typeof(getattr(row, field)), value.__array_interface__["data"][0]))
            elif value is not None:
                setattr(row, field, value)
    kept = [value for layer in layers for value in layer.values() if isinstance(value, np.ndarray)]
    network = _ffi.new("pynn_network **")
    code = lib.PYNN_F32 if parameters.dtype == F32 else lib.PYNN_F64
    if status := lib.pynn_network_new(code, len(layers), rows, _ffi.from_buffer(parameters), network):
        fail(status, "Network")
    return arrays.Plan(_pointer(network[0], parameters, kept))


def new_trainer(plan: Any, objective: tuple[int, float, bool], pointer: tuple[int, Any], gradients: Array) -> Any:
    """What takes steps of a plan down the gradients of an ``objective``, by the pointer of an ``Updater``: an ``arrays.Trainer``.

    ``trainer.step(x, target, learning_rate)`` gives the cost before a step on all rows, or None; ``trainer.train`` is as
    csrc/python/plans.c says.
    """
    return arrays.Trainer(plan, objective, pointer, gradients)


OUT_MAJOR: int = lib.PYNN_OUT_MAJOR
IN_MAJOR: int = lib.PYNN_IN_MAJOR


def weight_in_c_order(in_features: int, out_features: int) -> bool:
    """Whether a Dense layer of this shape does best to keep its weight in C order, (out, in), rather than transposed.

    >>> import pynn
    >>> pynn.kernels.weight_in_c_order(64, 1)
    True
    """
    order: int = lib.pynn_weight_order(in_features, out_features)
    return order == OUT_MAJOR


# ---- what runs the kernels -------------------------------------------------------------------------------------------------


def instruction_sets() -> list[str]:
    """What this processor and operating system can run, best first; ``"portable"`` is always last.

    >>> import pynn
    >>> pynn.instruction_sets()[-1]
    'portable'
    """
    return [_text(lib.pynn_instruction_set_name(i)) for i in range(lib.pynn_instruction_set_count())]


def instruction_set() -> str:
    """The instruction set in use: the best one, or what ``PYNN_INSTRUCTION_SET`` named at import.

    >>> import pynn
    >>> pynn.instruction_set() in pynn.instruction_sets()
    True
    """
    return _text(lib.pynn_instruction_set())


def compiler() -> str:
    """The compiler that built the extension, for reports.

    >>> import pynn
    >>> isinstance(pynn.kernels.compiler(), str)
    True
    """
    return _text(lib.pynn_compiler())


def get_num_threads() -> int:
    """How many threads one call may use at most, the caller's own included.

    >>> import pynn
    >>> pynn.get_num_threads() >= 1
    True
    """
    number: int = lib.pynn_get_num_threads()
    return number


def set_num_threads(n: int) -> None:
    """Let one call use up to ``n`` threads (at most 255); no number of threads changes a bit of any result.

    Raises ``TypeError`` unless ``n`` is an integer, ``ValueError`` if it is below 1.

    >>> import pynn
    >>> before = pynn.get_num_threads()
    >>> pynn.set_num_threads(1)
    >>> pynn.get_num_threads()
    1
    >>> pynn.set_num_threads(before)
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"set_num_threads: n is {n!r}, wanted an integer")
    if n < 1:
        raise ValueError(f"set_num_threads: n is {n}, wanted at least 1")
    lib.pynn_set_num_threads(min(int(n), 255))


def _processors() -> int:
    """The processors this process may use: its affinity, and the share that its control group grants (Linux)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        if quota != "max":
            count = min(count, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return count


def _configure() -> None:
    """Read the environment. A wrong value is an ImportError: better no library than another one than was asked for."""
    forced = os.environ.get("PYNN_INSTRUCTION_SET")
    if forced:
        status = lib.pynn_use_instruction_set(forced.encode())
        if status == lib.PYNN_UNSUPPORTED:
            raise ImportError(
                f"PYNN_INSTRUCTION_SET={forced}: this processor cannot run it; it can run {', '.join(instruction_sets())}"
            )
        if status:
            raise ImportError(f"PYNN_INSTRUCTION_SET={forced}: unknown, wanted one of portable, avx2, avx512, neon")
    threads = os.environ.get("PYNN_NUM_THREADS")
    if threads:
        if not threads.isascii() or not threads.isdigit() or int(threads) < 1:
            raise ImportError(f"PYNN_NUM_THREADS={threads}: wanted a whole number from 1 up")
        set_num_threads(int(threads))
    else:
        set_num_threads(_processors())


_configure()
