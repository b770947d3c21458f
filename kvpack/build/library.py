"""Builds a native library in its root, by steps alone, and takes what lies below its prefix.

As for a wheel: no network, no folder of the host, a scrubbed environment, and what the container
gets is one folder. cibuildwheel has no part in it, since there is no Python.
"""

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from kvpack.build.contained import Contained
from kvpack.build.model import INPUTS, BuildPlan, Workshop
from kvpack.build.project import place_patches, place_wraps
from kvpack.build.pytools import File
from kvpack.build.root import write_layer
from kvpack.build.steps import git_head, steps_script
from kvpack.errors import BuildFailed, Fault
from kvpack.report import Reporter
from kvpack.tools.engine import Engine
from kvpack.tools.files import sha256_file

_SIZE = 4 << 30
"""Bytes that a library may have: one that is larger took the compiler's leavings along."""


def lay_out(
    plan: BuildPlan, shop: Workshop, blob: Callable[[str], Path], patch: Callable[[str], Path]
) -> Path:
    """Write what the container gets beside the source; returns where the source belongs.

    :raises PatchFailed: if a patch's bytes are not the locked ones.
    """
    inputs = shop.folder / "project" / INPUTS
    inputs.mkdir(parents=True)
    source = f"/project/{shop.source_folder}"
    lines = ["#!/bin/bash", "set -euo pipefail", *place_patches(plan, shop, blob, patch)]
    lines += [*git_head(plan, source), f"bash /project/{INPUTS}/steps.sh"]
    place_wraps(plan, shop, blob)
    (inputs / "steps.sh").write_text(steps_script(plan, source), encoding="utf-8")
    (inputs / "library.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return shop.folder / "project" / shop.source_folder


def build_library(
    plan: BuildPlan, shop: Workshop, engine: Engine, *, log: Path, reporter: Reporter
) -> Path:
    """Build; the project folder must be laid out and hold the source.

    :param log: file that gets the full output.
    :returns: the canonical tar, in ``shop.folder``.
    :raises BuildFailed: with the last lines and the log's place; also if nothing was installed.
    :raises OptionIgnored: if the log shows it.
    """
    command = ["bash", f"/project/{INPUTS}/library.sh"]
    how = Contained(plan=plan, shop=shop, engine=engine, log=log, reporter=reporter)
    taken = how.run(command, _prefix(plan))
    if taken is None:
        raise _nothing(plan, log)
    target = shop.folder / "library.tar"
    with target.open("wb") as out:
        canonical(plan, taken, out, log)
    return target


def _prefix(plan: BuildPlan) -> str:
    if plan.recipe.library is None:
        raise ValueError(f"{plan.title} is no native library")
    return plan.recipe.library.prefix


def _nothing(plan: BuildPlan, log: Path) -> BuildFailed:
    return BuildFailed(
        f"building {plan.title} installed nothing below {_prefix(plan)}",
        cause="its steps ended well, but none of them installed into $PREFIX",
        hint=f"install into $PREFIX: ./configure --prefix=$PREFIX … && make install; log: {log}",
    )


def canonical(plan: BuildPlan, taken: Path, out: IO[bytes], log: Path) -> None:
    """The same tree as the same bytes: sorted, with no owners and one time.

    :param taken: the folder at the prefix as a tar, as an engine gave it.
    :raises BuildFailed: with every member that no library holds; also if there is no file.
    """
    prefix = _prefix(plan)
    with _opened(plan, taken, log) as tar:
        members = _below(tar.getmembers(), posixpath.basename(prefix))
        faults = [fault for name in members for fault in _faults(name, members, prefix)]
        if sum(info.size for info in members.values()) > _SIZE:
            faults.append(Fault(place=prefix, message=f"holds more than {_SIZE} bytes"))
        if faults:
            raise BuildFailed(
                f"building {plan.title} left what no library holds",
                cause="a step installed something else than files, links and folders",
                hint=f"mend build.steps in recipes/{plan.recipe.name}.toml; the full log is {log}",
                faults=faults,
            )
        if not any(info.isfile() for info in members.values()):
            raise _nothing(plan, log)
        write_layer(_files(tar, members, prefix.lstrip("/")), out)


def check_canonical(plan: BuildPlan, tar: Path) -> None:
    """Hold a tar from elsewhere to what ``canonical`` writes, before it is laid over a root.

    :raises ValueError: if it has a member outside of the prefix, or another than ``canonical``
        would have written, in another order, twice, or below a link.
    """
    prefix = _prefix(plan).lstrip("/")
    digest = hashlib.sha256()
    try:
        with tarfile.open(tar, "r:", encoding="utf-8", errors="surrogateescape") as held:
            members = {_within(info.name, prefix): info for info in held.getmembers()}
            links = {name for name, info in members.items() if info.issym()}
            for name in members:
                above = (str(place) for place in PurePosixPath(name).parents)
                if link := next((place for place in above if place in links), None):
                    raise ValueError(f"{name!r} lies below the link {link!r}")
            if sum(info.size for info in members.values()) > tar.stat().st_size:
                raise ValueError("its members are larger than itself")
            faults = [fault for name in members for fault in _faults(name, members, prefix)]
            if faults:
                raise ValueError(f"{faults[0].place!r} {faults[0].message}")
            write_layer(_files(held, members, prefix), _Digesting(digest))  # type: ignore[arg-type]
    except (tarfile.TarError, OSError, EOFError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"it cannot be read as a tar: {error}") from error
    if digest.hexdigest() != sha256_file(tar):
        raise ValueError("it is not in the one form that kvpack writes")


def _within(name: str, prefix: str) -> str:
    """The path of a member below the prefix; empty: it is the prefix, or a folder above it.

    :raises ValueError: if it lies elsewhere.
    """
    if f"{prefix}/".startswith(f"{name}/"):
        return ""
    if not name.startswith(f"{prefix}/"):
        raise ValueError(f"{name!r} lies outside of /{prefix}")
    return name.removeprefix(f"{prefix}/")


class _Digesting:
    """A stream of which only the digest is kept."""

    def __init__(self, digest: "hashlib._Hash") -> None:
        self.write = digest.update


def _opened(plan: BuildPlan, taken: Path, log: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(taken, "r:", encoding="utf-8", errors="surrogateescape")
    except tarfile.TarError as error:
        raise BuildFailed(
            f"the container engine gave no tar of {_prefix(plan)}",
            cause=str(error),
            hint=f"check the engine's storage: a full disk; the full log is {log}",
        ) from error


def _below(infos: list[tarfile.TarInfo], top: str) -> dict[str, tarfile.TarInfo]:
    """The members by their paths below the folder, itself ``""``; what is outside keeps its name.

    Engines differ in what they put first: ``ucx/lib/x``, ``./ucx/lib/x`` or ``./lib/x``. The first
    member is the folder itself, or lies in it.
    """
    first = posixpath.normpath(infos[0].name).split("/")[0] if infos else ""
    base = f"{top}/" if first == top else ""
    names = (posixpath.normpath(info.name) for info in infos)
    return {
        "" if name in {".", base.rstrip("/")} else name.removeprefix(base): info
        for name, info in zip(names, infos, strict=True)
    }


def _linked(info: tarfile.TarInfo, members: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """What a hard link is another name of; ``None``: nothing that is here."""
    wanted = posixpath.normpath(info.linkname)
    return next(
        (
            other
            for other in members.values()
            if not other.islnk() and posixpath.normpath(other.name) == wanted
        ),
        None,
    )


def _faults(name: str, members: dict[str, tarfile.TarInfo], prefix: str) -> Iterator[Fault]:
    info = members[name]
    place = info.name if _is_text(info.name) else repr(info.name)
    if ".." in info.name.split("/") or info.name.startswith("/"):
        yield Fault(place=place, message="leads out of the prefix")
    if not name and not info.isdir():
        yield Fault(place=prefix, message="is no folder", hint="$PREFIX itself must be one")
    if not (info.isfile() or info.issym() or info.islnk() or info.isdir()):
        yield Fault(place=place, message="is a device, pipe or socket")
    if not _is_text(info.name):
        yield Fault(place=place, message="is no UTF-8 name")
    if info.issym() and not _is_text(info.linkname):
        yield Fault(place=place, message=f"links to {info.linkname!r}, which is no UTF-8 name")
    if info.islnk() and _linked(info, members) is None:
        yield Fault(place=place, message=f"is a hard link to {info.linkname!r}, which is not there")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], prefix: str
) -> Iterator[File]:
    for name in sorted(filter(None, members)):
        info, path = members[name], f"{prefix}/{name}"
        if info.islnk():
            # Its file's bytes again: which of the two names is the file is chance.
            info = _linked(info, members) or info
        if info.isdir():
            yield File(path, folder=0o755)
        elif info.issym():
            yield File(path, link=info.linkname)
        else:
            stream_ = tar.extractfile(info) or io.BytesIO()
            yield File(path, stream_.read(), 0o755 if info.mode & 0o111 else 0o644)
