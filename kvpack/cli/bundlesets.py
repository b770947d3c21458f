"""Requirements and pylocks for a bundle: which wheels they name, by digest, and fetching these."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import parse_wheel_filename

from kvpack.cli import pins
from kvpack.cli.context import Context
from kvpack.cli.indexes import Indexes
from kvpack.cli.pins import Pin
from kvpack.errors import Fault, ResolutionFailed, UsageError
from kvpack.fetch.download import fetch
from kvpack.fetch.model import Registry, Wanted
from kvpack.fetch.places import Candidate
from kvpack.names import normalize, version_key
from kvpack.publish.bundletext import WHEELS, Environment, Pinned, environment_of, requirements
from kvpack.publish.model import Wheel
from kvpack.resolve.environment import Environment as Fitting
from kvpack.resolve.wheels import best
from kvpack.tools.web import Web

if TYPE_CHECKING:
    from kvpack.tools.stored import Data


class Sets:
    """The sets of a bundle, for the environments of its wheels.

    :param indexes: asked before the machine's own.
    """

    def __init__(self, context: Context, wheels: Sequence[Wheel], indexes: Sequence[str]) -> None:
        self._context, self._wheels, self._declared = context, wheels, indexes
        self._environments = _lowest(environment_of(wheel.target) for wheel in wheels)
        self._urls: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        """Complete sets: file name -> text."""
        self.own_texts = self._own()
        """The wheels alone, by accelerator."""

    def _own(self) -> dict[str, str]:
        """A file for each accelerator and, where there are several, for each floor.

        No marker tells glibc floors apart, and each target's wheel has a version of its own.
        """
        kinds: dict[tuple[str, str], list[Wheel]] = {}
        for wheel in self._wheels:
            floor = environment_of(wheel.target).glibc
            kinds.setdefault((str(wheel.accelerator), floor), []).append(wheel)
        several = len({floor for _, floor in kinds}) > 1
        texts = {}
        for (accelerator, floor), wheels in sorted(kinds.items()):
            found: dict[tuple[str, str], Pinned] = {}
            for wheel in wheels:
                key = (wheel.project, wheel.version)
                pin = found.setdefault(key, Pinned(*key))
                pin.wheels[wheel.filename] = wheel.sha256
                pin.environments.append(environment_of(wheel.target))
            name = f"wheels-{accelerator}{f'-glibc{floor}' if several else ''}.txt"
            every = [environment_of(wheel.target) for wheel in wheels]
            texts[name] = requirements(found.values(), every, "the wheels of the release")
        return texts

    # -- one set ------------------------------------------------------------------------------

    def add(self, file: Path) -> None:
        """Take in a set.

        :raises UsageError: if it cannot be read, or a line names no digest.
        :raises ResolutionFailed: with every wheel that cannot be told by its digest.
        """
        pinned: dict[tuple[str, str], Pinned] = {}
        faults: list[Fault] = []
        for environment in self._environments:
            for pin in self._pins(file, environment):
                name, sha256, problem = self._wheel(pin, environment)
                if problem:
                    place = f"{pin.brought_by or file} ({environment.python}, {environment.arch})"
                    faults.append(Fault(place=place, message=problem))
                    continue
                # The wheel's own version: uv knows hashes by it, with its local part.
                key = (pin.name, str(parse_wheel_filename(name)[1]))
                one = pinned.setdefault(key, Pinned(*key))
                one.wheels[name] = sha256
                one.environments.append(environment)
        if faults:
            raise ResolutionFailed(
                f"{file} names {len(faults)} wheels that cannot be bundled",
                cause="a bundle holds what its sets name by digest, and nothing else",
                hint="kvpack requirements and uv pip compile --generate-hashes write digests",
                faults=faults,
            )
        name = f"{re.sub(r'[^A-Za-z0-9._-]', '-', file.name.removesuffix(file.suffix))}.txt"
        if name in self.texts or name in self.own_texts or name.lower() == "readme.txt":
            raise UsageError(f"two sets would be {name} in the bundle", hint="rename one of them")
        self.texts[name] = requirements(pinned.values(), self._environments, file.name)

    def _pins(self, file: Path, environment: Environment) -> Iterator[Pin]:
        read = pins.pylock if file.suffix == ".toml" else pins.requirements
        return read(file, _fitting(environment))

    def _wheel(self, pin: Pin, environment: Environment) -> tuple[str, str, str]:
        """File name and sha256 of the wheel that a pin means there, or why it cannot be told."""
        admitted = pin.hashes or {pin.sha256} - {""}
        if not admitted:
            return "", "", "names no sha256"
        known = _fitting(environment)
        own = {
            wheel.filename: wheel.sha256
            for wheel in self._wheels
            if wheel.project == normalize(pin.name) and wheel.sha256 in admitted
        }
        if name := best(own, pin.version, known.tags):
            return name, own[name], ""
        located = Indexes(self._context, known, self._declared).locate(pin)
        if located.sha256 not in admitted:
            return "", "", f"{located.filename} has another digest, or none is told"
        self._urls[located.sha256] = located.url
        if self._files.setdefault(located.filename, located.sha256) != located.sha256:
            return "", "", f"two files are called {located.filename}"
        return located.filename, located.sha256, ""

    # -- fetching -----------------------------------------------------------------------------

    def fetched(self) -> "dict[str, Data]":
        """Every wheel of the sets that the release does not have: path -> file in the store."""
        wanted = [
            Wanted(registry="storage", place=name, filename=name, sha256=sha256)
            for name, sha256 in sorted(self._files.items())
        ]
        store = self._context.store
        fetch(
            wanted, store=store, registries=_Located(self._context, self._urls),
            reporter=self._context.console, offline=self._context.options.offline,
        )  # fmt: skip
        return {f"{WHEELS}/{one.filename}": store.check(one.sha256) for one in wanted}


class _Located:
    """``Places`` of wheels: where an index or a pylock says that they are; mirrors before it."""

    def __init__(self, context: Context, urls: dict[str, str]) -> None:
        any_environment = Fitting("3.12", "2.35", "x86_64")
        self._indexes, self._urls = Indexes(context, any_environment), urls

    def prepare(self, registries: Iterable[Registry]) -> None:
        """Nothing is to be asked."""

    def web(self, registry: Registry) -> Web:
        return self._indexes.registries.web(registry)

    def places(self, wanted: Wanted) -> Iterator[Candidate]:
        yield from self._indexes.registries.places(wanted)
        url = self._urls[wanted.sha256]
        yield Candidate(url=url, web=self._indexes.web(url))


def _fitting(environment: Environment) -> Fitting:
    """The environment as one that knows which wheels and markers fit it."""
    return Fitting(environment.python, environment.glibc, environment.arch)


def _lowest(environments: Iterable[Environment]) -> list[Environment]:
    """The oldest glibc of each Python and architecture: what runs there runs on newer ones."""
    found: dict[tuple[str, str], Environment] = {}
    for one in sorted(environments, key=lambda e: version_key(e.glibc)):
        found.setdefault((one.python, one.arch), one)
    return [found[key] for key in sorted(found)]
