from collections import Counter

import pytest
from pydantic import ValidationError

from kvpack.names import normalize
from kvpack.resolve.families import Families, load_families


def test_the_file_is_sound() -> None:
    families = load_families().family
    names = [family.name for family in families]
    members = Counter(member for family in families for member in family.members)
    assert names == list(dict.fromkeys(names))
    assert [member for member, count in members.items() if count > 1] == []
    assert all(normalize(member) == member for member in members)
    for family in families:
        assert family.dispatcher not in members


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (["nixl-cu12", "nixl-cu13"], "nixl"),
        (["numpy", "mooncake-transfer-engine", "mooncake-transfer-engine-cuda13"], "mooncake"),
        (["nixl", "nixl-cu12"], None),
        (["nixl-cu12", "opencv-python"], None),
        (["nixl-cu12", "nixl-cu12"], None),
        ([], None),
    ],
)
def test_of(names: list[str], family: str | None) -> None:
    found = load_families().of(names)
    assert (found.name if found else None) == family


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "x", "members": ["a"]},
        {"name": "x", "members": ["a", "B_c"]},
        {"name": "x", "members": ["a", "b"], "dispatch": "c"},
        {"members": ["a", "b"]},
    ],
)
def test_faults_are_found(entry: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Families.model_validate({"schema": 1, "family": [entry]})
