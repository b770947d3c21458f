"""A stand-in for Fulcio, Rekor and cosign: bundles in Sigstore's format, by a key of one moment.

Its certificate is signed by nobody but itself, and its log entry is made up: nothing that verifies
identities may believe it. As a program: a statement on standard input, a bundle on standard output.
"""

import base64
import datetime as dt
import hashlib
import json
import sys
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kvpack.publish.envelope import PAYLOAD_TYPE, pae

IDENTITY = "https://ci.example/team/wheels/release.yml@refs/tags/v1"
ISSUER = "https://token.ci.example"


def certificate(key: ec.EllipticCurvePrivateKey, identity: str = IDENTITY) -> bytes:
    """A leaf as Fulcio's look: no subject, the identity as a URI, the issuer as an extension."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    text = ISSUER.encode()
    issuer = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(minutes=10))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True
        )
        .add_extension(
            x509.UnrecognizedExtension(issuer, bytes([0x0C, len(text)]) + text), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.DER)


def bundle(statement: bytes, *, curve: ec.EllipticCurve | None = None) -> dict[str, Any]:
    """A bundle 0.3 around a statement."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    signature = key.sign(pae(PAYLOAD_TYPE, statement), ec.ECDSA(hashes.SHA256()))
    root = _b64(hashlib.sha256(statement).digest())
    proof = {
        "logIndex": "0", "rootHash": root, "treeSize": "1", "hashes": [],
        "checkpoint": {"envelope": "stand-in\n1\n" + root + "\n\n— stand-in AAAA\n"},
    }  # fmt: skip
    entry = {
        "logIndex": "0", "logId": {"keyId": _b64(b"stand-in")},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"}, "integratedTime": "1767225700",
        "inclusionPromise": {"signedEntryTimestamp": _b64(b"stand-in")},
        "inclusionProof": proof, "canonicalizedBody": _b64(b"{}"),
    }  # fmt: skip
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": _b64(certificate(key))},
            "tlogEntries": [entry],
        },
        "dsseEnvelope": {
            "payload": _b64(statement),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": _b64(signature)}],
        },
    }


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(bundle(sys.stdin.buffer.read())))
