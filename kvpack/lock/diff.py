"""What changed between two locks, input by input. Pure."""

from dataclasses import dataclass

from kvpack.lock.gofile import LockedGoFile
from kvpack.lock.model import Lock
from kvpack.lock.source import AnySource, LockedGit, LockedPatch, PendingArchive, PendingGit


@dataclass(frozen=True, order=True)
class Change:
    """One input that is not the same."""

    kind: str
    """``source``, ``subproject``, ``go-module``, ``epoch``, ``patch``, ``wheel``, ``deb``,
    ``image``, ``toolkit``, ``closure``."""
    name: str
    before: str
    """What it was; empty if it is new."""
    after: str
    """What it is; empty if it is gone."""

    def line(self) -> str:
        if not self.before:
            return f"+ {self.kind} {self.name} {self.after}"
        if not self.after:
            return f"- {self.kind} {self.name} {self.before}"
        return f"~ {self.kind} {self.name} {self.before} -> {self.after}"

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "before": self.before, "after": self.after}


def differences(old: Lock | None, new: Lock | None) -> list[Change]:
    """Every input in which two locks differ; ``None`` is a lock that is not there."""
    before, after = _facts(old), _facts(new)
    return sorted(
        Change(kind, name, before.get((kind, name), ""), after.get((kind, name), ""))
        for kind, name in {*before, *after}
        if before.get((kind, name)) != after.get((kind, name))
    )


def _facts(lock: Lock | None) -> dict[tuple[str, str], str]:
    """Every input with a text that is equal only if the input is."""
    if lock is None:
        return {}
    found = _of_toolkits(lock) | _of_wraps(lock) | _of_modules(lock)
    for source in lock.source:
        found["source", source.version] = _of_source(source)
        if not isinstance(source, PendingGit | PendingArchive):
            found["epoch", source.version] = str(source.epoch)
    for patch in lock.patches:
        known = patch.sha256[:12] if isinstance(patch, LockedPatch) else "(not fetched)"
        named = (patch.file if isinstance(patch, LockedPatch) else None) or str(patch.commit)[:12]
        found["patch", patch.id] = f"{named} {known}"
    for root in lock.root:
        if root.image:
            found["image", f"{root.id} {root.arch}"] = root.image
        for deb in root.packages:
            found["deb", f"{root.id} {root.arch} {deb.name}"] = f"{deb.version} {deb.sha256[:12]}"
    digests = {wheel.file: wheel for wheel in lock.wheels}
    for closure in lock.closure:
        for file in closure.files:
            wheel = digests[file]
            named = f"{closure.title} {wheel.project}"
            found["wheel", named] = f"{wheel.version} {wheel.sha256[:12]}"
    return found


def _of_toolkits(lock: Lock) -> dict[tuple[str, str], str]:
    return {
        ("toolkit", one.title): f"{one.tagged} {one.image[-64:][:12]} {one.folder}"
        for one in lock.toolkit
    }


def _of_wraps(lock: Lock) -> dict[tuple[str, str], str]:
    return {
        ("subproject", f"{source.version} {wrap.file}"): wrap.sha256[:12]
        for source in lock.source
        if not isinstance(source, PendingGit | PendingArchive)
        for wrap in source.wrap
    }


def _of_modules(lock: Lock) -> dict[tuple[str, str], str]:
    return {
        ("go-module", f"{source.version} {one.module}@{one.version} {one.file}"): (
            one.sha256[:12] if isinstance(one, LockedGoFile) else "(not fetched)"
        )
        for source in lock.source
        if not isinstance(source, PendingGit | PendingArchive)
        for one in source.module
    }


def _of_source(source: AnySource) -> str:
    match source:
        case PendingGit():
            return f"{source.git} {source.commit or source.tag} (not fetched)"
        case PendingArchive():
            return f"{source.archive} {source.sha256[:12]} (not fetched)"
        case LockedGit():
            return f"{source.git} {source.commit[:12]} {source.sha256[:12]}"
        case _:
            return f"{source.file} {source.sha256[:12]}"
