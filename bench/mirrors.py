"""What a dead primary costs ``kvpack get``: seconds more than without the fault, for each fault.

    python -m bench.mirrors [TIMES]

Real hosts on loopback, 3 wheels, a fresh store for every run. ``silent`` (accepts, says nothing)
and ``drip`` (20 bytes/s) cost --patience, here 1 s, once a minute; ``silent, hedged``: --hedge 0.2.
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
        with serving(folder / "site") as mirror:
            plain = [seconds(folder, "--from", mirror.url) for _ in range(times)]
            print(f"no fault: {statistics.median(plain):.2f} s")
            for fault in (*FAULTS, "silent, hedged"):
                more = ["--hedge", "0.2"] if "hedged" in fault else []
                with failing(fault.partition(",")[0], folder / "site") as primary:
                    words = ["--patience", "1", "--from", primary, "--from", mirror.url, *more]
                    took = [seconds(folder, *words) for _ in range(times)]
                extra = statistics.median(took) - statistics.median(plain)
                print(f"{fault}: {extra:+.2f} s")


if __name__ == "__main__":
    main()
