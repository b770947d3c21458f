"""One run of cibuildwheel, played by a fake one on PYTHONPATH and an engine that is a script."""

import contextlib
import json
import os
from pathlib import Path

import pytest

from kvpack.build.key import local_version
from kvpack.build.model import BuildPlan, Workshop
from kvpack.build.run import cibuildwheel
from kvpack.errors import BuildFailed, KvpackError, OptionIgnored, PatchFailed
from kvpack.report import SilentStep, Step
from kvpack.tools.engine import Engine
from tests.unit.build.made import EPOCH, Heard, calls, inputs, plan, recipe, script, shop

CIBUILDWHEEL = """
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
seen = {"args": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(),
        "config": pathlib.Path(sys.argv[4]).read_text(encoding="utf-8"), "flags": list(sys.flags)}
(here / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
sys.stdout.buffer.write((here / "says").read_bytes())
sys.stdout.flush()
out = pathlib.Path(sys.argv[6])
out.mkdir()
for name in (here / "leaves").read_text(encoding="utf-8").split():
    (out / name).write_bytes(b"wheel")
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

    def plays(self, says: str | bytes = "", code: int = 0, leaves: str = WHEEL) -> None:
        data = says.encode() if isinstance(says, str) else says
        (self.module / "says").write_bytes(data)
        (self.module / "code").write_text(str(code), encoding="utf-8")
        (self.module / "leaves").write_text(leaves, encoding="utf-8")

    def build(self, made: BuildPlan = PLAN) -> Path:
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
    site.plays("first\nsecond\n")
    wheel = site.build()
    assert wheel == site.folder / "wheels" / WHEEL
    assert wheel.read_bytes() == b"wheel"
    assert site.heard.lines == ["first", "second"]
    assert site.heard.steps == [f"Building {PLAN.title}"]
    assert site.log.read_bytes() == b"first\nsecond\n"


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
    with contextlib.suppress(BuildFailed):
        site.build()
    removal = [
        ["ps", "--all", "--quiet", "--filter", f"label=kvpack.key={PLAN.key}"],
        ["rm", "--force", "aa"],
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
        ("  Could NOT find OpenSSL (missing: OPENSSL_LIBRARY)", "CMake found no OpenSSL"),
        ("ERROR Missing dependencies:", "a build requirement is not locked"),
        ("/usr/bin/ld: cannot find -lnuma: No such file or directory", "libnuma"),
        ('cannot repair "x.whl" because of too-recent versioned symbols', "newer glibc"),
        ("OSError: [Errno 28] No space left on device", "disk that holds the containers"),
    ],
)
def test_the_likely_cause_is_guessed_from_the_output(site: Site, line: str, guess: str) -> None:
    site.plays(f"a\n{line}\n" + "more\n" * 50, code=1)
    first = site.fails().cause.partition("the last lines are")[0]
    assert guess in first


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
