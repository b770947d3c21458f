"""RECORD: the wheel's own list of its members with their digests (PEP 376, 427)."""

import base64
import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kvpack.audit.archive import Content
from kvpack.errors import Fault

_STRONG = frozenset({"sha256", "sha384", "sha512"})
"""PEP 427: "sha256 or better; md5, sha1 and sha224 are not permitted"."""
_COLUMNS = 3
DEFAULT = "sha256"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What RECORD says of one member."""

    algorithm: str = ""
    digest: bytes = b""
    size: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """RECORD as read, with its own faults (place: member path, without the wheel)."""

    lines: Mapping[str, Line]
    faults: list[tuple[str, str]] = field(default_factory=list)

    def algorithm(self, path: str) -> str:
        """Name the hash to compute for a member."""
        line = self.lines.get(path)
        return line.algorithm if line and line.algorithm else DEFAULT


def exempt(place: str) -> frozenset[str]:
    """Members that RECORD cannot vouch for: itself and its signatures (PEP 427)."""
    return frozenset({place, f"{place}.jws", f"{place}.p7s"})


def parse(data: bytes, place: str) -> Record:
    """Read RECORD; lines that cannot be understood are faults, the rest is kept.

    :param place: member path of RECORD.
    """
    lines: dict[str, Line] = {}
    faults: list[tuple[str, str]] = []
    try:
        rows = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        return Record(lines={}, faults=[(place, f"not UTF-8 text in CSV form: {error}")])
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        if len(row) != _COLUMNS:
            faults.append((place, f"line {number} has {len(row)} columns, not 3: {row}"))
            continue
        path = row[0]
        if path in lines:
            faults.append((path, f"listed twice in RECORD (again in line {number})"))
            continue
        try:
            lines[path] = _line(row[1], row[2], vouched=path not in exempt(place))
        except ValueError as error:
            faults.append((path, f"RECORD, line {number}: {error}"))
            lines[path] = Line()
    return Record(lines=lines, faults=faults)


def _line(digest: str, size: str, *, vouched: bool) -> Line:
    if size and not (size.isascii() and size.isdecimal()):
        raise ValueError(f"the size {size!r} is no number")
    count = int(size) if size else None
    if not digest:
        if vouched:
            raise ValueError("no hash, so nothing vouches for the member")
        return Line(size=count)
    algorithm, _, text = digest.partition("=")
    if algorithm not in _STRONG:
        raise ValueError(f"the hash {algorithm!r} is not one of {', '.join(sorted(_STRONG))}")
    try:
        # PEP 427: urlsafe base64 without padding.
        value = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        value = b""
    if len(value) != hashlib.new(algorithm).digest_size:
        raise ValueError(f"{digest!r} is no {algorithm} digest in urlsafe base64")
    return Line(algorithm=algorithm, digest=value, size=count)


def compare(
    record: Record, contents: Mapping[str, Content], *, place: str, wheel: str
) -> Iterator[Fault]:
    """Every way in which RECORD and the members disagree.

    :param contents: what was read, per member path; folders are left out.
    """
    for path, message in record.faults:
        yield Fault(place=f"{wheel}: {path}", message=message, hint=_HINT)
    for path in sorted(contents.keys() - record.lines.keys() - exempt(place)):
        yield Fault(place=f"{wheel}: {path}", message="not listed in RECORD", hint=_HINT)
    for path, line in record.lines.items():
        if path in exempt(place):
            continue
        content = contents.get(path)
        message = "listed in RECORD, but not in the wheel" if content is None else ""
        if content is not None:
            message = "; ".join(_differences(line, content))
        if message:
            yield Fault(place=f"{wheel}: {path}", message=message, hint=_HINT)


_HINT = "the wheel was changed after RECORD was written: fetch it again, or pack it anew"


def _differences(line: Line, content: Content) -> Iterator[str]:
    if line.size is not None and line.size != content.size:
        yield f"{content.size} bytes, RECORD says {line.size}"
    if line.digest and line.digest != content.digest:
        yield (
            f"{line.algorithm} is {content.digest.hex()[:16]}..., "
            f"RECORD says {line.digest.hex()[:16]}..."
        )
