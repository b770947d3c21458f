"""The store: bytes under their digest, records, scratch; safe with kills, races and full disks."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from kvpack.errors import DigestMismatch, DiskFull, StoreCorrupt
from kvpack.tools.files import is_locked
from kvpack.tools.records import KEPT, RECORDS, Kind
from kvpack.tools.store import CUT_AFTER, Store, default_store

ABSENT = "0" * 64


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A device of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "kvpack-test", folder], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", folder], check=True)


def spoil(store: Store, digest: str) -> Path:
    path = store.blob_path(digest)
    path.chmod(0o644)
    path.write_bytes(b"spoiled")
    return path


# -- blobs -----------------------------------------------------------------------------------


def test_bytes_lie_read_only_under_their_digest(store: Store) -> None:
    digest = store.add_bytes(b"blob")
    assert digest == sha(b"blob")
    assert store.has(digest)
    assert not store.has(ABSENT)
    path = store.blob_path(digest)
    assert path == store.root / "blobs" / "sha256" / digest[:2] / digest
    assert path.stat().st_mode & 0o777 == 0o444
    assert store.read(digest) == b"blob"
    assert store.check(digest) == path


def test_the_same_bytes_twice_are_one_blob(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"blob")
    first = store.blob_path(store.add_bytes(b"blob")).stat().st_ino
    assert store.blob_path(store.add_bytes(b"blob")).stat().st_ino == first
    assert store.blob_path(store.add_file(tmp_path / "file")).stat().st_ino == first
    assert list(store.blobs()) == [sha(b"blob")]


def test_a_file_is_copied_and_may_change_later(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"blob")
    digest = store.add_file(tmp_path / "file", expected=sha(b"blob"))
    (tmp_path / "file").write_bytes(b"edited")
    assert store.read(digest) == b"blob"


def test_a_file_with_other_bytes_than_expected_is_not_kept(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(DigestMismatch, match=f"expected {ABSENT}") as caught:
        store.add_file(tmp_path / "file", expected=ABSENT)
    assert sha(b"other") in caught.value.what
    assert list(store.blobs()) == []


def test_a_finished_download_becomes_a_blob(store: Store) -> None:
    partial = store.partial_path(sha(b"x"))
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x")
    path = store.adopt(partial, sha(b"x"))
    assert not partial.exists()
    assert store.check(sha(b"x")) == path
    assert path.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("how", ["read", "check", "place"])
def test_spoiled_bytes_are_never_handed_out_and_go(store: Store, how: str, tmp_path: Path) -> None:
    digest = store.add_bytes(b"blob")
    path = spoil(store, digest)
    with pytest.raises(StoreCorrupt, match=digest) as caught:
        getattr(store, how)(digest, *[tmp_path / "out"] * (how == "place"))
    assert "run the same command again" in caught.value.hint
    assert not path.exists()
    assert not (tmp_path / "out").exists()
    store.add_bytes(b"blob")
    assert store.read(digest) == b"blob"


def test_a_blob_is_placed_whole_and_apart(store: Store, tmp_path: Path) -> None:
    digest = store.add_bytes(b"blob")
    target = tmp_path / "out" / "file"
    store.place(digest, target)
    assert target.read_bytes() == b"blob"
    assert target.stat().st_mode & 0o200
    assert target.stat().st_nlink == 1


def test_verify_finds_every_spoiled_blob_and_removes_them_when_asked(store: Store) -> None:
    digests = [store.add_bytes(text) for text in (b"1", b"2", b"3")]
    bad = sorted(digests[:2])
    for digest in bad:
        spoil(store, digest)
    assert store.verify() == bad
    assert store.verify(repair=True) == bad
    assert store.verify() == []
    assert list(store.blobs()) == [digests[2]]


# -- records ---------------------------------------------------------------------------------


def test_records_come_back_as_they_were_written(store: Store) -> None:
    record = {"b": [1, "ä"], "a": None}
    store.write_record("cells", "demo/1.0/x", record)
    store.write_record("cells", "demo/1.0/y", {})
    assert store.read_record("cells", "demo/1.0/x") == record
    assert list(store.records("cells")) == [("demo/1.0/x", record), ("demo/1.0/y", {})]
    store.remove_record("cells", "demo/1.0/y")
    store.remove_record("cells", "demo/1.0/y")
    assert [name for name, _ in store.records("cells")] == ["demo/1.0/x"]
    assert list(store.records("actions")) == []


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"a": 1'])
def test_a_record_that_cannot_be_read_is_no_record(store: Store, text: bytes) -> None:
    store.write_record("actions", "good", {"a": 1})
    (store.root / "actions" / "bad.json").write_bytes(text)
    assert store.read_record("actions", "bad") is None
    assert store.read_record("actions", "absent") is None
    assert list(store.records("actions")) == [("good", {"a": 1})]


def test_the_store_is_marked_as_a_cache(store: Store) -> None:
    """https://bford.info/cachedir/ : backups leave it out."""
    store.add_bytes(b"x")
    tag = (store.root / "CACHEDIR.TAG").read_text(encoding="utf-8")
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_log_can_be_written_where_it_belongs(store: Store) -> None:
    store.log_path("abc").write_text("log", encoding="utf-8")
    assert (store.root / "logs" / "abc.log").is_file()


# -- scratch and locks -----------------------------------------------------------------------


def left(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "tmp").iterdir())


def test_scratch_is_removed_however_it_ends(store: Store) -> None:
    with store.scratch("build") as folder:
        assert folder.parent == store.root / "tmp"
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"x")

    def failing() -> None:
        with store.scratch("build") as other:
            (other / "file").touch()
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # it has no text
        failing()
    assert left(store) == []


SCRATCH = """
import sys, pathlib, time
from kvpack.tools.store import Store
with Store(pathlib.Path(sys.argv[1])).scratch("build") as folder:
    (folder / "file").write_bytes(b"x")
    print(folder.name, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_goes_and_what_is_in_use_stays(store: Store) -> None:
    words = [sys.executable, "-c", SCRATCH, str(store.root)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert store.remove_leftovers() == []
        assert left(store) == [name, f"{name}.lock"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    with store.scratch("build") as mine:
        assert left(store) == [mine.name, f"{mine.name}.lock"]


def test_locks_of_the_store_lie_in_it(store: Store) -> None:
    with store.lock("action-x") as waited:
        assert waited is False
        assert is_locked(store.root / "locks" / "action-x")
    assert not is_locked(store.root / "locks" / "action-x")


# -- care ------------------------------------------------------------------------------------


def test_collect_removes_what_nothing_names(store: Store) -> None:
    kept, gone = store.add_bytes(b"kept"), store.add_bytes(b"gone!")
    (store.root / "partial").mkdir()
    (store.root / "partial" / "cut").write_bytes(b"123")
    (store.root / "partial" / "busy").write_bytes(b"1234")
    (store.root / "tmp" / "old").mkdir(parents=True)
    with store.lock("blob-busy"):
        found = store.collect([kept, ABSENT])
    assert (found.entries, found.size) == (2, 8)
    assert list(store.blobs()) == [kept]
    assert not store.has(gone)
    assert [path.name for path in (store.root / "partial").iterdir()] == ["busy"]
    assert left(store) == []


def test_collect_removes_writes_that_were_cut_long_ago(store: Store) -> None:
    kept = store.add_bytes(b"kept")
    old, fresh = (store.blob_path(kept).with_name(f".x.{n}.tmp") for n in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - CUT_AFTER - 1,) * 2)
    assert store.collect([kept]).size == 4
    assert (old.exists(), fresh.exists()) == (False, True)
    assert list(store.blobs()) == [kept]


def test_collect_leaves_alone_what_builds_and_tools_call_so(store: Store) -> None:
    """A source may have a file called like a cut write; it is not kvpack's to remove."""
    store.write_record("cells", "x", {})
    cut = [store.root / kind / ".x.cut.tmp" for kind in ("blobs", *RECORDS)]
    with store.scratch("build") as folder:
        used = [folder / "source" / ".x.y.tmp", store.root / "tools" / "k" / "lib" / ".x.y.tmp"]
        for path in (*cut, *used):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
            os.utime(path, (time.time() - CUT_AFTER - 1,) * 2)
        assert store.collect([]).entries == len(cut)
        assert [path.exists() for path in (*cut, *used)] == [*[False] * len(cut), True, True]


def test_usage_counts_entries_and_bytes(store: Store) -> None:
    store.add_bytes(b"12345")
    store.add_bytes(b"123")
    store.write_record("actions", "x", {})
    found = store.usage()
    assert (found["blobs"].entries, found["blobs"].size) == (2, 8)
    assert found["actions"].entries == 1
    assert (found["tmp"].entries, found["tmp"].size) == (0, 0)


def test_usage_knows_every_folder_that_there_is(store: Store) -> None:
    """Those of all kinds, and what another version of kvpack left."""
    (store.root / "tools" / "deep").mkdir(parents=True)
    (store.root / "tools" / "deep" / "file").write_bytes(b"1234")
    for kind in RECORDS:
        store.write_record(kind, "a/b", {})
    store.log_path("x").touch()
    with store.lock("x"), store.scratch("x"):
        found = store.usage()
        assert {name for name, used in found.items() if used.entries} == {
            *(path.name for path in store.root.iterdir() if path.is_dir())
        }
    assert (found["tools"].entries, found["tools"].size) == (1, 4)


# -- what gc does with records -----------------------------------------------------------------


def test_every_kind_of_record_is_decided() -> None:
    assert set(RECORDS) == set(get_args(Kind))


DAY = 86400
THERE = sha(b"there")


@pytest.mark.parametrize(
    ("kind", "name", "days", "stays"),
    [
        ("sources", "commit", 0, {THERE}),
        ("sources", "commit+submodules", 9999, {THERE}),
        ("changes", "commit", 9999, {THERE}),
        ("audits", "{}-rules", 0, {THERE}),
        ("audits", "{}-rules", 9999, {THERE}),
        ("claims", "{}-rules-address", 89, {THERE, ABSENT}),
        ("claims", "{}-rules-address", 91, {THERE}),
        ("facts", "{}-rules", 89, {THERE, ABSENT}),
        ("facts", "{}-rules", 91, {THERE}),
        ("proofs", "question", 89, {THERE, ABSENT}),
        ("proofs", "question", 91, set()),
        ("pip", "signature", 89, {THERE, ABSENT}),
        ("pip", "signature", 91, set()),
        ("outcomes", "question", 0.9, {THERE, ABSENT}),
        ("outcomes", "question", 1.1, set()),
        ("circuits", "place", 0.9, {THERE, ABSENT}),
        ("circuits", "place", 1.1, set()),
        *((kind, "{}", 9999, {THERE, ABSENT}) for kind, rule in RECORDS.items() if rule is KEPT),
    ],
)
def test_collect_drops_records_that_vouch_for_nothing(
    store: Store, kind: Kind, name: str, days: float, stays: set[str]
) -> None:
    store.add_bytes(b"there")
    digests = {f"{n}/{name}".format(digest): digest for n, digest in enumerate((THERE, ABSENT))}
    for one, digest in digests.items():
        store.write_record(kind, one, {"sha256": digest, "wheel": {"sha256": digest}})
        os.utime(store.record_path(kind, one), (time.time() - days * DAY,) * 2)
    found = store.collect([THERE])
    assert {digests[one] for one, _ in store.records(kind)} == stays
    assert found.entries == 2 - len(stays)


def test_a_record_that_is_read_is_in_use(store: Store) -> None:
    for name, read in (("used", 1), ("unused", 91)):
        store.write_record("proofs", name, {})
        now = time.time()
        os.utime(store.record_path("proofs", name), (now - read * DAY, now - 400 * DAY))
    store.collect([])
    assert [name for name, _ in store.records("proofs")] == ["used"]


def test_a_record_goes_with_its_blob(store: Store) -> None:
    kept, gone = store.add_bytes(b"kept"), store.add_bytes(b"gone")
    for name, digest in (("k", kept), ("g", gone)):
        store.write_record("sources", name, {"sha256": digest})
        store.write_record("audits", f"{digest}-rules", {})
    store.record_path("sources", "damaged").write_bytes(b'{"sha256": "')
    assert store.collect([kept]).entries == 4  # the blob, its two records, the damaged one
    assert [name for name, _ in store.records("sources")] == ["k"]
    assert [name for name, _ in store.records("audits")] == [f"{kept}-rules"]


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KVPACK_STORE", str(tmp_path / "named"))
    assert default_store() == tmp_path / "named"
    monkeypatch.delenv("KVPACK_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_store() == tmp_path / "cache" / "kvpack"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_store() == tmp_path / ".cache" / "kvpack"


def test_a_store_stays_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(Path("here"))
    monkeypatch.chdir("/")
    store.add_bytes(b"x")
    assert (tmp_path / "here" / "blobs").is_dir()


# -- races and full disks --------------------------------------------------------------------


ADD = """
import sys, pathlib
from kvpack.tools.store import Store
store = Store(pathlib.Path(sys.argv[1]))
sys.stdin.readline()
for n in range(40):
    digest = store.add_bytes(b"%d" % n * 5000)
    assert store.read(digest) == b"%d" % n * 5000
    store.write_record("cells", "same", {"n": n, "text": "x" * 3000})
    assert store.read_record("cells", "same")["text"] == "x" * 3000
"""


def test_threads_and_processes_that_add_the_same_blobs_at_once(store: Store) -> None:
    words = [sys.executable, "-c", ADD, str(store.root)]
    others = [subprocess.Popen(words, stdin=subprocess.PIPE) for _ in range(2)]
    failed: list[str] = []

    def add() -> None:
        for n in range(40):
            data = b"%d" % n * 5000
            if store.read(store.add_bytes(data)) != data:
                failed.append(sha(data))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for process in others:
        process.communicate(b"go\n")
    for thread in threads:
        thread.join()
    assert [process.returncode for process in others] == [0, 0]
    assert failed == []
    assert store.verify() == []
    assert len(list(store.blobs())) == 40
    assert not list(store.root.rglob(".*"))


def test_a_full_disk_loses_nothing_and_leaves_nothing_half(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    kept = store.add_bytes(b"kept")
    big = os.urandom(100_000)
    (small_disk.parent / "big").write_bytes(big)

    def in_scratch() -> None:
        with store.scratch("build") as folder:
            (folder / "file").write_bytes(big)

    attempts = (
        lambda: store.add_bytes(big),
        lambda: store.add_file(small_disk.parent / "big"),
        lambda: store.write_record("actions", "x", {"x": big.hex()}),
        in_scratch,
    )
    for attempt in attempts:
        with pytest.raises(DiskFull, match=str(store.root)) as caught:
            attempt()
        assert "No space left on device" in caught.value.cause
    assert list(store.blobs()) == [kept]
    assert store.verify() == []
    assert store.read_record("actions", "x") is None
    assert left(store) == []
    assert not list(store.root.rglob(".*"))
    assert store.read(kept) == b"kept"
