"""Statements beside wheels: written, signed, kept while they are right.

A statement is derived each time from the action and the wheel, and compared with what lies there:
nothing is signed that was not derived here, and a signature of an older statement is dropped.
"""

import contextlib
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kvpack.errors import ToolFailed
from kvpack.publish.envelope import (
    LIMIT,
    PROVENANCE,
    STATEMENT,
    Envelope,
    Signature,
    dump,
    parse,
    parse_provenance,
    provenance,
    wrap,
)
from kvpack.publish.statement import UNNAMED, statement
from kvpack.tools.files import atomic_write, sha256_file

if TYPE_CHECKING:
    from kvpack.tools.signing import Signer

Held = Callable[[str], bytes | None]
"""Reads what was published under the wheel's name and a suffix before, if anything was."""


@dataclass(frozen=True, kw_only=True)
class Attested:
    """What lies beside a wheel now."""

    envelope: Envelope
    signed: bool
    """Whether this call made a signature."""


def beside(wheel: Path, kind: Literal["statement", "provenance"]) -> Path:
    """The file of a kind."""
    return wheel.with_name(wheel.name + (STATEMENT if kind == "statement" else PROVENANCE))


def attest(
    wheel: Path,
    action: Mapping[str, Any],
    *,
    builder: str | None = None,
    signer: "Signer | None" = None,
    held: Held = lambda _: None,
    sha256: str | None = None,
) -> Attested:
    """Make the right statement lie beside a wheel, signed if somebody signs.

    Signatures of the same statement stay, so that signing again changes nothing, and what was
    published before is taken as it is: signatures of some keys differ each time they are made.

    :param builder: who ran the build; ``None``: whoever the statement that is there names.
    :param sha256: of the wheel, where it is known; the wheel need not be there yet.
    :raises SigningFailed: if the signer cannot.
    """
    about = (wheel.name, sha256 or sha256_file(wheel))
    envelope = None
    for text in (_read(beside(wheel, "statement")), held(STATEMENT)):
        known = _right(text, action, about, builder)
        if known and (envelope is None or _signs(known, signer)):
            envelope = known
    if envelope is None:
        envelope = wrap(statement(action, about, builder or UNNAMED))
    signed = signer is not None and not _signs(envelope, signer)
    if signer is not None and signed:
        from kvpack.tools.signing import checked  # noqa: PLC0415  # most wheels are not signed

        made = Signature(signer.keyid, checked(signer, envelope.signed_bytes))
        others = [one for one in envelope.signatures if one.keyid != signer.keyid]
        envelope = replace(envelope, signatures=(*others, made))
    _write(wheel, envelope)
    return Attested(envelope=envelope, signed=signed)


def is_signed(path: Path) -> bool:
    """Whether a file is an envelope with a signature."""
    try:
        return bool(parse(_read(path) or b"").signatures)
    except ValueError:
        return False


def _read(path: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
        return stream.read(LIMIT)
    return None


def _right(
    text: bytes | None, action: Mapping[str, Any], about: tuple[str, str], builder: str | None
) -> Envelope | None:
    """The envelope of a text, if it says exactly what is so."""
    try:
        envelope = parse(text or b"")
        said = envelope.statement
        named = str(said["predicate"]["runDetails"]["builder"]["id"])
    except (ValueError, KeyError, TypeError):
        return None
    wanted = wrap(statement(action, about, named))
    return envelope if envelope.payload == wanted.payload and builder in {None, named} else None


def _signs(envelope: Envelope, signer: "Signer | None") -> bool:
    """Whether a signer's signature is there, and holds where that can be told."""
    if signer is None:
        return False
    made = [one.sig for one in envelope.signatures if one.keyid == signer.keyid]
    public = signer.public
    return any(public is None or public.verifies(sig, envelope.signed_bytes) for sig in made)


def _write(wheel: Path, envelope: Envelope) -> None:
    """Replace what differs; the provenance object of another tool is left alone."""
    _replace(beside(wheel, "statement"), dump(envelope))
    target = beside(wheel, "provenance")
    ours, others = None, 0
    there = _read(target)
    if there is not None:
        with contextlib.suppress(ValueError):
            ours, others = parse_provenance(there)
    if others:
        return
    if envelope.signatures:
        builder = envelope.statement["predicate"]["runDetails"]["builder"]["id"]
        _replace(target, provenance(envelope, builder))
    elif ours is not None:
        target.unlink()


def _replace(path: Path, data: bytes) -> None:
    if _read(path) != data:
        with atomic_write(path) as stream:
            stream.write(data)


# -- what a wheel says of itself ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """``*.dist-info/kvpack/``: what made the wheel, as its build was ordered to say."""

    action: bytes
    key: str
    lock_digest: str
    bill: bytes
    """``*.dist-info/sboms/kvpack.cdx.json``; empty if there is none."""

    @property
    def document(self) -> dict[str, Any]:
        """The action document; empty if it is none."""
        try:
            found = json.loads(self.action)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError)


def embedded(wheel: Path) -> Embedded | None:
    """Read what a wheel carries about its build; ``None`` if it carries nothing of the kind.

    :raises ToolFailed: if it is no wheel that can be read.
    """
    import zlib  # noqa: PLC0415  # for its error alone

    try:
        with zipfile.ZipFile(wheel) as archive:
            names = {
                match[1]: match[0]
                for name in archive.namelist()
                if (match := re.fullmatch(r"[^/]+\.dist-info/(?:kvpack|sboms)/([a-z.-]+)", name))
            }
            if not {"action.json", "key", "lock-digest"} <= names.keys():
                return None

            def text(name: str) -> bytes:
                if archive.getinfo(names[name]).file_size > LIMIT:
                    raise ValueError(f"{names[name]} is too long to be read")
                return archive.read(names[name])

            return Embedded(
                action=text("action.json"),
                key=text("key").decode(errors="replace").strip(),
                lock_digest=text("lock-digest").decode(errors="replace").strip(),
                bill=text("kvpack.cdx.json") if "kvpack.cdx.json" in names else b"",
            )
    except (*_DAMAGE, zlib.error) as error:
        raise ToolFailed(f"{wheel} cannot be read as a wheel: {error}") from None
