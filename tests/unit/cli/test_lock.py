"""What kvpack lock says of what it wrote, beside the lock itself."""

import pytest

from kvpack.cli.lock import _change_lines
from kvpack.lock.diff import Change, differences
from tests.unit.catalogues import lock_of, recipe_of


def test_a_first_lock_is_told_by_its_numbers() -> None:
    lock = lock_of(recipe_of())
    changes = differences(None, lock)
    (line,) = _change_lines("tiny", None, changes)
    debs = sum(len(root.packages) for root in lock.root)
    assert line.startswith("new: ")
    assert f"deb {debs}" in line.removeprefix("new: ").split(", ")


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (1, 1), (40, 40), (41, 41)])
def test_of_later_locks_the_changes_are_told(count: int, shown: int) -> None:
    changes = [Change("deb", f"package-{i}", "1", "2") for i in range(count)]
    lines = list(_change_lines("tiny", lock_of(recipe_of()), changes))
    assert len(lines) == shown
    assert lines[:40] == [change.line() for change in changes[:40]]
    assert lines[40:] == ["… and 1 more (kvpack diff tiny)"][: count - 40 if count > 40 else 0]
