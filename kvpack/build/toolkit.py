"""An accelerator's toolkit at ``/usr/local/cuda``, laid out from locked wheels.

NVIDIA's wheels hold pieces of a toolkit's tree, ``nvidia/<piece>/{bin,include,lib,…}``: they are
laid over each other, with what an installer would have added. Like a root, the files are a pure
function of the locked bytes and of ``TOOLKIT``; nothing is run, so any architecture can be made.
"""

import fnmatch
import json
import posixpath
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from kvpack.build.imagefolder import image_data, image_key
from kvpack.build.nvcc import WRAPPED, WRAPPER, behind
from kvpack.build.pytools import DAMAGE, File, Wheels, check_names, damaged
from kvpack.build.stub import exported, stub
from kvpack.errors import Fault, RootFailed
from kvpack.lock.model import Inputs, LockedWheel
from kvpack.names import Arch, Sha256
from kvpack.recipe.toolkits import Stub, Toolkits
from kvpack.tools.files import canonical_json, sha256_of

TOOLKIT = 2
"""Part of the key of everything built with a toolkit. Raise it when a change of this file, of
``stub.py``, ``nvcc.py`` or of what they lay out changes the bytes."""
HOME = "usr/local/cuda"
ENVIRONMENT = {
    "CUDA_HOME": f"/{HOME}",
    "CUDA_PATH": f"/{HOME}",
    # For the linker: -lcudart, and -lcuda from the stubs. Nothing is run with it.
    "LIBRARY_PATH": f"/{HOME}/lib64:/{HOME}/lib64/stubs",
}
"""What a build with a toolkit finds in its environment, beside ``PROGRAMS`` on PATH."""
PROGRAMS = f"/{HOME}/bin"
LIBRARIES = (f"/{HOME}/lib64", f"/{HOME}/lib64/stubs")
"""Where a trial finds CUDA's run time and the driver's stand-in."""
_LEFT_OUT = ("__init__.py", "*/__init__.py", ".metadata/*")
"""What makes a wheel importable or was forgotten in it; no part of a toolkit."""
_VERSIONED = re.compile(r"(lib/lib[^/]+\.so)\.[0-9.]+")


def toolkit_data(toolkits: Toolkits) -> dict[str, object]:
    """What decides the bytes of a toolkit beside its wheels."""
    stubs = [one.as_json() for one in toolkits.stub]
    return {"generator": TOOLKIT, "stubs": sha256_of(canonical_json(stubs))}


def data_of(inputs: Inputs, toolkits: Toolkits) -> dict[str, object]:
    """What decides the bytes of a target's toolkit beside what is locked of it."""
    if inputs.toolkit_image:
        return image_data(inputs.toolkit_image, toolkits)
    return toolkit_data(toolkits)


def toolkit_key(inputs: Inputs, root: str, toolkits: Toolkits) -> Sha256:
    """What decides the bytes of a root with its toolkit.

    :param root: key or digest of the root under it.
    """
    if inputs.toolkit_image:
        return image_key(inputs.toolkit_image, root, toolkits)
    wheels = {wheel.file: wheel.sha256 for wheel in inputs.toolkit}
    data = {**toolkit_data(toolkits), "environment": ENVIRONMENT}
    document = {"root": root, "data": data, "wheels": wheels}
    return sha256_of(canonical_json(document))


def toolkit_environment(variables: dict[str, str]) -> dict[str, str]:
    """What a root's environment gains with a toolkit of wheels.

    :param variables: the environment of the root below.
    """
    added = {**ENVIRONMENT, "PATH": PROGRAMS}
    joined = {name: variables.get(name, "") for name in ("LIBRARY_PATH", "PATH")}
    return {name: ":".join(filter(None, (to, joined.get(name)))) for name, to in added.items()}


def trial_libraries(inputs: Inputs) -> tuple[str, ...]:
    """Where the trial of a wheel finds its toolkit's libraries."""
    if inputs.toolkit_image:
        return (f"{inputs.toolkit_image.folder}/lib",)
    return LIBRARIES if inputs.toolkit else ()


@dataclass
class _Tree:
    """The wheels' trees over each other: path -> where its bytes are."""

    members: dict[str, tuple[LockedWheel, zipfile.ZipFile, zipfile.ZipInfo]] = field(
        default_factory=dict
    )
    faults: list[Fault] = field(default_factory=list)

    def add(self, wheel: LockedWheel, archive: zipfile.ZipFile) -> None:
        for info in archive.infolist():
            path = _place(info.filename)
            if info.is_dir() or path is None:
                continue
            before = self.members.setdefault(path, (wheel, archive, info))
            if before[1] is not archive and self.read(path) != archive.read(info):
                message = f"{before[0].file} and {wheel.file} hold other bytes at this path"
                self.faults.append(Fault(place=path, message=message))

    def read(self, path: str) -> bytes:
        _, archive, info = self.members[path]
        return archive.read(info)


def toolkit_files(wheels: Wheels, arch: Arch, toolkits: Toolkits) -> Iterator[File]:
    """The files of a toolkit, by path.

    :param wheels: the locked wheels and where their bytes are.
    :raises ArchiveUnsafe: if a wheel is damaged.
    :raises RootFailed: if two wheels contradict each other, or none holds anything.
    """
    tree = _Tree()
    with ExitStack() as opened:
        for wheel, path in sorted(wheels, key=lambda item: item[0].file):
            try:
                archive = opened.enter_context(zipfile.ZipFile(path))
                check_names(archive, wheel)
                tree.add(wheel, archive)
            except DAMAGE as error:
                raise damaged(wheel, error) from error
        _check(tree, [wheel for wheel, _ in wheels])
        made = {**_added(tree, wheels, arch, toolkits), **_wrappers(tree)}
        for name in sorted({*tree.members, *made}):
            if name in made:
                yield made[name]
                continue
            wheel, archive, info = tree.members[name]
            try:
                content = archive.read(info)
            except DAMAGE as error:
                raise damaged(wheel, error) from error
            yield File(f"{HOME}/{name}", content, _mode(name, content))


def _place(name: str) -> str | None:
    """``nvidia/cu13/lib/libcudart.so.13`` -> ``lib/libcudart.so.13``."""
    parts = name.split("/", 2)
    if parts[0] != "nvidia" or len(parts) < 3:  # noqa: PLR2004  # nvidia, the piece, a path in it
        return None
    left_out = any(fnmatch.fnmatchcase(parts[2], pattern) for pattern in _LEFT_OUT)
    return None if left_out else parts[2]


def _check(tree: _Tree, wheels: list[LockedWheel]) -> None:
    if tree.faults:
        raise RootFailed(
            "the wheels of the toolkit contradict each other",
            cause="they are of different releases, or one was replaced",
            hint="lock one release of them: kvpack lock --upgrade cuda-toolkit",
            faults=tree.faults,
        )
    if not tree.members:
        raise RootFailed(
            f"no file of a toolkit is in {', '.join(wheel.file for wheel in wheels)}",
            cause="NVIDIA's wheels have their files in nvidia/<piece>/; these have not",
            hint="compare kvpack/recipe/toolkits.toml with what the project publishes",
        )


def _mode(path: str, content: bytes) -> int:
    """Wheels carry 0744 for programs; an installer would have given them to everybody."""
    program = posixpath.basename(posixpath.dirname(path)) == "bin"
    return 0o755 if program and content.startswith((b"\x7fELF", b"#!")) else 0o644


def _added(tree: _Tree, wheels: Wheels, arch: Arch, toolkits: Toolkits) -> Mapping[str, File]:
    """What an installer would have added: names to link with, the driver's stubs, the version."""
    made = {path: File(f"{HOME}/{path}", link=to) for path, to in _links(tree.members)}
    for one in toolkits.stub:
        for path, content, link in _stub(tree, one, arch):
            made[path] = File(f"{HOME}/{path}", content, link=link)
    if version := _version(wheel for wheel, _ in wheels):
        document = {"cuda": {"name": "CUDA SDK", "version": version}}
        # Where there is no nvcc to ask, CMake's FindCUDAToolkit asks one of these: it knew only
        # version.txt up to 3.26.
        for name, text in (
            ("version.json", json.dumps(document, indent=3)),
            ("version.txt", f"CUDA Version {version}"),
        ):
            made[name] = File(f"{HOME}/{name}", f"{text}\n".encode())
    return made


def _wrappers(tree: _Tree) -> dict[str, File]:
    """The scripts before programs of nvcc; these move (``kvpack/build/nvcc.py``)."""
    found = [path for path in WRAPPED if path in tree.members]
    for path in found:
        tree.members[behind(path)] = tree.members.pop(path)
    return {path: File(f"{HOME}/{path}", WRAPPER.encode(), 0o755) for path in found}


def _links(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """``lib64``, and for every ``libx.so.1`` the name that ``-lx`` looks for."""
    yield "lib64", "lib"
    known = set(paths)
    if {"bin/nvlink", "lib/libnvvm.so.4"} <= known:
        yield "nvvm/lib64", "../lib"  # where nvlink looks for libnvvm.so when it links with -dlto
    for path in sorted(known):
        found = _VERSIONED.fullmatch(path)
        if found and found[1] not in known:
            yield found[1], posixpath.basename(path)


def _stub(tree: _Tree, one: Stub, arch: Arch) -> Iterator[tuple[str, bytes, str]]:
    """Path, content and link of a library of the driver, if its headers are there."""
    headers = [path for name in one.headers if (path := f"include/{name}") in tree.members]
    names: set[str] = set()
    for path in headers:
        text = tree.read(path).decode(errors="replace")
        names |= exported(text, one.declared, one.renamed)
    if not names:
        return
    yield f"lib/stubs/{one.library}", stub(arch, one.soname, sorted(names), one.code), ""
    # What a library needs is looked for under its SONAME (ld -rpath-link, the loader).
    yield f"lib/stubs/{one.soname}", b"", one.library


def _version(wheels: Iterable[LockedWheel]) -> str | None:
    """``13.4.3``."""
    for wheel in wheels:
        if wheel.project == "cuda-toolkit":
            return ".".join(wheel.version.split(".")[:3])
    return None
