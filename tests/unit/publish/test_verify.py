"""``kvpack verify``: each forgery is found by the check that is about it, and by its exit code."""

import base64
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvpack.audit.checks import audit
from kvpack.audit.wheel import inspect_wheel
from kvpack.build.model import BuildPlan
from kvpack.cli.judge import policy_of
from kvpack.publish.attest import attest, beside
from kvpack.publish.envelope import Envelope, Signature, dump, pae, parse, provenance
from kvpack.publish.statement import canonical, statement
from kvpack.tools.files import sha256_file
from kvpack.tools.signing import KeyFile
from tests.unit.cli.face import SELECTED, Answer, Place
from tests.unit.publish.signed import keypair, wheel

VERIFIED = ["record", "key", "lock-digest", "lock", "provenance", "subject", "statement",
            "signature"]  # fmt: skip
BUILDER = "https://ci.example/trusted"


@dataclass
class Signed:
    """A signed wheel of the place's catalogue, its key pair, and another one."""

    place: Place
    plan: BuildPlan
    wheel: Path
    private: Path
    public: Path
    other: Path
    """Another private key."""

    def verify(self, *more: str, wheel: Path | None = None) -> Answer:
        given = ("--json", "verify", str(wheel or self.wheel), "--key", str(self.public))
        return self.place.run(*given, "--recipe", "tiny", *more)

    @property
    def envelope(self) -> Envelope:
        return parse(beside(self.wheel, "statement").read_bytes())

    def write(self, envelope: Envelope) -> None:
        """Both files, so that only what is forged is wrong."""
        beside(self.wheel, "statement").write_bytes(dump(envelope))
        beside(self.wheel, "provenance").write_bytes(provenance(envelope, BUILDER))


@pytest.fixture
def signed(place: Place) -> Signed:
    plan = place.plan()
    made = wheel(place.folder / "dist", plan)
    private, public = keypair(place.folder, "good")
    other, _ = keypair(place.folder, "other")
    attest(made, plan.action, builder=BUILDER, signer=KeyFile(private))
    return Signed(place, plan, made, private, public, other)


def bare(it: Signed) -> None:
    """Nothing lies beside the wheel."""
    beside(it.wheel, "statement").unlink()
    beside(it.wheel, "provenance").unlink()


def outcomes(answer: Answer) -> dict[str, str]:
    (row,) = answer.json["wheels"]
    return {one["check"]: one["outcome"] for one in row["checks"]}


def failed(answer: Answer) -> list[str]:
    assert answer.code == (87 if "failed" in outcomes(answer).values() else 0)
    return [name for name, outcome in outcomes(answer).items() if outcome == "failed"]


def test_what_is_right_is_verified_and_the_rest_is_not_claimed(signed: Signed) -> None:
    answer = signed.verify()
    assert answer.code == 0
    found = outcomes(answer)
    assert [name for name, one in found.items() if one == "verified"] == VERIFIED
    assert {name for name, one in found.items() if one == "not checked"} == {
        "hash", "release", "identity",
    }  # fmt: skip
    assert signed.verify("--require", "signature,lock").code == 0
    assert signed.verify("--require", "release").code == 87
    told = signed.place.run("verify", str(signed.wheel))
    assert told.code == 0
    assert "no public key was given (--key)" in told.out
    assert "nothing failed; not checked: hash, release, lock, signature, identity" in told.out


def test_one_of_several_keys_is_enough(signed: Signed) -> None:
    _, second = keypair(signed.place.folder, "second")
    assert failed(signed.verify("--key", str(second))) == []


# -- forgeries ------------------------------------------------------------------------------------


def other_wheel(it: Signed) -> None:
    """Another sound wheel of the same name and the same action."""
    wheel(it.wheel.parent, it.plan, module="import os; os.system('evil')")


def flipped_byte(it: Signed) -> None:
    data = bytearray(it.wheel.read_bytes())
    with zipfile.ZipFile(it.wheel) as archive:
        info = next(one for one in archive.infolist() if one.filename.endswith("/METADATA"))
    data[info.header_offset + 30 + len(info.filename)] ^= 1  # its first byte: nothing is packed
    it.wheel.write_bytes(bytes(data))


def edited_module(it: Signed) -> None:
    """A member of the wheel is replaced; RECORD is left as it was."""
    with zipfile.ZipFile(it.wheel) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    members["tiny/__init__.py"] = b"evil = True\n"
    with zipfile.ZipFile(it.wheel, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def statement_of_another_wheel(it: Signed) -> None:
    """A true, well signed statement, about other bytes."""
    said = statement(it.plan.action, (it.wheel.name, "e" * 64), BUILDER)
    sign(it, canonical(said), it.private)


def sign(it: Signed, payload: bytes, private: Path) -> None:
    signer = KeyFile(private)
    body = Envelope(payload).signed_bytes
    it.write(Envelope(payload, (Signature(signer.keyid, signer.sign(body)),)))


def edited_statement(it: Signed) -> None:
    """An input less, under the old signature."""
    said = it.envelope.statement
    said["predicate"]["buildDefinition"]["resolvedDependencies"].pop()
    it.write(Envelope(canonical(said), it.envelope.signatures))


def edited_builder(it: Signed) -> None:
    said = it.envelope.statement
    said["predicate"]["runDetails"]["builder"]["id"] = "https://ci.example/more-trusted"
    it.write(Envelope(canonical(said), it.envelope.signatures))


def signed_lie(it: Signed) -> None:
    """Even the right key cannot make a statement fit another action than the wheel's own."""
    said = it.envelope.statement
    said["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["sha256"] = "0" * 64
    sign(it, canonical(said), it.private)


def swapped_signature(it: Signed) -> None:
    """A signature of the same key over something else."""
    signer = KeyFile(it.private)
    made = Signature(signer.keyid, signer.sign(b"something else"))
    it.write(Envelope(it.envelope.payload, (made,)))


def signed_by_another_key(it: Signed) -> None:
    sign(it, it.envelope.payload, it.other)


def another_key_under_the_right_name(it: Signed) -> None:
    """The keyid is only a hint, so it may lie."""
    made = KeyFile(it.other).sign(it.envelope.signed_bytes)
    it.write(Envelope(it.envelope.payload, (Signature(KeyFile(it.private).keyid, made),)))


def signature_removed(it: Signed) -> None:
    it.write(Envelope(it.envelope.payload))
    beside(it.wheel, "provenance").unlink()


def downgraded_type(it: Signed) -> None:
    """Signed, rightly, as another type of payload."""
    kind, signer = "application/json", KeyFile(it.private)
    document = json.loads(dump(it.envelope))
    made = signer.sign(pae(kind, it.envelope.payload))
    document["signatures"][0]["sig"] = base64.b64encode(made).decode()
    document["payloadType"] = kind
    beside(it.wheel, "statement").write_text(json.dumps(document))


def signed_without_pae(it: Signed) -> None:
    made = KeyFile(it.private).sign(it.envelope.payload)
    it.write(Envelope(it.envelope.payload, (Signature("", made),)))


def duplicate_key(it: Signed) -> None:
    path = beside(it.wheel, "statement")
    path.write_bytes(path.read_bytes().replace(b"{", b'{"payload":"e30=",', 1))


def duplicate_key_in_the_payload(it: Signed) -> None:
    """Signed, rightly; but which subject counts is up to the reader."""
    payload = it.envelope.payload.replace(b"{", b'{"subject":[],', 1)
    sign(it, payload, it.private)


def files_that_disagree(it: Signed) -> None:
    text = beside(it.wheel, "provenance").read_bytes()
    edited_builder(it)
    beside(it.wheel, "provenance").write_bytes(text)


def edited_lock_digest(it: Signed) -> None:
    wheel(it.wheel.parent, it.plan, lock_digest=f"sha256:{'0' * 64}\n")
    attest(it.wheel, it.plan.action, builder=BUILDER, signer=KeyFile(it.private))


def edited_key(it: Signed) -> None:
    wheel(it.wheel.parent, it.plan, key=f"{'0' * 64}\n")
    attest(it.wheel, it.plan.action, builder=BUILDER, signer=KeyFile(it.private))


def edited_action(it: Signed) -> None:
    text = canonical(it.plan.action).decode().replace('"glibc":"2.36"', '"glibc":"2.17"')
    wheel(it.wheel.parent, it.plan, **{"action.json": text})


def edited_lock(it: Signed) -> None:
    """The catalogue's lock: its own digest tells."""
    text = it.place.tiny.lock_file.read_text()
    it.place.tiny.lock_file.write_text(text.replace('sha256 = "', 'sha256 = "0000', 1))


def other_lock(it: Signed) -> None:
    """A lock that is sound, and names other inputs."""
    it.place.tiny.outside.versions["plugin"] = "0.2"
    it.place.tiny.lock()


FORGERIES: dict[Callable[[Signed], None], set[str]] = {
    other_wheel: {"subject"},
    flipped_byte: {"record", "subject"},
    edited_module: {"record", "subject"},
    statement_of_another_wheel: {"subject"},
    edited_statement: {"statement", "signature"},
    edited_builder: {"signature"},
    signed_lie: {"statement"},
    swapped_signature: {"signature"},
    signed_by_another_key: {"signature"},
    another_key_under_the_right_name: {"signature"},
    signature_removed: {"signature"},
    downgraded_type: {"provenance"},
    signed_without_pae: {"signature"},
    duplicate_key: {"provenance"},
    duplicate_key_in_the_payload: {"subject", "statement"},
    files_that_disagree: {"provenance", "signature"},
    edited_lock_digest: {"lock-digest", "lock"},
    edited_key: {"key"},
    edited_action: {"key", "statement", "subject"},
    edited_lock: {"lock"},
    other_lock: {"lock"},
}


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda one: one.__name__)
def test_a_forgery_is_found_by_the_check_that_is_about_it(
    signed: Signed, forge: Callable[[Signed], None]
) -> None:
    forge(signed)
    answer = signed.verify()
    assert answer.code == 87
    assert set(failed(answer)) == FORGERIES[forge]


def test_a_wheel_of_another_name_is_another_subject(signed: Signed) -> None:
    renamed = signed.wheel.with_name(signed.wheel.name.replace("cp311-cp311", "cp312-cp312"))
    for suffix in ("", ".intoto.jsonl", ".provenance"):
        shutil.copy(f"{signed.wheel}{suffix}", f"{renamed}{suffix}")
    assert "subject" in failed(signed.verify(wheel=renamed))


def test_nothing_beside_the_wheel_is_no_failure_unless_it_is_required(signed: Signed) -> None:
    bare(signed)
    answer = signed.verify()
    assert answer.code == 0
    assert outcomes(answer)["signature"] == "not checked"
    assert signed.verify("--require", "provenance").code == 87


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--require", "signatur"], 2, "did you mean 'signature'?"),
        (["--key", "absent.pub"], 88, "cannot be read"),
        (["s3://wheels/x.tar"], 2, "names no wheel"),
        (["absent.whl"], 30, "no such file"),
    ],
)
def test_words_that_make_no_sense(signed: Signed, words: list[str], code: int, told: str) -> None:
    answer = signed.place.run("verify", str(signed.wheel), *words)
    assert answer.code == code
    assert told in answer.err


# -- from a storage -------------------------------------------------------------------------------


def published(it: Signed, *more: str) -> Answer:
    """The wheel with all its evidence, published by the command."""
    facts, faults = inspect_wheel(it.wheel)
    assert facts is not None, faults
    report = audit(facts, policy_of(it.plan), faults).as_json()
    for suffix, text in ((".audit.json", report), (".action.json", it.plan.action)):
        Path(f"{it.wheel}{suffix}").write_text(json.dumps(text))
    Path(f"{it.wheel}.cdx.json").write_text("{}")
    words = ("--from", str(it.wheel.parent), "--to", str(it.place.folder / "site"))
    return it.place.run("publish", *SELECTED, "--cpu", *words, *more)


def url_of(it: Signed) -> str:
    return f"{(it.place.folder / 'site').as_uri()}/files/tiny/{it.wheel.name}"


def test_a_wheel_in_a_storage_and_its_manifest(signed: Signed) -> None:
    assert published(signed).code == 0
    digest = sha256_file(signed.wheel)
    run = signed.place.run
    words = ("--key", str(signed.public), "--require", "hash,release,signature")
    good = run("--json", "verify", f"{url_of(signed)}#sha256={digest}", *words)
    assert good.code == 0
    assert run("verify", f"{url_of(signed)}#sha256={'0' * 64}", *words).code == 87
    assert run("verify", url_of(signed), "--channel", "rc", *words).code == 87
    (manifest,) = (signed.place.folder / "site" / "releases").glob("*.json")
    assert run("verify", url_of(signed), "--release", manifest.stem).code == 0
    manifest.write_text(manifest.read_text().replace(digest, "0" * 64))
    assert "release" in failed(run("--json", "verify", url_of(signed)))


def test_evidence_that_was_replaced_in_a_storage(signed: Signed) -> None:
    assert published(signed).code == 0
    path = Path(url_of(signed).removeprefix("file://") + ".provenance")
    path.unlink()
    assert failed(signed.place.run("--json", "verify", url_of(signed))) == ["release"]


def test_publishing_signs_and_publishing_again_changes_nothing(signed: Signed) -> None:
    bare(signed)
    unsigned = published(signed)
    assert unsigned.code == 0
    site = signed.place.folder / "site"
    assert not list(site.rglob("*.whl.intoto.jsonl"))  # or no signature could ever follow
    key = ("--sign-key", str(signed.private), "--builder-id", BUILDER)
    first = published(signed, *key)
    assert first.code == 0, first.err
    (text,) = [path.read_bytes() for path in site.rglob("*.whl.intoto.jsonl")]
    bare(signed)
    again = published(signed, *key)
    assert again.code == 0, again.err
    assert beside(signed.wheel, "statement").read_bytes() == text
    answer = signed.verify("--require", "signature")
    assert answer.code == 0
    assert BUILDER in answer.out
    secret = signed.private.read_bytes().splitlines()[1]
    held = [path for path in signed.place.folder.rglob("*") if path.is_file()]
    assert [p for p in held if secret in p.read_bytes()] == [signed.private]


def test_signing_options_that_make_no_sense(signed: Signed) -> None:
    for words, code in (
        (["--sign-key", "absent.pem"], 88),
        (["--sign-key", str(signed.private), "--sign-command", "x"], 2),
        (["--sign-command", "x"], 2),
        (["--sign-identity"], 88),
        (["--builder-id", "me"], 2),
    ):
        assert published(signed, *words).code == code, words
