#!/usr/bin/env python3
"""Times `kvpack requirements` against the bare `uv pip compile` for the same question.

    .venv/bin/python bench/requirements.py [--runs 5]

Both ask a replica of the machine's index on the loopback, so that the network's noise is out; the
question is the one that kvpack puts to uv in its last round. Three states: nothing known (uv's
cache and kvpack's store are empty), wheels known (uv's cache is empty, kvpack has proved the set
before) and warm (both know everything). Runs go A B A B; a figure is the median.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.replica import replica_of
from kvpack.fetch.registries import Registries
from kvpack.report import Silent
from kvpack.tools import uv

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "kvpack")
INTENTS = {
    "nixl + mooncake": "nixl==1.4.1\nmooncake-transfer-engine>=0.3.12\n",
    "nixl + mooncake + lmcache": "nixl==1.4.1\nmooncake-transfer-engine>=0.3.12\nlmcache>=0.3.9\n",
}
EXCLUDES = "nixl-cu12\nnixl-rocm\nmooncake-transfer-engine\ncupy\ncupy-cuda12x\ntorch\n"


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - start


class Pair:
    """One question for both programs, in a folder of its own."""

    def __init__(self, folder: Path, intent: str, index: str) -> None:
        self.folder = folder
        (folder / "a.in").write_text(intent, encoding="utf-8")
        wanted = intent.replace("mooncake-transfer-engine", "mooncake-transfer-engine-cuda13")
        (folder / "uv.in").write_text(wanted + "nixl-cu13==1.4.1\n", encoding="utf-8")
        (folder / "excludes.txt").write_text(EXCLUDES, encoding="utf-8")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_"))},
            "UV_PYTHON_DOWNLOADS": "never",  # else uv looks for a Python 3.12 on the network
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": index,
            "UV_CACHE_DIR": str(folder / "uv"),
        }
        self.index = index

    def uv(self) -> float:
        command = [uv.program(), "pip", "compile", "uv.in", "--excludes", "excludes.txt", "--quiet"]
        command += ["--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_35"]
        command += ["--only-binary", ":all:", "--no-config", "--default-index", self.index]
        command += ["--no-header", "--no-annotate", "--output-file", "pylock.x.toml"]
        (self.folder / "pylock.x.toml").unlink(missing_ok=True)
        return timed(command, self.folder, self.environment)

    def kvpack(self, *, refresh: bool = True) -> float:
        command = [PROGRAM, "--store", str(self.folder / "store"), "-q", "requirements", "a.in"]
        command += ["--cuda", "13", "--python", "3.12", "--arch", "x86_64"]
        command += ["--refresh"] if refresh else []
        return timed(command, self.folder, self.environment)

    def forget(self, *names: str) -> None:
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)


def medians(pair: Pair, runs: int, *forgotten: str) -> tuple[float, float]:
    """uv's and kvpack's median seconds; what is forgotten is so before every run."""
    times: list[tuple[float, float]] = []
    for _ in range(runs):
        pair.forget(*forgotten)
        one = pair.uv()
        pair.forget(*forgotten)
        times.append((one, pair.kvpack(refresh=bool(forgotten))))
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    index = Registries(Path.cwd(), reporter=Silent()).pypi().primary
    if index is None:
        sys.exit("no index is configured on this machine")
    print("| intent | state | uv pip compile | kvpack requirements | ratio |")
    print("|---|---|---|---|---|")
    with replica_of(index) as replica, tempfile.TemporaryDirectory() as name:
        for number, (title, intent) in enumerate(INTENTS.items()):
            folder = Path(name, str(number))
            folder.mkdir()
            pair = Pair(folder, intent, replica.simple)
            pair.uv(), pair.kvpack()  # the replica learns
            for state, forgotten in (
                ("nothing known", ("uv", "store")),
                ("wheels known", ("uv",)),
                ("warm", ()),
            ):
                if state == "warm":
                    pair.uv(), pair.kvpack()
                asked = replica.asked
                one, two = medians(pair, runs, *forgotten)
                far = f" ({replica.asked - asked} requests left the machine)"
                note = far if replica.asked > asked else ""
                print(f"| {title} | {state}{note} | {one:.2f} s | {two:.2f} s | {two / one:.2f} |")


if __name__ == "__main__":
    main()
