"""Object storage as a port: what it must do, the values and the signals that it answers with."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from kvpack.errors import StorageFailed

Data = bytes | Path
"""What is written: bytes, or the content of a file."""


@dataclass(frozen=True, slots=True)
class Headers:
    """What a static host answers with, kept as attributes of the object."""

    kind: str
    """Content-Type."""
    cache: str
    """Cache-Control."""


@dataclass(frozen=True, slots=True)
class Version:
    """Which content an object has: only compared, never read."""

    etag: str | None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Stat:
    key: str
    size: int
    """Bytes."""
    version: Version
    modified: datetime
    """By the storage's own clock."""

    @property
    def md5(self) -> str | None:
        """The MD5 that the storage answers, if its ETag has the form of one (S3, plain PUT)."""
        etag = (self.version.etag or "").strip('"')
        return etag if len(etag) == MD5_DIGITS and set(etag) <= set("0123456789abcdef") else None


MD5_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Found:
    data: bytes
    stat: Stat


class Exists(Exception):
    """The object is there already."""


class Changed(Exception):
    """The object is not the version that was read."""


class Objects(Protocol):
    """The port through which releases are stored. Used from several threads.

    :raises StorageFailed: from every method, when tries and time are used up.
    """

    @property
    def name(self) -> str:
        """The URL as people know it, without credentials."""
        ...

    def create(self, key: str, data: Data, headers: Headers) -> None:
        """Write an object that must not exist.

        :raises Exists: if it does, perhaps from an earlier try of this call.
        """
        ...

    def swap(self, key: str, data: Data, headers: Headers, version: Version) -> None:
        """Replace exactly the version that was read.

        :raises Changed: if it is another one now, perhaps from an earlier try of this call.
        """
        ...

    def overwrite(self, key: str, data: Data, headers: Headers) -> None:
        """Write without a condition: only for storages without any, with a single writer."""
        ...

    def get(self, key: str) -> Found | None:
        """Read a whole small object, or say that there is none."""
        ...

    def start(self, key: str, size: int) -> Found | None:
        """Read the first bytes of an object; its ``stat`` is that of the whole."""
        ...

    def chunks(self, key: str) -> Iterator[bytes]:
        """Read an object piece by piece, from its beginning.

        :raises StorageFailed: also when it is cut half-way: begin again.
        """
        ...

    def range(self, key: str, start: int, stop: int) -> bytes:
        """Read the bytes from ``start`` up to ``stop``."""
        ...

    def head(self, key: str) -> Stat | None: ...

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """All objects below a prefix that ends with ``/``, or all."""
        ...

    def delete(self, key: str) -> None:
        """Remove a probe. Nothing that was published is ever removed."""
        ...


class Missing(StorageFailed):
    """An object that was to be read is not there: raised where absence is no answer."""


@dataclass(frozen=True, slots=True)
class _Cause:
    pattern: str
    cause: str
    hint: str
    final: bool = True
    """Whether asking again is of no use."""


_ON = "run the same command again: it goes on where this one stopped"
_CAUSES = (
    _Cause(
        r"NoSuchBucket|ContainerNotFound|bucket does not exist",
        "there is no such bucket",
        "make the bucket, or correct the URL",
    ),
    # S3, Azure (shared key) and Google (a service account's JWT); before 403: it is no matter of
    # rights. S3 accepts 15 minutes.
    _Cause(
        r"RequestTimeTooSkewed|Request date header too old|check your iat and exp",
        "the clock of this machine is too far from the storage's",
        f"set the clock (timedatectl set-ntp true; date -u), then {_ON}",
    ),
    _Cause(
        r"ExpiredToken|RequestExpired|token.{0,20}expired|not valid in the specified time frame",
        "the credentials have expired",
        f"renew them, then {_ON}",
    ),
    _Cause(
        r"\b40[13] |InvalidToken|PermissionDenied|Unauthenticated|credential",
        "the credentials of the environment or of ~/.aws were not accepted, or there are none",
        "check AWS_PROFILE or AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_…",
        final=False,  # also what a machine's role answers with while its service is starting
    ),
    _Cause(
        r"BadScheme",
        "its endpoint is http://, which sends what it carries in the clear",
        "set AWS_ALLOW_HTTP=true if that is meant",
    ),
)
_AGAIN = "check the endpoint and the network, then run the same command again: nothing is lost"


def explained(text: str) -> tuple[str, str]:
    """The cause and the next step that an error of obstore stands for, without credentials."""
    if known := _known(text):
        return known.cause + _clocks(text), known.hint
    first = re.sub(r"\s+", " ", _plain(text.partition("Debug source")[0]))
    shown = re.sub(r"(?i)((?:sig|X-Amz-[\w-]+|token)=)[^&\s]+", r"\1***", first)
    return shown[:300].strip(), _AGAIN


def is_final(text: str) -> bool:
    """Whether the same request will be refused again."""
    known = _known(text)
    return known is not None and known.final


def is_mute(text: str) -> bool:
    """Whether a refusal says nothing of its reason: the answer to HEAD has no body."""
    return re.search(r"performing HEAD \S+ in \S+ .{0,60}\b40[013] ", text) is not None


def _known(text: str) -> _Cause | None:
    found = (one for one in _CAUSES if re.search(one.pattern, text, re.IGNORECASE))
    return next(found, None)


def _clocks(text: str) -> str:
    """Both clocks, where S3 tells them."""
    ours = re.search(r"<RequestTime>([\w :,+-]{1,40})</RequestTime>", text)
    theirs = re.search(r"<ServerTime>([\w :,+-]{1,40})</ServerTime>", text)
    return f": {ours[1]} here, {theirs[1]} there" if ours and theirs else ""


def _plain(text: str) -> str:
    """Of an error document no more than its code and message: S3 repeats tokens and keys in it."""
    head, mark, body = text.partition("<?xml" if "<?xml" in text else "<Error>")
    said = re.findall(r"<(?:Code|Message)>([^<]*)<", body)
    return f"{head}{': '.join(said)}" if mark else text
