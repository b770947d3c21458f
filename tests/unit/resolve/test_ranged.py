"""Reading a wheel's RECORD over real HTTP: what comes is counted, whatever the server does."""

import io
import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kvpack.errors import FetchFailed, WheelInvalid
from kvpack.resolve import ranged
from kvpack.resolve.model import Claims
from kvpack.resolve.ranged import RangedFile, claims_of_file, claims_of_url
from kvpack.tools.http import Http
from kvpack.tools.web import Body, HttpSettings, Page, TryFailed
from tests.unit.audit.wheels import record_line
from tests.unit.fetch.upstream import Reply, Upstream, serving

BIG = random.Random(4).randbytes(5 << 20)  # noqa: S311  # data that do not shrink
NAMED = ("demo", "1.0")
INFO = "demo-1.0.dist-info"
POINTS = b"[console_scripts]\ntool = demo:main\n"
METADATA = b"Name: demo\nRequires-Dist: torch\n  <2.9\nRequires-Dist: numpy\n\nRequires-Dist: no\n"


def packed(*, first: bool = False, files: int = 1, big: bytes = BIG) -> bytes:
    """A wheel with one big member; ``first``: dist-info stands before it."""
    small = {f"demo/m{n}.py": str(n).encode() for n in range(files)}
    record = "".join(record_line(path, data) for path, data in small.items())
    info = {
        f"{INFO}/METADATA": METADATA,
        f"{INFO}/entry_points.txt": POINTS,
        f"{INFO}/RECORD": record.encode(),
    }
    parts = [info, {"demo/big.so": big}] if first else [{"demo/big.so": big}, info]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*small.items(), *parts[0].items(), *parts[1].items()]:
            archive.writestr(name, data)
    return stream.getvalue()


LAST, FIRST = packed(), packed(first=True)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def web() -> Iterator[Http]:
    port = Http(HttpSettings(connect=60, read=60), environment={"HOME": "/nonexistent"})
    yield port
    port.close()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged, "PAUSE", 0)


def sound(claims: Claims, wheel: bytes) -> Claims:
    assert [claim.path for claim in claims.claims][-1] == "site-packages/demo/m0.py"
    assert claims.claims[0].made_from == "demo:main"
    assert (claims.distribution, claims.version, claims.size) == ("demo", "1.0", len(wheel))
    assert claims.requires == ("torch <2.9", "numpy")
    return claims


def served(upstream: Upstream, wheel: bytes) -> int:
    """Bytes that the requests seen so far were answered with, all obeyed."""
    total = 0
    for seen in upstream.seen:
        first, _, last = str(seen.range).removeprefix("bytes=").partition("-")
        total += int(last) - int(first) + 1 if first else min(int(last), len(wheel))
    return total


@pytest.mark.parametrize(("wheel", "most"), [(LAST, 1), (FIRST, 3)])
def test_little_of_a_big_wheel_is_read(
    web: Http, upstream: Upstream, wheel: bytes, most: int
) -> None:
    claims = sound(claims_of_url(web, upstream.put("/demo.whl", wheel), NAMED), wheel)
    assert len(upstream.seen) <= most
    assert claims.read == served(upstream, wheel)
    assert claims.read <= 0.02 * len(wheel)


@pytest.mark.parametrize("wheel", [LAST, FIRST])
def test_little_of_a_file_url_is_read(web: Http, tmp_path: Path, wheel: bytes) -> None:
    path = tmp_path / "demo.whl"
    path.write_bytes(wheel)
    claims = sound(claims_of_url(web, path.as_uri(), NAMED), wheel)
    assert claims.read <= 0.02 * len(wheel)


@pytest.mark.parametrize("first", [True, False])
def test_a_directory_and_a_record_that_are_longer_than_the_tail(
    web: Http, upstream: Upstream, *, first: bool
) -> None:
    """Nothing is fetched twice, and no byte of the big member but for whole blocks."""
    wheel = packed(first=first, files=3000)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        record = archive.getinfo(f"{INFO}/RECORD").compress_size
        directory = len(wheel) - archive.start_dir
    assert directory > ranged.TAIL
    claims = claims_of_url(web, upstream.put("/demo.whl", wheel), NAMED)
    assert len(claims.claims) == 3001
    assert claims.read == served(upstream, wheel)
    assert claims.read <= directory + record + 4 * ranged.BLOCK


@pytest.mark.parametrize("length", [True, False])
def test_a_server_that_ignores_ranges(web: Http, upstream: Upstream, *, length: bool) -> None:
    """Also one that does not say how long its answer is."""
    url = upstream.put("/demo.whl", Reply(body=LAST, ranges=False, length=length))
    claims = sound(claims_of_url(web, url, NAMED), LAST)
    assert len(upstream.seen) == 1
    assert claims.read == claims.size


def test_a_server_that_stops_serving_ranges(web: Http, upstream: Upstream) -> None:
    url = upstream.put("/demo.whl", Reply(body=FIRST), Reply(body=FIRST, ranges=False))
    claims = sound(claims_of_url(web, url, NAMED), FIRST)
    assert len(upstream.seen) == 2
    assert claims.read == len(FIRST) + ranged.TAIL


@pytest.mark.parametrize("wheel", [LAST, FIRST])
def test_a_server_that_knows_no_ranges_from_the_end(
    web: Http, upstream: Upstream, wheel: bytes
) -> None:
    url = upstream.put("/demo.whl", Reply(body=wheel, suffix=False))
    claims = sound(claims_of_url(web, url, NAMED), wheel)
    assert claims.read <= 0.02 * len(wheel)
    assert upstream.seen[1].range == f"bytes=0-{ranged.BLOCK - 1}"


def test_a_server_that_hides_the_size_of_the_file(web: Http, upstream: Upstream) -> None:
    start = len(LAST) - ranged.TAIL
    said = f"bytes {start}-{len(LAST) - 1}/*"
    url = upstream.put("/demo.whl", Reply(body=LAST, range_header=said))
    sound(claims_of_url(web, url, NAMED), LAST)


def test_a_wheel_smaller_than_the_tail_is_read_once(web: Http, upstream: Upstream) -> None:
    wheel = packed(big=b"small")
    claims = sound(claims_of_url(web, upstream.put("/demo.whl", wheel), NAMED), wheel)
    assert (claims.read, len(upstream.seen)) == (len(wheel), 1)


# -- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "says", "requests"),
    [
        (Reply(status=404), "HTTP 404", 1),
        (Reply(status=403), "HTTP 403", 1),
        (Reply(status=503), "HTTP 503", 3),
        (Reply(body=LAST, cut=1000), "the connection was cut", 3),
        (Reply(body=b""), "HTTP 416", 2),
        (Reply(body=LAST, range_header="nonsense"), "asked for bytes from", 2),
    ],
)
def test_no_answer(web: Http, upstream: Upstream, reply: Reply, says: str, requests: int) -> None:
    url = upstream.put("/demo.whl", reply).replace("//", "//me:secret@")
    with pytest.raises(FetchFailed, match=says) as caught:
        claims_of_url(web, url, NAMED)
    assert len(upstream.seen) == requests
    assert caught.value.hint
    assert "secret" not in f"{caught.value.as_json()}"


def test_a_failure_that_passes_is_tried_again(web: Http, upstream: Upstream) -> None:
    cut = Reply(body=FIRST, cut=1000)
    url = upstream.put("/demo.whl", Reply(status=503), Reply(body=FIRST), cut, Reply(body=FIRST))
    claims = sound(claims_of_url(web, url, NAMED), FIRST)
    assert claims.read >= 2 * ranged.TAIL  # the first tail was read in vain


def test_a_file_url_that_is_not_there(web: Http, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="No such file"):
        claims_of_url(web, (tmp_path / "demo.whl").as_uri(), NAMED)


def encrypted(wheel: bytes) -> bytes:
    """The flag of encryption set in every header of a small wheel."""
    data = bytearray(wheel)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    return bytes(data)


def without_record() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("demo/RECORD", b"")
        archive.writestr(f"vendored/{INFO}/RECORD", b"")
    return stream.getvalue()


def with_record(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{INFO}/RECORD", data)
    return stream.getvalue()


SMALL = packed(big=b"")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (LAST[:-30], "zip"),
        (LAST[: len(LAST) // 2], "zip"),
        (b"<!DOCTYPE html>", "zip"),
        (b"x", "zip"),
        (without_record(), "it has no RECORD"),
        (with_record(b"demo/x.py\n"), "RECORD, line 1"),
        (with_record(b"\xff\xfe,,\n"), "utf-8"),
        (with_record(b'"' + b"x" * 200_000), "RECORD: field larger"),
        (with_record(bytes(ranged.RECORD_LIMIT + 1)), "has more than"),
        (encrypted(SMALL), "encrypted"),
    ],
)
def test_no_wheel(web: Http, upstream: Upstream, tmp_path: Path, data: bytes, says: str) -> None:
    """From a server and from disk alike."""
    with pytest.raises(WheelInvalid, match=says) as caught:
        claims_of_url(web, upstream.put("/demo.whl", data), NAMED)
    assert caught.value.faults
    assert caught.value.hint
    path = tmp_path / "demo.whl"
    path.write_bytes(data)
    with path.open("rb") as stream, pytest.raises(WheelInvalid, match=says):
        claims_of_file(stream, NAMED, str(path), size=len(data))


# -- the view -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False])
def test_it_reads_like_a_file(web: Http, upstream: Upstream, *, ranges: bool) -> None:
    data = BIG[:300_000]
    url = upstream.put("/f", Reply(body=data, ranges=ranges))
    with RangedFile(web, url) as remote:
        remote.start()
        local = io.BytesIO(data)
        choice = random.Random(1)  # noqa: S311  # the same on every run
        for _ in range(60):
            offset, count = choice.randrange(310_000), choice.choice([0, 1, 30, 5000, 40_000, -1])
            assert remote.seek(offset) == local.seek(offset)
            assert remote.read(count) == local.read(count)
            assert remote.tell() == local.tell()
        assert remote.seek(-5, io.SEEK_END) == local.seek(-5, io.SEEK_END)
        assert remote.seek(2, io.SEEK_CUR) == local.seek(2, io.SEEK_CUR)
        assert remote.read() == local.read()
        with pytest.raises(OSError, match="before the start"):
            remote.seek(-1)
        assert remote.readable()
        assert remote.seekable()
        remote.seek(0)
        assert remote.read() == data
        assert remote.read_bytes == len(data)  # every byte came once


def test_a_file_that_became_shorter(web: Http, upstream: Upstream) -> None:
    url = upstream.put("/f", Reply(body=BIG), Reply(body=BIG[:10], ranges=False))
    with RangedFile(web, url) as remote:
        remote.start()
        remote.seek(100)
        with pytest.raises(TryFailed, match="it has 10 bytes now"):
            remote.read(5)


@pytest.mark.parametrize("gap", [0, ranged.BLOCK, ranged.BLOCK + 1])
def test_neighbours_come_by_one_request(web: Http, upstream: Upstream, gap: int) -> None:
    with RangedFile(web, upstream.put("/f", BIG)) as remote:
        remote.start()
        remote.prefetch([(50_000 + gap, 60_000 + gap), (40_000, 50_000)])
        expected = 2 if gap <= ranged.BLOCK else 3
        assert len(upstream.seen) == expected
        for start in (40_000, 50_000 + gap):
            remote.seek(start)
            assert remote.read(10_000) == BIG[start : start + 10_000]
        remote.prefetch([(len(BIG) - 10, len(BIG) + 70)])  # the guess may reach past the end
        assert len(upstream.seen) == expected


class Ends:
    """A web that tells whether an answer was read to its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ended: list[bool] = []

    @contextmanager
    def open(self, url: str, *, start: int = 0, stop: int | None = None) -> Iterator[Body]:
        del url
        start = max(len(self.data) + start, 0) if start < 0 else start
        number = len(self.ended)
        self.ended.append(False)

        def chunks() -> Iterator[bytes]:
            yield self.data[start:stop]
            self.ended[number] = True

        yield Body(start=start, total=len(self.data), chunks=chunks())

    def close(self) -> None:
        raise AssertionError("the port belongs to whoever made it")

    def text(self, url: str, *, accept: str = "*/*", limit: int = 0) -> Page:
        raise AssertionError((url, accept, limit))


def test_answers_are_read_to_their_end() -> None:
    """Else the connection cannot be used again, and the next request pays for a new one."""
    web = Ends(FIRST)
    claims_of_url(web, "https://example/demo.whl", NAMED)
    assert web.ended == [True] * 2
