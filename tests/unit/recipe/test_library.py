"""Native libraries as recipes: what they may say, their targets, their locks."""

from pathlib import Path

import pytest

from kvpack.errors import RecipeInvalid, TargetUnavailable
from kvpack.lock.check import Slicer, check, drift
from kvpack.lock.expect import expected_closures
from kvpack.lock.model import Lock
from kvpack.names import Accelerator, Arch
from kvpack.recipe.catalogue import Catalogue
from kvpack.recipe.expand import expand, library_target, matrix
from kvpack.recipe.load import load_recipe, parse_recipe
from kvpack.recipe.model import Recipe, Selection, Target
from tests.unit.catalogues import ROOTS, TINY, Tiny, lock_of, recipe_of
from tests.unit.libraries import LIBRARY, USE, use


@pytest.fixture(scope="module")
def library() -> Recipe:
    return recipe_of(LIBRARY)


def messages(text: str) -> list[str]:
    recipe, faults = parse_recipe(text.encode(), "recipes/lib.toml")
    assert recipe is None
    return [f"{one.place.removeprefix('recipes/lib.toml')} {one.message}" for one in faults]


# -- what a recipe may say ----------------------------------------------------------------------

NO_LIBRARY = LIBRARY.replace('[library]\nprefix = "/opt/lib"\n', "")
DISTRIBUTION = '[distribution]\ncpu = "lib"\nowns = ["lib"]\n'
OF_WHEELS = {
    "audit": '[audit]\nhost-libraries = ["libc.so.6"]\n',
    "identity": "[identity]\nfile = '*'\nmatch = '(?P<version>v)(?P<commit>c)'\n",
    "prove": "[[prove]]\nid = 'x'\nsummary = 's'\nfile = '*'\npresent = true\n",
    "runtime": "[runtime.environment.A]\nvalue = '0'\nwhy = 'w'\n",
    "build.requires": 'requires = ["ninja"]\n',
    "build.config-settings": 'config-settings = { a = "b" }\n',
    "build.repaired": 'repaired = ["true"]\n',
    "build.package": 'package = "python"\n',
    "build.generated": "generated = true\n",
    "build.rename": "rename = true\n",
    "build.pure": "pure = true\n",
}
FAULTS = {
    "neither": (NO_LIBRARY, "[distribution] is missing: a wheel has project names"),
    "a wheel for no Python": (
        f"{NO_LIBRARY}\n{DISTRIBUTION}", "targets.python is missing: a wheel is built for a Python",
    ),
    "both": (f"{LIBRARY}\n{DISTRIBUTION}", "[library] and [distribution] exclude each other"),
    "a Python": (
        LIBRARY.replace("[targets]", '[targets]\npython = ["3.11"]'),
        "targets.python: a native library has no Python",
    ),
    "no steps": (
        LIBRARY[: LIBRARY.index("[options.fast]")], "build.steps is missing: nothing would be",
    ),
    "options that no step passes on": (
        LIBRARY.replace(" $KVPACK_CONFIGURE_OPTIONS", ""),
        "no step hands configure $KVPACK_CONFIGURE_OPTIONS: options.fast would be",
    ),
    "options for a back end that there is not": (
        LIBRARY.replace('configure = "enable-fast"', 'meson = "fast"'),
        "no step hands meson $KVPACK_MESON_OPTIONS: options.fast would be",
    ),
    **{
        f"{key}, which is a wheel's": (
            LIBRARY + text, f"{key}: of a wheel, and a native library is none",
        )
        for key, text in OF_WHEELS.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_recipe_is_a_wheels_or_a_librarys(name: str) -> None:
    text, expected = FAULTS[name]
    (found,) = messages(text)
    assert found.strip().startswith(expected)


def test_what_only_a_wheel_has_is_told_at_once() -> None:
    (found,) = messages(LIBRARY + OF_WHEELS["build.rename"] + OF_WHEELS["audit"])
    assert found.strip().startswith("audit, build.rename: of a wheel")


@pytest.mark.parametrize("prefix", ["/opt/ucx", "/opt/ucx-1.23", "/opt/A_b+c"])
def test_a_prefix_is_a_folder_below_opt(prefix: str) -> None:
    found = recipe_of(LIBRARY.replace("/opt/lib", prefix)).library
    assert found is not None
    assert found.prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    ["/opt", "/opt/", "/opt/a/b", "/opt/../usr", "/opt/.a", "/usr/local", "opt/a", "/opt/a\\n",
     "/opt/ü", "/opt/aü", "/opt/a b", "/opt/_internal"],
)  # fmt: skip
def test_a_prefix_elsewhere_is_refused(prefix: str) -> None:
    (found,) = messages(LIBRARY.replace("/opt/lib", prefix))
    assert found.startswith(": library.prefix '")
    assert found.endswith("has the wrong form")


@pytest.mark.parametrize("name", ["python", "rh", "clang"])
def test_folders_of_builder_roots_are_no_prefixes(name: str) -> None:
    """The whole folder would be taken as the library, and be laid over the next root's."""
    (found,) = messages(LIBRARY.replace("/opt/lib", f"/opt/{name}"))
    told = f"'/opt/{name}' is a folder of builder roots: choose another name"
    assert found == f": library.prefix {told}"


# -- what a catalogue must have -----------------------------------------------------------------


def faults_in(root: Path, name: str) -> list[tuple[str, str, str]]:
    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(Catalogue(root), name)
    return [(one.place.partition(": ")[2], one.message, one.hint) for one in caught.value.faults]


def test_a_library_is_a_recipe_of_the_catalogue(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    (tmp_path / "recipes" / "lib.toml").write_text(LIBRARY)
    use(tiny, "tiny", "lib", "libb")
    assert faults_in(tmp_path, "tiny") == [
        ("build.libraries[0].name", "'tiny' would need itself", ""),
        ("build.libraries[2].name", "no recipe is called 'libb'", "did you mean 'lib'?"),
    ]


def test_a_root_holds_one_version_of_a_library(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    (tmp_path / "recipes" / "lib.toml").write_text(LIBRARY)
    limited = (
        'libraries = [{ name = "lib", version = "2.0", when = "<2" }, '
        '{ name = "lib", version = "2.1", when = ">=2.0rc1" }]\n[audit]'
    )
    tiny.edit("[audit]", limited)
    load_recipe(tiny.catalogue, "tiny")
    tiny.edit(', when = "<2" }', " }")
    ((place, message, hint),) = faults_in(tmp_path, "tiny")
    assert (place, message) == ("build.libraries", "'lib' is named twice for 2.0rc1 cuda12")
    assert "when or accelerator" in hint


# -- targets ------------------------------------------------------------------------------------


def chosen(library: Recipe, **axes: tuple[str, ...]) -> tuple[Target, ...]:
    selection = Selection.model_validate(axes)
    return expand(library, ROOTS, selection, version=None, machine=Arch.X86_64)


def test_floors_that_share_a_root_give_one_target(library: Recipe) -> None:
    found = chosen(library, glibc=("2.36", "2.39", "2.41"))
    assert [(one.root, one.glibc, one.python) for one in found] == [
        ("debian-bookworm", "2.36", ""), ("debian-trixie", "2.41", ""),
    ]  # fmt: skip
    assert len({one.id for one in matrix(library, ROOTS, "2.0")}) == 2 * 2 * 2


def test_a_target_is_named_by_its_root(library: Recipe) -> None:
    (found,) = chosen(library, accelerator=("cuda12",))
    assert found.title == "lib 2.0 debian-bookworm-x86_64-cuda12"
    assert (found.id, found.python_tag) == ("debian-bookworm-x86_64-cuda12", "")


def test_a_python_is_refused(library: Recipe) -> None:
    with pytest.raises(TargetUnavailable, match=r"recipe lib does not offer python '3\.11'") as one:
        chosen(library, python=("3.11",))
    assert (one.value.cause, one.value.hint) == (
        "it is a native library: no Python is part of it", "leave --python out",
    )  # fmt: skip


def test_a_floor_that_it_has_not_is_no_wheels(library: Recipe) -> None:
    with pytest.raises(TargetUnavailable) as caught:
        chosen(library, glibc=("2.40",))
    assert caught.value.cause == "what is built for --glibc 2.39 also loads on glibc 2.40"


def needing(accelerator: str, *, glibc: str = "2.41", arch: Arch = Arch.AARCH64) -> Target:
    (found,) = expand(
        recipe_of(), ROOTS, Selection(python=("3.13",), glibc=(glibc,), arch=(arch,),
                                      accelerator=(Accelerator(accelerator),)),
        version=None, machine=arch,
    )  # fmt: skip
    return found


@pytest.mark.parametrize("accelerator", ["cpu", "cuda12"])
def test_a_library_is_built_for_the_same_cell(library: Recipe, accelerator: str) -> None:
    found = library_target(library, ROOTS, "2.0", needing(accelerator))
    assert found.id == f"debian-trixie-aarch64-{accelerator}"


def test_a_library_without_the_accelerator_is_the_one_for_cpu() -> None:
    library = recipe_of(LIBRARY.replace('["cpu", "cuda12"]', '["cpu"]'))
    found = library_target(library, ROOTS, "2.0", needing("cuda12"))
    assert found.id == "debian-trixie-aarch64-cpu"


@pytest.mark.parametrize(
    ("old", "new", "cell"),
    [('["cpu", "cuda12"]', '["cuda12"]', "debian-trixie aarch64 cpu"),
     (', "2.41"]', "]", "debian-trixie aarch64 cpu"),
     ("[targets]", '[targets]\narch = ["x86_64"]', "debian-trixie aarch64 cpu")],
)  # fmt: skip
def test_a_cell_that_a_library_has_not_is_told(old: str, new: str, cell: str) -> None:
    assert old in LIBRARY
    with pytest.raises(TargetUnavailable) as caught:
        library_target(recipe_of(LIBRARY.replace(old, new)), ROOTS, "2.0", needing("cpu"))
    assert caught.value.what == f"native library lib 2.0 is not offered for {cell}"
    assert caught.value.cause == "recipe tiny builds with it"
    assert "recipes/lib.toml" in caught.value.hint


def test_a_version_that_a_library_has_not_is_told(library: Recipe) -> None:
    with pytest.raises(TargetUnavailable, match=r"recipe lib has no version '3\.0'"):
        library_target(library, ROOTS, "3.0", needing("cpu"))


def test_a_wheel_is_no_library() -> None:
    with pytest.raises(TargetUnavailable, match="recipe tiny is no native library") as caught:
        library_target(recipe_of(), ROOTS, "1.0", needing("cpu"))
    assert caught.value.hint == "correct build.libraries in recipes/tiny.toml"


def test_a_limited_use_is_for_its_targets() -> None:
    text = USE.replace(" }", ', when = "<2", accelerator = ["cuda12"] }')
    made = recipe_of(TINY.replace("[audit]", f"{text}[audit]"))
    cuda, cpu = Accelerator.CUDA12, Accelerator.CPU
    found = [made.build.libraries_for(*one) for one in (("1.0", cuda), ("1.0", cpu), ("2.0", cuda))]
    assert [[use.name for use in one] for one in found] == [["lib"], [], []]


# -- locks --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lock(library: Recipe) -> Lock:
    return lock_of(library)


def test_a_lock_holds_no_wheels_but_the_hosts_and_the_toolkit(library: Recipe, lock: Lock) -> None:
    expected = {("host", None, None), ("toolkit", "x86_64", "cuda12"),
                ("toolkit", "aarch64", "cuda12")}  # fmt: skip
    for closures in (lock.closure, expected_closures(library, ROOTS, lock.source)):
        assert {(one.use, one.arch, one.accelerator) for one in closures} == expected
    assert {(one.id, one.arch) for one in lock.root} == {
        (root, arch) for root in ("debian-bookworm", "debian-trixie") for arch in Arch
    }
    (root,) = (one for one in lock.root if (one.id, one.arch) == ("debian-bookworm", Arch.X86_64))
    assert "flex" in root.include
    assert not [name for name in root.include if name.startswith("python3")]


def test_the_inputs_of_a_library(library: Recipe, lock: Lock) -> None:
    cpu, cuda = chosen(library, accelerator=("cpu", "cuda12"))
    found = Slicer(library, lock).inputs(cuda)
    assert (found.build, found.host, found.root_tools, found.imports) == ((), (), (), ())
    assert [wheel.project for wheel in found.toolkit] == [
        "cuda-toolkit",
        "nvidia-cuda-runtime-cu12",
    ]
    assert (found.root.id, found.source.sha256) == ("debian-bookworm", "2" * 64)
    assert Slicer(library, lock).inputs(cpu).toolkit == ()


def test_a_lock_is_current_until_the_recipe_changes(library: Recipe, lock: Lock) -> None:
    def found(text: str) -> list[str]:
        faults = drift(recipe_of(text), ROOTS, lock, "lock/lib.toml", lambda _: "")
        return [f"{one.place.partition(': ')[2]}: {one.message}" for one in faults]

    check(library, ROOTS, lock, "lock/lib.toml", lambda _: "")
    assert found(LIBRARY.replace('["flex"]', '["bison"]')) == [
        f"root: {root} {arch}: packages changed (locked ['flex'], now ['bison'])"
        for root in ("debian-bookworm", "debian-trixie") for arch in Arch
    ]  # fmt: skip
    assert found(LIBRARY.replace('["cpu", "cuda12"]', '["cpu"]')) == [
        f"closure: closure toolkit {arch} cuda12 is no longer needed" for arch in Arch
    ]
    (moved,) = found(LIBRARY.replace("2" * 64, "3" * 64))
    assert moved.startswith("source: version 2.0 is locked to https://files.example/lib-2.0.tar.gz")
    assert found(LIBRARY.replace("make install", "make install-strip")) == []


def test_the_page_of_the_catalogue_tells_of_libraries() -> None:
    from kvpack.recipe.page import page

    user = recipe_of(TINY.replace("[audit]", f"{USE}[audit]"))
    recipes = [recipe_of(LIBRARY), user]
    text = page(recipes, locked={"lib"}, root="..", command="kvpack list", toolkits=ROOTS.toolkits)
    assert "a native library at `/opt/lib`, for what is built with it" in text
    assert "native libraries it is built with | [lib](#lib) `2.0` |" in text
    assert "configure `--enable-fast`" in text
    part = text.partition("## lib")[2].partition("## tiny")[0]
    assert "Python" not in part
