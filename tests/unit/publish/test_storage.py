import hashlib
import mmap
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kvpack.errors import ObjectConflict, StorageFailed, StorageUnsafe, UsageError
from kvpack.publish.commit import Channel
from kvpack.publish.index import Page
from kvpack.publish.storage import PROBES, compare, guarded, probe, put, put_page, stored
from kvpack.tools.aws_files import profile
from kvpack.tools.folder import FolderObjects
from kvpack.tools.objects import MAPPED, ObstoreObjects, _content, open_objects
from kvpack.tools.stored import (
    Changed,
    Exists,
    Headers,
    Objects,
    Stat,
    Version,
    explained,
    is_final,
    is_mute,
)
from tests.unit.publish.faulty import Deaf
from tests.unit.publish.made import memory

PLAIN = Headers("text/plain", "no-cache")


@pytest.fixture(params=["memory", "folder"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return memory() if request.param == "memory" else FolderObjects(tmp_path / "store")


def test_create_never_replaces(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    objects.create("a/b+c", tmp_path / "file", PLAIN)
    with pytest.raises(Exists):
        objects.create("a/b+c", b"other", PLAIN)
    found = objects.get("a/b+c")
    assert found is not None
    assert (found.data, found.stat.size) == (b"from a file", 11)
    assert b"".join(objects.chunks("a/b+c")) == b"from a file"
    assert objects.range("a/b+c", 5, 6) == b"a"
    assert objects.head("a/b+c") == found.stat


def test_swap_replaces_only_what_was_read(objects: Objects) -> None:
    objects.create("a", b"1", PLAIN)
    first = objects.head("a")
    assert first is not None
    objects.swap("a", b"2", PLAIN, first.version)
    with pytest.raises(Changed):
        objects.swap("a", b"3", PLAIN, first.version)
    with pytest.raises(Changed):
        objects.swap("absent", b"3", PLAIN, first.version)
    assert [(stat.key, stat.size) for stat in objects.list()] == [("a", 1)]


def test_the_start_of_an_object(objects: Objects) -> None:
    objects.create("a", b"0123456789", PLAIN)
    objects.create("empty", b"", PLAIN)
    whole, start = objects.get("a"), objects.start("a", 4)
    assert whole is not None
    assert start is not None
    assert start.data == b"0123"
    assert start.stat == whole.stat
    for key, data in (("a", b"0123456789"), ("empty", b"")):
        found = objects.start(key, 100)
        assert found is not None
        assert (found.data, found.stat.size) == (data, len(data))


def test_absence_is_an_answer(objects: Objects) -> None:
    assert objects.get("x/y") is None
    assert objects.start("x/y", 4) is None
    assert objects.head("x/y") is None
    assert list(objects.list("x/")) == []


def test_one_of_many_wins(objects: Objects) -> None:
    objects.create("a", b"start", PLAIN)
    stat = objects.head("a")
    assert stat is not None
    won: list[bytes] = []

    def race(data: bytes) -> None:
        try:
            objects.swap("a", data, PLAIN, stat.version)
            won.append(data)
        except Changed:
            pass

    threads = [threading.Thread(target=race, args=(b"%d" % n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = objects.get("a")
    assert found is not None
    assert won == [found.data]


def test_a_folder_keeps_names_inside(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path / "store")
    for key in ("../x", "/x", "a/../../x", "a//b", ".kvpack/lock"):
        with pytest.raises(StorageFailed):
            objects.create(key, b"", PLAIN)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_leaves_no_scratch(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    objects.create("a", b"1", PLAIN)
    with pytest.raises(Exists):
        objects.create("a", b"1", PLAIN)
    assert list((tmp_path / ".kvpack" / "tmp").iterdir()) == []
    assert [stat.key for stat in objects.list()] == ["a"]


def test_large_files_are_mapped_not_read(tmp_path: Path) -> None:
    for name, size in (("large", MAPPED), ("small", MAPPED - 1)):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(size)
    assert isinstance(_content(tmp_path / "large"), mmap.mmap)
    assert _content(tmp_path / "small") == tmp_path / "small"
    objects = memory()
    objects.create("large", tmp_path / "large", PLAIN)
    with pytest.raises(Exists):
        objects.create("large", tmp_path / "large", PLAIN)
    found = objects.head("large")
    assert found is not None
    assert found.size == MAPPED


# -- the probe ------------------------------------------------------------------------------------


def test_the_probe_leaves_nothing(objects: Objects) -> None:
    assert guarded(objects, single_writer=False) is objects
    assert list(objects.list()) == []


def test_a_storage_that_ignores_conditions_is_refused() -> None:
    inner = memory()
    with pytest.raises(StorageUnsafe) as caught:
        guarded(Deaf(inner), single_writer=False)
    assert "creating over an object succeeds" in caught.value.what
    assert "replacing a version that is gone succeeds" in caught.value.what
    assert "--single-writer" in caught.value.hint
    assert list(inner.list()) == []


def test_a_single_writer_may_use_it() -> None:
    objects = guarded(Deaf(memory()), single_writer=True)
    assert probe(objects) == []
    objects.create("a", b"1", PLAIN)
    with pytest.raises(Exists):
        objects.create("a", b"2", PLAIN)


def test_half_a_condition_is_not_enough() -> None:
    class Half(Deaf):
        def create(self, key: str, data: object, headers: Headers) -> None:
            self.inner.create(key, data, headers)  # type: ignore[arg-type]

    with pytest.raises(StorageUnsafe, match="replacing a version"):
        guarded(Half(memory()), single_writer=False)


# -- immutable objects ----------------------------------------------------------------------------


def test_the_same_bytes_are_a_no_op(objects: Objects) -> None:
    wanted = stored("files/x", b"bytes")
    assert put(objects, wanted, b"bytes")[0]
    assert not put(objects, wanted, b"bytes")[0]


def test_other_bytes_are_refused(objects: Objects) -> None:
    put(objects, stored("files/x", b"bytes"), b"bytes")
    for other in (b"bytez", b"longer bytes"):
        with pytest.raises(ObjectConflict, match="files/x"):
            put(objects, stored("files/x", other), other)
    assert compare(objects, stored("files/x", b"bytes"))[0] is None


def test_what_a_storage_mangles_is_found_on_reading_back() -> None:
    class Mangling(Deaf):
        def create(self, key: str, data: object, headers: Headers) -> None:
            self.inner.create(key, bytes(data)[::-1], headers)  # type: ignore[call-overload]

    with pytest.raises(StorageFailed, match="was written, but its sha256"):
        put(Mangling(memory()), stored("files/x", b"bytes"), b"bytes")


def test_a_digest_that_the_storage_answers_is_not_read_again() -> None:
    inner = memory()
    inner.create("files/x", b"bytes", PLAIN)
    found = inner.head("files/x")
    assert found is not None
    md5 = hashlib.md5(b"bytes", usedforsecurity=False).hexdigest()
    answered = replace(found, version=Version(f'"{md5}"'))

    class Answering(Deaf):
        def __init__(self) -> None:
            super().__init__(inner)
            self.head = self._head
            self.chunks = self._chunks

        def _head(self, key: str) -> Stat | None:
            assert key == "files/x"
            return answered

        def _chunks(self, key: str) -> Iterator[bytes]:
            raise AssertionError(f"{key} was downloaded")

    objects = Answering()
    assert compare(objects, stored("files/x", b"bytes"))[0] is None


# -- URLs, credentials, errors --------------------------------------------------------------------


@pytest.mark.parametrize("url", ["ftp://x", "http://host/x", "s3://", "", "file://relative"])
def test_a_url_that_is_no_storage(url: str) -> None:
    with pytest.raises(UsageError):
        open_objects(url)


def test_credentials_in_a_url_are_refused_unseen() -> None:
    with pytest.raises(UsageError) as caught:
        open_objects("s3://key:secret@bucket/x")
    assert "secret" not in str(caught.value.as_json())


def test_urls_of_folders(tmp_path: Path) -> None:
    assert open_objects(str(tmp_path)).name == tmp_path.as_uri()
    assert open_objects(tmp_path.as_uri()).name == tmp_path.as_uri()


def test_profiles_of_aws(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
        "[ci]\naws_access_key_id = c\naws_secret_access_key = d\naws_session_token = e\n"
    )
    (tmp_path / ".aws/config").write_text(
        "[default]\nregion = eu-north-1\n[profile ci]\nendpoint_url = http://h:1\n"
    )
    home = {"HOME": str(tmp_path)}
    assert profile(home) == {
        "access_key_id": "a", "secret_access_key": "b", "region": "eu-north-1",
    }  # fmt: skip
    assert profile({**home, "AWS_PROFILE": "ci"}) == {
        "access_key_id": "c", "secret_access_key": "d", "session_token": "e",
        "endpoint": "http://h:1",
    }  # fmt: skip
    assert profile({**home, "AWS_ACCESS_KEY_ID": "x", "AWS_REGION": "r"}) == {"region": "r"}
    assert profile({"HOME": str(tmp_path / "nobody")}) == {}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("404 Not Found: <Code>NoSuchBucket</Code>", "there is no such bucket"),
        ("403 Forbidden: <Code>ExpiredToken</Code>", "the credentials have expired"),
        ("400 Bad Request: <Code>InvalidToken</Code><Token-0>secret<", "were not accepted"),
        (
            "403: RequestTimeTooSkewed<RequestTime>now</RequestTime><ServerTime>then</ServerTime>",
            "from the storage's: now here, then there",
        ),
        ("403 Forbidden: Request date header too old: 'Fri'", "the clock of this machine"),
        (
            "400: <Error><Code>Odd</Code><Message>Why</Message><Token-0>secret</Token-0></Error>",
            "400: Odd: Why",
        ),
        ("403 Forbidden: <Code>SignatureDoesNotMatch</Code>", "were not accepted"),
        ("builder error BadScheme", "http://"),
        ("error sending request\n\nDebug source: secret", "error sending request"),
        ("GET https://h/x?sig=abc&X-Amz-Signature=def failed", "sig=***&X-Amz-Signature=***"),
    ],
)
def test_errors_say_why_and_hide_credentials(text: str, cause: str) -> None:
    found, hint = explained(text)
    assert cause in found
    assert hint
    assert "secret" not in found
    assert "abc" not in found


@pytest.mark.parametrize(
    ("text", "final", "mute"),
    [
        ("Error performing HEAD http://h/k in 1.7ms - Server returned … 400 Bad Request: ", 0, 1),
        ("Error performing HEAD http://h/k in 1.7ms - Server returned … 403 Forbidden: ", 0, 1),
        ("Error performing HEAD http://h:40312/k in 1.403s - … 503 Slow Down: ", 0, 0),
        ("Error performing PUT http://h/k in 2ms - … 400 Bad Request: <Code>ExpiredToken<", 1, 0),
        ("Error performing GET http://h/k in 2ms - … 403 …: <Code>RequestTimeTooSkewed<", 1, 0),
        ("Error performing PUT http://h/k in 2ms - … 500 Internal Server Error: ", 0, 0),
    ],
)
def test_which_refusals_are_asked_again(text: str, final: int, mute: int) -> None:
    assert (is_final(text), is_mute(text)) == (bool(final), bool(mute))


def test_a_storage_that_is_down_is_told_in_time() -> None:
    url = "s3://bucket/prefix"
    environment = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "hidden",
    }
    objects = ObstoreObjects(url, environment=environment, pause=lambda _: None)
    with pytest.raises(StorageFailed) as caught:
        objects.head(f"{PROBES}x")
    assert caught.value.what.startswith("s3://bucket/prefix: could not read")
    assert "hidden" not in str(caught.value.as_json())


@pytest.mark.parametrize("data", [b"{", b"{}", b'{"schema": 9}', b"\xff"])
def test_a_damaged_pointer_is_told(data: bytes) -> None:
    objects = memory()
    objects.create("channels/stable.json", data, PLAIN)
    with pytest.raises(StorageFailed, match="is no pointer that this kvpack can read"):
        Channel(objects, "stable").head()


@pytest.mark.parametrize("ahead", [0, 7200])
def test_what_killed_writers_left_in_a_folder_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    """Only that: what others write now stays, though this machine's clock be two hours ahead."""
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + ahead)
    scratch = tmp_path / ".kvpack" / "tmp"
    scratch.mkdir(parents=True)
    (scratch / "old").write_bytes(b"")
    os.utime(scratch / "old", (1, 1))
    (scratch / "new").write_bytes(b"")
    open_objects(str(tmp_path))
    assert [path.name for path in scratch.iterdir()] == ["new"]


# -- pages ----------------------------------------------------------------------------------------


def test_a_page_is_only_written_forwards(objects: Objects) -> None:
    def page(serial: int, more: str = "") -> Page:
        data = f'<meta name="kvpack-serial" content="{serial}">{more}'.encode()
        return Page("stable/x.html", "text/html", data)

    assert put_page(objects, page(3), 3)
    assert not put_page(objects, page(3), 3)
    assert not put_page(objects, page(2, "older"), 2)
    assert put_page(objects, page(3, "mended"), 3)
    assert put_page(objects, page(4), 4)
    found = objects.get("stable/x.html")
    assert found is not None
    assert found.data == page(4).data
