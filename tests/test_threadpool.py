"""pynn/threadpool.py: threadpoolctl sees pynn's threads and limits them."""

from support import output


def test_threadpoolctl_limits_pynn_whichever_is_imported_first():
    program = """
{imports}
pynn.set_num_threads(3)
with threadpoolctl.threadpool_limits(2):
    print(pynn.get_num_threads(), end=" ")
with threadpoolctl.threadpool_limits(1, user_api="pynn"):
    print(pynn.get_num_threads(), end=" ")
print(pynn.get_num_threads(), end=" ")
(info,) = [each for each in threadpoolctl.threadpool_info() if each["user_api"] == "pynn"]
print(info["num_threads"], info["version"] == pynn.__version__, info["instruction_set"] == pynn.instruction_set())
"""
    for imports in ("import threadpoolctl, pynn", "import pynn, pynn.threadpool, threadpoolctl"):
        assert output(program.format(imports=imports)) == "2 1 3 3 True True"


def test_pynn_does_without_threadpoolctl():
    program = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "threadpoolctl":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import numpy, pynn
print(pynn.Network([pynn.Dense(2, 1)]).predict(numpy.ones(2)).shape)
"""
    assert output(program) == "(1,)"
