"""Reads single members of a wheel that is not here, by range requests (RFC 9110, section 14).

A zip's directory lies at its end, and so does ``.dist-info`` in most wheels: one request for the
tail usually has all that is wanted of a 40 MB file. A server that ignores ranges sends the whole
file, which is then read from a temporary copy.
"""

import io
import lzma
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

from kvpack.errors import Fault, FetchFailed, WheelInvalid
from kvpack.resolve.claims import of_wheel, requires_of
from kvpack.resolve.model import Claims
from kvpack.tools.web import Body, TryFailed, Web, redact

TAIL = 1 << 13
"""Bytes of the first request. Most wheels are small: of sixty popular ones 64 KiB each are 2.2 %,
these with what they miss 0.9 %, and what is needed 0.8 %; it takes 2 requests each, not 1.3."""
BLOCK = 1 << 12
"""Least bytes of a later request, and the most that lies between two members read by one."""
TRIES = 3
"""How often a wheel is tried where the failure may pass."""
PAUSE = 0.2
"""Seconds before the second try; twice as long before the third."""
RECORD_LIMIT = 64 << 20
"""Bytes that RECORD may have: half a million files."""
_NO_SUFFIX_RANGES = frozenset({400, 416, 501})
"""What servers answer that know ranges, but not those from the end."""
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, ValueError, RuntimeError),  # the last: encrypted, unknown compression
)


@dataclass(eq=False)
class RangedFile(io.RawIOBase):
    """A seekable view of a remote file that fetches what is read, once."""

    web: Web
    url: str
    parts: dict[int, bytes] = field(default_factory=dict)
    whole: IO[bytes] | None = None
    size: int = 0
    read_bytes: int = 0
    position: int = 0

    def start(self) -> None:
        """Fetch the tail and learn the size.

        :raises TryFailed: if the server does not answer.
        """
        try:
            with self.web.open(self.url, start=-TAIL) as body:
                self._begin(body)
        except TryFailed as error:
            if error.status not in _NO_SUFFIX_RANGES:
                raise
            with self.web.open(self.url, start=0, stop=BLOCK) as body:
                self._begin(body)

    def _begin(self, body: Body) -> None:
        if body.start:
            tail = b"".join(body.chunks)
            self.size = body.start + len(tail) if body.total is None else body.total
            self._keep(body.start, tail)
            return
        # The start of the file: all of it where ranges are ignored, else as much as was asked for.
        whole = self._take_whole(body)
        if body.total is not None and self.size < body.total:
            whole.seek(0)
            self.parts[0] = whole.read()
            whole.close()
            self.whole, self.size = None, body.total

    def _take_whole(self, body: Body) -> IO[bytes]:
        self.parts.clear()
        self.size = 0
        self.whole = whole = tempfile.TemporaryFile()  # noqa: SIM115  # close() closes it
        for chunk in body.chunks:
            whole.write(chunk)
            self.size += len(chunk)
            self.read_bytes += len(chunk)
        return whole

    def close(self) -> None:
        if self.whole is not None:
            self.whole.close()
        super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("before the start of the file")  # as a file does; zipfile counts on it
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, count: int = -1) -> bytes:
        end = self.size if count < 0 else min(self.position + count, self.size)
        data = bytearray()
        while self.position < end:
            found = self._at(self.position, end)
            data += found
            self.position += len(found)
        return bytes(data)

    def prefetch(self, spans: Iterable[tuple[int, int]]) -> None:
        """Fetch what is missing of these spans, neighbours by one request."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if merged and start - merged[-1][1] <= BLOCK:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        for start, end in merged:
            self.seek(start)
            self.read(end - start)

    def _at(self, start: int, end: int) -> bytes:
        """At least one byte from ``start``, at most to ``end``."""
        if self.whole is not None:
            self.whole.seek(start)
            if found := self.whole.read(end - start):
                return found
            raise TryFailed(f"the file became shorter: it has {self.size} bytes now")
        for offset, data in self.parts.items():
            if offset <= start < offset + len(data):
                return data[start - offset : end - offset]
        later = min((offset for offset in self.parts if offset > start), default=self.size)
        return self._fetch(start, min(max(end, start + BLOCK), later))[: end - start]

    def _fetch(self, start: int, stop: int) -> bytes:
        with self.web.open(self.url, start=start, stop=stop) as body:
            if body.start != start:  # ranges are no longer served
                self._take_whole(body)
                return self._at(start, stop)
            found = bytearray()
            for chunk in body.chunks:
                found += chunk
                if len(found) > stop - start:  # not before its end: the connection is used again
                    break
        if not found:
            raise TryFailed(f"nothing came for bytes {start} to {stop}", transient=True)
        self._keep(start, bytes(found))
        return bytes(found)

    def _keep(self, start: int, data: bytes) -> None:
        self.parts[start] = data
        self.read_bytes += len(data)


def claims_of_url(web: Web, url: str, named: tuple[str, str]) -> Claims:
    """The claims of a wheel on an index, reading only its RECORD and entry points.

    :param named: its distribution and version.
    :raises FetchFailed: if the server does not answer.
    :raises WheelInvalid: if it is no wheel.
    """
    spent, attempt = 0, 1
    while True:
        source = RangedFile(web, url, read_bytes=spent)
        try:
            with source:
                source.start()
                return claims_of_file(source, named, redact(url), read=source)
        except TryFailed as error:
            if not error.transient or attempt == TRIES:
                raise FetchFailed(
                    f"{redact(url)} cannot be read: {error.reason}",
                    cause="the index or its file store does not answer",
                    hint="run the same command again, or name another index in kvpack.toml",
                ) from error
        time.sleep(PAUSE * attempt)
        spent, attempt = source.read_bytes, attempt + 1


def claims_of_file(
    stream: IO[bytes] | RangedFile,
    named: tuple[str, str],
    origin: str,
    *,
    size: int = 0,
    read: RangedFile | None = None,
) -> Claims:
    """The claims of a wheel that can be read at any offset.

    :raises WheelInvalid: if it is no wheel or has no RECORD.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
            record = next((name for name in names if _is_record(name)), None)
            if record is None:
                raise ValueError("it has no RECORD")  # one message for all damage
            info = record.removesuffix("RECORD")
            wanted = [record, info + "entry_points.txt", info + "METADATA"]
            if isinstance(stream, RangedFile):
                stream.prefetch(_span(archive.getinfo(one)) for one in wanted if one in names)
            text, points, metadata = (_text(archive, one) if one in names else "" for one in wanted)
            claims = of_wheel(text, points, named[0])
    except _DAMAGE as error:
        raise WheelInvalid(
            f"{origin} is not a wheel that can be judged: {error}",
            cause="it is damaged, or another kind of file",
            hint="kvpack audit names every fault of a wheel file",
            faults=[Fault(place=origin, message=str(error))],
        ) from error
    return Claims(
        distribution=named[0],
        version=named[1],
        origin=origin,
        claims=claims,
        requires=requires_of(metadata),
        size=size if read is None else read.size,
        read=0 if read is None else read.read_bytes,
    )


def _is_record(name: str) -> bool:
    return name.endswith(".dist-info/RECORD") and name.count("/") == 1


def _span(info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a member lies: local header (30 bytes, name, some extra), then its data."""
    start = info.header_offset
    return start, start + 30 + len(info.filename.encode()) + 64 + info.compress_size


def _text(archive: zipfile.ZipFile, name: str) -> str:
    if archive.getinfo(name).file_size > RECORD_LIMIT:
        raise ValueError(f"{name} has more than {RECORD_LIMIT} bytes")
    return archive.read(name).decode()
