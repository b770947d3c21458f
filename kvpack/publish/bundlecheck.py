"""Checking a bundle: every member against the manifest, and what follows from the members.

Nothing is unpacked; a wheel is copied into scratch space to be read. Whatever cannot be checked is
said: a check that was not made is no success.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from kvpack.errors import Fault
from kvpack.publish.bundle import MANIFEST, README, SUMS, TOP, Manifest, evidence_path
from kvpack.publish.bundlesigned import EVIDENCE, SUFFIXES, Proofs
from kvpack.publish.bundletext import WHEELS
from kvpack.publish.librarylocks import library_locks
from kvpack.publish.model import Release, Wheel
from kvpack.tools.archive import contents
from kvpack.tools.files import CHUNK
from kvpack.tools.members import Limits
from kvpack.tools.signing import PublicKey

LIMITS = Limits(total=1 << 42, members=1_000_000)
TEXT_LIMIT = 64 << 20
"""Bytes of a member that is read whole."""
BLOCKSIZE, RECORDSIZE = 512, 10240
"""Of a tar (POSIX, pax): bytes."""

Inspect = Callable[[Path], Sequence[Fault]]
"""What is wrong with a wheel by its own RECORD."""


@dataclass
class Checked:
    """What a check found."""

    manifest: Manifest | None = None
    digest: str = ""
    """Of ``MANIFEST.json``."""
    seen: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Path -> sha256 and bytes, of every member."""
    texts: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    wheels: int = 0
    proofs: Proofs = field(default_factory=Proofs)

    def fault(self, place: str, message: str) -> None:
        hint = "have it copied again; compare its sha256 with its maker's"
        self.faults.append(Fault(place=place, message=message, hint=hint))


def check(
    bundle: Path,
    scratch: Path,
    inspect: Inspect,
    *,
    digest: str | None = None,
    keys: Sequence[PublicKey] = (),
) -> Checked:
    """Check a bundle.

    :param digest: what ``MANIFEST.json`` must have, as its maker says.
    :param keys: one of them must have signed the statement of every wheel of a release.
    :raises ArchiveUnsafe: if the tar is hostile, damaged or cut.
    """
    found = Checked(proofs=Proofs(keys))
    if _is_cut(bundle):
        found.fault(bundle.name, "is cut: a tar ends with two empty blocks, in whole records")
    for member, stream in contents(bundle, limits=LIMITS):
        top, _, path = member.path.partition("/")
        if top != TOP or not path:
            found.fault(member.name, f"lies outside of {TOP}/")
            continue
        _read(path, stream, found, scratch)
        if path.startswith(f"{WHEELS}/"):
            found.wheels += 1
            copy = scratch / Path(path).name
            found.faults += inspect(copy)
            found.proofs.read(copy)
            copy.unlink()
    _check_manifest(found, digest)
    if found.manifest is not None:
        _check_members(found, found.manifest)
        own = _check_releases(found, found.manifest)
        _check_proofs(found, own, digest)
        _check_requirements(found)
        _say_what_is_open(found, digest)
    return found


def _is_cut(bundle: Path) -> bool:
    """Whether a plain tar lacks its end: readers accept that where the cut is behind a member."""
    size = bundle.stat().st_size
    with bundle.open("rb") as stream:
        stream.seek(257)
        if stream.read(5) != b"ustar":
            return False  # compressed, or no tar: its reader tells
        stream.seek(max(size - 2 * BLOCKSIZE, 0))
        return bool(size % RECORDSIZE) or bool(stream.read().strip(b"\0"))


def _read(path: str, stream: IO[bytes], found: Checked, scratch: Path) -> None:
    """Hash a member; keep it if it is read later."""
    signed = path.startswith(EVIDENCE) and path.endswith(SUFFIXES)
    keep = path.count("/") == 0 or path.startswith(("releases/", "locks/")) or signed
    text, sha256, size = bytearray(), hashlib.sha256(), 0
    copy = (scratch / Path(path).name).open("wb") if path.startswith(f"{WHEELS}/") else None
    try:
        while chunk := stream.read(CHUNK):
            sha256.update(chunk)
            size += len(chunk)
            if copy is not None:
                copy.write(chunk)
            elif keep and size <= TEXT_LIMIT:
                text += chunk
    finally:
        if copy is not None:
            copy.close()
    found.seen[path] = (sha256.hexdigest(), size)
    if keep:
        found.texts[path] = bytes(text)


def _check_manifest(found: Checked, digest: str | None) -> None:
    data = found.texts.get(MANIFEST)
    if data is None:
        found.fault(MANIFEST, "is missing: this is no bundle, or it was cut")
        return
    found.digest = found.seen[MANIFEST][0]
    if digest is not None and found.digest != digest.removeprefix("sha256:"):
        found.fault(MANIFEST, f"has sha256 {found.digest}, --digest says {digest}")
    try:
        manifest = Manifest.model_validate(json.loads(data))
    except ValueError as error:
        found.fault(MANIFEST, f"cannot be read: {str(error).splitlines()[0]}")
        return
    if manifest.text() != data:
        found.fault(MANIFEST, "is not in the one form that kvpack writes")
    if found.texts.get(SUMS) != manifest.sums:
        found.fault(SUMS, f"is missing, or does not say what {MANIFEST} says")
    found.manifest = manifest


def _check_members(found: Checked, manifest: Manifest) -> None:
    wanted = {piece.path: piece for piece in manifest.members}
    for path, piece in wanted.items():
        if path not in found.seen:
            found.fault(path, "is missing")
        elif found.seen[path] != (piece.sha256, piece.size):
            sha256, size = found.seen[path]
            found.fault(
                path, f"has sha256 {sha256} ({size} bytes) instead of {piece.sha256} ({piece.size})"
            )
    for path in found.seen.keys() - wanted.keys() - {MANIFEST, SUMS}:
        found.fault(path, f"is not in {MANIFEST}")
    if README not in wanted:
        found.fault(README, f"is not in {MANIFEST}")


def _releases(found: Checked, manifest: Manifest) -> Iterator[Release]:
    for name in manifest.releases:
        path = f"releases/{name}.json"
        try:
            release = Release.model_validate(json.loads(found.texts.get(path, b"")))
        except ValueError:
            found.fault(path, "is missing, or no manifest that this kvpack can read")
            continue
        if release.sealed("").id != name:
            found.fault(path, "does not have the content of its id")
        yield release


def _check_releases(found: Checked, manifest: Manifest) -> set[str]:
    """A wheel of a release that is here is that release's, with all its evidence.

    :returns: the file names of those wheels.
    """
    own = set()
    for release in _releases(found, manifest):
        here = [one for one in release.wheels if f"{WHEELS}/{one.filename}" in found.seen]
        for wheel in here:
            _check_wheel(found, wheel)
            own.add(wheel.filename)
        _check_locks(found, release, here)
    return own


def _check_locks(found: Checked, release: Release, wheels: Sequence[Wheel]) -> None:
    """The locks of a release, and those of native libraries against what its wheels carry."""
    sound = True
    for lock in release.locks:
        if found.seen.get(lock.path, ("", 0))[0] != lock.sha256:
            there = "is not that" if lock.path in found.seen else "is missing, although it is one"
            found.fault(lock.path, f"{there} of release {release.id}: sha256 {lock.sha256}")
            sound = False
    if not sound:
        return
    told: dict[str, None] = {}
    for wheel in wheels:
        inside = found.proofs.inside.get(wheel.filename)
        check = library_locks(inside.document if inside else {}, release, found.texts.get)
        if check is not None and check.outcome == "failed":
            found.fault(f"{WHEELS}/{wheel.filename}", f"{check.name}: {check.detail}")
        elif check is not None and check.outcome == "not checked":
            told[f"{check.name}: {check.detail}"] = None
    found.not_checked += told


def _check_proofs(found: Checked, own: set[str], digest: str | None) -> None:
    """Statements and signatures, as far as the bundle alone tells."""
    digests = {
        path.removeprefix(f"{WHEELS}/"): sha256
        for path, (sha256, _) in found.seen.items()
        if path.startswith(f"{WHEELS}/")
    }
    proofs = found.proofs
    proofs.judge(digests, own, found.texts)
    hint = "ask whoever published it which key signs their releases; install it only then"
    found.faults += [
        Fault(place=f"{WHEELS}/{wheel}", message=message, hint=hint)
        for wheel, message in proofs.faults
    ]
    if proofs.keys and not proofs.judged:
        found.fault(MANIFEST, "names no release with wheels here, so nothing can be signed")
    judged = {one.wheel for one in proofs.judged}
    others = digests.keys() - judged if digest is None else set()  # else its maker names them
    found.not_checked += proofs.not_checked(others)


def _check_wheel(found: Checked, wheel: Wheel) -> None:
    path = f"{WHEELS}/{wheel.filename}"
    wanted = {path: wheel.sha256}
    wanted |= {evidence_path(wheel, kind): one.sha256 for kind, one in wheel.evidence.items()}
    for place, sha256 in wanted.items():
        if place not in found.seen:
            found.fault(place, "is missing, although its release has it")
        elif found.seen[place][0] != sha256:
            found.fault(place, f"is not that of its release: sha256 {sha256}")


def _check_requirements(found: Checked) -> None:
    """Every digest that a set asks for is that of a wheel in the bundle."""
    held = {sha256 for path, (sha256, _) in found.seen.items() if path.startswith(f"{WHEELS}/")}
    for path, text in found.texts.items():
        if path.endswith(".txt") and path != README:
            for sha256 in re.findall(rb"--hash=sha256:([0-9a-f]{64})", text):
                if sha256.decode() not in held:
                    found.fault(path, f"asks for sha256 {sha256.decode()}, which no wheel has")


def _say_what_is_open(found: Checked, digest: str | None) -> None:
    if digest is None:
        found.not_checked.append(
            "who made it: compare the manifest's digest with the maker's, or give it with --digest"
        )
    if found.manifest is not None:
        found.not_checked += [f"not in it: {one}" for one in found.manifest.left_out]
