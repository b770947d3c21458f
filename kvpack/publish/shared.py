"""Results of builds in object storage, by action key: what one machine built, others need not.

::

    shared/actions/<key>.json               a Result: what the key gave, and of a wheel its audit
    shared/blobs/sha256/ab/<digest>         the wheel, or the tar of the native library

Both are create-only: of two machines that build one key at once, the first writer wins. What is
read is never believed: bytes by their digest, the wheel by the action inside it, a library's tar by
its one form (``kvpack/build/library.py``), with nothing outside of its prefix. Whoever may write
there can still put a result with a true action and false code, unless readers demand a signature:
a record may carry a DSSE envelope, whose statement names the file and the digest of all the rest.
"""

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from kvpack.base import Sha256, Text, Value
from kvpack.build.model import BuildPlan
from kvpack.errors import ToolFailed
from kvpack.publish.attest import embedded
from kvpack.publish.envelope import Envelope, Signature, dump, parse, strict_object, wrap
from kvpack.publish.model import Document, Stored
from kvpack.publish.statement import STATEMENT_TYPE
from kvpack.publish.storage import THREADS, compare, immutable, stored
from kvpack.tools.files import canonical_json, sha256_of
from kvpack.tools.stored import Changed, Exists, Missing, Objects, Version

if TYPE_CHECKING:
    from kvpack.tools.signing import PublicKey, Signer

ACTIONS = "shared/actions/"
PREDICATE_TYPE = "urn:kvpack:shared-result:1"
"""Another one than provenance has: no signature of the one is a signature of the other."""
LIMIT = 16 << 20
"""Bytes of a result."""


class Poisoned(Exception):
    """A shared result cannot be used; why."""


class Verdict(Value):
    """What the audit said where the wheel was built."""

    name: Text
    """Under which rules: a verdict of other rules says nothing here."""
    report: dict[str, Any]


class Result(Document):
    """What a key gave."""

    result_schema: Literal[1, 2] = Field(default=1, alias="schema")
    """1: of a wheel. 2: of a native library, which has no audit of its own."""
    key: Sha256
    file: Text
    sha256: Sha256
    size: int = Field(gt=0)
    """Bytes."""
    seconds: float
    """How long the build took."""
    made: int
    """When it was built, seconds since 1970, by the clock of whoever built it."""
    root: str | None = None
    builder: str | None = None
    """Whom provenance names as the builder."""
    verdict: Verdict | None = None
    envelope: Text | None = None
    """A DSSE envelope: who says so. Its statement is a function of all the rest."""

    @model_validator(mode="after")
    def _is_judged(self) -> Self:
        if (self.verdict is None) != (self.result_schema == 2):  # noqa: PLR2004
            raise ValueError("schema 1 is of a wheel, with a verdict; 2 of a library, with none")
        return self

    @property
    def kind(self) -> str:
        """In messages."""
        return "wheel" if self.result_schema == 1 else "library"


def action_path(key: str) -> str:
    return f"{ACTIONS}{key}.json"


def blob_path(digest: str) -> str:
    return f"shared/blobs/sha256/{digest[:2]}/{digest}"


def known_keys(objects: Objects) -> set[str]:
    """All keys that have a result."""
    found = (stat.key.removeprefix(ACTIONS) for stat in objects.list(ACTIONS))
    return {name.removesuffix(".json") for name in found}


# -- taking ---------------------------------------------------------------------------------------


def read(data: bytes, plan: BuildPlan) -> Result:
    """Read a result and hold it to the plan that it is to be used for.

    :raises Poisoned: if it is not one of this key.
    """
    try:
        if len(data) > LIMIT:
            raise Poisoned(f"its record has {len(data)} bytes")
        found = Result.model_validate(strict_object(data, "its record"))
    except (ValidationError, ValueError) as error:
        raise Poisoned(f"its record cannot be read: {str(error).splitlines()[0]}") from None
    if found.key != plan.key:
        raise Poisoned(f"its record is that of the key {found.key[:12]}")
    kind = "wheel" if plan.recipe.library is None else "library"
    if found.kind != kind or not re.fullmatch(_name_of(plan), found.file):
        raise Poisoned(f"its record names {found.file!r}, which is no {kind} of this target")
    return found


def _name_of(plan: BuildPlan) -> str:
    """Which file a plan gives, as a regular expression."""
    if plan.recipe.library is not None:
        return re.escape(plan.tar)
    name = re.escape(f"{re.sub(r'[-_.]+', '_', plan.distribution).lower()}-{plan.version}")
    return rf"{name}-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+-[A-Za-z0-9_.]+\.whl"


def download(objects: Objects, result: Result, target: Path) -> None:
    """Write the result's bytes, no more of them than the record says.

    :raises Poisoned: if they are not those of the record.
    :raises StorageFailed: if the storage does not answer to the end.
    """
    digest, size, kind = hashlib.sha256(), 0, result.kind
    try:
        with target.open("wb") as stream:
            for chunk in objects.chunks(blob_path(result.sha256)):
                size += len(chunk)
                if size > result.size:
                    break
                digest.update(chunk)
                stream.write(chunk)
    except Missing:
        raise Poisoned(f"its {kind} is not there") from None
    if size != result.size:
        count = f"more than {result.size}" if size > result.size else str(size)
        raise Poisoned(f"its {kind} has {count} bytes, its record says {result.size}")
    if digest.hexdigest() != result.sha256:
        raise Poisoned(
            f"its {kind} has the sha256 {digest.hexdigest()[:16]}…, not that of its name"
        )


def check_wheel(wheel: Path, plan: BuildPlan, bill: bytes) -> None:
    """Hold the evidence inside a wheel to what its build was ordered to put there, byte for byte.

    :param bill: the bill of materials that the plan gives.
    :raises Poisoned: if it was made by another action, or by none.
    """
    try:
        inside = embedded(wheel)
    except ToolFailed as error:
        raise Poisoned(error.what) from None
    if inside is None:
        raise Poisoned("its wheel carries no action")
    if inside.action != canonical_json(plan.action) or inside.key != plan.key:
        raise Poisoned(f"its wheel was made for the key {sha256_of(inside.action)[:12]}")
    if inside.lock_digest != f"sha256:{sha256_of(canonical_json(plan.action['lock']))}":
        raise Poisoned("its wheel names another lock")
    if inside.bill != bill:
        raise Poisoned("its wheel has another bill of materials")


# -- signatures -----------------------------------------------------------------------------------


def _statement(result: Result) -> Envelope:
    """What is signed: the wheel, and the digest of the whole record without its envelope."""
    record = result.model_copy(update={"envelope": None}).digest()
    return wrap(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": result.file, "digest": {"sha256": result.sha256}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {"action-key": result.key, "record": {"sha256": record}},
        }
    )


def signed(result: Result, signer: "Signer") -> Result:
    """The result with a signature.

    :raises SigningFailed: if the signer cannot.
    """
    from kvpack.tools.signing import checked  # noqa: PLC0415  # most results are not signed

    said = _statement(result)
    made = Signature(signer.keyid, checked(signer, said.signed_bytes))
    text = dump(Envelope(said.payload, (made,))).decode().strip()
    return result.model_copy(update={"envelope": text})


def check_signature(result: Result, keys: "Sequence[PublicKey]") -> None:
    """Hold a result to the keys of which one must have signed it.

    :raises Poisoned: if none has.
    """
    if result.envelope is None:
        raise Poisoned("its record is unsigned, and a signature is demanded")
    try:
        envelope = parse(result.envelope.encode())
    except ValueError as error:
        raise Poisoned(f"its signature cannot be read: {error}") from None
    if envelope.payload != _statement(result).payload:
        raise Poisoned("its signature is that of another record")
    body = envelope.signed_bytes
    if not any(key.verifies(one.sig, body) for key in keys for one in envelope.signatures):
        named = ", ".join(sorted({one.keyid[:16] or "no name" for one in envelope.signatures}))
        raise Poisoned(
            f"no demanded key signed its record; those that are there name {named or 'none'}"
        )


def signed_keys(objects: Objects, known: set[str], keys: "Sequence[PublicKey]") -> set[str]:
    """Those of these action keys whose record one of the public keys signed."""

    def signed_by(key: str) -> bool:
        found = objects.get(action_path(key))
        try:
            result = Result.model_validate(strict_object(found.data if found else b"", "it"))
            check_signature(result, keys)
        except (Poisoned, ValueError):
            return False
        return result.key == key

    names = sorted(known)
    with ThreadPoolExecutor(THREADS) as pool:
        return {key for key, yes in zip(names, pool.map(signed_by, names), strict=True) if yes}


# -- giving ---------------------------------------------------------------------------------------


def give(
    objects: Objects, result: Result, wheel: Path, *, instead_of: Version | None = None
) -> bool:
    """Write a result, the wheel before the record that promises it.

    :param objects: a storage whose conditions hold (``storage.guarded``).
    :param instead_of: the version of a record that was found to be poisoned.
    :returns: whether the record is this one; else another machine was first.
    """
    _put_blob(objects, stored(blob_path(result.sha256), wheel), wheel)
    path, data = action_path(result.key), result.text()
    try:
        if instead_of is None:
            objects.create(path, data, immutable(path))
        else:
            objects.swap(path, data, immutable(path), instead_of)
    except (Exists, Changed):
        found = objects.get(path)  # perhaps an earlier try of one's own, whose answer was lost
        return found is not None and found.data == data
    return True


def _put_blob(objects: Objects, wanted: Stored, wheel: Path) -> None:
    """Make the bytes be there; what is there under their digest but is not them, is replaced."""
    for _ in range(3):
        wrong, stat = compare(objects, wanted)
        if wrong is None:
            return
        try:
            if stat is None:
                objects.create(wanted.path, wheel, immutable(wanted.path))
            else:
                objects.swap(wanted.path, wheel, immutable(wanted.path), stat.version)
        except (Exists, Changed):
            continue
