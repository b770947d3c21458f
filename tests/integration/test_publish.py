"""Publishing against servers that are not ours: S3, and one that ignores conditions."""

import os
import random
import signal
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self
from urllib.request import urlopen

import obstore
import pytest

from kvpack.errors import KvpackError, StorageFailed
from kvpack.publish.commit import Channel
from kvpack.publish.gather import Prepared
from kvpack.publish.mirror import Source
from kvpack.publish.release import publish, roll_back
from kvpack.publish.storage import guarded, put, stored
from kvpack.report import Silent
from kvpack.tools.folder import FolderObjects
from kvpack.tools.objects import ObstoreObjects
from kvpack.tools.stored import Objects
from tests.integration.conftest import Kvpack
from tests.integration.publish_servers import (
    KEYS,
    Proxy,
    free_port,
    own_keys,
    rclone,
    s3,
)
from tests.unit.publish.dist import deliver, plans_of
from tests.unit.publish.faulty import Faulty, Killed
from tests.unit.publish.made import check_legal, complete, listed, memory, release

pytestmark = pytest.mark.integration
__all__ = ["s3"]

FIRST = release("demo-a==1.0+kvp.1", "demo-b==1.0")
SECOND = release("demo-a==1.1+kvp.2", "demo-c==1.0")
OTHER = release("demo-a==1.2", "demo-d==1.0")
OLD = {"demo_a-1.0+kvp.1-py3-none-any.whl", "demo_b-1.0-py3-none-any.whl"}
NEW = {"demo_a-1.1+kvp.2-py3-none-any.whl", "demo_c-1.0-py3-none-any.whl"}
MORE = {"demo_a-1.2-py3-none-any.whl", "demo_d-1.0-py3-none-any.whl"}


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_keys(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"s3://wheels/{tmp_path.name}"


def bucket(port: int, prefix: str) -> ObstoreObjects:
    environment = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    return ObstoreObjects(prefix, environment=environment)


def go(objects: Objects, what: Prepared, channel: str = "stable") -> None:
    publish(what, Channel(guarded(objects, single_writer=False), channel), Silent())


# -- S3 -------------------------------------------------------------------------------------------


def test_publish_to_s3(s3: int, prefix: str) -> None:
    objects = bucket(s3, prefix)
    go(objects, FIRST)
    go(objects, SECOND)
    complete(objects)
    assert listed(objects) == OLD | NEW
    stat = objects.head("files/demo-a/demo_a-1.0+kvp.1-py3-none-any.whl")
    assert stat is not None
    assert stat.md5 is not None  # so that nothing is downloaded to verify it
    page = obstore.get(objects._client(0), "stable/cpu/simple/demo-a/index.json").attributes
    assert page["Content-Type"] == "application/vnd.pypi.simple.v1+json"
    assert page["Cache-Control"] == "public, max-age=60"
    wheel = obstore.get(objects._client(0), stat.key).attributes
    assert "immutable" in wheel["Cache-Control"]
    with pytest.raises(urllib.error.HTTPError, match="403"):  # nobody asked for it to be readable
        urlopen(f"http://127.0.0.1:{s3}/{prefix[5:]}/stable/index.html")
    roll_back(Channel(objects, "stable"), FIRST.release.id)
    complete(objects)
    assert listed(objects) == OLD


class Memory:
    """What this process needs for itself, beyond the page cache: the peak, above the beginning."""

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._first = self._most = self._now()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _now(self) -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0]) * 1024

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            self._most = max(self._most, self._now())

    @property
    def grown(self) -> int:
        return self._most - self._first


def test_a_large_wheel_is_not_held_in_memory(s3: int, prefix: str, tmp_path: Path) -> None:
    """Not when it is published, nor when a mirror copies it."""
    large, objects = tmp_path / "large", bucket(s3, prefix)
    with large.open("wb") as stream:
        stream.truncate(128 << 20)
    wanted = stored("files/demo/large.whl", large)
    with Memory() as memory:
        put(objects, wanted, large)
    assert memory.grown < 32 << 20
    with Memory() as memory, Source(objects).data(wanted) as data:
        put(bucket(s3, f"{prefix}-mirror"), wanted, data)
    assert memory.grown < 64 << 20


def test_a_bucket_that_is_not_there(s3: int) -> None:
    with pytest.raises(StorageFailed) as caught:
        go(bucket(s3, "s3://absent/x"), FIRST)
    assert caught.value.cause == "there is no such bucket"


def test_a_server_that_ignores_conditions_is_found_out(kvpack: Kvpack, tmp_path: Path) -> None:
    dist = outfit(kvpack, tmp_path)
    with rclone(tmp_path / "served") as port:
        kvpack.env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        words = ("publish", "msgpack", "--from", str(dist), "--to", "s3://wheels/x")
        refused = kvpack(*words)
        assert refused.code == 81, refused.err
        assert "s3://wheels/x ignores conditional writes" in refused.err
        assert not [p for p in (tmp_path / "served").rglob("*") if p.is_file()]
        kvpack(*words, "--single-writer").ok()
        complete(bucket(port, "s3://wheels/x"))


# -- faults ---------------------------------------------------------------------------------------


def through_a_proxy_that_fails(s3: int, prefix: str, seed: int) -> int:
    """Publish with resets, 503, lost answers and slow bodies on 30 % of the requests."""
    straight = bucket(s3, prefix)
    go(straight, FIRST)
    proxy = Proxy(s3, seed, rate=0.3)
    try:
        objects = bucket(proxy.port, prefix)
        done = False
        for _ in range(20):
            try:
                go(objects, SECOND)
                done = True
                break
            except KvpackError:
                check_legal(straight)
    finally:
        proxy.close()
    assert done
    complete(straight)
    assert listed(straight) == OLD | NEW
    return proxy.faults


@pytest.mark.parametrize("block", range(10))
def test_two_hundred_runs_through_a_proxy_that_fails(s3: int, prefix: str, block: int) -> None:
    """Several at once: most of a run is waiting for the next try."""
    seeds = range(block * 20, block * 20 + 20)
    with ThreadPoolExecutor(10) as pool:
        faults = list(
            pool.map(lambda seed: through_a_proxy_that_fails(s3, f"{prefix}/{seed}", seed), seeds)
        )
    assert min(faults) > 5


def started() -> Objects:
    objects = memory()
    go(objects, FIRST)
    return objects


@pytest.mark.parametrize("block", range(5))
def test_two_hundred_runs_with_failing_requests(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        objects = started()
        faulty = Faulty(objects, seed, rate=0.3)
        for _ in range(40):
            try:
                go(faulty, SECOND)
                break
            except KvpackError:
                check_legal(objects)
        complete(objects)
        assert listed(objects) == OLD | NEW, seed


@pytest.mark.parametrize("block", range(5))
def test_two_hundred_races_with_kills(block: int) -> None:
    """Another publisher comes in at any request; the first one dies at any later one, or not."""
    for seed in range(block * 40, block * 40 + 40):
        chance = random.Random(seed)  # noqa: S311  # nothing is secret here
        objects, at = started(), chance.randrange(1, 110)
        last = at + chance.randrange(60)
        faulty = Faulty(
            objects,
            seed,
            rate=0.1,
            kill_after=last,
            between=(at, lambda: go(objects, OTHER)),  # noqa: B023
        )
        try:
            go(faulty, SECOND)
        except (KvpackError, Killed):
            check_legal(objects)
        if faulty.between is None:
            assert listed(objects) >= OLD | MORE, seed
        go(objects, SECOND)
        complete(objects)
        assert listed(objects) >= OLD | NEW, seed


def test_publishers_race_on_a_real_server(s3: int, prefix: str) -> None:
    sets = [release(f"demo-a==2.{n}", f"demo-x{n}==1.0") for n in range(6)]
    with ThreadPoolExecutor(len(sets)) as pool:
        list(pool.map(lambda one: go(bucket(s3, prefix), one), sets))
    objects = bucket(s3, prefix)
    complete(objects)
    assert len(listed(objects)) == 12
    assert Channel(objects, "stable").must_head().state.serial == 6


def test_publishers_race_on_a_folder(tmp_path: Path) -> None:
    sets = [release(f"demo-a==2.{n}", f"demo-x{n}==1.0") for n in range(6)]
    with ThreadPoolExecutor(len(sets)) as pool:
        list(pool.map(lambda one: go(FolderObjects(tmp_path / "f"), one), sets))
    objects = FolderObjects(tmp_path / "f")
    complete(objects)
    assert len(listed(objects)) == 12


# -- the program ----------------------------------------------------------------------------------


KILLS = int(os.environ.get("KVPACK_FAULT_RUNS", "12"))
"""Of real processes, by signal; more by hand."""


def outfit(kvpack: Kvpack, tmp_path: Path) -> Path:
    """``dist/`` with a wheel for each default target of msgpack."""
    for plan in plans_of(kvpack.root, kvpack.store, "msgpack"):
        deliver(plan, tmp_path / "dist")
    return tmp_path / "dist"


def test_kill_9_at_random_moments_of_an_upload(
    s3: int, prefix: str, kvpack: Kvpack, tmp_path: Path
) -> None:
    dist = outfit(kvpack, tmp_path)
    proxy = Proxy(s3, 0, delay=0.008)  # so that there are moments to hit
    kvpack.env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
    words = ("publish", "msgpack", "--from", str(dist), "--to")
    start = time.monotonic()
    kvpack(*words, f"{prefix}/whole").ok()
    whole = time.monotonic() - start
    chance = random.Random(9)  # noqa: S311  # nothing is secret here
    killed = 0
    for turn in range(KILLS):
        process = kvpack.start(*words, f"{prefix}/{turn}")
        time.sleep(chance.uniform(0.2, 0.95) * whole)
        process.kill()
        process.communicate()
        hit = process.returncode == -signal.SIGKILL
        killed += hit
        whole *= 1 if hit else 0.7  # the first run, which started cold, is no measure of the others
        check_legal(bucket(s3, f"{prefix}/{turn}"))
        kvpack(*words, f"{prefix}/{turn}").ok()
        complete(bucket(s3, f"{prefix}/{turn}"))
    proxy.close()
    assert killed > 3


def test_kill_9_while_a_folder_fills(kvpack: Kvpack, tmp_path: Path) -> None:
    dist = outfit(kvpack, tmp_path)
    killed = 0
    for files in range(1, 22, 2):
        out = tmp_path / f"out{files}"
        words = ("publish", "msgpack", "--from", str(dist), "--to", str(out))
        process = kvpack.start(*words)
        while process.poll() is None and sum(1 for _ in FolderObjects(out).list()) < files:
            pass
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        check_legal(FolderObjects(out))
        kvpack(*words).ok()
        complete(FolderObjects(out))
    assert killed > 3


def test_no_credential_is_shown_or_stored(
    s3: int, prefix: str, kvpack: Kvpack, tmp_path: Path
) -> None:
    dist = outfit(kvpack, tmp_path)
    shown = ""
    for port in (s3, free_port()):
        kvpack.env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        for more in ([], ["--json"]):
            answer = kvpack("-v", "publish", "msgpack", "--from", str(dist), "--to", prefix, *more)
            shown += answer.out + answer.err
    assert "error: " in shown
    written = b"".join(
        b"".join(bucket(s3, prefix).chunks(s.key)) for s in bucket(s3, prefix).list()
    )
    for secret in (KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in shown
        assert secret.encode() not in written
