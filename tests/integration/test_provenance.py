"""Provenance of a real wheel: made, signed by a program, judged by openssl, fetched, verified."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import Kvpack
from tests.integration.publish_servers import nginx

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
