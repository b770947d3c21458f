"""A small package of our own (an original, named as such), made into an sdist for each test.

Its sdist is found through ``find-links`` of the catalogue's ``kvpack.toml``. Its lock begins with
what this repository's locks name: a new release of setuptools or cibuildwheel changes no test.
"""

import functools
import io
import tarfile
import textwrap
from pathlib import Path

from kvpack.lock.file import read_lock, seal, write_lock
from kvpack.lock.model import Lock
from tests.integration.conftest import CHECKOUT, Kvpack

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "kvdemo"
version = "1.0"
"""
SETUP = """\
from setuptools import Extension, setup

setup(packages=["kvdemo"], ext_modules=[Extension("kvdemo._core", ["core.c"])])
"""
CORE = """\
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *args) { return PyLong_FromLong(41); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_core", 0, -1, methods};
PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&module); }
"""
FILES = {
    "PKG-INFO": "Metadata-Version: 2.1\nName: kvdemo\nVersion: 1.0\n",
    "pyproject.toml": PYPROJECT,
    "setup.py": SETUP,
    "core.c": CORE,
    "kvdemo/__init__.py": "from kvdemo._core import answer\n",
}
EPOCH = 1_700_000_000
PATCH = """\
--- a/core.c
+++ b/core.c
@@ -1,3 +1,3 @@
 #include <Python.h>
-static PyObject *answer(PyObject *self, PyObject *args) { return PyLong_FromLong(41); }
+static PyObject *answer(PyObject *self, PyObject *args) { return PyLong_FromLong(42); }
 static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};
"""


def sdist(folder: Path, changes: dict[str, str]) -> None:
    """Write ``kvdemo-1.0.tar.gz`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "kvdemo-1.0.tar.gz", "w:gz") as tar:
        for name, text in {**FILES, **changes}.items():
            info = tarfile.TarInfo(f"kvdemo-1.0/{name}")
            info.size, info.mtime = len(text.encode()), EPOCH
            tar.addfile(info, io.BytesIO(text.encode()))


@functools.cache
def known() -> Lock:
    """A lock of kvdemo as if it had been written when this repository's were.

    ``kvpack lock`` keeps of it what the recipe still asks for: tools and roots as they are, and the
    versions of build requirements and toolkits (their closures ask for other things here).
    """
    plain, native = (
        read_lock(CHECKOUT / "lock" / f"{name}.toml", name) for name in ("msgpack", "dlslime")
    )
    wheels = {wheel.file: wheel for wheel in (*native.wheels, *plain.wheels)}
    closures = [one for one in plain.closure if one.use in {"host", "root"}]
    for one in plain.closure:
        if one.use == "build":
            where = (one.python, one.root, one.arch)
            files = set(one.files)
            for other in native.closure:
                if other.use == "build" and (other.python, other.root, other.arch) == where:
                    mine = {wheels[file].project for file in files}
                    files |= {file for file in other.files if wheels[file].project not in mine}
            changes = {"version": "1.0", "requires": ("known",), "files": tuple(sorted(files))}
            closures.append(one.model_copy(update=changes))
    toolkits = [one for one in native.closure if one.use == "toolkit"]
    closures += [one.model_copy(update={"requires": ("known",)}) for one in toolkits]
    used = {file for one in closures for file in one.files}
    return seal(
        plain.model_copy(
            update={
                "recipe": "kvdemo",
                "closure": tuple(closures),
                "wheels": tuple(wheels[file] for file in sorted(used)),
            }
        )
    )


def write_known(root: Path) -> None:
    (root / "lock").mkdir(parents=True, exist_ok=True)
    write_lock(root / "lock" / "kvdemo.toml", known())


def catalogue(root: Path, *, glibc: str = "2.36", python: str = "3.11", more: str = "") -> None:
    """A catalogue with the one recipe ``kvdemo``."""
    (root / "recipes").mkdir(parents=True, exist_ok=True)
    head = f"""\
        schema = 1
        name = "kvdemo"
        summary = "a demonstration package of kvpack's tests"
        license = "Apache-2.0"
        default-version = "1.0"
        [distribution]
        cpu = "kvdemo"
        owns = ["kvdemo"]
        [versions."1.0"]
        source = {{ sdist = "kvdemo" }}
        [targets]
        python = ["{python}"]
        glibc = ["{glibc}"]
        arch = ["x86_64"]
        """
    (root / "recipes" / "kvdemo.toml").write_text(textwrap.dedent(head) + textwrap.dedent(more))


def prepared(
    kvpack: Kvpack,
    tmp_path: Path,
    *,
    files: dict[str, str] | None = None,
    glibc: str = "2.36",
    python: str = "3.11",
    more: str = "",
) -> Kvpack:
    """kvpack on a locked catalogue of its own that holds the demonstration package."""
    root = tmp_path / "demo"
    sdist(tmp_path / "sdists", files or {})
    catalogue(root, glibc=glibc, python=python, more=more)
    links = (tmp_path / "sdists").as_uri()
    (root / "kvpack.toml").write_text(f'[registries.pypi]\nfind-links = ["{links}"]\n')
    write_known(root)
    return Kvpack(root, kvpack.store)
