import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvpack.errors import (
    ConfigInvalid,
    DigestMismatch,
    DiskFull,
    FetchFailed,
    KvpackError,
    OfflineMissing,
)
from kvpack.fetch.download import fetch
from kvpack.fetch.model import Wanted
from kvpack.fetch.registries import Registries
from kvpack.fetch.transfer import Effort
from kvpack.report import Reporter, Silent
from kvpack.tools.process import Command, Result
from kvpack.tools.store import Store
from tests.unit.fetch.upstream import Ears, Reply, Upstream, deb, refusing, serving, sha

BODY = bytes(range(256)) * 1024
QUICK = Effort(pause=0.001)


def nothing_installed(command: Command, reporter: Reporter) -> Result:  # noqa: ARG001
    """Answer as on a machine where pip, uv and apt know nothing."""
    return Result(command=command.words, code=1, output="")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


Make = Callable[..., Registries]


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Make]:
    """Make the registries of a machine with these mirrors of Debian."""
    with contextlib.ExitStack() as stack:

        def make(*urls: str, read: float | None = None) -> Registries:
            listed = ", ".join(f'"{url}"' for url in urls)
            (tmp_path / "kvpack.toml").write_text(f"[registries.debian]\nmirrors = [{listed}]\n")
            environment = {"HOME": str(tmp_path)}
            registries = Registries(
                tmp_path, reporter=Silent(), environment=environment, runner=nothing_installed
            )
            if read is not None:
                registries = _impatient(registries, read)
            return stack.enter_context(registries)

        yield make


def _impatient(registries: Registries, read: float) -> Registries:
    """Set the read time-out of every connection: no configuration can name one for Debian."""
    from kvpack.tools.http import Http
    from kvpack.tools.web import HttpSettings

    registries._connect = lambda _settings, env: Http(HttpSettings(read=read), environment=env)
    return registries


def get(
    wanted: list[Wanted],
    store: Store,
    registries: Registries,
    ears: Ears | None = None,
    effort: Effort = QUICK,
) -> None:
    fetch(wanted, store=store, registries=registries, reporter=ears or Ears(), effort=effort)


def test_wanted_files_are_in_the_store_afterwards(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    one, two = deb(BODY), deb(b"two", name="y_1_all.deb")
    upstream.put("/debian/" + one.place, BODY)
    upstream.put("/debian/" + two.place, b"two")
    ears = Ears()
    get([one, two, one], store, mirrors(upstream.url + "/debian/"), ears)
    assert store.read(one.sha256) == BODY
    assert store.read(two.sha256) == b"two"
    assert len(upstream.seen) == 2
    assert ears.steps == ["Fetching 2 files"]
    total = len(BODY) + 3
    assert ears.marks[-1] == (total, total, "B")
    assert not list((store.root / "partial").iterdir())


def test_what_is_in_the_store_asks_nobody(store: Store, mirrors: Make) -> None:
    store.add_bytes(BODY)
    ears = Ears()
    get([deb(BODY)], store, mirrors(), ears)
    assert ears.steps == []


def test_progress_counts_files_where_a_size_is_unknown(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    wanted = deb(BODY, size=None)
    upstream.put("/" + wanted.place, BODY)
    ears = Ears()
    get([wanted], store, mirrors(upstream.url), ears)
    assert ears.marks[-1] == (1, 1, "files")


WRONG = bytes(len(BODY))
FAULTY: dict[str, tuple[Reply | None, bool, str]] = {
    # what the first mirror does: (its answer, whether it is tried again, why it failed)
    "refused": (None, False, "no connection"),
    "not-found": (Reply(status=404), False, "HTTP 404"),
    "forbidden": (Reply(status=403), False, "HTTP 403"),
    "server-error": (Reply(status=500), True, "HTTP 500"),
    "cut": (Reply(body=BODY, cut=1000), True, "the connection was cut"),
    "cut-silently": (
        Reply(body=BODY[:-1], length=False, ranges=False),
        True,
        "the answer ended after",
    ),
    "wrong": (Reply(body=WRONG), False, f"expected sha256 {sha(BODY)}, found {sha(WRONG)}"),
    "short": (Reply(body=b"<html>"), False, f"found {sha(b'<html>')}"),
    "long": (Reply(body=BODY + b"x"), False, "a longer body"),
    # The surplus comes alone, after bytes that have the right digest.
    "long-later": (
        Reply(body=BODY + b"x", before=lambda: time.sleep(0.05)),
        False,
        "a longer body",
    ),
}
ANSWERED_WRONGLY = {"wrong", "short", "long", "long-later"}


@pytest.mark.parametrize("kind", FAULTY)
def test_every_failure_leads_to_the_next_mirror(
    kind: str, upstream: Upstream, other: Upstream, store: Store, mirrors: Make
) -> None:
    reply, _, _ = FAULTY[kind]
    wanted, ears = deb(BODY), Ears()
    other.put("/" + wanted.place, BODY)
    first = refusing() if reply is None else upstream.url
    upstream.put("/" + wanted.place, reply or b"")
    get([wanted], store, mirrors(first, other.url), ears)
    assert store.read(wanted.sha256) == BODY
    assert other.count("/" + wanted.place) >= 1
    assert bool(ears.warnings) == (kind in ANSWERED_WRONGLY)


@pytest.mark.parametrize("kind", FAULTY)
def test_when_no_mirror_has_it_the_error_says_why(
    kind: str, upstream: Upstream, store: Store, mirrors: Make
) -> None:
    reply, again, reason = FAULTY[kind]
    wanted = deb(BODY)
    url = (refusing() if reply is None else upstream.url) + "/" + wanted.place
    upstream.put("/" + wanted.place, reply or b"")
    wrong = kind in ANSWERED_WRONGLY
    ears = Ears()
    with pytest.raises(DigestMismatch if wrong else FetchFailed) as caught:
        get([wanted], store, mirrors(url.removesuffix("/" + wanted.place)), ears)
    (fault,) = caught.value.faults
    assert fault.place == f"debian: {wanted.place}"
    assert f"{url}: " in fault.message
    assert reason in fault.message
    assert caught.value.cause
    assert caught.value.hint
    assert not store.has(wanted.sha256)
    assert upstream.count("/" + wanted.place) == (0 if reply is None else 3 if again else 1)
    if wrong:
        (warning,) = ears.warnings
        assert f"{url} answered with other bytes" in warning
        assert sha(BODY) in warning
        assert not list((store.root / "partial").iterdir())


def test_silence_leads_to_the_next_mirror(
    upstream: Upstream, other: Upstream, store: Store, mirrors: Make
) -> None:
    """A machine that is slower than the time-out for a while only asks more often."""
    wanted, release = deb(BODY), threading.Event()
    upstream.put("/" + wanted.place, Reply(body=BODY, before=release.wait))
    other.put("/" + wanted.place, BODY)
    leave_partial(store, wanted, BODY[:1000])
    patient = Effort(pause=0.001, rounds=12)
    try:
        get([wanted], store, mirrors(upstream.url, other.url, read=0.1), effort=patient)
    finally:
        release.set()
    assert store.read(wanted.sha256) == BODY
    starts = [int(str(seen.range)[6:-1]) for seen in (*upstream.seen[:1], *other.seen)]
    assert starts == sorted(starts)  # what came before the silence is kept
    assert starts[0] == 1000
    assert len(starts) > 1
    assert starts[-1] > 1000


def test_mirrors_are_tried_in_their_order(
    upstream: Upstream, other: Upstream, store: Store, mirrors: Make
) -> None:
    wanted = deb(BODY)
    for server in (upstream, other):
        server.put("/" + wanted.place, BODY)
    get([wanted], store, mirrors(other.url, upstream.url))
    assert (len(other.seen), len(upstream.seen)) == (1, 0)


def test_passing_failures_are_tried_again_with_lasting_ones_left_out(
    upstream: Upstream, other: Upstream, store: Store, mirrors: Make
) -> None:
    wanted = deb(BODY)
    upstream.put("/" + wanted.place, Reply(status=404))
    other.put("/" + wanted.place, Reply(status=503), Reply(status=502), BODY)
    get([wanted], store, mirrors(upstream.url, other.url))
    assert store.has(wanted.sha256)
    assert (len(upstream.seen), len(other.seen)) == (1, 3)


def test_pauses_between_rounds_grow(upstream: Upstream, store: Store, mirrors: Make) -> None:
    """The clock here is the event that the pauses wait on."""
    pauses = []

    class Clock(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return False

    from kvpack.fetch.partial import Watch
    from kvpack.fetch.transfer import obtain

    wanted = deb(BODY)
    upstream.put("/" + wanted.place, Reply(status=503))
    watch = Watch(moved=lambda _: None, warn=lambda _: None, stop=Clock())
    registries = mirrors(upstream.url)
    tried = obtain(wanted, store=store, registries=registries, watch=watch, effort=Effort(jitter=0))
    assert pauses == [1.0, 2.0]
    assert [entry.status for entry in tried] == [503]


# -- resume ---------------------------------------------------------------------------------


def leave_partial(store: Store, wanted: Wanted, data: bytes) -> None:
    path = store.partial_path(wanted.sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)


RESUMES: dict[str, tuple[bytes, Reply, list[str | None]]] = {
    # what lies there, what the server does, the ranges that it sees
    "half": (BODY[:1000], Reply(body=BODY), ["bytes=1000-"]),
    "no-ranges": (BODY[:1000], Reply(body=BODY, ranges=False), ["bytes=1000-"]),
    "garbage": (b"?" * 1000, Reply(body=BODY), ["bytes=1000-", None]),
    "garbage-no-ranges": (b"?" * 1000, Reply(body=BODY, ranges=False), ["bytes=1000-"]),
    "garbage-of-full-size": (WRONG, Reply(body=BODY), [f"bytes={len(BODY)}-", None]),
    "too-long": (BODY + b"x", Reply(body=BODY), [None]),
    "wrong-range": (
        BODY[:1000],
        Reply(body=BODY, range_header="bytes 5-9/10"),
        ["bytes=1000-", None],
    ),
    "whole": (BODY, Reply(status=404), []),
}


@pytest.mark.parametrize("size", [len(BODY), None], ids=["size", "no-size"])
@pytest.mark.parametrize("kind", RESUMES)
def test_a_partial_download_is_resumed(
    kind: str, size: int | None, upstream: Upstream, store: Store, mirrors: Make
) -> None:
    partial, reply, ranges = RESUMES[kind]
    wanted, ears = deb(BODY, size=size), Ears()
    upstream.put("/" + wanted.place, reply)
    leave_partial(store, wanted, partial)
    get([wanted], store, mirrors(upstream.url), ears)
    assert store.read(wanted.sha256) == BODY
    if kind != "too-long" or size is not None:
        assert [seen.range for seen in upstream.seen] == ranges
    assert ears.warnings == []
    if size is not None:
        assert ears.marks[-1] == (size, size, "B")


def test_a_download_that_is_cut_again_and_again_still_moves_on(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    wanted = deb(BODY)
    cut = Reply(body=BODY, cut=1000)
    upstream.put("/" + wanted.place, cut, cut, BODY)
    get([wanted], store, mirrors(upstream.url))
    assert [seen.range for seen in upstream.seen] == [None, "bytes=1000-", "bytes=2000-"]


def test_what_was_cut_is_kept_for_the_next_run(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    wanted = deb(BODY)
    upstream.put("/" + wanted.place, Reply(body=BODY, cut=1000))
    with pytest.raises(FetchFailed):
        get([wanted], store, mirrors(upstream.url), effort=Effort(rounds=1))
    assert store.partial_path(wanted.sha256).read_bytes() == BODY[:1000]
    upstream.put("/" + wanted.place, BODY)
    get([wanted], store, mirrors(upstream.url))
    assert upstream.seen[-1].range == "bytes=1000-"


def test_a_bad_start_from_one_mirror_is_not_blamed_on_the_next(
    upstream: Upstream, other: Upstream, store: Store, mirrors: Make
) -> None:
    wanted, ears = deb(BODY), Ears()
    upstream.put("/" + wanted.place, Reply(body=WRONG, cut=1000))
    other.put("/" + wanted.place, BODY)
    get([wanted], store, mirrors(upstream.url, other.url), ears)
    assert store.read(wanted.sha256) == BODY
    assert [seen.range for seen in other.seen] == ["bytes=1000-", None]
    assert ears.warnings == []


# -- several at once ------------------------------------------------------------------------


def test_one_failure_does_not_stop_the_others(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    files = [deb(bytes([n]) * 9, name=f"p{n}_1_all.deb") for n in range(6)]
    for n in range(4):
        upstream.put("/" + files[n].place, bytes([n]) * 9)
    with pytest.raises(FetchFailed, match="2 of 6 files") as caught:
        get(files, store, mirrors(upstream.url), effort=Effort(jobs=1, pause=0.001))
    assert [store.has(entry.sha256) for entry in files] == [True] * 4 + [False] * 2
    assert [fault.place for fault in caught.value.faults] == [
        f"debian: {entry.place}" for entry in files[4:]
    ]
    assert "kvpack lock --upgrade debian-bookworm" in caught.value.faults[0].hint


def test_a_lasting_failure_beside_wrong_bytes_is_fetch_failed(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    wrong, missing = deb(BODY), deb(b"x", name="y_1_all.deb")
    upstream.put("/" + wrong.place, WRONG)
    with pytest.raises(FetchFailed) as caught:
        get([wrong, missing], store, mirrors(upstream.url))
    assert len(caught.value.faults) == 2


def test_the_largest_is_fetched_first(upstream: Upstream, store: Store, mirrors: Make) -> None:
    files = [deb(b"x" * size, name=f"p{size}_1_all.deb") for size in (5, 50, 20)]
    for entry in files:
        upstream.put("/" + entry.place, b"x" * (entry.size or 0))
    get(files, store, mirrors(upstream.url), effort=Effort(jobs=1))
    assert [path.rpartition("/")[2] for path in upstream.paths] == [
        f"p{size}_1_all.deb" for size in (50, 20, 5)
    ]


def test_files_are_fetched_at_the_same_time(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    """Each answer waits until the other was asked for."""
    both = threading.Barrier(2, timeout=60)
    files = [deb(bytes([n]) * 9, name=f"p{n}_1_all.deb") for n in range(2)]
    for n, entry in enumerate(files):
        upstream.put("/" + entry.place, Reply(body=bytes([n]) * 9, before=both.wait))
    get(files, store, mirrors(upstream.url), effort=Effort(jobs=2))
    assert all(store.has(entry.sha256) for entry in files)


def hold_first(upstream: Upstream, path: str, seconds: float) -> Callable[[], None]:
    """Hold an answer for a moment, or until a second request for ``path`` comes."""
    second = threading.Event()

    def wait() -> None:
        if upstream.count(path) > 1:
            second.set()
        second.wait(seconds)

    return wait


def test_two_threads_download_one_blob_once(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    wanted = deb(BODY)
    path = "/" + wanted.place
    upstream.put(path, Reply(body=BODY, before=hold_first(upstream, path, 0.15)))
    registries = mirrors(upstream.url)
    threads = [
        threading.Thread(target=get, args=([wanted], Store(store.root), registries))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(wanted.sha256) == BODY
    assert upstream.count(path) == 1


PROCESS = """
import signal
import sys
from pathlib import Path
from kvpack.fetch.download import fetch
from kvpack.fetch.model import Wanted
from kvpack.fetch.registries import Registries
from kvpack.report import Silent
from kvpack.tools.store import Store
root, entry = Path(sys.argv[1]), Wanted.model_validate_json(sys.argv[2])
registries = Registries(root, reporter=Silent(), environment={"HOME": "/", "PATH": ""})
# A shell that put this run into the background has set SIGINT to be ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
print("ready", flush=True)
sys.stdin.readline()
fetch([entry], store=Store(root / "store"), registries=registries, reporter=Silent())
"""


def test_two_processes_download_one_blob_once(
    upstream: Upstream, store: Store, tmp_path: Path
) -> None:
    wanted = deb(BODY)
    path = "/" + wanted.place
    upstream.put(path, Reply(body=BODY, before=hold_first(upstream, path, 0.2)))
    (tmp_path / "kvpack.toml").write_text(f'[registries.debian]\nmirrors = ["{upstream.url}"]\n')
    words = [sys.executable, "-c", PROCESS, str(tmp_path), wanted.model_dump_json()]
    pipe = subprocess.PIPE
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(subprocess.Popen(words, stdin=pipe, stdout=pipe)) for _ in range(2)
        ]
        for one in both:
            assert one.stdout is not None
            assert one.stdout.readline() == b"ready\n"
        for one in both:
            assert one.stdin is not None
            one.stdin.write(b"\n")
            one.stdin.flush()
    assert [one.returncode for one in both] == [0, 0]
    assert store.read(wanted.sha256) == BODY
    assert upstream.count(path) == 1


def test_a_process_ends_at_an_interrupt_although_a_server_is_silent(
    upstream: Upstream, store: Store, tmp_path: Path
) -> None:
    wanted = deb(BODY)
    asked, release = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        release.wait()

    upstream.put("/" + wanted.place, Reply(body=BODY, before=hang))
    (tmp_path / "kvpack.toml").write_text(f'[registries.debian]\nmirrors = ["{upstream.url}"]\n')
    words = [sys.executable, "-c", PROCESS, str(tmp_path), wanted.model_dump_json()]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert asked.wait(60)
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == -signal.SIGINT
        finally:
            release.set()
            process.kill()
    assert not store.has(wanted.sha256)


# -- ends -----------------------------------------------------------------------------------


def test_offline_lists_everything_that_is_missing(store: Store, mirrors: Make) -> None:
    files = [deb(bytes([n]) * 9, name=f"p{n}_1_all.deb") for n in range(3)]
    store.add_bytes(bytes([1]) * 9)
    with pytest.raises(OfflineMissing, match="lacks 2 files") as caught:
        fetch(files, store=store, registries=mirrors(), reporter=Ears(), offline=True)
    assert [fault.place for fault in caught.value.faults] == [
        f"debian: {files[n].place}" for n in (0, 2)
    ]
    assert "kvpack fetch" in caught.value.hint


def test_offline_with_everything_there_is_fine(store: Store, mirrors: Make) -> None:
    store.add_bytes(BODY)
    fetch([deb(BODY)], store=store, registries=mirrors(), reporter=Ears(), offline=True)


def test_no_mirror_at_all_says_what_to_write(store: Store, mirrors: Make) -> None:
    with pytest.raises(FetchFailed, match="no mirror of Debian") as caught:
        get([deb(BODY)], store, mirrors())
    assert "[registries.debian] mirrors" in caught.value.hint


def test_a_full_disk_ends_the_run_and_says_so(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    """Writes to /dev/full fail as on a full disk."""
    wanted = deb(BODY)
    upstream.put("/" + wanted.place, BODY)
    partial = store.partial_path(wanted.sha256)
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    with pytest.raises(DiskFull) as caught:
        get([wanted], store, mirrors(upstream.url))
    assert "same command again" in caught.value.hint


def test_a_bad_configuration_ends_the_run(store: Store, mirrors: Make, tmp_path: Path) -> None:
    registries = mirrors()
    (tmp_path / "kvpack.toml").write_text("[registry]\n")
    with pytest.raises(ConfigInvalid):
        get([deb(BODY)], store, registries)


def test_an_error_in_a_thread_is_raised_by_fetch(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    """A trust store that is gone is found out when the first connection is made."""
    from kvpack.tools.http import Http
    from kvpack.tools.web import HttpSettings

    registries = mirrors(upstream.url)
    registries._connect = lambda _settings, env: Http(
        HttpSettings(cert="/nonexistent/ca.pem"), environment=env
    )
    with pytest.raises(KvpackError, match=r"ca\.pem"):
        get([deb(BODY)], store, registries)


def test_an_interrupt_does_not_wait_for_the_servers(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    """One server stays silent for ever; the interrupt comes while the other file arrives."""
    release = threading.Event()
    silent, quick = deb(BODY), deb(b"quick", name="q_1_all.deb")
    upstream.put("/" + silent.place, Reply(body=BODY, before=release.wait))
    upstream.put("/" + quick.place, b"quick")

    def interrupt() -> None:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            get([silent, quick], store, mirrors(upstream.url), Ears(interrupt))
        assert not release.is_set()
    finally:
        release.set()


def test_urls_and_files_need_no_registry(tmp_path: Path, store: Store, mirrors: Make) -> None:
    (tmp_path / "f").write_bytes(BODY)
    wanted = Wanted(registry="url", place=(tmp_path / "f").as_uri(), filename="f", sha256=sha(BODY))
    get([wanted], store, mirrors())
    assert store.read(wanted.sha256) == BODY
    (tmp_path / "f").write_bytes(WRONG)
    store.blob_path(wanted.sha256).unlink()
    with pytest.raises(DigestMismatch) as caught:
        get([wanted], store, mirrors())
    assert caught.value.faults[0].place == wanted.place


def test_credentials_of_a_mirror_are_in_no_message(
    upstream: Upstream, store: Store, mirrors: Make
) -> None:
    wanted, ears = deb(BODY), Ears()
    upstream.put("/" + wanted.place, WRONG)
    with pytest.raises(DigestMismatch) as caught:
        get([wanted], store, mirrors(upstream.url.replace("//", "//me:secret@")), ears)
    assert upstream.seen[0].authorization is not None
    assert "secret" not in f"{caught.value.as_json()} {ears.warnings}"
    assert "***@127.0.0.1" in ears.warnings[0]
