"""Keyless attestations, made by a stand-in for Sigstore: kept, and judged as far as they tell."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kvpack.errors import SigningFailed
from kvpack.publish.attest import attest, beside
from kvpack.publish.envelope import PAYLOAD_TYPE, Envelope, dump, wrap
from kvpack.publish.keyless import attest_keyless, attestations_of, of_bundle, with_attestation
from kvpack.publish.statement import UNNAMED, canonical, statement
from kvpack.tools.files import sha256_file
from kvpack.tools.signing import IdentityCommand, KeyFile
from tests.unit.publish.sigstore_stand_in import IDENTITY, ISSUER, bundle
from tests.unit.publish.test_verify import Signed, bare, failed, outcomes, signed

__all__ = ["signed"]


class Program(IdentityCommand):
    """Signs in this process, and counts."""

    def __init__(self, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        self.asked: list[bytes] = []
        self.change = change

    def bundle(self, statement: bytes) -> bytes:
        self.asked.append(statement)
        made = bundle(statement)
        self.change(made)
        return json.dumps(made).encode()


def make(it: Signed, program: IdentityCommand, published: bytes | None = None) -> bool:
    """Sign the wheel by an identity alone."""
    bare(it)
    envelope = attest(it.wheel, it.plan.action, builder="https://ci.example/trusted").envelope
    return attest_keyless(it.wheel, envelope, program, published)


def subject_of(it: Signed) -> tuple[str, str]:
    return it.wheel.name, str(sha256_file(it.wheel))


def detail(it: Signed, name: str, *more: str) -> str:
    (row,) = it.place.run("--json", "verify", str(it.wheel), *more).json["wheels"]
    (found,) = [one for one in row["checks"] if one["check"] == name]
    return f"{found['outcome']}: {found['detail']}"


def test_what_is_seen_is_told_and_an_identity_is_never_claimed(signed: Signed) -> None:
    assert make(signed, Program())
    beside(signed.wheel, "statement").unlink()  # as published: unsigned, it is not
    answer = signed.place.run("--json", "verify", str(signed.wheel), "--identity", IDENTITY)
    found = outcomes(answer)
    assert answer.code == 0, answer.err
    for name in ("provenance", "subject", "statement"):
        assert found[name] == "verified"
    assert found["signature"] == "not checked"
    told = detail(signed, "identity")
    assert told.startswith(
        f"not checked: {IDENTITY} (by {ISSUER}) signed it, if the certificate is"
    )
    assert "pypi-attestations verify" in told
    words = ("verify", str(signed.wheel), "--identity", IDENTITY, "--require", "identity")
    assert signed.place.run(*words).code == 87
    other = signed.place.run("--json", "verify", str(signed.wheel), "--identity", "https://evil")
    assert failed(other) == ["identity"]
    # A key was given, and no key signed: what an identity signed is no answer to that.
    assert signed.verify("--require", "signature").code == 87


def test_signing_again_changes_nothing(signed: Signed) -> None:
    """Each bundle has another certificate, and what was published cannot be replaced."""
    program = Program()
    assert make(signed, program)
    path = beside(signed.wheel, "provenance")
    text = path.read_bytes()
    envelope = attest(signed.wheel, signed.plan.action).envelope
    assert not attest_keyless(signed.wheel, envelope, program, None)
    assert path.read_bytes() == text
    assert not make(signed, program, published=text)
    assert path.read_bytes() == text
    assert len(program.asked) == 1
    # Who built it is what was published, unless somebody says otherwise.
    unnamed = wrap(statement(signed.plan.action, subject_of(signed), UNNAMED))
    assert not attest_keyless(signed.wheel, unnamed, program, text)
    assert attest_keyless(signed.wheel, unnamed, Program(), text, builder=UNNAMED)
    # What is published is about another wheel: it does not count.
    other = Program()
    assert make(signed, other, published=with_attestation(None, of_bundle(
        json.dumps(bundle(b'{"a":1}')).encode(), b'{"a":1}'), "urn:x:y"))  # fmt: skip


def test_a_key_and_an_identity_beside_each_other(signed: Signed) -> None:
    """The one does not take the other away, in either order."""
    path = beside(signed.wheel, "provenance")
    envelope = attest(signed.wheel, signed.plan.action).envelope
    assert attest_keyless(signed.wheel, envelope, Program(), None)
    both = json.loads(path.read_text())["attestation_bundles"]
    assert [len(one["attestations"]) for one in both] == [1, 1]
    assert failed(signed.verify("--require", "signature", "--identity", IDENTITY)) == []
    make(signed, Program())
    attest(signed.wheel, signed.plan.action, signer=KeyFile(signed.private))
    assert failed(signed.verify("--require", "signature", "--identity", IDENTITY)) == []


# -- what a program may give ----------------------------------------------------------------------


def no_statement(made: dict[str, Any]) -> None:
    made["messageSignature"] = made.pop("dsseEnvelope")


def no_log(made: dict[str, Any]) -> None:
    made["verificationMaterial"]["tlogEntries"] = []


def a_key_instead(made: dict[str, Any]) -> None:
    made["verificationMaterial"]["publicKey"] = {"hint": "x"}
    del made["verificationMaterial"]["certificate"]


def another_statement(made: dict[str, Any]) -> None:
    made |= bundle(b'{"another": 1}')


def another_signature(made: dict[str, Any]) -> None:
    made["dsseEnvelope"]["signatures"] = bundle(b"{}")["dsseEnvelope"]["signatures"]


def another_certificate(made: dict[str, Any]) -> None:
    made["verificationMaterial"]["certificate"] = bundle(b"{}")["verificationMaterial"][
        "certificate"
    ]


def a_broken_certificate(made: dict[str, Any]) -> None:
    made["verificationMaterial"]["certificate"]["rawBytes"] = base64.b64encode(b"x").decode()


def another_type(made: dict[str, Any]) -> None:
    made["dsseEnvelope"]["payloadType"] = "application/json"


def two_signatures(made: dict[str, Any]) -> None:
    made["dsseEnvelope"]["signatures"] *= 2


REFUSED: dict[Callable[[dict[str, Any]], None], str] = {
    no_statement: "no dsseEnvelope",
    no_log: "no entry of a transparency log",
    a_key_instead: "a key signed it",
    another_statement: "is about another statement",
    another_signature: "does not hold under its own certificate",
    another_certificate: "does not hold under its own certificate",
    a_broken_certificate: "certificate cannot be read",
    another_type: "payloadType is 'application/json'",
    two_signatures: "2 signatures, not one",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda one: one.__name__)
def test_what_is_no_signature_of_the_statement_is_refused(
    change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    wheel = tmp_path / "x-1.0-py3-none-any.whl"
    said = {"predicate": {"runDetails": {"builder": {"id": "urn:x:y"}}}}
    with pytest.raises(SigningFailed) as refused:
        attest_keyless(wheel, Envelope(canonical(said)), Program(change), None)
    assert REFUSED[change] in refused.value.what
    assert not list(tmp_path.iterdir())


def test_a_chain_of_certificates_and_other_json_of_the_same_statement() -> None:
    """Bundles 0.1 and 0.2 have a chain; a program may write the statement anew."""
    made = bundle(b'{ "b": 1,\n "a": 2 }')
    material = made["verificationMaterial"]
    material["x509CertificateChain"] = {"certificates": [material.pop("certificate")]}
    found = of_bundle(json.dumps(made).encode(), b'{"a":2,"b":1}')
    assert found.certificate.identities == (IDENTITY,)
    assert found.certificate.issuer == ISSUER


def test_a_kind_of_key_that_is_not_known_is_no_forgery(signed: Signed) -> None:
    """Fulcio also certifies P-384: it cannot be told here, which is said, and is no failure."""
    make(signed, Program())
    path = beside(signed.wheel, "provenance")
    document = json.loads(path.read_text())
    statement = Envelope(attest(signed.wheel, signed.plan.action).envelope.payload).payload
    other = bundle(statement, curve=ec.SECP384R1())
    (one,) = document["attestation_bundles"][0]["attestations"]
    raw = other["verificationMaterial"]["certificate"]["rawBytes"]
    one["verification_material"]["certificate"] = raw
    one["envelope"]["signature"] = other["dsseEnvelope"]["signatures"][0]["sig"]
    path.write_text(json.dumps(document))
    assert detail(signed, "identity").startswith("not checked: the certificate's key is neither")


# -- forgeries beside a wheel ---------------------------------------------------------------------


def other_wheel(document: dict[str, Any]) -> None:
    (one,) = document["attestation_bundles"][0]["attestations"]
    said = json.loads(base64.b64decode(one["envelope"]["statement"]))
    said["subject"][0]["digest"]["sha256"] = "e" * 64
    replace(one, canonical(said))


def edited_statement(document: dict[str, Any]) -> None:
    (one,) = document["attestation_bundles"][0]["attestations"]
    text = base64.b64decode(one["envelope"]["statement"]).replace(b"trusted", b"evilest")
    one["envelope"]["statement"] = base64.b64encode(text).decode()


def no_certificate(document: dict[str, Any]) -> None:
    (one,) = document["attestation_bundles"][0]["attestations"]
    one["verification_material"]["certificate"] = "eA=="


def replace(one: dict[str, Any], statement: bytes) -> None:
    made = bundle(statement)
    one["envelope"] = {
        "statement": base64.b64encode(statement).decode(),
        "signature": made["dsseEnvelope"]["signatures"][0]["sig"],
    }
    raw = made["verificationMaterial"]["certificate"]["rawBytes"]
    one["verification_material"]["certificate"] = raw


@pytest.mark.parametrize(
    ("forge", "checks", "told"),
    [
        (other_wheel, ["subject", "identity"], "is about another wheel"),
        (edited_statement, ["identity"], "does not hold under its own certificate"),
        (no_certificate, ["identity"], "cannot be read"),
    ],
)
def test_forged_attestations(
    signed: Signed, forge: Callable[[dict[str, Any]], None], checks: list[str], told: str
) -> None:
    make(signed, Program())
    path = beside(signed.wheel, "provenance")
    document = json.loads(path.read_text())
    forge(document)
    path.write_text(json.dumps(document))
    beside(signed.wheel, "statement").unlink()  # as published: unsigned, it is not
    answer = signed.place.run("--json", "verify", str(signed.wheel))
    assert sorted(failed(answer)) == sorted(checks)
    assert told in answer.out


def test_what_is_written_is_read() -> None:
    statement = b'{"a":1}'
    one = of_bundle(json.dumps(bundle(statement)).encode(), statement)
    text = with_attestation(with_attestation(None, one, "urn:x:y"), one, "urn:x:y")
    assert attestations_of(text).found == (one, one)
    assert json.loads(dump(one.envelope))["payloadType"] == PAYLOAD_TYPE
