"""Wheels by hash from real hosts on loopback, of which some fail: kvpack get, and its lines."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from kvpack.fetch.download import fetch
from kvpack.fetch.mirrors import Mirrors
from kvpack.fetch.model import Wanted
from kvpack.publish.commit import Channel
from kvpack.publish.mirror import Source, follow
from kvpack.publish.model import Stored
from kvpack.publish.release import publish
from kvpack.publish.storage import put, stored
from kvpack.report import Silent
from kvpack.tools.anyweb import AnyWeb
from kvpack.tools.circuits import Circuits
from kvpack.tools.folder import FolderObjects
from kvpack.tools.store import Store
from kvpack.tools.web import HttpSettings
from tests.integration.bad_hosts import FAULTS, failing, serving, silence
from tests.integration.conftest import PROGRAM, Answer
from tests.integration.publish_servers import KEYS, SCRIPTS, own_keys, s3
from tests.integration.test_publish import bucket, go
from tests.unit.publish.made import release

pytestmark = pytest.mark.integration
__all__ = ["s3"]

FIRST = release("demo-a==1.0+kvp.1", "demo-b==1.0")
SECOND = release("demo-a==1.1+kvp.2", "demo-c==1.0")
PATIENCE = 3.0
"""Seconds of silence that are enough even where a busy machine holds the good host up."""
LONG = 90.0
"""Seconds that a command takes only if it waited for what it need not wait for."""


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_keys(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A storage with two releases, as any static host serves it."""
    objects = FolderObjects(tmp_path / "site")
    for one in (FIRST, SECOND):
        publish(one, Channel(objects, "stable"), Silent())
    return tmp_path / "site"


@pytest.fixture
def get(tmp_path: Path) -> "Get":
    return Get(tmp_path)


class Get:
    """``kvpack get`` outside of any catalogue, each time with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.turn = 0
        self.env: dict[str, str] = {}

    def __call__(self, *words: str, keep: bool = False) -> Answer:
        self.turn += not keep
        store = self.folder / f"store{self.turn}"
        command = [str(PROGRAM), "--store", str(store), "get", *words]
        done = subprocess.run(
            [*command, "--out", str(self.out)], capture_output=True, text=True, check=False,
            cwd=self.folder, env={**os.environ, **self.env},
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    @property
    def out(self) -> Path:
        return self.folder / f"out{self.turn}"

    @property
    def files(self) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.out.glob("*.whl")
        }


def wheels(*releases: object) -> dict[str, str]:
    return {one.filename: one.sha256 for what in (FIRST, SECOND) if what in releases
            for one in what.release.wheels}  # fmt: skip


NEWEST = {
    name: sha256
    for name, sha256 in wheels(FIRST, SECOND).items()
    if name.split("-")[1] != "1.0+kvp.1"
}


def from_(*places: str) -> list[str]:
    return [word for place in places for word in ("--from", place)]


def test_what_a_spec_means(site: Path, get: Get) -> None:
    (name, sha256), *_ = wheels(FIRST).items()
    for words, wanted in (
        ([], NEWEST),
        (["demo-a"], {n: s for n, s in NEWEST.items() if n.startswith("demo_a")}),
        (["demo-a==1.0"], {name: sha256}),
        ([name], {name: sha256}),
        ([f"sha256:{sha256}"], {name: sha256}),
        (["demo_B>=0.5", "--python", "3.11"], {n: s for n, s in NEWEST.items() if "_b-" in n}),
        (["--release", FIRST.release.id], wheels(FIRST)),
    ):
        get(*words, *from_(str(site))).ok()
        assert get.files == wanted, words
    for words, part in (
        (["demo-z"], "no such project"),
        (["demo-a==7"], "there are 1.0+kvp.1, 1.1+kvp.2"),
        (["demo-a", "--accelerator", "cuda13"], "asked for"),
        (["--release", "0" * 16], "no place has releases/"),
        (["--channel", "rc"], "no place has the channel 'rc'"),
    ):
        answer = get(*words, *from_(str(site)))
        assert answer.code == 85, answer.err
        assert part in answer.err
        assert "Traceback" not in answer.err


@pytest.mark.parametrize("fault", FAULTS)
def test_the_primary_is_dead(site: Path, get: Get, fault: str) -> None:
    """It costs no time-out where the fault answers, else the documented one."""
    answers = fault not in {"silent", "drip", "black hole"}
    patience = LONG if answers else PATIENCE
    with serving(site) as mirror, failing(fault, site) as primary:
        start = time.monotonic()
        answer = get("demo-a", "--patience", f"{patience}", *from_(primary, mirror.url)).ok()
        assert time.monotonic() - start < LONG
        if fault == "silent":
            assert f"{primary}: nothing came for {PATIENCE:g} s" in answer.err
        if fault == "black hole":
            assert f"{primary}: no connection within {PATIENCE:g} s" in answer.err
        assert set(get.files.items()) < set(NEWEST.items())
        if fault in {"wrong", "login"}:
            assert "with other bytes" in answer.err or "is no pointer" in answer.err


def test_a_dead_place_costs_its_time_out_once(site: Path, get: Get) -> None:
    with serving(site) as mirror, silence() as primary:
        words = ["--patience", str(PATIENCE), *from_(primary.url, mirror.url)]
        get("demo-a", *words).ok()
        asked = len(primary.held)
        assert asked > 0
        for _ in range(5):
            assert "failed a moment ago" in get("demo-b", *words, keep=True).ok().err
        assert get("demo-z", *words, keep=True).code == 85
        assert len(primary.held) == asked


def test_hedging_does_not_wait(site: Path, get: Get) -> None:
    with serving(site) as mirror, silence() as primary:
        words = ["--patience", f"{LONG}", "--hedge", "0.3", *from_(primary.url, mirror.url)]
        start = time.monotonic()
        get("demo-a", *words).ok()
        assert time.monotonic() - start < LONG
        assert get.files


def test_a_whole_command_has_a_time_out(get: Get) -> None:
    with silence() as one, silence() as two:
        answer = get("demo-a", "--patience", "1", "--timeout", "1", *from_(one.url, two.url))
        assert answer.code == 80
        assert "nothing came for 1 s" in answer.err
        assert max(len(one.held), len(two.held)) <= 1  # no second round


def big(site: Path) -> Stored:
    """A wheel that does not fit into one packet, in place of a published one."""
    objects = FolderObjects(site)
    data = random.Random(1).randbytes(3_000_000)  # noqa: S311  # nothing is secret here
    wanted = stored("files/demo-a/big.whl", data)
    put(objects, wanted, data)
    return wanted


def test_a_download_is_resumed_elsewhere(site: Path, tmp_path: Path) -> None:
    """What a cut answer gave is kept, and the next place is asked for the rest alone."""
    one, store = big(site), Store(tmp_path / "store")
    wanted = Wanted(
        registry="storage", place=one.path, filename="big.whl", sha256=one.sha256, size=one.size
    )
    with serving(site, "truncated") as primary, serving(site) as mirror:
        places = Mirrors([primary.url, mirror.url], AnyWeb(HttpSettings()), Circuits())
        fetch([wanted], store=store, registries=places, reporter=Silent())
        assert store.read(one.sha256)
        assert mirror.ranges == ["bytes=1500000-"]


def test_wrong_bytes_everywhere_are_never_stored(site: Path, get: Get) -> None:
    with serving(site, "wrong") as one, serving(site, "wrong") as two:
        answer = get("demo-a", *from_(one.url, two.url))
    assert answer.code == 31, answer.err
    assert answer.err.count("answered with other bytes") == 2
    assert not get.out.exists()
    assert not list((get.folder / "store1").rglob("blobs/sha256/*/*"))


def test_the_newest_pointer_that_verifies_counts(site: Path, get: Get, tmp_path: Path) -> None:
    old, forged = tmp_path / "old", tmp_path / "forged"
    shutil.copytree(site, forged)
    shutil.copytree(site, old)
    publish(release("demo-a==1.2"), Channel(FolderObjects(site), "stable"), Silent())
    pointer = (site / "channels" / "stable.json").read_text()
    (forged / "channels" / "stable.json").write_text(pointer.replace('"serial":3', '"serial":9'))
    shutil.copytree(site / "states", forged / "states", dirs_exist_ok=True)
    answer = get("demo-a", *from_(str(old), str(forged), str(site))).ok()
    assert "places disagree about stable" in answer.err
    assert "state 9 of stable does not verify" in answer.err
    assert list(get.files) == ["demo_a-1.2-py3-none-any.whl"]


def test_places_of_every_kind(s3: int, site: Path, get: Get, tmp_path: Path) -> None:
    """A bucket, a folder and a host; a bucket that is silent does not hold anybody up."""
    prefix = f"s3://wheels/{tmp_path.name}"
    objects = bucket(s3, prefix)
    go(objects, FIRST)
    go(objects, SECOND)
    get.env = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
    get(*from_(prefix)).ok()
    assert get.files == NEWEST
    with silence() as nobody:
        get.env["AWS_ENDPOINT_URL"] = nobody.url
        start = time.monotonic()
        get("--patience", "1", *from_(prefix, str(site))).ok()
        assert time.monotonic() - start < 20  # without patience it takes half a minute
    assert get.files == NEWEST


def test_places_of_the_configuration(site: Path, get: Get) -> None:
    (get.folder / "kvpack.toml").write_text(f'[mirrors]\nreleases = ["{site.as_uri()}"]\n')
    get("demo-a").ok()
    (get.folder / "kvpack.toml").write_text('[mirrors]\nreleases = ["s3://a:b@c/d"]\nreleasse = 1')
    answer = get("demo-a")
    assert answer.code == 13
    assert "did you mean 'releases'?" in answer.err


# -- installer lines ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def emitted(get: Get, kind: str, *places: str) -> str:
    words = ("--emit", kind, "--patience", f"{PATIENCE:g}")
    return get("demo-a", "demo-b", *words, *from_(*places)).ok().out


def as_run(dockerfile: str) -> str:
    """What ``/bin/sh -c`` gets of a RUN: lines that end with a backslash are joined."""
    return dockerfile.partition("\nRUN ")[2].replace("\\\n", "")


@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "login"])
@pytest.mark.parametrize("kind", ["dash", "bash", "dockerfile"])
def test_lines_without_kvpack(
    site: Path, get: Get, python: Path, tmp_path: Path, kind: str, fault: str
) -> None:
    with serving(site) as mirror, failing(fault, site) as primary:
        text = emitted(get, "dockerfile" if kind == "dockerfile" else "shell", mirror.url)
        words = ["dash", "-c", as_run(text)] if kind == "dockerfile" else [kind, "-c", text]
        environment = {
            "PATH": "/usr/bin:/bin",
            "KVPACK_MIRRORS": f"{primary} {mirror.url}",
            "KVPACK_WHEELS": str(tmp_path / "w"),
            "KVPACK_INSTALL": f"{python} -m pip install --isolated --quiet --upgrade --force "
            f"--target {tmp_path / 'installed'}",
        }
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "installed" / "demo_a" / "__init__.py").is_file()
    assert (tmp_path / "installed" / "demo_b" / "__init__.py").is_file()
    if fault == "wrong":
        assert "WRONG BYTES" in done.stderr
    assert f"from {mirror.url}" in done.stderr


def test_lines_with_uv_and_nothing_right(site: Path, get: Get, tmp_path: Path) -> None:
    text = emitted(get, "shell", site.as_uri())
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path),
        "KVPACK_WHEELS": str(tmp_path / "w"),
        "KVPACK_INSTALL": f"{SCRIPTS / 'uv'} pip install --no-config --offline --python "
        f"{sys.executable} --target {tmp_path / 'installed'}",
    }  # fmt: skip
    subprocess.run(["dash", "-c", text], env=environment, check=True, capture_output=True)
    assert (tmp_path / "installed" / "demo_a" / "__init__.py").is_file()
    with serving(site, "wrong") as host:
        environment |= {"KVPACK_MIRRORS": host.url, "KVPACK_WHEELS": str(tmp_path / "none")}
        done = subprocess.run(
            ["dash", "-c", text], env=environment, check=False, capture_output=True, text=True
        )
    assert done.returncode == 1
    assert "no mirror has demo_a" in done.stderr
    assert not list((tmp_path / "none").iterdir())


def test_lines_ask_a_bucket_at_its_public_address(
    s3: int, site: Path, get: Get, tmp_path: Path
) -> None:
    """One bucket that a host serves, one that none does: curl asks the host, and says so."""
    prefix = f"s3://wheels/{tmp_path.name}"
    get.env = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
    for name in ("prod", "private"):
        objects = bucket(s3, f"{prefix}/{name}")
        go(objects, FIRST)
        go(objects, SECOND)
    words = ("demo-a", "demo-b", *from_(f"{prefix}/private", f"{prefix}/prod"))
    refused = get(*words, "--emit", "shell")
    assert refused.code == 2
    assert "[mirrors.public]" in refused.err
    with serving(site) as host:
        public = f'[mirrors.public]\n"{prefix}/prod" = "{host.url}"\n'
        (get.folder / "kvpack.toml").write_text(public)
        answer = get(*words, "--emit", "shell").ok()
        left = f"eft out: {prefix}/private: curl cannot ask s3://"
        assert left in answer.out
        assert left in answer.err
        environment = {
            "PATH": "/usr/bin:/bin", "KVPACK_WHEELS": str(tmp_path / "w"), "KVPACK_INSTALL": "",
        }  # fmt: skip
        done = subprocess.run(
            ["dash", "-c", answer.out], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert f"from {host.url}" in done.stderr
        assert len(list((tmp_path / "w").glob("*.whl"))) == 2
        lines = get("--json", *words, "--emit", "dockerfile").ok().json
        assert lines["places"] == [host.url]
        assert [one.startswith(f"{prefix}/private:") for one in lines["left-out"]] == [True]


def test_mirrors_that_publish_wrote_are_places(site: Path, get: Get, tmp_path: Path) -> None:
    mirror = FolderObjects(tmp_path / "mirror")
    follow(Source(FolderObjects(site)), mirror, "stable")
    shutil.rmtree(site)
    site.mkdir()
    get(*from_(str(site), str(tmp_path / "mirror"))).ok()
    assert get.files == NEWEST
