"""Keys and signatures, by cryptography: an optional part (``kvpack[sign]``), imported late.

A private key is read from its file when a statement is signed, and from nowhere else. It is not
kept, shown, or handed to a program. A command that signs elsewhere (KMS, HSM) gets what is to be
signed on standard input; neither its words nor its output are shown, since both may hold secrets.
"""

import base64
import binascii
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kvpack.errors import SigningFailed, UsageError
from kvpack.report import Reporter
from kvpack.tools import process

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PEM_LIMIT = 1 << 16
"""Bytes of a key file."""
SIGNATURE_LIMIT = 4096
"""Bytes that a command may answer with."""
COMMAND_TIMEOUT = 120
"""Seconds that a command may take: a token may have to be touched."""
P256 = "secp256r1"
_RAW_P256 = 64


class Signer(Protocol):
    """Whoever can sign. ``public`` tells what verifies it, where that is known."""

    @property
    def keyid(self) -> str: ...

    @property
    def public(self) -> "PublicKey | None": ...

    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 or ECDSA P-256 public key."""

    name: str
    """Where it is from, as the user named it."""
    keyid: str
    """sha256 of its SubjectPublicKeyInfo (DER), in hexadecimal."""
    key: "Ed25519PublicKey | EllipticCurvePublicKey"

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether this key signed ``data``."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # late
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415

        try:
            if isinstance(self.key, ec.EllipticCurvePublicKey):
                if len(signature) == _RAW_P256:  # r and s as they are: Azure, and DSSE's examples
                    half = _RAW_P256 // 2
                    numbers = (signature[:half], signature[half:])
                    signature = utils.encode_dss_signature(
                        *(int.from_bytes(number, "big") for number in numbers)
                    )
                self.key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            else:
                self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class KeyFile:
    """A private key in a PEM file."""

    def __init__(self, path: Path) -> None:
        """Read the key.

        :raises SigningFailed: if the file holds no key that kvpack signs with.
        """
        self._key = _private_key(path)
        self._public = described(self._key.public_key(), str(path))

    @property
    def keyid(self) -> str:
        return self._public.keyid

    @property
    def public(self) -> PublicKey:
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Sign; the same bytes give the same signature wherever OpenSSL can (RFC 8032, 6979)."""
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # late
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        if not isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data)
        try:
            return self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:  # OpenSSL before 3.2
            return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class CommandSigner:
    """A program that signs what it reads: a KMS, an HSM, a token.

    :param keyid: what to call its key; ``public`` checks each signature if it is given.
    """

    command: str
    keyid: str
    reporter: Reporter
    public: PublicKey | None = None

    def sign(self, data: bytes) -> bytes:
        """Run the program.

        :raises SigningFailed: if it fails, or answers with what is no signature.
        """
        option = "--sign-command"
        program, answer = _answer_of(option, self.command, data, self.reporter)
        text = b"".join(answer.split())
        try:
            found = base64.b64decode(text, validate=True)  # as it is, or in base64
        except (binascii.Error, ValueError):
            found = answer
        if not 0 < len(found) <= SIGNATURE_LIMIT:
            raise SigningFailed(
                f"{option}: {program} answered with {len(answer)} bytes, which is no signature",
                hint="it must write the signature, raw or in base64, and nothing else",
            )
        return found


@dataclass(frozen=True)
class IdentityCommand:
    """A program that signs by an identity: it gets a statement, and writes a Sigstore bundle."""

    command: str
    reporter: Reporter

    def bundle(self, statement: bytes) -> bytes:
        """Run the program.

        :raises SigningFailed: if it fails.
        """
        return _answer_of("--sign-identity-command", self.command, statement, self.reporter)[1]


def _answer_of(option: str, command: str, data: bytes, reporter: Reporter) -> tuple[str, bytes]:
    """The program of a command line, and what it answers on standard output."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{option} cannot be read: {error}") from None
    if not words:
        raise UsageError(f"{option} names no program")
    with tempfile.TemporaryDirectory(prefix="kvpack-sign-") as folder:
        output = Path(folder, "signature")
        done = process.run(
            process.Command(
                args=words, stdin=data, output_to=output, timeout=COMMAND_TIMEOUT,
                args_shown=(words[0], "…"),
            ),
            reporter,
        )  # fmt: skip
        answer = output.read_bytes()
    if done.code != 0:
        raise SigningFailed(
            f"{option}: {words[0]} exited with code {done.code}",
            cause="what it printed is not shown: it may hold secrets",
            hint="run it by hand with some bytes on standard input",
        )
    return words[0], answer


def checked(signer: Signer, data: bytes) -> bytes:
    """Sign, and make sure that the signature holds.

    :raises SigningFailed: if it does not.
    """
    signature = signer.sign(data)
    public = signer.public
    if public is not None and not public.verifies(signature, data):
        raise SigningFailed(
            f"the signature that was made does not hold for the key {public.name}",
            cause="the command signs with another key or algorithm, or signs a digest instead of "
            "the bytes that it is given",
            hint="Ed25519, or ECDSA on P-256 with SHA-256 over the bytes of standard input",
        )
    return signature


# -- reading keys ---------------------------------------------------------------------------------


def public_key(path: Path) -> PublicKey:
    """Read a public key from a PEM file.

    :raises SigningFailed: if the file holds none that kvpack knows.
    """
    from_pem = _cryptography().load_pem_public_key
    data = _pem(path)
    if b"PRIVATE KEY" in data:
        raise SigningFailed(
            f"{path} holds a private key",
            cause="whoever verifies needs the public one alone",
            hint=f"openssl pkey -in {path} -pubout",
        )
    return described(_loaded(path, lambda: from_pem(data)), str(path))


def _private_key(path: Path) -> "Ed25519PrivateKey | EllipticCurvePrivateKey":
    from_pem = _cryptography().load_pem_private_key
    data = _pem(path)
    if b"PUBLIC KEY" in data:
        raise SigningFailed(f"{path} holds a public key", hint="name the private one")
    key = _loaded(path, lambda: from_pem(data, password=None))
    described(key.public_key(), str(path))
    return key  # type: ignore[no-any-return]  # its kind was just checked


def _cryptography() -> Any:  # noqa: ANN401  # a module
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # late
    except ImportError:
        raise SigningFailed(
            "signatures need the library cryptography, which is not installed",
            cause="it is an optional part of kvpack",
            hint="pip install 'kvpack[sign]'",
        ) from None
    return serialization


def _pem(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(PEM_LIMIT)
    except OSError as error:
        raise SigningFailed(
            f"{path} cannot be read: {error.strerror}",
            hint="name a PEM file; docs/howto-provenance.md shows how to make a pair of keys",
        ) from None
    return data


def _loaded(path: Path, load: Any) -> Any:  # noqa: ANN401  # cryptography's union of key types
    """Call cryptography; what it raises may quote the file, so it is not shown."""
    try:
        return load()
    except TypeError:
        reason = "the key is encrypted; decrypt it into memory with a program: --sign-command"
    except Exception:  # noqa: BLE001  # ValueError, UnsupportedAlgorithm, and pyo3's own
        reason = "it holds no key in PEM form"
    raise SigningFailed(
        f"{path} cannot be used: {reason}",
        hint="make one with: openssl genpkey -algorithm ed25519 -out key.pem",
    ) from None


def described(key: Any, name: str) -> PublicKey:  # noqa: ANN401  # cryptography's union
    """A public key of cryptography's.

    :raises SigningFailed: if kvpack does not know its kind.
    """
    import hashlib  # noqa: PLC0415

    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: PLC0415

    known = isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == P256
    )
    if not known:
        raise SigningFailed(
            f"{name} is neither an Ed25519 key nor an ECDSA key on P-256",
            cause=f"it is a {type(key).__name__.lstrip('_')}",
            hint="make one with: openssl genpkey -algorithm ed25519 -out key.pem",
        )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_bytes(serialization.Encoding.DER, form)
    return PublicKey(name, hashlib.sha256(der).hexdigest(), key)
