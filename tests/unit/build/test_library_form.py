"""A library's tar from elsewhere: only what a build here would have left is laid over a root."""

import io
import tarfile
from pathlib import Path

import pytest

from kvpack.build.library import check_canonical
from kvpack.build.pytools import File
from kvpack.build.root import write_layer
from tests.unit.build.made import entry, folder, hard, link, tar_bytes
from tests.unit.build.test_library import library

FILES = (
    File("opt/ucx/include", folder=0o755),
    File("opt/ucx/include/x.h", b"int x;\n"),
    File("opt/ucx/lib/libx.so", link="libx.so.1"),
    File("opt/ucx/lib/libx.so.1", b"\x7fELF", 0o755),
)


def layer(*files: File) -> bytes:
    """A tar as a build leaves it."""
    out = io.BytesIO()
    write_layer(files, out)
    return out.getvalue()


def check(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "library.tar"
    path.write_bytes(data)
    check_canonical(library(), path)


def test_what_a_build_leaves_has_the_form(tmp_path: Path) -> None:
    check(layer(*FILES), tmp_path)


def sparse() -> bytes:
    """A member of 4 GiB, of which the tar holds none: holes (GNU's old format for them)."""
    info = tarfile.TarInfo("opt/ucx/x")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (1 << 32)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"\0" * (10240 - 512)


EVIL = File("opt/ucx/bin/gcc", b"evil", 0o755)
FORMS = {
    "no tar": (b"x" * 2000, "cannot be read as a tar"),
    "nothing": (b"", "cannot be read as a tar"),
    "cut": (layer(*FILES)[:-10200], "truncated header"),
    "more at its end": (layer(*FILES) + b"\0" * 10240, "not in the one form"),
    "outside": (layer(*FILES, File("usr/bin/gcc", b"evil")), "lies outside of /opt/ucx"),
    "another library's": (layer(File("opt/ucx2/x", b"")), "lies outside of /opt/ucx"),
    "below a link": (
        layer(File("opt/ucx/bin", link="/usr/bin"), *FILES, EVIL), "lies below the link 'bin'",
    ),
    "the prefix is a link": (tar_bytes(folder("opt"), link("opt/ucx", "/usr")), "is no folder"),
    "above it is a link": (tar_bytes(link("opt", "/usr"), folder("opt/ucx")), "one form"),
    "another order": (layer(*reversed(FILES)), "not in the one form"),
    "another mode": (layer(*FILES, File("opt/ucx/x", b"", 0o4755)), "not in the one form"),
    "an owner and a time": (tar_bytes(entry("opt/ucx/x", b"x")), "not in the one form"),
    "twice": (tar_bytes(entry("opt/ucx/x"), entry("opt/ucx/x")), "not in the one form"),
    "climbing": (tar_bytes(entry("opt/ucx/../../etc/passwd")), "leads out of the prefix"),
    "absolute": (tar_bytes(entry("/opt/ucx/x")), "lies outside of /opt/ucx"),
    "a device": (tar_bytes(entry("opt/ucx/zero", kind=tarfile.CHRTYPE)), "is a device"),
    "a hard link": (tar_bytes(hard("opt/ucx/x", "etc/passwd")), "is a hard link to"),
    "no UTF-8": (tar_bytes(entry(b"opt/ucx/\xff")), "is no UTF-8 name"),
    "holes": (sparse(), "members are larger than itself"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "told"), FORMS.values(), ids=FORMS)
def test_what_no_build_leaves_is_refused(data: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        check(data, tmp_path)
