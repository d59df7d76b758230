"""The cffi extension; all else stands in pyproject.toml."""

import sysconfig

from setuptools import setup

# csrc/build_ffi.py says why free-threaded interpreters get an extension of their own.
limited = not sysconfig.get_config_var("Py_GIL_DISABLED")
setup(
    cffi_modules=["csrc/build_ffi.py:ffi"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited else {},
)
