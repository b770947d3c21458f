"""The words of ``kvpack conflicts``: wheels, pins, requirements, pylocks, folders, indexes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from kvpack.cli.indexes import Indexes, project_of
from kvpack.cli.pins import Pin, pins_of, pylock, requirements, split_digest
from kvpack.errors import ResolutionFailed, UsageError, WheelInvalid
from kvpack.fetch.simple import Link
from kvpack.names import normalize
from kvpack.resolve.environment import Environment
from kvpack.resolve.wheels import newest
from kvpack.tools.web import parse, redact

MOST_PROJECTS = 1000
"""Of an index that is judged whole: more is a public registry, and no set."""


@dataclass(frozen=True)
class Gatherer:
    """Turns words into pins for one kind of environment."""

    indexes: Indexes

    @property
    def _environment(self) -> Environment:
        return self.indexes.environment

    def all(self, specs: Sequence[str]) -> list[Pin]:
        """The wheels of everything that was named.

        :raises UsageError: if a word cannot be understood, or names two versions of one project.
        :raises ResolutionFailed: if nothing in a folder, index or pylock fits the environment.
        """
        pins = [pin for spec in specs for pin in self._of(spec)]
        _refuse_two_versions(pins)
        return pins

    def _of(self, spec: str) -> Iterable[Pin]:
        path = Path(spec)
        if re.match(r"[a-z]+://", spec):
            return self._index(spec) if spec.endswith("/") else [_address(spec)]
        bare, sha256 = split_digest(spec)
        if bare.endswith(".whl") and "://" not in spec:
            pin = _wheel(spec, Path(bare).absolute().as_uri(), sha256)
            if not Path(bare).is_file():
                raise UsageError(f"there is no file {bare}", hint="kvpack conflicts --help")
            return [pin]
        if path.is_dir():
            return self._index(path.absolute().as_uri() + "/", shown=spec)
        if path.name.startswith("pylock.") and spec.endswith(".toml"):
            return pylock(path, self._environment)
        if spec.endswith("/"):
            raise UsageError(f"there is no folder {spec}", hint="kvpack conflicts --help")
        if spec.endswith((".txt", ".in")):
            return requirements(path, self._environment)
        return pins_of(spec, "SPEC", self._environment)

    # -- folders and indexes ---------------------------------------------------------------

    def _index(self, url: str, shown: str = "") -> list[Pin]:
        """Every project's newest wheel that fits: of a flat folder or page, or a simple index."""
        shown = shown or redact(url)
        entries = self.indexes.page(url)
        wheels = [link for link in entries if link.filename.endswith(".whl")]
        pins = [*self._newest(wheels, shown)] or self._projects(url, shown, entries)
        if not pins:
            raise ResolutionFailed(
                f"{shown} has no wheel for {self._environment}",
                cause="it lists none, or all of them are for other environments",
                hint="choose another folder or index, or another --python, --glibc or --arch",
            )
        return pins

    def _projects(self, url: str, shown: str, entries: Sequence[Link]) -> list[Pin]:
        names = sorted({name for link in entries if (name := _project_of(link))})
        if len(names) > MOST_PROJECTS:
            raise UsageError(
                f"{shown} lists {len(names)} projects, which are no set to install",
                cause="it is a public registry, or a mirror of one",
                hint=f"name what is to be installed: NAME==VERSION --index {shown}",
            )

        def read(name: str) -> list[Pin]:
            return list(self._newest(self.indexes.listed(url, name), shown))

        with ThreadPoolExecutor(8) as pool:
            return [pin for pins in pool.map(read, names) for pin in pins]

    def _newest(self, links: Iterable[Link], shown: str) -> Iterator[Pin]:
        by_name = {link.filename: link for link in links if not link.yanked}
        chosen = newest(by_name, self._environment.tags)
        for name in sorted({project_of(one) for one in by_name} - set(chosen)):
            self.indexes.context.console.warn(
                f"{shown}: no wheel of {name} fits {self._environment}: it is not judged"
            )
        for filename in chosen.values():
            link = by_name[filename]
            yield _wheel(f"{shown}: {filename}", link.url, link.sha256 or "")


def _project_of(link: Link) -> str:
    """The project that a link of an index's root page leads to; empty for other links."""
    name = parse(link.url).path.rstrip("/").rpartition("/")[2]
    return name if name == normalize(name) and "." not in name else ""


# -- wheels -----------------------------------------------------------------------------------


def _address(spec: str) -> Pin:
    url, sha256 = split_digest(spec)
    return _wheel(redact(spec), url, sha256)


def _wheel(spec: str, url: str, sha256: str = "") -> Pin:
    """:raises WheelInvalid: if the file name is no wheel's."""
    filename = Pin("", "", url).filename
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise WheelInvalid(
            f"{spec} has no wheel's name: {error}",
            cause="a wheel is named NAME-VERSION-PYTHON-ABI-PLATFORM.whl (PEP 427)",
            hint="an index or a folder is written with a slash at its end",
        ) from None
    return Pin(canonicalize_name(name), str(version), url, sha256, brought_by=spec)


def _refuse_two_versions(pins: Sequence[Pin]) -> None:
    seen: dict[str, Pin] = {}
    for pin in pins:
        first = seen.setdefault(pin.name, pin)
        if first.version != pin.version:
            raise UsageError(
                f"{pin.name} is named at two versions: {first.version} ({first.brought_by}) and "
                f"{pin.version} ({pin.brought_by})",
                cause="one environment holds one version of a distribution",
                hint="leave one of them out",
            )
