"""Proves that a set of wheels can live in one environment, before anything is installed.

Paths first, then the graph of libraries. What was found about a whole set is remembered in the
store under the digests of all its wheels, of the question and of the rules.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from kvpack.audit.model import ElfFile
from kvpack.base import Value
from kvpack.cli.context import Context
from kvpack.cli.indexes import Indexes
from kvpack.cli.pins import Pin
from kvpack.cli.reading import Read, Reader, recall, rules, rules_digest
from kvpack.names import Accelerator, counted
from kvpack.resolve.environment import Environment
from kvpack.resolve.families import load_families
from kvpack.resolve.libraries import Libraries, load_libraries
from kvpack.resolve.model import Claims, ProofReport, SetFinding, SetMember, SetTarget
from kvpack.tools.files import canonical_json, sha256_of

JOBS = 8
"""Wheels that are read at once."""
_Result = TypeVar("_Result")


class Question(Value):
    """What is to be proved beyond paths."""

    libraries: bool = True
    """Whether to look at ELF files; wheels that hold some are then fetched whole."""
    accelerator: Accelerator | None = None
    torch: str | None = None
    """Version of the environment's torch."""
    base: tuple[str, ...] = ()
    """Distributions that the environment provides: never fetched."""
    host: tuple[str, ...] = ()
    """Globs of sonames that this host has, beyond the policy and those that kvpack knows."""


@dataclass(frozen=True)
class Installed:
    """A distribution that an environment has."""

    claims: Claims
    elf: tuple[ElfFile, ...] = ()


def prove(  # noqa: PLR0913  # the question, spelt out for callers
    context: Context,
    environment: Environment,
    pins: Iterable[Pin],
    *,
    accelerator: Accelerator | None = None,
    torch: str | None = None,
    base: Iterable[str] = (),
    brought_by: Mapping[str, Sequence[str]] | None = None,
) -> ProofReport:
    """Prove paths and libraries of a set.

    :param torch: version of the environment's torch; then torch is part of ``base``.
    :param base: distributions that the environment provides (torch and what only it needs).
    :param brought_by: normalized name -> the requirements that brought it into the set.
    :raises FetchFailed: if an index does not answer.
    :raises ResolutionFailed: if no wheel of a pin fits the environment.
    :raises DigestMismatch: if a wheel has other bytes than its index or its pin says.
    :raises WheelInvalid: if a file is no wheel.
    """
    question = Question(accelerator=accelerator, torch=torch, base=tuple(sorted(set(base))))
    prover = Prover(Indexes(context, environment), question)
    return prover.prove(pins, brought_by=brought_by)


@dataclass(frozen=True)
class Prover:
    """One question about sets for one environment."""

    indexes: Indexes
    question: Question

    def prove(
        self,
        pins: Iterable[Pin],
        *,
        installed: Sequence[Installed] = (),
        brought_by: Mapping[str, Sequence[str]] | None = None,
    ) -> ProofReport:
        """Judge the set; an installed distribution gives way to a pin of the same name."""
        named_pins = [pin for pin in pins if pin.name not in self._base]
        reasons = _reasons(named_pins, brought_by or {})
        wanted = list(dict.fromkeys(named_pins))
        wanted = self._each("Looking up", self.indexes.locate, wanted, lambda pin: not pin.url)
        wanted = list(dict.fromkeys(wanted))  # 1 and 1.0 are one wheel
        store, key = self.indexes.context.store, "" if installed else self._key(wanted, reasons)
        if key and (known := recall(store, "proofs", key, ProofReport)) is not None:
            return known.model_copy(update={"bytes_read": 0, "bytes_fetched": 0})
        libraries = load_libraries() if self.question.libraries else None
        reader = Reader(self.indexes, libraries)
        read = self._each("Reading", reader.read, wanted, reader.is_far)
        named = {pin.name for pin in wanted}
        kept = [one for one in installed if one.claims.distribution not in named]
        report = self._judge(read, kept, reasons, libraries)
        if key:
            store.write_record("proofs", key, report.as_json())
        return report

    def claims(self, pins: Iterable[Pin]) -> list[Claims]:
        """What each wheel claims and asks for, from RECORD and METADATA alone.

        :raises FetchFailed: if a server does not answer.
        """
        reader = Reader(self.indexes, None)
        read = self._each("Reading", reader.read, list(pins), reader.is_far)
        return [one.claims for one in read]

    @property
    def _base(self) -> frozenset[str]:
        return frozenset({*self.question.base, *(["torch"] if self.question.torch else [])})

    def _each(
        self,
        what: str,
        do: Callable[[Pin], _Result],
        pins: Sequence[Pin],
        is_far: Callable[[Pin], bool],
    ) -> list[_Result]:
        """Every wheel, several at once if anything lies elsewhere."""
        far = sum(map(is_far, pins))
        if not far:
            return [do(pin) for pin in pins]
        if not self.indexes.context.options.offline:
            self.indexes.registries.prepare(["pypi"])
        step = self.indexes.context.console.step(f"{what} {counted(far, 'wheel')}")
        with step, ThreadPoolExecutor(JOBS) as pool:
            return list(pool.map(do, pins))

    def _key(self, pins: Sequence[Pin], reasons: Mapping[str, Sequence[str]]) -> str:
        """Digest of all that decides the report; empty if a wheel is not named by its digest."""
        if not all(pin.sha256 for pin in pins):
            return ""
        environment = self.indexes.environment
        parts = [
            *(rules(), rules_digest(), self.question.as_json(), dict(reasons)),
            [environment.python, environment.glibc, environment.arch],
            sorted([pin.name, pin.version, pin.url, pin.sha256] for pin in pins),
        ]
        return sha256_of(canonical_json(parts))

    def _judge(
        self,
        read: Sequence[Read],
        installed: Sequence[Installed],
        reasons: Mapping[str, tuple[str, ...]],
        libraries: Libraries | None,
    ) -> ProofReport:
        from kvpack.resolve.graph import judge_libraries
        from kvpack.resolve.ownership import judge

        families = load_families()
        everything: list[Read | Installed] = [*read, *installed]
        paths = judge([one.claims for one in everything], families)
        findings: tuple[SetFinding, ...] = ()
        provided: dict[str, str] = {}
        if libraries is not None:
            members = [self._member(one, reasons) for one in everything]
            findings, provided = judge_libraries(members, self._target(), libraries, families)
        return ProofReport(
            **{name: getattr(paths, name) for name in type(paths).model_fields},
            findings=findings,
            provided=provided,
            brought_by=dict(reasons),
            libraries=libraries is not None,
            bytes_fetched=sum(one.fetched for one in read),
        )

    def _member(self, one: Read | Installed, reasons: Mapping[str, tuple[str, ...]]) -> SetMember:
        claims = one.claims
        return SetMember(
            distribution=claims.distribution,
            version=claims.version,
            paths=tuple(claim.path for claim in claims.claims),
            requires=tuple(filter(self.indexes.environment.asks_for, claims.requires)),
            elf=one.elf,
            brought_by=reasons.get(claims.distribution, (claims.origin,)),
        )

    def _target(self) -> SetTarget:
        from kvpack.audit.policy import allowed_libraries

        environment = self.indexes.environment
        return SetTarget(
            glibc=environment.glibc,
            arch=environment.arch,
            accelerator=self.question.accelerator,
            torch=self.question.torch,
            base=tuple(sorted(self._base)),
            allowed=tuple(
                sorted(
                    {
                        *allowed_libraries(environment.glibc, environment.arch),
                        *self.question.host,
                    }
                )
            ),
        )


def _reasons(
    pins: Iterable[Pin], brought_by: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Distribution -> what brought it in: what the caller knows, else the pin's own place."""
    own: dict[str, dict[str, None]] = {}
    for pin in pins:
        own.setdefault(pin.name, {}).update({pin.brought_by: None} if pin.brought_by else {})
    return {name: tuple(brought_by.get(name, places)) for name, places in sorted(own.items())}
