"""ROCm from a locked image: the real recipes of MoRI, UCX and NIXL, end to end, on stand-ins.

What differs from the catalogue is where github.com and docker.io are: a local git server and a
local registry, as mirrors in ``kvpack.toml``; so the lock names the real image.
"""

import base64
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvpack.lock.file import read_lock, seal, write_lock
from kvpack.lock.model import LockedImage
from tests.gitserver import served
from tests.indexserver import index, own_index
from tests.integration import rocm
from tests.integration.conftest import Answer, Kvpack, copied_store, remove_images
from tests.integration.publish_servers import free_port
from tests.integration.standins import TORCH, build, changed, lay_out, missed, proved, report
from tests.integration.test_inputs import ALONE
from tests.integration.test_roots import serving_images, without_tls

pytestmark = pytest.mark.integration
RECIPES = ("mori", "nixl", "ucx")
IMAGE = "docker.io/rocm/dev-almalinux-8"
TAGGED = f"docker.io/{rocm.REAL}"
UNKNOWN = f"accelerator rocm7: the digest of {TAGGED} is not known (registry unreachable)"


@dataclass(frozen=True)
class World:
    """A catalogue that is locked against stand-ins; its default was built once."""

    kvpack: Kvpack
    digest: str
    registry: str
    folder: Path


def with_registry(kvpack: Kvpack, registry: str) -> Kvpack:
    """The same catalogue and store, where another registry is docker.io's mirror."""
    path = kvpack.root / "kvpack.toml"
    text = path.read_text().partition("[registries.images")[0]
    path.write_text(text + rocm.mirror(registry))
    return kvpack


def nowhere() -> str:
    """A registry that nobody serves."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    forge, root, store, folder = (
        tmp_path_factory.mktemp(name) for name in ("forge", "root", "store", "images")
    )
    lay_out(forge, root, RECIPES, RECIPES)
    with (
        serving_images(folder) as registry,
        served(forge) as base,
        index("torch", TORCH, own_index(root)) as simple,
    ):
        digest = rocm.push(folder, registry, rocm.layers(folder))
        mirror = f'[registries.git.mirrors]\n"https://github.com/" = ["{base}/"]\n'
        (root / "kvpack.toml").write_text(
            f'{mirror}[registries.pypi]\nindex = "{simple}"\n'
            f'[mirrors]\ninputs = ["{forge.as_uri()}"]\n{rocm.mirror(registry)}'
        )
        kvpack = Kvpack(root, store, without_tls(registry, folder))
        kvpack("lock").ok()
        kvpack("build", "mori", "--rocm=7", "--out", str(folder / "dist")).ok()
        yield World(kvpack, digest, registry, folder)
    remove_images(store)


def built(kvpack: Kvpack, out: Path, *words: str) -> Answer:
    return build(kvpack, out, *words, "--rocm=7")


# -- locks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_the_lock_names_the_image_of_the_platform(world: World, name: str) -> None:
    lock = read_lock(world.kvpack.root / "lock" / f"{name}.toml", name)
    (image,) = lock.toolkit
    assert (image.title, image.tagged, image.folder) == ("rocm7 x86_64", TAGGED, "/opt/rocm")
    assert image.image == f"{IMAGE}@{world.digest}"
    assert len(image.layers) == 3
    assert not [reason for reason in lock.incomplete if "rocm7" in reason]


def test_what_is_locked_stays_until_it_is_told_to_move(world: World, tmp_path: Path) -> None:
    own = changed(world.kvpack, tmp_path, "mori")
    path = own.root / "lock" / "mori.toml"
    before = path.read_text()
    try:
        newer = rocm.push(tmp_path, world.registry, rocm.layers(tmp_path, "7.2.9"))
        own("lock", "mori").ok()
        assert path.read_text() == before
        moved = own("lock", "mori", "--upgrade", "rocm7").ok()
    finally:
        rocm.push(tmp_path, world.registry, rocm.layers(tmp_path))
    change = f"~ toolkit rocm7 x86_64 {TAGGED} {world.digest[7:19]} /opt/rocm -> "
    assert change in moved.out
    assert newer[7:19] in moved.out
    offline = ("--offline", "lock", "mori", "--check")
    own(*offline).ok()
    # The key follows the digest, and why says so.
    build_of = ("--json", "plan", "mori", "--rocm=7")
    assert (
        own(*build_of).ok().json["targets"][0]["key"]
        != (world.kvpack(*build_of).ok().json["targets"][0]["key"])
    )
    # Moving needs the registry: what was locked is not given up.
    gone = with_registry(own, nowhere())("lock", "mori", "--upgrade", "rocm7")
    assert gone.code == 30, gone.err
    assert newer[7:] in path.read_text()


def test_a_registry_that_does_not_answer_leaves_an_incomplete_lock(
    world: World, tmp_path: Path
) -> None:
    own = with_registry(changed(world.kvpack, tmp_path, "mori"), nowhere())
    (own.root / "lock" / "mori.toml").unlink()
    told = own("lock", "mori").ok()
    assert f"incomplete: {UNKNOWN}" in told.out
    assert f"the registry of the image {TAGGED} cannot be asked" in told.err
    assert own("--offline", "lock", "mori", "--check").ok().out.count(UNKNOWN) == 1
    assert own("lock", "mori", "--strict").code == 20
    refused = own("build", "mori", "--out", str(tmp_path / "dist"))
    assert refused.code == 20, refused.err
    assert f"cause: {UNKNOWN}" in refused.err
    assert "next:  where its registry, or a mirror of it in kvpack.toml, answers: " in (refused.err)


def with_image(world: World, folder: Path, image: str, arches: list[str]) -> Kvpack:
    """UCX's recipe names another image."""
    table = f'image = "{image}", arch = {json.dumps(arches)}, folder = "/opt/rocm", glibc = "2.36"'
    text = f"[build.toolkit-image]\nrocm7 = {{ {table} }}\n\n[build]\n"
    return changed(world.kvpack, folder, "ucx", ("[build]\n", text))


def test_a_recipe_names_an_image_of_two_platforms(world: World, tmp_path: Path) -> None:
    own = with_image(world, tmp_path, TAGGED, ["aarch64", "x86_64"])
    own("lock", "ucx").ok()
    lock = read_lock(own.root / "lock" / "ucx.toml", "ucx")
    assert {one.arch: one.image == f"{IMAGE}@{world.digest}" for one in lock.toolkit} == {
        "aarch64": False, "x86_64": True,
    }  # fmt: skip


def test_a_tag_that_its_registry_does_not_have(world: World, tmp_path: Path) -> None:
    """A mirror that lacks it says nothing of docker.io; the registry itself does."""
    named = f"{world.registry}/rocm/dev-almalinux-8:9.9.9"
    own = with_image(world, tmp_path, named, ["x86_64"])
    stale = own("lock", "ucx", "--check")
    assert stale.code == 21
    assert f"rocm7 x86_64 is locked to /opt/rocm of {TAGGED}" in stale.err
    answer = own("lock", "ucx")
    assert (answer.code, "Traceback" in answer.err) == (23, False), answer.err
    assert f"there is no image {named}" in answer.err
    assert "next:  correct the tag" in answer.err
    (tmp_path / "mirrored").mkdir()
    other = with_image(world, tmp_path / "mirrored", f"{IMAGE}:9.9.9", ["x86_64"])
    told = other("lock", "ucx").ok()
    assert f"the digest of {IMAGE}:9.9.9 is not known (registry unreachable)" in told.out
    assert "manifest unknown" in told.err


# -- builds ---------------------------------------------------------------------------------------

MORI = {
    "rocm-version": "7.2.4", "rocm-major": "7", "own-rpc": True, "verbs": "run-time",
    "cco": True, "nic-from-host": True, "tag-kept": True,
}  # fmt: skip


def test_mori_is_built_with_the_image(world: World, tmp_path: Path) -> None:
    done = built(world.kvpack, tmp_path, "mori", "--python=3.11", "--glibc=2.36")
    assert proved(done) == MORI
    facts = report(done)["facts"]
    assert facts["needed-from-host"] == ["libamdhip64.so.7", "libnuma.so.1", "libpci.so.3"]
    (wheel,) = tmp_path.glob("amd_mori-1.2.4+kvp.*.whl")
    bill = json.loads(wheel.with_name(f"{wheel.name}.cdx.json").read_text())
    (part,) = (one for one in bill["components"] if one["type"] == "container")
    assert part["name"] == f"{IMAGE}@{world.digest}"
    assert part["properties"] == [{"name": "kvpack:role", "value": "toolkit"}]
    action = json.loads(wheel.with_name(f"{wheel.name}.action.json").read_text())
    assert action["lock"]["toolkit-image"] == {"image": part["name"], "folder": "/opt/rocm"}
    envelope = json.loads(wheel.with_name(f"{wheel.name}.intoto.jsonl").read_text())
    assert world.digest[7:] in base64.b64decode(envelope["payload"]).decode()


def test_mori_again_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    done = built(world.kvpack, tmp_path, "mori", "--rebuild").ok()
    assert done.json["targets"][0]["rebuild"]["identical"]


def test_nixl_is_built_with_ucx_of_the_same_image(world: World, tmp_path: Path) -> None:
    done = built(world.kvpack, tmp_path, "nixl", "--python=3.11", "--glibc=2.36")
    found = proved(done)
    expected = {
        "package": "rocm", "ucx-version": "1.23.0", "ucx-rocm": True, "ucx-verbs": True,
        "plugins": "POSIX, UCX", "plugins-once": True, "rdma-from-host": True, "tag-kept": True,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert "libamdhip64.so.7" in report(done)["facts"]["needed-from-host"]
    assert list(tmp_path.glob("nixl_rocm-1.5.1+kvp.*.whl"))


WITHOUT_ROCM = ('rocm7 = "/opt/rocm" }', 'rocm7 = "no" }')


def test_ucx_without_rocm_fails_the_proof(world: World, tmp_path: Path) -> None:
    other = changed(world.kvpack, tmp_path, "ucx", WITHOUT_ROCM)
    assert missed(built(other, tmp_path / "dist", "nixl")) == {"ucx-rocm"}


def test_another_package_fails_the_proof(world: World, tmp_path: Path) -> None:
    other = changed(world.kvpack, tmp_path, "nixl", ('rocm7 = "rocm" }', 'rocm7 = "cu12" }'))
    assert missed(built(other, tmp_path / "dist", "nixl")) == {"package"}


NO_CYTHON = (
    "[build]\n", "[build]\nsteps = [\"sed -i 's/from Cython/from NoCython/' setup.py\"]\n",
)  # fmt: skip


def test_mori_never_loses_its_cython_part_without_a_word(world: World, tmp_path: Path) -> None:
    """Hidden only from setup.py: of a requirement that is gone, the front end tells itself."""
    own = changed(world.kvpack, tmp_path, "mori", NO_CYTHON)
    done = built(own, tmp_path / "dist", "mori")
    (target,) = done.json["targets"]
    assert (done.code, "Cython not found" in target["what"]) == (44, True)
    assert "mori.cco.cco" in target["cause"]
    unrefused = ("log = '(?i)\\bcython", "log = 'no log has this")
    (tmp_path / "again").mkdir()
    own = changed(world.kvpack, tmp_path / "again", "mori", NO_CYTHON, unrefused)
    assert missed(built(own, tmp_path / "dist", "mori")) == {"cco"}


def test_moris_version_is_the_recipes(world: World, tmp_path: Path) -> None:
    """Neither git nor the fallback of setuptools_scm decides it."""
    wrong = ('default = "1.2.4"\nenv = "SETUPTOOLS_SCM', 'default = "0.1.0"\nenv = "SETUPTOOLS_SCM')
    done = built(changed(world.kvpack, tmp_path, "mori", wrong), tmp_path / "dist", "mori")
    assert done.code == 42, done.err
    assert "the source builds version 0.1.0, not 1.2.4" in done.json["targets"][0]["cause"]


SEES = (
    "[build]\n", """[build]
steps = ['''
set -x
test "$ROCM_PATH" = /opt/rocm
test "$(command -v hipconfig)" = /opt/rocm/bin/hipconfig
test "$(readlink /opt/rocm)" = /etc/alternatives/rocm
test "$(readlink /etc/alternatives/rocm)" = /opt/rocm-7.2.4
test ! -e /opt/rocm-6.0.0
test ! -e /opt/rocm/share/notes/wrong
test "$(cat /opt/rocm/share/notes/right)" = kept
test ! -e /opt/rocm/lib/rocblas/library/kernels.co
test /opt/rocm/lib/libamdhip64.so.7 -ef /opt/rocm/lib/libamdhip64.so.7.2
test "$(stat -c '%u %a %Y' /opt/rocm/bin/hipconfig)" = "0 755 315532800"
test ! -e /usr/bin/rocminfo
! grep -q stand-in /etc/os-release
''']
""",
)  # fmt: skip


def test_a_build_sees_the_folder_and_nothing_else_of_the_image(
    world: World, tmp_path: Path
) -> None:
    built(changed(world.kvpack, tmp_path, "mori", SEES), tmp_path / "dist", "mori").ok()


def test_another_digest_is_another_wheel_and_why_says_so(world: World, tmp_path: Path) -> None:
    built(world.kvpack, tmp_path / "dist", "nixl").ok()
    own = changed(world.kvpack, tmp_path, "nixl")
    other = f"{IMAGE}@{rocm.push(tmp_path, world.registry, rocm.layers(tmp_path, '7.2.9'))}"
    rocm.push(tmp_path, world.registry, rocm.layers(tmp_path))
    for name in ("nixl", "ucx"):
        relocked(own, name, image=other)
    (row,) = own("--json", "why", "nixl", "--rocm=7").ok().json["targets"]
    was = f"{IMAGE}@{world.digest}"
    moved = {
        one["input"]: (one["before"], one["after"])
        for one in row["differs"]
        if "toolkit" in one["input"]
    }
    assert moved == {
        "libraries ucx lock toolkit-image image": (was, other),
        "lock toolkit-image image": (was, other),
    }
    assert f"- {was}" in own("why", "nixl", "--rocm=7").ok().out
    told = own("diff", "ucx", str(world.kvpack.root / "lock" / "ucx.toml"))
    assert "toolkit rocm7 x86_64" in told.out, told.err


# -- without a registry ---------------------------------------------------------------------------


def test_a_fetched_image_needs_no_registry(world: World, tmp_path: Path) -> None:
    """A fresh image storage and no network: the layers in the store are enough."""
    world.kvpack("fetch", "mori", "--rocm=7").ok()
    store = copied_store(world.kvpack.store, tmp_path / "store", roots=False)
    far = Kvpack(world.kvpack.root, store, world.kvpack.env, ("unshare", "--net"))
    (target,) = built(far, tmp_path / "dist", "mori", "--offline").ok().json["targets"]
    assert not target["hit"]
    far("store", "gc").ok()
    remove_images(store)
    for layer in image_of(world.kvpack, "mori").layers:
        assert (store / "blobs" / "sha256" / layer.sha256[:2] / layer.sha256).is_file()


def test_the_mirror_of_inputs_has_it(world: World, tmp_path: Path) -> None:
    """PyPA's image, for other floors, cannot be had here: that is told; all else is mirrored."""
    mirror = tmp_path / "mirror"
    done = world.kvpack("--json", "mirror", "inputs", "mori", "--to", str(mirror))
    missing = [image.partition("@")[0] for image in done.json["images-missing"]]
    assert (done.code, missing) == (30, ["quay.io/pypa/manylinux_2_34_x86_64"])
    assert done.json["error"]["what"] == "1 image could not be mirrored; all else was"
    root = tmp_path / "root"
    shutil.copytree(world.kvpack.root, root)
    (root / "kvpack.toml").write_text(f'[mirrors]\ninputs = ["{mirror.as_uri()}"]\n')
    far = Kvpack(root, tmp_path / "store", ALONE, ("unshare", "--net"))
    fetched = far("--json", "fetch", "mori", "--rocm=7").ok().json
    assert fetched["fetched"] == fetched["inputs"] > 100


# -- what is wrong with an image ------------------------------------------------------------------


def image_of(kvpack: Kvpack, name: str) -> LockedImage:
    (image,) = read_lock(kvpack.root / "lock" / f"{name}.toml", name).toolkit
    return image


def relocked(kvpack: Kvpack, name: str, **changes: object) -> None:
    """Change what a lock says of its image, as another registry would have made kvpack lock it."""
    path = kvpack.root / "lock" / f"{name}.toml"
    lock = read_lock(path, name)
    image = lock.toolkit[0].model_copy(update=changes)
    write_lock(path, seal(lock.model_copy(update={"toolkit": (image,)})))


@dataclass(frozen=True)
class Bad:
    """A machine whose registry has a wrong image, and a store that has no image yet."""

    kvpack: Kvpack
    folder: Path
    registry: str

    def fails(self, code: int, *said: str, of: str = "fetch") -> None:
        words = {"fetch": ("fetch",), "build": ("build", "--out", str(self.folder / "dist"))}[of]
        answer = self.kvpack(*words, "mori", "--rocm=7")
        assert answer.code == code, f"exit {answer.code}\n{answer.out}\n{answer.err}"
        for text in said:
            assert text in answer.err, answer.err
        assert answer.err.count("error:") == 1
        assert "next:" in answer.err
        assert "Traceback" not in answer.err

    def blob(self, sha256: str) -> Path:
        return next(self.folder.glob(f"registry/**/{sha256}/data"))


@pytest.fixture
def bad(world: World, tmp_path: Path) -> Iterator[Bad]:
    with serving_images(tmp_path) as registry:
        root = tmp_path / "catalogue"
        shutil.copytree(world.kvpack.root, root)
        store = copied_store(world.kvpack.store, tmp_path / "store")
        for part in (
            world.digest[7:],
            *(one.sha256 for one in image_of(world.kvpack, "mori").layers),
        ):
            (store / "blobs" / "sha256" / part[:2] / part).unlink(missing_ok=True)
        there = Kvpack(root, store, without_tls(registry, tmp_path))
        yield Bad(with_registry(there, registry), tmp_path, registry)


def test_a_digest_that_its_registry_does_not_have(bad: Bad) -> None:
    bad.fails(30, f"the image {IMAGE}@sha256:", "cannot be copied", "manifest unknown")


def test_a_registry_with_other_bytes(bad: Bad, world: World) -> None:
    """The manifest is another one; then a layer is; then a layer is cut."""
    rocm.push(bad.folder, bad.registry, rocm.layers(bad.folder))
    manifest = bad.blob(world.digest[7:])
    text = manifest.read_bytes()
    manifest.write_bytes(text.replace(b'"schemaVersion": 2', b'"schemaVersion":  2'))
    bad.fails(31, "gives other bytes", world.digest)
    manifest.write_bytes(text)
    layer = bad.blob(image_of(bad.kvpack, "mori").layers[1].sha256)
    content = layer.read_bytes()
    layer.write_bytes(content[:-4] + b"else")
    bad.fails(31, "gives other bytes")
    layer.write_bytes(content[: len(content) // 2])
    bad.fails(31, "gives other bytes")
    layer.write_bytes(content)
    bad.kvpack("fetch", "mori", "--rocm=7").ok()


def test_an_image_without_the_folder(bad: Bad) -> None:
    layers = [rocm.layer({"opt/other/lib/x": b"x"})]
    rocm.push(bad.folder, bad.registry, layers)
    bad.kvpack("lock", "mori", "--upgrade", "rocm7").ok()
    bad.fails(41, f"the image {IMAGE}@sha256:", "has no folder /opt/rocm",
              "there is no /opt/rocm in it; there are /opt/other", of="build")  # fmt: skip


def test_layers_that_are_not_the_images(bad: Bad) -> None:
    """A lock that was edited by hand, with its digest made anew."""
    rocm.push(bad.folder, bad.registry, rocm.layers(bad.folder, "7.2.9"))
    bad.kvpack("lock", "mori", "--upgrade", "rocm7").ok()
    relocked(bad.kvpack, "mori", layers=image_of(bad.kvpack, "mori").layers[:2])
    bad.fails(41, "the lock names other layers of", "edited by hand", of="build")


def test_offline_without_the_image(bad: Bad) -> None:
    answer = bad.kvpack("--offline", "fetch", "mori", "--rocm=7")
    assert answer.code == 32, answer.err
    assert f"the image {IMAGE}@sha256:" in answer.err
    assert "next:  with network: kvpack fetch" in answer.err
