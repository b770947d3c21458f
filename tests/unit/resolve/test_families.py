from collections import Counter

import pytest
from pydantic import ValidationError

from kvpack.names import Accelerator, normalize
from kvpack.resolve.families import Families, load_families


def test_the_file_is_sound() -> None:
    families = load_families().family
    names = [family.name for family in families]
    members = Counter(name for family in families for name in family.names)
    assert names == list(dict.fromkeys(names))
    assert [member for member, count in members.items() if count > 1] == []
    assert all(normalize(member) == member for member in members)
    for family in families:
        assert family.dispatcher not in members
        cells = [(m.accelerator, m.flavour) for m in family.members]
        assert len(cells) == len(set(cells)), f"{family.name}: two members for one choice"


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
    ("family", "accelerator", "flavour", "member"),
    [
        ("nixl", "cuda12", "", "nixl-cu12"),
        ("nixl", "cuda13", "", "nixl-cu13"),
        ("nixl", "rocm7", "", "nixl-rocm"),
        ("nixl", "cpu", "", None),
        ("mooncake", "cuda12", "", "mooncake-transfer-engine"),
        ("mooncake", "cuda13", "", "mooncake-transfer-engine-cuda13"),
        ("mooncake", "cpu", "", "mooncake-transfer-engine-non-cuda"),
        ("mooncake", "cuda13", "efa", "mooncake-transfer-engine-efa-cuda13"),
        ("mooncake", "cuda13", "npu", None),
        ("opencv", "cuda13", "", None),
    ],
)
def test_choose(family: str, accelerator: str, flavour: str, member: str | None) -> None:
    found = next(one for one in load_families().family if one.name == family)
    chosen = found.choose(Accelerator(accelerator), flavour)
    assert (chosen.name if chosen else None) == member


def test_family_of_knows_dispatchers_too() -> None:
    families = load_families()
    for name in ("nixl", "nixl-cu13"):
        found = families.family_of(name)
        assert found is not None
        assert found.name == "nixl"
    assert families.family_of("numpy") is None


def test_what_a_version_is_built_for() -> None:
    lmcache = load_families().built("lmcache")
    assert lmcache is not None
    assert lmcache.versions(Accelerator.CUDA12) == "<=0.4.4"
    assert lmcache.versions(Accelerator.ROCM7) is None
    assert load_families().is_base("torch")


ONE = {"name": "a"}
TWO = {"name": "b"}


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "x", "members": [ONE]},
        {"name": "x", "members": [ONE, {"name": "B_c"}]},
        {"name": "x", "members": [ONE, {"name": "b", "accelerator": "cuda11"}]},
        {"name": "x", "members": [ONE, TWO], "dispatch": "c"},
        {"name": "x", "members": [ONE, TWO], "dispatcher": "a"},
        {"name": "x", "members": [ONE, ONE]},
        {"members": [ONE, TWO]},
    ],
)
def test_faults_are_found(entry: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Families.model_validate({"schema": 1, "family": [entry]})


@pytest.mark.parametrize(
    "more",
    [
        {"built-for": [{"name": "x", "cuda12": "newest"}]},
        {"torch-extension": [{"file": "x_(?P<major>1)"}]},
        {"torch-extension": [{"file": "x_("}]},
    ],
)
def test_faults_of_the_other_tables(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Families.model_validate({"schema": 1, "family": [], **more})
