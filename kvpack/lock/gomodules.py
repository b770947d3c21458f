"""Which Go modules does a source need? What its go.sum files say. Pure.

Rule: go.dev/ref/mod#go-sum-files. A line names a module, a version and a hash; with ``/go.mod``
behind the version, of that file alone. ``go`` reads nothing that go.sum does not name, so a source
whose go.sum is complete (``go mod tidy``) builds from these files, without a network.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from kvpack.errors import Fault, LockMissing, ResolutionFailed
from kvpack.lock.gofile import AnyGoFile, LockedGoFile, PendingGoFile
from kvpack.lock.source import AnySource, CompleteSource, PendingArchive, PendingGit
from kvpack.names import Accelerator
from kvpack.recipe.golang import ROOT, Go
from kvpack.recipe.model import Recipe, Target

Texts = Mapping[str, bytes | None]
_EMPTY_MOD = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="
"""Of an empty go.mod: an old fault of Go wrote it; Go ignores it (``modfetch.emptyGoModHash``)."""


# -- what a recipe asks for ------------------------------------------------------------------------


def go_for_version(recipe: Recipe, version: str) -> Go | None:
    """``build.go``, if any build of a version takes it."""
    torch = recipe.targets.torch
    cells = (
        (one, with_torch) for one in recipe.targets.accelerator for with_torch in (False, True)
    )
    found = (
        recipe.go_for(version, accelerator, torch=with_torch)
        for accelerator, with_torch in cells
        if not with_torch or accelerator in torch
    )
    return next(filter(None, found), None)


def folders_for(recipe: Recipe, version: str) -> tuple[str, ...]:
    """The folders of a version's source whose go.sum is locked."""
    go = go_for_version(recipe, version)
    return go.modules if go else ()


def files_of(folder: str) -> tuple[str, str]:
    """The places of a module's go.mod and go.sum in its source."""
    before = "" if folder == ROOT else f"{folder}/"
    return f"{before}go.mod", f"{before}go.sum"


def environments(recipe: Recipe, version: str) -> list[tuple[Accelerator | None, tuple[str, ...]]]:
    """The build environments of a version, each with what it holds beside others' requirements.

    One for all accelerators; where only some take Go, one more for each of them.
    """
    needing = {
        accelerator: (go.toolchain,)
        for accelerator in recipe.targets.accelerator
        if (go := recipe.go_for(version, accelerator))
    }
    if len(needing) == len(recipe.targets.accelerator):
        return [(None, next(iter(needing.values())))]
    return [(None, ()), *needing.items()]


def environment_of(recipe: Recipe, target: Target) -> Accelerator | None:
    """Which of the build environments a target without torch has."""
    if recipe.build.go is None:  # thousands of targets are asked for
        return None
    named = [accelerator for accelerator, _ in environments(recipe, target.version)]
    return target.accelerator if target.accelerator in named else None


# -- what a source says ----------------------------------------------------------------------------


def read_go_sums(source: str, folders: Iterable[str], texts: Texts) -> tuple[PendingGoFile, ...]:
    """Every file that the go.sum files of some folders name.

    :param source: how messages call the source.
    :param texts: the files of ``files_of`` by their places; ``None``: it is not there.
    :raises ResolutionFailed: with every fault of every go.sum.
    """
    found: dict[str, tuple[str, PendingGoFile]] = {}
    faults: list[Fault] = []
    for folder in folders:
        for place in files_of(folder):
            if texts.get(place) is None:
                bare = place.endswith("go.sum") and texts.get(files_of(folder)[0]) is not None
                hint = "code that needs no module has none: leave the folder out" if bare else ""
                faults.append(Fault(place=place, message="it is not in the source", hint=hint))
        place = files_of(folder)[1]
        for at, file in _rows(place, texts.get(place) or b"", faults):
            before, kept = found.setdefault(file.place, (at, file))
            if kept.h1 != file.h1:
                message = f"{file.module} {file.version} is {file.h1} here, {kept.h1} in {before}"
                faults.append(Fault(place=at, message=message))
    if faults:
        raise ResolutionFailed(
            f"{source}: its Go modules cannot be locked as build.go asks",
            cause="a build has no network: Go gets what go.sum names, and nothing else",
            hint="correct build.go.modules, or limit build.go with when; go mod tidy writes "
            "go.sum, but only upstream's counts, not a patch's",
            faults=faults,
        )
    return tuple(sorted((file for _, file in found.values()), key=lambda one: one.place))


def _rows(place: str, data: bytes, faults: list[Fault]) -> Iterator[tuple[str, PendingGoFile]]:
    """The files that one go.sum names, each with its line; what is no such line is a fault."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        faults.append(Fault(place=place, message=f"not UTF-8 text: {error}"))
        return
    for number, line in enumerate(text.splitlines(), 1):
        words, at = line.split(), f"{place}: line {number}"
        if not words or words[2:] == [_EMPTY_MOD]:
            continue
        try:
            yield at, _row(words)
        except ValueError as error:
            faults.append(Fault(place=at, message=str(error)))


def _row(words: list[str]) -> PendingGoFile:
    """:raises ValueError: if these are not the words of a line of go.sum."""
    if len(words) != 3:  # noqa: PLR2004
        raise ValueError(f"{' '.join(words)!r} is not a module, a version and a hash")
    module, version, h1 = words
    fields: dict[str, Any] = {
        "module": module,
        "version": version.removesuffix("/go.mod"),
        "file": "mod" if version.endswith("/go.mod") else "zip",
        "h1": h1,
    }
    try:
        return PendingGoFile.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        names = {"module": "path of a Go module", "version": "version of one", "h1": "h1 hash"}
        raise ValueError(f"{first['input']!r} is no {names[str(first['loc'][0])]}") from None


def kept(wanted: Iterable[AnyGoFile], known: Iterable[AnyGoFile]) -> tuple[AnyGoFile, ...]:
    """Files that are wanted, with the digests of those that a lock held already."""
    digests = {(one.place, one.h1): one for one in known}
    return tuple(digests.get((one.place, one.h1), one) for one in wanted)


# -- what a lock lacks -----------------------------------------------------------------------------


def pending_files(source: AnySource) -> tuple[PendingGoFile, ...]:
    """The files of Go modules whose bytes are unknown."""
    if isinstance(source, PendingGit | PendingArchive):
        return ()
    return tuple(one for one in source.module if isinstance(one, PendingGoFile))


def pending_modules(recipe: str, source: AnySource) -> str:
    """Why the bytes of Go modules are unknown; empty: they are known."""
    if not (missing := pending_files(source)):
        return ""
    count = f"{len(missing)} of {len(getattr(source, 'module', ()))} files"
    return f"Go modules of {recipe} {source.version}: {count} not fetched (registry unreachable)"


def modules_of(recipe: Recipe, source: CompleteSource, target: Target) -> tuple[LockedGoFile, ...]:
    """The files of Go modules that a target is built from.

    :raises LockMissing: if some could not be fetched when it was locked.
    """
    if recipe.go_of(target) is None:
        return ()
    if reason := pending_modules(recipe.name, source):
        raise LockMissing(
            f"{target.title} cannot be built: its Go modules are not all locked",
            cause=reason,
            hint="name a proxy of Go modules in kvpack.toml ([registries.go] proxies) or in "
            f"GOPROXY, then: kvpack lock {recipe.name}",
        )
    return tuple(one for one in source.module if isinstance(one, LockedGoFile))
