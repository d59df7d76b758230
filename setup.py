"""The cffi extension, and how it is compiled; all else stands in pyproject.toml."""

import os
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext


class BuildSideBySide(build_ext):
    """Compiles as many files at a time as there are processors: three of csrc/isa are most of the build, half a minute each."""

    def build_extensions(self) -> None:
        """Have the compiler's own method take the sources one by one, in threads, which wait for its processes."""
        compile_in_turn = self.compiler.compile

        def compile_side_by_side(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(chain.from_iterable(pool.map(lambda source: compile_in_turn([source], **options), sources)))

        if os.name == "posix":  # Microsoft's compiler shares files between its processes
            self.compiler.compile = compile_side_by_side
        super().build_extensions()


# csrc/build_ffi.py says why free-threaded interpreters get an extension of their own.
limited = not sysconfig.get_config_var("Py_GIL_DISABLED")
setup(
    cffi_modules=["csrc/build_ffi.py:ffi"],
    cmdclass={"build_ext": BuildSideBySide},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited else {},
)
