"""What a dead primary costs ``kvpack get``: seconds more than without the fault, for each fault.

    python -m bench.mirrors [TIMES]

Real hosts on loopback, 3 wheels, a fresh store for every run; runs with and without the fault take
turns. ``silent`` (accepts, says nothing), ``black hole`` (drops what comes) and ``drip`` (20
bytes/s) do not answer: they cost --patience, here 1 s, once a minute; ``hedged``: --hedge 0.2.
The budget is 1 s where the fault answers at all, and --patience more where it does not. It ends
with 1 if a median is over it.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kvpack.publish.commit import Channel
from kvpack.publish.release import publish
from kvpack.report import Silent
from kvpack.tools.folder import FolderObjects
from tests.integration.bad_hosts import FAULTS, failing, serving
from tests.unit.publish.made import release

PATIENCE = 1.0
SILENT = ("silent", "drip", "black hole")


def seconds(folder: Path, *words: str) -> float:
    """How long one ``kvpack get`` takes."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "kvpack", "--store", f"{scratch}/store", "get", "-q",
                   "--out", f"{scratch}/out", *words]  # fmt: skip
        start = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        return time.monotonic() - start


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheels = release("demo-a==1.0", "demo-b==1.0", "demo-c==1.0")
        publish(wheels, Channel(FolderObjects(folder / "site"), "stable"), Silent())
        over = []
        with serving(folder / "site") as mirror:
            for fault in (*FAULTS, "silent, hedged", "black hole, hedged"):
                budget = 1.0 if fault not in SILENT else 1.0 + PATIENCE
                more = ["--hedge", "0.2"] if "hedged" in fault else []
                with failing(fault.partition(",")[0], folder / "site") as primary:
                    places = ["--from", primary, "--from", mirror.url, *more]
                    pairs = [
                        (
                            seconds(folder, "--from", mirror.url),
                            seconds(folder, "--patience", f"{PATIENCE:g}", *places),
                        )
                        for _ in range(times)
                    ]
                plain, took = (statistics.median(one) for one in zip(*pairs, strict=True))
                over += [fault] if took - plain > budget else []
                print(f"{fault}: {took - plain:+.2f} s ({plain:.2f} s without), budget {budget:g}")
    if over:
        sys.exit(f"over budget: {', '.join(over)}")


if __name__ == "__main__":
    main()
