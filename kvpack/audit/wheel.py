"""Any wheel -> its facts, and every way in which it contradicts itself. Nothing is executed."""

import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kvpack.audit import archive, layout, metadata, policy, record
from kvpack.audit.archive import Content
from kvpack.audit.model import ElfFile, WheelFacts
from kvpack.audit.symbols import Prober
from kvpack.errors import Fault, WheelInvalid
from kvpack.names import Glibc, normalize, version_key
from kvpack.tools.files import sha256_file


@dataclass(frozen=True, kw_only=True, slots=True)
class _FileName:
    """A wheel's file name, taken apart (PEP 427)."""

    name: str
    version: str
    build: str | None
    tags: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """A wheel that is being read: what is known so far, and the faults found on the way."""

    path: Path
    zip: zipfile.ZipFile
    named: _FileName
    dist_info: str
    """Folder name; empty if there is none."""
    faults: list[Fault] = field(default_factory=list)

    def fault(self, member: str, message: str, hint: str = "") -> None:
        place = f"{self.path.name}: {member}" if member else self.path.name
        self.faults.append(Fault(place=place, message=message, hint=hint))

    def text(self, name: str, *, required: bool = False) -> bytes | None:
        """Read a file of dist-info; ``None``, and perhaps a fault, if it cannot be had."""
        member = f"{self.dist_info}/{name}"
        try:
            return archive.read_text(self.zip, member)
        except KeyError:
            if required:
                self.fault(member, f"the wheel has no {name}", "PEP 427 requires it: pack it anew")
        except archive.READ_ERRORS as error:
            self.fault(member, f"cannot be read: {error}")
        return None


def read_wheel(path: Path) -> WheelFacts:
    """Read the facts of a wheel that is sound.

    :raises WheelInvalid: with all faults at once, if it is no wheel or contradicts itself.
    :raises OSError: if the file itself cannot be opened.
    """
    facts, faults = inspect_wheel(path)
    if facts is None or faults:
        raise WheelInvalid(
            f"{path} is not a sound wheel: {len(faults)} fault(s)",
            cause="it is damaged, was edited after it was packed, or is no wheel at all",
            hint="fetch or build it again; 'kvpack audit' shows what can be read of it",
            faults=faults,
        )
    return facts


def inspect_wheel(
    path: Path, prober: Prober | None = None
) -> tuple[WheelFacts | None, list[Fault]]:
    """Read what can be read of a wheel, sound or not.

    :param prober: gets to see every member in the same pass.
    :return: the facts, ``None`` if nothing can be trusted to be read (no zip, a name that is no
        wheel's, encrypted, a bomb), and all faults, empty for a sound wheel.
    :raises OSError: if the file itself cannot be opened.
    """
    named, faults = _parse_name(path.name)
    try:
        with zipfile.ZipFile(path) as opened:
            infos = opened.infolist()
            faults += archive.structure_faults(infos, path.name)
            refused = archive.refusals(infos, path.name)
            dist_info, found = _find_dist_info(infos, named, path.name)
            faults += [*refused, *found]
            if refused or named is None:
                return None, faults
            wheel = _Opened(path=path, zip=opened, named=named, dist_info=dist_info, faults=faults)
            return _read(wheel, prober), faults
    except archive.READ_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        size = path.stat().st_size
        message = f"not a zip archive, or a truncated one: {error} ({size} bytes)"
        return None, [*faults, Fault(place=path.name, message=message, hint="fetch it again")]


def _parse_name(filename: str) -> tuple[_FileName | None, list[Fault]]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename  # noqa: PLC0415  - late

    try:
        name, version, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        hint = "PEP 427: name-version[-build]-python-abi-platform.whl"
        return None, [Fault(place=filename, message=str(error), hint=hint)]
    build_tag = f"{build[0]}{build[1]}" if build else None
    found = frozenset(str(tag) for tag in tags)
    return _FileName(name=name, version=str(version), build=build_tag, tags=found), []


def _find_dist_info(
    infos: Iterable[zipfile.ZipInfo], named: _FileName | None, wheel: str
) -> tuple[str, list[Fault]]:
    """Name of the one dist-info folder, empty if there is none."""
    heads = {info.filename.partition("/")[0] for info in infos if "/" in info.filename}
    found = sorted(head for head in heads if head.endswith(".dist-info"))
    if not found:
        message = "no *.dist-info folder, so nothing says what this is"
        return "", [Fault(place=wheel, message=message, hint="PEP 427 requires it: pack it anew")]
    if named is None:
        return found[0], []
    faults = []
    if len(found) > 1:
        message = f"{len(found)} dist-info folders, not one: {', '.join(found)}"
        faults.append(Fault(place=wheel, message=message, hint="pack one distribution per wheel"))
    fitting = [one for one in found if _is_named(one.removesuffix(".dist-info"), named)]
    if not fitting:
        message = f"the folder does not match the file name ({named.name} {named.version})"
        hint = "a wheel must not be renamed to another project or version: build it anew"
        faults.append(Fault(place=f"{wheel}: {found[0]}", message=message, hint=hint))
    return (*fitting, *found)[0], faults


def _is_named(stem: str, named: _FileName) -> bool:
    name, _, version = stem.rpartition("-")
    return normalize(name) == named.name and _same_version(version, named.version)


def _same_version(one: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415  - late

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False


def _read(wheel: _Opened, prober: Prober | None) -> WheelFacts:
    contents = _read_members(wheel, prober)
    files = sorted(contents)
    elf = tuple(content.elf for _, content in sorted(contents.items()) if content.elf is not None)
    _check_wheel_text(wheel, elf)
    about = _read_metadata(wheel)
    key = wheel.text("kvpack/key")
    floor = _true_floor(elf)
    return WheelFacts(
        filename=wheel.path.name,
        distribution=wheel.named.name,
        name=about.name or wheel.named.name,
        version=about.version or wheel.named.version,
        build_tag=wheel.named.build,
        tags=tuple(sorted(wheel.named.tags)),
        sha256=sha256_file(wheel.path),
        size=wheel.path.stat().st_size,
        requires_python=about.requires_python,
        requires=about.requires,
        licence=about.licence,
        licence_files=layout.licence_files(files),
        top_level=layout.top_level(files),
        console_scripts=_console_scripts(wheel),
        elf=elf,
        true_floor=floor,
        needed_from_host=_needed_from_host(elf, floor),
        grafted=tuple(one.path for one in elf if one.path.partition("/")[0].endswith(".libs")),
        startup=tuple(
            one for one in files if one.endswith(".pth") and "/" not in layout.installed(one)
        ),
        key=key.decode(errors="replace").strip() if key else None,
        cuda_major=_cuda_major(elf),
        sboms=tuple(one for one in files if one.startswith(f"{wheel.dist_info}/sboms/")),
    )


def _read_members(wheel: _Opened, prober: Prober | None) -> dict[str, Content]:
    """Read every member once, and hold it against RECORD."""
    place = f"{wheel.dist_info}/RECORD"
    data = wheel.text("RECORD", required=bool(wheel.dist_info))
    lines = record.parse(data or b"", place)
    # Of members with one name the last counts, as in most installers; that is a fault already.
    infos = {info.filename: info for info in wheel.zip.infolist() if not info.is_dir()}
    contents = {}
    damaged = set()
    for name, info in infos.items():
        try:
            wanted = prober and prober.wants(name, executable=archive.is_executable(info))
            look = partial(prober.read, name) if prober and wanted else None
            contents[name] = archive.read_content(wheel.zip, info, lines.algorithm(name), look)
        except archive.READ_ERRORS as error:
            damaged.add(name)
            wheel.fault(name, f"the member is damaged: {error}", "fetch the wheel again")
            continue
        if contents[name].damage:
            message = f"a damaged ELF file: {contents[name].damage}"
            wheel.fault(name, message, "the loader would refuse it too: build it again")
    if data is not None:
        kept = {path: line for path, line in lines.lines.items() if path not in damaged}
        lines = record.Record(lines=kept, faults=lines.faults)
        wheel.faults.extend(record.compare(lines, contents, place=place, wheel=wheel.path.name))
    return contents


def _check_wheel_text(wheel: _Opened, elf: tuple[ElfFile, ...]) -> None:
    data = wheel.text("WHEEL", required=bool(wheel.dist_info))
    if data is None:
        return
    member = f"{wheel.dist_info}/WHEEL"
    text = metadata.parse_wheel(data)
    for message in text.faults:
        wheel.fault(member, message, "PEP 427 requires it: pack it anew")
    if text.tags and text.tags != wheel.named.tags:
        only_here = ", ".join(sorted(text.tags - wheel.named.tags)) or "nothing"
        only_there = ", ".join(sorted(wheel.named.tags - text.tags)) or "nothing"
        message = f"tags disagree: only WHEEL has {only_here}; only the file name has {only_there}"
        wheel.fault(member, message, "change tags with 'wheel tags', never by renaming the file")
    if text.build != wheel.named.build:
        message = f"Build is {text.build}, the file name says {wheel.named.build}"
        wheel.fault(member, message, "change it with 'wheel tags', never by renaming the file")
    native = [one.path for one in elf if not one.device and _in_root(one.path)]
    if text.purelib and native:
        message = f"Root-Is-Purelib is true, yet there are ELF files: {', '.join(native[:3])}"
        wheel.fault(member, message, "mark the distribution as platform-specific and build it anew")


def _in_root(member: str) -> bool:
    return not member.partition("/")[0].endswith(".data")


def _read_metadata(wheel: _Opened) -> metadata.Metadata:
    data = wheel.text("METADATA", required=bool(wheel.dist_info))
    if data is None:
        return metadata.Metadata()
    about = metadata.parse_metadata(data)
    member = f"{wheel.dist_info}/METADATA"
    for message in about.faults:
        wheel.fault(member, message, "correct the project's metadata and build it anew")
    if about.name and normalize(about.name) != wheel.named.name:
        wheel.fault(member, f"Name is {about.name!r}, the file name says {wheel.named.name!r}")
    if about.version and not _same_version(about.version, wheel.named.version):
        message = f"Version is {about.version!r}, the file name says {wheel.named.version!r}"
        wheel.fault(member, message)
    return about


def _console_scripts(wheel: _Opened) -> tuple[str, ...]:
    data = wheel.text("entry_points.txt")
    try:
        return metadata.console_scripts(data or b"")
    except ValueError as error:
        wheel.fault(f"{wheel.dist_info}/entry_points.txt", f"cannot be read: {error}")
        return ()


def _true_floor(elf: tuple[ElfFile, ...]) -> Glibc | None:
    judged = [one.floor for one in elf if not one.device]
    known = [floor for floor in judged if floor is not None]
    # One file that no known glibc can load means that the wheel has no floor at all.
    return Glibc(max(known, key=version_key)) if known and len(known) == len(judged) else None


_CUDA = re.compile(r"lib(?:cudart|cublas|cublasLt|nvrtc)\.so\.(\d+)(?:\.|$)")
"""Libraries of the toolkit whose soname is the toolkit's major."""


def _cuda_major(elf: tuple[ElfFile, ...]) -> int | None:
    needed = (_CUDA.match(name) for one in elf for name in one.needed)
    found = {int(match[1]) for match in needed if match}
    return found.pop() if len(found) == 1 else None


def _needed_from_host(elf: tuple[ElfFile, ...], floor: str | None) -> tuple[str, ...]:
    own = layout.provided(elf)
    return tuple(
        sorted(
            {
                name
                for one in elf
                for name in one.needed
                if name not in own
                and not policy.matches(name, policy.allowed_libraries(floor, one.arch))
            }
        )
    )
