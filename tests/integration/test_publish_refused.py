"""Refusals in the middle of a publication: credentials that expire, a clock that jumps.

moto accepts everything, so a proxy before it refuses what S3 refuses, as S3 does: 400 ExpiredToken,
and 403 RequestTimeTooSkewed where the signed time is 15 minutes off. The publisher's clock really
moves (libfaketime). Most runs are in process, where the same is decided at the port; some go
through the proxy to the server.
"""

import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kvpack.errors import KvpackError, StorageFailed
from kvpack.publish.commit import Channel
from kvpack.publish.gather import Prepared
from kvpack.publish.release import publish
from kvpack.publish.storage import guarded
from kvpack.report import Silent
from kvpack.tools.objects import ObstoreObjects
from kvpack.tools.stored import Objects
from tests.integration.conftest import CHECKOUT, Kvpack
from tests.integration.publish_servers import KEYS, Proxy, _read, own_keys, s3
from tests.unit.publish.dist import deliver, plans_of
from tests.unit.publish.faulty import Faulty
from tests.unit.publish.made import check_legal, complete, listed, memory, release

pytestmark = pytest.mark.integration
__all__ = ["s3"]

FIRST = release("demo-a==1.0", "demo-b==1.0")
SECOND = release("demo-a==1.1", "demo-c==1.0")
OLD = {"demo_a-1.0-py3-none-any.whl", "demo_b-1.0-py3-none-any.whl"}
NEW = {"demo_a-1.1-py3-none-any.whl", "demo_c-1.0-py3-none-any.whl"}
TOKEN = "FwoGZXIvYXdzEBYaDHNlY3JldHNlY3JldA"  # noqa: S105  # of a session that never was
SKEW = 900
"""Seconds that S3 accepts."""
JUMPS = (-86400, -SKEW - 300, 300 - SKEW, SKEW - 300, SKEW + 300, 86400)
"""Seconds, some of them within what S3 accepts."""
ALL = 96
"""Requests of which one publication has at least so many."""


class Strict(Proxy):
    """S3's own refusals, before a server that has none.

    :ivar lifetimes: access key -> requests that it is good for; others are good for ever.
    """

    def __init__(self, port: int) -> None:
        self.lifetimes: dict[str, int] = {}
        self.refused = 0
        self._turn = threading.Lock()
        super().__init__(port, 0)

    def _handle(self, client: socket.socket, chance: float) -> None:  # noqa: ARG002
        with contextlib.suppress(OSError), client:
            client.settimeout(30)
            request = _read(client)
            refusal = self._refusal(request.partition(b"\r\n\r\n")[0].decode())
            self.refused += refusal is not None
            client.sendall(refusal or self._ask(request))

    def _refusal(self, head: str) -> bytes | None:
        signed = re.search(r"(?i)x-amz-date: *(\d{8}T\d{6}Z)", head)
        assert signed is not None, head
        moment = datetime.strptime(signed[1], "%Y%m%dT%H%M%S%z")
        now = datetime.now(UTC)
        if abs((now - moment).total_seconds()) > SKEW:
            times = f"<RequestTime>{signed[1]}</RequestTime><ServerTime>{now:%FT%TZ}</ServerTime>"
            return _error(head, "403 Forbidden", "RequestTimeTooSkewed", times)
        key = re.search(r"Credential=(\w+)/", head)
        assert key is not None, head
        with self._turn:
            left = self.lifetimes.get(key[1])
            if left is not None:
                self.lifetimes[key[1]] = left - 1
        if left is None or left > 0:
            return None
        return _error(head, "400 Bad Request", "ExpiredToken", f"<Token-0>{TOKEN}</Token-0>")


def _error(head: str, status: str, code: str, more: str) -> bytes:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>{more}</Error>'
    answer = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{'' if head.startswith('HEAD') else body}"
    )
    return answer.encode()


@pytest.fixture
def strict(s3: int) -> Iterator[Strict]:
    proxy = Strict(s3)
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_keys(monkeypatch, {})
    monkeypatch.setenv("HOME", str(tmp_path))


def bucket(port: int, prefix: str, folder: Path, key: str = KEYS["AWS_ACCESS_KEY_ID"]) -> Objects:
    """A prefix, opened with session credentials of ``~/.aws``."""
    home = Path(tempfile.mkdtemp(dir=folder))
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        f"[default]\naws_access_key_id = {key}\naws_session_token = {TOKEN}\n"
        f"aws_secret_access_key = {KEYS['AWS_SECRET_ACCESS_KEY']}\n"
    )
    environment = {
        "HOME": str(home), "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    return ObstoreObjects(prefix, environment=environment)


def go(objects: Objects, what: Prepared) -> None:
    publish(what, Channel(guarded(objects, single_writer=False), "stable"), Silent())


# -- 200 runs each, refused at the port -----------------------------------------------------------


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestTimeTooSkewed"])
def test_two_hundred_runs_that_are_refused_in_the_middle(code: str) -> None:
    """Credentials stay expired; a clock comes back, while other threads still write."""
    refusals = 0
    for seed in range(200):
        chance = random.Random(seed)  # noqa: S311  # nothing is secret here
        objects = memory()
        if seed % 2:
            go(objects, FIRST)
        start = chance.randrange(1, ALL)
        stop = start + chance.randrange(1, 20) if "Time" in code else 10_000
        faulty = Faulty(objects, seed, rate=0.05)
        faulty.refused = (range(start, stop), f"403 {code}")
        try:
            go(faulty, SECOND)
        except KvpackError as error:
            refusals += "run the same command again" in error.hint
        check_legal(objects)
        go(objects, SECOND)
        complete(objects)
        assert listed(objects) == (OLD | NEW if seed % 2 else NEW), seed
    assert refusals > 150


RUNS = int(os.environ.get("KVPACK_FAULT_RUNS", "24"))
"""Through the proxy, of each fault; more by hand."""


# -- through a proxy, to a server -----------------------------------------------------------------


def expires(strict: Strict, prefix: str, folder: Path, seed: int) -> StorageFailed | None:
    """Publish with a key that is good for some requests, then with another one."""
    chance = random.Random(seed)  # noqa: S311
    straight = bucket(strict.upstream, prefix, folder)
    if seed % 2:
        go(straight, FIRST)
    key = f"ASIAKVPACK{seed:010}"
    strict.lifetimes[key] = chance.randrange(1, ALL)
    told = None
    try:
        go(bucket(strict.port, prefix, folder, key), SECOND)
    except StorageFailed as error:
        told = error
    check_legal(straight)
    go(bucket(strict.port, prefix, folder), SECOND)
    complete(straight)
    assert listed(straight) == (OLD | NEW if seed % 2 else NEW), seed
    return told


def test_credentials_that_expire_mid_way(strict: Strict, tmp_path: Path) -> None:
    prefix = f"s3://wheels/{tmp_path.name}"
    with ThreadPoolExecutor(8) as pool:
        errors = list(
            pool.map(lambda seed: expires(strict, f"{prefix}/{seed}", tmp_path, seed), range(RUNS))
        )
    told = [error for error in errors if error is not None]
    assert len(told) > RUNS // 2
    for error in told:
        assert error.cause == "the credentials have expired"
        assert error.hint.startswith("renew them, then run the same command again")
        assert TOKEN not in str(error.as_json())


def clock_jumps(port: int, prefix: str, folder: Path, seeds: range) -> None:
    """Publish in a process whose clock is a file: at some request it jumps, and stays there."""
    clock = folder / "clock"
    for seed in seeds:
        chance = random.Random(seed)  # noqa: S311
        faulty = Faulty(bucket(port, f"{prefix}/{seed}", folder), seed)
        jump = JUMPS[seed % len(JUMPS)]
        faulty.between = (chance.randrange(1, ALL), lambda: set_clock(clock, jump))  # noqa: B023
        said = None
        try:
            go(faulty, SECOND)
        except KvpackError as error:
            said = error.as_json()
        # How far apart the clocks are, less the time that setting one takes: that clock is real.
        apart = time.time() - time.monotonic()
        set_clock(clock, 0)
        apart -= time.time() - time.monotonic()
        sys.stdout.write(json.dumps([seed, jump, round(apart), said]) + "\n")


def set_clock(clock: Path, seconds: int) -> None:
    beside = clock.with_suffix(".new")
    beside.write_text(f"{seconds:+d}")
    beside.replace(clock)


def other_time(clock: Path) -> dict[str, str]:
    """The environment of a process whose clock is what the file says."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "ci/setup test installs libfaketime"
    return {
        "LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }  # fmt: skip


def test_a_clock_that_jumps_mid_way(strict: Strict, tmp_path: Path) -> None:
    prefix = f"s3://wheels/{tmp_path.name}"
    program = (
        "import sys, pathlib; sys.path.append(sys.argv[1])\n"
        "from tests.integration.test_publish_refused import clock_jumps\n"
        "port, prefix, folder, start, stop = sys.argv[2:]\n"
        "clock_jumps(int(port), prefix, pathlib.Path(folder), range(int(start), int(stop)))\n"
    )

    half = RUNS // 2

    def driven(start: int) -> list[list[Any]]:
        folder, seeds = tmp_path / str(start), range(start, start + half)
        folder.mkdir()
        set_clock(folder / "clock", 0)
        for seed in seeds:
            go(bucket(strict.upstream, f"{prefix}/{seed}", folder), FIRST)
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, str(CHECKOUT), str(strict.port), prefix,
             str(folder), str(seeds.start), str(seeds.stop)],
            capture_output=True, text=True, check=False,
            env={**os.environ, **other_time(folder / "clock")},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    with ThreadPoolExecutor(2) as pool:
        runs = [run for group in pool.map(driven, (0, half)) for run in group]
    assert [seed for seed, *_ in runs] == list(range(2 * half))
    late = 0
    for seed, jump, apart, said in runs:
        assert apart in {0, jump}
        late += apart == 0  # it came after the last request
        assert (said is not None) == (abs(apart) > SKEW), said
        assert said is None or told_of_the_clock(said), said
        straight = bucket(strict.upstream, f"{prefix}/{seed}", tmp_path)
        check_legal(straight)
        go(bucket(strict.port, f"{prefix}/{seed}", tmp_path), SECOND)
        complete(straight)
        assert listed(straight) == OLD | NEW, seed
    assert late < RUNS // 4


def told_of_the_clock(said: dict[str, Any]) -> bool:
    cause = "the clock of this machine is too far from the storage's: "
    return cause in str(said) and "set the clock" in str(said) and "same command again" in str(said)


# -- the program ----------------------------------------------------------------------------------


def test_what_the_program_says(strict: Strict, kvpack: Kvpack, tmp_path: Path) -> None:
    for plan in plans_of(kvpack.root, kvpack.store, "msgpack"):
        deliver(plan, tmp_path / "dist")
    url = f"s3://wheels/{tmp_path.name}"
    words = ("publish", "msgpack", "--from", str(tmp_path / "dist"), "--to", url)
    good = {
        **KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{strict.port}", "AWS_SESSION_TOKEN": TOKEN,
    }  # fmt: skip
    old = "ASIAKVPACKEXPIRED000"
    strict.lifetimes[old] = 30
    kvpack.env = {**good, "AWS_ACCESS_KEY_ID": old}
    expired = kvpack("-v", *words)
    assert expired.code == StorageFailed.exit_code
    assert "the credentials have expired" in expired.err
    assert "run the same command again" in expired.err
    set_clock(tmp_path / "clock", -3600)
    kvpack.env = {**good, **other_time(tmp_path / "clock")}
    skewed = kvpack("-v", *words)
    assert skewed.code == StorageFailed.exit_code
    assert "the clock of this machine is too far from the storage's" in skewed.err
    assert "set the clock" in skewed.err
    kvpack.env = good
    kvpack(*words).ok()
    complete(bucket(strict.upstream, url, tmp_path))
    assert strict.refused
    for secret in (TOKEN, old, KEYS["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in expired.err + expired.out + skewed.err + skewed.out
