"""DSSE and PEP 740 as files: what is written is read back, and nothing is read in two ways."""

import base64
import json
from pathlib import Path

import pytest

from kvpack.publish.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    Signature,
    dump,
    pae,
    parse,
    parse_provenance,
    provenance,
    strict_object,
    wrap,
)
from kvpack.tools.signing import KeyFile, public_key
from tests.unit.publish.signed import keypair

SIGNED = Envelope(b'{"a":1}', (Signature("one", b"sig"), Signature("two", b"other")))


def test_pae_is_that_of_the_specification() -> None:
    """DSSE, protocol.md, "Test Vectors"."""
    wanted = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == wanted
    assert pae("é", b"") == "DSSEv1 2 é 0 ".encode()  # lengths are bytes


def test_there_and_back() -> None:
    assert parse(dump(SIGNED)) == SIGNED
    assert dump(SIGNED).count(b"\n") == 1
    assert parse_provenance(provenance(SIGNED, "urn:x:y")) == (SIGNED, 0)
    assert parse(dump(wrap({"b": 1, "a": 2}))).statement == {"a": 2, "b": 1}


def test_the_shape_of_pep_740() -> None:
    """PEP 740: version, attestation_bundles, publisher.kind, attestations, envelope."""
    document = json.loads(provenance(SIGNED, "urn:x:y"))
    assert set(document) == {"version", "attestation_bundles"}
    (bundle,) = document["attestation_bundles"]
    assert bundle["publisher"]["kind"] == "kvpack"
    for one in bundle["attestations"]:
        assert set(one) == {"version", "verification_material", "envelope"}
        assert base64.b64decode(one["envelope"]["statement"]) == SIGNED.payload
        # No certificate is made up: tools that need one refuse it.
        assert "certificate" not in one["verification_material"]


def test_keyless_attestations_of_others_are_counted() -> None:
    document = json.loads(provenance(SIGNED, "urn:x:y"))
    for one in document["attestation_bundles"][0]["attestations"]:
        one["verification_material"] = {"certificate": "AA==", "transparency_entries": [{}]}
    assert parse_provenance(json.dumps(document).encode()) == (None, 2)


def changed(**changes: object) -> bytes:
    return json.dumps({**json.loads(dump(SIGNED)), **changes}).encode()


BAD = {
    "another type": (changed(payloadType="application/json"), "payloadType is 'application/json'"),
    "a type in capitals": (changed(payloadType=PAYLOAD_TYPE.upper()), "payloadType is"),
    "an unknown key": (changed(extra=1), "the unknown key 'extra'"),
    "no signatures": (changed(signatures=None), "signatures is no list"),
    "an odd signature": (changed(signatures=["x"]), "a signature is no object"),
    "a signature without bytes": (changed(signatures=[{"keyid": "x"}]), "has no 'sig'"),
    "an odd keyid": (changed(signatures=[{"keyid": 1, "sig": "AA=="}]), "keyid is no string"),
    "the other alphabet": (changed(payload="eyJhIjoiPz8_In0="), "payload is no base64"),
    "slack bits": (changed(payload="eyJhIjoxfR=="), "payload is no base64"),
    "white space": (changed(payload="eyJh\nIjoxfQ=="), "payload is no base64"),
    "no payload": (changed(payload=""), "payload is no base64"),
    "two envelopes": (dump(SIGNED) * 2, "is no JSON"),
    "a key twice": (
        dump(SIGNED).replace(b"{", b'{"payload":"AAAA",', 1), "the key 'payload' twice",
    ),
    "a key of a signature twice": (
        dump(SIGNED).replace(b'{"keyid"', b'{"sig":"AAAA","keyid"', 1), "the key 'sig' twice",
    ),
    "no object": (b"[]", "is no JSON object"),
    "no text": (b"\xff", "is no JSON"),
    "too deep": (b"[" * 100_000, "is no JSON"),
    "no number": (changed().replace(b"{", b'{"x":NaN,', 1), "which is no JSON"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_refused(kind: str) -> None:
    text, reason = BAD[kind]
    with pytest.raises(ValueError, match=reason):
        parse(text)


def test_a_payload_with_a_key_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the key 'a' twice"):
        _ = Envelope(b'{"a":1,"a":2}').statement
    with pytest.raises(ValueError, match="more than"):
        strict_object(b" " * (17 << 20), "it")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1,"attest', b'"version":2,"attest'),
        (b'"envelope"', b'"letter"'),
        (b'"attestations":[', b'"attestations":[7,'),
        (base64.b64encode(b'{"a":1}'), b"eyJhIjoyfQ=="),
    ],
)
def test_provenance_objects_that_are_refused(old: bytes, new: bytes) -> None:
    text = provenance(SIGNED, "urn:x:y")
    assert old in text
    with pytest.raises(ValueError, match="provenance object"):
        parse_provenance(text.replace(old, new, 1))


@pytest.mark.parametrize("p256", [False, True])
def test_every_flipped_bit_of_a_signed_envelope_shows(tmp_path: Path, *, p256: bool) -> None:
    """One bit of each byte: it is refused, or no key verifies it, or it says exactly the same."""
    private, public = keypair(tmp_path, "k", p256=p256)
    signer, key = KeyFile(private), public_key(public)
    unsigned = wrap({"subject": "x"})
    made = signer.sign(unsigned.signed_bytes)
    good = Envelope(unsigned.payload, (Signature(signer.keyid, made),))
    text = dump(good)
    for place in range(len(text) - 1):
        spoiled = bytearray(text)
        spoiled[place] ^= 1 << (place % 7)
        try:
            found = parse(bytes(spoiled))
        except ValueError:
            continue
        holds = [one for one in found.signatures if key.verifies(one.sig, found.signed_bytes)]
        # Only the hint, which nothing covers, may differ in what still verifies.
        same = found.payload == good.payload and [one.sig for one in holds] == [made]
        assert not holds or same, spoiled
