"""Builds pynn._core: the C core and its binding, in cffi's API mode. Declarations are read from pynn.h.

The same file is pynn._arrays as well (csrc/python/), whose functions CPython calls itself.
"""

import re
import sys
import sysconfig
from pathlib import Path

import cffi

HERE = Path(__file__).parent


def declarations(header: str) -> str:
    """The C declarations of a header, without what the preprocessor and compilers other than cffi's want."""
    text = (HERE / header).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\bPYNN_(API|VISIBLE) ", "", text)


MSVC = sys.platform == "win32"
# Contraction would fuse operations that the order contract keeps apart; hidden symbols cannot clash with another library's.
FLAGS = ["/std:c11", "/O2", "/fp:precise"] if MSVC else ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden"]

# One abi3 extension serves all versions from 3.11 on; free-threaded builds have no such interface before 3.15.
LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

ffi = cffi.FFI()
ffi.cdef(declarations("pynn.h"))
ffi.set_source(
    "pynn._core",
    '#include "pynn.h"',
    # setuptools wants paths relative to setup.py
    sources=[f"csrc/{path.relative_to(HERE).as_posix()}" for path in sorted(HERE.glob("**/*.c"))],
    depends=[f"csrc/{path.relative_to(HERE).as_posix()}" for path in sorted(HERE.glob("**/*.h"))],
    include_dirs=["csrc"],
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else [],
    extra_compile_args=FLAGS,
    extra_link_args=[] if MSVC else ["-pthread"],
    libraries=[] if MSVC else ["m"],
    py_limited_api=LIMITED_API,
)
