"""From an intent to a proved set: joins the resolver, the wheels' own words and the proof."""

import functools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from packaging.requirements import Requirement

from kvpack.cli.context import Context
from kvpack.cli.indexes import Indexes
from kvpack.cli.outcome import Cell, Outcome, Wanted, Writer, brought_by, found_of
from kvpack.cli.pins import Pin
from kvpack.cli.proof import Prover, Question
from kvpack.errors import ConflictFound, Fault, ResolutionFailed, UsageError
from kvpack.fetch.pypi import PypiRegistry
from kvpack.names import counted
from kvpack.resolve.choose import Ask, amended, first_ask
from kvpack.resolve.environment import Environment
from kvpack.resolve.families import Families, load_families
from kvpack.resolve.folder import wheels_in, write_index
from kvpack.resolve.intent import Wish, read_intent
from kvpack.resolve.solve import Pick, Sources, solve

ROUNDS = 5
"""Questions until every family is whole: one for each way in which a half can be missing."""


class Chooser:
    """Chooses one set for every architecture that is wanted."""

    def __init__(self, context: Context, wanted: Wanted) -> None:
        self._context, self._wanted = context, wanted
        self._families: Families = load_families()

    def outcome(self) -> Outcome:
        """Choose and prove.

        :raises UsageError: if the intent has faults; all of them are told.
        :raises ResolutionFailed: if nothing satisfies it.
        :raises ConflictFound: if a set was found that cannot live in one environment.
        """
        wanted = self._wanted
        wishes, faults = read_intent(wanted.intent, wanted.texts)
        first, unfit = first_ask(wishes, self._families, wanted.accelerator)
        faults += unfit
        if not wishes and not faults:
            faults.append(Fault(place=wanted.intent, message="it asks for nothing"))
        if faults or first is None:
            raise UsageError(
                f"the intent {wanted.intent} has {counted(len(faults), 'fault')}", faults=faults,
                hint="correct it and run the same command again",
            )  # fmt: skip
        with self._sources() as sources:
            cells = [self._cell(arch, first, wishes, sources) for arch in wanted.arches]
        return Writer(wanted, self._families, wishes).outcome(cells)

    # -- one architecture --------------------------------------------------------------------

    def _cell(self, arch: str, ask: Ask, wishes: Sequence[Wish], sources: Sources) -> Cell:
        environment = Environment(self._wanted.python, self._wanted.glibc, arch)
        prover = Prover(Indexes(self._context, environment), self._question())
        for _ in range(ROUNDS):
            picks = self._solve(ask, environment, sources)
            pins = [Pin(one.name, one.version, one.url, one.sha256) for one in picks]
            claims = prover.claims(pins)
            better = amended(ask, found_of(claims), self._families, environment.markers)
            if better is None:
                break
            self._context.console.detail("; ".join(better.reasons))
            ask = better
        else:
            raise ResolutionFailed(
                f"the families do not come to rest after {ROUNDS} rounds ({environment})",
                cause="; ".join(ask.reasons),
                hint="pin the dispatcher in the intent, such as nixl==1.4.1",
            )
        brought = brought_by(found_of(claims), environment, wishes)
        report = prover.prove(pins, brought_by=brought)
        return self._proved(Cell(arch, ask, picks, tuple(claims), report), environment)

    def _solve(self, ask: Ask, environment: Environment, sources: Sources) -> tuple[Pick, ...]:
        names = ", ".join(dict.fromkeys(Requirement(text).name for text in ask.requires))
        with self._context.console.step(f"Resolving {names} ({environment})"):
            return solve(ask, environment, sources, self._context.console)

    def _question(self) -> Question:
        return Question(
            accelerator=self._wanted.accelerator,
            torch=self._wanted.torch,
            base=tuple(base.name for base in self._families.base),
            host=self._wanted.host,
        )

    def _proved(self, cell: Cell, environment: Environment) -> Cell:
        faults = [
            Fault(
                place=f"{owner.distribution} {owner.version}: {one.path}",
                message=f"{one.kind}, also owned by "
                + ", ".join(o.distribution for o in one.owners if o is not owner),
                hint=one.advice,
            )
            for one in cell.report.conflicts
            for owner in one.owners[:1]
        ]
        faults += [
            Fault(
                place=f"{one.distribution} {one.version}{f': {one.path}' if one.path else ''}",
                message=one.message + _because(one.brought_by),
                hint=one.advice,
            )
            for one in cell.report.errors
        ]
        if faults:
            raise ConflictFound(
                f"a set was found, but it cannot live in one environment ({environment})",
                cause="; ".join(cell.ask.reasons) or "its wheels contradict each other",
                hint="change the intent as the findings say; nothing was written",
                faults=faults,
            )
        return cell

    # -- where from --------------------------------------------------------------------------

    @functools.cached_property
    def index(self) -> str:
        """URL of the machine's own index.

        :raises FetchFailed: if none is known.
        """
        return self._registry.index

    @functools.cached_property
    def _registry(self) -> PypiRegistry:
        anywhere = Environment(self._wanted.python, self._wanted.glibc, "")
        return Indexes(self._context, anywhere).registries.pypi()

    @contextmanager
    def _sources(self) -> Iterator[Sources]:
        with tempfile.TemporaryDirectory(prefix="kvpack-") as name:
            declared = []
            for number, (kind, place) in enumerate(self._wanted.sources):
                if kind == "folder":
                    into = Path(name, str(number))
                    into.mkdir()
                    declared.append(write_index(wheels_in(Path(place)), into))
                elif "://" not in place:
                    raise UsageError(
                        f"--index does not take {place!r}",
                        cause="it is no URL",
                        hint="--find-links FOLDER is for a folder of wheels",
                    )
                else:
                    declared.append(place)
            yield Sources(
                default=self.index,
                declared=declared,
                cert=self._registry.settings.cert,
                offline=self._context.options.offline,
            )


def _because(brought_by: Sequence[str]) -> str:
    return f" (brought in by {', '.join(brought_by)})" if brought_by else ""
