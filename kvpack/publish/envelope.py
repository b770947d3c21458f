"""Signed statements as files: the DSSE envelope, and the object that PEP 740 puts beside a wheel.

What a signature covers is the payload and its type together (PAE), and what is read is what was
covered: a payload is decoded once. Whatever two parsers could read in two ways is refused:
duplicate keys, other base64 alphabets, unknown payload types, more than one envelope.

Rules: DSSE 1.0.2 (``protocol.md``, ``envelope.md``), PEP 740 ("Attestation objects").
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kvpack.publish.statement import canonical

STATEMENT, PROVENANCE = ".intoto.jsonl", ".provenance"
"""What is appended to the wheel's name."""
PAYLOAD_TYPE = "application/vnd.in-toto+json"
LIMIT = 16 << 20
"""Bytes of an envelope; a statement has a few hundred per input."""


@dataclass(frozen=True, slots=True)
class Signature:
    keyid: str
    """A hint, not covered by the signature: it selects keys to try and proves nothing."""
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A statement's bytes and the signatures over them; none: it is unsigned."""

    payload: bytes
    signatures: tuple[Signature, ...] = ()

    @property
    def signed_bytes(self) -> bytes:
        """What each signature covers."""
        return pae(PAYLOAD_TYPE, self.payload)

    @property
    def statement(self) -> dict[str, Any]:
        """The payload, read.

        :raises ValueError: if it is no JSON object, or could be read in two ways.
        """
        return strict_object(self.payload, "the payload")


def pae(kind: str, body: bytes) -> bytes:
    """Pre-authentication encoding: lengths first, so type and body cannot flow into each other."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(body), body)


def wrap(statement: Mapping[str, Any]) -> Envelope:
    """An unsigned envelope."""
    return Envelope(canonical(statement))


def dump(envelope: Envelope) -> bytes:
    """The text of a ``.intoto.jsonl`` file: one envelope on one line."""
    signatures = [
        {"keyid": one.keyid, "sig": _b64(one.sig)}
        for one in sorted(envelope.signatures, key=lambda one: (one.keyid, one.sig))
    ]
    document = {
        "payloadType": PAYLOAD_TYPE,
        "payload": _b64(envelope.payload),
        "signatures": signatures,
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def parse(text: bytes) -> Envelope:
    """Read a DSSE envelope.

    :raises ValueError: with the reason, in words for people.
    """
    document = strict_object(text, "the envelope")
    _only(document, {"payloadType", "payload", "signatures"}, "the envelope")
    if document["payloadType"] != PAYLOAD_TYPE:
        raise ValueError(f"payloadType is {document['payloadType']!r}, not {PAYLOAD_TYPE!r}")
    signatures = document["signatures"]
    if not isinstance(signatures, list):
        raise ValueError("signatures is no list")  # noqa: TRY004  # one kind of error to catch
    found = []
    for one in signatures:
        if not isinstance(one, dict):
            raise ValueError("a signature is no object")  # noqa: TRY004
        _only(one, {"keyid", "sig"}, "a signature", optional={"keyid"})
        keyid = one.get("keyid", "")
        if not isinstance(keyid, str):
            raise ValueError("keyid is no string")  # noqa: TRY004
        found.append(Signature(keyid, unb64(one["sig"], "sig")))
    return Envelope(unb64(document["payload"], "payload"), tuple(found))


# -- PEP 740 --------------------------------------------------------------------------------------


def provenance(envelope: Envelope, builder: str) -> bytes:
    """The text of a ``.provenance`` file: the same statement and signatures in PEP 740's shape.

    PEP 740 knows keyless signatures alone: a certificate and its log entries. A key has neither, so
    ``verification_material`` names the key instead, and tools that expect a certificate refuse it
    rather than believe it.
    """
    attestations = [
        {
            "version": 1,
            "verification_material": {"public_key": {"hint": one.keyid}},
            "envelope": {"statement": _b64(envelope.payload), "signature": _b64(one.sig)},
        }
        for one in sorted(envelope.signatures, key=lambda one: (one.keyid, one.sig))
    ]
    bundle = {"publisher": {"kind": "kvpack", "builder": builder}, "attestations": attestations}
    document = {"version": 1, "attestation_bundles": [bundle]}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def parse_provenance(text: bytes) -> tuple[Envelope | None, int]:
    """Read what kvpack put into a ``.provenance`` file, and count what others put there.

    :returns: the envelope that its attestations by key amount to, if there are any; and how many
        attestations have a certificate.
    :raises ValueError: with the reason, in words for people.
    """
    document = strict_object(text, "the provenance object")
    keyed: list[tuple[bytes, Signature]] = []
    others = 0
    try:
        if document["version"] != 1:
            raise ValueError(f"the provenance object has version {document['version']!r}, not 1")
        for bundle in document["attestation_bundles"]:
            for one in bundle["attestations"]:
                material, envelope = one["verification_material"], one["envelope"]
                if "public_key" not in material:
                    others += 1
                    continue
                signature = Signature(
                    str(material["public_key"]["hint"]), unb64(envelope["signature"], "signature")
                )
                keyed.append((unb64(envelope["statement"], "statement"), signature))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the provenance object lacks what PEP 740 asks for: {error}") from None
    if not keyed:
        return None, others
    if len({payload for payload, _ in keyed}) > 1:
        raise ValueError("the provenance object holds several different statements")
    return Envelope(keyed[0][0], tuple(signature for _, signature in keyed)), others


# -- strict reading -------------------------------------------------------------------------------


def strict_object(text: bytes, what: str) -> dict[str, Any]:
    """Read one JSON object that cannot be read in two ways.

    :raises ValueError: with the reason, in words for people.
    """
    if len(text) > LIMIT:
        raise ValueError(f"{what} has {len(text)} bytes, more than {LIMIT}")

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(given)
        if len(found) != len(given):
            names = [key for key, _ in given]
            twice = next(key for key in names if names.count(key) > 1)
            raise ValueError(f"{what} has the key {twice!r} twice")
        return found

    def refuse(name: str) -> Any:  # noqa: ANN401  # json's own signature
        raise ValueError(f"{what} holds {name}, which is no JSON")

    try:
        found = json.loads(text.decode(), object_pairs_hook=pairs, parse_constant=refuse)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{what} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no JSON object")  # noqa: TRY004
    return found


def _only(
    document: Mapping[str, Any], keys: set[str], what: str, *, optional: set[str] | None = None
) -> None:
    if unknown := sorted(document.keys() - keys):
        raise ValueError(f"{what} has the unknown key {unknown[0]!r}")
    if missing := sorted(keys - document.keys() - (optional or set())):
        raise ValueError(f"{what} has no {missing[0]!r}")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def unb64(text: object, what: str) -> bytes:
    """Decode standard base64 in its one spelling.

    DSSE lets producers use the URL-safe alphabet too; kvpack never does, and one spelling means
    that no byte can change unseen.
    """
    try:
        found = base64.b64decode(str(text), validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        found = b""
    if not found or _b64(found) != text:
        raise ValueError(f"{what} is no base64")
    return found
