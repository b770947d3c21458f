"""What a proved set looks like: files, rows on the screen, JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from kvpack.names import Accelerator
from kvpack.resolve import written
from kvpack.resolve.choose import Ask, Found, left_out, requirements_of
from kvpack.resolve.environment import Environment
from kvpack.resolve.families import Families
from kvpack.resolve.intent import Wish
from kvpack.resolve.libraries import Libraries, load_libraries
from kvpack.resolve.model import Claims, ProofReport
from kvpack.resolve.solve import Pick
from kvpack.resolve.torch import minors
from kvpack.tools.files import sha256_of
from kvpack.tools.web import redact, split_credentials


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line asks for."""

    intent: str
    texts: Mapping[str, str]
    accelerator: Accelerator
    python: str
    glibc: str
    arches: tuple[str, ...]
    torch: str | None
    sources: tuple[tuple[str, str], ...]
    """``("index", URL)`` or ``("folder", path)``, in order."""
    folder: Path
    """Where the pylock will lie: paths in it are relative to that."""
    text_folder: Path
    """Where the requirements will lie: so are the folders that it names."""
    command: str
    host: tuple[str, ...] = ()
    """Globs of sonames that the host has beyond the policy and the known ones."""


@dataclass(frozen=True)
class Cell:
    """The solution for one architecture."""

    arch: str
    ask: Ask
    picks: tuple[Pick, ...]
    claims: tuple[Claims, ...]
    report: ProofReport

    @property
    def found(self) -> list[Found]:
        return found_of(self.claims)


def found_of(claims: Sequence[Claims]) -> list[Found]:
    return [
        Found(name=one.distribution, version=one.version, requires=one.requires) for one in claims
    ]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A proved set, as texts and as rows."""

    requirements: str
    pylock: str
    stanza: str
    rows: list[list[str]]
    notes: tuple[str, ...]
    document: dict[str, Any]

    def files(self, targets: tuple[Path, Path]) -> dict[Path, str]:
        return {targets[0]: self.requirements, targets[1]: self.pylock}

    def as_json(self) -> dict[str, Any]:
        return self.document


class Writer:
    """Turns the cells of a set into texts and rows."""

    def __init__(self, wanted: Wanted, families: Families, wishes: Sequence[Wish]) -> None:
        self._wanted, self._families, self._wishes = wanted, families, wishes
        self._libraries = load_libraries()

    def outcome(self, cells: Sequence[Cell]) -> Outcome:
        """Everything that is written and shown."""
        wanted = self._wanted
        notes = tuple(dict.fromkeys(note for cell in cells for note in self._notes(cell)))
        entries = written.merged({cell.arch: self._entries(cell) for cell in cells})
        texts = "\n".join(wanted.texts[name] for name in sorted(wanted.texts))
        one = written.WrittenSet(
            accelerator=wanted.accelerator,
            python=wanted.python,
            glibc=wanted.glibc,
            arches=wanted.arches,
            command=wanted.command,
            intent_sha256=sha256_of(texts.encode()),
            entries=entries,
            notes=notes,
            indexes=tuple(
                split_credentials(place)[0] for kind, place in wanted.sources if kind == "index"
            ),
            folders=tuple(
                written.relative(str(Path(place).absolute()), str(wanted.text_folder.absolute()))
                for kind, place in wanted.sources
                if kind == "folder"
            ),
        )
        ask = cells[0].ask
        return Outcome(
            requirements=written.requirements_text(one),
            pylock=written.pylock_text(one),
            stanza=written.uv_stanza(ask.excludes, ask.constraints, one),
            rows=self._rows(cells),
            notes=notes,
            document=self._document(one, cells),
        )

    def _entries(self, cell: Cell) -> list[written.Entry]:
        environment = Environment(self._wanted.python, self._wanted.glibc, cell.arch)
        brought = brought_by(cell.found, environment, self._wishes)
        sizes = {(one.distribution): one.size for one in cell.claims}
        return [
            written.Entry(
                name=pick.name,
                version=pick.version,
                wheels=(self._wheel(pick, sizes.get(pick.name, 0)),),
                via=tuple(name for name in brought.get(pick.name, ())),
            )
            for pick in cell.picks
        ]

    def _wheel(self, pick: Pick, size: int) -> written.WrittenWheel:
        local = pick.url.startswith("file:")
        url = split_credentials(pick.url.partition("#")[0])[0]
        path = ""
        if local:
            inside = self._wanted.folder.absolute()
            path = written.relative(unquote(urlsplit(url).path), str(inside))
        return written.WrittenWheel(
            file=pick.file,
            sha256=pick.sha256,
            size=size,
            url="" if local else url,
            path=path,
            uploaded=pick.uploaded,
        )

    def _notes(self, cell: Cell) -> Iterator[str]:
        environment = Environment(self._wanted.python, self._wanted.glibc, cell.arch)
        bases = {base.name for base in self._families.base}
        for name, who in left_out(cell.ask, cell.found, environment.markers).items():
            if name in bases:
                held = f" {self._wanted.torch}" if self._wanted.torch else ""
                yield f"The environment brings {name}{held}: wanted by {', '.join(who)}"
            else:
                yield f"Left out: {name}, wanted by {', '.join(who)}"
        for one in cell.claims:
            if fits := minors([claim.path for claim in one.claims], self._families):
                have = ", ".join(f"{major}.{minor}" for major, minor in sorted(fits))
                yield f"Extensions of {one.distribution} are for torch {have}"
        for reason in cell.ask.reasons:
            yield f"Chosen: {reason}"
        yield from _proofs(cell.report, self._libraries)

    def _rows(self, cells: Sequence[Cell]) -> list[list[str]]:
        """The wished ones and the families' members; the rest is counted in the last row."""
        named = {wish.name for wish in self._wishes}
        rows, others = [], 0
        for cell in cells:
            for pick in cell.picks:
                family = self._families.family_of(pick.name)
                if pick.name in named or family is not None:
                    origin = self._origin(pick)
                    why = (
                        "wished"
                        if pick.name in named
                        else f"family {family.name}"
                        if family
                        else ""
                    )
                    rows.append([pick.name, pick.version, pick.file, origin, why])
                else:
                    others += 1
        if others:
            rows.append([f"… and {others} more", "", "", "", "what these need"])
        return rows

    def _origin(self, pick: Pick) -> str:
        """Host or folder of a wheel, for the table."""
        parts = urlsplit(pick.url)
        if parts.scheme == "file":
            return str(Path(unquote(parts.path)).parent)
        return parts.hostname or ""

    def _document(self, one: written.WrittenSet, cells: Sequence[Cell]) -> dict[str, Any]:
        named = {wish.name for wish in self._wishes}
        return {
            "accelerator": one.accelerator.value,
            "python": one.python,
            "glibc": one.glibc,
            "arches": list(one.arches),
            "notes": list(one.notes),
            "distributions": [
                {
                    "arch": cell.arch,
                    "distribution": pick.name,
                    "version": pick.version,
                    "wheel": pick.file,
                    "sha256": pick.sha256,
                    "url": redact(pick.url),
                    "wished": pick.name in named,
                }
                for cell in cells
                for pick in cell.picks
            ],
            "proof": [{"arch": cell.arch, **cell.report.as_json()} for cell in cells],
        }


def _proofs(report: ProofReport, libraries: Libraries) -> Iterator[str]:
    count = len(report.distributions)
    yield (
        f"Proved: {count} distributions, no path with two contents, no library without a provider"
        + (f", {len(report.shared)} shared paths with the same bytes" if report.shared else "")
    )
    outside: dict[str, set[str]] = {}
    for soname, provider in report.provided.items():
        for kind, what in _outside(soname, provider, libraries):
            outside.setdefault(kind, set()).add(what)
    for kind in sorted(outside):
        yield f"{kind}: {', '.join(sorted(outside[kind]))}"


def _outside(soname: str, provider: str, libraries: Libraries) -> Iterator[tuple[str, str]]:
    """What a library from outside the set asks of the environment, in words."""
    host = libraries.host_of(soname)
    if provider.endswith(" (environment)"):
        yield f"From the environment's {provider.removesuffix(' (environment)')}", soname
    elif libraries.driver_of(soname):
        yield f"From the {provider}", soname
    elif host is not None and host.only_for:
        yield "Only where it is used", f"{host.debian or host.vendor} for {host.only_for}"
    elif host is not None:
        yield "From the host (Debian's names)", host.debian or host.vendor or soname


def brought_by(
    found: Sequence[Found], environment: Environment, wishes: Sequence[Wish]
) -> dict[str, tuple[str, ...]]:
    """Project -> who in the set asks for it; the intent's line where it does."""
    who: dict[str, list[str]] = {}
    for one in found:
        for wanted in requirements_of(one, environment.markers):
            who.setdefault(canonicalize_name(wanted.name), []).append(one.name)
    for wish in wishes:
        who.setdefault(wish.name, []).insert(0, wish.place)
    return {name: tuple(dict.fromkeys(names)) for name, names in who.items()}
