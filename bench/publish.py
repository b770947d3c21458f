"""Measures publishing, side by side in one run, at two sizes each.

    .venv/bin/python -m bench.publish             prints the table
    .venv/bin/python -m bench.publish --only copy,index,memory
    .venv/bin/python -m bench.publish --json

copy: ``kvpack publish`` of a whole output folder against ``rclone copy`` of the same files to the
same server, in turn; on moto, which honours conditions and is slow, and on ``rclone serve s3``,
which does not (--single-writer). kvpack also checks the folder, probes, reads back and indexes.
index: one more wheel in an index of 10 or 10,000; each in a process of its own, to a folder.
memory: what the process needs for itself while it publishes one large wheel (not the page cache).
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from bench.run import PROGRAM, ROOT, Row, median, pairs, table, timed
from kvpack.names import Accelerator
from kvpack.publish import channel as moves
from kvpack.publish.commit import Channel
from kvpack.publish.model import Promise, Release, Stored, Wheel, file_path
from kvpack.publish.release import publish
from kvpack.publish.storage import stored
from kvpack.report import Silent
from kvpack.tools.folder import FolderObjects
from kvpack.tools.stored import Data, Found, Headers, Version
from tests.integration.publish_servers import KEYS, SCRIPTS, make_bucket, moto, rclone
from tests.unit.publish.dist import deliver, plans_of
from tests.unit.publish.made import release

MB = 10**6
RECIPE = "msgpack"


# -- against rclone copy --------------------------------------------------------------------------


def output_folder(folder: Path, size: int) -> Path:
    """``dist/`` with audited wheels of so many bytes together, of noise."""
    plans = plans_of(ROOT, folder / "store", RECIPE)
    for plan in plans:
        noise = f"# {os.urandom(size // len(plans) // 2).hex()}\n"
        deliver(plan, folder / "dist", content=noise)
    return folder / "dist"


def copy(work: Path) -> list[Row]:
    rows = []
    for size, runs in ((20 * MB, 5), (200 * MB, 3)):
        folder = work / f"copy{size}"
        dist = output_folder(folder, size)
        with moto() as port:
            rows.append(_compared(port, dist, ("moto", runs), functools.partial(_empty, port)))
        with rclone(folder / "served") as port:
            rows.append(_compared(port, dist, ("rclone serve s3", runs), lambda: None))
    return rows


def _compared(port: int, dist: Path, what: tuple[str, int], empty: Callable[[], None]) -> Row:
    server, runs = what
    turn = 0
    os.environ |= {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    single = [] if server == "moto" else ["--single-writer"]
    remote = ["--s3-provider", "Other", "--s3-env-auth", "--s3-no-check-bucket", "--s3-endpoint",
              f"http://127.0.0.1:{port}"]  # fmt: skip

    def ours() -> float:
        nonlocal turn
        turn += 1
        empty()
        url = f"s3://wheels/kvpack{turn}"
        return timed([PROGRAM, "publish", RECIPE, "--from", str(dist), "--to", url, *single])

    def theirs() -> float:
        empty()
        words = ["--config", os.devnull, "copy", str(dist), f":s3:wheels/rclone{turn}", *remote]
        return timed([str(SCRIPTS / "rclone"), *words])

    found = pairs(ours, theirs, runs)
    files = [path.stat().st_size for path in dist.iterdir()]
    size = f"{sum(files) / MB:.0f} MB in {len(files)} files, {server}"
    ratio = median([a / b for a, b in found])
    each = " against ".join(f"{median(one):.2f} s" for one in zip(*found, strict=True))
    return Row("`kvpack publish`", size, f"{ratio:.2f} times ({each})", "`rclone copy`", "")


def _empty(port: int) -> None:
    """Let moto forget, which keeps everything in temporary files."""
    url = f"http://127.0.0.1:{port}/moto-api/reset"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST")):
        make_bucket(port, "wheels")


# -- what an update costs -------------------------------------------------------------------------


class Counting(FolderObjects):
    """A folder that counts the bytes that are written and read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.written = self.read = 0

    def create(self, key: str, data: Data, headers: Headers) -> None:
        self.written += len(data) if isinstance(data, bytes) else data.stat().st_size
        super().create(key, data, headers)

    def swap(self, key: str, data: Data, headers: Headers, version: Version) -> None:
        self.written += len(data) if isinstance(data, bytes) else data.stat().st_size
        super().swap(key, data, headers, version)

    def get(self, key: str) -> Found | None:
        found = super().get(key)
        self.read += len(found.data) if found else 0
        return found

    def start(self, key: str, size: int) -> Found | None:
        found = super().start(key, size)
        self.read += len(found.data) if found else 0
        return found

    def chunks(self, key: str) -> Iterator[bytes]:
        for chunk in super().chunks(key):
            self.read += len(chunk)
            yield chunk


def many(projects: int, wheels: int) -> Release:
    """A release of wheels that nobody needs to download."""
    found = []
    for number in range(wheels):
        project, build = f"demo-{number % projects}", hashlib.sha256(b"%d" % number).hexdigest()
        version = f"1.0.{number}+kvp.{build[:8]}"
        tag = "cp311-cp311-manylinux_2_39_x86_64"
        name = f"{project.replace('-', '_')}-{version}-{tag}.whl"
        place = file_path(project, name)
        one = Stored(path=place, sha256=build, size=40 * MB, md5=build[:32])
        kinds = ("metadata", "audit", "sbom", "action")
        found.append(
            Wheel(
                **one.model_dump(), filename=name, project=project, version=version,
                accelerator=Accelerator("cpu"), target="cp311-manylinux_2_39_x86_64-cpu",
                key=build, requires_python=">=3.10", evidence=dict.fromkeys(kinds, one),
            )
        )  # fmt: skip
    promise = Promise(recipe="demo", version="1", lock=stored("locks/x", b""), targets=())
    whole = Release(created="", partial=False, promises=(promise,), wheels=tuple(found))
    return whole.sealed("2026-01-01T00:00:00Z")


def index(work: Path) -> list[Row]:
    shapes = {"10 wheels": (1, 10), "10,000 wheels in 100 projects": (100, 10_000),
              "10,000 wheels in one project": (1, 10_000)}  # fmt: skip
    results: dict[str, list[dict[str, float]]] = {}
    for name, shape in shapes.items():
        channel = Channel(FolderObjects(work / name), "stable")
        channel.commit(lambda _, s=shape: moves.published(None, {}, many(*s), "stable"))  # type: ignore[misc]
        channel.settle()
    for turn in range(6):
        for name in shapes:
            words = [sys.executable, "-m", "bench.publish", "--update", str(work / name), str(turn)]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
            results.setdefault(name, []).append(json.loads(done.stdout))
    rows, base = [], results["10 wheels"][1:]
    for name, one in results.items():
        took = median([run["seconds"] for run in one[1:]])
        ratio = median([a["seconds"] / b["seconds"] for a, b in zip(one[1:], base, strict=True)])
        figure = (
            f"{took:.2f} s ({ratio:.1f} times), {_size(one[-1]['written'])} written, "
            f"{_size(one[-1]['read'])} read"
        )
        rows.append(Row("one more wheel in the index", name, figure, "an index of 10", ""))
    return rows


def _size(count: float) -> str:
    return f"{count / MB:.1f} MB" if count >= MB else f"{count / 1000:.0f} kB"


def update(folder: Path, turn: str) -> None:
    """Publish one wheel more; says what it cost."""
    objects = Counting(folder)
    more = release(f"demo-0==9.{turn}")
    start = time.perf_counter()
    publish(more, Channel(objects, "stable"), Silent())
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "written": objects.written, "read": objects.read}))


# -- memory ---------------------------------------------------------------------------------------


def memory(work: Path) -> list[Row]:
    rows = []
    plans = plans_of(ROOT, work / "store", RECIPE)[:1]
    for size in (50 * MB, 500 * MB):
        folder = work / f"memory{size}"
        wheel = deliver(plans[0], folder / "dist", content=f"# {os.urandom(size // 2).hex()}\n")
        with rclone(folder / "served") as port:
            os.environ |= {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
            words = [PROGRAM, "publish", RECIPE, "--from", str(folder / "dist"), "--allow-partial",
                     "--single-writer", "--to", "s3://wheels/x"]  # fmt: skip
            peak = _peak(words)
        whole = f"one wheel of {wheel.stat().st_size / MB:.0f} MB"
        figure = f"{peak / MB:.0f} MB at most"
        rows.append(Row("memory of `kvpack publish`", whole, figure, "", ""))
    return rows


def _peak(words: list[str]) -> int:
    """Bytes of anonymous memory that a program had at its peak, looked at every 5 ms."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.005):
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
                peak = max(peak, int(status.partition("RssAnon:")[2].split()[0]) * 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    over.set()
    watcher.join()
    assert code == 0, words
    return peak


BENCHES = {"copy": copy, "index": index, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help=f"some of {','.join(BENCHES)}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--update", nargs=2, metavar=("DIR", "TURN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.update:
        update(Path(options.update[0]), options.update[1])
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="kvpack-bench-") as folder:
        for name in options.only.split(",") if options.only else BENCHES:
            print(f"measuring {name} …", file=sys.stderr)
            rows += BENCHES[name](Path(folder))
    print(json.dumps([asdict(row) for row in rows], indent=1) if options.json else table(rows))


if __name__ == "__main__":
    main()
