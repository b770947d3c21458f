"""Signatures in a bundle, forged by somebody who has everything but the key."""

import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvpack.publish.attest import attest
from kvpack.publish.bundle import manifest_of, write
from kvpack.publish.envelope import Envelope, dump, parse, provenance
from kvpack.publish.keyless import of_bundle, with_attestation
from kvpack.publish.model import Release
from kvpack.publish.statement import canonical, statement
from kvpack.publish.storage import stored
from kvpack.tools.files import sha256_of
from kvpack.tools.signing import KeyFile
from kvpack.tools.stored import Data
from tests.unit.cli.face import Answer, Place
from tests.unit.publish.made import wheel_bytes
from tests.unit.publish.signed import keypair, wheel
from tests.unit.publish.sigstore_stand_in import IDENTITY, bundle
from tests.unit.publish.test_verify import BUILDER, Signed, published, signed

__all__ = ["signed"]
BUNDLE = "kv.tar"


@pytest.fixture
def made(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> Signed:
    """A bundle of one signed wheel, in the working directory, which is no catalogue."""
    assert published(signed).code == 0
    monkeypatch.chdir(signed.place.folder)
    site = signed.place.folder / "site"
    answer = signed.place.run("bundle", "--from", str(site), "-o", BUNDLE)
    assert answer.code == 0, answer.err
    return signed


def verify(it: Signed, *more: str) -> Answer:
    return it.place.run("--json", "bundle", "verify", BUNDLE, *more)


def keyed(it: Signed) -> Answer:
    return verify(it, "--key", str(it.public))


@dataclass
class Opened:
    """The members of a bundle, to be changed."""

    it: Signed
    members: dict[str, bytes]

    @property
    def name(self) -> str:
        return self.it.wheel.name

    def evidence(self, kind: str) -> str:
        return f"evidence/{self.name}.{kind}"

    def drop_statement(self) -> None:
        for kind in ("intoto.jsonl", "provenance"):
            del self.members[self.evidence(kind)]

    def put_statement(self, envelope: Envelope) -> None:
        self.members[self.evidence("intoto.jsonl")] = dump(envelope)
        self.members[self.evidence("provenance")] = provenance(envelope, BUILDER)

    def evil_wheel(self) -> str:
        """Put another wheel with the same, true action; returns its digest."""
        path = wheel(self.it.place.folder / "evil", self.it.plan, module="evil = True")
        old = sha256_of(self.members[f"wheels/{self.name}"])
        self.members[f"wheels/{self.name}"] = path.read_bytes()
        new = sha256_of(path.read_bytes())
        for name in self.members:
            if name.endswith((".txt", ".html")):
                text = self.members[name]
                self.members[name] = text.replace(old.encode(), new.encode())
        return new


def reseal(opened: Opened) -> None:
    """Make every digest right again: release, manifest, sums, pages."""
    members = opened.members
    (path,) = [one for one in members if one.startswith("releases/")]
    release = Release.model_validate(json.loads(members.pop(path)))
    (one,) = release.wheels
    whole = stored(one.path, members[f"wheels/{one.filename}"])
    suffixes = {"statement": "intoto.jsonl", "provenance": "provenance"}
    evidence = dict(one.evidence)
    for kind, suffix in suffixes.items():
        place = opened.evidence(suffix)
        evidence.pop(kind, None)
        if place in members:
            evidence[kind] = stored(f"{one.path}.{suffix}", members[place])
    changed = one.model_copy(update={**whole.model_dump(), "evidence": evidence})
    sealed = release.model_copy(update={"wheels": (changed,)}).sealed("")
    members[sealed.path] = sealed.text()
    rewrite(opened, (sealed.id,))


def rewrite(opened: Opened, releases: tuple[str, ...]) -> None:
    parts: dict[str, Data] = dict(opened.members)
    write(manifest_of("title", releases, (), parts), parts, Path(BUNDLE))


def opened(it: Signed) -> Opened:
    with tarfile.open(BUNDLE) as tar:
        members = {
            info.name.removeprefix("kvpack-bundle/"): stream.read()
            for info in tar
            if (stream := tar.extractfile(info)) is not None
        }
    del members["MANIFEST.json"], members["SHA256SUMS"]
    return Opened(it, members)


def checks(answer: Answer) -> dict[str, str]:
    (row,) = answer.json["provenance"]
    return {one["check"]: one["outcome"] for one in row["checks"]}


def test_what_is_right_passes_and_says_by_whom(made: Signed) -> None:
    answer = keyed(made)
    assert answer.code == 0, answer.err
    assert set(checks(answer).values()) == {"verified"}
    assert list(checks(answer)) == [
        "key", "lock-digest", "provenance", "subject", "statement", "signature",
    ]  # fmt: skip
    told = made.place.run("bundle", "verify", BUNDLE, "--key", str(made.public))
    assert f"signed by {made.public}" in told.out
    assert "signature" not in told.out.partition("not checked")[2]
    answer = verify(made)
    assert answer.code == 0
    assert checks(answer)["signature"] == "not checked"
    (line,) = [one for one in answer.json["not-checked"] if one.startswith("signature of tiny-1.0")]
    assert "no public key was given (--key); signed by the key" in line


def test_resealing_is_what_an_attacker_can_do(made: Signed) -> None:
    """The stage of all that follows: with nothing forged, a bundle that was made again passes."""
    reseal(opened(made))
    assert keyed(made).code == 0
    _, second = keypair(made.place.folder, "second")
    assert verify(made, "--key", str(second), "--key", str(made.public)).code == 0
    assert verify(made, "--key", str(second)).code == 87


# -- forgeries, each with every digest made right --------------------------------------------------


def other_wheel(one: Opened) -> None:
    one.evil_wheel()


def other_wheel_and_statement(one: Opened) -> None:
    """The statement fits; the signature is the old one."""
    sha256 = one.evil_wheel()
    old = parse(one.members[one.evidence("intoto.jsonl")])
    said = statement(one.it.plan.action, (one.name, sha256), BUILDER)
    one.put_statement(Envelope(canonical(said), old.signatures))


def statement_taken_away(one: Opened) -> None:
    one.evil_wheel()
    one.drop_statement()


def signatures_taken_away(one: Opened) -> None:
    old = parse(one.members[one.evidence("intoto.jsonl")])
    one.drop_statement()
    one.members[one.evidence("intoto.jsonl")] = dump(Envelope(old.payload))


def signed_by_another_key(one: Opened) -> None:
    one.evil_wheel()
    path = one.it.place.folder / "evil" / one.name
    made = attest(path, one.it.plan.action, builder=BUILDER, signer=KeyFile(one.it.other))
    one.put_statement(made.envelope)


def spoiled_statement(one: Opened) -> None:
    one.members[one.evidence("intoto.jsonl")] = b"{}"


FORGERIES: dict[Callable[[Opened], None], tuple[str, bool]] = {
    other_wheel: ("subject: the statement is about the sha256", True),
    other_wheel_and_statement: ("signature: none holds for", False),
    statement_taken_away: ("signature: published unsigned, and a key was given", False),
    signatures_taken_away: ("signature: the statement is unsigned, and a key was given", False),
    signed_by_another_key: ("signature: none holds for", False),
    spoiled_statement: ("provenance: the envelope has no", True),
}
"""What is said, and whether it is found without a key, too."""


def test_a_forgery_is_found_by_the_key(made: Signed) -> None:
    good = Path(BUNDLE).read_bytes()
    for forge, (told, without) in FORGERIES.items():
        Path(BUNDLE).write_bytes(good)
        one = opened(made)
        forge(one)
        reseal(one)
        answer = keyed(made)
        assert answer.code == 87, forge
        assert told in answer.out
        assert verify(made).code == (87 if without else 0), forge


def test_a_bundle_without_its_release_is_not_signed(made: Signed) -> None:
    one = opened(made)
    one.evil_wheel()
    members = {p: d for p, d in one.members.items() if not p.startswith(("evidence/", "releases/"))}
    rewrite(Opened(made, members), ())
    assert verify(made).code == 0
    answer = keyed(made)
    assert answer.code == 87
    assert "names no release with wheels here" in answer.out


def test_an_identity_is_told_and_not_claimed(made: Signed) -> None:
    """A keyless attestation, by a stand-in for Sigstore, beside the signature by a key."""
    one = opened(made)
    path = one.evidence("provenance")
    old = parse(one.members[one.evidence("intoto.jsonl")])
    keyless = of_bundle(json.dumps(bundle(old.payload)).encode(), old.payload)
    one.members[path] = with_attestation(one.members[path], keyless, BUILDER)
    reseal(one)
    answer = keyed(made)
    assert answer.code == 0, answer.err
    assert checks(answer)["identity"] == "not checked"
    assert any(IDENTITY in line for line in answer.json["not-checked"])
    # About another wheel: a true attestation, in the wrong place.
    said = statement(made.plan.action, ("other.whl", "0" * 64), BUILDER)
    other = of_bundle(json.dumps(bundle(canonical(said))).encode(), canonical(said))
    one.members[path] = with_attestation(one.members[path], other, BUILDER)
    reseal(one)
    answer = verify(made)
    assert answer.code == 87
    assert "identity: what" in answer.out


def test_wheels_of_others_are_not_claimed_to_be_signed(made: Signed) -> None:
    """A dependency: nothing in a bundle but its manifest's digest vouches for it."""
    one = opened(made)
    one.members["wheels/helper-2.0-py3-none-any.whl"] = wheel_bytes("helper", "2.0")
    (path,) = [name for name in one.members if name.startswith("releases/")]
    rewrite(one, (Path(path).stem,))
    answer = keyed(made)
    assert answer.code == 0, answer.err
    (line,) = [text for text in answer.json["not-checked"] if "helper-2.0" in text]
    assert "only the digest of the manifest says" in line


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("bundle", "verify", BUNDLE, "--key", "absent.pub"), 88, "cannot be read"),
        (("bundle", "--key", "x.pub", "-o", "y.tar"), 2, "--key is for kvpack bundle verify"),
    ],
)
def test_words_that_make_no_sense(
    place: Place, words: tuple[str, ...], code: int, told: str
) -> None:
    Path(BUNDLE).write_bytes(b"")
    answer = place.run(*words)
    assert answer.code == code
    assert told in answer.err
