"""Keys from files, programs that sign, and that no secret is shown."""

import base64
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils

from kvpack.errors import SigningFailed, ToolFailed, UsageError
from kvpack.report import Silent
from kvpack.tools.signing import CommandSigner, KeyFile, checked, public_key
from tests.unit.build.made import Heard
from tests.unit.publish.signed import PEM, keypair

SIGNS = """\
import base64, sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
sig = key.sign(sys.stdin.buffer.read())
sys.stdout.buffer.write(base64.b64encode(sig) + b"\\n" if "base64" in sys.argv else sig)
"""


@pytest.mark.parametrize("p256", [False, True])
def test_what_a_key_signs_only_its_public_key_verifies(tmp_path: Path, *, p256: bool) -> None:
    private, public = keypair(tmp_path, "a", p256=p256)
    _, other = keypair(tmp_path, "b", p256=p256)
    signer, key = KeyFile(private), public_key(public)
    signature = checked(signer, b"text")
    assert signer.keyid == key.keyid
    assert key.verifies(signature, b"text")
    assert not key.verifies(signature, b"texT")
    assert not key.verifies(b"", b"text")
    assert not public_key(other).verifies(signature, b"text")
    assert signer.sign(b"text") == signature  # so that publishing again changes nothing


def test_a_raw_p256_signature_is_one_too(tmp_path: Path) -> None:
    private, public = keypair(tmp_path, "a", p256=True)
    r, s = utils.decode_dss_signature(KeyFile(private).sign(b"x"))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert public_key(public).verifies(raw, b"x")
    assert not public_key(public).verifies(raw, b"y")


@pytest.mark.parametrize("form", ["raw", "base64"])
def test_a_program_signs_what_it_reads(tmp_path: Path, form: str) -> None:
    private, public = keypair(tmp_path, "a")
    (tmp_path / "sign.py").write_text(SIGNS)
    command = f"{sys.executable} {tmp_path}/sign.py {private} {form}"
    signer = CommandSigner(command, "the-key", Silent(), public_key(public))
    assert public_key(public).verifies(checked(signer, b"text"), b"text")
    wrong = CommandSigner(command, "k", Silent(), public_key(keypair(tmp_path, "b")[1]))
    with pytest.raises(SigningFailed, match="does not hold"):
        checked(wrong, b"text")


def test_a_programs_words_and_output_are_not_shown() -> None:
    heard = Heard()
    text = "import sys; print('hunter2'); print('hunter2', file=sys.stderr); sys.exit(3)"
    signer = CommandSigner(f'{sys.executable} -c "{text}" --pin=hunter2', "k", heard)
    with pytest.raises(SigningFailed) as caught:
        signer.sign(b"x")
    shown = repr((caught.value.as_json(), heard.details, heard.lines))
    assert "hunter2" not in shown
    assert "exited with code 3" in shown


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("", UsageError),
        ("'open", UsageError),
        ("/no/such/program", ToolFailed),
        (f"{sys.executable} -c ''", SigningFailed),
        (f"{sys.executable} -c \"print('x' * 9999)\"", SigningFailed),
    ],
)
def test_programs_that_do_not_sign(command: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        CommandSigner(command, "k", Silent()).sign(b"x")


def test_keys_that_are_refused(tmp_path: Path) -> None:
    private, public = keypair(tmp_path, "a")
    path = tmp_path / "bad.pem"
    secret = b"-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        PEM, form, serialization.BestAvailableEncryption(b"hunter2")
    )
    contents = {
        "no key in PEM form": secret,
        "is encrypted": locked,
        "neither an Ed25519": rsa.generate_private_key(65537, 2048).private_bytes(PEM, form, plain),
        "on P-256": ec.generate_private_key(ec.SECP384R1()).private_bytes(PEM, form, plain),
        "holds a public key": public.read_bytes(),
    }
    for reason, data in contents.items():
        path.write_bytes(data)
        with pytest.raises(SigningFailed, match=reason) as caught:
            KeyFile(path)
        assert "hunter2" not in repr(caught.value.as_json())
    with pytest.raises(SigningFailed, match="holds a private key"):
        public_key(private)
    with pytest.raises(SigningFailed, match="cannot be read"):
        public_key(tmp_path / "absent")
    assert base64.b64encode(private.read_bytes()) not in repr(vars(KeyFile(private))).encode()
