"""The action key: every input that decides the bytes is in it, and nothing else is."""

import json
import re

import pytest
from packaging.version import Version

from kvpack.build.difference import difference_lines, differences, first_difference
from kvpack.build.key import (
    action,
    action_key,
    local_version,
    lock_digest,
)
from kvpack.lock.model import Inputs
from kvpack.recipe.model import Recipe
from kvpack.recipe.roots import DebianBase
from kvpack.tools.files import canonical_json, sha256_of
from tests.unit.build.made import (
    ARCHIVE,
    DEBIAN,
    GIT,
    INPUTS,
    RECIPE,
    ROOTS,
    changed,
    inputs,
    locked_deb,
    locked_wheel,
    recipe,
)

GOLDEN = "61ec5ba5141245ba22027a7e8c87f2cd40a15501cf5c2fa99497a414602e0acb"
"""The key of the demo. It may change only with PROCEDURE, STAMP, GENERATOR or ACTION_SCHEMA: every
wheel in every store is built again."""
ZERO = "0" * 64
IMAGE = f"quay.io/pypa/manylinux_2_28_x86_64@sha256:{ZERO}"


def key(made: Recipe | None = None, locked: Inputs = INPUTS) -> str:
    return action_key(action(made or recipe(), locked, ROOTS))


def test_the_key_of_one_action_is_pinned() -> None:
    assert key() == GOLDEN


@pytest.mark.parametrize("text", ["1", "\0packages", "\\u0000packages"])
def test_the_key_is_the_digest_of_the_whole_document(text: str) -> None:
    made = recipe(("build.environment", {"A": text}))
    document = action(made, INPUTS, ROOTS)
    assert action_key(document) == sha256_of(canonical_json(document))
    assert action_key(document) == action_key(json.loads(json.dumps(document)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source.sha256", ZERO),
        ("source.file", "demo-1.0.zip"),
        ("source.epoch", 1_600_000_001),
        ("patches.0.sha256", ZERO),
        ("patches.0.id", "another"),
        ("patches", []),
        ("build.0.sha256", ZERO),
        ("build", [locked_wheel("build", b"build")]),
        ("host.0.sha256", ZERO),
        ("host", []),
        ("root.packages.0.sha256", ZERO),
        ("root.packages", [locked_deb("g++", b"g++")]),
        ("root.id", "debian-trixie"),
        ("root.image", IMAGE),
        ("root.packages", list(reversed(INPUTS.root.packages))),
        ("root-tools.0.sha256", ZERO),
        ("target.python", "3.13"),
        ("target.glibc", "2.39"),
        ("target.arch", "aarch64"),
        ("target.accelerator", "cuda12"),
        ("target.version", "1.1"),
    ],
)
def test_every_locked_input_and_every_axis_changes_the_key(path: str, value: object) -> None:
    assert key(locked=inputs((path, value))) != key()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "renamed"),
        ("distribution.cpu", "another-name"),
        ("license", "MIT"),
        ("options.cuda.default", True),
        ("options.cuda.per-accelerator", {"cpu": True}),
        ("options.cuda.cmake", "WITH_CUDA"),
        ("options.flavor.default", "sweet"),
        ("options.flavor.env", "OTHER"),
        ("options.flavor.when", "<1.0"),
        ("build.environment", {"DEMO": "2"}),
        ("build.environment", {}),
        ("build.config-settings", {"define": ["a", "b"]}),
        ("build.config-settings", {"wheel.exclude": "include/**", "define": ["b", "a"]}),
        ("audit.host-libraries", []),
    ],
)
def test_what_the_recipe_tells_the_build_changes_the_key(path: str, value: object) -> None:
    assert key(recipe((path, value))) != key()


def test_how_an_option_is_handed_over_is_in_the_key() -> None:
    """``-DX=1`` and ``X=1`` are two builds, whatever they are called."""
    by_cmake = {"x": {"type": "string", "default": "1", "cmake": "X"}}
    by_env = {"x": {"type": "string", "default": "1", "env": "X"}}
    assert key(recipe(("options", by_cmake))) != key(recipe(("options", by_env)))
    assert action(recipe(), INPUTS, ROOTS)["recipe"]["options"] == {
        "cuda": {"cmake": "USE_CUDA", "env": None, "value": "OFF"},
        "flavor": {"cmake": None, "env": "DEMO_FLAVOR", "value": "plain"},
    }


def test_packages_stand_in_the_order_in_which_they_are_unpacked() -> None:
    """Of a path in two packages, the first one's bytes count."""
    assert action(recipe(), INPUTS, ROOTS)["lock"]["root"]["packages"] == [
        f"{deb.name} {deb.version} {deb.sha256}" for deb in INPUTS.root.packages
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("audit.import", ["demo.other"]),
        ("audit.run", []),
        ("distribution.owns", ["demo", "more"]),
        ("distribution.cuda12", "renamed-cu12"),
        ("summary", "Another"),
        ("homepage", None),
        ("default-version", "2.0"),
        ("options.cuda.summary", "GPUs"),
        ("options.cuda.per-accelerator", {"cuda12": False}),
        ("patches.0.why", "another reason"),
        ("patches.0.upstream", "x/y#1"),
        ("targets.python", ["3.11", "3.13"]),
        ("build.debian", ["cmake"]),
        ("build.requires", ["ninja"]),
    ],
)
def test_what_only_judges_or_describes_does_not(path: str, value: object) -> None:
    """``build.debian`` and ``build.requires`` count by what they are locked to."""
    assert key(recipe((path, value))) == key()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source.path", "packages/elsewhere.tar.gz"),
        ("source.size", 99),
        ("source.build-requires", ["setuptools"]),
        ("source.run-requires", ["numpy"]),
        ("build.0.path", "packages/elsewhere.whl"),
        ("host.0.path", "packages/elsewhere.whl"),
        ("root.packages.0.path", "pool/updates/g++.deb"),
        ("root.include", ["another"]),
        ("imports", []),
        ("patches.0.file", "renamed.patch"),
        ("build", list(reversed(INPUTS.build))),
    ],
)
def test_where_the_bytes_come_from_does_not(path: str, value: object) -> None:
    assert key(locked=inputs((path, value))) == key()


GIT_INPUTS = inputs(("source", GIT))


@pytest.mark.parametrize(
    ("name", "value"),
    [("sha256", ZERO), ("commit", "d" * 40), ("tree", "d" * 40), ("epoch", 1_600_000_001),
     ("git", "https://git.example/other.git"), ("dirty", True)],
)  # fmt: skip
def test_what_a_git_source_is_changes_the_key(name: str, value: object) -> None:
    assert key(locked=inputs(("source", {**GIT, name: value}))) != key(locked=GIT_INPUTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("tag", None), ("tag", "v1"), ("size", 99), ("build-requires", ["x"]), ("submodule", [])],
)
def test_what_a_git_source_is_called_does_not(name: str, value: object) -> None:
    """Submodules count by their commits, which are in the tree."""
    assert key(locked=inputs(("source", {**GIT, name: value}))) == key(locked=GIT_INPUTS)


def test_a_dirty_tree_with_the_bytes_of_the_commit_is_another_action() -> None:
    dirty = action(recipe(), inputs(("source", {**GIT, "dirty": True})), ROOTS)
    assert dirty["lock"]["source"]["dirty"] is True
    assert local_version("1.0", "1a2b3c4d" + ZERO[8:], dirty=True) == "1.0+kvp.1a2b3c4d.dirty"


def test_the_url_of_an_archive_is_not_in_the_key() -> None:
    moved = {**ARCHIVE, "archive": "https://elsewhere.example/demo.tar.gz"}
    assert key(locked=inputs(("source", moved))) == key(locked=inputs(("source", ARCHIVE)))


@pytest.mark.parametrize(
    "update", [{"links": {"/usr/bin/cc": "clang"}}, {"exclude": ["usr/share/man/*"]}]
)
def test_the_generators_data_counts_for_generated_roots_only(update: dict[str, object]) -> None:
    debian = DebianBase.model_validate(changed(DEBIAN.model_dump(by_alias=True), *update.items()))
    other = ROOTS.model_copy(update={"debian": debian})
    assert action(recipe(), INPUTS, other) != action(recipe(), INPUTS, ROOTS)
    image = inputs(("root.image", IMAGE), ("root.packages", []))
    assert action(recipe(), image, other) == action(recipe(), image, ROOTS)


def test_keys_written_in_another_order_are_the_same_recipe() -> None:
    turned = Recipe.model_validate({name: RECIPE[name] for name in reversed(RECIPE)})
    assert key(turned) == key()


def test_the_locks_digest_is_about_the_lock_alone() -> None:
    assert lock_digest(inputs(("target.glibc", "2.39"))) == lock_digest(INPUTS)
    assert lock_digest(inputs(("source.sha256", ZERO))) != lock_digest(INPUTS)
    assert re.fullmatch("[0-9a-f]{64}", lock_digest(INPUTS))


# -- why: in words ---------------------------------------------------------------------------


def difference(recipe_now: Recipe | None = None, inputs_now: Inputs = INPUTS) -> str | None:
    return first_difference(
        action(recipe(), INPUTS, ROOTS), action(recipe_now or recipe(), inputs_now, ROOTS)
    )


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("source.sha256", ZERO, r"^lock source sha256: [0-9a-f]{12}… -> 000000000000…$"),
        ("target.glibc", "2.39", r"^target glibc: 2\.36 -> 2\.39$"),
        ("source.epoch", 1_700_000_000, r"^lock epoch: 1600000000 -> 1700000000$"),
        (
            "build",
            list(INPUTS.build[:1]),
            r"^lock build-requires build-1\.0-py3-none-any\.whl: removed \(was [0-9a-f]{12}…\)$",
        ),
        (
            "build",
            [*INPUTS.build, locked_wheel("ninja", b"ninja")],
            r"^lock build-requires ninja-1\.0-py3-none-any\.whl: added \([0-9a-f]{12}…\)$",
        ),
    ],
)
def test_the_first_difference_names_the_input(path: str, value: object, words: str) -> None:
    assert re.search(words, difference(inputs_now=inputs((path, value))) or "")


def test_the_first_difference_is_the_one_that_people_wrote() -> None:
    both = difference(recipe(("build.environment", {"DEMO": "2"})), inputs(("source.epoch", 2**30)))
    assert both == "recipe environment DEMO: 1 -> 2"


def test_no_difference_is_none() -> None:
    assert difference() is None
    assert differences({"a": 1}, {"a": 1}) == []


def test_all_differences_are_named_with_both_values() -> None:
    old = {"schema": 1, "lock": {"a": [1], "b": {"c": 1}}, "z": None}
    new = {"schema": 2, "lock": {"a": [1, 2], "b": 5}, "z": "now"}
    assert differences(old, new) == [
        ("schema", 1, 2),
        ("lock a", [1], [1, 2]),
        ("lock b", {"c": 1}, 5),
        ("z", None, "now"),
    ]


STEPS = ["./configure", "make -O3 -j4", "make install"]


@pytest.mark.parametrize(
    ("before", "after", "words", "lines"),
    [
        (STEPS, [STEPS[0], "make -O2 -j4", STEPS[2]],
         "steps: make -O3 -j4 -> make -O2 -j4", ["- make -O3 -j4", "+ make -O2 -j4"]),
        (STEPS, STEPS[1:], "steps: removed (was ./configure)", ["- ./configure"]),
        (STEPS[:1], STEPS, "steps: added (make -O3 -j4), and 1 more",
         ["+ make -O3 -j4", "+ make install"]),
        (["a"], STEPS, "steps: a -> ./configure, and 2 more", ["- a", *(f"+ {i}" for i in STEPS)]),
        (["a", "b"], ["b", "a"], 'steps: ["a","b"] -> ["b","a"]',
         ["the same members, in another order or number"]),
        ("two\nlines", None, r'steps: removed (was "two\nlines")', [r'- "two\nlines"']),
    ],
)  # fmt: skip
def test_of_lists_the_members_that_differ_are_named(
    before: object, after: object, words: str, lines: list[str]
) -> None:
    assert first_difference({"steps": before}, {"steps": after}) == words
    assert difference_lines(before, after) == lines


def test_of_long_values_the_part_that_differs_is_shown() -> None:
    old, new = ([f"{'cc ' * 40}-O{level} {'lib.c ' * 40}"] for level in (3, 2))
    told = first_difference({"steps": old}, {"steps": new})
    assert re.fullmatch(r"steps: …[^…]*-O3[^…]*… -> …[^…]*-O2[^…]*…", str(told))
    assert len(str(told)) < 140
    assert difference_lines(old, new) == [f"- {old[0]}", f"+ {new[0]}"]


# -- versions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.3.14", "0.3.14+kvp.1a2b3c4d"),
        ("1.0rc1", "1.0rc1+kvp.1a2b3c4d"),
        ("1.0+cu12", "1.0+cu12.kvp.1a2b3c4d"),
    ],
)
def test_the_local_version_names_the_key(version: str, expected: str) -> None:
    made = local_version(version, "1a2b3c4d" + "f" * 56)
    assert made == expected
    assert Version(made) > Version(version)
    assert Version(made).public == Version(version).public
