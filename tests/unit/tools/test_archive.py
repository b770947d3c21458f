import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kvpack.errors import ArchiveUnsafe
from kvpack.tools.archive import newest_mtime, read_member, unpack
from kvpack.tools.members import Limits

WHEN = 1_700_000_000
LATER = 1_700_000_500


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mtime = kind, WHEN
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def link(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.LNKTYPE, linkname=target)


def tar_bytes(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tree() -> bytes:
    return tar_bytes(
        entry("./p-1/", tarfile.DIRTYPE, mode=0o2775),
        (entry("p-1/PKG-INFO", mode=0o644), b"Name: p"),
        (entry("p-1/run.sh", mode=0o775, mtime=LATER), b"#!/bin/sh"),
        (entry("p-1/deep/er/x", mode=0o600), b"x"),
        link("p-1/alias", "deep/er/../er/x"),
        hard("p-1/twin", "p-1/run.sh"),
    )


def zip_bytes(*members: tuple[str, bytes, int]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in members:
            info = zipfile.ZipInfo("x", date_time=(2023, 11, 14, 22, 13, 20))
            info.filename, info.compress_type = name, zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, data)
    return buffer.getvalue()


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., list[str]]:
    """Unpack hostile bytes; the faults are returned, once it is proved that nothing was left."""

    def attempt(data: bytes, limits: Limits | None = None) -> list[str]:
        archive = tmp_path / "in" / "blob"
        archive.parent.mkdir()
        archive.write_bytes(data)
        with pytest.raises(ArchiveUnsafe) as caught:
            unpack(archive, tmp_path / "out" / "tree", name="x.tar", limits=limits)
        assert not list((tmp_path / "out").glob("*"))
        assert not (tmp_path / "escaped").exists()
        assert all(fault.place.startswith("x.tar") for fault in caught.value.faults)
        return [f"{fault.place}: {fault.message}" for fault in caught.value.faults]

    return attempt


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, bz2.compress, lzma.compress],
    ids=["tar", "gz", "bz2", "xz"],
)
def test_tar_keeps_execute_bits_times_and_links(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "blob").write_bytes(pack(tree()))
    unpack(tmp_path / "blob", tmp_path / "out")
    top = tmp_path / "out" / "p-1"
    assert (top / "deep/er/x").read_bytes() == b"x"
    assert (top / "alias").readlink() == Path("deep/er/../er/x")
    assert (top / "twin").read_bytes() == b"#!/bin/sh"
    assert (top / "twin").stat().st_nlink == 1
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (top, *top.rglob("*"))}
    assert modes == {
        "p-1": 0o755,
        "deep": 0o755,
        "er": 0o755,
        "PKG-INFO": 0o644,
        "x": 0o644,
        "run.sh": 0o755,
        "twin": 0o755,
        "alias": 0o644,
    }
    assert (top / "run.sh").stat().st_mtime == LATER
    assert (top / "x").exists() is False
    assert (top / "alias").lstat().st_mtime == top.stat().st_mtime == WHEN
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_umask_decides_no_mode(tmp_path: Path, umask: int) -> None:
    (tmp_path / "blob").write_bytes(tree())
    before = os.umask(umask)
    try:
        unpack(tmp_path / "blob", tmp_path / "out")
    finally:
        os.umask(before)
    paths = (tmp_path / "out").rglob("*")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()}
    assert modes == {0o755}


def test_zip_keeps_execute_bits_times_and_links(tmp_path: Path) -> None:
    data = zip_bytes(
        ("p/", b"", 0o40755),
        ("p/run", b"#!", 0o100755),
        ("p/plain", b"x", 0),
        ("p/alias", b"run", stat.S_IFLNK | 0o777),
    )
    (tmp_path / "w.whl").write_bytes(data)
    unpack(tmp_path / "w.whl", tmp_path / "out")
    top = tmp_path / "out" / "p"
    assert os.access(top / "run", os.X_OK)
    assert stat.S_IMODE((top / "plain").stat().st_mode) == 0o644
    assert (top / "alias").readlink() == Path("run")
    assert (top / "run").stat().st_mtime == top.stat().st_mtime == WHEN


def test_the_later_of_two_files_in_a_tar_counts(tmp_path: Path) -> None:
    one, two = entry("f", mode=0o444), entry("f", mode=0o444)
    (tmp_path / "t").write_bytes(tar_bytes((one, b"old"), (two, b"new")))
    unpack(tmp_path / "t", tmp_path / "out")
    assert (tmp_path / "out" / "f").read_bytes() == b"new"


HOSTILE: dict[str, tuple[bytes, str]] = {
    "absolute": (tar_bytes((entry("/escaped"), b"x")), "an absolute path"),
    "parent": (tar_bytes((entry("a/../../escaped"), b"x")), "climbs with '..'"),
    "nothing": (tar_bytes((entry("./."), b"x")), "no name of its own"),
    "control": (tar_bytes((entry("a\nb"), b"x")), "control character"),
    "delete": (tar_bytes((entry("a\x7fb"), b"x")), "control character"),
    "backslash": (tar_bytes((entry("..\\escaped"), b"x")), "backslash"),
    "long": (tar_bytes((entry("x" * 256), b"x")), "too long"),
    "deep": (tar_bytes((entry("x/" * 1600 + "x"), b"x")), "too long"),
    "device": (tar_bytes(entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3)), "device"),
    "disk": (tar_bytes(entry("sda", tarfile.BLKTYPE)), "device"),
    "pipe": (tar_bytes(entry("pipe", tarfile.FIFOTYPE)), "pipe"),
    "setuid": (tar_bytes((entry("su", mode=0o4755), b"x")), "mode 4755"),
    "setgid": (tar_bytes((entry("sg", mode=0o2755), b"x")), "mode 2755"),
    "link-absolute": (tar_bytes(link("a", "/etc/passwd")), "leads out"),
    "link-up": (tar_bytes(link("d/a", "../../escaped")), "leads out"),
    "link-empty": (tar_bytes(link("a", "")), "no path"),
    "link-long": (tar_bytes(link("a", "x" * 5000)), "target is too long"),
    # p -> d/e is inside; q -> p/../../escaped looks inside, but climbs from d/e.
    "link-chain": (
        tar_bytes(
            (entry("d/x"), b""), link("d/in/p", "../../d"), link("q", "d/in/p/../../escaped")
        ),
        "'q': a symbolic link that leads out",
    ),
    "link-through": (
        tar_bytes(entry("d", tarfile.DIRTYPE), link("s", "d"), (entry("s/x"), b"x")),
        "'s/x': would be written through 's', which is a symbolic link",
    ),
    "link-after": (
        tar_bytes((entry("s/x"), b"x"), link("s", "..")),
        "'s/x': would be written through 's'",
    ),
    "hard-out": (tar_bytes(hard("a", "../escaped")), "a hard link that leads out"),
    "hard-absolute": (tar_bytes(hard("a", "/etc/passwd")), "a hard link that leads out"),
    "hard-missing": (tar_bytes(hard("a", "b")), "no file of the archive"),
    "hard-to-link": (tar_bytes(link("l", "b"), hard("a", "l")), "no file of the archive"),
    "type-change": (
        tar_bytes((entry("a"), b"x"), link("a", "b")),
        "comes twice: as file, then as symbolic link",
    ),
    "file-as-folder": (
        tar_bytes((entry("a"), b"x"), (entry("a/b"), b"x")),
        "written through 'a', which is a file",
    ),
    "zip-parent": (zip_bytes(("../escaped", b"x", 0)), "climbs"),
    "zip-absolute": (zip_bytes(("/escaped", b"x", 0)), "absolute"),
    "zip-nul": (zip_bytes(("a\0b", b"x", 0)), "NUL"),
    "zip-link": (zip_bytes(("a", b"/etc", stat.S_IFLNK | 0o777)), "leads out"),
    "zip-device": (zip_bytes(("a", b"", stat.S_IFCHR | 0o666)), "device"),
    "zip-setuid": (zip_bytes(("a", b"", 0o104755)), "mode 4755"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused(kind: str, refused: Callable[..., list[str]]) -> None:
    data, expected = HOSTILE[kind]
    assert expected in "\n".join(refused(data))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_in_a_zip_are_refused(refused: Callable[..., list[str]]) -> None:
    """Two readers of one wheel may see two different files."""
    assert refused(zip_bytes(("a", b"1", 0), ("a", b"2", 0))) == ["x.tar: 'a': comes twice"]


def test_all_faults_are_reported_at_once(refused: Callable[..., list[str]]) -> None:
    data = tar_bytes((entry("/a"), b""), (entry("../b"), b""), entry("p", tarfile.FIFOTYPE))
    assert len(refused(data)) == 3


def test_a_loop_of_links_leads_nowhere_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(tar_bytes(link("a", "b"), link("b", "a")))
    unpack(tmp_path / "t", tmp_path / "out")
    assert (tmp_path / "out" / "a").is_symlink()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(members=2), "more than 2 members"),
        (Limits(total=10), "more than 10 bytes"),
        (Limits(ratio=3, ratio_from=100), "over 3 times"),
    ],
)
def test_bombs_are_refused(
    refused: Callable[..., list[str]], limits: Limits, expected: str
) -> None:
    data = gzip.compress(tar_bytes(*[(entry(f"f{n}"), bytes(4000)) for n in range(3)]))
    assert expected in refused(data, limits)[0]


def test_a_zip_bomb_is_refused(refused: Callable[..., list[str]]) -> None:
    data = zip_bytes(("zeros", bytes(1_000_000), 0))
    assert "over 250 times" in refused(data, Limits(ratio_from=100_000))[0]


def test_a_huge_extended_header_is_not_read(refused: Callable[..., list[str]]) -> None:
    """Tarfile reads a long name whole, whatever size its header claims."""
    header = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    header.size = 3 << 30
    data = header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert "a header of 3221225472 bytes" in refused(data)[0]


def test_a_negative_size_does_not_loop(refused: Callable[..., list[str]]) -> None:
    """A negative size sends tarfile backwards for ever (CVE-2025-8194)."""
    buf = bytearray(entry("a").tobuf(tarfile.GNU_FORMAT))
    buf[124:136] = b"\xff" * 10 + b"\xfc\x00"
    buf[148:156] = b" " * 8
    buf[148:156] = b"%06o\0 " % sum(buf[:512])
    assert refused(bytes(buf) + bytes(1024))


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "text": b"<html>not an archive</html>" * 40,
    "tar-cut": tar_bytes((entry("a"), bytes(5000)))[:2000],
    "tar-header": tar_bytes((entry("a"), b"x"), (entry("b"), b"y"))[:1024] + b"?" * 512,
    "gz-cut": gzip.compress(tree())[:-12],
    "gz-crc": gzip.compress(tree())[:-8] + b"12345678",
    "bz2-cut": bz2.compress(tree())[:-12],
    "xz-cut": lzma.compress(tree())[:-12],
    "gz-of-text": gzip.compress(b"text" * 1000),
    "zip-cut": zip_bytes(("a", b"x" * 999, 0))[:-30],
    "zip-header": zip_bytes(("a", b"0123456789abcdef", 0)).replace(b"PK\x03\x04", b"PK\x03\x05", 1),
    "trailing": gzip.compress(tree() + bytes(70 << 20)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_archives_are_refused(kind: str, refused: Callable[..., list[str]]) -> None:
    assert "damaged or cut" in refused(DAMAGED[kind])[0]


def test_a_zip_whose_content_fails_its_checksum_leaves_nothing(
    refused: Callable[..., list[str]],
) -> None:
    data = bytearray(zip_bytes(("good", b"x", 0), ("bad", bytes(range(200)) * 9, 0)))
    at = data.index(b"bad") + 40
    data[at] ^= 0xFF
    assert "damaged or cut" in refused(bytes(data))[0]


def test_an_encrypted_zip_is_refused(refused: Callable[..., list[str]]) -> None:
    data = bytearray(zip_bytes(("a", b"x", 0)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    assert "encrypted" in refused(bytes(data))[0]


def test_missing_archive_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "none", tmp_path / "out")


def test_newest_mtime_is_that_of_the_newest_member(tmp_path: Path) -> None:
    archive = tmp_path / "a"
    archive.write_bytes(gzip.compress(tree()))
    assert newest_mtime(archive) == LATER
    archive.write_bytes(zip_bytes(("a", b"x", 0)))
    assert newest_mtime(archive) == WHEN


@pytest.mark.parametrize("mtime", [0, 5, 315_532_799])
def test_newest_mtime_is_not_before_the_zip_epoch(tmp_path: Path, mtime: int) -> None:
    (tmp_path / "a").write_bytes(tar_bytes((entry("a", mtime=mtime), b"")))
    assert newest_mtime(tmp_path / "a") == 315_532_800


@pytest.mark.parametrize("mtime", [1e18, float("inf"), -5.0])
def test_impossible_times_do_not_stop_anything(tmp_path: Path, mtime: float) -> None:
    info = entry("a")
    info.pax_headers = {"mtime": str(mtime)}
    (tmp_path / "a").write_bytes(tar_bytes((info, b"")))
    assert 315_532_800 <= newest_mtime(tmp_path / "a") <= 4_354_819_198
    unpack(tmp_path / "a", tmp_path / "out")


def test_read_member_reads_below_the_single_top_folder(tmp_path: Path) -> None:
    archive = tmp_path / "a"
    archive.write_bytes(gzip.compress(tree()))
    assert read_member(archive, "PKG-INFO") == b"Name: p"
    assert read_member(archive, "x") is None
    assert read_member(archive, "alias") is None
    archive.write_bytes(zip_bytes(("p/pyproject.toml", b"[project]", 0), ("p/a/b", b"", 0)))
    assert read_member(archive, "pyproject.toml") == b"[project]"
    assert read_member(archive, "a/b") == b""
    assert read_member(archive, "a") is None
    archive.write_bytes(zip_bytes(("p/pyproject.toml", b"[project]", 0), ("q/a", b"", 0)))
    assert read_member(archive, "pyproject.toml") is None


@pytest.mark.parametrize(
    "read", [newest_mtime, lambda path: read_member(path, "PKG-INFO")], ids=["mtime", "member"]
)
def test_reading_a_damaged_archive_is_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(tree())[:-12])
    with pytest.raises(ArchiveUnsafe):
        read(tmp_path / "a")


def test_a_huge_member_is_not_read_whole(tmp_path: Path) -> None:
    data = tar_bytes((entry("p/PKG-INFO"), bytes((16 << 20) + 1)))
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ArchiveUnsafe):
        read_member(tmp_path / "a", "PKG-INFO")


def test_an_interrupt_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: object, **_words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "utime", interrupt)
    (tmp_path / "a").write_bytes(tree())
    with contextlib.suppress(KeyboardInterrupt):
        unpack(tmp_path / "a", tmp_path / "out" / "tree")
    assert not list((tmp_path / "out").glob("*"))
