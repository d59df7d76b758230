"""csrc/threads.c: many callers at once, forks, few threads, none left over; and that no schedule changes a bit."""

import gc
import os
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import digest, output, python, threads, values

import pynn
from pynn import kernels

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the worker pool needs POSIX threads")

# What the programs below start with: a network large enough to be shared out, and the count of this process's threads.
START = """
import hashlib, os, sys, threading, time
import numpy as np, pynn

def count():
    return len(os.listdir("/proc/self/task"))

def digest(*arrays):
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()

x = np.random.default_rng(0).random((256, 200), dtype=np.float32)
y = x[:, :10].copy()

def network(seed=0):
    return pynn.Network([pynn.Dense(200, 300), pynn.Sigmoid(), pynn.Dense(300, 10)], optimizer=pynn.SGD(0.1), seed=seed)

def work(seed=0):
    net = network(seed)
    net.fit(x, y, epochs=2, batch_size=128)
    return digest(net.parameters, net.predict(x))
"""

linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc, which only Linux has")


def network(dtype="float32", seed=0):
    return pynn.Network(
        [pynn.Dense(200, 300), pynn.Sigmoid(), pynn.Dense(300, 10)], optimizer=pynn.SGD(0.1), dtype=dtype, seed=seed
    )


# ---- many callers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 4])
def test_prediction_from_many_threads_at_once_equals_prediction_from_one(dtype, number):
    net = network(dtype)
    batches = [values((rows, 200), dtype, rows) for rows in [1, 2, 3, 20, 64, 150, 1, 256] * 8]
    wanted = [digest(net.predict(x)) for x in batches]
    with threads(number), ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda x: digest(net.predict(x)), batches)) == wanted
            assert list(pool.map(lambda x: digest(net.predict(x[0])), batches)) == [digest(net.predict(x[0])) for x in batches]


@pytest.mark.parametrize("number", [1, 3])
def test_several_networks_train_at_once_as_each_would_alone(dtype, number):
    x, y = values((256, 200), dtype, 1), values((256, 10), dtype, 2)

    def train(seed):
        net = network(dtype, seed)
        net.fit(x, y, epochs=2, batch_size=100)
        return digest(net.parameters, net.predict(x))

    wanted = [train(seed) for seed in range(6)]
    with threads(number), ThreadPoolExecutor(6) as pool:
        assert list(pool.map(train, range(6))) == wanted


def test_kernels_may_be_called_from_many_threads_at_once(dtype):
    weight, x = values((300, 200), dtype, 1), values((100, 200), dtype, 2)
    long = values(50_000, dtype, 3)

    def everything(_):
        y = kernels.affine(weight, x)
        return digest(
            y,
            kernels.input_gradient(weight, y),
            kernels.weight_gradient(y, x),
            kernels.bias_gradient(y),
            kernels.activation("tanh", long),
        )

    with threads(4), ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(everything, range(40)))) == 1


def test_one_network_trained_from_many_threads_takes_each_step_whole():
    # Steps wait for each other. All being alike, their order does not matter, and none may be lost or half done.
    x, y = values((64, 200), "float32", 1), values((64, 10), "float32", 2)
    alone, shared = network(), network()
    for _ in range(40):
        alone.train_step(x, y)
    with threads(3), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shared.train_step(x, y), range(40)))
    assert digest(shared.parameters) == digest(alone.parameters)


# Whether another thread gets to run Python during a call, even if it is the only processor's turn
TICKED = """
sys.setswitchinterval(1000)
ticks, stop = [], threading.Event()
def tick():
    while not stop.is_set():
        ticks.append(time.monotonic())
        time.sleep(0.001)
thread = threading.Thread(target=tick)
def ticked(call):
    began = time.monotonic()
    call()
    ended = time.monotonic()
    return sum(began < tick < ended for tick in ticks) > 0
"""


def test_the_interpreter_runs_on_while_a_kernel_computes():
    program = (
        START
        + TICKED
        + """
thread.start()
big = np.ones((3000, 3000), np.float32)
print(ticked(lambda: pynn.kernels.affine(big, big)))
stop.set()
thread.join()
"""
    )
    assert output(program) == "True"


def test_the_number_of_threads_may_change_while_others_compute(dtype):
    net, x = network(dtype), values((256, 200), dtype)
    wanted = digest(net.predict(x))
    with threads(2), ThreadPoolExecutor(4) as pool:
        results = [pool.submit(lambda: digest(net.predict(x))) for _ in range(300)]
        for i in range(300):
            pynn.set_num_threads(1 + i % 5)
        assert {result.result() for result in results} == {wanted}


# ---- how many threads ------------------------------------------------------------------------------------------------


@linux
def test_no_thread_exists_after_import_or_for_small_work():
    program = (
        START
        + """
after_import = count()
small = pynn.Network([pynn.Dense(2, 8), pynn.Tanh(), pynn.Dense(8, 1)])
small.fit(np.ones((9, 2)), np.ones(9), epochs=9)
print(after_import, count())
"""
    )
    assert output(program, OPENBLAS_NUM_THREADS="1", PYNN_NUM_THREADS="4") == "1 1"


@linux
def test_a_call_uses_at_most_as_many_threads_as_were_set():
    program = (
        START
        + """
seen = []
for number in (1, 2, 5, 3, 1, 4):
    pynn.set_num_threads(number)
    work()
    for _ in range(2000):  # surplus workers leave in their own time
        if count() <= number:
            break
        time.sleep(0.005)
    seen.append(count() <= number)
pynn.set_num_threads(4)
work()
print(all(seen), count())
"""
    )
    assert output(program, OPENBLAS_NUM_THREADS="1") == "True 4"


def test_bad_numbers_of_threads_are_refused():
    before = pynn.get_num_threads()
    for bad in (0, -1):
        with pytest.raises(ValueError, match="wanted at least 1"):
            pynn.set_num_threads(bad)
    for bad in (1.0, "2", None, True, [1]):
        with pytest.raises(TypeError, match="wanted an integer"):
            pynn.set_num_threads(bad)
    assert pynn.get_num_threads() == before
    for number in (np.int64(2), 255, 10**30):
        with threads(number):
            assert pynn.get_num_threads() == min(number, 255)


@linux
def test_workers_are_there_again_after_fewer_were_set_while_a_call_with_more_computed():
    program = (
        START
        + """
many = np.tile(x, (80, 1))
trainer = threading.Thread(target=lambda: network().fit(many, many[:, :10], batch_size=64, epochs=1))
trainer.start()
time.sleep(0.02)
pynn.set_num_threads(1)
trainer.join()
while count() > 1:  # surplus workers leave in their own time
    time.sleep(0.005)
pynn.set_num_threads(4)
work()
print(count())
"""
    )
    assert [output(program, OPENBLAS_NUM_THREADS="1", PYNN_NUM_THREADS="4") for _ in range(3)] == ["4"] * 3


@linux
def test_idle_workers_take_no_processor_time():
    program = (
        START
        + """
work()
time.sleep(0.2)  # they look for more work for a moment
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before < 0.1)
"""
    )
    assert output(program, PYNN_NUM_THREADS="4") == "True"


def test_the_interpreter_exits_with_workers_alive():
    assert output(START + "print(work() == work())", PYNN_NUM_THREADS="4") == "True"
    # ... and in the middle of a call made by a thread that nobody waits for.
    program = (
        START
        + """
net = network()
def forever():
    while True:
        net.fit(x, y, epochs=5)
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.2)
print("end")
"""
    )
    assert output(program, PYNN_NUM_THREADS="3") == "end"


def test_a_thread_that_cannot_be_started_is_done_without():
    program = (
        START
        + """
import resource
wanted = work()
pynn.set_num_threads(1)
time.sleep(0.2)
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
threading.stack_size(0)
pynn.set_num_threads(200)  # their stacks do not all fit
print(work() == wanted)
"""
    )
    assert output(program, OPENBLAS_NUM_THREADS="1", PYNN_NUM_THREADS="2") == "True"


# ---- forks -----------------------------------------------------------------------------------------------------------

FORK = """
def in_child(function):
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.write(write, function().encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with open(read, "rb") as file:
        result = file.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return result
"""

# From Python 3.12 on a fork beside other threads is a DeprecationWarning, which is right, and not what is tested here.
QUIET = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"


def test_a_child_forked_before_or_after_the_pool_was_used_computes_the_same_bits():
    program = (
        QUIET
        + START
        + FORK
        + """
before = in_child(work)
here = work()
after = in_child(work)
nested = in_child(lambda: in_child(work))
print(before == here == after == nested == work())
"""
    )
    assert output(program, PYNN_NUM_THREADS="3") == "True"


def test_a_child_forked_while_other_threads_compute_computes_the_same_bits():
    program = (
        QUIET
        + START
        + FORK
        + """
wanted = work()
stop = threading.Event()
def busy(seed):
    while not stop.is_set():
        work(seed)
others = [threading.Thread(target=busy, args=(seed,)) for seed in range(3)]
for thread in others:
    thread.start()
results = set()
for _ in range(12):
    time.sleep(0.01)
    results.add(in_child(work))
stop.set()
for thread in others:
    thread.join()
print(results == {wanted})
"""
    )
    assert output(program, PYNN_NUM_THREADS="3") == "True"


def test_a_network_whose_training_was_cut_off_by_a_fork_can_be_used_in_the_child():
    # Without shuffling, since a lock of NumPy's generator would stay locked in the child if the fork fell into a draw.
    program = (
        QUIET
        + START
        + FORK
        + """
net, stop = network(), threading.Event()
def busy():
    while not stop.is_set():
        net.fit(x, y, batch_size=64, shuffle=False)
thread = threading.Thread(target=busy)
thread.start()
def child():
    net.fit(x, y, batch_size=64, shuffle=False)
    return str(np.isfinite(net.predict(x)).all())
print({in_child(child) for _ in range(12)})
stop.set()
thread.join()
"""
    )
    assert output(program, PYNN_NUM_THREADS="3") == "{'True'}"


def test_multiprocessing_by_fork_works():
    program = (
        QUIET
        + START
        + """
import multiprocessing
wanted = [work(seed) for seed in range(4)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(work, range(4)) == wanted)
"""
    )
    assert output(program, PYNN_NUM_THREADS="2") == "True"


def test_a_network_goes_through_a_pipe_to_another_process():
    program = (
        QUIET
        + START
        + """
import multiprocessing
net = network()
def predict(given):
    return digest(given.predict(x))
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply(predict, (net,)) == predict(net))
"""
    )
    assert output(program) == "True"


def test_subinterpreters_work_or_refuse_with_a_clear_error():
    if sys.version_info < (3, 12):
        pytest.skip("before Python 3.12 all subinterpreters share one lock, and NumPy supports none")
    program = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
made = interpreters.create()
try:
    result = interpreters.run_string(made, "import pynn")
except Exception as error:
    result = error
print("survived")
"""
    result = python(program)
    assert result.returncode == 0, result.stderr
    assert "survived" in result.stdout


def test_the_interpreter_runs_on_while_a_network_computes_or_waits_for_its_turn():
    # A short call keeps the interpreter's lock, but not while another trainer has the network.
    program = (
        START
        + TICKED
        + """
thread.start()
big = pynn.Network([pynn.Dense(3000, 3000)])
wide = np.ones((600, 3000), np.float32)
small = pynn.Network([pynn.Dense(2, 8), pynn.Tanh(), pynn.Dense(8, 1)])
inputs, targets = np.ones((2, 10**6, 2), np.float32)
def fit():
    while not stop.is_set():
        small.fit(inputs, targets[:, :1], batch_size=1, shuffle=False)
other = threading.Thread(target=fit)
print(ticked(lambda: big.predict(wide)), ticked(lambda: big.train_step(wide, wide)))
other.start()
waited = 0
for _ in range(2000):
    waited += ticked(lambda: small.train_step(inputs[0], targets[0, :1]))
    if waited > 2:
        break
    time.sleep(0.001)
stop.set()
thread.join()
other.join()
print(waited > 2)
"""
    )
    assert output(program, PYNN_NUM_THREADS="1").split() == ["True", "True", "True"]


def test_what_the_engine_points_to_lives_as_long_as_its_handle():
    # A call of C holds its handles; meanwhile another thread may change the network's optimizer, its penalties, or a layer.
    x = values((8, 3), "float64", 1)
    net = pynn.Network([pynn.Standardize(3).fit(x), pynn.Dense(3, 2)], optimizer=pynn.Adam(l2=0.1), dtype="float64", seed=0)
    updater, trainer, handle = net._updater, net._trainer, net.optimizer._updater.handle
    alive = [weakref.ref(net.layers[0].mean), weakref.ref(net.optimizer._updater.states[0])]
    runs = handle.run
    net.optimizer.l2 = 0.2
    assert handle.run == runs
    assert runs[0].l2 == 0.2
    net.layers[0].fit(2 * x)
    net.optimizer = pynn.SGD()
    gc.collect()
    del updater, handle, runs
    assert all(each() is not None for each in alive)
    assert trainer.step(x, x[:, :2].copy(), 0.1) > 0
    del trainer
    gc.collect()
    assert all(each() is None for each in alive)


def test_optimizers_may_be_replaced_while_a_network_trains():
    # In a process of its own, since it may crash where state is let go of too soon.
    program = (
        START
        + """
net = network()
end = time.monotonic() + 1
def train():
    while time.monotonic() < end:
        net.train_step(x, y)
workers = [threading.Thread(target=train) for _ in range(2)]
for worker in workers:
    worker.start()
while time.monotonic() < end:
    net.optimizer = pynn.Adam(1e-4)
    time.sleep(0.002)
for worker in workers:
    worker.join()
print(np.isfinite(net.parameters).all())
"""
    )
    assert output(program).split() == ["True"]


def test_a_child_can_shuffle_though_its_parent_was_shuffling_at_the_fork():
    # A generator's lock that another thread held at the fork is held in the child for ever.
    program = (
        START
        + """
net, other = network(), network()
assert net._random.bit_generator.lock.acquire()
child = os.fork()
if not child:
    net.fit(x, y, epochs=2)
    other.fit(x, y, epochs=2)
    print(digest(net.parameters) == digest(other.parameters), flush=True)
    os._exit(0)
for _ in range(400):
    if os.waitpid(child, os.WNOHANG) != (0, 0):
        break
    time.sleep(0.05)
else:
    os.kill(child, 9)
"""
    )
    assert output(program).split() == ["True"]


# ---- processors ------------------------------------------------------------------------------------------------------


def test_a_plan_may_be_replaced_while_a_network_computes():
    program = (
        START
        + """
net = pynn.Network([pynn.Standardize(200).fit(x), pynn.Dense(200, 300), pynn.Dense(300, 10)], optimizer=pynn.Adam(1e-6), seed=0)
end = time.monotonic() + 1
def work():
    while time.monotonic() < end:
        net.predict(x)
        net.predict(x[0])
        net.train_step(x, y)
workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers:
    worker.start()
while time.monotonic() < end:
    net.layers[0].fit(x * 2)
    net.cost = pynn.MAE()
    time.sleep(0.002)
for worker in workers:
    worker.join()
print(np.isfinite(net.parameters).all())
"""
    )
    assert output(program).split() == ["True"]


@linux
def test_workers_keep_to_the_processors_of_their_caller():
    program = (
        START
        + """
mine = os.sched_getaffinity(0)
if len(mine) < 2:
    print("one processor")
    raise SystemExit
pynn.set_num_threads(2)
work()
caller = str(threading.get_native_id())
for wanted in [{min(mine)}, {max(mine)}]:
    os.sched_setaffinity(0, wanted)
    time.sleep(0.05)  # workers sleep by now, and are woken
    work()
    others = [os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task") if task != caller]
    print(wanted in others)  # NumPy's own threads stay where they were
"""
    )
    if (printed := output(program)) == "one processor":
        pytest.skip("this process has one processor")
    assert printed.split() == ["True"] * 2
