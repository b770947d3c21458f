"""A bundle installs with plain pip and uv in a network namespace of its own, with no server."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from kvpack.publish.commit import Channel
from kvpack.publish.release import publish
from kvpack.report import Silent
from kvpack.tools.folder import FolderObjects
from tests.integration.conftest import PROGRAM, Answer, Kvpack
from tests.integration.publish_servers import SCRIPTS
from tests.unit.publish.dist import deliver, plans_of
from tests.unit.publish.made import release, wheel_bytes

pytestmark = pytest.mark.integration
TAG = f"cp3{sys.version_info.minor}"
OWN = release("demo-a==1.0+kvp.1", "demo-b==1.0")


class World:
    """A storage with two wheels, and an index of this test's own with a dependency."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        publish(OWN, Channel(FolderObjects(folder / "site"), "stable"), Silent())
        (folder / "index").mkdir()
        self.dependency = folder / "index" / "helper-2.0-py3-none-any.whl"
        self.dependency.write_bytes(wheel_bytes("helper", "2.0"))
        own = OWN.release.wheels[0]
        (folder / "kv.txt").write_text(
            f"demo-a==1.0 --hash=sha256:{own.sha256}\n"
            f"helper==2.0 --hash=sha256:{sha(self.dependency)}\n"
        )

    def run(self, *words: str) -> Answer:
        done = subprocess.run(
            [str(PROGRAM), "--store", str(self.folder / "store"), *words],
            capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def bundle(self, target: Path, *more: str) -> Answer:
        return self.run(
            "bundle", "--from", str(self.folder / "site"), "--requirements", "kv.txt", "--index",
            (self.folder / "index").as_uri(), "-o", str(target), *more,
        )  # fmt: skip


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def made(world: World) -> Path:
    world.bundle(world.folder / "kv.tar").ok()
    return world.folder / "kv.tar"


@pytest.mark.parametrize("installer", ["pip", "uv", "pip-index"])
def test_it_installs_with_no_network(world: World, made: Path, installer: str) -> None:
    site = world.folder / "far"
    site.mkdir()
    subprocess.run(["tar", "-xf", str(made)], cwd=site, check=True)
    folder = site / "kvpack-bundle"
    shutil.rmtree(world.folder / "store")
    venv.create(site / "venv", with_pip=True)
    python = str(site / "venv" / "bin" / "python")
    words = {
        "pip": [python, "-m", "pip", "install", "--isolated", "--no-deps", "--require-hashes", "-r",
                "kv.txt"],
        "uv": [str(SCRIPTS / "uv"), "pip", "install", "--no-config", "--offline", "--no-deps",
               "--require-hashes", "--python", python, "-r", "kv.txt"],
        "pip-index": [python, "-m", "pip", "install", "--isolated", "--index-url",
                      (folder / "simple").as_uri(), "demo-a", "helper"],
    }[installer]  # fmt: skip
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "UV_"))}
    done = subprocess.run(
        ["unshare", "--net", *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**environment, "HOME": str(site)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run([python, "-c", "import demo_a, helper"], check=True)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_the_same_inputs_give_the_same_bytes(world: World, made: Path) -> None:
    again = world.folder / "other" / "name.tar"
    shutil.rmtree(world.folder / "store")
    world.bundle(again).ok()
    assert again.read_bytes() == made.read_bytes()


def test_verify_says_what_it_could_not_check(world: World, made: Path) -> None:
    found = world.run("--json", "bundle", "verify", str(made)).ok().json
    assert found["wheels"] == 3
    unsigned = "signature of demo_a-1.0+kvp.1-py3-none-any.whl, demo_b-1.0-py3-none-any.whl: "
    assert f"{unsigned}published unsigned" in found["not-checked"]
    assert any("signature of helper-2.0" in one for one in found["not-checked"])
    assert any("who made it" in one for one in found["not-checked"])
    assert any("recipe, patches and sources of demo" in one for one in found["not-checked"])
    digest = found["manifest-sha256"]
    sure = world.run("--json", "bundle", "verify", str(made), "--digest", digest).ok().json
    assert not any("who made it" in one for one in sure["not-checked"])
    wrong = world.run("bundle", "verify", str(made), "--digest", "0" * 64)
    assert wrong.code == 87
    assert "--digest says" in wrong.err


Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


def rewritten(made: Path, change: Change) -> Path:
    """The bundle with other members."""
    with tarfile.open(made) as tar:
        members = [
            (info, stream.read()) for info in tar if (stream := tar.extractfile(info)) is not None
        ]
    change(members)
    target = made.with_name("changed.tar")
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return target


def other_wheel(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    for at, (info, _) in enumerate(members):
        if info.name.endswith("helper-2.0-py3-none-any.whl"):
            members[at] = (info, wheel_bytes("helper", "2.0", "other"))


def cut_wheel(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    for at, (info, data) in enumerate(members):
        if info.name.endswith("demo_b-1.0-py3-none-any.whl"):
            members[at] = (info, data[:-40])


def no_manifest(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    del members[0]


def one_more(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo("kvpack-bundle/wheels/evil-1.0-py3-none-any.whl"), b"x"))


def without_evidence(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[:] = [one for one in members if not one[0].name.endswith(".cdx.json")]


def climbing(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo("kvpack-bundle/../../etc/x"), b"x"))


def linked(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    info = tarfile.TarInfo("kvpack-bundle/wheels/link.whl")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members.append((info, b""))


def outside(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo("elsewhere/x"), b"x"))


def twice(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((tarfile.TarInfo(members[2][0].name), b"another README"))


@pytest.mark.parametrize(
    ("change", "code", "parts"),
    [
        (other_wheel, 87, ["helper-2.0-py3-none-any.whl: has sha256", "which no wheel has"]),
        (cut_wheel, 87, ["demo_b-1.0-py3-none-any.whl: has sha256", "truncated one",
                         "is not that of its release"]),
        (no_manifest, 87, ["MANIFEST.json: is missing"]),
        (one_more, 87, ["evil-1.0-py3-none-any.whl: is not in MANIFEST.json", "not a zip"]),
        (without_evidence, 87, [".cdx.json: is missing", "although its release has it"]),
        (outside, 87, ["lies outside of"]),
        (climbing, 33, ["climbs with '..'"]),
        (linked, 33, ["leads out of the archive", "is no file, but a symbolic link"]),
        (twice, 33, ["comes twice"]),
    ],
)  # fmt: skip
def test_a_changed_bundle_is_refused(
    world: World, made: Path, change: Change, code: int, parts: list[str]
) -> None:
    answer = world.run("bundle", "verify", str(rewritten(made, change)))
    assert answer.code == code, answer.err
    for part in parts:
        assert part in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("keep", [0, 100, 700, 5000, -10300, -700, -1])
def test_a_cut_bundle_is_refused(world: World, made: Path, keep: int) -> None:
    cut = made.with_name("cut.tar")
    cut.write_bytes(made.read_bytes()[:keep])
    answer = world.run("bundle", "verify", str(cut))
    assert answer.code in {33, 87}, answer.err
    assert "Traceback" not in answer.err


def test_requirements_without_digests_are_refused(world: World) -> None:
    (world.folder / "kv.txt").write_text("demo-a==1.0\nhelper==2.0\n")
    answer = world.bundle(world.folder / "kv.tar")
    assert answer.code == 23, answer.err
    assert answer.err.count("names no sha256") >= 2
    assert not (world.folder / "kv.tar").exists()
    assert world.run("bundle", "--from", str(world.folder / "site")).code == 2


def test_recipes_with_all_that_they_were_built_from(kvpack: Kvpack, tmp_path: Path) -> None:
    """The sdist of the real msgpack, and with --inputs everything that builds it."""
    for plan in plans_of(kvpack.root, kvpack.store, "msgpack"):
        deliver(plan, tmp_path / "dist")
    target = tmp_path / "kv.tar"
    words = ("bundle", "msgpack", "--dist", str(tmp_path / "dist"), "-o", str(target))
    kvpack(*words).ok()
    with tarfile.open(target) as tar:
        names = {name.removeprefix("kvpack-bundle/") for name in tar.getnames()}
    assert any(name.startswith("sources/msgpack/msgpack-") for name in names)
    assert {"recipes/msgpack.toml", "wheels-cpu.txt", "README.txt"} <= names
    assert not any(name.startswith("inputs/") for name in names)
    kvpack(*words, "--inputs").ok()
    kvpack("bundle", "verify", str(target)).ok()
    site = tmp_path / "far"
    site.mkdir()
    subprocess.run(["tar", "-xf", str(target)], cwd=site, check=True)
    there = Kvpack(kvpack.root, tmp_path / "fresh", {"PIP_FIND_LINKS": ""}, ("unshare", "--net"))
    folder = (site / "kvpack-bundle").as_uri()
    (kvpack.root / "kvpack.toml").write_text(f'[mirrors]\ninputs = ["{folder}"]\n')
    answer = there("--json", "fetch", "msgpack").ok().json
    assert answer["inputs"] == answer["fetched"] > 100
