"""Digests of Go modules as go.sum writes them: of the files within, whatever packed them.

Rule: golang.org/x/mod/sumdb/dirhash (``Hash1``, ``HashZip``), go.dev/ref/mod#go-sum-files.
"""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from kvpack.tools.archive import contents
from kvpack.tools.files import sha256_file
from kvpack.tools.members import Kind
from kvpack.tools.packed import opened

_NOTHING = hashlib.sha256().hexdigest()


def hash1(files: Iterable[tuple[str, str]]) -> str:
    """The digest of a tree.

    :param files: each with its sha256 in hexadecimal.
    """
    ordered = sorted(files, key=lambda one: one[0].encode(errors="surrogateescape"))
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in ordered)
    digest = hashlib.sha256(lines.encode(errors="surrogateescape")).digest()
    return f"h1:{base64.b64encode(digest).decode()}"


def hash_mod(path: Path) -> str:
    """The digest of a go.mod: of a tree that has it alone."""
    return hash1([("go.mod", sha256_file(path))])


def hash_zip(path: Path, *, name: str) -> str:
    """The digest of a module's zip.

    :param name: how messages name it.
    :raises ArchiveUnsafe: if it cannot be read, or holds what no archive may.
    """
    files = [
        (member.name, hashlib.file_digest(stream, "sha256").hexdigest())  # type: ignore[arg-type]
        for member, stream in contents(path, name=name)
    ]
    folders = [one.name for one in opened(path).members() if one.kind is Kind.FOLDER]
    return hash1([*files, *((folder, _NOTHING) for folder in folders)])
