"""Toolkits that are images: what data and recipes may say, and which cells they are for."""

import pytest
from pydantic import ValidationError

from kvpack.errors import TargetUnavailable
from kvpack.names import Accelerator, Arch
from kvpack.recipe.expand import expand, matrix
from kvpack.recipe.model import Recipe, Selection, Target
from kvpack.recipe.toolkitimage import ToolkitImage
from kvpack.recipe.toolkits import Toolkit, toolkit_faults
from tests.unit.catalogues import ROOTS, TINY, recipe_of

TEXT = TINY.replace('["cpu", "cuda12"]', '["cpu", "rocm7"]').replace(
    'cuda12 = "tiny-cu12"', 'rocm7 = "tiny-rocm"'
).replace("per-accelerator = { cuda12 = false }\n", "")  # fmt: skip
TEXT = TEXT.replace(
    "[build]\n",
    """\
[build]
toolkit-image.rocm7 = { image = "docker.io/rocm/dev-ubuntu-22.04:7.2.1-complete", \
folder = "/opt/rocm", glibc = "2.35", arch = ["x86_64"] }
""",
)
"""With an image of its own, for roots of glibc 2.35 and newer."""
PYPA = TEXT.replace('debian = ["cmake"]', 'root = ["debian", "pypa"]').replace(
    'glibc = ["2.36", "2.39", "2.41"]', 'glibc = ["2.34", "2.35", "2.36", "2.41"]'
)
"""With roots of glibc 2.34, 2.36 and 2.41."""
ROCM = Accelerator.ROCM7


def chosen(recipe: Recipe, machine: Arch = Arch.X86_64, **axes: tuple[str, ...]) -> list[Target]:
    selection = Selection.model_validate(axes)
    return list(expand(recipe, ROOTS, selection, version=None, machine=machine))


def test_the_matrix_has_no_cell_that_its_toolkit_is_not_for() -> None:
    cells = {(one.accelerator, one.root, one.arch) for one in matrix(recipe_of(PYPA), ROOTS, "1.0")}
    assert {cell[1:] for cell in cells if cell[0] == ROCM} == {
        ("debian-bookworm", Arch.X86_64), ("debian-trixie", Arch.X86_64),
    }  # fmt: skip
    assert {cell[1] for cell in cells if cell[0] == "cpu"} == {
        "pypa-manylinux_2_34", "debian-bookworm", "debian-trixie",
    }  # fmt: skip


def test_an_older_root_is_refused_by_name() -> None:
    with pytest.raises(TargetUnavailable, match="rocm7 cannot be built") as caught:
        chosen(recipe_of(PYPA), accelerator=("rocm7",), glibc=("2.35", "2.36"))
    assert caught.value.cause == (
        "its toolkit, /opt/rocm of docker.io/rocm/dev-ubuntu-22.04:7.2.1-complete, needs glibc "
        "2.35; the builder root pypa-manylinux_2_34 has 2.34"
    )
    assert "kvpack show tiny" in caught.value.hint
    assert "build.toolkit-image.rocm7" in caught.value.hint


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(TargetUnavailable) as caught:
        chosen(recipe_of(TEXT), accelerator=("rocm7",), arch=("aarch64",))
    assert caught.value.cause.endswith("7.2.1-complete, is for x86_64")
    # The machine's own was not selected, but nothing else remains.
    with pytest.raises(TargetUnavailable):
        chosen(recipe_of(TEXT), machine=Arch.AARCH64, accelerator=("rocm7",))


def test_what_was_not_named_is_left_out() -> None:
    recipe = recipe_of(PYPA.replace('default = { glibc = ["2.36", "2.41"] }', "").replace(
        "[targets]\n", '[targets]\ndefault = { glibc = ["2.34", "2.41"] }\n'))  # fmt: skip
    assert {one.glibc for one in chosen(recipe, accelerator=("rocm7",))} == {"2.41"}
    both = chosen(recipe, accelerator=("rocm7", "cpu"), arch=("x86_64",))
    assert {(one.glibc, str(one.accelerator)) for one in both} == {
        ("2.34", "cpu"), ("2.41", "cpu"), ("2.41", "rocm7"),
    }  # fmt: skip


def test_a_build_without_a_toolkit_fits_everywhere() -> None:
    recipe = recipe_of(PYPA.replace("[build]\n", "[build]\ntoolkit = { rocm7 = [] }\n"))
    (one,) = chosen(
        recipe, accelerator=("rocm7",), glibc=("2.35",), arch=("aarch64",), python=("3.11",)
    )
    assert one.root == "pypa-manylinux_2_34"


IMAGE = {"image": "docker.io/rocm/dev:7", "folder": "/opt/rocm", "glibc": "2.35"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image", "rocm/dev:7"), ("image", "docker.io/rocm/dev"), ("image", "docker.io/Rocm/dev:7"),
        ("image", "docker.io/rocm/dev:7@sha256:" + "a" * 64), ("image", "https://x.y/rocm/dev:7"),
        ("folder", "/usr"), ("folder", "/opt"), ("folder", "opt/rocm"), ("folder", "/opt/rocm/"),
        ("folder", "/usr/lib/rocm"), ("folder", "/opt/../etc"), ("folder", "/opt/python/x"),
        ("glibc", "2"), ("arch", []), ("arch", ["riscv64"]),
    ],
)  # fmt: skip
def test_what_an_image_cannot_be(key: str, value: object) -> None:
    ToolkitImage.model_validate(IMAGE)
    with pytest.raises(ValidationError):
        ToolkitImage.model_validate({**IMAGE, key: value})


@pytest.mark.parametrize(
    "image", ["localhost:5000/a:1", "registry.example/team/rocm-dev_x.y:7.2", "10.0.0.1:80/a/b:_1"]
)
def test_images_of_own_registries(image: str) -> None:
    assert ToolkitImage.model_validate({**IMAGE, "image": image}).image == image


def test_a_toolkit_that_is_an_image_names_it() -> None:
    with pytest.raises(ValidationError, match="names it"):
        Toolkit(kind="image")


def test_images_for_what_has_none() -> None:
    table = 'image = "docker.io/x/y:1", folder = "/opt/x", glibc = "2.36"'
    text = f"[build.toolkit-image]\ncuda13 = {{ {table} }}\ncuda12 = {{ {table} }}\n\n[build]\n"
    faults = list(toolkit_faults(recipe_of(TINY.replace("[build]\n", text)), ROOTS.toolkits, "r"))
    assert {fault.place: fault.message for fault in faults} == {
        "r: build.toolkit-image.cuda13": "this accelerator is not offered by targets.accelerator",
        "r: build.toolkit-image.cuda12": "the toolkit of cuda12 is not an image",
    }
