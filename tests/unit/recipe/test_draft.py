"""A source's own files -> facts, guesses and a first recipe."""

import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from kvpack.recipe.about import UNKNOWN_LICENCE, About, read_about
from kvpack.recipe.draft import draft
from kvpack.recipe.facts import Facts, Offer, notes_of, offer_for, requires_of
from kvpack.recipe.hints import Library, load_hints
from kvpack.recipe.load import parse_recipe
from kvpack.recipe.model import Recipe
from kvpack.recipe.roots import load_roots
from kvpack.recipe.survey import Survey, survey, wanted

HINTS, ROOTS = load_hints(), load_roots()


def read(**files: str) -> Survey:
    """Survey a tree; ``__`` in a name is a slash, ``DOT`` a dot."""
    texts = {name.replace("__", "/").replace("DOT", "."): text for name, text in files.items()}
    return survey(texts, {name: text for name, text in texts.items() if wanted(name)}, HINTS)


def guesses(found: Survey) -> dict[str, bool]:
    return {one.library.title: one.sure for one in found.guesses}


def facts(found: Survey | None = None, about: About | None = None, **more: object) -> Facts:
    plain = Facts(
        name="zap",
        project="zap",
        version="1.0",
        source='{ sdist = "zap" }',
        origin="zap-1.0.tar.gz",
        about=about or About(summary="Zaps", license="MIT"),
        survey=found or Survey(compiled=True),
        backend="setuptools.build_meta",
        build_requires=("setuptools>=77",),
        owns=("zap",),
        owns_from="read from RECORD",
        offer=Offer(family="debian", python=("3.11",), glibc=("2.36",)),
    )
    return replace(plain, **more)  # type: ignore[arg-type]  # any of its fields


def loaded(text: str) -> Recipe:
    recipe, faults = parse_recipe(text.encode(), "recipes/zap.toml")
    assert recipe is not None, (faults, text)
    return recipe


# -- libraries ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("aDOTc", "#include <infiniband/verbs.h>", {"libibverbs-dev": True}),
        ("aDOTcc", '#  include "numa.h"', {"libnuma-dev": True}),
        ("aDOTpyx", "cdef extern from '<zmq.h>' nogil:", {"libzmq3-dev": True}),
        ("aDOTc", "// #include <numa.h>\n/* #include <zmq.h>\n */", {}),
        ("aDOTc", "#include <vector>\n#include <linux/types.h>", {}),
        ("CMakeListsDOTtxt", "find_package(OpenSSL 3 REQUIRED)", {"libssl-dev": True}),
        ("CMakeListsDOTtxt", "find_package(OpenSSL QUIET)", {"libssl-dev": False}),
        ("CMakeListsDOTtxt", "# find_package(OpenSSL REQUIRED)", {}),
        ("CMakeListsDOTtxt", "#[[ find_package(OpenSSL REQUIRED)\n]]", {}),
        (
            "cmake__xDOTcmake",
            "pkg_check_modules(URING REQUIRED liburing>=2)",
            {"liburing-dev": True},
        ),
        ("CMakeListsDOTtxt", "target_link_libraries(x PRIVATE numa)", {"libnuma-dev": True}),
        (
            "CMakeListsDOTtxt",
            "add_library(numa SHARED a.c)\ntarget_link_libraries(x numa)",
            {"libnuma-dev": False},
        ),
        ("mesonDOTbuild", "x = dependency('libzstd')", {"libzstd-dev": True}),
        ("mesonDOTbuild", "x = dependency('libzstd', required: false)", {"libzstd-dev": False}),
        ("setupDOTpy", "Extension('x', libraries=['ibverbs', 'm'])", {"libibverbs-dev": True}),
        ("aDOTcpp", "#include <torch/extension.h>", {"torch": False}),
    ],
)
def test_what_a_file_asks_for(name: str, text: str, expected: dict[str, bool]) -> None:
    assert guesses(read(**{name: text})) == expected


def test_a_header_of_the_tree_itself_is_no_guess() -> None:
    include = "#include <zstd.h>\n"
    assert guesses(read(aDOTc=include)) == {"libzstd-dev": True}
    assert guesses(read(aDOTc=include, zstd__lib__zstdDOTh="")) == {}


def test_a_header_that_the_build_may_put_in_place_is_unsure() -> None:
    found = read(aDOTc="#include <infiniband/verbs.h>", libibverbs__verbsDOTh="")
    assert guesses(found) == {"libibverbs-dev": False}
    assert "perhaps its own libibverbs/verbs.h" in found.guesses[0].because


@pytest.mark.parametrize("folder", ["tests", "third_party", "docs", "examples"])
def test_folders_that_are_not_built_are_not_read(folder: str) -> None:
    files = {f"{folder}__aDOTc": "#include <numa.h>", f"{folder}__CMakeListsDOTtxt": 'option(A "")'}
    found = read(**files)
    assert (found.guesses, found.cmake) == ((), ())
    assert found.compiled


def test_a_library_gives_one_thing() -> None:
    assert Library(debian=("libnuma-dev",), host=("libnuma.so.1",)).title == "libnuma-dev"
    for wrong in ({}, {"debian": ("a-dev",), "requires": "b"}, {"requires": "b", "host": ("x",)}):
        with pytest.raises(ValidationError, match="one of them"):
            Library.model_validate(wrong)


def test_every_glob_of_the_tables_is_of_one_library() -> None:
    for kind in ("headers", "cmake", "pkgconfig", "link"):
        words = [word for one in HINTS.libraries for word in getattr(one, kind)]
        assert sorted(words) == sorted(set(words))


# -- options, variables, traps ------------------------------------------------------------------


def test_cmake_options_are_found_with_their_defaults() -> None:
    found = read(
        CMakeListsDOTtxt='option(USE_CUDA "a \\"b\\"" OFF)\nslime_option(BUILD_RDMA "RDMA" ON)\n'
        'option(BARE "no default")\noption(DERIVED "d" ${USE_CUDA}) # option(NOT "x" ON)\n',
        third_party__CMakeListsDOTtxt='option(THEIRS "x" ON)',
    )
    told = [(one.variable, one.default) for one in found.cmake]
    assert told == [
        ("USE_CUDA", "OFF"), ("BUILD_RDMA", "ON"), ("BARE", ""), ("DERIVED", "${USE_CUDA}"),
    ]  # fmt: skip


def test_meson_options_and_variables_of_setup_py() -> None:
    found = read(
        meson_optionsDOTtxt="option('gpu', type: 'boolean', value: true, description: 'with GPU')",
        setupDOTpy="os.environ.get('ZAP_FAST')\nos.getenv(\"ZAP_GPU\", '')\nos.environ['ZAP_FAST']",
    )
    assert [(one.variable, one.default, one.summary) for one in found.meson] == [
        ("gpu", "true", "with GPU")
    ]
    assert found.environment == ("ZAP_FAST", "ZAP_GPU")
    text = draft(facts(found), HINTS)
    assert '#config-settings = { "setup-args" = ["-Dgpu=true"] }' in text
    assert '#environment = { ZAP_FAST = "1" }' in text


@pytest.mark.parametrize(
    ("version", "old"), [("3.1", True), ("3.5", False), ("2.8...3.20", False), ("3.1...3.4", True)]
)
def test_cmake_4_is_avoided_where_it_would_refuse(version: str, old: bool) -> None:
    found = read(
        CMakeListsDOTtxt="",
        third_party__CMakeListsDOTtxt=f"cmake_minimum_required(VERSION {version})",
    )
    asked = dict(requires_of(facts(found, backend="scikit_build_core.build"), HINTS))
    assert set(asked) == {"cmake<4" if old else "cmake", "ninja"}


def test_a_plug_in_of_the_back_end_asks_too() -> None:
    text = 'metadata.version.provider = "scikit_build_core.metadata.setuptools_scm"'
    asked = dict(requires_of(facts(read(pyprojectDOTtoml=text)), HINTS))
    assert list(asked) == ["setuptools-scm"]
    assert "pyproject.toml has" in asked["setuptools-scm"]


@pytest.mark.parametrize("from_git", [True, False])
def test_a_tree_of_git_has_no_git_to_ask_for_its_version(from_git: bool) -> None:
    known = facts(build_requires=("setuptools_scm[toml]>=8",), from_git=from_git)
    expected = {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.0"} if from_git else {}
    assert loaded(draft(known, HINTS)).build.environment == expected


def test_requirements_that_the_source_names_are_not_added() -> None:
    known = facts(
        backend="scikit_build_core.build",
        about=About(cmake_version=">=3.18"),
        build_requires=("scikit-build-core", "Ninja>=1.5"),
    )
    assert [name for name, _ in requires_of(known, HINTS)] == ["cmake>=3.18"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("CMakeListsDOTtxt", "FetchContent_Declare(x GIT_REPOSITORY y)", "builds have no network"),
        ("setupDOTpy", "import torch", "add the torch"),
        ("aDOTcu", "#include <cuda_runtime.h>", "CUDA toolkit"),
    ],
)
def test_traps_are_told_first(name: str, text: str, said: str) -> None:
    known = facts(read(**{name: text}))
    assert any(said in note for note in notes_of(known, HINTS))
    head = draft(known, HINTS).partition("schema = 1")[0]
    assert "# Look at these first:" in head


def test_names_that_no_wheel_should_own_are_told_and_left_out() -> None:
    known = facts(owns=("include", "zap"))
    assert loaded(draft(known, HINTS)).distribution.owns == ("zap",)
    assert any("installs include" in note for note in notes_of(known, HINTS))


# -- metadata -----------------------------------------------------------------------------------

PYPROJECT = b"""
[project]
name = "Zap"
description = "Zaps\\nthings"
requires-python = ">=3.10"
license = "apache-2.0 and mit"
dynamic = ["version"]
[project.urls]
Repository = "https://example/zap"
[project.scripts]
zap = "zap:main"
[tool.scikit-build]
cmake.version = ">=3.18"
wheel.packages = ["python/zap"]
"""


def test_metadata_of_pyproject_and_pkg_info() -> None:
    about = read_about(PYPROJECT, "Name: Zap\nVersion: 1.2\nSummary: é\n".encode(), HINTS)
    assert about == About(
        project="Zap",
        version="1.2",
        summary="Zaps things",
        license="Apache-2.0 AND MIT",
        homepage="https://example/zap",
        requires_python=">=3.10",
        scripts=("zap",),
        packages=("zap",),
        cmake_version=">=3.18",
    )
    assert read_about(None, "Name: x\nSummary: é\n".encode(), HINTS).summary == "é"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ("License-Expression: MIT", ("MIT", "")),
        ("License: bsd-3-clause", ("BSD-3-Clause", "")),
        ("Classifier: License :: OSI Approved :: MIT License", ("MIT", "")),
        ("Classifier: License :: OSI Approved :: BSD License", ("", "BSD License")),
        ("License: The zap licence", ("", "The zap licence")),
        ("", ("", "")),
    ],
)
def test_the_licence_is_an_expression_or_told(headers: str, expected: tuple[str, str]) -> None:
    about = read_about(None, f"Name: zap\n{headers}\n".encode(), HINTS)
    assert (about.license, about.license_said) == expected


def test_an_unknown_licence_is_no_lie() -> None:
    known = facts(about=About(license_said="BSD License"))
    assert loaded(draft(known, HINTS)).license == UNKNOWN_LICENCE
    assert any("'BSD License'" in note for note in notes_of(known, HINTS))


# -- the text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requires", "family", "python"),
    [
        ("", "debian", ("3.11", "3.13")),
        (">=3.12", "debian", ("3.13",)),
        (">=3.11.2,<3.13", "debian", ("3.11",)),
        ("==3.12.*", "pypa", ("3.12",)),
        ("not a specifier", "debian", ("3.11", "3.13")),
    ],
)
def test_pythons_are_those_of_a_root(requires: str, family: str, python: tuple[str, ...]) -> None:
    offer = offer_for(requires, ROOTS, HINTS)
    assert offer is not None
    assert (offer.family, offer.python) == (family, python)


def test_no_root_may_have_its_python() -> None:
    assert offer_for("<3", ROOTS, HINTS) is None


FULL = {
    "CMakeListsDOTtxt": 'option(USE_CUDA "GPU" ${GUESSED})\noption(WITH_X_ "x" ON)\n'
    "find_package(OpenSSL)\npkg_check_modules(V REQUIRED libibverbs)",
    "aDOTc": "#include <numa.h>",
}


def test_the_draft_is_a_recipe_and_says_where_it_is_from() -> None:
    known = facts(read(**FULL), backend="scikit_build_core.build", programs=("zap",))
    text = draft(known, HINTS)
    recipe = loaded(text)
    assert recipe.build.debian == ("libibverbs-dev", "libnuma-dev")
    assert recipe.build.requires == ("cmake", "ninja")
    assert set(recipe.audit.host_libraries) > {"libibverbs.so.1", "libnuma.so.1"}
    assert recipe.targets.default.glibc == ("2.36",)
    assert recipe.options == {}
    assert '#"libssl-dev",  # find_package(OpenSSL) in CMakeLists.txt' in text
    assert "#include <numa.h> in a.c" in text


def test_all_that_is_commented_out_can_be_uncommented() -> None:
    known = facts(read(**FULL), backend="scikit_build_core.build", programs=("zap",))
    text = re.sub(r'(?m)^( *)#(?=[\["a-z])', r"\1", draft(known, HINTS))
    recipe = loaded(text)
    assert set(recipe.options) == {"use-cuda", "with-x"}
    assert recipe.options["with-x"].default is True
    assert "libssl-dev" in recipe.build.debian
    assert recipe.audit.run == (("zap", "--help"),)
    assert recipe.targets.arch == ("x86_64",)


def test_a_root_that_takes_no_packages_gets_none() -> None:
    known = facts(read(**FULL), offer=Offer(family="pypa", python=("3.12",), glibc=("2.28",)))
    recipe = loaded(draft(known, HINTS))
    assert (recipe.build.root, recipe.build.debian) == ("pypa", ())


def test_of_images_the_newer_takes_the_packages_that_are_guessed() -> None:
    known = facts(read(**FULL), offer=Offer(family="pypa", python=("3.12",), glibc=("2.34",)))
    text = draft(known, HINTS)
    assert "# PyPA's image of glibc 2.28 takes none" in text
    recipe = loaded(re.sub(r'(?m)^( *)#(?=[\["a-z])', r"\1", text))
    assert recipe.build.root == "pypa"
    assert {"libibverbs-dev", "libnuma-dev", "libssl-dev"} <= {*recipe.build.debian}


def test_words_of_upstream_cannot_break_out() -> None:
    evil = 'x"\n[build]\nroot = "evil"\n# \x00\x7f\u2028\ud7ff'
    known = facts(
        read(CMakeListsDOTtxt='option(A "doc\n[build]" ON)'),
        about=About(summary=evil, license_said=evil, homepage=evil, requires_python=evil),
        notes=(evil,),
        backend=evil,
        build_requires=(),
        programs=(evil,),
    )
    recipe = loaded(draft(known, HINTS))
    assert recipe.summary == evil.strip()
    assert recipe.build.root == "debian"
