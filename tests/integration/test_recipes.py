"""What recipes promise, on a small package of our own: patches, options, audit, reproducibility."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Kvpack
from tests.integration.demo import PATCH, PYPROJECT, prepared

pytestmark = pytest.mark.integration

PATCHED = """
[[patches]]
id = "answer"
file = "answer.patch"
why = "41 is not the answer"
"""


def with_patch(kvpack: Kvpack, text: str) -> Kvpack:
    folder = kvpack.root / "patches" / "kvdemo"
    folder.mkdir(parents=True)
    (folder / "answer.patch").write_text(text)
    kvpack("lock").ok()
    return kvpack


def test_a_patch_is_applied_and_part_of_the_key(kvpack: Kvpack, tmp_path: Path) -> None:
    plain = prepared(kvpack, tmp_path / "plain")
    plain("lock").ok()
    key = plain("--json", "plan", "kvdemo").ok().json["targets"][0]["key"]
    demo = with_patch(prepared(kvpack, tmp_path, more=PATCHED), PATCH)
    done = demo("--json", "build", "kvdemo", "--out", str(tmp_path / "dist")).ok().json
    assert done["targets"][0]["key"] != key
    shutil.unpack_archive(done["targets"][0]["wheel"], tmp_path / "installed", "zip")
    code = "import kvdemo; print(kvdemo.answer())"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "installed", capture_output=True, text=True,
        check=True, env={"PYTHONPATH": str(tmp_path / "installed")},
    )  # fmt: skip
    assert out.stdout.strip() == "42"


def test_a_patch_that_does_not_apply(kvpack: Kvpack, tmp_path: Path) -> None:
    """Without fuzz: a context that moved is an error that names the patch."""
    moved = PATCH.replace(" #include <Python.h>", " #include <python.h>")
    demo = with_patch(prepared(kvpack, tmp_path, more=PATCHED), moved)
    failed = demo("build", "kvdemo", "--out", str(tmp_path / "dist"))
    assert failed.code == 36
    assert "patch answer.patch does not apply to kvdemo-1.0.tar.gz" in failed.err
    assert not (tmp_path / "dist").exists()


CMAKE_FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["scikit-build-core>=0.10", "ninja"]
build-backend = "scikit_build_core.build"
[project]
name = "kvdemo"
version = "1.0"
""",
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.20)
project(kvdemo C)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
option(FAST "" OFF)
if(FAST)
  add_compile_definitions(FAST=1)
endif()
python_add_library(_core MODULE core.c WITH_SOABI)
install(TARGETS _core DESTINATION kvdemo)
""",
}
OPTION = """
[options.fast]
default = true
cmake = "{name}"
[build]
debian = ["cmake"]
"""


def test_an_option_that_cmake_ignores_fails_the_build(kvpack: Kvpack, tmp_path: Path) -> None:
    demo = prepared(kvpack, tmp_path, files=CMAKE_FILES, more=OPTION.format(name="FATS"))
    demo("lock").ok()
    failed = demo("build", "kvdemo", "--out", str(tmp_path / "dist"))
    assert failed.code == 44, failed.err
    assert "CMake ignored the option fast (FATS)" in failed.err
    assert not (tmp_path / "dist").exists()


def test_an_option_that_cmake_reads_is_set(kvpack: Kvpack, tmp_path: Path) -> None:
    demo = prepared(kvpack, tmp_path, files=CMAKE_FILES, more=OPTION.format(name="FAST"))
    demo("lock").ok()
    demo("build", "kvdemo", "--out", str(tmp_path / "dist")).ok()


LEAKS = {
    "setup.py": """\
import os, time
from setuptools import Extension, setup

os.makedirs("kvdemo", exist_ok=True)
with open("kvdemo/built.py", "w") as out:
    out.write("where = %r\\nwhen = %r\\n" % (os.getcwd(), time.time()))
setup(packages=["kvdemo"], ext_modules=[Extension("kvdemo._core", ["core.c"])])
"""
}


def test_a_wheel_that_is_not_reproducible_is_told_by_kind(kvpack: Kvpack, tmp_path: Path) -> None:
    demo = prepared(kvpack, tmp_path, files=LEAKS)
    demo("lock").ok()
    failed = demo("build", "kvdemo", "--rebuild", "--out", str(tmp_path / "dist"))
    assert failed.code == 43, failed.err
    assert "kvdemo/built.py" in failed.err
    assert "path: a build path is in it: /project/" in failed.err


def test_a_wheel_that_does_not_import_is_not_delivered(kvpack: Kvpack, tmp_path: Path) -> None:
    """It is kept, so that a mended rule does not rebuild it; it is never in the output folder."""
    broken = {"kvdemo/__init__.py": "import kvdemo_is_not_there\n"}
    demo = prepared(kvpack, tmp_path, files=broken, more='[audit]\nimport = ["kvdemo"]\n')
    demo("lock").ok()
    failed = demo("build", "kvdemo", "--out", str(tmp_path / "dist"))
    assert failed.code == 50
    assert "kvdemo_is_not_there" in failed.err
    assert not (tmp_path / "dist").exists()
    recipe = demo.root / "recipes" / "kvdemo.toml"
    recipe.write_text(recipe.read_text().replace('import = ["kvdemo"]', 'import = ["json"]'))
    mended = demo("--json", "build", "kvdemo", "--out", str(tmp_path / "dist")).ok().json
    assert mended["targets"][0]["hit"]
    assert Path(mended["targets"][0]["wheel"]).is_file()
    recipe.write_text(recipe.read_text().replace('import = ["json"]', 'import = ["nothing"]'))
    assert demo("build", "kvdemo", "--out", str(tmp_path / "dist")).code == 50
    assert not list((tmp_path / "dist").iterdir()), "a wheel that no longer passes is withdrawn"


def test_the_build_sees_no_network_no_host_and_no_secret(kvpack: Kvpack, tmp_path: Path) -> None:
    """The build itself reports what it sees."""
    spy = {
        "setup.py": """\
import json, os, socket
from setuptools import Extension, setup

def reaches():
    try:
        socket.create_connection(("198.51.100.1", 80), timeout=2)
        return "connected"
    except OSError as error:
        return error.strerror or str(error)

seen = {"env": dict(os.environ), "host": os.path.exists("/host"), "net": reaches(),
        "interfaces": sorted(os.listdir("/sys/class/net"))}
with open("kvdemo/seen.json", "w") as out:
    json.dump(seen, out)
setup(packages=["kvdemo"], package_data={"kvdemo": ["seen.json"]},
      ext_modules=[Extension("kvdemo._core", ["core.c"])])
"""
    }
    demo = prepared(kvpack, tmp_path, files=spy)
    demo("lock").ok()
    secret = Kvpack(demo.root, demo.store, {**demo.env, "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
                                            "HTTP_PROXY": "http://127.0.0.1:1"})  # fmt: skip
    demo_dist = tmp_path / "dist"
    demo("fetch", "kvdemo").ok()
    done = secret("--offline", "--json", "build", "kvdemo", "--out", str(demo_dist)).ok().json
    shutil.unpack_archive(done["targets"][0]["wheel"], tmp_path / "out", "zip")
    seen = json.loads((tmp_path / "out" / "kvdemo" / "seen.json").read_text())
    assert "hunter2hunter2" not in json.dumps(seen)
    assert not any(name.lower().endswith("_proxy") for name in seen["env"])
    assert seen["host"] is False
    assert seen["interfaces"] in ([], ["lo"])
    assert seen["net"] != "connected"
    assert seen["env"]["SOURCE_DATE_EPOCH"] == "1700000000"


def test_what_the_build_left_is_compared_not_believed(kvpack: Kvpack, tmp_path: Path) -> None:
    """A build is root in its container: it replaces the stamp, and leaves a link to a host file."""
    forged = {
        "setup.py": """\
import sys
from setuptools import Extension, setup

if "bdist_wheel" in sys.argv:
    with open("/project/kvpack-inputs/stamp.py", "w") as out:
        out.write(
            "import json, os, sys\\n"
            "order = json.load(open(sys.argv[3]))\\n"
            "name = 'kvdemo-' + order['version'] + '-cp311-cp311-manylinux_2_36_x86_64.whl'\\n"
            "os.symlink('/etc/hostname', os.path.join(sys.argv[2], name))\\n"
        )
setup(packages=["kvdemo"], ext_modules=[Extension("kvdemo._core", ["core.c"])])
"""
    }
    demo = prepared(kvpack, tmp_path, files=forged)
    demo("lock").ok()
    failed = demo("build", "kvdemo", "--out", str(tmp_path / "dist"))
    assert failed.code == 42, failed.err
    assert "without the evidence that was ordered" in failed.err
    assert not (tmp_path / "dist").exists()


def test_a_source_of_another_version_is_not_sold(kvpack: Kvpack, tmp_path: Path) -> None:
    other = {"pyproject.toml": PYPROJECT.replace('version = "1.0"', 'version = "0.0.0"')}
    demo = prepared(kvpack, tmp_path, files=other)
    demo("lock").ok()
    failed = demo("build", "kvdemo", "--out", str(tmp_path / "dist"))
    assert failed.code == 42
    assert "the source builds version 0.0.0, not 1.0" in failed.err
