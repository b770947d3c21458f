"""An image by digest through the mirror of inputs: a real registry, real skopeo, real podman.

PyPA's images are not reachable here: a stand-in (a generated root) stands for one, by its own
digest. The machine that builds from the mirror has a store and an image storage of its own, both
empty at first, and a network namespace without a network: there is no registry.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvpack.cli.context import Context, Options
from kvpack.cli.inputimages import mirror_image, mirrored_image
from kvpack.console import Console
from kvpack.lock.file import read_lock, seal, write_lock
from kvpack.lock.model import LockedRoot
from kvpack.tools.engine import Engine, candidates
from kvpack.tools.folder import FolderObjects
from tests.integration.conftest import Kvpack
from tests.integration.demo import prepared
from tests.integration.test_inputs import ALONE
from tests.integration.test_roots import serving_images, stand_in, without_tls

pytestmark = pytest.mark.integration


@dataclass
class World:
    """A recipe whose root is an image, its mirror, and a machine far away."""

    kvpack: Kvpack
    image: str
    folder: Path

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    def blob(self, sha256: str) -> Path:
        return self.mirror / "inputs" / sha256[:2] / sha256

    @property
    def layers(self) -> list[str]:
        manifest = json.loads(self.blob(self.image[-64:]).read_bytes())
        return [one["digest"].removeprefix("sha256:") for one in manifest["layers"]]

    def far(self, name: str) -> "Far":
        """A machine with nothing but the catalogue and the mirror's URL."""
        storage = self.folder / f"{name}.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder / name}-images"\n'
            f'runroot = "{self.folder / name}-run"\n'
        )
        (self.kvpack.root / "kvpack.toml").write_text(
            f'[mirrors]\ninputs = ["{self.mirror.as_uri()}"]\n'
        )
        env = {**ALONE, "CONTAINERS_STORAGE_CONF": str(storage)}
        return Far(Kvpack(self.kvpack.root, self.folder / name, env, ("unshare", "--net")))


@dataclass
class Far:
    kvpack: Kvpack

    def engine(self) -> tuple[Context, Engine]:
        """As kvpack calls podman there."""
        context = Context(Options(root=self.kvpack.root, store=self.kvpack.store), Console())
        podman = next(e for e in candidates(context.store) if e.how == "restricted")
        return context, Engine(podman.name, {**podman.environment, **self.kvpack.env}, podman.how)


@pytest.fixture(autouse=True)
def _space(tmp_path: Path) -> Iterator[None]:
    """Image storages of tests give their space back."""
    yield
    for folder in tmp_path.glob("*-images"):
        subprocess.run(["umount", "--quiet", folder / "overlay"], check=False, capture_output=True)
        shutil.rmtree(folder)


@pytest.fixture
def world(kvpack: Kvpack, tmp_path: Path) -> World:
    """All is mirrored, and the registry is gone."""
    demo = prepared(kvpack, tmp_path, glibc="2.34", python="3.11", more='[build]\nroot = "pypa"\n')
    demo("lock").ok()
    with serving_images(tmp_path) as registry:
        image = stand_in(kvpack, tmp_path, registry)
        path = demo.root / "lock" / "kvdemo.toml"
        lock = read_lock(path, "lock/kvdemo.toml")
        (root,) = lock.root
        replaced = LockedRoot(id=root.id, arch=root.arch, image=image)
        write_lock(path, seal(lock.model_copy(update={"root": (replaced,)})))
        demo.env = {**demo.env, **without_tls(registry, tmp_path)}
        words = ("--json", "mirror", "inputs", "kvdemo", "--to", str(tmp_path / "mirror"))
        first = demo(*words).ok().json
        (told,) = first["images"]
        assert told["image"] == image
        assert told["new"] == told["parts"] > 2
        again = demo(*words).ok().json
        assert [one["new"] for one in again["images"]] == [0]
    assert demo(*words).ok().json["images"] == again["images"]  # nothing is asked any more
    return World(demo, image, tmp_path)


def test_a_build_on_an_image_survives_its_registry(world: World) -> None:
    far = world.far("far")
    words = ("--json", "build", "kvdemo", "--out", str(world.folder / "dist"))
    (built,) = far.kvpack(*words).ok().json["targets"]
    assert not built["hit"]
    assert "manylinux_2_34_x86_64" in built["wheel"]
    context, engine = far.engine()
    # As they lay in the registry: the manifest's own digest, the configuration's as image id.
    manifest = world.blob(world.image[-64:]).read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == world.image[-64:]
    config = json.loads(manifest)["config"]["digest"].removeprefix("sha256:")
    assert str(engine.image_id(world.image, context.console)).removeprefix("sha256:") == config


def test_what_is_wrong_in_a_mirror_is_not_loaded(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """A layer with other bytes, then none: it is told, and the registry is the next place."""
    layer = world.blob(world.layers[0])
    layer.write_bytes(b"other bytes")
    context, engine = world.far("wrong").engine()
    for _ in range(2):
        assert mirrored_image(context, engine, world.image, "linux/amd64") is None
        assert "not all of its layers are mirrored" in capsys.readouterr().err
        layer.unlink(missing_ok=True)
    assert engine.image_id(world.image, context.console) is None
    # mirror inputs sees that it is not whole, and asks the registry, which is gone.
    answer = world.kvpack("mirror", "inputs", "kvdemo", "--to", str(world.mirror))
    assert answer.code == 30, answer.err
    assert "1 image could not be mirrored; all else was" in answer.err
    assert f"not mirrored: the image {world.image}" in answer.out


def test_a_list_of_images_gives_that_of_the_platform(
    kvpack: Kvpack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list by its digest, as multi-platform images are locked: two tiny ones."""
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.addfile(tarfile.TarInfo("hello"))
    made = World(kvpack, "", tmp_path)
    here = made.far("here")
    context, engine = here.engine()
    with serving_images(tmp_path) as registry:
        for name, text in without_tls(registry, tmp_path).items():
            monkeypatch.setenv(name, text)
        done = [engine.run(["manifest", "create", "tiny"], context.console)]
        for arch in ("amd64", "arm64"):
            place = f"{registry}/tiny/{arch}:1"
            words = ["import", "--quiet", "--os=linux", f"--arch={arch}", str(layer), place]
            done.append(engine.run(words, context.console))
            plain = ["push", "--quiet", "--tls-verify=false", place]
            done.append(engine.run(plain, context.console))
            words = ["manifest", "add", "--tls-verify=false", "tiny", f"docker://{place}"]
            done.append(engine.run(words, context.console))
        digest = tmp_path / "digest"
        pushed = ["manifest", "push", "--all", "--tls-verify=false", "--digestfile", str(digest)]
        target = f"docker://{registry}/tiny/all:1"
        done.append(engine.run([*pushed, "tiny", target], context.console))
        assert [one.output for one in done if one.code] == []
        image = f"{registry}/tiny/all@{digest.read_text().strip()}"
        objects = FolderObjects(made.mirror)
        told = mirror_image(image, objects, context)
        assert told["parts"] == told["new"] == 6  # a list, 2 manifests, 2 configurations, 1 layer
    assert mirror_image(image, objects, context)["new"] == 0
    far, there = made.far("far").engine()
    for platform in ("linux/arm64", "linux/amd64"):
        found = mirrored_image(far, there, image, platform)
        assert found is not None
        shown = there.run(
            ["image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", found], far.console
        )
        assert shown.output.strip() == platform
    assert mirrored_image(far, there, image, "linux/s390x") is None
