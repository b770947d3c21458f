"""A small package of our own (an original, named as such), made into an sdist for each test.

Its sdist is found through ``find-links`` of the catalogue's ``kvpack.toml``.
"""

import io
import tarfile
import textwrap
from pathlib import Path

from tests.integration.conftest import Kvpack

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
    return Kvpack(root, kvpack.store)
