"""Files are whole or absent, whatever happens; locks die with their process."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvpack.errors import DiskFull
from kvpack.tools.files import (
    atomic_write,
    canonical_json,
    disk_full_at,
    is_locked,
    locked,
    place_file,
    remove_tree,
    sha256_file,
    sha256_of,
    write_text,
)

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@contextmanager
def child(code: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs ``code`` until it prints ``ready``; it is killed at the end."""
    words = [sys.executable, "-c", code, *map(str, args)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


HOLD = """
import sys, pathlib, time
from kvpack.tools.files import locked
with locked(pathlib.Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(600)
"""
HALF = """
import sys, pathlib, time
from kvpack.tools.files import atomic_write
with atomic_write(pathlib.Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("ready", flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


# -- digests and canonical text --------------------------------------------------------------


def test_digests_of_bytes_and_of_files_are_the_same(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == sha256_of(data)
    assert sha256_of(b"") == EMPTY


def test_one_value_has_one_json_text() -> None:
    assert canonical_json({"b": [1, None], "a": "ä/\n"}) == '{"a":"ä/\\n","b":[1,null]}'.encode()
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))


# -- atomic writes ---------------------------------------------------------------------------


def test_a_file_appears_whole_with_its_mode_in_a_folder_that_is_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "x"
    with atomic_write(target, mode=0o444) as stream:
        stream.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert target.stat().st_mode & 0o777 == 0o444
    assert names(target.parent) == ["x"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "x"
    target.write_bytes(b"old")

    def failing() -> None:
        with atomic_write(target) as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(error):
        failing()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_a_killed_process_leaves_no_half_file_under_the_name(tmp_path: Path) -> None:
    target = tmp_path / "x"
    with child(HALF, target) as process:
        kill(process)
    assert not target.exists()
    write_text(target, "whole ä")
    assert target.read_text(encoding="utf-8") == "whole ä"


def test_a_copy_is_no_link_to_its_source(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"blob")
    place_file(tmp_path / "blob", tmp_path / "out" / "copy")
    (tmp_path / "out" / "copy").write_bytes(b"edited")
    assert (tmp_path / "blob").read_bytes() == b"blob"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_says_where_and_what_to_do(code: int, tmp_path: Path) -> None:
    def failing() -> None:
        with disk_full_at(tmp_path):
            raise OSError(code, os.strerror(code), "some/file")

    with pytest.raises(DiskFull, match=f"holds {tmp_path}") as caught:
        failing()
    assert caught.value.cause == f"{os.strerror(code)} while writing some/file"
    assert "kvpack store gc" in caught.value.hint


def test_other_errors_of_the_machine_stay_what_they_are(tmp_path: Path) -> None:
    def failing() -> None:
        with disk_full_at(tmp_path):
            raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        failing()


# -- locks -----------------------------------------------------------------------------------


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a thread of this process starts to wait for a lock that another process has."""
    event, flock = threading.Event(), fcntl.flock

    def told(handle: int, how: int) -> None:
        if not how & fcntl.LOCK_NB:
            event.set()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", told)
    return event


def test_a_lock_keeps_another_process_out_until_it_is_killed(
    tmp_path: Path, queued: threading.Event
) -> None:
    path = tmp_path / "locks" / "x"
    entered: list[bool] = []

    def enter() -> None:
        with locked(path) as waited:
            entered.append(waited)

    with child(HOLD, path) as process:
        assert is_locked(path)
        thread = threading.Thread(target=enter)
        thread.start()
        assert queued.wait(60)
        assert entered == []
        kill(process)
        thread.join(60)
    assert entered == [True]
    assert not is_locked(path)


def test_a_free_lock_is_had_at_once_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert not is_locked(path)
    for _ in range(2):
        with locked(path) as waited:
            assert waited is False
            assert is_locked(path)
    assert not is_locked(path)


def test_a_lock_is_given_back_when_its_holder_fails(tmp_path: Path) -> None:
    def failing() -> None:
        with locked(tmp_path / "x"):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # it has no text
        failing()
    assert not is_locked(tmp_path / "x")


def test_a_lock_file_that_was_replaced_while_waiting_is_opened_again(
    tmp_path: Path, queued: threading.Event
) -> None:
    """Else two processes hold locks on two files of one name."""
    path = tmp_path / "x"
    held = threading.Event()
    leave = threading.Event()

    def enter() -> None:
        with locked(path):
            held.set()
            leave.wait(60)

    with child(HOLD, path) as process:
        thread = threading.Thread(target=enter)
        thread.start()
        assert queued.wait(60)
        assert not held.is_set()
        path.unlink()
        path.touch()
        kill(process)
        assert held.wait(60)
    assert is_locked(path)  # the file of that name, not the one that is gone
    leave.set()
    thread.join(60)
    assert not is_locked(path)


def test_a_lock_file_that_was_removed_while_waiting_is_made_again(
    tmp_path: Path, queued: threading.Event
) -> None:
    path = tmp_path / "x"
    with child(HOLD, path) as process:
        thread = threading.Thread(target=lambda: locked(path).__enter__())
        thread.start()
        assert queued.wait(60)
        path.unlink()
        kill(process)
        thread.join(60)
    assert path.exists()


# -- removing --------------------------------------------------------------------------------


REMOVE = """
import os, sys
from pathlib import Path
from kvpack.tools.files import remove_tree
os.chdir(sys.argv[1])
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
remove_tree(Path("tree"))
"""


def nobody(folder: Path) -> None:
    """Remove ``folder/tree`` with the rights of a plain user: root may do anything."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    subprocess.run([sys.executable, "-c", REMOVE, folder], check=True)


def test_read_only_folders_are_removed(tmp_path: Path) -> None:
    deep = tmp_path / "tree" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"")
    (tmp_path / "tree" / "closed" / "x").mkdir(parents=True)
    (tmp_path / "tree" / "closed").chmod(0)
    for path in (deep / "file", deep, deep.parent, tmp_path / "tree"):
        path.chmod(0o555)
    nobody(tmp_path)
    assert names(tmp_path) == []


def test_links_out_of_a_read_only_folder_lead_to_no_harm(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_bytes(b"kept")
    (outside / "folder" / "file").write_bytes(b"kept")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").symlink_to("../outside/file")
    (tree / "folder").symlink_to("../outside/folder")
    (outside / "file").chmod(0o640)
    (outside / "folder").chmod(0o750)
    tree.chmod(0o555)
    nobody(tmp_path)
    assert names(tmp_path) == ["outside"]
    assert (outside / "folder" / "file").read_bytes() == b"kept"
    assert [(outside / name).stat().st_mode & 0o777 for name in ("file", "folder")] == [
        *(0o640, 0o750),
    ]


def test_files_links_and_nothing_are_removed_as_well(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "file").touch()
    for name in ("link", "file", "absent"):
        remove_tree(tmp_path / name)
    assert names(tmp_path) == ["kept"]
