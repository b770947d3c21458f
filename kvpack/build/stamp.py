"""Re-packs a repaired wheel with its evidence, the same bytes every time.

This file runs twice: imported by kvpack for ``STAMP``, and copied into the builder root, where the
root's own locked Python runs it. There its zlib is locked too; the host's zlib (zlib-ng gives other
streams) never decides a byte. So: standard library only, Python 3.9 and newer, no kvpack imports.

Rules: local versions (PEP 440), ``.dist-info`` and RECORD (binary distribution format), SBOM in
``.dist-info/sboms`` (PEP 770).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import time
import zipfile
from pathlib import Path

STAMP = 1
"""Part of every action key. Raise it when a change here changes the bytes."""


def escaped(name: str) -> str:
    """A project name or version as file names hold it."""
    return re.sub(r"[-_.]+", "_", name).lower()


def stamped_metadata(text: bytes, name: str, version: str) -> bytes:
    """METADATA with the distribution's name and the local version; nothing else changes."""
    head, gap, body = text.partition(b"\n\n")
    head = re.sub(rb"(?mi)^Name:.*$", b"Name: " + name.encode(), head, count=1)
    head = re.sub(rb"(?mi)^Version:.*$", b"Version: " + version.encode(), head, count=1)
    return head + gap + body


def renamed(member: str, old: str, new: str) -> str:
    """A member below its new ``.dist-info`` or ``.data`` folder."""
    for suffix in (".dist-info/", ".data/"):
        if member.startswith(old + suffix):
            return new + member[len(old) :]
    return member


def record_line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    quoted = '"' + name.replace('"', '""') + '"' if re.search(r'[",\n]', name) else name
    return "%s,sha256=%s,%d" % (quoted, digest, len(data))


def tagged_for(text: bytes, platform: str) -> bytes:
    """WHEEL with the tags of one platform, where it has some of it.

    auditwheel adds a tag to those that a back end gave of its own, such as the glibc of the root;
    it has proved the one that it added.
    """
    lines = text.splitlines(keepends=True)
    tags = [line for line in lines if line.lower().startswith(b"tag:")]
    right = [line for line in tags if line.strip().endswith(b"-" + platform.encode())]
    wrong = [line for line in tags if line not in right] if right else []
    return b"".join(line for line in lines if line not in wrong)


def read_members(archive: zipfile.ZipFile) -> dict[str, tuple[bytes, int]]:
    """Content and mode of every file; execute bits are kept, all else is normal."""
    found = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        executable = (info.external_attr >> 16) & 0o111
        found[info.filename] = (archive.read(info), 0o755 if executable else 0o644)
    return found


def check_version(metadata: bytes, expected: str) -> None:
    """A source that builds another version than its recipe says must not be sold under it."""
    found = re.search(rb"(?mi)^version: *(\S+)", metadata.partition(b"\n\n")[0])
    version = found[1].decode() if found else "none"
    if expected and version != expected:
        raise SystemExit("kvpack: the source builds version %s, not %s" % (version, expected))


def programs(wheel: Path) -> frozenset[str]:
    """The members of a wheel that can be executed."""
    with zipfile.ZipFile(wheel) as archive:
        found = read_members(archive).items()
    return frozenset(name for name, (_, mode) in found if mode & 0o111)


def stamp(
    wheel: Path,
    folder: Path,
    order: dict[str, object],
    evidence: Path,
    kept: frozenset[str] = frozenset(),
) -> Path:
    """Write the stamped wheel into ``folder``.

    :param order: ``name``, ``version``, ``epoch`` (seconds since 1970), ``platform``.
    :param evidence: a folder whose files go below ``.dist-info`` under their relative paths.
    :param kept: members that could be executed before something packed the wheel anew.
    """
    name, version, epoch = str(order["name"]), str(order["version"]), int(str(order["epoch"]))
    parts = wheel.name[: -len(".whl")].split("-")
    with zipfile.ZipFile(wheel) as archive:
        members = {
            member: (data, 0o755 if member in kept else mode)
            for member, (data, mode) in read_members(archive).items()
        }
    # Packages that carry others within them (pip, setuptools) have deeper ones as well.
    info = next(m[:-9] for m in members if re.match(r"[^/]+\.dist-info/METADATA$", m))
    old, new = info[: -len(".dist-info")], escaped(name) + "-" + version.replace("-", "_")
    members = {renamed(member, old, new): kept for member, kept in members.items()}
    info = new + ".dist-info"
    text, mode = members[info + "/METADATA"]
    check_version(text, str(order.get("upstream", "")))
    members[info + "/METADATA"] = (stamped_metadata(text, name, version), mode)
    platform = str(order.get("platform", ""))
    if platform in parts[-1].split("."):
        text, mode = members[info + "/WHEEL"]
        members[info + "/WHEEL"] = (tagged_for(text, platform), mode)
        parts[-1] = platform
    for path in sorted(evidence.rglob("*")):
        if path.is_file():
            member = info + "/" + path.relative_to(evidence).as_posix()
            members[member] = (path.read_bytes(), 0o644)
    record = info + "/RECORD"
    for old_record in ("", ".jws", ".p7s"):  # a signature of the old one would be wrong
        members.pop(record + old_record, None)
    lines = sorted(record_line(member, data) for member, (data, _) in members.items())
    members[record] = (("\n".join([*lines, record + ",,"]) + "\n").encode(), 0o644)
    target = folder / "-".join([new, *parts[2:]])
    return write(target.with_name(target.name + ".whl"), members, info, epoch)


def write(target: Path, members: dict[str, tuple[bytes, int]], info: str, epoch: int) -> Path:
    """A zip in one order (``.dist-info`` last, RECORD at the very end), with one time stamp."""

    def order(member: str) -> tuple[int, str]:
        return (member.startswith(info + "/") + (member == info + "/RECORD"), member)

    date = time.gmtime(max(epoch, 315532800))[:6]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for member in sorted(members, key=order):
            data, mode = members[member]
            entry = zipfile.ZipInfo(member, date)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            archive.writestr(entry, data)
    return target


def main(args: list[str]) -> int:
    """``stamp.py WHEEL FOLDER ORDER.json EVIDENCE-FOLDER [THE-WHEEL-BEFORE-IT-WAS-CHANGED]``."""
    wheel, folder, order, evidence, *before = (Path(arg) for arg in args)
    kept = programs(before[0]) if before else frozenset()
    made = stamp(wheel, folder, json.loads(order.read_text(encoding="utf-8")), evidence, kept)
    sys.stdout.write("stamped %s\n" % made.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
