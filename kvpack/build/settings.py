"""What the back end is told: the environment of a build, and its config settings. Pure."""

import re
import shlex

from kvpack.build.golang import go_environment
from kvpack.build.model import INPUTS, BuildPlan, Workshop
from kvpack.build.nvcc import append_flags
from kvpack.build.steps import options_of

_ADDED_TO = {"CFLAGS", "CXXFLAGS", "GOFLAGS", "NVCC_APPEND_FLAGS"}
"""To these a recipe adds; any other variable is its own."""


def environment(plan: BuildPlan, shop: Workshop) -> dict[str, str]:
    """The environment of the build inside the container, beside the image's own PATH."""
    source = f"/project/{shop.source_folder}"
    prefix_map = f"-ffile-prefix-map={source}=."
    found = {
        "SOURCE_DATE_EPOCH": str(plan.inputs.source.epoch),
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_NO_CACHE_DIR": "1",
        "CFLAGS": prefix_map,
        "CXXFLAGS": prefix_map,
    }
    if plan.inputs.toolkit:
        found["NVCC_APPEND_FLAGS"] = append_flags(source)
    if plan.inputs.source.wrap:
        found["MESON_PACKAGE_CACHE_DIR"] = f"/project/{INPUTS}/wraps"
    found |= go_environment(plan)
    for name, value in plan.recipe.build.environment.items():
        added = name in _ADDED_TO and name in found
        found[name] = f"{found[name]} {value}" if added else value
    target = plan.inputs.target
    for option, value in plan.recipe.options_of(target).values():
        if option.env:
            found[option.env] = value
    # Back ends split CMAKE_ARGS as a shell does, some only at spaces: quote in need only.
    defines = [
        shlex.quote(define) if re.search(r"[\s'\"\\]", define) else define
        for define in options_of(plan, "cmake")
    ]
    if defines:
        found["CMAKE_ARGS"] = " ".join([found.get("CMAKE_ARGS", ""), *defines]).strip()
    if shop.compiler_cache:
        # No CCACHE_BASEDIR: it would make paths relative, and so what __FILE__ leaves in a binary.
        found |= {
            "CCACHE_DIR": "/ccache",
            "CMAKE_C_COMPILER_LAUNCHER": "ccache",
            "CMAKE_CXX_COMPILER_LAUNCHER": "ccache",
        }
    return found


def config_settings(plan: BuildPlan) -> dict[str, str | list[str]]:
    """Those of the recipe, and its meson options, which meson-python takes as ``setup-args``."""
    found: dict[str, str | list[str]] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in plan.recipe.build.config_settings.items()
    }
    options = options_of(plan, "meson")
    meson = plan.inputs.source.backend.partition(".")[0].startswith("mesonpy")
    if options and meson and not plan.recipe.build.generated:
        own = found.get("setup-args", [])
        found["setup-args"] = [*([own] if isinstance(own, str) else own), *options]
    return found


def setting_words(plan: BuildPlan) -> list[str]:
    """The config settings as words of a shell, for the front end ``build``."""
    return [
        shlex.quote(f"--config-setting={name}={one}")
        for name, value in config_settings(plan).items()
        for one in ([value] if isinstance(value, str) else value)
    ]
