"""Provenance in a bundle: each statement against its wheel, each signature against the given keys.

Nothing outside the bundle is asked. What was made elsewhere has no statement: only the digest of
the bundle's manifest says of those wheels that they are its maker's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kvpack.errors import ToolFailed
from kvpack.publish.attest import Embedded, embedded
from kvpack.publish.attest_checks import (
    Check,
    Files,
    embedded_checks,
    read_files,
    signature_check,
    statement_checks,
)
from kvpack.publish.envelope import PROVENANCE, STATEMENT
from kvpack.publish.keyless import Attestations, attestations_of, identity_check
from kvpack.tools.signing import PublicKey

EVIDENCE = "evidence/"
SUFFIXES = (STATEMENT, PROVENANCE)
_SHOWN = 6
"""Wheels that one line names."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the provenance of one wheel showed."""

    wheel: str
    checks: tuple[Check, ...]

    def as_json(self) -> dict[str, Any]:
        return {"wheel": self.wheel, "checks": [one.as_json() for one in self.checks]}


@dataclass
class Proofs:
    """What is read of a bundle for its signatures, and what was found.

    :param keys: a statement signed by one of them is enough; with none, signatures are not judged.
    """

    keys: Sequence[PublicKey] = ()
    inside: dict[str, Embedded | None] = field(default_factory=dict)
    """File name -> what the wheel carries about its build."""
    judged: list[Judged] = field(default_factory=list)

    def read(self, wheel: Path) -> None:
        """Note what a wheel carries; one that cannot be read is told by whoever inspects it."""
        try:
            self.inside[wheel.name] = embedded(wheel)
        except ToolFailed:
            self.inside[wheel.name] = None

    def judge(
        self, digests: Mapping[str, str], own: Collection[str], texts: Mapping[str, bytes]
    ) -> None:
        """Judge every wheel of a release, and every other one that has a statement.

        :param digests: file name -> sha256, of all wheels in the bundle.
        :param own: file names of those that a release has.
        :param texts: path -> bytes, of the evidence.
        """
        for name in sorted(digests):
            files = Files(
                statement=texts.get(f"{EVIDENCE}{name}{STATEMENT}"),
                provenance=texts.get(f"{EVIDENCE}{name}{PROVENANCE}"),
            )
            if name in own or files.statement is not None or files.provenance is not None:
                checks = self._checks((name, digests[name]), files)
                self.judged.append(Judged(wheel=name, checks=tuple(checks)))

    def _checks(self, wheel: tuple[str, str], files: Files) -> list[Check]:
        inside = self.inside.get(wheel[0])
        found = embedded_checks(inside, wheel[0].split("-")[1])
        if files.statement is None and files.provenance is None:
            return [*found, self._demanded(Check("signature", "not checked", "published unsigned"))]
        envelope, sound = read_files(files)
        found.append(sound)
        if envelope is not None:
            found += statement_checks(envelope, wheel, inside.document if inside else {})
        found.append(self._demanded(signature_check(envelope, self.keys)))
        if files.provenance is not None and sound.outcome == "verified":
            given = attestations_of(files.provenance)
            if given != Attestations():
                found.append(identity_check(given, wheel, None))
        return found

    def _demanded(self, signature: Check) -> Check:
        """Whoever gives a key asks for its signature: taking the statement away is no way round."""
        if not self.keys or signature.outcome != "not checked":
            return signature
        return Check("signature", "failed", f"{signature.detail}, and a key was given")

    # -- answers ------------------------------------------------------------------------------

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Wheel and message of everything that failed."""
        return [
            (one.wheel, f"{check.name}: {check.detail}")
            for one in self.judged
            for check in one.checks
            if check.outcome == "failed"
        ]

    @property
    def verified(self) -> dict[str, int]:
        """By which key -> how many wheels."""
        found: dict[str, int] = {}
        for one in self.judged:
            for check in one.checks:
                if (check.name, check.outcome) == ("signature", "verified"):
                    found[check.detail] = found.get(check.detail, 0) + 1
        return found

    def not_checked(self, others: Collection[str]) -> list[str]:
        """Lines on what could not be checked, those of one reason together.

        :param others: file names of wheels that no release has.
        """
        reasons: dict[tuple[str, str], list[str]] = {}
        for one in self.judged:
            for check in one.checks:
                if check.outcome == "not checked":
                    reasons.setdefault((check.name, check.detail), []).append(one.wheel)
        found = [f"{name} of {_named(w)}: {detail}" for (name, detail), w in reasons.items()]
        if others:
            found.append(
                f"signature of {_named(others)}: no release has it, so nothing is signed; only the "
                "digest of the manifest says that it is what its maker put there (--digest)"
            )
        return found


def _named(wheels: Collection[str]) -> str:
    names = sorted(wheels)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
