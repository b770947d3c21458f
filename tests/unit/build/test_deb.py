"""Debian packages are read, never run; what is not one is refused with its reason."""

import gzip
import lzma
import zlib
from pathlib import Path

import pytest

from kvpack.build.deb import Deb
from kvpack.errors import ArchiveUnsafe, RootFailed
from tests.unit.build.made import MadeDeb, ar_bytes, control, entry, tar_bytes


def written(tmp_path: Path, data: bytes) -> Deb:
    path = tmp_path / "blob"
    path.write_bytes(data)
    return Deb(path, "demo_1.0-1_amd64.deb")


def contents(deb: Deb) -> list[bytes]:
    with deb.data() as data:
        streams = (data.extractfile(info) for info in data)
        return [stream.read() for stream in streams if stream is not None]


def names(deb: Deb) -> list[str]:
    with deb.data() as data:
        return [info.name for info in data]


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_control_and_data_are_read_whatever_packs_them(tmp_path: Path, suffix: str) -> None:
    made = MadeDeb(files=[entry("./usr/bin/tool", b"odd")], packed=(suffix, suffix))
    deb = written(tmp_path, bytes(made))
    assert deb.control() == control("demo").decode()
    assert names(deb) == ["./usr/bin/tool"]
    assert contents(deb) == [b"odd"]


def test_the_two_archives_may_be_packed_differently(tmp_path: Path) -> None:
    deb = written(tmp_path, bytes(MadeDeb(packed=(".gz", ".xz"), files=[entry("a")])))
    assert deb.control().startswith("Package: demo\n")
    assert names(deb) == ["a"]


def test_members_of_odd_size_are_padded(tmp_path: Path) -> None:
    packed = tar_bytes(entry("a", b"x"))
    odd = ar_bytes(("debian-binary", b"2.0"), ("_signature", b"odd"), ("data.tar", packed))
    assert names(written(tmp_path, odd)) == ["a"]


def test_ubuntus_compression_is_refused_with_a_way_out(tmp_path: Path) -> None:
    deb = written(tmp_path, bytes(MadeDeb(packed=(".zst", ".zst"))))
    with pytest.raises(RootFailed, match=r"control\.tar\.zst is compressed as zst") as caught:
        deb.control()
    assert "Ubuntu" in caught.value.cause
    assert "Debian mirror" in caught.value.hint
    with pytest.raises(RootFailed, match=r"data\.tar\.zst is compressed as zst"):
        names(deb)


_XZ = lzma.compress(tar_bytes(entry("./control", control("demo"))))
_TAR = tar_bytes(entry("./control", bytes(range(256)) * 400))
_GZ = gzip.compress(_TAR, mtime=0)
_CODER = zlib.compressobj(wbits=31)
_BAD_GZ = (
    _CODER.compress(_TAR[:40_960]) + _CODER.flush(zlib.Z_SYNC_FLUSH) + b"\x07"
)  # no block type
_HEAD = ar_bytes(("debian-binary", b"2.0\n"))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"", "does not begin as an ar archive", id="empty"),
        pytest.param(b"PK\x03\x04 a zip", "does not begin as an ar archive", id="zip"),
        pytest.param(_HEAD, "has no control.tar", id="no-control-archive"),
        pytest.param(_HEAD + b"control.tar.xz", "has a broken ar header", id="cut-header"),
        pytest.param(
            _HEAD + ar_bytes(("control.tar", b""))[8:].replace(b"0         `", b"many      `"),
            "has a broken ar header",
            id="size-is-no-number",
        ),
        pytest.param(
            b"!<arch>\n" + b"x".ljust(48) + b"-60       `\n", "has a broken ar header", id="loop"
        ),
        pytest.param(
            b"!<arch>\n" + "ä".encode().ljust(60), "has a broken ar header", id="name-not-ascii"
        ),
        pytest.param(
            ar_bytes(("control.tar.xz", _XZ))[:-40], "control.tar.xz is damaged", id="cut-xz"
        ),
        pytest.param(
            ar_bytes(("control.tar.xz", b"no xz")), "control.tar.xz is damaged", id="not-xz"
        ),
        pytest.param(
            ar_bytes(("control.tar.gz", b"no gz")), "control.tar.gz is damaged", id="not-gz"
        ),
        pytest.param(
            ar_bytes(("control.tar.gz", _GZ[:40])), "control.tar.gz is damaged", id="cut-gz"
        ),
        pytest.param(
            ar_bytes(("control.tar.gz", _BAD_GZ)), "control.tar.gz is damaged", id="bad-deflate"
        ),
        pytest.param(
            ar_bytes(("control.tar", b"x" * 512)), "control.tar is damaged", id="not-a-tar"
        ),
        pytest.param(
            ar_bytes(("control.tar", tar_bytes(entry("./control", b"x" * 2000))[:1024])),
            "control.tar is damaged",
            id="cut-tar",
        ),
        pytest.param(
            ar_bytes(("control.tar", tar_bytes(entry("./md5sums", b"x")))),
            "has no control file",
            id="no-control-file",
        ),
        pytest.param(
            ar_bytes(("control.tar", tar_bytes(entry("./control", b"\xff\xfe")))),
            "is not UTF-8",
            id="not-utf-8",
        ),
    ],
)
def test_what_is_no_package_is_refused_with_its_reason(
    tmp_path: Path, data: bytes, why: str
) -> None:
    with pytest.raises(ArchiveUnsafe, match="is not a Debian package") as caught:
        written(tmp_path, data).control()
    (fault,) = caught.value.faults
    assert why in fault.message
    assert fault.place == "demo_1.0-1_amd64.deb"
    assert "kvpack lock" in caught.value.hint


def test_damage_that_shows_while_the_files_are_read_is_named(tmp_path: Path) -> None:
    whole = bytes(MadeDeb(files=[entry("a", bytes(range(256)) * 40)], packed=(".xz", ".gz")))
    deb = written(tmp_path, whole[:-200])
    with pytest.raises(ArchiveUnsafe) as caught:
        contents(deb)
    assert "data.tar.gz is damaged" in caught.value.faults[0].message
