"""Patches as texts: the canonical one of a commit, and hunk by hunk; what a patch still does."""

import pytest

from kvpack.errors import PatchFailed
from kvpack.fetch.gittext import canonical_change, files_of, hunks_of
from kvpack.fetch.patchstate import State, Verdict, judge

COMMIT = "a" * 40
TWO_HUNKS = b"""\
diff --git a/x.c b/x.c
index 1..2 100644
--- a/x.c
+++ b/x.c
@@ -1,2 +1,2 @@ int main()
 a
-b
+B
@@ -9,2 +9,3 @@ static void
 c
+--- d
+++ e
-- f
"""
NEW_FILE = b"""\
diff --git a/new b/new
new file mode 100644
index 0..1
--- /dev/null
+++ b/new
@@ -0,0 +1 @@
+x
"""
PLAIN = b"""\
Some words.

--- a/y.c\t2024-01-01
+++ b/y.c\t2024-01-02
@@ -1 +1 @@
-a
+b
\\ No newline at end of file
"""
MODE = b"diff --git a/run b/run\nold mode 100644\nnew mode 100755\n"


def test_a_change_names_its_commit_and_guesses_nothing() -> None:
    text = canonical_change(TWO_HUNKS, COMMIT, "patch x")
    assert text.startswith(f"From {COMMIT}\n\ndiff --git a/x.c".encode())
    assert b"@@ -1,2 +1,2 @@\n a" in text
    assert b"int main" not in text
    assert hunks_of(text)[0].file == "x.c"


@pytest.mark.parametrize(
    ("diff", "words"),
    [
        (b"", "it changes nothing"),
        (b"diff --git a/x b/x\nindex 1..2 100644\nGIT binary patch\nliteral 3\n", "x: a binary"),
        (
            b"diff --git a/s b/s\nindex 1..2 160000\n--- a/s\n+++ b/s\n@@ -1 +1 @@\n-S 1\n+S 2\n",
            "s: a submodule moves",
        ),
    ],
)
def test_changes_that_no_patch_can_say(diff: bytes, words: str) -> None:
    with pytest.raises(PatchFailed, match=f"commit {COMMIT} is no change") as caught:
        canonical_change(diff, COMMIT, "patch x")
    told = [f"{fault.place}: {fault.message}" for fault in caught.value.faults]
    assert words in "; ".join([caught.value.cause, *told])


def test_the_files_and_hunks_of_a_patch() -> None:
    patch = TWO_HUNKS + NEW_FILE + MODE + PLAIN
    assert [name for name, _ in files_of(patch)] == ["x.c", "new", "run", "y.c"]
    assert [hunk.place for hunk in hunks_of(patch)] == [
        *("x.c, hunk 1", "x.c, hunk 2", "new", "run", "y.c, hunk 1"),
    ]
    first, second, *_ = hunks_of(patch)
    assert first.text.count(b"@@ -") == 1
    assert second.text.startswith(b"diff --git a/x.c b/x.c\n")
    assert second.text.endswith(b"-- f\n")


def test_what_is_no_patch_has_no_hunks() -> None:
    assert hunks_of(b"hello\n--- a line\nworld\n") == []


class _Source:
    """A tree that takes what it is told to take."""

    def __init__(self, *, forward: tuple[bytes, ...] = (), reverse: tuple[bytes, ...] = ()) -> None:
        self.forward, self.reverse = forward, reverse

    def refuses(self, patch: bytes, *, reverse: bool = False) -> str:
        return "" if patch in (self.reverse if reverse else self.forward) else "x.c:1"


FIRST, SECOND = (hunk.text for hunk in hunks_of(TWO_HUNKS))


@pytest.mark.parametrize(
    ("source", "state", "hunks"),
    [
        (_Source(forward=(TWO_HUNKS,)), State.NEEDED, ()),
        (_Source(reverse=(TWO_HUNKS,)), State.UPSTREAM, ()),
        (_Source(forward=(TWO_HUNKS,), reverse=(TWO_HUNKS,)), State.UPSTREAM, ()),
        (_Source(forward=(SECOND,), reverse=(FIRST,)), State.PARTLY, ("x.c, hunk 2",)),
        (_Source(forward=(FIRST,)), State.CONFLICTS, ("x.c, hunk 2: x.c:1",)),
        (_Source(forward=(FIRST, SECOND)), State.CONFLICTS, ("x.c:1",)),
    ],
)
def test_what_a_patch_still_does(source: _Source, state: State, hunks: tuple[str, ...]) -> None:
    assert judge(TWO_HUNKS, source) == Verdict(state=state, hunks=hunks)
