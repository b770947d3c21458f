"""Where the wheel of a pin lies: declared indexes in their order, then the machine's own."""

import functools
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from packaging.utils import parse_wheel_filename

from kvpack.cli.context import Context
from kvpack.cli.pins import Pin
from kvpack.errors import (
    CatalogueError,
    DigestMismatch,
    Fault,
    FetchFailed,
    ResolutionFailed,
    UsageError,
)
from kvpack.fetch.registries import Registries
from kvpack.fetch.simple import ACCEPT, Link, links_of
from kvpack.names import normalize
from kvpack.resolve.environment import Environment
from kvpack.resolve.wheels import best
from kvpack.tools.web import Page, TryFailed, Web, redact

TRIES = 3
"""How often a page is asked for where the failure may pass."""
PAUSE = 0.2
"""Seconds before the second try; twice as long before the third."""
_ABSENT = frozenset({404, 410})
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Indexes:
    """Finds wheels for one kind of environment.

    The first declared index that lists a project is the only one that counts for it: a higher
    version, or another file of the same version, elsewhere never wins (dependency confusion). One
    that does not answer is an error, never passed over.
    """

    context: Context
    environment: Environment
    declared: Sequence[str] = ()
    """Simple indexes or folders, as URLs."""

    @functools.cached_property
    def registries(self) -> Registries:
        """Those of the catalogue; outside of any, those of the machine."""
        try:
            return self.context.registries
        except CatalogueError:
            if self.context.options.root is not None:
                raise
            memory = self.context.store
            return Registries(Path.cwd(), reporter=self.context.console, memory=memory)

    def web(self, url: str) -> Web:
        """How to reach a URL.

        :raises UsageError: if it is not on this machine, and ``--offline`` forbids more.
        """
        if url.startswith("file:"):
            return self.registries.web("url")
        if self.context.options.offline:
            raise UsageError(
                f"{redact(url)} is not in the store, and --offline forbids reading it",
                cause="the proof reads wheels and pages of their index",
                hint="name wheel files, or --installed PYTHON; or run it once without --offline",
            )
        return self.registries.web("pypi")

    def locate(self, pin: Pin) -> Pin:
        """The pin with its wheel's address, exact version and, where the page tells it, digest.

        :raises ResolutionFailed: if no wheel of that version fits.
        :raises DigestMismatch: if those that fit have none of the digests that the pin admits.
        :raises FetchFailed: if an index does not answer, or none lists the project.
        """
        if pin.url:
            return pin
        links = {link.filename: link for link in self._links(pin)}
        admitted = {
            name: link
            for name, link in links.items()
            if not pin.hashes or link.sha256 is None or link.sha256 in pin.hashes
        }
        wheel = best(admitted, pin.version, self.environment.tags)
        if wheel is None and (other := best(links, pin.version, self.environment.tags)):
            raise DigestMismatch(
                f"{other} has sha256 {links[other].sha256} on its index, {pin.brought_by} admits "
                "other digests only",
                cause="the index has another file of that name, or the digests are of other wheels",
                hint="write the requirements again, or name the index that they were made from",
            )
        if wheel is None:
            offered = sorted(name for name in links if f"-{pin.version}-" in name)[:6]
            raise ResolutionFailed(
                f"{pin.name} {pin.version} has no wheel for {self.environment}",
                cause=f"wheels of that version: {', '.join(offered) or 'none'}",
                hint="choose another version, or another --python, --glibc or --arch",
            )
        version = str(parse_wheel_filename(wheel)[1])
        only = next(iter(pin.hashes)) if len(pin.hashes) == 1 else ""
        link = links[wheel]
        return replace(pin, version=version, url=link.url, sha256=link.sha256 or only)

    def _links(self, pin: Pin) -> tuple[Link, ...]:
        """The files of a pin's project: of the first declared place that has a wheel of it."""
        for index in self.declared:
            if found := self.listed(index, pin.name, pin.version):
                return found
        registry = self.registries.pypi()
        for source in registry.declared:
            found = _of_project(self.page(_as_url(source)), pin.name)
            if any(link.filename.endswith(".whl") for link in found):
                return found
        if registry.primary is not None:
            found = self.listed(_as_url(registry.primary), pin.name, pin.version)
            if found:
                return found
        raise FetchFailed(
            f"no index lists a file of the project {pin.name}",
            cause="its name is misspelt, or this machine's indexes do not carry it",
            hint="--index names another one, and so does kvpack.toml [registries.pypi] index",
        )

    def listed(self, index: str, project: str, version: str = "") -> tuple[Link, ...]:
        """The files of a project on an index: its page, or a flat folder's wheels.

        :param version: read no other files, where the page shows that it has some of this version.
        :raises FetchFailed: if the index does not answer.
        """
        folder = Pin("", "", index).path
        if folder is not None and not (folder / project).is_dir():
            return _of_project(self.page(index), project)
        return _of_project(self.page(f"{index.rstrip('/')}/{project}/", version), project)

    def page(self, url: str, version: str = "") -> tuple[Link, ...]:
        """The files of one page; none if there is no such page.

        :raises FetchFailed: if the index does not answer.
        """

        def read() -> tuple[Link, ...]:
            return links_of(_narrowed(self.web(url).text(url, accept=ACCEPT), version))

        try:
            return _patient(read)
        except TryFailed as error:
            if error.status in _ABSENT or not _exists(url):
                return ()
            raise FetchFailed(
                f"the index page {redact(url)} cannot be read: {error.reason}",
                cause="the index does not answer; another one is not asked in its place",
                hint="run the same command again, or leave that index out",
                faults=[Fault(place=redact(url), message=error.reason)],
            ) from error


def _narrowed(page: Page, version: str) -> Page:
    """A page of HTML with the links of one version alone, if it has any that are written so.

    Pages of old projects have thousands of links, and Python's parser needs half a second for them.
    """
    if not version or page.content_type.endswith("json") or "<base" in page.text:
        return page
    file = re.compile(rf"-{re.escape(version)}(?:-|\+|%2[Bb])")
    links = [link for link in re.findall(r"<a\s[^>]*>", page.text) if file.search(link)]
    return replace(page, text="\n".join(links)) if links else page


def _of_project(links: Iterable[Link], project: str) -> tuple[Link, ...]:
    """The files of a listing that belong to a project by their names (PEP 427, PEP 625)."""
    return tuple(link for link in links if project_of(link.filename) == project)


def project_of(filename: str) -> str:
    """The normalized project of a wheel or an sdist, by its file name."""
    wheel = filename.endswith(".whl")
    return normalize(filename.partition("-")[0] if wheel else filename.rpartition("-")[0])


def _as_url(place: str) -> str:
    return place if "://" in place else Path(place).absolute().as_uri()


def _exists(url: str) -> bool:
    """Whether a folder is there; of an address nothing is known."""
    path = Pin("", "", url).path
    return path is None or path.exists()


def _patient(ask: Callable[[], _Answer]) -> _Answer:
    """Ask again where the failure may pass.

    :raises TryFailed: what the last try failed with.
    """
    for attempt in range(1, TRIES):
        try:
            return ask()
        except TryFailed as error:
            if not error.transient:
                raise
            time.sleep(PAUSE * attempt)
    return ask()
