"""Native libraries on the command line: plans, reasons, the store, refusals. Nothing is built."""

import json
from pathlib import Path
from typing import Any

import pytest

from kvpack.cli.bundling import _with_libraries
from kvpack.cli.context import Context, Options
from kvpack.cli.inputs import locked_inputs
from kvpack.cli.libraries import stored_library
from kvpack.cli.planning import read_checked_lock
from kvpack.cli.select import Selected, _ask_pending, plans
from kvpack.cli.supply import everything
from kvpack.console import Console
from kvpack.lock.check import Slicer
from kvpack.lock.file import write_lock
from kvpack.names import Accelerator
from kvpack.recipe.expand import matrix
from kvpack.recipe.load import load_recipe
from tests.unit.catalogues import lock_of
from tests.unit.cli.face import SELECTED, Answer, Place
from tests.unit.libraries import LIBRARY, add, renamed, use
from tests.unit.lock.outside import Outside

LIB = "lib 2.0 debian-bookworm-x86_64-cpu"
TINY = "tiny 1.0 cp311-manylinux_2_36_x86_64-cpu"
LIB_ONLY = ("lib", "--arch", "x86_64")


@pytest.fixture
def user(place: Place) -> Place:
    """A place where tiny is built with the library."""
    add(place.root)
    use(place.tiny, "lib")
    return place


def good(answer: Answer) -> Answer:
    assert answer.code == 0, answer.err
    return answer


def error(answer: Answer, code: int) -> dict[str, Any]:
    assert answer.code == code, answer.err or answer.out
    found: dict[str, Any] = json.loads(answer.out)
    return found


def rows(place: Place, *argv: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = good(place.run("plan", *argv, "--json")).json["targets"]
    return found


def titles(found: list[dict[str, Any]]) -> list[str]:
    return [row["target"] for row in found]


def context_of(place: Place) -> Context:
    return Context(Options(root=place.root, store=place.store.root), Console())


def keep(place: Place) -> tuple[str, str]:
    """Put a library into the store as if it had been built: key of its action, digest."""
    context = context_of(place)
    (plan,) = plans(context, Selected(recipes=["lib"], arch="x86_64"))
    sha256 = place.store.add_bytes(b"library")
    made = {"file": "lib.tar", "sha256": sha256, "size": 7}
    record = {"key": plan.key, "action": plan.action, "made": 1, "seconds": 2.5, "library": made}
    place.store.write_record("actions", plan.key, record)
    place.store.write_record("cells", plan.cell, {"key": plan.key, "seconds": 2.5})
    return plan.key, sha256


# -- plan ---------------------------------------------------------------------------------------


def test_a_library_stands_before_what_is_built_with_it(user: Place) -> None:
    assert titles(rows(user, *SELECTED)) == [LIB, TINY]
    out = good(user.run("plan", *SELECTED)).out
    assert out.index(LIB) < out.index(TINY)


def test_each_library_stands_once(user: Place) -> None:
    """Whoever needs it, and also if it is named itself."""
    found = titles(rows(user, "tiny", "lib", "--glibc", "2.36,2.41", "--arch", "x86_64"))
    assert len(set(found)) == len(found)
    assert [title for title in found if title.startswith("lib ")] == [
        LIB, LIB.replace("bookworm", "trixie"),
    ]  # fmt: skip


def test_libraries_of_libraries_come_first(place: Place) -> None:
    add(place.root, "deep", renamed("deep"))
    add(place.root, "lib", renamed("lib", needs="deep"))
    use(place.tiny, "deep", "lib")
    assert titles(rows(place, *SELECTED)) == [LIB.replace("lib", "deep"), LIB, TINY]


def test_a_library_that_is_in_the_store_is_a_hit(user: Place) -> None:
    keep(user)
    lib, tiny = rows(user, *SELECTED)
    assert (lib["state"], lib["because"], lib["wheel"]["file"]) == ("hit", "", "lib.tar")
    assert tiny["state"] == "build"


def test_a_library_that_left_the_store_is_built_again(user: Place) -> None:
    _, sha256 = keep(user)
    user.store.blob_path(sha256).unlink()
    (plan,) = plans(context_of(user), Selected(recipes=["lib"], arch="x86_64"))
    assert stored_library(context_of(user), plan) is None
    assert rows(user, *SELECTED)[0]["because"] == "its library left the store"


def test_a_changed_library_is_another_key(user: Place) -> None:
    before = rows(user, *SELECTED)
    path = user.root / "recipes" / "lib.toml"
    path.write_text(LIBRARY.replace("make install", "make install-strip"))
    after = rows(user, *SELECTED)
    assert not {row["key"] for row in before} & {row["key"] for row in after}


@pytest.mark.parametrize("command", ["plan", "why", "build", "fetch"])
def test_libraries_that_need_each_other_are_told(place: Place, command: str) -> None:
    add(place.root, "a", renamed("a", needs="b"))
    add(place.root, "b", renamed("b", needs="a"))
    use(place.tiny, "a")
    found = error(place.run(command, *SELECTED, "--offline", "--json"), 11)
    assert found["what"] == "native libraries need each other: tiny -> a -> b -> a"
    assert found["hint"] == "correct build.libraries in recipes/b.toml"
    found = error(place.run(command, "a", "--arch", "x86_64", "--offline", "--json"), 11)
    assert found["what"] == "native libraries need each other: a -> b -> a"


def test_two_libraries_at_one_prefix_are_told(place: Place) -> None:
    add(place.root, "a", renamed("a"))
    add(place.root, "b", renamed("b").replace("/opt/b", "/opt/a"))
    use(place.tiny, "a", "b")
    found = error(place.run("plan", *SELECTED, "--json"), 11)
    assert found["what"] == "recipe tiny builds with a and b, both at /opt/a"
    assert "recipes/b.toml" in found["hint"]


def test_what_needs_an_unpinned_library_is_pending(user: Place) -> None:
    add(user.root, pinned=False)
    found = rows(user, "tiny", "--glibc", "2.36", "--arch", "x86_64", "--all")
    assert titles(found) == [LIB, TINY, LIB.replace("cpu", "cuda12"), TINY.replace("cpu", "cuda12")]
    assert {row["state"] for row in found} == {"pending"}
    assert found[0]["because"] == (
        "source not pinned: sha256 known, archive not fetched (upstream unreachable)"
    )
    assert found[1]["because"] == "source not pinned: that of the native library lib 2.0"


def test_an_unpinned_library_below_a_library_counts_as_well(place: Place) -> None:
    add(place.root, "deep", renamed("deep"), pinned=False)
    add(place.root, "lib", renamed("lib", needs="deep"))
    use(place.tiny, "lib")
    found = rows(place, *SELECTED)
    assert titles(found) == [LIB.replace("lib", "deep"), TINY]
    assert found[1]["because"].endswith("that of the native library deep 2.0")


def test_a_root_that_no_lock_of_a_library_can_name_is_left_out_of_the_matrix(user: Place) -> None:
    """Its packages cannot be locked for the oldest image, whatever the wheel itself needs."""
    root, floors = 'root = ["debian", "pypa"]\n', 'glibc = ["2.28", "2.34", "2.36", '
    text = LIBRARY.replace("[build]\n", f"[build]\n{root}").replace('glibc = ["2.36", ', floors)
    add(user.root, text=text)
    user.tiny.edit('debian = ["cmake"]\n', root)
    user.tiny.lock()
    document = good(user.run("plan", "tiny", "--all", "--arch", "x86_64", "--json")).json
    found = {row["target"].split()[0]: set[str]() for row in document["targets"]}
    for row in document["targets"]:
        found[row["target"].split()[0]].add(row["root"])
    named = {"debian-bookworm", "debian-trixie", "pypa-manylinux_2_34"}
    assert found == {"lib": named, "tiny": named}
    assert [reason.partition(": no suite")[0] for reason in document["incomplete"]] == [
        "lib: root pypa-manylinux_2_28"
    ]


def test_a_lock_that_a_library_lacks_is_named(user: Place) -> None:
    (user.root / "lock" / "lib.toml").unlink()
    assert "lock/lib.toml" in error(user.run("plan", *SELECTED, "--json"), 20)["what"]


def test_a_stale_lock_of_a_library_is_refused(user: Place) -> None:
    path = user.root / "recipes" / "lib.toml"
    path.write_text(LIBRARY.replace('["flex"]', '["bison"]'))
    found = error(user.run("build", *SELECTED, "--json"), 21)
    assert found["what"] == "lock/lib.toml no longer matches recipes/lib.toml"


def test_a_cell_that_the_library_has_not_is_told(user: Place) -> None:
    add(user.root, text=LIBRARY.replace('["2.36", "2.39", "2.41"]', '["2.36"]'))
    found = error(user.run("plan", "tiny", "--glibc", "2.41", "--arch", "x86_64", "--json"), 12)
    assert found["what"] == "native library lib 2.0 is not offered for debian-trixie x86_64 cpu"


@pytest.mark.parametrize("words", [("--glibc", "2.17"), ("--python", "3.9"), ("--rocm", "7")])
def test_what_no_recipe_offers_is_no_empty_matrix(user: Place, words: tuple[str, str]) -> None:
    found = error(user.run("plan", "tiny", "--all", *words, "--json"), 12)
    assert found == error(user.run("plan", "tiny", *words, "--json"), 12)


def test_an_unpinned_library_of_one_accelerator_is_asked_for(place: Place) -> None:
    """Also where the first target does not need it."""
    add(place.root, pinned=False)
    limited = '{ name = "lib", version = "2.0", accelerator = ["cuda12"] }'
    place.tiny.edit("[audit]", f"libraries = [{limited}]\n[audit]")
    context, both = context_of(place), (Accelerator.CPU, Accelerator.CUDA12)
    recipe = load_recipe(context.catalogue, "tiny")
    slicer = Slicer(recipe, read_checked_lock(context, recipe))
    cells = {t.accelerator: t for t in matrix(recipe, context.roots, "1.0")}
    context.options.offline = True
    for accelerator in both:
        _ask_pending(context, slicer, cells[accelerator])
    asked = {(name, accelerator) for name, _, accelerator in context.asked}
    assert asked == {("tiny", "cpu"), ("tiny", "cuda12"), ("lib", "cuda12")}


# -- diff, check --------------------------------------------------------------------------------


def test_what_is_built_with_a_library_is_rebuilt_with_it(place: Place) -> None:
    """Through another library too."""
    add(place.root, "deep", renamed("deep"))
    add(place.root, "lib", renamed("lib", needs="deep"))
    use(place.tiny, "lib")
    old = (place.root / "lock" / "deep.toml").rename(place.root / "old.toml")
    recipe = load_recipe(context_of(place).catalogue, "deep")
    write_lock(old.parent / "lock" / "deep.toml", lock_of(recipe, Outside(deb_version="1:1.1-1")))
    document = good(place.run("diff", "old.toml", "deep", "--json")).json
    found = {row["target"].split()[0]: row["because"] for row in document["rebuilds"]}
    assert list(found) == ["deep", "lib", "tiny"]
    assert found["tiny"].startswith("libraries lib libraries deep lock")
    assert document["unknown"] == {}
    (place.root / "lock" / "tiny.toml").unlink()
    out = good(place.run("diff", "old.toml", "deep")).out
    assert "not known of tiny: " in out
    assert "  tiny 1.0" not in out


def faults_of(place: Place, recipe: str = "tiny") -> list[str]:
    document = json.loads(place.run("check", recipe, "--json").out)
    (found,) = document["recipes"]
    return [fault["message"] for fault in found.get("faults", ())]


def test_check_names_a_cell_that_the_library_has_not(user: Place) -> None:
    """All of them at once, before anything is locked or planned."""
    assert faults_of(user) == []
    add(user.root, text=LIBRARY.replace('["2.36", "2.39", "2.41"]', '["2.36"]'))
    assert user.run("check", "tiny").code == 11
    assert faults_of(user) == [
        f"native library lib 2.0 is not offered for debian-trixie {arch} {accelerator}"
        for arch in ("aarch64", "x86_64")
        for accelerator in ("cpu", "cuda12")
    ]


def test_check_names_a_version_that_the_library_has_not(user: Place) -> None:
    user.tiny.edit('version = "2.0"', 'version = "2.1"')
    assert faults_of(user) == ["recipe lib has no version '2.1'"]


def test_check_names_a_wheel_among_the_libraries(user: Place) -> None:
    add(user.root, "deep", renamed("deep", needs="tiny"))
    assert faults_of(user, "deep") == ["recipe tiny is no native library"]


def test_check_leaves_the_faults_of_a_library_to_the_library(user: Place) -> None:
    (user.root / "recipes" / "lib.toml").write_text("schema = 2")
    assert faults_of(user) == []


NEAREST = {
    "version": (
        [('version = "2.0"', 'version = "2.1"')],
        LIBRARY,
        ("[0].version", "did you mean '2.0'?"),
    ),
    "accelerator": (
        [],
        LIBRARY.replace('["cpu", "cuda12"]', '["cuda13"]'),
        ("[0]", "accelerator cuda12: did you mean 'cuda13'?"),
    ),
    "floor": (
        [],
        LIBRARY.replace(', "2.39", "2.41"]', "]"),
        ("[0]", "glibc 2.41: its roots have 2.36"),
    ),
    "no library": (
        [('name = "lib"', 'name = "other"')],
        renamed("library"),
        ("[0].name", "known here: library"),
    ),
}


@pytest.mark.parametrize(("edits", "library", "expected"), NEAREST.values(), ids=NEAREST)
def test_check_names_the_key_and_the_nearest_value(
    place: Place, edits: list[tuple[str, str]], library: str, expected: tuple[str, str]
) -> None:
    name = "library" if "library" in expected[1] else "lib"
    add(place.root, name, library)
    other = place.tiny.recipe_file.read_text().replace('"tiny', '"other')
    other = other[: other.index("[[patches]]")] + other[other.index("[build]") :]
    (place.root / "recipes" / "other.toml").write_text(other)
    use(place.tiny, "lib")
    for old, new in edits:
        place.tiny.edit(old, new)
    (found,) = json.loads(place.run("check", "tiny", "--json").out)["recipes"]
    said = {(fault["place"], fault["hint"].partition(";")[0]) for fault in found["faults"]}
    assert (f"recipes/tiny.toml: build.libraries{expected[0]}", expected[1]) in said


def same_prefix(place: Place) -> None:
    """Recipes a and b, both at /opt/a."""
    add(place.root, "a", renamed("a"))
    add(place.root, "b", renamed("b").replace("/opt/b", "/opt/a"))


def test_check_names_two_libraries_at_one_prefix(place: Place) -> None:
    same_prefix(place)
    use(place.tiny, "b", "a")
    assert place.run("check", "tiny").code == 11
    (found,) = json.loads(place.run("check", "tiny", "--json").out)["recipes"]
    assert [(one["place"], one["message"]) for one in found["faults"]] == [
        ("recipes/tiny.toml: build.libraries[1]",
         "b and a are both at /opt/a: they would write over each other"),
    ]  # fmt: skip
    assert "recipes/a.toml, or limit one use" in found["faults"][0]["hint"]


@pytest.mark.parametrize(
    ("when", "faults"),
    [
        (('accelerator = ["cpu"]', 'accelerator = ["cuda12"]'), 0),
        (('when = "<2"', 'when = ">=2.0rc1"'), 0),
        (('accelerator = ["cpu"]', 'when = "<2"'), 1),
    ],
)
def test_libraries_that_never_meet_may_have_one_prefix(
    place: Place, when: tuple[str, str], faults: int
) -> None:
    same_prefix(place)
    first, second = (
        f'{{ name = "{name}", version = "2.0", {limit} }}'
        for name, limit in zip("ab", when, strict=True)
    )
    place.tiny.edit("[audit]", f"libraries = [{first}, {second}]\n[audit]")
    assert len(faults_of(place)) == faults


def test_a_library_is_not_at_the_prefix_of_what_it_is_built_with(place: Place) -> None:
    add(place.root, "a", renamed("a"))
    add(place.root, "b", renamed("b", needs="a").replace("/opt/b", "/opt/a"))
    assert faults_of(place, "b") == ["b and a are both at /opt/a: they would write over each other"]
    found = error(place.run("plan", "b", "--arch", "x86_64", "--json"), 11)
    assert found["what"] == "recipe b is at /opt/a, as a, which it is built with"


def test_check_passes_what_a_limited_library_offers(place: Place) -> None:
    """Of a cell that no lock can hold nothing is asked either."""
    add(place.root, text=LIBRARY.replace('["cpu", "cuda12"]', '["cuda12"]'))
    limited = '{ name = "lib", version = "2.0", accelerator = ["cuda12"] }'
    place.tiny.edit("[audit]", f"libraries = [{limited}]\n[audit]")
    roots = 'root = ["debian", "pypa-manylinux_2_28"]\n'
    place.tiny.edit('debian = ["cmake"]\n', f'debian = ["cmake"]\n{roots}')
    place.tiny.edit('glibc = ["2.36", "2.39", "2.41"]', 'glibc = ["2.28", "2.36", "2.39", "2.41"]')
    place.tiny.lock()
    assert "tiny: valid" in good(place.run("check", "tiny")).out


# -- why ----------------------------------------------------------------------------------------


def test_why_names_the_input_of_the_library_that_changed(user: Place) -> None:
    plan = user.keep(user.wheel())
    path = user.root / "recipes" / "lib.toml"
    path.write_text(LIBRARY.replace("default = true", "default = false"))
    (row,) = good(user.run("why", *SELECTED, "--json")).json["targets"]
    assert row["key"] != plan.key
    assert [(one["input"], one["before"], one["after"]) for one in row["differs"]] == [
        ("libraries lib recipe options fast value", "yes", "no")
    ]
    out = good(user.run("why", *SELECTED)).out
    assert "must be built: libraries lib recipe options fast value: yes -> no" in out
    assert "      - yes\n      + no" in out


# -- what a library is not ----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["build", "plan", "fetch", "why", "plan --all"])
def test_a_library_has_no_python(user: Place, command: str) -> None:
    found = error(user.run(*command.split(), "lib", "--python", "3.11", "--json"), 12)
    assert found["what"] == "recipe lib does not offer python '3.11'"
    assert found["hint"] == "leave --python out"


def test_a_library_has_no_rules_for_wheels(user: Place) -> None:
    found = error(user.run("audit", str(user.wheel()), "--recipe", "lib", "--json"), 2)
    assert found["what"] == "recipe lib is a native library: it has no rules for wheels"


@pytest.mark.parametrize("words", [("publish", "--to", "there"), ("bundle", "-o", "x.tar")])
def test_a_library_is_not_published(user: Place, words: tuple[str, ...]) -> None:
    (user.root / "dist").mkdir()
    found = error(user.run(words[0], "lib", *words[1:], "--json"), 2)
    assert found["what"].startswith("lib is a native library")
    assert "build.libraries" in found["hint"]


def test_what_is_published_by_default_are_the_wheels(user: Place) -> None:
    """What is missing are targets of the wheel's recipe alone."""
    (user.root / "dist").mkdir()
    found = error(user.run("publish", "--to", str(user.folder / "there"), "--json"), 82)
    places = " ".join(fault["place"] + fault["message"] for fault in found["faults"])
    assert "tiny 1.0" in places
    assert "lib 2.0" not in places


def test_show_tells_what_it_is_and_what_needs_it(user: Place) -> None:
    out = good(user.run("show", "lib")).out
    assert "a native library, at /opt/lib of the roots" in out
    assert "python" not in out
    assert "--enable-fast" in out
    assert "built with the native library lib 2.0" in good(user.run("show", "tiny")).out
    header, _, lib, *_ = good(user.run("list")).out.splitlines()
    assert header.split() == [
        "recipe",
        "version",
        "python",
        "glibc",
        "arch",
        "accelerator",
        "summary",
    ]
    assert lib.split()[:3] == ["lib", "2.0", "-"]


# -- sources and inputs -------------------------------------------------------------------------


def test_the_inputs_of_libraries_are_fetched_with_their_users(user: Place) -> None:
    context = context_of(user)
    (plan,) = plans(context, Selected(recipes=["tiny"], python="3.11", glibc="2.36", arch="x86_64"))
    (library,) = plan.libraries
    assert {one.sha256 for one in everything(library)} < {one.sha256 for one in everything(plan)}
    recipe = load_recipe(context.catalogue, "lib")
    locked = locked_inputs(recipe, read_checked_lock(context, recipe))
    assert {one.sha256 for one in everything(library)} <= {one.sha256 for one in locked}


def test_the_inputs_of_libraries_are_mirrored_with_their_users(user: Place) -> None:
    context, wanted = context_of(user), set[str]()
    for name in ("tiny", "lib"):
        recipe = load_recipe(context.catalogue, name)
        locked = locked_inputs(recipe, read_checked_lock(context, recipe))
        assert not {one.sha256 for one in locked} <= wanted
        wanted |= {one.sha256 for one in locked}
    user.store.add_bytes(b"x")  # a store that is there, without any of them
    answer = user.run("mirror", "inputs", "tiny", "--to", str(user.folder / "to"), "--offline")
    assert f"{len(wanted)} inputs, 0 of them new" in answer.out
    words = ("--to", str(user.folder / "to"), "--offline", "--json")
    answer = user.run("mirror", "inputs", "tiny", *words)
    # One document, also where what is missing is an error.
    assert (answer.json["kind"], answer.json["inputs"]) == ("mirror-inputs", len(wanted))
    assert answer.json["error"]["exit-code"] == answer.code == 32


def test_a_source_of_a_library_can_be_supplied_where_it_is_needed(user: Place) -> None:
    """By the name of the library, although only its user was named."""
    file = user.folder / "lib-2.0.tar.gz"
    file.write_bytes(b"other bytes")
    words = ("--source", f"lib={file}", "--json")
    assert "has sha256" in error(user.run("build", *SELECTED, *words), 31)["what"]
    assert "has sha256" in error(user.run("plan", *SELECTED, *words), 31)["what"]
    words = ("--source", f"other={file}", "--json")
    found = error(user.run("build", *SELECTED, *words), 2)
    assert "'other' is not among the recipes named" in found["what"]


def test_a_working_tree_of_a_library_is_not_silently_left_out(user: Place, tmp_path: Path) -> None:
    words = ("--source", f"lib={tmp_path}", "--dirty", "--json")
    found = error(user.run("build", *SELECTED, *words), 2)
    assert found["what"].startswith("--dirty builds the working tree of tiny")
    assert "kvpack build lib --source lib=PATH --dirty" in found["hint"]


# -- the store ----------------------------------------------------------------------------------


def test_gc_keeps_a_library_that_a_result_names(user: Place) -> None:
    key, sha256 = keep(user)
    stray = user.store.add_bytes(b"stray")
    assert good(user.run("store", "gc", "--json")).json["files"] == 1
    assert user.store.has(sha256)
    assert not user.store.has(stray)
    user.store.remove_record("actions", key)
    good(user.run("store", "gc"))
    assert not user.store.has(sha256)


def test_a_library_from_the_store_is_delivered_as_a_tar(user: Place) -> None:
    keep(user)
    document = good(user.run("build", *LIB_ONLY, "--offline", "--json")).json
    (row,) = document["targets"]
    assert (row["hit"], row["audit"], row["shared"]) == (True, None, False)
    path = Path(row["wheel"])
    assert path.read_bytes() == b"library"
    assert path.name.startswith("lib-2.0+kvp.")
    assert path.name.endswith("-debian-bookworm-x86_64-cpu.tar")
    out = good(user.run("build", *LIB_ONLY, "--offline")).out
    assert "none (native library)" in out
    assert [one.name for one in Path("dist").iterdir()] == [path.name]


def test_a_bundle_holds_what_libraries_were_built_from(place: Place) -> None:
    add(place.root, "deep", renamed("deep"))
    add(place.root, "lib", renamed("lib", needs="deep"))
    place.tiny.edit(
        "[audit]", 'libraries = [{ name = "lib", version = "2.0", when = "<2" }]\n[audit]'
    )
    found = _with_libraries(context_of(place), "tiny", "1.0")
    assert found == [("tiny", "1.0"), ("lib", "2.0"), ("deep", "2.0")]
    assert _with_libraries(context_of(place), "tiny", "2.0rc1") == [("tiny", "2.0rc1")]
