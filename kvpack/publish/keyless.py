"""Keyless signatures: a Sigstore bundle kept as PEP 740's attestation, and what it shows by itself.

A program signs the statement by an identity (cosign, sigstore) and gives a bundle. That it is about
this wheel and statement, and that the certificate's key made the signature, is seen here. Whether
the certificate is true, and the log's entry, is not: that takes the roots of Fulcio and Rekor.

Rules: Sigstore bundle 0.1 to 0.3 (protobuf-specs, ``sigstore_bundle.proto``), PEP 740.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvpack.errors import SigningFailed
from kvpack.publish.attest import beside
from kvpack.publish.attest_checks import Check
from kvpack.publish.envelope import (
    Envelope,
    Signature,
    parse,
    strict_object,
    unb64,
)
from kvpack.publish.statement import BUILD_TYPE
from kvpack.tools.certificates import Certificate, certificate
from kvpack.tools.files import atomic_write
from kvpack.tools.signing import IdentityCommand

VERIFIERS = "pypi-attestations verify, or cosign verify-blob-attestation"


@dataclass(frozen=True)
class Keyless:
    """A statement, one signature, its certificate, and the log's entries as they came."""

    envelope: Envelope
    certificate: Certificate
    entries: tuple[Any, ...]

    @property
    def holds(self) -> bool:
        """Whether the certificate's own key made the signature."""
        (one,) = self.envelope.signatures
        return self.certificate.key.verifies(one.sig, self.envelope.signed_bytes)

    @property
    def named(self) -> str:
        """Whom the certificate names."""
        by = f" (by {self.certificate.issuer})" if self.certificate.issuer else ""
        return f"{', '.join(self.certificate.identities) or 'nobody'}{by}"

    def as_attestation(self) -> dict[str, Any]:
        """PEP 740's attestation object."""
        (one,) = self.envelope.signatures
        return {
            "version": 1,
            "verification_material": {
                "certificate": _b64(self.certificate.der),
                "transparency_entries": list(self.entries),
            },
            "envelope": {"statement": _b64(self.envelope.payload), "signature": _b64(one.sig)},
        }


def of_bundle(text: bytes, statement: bytes) -> Keyless:
    """Read a Sigstore bundle that is to be about a statement.

    :raises ValueError: with the reason, in words for people.
    """
    document = strict_object(text, "the bundle")
    signed = document.get("dsseEnvelope")
    if not isinstance(signed, dict):
        raise ValueError("the bundle has no dsseEnvelope: no statement was signed")  # noqa: TRY004
    envelope = parse(json.dumps(signed).encode())
    if envelope.statement != json.loads(statement):
        raise ValueError("the bundle is about another statement than the one that was given")
    if len(envelope.signatures) != 1:
        raise ValueError(f"the bundle has {len(envelope.signatures)} signatures, not one")
    material = document.get("verificationMaterial")
    material = material if isinstance(material, dict) else {}
    entries = material.get("tlogEntries")
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            "the bundle has no entry of a transparency log: nothing shows that it was signed while "
            "its certificate was valid"
        )
    found = Keyless(envelope, certificate(_leaf(material)), tuple(entries))
    if not found.holds:
        raise ValueError("the bundle's signature does not hold under its own certificate")
    return found


def _leaf(material: dict[str, Any]) -> bytes:
    """The certificate of the key that signed: alone (0.3), or the first of a chain."""
    alone, chain = material.get("certificate"), material.get("x509CertificateChain")
    if alone is None and isinstance(chain, dict) and chain.get("certificates"):
        alone = chain["certificates"][0]
    if not isinstance(alone, dict):
        raise ValueError("the bundle names no certificate: a key signed it")  # noqa: TRY004
    return unb64(alone.get("rawBytes"), "the certificate")


def with_attestation(provenance: bytes | None, one: Keyless, builder: str) -> bytes:
    """A ``.provenance`` file with a keyless attestation more.

    :param provenance: what lies there; its own attestations stay.
    """
    document: dict[str, Any] = {"version": 1, "attestation_bundles": []}
    if provenance is not None:
        document = strict_object(provenance, "the provenance object")
    publisher = {"kind": "kvpack", "builder": builder}
    made = {"publisher": publisher, "attestations": [one.as_attestation()]}
    bundles = [*document["attestation_bundles"], made]
    whole = {"version": 1, "attestation_bundles": bundles}
    return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


def attest_keyless(
    wheel: Path,
    envelope: Envelope,
    command: IdentityCommand,
    published: bytes | None,
    *,
    builder: str | None = None,
) -> bool:
    """Have a wheel's statement signed by an identity, unless it is; returns whether it was signed.

    Each time gives another certificate, so what was published is taken as it is.

    :param published: the ``.provenance`` that cannot be replaced any more.
    :param builder: who ran the build; ``None``: whoever the statement that was signed names.
    :raises SigningFailed: if the program fails, or gives what is no signature of this statement.
    """
    path = beside(wheel, "provenance")
    here = path.read_bytes() if path.is_file() else None
    for text in (published, here):
        if text is not None and _signs(text, envelope, builder):
            if text != here:
                _write(path, text)
            return False
    try:
        made = of_bundle(command.bundle(envelope.payload), envelope.payload)
        text = with_attestation(here, made, _builder(envelope.statement))
    except ValueError as error:
        raise SigningFailed(
            f"--sign-identity-command gave no signature of {wheel.name}: {error}",
            hint="it gets an in-toto statement on standard input and must write a Sigstore bundle, "
            "and nothing else, to standard output (docs/howto-provenance.md)",
        ) from None
    _write(path, text)
    return True


def _signs(provenance: bytes, envelope: Envelope, builder: str | None) -> bool:
    """Whether a file has a keyless signature of the same statement; its builder may be another."""
    try:
        wanted = envelope.statement
        for one in attestations_of(provenance).found:
            said = one.envelope.statement
            run = said["predicate"]["runDetails"]
            same = {**wanted, "predicate": {**wanted["predicate"], "runDetails": run}} == said
            if one.holds and same and builder in {None, _builder(said)}:
                return True
    except (ValueError, KeyError, TypeError):
        return False
    return False


def _builder(statement: dict[str, Any]) -> str:
    return str(statement["predicate"]["runDetails"]["builder"]["id"])


def _write(path: Path, text: bytes) -> None:
    with atomic_write(path) as stream:
        stream.write(text)


def is_ours(one: Keyless) -> bool:
    """Whether it signed a statement of kvpack's."""
    try:
        definition = one.envelope.statement["predicate"]["buildDefinition"]
        return bool(definition["buildType"] == BUILD_TYPE)
    except (ValueError, KeyError, TypeError):
        return False


@dataclass(frozen=True)
class Attestations:
    """The keyless attestations of a ``.provenance`` file."""

    found: tuple[Keyless, ...] = ()
    broken: tuple[str, ...] = ()
    """Why some are none."""
    unknown: tuple[str, ...] = ()
    """Why some cannot be judged here."""


def attestations_of(provenance: bytes) -> Attestations:
    """Read the keyless attestations of a ``.provenance`` file.

    :raises ValueError: if it is no provenance object.
    """
    document = strict_object(provenance, "the provenance object")
    try:
        given = [a for b in document["attestation_bundles"] for a in b["attestations"]]
        keyless = [one for one in given if "public_key" not in one["verification_material"]]
    except (KeyError, TypeError):
        raise ValueError("the provenance object lacks what PEP 740 asks for") from None
    found: list[Keyless] = []
    broken, unknown = [], []
    for one in keyless:
        try:
            found.append(_of_attestation(one))
        except ValueError as error:
            broken.append(str(error))
        except SigningFailed as error:
            unknown.append(error.what)
    return Attestations(tuple(found), tuple(broken), tuple(unknown))


def _of_attestation(given: dict[str, Any]) -> Keyless:
    material, signed = given["verification_material"], given.get("envelope")
    if not isinstance(signed, dict):
        raise ValueError("an attestation has no envelope")  # noqa: TRY004
    payload = unb64(signed.get("statement"), "statement")
    signature = Signature("", unb64(signed.get("signature"), "signature"))
    entries = material.get("transparency_entries")
    return Keyless(
        Envelope(payload, (signature,)),
        certificate(unb64(material.get("certificate"), "certificate")),
        tuple(entries) if isinstance(entries, list) else (),
    )


def identity_check(given: Attestations, wheel: tuple[str, str], wanted: str | None) -> Check:
    """What keyless attestations show of themselves. It is never enough to verify an identity.

    :param wheel: file name and sha256.
    :param wanted: the identity that is asked for.
    """
    wrong = list(given.broken)
    for one in given.found:
        if not one.holds:
            wrong.append(f"the signature of {one.named} does not hold under its own certificate")
        elif not _is_about(one.envelope, wheel):
            wrong.append(f"what {one.named} signed is about another wheel")
    if wrong:
        return Check("identity", "failed", "; ".join(wrong))
    if given.unknown:
        return Check("identity", "not checked", "; ".join(given.unknown))
    if not given.found:
        asked = f"{wanted} is asked for, and there" if wanted else "there"
        return Check("identity", "not checked", f"{asked} is no keyless attestation")
    named = "; ".join(one.named for one in given.found)
    if wanted and all(wanted not in one.certificate.identities for one in given.found):
        return Check("identity", "failed", f"certificates name {named}, not {wanted}")
    why = f"{named} signed it, if the certificate is true: neither it nor the log was verified here"
    return Check("identity", "not checked", f"{why}: {VERIFIERS}")


def _is_about(envelope: Envelope, wheel: tuple[str, str]) -> bool:
    """Whether a statement names the wheel (PEP 740, "Attestation objects")."""
    filename, sha256 = wheel
    try:
        said = envelope.statement.get("subject")
    except ValueError:
        return False
    named = said if isinstance(said, list) else []
    return {"name": filename, "digest": {"sha256": sha256}} in named


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
