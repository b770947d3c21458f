"""The canonical tar of a tree: the same bytes for the same files, and what is refused."""

from pathlib import Path

import pytest

from kvpack.tools.archive import unpack
from kvpack.tools.files import sha256_file
from kvpack.tools.members import Kind
from kvpack.tools.tree import Node, faults_of, key_of, look, write_tree

EPOCH = 1_700_000_000
NODES = [
    Node(path="a-b", kind=Kind.FILE, data=b"1"),
    Node(path="a/deep/run", kind=Kind.FILE, data=b"#!/bin/sh\n", executable=True),
    Node(path="a/empty", kind=Kind.FOLDER),
    Node(path="link", kind=Kind.SYMLINK, data=b"a-b"),
    Node(path="n" * 120, kind=Kind.FILE, data=b"long"),
    Node(path="\udcff", kind=Kind.FILE, data=b"no UTF-8"),
]
GOLDEN = "95353ba9dd3dd41cd5ad62d9043a17c28876c6bbefeb8c7fb8a680a38506bd26"
"""The digest of ``NODES``. If it changes, every git source that is locked has to be locked anew."""
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def written(path: Path, epoch: int = EPOCH) -> Path:
    write_tree(sorted(NODES, key=lambda node: key_of(node.path)), path, epoch=epoch)
    return path


def test_the_bytes_of_a_tree_are_pinned(tmp_path: Path) -> None:
    assert sha256_file(written(tmp_path / "a")) == GOLDEN
    assert sha256_file(written(tmp_path / "b", EPOCH + 1)) != GOLDEN


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    unpack(written(tmp_path / "x.tar"), tmp_path / "out")
    top = tmp_path / "out" / "source"
    assert (top / "a/deep/run").read_bytes() == b"#!/bin/sh\n"
    assert (top / "a/deep/run").stat().st_mode & 0o777 == 0o755
    assert (top / "a/empty").is_dir()
    assert (top / "link").readlink() == Path("a-b")
    assert {int(path.lstat().st_mtime) for path in top.rglob("*")} == {EPOCH}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (Node(path="link", kind=Kind.SYMLINK, data=b"../../etc/passwd"), "leads out"),
        (Node(path="link", kind=Kind.SYMLINK, data=b"/etc/passwd"), "leads out"),
        (Node(path="../x", kind=Kind.FILE), "climbs with '..'"),
        (Node(path="sub/.git/config", kind=Kind.FILE), "git's own folder"),
        (Node(path=".GIT/hooks/x", kind=Kind.FILE), "git's own folder"),
        (Node(path="model.bin", kind=Kind.FILE, data=POINTER), "a pointer of Git LFS"),
        (Node(path="pipe", kind=Kind.SPECIAL), "a device, pipe or socket"),
    ],
)
def test_what_is_refused(node: Node, words: str) -> None:
    (fault,) = faults_of([look(node)], "tiny")
    assert words in fault.message
    assert fault.place == f"tiny: {node.path!r}"


def test_all_that_is_refused_is_told_at_once() -> None:
    bad = [Node(path=name, kind=Kind.FILE, data=POINTER) for name in ("a", "b")]
    assert len(faults_of(map(look, bad), "tiny")) == 2


def test_a_large_file_with_such_a_first_line_is_no_pointer() -> None:
    node = Node(path="docs.md", kind=Kind.FILE, data=POINTER.ljust(1025))
    assert faults_of([look(node)], "tiny") == []
