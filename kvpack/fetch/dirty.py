"""A working tree as it is, committed or not, as a canonical tar. What git ignores is left out."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from kvpack.errors import ArchiveUnsafe, UsageError
from kvpack.report import Reporter
from kvpack.tools.git import Git
from kvpack.tools.members import Kind
from kvpack.tools.store import Store
from kvpack.tools.tree import Looked, Node, faults_of, key_of, look, write_tree


def export_working_tree(
    folder: Path, store: Store, reporter: Reporter, *, epoch: int, submodules: bool
) -> tuple[str, int]:
    """Keep what lies in a clone as a blob; its sha256 and size in bytes.

    :param submodules: whether checked-out submodules belong to it.
    :raises UsageError: if the folder is no clone.
    :raises ArchiveUnsafe: if the tree is refused, with every reason.
    """
    if not (folder / ".git").exists():
        raise UsageError(
            f"{folder} is not a git clone",
            cause="--dirty builds a working tree; its .git tells what is ignored",
            hint="name the top folder of a clone: --source NAME=PATH --dirty",
        )
    with store.scratch("dirty") as scratch, reporter.step(f"Exporting the working tree {folder}"):
        git = Git(scratch, reporter)
        paths = sorted(_paths(git, folder, "", submodules=submodules), key=key_of)
        looked: list[Looked] = []
        target = scratch / "tree.tar"
        write_tree(_nodes(folder, paths, looked), target, epoch=epoch)
        if faults := faults_of(looked, str(folder)):
            raise ArchiveUnsafe(
                f"the working tree {folder} was refused: {len(faults)} fault(s)",
                cause="it leads out of its folder, or is not whole without Git LFS",
                hint="nothing of it was kept",
                faults=faults,
            )
        return store.add_file(target), target.stat().st_size


def _paths(git: Git, folder: Path, prefix: str, *, submodules: bool) -> Iterator[str]:
    for name in git.working_files(folder / prefix):
        path = f"{prefix}{name}".rstrip("/")
        here = folder / path
        if here.is_dir() and not here.is_symlink():  # a submodule, or a clone within the clone
            if submodules and (here / ".git").exists():
                yield from _paths(git, folder, f"{path}/", submodules=True)
            else:
                yield path
        elif os.path.lexists(here):  # else removed, and the removal not committed
            yield path


def _nodes(folder: Path, paths: list[str], looked: list[Looked]) -> Iterator[Node]:
    for path in paths:
        here = folder / path
        mode = here.lstat().st_mode
        if stat.S_ISLNK(mode):
            node = Node(path=path, kind=Kind.SYMLINK, data=os.fsencode(here.readlink()))
        elif stat.S_ISDIR(mode):
            node = Node(path=path, kind=Kind.FOLDER)
        elif stat.S_ISREG(mode):
            runs = bool(mode & stat.S_IXUSR)
            node = Node(path=path, kind=Kind.FILE, data=here.read_bytes(), executable=runs)
        else:
            node = Node(path=path, kind=Kind.SPECIAL)
        looked.append(look(node))
        yield node
