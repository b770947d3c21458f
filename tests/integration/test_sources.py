"""A git source from lock to wheel: served by HTTP, with a submodule and a cherry-picked commit."""

import json
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitserver import Repository, served
from tests.integration.conftest import Kvpack
from tests.integration.demo import CORE, PYPROJECT, write_known

pytestmark = pytest.mark.integration
SETUP = """\
from setuptools import Extension, setup

core = Extension("kvdemo._core", ["core.c"], include_dirs=["extern/answer"])
setup(packages=["kvdemo"], ext_modules=[core])
"""
HEADER = "#define ANSWER 41\n"
FILES = {
    "pyproject.toml": PYPROJECT,
    "setup.py": SETUP,
    "core.c": CORE.replace("#include", '#include "answer.h"\n#include', 1).replace("41", "ANSWER"),
    "kvdemo/__init__.py": "from kvdemo._core import answer\n\nVERSION = 'one'\n",
}


class World:
    """Two repositories, a catalogue that names them, and kvpack on it."""

    def __init__(self, kvpack: Kvpack, folder: Path, base: str, served_from: Path) -> None:
        self.upstream = Repository(served_from / "kvdemo")
        answer = Repository(served_from / "answer")
        commit = answer.commit({"answer.h": HEADER})
        self.upstream.write(FILES)
        self.upstream.link("extern/answer", commit, "../answer")
        self.upstream.git("add", *FILES, ".gitmodules")
        self.upstream.git("commit", "--quiet", "--message=first")
        self.upstream.git("tag", "--annotate", "--message=one", "v1.0")
        self.tagged = self.upstream.head
        text = FILES["kvdemo/__init__.py"].replace("'one'", "'mended'")
        (self.upstream.folder / "kvdemo" / "__init__.py").write_text(text)
        self.upstream.git("commit", "--quiet", "--message=mend", "--", "kvdemo")
        self.fix = self.upstream.head
        self.base = base
        self.root = folder / "git-demo"
        (self.root / "recipes").mkdir(parents=True)
        self.recipe(f"{base}/kvdemo")
        write_known(self.root)
        self.kvpack = Kvpack(self.root, kvpack.store)

    def recipe(self, url: str, *, mirrors: str = "") -> None:
        text = f"""\
            schema = 1
            name = "kvdemo"
            summary = "a demonstration package of kvpack's tests"
            license = "Apache-2.0"
            default-version = "1.0"
            [distribution]
            cpu = "kvdemo"
            owns = ["kvdemo"]
            [versions."1.0"]
            source = {{ git = "{url}", tag = "v1.0", submodules = true{mirrors} }}
            [targets]
            python = ["3.11"]
            glibc = ["2.36"]
            arch = ["x86_64"]
            [[patches]]
            id = "mended"
            commit = "{self.fix}"
            why = "the version said the wrong thing"
            [audit]
            import = ["kvdemo"]
            """
        (self.root / "recipes" / "kvdemo.toml").write_text(textwrap.dedent(text))


@pytest.fixture
def world(kvpack: Kvpack, tmp_path: Path) -> Iterator[World]:
    with served(tmp_path / "served") as base:
        yield World(kvpack, tmp_path, base, tmp_path / "served")


def test_from_a_tag_to_a_wheel_and_again_from_the_store_alone(world: World, tmp_path: Path) -> None:
    kvpack = world.kvpack
    kvpack("lock", "kvdemo").ok()
    text = (world.root / "lock" / "kvdemo.toml").read_text()
    assert f'commit = "{world.tagged}"' in text
    assert "incomplete" not in text
    out = tmp_path / "dist"
    (built,) = kvpack("--json", "build", "kvdemo", "--out", str(out)).ok().json["targets"]
    with zipfile.ZipFile(built["wheel"]) as wheel:
        assert b"mended" in wheel.read("kvdemo/__init__.py")
        (name,) = [one for one in wheel.namelist() if one.endswith("kvpack/action.json")]
        source = json.loads(wheel.read(name))["lock"]["source"]
        (name,) = [one for one in wheel.namelist() if one.endswith("kvpack.cdx.json")]
        parts = json.loads(wheel.read(name))["components"]
    assert source["commit"] == world.tagged
    assert [
        one["name"] for one in parts if one["properties"][0]["value"] == "source-submodule"
    ] == ["answer"]
    again = kvpack("--json", "--offline", "build", "kvdemo", "--rebuild", "--out", str(out))
    assert again.ok().json["targets"][0]["rebuild"]["identical"]


def test_a_working_tree_is_never_taken_for_the_commit(world: World, tmp_path: Path) -> None:
    kvpack = world.kvpack
    kvpack("lock", "kvdemo").ok()
    clone = tmp_path / "clone"
    words = ("clone", "--quiet", "--branch=v1.0", "--recurse-submodules")
    world.upstream.git(*words, f"{world.base}/kvdemo", str(clone))
    (clone / "extern" / "answer" / "answer.h").write_text("#define ANSWER 43\n")
    words = ("build", "kvdemo", "--source", f"kvdemo={clone}")
    (clean,) = (
        kvpack("--json", "build", "kvdemo", "--out", str(tmp_path / "a")).ok().json["targets"]
    )
    dirty = kvpack("--json", *words, "--dirty", "--out", str(tmp_path / "b")).ok()
    (found,) = dirty.json["targets"]
    assert found["key"] != clean["key"]
    assert found["dirty"] is True
    assert found["wheel"].partition("-cp311")[0].endswith(".dirty")
    assert "marked dirty" in dirty.err
    (same,) = kvpack("--json", *words, "--out", str(tmp_path / "c")).ok().json["targets"]
    assert (same["key"], same["hit"]) == (clean["key"], True)
