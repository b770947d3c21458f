"""recipes/*.toml -> Recipe: what is accepted, and every kind of fault with its place and hint."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kvpack.errors import CatalogueError, RecipeInvalid
from kvpack.recipe.catalogue import find_catalogue
from kvpack.recipe.load import load_recipe, parse_recipe
from kvpack.recipe.model import EPOCH_MAX, EPOCH_MIN
from tests.unit.catalogues import REPOSITORY, TINY, Tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)


def faults_of(tiny: Tiny) -> dict[str, tuple[str, str]]:
    """Message and hint by key path."""
    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(tiny.catalogue, "tiny")
    assert all(fault.place.startswith("recipes/tiny.toml") for fault in caught.value.faults)
    assert f"{len(caught.value.faults)} fault" in caught.value.what
    assert caught.value.hint.endswith("kvpack check tiny")
    return {
        fault.place.removeprefix("recipes/tiny.toml").removeprefix(": "): (
            fault.message,
            fault.hint,
        )
        for fault in caught.value.faults
    }


def test_the_tiny_recipe_is_read_whole(tiny: Tiny) -> None:
    recipe = load_recipe(tiny.catalogue, "tiny")
    assert list(recipe.versions) == ["1.0", "2.0rc1"]
    assert recipe.versions["2.0rc1"].epoch == 1700000500
    assert [patch.id for patch in recipe.patches] == ["first", "second"]
    assert recipe.audit.imports == ("tiny",)


@pytest.mark.parametrize("name", ["dlslime", "msgpack"])
def test_the_recipes_of_this_repository(name: str) -> None:
    assert load_recipe(find_catalogue(REPOSITORY), name).name == name


ONE_FAULT = {
    "an unknown key": (
        'summary = "A', 'sumary = "x"\nsummary = "A',
        "sumary", "unknown key 'sumary'", "did you mean 'summary'?",
    ),
    "an unknown key in a table": (
        "[targets]", "[targets]\ngilbc = []",
        "targets.gilbc", "unknown key 'gilbc'", "did you mean 'glibc'?",
    ),
    "an unknown key in a list of tables": (
        'id = "first"', 'id = "first"\nwhyy = "x"',
        "patches[0].whyy", "unknown key 'whyy'", "did you mean 'why'?",
    ),
    "an unknown key below a free key": (
        "epoch = 1700000500", "epoc = 1700000500",
        'versions."2.0rc1".epoc', "unknown key 'epoc'", "did you mean 'epoch'?",
    ),
    "an unknown kind of source": (
        '[versions."1.0"]\nsource = { sdist = "tiny" }',
        '[versions."1.0"]\nsource = { sdist = "tiny", zip = "x" }',
        'versions."1.0".source.zip', "unknown key 'zip'",
        "known here: archive, commit, git, mirrors, sdist, sha256, submodules, tag",
    ),
    "a required key is missing": (
        'license = "MIT"\n', "",
        "license", "required, but missing", "add 'license' here",
    ),
    "a number for a string": (
        'license = "MIT"', "license = 3",
        "license", "must be a string (found 3)", 'write it in quotes: "3"',
    ),
    "a version that is a float": (
        'python = ["3.11", "3.13"]', 'python = [3.11, "3.13"]',
        "targets.python[0]", "must be a string (found 3.11)", 'write it in quotes: "3.11"',
    ),
    "only versions that are floats": (
        'python = ["3.11", "3.13"]', "python = [3.11]",
        "targets.python[0]", "must be a string (found 3.11)", 'write it in quotes: "3.11"',
    ),
    "a string for a list": (
        'debian = ["cmake"]', 'debian = "cmake"',
        "build.debian", "must be a list (found 'cmake')", "write it in brackets: ['cmake']",
    ),
    "a string for a table": (
        "default = { glibc", 'default = "x" # { glibc',
        "targets.default", "must be a table (found 'x')", "",
    ),
    "one value of two types is one fault": (
        "default = true\n", "default = 3\n",
        "options.fast.default", "must be true or false or a string (found 3)",
        'write it in quotes: "3"',
    ),
    "a value that does not fit its type": (
        "default = true\n", 'default = "yes"\n',
        "options.fast", "value 'yes' does not fit type = 'bool'", "",
    ),
    "an option that sets nothing": (
        'env = "TINY_MODE"', "",
        "options.mode", "an option sets one of cmake, meson, configure and env: name one", "",
    ),
    "an option that sets two things": (
        'env = "TINY_MODE"', 'env = "TINY_MODE"\ncmake = "MODE"',
        "options.mode", "an option sets one of cmake, meson, configure and env: name one", "",
    ),
    "a bad enum": (
        'accelerator = ["cpu", "cuda12"]', 'accelerator = ["cpu", "cuda12", "cuda"]',
        "targets.accelerator[2]", "'cuda' is not one of the values that are possible here",
        "did you mean 'cuda13'?",
    ),
    "a bad enum as a key": (
        "{ cuda12 = false }", "{ cuda12 = false, gpu = true }",
        "options.fast.per-accelerator.gpu",
        "'gpu' is not one of the values that are possible here",
        "did you mean 'cpu'?",
    ),
    "a bad literal": (
        'type = "string"', 'type = "text"',
        "options.mode.type", "'text' is not one of the values that are possible here",
        "known here: bool, string",
    ),
    "another schema": (
        "schema = 1", "schema = 2",
        "schema", "2 is not one of the values that are possible here", "known here: 1",
    ),
    "a bad glibc": (
        '"2.41"]\naccel', '"3"]\naccel',
        "targets.glibc[2]", "'3' has the wrong form",
        'a glibc floor is written as "2.39", in quotes',
    ),
    "a bad Python": (
        '"3.13"]', '"cp313"]',
        "targets.python[1]", "'cp313' has the wrong form",
        'a Python version is written as "3.11", in quotes',
    ),
    "a bad name as a key": (
        "[options.mode]", "[options.Mode_X]",
        "options.Mode_X", "'Mode_X' has the wrong form",
        "lower-case letters and digits, words joined by single hyphens",
    ),
    "a patch outside its folder": (
        'file = "first.patch"', 'file = "../first.patch"',
        "patches[0].file", "'../first.patch' has the wrong form",
        "it must match ^[A-Za-z0-9][A-Za-z0-9._-]*\\.patch$",
    ),
    "an empty text": (
        'why = "it is needed"', 'why = " "',
        "patches[0].why", "must not be empty", "",
    ),
    "an empty list": (
        'owns = ["tiny"]', "owns = []",
        "distribution.owns", "must not be empty", "",
    ),
    "a bad version range": (
        'when = "<2"', 'when = "before 2"',
        "patches[1].when", "'before 2' is not a version range (PEP 440), such as <0.3.11", "",
    ),
    "a bad version as a key": (
        '[versions."1.0"]', '[versions."1.0"]\nsource = { sdist = "tiny" }\n[versions.latest]',
        "versions.latest", "'latest' is not a version (PEP 440), such as 0.3.14", "",
    ),
    "a command without words": (
        "[audit]", "[audit]\nrun = [[]]",
        "audit.run[0]", "must not be empty", "",
    ),
    "an epoch after zip": (
        "epoch = 1700000500", "epoch = 4354819199",
        'versions."2.0rc1".epoch',
        "Input should be less than or equal to 4354819198 (found 4354819199)",
        "",
    ),
    "an epoch before zip": (
        "epoch = 1700000500", "epoch = 0",
        'versions."2.0rc1".epoch', "Input should be greater than or equal to 315532800 (found 0)",
        "",
    ),
    "a default that is not in versions": (
        'default-version = "1.0"', 'default-version = "1.1"',
        "default-version", "'1.1' is not one of [versions]", "did you mean '1.0'?",
    ),
    "an unknown root": (
        'debian = ["cmake"]', 'root = "debain"',
        "build.root", "no builder root is called 'debain'", "did you mean 'debian'?",
    ),
    "a Python that no root has": (
        'python = ["3.11", "3.13"]', 'python = ["3.11", "3.12"]',
        "targets.python",
        "no root of 'debian' has Python 3.12 at any floor of targets.glibc",
        ("debian-bullseye: glibc 2.31, Python 3.9; debian-bookworm: glibc 2.36, Python 3.11; "
        'debian-trixie: glibc 2.41, Python 3.13; build.root = ["debian", "pypa"] would have one'),
    ),
    "a default that is not offered": (
        'default = { glibc = ["2.36", "2.41"] }', 'default = { glibc = ["2.35"] }',
        "targets.default.glibc", "'2.35' is not offered by targets.glibc", "did you mean '2.39'?",
    ),
    "an accelerator without a project": (
        'cuda12 = "tiny-cu12"\n', "",
        "distribution.cuda12", "no project name for the accelerator 'cuda12'",
        'add cuda12 = "tiny-cuda12" or drop it from targets',
    ),
    "a patch that is not there": (
        'file = "second.patch"', 'file = "secnd.patch"',
        "patches[1].file", "patches/tiny/secnd.patch does not exist",
        "did you mean 'second.patch'?",
    ),
    "a patch id used twice": (
        'id = "second"', 'id = "first"',
        "patches[1].id", "'first' is used twice", "",
    ),
    "a name that is not the file's": (
        'name = "tiny"', 'name = "teeny"\n',
        "name", "the name 'teeny' is not the file's", "rename one of them: teeny.toml",
    ),
    "not a requirement": (
        'debian = ["cmake"]', 'requires = ["pybind11 >> 2"]',
        "build.requires[0]",
        ("'pybind11 >> 2' is not a requirement (PEP 508): Expected semicolon (after name with no "
        "version specifier) or end"),
        'such as "pybind11>=2.12"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_FAULT.values(), ids=ONE_FAULT)
def test_one_fault(tiny: Tiny, case: tuple[str, str, str, str, str]) -> None:
    old, new, key, message, hint = case
    tiny.edit(old, new)
    if "teeny" in new:  # patches are looked for under the recipe's name
        (tiny.root / "patches" / "tiny").rename(tiny.root / "patches" / "teeny")
    assert faults_of(tiny) == {key: (message, hint)}


NOT_DEBIAN = (
    *("-y", "--allow-downgrades", "cmake-", "cmake*", "lib?", "cmake=3.25", "cmake/sid", "a b"),
    *("libc6:amd64", "Cmake", "x", "+x", "~i", "^cmake", "cmake_x", "cmake\\n", ".x", "(x)"),
)


@pytest.mark.parametrize("name", NOT_DEBIAN)
def test_what_is_no_name_of_a_debian_package(tiny: Tiny, name: str) -> None:
    """apt takes options, versions, releases, patterns and removals in the same place."""
    tiny.edit('debian = ["cmake"]', f'debian = ["cmake", "{name}"]')
    ((place, (message, _)),) = faults_of(tiny).items()
    assert place == "build.debian[1]"
    assert "is not the name of a Debian package" in message


@pytest.mark.parametrize("name", ["g++", "libstdc++-12-dev", "libnl-route-3-dev", "0ad", "a2ps"])
def test_names_of_debian_packages(tiny: Tiny, name: str) -> None:
    tiny.edit('debian = ["cmake"]', f'debian = ["{name}"]')
    assert load_recipe(tiny.catalogue, "tiny").build.debian == (name,)


def test_epochs_are_those_that_a_zip_archive_can_hold() -> None:
    """MS-DOS time: from 1980 for 128 years, in steps of two seconds."""
    assert datetime(1980, 1, 1, tzinfo=UTC).timestamp() == EPOCH_MIN
    assert datetime(2107, 12, 31, 23, 59, 58, tzinfo=UTC).timestamp() == EPOCH_MAX


def test_every_fault_of_the_models_in_one_report(tiny: Tiny) -> None:
    tiny.edit('name = "tiny"', 'name = "Tiny"')
    tiny.edit('license = "MIT"', "licence = 3")
    tiny.edit('"2.41"]\naccel', '"x"]\naccel')
    tiny.edit('when = "<2"', 'when = "?"')
    tiny.edit('cmake = "TINY_FAST"', "")
    found = faults_of(tiny)
    assert set(found) == {
        "name", "license", "licence", "targets.glibc[2]", "patches[1].when", "options.fast",
    }  # fmt: skip
    assert found["licence"] == ("unknown key 'licence'", "did you mean 'license'?")


def test_every_fault_of_the_context_in_one_report(tiny: Tiny) -> None:
    tiny.edit('default-version = "1.0"', 'default-version = "9"')
    tiny.edit('python = ["3.11", "3.13"]', 'python = ["3.8", "3.11"]')
    tiny.edit('default = { glibc = ["2.36", "2.41"] }', "default = { arch = [] }")
    tiny.edit('cuda12 = "tiny-cu12"\n', "")
    tiny.edit('debian = ["cmake"]', 'requires = ["ok", "not ok"]')
    (tiny.root / "patches" / "tiny" / "first.patch").unlink()
    assert set(faults_of(tiny)) == {
        "default-version", "targets.python", "distribution.cuda12", "build.requires[1]",
        "patches[0].file",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "required, but missing"),
        (b"name = ", "not TOML: "),
        (b'name = "a"\nname = "b"\n', "not TOML: Cannot overwrite a value (at line 2, column 11)"),
        (b"\x7fELF\x02\x01\x01\x00", "not TOML: "),
        (b"\xff\xfe", "not UTF-8 text: 'utf-8' codec can't decode byte 0xff in position 0"),
        (b"a = " + b"[" * 5000, "not TOML: maximum recursion depth exceeded"),
        (b"a = " + b"9" * 5000, "not TOML: Exceeds the limit"),
        (b"schema = 0x" + b"f" * 5000, "Unable to parse input string as an integer, exceeded"),
        (b'schema = "' + b"x" * 500 + b'"', "'xxxxxx"),
    ],
    ids=["empty", "cut", "twice", "binary", "latin", "deep", "long-int", "long-hex", "long-text"],
)
def test_what_is_no_recipe(data: bytes, message: str) -> None:
    recipe, faults = parse_recipe(data, "recipes/x.toml")
    assert recipe is None
    assert any(fault.message.startswith(message) for fault in faults), faults
    assert all(fault.place.startswith("recipes/x.toml") for fault in faults)
    assert all(len(fault.message) < 200 for fault in faults)


def test_a_recipe_that_cannot_be_read(tiny: Tiny) -> None:
    tiny.recipe_file.unlink()
    tiny.recipe_file.symlink_to("tiny.toml")
    message, _ = faults_of(tiny)[""]
    assert message == "cannot be read: Too many levels of symbolic links"
    tiny.recipe_file.unlink()
    tiny.recipe_file.mkdir()
    message, hint = faults_of(tiny)[""]
    assert (message, hint) == ("cannot be read: Is a directory", "a recipe is a file")


@pytest.mark.parametrize("name", ["tinny", "", "..", "../recipes/tiny", "tiny.toml", "/etc/passwd"])
def test_an_unknown_recipe(tiny: Tiny, name: str) -> None:
    with pytest.raises(CatalogueError, match=f"no recipe named '{name}'") as caught:
        load_recipe(tiny.catalogue, name)
    assert "tiny" in caught.value.cause
    assert caught.value.hint == "kvpack list shows the recipes of the catalogue"


def test_a_catalogue_is_found_upwards_unless_it_is_named(tmp_path: Path, tiny: Tiny) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_catalogue(below).root == tmp_path
    assert find_catalogue(tmp_path, explicit=True).root == tmp_path
    with pytest.raises(CatalogueError, match="no catalogue at") as caught:
        find_catalogue(below, explicit=True)
    assert "--root" in caught.value.hint
    assert tiny.catalogue.names == ["tiny"]


def test_places_outside_the_catalogue_are_shown_whole(tiny: Tiny) -> None:
    assert tiny.catalogue.shown(Path("/else/x.toml")) == "/else/x.toml"
    assert tiny.catalogue.shown(tiny.lock_file) == "lock/tiny.toml"


def test_the_tiny_recipe_has_every_table() -> None:
    tables = ("distribution", "versions", "targets", "options", "patches", "build", "audit")
    assert all(f"[{name}" in TINY for name in tables)


def test_a_folder_named_recipes_above_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "below").mkdir()
    with pytest.raises(CatalogueError):
        find_catalogue(tmp_path / "below")
    assert find_catalogue(tmp_path).root == tmp_path
    (tmp_path / "recipes" / "a.toml").write_text("", encoding="utf-8")
    assert find_catalogue(tmp_path / "below").root == tmp_path
