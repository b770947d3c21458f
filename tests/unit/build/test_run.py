"""One run of cibuildwheel, played by a fake one on PYTHONPATH and an engine that is a script."""

import contextlib
import json
import os
from pathlib import Path

import pytest

from kvpack.build.key import local_version
from kvpack.build.model import BuildPlan, Workshop
from kvpack.build.project import label
from kvpack.build.run import cibuildwheel, prepare
from kvpack.errors import BuildFailed, KvpackError, OptionIgnored, PatchFailed
from kvpack.report import SilentStep, Step
from kvpack.tools.engine import Engine
from tests.unit.build.made import (
    EPOCH,
    PATCH,
    Blobs,
    Heard,
    calls,
    inputs,
    plan,
    recipe,
    script,
    shop,
)

CIBUILDWHEEL = """
import json, os, pathlib, sys, zipfile
here = pathlib.Path(__file__).parent
seen = {"args": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(),
        "config": pathlib.Path(sys.argv[4]).read_text(encoding="utf-8"), "flags": list(sys.flags)}
(here / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
sys.stdout.buffer.write((here / "says").read_bytes())
sys.stdout.flush()
out = pathlib.Path(sys.argv[6])
out.mkdir()
for name in (here / "leaves").read_text(encoding="utf-8").split():
    info, evidence = "-".join(name.split("-")[:2]), pathlib.Path("kvpack-inputs", "evidence")
    with zipfile.ZipFile(out / name, "w") as archive:
        archive.writestr(f"{info}.dist-info/RECORD", b"")
        for path in evidence.rglob("*"):
            if path.is_file():
                archive.write(path, f"{info}.dist-info/{path.relative_to(evidence)}")
    if (here / "spoils").exists():
        exec((here / "spoils").read_text(encoding="utf-8"))
sys.exit(int((here / "code").read_text(encoding="utf-8")))
"""
ENGINE = """
{ printf "%s" "$1"; shift; printf "\\t%s" "$@"; echo; } >> HERE/calls
test "$1" = --all && cat HERE/containers 2>/dev/null
exit 0
"""
PLAN = plan()
VERSION = local_version("1.0", PLAN.key)
WHEEL = f"demo_kv-{VERSION}-cp311-cp311-manylinux_2_36_x86_64.whl"
INFO = f"demo_kv-{VERSION}.dist-info"
CONFIGURED = "-- Configuring done (0.1s)\n"


class Site:
    """A place with a fake cibuildwheel, a fake engine and a laid-out project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = folder / "tools" / "cibuildwheel"
        self.module.mkdir(parents=True)
        (self.module / "__main__.py").write_text(CIBUILDWHEEL, encoding="utf-8")
        self.shop: Workshop = shop(folder)
        (folder / "project" / "source").mkdir(parents=True)
        name = script(folder / "engine", ENGINE.replace("HERE", str(folder)))
        self.engine = Engine(str(name), {"DOCKER_HOST": "unix:///x"})
        self.log = folder / "build.log"
        self.heard = Heard()
        self.plays()

    def plays(self, says: str | bytes = CONFIGURED, code: int = 0, leaves: str = WHEEL) -> None:
        data = says.encode() if isinstance(says, str) else says
        (self.module / "says").write_bytes(data)
        (self.module / "code").write_text(str(code), encoding="utf-8")
        (self.module / "leaves").write_text(leaves, encoding="utf-8")

    def spoils(self, code: str) -> None:
        """What a hostile build does with the wheel ``out / name`` that is there."""
        (self.module / "spoils").write_text(code, encoding="utf-8")

    def build(self, made: BuildPlan = PLAN) -> Path:
        blobs = Blobs(self.folder / "blobs")
        for data in (b"setuptools", b"build"):
            blobs.add(data)
        (self.folder / "fix.patch").write_bytes(PATCH)
        prepare(made, self.shop, blobs, self.folder.joinpath)
        return cibuildwheel(
            made,
            self.shop,
            self.engine,
            tools=self.folder / "tools",
            log=self.log,
            reporter=self.heard,
        )

    def fails(self, made: BuildPlan = PLAN) -> KvpackError:
        with pytest.raises(KvpackError) as caught:
            self.build(made)
        return caught.value

    def seen(self, name: str) -> object:
        return json.loads((self.module / "seen.json").read_text(encoding="utf-8"))[name]

    def calls(self) -> list[list[str]]:
        return list(calls(self.folder / "calls"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_one_wheel_is_handed_on(site: Site) -> None:
    site.plays(f"first\n{CONFIGURED}")
    wheel = site.build()
    assert wheel == site.folder / "wheels" / WHEEL
    assert site.heard.lines == ["first", CONFIGURED.strip()]
    assert site.heard.steps == [f"Building {PLAN.title}"]
    assert site.log.read_bytes() == f"first\n{CONFIGURED}".encode()


def test_it_is_run_for_exactly_one_target_in_the_project_folder(site: Site) -> None:
    site.build()
    args = site.seen("args")
    config = site.folder / "cibuildwheel.toml"
    out = site.folder / "wheels"
    assert args == [
        *("--only", "cp311-manylinux_x86_64", "--config-file", str(config)),
        *("--output-dir", str(out), "source"),
    ]
    assert site.seen("folder") == str(site.folder / "project")
    assert site.seen("config") == config.read_text(encoding="utf-8")
    assert "--only cp311-manylinux_x86_64" in site.heard.details[0]


def test_nothing_of_the_callers_environment_reaches_it_but_what_the_engine_needs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "CIBW_BEFORE_ALL", "PIP_INDEX_URL", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("DOCKER_HOST", "unix:///other")
    monkeypatch.setenv("HOME", "/home/x")
    site.build()
    found = site.seen("environment")
    assert isinstance(found, dict)
    assert "secret" not in found.values()
    assert found.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python's own (PEP 538)
    assert {name: found[name] for name in ("HOME", "PATH", "DOCKER_HOST")} == {
        "HOME": "/home/x",
        "PATH": os.environ["PATH"],
        "DOCKER_HOST": "unix:///x",
    }
    assert found["PYTHONPATH"] == str(site.folder / "tools")
    assert found["SOURCE_DATE_EPOCH"] == str(EPOCH)


def test_only_the_locked_cibuildwheel_can_be_imported(site: Site) -> None:
    text = (
        "import importlib.util as u, sys\n"
        "assert u.find_spec('kvpack') is None\nassert '' not in sys.path\n"
    )
    (site.module / "__main__.py").write_text(text + CIBUILDWHEEL, encoding="utf-8")
    (site.folder / "project" / "json.py").write_text("1 / 0", encoding="utf-8")
    site.build()


@pytest.mark.parametrize("code", [0, 1])
def test_no_container_of_this_key_is_there_before_or_after(site: Site, code: int) -> None:
    """A killed build leaves one; it would hold the name of the next."""
    (site.folder / "containers").write_text("aa\nbb\n", encoding="utf-8")
    site.plays(code=code)
    assert PLAN.key in label(PLAN, site.shop)
    with contextlib.suppress(BuildFailed):
        site.build()
    removal = [
        ["ps", "--all", "--quiet", "--filter", f"label={label(PLAN, site.shop)}"],
        ["kill", "aa"],
        ["rm", "--force", "aa"],
        ["kill", "bb"],
        ["rm", "--force", "bb"],
    ]
    assert site.calls() == [*removal, *removal]


# -- failures -------------------------------------------------------------------------------


def test_a_failure_shows_the_last_lines_and_keeps_all_in_the_log(site: Site) -> None:
    text = "".join(f"\x1b[32mline {n}\x1b[0m\r\n" for n in range(100)) + "last words\n"
    site.plays(text, code=3)
    error = site.fails()
    assert isinstance(error, BuildFailed)
    assert "exited with code 3" in error.what
    assert error.cause.startswith("the last lines are:\n  line 71\n")
    assert error.cause.endswith("line 99\n  last words")
    assert str(site.log) in error.hint
    assert "-m cibuildwheel --only cp311-manylinux_x86_64" in error.hint
    assert site.log.read_bytes() == text.encode()
    assert [call[0] for call in site.calls()] == ["ps", "ps"]


@pytest.mark.parametrize(
    ("line", "guess"),
    [
        ("x.c:1: fatal error: infiniband/verbs.h: No such file or directory", "verbs.h"),
        ("/usr/bin/ld: cannot find -lnuma: No such file or directory", "the library libnuma is"),
        ("/usr/bin/ld: cannot find -lstdc++", "the library libstdc++ is missing"),
        (
            "ld: cannot find -la-b\nld: cannot find -lb.2\nld: cannot find -la-b",
            "the library liba-b, b.2 is missing",
        ),
        ('cannot repair "x.whl" because of too-recent versioned symbols', "newer glibc"),
        ("OSError: [Errno 28] No space left on device", "disk that holds the containers"),
        (
            (
                "ValueError: Cannot repair wheel, because required library "
                '"libibverbs.so.1" could not be located'
            ),
            "libibverbs.so.1 is needed and not in the root (audit.host-libraries",
        ),
        (
            "Traceback:\nModuleNotFoundError: No module named 'torch'\n\nImportError: no Torch",
            "the build imports torch, which is not locked (build.requires",
        ),
        (
            "fatal: unable to access 'https://x/': Could not resolve host: x.example",
            "the build tries to download from x.example, and builds have no network",
        ),
        (
            "kvpack: the source builds version 1.0.1, not 1.0",
            "the source builds version 1.0.1, not 1.0: correct [versions]; ",
        ),
        (
            (
                "\nERROR Unmet dependencies (checked against /tmp/venv/bin/python):\n"
                "\tcmake>=3.20 -> ninja>=1.11\n\t\twanted: >=1.11\n\t\tfound: not installed\n"
                "\tpybind11>=2.12\n\t\twanted: >=2.12\n\t\tfound: 2.11\n"
            ),
            "the build requirement ninja>=1.11, pybind11>=2.12 is not locked (build.requires",
        ),
        (
            "ERROR Missing dependencies:\n\tscikit-build-core\n\tcmake >=3.20\n",
            "the build requirement scikit-build-core, cmake >=3.20 is not locked",
        ),
        (
            (
                "CMake Error at /usr/share/cmake/Modules/FindPackageHandleStandardArgs.cmake:230"
                " (message):\n  Could NOT find OpenSSL, try to set the path to OpenSSL root folder"
                " in the\n  system variable OPENSSL_ROOT_DIR (missing: OPENSSL_CRYPTO_LIBRARY)\n"
                "Call Stack (most recent call first):\n"
            ),
            "CMake found no OpenSSL (build.debian",
        ),
        (
            (
                "Package libnl-3.0 was not found in the pkg-config search path.\n"
                "Perhaps you should add the directory containing `libnl-3.0.pc'\n"
                "to the PKG_CONFIG_PATH environment variable\n"
                "No package 'libnl-3.0' found\n"
            ),
            "pkg-config found no libnl-3.0 (build.debian",
        ),
        (
            "Package 'liburing', required by 'virtual:world', not found",
            "pkg-config found no liburing (build.debian",
        ),
        (
            (
                "-- Checking for module 'libzmq>=4'\n--   No package 'libzmq' found\n"
                "CMake Error at /usr/share/cmake-3.25/Modules/FindPkgConfig.cmake:607 (message):\n"
                "  The following required packages were not found:\n\n   - libzmq>=4\n\n"
            ),
            "pkg-config found no libzmq (build.debian",
        ),
    ],
)
def test_the_likely_cause_is_guessed_from_the_output(site: Site, line: str, guess: str) -> None:
    site.plays(f"a\n{line}\n" + "more\n" * 50, code=1)
    first = site.fails().cause.partition("the last lines are")[0]
    assert guess in first


@pytest.mark.parametrize(
    "text",
    [
        "-- Could NOT find Doxygen (missing: DOXYGEN_EXECUTABLE)",
        "-- Checking for module 'nanomsg'\n--   No package 'nanomsg' found",
        "--   Package 'nanomsg', required by 'virtual:world', not found",
        "CMake Error at CMakeLists.txt:3 (message):\n  no\n\n-- Could NOT find Doxygen",
    ],
)
def test_what_is_only_optional_is_no_cause(site: Site, text: str) -> None:
    site.plays(f"{text}\n" + "more\n" * 50, code=1)
    assert site.fails().cause.startswith("the last lines are")


def test_the_surest_cause_is_named_first(site: Site) -> None:
    site.plays(
        "No package 'x' found\n"
        'Cannot repair wheel, because required library "liba.so" could not be located\n',
        code=1,
    )
    assert site.fails().cause.startswith("liba.so is needed")


def test_output_that_is_not_text_is_shown_all_the_same(site: Site) -> None:
    site.plays(b"\xff\xfe broken\n", code=1)
    assert "\ufffd\ufffd broken" in site.fails().cause
    assert site.log.read_bytes() == b"\xff\xfe broken\n"


def test_a_patch_that_does_not_apply_is_named(site: Site) -> None:
    site.plays(
        "patching file x.c\nHunk #1 FAILED at 3.\n1 out of 1 hunk FAILED\n"
        "kvpack: patch failed: fix.patch\n",
        code=1,
    )
    error = site.fails()
    assert isinstance(error, PatchFailed)
    assert error.what == "patch fix.patch does not apply to demo-1.0.tar.gz"
    assert error.cause == "Hunk #1 FAILED at 3.; 1 out of 1 hunk FAILED"
    assert "recipes/demo.toml" in error.hint
    assert str(site.log) in error.hint


def test_a_patch_without_words_of_patch(site: Site) -> None:
    site.plays("kvpack: patch failed: fix.patch\n", code=1)
    assert "context" in site.fails().cause


UNUSED = """\
CMake Warning:
  Manually-specified variables were not used by the project:

    {}


-- Build files have been written to: /project/source/build
"""


def test_an_option_that_cmake_did_not_read_fails_the_build(site: Site) -> None:
    site.plays(UNUSED.format("CMAKE_TOOLCHAIN\n    USE_CUDA"))
    error = site.fails()
    assert isinstance(error, OptionIgnored)
    assert error.what == f"{PLAN.title}: CMake ignored the option cuda (USE_CUDA)"
    assert "version 1.0" in error.cause
    assert "options.cuda in recipes/demo.toml" in error.hint


@pytest.mark.parametrize("says", ["", "running build_ext\n"])
def test_an_option_of_cmake_is_ignored_where_cmake_never_ran(site: Site, says: str) -> None:
    site.plays(says)
    error = site.fails()
    assert isinstance(error, OptionIgnored)
    assert "ignored the option cuda (USE_CUDA)" in error.what
    assert error.cause == "the build never ran CMake"


@pytest.mark.parametrize("says", [CONFIGURED, "-- Build files have been written to: /x\n"])
def test_cmake_ran_when_it_said_so(site: Site, says: str) -> None:
    site.plays(says)
    assert site.build().name == WHEEL


def test_without_options_of_cmake_nothing_need_run_it(site: Site) -> None:
    made = plan(recipe(("options.cuda.cmake", None), ("options.cuda.env", "USE_CUDA")))
    version = local_version("1.0", made.key)
    site.plays("", leaves=f"demo_kv-{version}-x.whl")
    assert site.build(made).name.startswith("demo_kv-")


def test_variables_that_the_recipe_does_not_set_do_not_matter(site: Site) -> None:
    site.plays(UNUSED.format("CMAKE_TOOLCHAIN\n    USE_CUDA_TOO\n    DEMO_FLAVOR"))
    assert site.build().name == WHEEL


def test_an_option_that_this_version_does_not_have_does_not_matter(site: Site) -> None:
    made = plan(recipe(("options.cuda.when", "<1.0")))
    version = local_version("1.0", made.key)
    site.plays(UNUSED.format("USE_CUDA"), leaves=f"demo_kv-{version}-x.whl")
    assert site.build(made).name.startswith("demo_kv-")


@pytest.mark.parametrize(
    "leaves",
    [
        pytest.param("", id="none"),
        pytest.param(f"{WHEEL} demo_kv-{VERSION}-py3-none-any.whl", id="two"),
        pytest.param(WHEEL.replace("demo_kv", "other"), id="another-project"),
        pytest.param("demo_kv-1.0-cp311-cp311-linux_x86_64.whl", id="not-stamped"),
        pytest.param(f"{WHEEL}.txt", id="no-wheel"),
    ],
)
def test_anything_but_the_one_expected_wheel_is_a_failure(site: Site, leaves: str) -> None:
    site.plays(leaves=leaves)
    error = site.fails()
    assert isinstance(error, BuildFailed)
    assert f"not one demo_kv-{VERSION}-*.whl" in error.what
    assert all(name in error.what for name in leaves.split() if name.endswith(".whl"))
    assert str(site.log) in error.hint


def test_the_accelerators_own_distribution_is_expected(site: Site) -> None:
    made = plan(locked=inputs(("target.accelerator", "cuda12")))
    wheel = f"demo_kv_cu12-{local_version('1.0', made.key)}-cp311-cp311-linux_x86_64.whl"
    site.plays(leaves=wheel)
    assert site.build(made).name == wheel


SPOILED = {
    "a-link": "(out / name).rename(out / 'x'); (out / name).symlink_to(out / 'x')",
    "a-folder": "(out / name).unlink(); (out / name).mkdir()",
    "no-zip": "(out / name).write_bytes(b'wheel')",
    "empty": "(out / name).write_bytes(b'')",
    "no-dist-info": "zipfile.ZipFile(out / name, 'w').close()",
    "encrypted": """
data = bytearray((out / name).read_bytes())
for mark, offset in ((b"PK\\x03\\x04", 6), (b"PK\\x01\\x02", 8)):
    at = -1
    while (at := data.find(mark, at + 1)) >= 0:
        data[at + offset] |= 1
(out / name).write_bytes(data)
""",
    "unknown-method": """
data = bytearray((out / name).read_bytes())
for mark, offset in ((b"PK\\x03\\x04", 8), (b"PK\\x01\\x02", 10)):
    at = -1
    while (at := data.find(mark, at + 1)) >= 0:
        data[at + offset] = 99
(out / name).write_bytes(data)
""",
    "nothing-was-ordered": "import shutil; shutil.rmtree(evidence)",
}
EVIDENCE = ("kvpack/action.json", "kvpack/key", "kvpack/lock-digest", "sboms/kvpack.cdx.json")
REPACK = """
with zipfile.ZipFile(out / name) as archive:
    members = {one: archive.read(one) for one in archive.namelist()}
CHANGE
with zipfile.ZipFile(out / name, "w") as archive:
    for one, data in members.items():
        archive.writestr(one, data)
"""


@pytest.mark.parametrize("code", SPOILED.values(), ids=SPOILED)
def test_what_the_build_left_is_not_believed(site: Site, code: str) -> None:
    site.spoils(code)
    error = site.fails()
    assert isinstance(error, BuildFailed)
    assert f"left {WHEEL} without the evidence that was ordered" in error.what
    assert str(site.log) in error.hint


@pytest.mark.parametrize("member", EVIDENCE)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param("del members[MEMBER]", id="left-out"),
        pytest.param("members[MEMBER] += b' '", id="longer"),
        pytest.param("members[MEMBER] = members[MEMBER].swapcase()", id="same-size"),
        pytest.param("members['x/' + MEMBER] = members.pop(MEMBER)", id="elsewhere"),
    ],
)
def test_evidence_is_what_was_ordered_byte_for_byte(site: Site, member: str, change: str) -> None:
    site.spoils(REPACK.replace("CHANGE", change.replace("MEMBER", repr(f"{INFO}/{member}"))))
    error = site.fails()
    assert isinstance(error, BuildFailed)
    assert "without the evidence that was ordered" in error.what


def test_a_wheel_that_was_packed_again_with_its_evidence_is_taken(site: Site) -> None:
    site.spoils(REPACK.replace("CHANGE", "members['demo/more.py'] = b''"))
    assert site.build().name == WHEEL


class _Impatient(Heard):
    def step(self, title: str) -> Step:
        super().step(title)
        return _Stops()


class _Stops(SilentStep):
    def line(self, text: str) -> None:
        raise KeyboardInterrupt(text)


def test_an_interrupted_build_leaves_no_container(site: Site) -> None:
    site.plays("first\n")
    site.heard = _Impatient()
    with pytest.raises(KeyboardInterrupt):
        site.build()
    assert [call[0] for call in site.calls()] == ["ps", "ps"]
