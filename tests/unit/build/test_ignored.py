"""What logs say of options that nothing read: excerpts of real logs, made by the stand-ins."""

from pathlib import Path

import pytest

from kvpack.build.ignored import (
    ignored,
    refused,
    unknown_options,
    unrecognized_options,
    unused_variables,
)
from kvpack.build.model import BuildPlan
from tests.unit.build.made import plan, recipe

LOG = Path("build.log")
ONE_RUN = """\
-- io_uring: Disabled, for there is no liburing (stand-in)
-- Configuring done
-- Generating done
CMake Warning:
  Manually-specified variables were not used by the project:

    WITH_NVIDIA_PEERMEM


-- Build files have been written to: /project/source/build
"""
TWO_RUNS = (
    ONE_RUN
    + """\
kvpack: step 2 of 3: cmake -S part -B part/build -DUSE_CUDA=OFF
-- Configuring done
CMake Warning:
  Manually-specified variables were not used by the project:

    USE_CUDA
    USE_TCP


-- Build files have been written to: /project/source/part/build
[1/2] Building CXX object x.cpp.o
"""
)


def lines(text: str) -> list[str]:
    return text.splitlines()


def demo(*changes: tuple[str, object]) -> BuildPlan:
    return plan(recipe(*changes))


@pytest.mark.parametrize(
    ("log", "unused"),
    [(ONE_RUN, {"WITH_NVIDIA_PEERMEM"}), (TWO_RUNS, {"WITH_NVIDIA_PEERMEM", "USE_CUDA", "USE_TCP"}),
     ("-- Configuring done\n", set())],
)  # fmt: skip
def test_every_list_of_unused_variables_is_read(log: str, unused: set[str]) -> None:
    assert unused_variables(lines(log)) == unused


@pytest.mark.parametrize(
    ("log", "unknown"),
    [
        ('meson.build:1:0: ERROR: Unknown option: "foo".', {"foo"}),
        ('meson.build:1:0: ERROR: Unknown options: "ucx_pth", "sub:wheel"', {"ucx_pth", "wheel"}),
        ('meson.build:1:0: ERROR: Unknown options: "a, b"', {"a", "b"}),
        ('WARNING: Unknown options: "foo"', {"foo"}),
        ('ERROR: Unknown option "cpp_std" value c++99. Possible values are …', set()),
        ("ld: unknown option: -z", set()),
    ],
)  # fmt: skip
def test_options_that_meson_does_not_know(log: str, unknown: set[str]) -> None:
    assert unknown_options([log]) == unknown


def test_an_option_in_the_second_run_of_cmake_counts() -> None:
    error = ignored(demo(), lines(TWO_RUNS), LOG)
    assert error is not None
    assert error.what.endswith("CMake ignored the option cuda (USE_CUDA)")
    assert "options.cuda in recipes/demo.toml" in error.hint


@pytest.mark.parametrize("word", ["-DWITH_NVIDIA_PEERMEM=OFF", "-D WITH_NVIDIA_PEERMEM:BOOL=OFF"])
def test_what_a_step_sets_by_hand_is_held_to_as_well(word: str) -> None:
    step = f"cmake -S . $KVPACK_CMAKE_OPTIONS {word}"
    error = ignored(demo(("build.steps", [step])), lines(ONE_RUN), LOG)
    assert error is not None
    assert error.what.endswith("CMake ignored the option WITH_NVIDIA_PEERMEM")
    assert "build.steps in recipes/demo.toml" in error.hint


def test_a_variable_that_nobody_asked_for_is_no_option() -> None:
    assert ignored(demo(("build.steps", ["make -DWITH=1"])), lines(ONE_RUN), LOG) is None


def test_an_option_that_meson_does_not_know_is_ignored() -> None:
    made = demo(("options", {"plugins": {"type": "string", "default": "UCX", "meson": "enable"}}))
    error = ignored(made, ['meson.build:1:0: ERROR: Unknown option: "enable".'], LOG)
    assert error is not None
    assert error.what.endswith("meson ignored the option plugins (enable)")


UNRECOGNIZED = "configure: WARNING: unrecognized options: "


@pytest.mark.parametrize(
    ("log", "names"),
    [
        (f"{UNRECOGNIZED}--with-cuda", {"with-cuda"}),
        (f"{UNRECOGNIZED}--without-cuda, --disable-mt", {"with-cuda", "enable-mt"}),
        ("configure: WARNING: unrecognized option: --with-a_b.c", {"with-a_b.c"}),
        ("gcc: error: unrecognized option '--with-cuda'", set()),
        ("  --with-cuda   use CUDA", set()),
    ],
)
def test_options_that_configure_does_not_know(log: str, names: set[str]) -> None:
    assert unrecognized_options([log]) == names


@pytest.mark.parametrize("told", ["--with-cuda", "--without-cuda"])
@pytest.mark.parametrize("value", [True, False, "no", "/usr/local/cuda"])
def test_an_option_of_the_recipe_that_configure_ignores(told: str, value: bool | str) -> None:
    kind = "bool" if isinstance(value, bool) else "string"
    option = {"gpu": {"type": kind, "default": value, "configure": "with-cuda"}}
    steps = ("build.steps", ["./configure $KVPACK_CONFIGURE_OPTIONS"])
    error = ignored(demo(("options", option), steps), [UNRECOGNIZED + told], LOG)
    assert error is not None
    assert error.what.endswith("configure ignored the option gpu (with-cuda)")
    assert error.cause == "version 1.0 has no such option"
    assert "options.gpu in recipes/demo.toml" in error.hint


@pytest.mark.parametrize(
    ("step", "told", "name"),
    [("./configure --with-x=/opt/x", "--with-x", "with-x"),
     ("./configure --without-x", "--without-x", "with-x"),
     ("./configure \\\n  --disable-foo_bar && make", "--disable-foo_bar", "enable-foo_bar"),
     ("./configure --enable-y=no", "--enable-y", "enable-y")],
)  # fmt: skip
def test_an_option_in_a_step_that_configure_ignores(step: str, told: str, name: str) -> None:
    made = demo(("options", {}), ("build.steps", [step]))
    error = ignored(made, [UNRECOGNIZED + told], LOG)
    assert error is not None
    assert error.what.endswith(f"configure ignored the option {name}")
    assert "build.steps in recipes/demo.toml" in error.hint


def test_an_option_that_the_recipe_did_not_give_is_not_its_own() -> None:
    """A sub-package's ``configure`` is passed what the outer one got."""
    made = demo(("options", {}), ("build.steps", ["./configure --with-x --enable-foo"]))
    assert ignored(made, [f"{UNRECOGNIZED}--with-y, --enable-foo-bar"], LOG) is None


REFUSE = [
    {"log": "io_uring: Disabled", "why": "no liburing"},
    {"log": r"(?i)\bcython\b.*not found", "why": "no cco", "when": "<2"},
    {"log": "EP is left out", "why": "no torch", "accelerator": ["cuda13"]},
]
SILENT = {
    "io_uring": (ONE_RUN, "no liburing"),
    "cython": ("[mori stand-in] WARNING: Cython not found: mori.cco.cco is left out", "no cco"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_feature_that_was_left_out_fails_the_build(name: str) -> None:
    log, why = SILENT[name]
    error = refused(demo(("build.refuse", REFUSE)), lines(log), LOG)
    assert error is not None
    assert (error.exit_code, error.cause) == (44, why)
    assert "left something out: " in error.what


@pytest.mark.parametrize("log", ["EP is left out", "-- io_uring: Enabled", ""])
def test_only_what_is_refused_for_this_target(log: str) -> None:
    assert refused(demo(("build.refuse", REFUSE)), lines(log), LOG) is None
