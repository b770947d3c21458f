"""A really full disk: the program runs in a mount namespace of its own, on a tmpfs of 256 kB.

The namespace dies with its process, so nothing stays mounted. A machine that forbids both root and
user namespaces to mount cannot run container engines either, and fails here.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kvpack.errors import DiskFull
from tests.unit.cli.face import SELECTED, Answer, Place

PROGRAM = """
import ctypes, os, sys
from kvpack.cli.main import main
NEWNS, NEWUSER, PRIVATE = 0x20000, 0x10000000, 1 << 18 | 1 << 14
libc = ctypes.CDLL(None, use_errno=True)
def must(code):
    if code != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
must(libc.unshare(NEWNS if os.geteuid() == 0 else NEWNS | NEWUSER))
must(libc.mount(b"none", b"/", None, PRIVATE, None))
must(libc.mount(b"tmpfs", sys.argv[1].encode(), b"tmpfs", 0, b"size=256k"))
prepared = sys.argv[2]
exec(prepared)
code = main(sys.argv[3:])
left = sorted(
    os.path.relpath(os.path.join(folder, name), sys.argv[1])
    for folder, _, names in os.walk(sys.argv[1]) for name in names
)
print("\\n" + repr(left), file=sys.stderr)
sys.exit(code)
"""
FILL = "open(os.path.join(sys.argv[1], 'full'), 'wb').write(bytes({size}))"


def on_a_small_disk(disk: Path, prepared: str, *argv: str) -> tuple[Answer, str]:
    """Run the program while ``disk`` is a tmpfs; also what lies there in the end."""
    disk.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(disk), prepared, *argv],
        capture_output=True,
        check=False,
        text=True,
    )
    narration, _, left = done.stderr.rstrip("\n").rpartition("\n")
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, narration), left


@pytest.mark.parametrize("as_json", [False, True], ids=["human", "json"])
def test_the_output_folder_is_full(place: Place, as_json: bool) -> None:
    place.keep(place.wheel(300_000))
    disk = place.folder / "disk"
    store = ["--store", str(place.store.root)]
    old = "open(os.path.join(sys.argv[1], 'old.whl'), 'wb').write(b'an older wheel')"
    argv = [*store, "build", *SELECTED, "--out", str(disk), *(["--json"] if as_json else [])]
    answer, left = on_a_small_disk(disk, old, *argv)
    assert answer.code == DiskFull.exit_code, answer.err
    if as_json:
        (row,) = json.loads(answer.out)["targets"]
        assert row["error"] == "DiskFull"
    else:
        assert f"no space left on the device that holds {disk}" in answer.err
        assert "run the same command again: nothing was lost" in answer.err
    assert "'old.whl'" in left
    assert left.count(".whl'") == 1
    assert ".tmp" not in left
    assert not place.store.verify()


def test_the_same_command_on_a_larger_disk_finishes(place: Place) -> None:
    wheel = place.wheel(300_000)
    place.keep(wheel)
    on_a_small_disk(
        place.folder / "disk", "",
        "--store", str(place.store.root), "build", *SELECTED, "--out", str(place.folder / "disk"),
    )  # fmt: skip
    answer = place.run("build", *SELECTED, "--out", str(place.folder / "disk"))
    assert answer.code == 0, answer.err
    assert (place.folder / "disk" / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_store_is_full(place: Place) -> None:
    wheel = place.plan().inputs.build[0]  # a lock names no sizes of wheels
    (place.mirror() / wheel.path).write_bytes(bytes(400_000))
    disk = place.folder / "disk"
    argv = ["--store", str(disk), "--root", str(place.root), "fetch", *SELECTED]
    answer, left = on_a_small_disk(disk, "", *argv)
    assert answer.code == DiskFull.exit_code, answer.err
    assert f"no space left on the device that holds {disk}" in answer.err
    assert "--store DIR" in answer.err
    assert f"blobs/sha256/{wheel.sha256[:2]}/{wheel.sha256}" not in left
    assert ".tmp" not in left


def test_a_store_that_is_full_from_the_start(place: Place) -> None:
    disk = place.folder / "disk"
    argv = ["--store", str(disk), "--root", str(place.root), "build", *SELECTED]
    fill = FILL.format(size=1 << 20)
    prepared = f"try: {fill}\nexcept OSError: pass"
    answer, left = on_a_small_disk(disk, prepared, *argv)
    assert answer.code == DiskFull.exit_code, answer.err
    assert "no space left on the device that holds" in answer.err
    assert ".tmp" not in left
