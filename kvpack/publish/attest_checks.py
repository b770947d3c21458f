"""What can be said of a wheel's provenance, check by check: verified, failed, or not checked.

A check never passes for want of something to compare with: it is then *not checked*, and says why.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kvpack.publish.attest import Embedded
from kvpack.publish.envelope import Envelope, parse, parse_provenance
from kvpack.publish.statement import (
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    build_definition,
    canonical,
    digest_of,
)
from kvpack.tools.files import sha256_of
from kvpack.tools.signing import PublicKey

Outcome = Literal["verified", "failed", "not checked"]
CHECKS = (
    "hash", "release", "record", "key", "lock-digest", "lock", "library-locks", "provenance",
    "subject", "statement", "signature", "identity",
)  # fmt: skip
"""In the order in which they are told; what ``--require`` takes."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its outcome."""

    name: str
    outcome: Outcome
    detail: str
    place: str = ""
    """What is at fault, where it is not the wheel."""
    hint: str = ""
    """The next step, where it is not that of any failure."""

    def as_json(self) -> dict[str, str]:
        more = {"place": self.place, "hint": self.hint}
        found = {"check": self.name, "outcome": self.outcome, "detail": self.detail}
        return found | {name: text for name, text in more.items() if text}


def outcome(name: str, wrong: str, right: str) -> Check:
    """A check that was made: it failed if something is wrong."""
    return Check(name, "failed" if wrong else "verified", wrong or right)


def unchecked(names: Iterable[str], why: str) -> list[Check]:
    return [Check(name, "not checked", why) for name in names]


def embedded_checks(found: Embedded | None, version: str) -> list[Check]:
    """Whether what a wheel says about its build agrees with itself.

    :param version: of its METADATA: its local part shows the key.
    """
    if found is None:
        return unchecked(("key", "lock-digest"), "the wheel carries no action: not built by kvpack")
    action = found.document
    key = sha256_of(found.action)
    shown = key[:8].lstrip("0") if key[:8].isdecimal() else key[:8]
    wrong = ""
    if not action or canonical(action) != found.action:
        wrong = "kvpack/action.json is not the canonical text of an action"
    elif found.key != key:
        wrong = f"kvpack/key says {found.key[:16]}…, the action's digest is {key[:16]}…"
    elif "+" in version and "kvp." in version and f"kvp.{shown}" not in version:
        wrong = f"version {version} was made for another key than {key[:8]}"
    lock = action.get("lock")
    digest = f"sha256:{digest_of(lock)}" if isinstance(lock, dict) else "none"
    differs = f"kvpack/lock-digest says {found.lock_digest[:23]}…, the action's lock has {digest}"
    return [
        outcome("key", wrong, f"{key} is the digest of the action that the wheel carries"),
        outcome(
            "lock-digest",
            differs if found.lock_digest != digest else "",
            f"{digest} is the digest of the inputs that the action names",
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Files:
    """What lies beside a wheel."""

    statement: bytes | None
    provenance: bytes | None


def read_files(files: Files) -> tuple[Envelope | None, Check]:
    """The envelope beside a wheel, and whether both files are sound and agree."""
    if files.statement is None and files.provenance is None:
        return None, Check("provenance", "not checked", "nothing lies beside the wheel")
    try:
        envelope = None if files.statement is None else parse(files.statement)
        keyed, others = (
            (None, 0) if files.provenance is None else parse_provenance(files.provenance)
        )
    except ValueError as error:
        return None, Check("provenance", "failed", str(error))
    if envelope and keyed and (
        envelope.payload != keyed.payload or set(envelope.signatures) != set(keyed.signatures)
    ):  # fmt: skip
        return envelope, Check("provenance", "failed", "the two files beside the wheel disagree")
    found = envelope or keyed
    if found is None:
        return None, Check("provenance", "verified", f"well-formed, {_keyless(others)} (identity)")
    more = f", and {_keyless(others)} (identity)" if others else ""
    count = len(found.signatures)
    shown = f"{count} signature{'s' if count > 1 else ''}" if count else "unsigned"
    return found, Check("provenance", "verified", f"well-formed, {shown}{more}")


def _keyless(count: int) -> str:
    return f"{count} keyless attestation{'s' if count > 1 else ''}"


def statement_checks(
    envelope: Envelope, wheel: tuple[str, str], action: Mapping[str, Any]
) -> list[Check]:
    """Whether the statement is about this wheel, and says what the wheel itself says."""
    try:
        said = envelope.statement
    except ValueError as error:
        return [Check(name, "failed", str(error)) for name in ("subject", "statement")]
    filename, sha256 = wheel
    wanted = [{"name": filename, "digest": {"sha256": sha256}}]
    wrong = ""
    if said.get("subject") != wanted:
        name, digest = _named(said.get("subject"))
        if name == filename:
            wrong = (
                f"the statement is about the sha256 {digest[:16]}…, the wheel has {sha256[:16]}…"
            )
        else:
            wrong = f"the statement is about {name}, the wheel is {filename}"
    found = [outcome("subject", wrong, f"{filename} with this sha256")]
    if not isinstance(action.get("lock"), dict):
        why = "the wheel carries no action to compare with"
        return [*found, *unchecked(("statement",), why)]
    return [*found, outcome("statement", _contradiction(said, action), _right(said))]


def _contradiction(said: Mapping[str, Any], action: Mapping[str, Any]) -> str:
    """How a statement and the action inside the wheel disagree; empty if they do not."""
    types = (said.get("_type"), said.get("predicateType"))
    if types != (STATEMENT_TYPE, PREDICATE_TYPE):
        return f"its types are {types[0]} and {types[1]}"
    predicate = said.get("predicate")
    given = predicate.get("buildDefinition") if isinstance(predicate, dict) else None
    if not isinstance(given, dict):
        return "it has no buildDefinition"
    try:
        derived = build_definition(action)
    except (KeyError, TypeError, ValueError, AttributeError):
        return "the wheel's own action is not one that kvpack can read"
    differ = sorted(k for k in {*given, *derived} if given.get(k) != derived.get(k))
    if differ:
        return f"{', '.join(differ)}: not what the wheel's own action gives"
    return "" if _builder(said) else "it names no builder"


def _builder(said: Mapping[str, Any]) -> str:
    try:
        return str(said["predicate"]["runDetails"]["builder"]["id"])
    except (KeyError, TypeError):
        return ""


def _right(said: Mapping[str, Any]) -> str:
    try:
        count = len(said["predicate"]["buildDefinition"]["resolvedDependencies"])
    except (KeyError, TypeError):
        count = 0
    return f"{count} inputs by digest, as the wheel's own action names them; by {_builder(said)}"


def signature_check(envelope: Envelope | None, keys: Sequence[PublicKey]) -> Check:
    """Whether one of the given keys signed the statement."""
    if envelope is None:
        return Check("signature", "not checked", "there is no statement that a key signed")
    if not envelope.signatures:
        if keys:
            return Check("signature", "failed", "the statement is unsigned, and a key was given")
        return Check("signature", "not checked", "the statement is unsigned")
    named = ", ".join(sorted({one.keyid[:16] or "no name" for one in envelope.signatures}))
    if not keys:
        why = f"no public key was given (--key); signed by the key {named}"
        return Check("signature", "not checked", why)
    body = envelope.signed_bytes
    good = [key for key in keys if any(key.verifies(one.sig, body) for one in envelope.signatures)]
    if good:
        shown = ", ".join(f"{key.name} ({key.keyid[:16]})" for key in good)
        return Check("signature", "verified", f"by {shown}")
    tried = ", ".join(f"{key.name} ({key.keyid[:16]})" for key in keys)
    return Check(
        "signature", "failed", f"none holds for {tried}; those that are there name {named}"
    )


def _named(value: object) -> tuple[str, str]:
    """Name and sha256 of the one subject, as far as there is one."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        digest = value[0].get("digest")
        sha256 = digest.get("sha256") if isinstance(digest, dict) else None
        return str(value[0].get("name")), str(sha256)
    return "something else", ""
