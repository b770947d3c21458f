"""Publishing against servers that are not ours: S3, one that ignores conditions, nginx, pip, uv."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import obstore
import pytest

from kvpack.errors import KvpackError, StorageFailed
from kvpack.publish.commit import Channel
from kvpack.publish.gather import Prepared
from kvpack.publish.release import publish, roll_back
from kvpack.publish.storage import guarded
from kvpack.report import Silent
from kvpack.tools.folder import FolderObjects
from kvpack.tools.objects import ObstoreObjects
from kvpack.tools.stored import Objects
from tests.integration.conftest import Kvpack
from tests.integration.publish_servers import (
    KEYS,
    SCRIPTS,
    Proxy,
    Site,
    free_port,
    nginx,
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
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


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
    for turn in range(12):
        process = kvpack.start(*words, f"{prefix}/{turn}")
        time.sleep(chance.uniform(0.2, 0.95) * whole)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
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


# -- a static host, pip and uv ---------------------------------------------------------------------


@pytest.fixture
def site(s3: int, prefix: str, kvpack: Kvpack, tmp_path: Path) -> Iterator[Site]:
    """A bucket, mirrored into a folder, behind nginx."""
    objects = bucket(s3, prefix)
    go(objects, FIRST)
    go(objects, SECOND)
    go(objects, release("demo-cu13==1.0", accelerator="cuda13"))
    kvpack.env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
    kvpack("mirror", "sync", prefix, str(tmp_path / "site")).ok()
    kvpack("mirror", "verify", prefix, str(tmp_path / "site")).ok()
    with nginx(tmp_path / "site", tmp_path / "nginx") as served:
        yield served


def requirement(url: str, project: str, accelerator: str = "cpu") -> str:
    with urlopen(  # noqa: S310
        f"{url}/stable/{accelerator}/simple/{project}/index.json"
    ) as answer:
        file = json.loads(answer.read())["files"][-1]
    version = file["filename"].split("-")[1]
    return f"{project}=={version} --hash=sha256:{file['hashes']['sha256']}\n"


@pytest.mark.parametrize("installer", ["pip", "uv"])
@pytest.mark.parametrize(("project", "accelerator"), [("demo-a", "cpu"), ("demo-cu13", "cuda13")])
def test_installers_with_hashes(
    site: Site, tmp_path: Path, installer: str, project: str, accelerator: str
) -> None:
    url = site.secure_url if installer == "pip" else site.url  # each where it keeps a cache
    (tmp_path / "requirements.txt").write_text(requirement(site.url, project, accelerator))
    index = f"{url}/stable/{accelerator}/simple/"
    words = {
        "pip": [sys.executable, "-m", "pip", "install", "--isolated",
                "--disable-pip-version-check", "--cache-dir", str(tmp_path / "cache")],
        "uv": [str(SCRIPTS / "uv"), "pip", "install", "--no-config", "--cache-dir",
               str(tmp_path / "cache"), "--python", sys.executable],
    }[installer]  # fmt: skip
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "UV_"))}
    if installer == "pip":
        environment["SSL_CERT_FILE"] = str(site.certificate)
    for turn in ("first", "second"):
        done = subprocess.run(
            [*words, "--target", str(tmp_path / turn), "--require-hashes", "--index-url", index,
             "-r", str(tmp_path / "requirements.txt")],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert list((tmp_path / turn).glob("demo_*/__init__.py"))
    lines = site.log.read_text().splitlines()
    assert any("vnd.pypi.simple.v1+json" in line for line in lines)
    wheels = [line for line in lines if ".whl " in line and "200" in line.split()[0]]
    assert len(wheels) == 1, wheels  # the second installation came from the installer's cache
    assert "%2B" in wheels[0] or "+" not in wheels[0].split()[1]


def test_what_nginx_answers(site: Site) -> None:
    url = site.url
    for accept, kind in (
        ("text/html", "text/html"),
        ("application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+json"),
    ):
        request = Request(  # noqa: S310
            f"{url}/stable/cpu/simple/demo-a/", headers={"Accept": accept}
        )
        with urlopen(request) as answer:  # noqa: S310
            assert answer.headers["Content-Type"].startswith(kind)
            assert answer.headers["Cache-Control"] == "public, max-age=60"
    for path in ("stable/cpu/simple/nobody/", "stable/cpu/simple/demo-cu13/", ".kvpack/lock"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urlopen(f"{url}/{path}")  # noqa: S310


def test_the_human_page_in_a_browser(site: Site, tmp_path: Path) -> None:
    """A real browser runs the page's script: install lines name the host that serves them."""
    browser = shutil.which("chromium")
    assert browser is not None, "ci/setup test installs chromium"
    for base in (site.url, (tmp_path / "site").as_uri()):
        shown = seen_by(browser, tmp_path, f"{base}/stable/index.html")
        assert f"{base}/stable/cuda13/simple/" in shown
        assert "demo-cu13" in shown
    page = tmp_path / "site" / "stable" / "typed.html"
    typed = "<script>search.value = 'CUDA13 demo'; search.oninput()</script>"
    page.write_text((page.parent / "index.html").read_text() + typed)
    shown = seen_by(browser, tmp_path, page.as_uri())
    rows = re.findall(r"<tr( hidden=[^>]*)?><td><a[^>]*>([^<]+)", shown)
    assert {name: bool(hidden) for hidden, name in rows} == {
        "demo-a": True, "demo-b": True, "demo-c": True, "demo-cu13": False,
    }  # fmt: skip


def seen_by(browser: str, tmp_path: Path, url: str) -> str:
    """A page after its scripts ran."""
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout
