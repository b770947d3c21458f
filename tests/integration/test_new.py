"""Drafting from the real index, and the table that drafts guess from, asked of the real Debian."""

import subprocess
from pathlib import Path

import pytest

from kvpack.fetch.registries import Registries
from kvpack.lock import apt
from kvpack.names import Arch
from kvpack.recipe.hints import load_hints
from kvpack.report import Silent
from tests.integration.conftest import Kvpack

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
@pytest.mark.parametrize("arch", Arch)
def test_every_package_of_the_table_exists(suite: str, arch: Arch, tmp_path: Path) -> None:
    packages = {name for one in load_hints().libraries for name in one.debian}
    registry = Registries(tmp_path, reporter=Silent()).debian()
    archive = apt.Archive(mirror=registry.mirrors[0], proxy=registry.settings.proxy)
    wish = apt.Wish(suite=suite, arch=arch, packages=tuple(sorted(packages)))
    found = apt.resolve(archive, wish, Silent())
    assert packages - {deb.name for deb in found} == set()


def test_a_tag_of_a_repository(kvpack: Kvpack, tmp_path: Path) -> None:
    """An unreachable URL, and the clone that stands for it."""
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "setup.py").write_text("from setuptools import setup\nsetup()\n")
    (clone / "a.c").write_text("#include <liburing.h>\n")
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v0.9.1"]):
        subprocess.run([*git, *command], check=True)
    words = ("new", "ring", "--git", "https://kvpack.invalid/ring.git", "--tag", "v0.9.1")
    failed = kvpack(*words)
    assert failed.code == 37
    assert "--source ring=PATH" in failed.err
    assert not (kvpack.root / "recipes" / "ring.toml").exists()
    drafted = kvpack(*words, "--source", f"ring={clone}").ok()
    assert f"kvpack lock ring --source ring={clone}" in drafted.out
    text = (kvpack.root / "recipes" / "ring.toml").read_text()
    assert 'git = "https://kvpack.invalid/ring.git", tag = "v0.9.1"' in text
    assert 'default-version = "0.9.1"' in text
    assert '"liburing-dev"' in text


def test_a_draft_is_locked_and_built_as_it_is(
    kvpack: Kvpack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyzmq: a back end that asks for cmake, and a library that only the table knows."""
    root = tmp_path / "fresh"
    root.mkdir()
    monkeypatch.chdir(root)
    fresh = kvpack.with_root(root)
    fresh("new", "pz", "--sdist", "pyzmq==27.3.0").ok()
    recipe = root / "recipes" / "pz.toml"
    text = recipe.read_text()
    assert '"libzmq3-dev",  # #include <zmq.h> in ' in text
    recipe.write_text(
        text.replace('["3.11", "3.13"]', '["3.11"]')
        .replace('["2.36", "2.41"]', '["2.36"]')
        .replace("#arch =", "arch =")
    )
    fresh("lock", "pz").ok()
    fresh("check", "pz").ok()
    fresh("build", "pz").ok()
    assert len(list((root / "dist").glob("pyzmq-27.3.0+kvp.*-cp311-*.whl"))) == 1
