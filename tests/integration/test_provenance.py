"""Provenance of a real wheel: made, signed by a program, judged by openssl, fetched, verified."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import CHECKOUT, Kvpack
from tests.integration.publish_servers import nginx
from tests.unit.publish.sigstore_stand_in import IDENTITY

pytestmark = pytest.mark.integration
OPENSSL = shutil.which("openssl") or "openssl"


def openssl(*words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([OPENSSL, *words], input=stdin, capture_output=True, check=False)


def keys(folder: Path, *options: str) -> tuple[Path, Path]:
    private, public = folder / "key.pem", folder / "key.pub"
    assert openssl("genpkey", *options, "-out", private).returncode == 0
    assert openssl("pkey", "-in", private, "-pubout", "-out", public).returncode == 0
    return private, public


def test_a_wheel_is_signed_published_and_verified_through_nginx(
    kvpack: Kvpack, tmp_path: Path
) -> None:
    """ECDSA by a program that stands in for a KMS: openssl itself."""
    private, public = keys(tmp_path, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    dist, site = tmp_path / "dist", tmp_path / "site"
    builder = "https://ci.example/runners/trusted"
    # Built here, whatever other tests left in the store: a hit keeps the builder that it had.
    (row,) = kvpack("--json", "plan", "msgpack").ok().json["targets"]
    (kvpack.store / "actions" / f"{row['key']}.json").unlink(missing_ok=True)
    kvpack("build", "msgpack", "--out", str(dist), "--builder-id", builder).ok()
    signs = f"{OPENSSL} dgst -sha256 -sign {private}"
    publish = ("publish", "msgpack", "--from", str(dist), "--to", str(site))
    key = ("--sign-command", signs, "--sign-public-key", str(public))
    done = kvpack("-v", *publish, *key).ok()
    assert str(private) not in done.out + done.err
    # ECDSA with a random nonce: signing again would give other bytes, so what is there is taken.
    for path in (*dist.glob("*.intoto.jsonl"), *dist.glob("*.provenance")):
        path.unlink()
    kvpack(*publish, *key, "--builder-id", builder).ok()
    wheel = next(site.rglob("*.whl"))
    with nginx(site, tmp_path / "nginx") as served:
        url = f"{served.url}/files/msgpack/{wheel.name.replace('+', '%2B')}"
        words = ("--json", "verify", url, "--key", str(public), "--recipe", "msgpack")
        required = "release,record,key,lock-digest,lock,provenance,subject,statement,signature"
        (row,) = kvpack(*words, "--require", required).ok().json["wheels"]
        assert row["passed"]
        wheel.write_bytes(wheel.read_bytes() + b"\0")
        answer = kvpack(*words)
        assert answer.code == 87
        assert {"release", "subject"} <= set(answer.json["wheels"][0]["failed"])


def test_openssl_agrees_about_every_signature(kvpack: Kvpack, tmp_path: Path) -> None:
    """DSSE by hand: what openssl verifies is PAE over the payload."""
    private, public = keys(tmp_path, "-algorithm", "ed25519")
    dist = tmp_path / "dist"
    kvpack("build", "msgpack", "--out", str(dist), "--sign-key", str(private)).ok()
    (path,) = dist.glob("*.intoto.jsonl")
    envelope = json.loads(path.read_text())
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    signed, sig = tmp_path / "signed", tmp_path / "sig"
    signed.write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    sig.write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    words = ("pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", signed)
    assert openssl(*words, "-sigfile", sig).returncode == 0
    signed.write_bytes(signed.read_bytes() + b" ")
    assert openssl(*words, "-sigfile", sig).returncode != 0
    (wheel,) = dist.glob("*.whl")
    kvpack("verify", str(wheel), "--key", str(public), "--require", "signature").ok()
    # The same store, the same key: the same bytes, statement and signature.
    again = tmp_path / "again"
    kvpack("build", "msgpack", "--out", str(again), "--sign-key", str(private)).ok()
    assert {p.name: p.read_bytes() for p in dist.iterdir()} == {
        p.name: p.read_bytes() for p in again.iterdir()
    }


def test_a_wheel_is_signed_by_an_identity(kvpack: Kvpack, tmp_path: Path) -> None:
    """A stand-in for cosign and Sigstore, as a program: what it gives is published and told."""
    dist, site = tmp_path / "dist", tmp_path / "site"
    program = f"{sys.executable} -m tests.unit.publish.sigstore_stand_in"
    kvpack.env = {**kvpack.env, "PYTHONPATH": str(CHECKOUT)}
    signs = ("--sign-identity-command", program)
    kvpack("build", "msgpack", "--out", str(dist), *signs).ok()
    publish = ("publish", "msgpack", "--from", str(dist), "--to", str(site))
    kvpack(*publish, *signs).ok()
    # Elsewhere: without what lay beside the wheel; a new certificate could not be published.
    for path in (*dist.glob("*.intoto.jsonl"), *dist.glob("*.provenance")):
        path.unlink()
    kvpack(*publish, *signs).ok()
    (wheel,) = site.rglob("*.whl")
    words = ("--json", "verify", str(wheel), "--identity", IDENTITY)
    (row,) = kvpack(*words, "--require", "release,provenance,subject,statement").ok().json["wheels"]
    (told,) = [one for one in row["checks"] if one["check"] == "identity"]
    assert told["outcome"] == "not checked"
    assert IDENTITY in told["detail"]
    broken = kvpack(*publish, "--sign-identity-command", "cat")
    assert broken.code == 0, "it is signed already, so nobody is asked"
    (dist / f"{wheel.name}.provenance").unlink()
    shutil.rmtree(site)
    broken = kvpack(*publish, "--sign-identity-command", "cat")
    assert broken.code == 88
    assert "no dsseEnvelope" in broken.err
    assert not site.exists()
