"""pyproject.toml, setup.py, csrc/build_ffi.py: what is packed, builds from nothing but that, and runs from another folder."""

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from support import ROOT

import pynn

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command, folder, **options):
    result = subprocess.run(
        [str(each) for each in command], cwd=folder, capture_output=True, text=True, check=False, timeout=600, **options
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout.strip()


def build(kind, source, into):
    """What a build front end would do, with the tools that are installed here: no network needed."""
    if importlib.util.find_spec("setuptools") is None or int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools 77 or later is not installed beside the tests (the extra `test` has it), so nothing can be built")
    into.mkdir()
    program = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    run(sys.executable, "-c", program, into, folder=source)
    (made,) = into.iterdir()
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The files of the project without anything built from them."""
    folder = tmp_path_factory.mktemp("source") / "pynn"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "*.so", "*.o", "__pycache__", "_core.*")
    shutil.copytree(ROOT, folder, ignore=unwanted)
    return folder


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory):
    return build("sdist", source, tmp_path_factory.mktemp("sdist") / "dist")


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the source distribution alone."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build("wheel", unpacked, folder / "dist")


def test_the_source_distribution_has_all_that_a_build_reads(sdist):
    with tarfile.open(sdist) as archive:
        packed = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = {str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/**/*") if path.suffix in (".c", ".h", ".py")}
    needed |= {"setup.py", "pyproject.toml", "LICENSE", "README.md", "pynn/py.typed", "pynn/__init__.py", "pynn/layers.py"}
    assert len(needed) > 20
    assert needed <= packed, needed - packed
    assert not [name for name in packed if name.endswith((".so", ".o", ".pyc"))]


def test_the_wheel_serves_every_version_of_python_from_the_oldest_on(wheel):
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert "abi3" not in wheel.name
    else:
        assert f"-cp{PROJECT['requires-python'].removeprefix('>=').replace('.', '')}-abi3-" in wheel.name


def test_the_wheel_has_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    assert {name.split("/")[0] for name in names} == {"pynn", f"pynn-{PROJECT['version']}.dist-info"}
    assert "pynn/py.typed" in names
    assert any(re.fullmatch(r"pynn/_core\..*(so|pyd)", name) for name in names)
    assert all(f"pynn/{path.name}" in names for path in (ROOT / "pynn").glob("*.py"))
    assert all(f"pynn/data/{path.name}" in names for path in (ROOT / "pynn").glob("data/*"))
    assert any("LICENSE" in name for name in names)
    assert {line for line in metadata.splitlines() if line.startswith("Requires-Dist: ") and "extra" not in line} == {
        f"Requires-Dist: {need}" for need in PROJECT["dependencies"]
    }


def test_the_installed_wheel_computes_from_another_folder(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, pynn
net = pynn.Network([pynn.Dense(2, 8), pynn.Sigmoid(), pynn.Dense(8, 1)], seed=0)
net.fit(np.ones((9, 2)), np.ones(9))
print(pynn.__file__, net.predict(np.zeros((3, 2))).shape)
"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file, shape = run(sys.executable, "-c", program, tmp_path / "site", folder=elsewhere).split(maxsplit=1)
    assert Path(file).is_relative_to(tmp_path / "site")
    assert shape == "(3, 1)"


def test_the_version_is_the_same_everywhere():
    assert pynn.__version__ == PROJECT["version"]


def test_the_extension_asks_for_nothing_newer_than_it_says(wheel):
    # An abi3 extension may use the limited interface of its oldest Python alone, or it would not load there.
    if sys.platform != "linux" or "abi3" not in wheel.name:
        pytest.skip("reads the symbols of an abi3 ELF file")
    if shutil.which("nm") is None:
        pytest.skip("no nm on this system")
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".so"))
        path = Path(archive.extract(name, wheel.parent / "symbols"))
    wanted = {line.split()[-1] for line in run("nm", "-D", "--undefined-only", path, folder=wheel.parent).splitlines()}
    used = {symbol for symbol in wanted if symbol.startswith(("Py", "_Py"))}
    assert used
    private = {symbol for symbol in used if symbol.startswith("_Py")} - {
        "_Py_NoneStruct",
        "_Py_TrueStruct",
        "_Py_FalseStruct",
        "_Py_Dealloc",
    }
    assert not private
