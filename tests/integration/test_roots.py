"""Builder roots: generated ones are the same bytes every time; images come by digest."""

import contextlib
import hashlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvpack.build.root import write_root
from kvpack.lock.check import inputs_for
from kvpack.lock.file import read_lock, seal, write_lock
from kvpack.lock.model import LockedRoot
from kvpack.names import Accelerator, Arch
from kvpack.recipe.catalogue import Catalogue
from kvpack.recipe.expand import expand
from kvpack.recipe.load import load_recipe
from kvpack.recipe.model import Selection
from kvpack.recipe.roots import load_roots
from kvpack.tools.store import Store
from tests.integration.conftest import Kvpack
from tests.integration.demo import prepared
from tests.integration.publish_servers import free_port, wait_for

PATH = "/usr/bin:/bin:/usr/sbin:/sbin"

pytestmark = pytest.mark.integration


class Digest:
    """A sink that keeps a digest."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return len(data)


def test_a_generated_root_is_the_same_bytes_every_time(kvpack: Kvpack, tmp_path: Path) -> None:
    """Assembled twice, from two stores."""
    kvpack("fetch", "msgpack").ok()
    catalogue = Catalogue(kvpack.root)
    recipe, roots = load_recipe(catalogue, "msgpack"), load_roots()
    lock = read_lock(catalogue.lock_path("msgpack"), "lock/msgpack.toml")
    chosen = Selection(accelerator=(Accelerator.CPU,))
    (target,) = expand(recipe, roots, chosen, version=None, machine=Arch.X86_64)
    inputs = inputs_for(recipe, lock, target)
    shutil.copytree(kvpack.store / "blobs", tmp_path / "elsewhere" / "blobs")
    found = set()
    for folder in (kvpack.store, tmp_path / "elsewhere"):
        sink = Digest()
        write_root(inputs, roots.debian, Store(folder).check, sink, lambda *_: None)  # type: ignore[arg-type]
        found.add(sink.sha256.hexdigest())
    assert len(found) == 1


def test_bullseye_gives_floor_2_31(kvpack: Kvpack, tmp_path: Path) -> None:
    demo = prepared(kvpack, tmp_path, glibc="2.31", python="3.9",
                    more='[audit]\nimport = ["kvdemo"]\n')  # fmt: skip
    demo("lock").ok()
    done = demo("--json", "build", "kvdemo", "--rebuild", "--out", str(tmp_path / "dist")).ok().json
    assert "cp39-cp39-manylinux_2_31_x86_64" in done["targets"][0]["wheel"]
    assert done["targets"][0]["rebuild"]["identical"] is True


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Debian's docker-registry on loopback; yields ``host:port``."""
    with serving_images(tmp_path) as place:
        yield place


@contextlib.contextmanager
def serving_images(tmp_path: Path) -> Iterator[str]:
    """The registry, while the context lasts."""
    config = tmp_path / "registry.yml"
    port = free_port()
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(port, server)
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=60).close()
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def test_an_image_by_digest_from_a_registry(kvpack: Kvpack, tmp_path: Path, registry: str) -> None:
    """PyPA's images are not reachable here: a stand-in image stands for one, by its own digest.

    The lock of a ``pypa`` root names PyPA's digest, from inside the locked cibuildwheel; then the
    stand-in (a generated root, pushed to a real registry and removed here) takes its place.
    """
    demo = prepared(kvpack, tmp_path, glibc="2.34", python="3.11", more='[build]\nroot = "pypa"\n')
    demo("lock").ok()
    path = demo.root / "lock" / "kvdemo.toml"
    lock = read_lock(path, "lock/kvdemo.toml")
    (root,) = lock.root
    assert root.id == "pypa-manylinux_2_34"
    assert root.image is not None
    assert root.image.startswith("quay.io/pypa/manylinux_2_34_x86_64@sha256:")

    image = stand_in(kvpack, tmp_path, registry)
    replaced = LockedRoot(id=root.id, arch=root.arch, image=image)
    write_lock(path, seal(lock.model_copy(update={"root": (replaced,)})))
    demo.env = {**demo.env, **without_tls(registry, tmp_path)}
    done = demo("--json", "build", "kvdemo", "--out", str(tmp_path / "dist")).ok().json
    assert "manylinux_2_34_x86_64" in done["targets"][0]["wheel"]

    wrong = image[:-64] + "0" * 64
    broken = LockedRoot(id=root.id, arch=root.arch, image=wrong)
    write_lock(path, seal(lock.model_copy(update={"root": (broken,)})))
    failed = demo("build", "kvdemo", "--out", str(tmp_path / "none"))
    assert failed.code == 41
    assert wrong in failed.err
    offline = demo("--offline", "build", "kvdemo", "--out", str(tmp_path / "none"))
    assert offline.code == 32


def test_a_mirror_of_images_serves_a_root(kvpack: Kvpack, tmp_path: Path, registry: str) -> None:
    """``[registries.images.mirrors]``: the lock names quay.io, which nobody can reach here."""
    demo = prepared(kvpack, tmp_path, glibc="2.34", python="3.11", more='[build]\nroot = "pypa"\n')
    demo("lock").ok()
    path = demo.root / "lock" / "kvdemo.toml"
    lock = read_lock(path, "lock/kvdemo.toml")
    image = stand_in(kvpack, tmp_path, registry).replace(registry, "quay.io")
    named = LockedRoot(id=lock.root[0].id, arch=lock.root[0].arch, image=image)
    write_lock(path, seal(lock.model_copy(update={"root": (named,)})))
    demo.env = {**demo.env, **without_tls(registry, tmp_path)}
    config = demo.root / "kvpack.toml"
    text = config.read_text()
    config.write_text(f'{text}[registries.images.mirrors]\n"quay.io/" = ["{registry}/"]\n')
    done = demo("--json", "build", "kvdemo", "--out", str(tmp_path / "dist")).ok().json
    assert not done["targets"][0]["hit"]
    wrong = image[:-64] + "0" * 64
    broken = LockedRoot(id=named.id, arch=named.arch, image=wrong)
    write_lock(path, seal(lock.model_copy(update={"root": (broken,)})))
    failed = demo("build", "kvdemo", "--out", str(tmp_path / "none"))
    assert failed.code == 41, failed.err
    for place in (wrong, wrong.replace("quay.io", registry)):
        assert f"  {place}: " in failed.err


def without_tls(registry: str, tmp_path: Path) -> dict[str, str]:
    """The environment of programs that may ask the registry."""
    insecure = tmp_path / "registries.conf"
    insecure.write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    return {"CONTAINERS_REGISTRIES_CONF": str(insecure)}


def stand_in(kvpack: Kvpack, tmp_path: Path, registry: str) -> str:
    """Push a generated bullseye root as an image; returns its reference by digest."""
    older = prepared(kvpack, tmp_path / "older", glibc="2.36", python="3.11")
    older("lock").ok()
    older("build", "kvdemo", "--out", str(tmp_path / "older-dist")).ok()
    engine = {"CONTAINERS_CONF": str(kvpack.store / "engine" / "restricted.conf")}
    records = [json.loads(p.read_text()) for p in (kvpack.store / "roots").glob("*.json")]
    image = next(r["image"] for r in records if "kvpack/debian-bookworm-x86_64" in r["image"])
    name = f"{registry}/pypa-stand-in/manylinux_2_34_x86_64"
    subprocess.run(
        ["podman", "push", "--quiet", "--tls-verify=false",
         "--digestfile", str(tmp_path / "digest"), image, f"docker://{name}:latest"],
        check=True, env={**engine, "PATH": PATH},
    )  # fmt: skip
    return f"{name}@{(tmp_path / 'digest').read_text().strip()}"
