"""What a recipe says about toolkits, and what kvpack's own table of them says."""

import pytest
from pydantic import ValidationError

from kvpack.names import Accelerator
from kvpack.recipe.roots import load_roots
from kvpack.recipe.toolkits import Toolkit, Toolkits, toolkit_faults
from tests.unit.catalogues import TINY, recipe_of

TOOLKITS = load_roots().toolkits
ALL = '["cpu", "cuda12", "cuda13", "rocm7"]'


def with_build(text: str) -> str:
    return TINY.replace('["cpu", "cuda12"]', ALL).replace("[build]", f"[build]\n{text}")


def asked(text: str) -> dict[str, str | None]:
    recipe = recipe_of(with_build(text))
    return {one.value: TOOLKITS.requirement(recipe, one) for one in Accelerator}


def test_a_build_gets_the_run_time_by_default() -> None:
    assert asked("") == {
        "cpu": None,
        "cuda12": "cuda-toolkit[cccl,cudart,nvcc]<12.10,>=12.9",
        "cuda13": "cuda-toolkit[cccl,crt,cudart]<14,>=13",
        "rocm7": None,
    }


def test_components_for_all_accelerators_and_for_each() -> None:
    found = asked('toolkit = ["runtime", "nvml", "cufile"]')
    assert found["cuda12"] == "cuda-toolkit[cccl,cudart,cufile,nvcc,nvml]<12.10,>=12.9"
    found = asked('toolkit = { cuda13 = ["runtime", "nvcc"] }')
    assert found["cuda12"] == "cuda-toolkit[cccl,cudart,nvcc]<12.10,>=12.9"
    assert found["cuda13"] == "cuda-toolkit[cccl,crt,cudart,nvcc,nvvm]<14,>=13"
    assert set(asked("toolkit = []").values()) == {None}


def test_a_recipe_narrows_the_range() -> None:
    found = asked('toolkit-version = { cuda13 = "<13.1" }')
    assert found["cuda13"] == "cuda-toolkit[cccl,crt,cudart]<13.1,<14,>=13"
    assert found["cuda12"] == asked("")["cuda12"]


@pytest.mark.parametrize(
    ("text", "accelerator", "reason"),
    [
        ("", "cpu", ""),
        ("", "cuda13", "kvpack knows no toolkit for it"),
        ("", "rocm7", "kvpack knows no toolkit for it"),
        ("toolkit = { rocm7 = [] }", "rocm7", ""),
    ],
)
def test_what_no_lock_can_name(text: str, accelerator: str, reason: str) -> None:
    """Nothing, with kvpack's own table; the digest of an image is another matter."""
    recipe = recipe_of(with_build(text))
    assert TOOLKITS.unlockable(recipe, Accelerator(accelerator)) == ""
    assert Toolkits().unlockable(recipe, Accelerator(accelerator)) == reason


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        (
            'toolkit = ["runtime", "nvcc"]', "build.toolkit",
            ("cuda12 has no component 'nvcc': nvidia-cuda-nvcc-cu12 holds ptxas and libnvvm, but "
             "neither nvcc nor cicc nor cudafe++"),
            "build.toolkit.cuda12 = […]",
        ),
        (
            'toolkit = { cuda12 = ["runtim"] }', "build.toolkit.cuda12",
            "cuda12 has no component 'runtim'", "did you mean 'runtime'?",
        ),
    ],
)  # fmt: skip
def test_a_component_that_is_not_there(text: str, place: str, message: str, hint: str) -> None:
    (fault,) = toolkit_faults(recipe_of(with_build(text)), TOOLKITS, "r")
    assert (fault.place, fault.message) == (f"r: {place}", message)
    assert hint in fault.hint


def test_an_accelerator_that_is_not_offered() -> None:
    text = '[build]\ntoolkit = { rocm7 = [] }\ntoolkit-version = { cuda13 = "<13.1" }'
    recipe = recipe_of(TINY.replace("[build]", text))
    faults = list(toolkit_faults(recipe, TOOLKITS, "r"))
    assert [fault.place for fault in faults] == [
        "r: build.toolkit.rocm7", "r: build.toolkit-version.cuda13",
    ]  # fmt: skip
    assert {fault.hint for fault in faults} == {"offered: cpu, cuda12"}


def test_no_component_is_both_there_and_missing() -> None:
    kits = TOOLKITS.toolkit
    assert set(kits) == set(Accelerator) - {Accelerator.CPU}
    everything = {name for kit in kits.values() for name in kit.components}
    for kit in kits.values():
        if kit.kind == "wheels":
            assert set(kit.components) | set(kit.missing) == everything
            assert not set(kit.components) & set(kit.missing)
            assert "runtime" in kit.components


def test_a_toolkit_of_wheels_is_whole() -> None:
    with pytest.raises(ValidationError, match="names project, version and components"):
        Toolkit(kind="wheels", project="cuda-toolkit")
    with pytest.raises(ValidationError, match="not a regular expression"):
        Toolkits.model_validate({"stub": [{**TOOLKITS.stub[0].as_json(), "declared": "("}]})
