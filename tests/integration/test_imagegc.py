"""``kvpack store gc`` on a real engine: tiny images, made as kvpack makes them, and others'."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kvpack.cli.context import Context, Options
from kvpack.cli.images import Hashing, Kept, claim_path, kept, labels, laid_digest
from kvpack.console import Console
from kvpack.report import Step
from kvpack.tools.engine import Engine, reachable
from tests.integration.conftest import CHECKOUT, Kvpack

pytestmark = pytest.mark.integration
SIZE = 3 << 20


def tar(name: str) -> bytes:
    """A tar with one file that does not shrink."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        info = tarfile.TarInfo(name)
        info.size = SIZE
        made.addfile(info, io.BytesIO(os.urandom(SIZE)))
    return buffer.getvalue()


@dataclass
class World:
    """A store, an engine, and what is made with them."""

    kvpack: Kvpack
    engine: Engine

    def context(self) -> Context:
        return Context(Options(root=self.kvpack.root, store=self.kvpack.store), Console())

    def root(self, context: Context, key: str) -> tuple[str, str]:
        """An image as a builder root is made: imported from a tar."""
        wanted = Kept(key=key, what="it", name="gc-test", title="Making it", parts=[])

        def make(image: str, step: Step) -> Hashing:
            del step
            changes = labels(context.store, key)
            with self.engine.importing(image, changes, "linux/amd64", context.console) as pipe:
                stream = Hashing(pipe)
                stream.write(tar("root"))
            return stream

        return kept(context, self.engine, wanted, make)

    def over(self, context: Context, key: str, below: tuple[str, str]) -> tuple[str, str]:
        """An image as a library is laid over a root."""
        wanted = Kept(key=key, what="it", name="gc-test", title="Making it", parts=[],
                      below=below[1])  # fmt: skip

        def make(image: str, step: Step) -> Hashing:
            del step
            changes, mark = labels(context.store, key), f"kvpack.layer={key}"
            with self.engine.layering(below[0], image, changes, mark, context.console) as pipe:
                stream = Hashing(pipe)
                stream.write(tar("over"))
            return stream

        image, layer = kept(context, self.engine, wanted, make)
        return image, laid_digest(below[1], layer)

    def gc(self, *words: str) -> dict[str, Any]:
        told = self.kvpack("--json", "store", "gc", *words).ok().json
        assert told["notes"] == []
        return dict(told["images"])

    def there(self, image: str) -> bool:
        return self.podman("image", "exists", image).returncode == 0

    def podman(self, *words: str, data: bytes | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["podman", *words], input=data.decode("latin-1") if data else None, check=False,
            capture_output=True, encoding="latin-1", env=dict(self.engine.environment),
        )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    root, store = tmp_path / "catalogue", tmp_path / "store"
    for name in ("recipes", "lock"):
        (root / name).mkdir(parents=True)
        (root / name / "msgpack.toml").write_bytes((CHECKOUT / name / "msgpack.toml").read_bytes())
    found = World(Kvpack(root, store), reachable(Context(Options(store=store), Console()).store,
                                                 Console())[0])  # fmt: skip
    yield found
    mine = found.podman("images", "--quiet", "--filter", "reference=localhost/kvpack/gc-test")
    for image in (*mine.stdout.split(), "localhost/others:gc", "localhost/derived:gc"):
        found.podman("rmi", "--force", image)


def test_old_images_go_with_their_layers_and_the_space_is_told(world: World) -> None:
    context = world.context()
    below = world.root(context, "1" * 64)
    above = world.over(context, "2" * 64, below)
    store = context.store
    store.write_record("actions", "k" * 64, {"made": 1, "root": above[1]})
    del context  # its claims
    # The result keeps the layer that it was built in, and with it what lies below.
    told = world.gc()
    assert told["removed"] == []
    assert sum(told["kept"].values()) == 2
    dry = world.gc("--keep-results", "1", "--dry-run")["removed"]
    assert world.there(above[0])
    told = world.gc("--keep-results", "1")
    assert told["removed"] == dry
    assert [SIZE <= one["bytes"] < 2 * SIZE for one in told["removed"]] == [True, True]
    assert not world.there(below[0])
    assert not world.there(above[0])
    assert not list(store.records("roots"))


def test_what_is_used_or_not_kvpacks_is_not_touched(world: World) -> None:
    context = world.context()
    below = world.root(context, "3" * 64)
    claimed = "a running kvpack uses it"
    assert world.gc()["kept"][claimed] == 1
    del context
    # A container, even one that does not run, and an image that somebody built on it.
    world.podman("import", "-", "localhost/others:gc", data=tar("others"))
    created = world.podman("create", "--network=none", below[0], "/bin/true")
    container = created.stdout.split()[-1]
    assert any("a container or another" in why for why in world.gc()["kept"])
    assert world.there(below[0])
    world.podman("cp", "-", f"{container}:/", data=tar("more"))
    assert world.podman("commit", container, "localhost/derived:gc").returncode == 0
    world.podman("rm", "--force", container)
    derived = json.loads(world.podman("image", "inspect", "localhost/derived:gc").stdout)[0]
    assert "kvpack.store" in derived["Labels"]  # it inherits them, and is not kvpack's for that
    assert world.gc()["kept"]["another image that stays lies on it"] == 1
    assert world.podman("rmi", "localhost/derived:gc").returncode == 0
    assert len(world.gc()["removed"]) == 1
    assert not world.there(below[0])
    assert world.there("localhost/others:gc")


def test_a_claim_dies_with_its_process(world: World) -> None:
    """Killed while it uses an image: the next gc takes the image, and waits for nobody."""
    program = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from pathlib import Path\n"
        "from kvpack.tools.claims import Claim\n"
        "held = Claim(Path(sys.argv[2])); print('held', flush=True); sys.stdin.read()\n"
    )
    context = world.context()
    world.root(context, "4" * 64)
    (record,) = context.claims
    path = claim_path(context.store, record)
    del context
    with subprocess.Popen(
        [sys.executable, "-c", program, str(CHECKOUT), str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert world.gc()["removed"] == []
        process.kill()
    assert len(world.gc()["removed"]) == 1
