"""Reads Debian packages: ar archives of control.tar and data.tar (deb(5)). Runs nothing."""

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvpack.errors import ArchiveUnsafe, Fault, RootFailed

_AR_MAGIC = b"!<arch>\n"
_HEADER = 60
_DAMAGE = (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, gzip.BadGzipFile)


@dataclass(frozen=True)
class Deb:
    """One package file."""

    path: Path
    name: str

    def control(self) -> str:
        """The control stanza, as it stands in ``/var/lib/dpkg/status``.

        :raises ArchiveUnsafe: if the file is not a Debian package.
        """
        with self._member("control.tar") as tar:
            for info in tar:
                if info.name.removeprefix("./") == "control":
                    stream = tar.extractfile(info)
                    return self._text(stream.read()) if stream else ""
        raise self._damaged("has no control file")

    def _text(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self._damaged("has a control file that is not UTF-8") from None

    @contextmanager
    def data(self) -> Iterator[tarfile.TarFile]:
        """The files of the package, as a tar stream in the package's order.

        :raises ArchiveUnsafe: if the file is not a Debian package.
        """
        with self._member("data.tar") as tar:
            yield tar

    @contextmanager
    def _member(self, prefix: str) -> Iterator[tarfile.TarFile]:
        with self.path.open("rb") as stream:
            name, size = self._seek(stream, prefix)
            window = io.BytesIO(stream.read(size))
            try:
                opened = self._decompress(window, name)
                with (
                    opened,
                    tarfile.open(fileobj=opened, mode="r|", encoding="utf-8") as tar,
                ):
                    yield tar
            except _DAMAGE as error:
                raise self._damaged(f"{name} is damaged: {error}") from error

    def _seek(self, stream: IO[bytes], prefix: str) -> tuple[str, int]:
        if stream.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise self._damaged("does not begin as an ar archive")
        while header := stream.read(_HEADER):
            try:
                name = header[:16].decode("ascii").strip().rstrip("/")
                size = int(header[48:58])
            except ValueError:
                raise self._damaged("has a broken ar header") from None
            if size < 0:  # would be read for ever
                raise self._damaged("has a broken ar header")
            if name.startswith(prefix):
                return name, size
            stream.seek(size + size % 2, io.SEEK_CUR)
        raise self._damaged(f"has no {prefix}")

    def _decompress(self, window: io.BytesIO, name: str) -> IO[bytes]:
        match name.rpartition(".")[2]:
            case "xz":
                return lzma.LZMAFile(window)
            case "gz":
                return gzip.GzipFile(fileobj=window)  # type: ignore[return-value]
            case "tar":
                return window
            case other:
                raise RootFailed(
                    f"{self.name}: {name} is compressed as {other}",
                    cause="Debian's suites use xz; zstd is Ubuntu's",
                    hint="lock the root from a Debian mirror",
                )

    def _damaged(self, what: str) -> ArchiveUnsafe:
        return ArchiveUnsafe(
            f"{self.name} is not a Debian package",
            cause="the lock names other bytes than a .deb, or the mirror's file is wrong",
            hint="kvpack lock --upgrade with the root's id",
            faults=[Fault(place=self.name, message=what)],
        )
