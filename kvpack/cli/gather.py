"""Turns the words of ``kvpack conflicts`` into claims: files, pins, pylocks, environments."""

import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from kvpack.cli.context import Context
from kvpack.cli.pins import Environment, Pin, pins_of, pylock, requirements
from kvpack.errors import CatalogueError, ResolutionFailed, UsageError, WheelInvalid
from kvpack.fetch.registries import Registries
from kvpack.resolve.claims import of_environment
from kvpack.resolve.model import Claims
from kvpack.resolve.ranged import claims_of_file, claims_of_url
from kvpack.resolve.wheels import best
from kvpack.tools.process import Command, check

_ASK = """
import json, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps({
    "prefix": sys.prefix,
    "site": sorted({paths["purelib"], paths["platlib"]}),
    "python": "%d.%d" % sys.version_info[:2],
}))
"""


@dataclass(frozen=True)
class Gatherer:
    """Reads claims for one kind of environment."""

    context: Context
    environment: Environment

    def all(self, specs: Sequence[str], installed: dict[str, Any] | None) -> list[Claims]:
        """The claims of everything that was named.

        A distribution of the set replaces the installed one of the same name.

        :param installed: what ``ask`` gave.
        :raises UsageError: if a spec cannot be understood.
        :raises FetchFailed: if an index does not answer.
        """
        if not specs and installed is None:
            raise UsageError("nothing to judge", hint="kvpack conflicts --help")
        files, pins = self._sort(specs)
        found = [_file(path) for path in files]
        if pins:
            found += self._read(pins)
        if installed is not None:
            named = {claims.distribution for claims in found}
            found += [c for c in _installed(installed) if c.distribution not in named]
        return found

    def _sort(self, specs: Sequence[str]) -> tuple[list[Path], list[Pin]]:
        files: list[Path] = []
        pins: list[Pin] = []
        for spec in specs:
            path = Path(spec)
            if spec.endswith(".whl") and "://" not in spec:
                files.append(path)
            elif path.name.startswith("pylock.") and spec.endswith(".toml"):
                pins += pylock(path, self.environment)
            elif spec.endswith((".txt", ".in")):
                pins += requirements(path, self.environment)
            else:
                pins += pins_of(spec, "SPEC", self.environment)
        return files, list(dict.fromkeys(pins))

    def _read(self, pins: Sequence[Pin]) -> list[Claims]:
        remote = any(not pin.url.startswith("file:") for pin in pins)
        if remote and self.context.options.offline:
            raise UsageError(
                "kvpack conflicts reads wheels from their index, which --offline forbids",
                hint="name wheel files, or --installed PYTHON",
            )
        if remote:
            self._registries.prepare(["pypi"])
        count = f"{len(pins)} wheel{'' if len(pins) == 1 else 's'}"
        step = self.context.console.step(f"Reading {count} by range requests")
        with step, ThreadPoolExecutor(8) as pool:
            return list(pool.map(self._pinned, pins))

    @functools.cached_property
    def _registries(self) -> Registries:
        """Those of the catalogue; outside of any, those of the machine."""
        try:
            return self.context.registries
        except CatalogueError:
            if self.context.options.root is not None:
                raise
            return Registries(Path.cwd(), reporter=self.context.console)

    def _pinned(self, pin: Pin) -> Claims:
        url, version = pin.url, pin.version
        if not url:
            links = {link.filename: link.url for link in self._registries.links(pin.name)}
            wheel = best(links, pin.version, self.environment.tags)
            if wheel is None:
                offered = sorted(name for name in links if f"-{pin.version}-" in name)[:6]
                raise ResolutionFailed(
                    f"{pin.name} {pin.version} has no wheel for {self.environment}",
                    cause=f"wheels of that version: {', '.join(offered) or 'none'}",
                    hint="choose another version, or another --python, --glibc or --arch",
                )
            url, version = links[wheel], str(parse_wheel_filename(wheel)[1])
        web = self._registries.web("url" if url.startswith("file:") else "pypi")
        return claims_of_url(web, url, (pin.name, version))


def _file(path: Path) -> Claims:
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
        size = path.stat().st_size
        with path.open("rb") as stream:
            return claims_of_file(stream, (str(name), str(version)), str(path), size=size)
    except InvalidWheelFilename as error:
        raise WheelInvalid(
            f"{path} has no wheel's name: {error}", hint="kvpack audit names every fault"
        ) from None
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", hint="kvpack conflicts --help") from None


# -- environments -------------------------------------------------------------------------------


def ask(python: Path, context: Context) -> dict[str, Any]:
    """Where an environment has its distributions, and its Python's version.

    :raises ToolFailed: if it cannot be started.
    :raises UsageError: if it is no Python.
    """
    command = Command(args=[python, "-I", "-c", _ASK], timeout=60)
    output = check(command, context.console).output
    try:
        said: dict[str, Any] = json.loads(output)
    except ValueError:
        raise UsageError(
            f"--installed {python} is no Python: it said {output[:80]!r}",
            hint="name an environment's bin/python",
        ) from None
    return said


def _installed(said: dict[str, Any]) -> Iterator[Claims]:
    """The distributions of an environment, from their own RECORD files."""
    prefix = Path(said["prefix"])
    for folder in said["site"]:
        site = Path(folder)
        inside = site.is_relative_to(prefix)
        below = site.relative_to(prefix).as_posix() if inside else "site-packages"
        for record in sorted(site.glob("*.dist-info/RECORD")):
            yield _distribution(record, below)


def _distribution(record: Path, below: str) -> Claims:
    name, _, version = record.parent.name.removesuffix(".dist-info").rpartition("-")
    points = record.with_name("entry_points.txt")
    text = points.read_text(encoding="utf-8", errors="replace") if points.is_file() else ""
    try:
        claims = of_environment(record.read_text(encoding="utf-8"), below, text)
        return Claims(
            distribution=canonicalize_name(name),
            version=version,
            origin=str(record.parent),
            claims=claims,
        )
    except ValueError as error:  # of the text, of RECORD, or of the folder's name
        raise WheelInvalid(
            f"the installed {record.parent} cannot be judged: {error}",
            cause="it was written by hand, or an uninstall was cut",
            hint="install that distribution again",
        ) from error
