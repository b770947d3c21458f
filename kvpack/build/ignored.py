"""What a build's log says of options that nothing read and of features that were left out. Pure.

The words are those of the tools: CMake's ``cmake.cxx`` (all versions since 2.8), meson's
``msetup.py`` and ``options.py`` (1.0 to 1.12).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kvpack.build.model import BuildPlan
from kvpack.build.steps import commands_of
from kvpack.errors import OptionIgnored

_NOT_USED = "Manually-specified variables were not used by the project"
_CONFIGURED = re.compile(r"Configuring done|Build files have been written to")
"""CMake's words when it has read the options (cmGlobalGenerator)."""
_UNKNOWN = re.compile(r"(?:ERROR|WARNING): Unknown options?: (.+)$")
_UNRECOGNIZED = re.compile(r"configure: WARNING: unrecognized options?: (.+)$")
"""Of autoconf (``_AC_ENABLE_AND_WITH``); it goes on as if nothing had been asked for."""
_SWITCH = re.compile(r"(?<![\w-])--(without|with|enable|disable)-([\w.+-]*\w)")
_VARIABLE = re.compile(r"\w[\w.:-]*")
_IN_STEPS = re.compile(r"(?<![\w-])-D\s*([A-Za-z_]\w*)(?::\w+)?=")


def unused_variables(lines: Sequence[str]) -> set[str]:
    """The variables that CMake calls unused, in every one of its runs."""
    found: set[str] = set()
    for index, line in enumerate(lines):
        if _NOT_USED in line:
            found.update(_block(lines[index + 1 :]))
    return found


def _block(lines: Iterable[str]) -> Iterator[str]:
    """The names of one list: indented, between two empty lines."""
    begun = False
    for line in lines:
        name = line.strip()
        if not name and not begun:
            continue
        if not _VARIABLE.fullmatch(name):
            return
        begun = True
        yield name


def unknown_options(lines: Iterable[str]) -> set[str]:
    """The options that meson does not know; of a subproject's, ``name:`` is left out."""
    return {
        name.strip().strip("\"'").rpartition(":")[2]
        for line in lines
        if (told := _UNKNOWN.search(line))
        for name in told[1].rstrip(".").split(",")
    }


def unrecognized_options(lines: Iterable[str]) -> set[str]:
    """The options that ``configure`` does not know: ``with-cuda``, also where it was negated."""
    told = (match[1] for line in lines if (match := _UNRECOGNIZED.search(line)))
    return _switches("\n".join(told))


def _switches(text: str) -> set[str]:
    """``--without-cuda --enable-mt`` -> ``with-cuda``, ``enable-mt``."""
    return {
        f"{'with' if kind.startswith('with') else 'enable'}-{name}"
        for kind, name in _SWITCH.findall(text)
    }


def ignored(plan: BuildPlan, lines: Sequence[str], log: Path) -> OptionIgnored | None:
    """The error of a build whose log shows that an option was ignored (promise 7).

    Options that set an environment variable cannot be checked: nothing tells who reads it.
    """
    target = plan.inputs.target
    mine = plan.recipe.options_of(target)
    by_cmake = {name: str(one.cmake) for name, (one, _) in mine.items() if one.cmake}
    by_meson = {name: str(one.meson) for name, (one, _) in mine.items() if one.meson}
    # What a step sets by hand is the recipe's wish as well.
    steps = {name: name for name in _IN_STEPS.findall("\n".join(commands_of(plan)))}
    unused, unknown = unused_variables(lines), unknown_options(lines)
    if by_cmake and not any(_CONFIGURED.search(line) for line in lines):
        return _error(plan, ("CMake", by_cmake), log, "the build never ran CMake")
    if found := _named({**steps, **by_cmake}, unused):
        why = f"version {target.version} has no such variable"
        return _error(plan, ("CMake", found), log, why)
    if found := _named({**steps, **by_meson}, unknown):
        return _error(plan, ("meson", found), log, f"version {target.version} has no such option")
    by_configure = {name: str(one.configure) for name, (one, _) in mine.items() if one.configure}
    named = {name: name for name in _switches("\n".join(commands_of(plan)))}
    if found := _named({**named, **by_configure}, unrecognized_options(lines)):
        why = f"version {target.version} has no such option"
        return _error(plan, ("configure", found), log, why)
    return None


def _named(names: dict[str, str], reported: set[str]) -> dict[str, str]:
    return {name: variable for name, variable in sorted(names.items()) if variable in reported}


def _error(plan: BuildPlan, what: tuple[str, dict[str, str]], log: Path, why: str) -> OptionIgnored:
    tool, found = what
    named = [name if name == one else f"{name} ({one})" for name, one in sorted(found.items())]
    first = next(name for name in sorted(found))
    where = "build.steps" if found[first] == first else f"options.{first}"
    return OptionIgnored(
        f"{plan.title}: {tool} ignored the option{'s' if len(found) > 1 else ''} "
        + ", ".join(named),
        cause=why,
        hint=f"correct {where} in recipes/{plan.recipe.name}.toml, or limit it "
        f"with when =; the log is {log}",
    )


def refused(plan: BuildPlan, lines: Sequence[str], log: Path) -> OptionIgnored | None:
    """The error of a build whose log has a line that the recipe's ``build.refuse`` names."""
    target = plan.inputs.target
    for refusal in plan.recipe.build.refuse:
        if not refusal.fits(target.version, target.accelerator):
            continue
        pattern = re.compile(refusal.log)
        line = next((line.strip() for line in lines if pattern.search(line)), None)
        if line is not None:
            return OptionIgnored(
                f"{plan.title}: the build left something out: {line!r}",
                cause=refusal.why,
                hint=f"build.refuse in recipes/{plan.recipe.name}.toml names that line; "
                f"the log is {log}",
            )
    return None
