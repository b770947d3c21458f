"""The registries of this machine: where a locked file may be had, in the order to try.

Nothing is asked before it is needed (pip alone takes 0.3 s to answer); what was learned belongs to
the ``Registries`` object, not to the process.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from kvpack.errors import Fault, FetchFailed
from kvpack.fetch import config, debian, goproxy, pypi
from kvpack.fetch.mirrors import Mirrors, input_mirrors, input_place
from kvpack.fetch.model import Registry, Wanted
from kvpack.fetch.places import Candidate
from kvpack.fetch.remembered import Memory
from kvpack.fetch.simple import ACCEPT, Link, is_of, links_of, page_url, project_page
from kvpack.report import Reporter
from kvpack.tools import process
from kvpack.tools.http import Http
from kvpack.tools.pace import patiently
from kvpack.tools.web import HttpSettings, TryFailed, Web, encode_path, parse, redact

PAUSES = (0.5, 2.0)
"""Seconds before a page that has no other place is asked for again."""


def http(settings: HttpSettings, environment: Mapping[str, str]) -> Web:
    """Make the real port."""
    return Http(settings, environment=environment)


class Registries:
    """Knows, for one catalogue on one machine, where locked files are. Thread-safe.

    :param root: the catalogue's folder, which may hold ``kvpack.toml``.
    :param environment: what pip, uv and apt are asked under; default: kvpack's own.
    :param runner: starts pip, uv and apt.
    :param connect: makes the port for one way to reach the web.
    :param memory: where answers of slow programs are remembered.
    """

    def __init__(
        self,
        root: Path,
        *,
        reporter: Reporter,
        environment: Mapping[str, str] | None = None,
        runner: process.Runner = process.run,
        connect: Callable[[HttpSettings, Mapping[str, str]], Web] = http,
        memory: Memory | None = None,
    ) -> None:
        self._root, self._reporter, self._runner = root, reporter, runner
        self._environment = dict(os.environ) if environment is None else dict(environment)
        self._connect, self._memory = connect, memory
        self._guard = threading.RLock()
        self._config: config.Config | None = None
        self._pypi: pypi.PypiRegistry | None = None
        self._debian: debian.DebianRegistry | None = None
        self._go: goproxy.GoRegistry | None = None
        self._webs: dict[HttpSettings, Web] = {}
        self._pages: dict[str, tuple[Link, ...] | TryFailed] = {}
        self._page_locks: dict[str, threading.Lock] = {}
        self._bases: dict[str, None] = {}
        self._inputs: Mirrors | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give all connections back."""
        with self._guard:
            for web in self._webs.values():
                web.close()

    # -- what is known -----------------------------------------------------------------------

    def config(self) -> config.Config:
        """Read ``kvpack.toml``.

        :raises ConfigInvalid: with every fault of it.
        """
        with self._guard:
            if self._config is None:
                self._config = config.load(self._root)
            return self._config

    def pypi(self) -> pypi.PypiRegistry:
        """Tell where PyPI is.

        :raises ConfigInvalid: if a configuration cannot be understood.
        :raises FetchFailed: if nothing names an index.
        """
        with self._guard:
            if self._pypi is None:
                self._pypi = pypi.discover(
                    self.config().registries.pypi,
                    environment=self._environment,
                    runner=self._runner,
                    reporter=self._reporter,
                    memory=self._memory,
                )
            return self._pypi

    def debian(self) -> debian.DebianRegistry:
        """Tell where Debian is.

        :raises ConfigInvalid: if ``kvpack.toml`` cannot be understood.
        :raises FetchFailed: if nothing names a mirror.
        """
        with self._guard:
            if self._debian is None:
                self._debian = debian.discover(
                    self.config().registries.debian,
                    environment=self._environment,
                    runner=self._runner,
                    reporter=self._reporter,
                )
            return self._debian

    def go(self) -> goproxy.GoRegistry:
        """Tell where Go modules are.

        :raises ConfigInvalid: if ``kvpack.toml`` or GOPROXY cannot be understood.
        :raises FetchFailed: if nothing names a proxy.
        """
        with self._guard:
            if self._go is None:
                table = self.config().registries.go
                self._go = goproxy.discover(table, environment=self._environment)
            return self._go

    def inputs(self) -> Mirrors | None:
        """Tell where locked files are mirrored, if anywhere.

        :raises ConfigInvalid: if ``kvpack.toml`` cannot be understood.
        """
        with self._guard:
            urls = self.config().mirrors.inputs
            if self._inputs is None and urls:
                self._inputs = input_mirrors(urls, self._environment, self._memory)
            return self._inputs

    def web(self, registry: Registry) -> Web:
        """Give the port that reaches a registry: its proxy, time-outs and trust."""
        settings = HttpSettings()
        if registry == "pypi":
            settings = self.pypi().settings
        elif registry == "debian":
            settings = self.debian().settings
        elif registry == "go":
            self.go()  # so that a machine without one is told before anything is fetched
        with self._guard:
            if settings not in self._webs:
                self._webs[settings] = self._connect(settings, self._environment)
            return self._webs[settings]

    def prepare(self, registries: Iterable[Registry]) -> None:
        """Ask about these registries now, on this thread.

        :raises ConfigInvalid: as ``pypi`` and ``debian``.
        :raises FetchFailed: as ``pypi`` and ``debian``, unless inputs are mirrored.
        """
        needed = not self.inputs()
        for registry in sorted(set(registries)):
            try:
                self.web(registry)
            except FetchFailed:
                if needed:
                    raise

    # -- places ------------------------------------------------------------------------------

    def places(self, wanted: Wanted) -> Iterator[Candidate]:
        """Give the places of a file in the order to try; pages are read only when reached."""
        mirrors = self.inputs()
        if mirrors is None:
            yield from self._upstream(wanted)
            return
        yield from mirrors.candidates(input_place(wanted.sha256))
        try:
            yield from self._upstream(wanted)
        except FetchFailed as error:  # nothing tells where the registry is
            yield Candidate(url=f"{wanted.registry}:{wanted.place}", problem=error.what)

    def _upstream(self, wanted: Wanted) -> Iterator[Candidate]:
        """Where the registry itself has it; what is wanted of storages alone is nowhere else."""
        path = encode_path(wanted.place)
        if wanted.registry == "url":
            yield from (Candidate(url=url) for url in (wanted.place, *wanted.mirrors))
        elif wanted.registry == "debian":
            for mirror in self.debian().mirrors:
                yield Candidate(url=f"{mirror}/{path}")
        elif wanted.registry == "go":
            for proxy in self.go().proxies:
                yield Candidate(url=f"{proxy}/{path}")
        elif wanted.registry == "pypi":
            yield from self._pypi_places(wanted, path)

    def _pypi_places(self, wanted: Wanted, path: str) -> Iterator[Candidate]:
        registry = self.pypi()
        for base in registry.files:
            yield Candidate(url=f"{base.rstrip('/')}/{path}")
        for source in registry.find_links:
            yield from self._listed(page_url(source), wanted)
        # What one page taught spares the pages of all other projects.
        for base in tuple(self._bases):
            yield Candidate(url=f"{base}/{path}")
        for index in registry.indexes:
            yield from self._listed(project_page(index, wanted.project or ""), wanted)

    def _listed(self, url: str, wanted: Wanted) -> Iterator[Candidate]:
        """Look ``wanted`` up on one page."""
        try:
            links = self._page(url)
        except TryFailed as error:
            yield Candidate(
                url=url, problem=error.reason, transient=error.transient, status=error.status
            )
            return
        named = [link for link in links if link.filename == wanted.filename]
        if not named:
            yield Candidate(url=url, problem=f"lists no {wanted.filename}", status=404)
        for link in named:
            self._learn(link.url, wanted.place)
            if link.sha256 not in {None, wanted.sha256}:
                problem = f"its page gives it the sha256 {link.sha256}"
                yield Candidate(url=link.url, problem=problem, status=404)
            else:
                yield Candidate(url=link.url)

    def _learn(self, url: str, place: str) -> None:
        parts = parse(url)
        if unquote(parts.path).endswith("/" + unquote(place)):
            depth = place.count("/") + 1
            base = "/".join(parts.path.split("/")[:-depth])
            self._bases[parts._replace(path=base, query="").geturl()] = None

    def _page(self, url: str) -> tuple[Link, ...]:
        """Read a page once, however many threads ask.

        :raises TryFailed: a lasting failure is remembered too.
        """
        with self._guard:
            lock = self._page_locks.setdefault(url, threading.Lock())
        with lock:
            known = self._pages.get(url)
            if known is None:
                try:
                    known = links_of(self.web("pypi").text(url, accept=ACCEPT))
                except TryFailed as error:
                    known = error
                if not (isinstance(known, TryFailed) and known.transient):
                    self._pages[url] = known
        if isinstance(known, TryFailed):
            # A new one: threads must not share a traceback.
            raise TryFailed(known.reason, transient=known.transient, status=known.status)
        return known

    def links(self, project: str) -> tuple[Link, ...]:
        """List the files of a project that is not locked yet.

        Only places that may add a source count: ``find-links`` of the catalogue's ``kvpack.toml``
        and the primary index. pip's own find-links and extra indexes serve bytes by digest only.

        :param project: the normalized name (PEP 503).
        :raises FetchFailed: if no place lists a file of it.
        """
        registry = self.pypi()
        found: list[Link] = []
        faults = []

        def read(url: str) -> tuple[Link, ...]:
            try:
                return patiently(lambda: self._page(url), PAUSES)
            except TryFailed as error:
                faults.append(Fault(place=redact(url), message=error.reason))
                return ()

        for source in registry.declared:
            found += [link for link in read(page_url(source)) if is_of(link.filename, project)]
        if registry.primary is not None:
            found += read(project_page(registry.primary, project))
        if not found:
            raise FetchFailed(
                f"no index lists a file of the project {project}",
                cause="its name is misspelt, or this machine's indexes do not carry it",
                hint="kvpack.toml [registries.pypi] index names another one",
                faults=faults,
            )
        return tuple(found)
