"""Native libraries between machines: shared, signed, published with their locks, and not linked.

Two small libraries of our own, one of C, one of headers alone, below the demonstration package.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kvpack.publish.shared import action_path, blob_path
from kvpack.tools.objects import ObstoreObjects
from kvpack.tools.stored import Headers
from tests.integration import demo
from tests.integration.conftest import Answer, Kvpack, copied_store, remove_images
from tests.integration.publish_servers import KEYS, own_keys, s3
from tests.integration.test_provenance import keys

pytestmark = pytest.mark.integration
__all__ = ["s3"]

LIBRARY = """\
schema = 1
name = "{name}"
summary = "a library of kvpack's tests"
license = "Apache-2.0"
default-version = "1.0"
[library]
prefix = "/opt/{name}"
[versions."1.0"]
source = {{ sdist = "{name}" }}
[targets]
glibc = ["2.36"]
arch = ["x86_64"]
accelerator = ["cpu"]
[build]
steps = [{steps}]
"""
STEPS = {
    "kvlib": '"gcc -shared -fPIC -O2 -Wl,-soname,libkvlib.so.1 -o libkvlib.so.1 kvlib.c", '
    '"install -D -m 755 libkvlib.so.1 $PREFIX/lib/libkvlib.so.1", '
    '"ln -s libkvlib.so.1 $PREFIX/lib/libkvlib.so", '
    '"install -D -m 644 kvlib.h $PREFIX/include/kvlib.h"',
    "kvhead": '"install -D -m 644 kvhead.h $PREFIX/include/kvhead.h"',
}
SOURCES = {
    "kvlib": {"kvlib.c": "int kvlib(void) { return 41; }\n", "kvlib.h": "int kvlib(void);\n"},
    "kvhead": {"kvhead.h": "#define KVHEAD 1\n"},
}
USES = """\
[build]
libraries = [{ name = "kvlib", version = "1.0" }, { name = "kvhead", version = "1.0" }]
"""
CORE = demo.CORE.replace(
    "#include <Python.h>\n", "#include <Python.h>\n#include <kvhead.h>\n#include <kvlib.h>\n"
).replace("PyLong_FromLong(41)", "PyLong_FromLong(kvlib() + KVHEAD)")
SETUP = """\
from setuptools import Extension, setup

places = ["/opt/kvlib", "/opt/kvhead"]
core = Extension("kvdemo._core", ["core.c"], libraries=["kvlib"], library_dirs=["/opt/kvlib/lib"],
                 include_dirs=[f"{place}/include" for place in places])
setup(packages=["kvdemo"], ext_modules=[core])
"""


def sdist(folder: Path, name: str) -> None:
    """The source of a library, as an sdist."""
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as tar:
        for file, text in {**SOURCES[name], "PKG-INFO": about}.items():
            info = tarfile.TarInfo(f"{name}-1.0/{file}")
            info.size, info.mtime = len(text), demo.EPOCH
            tar.addfile(info, io.BytesIO(text.encode()))


@dataclass
class World:
    """A locked catalogue, and a store in which everything was built once."""

    kvpack: Kvpack
    folder: Path

    def machine(self, name: str, port: int, *, inputs: bool) -> Kvpack:
        """Another machine: with the inputs and builder roots of the first, or bare of all."""
        store = self.folder / name
        env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        if inputs:
            copied_store(self.kvpack.store, store)
            return Kvpack(self.kvpack.root, store, env)
        (bare := self.folder / "bin").mkdir(exist_ok=True)
        return Kvpack(self.kvpack.root, store, env | {"PATH": str(bare), "KVPACK_ENGINE": "none"})

    def key_of(self, name: str) -> str:
        rows = self.kvpack("--json", "plan", "kvdemo").ok().json["targets"]
        return str(next(row["key"] for row in rows if row["target"].startswith(f"{name} ")))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    bare = Kvpack(folder, folder / "store")
    kvpack = demo.prepared(bare, folder, files={"core.c": CORE, "setup.py": SETUP}, more=USES)
    for name, steps in STEPS.items():
        sdist(folder / "sdists", name)
        text = LIBRARY.format(name=name, steps=steps)
        (kvpack.root / "recipes" / f"{name}.toml").write_text(text)
    kvpack("lock").ok()
    kvpack("build", "kvdemo", "--out", str(folder / "dist")).ok()
    yield World(kvpack, folder)
    remove_images(kvpack.store)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_keys(monkeypatch)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def objects_at(url: str, kvpack: Kvpack) -> ObstoreObjects:
    return ObstoreObjects(url, environment={**KEYS, **kvpack.env})


def target(answer: Answer) -> dict[str, Any]:
    (found,) = answer.ok().json["targets"]
    return dict(found)


def test_a_machine_that_has_neither_builds_the_wheel_alone(
    world: World, s3: int, tmp_path: Path
) -> None:
    url, library = f"s3://wheels/{tmp_path.name}", world.key_of("kvlib")
    words = ("--json", "build", "kvdemo", "--shared", url, "--out")
    one = world.machine("one", s3, inputs=True)
    first = target(one(*words, str(tmp_path / "a")))
    assert (one.store / "logs" / f"{library}.log").is_file()
    objects = objects_at(url, one)
    objects.delete(action_path(first["key"]))  # the wheel's result: only the libraries are left
    rows = one("--json", "plan", "kvdemo", "--shared", url).ok().json["targets"]
    assert [row["state"] for row in rows] == ["hit", "hit", "hit"]
    two = world.machine("two", s3, inputs=True)
    rows = two("--json", "plan", "kvdemo", "--shared", url).ok().json["targets"]
    assert [row["state"] for row in rows] == ["hit (shared)", "hit (shared)", "build"]
    again = target(two(*words, str(tmp_path / "b")))
    assert (again["shared"], again["sha256"]) == (False, first["sha256"])
    assert not (two.store / "logs" / f"{library}.log").exists()
    assert (two.store / "logs" / f"{first['key']}.log").is_file()
    # One with nothing, and no engine: the tar itself, and then the wheel.
    bare = world.machine("bare", s3, inputs=False)
    tar = target(bare("--json", "build", "kvlib", "--shared", url, "--out", str(tmp_path / "c")))
    assert (tar["shared"], tar["audit"]) == (True, None)
    held = target(one("--json", "build", "kvlib", "--out", str(tmp_path / "d")))
    assert tar["sha256"] == held["sha256"]
    taken = target(bare(*words, str(tmp_path / "e")))
    assert (taken["shared"], taken["sha256"]) == (True, first["sha256"])
    here = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "e").iterdir()} == here


def test_a_library_that_is_wrong_or_unsigned_is_refused(
    world: World, s3: int, tmp_path: Path
) -> None:
    private, public = keys(tmp_path, "-algorithm", "ed25519")
    url, library = f"s3://wheels/{tmp_path.name}", world.key_of("kvlib")
    words = ("--json", "build", "kvlib", "--shared", url, "--out")
    one = world.machine("signing", s3, inputs=True)
    first = target(one(*words, str(tmp_path / "a"), "--sign-key", str(private)))
    objects, demand = objects_at(url, one), ("--shared-key", str(public))
    bare = world.machine("demanding", s3, inputs=False)
    assert target(bare(*words, str(tmp_path / "b"), *demand))["sha256"] == first["sha256"]
    record = objects.get(action_path(library))
    assert record is not None
    text = json.loads(record.data)
    # Whoever may write without the key: another tar of the same form, with a record that fits.
    objects.overwrite(
        action_path(library), json.dumps({**text, "envelope": None}).encode(), Headers("x", "y")
    )
    other = world.machine("other", s3, inputs=False)
    refused = other(*words, str(tmp_path / "c"), *demand)
    assert "its record is unsigned, and a signature is demanded" in refused.err
    assert refused.code != 0, "it is built instead, which takes an engine"
    place = blob_path(first["sha256"])
    blob = objects.get(place)
    assert blob is not None
    objects.overwrite(place, blob.data[:-512], Headers("x", "y"))
    refused = other(*words, str(tmp_path / "c"))
    assert "is not used: its library has" in refused.err
    assert refused.code != 0
    assert not (tmp_path / "c").exists()
    # A machine with the key and the library mends both for everybody.
    mends = one(*words, str(tmp_path / "d"), "--sign-key", str(private), *demand).ok()
    assert "it is replaced" in mends.err
    assert target(other(*words, str(tmp_path / "c"), *demand))["sha256"] == first["sha256"]


def test_the_locks_of_libraries_are_published_bundled_and_verified(
    world: World, tmp_path: Path
) -> None:
    site, kvpack, bundle = tmp_path / "site", world.kvpack, tmp_path / "kv.tar"
    kvpack("publish", "kvdemo", "--from", str(world.folder / "dist"), "--to", str(site)).ok()
    (wheel,) = site.rglob("*.whl")
    verify = ("--json", "verify", wheel.as_uri(), "--recipe", "kvdemo")
    (row,) = kvpack(*verify, "--require", "library-locks,lock,release").ok().json["wheels"]
    (told,) = [one["detail"] for one in row["checks"] if one["check"] == "library-locks"]
    assert "kvhead 1.0: " in told
    assert "kvlib 1.0: " in told
    made = kvpack("--json", "bundle", "--from", str(site), "-o", str(bundle)).ok().json
    with tarfile.open(bundle) as tar:
        names = [name.removeprefix("kvpack-bundle/") for name in tar.getnames()]
    assert len(names) == made["members"]
    for name in ("kvlib", "kvhead"):
        (lock,) = (site / "locks" / name).iterdir()
        assert f"locks/{name}/{lock.name}" in names
        assert lock.read_bytes() == (kvpack.root / "lock" / f"{name}.toml").read_bytes()
        assert f"sources/{name}/{name}-1.0.tar.gz" in names
    checked = kvpack("--json", "bundle", "verify", str(bundle)).ok().json
    assert checked["members"] == made["members"]
    # The lock of another build of the library: the wheel's own action contradicts it.
    (lock,) = (site / "locks" / "kvlib").iterdir()
    lock.unlink()
    answer = kvpack(*verify)
    assert answer.code == 87
    assert answer.json["wheels"][0]["failed"] == ["library-locks"]


def test_a_library_that_no_file_links_is_told(world: World, tmp_path: Path) -> None:
    """The build went well: it has another answer of its own, and never looked for the library."""
    (row,) = world.kvpack("--json", "build", "kvdemo", "--out", str(tmp_path / "a")).json["targets"]
    assert row["audit"]["counts"]["warning"] == 0
    root = tmp_path / "demo"
    shutil.copytree(world.kvpack.root, root)
    demo.sdist(tmp_path / "sdists", {"core.c": demo.CORE})
    for name in STEPS:
        sdist(tmp_path / "sdists", name)
    links = (tmp_path / "sdists").as_uri()
    (root / "kvpack.toml").write_text(f'[registries.pypi]\nfind-links = ["{links}"]\n')
    kvpack = world.kvpack.with_root(root)
    kvpack("lock", "kvdemo", "--upgrade", "source").ok()
    done = kvpack("--json", "build", "kvdemo", "--out", str(tmp_path / "dist")).ok()
    assert "build.libraries names kvlib 1.0, but no ELF file of the wheel needs" in done.err
    assert "kvhead" not in done.err
    (report,) = (tmp_path / "dist").glob("*.audit.json")
    found = [one["check"] for one in json.loads(report.read_text())["findings"]]
    assert found.count("library-unused") == 1


def test_a_librarys_tar_is_told_from_a_wheel(world: World, tmp_path: Path) -> None:
    tar = target(world.kvpack("--json", "build", "kvlib", "--out", str(tmp_path)))["wheel"]
    for command in ("audit", "verify"):
        answer = world.kvpack(command, tar)
        assert answer.code == 51
        assert "is a native library, no wheel: " in answer.err
        assert "1 of them ELF" in answer.err
