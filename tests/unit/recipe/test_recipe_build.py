"""build.steps, refuse, package, several roots; [host], [runtime], [requirements]."""

from pathlib import Path

import pytest

from kvpack.doctor.rules import load_rules
from kvpack.errors import RecipeInvalid
from kvpack.lock.roots import used_roots
from kvpack.names import Accelerator
from kvpack.recipe.catalogue import find_catalogue
from kvpack.recipe.load import load_recipe, parse_recipe
from kvpack.recipe.model import Recipe
from kvpack.recipe.versions import applies
from tests.unit.catalogues import REPOSITORY, ROOTS, TINY, Tiny, lock_of, recipe_of

CPU, CUDA12 = Accelerator.CPU, Accelerator.CUDA12
HOST = """
[host.nic]
summary = "a NIC"
repository = "https://nic.example/apt"
key = "https://nic.example/key"
suite = "jammy"
channel = "1.2.3-a-4"
moving = '[0-9.]+'
packages = ["libnic"]
channels = [{ channel = "1.2.3-a-4", abi = 1, source = "measured" }]
"""


def with_build(text: str) -> str:
    return TINY.replace('debian = ["cmake"]\n', f'debian = ["cmake"]\n{text}\n')


def faults(text: str) -> list[tuple[str, str]]:
    recipe, found = parse_recipe(text.encode(), "recipes/tiny.toml")
    assert recipe is None
    return [(one.place.removeprefix("recipes/tiny.toml: "), one.message) for one in found]


def test_a_step_is_a_command_or_one_for_some_targets() -> None:
    recipe = recipe_of(
        with_build("""steps = [
        "one", { run = "two", when = ">=2.0rc1" }, { run = "three", accelerator = ["cuda12"] },
    ]""")
    )
    assert recipe.commands_for("1.0", CPU) == ["one"]
    assert recipe.commands_for("1.0", CUDA12) == ["one", "three"]
    assert recipe.commands_for("2.0rc1", CUDA12) == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("steps = [3]", "build.steps[0]", "a step is a shell command, or { run"),
        ('steps = [{ runn = "x", run = "y" }]', "build.steps[0].runn", "unknown key 'runn'"),
        ('steps = [" "]', "build.steps[0]", "must not be empty"),
        ('package = "../x"', "build.package", "is not a folder of the source"),
        ('package = "/x"', "build.package", "is not a folder of the source"),
        ('refuse = [{ log = "(", why = "x" }]', "build.refuse[0].log", "is not a regular expr"),
        ('refuse = [{ log = "x?", why = "x" }]', "build.refuse[0].log", "matches an empty line"),
        ("root = []", "build.root", "must not be empty"),
        ("root = 3", "build.root", "a builder root is named by a string"),
        ('root = ["debian", 3]', "build.root[1]", "must be a string (found 3)"),
        ('refuse = [{ log = "x" }]', "build.refuse[0].why", "required, but missing"),
    ],
)  # fmt: skip
def test_faults_of_a_build_have_their_place(text: str, place: str, message: str) -> None:
    (found,) = faults(with_build(text))
    assert found[0] == place
    assert message in found[1]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("cmake -S . -B build", True),
        ("cd x && cmake .", True),
        ("cmake -S . -B build $KVPACK_CMAKE_OPTIONS", False),
        ("cmake ${KVPACK_CMAKE_OPTIONS} .", False),
        ("make -f tools/cmake/x", False),
        ("cat cmake.txt", False),
    ],
)
def test_cmake_is_never_called_without_the_options(step: str, *, told: bool) -> None:
    text = with_build(f"steps = ['{step}']")
    if not told:
        assert recipe_of(text).build.steps == (step,)
        return
    ((place, message),) = faults(text)
    assert place == "recipes/tiny.toml"
    assert message.startswith("no step hands cmake $KVPACK_CMAKE_OPTIONS: options.fast")


def test_a_value_that_a_shell_would_split_is_a_fault() -> None:
    flags = '[options.flags]\ntype = "string"\ndefault = "-a -b"\ncmake = "FLAGS"\n\n[[patches]]'
    text = with_build("steps = ['cmake $KVPACK_CMAKE_OPTIONS']").replace("[[patches]]", flags, 1)
    ((_, message),) = faults(text)
    assert message.startswith("options.flags is '-a -b', which a shell splits or expands")


def test_meson_options_are_true_and_false() -> None:
    text = TINY.replace('cmake = "TINY_FAST"', 'meson = "fast"').replace('when = ">=2.0rc1"\n', "")
    option, value = recipe_of(text).options_for("1.0", CPU)["fast"]
    assert (option.meson, value) == ("fast", "true")
    assert recipe_of(text).options_for("1.0", CUDA12)["fast"][1] == "false"


def test_of_several_families_the_newest_root_is_picked() -> None:
    recipe = recipe_of(with_build('root = ["pypa", "debian"]'))
    picked = [ROOTS.pick(recipe.build.roots, *cell) for cell in
              (("3.11", "2.36"), ("3.13", "2.39"), ("3.13", "2.41"))]  # fmt: skip
    assert [kind.id for kind in picked if kind] == [
        *("debian-bookworm", "pypa-manylinux_2_34", "debian-trixie"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ('debian = ["cmake"]', 'debian = ["cmake"]\nroot = ["debian", "pyba"]', "build.root",
         "no builder root is called 'pyba'"),
        ('debian = ["cmake"]', 'debian = ["cmake"]\nroot = "pypa-manylinux_2_28"', "build.debian",
         "no target has a root that takes Debian packages: pypa-manylinux_2_28 is older"),
    ],
)  # fmt: skip
def test_roots_that_cannot_serve(
    tmp_path: Path, old: str, new: str, place: str, message: str
) -> None:
    tiny = Tiny(tmp_path)
    tiny.edit(old, new)
    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(tiny.catalogue, "tiny")
    (fault,) = caught.value.faults
    assert fault.place == f"recipes/tiny.toml: {place}"
    assert fault.message.startswith(message)


def test_images_alone_can_take_the_packages(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    tiny.edit('debian = ["cmake"]', 'debian = ["cmake", "libx-dev"]\nroot = "pypa"')
    recipe = load_recipe(tiny.catalogue, "tiny")
    roots = used_roots(recipe, ROOTS)
    assert {kind.id for kind, _ in roots} == {"pypa-manylinux_2_34"}
    lock = lock_of(recipe)
    assert [root.suite for root in lock.root] == ["bullseye", "bullseye"]
    assert lock.incomplete == ()


def test_a_channel_that_moves_is_a_fault() -> None:
    assert recipe_of(TINY + HOST).host["nic"].channel == "1.2.3-a-4"
    ((place, message),) = faults(
        TINY + HOST.replace('\nchannel = "1.2.3-a-4"', '\nchannel = "1.2.3"')
    )
    assert place == "host.nic"
    assert message.startswith("the channel '1.2.3' is not frozen")
    assert message.endswith("frozen ones are 1.2.3-a-4")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[requirements.x]\nsummary = "S"\nrequires = ["a b"]', "requirements.x.requires[0]"),
        ('[requirements.proxy]\nsummary = "S"\nrequires = []', "requirements.proxy.requires"),
        ('[runtime.environment.X]\nvalue = "1"', "runtime.environment.X.why"),
        (HOST.replace("[0-9.]+", "("), "host.nic"),
        (HOST.replace("https://nic.example/apt", "file:///apt"), "host.nic.repository"),
    ],
)  # fmt: skip
def test_faults_of_what_hosts_need(text: str, place: str) -> None:
    ((found, _),) = faults(f"{TINY}\n{text}\n")
    assert found == place


def ours(name: str) -> Recipe:
    return load_recipe(find_catalogue(REPOSITORY), name)


def test_moris_table_of_channels_is_the_doctors() -> None:
    """One fact, two readers: the recipe says it to people, the doctor holds machines to it."""
    known = {(one.channel, one.libionic, one.dkms, one.abi) for one in load_rules().ionic}
    rows = ours("mori").host["ainic"].channels
    assert {(one.channel, one.libraries, one.dkms, one.abi) for one in rows} == known


def test_moris_channel_is_frozen_and_its_libraries_stay_on_the_host() -> None:
    mori = ours("mori")
    assert mori.host["ainic"].channel == "1.117.5-a-77"
    (never,) = [one for one in mori.prove if one.id == "nic-from-host"]
    assert never.negated is not None
    assert "**/libionic*" in (never.negated.file or ())


@pytest.mark.parametrize(
    ("version", "option", "variable"),
    [("0.3.10.post2", "OFF", None), ("0.3.14", None, "0")],
)
def test_mooncakes_peermem_is_off_by_the_switch_that_the_version_has(
    version: str, option: str | None, variable: str | None
) -> None:
    """A CMake option up to 0.3.10, then a variable that the patched package sets."""
    recipe, cuda13 = ours("mooncake"), Accelerator.CUDA13
    options = recipe.options_for(version, cuda13)
    assert (options["peermem"][1] if "peermem" in options else None) == option
    wanted = recipe.runtime.environment["WITH_NVIDIA_PEERMEM"]
    assert (wanted.value if wanted.fits(version, cuda13) else None) == variable
    patches = [one.id for one in recipe.patches if applies(one.when, version)]
    assert patches == ["address-range" if variable is None else "peermem-default"]
    assert options["mnnvl"][1] == "ON"
    assert ("pie" in options) == (version == "0.3.10.post2")


@pytest.mark.parametrize(
    ("floor", "ends"),
    [("2.36", '; build.root = ["debian", "pypa"] would have one'), ("2.17", "3.13")],
)
def test_a_python_that_only_an_image_has_is_told_with_the_key(
    tmp_path: Path, floor: str, ends: str
) -> None:
    tiny = Tiny(tmp_path)
    tiny.edit('python = ["3.11", "3.13"]', 'python = ["3.12"]')
    tiny.edit('glibc = ["2.36", "2.39", "2.41"]', f'glibc = ["{floor}"]')
    tiny.edit('default = { glibc = ["2.36", "2.41"] }', "")
    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(tiny.catalogue, "tiny")
    (fault,) = caught.value.faults
    assert fault.message.startswith("no root of 'debian' has Python 3.12")
    assert fault.hint.endswith(ends)
