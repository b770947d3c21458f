"""What a proof must know of one wheel, each thing read once and remembered in the store."""

import functools
import hashlib
import re
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from kvpack.audit.model import ElfFile, WheelFacts
from kvpack.audit.rules import rules_digest as _rules_digest
from kvpack.base import Value
from kvpack.cli.indexes import Indexes
from kvpack.cli.pins import Pin
from kvpack.errors import DigestMismatch, Fault, UsageError, WheelInvalid
from kvpack.fetch.unlocked import fetch_unlocked
from kvpack.names import Sha256
from kvpack.resolve.libraries import Libraries
from kvpack.resolve.model import Claims
from kvpack.resolve.ranged import claims_of_file, claims_of_url
from kvpack.tools.files import sha256_file, sha256_of
from kvpack.tools.records import Kind
from kvpack.tools.store import Store
from kvpack.tools.web import redact

_LIBRARY = re.compile(r"\.so(\.[0-9]+)*$")
_Model = TypeVar("_Model", bound=Value)


@dataclass(frozen=True, kw_only=True)
class Read:
    """One wheel of the set."""

    pin: Pin
    claims: Claims
    elf: tuple[ElfFile, ...] = ()
    fetched: int = 0
    """Bytes that came now, if it was fetched whole."""


def recall(store: Store, kind: Kind, name: str, model: type[_Model]) -> _Model | None:
    """A remembered value; ``None`` if there is none, or one that cannot be read."""
    record = store.read_record(kind, name)
    try:
        return None if record is None else model.model_validate(record)
    except ValidationError:
        return None


rules_digest = functools.cache(_rules_digest)


@functools.cache
def rules() -> Sha256:
    """Digest of the code and data of the proof: what was remembered under another one is void."""
    digest = hashlib.sha256()
    for entry in sorted(resources.files("kvpack.resolve").iterdir(), key=lambda one: one.name):
        if entry.name.endswith((".py", ".toml")):
            digest.update(f"{entry.name}\0".encode() + entry.read_bytes())
    return Sha256(digest.hexdigest())


@dataclass(frozen=True)
class Reader:
    """Reads wheels for one proof."""

    indexes: Indexes
    libraries: Libraries | None
    """Which libraries are known by name; ``None``: paths alone are asked for."""

    @property
    def _store(self) -> Store:
        return self.indexes.context.store

    def read(self, pin: Pin) -> Read:
        """What a wheel claims and, where libraries are asked for, its ELF files.

        A wheel made for a platform is fetched whole then; one for any platform if RECORD lists
        libraries; one whose libraries are known by name, never.

        :raises FetchFailed: if a server does not answer.
        :raises DigestMismatch: if a wheel has other bytes than its index or its pin says.
        :raises WheelInvalid: if it is no wheel.
        """
        if self._is_native(pin):
            return self._whole(pin)
        claims = self._claims(pin)
        if self._may_be_whole(pin) and any(_LIBRARY.search(claim.path) for claim in claims.claims):
            return self._whole(pin)
        return Read(pin=pin, claims=claims)

    def is_far(self, pin: Pin) -> bool:
        """Whether something of a wheel must come from elsewhere."""
        if self._near(pin) is not None:
            return False
        paths = [[self._store.record_path("claims", name) for name in _claims_names(pin)]]
        if self._is_native(pin):
            paths.append([self._store.record_path("facts", _facts_name(pin))])
        return not all(any(path.is_file() for path in either) for either in paths)

    def _may_be_whole(self, pin: Pin) -> bool:
        return self.libraries is not None and not self.libraries.known_by_name(pin.name)

    def _is_native(self, pin: Pin) -> bool:
        """Whether a wheel's tag says that it holds ELF files, and they are wanted."""
        return self._may_be_whole(pin) and not pin.filename.endswith("-any.whl")

    def _near(self, pin: Pin) -> Path | None:
        """The wheel's file on this machine, not verified."""
        if pin.path is not None:
            return pin.path
        return self._store.blob_path(pin.sha256) if self._holds(pin) else None

    def _holds(self, pin: Pin) -> bool:
        return bool(pin.sha256) and self._store.has(pin.sha256)

    def _claims(self, pin: Pin) -> Claims:
        """By range requests, unless the wheel is here. What was not verified counts for its URL."""
        path = self._here(pin)
        if path is not None and not pin.sha256:
            return _claims_of(path, pin)
        verified, as_served = _claims_names(pin)
        for name in (verified, as_served) if path is None else (verified,):
            known = recall(self._store, "claims", name, Claims) if pin.sha256 else None
            if known is not None:
                return known.model_copy(update={"read": 0})
        if path is not None:
            claims = _claims_of(path, pin)
        else:
            web = self.indexes.web(pin.url)
            claims = claims_of_url(web, pin.url, (pin.name, pin.version))
        if pin.sha256:
            name = verified if path is not None else as_served
            self._store.write_record("claims", name, claims.as_json())
        return claims

    def _here(self, pin: Pin) -> Path | None:
        """The wheel's verified file on this machine, if it is there."""
        path = pin.path
        if path is not None and pin.sha256 and (found := _digest(path)) != pin.sha256:
            raise DigestMismatch(
                f"{path} has sha256 {found}, expected {pin.sha256}",
                cause="the file was changed, or what names its digest is about another file",
                hint="fetch or build it again, or correct the digest",
                faults=[Fault(place=pin.brought_by or str(path), message="names that digest")],
            )
        return self._near(pin)

    def _whole(self, pin: Pin) -> Read:
        fetched = 0
        path = self._here(pin)
        if path is None:
            known = self._remembered(pin)
            if known is not None:
                return known
            got = fetch_unlocked(
                pin.url,
                store=self._store,
                web=self.indexes.web(pin.url),
                sha256=pin.sha256 or None,
            )
            path, fetched = self._store.blob_path(got.sha256), got.size
            pin = replace(pin, sha256=got.sha256)
        pin = pin if pin.sha256 else replace(pin, sha256=_digest(path))
        facts = recall(self._store, "facts", _facts_name(pin), WheelFacts)
        if facts is None:
            facts = self._inspect(pin, path)
            self._store.write_record("facts", _facts_name(pin), facts.as_json())
        return Read(pin=pin, claims=self._claims(pin), elf=facts.elf, fetched=fetched)

    def _remembered(self, pin: Pin) -> Read | None:
        """A wheel that was fetched once and has left the store since."""
        if not pin.sha256:
            return None
        claims = recall(self._store, "claims", _claims_names(pin)[0], Claims)
        facts = recall(self._store, "facts", _facts_name(pin), WheelFacts)
        if claims is None or facts is None:
            return None
        return Read(pin=pin, claims=claims.model_copy(update={"read": 0}), elf=facts.elf)

    def _inspect(self, pin: Pin, path: Path) -> WheelFacts:
        """The facts of a wheel; a blob has no wheel's name, so it gets one for a moment."""
        from kvpack.audit.wheel import inspect_wheel

        with self._store.scratch("proof") as folder:
            link = folder / pin.filename
            link.symlink_to(path.absolute())
            facts, faults = inspect_wheel(link)
        if facts is None:
            raise WheelInvalid(
                f"{pin.filename} is not a wheel that can be judged",
                cause="it is damaged, or another kind of file",
                hint="kvpack audit names every fault of a wheel file",
                faults=faults,
            )
        return facts


def _claims_names(pin: Pin) -> tuple[str, str]:
    """Under which claims are remembered: of verified bytes, and of what one address served.

    RECORD that was read by ranges proves nothing about the digest that an index gives the wheel.
    """
    verified = f"{pin.sha256}-{rules()[:16]}"
    return verified, f"{verified}-{sha256_of(pin.url.encode())[:8]}"


def _facts_name(pin: Pin) -> str:
    return f"{pin.sha256}-{rules_digest()[:16]}"


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except FileNotFoundError:
        raise _absent(path) from None


def _claims_of(path: Path, pin: Pin) -> Claims:
    try:
        with path.open("rb") as stream:
            named, size = (pin.name, pin.version), path.stat().st_size
            return claims_of_file(stream, named, redact(pin.url), size=size)
    except FileNotFoundError:
        raise _absent(path) from None


def _absent(path: Path) -> UsageError:
    return UsageError(f"there is no file {path}", hint="kvpack conflicts --help")
