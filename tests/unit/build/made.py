"""Hand-made inputs of a build: packages, wheels, a recipe, a lock's slice, a plan."""

import base64
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvpack.build.key import action, action_key, local_version
from kvpack.build.model import BuildPlan, Workshop
from kvpack.lock.model import Inputs, LockedDeb, LockedRoot, LockedWheel
from kvpack.lock.source import DirtyTree, LockedPatch, LockedSource
from kvpack.names import Accelerator, Arch
from kvpack.recipe.model import Recipe, Target
from kvpack.recipe.roots import DebianBase, ImageBase, Roots, Tools
from kvpack.report import Silent, SilentStep, Step

WHEN = 1_700_000_000
EPOCH = 1_600_000_000


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- Debian packages ------------------------------------------------------------------------


def entry(
    name: str | bytes, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar archive."""
    shown = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    info = tarfile.TarInfo(shown)
    info.type, info.mtime, info.size = kind, WHEN, len(data)
    info.uname = "builder"
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def folder(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, kind=tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, kind=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, kind=tarfile.LNKTYPE, linkname=target)


def tar_bytes(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if data else None)
    return buffer.getvalue()


def ar_bytes(*members: tuple[str, bytes]) -> bytes:
    """An ar archive, as dpkg-deb writes it."""
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{WHEN:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.compress,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    "": lambda data: data,
    ".zst": lambda data: b"\x28\xb5\x2f\xfd" + data,
}


def control(name: str, more: str = "") -> bytes:
    text = f"Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\n{more}Description: a {name}\n"
    return text.encode()


@dataclass(frozen=True, kw_only=True)
class MadeDeb:
    """A package file to be written; every part can be replaced by a wrong one."""

    name: str = "demo"
    files: Sequence[tuple[tarfile.TarInfo, bytes]] = ()
    more: str = ""
    """More lines of the control stanza."""
    stanza: bytes | None = None
    packed: tuple[str, str] = (".xz", ".xz")
    """Suffixes of control.tar and data.tar."""

    def __bytes__(self) -> bytes:
        stanza = control(self.name, self.more) if self.stanza is None else self.stanza
        first, second = self.packed
        return ar_bytes(
            ("debian-binary", b"2.0\n"),
            (f"control.tar{first}", _PACKERS[first](tar_bytes(entry("./control", stanza)))),
            (f"data.tar{second}", _PACKERS[second](tar_bytes(*self.files))),
        )


# -- wheels ---------------------------------------------------------------------------------


def zip_bytes(
    members: Mapping[str, bytes],
    *,
    modes: Mapping[str, int] | None = None,
    when: tuple[int, int, int, int, int, int] = (2024, 2, 3, 4, 5, 6),
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, when)
            info.external_attr = (0o100000 | (modes or {}).get(name, 0o644)) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def record(members: Mapping[str, bytes], info: str) -> bytes:
    def digest(data: bytes) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()

    lines = [f"{name},sha256={digest(data)},{len(data)}" for name, data in members.items()]
    return "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()


def wheel_members(
    name: str = "demo", version: str = "1.0", files: Mapping[str, bytes] | None = None
) -> dict[str, bytes]:
    """The members of a sound pure wheel."""
    info = f"{name}-{version}.dist-info"
    members = {
        **(files or {f"{name}/__init__.py": b"x = 1\n"}),
        f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: true\n"
        b"Tag: py3-none-any\n",
    }
    return members | {f"{info}/RECORD": record(members, info)}


def wheel_bytes(
    name: str = "demo", version: str = "1.0", files: Mapping[str, bytes] | None = None
) -> bytes:
    return zip_bytes(wheel_members(name, version, files))


def locked_wheel(project: str, data: bytes, version: str = "1.0") -> LockedWheel:
    file = f"{project.replace('-', '_')}-{version}-py3-none-any.whl"
    return LockedWheel(
        file=file,
        project=project,
        version=version,
        path=f"packages/ab/{file}",
        sha256=sha(data),
    )


def locked_deb(name: str, data: bytes) -> LockedDeb:
    return LockedDeb(
        name=name,
        version="1.0-1",
        path=f"pool/main/{name[0]}/{name}/{name}_1.0-1_amd64.deb",
        size=len(data),
        sha256=sha(data),
    )


# -- values ---------------------------------------------------------------------------------

DEBIAN = DebianBase(
    packages=("bash",),
    python_packages=("pythonX.Y",),
    exclude=("usr/share/doc/*",),
    links={"/usr/bin/cc": "gcc"},
)
ROOTS = Roots(
    roots_schema=1,
    root=(),
    debian=DEBIAN,
    image=ImageBase(prefix="/opt/debian", relocated=("*.pc", "*.cmake"), provided=("libc6",)),
    tools=Tools(host_python="3.11", host=("cibuildwheel",), root=("pip",), build=("build",)),
)
PATCH = b"--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-a\n+b\n"
RECIPE: dict[str, Any] = {
    "schema": 1,
    "name": "demo",
    "summary": "A demo",
    "license": "Apache-2.0",
    "homepage": "https://demo.example",
    "default-version": "1.0",
    "distribution": {"cpu": "demo-kv", "cuda12": "demo-kv-cu12", "owns": ["demo"]},
    "versions": {"1.0": {"source": {"sdist": "demo"}}},
    "targets": {"python": ["3.11"], "glibc": ["2.36"]},
    "options": {
        "cuda": {"default": False, "per-accelerator": {"cuda12": True}, "cmake": "USE_CUDA"},
        "flavor": {"type": "string", "default": "plain", "env": "DEMO_FLAVOR"},
    },
    "patches": [{"id": "fix", "file": "fix.patch", "why": "it fails"}],
    "build": {
        "environment": {"DEMO": "1"},
        "config-settings": {"wheel.exclude": "include/**", "define": ["a", "b"]},
    },
    "audit": {"host-libraries": ["libibverbs.so.1"], "import": ["demo"], "run": [["demo", "-h"]]},
}


def recipe(*changes: tuple[str, object]) -> Recipe:
    """The demo recipe; ``("build.environment", {...})`` replaces a key by its dotted path."""
    return Recipe.model_validate(changed(RECIPE, *changes))


def inputs(*changes: tuple[str, object]) -> Inputs:
    """A locked slice of the demo recipe; a change names a key by its dotted path."""
    return Inputs.model_validate(changed(INPUTS.model_dump(by_alias=True), *changes))


def changed(document: Mapping[str, Any], *changes: tuple[str, object]) -> dict[str, Any]:
    found = dict(document)
    for path, value in changes:
        key, _, rest = path.partition(".")
        if not rest:
            found[key] = value
        elif isinstance(found[key], (list, tuple)):
            index, _, deeper = rest.partition(".")
            items = list(found[key])
            items[int(index)] = changed(items[int(index)], (deeper, value))
            found[key] = items
        else:
            found[key] = changed(found[key], (rest, value))
    return found


TARGET = Target(
    recipe="demo",
    version="1.0",
    python="3.11",
    glibc="2.36",
    arch=Arch.X86_64,
    accelerator=Accelerator.CPU,
    root="debian-bookworm",
)
INPUTS = Inputs(
    target=TARGET,
    source=LockedSource(
        version="1.0",
        project="demo",
        file="demo-1.0.tar.gz",
        path="packages/aa/demo-1.0.tar.gz",
        sha256=sha(b"source"),
        size=6,
        epoch=EPOCH,
        backend="setuptools.build_meta",
    ),
    patches=(LockedPatch(id="fix", file="fix.patch", sha256=sha(PATCH)),),
    build=(locked_wheel("setuptools", b"setuptools"), locked_wheel("build", b"build")),
    host=(locked_wheel("cibuildwheel", b"cibuildwheel", "4.3"),),
    root=LockedRoot(
        id="debian-bookworm",
        arch=Arch.X86_64,
        include=("g++",),
        packages=(locked_deb("g++", b"g++"), locked_deb("libstdc++6", b"libstdc++6")),
    ),
    root_tools=(locked_wheel("auditwheel", b"auditwheel"), locked_wheel("pip", b"pip")),
    imports=(locked_wheel("numpy", b"numpy"),),
)


SUB = "5" * 40
GIT: dict[str, Any] = {
    "version": "1.0",
    "git": "https://git.example/team/demo.git",
    "tag": "v1.0",
    "commit": "c" * 40,
    "submodules": True,
    "tree": "e" * 40,
    "sha256": sha(b"tar"),
    "size": 10240,
    "epoch": EPOCH,
    "backend": "setuptools.build_meta",
    "submodule": [
        {"path": "extern/sub", "url": "https://git.example/team/sub", "commit": SUB, "tree": SUB}
    ],
}
"""A locked git source, as a lock file says it."""
ARCHIVE: dict[str, Any] = {
    "version": "1.0",
    "archive": "https://files.example/demo.tar.gz",
    "file": "demo.tar.gz",
    "sha256": sha(b"archive"),
    "size": 7,
    "epoch": EPOCH,
    "backend": "setuptools.build_meta",
}


def plan(made: Recipe | None = None, locked: Inputs | None = None) -> BuildPlan:
    made, locked = made or recipe(), locked or INPUTS
    document = action(made, locked, ROOTS)
    key = action_key(document)
    return BuildPlan(
        recipe=made,
        inputs=locked,
        action=document,
        key=key,
        distribution=str(made.distribution.name_for(locked.target.accelerator)),
        version=local_version(
            locked.target.version, key, dirty=isinstance(locked.source, DirtyTree)
        ),
    )


def shop(scratch: Path, *, source_folder: str = "source", cache: Path | None = None) -> Workshop:
    return Workshop(
        image="localhost/root:1", folder=scratch, source_folder=source_folder, compiler_cache=cache
    )


# -- fakes behind the ports -----------------------------------------------------------------


@dataclass
class Blobs:
    """A store's blobs, as a function from digest to path."""

    folder: Path

    def __call__(self, digest: str) -> Path:
        return self.folder / digest

    def add(self, data: bytes) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / sha(data)).write_bytes(data)
        return sha(data)


class _HeardStep(SilentStep):
    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    def line(self, text: str) -> None:
        self.heard.append(text)


@dataclass
class Heard(Silent):
    """A reporter that remembers what was said."""

    steps: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def step(self, title: str) -> Step:
        self.steps.append(title)
        return _HeardStep(self.lines)

    def detail(self, text: str) -> None:
        self.details.append(text)


def script(path: Path, text: str, *, interpreter: str = "/bin/sh") -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{interpreter}\n{text}", encoding="utf-8")
    path.chmod(0o755)
    return path


def calls(path: Path) -> Iterator[list[str]]:
    """The calls that a recording program wrote, one a line, words parted by tabs."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield line.split("\t")
