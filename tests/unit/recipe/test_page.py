"""Recipes -> the catalogue's page, and the committed page."""

import re

import pytest

from kvpack.recipe.catalogue import find_catalogue
from kvpack.recipe.load import load_recipe
from kvpack.recipe.model import Recipe
from kvpack.recipe.page import page
from tests.unit.catalogues import REPOSITORY, ROOTS, TINY, recipe_of

PATCHED = """
[[patches]]
id = "third"
commit = "658297c4d9d1f047a26e86fb3c646965c80b3c72"
when = "<1"
upstream = "some/project#12"
why = "a | b <c> `d` *e*"

[[prove]]
id = "is-plain"
summary = "It is plain"
file = "tiny/*.so"
has-string = "plain"
expect = [{ accelerator = ["cuda12"], is = false }, { is = true }]

[[prove]]
id = "how-fast"
summary = "How fast"
file = "tiny/*.so"
value = { string = "speed ([0-9]+)" }
when = ">=2"
profile = ["speed"]
"""
GIT = """
[versions."3.0"]
source = { git = "https://example.invalid/tiny(1).git", tag = "v3.0", submodules = true }

[versions."4.0"]
source = { archive = "https://example.invalid/a|b/tiny-4.0.tar.gz", sha256 = "%s" }
""" % ("0" * 64)


def tiny() -> Recipe:
    return recipe_of(TINY.replace("[targets]", GIT + "\n[targets]") + PATCHED)


def shown(*, locked: bool = True) -> str:
    names = {"tiny"} if locked else set()
    return page_of(tiny(), *names)


def page_of(recipe: Recipe, *locked: str) -> str:
    command = "kvpack list --page docs/x.md"
    return page([recipe], locked=locked, root="..", command=command, toolkits=ROOTS.toolkits)


def row(text: str, first: str) -> list[str]:
    """The cells of the row that starts with ``first``; GFM splits at pipes that are not escaped."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {first}")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_versions_and_their_sources() -> None:
    text = shown()
    assert row(text, "`1.0`") == ["`1.0` (default)", "sdist of `tiny`"]
    assert row(text, "`3.0`")[1].endswith(
        "](https://example.invalid/tiny%281%29.git), tag `v3.0`, with submodules"
    )
    assert "(https://example.invalid/a%7Cb/tiny-4.0.tar.gz)" in row(text, "`4.0`")[1]


def test_axes_with_their_defaults() -> None:
    text = shown()
    assert row(text, "glibc floor") == ["glibc floor", "2.36, 2.39, 2.41", "2.36, 2.41"]
    assert row(text, "accelerator") == [
        "accelerator", "cpu as `tiny`, cuda12 as `tiny-cu12`", "cpu",
    ]  # fmt: skip


def test_options_with_every_value() -> None:
    text = shown()
    assert row(text, "`fast`")[1:4] == ["on, off for cuda12", "CMake `TINY_FAST`", "`>=2.0rc1`"]
    assert row(text, "`mode`")[1:4] == ["`plain`", "env `TINY_MODE`", "all"]


def test_patches_tell_the_versions_they_are_for() -> None:
    text = shown()
    assert row(text, "`first`")[:3] == [
        "`first`", "[first.patch](../patches/tiny/first.patch)", "1.0, 2.0rc1, 3.0, 4.0",
    ]  # fmt: skip
    assert row(text, "`second`")[2] == "1.0 (`<2`)"
    third = row(text, "`third`")
    assert third[1:4] == [
        "commit `658297c4d9d1`",
        "none of these versions (`<1`)",
        "[some/project#12](https://github.com/some/project/issues/12)",
    ]
    assert third[4] == r"a \| b &lt;c&gt; \`d\` \*e\*"


def test_proofs_tell_what_is_expected() -> None:
    text = shown()
    assert row(text, "`is-plain`")[1:] == ["It is plain", "does not hold for cuda12; holds", ""]
    assert row(text, "`how-fast`")[1:] == ["How fast", "reported in `>=2`", "speed"]


def test_what_surrounds_the_build() -> None:
    assert row(shown(), "Debian packages")[1] == "`cmake`"
    assert row(shown(), "must import")[1] == "`tiny`"
    assert "toolkit for" not in shown()
    rocm = page_of(recipe_of(TINY.replace('["cpu", "cuda12"]', '["cpu", "cuda12", "rocm7"]')))
    assert row(rocm, "toolkit for rocm7")[1] == (
        "`/opt/rocm` of `docker.io/rocm/dev-almalinux-8:7.2.1-complete`, for x86_64 on glibc 2.28 "
        "or newer"
    )


HOSTS = """
[requirements.proxy]
summary = "the proxy"
requires = ["quart", "pyzmq>=26"]
[runtime.environment.TINY_PATH]
value = "0"
when = ">=2"
accelerator = ["cuda12"]
why = "it is | so"
[host.nic]
summary = "a NIC"
repository = "https://nic.example/apt"
key = "https://nic.example/key"
suite = "jammy"
channel = "1-a"
packages = ["libnic=1"]
notes = ["a <note>"]
channels = [{ channel = "1-a", dkms = ["2"], source = "some/project#1" }]
"""


def test_what_hosts_need() -> None:
    recipe = recipe_of(TINY + HOSTS)
    text = page_of(recipe)
    assert row(text, "`proxy`") == ["`proxy`", "`quart`, `pyzmq>=26`", "the proxy"]
    assert row(text, "`TINY_PATH=0`") == ["`TINY_PATH=0`", "`>=2`, cuda12", r"it is \| so"]
    assert row(text, "`1-a`") == ["`1-a`", "not known", "`2`", "not known", "some/project#1"]
    assert (
        "`nic`: a NIC. `libnic=1` from [nic.example/apt](https://nic.example/apt) `jammy`, channel "
        "`1-a`."
    ) in text.splitlines()
    assert "- a &lt;note&gt;" in text
    assert "On its hosts" not in shown()


def test_a_recipe_without_a_lock_has_no_dead_link() -> None:
    assert "(../lock/tiny.toml)" in shown()
    assert "(../lock/" not in shown(locked=False)
    assert "not locked yet" in shown(locked=False)


def test_every_table_is_one() -> None:
    """As many cells in every row as in the headers."""
    blocks = [block.splitlines() for block in shown().split("\n\n") if block.startswith("|")]
    assert len(blocks) == 7
    for block in blocks:
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in block}) == 1, block


@pytest.mark.parametrize("name", [path.stem for path in (REPOSITORY / "recipes").glob("*.toml")])
def test_links_of_the_committed_page_lead_somewhere(name: str) -> None:
    text = (REPOSITORY / "docs" / "catalogue.md").read_text(encoding="utf-8")
    part = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    links = re.findall(r"\]\((\.\./[^)]+)\)", part)
    assert f"../recipes/{name}.toml" in links
    assert [link for link in links if not (REPOSITORY / "docs" / link).exists()] == []


def test_the_committed_page_is_current() -> None:
    catalogue = find_catalogue(REPOSITORY)
    wanted = page(
        [load_recipe(catalogue, name) for name in catalogue.names],
        locked={name for name in catalogue.names if catalogue.lock_path(name).is_file()},
        root="..",
        command="kvpack list --page docs/catalogue.md",
        toolkits=ROOTS.toolkits,
    )
    found = (REPOSITORY / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert found == wanted, "recipes changed: kvpack list --page docs/catalogue.md"
