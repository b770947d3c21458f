"""Certificates of keyless signatures (Fulcio's): whom they name, and what their key signed.

Nothing is said here about whether a certificate is true: that takes its authority's root, and the
log that shows when it was used.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvpack.errors import SigningFailed
from kvpack.tools.signing import PublicKey, described

if TYPE_CHECKING:
    from cryptography import x509

ISSUERS = ("1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1")
"""Fulcio's extensions that name who vouched for the identity (fulcio, ``docs/oid-info.md``)."""
_UTF8, _LONG = 0x0C, 0x80
"""DER: the tag of a UTF8String, and the bit of a length that takes several bytes."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says; whether it is true is not known."""

    der: bytes
    identities: tuple[str, ...]
    """E-mail addresses and URIs: whose key it is."""
    issuer: str
    """Who vouched for that, such as a CI system; empty if it does not say."""
    key: PublicKey


def certificate(der: bytes) -> Certificate:
    """Read a certificate.

    :raises ValueError: if it is none; with the reason, in words for people.
    :raises SigningFailed: if it cannot be told: no library, or a kind of key that is not known.
    """
    try:
        from cryptography import x509  # noqa: PLC0415  # late
    except ImportError:
        raise SigningFailed(
            "certificates need the library cryptography, which is not installed",
            hint="pip install 'kvpack[sign]'",
        ) from None
    try:
        found = x509.load_der_x509_certificate(der)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        key = described(found.public_key(), "the certificate's key")
    except SigningFailed:
        raise
    except x509.ExtensionNotFound:
        raise ValueError("its certificate names nobody") from None
    except Exception as error:  # noqa: BLE001  # ValueError, UnsupportedAlgorithm, and pyo3's own
        raise ValueError(f"its certificate cannot be read: {error}") from None
    identities = [
        *names.get_values_for_type(x509.RFC822Name),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
    ]
    return Certificate(der, tuple(identities), _issuer(found), key)


def _issuer(found: "x509.Certificate") -> str:
    from cryptography import x509  # noqa: PLC0415

    known = {
        one.oid.dotted_string: one.value.value
        for one in found.extensions
        if isinstance(one.value, x509.UnrecognizedExtension)
    }
    for oid in ISSUERS:
        if oid in known:
            return _text(known[oid])
    return ""


def _text(value: bytes) -> str:
    """A DER UTF8String, or, as in the older extension, the bytes themselves."""
    if len(value) > 1 and value[0] == _UTF8:
        size = value[1] & ~_LONG if value[1] & _LONG else 0
        value = value[2 + size :]
    return value.decode(errors="replace")
