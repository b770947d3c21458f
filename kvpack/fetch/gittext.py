"""What a commit changed, as a canonical patch text; and a patch, hunk by hunk. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from kvpack.errors import Fault, PatchFailed


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """One hunk of a patch with its file's header: a patch of its own."""

    file: str
    number: int
    """Of the file's hunks, from 1; 0: the file is created, removed, or only its mode changes."""
    text: bytes

    @property
    def place(self) -> str:
        return f"{self.file}, hunk {self.number}" if self.number else self.file


def canonical_change(diff: bytes, commit: str, label: str) -> bytes:
    """The text of a change under its commit's name.

    The words behind ``@@ … @@`` go: they guess at a function's name, as each version of git does.

    :raises PatchFailed: if it changes nothing, or something that a patch cannot say.
    """
    faults = [
        Fault(place=file, message=message)
        for file, block in files_of(diff)
        for message in _unsayable(block)
    ]
    if faults or not diff.strip():
        raise PatchFailed(
            f"{label}: commit {commit} is no change that a patch can be",
            cause="" if faults else "it changes nothing against its first parent",
            hint="write the change as a file in patches/",
            faults=faults,
        )
    text = re.sub(rb"(?m)^(@@ -[0-9,]+ \+[0-9,]+ @@).*$", rb"\1", diff)
    return f"From {commit}\n\n".encode() + text


def _unsayable(block: bytes) -> Iterator[str]:
    head = block.partition(b"\n@@ ")[0]
    if re.search(rb"^(GIT binary patch|Binary files )", head, re.MULTILINE):
        yield "a binary file changes"
    if re.search(rb"^(index .* |new file mode |deleted file mode )160000$", head, re.MULTILINE):
        yield "a submodule moves to another commit"


def files_of(patch: bytes) -> Iterator[tuple[str, bytes]]:
    """The parts of a patch: the file that each is about, and its text with header and hunks."""
    lines = patch.splitlines(keepends=True)
    for start, end in pairwise([*_starts(lines), len(lines)]):
        block = b"".join(lines[start:end])
        yield _name(block), block


_EXTENDED = (
    rb"(index|old mode|new mode|new file mode|deleted file mode|similarity|dissimilarity|rename"
    rb"|copy|Binary files|GIT binary patch)\b"
)
"""How the lines between ``diff --git`` and ``---`` start (git-diff(1), "extended header lines")."""


def _starts(lines: list[bytes]) -> Iterator[int]:
    """Where a file begins: at ``diff --git``, else at ``---`` before ``+++``; never in a hunk."""
    left = [0, 0]
    headed = False
    for number, line in enumerate(lines):
        if left[0] > 0 or left[1] > 0:
            left[0] -= line[:1] in b"- \n"
            left[1] -= line[:1] in b"+ \n"
        elif found := re.match(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line):
            left = [int(found[1] or 1), int(found[2] or 1)]
        elif line.startswith(b"diff --git "):
            headed = True
            yield number
        elif (
            line.startswith(b"--- ")
            and lines[number + 1 : number + 2]
            and (lines[number + 1].startswith(b"+++ "))
        ):
            if not headed:
                yield number
            headed = False
        elif not re.match(_EXTENDED, line):
            headed = False


def _name(block: bytes) -> str:
    """The file's path: of the new side, unless it is removed; the first folder is stripped."""
    new = re.search(rb"^\+\+\+ ([^\t\r\n]+)", block, re.MULTILINE)
    old = re.search(rb"^--- ([^\t\r\n]+)", block, re.MULTILINE)
    git = re.match(rb"diff --git (\S+) (\S+)", block)
    names = [one[1] for one in (new, old) if one] + ([git[2]] if git else [])
    name = next((one for one in names if one != b"/dev/null"), b"?")
    return name.decode(errors="replace").partition("/")[2] or name.decode(errors="replace")


def hunks_of(patch: bytes) -> list[Hunk]:
    """Every hunk as a patch of its own; a file without hunks is one."""
    found = []
    for file, block in files_of(patch):
        head, *rest = re.split(rb"(?m)^(?=@@ -\d)", block)
        whole = re.search(rb"^(new file mode|deleted file mode|--- /dev/null|\+\+\+ /dev/null)",
                          head, re.MULTILINE)  # fmt: skip
        if whole or not rest:
            found.append(Hunk(file=file, number=0, text=block))
            continue
        found += [Hunk(file=file, number=n, text=head + hunk) for n, hunk in enumerate(rest, 1)]
    return found
