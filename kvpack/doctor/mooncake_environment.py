"""The environment of vLLM and of the owner: types, ranges, aliases, misspellings."""

import math
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping

from kvpack.doctor.model import Finding
from kvpack.doctor.mooncake_addresses import fault_of_address
from kvpack.doctor.mooncake_model import Case, finding, shown
from kvpack.doctor.mooncake_rules import Variable
from kvpack.names import did_you_mean, nearest

_OURS = ("MOONCAKE_", "VLLM_MOONCAKE_")
_PREFIX = re.compile(r"^(VLLM_)?MOONCAK?E?_|^MOONCKAE_|^MOOCAKE_")
_LONGEST = 19
"""Digits of the largest 64-bit number."""


def check_environment(case: Case) -> Iterator[Finding]:
    """Every variable that vLLM or Mooncake reads, and those that look as if."""
    sides = [case.environment]
    if case.owner.environment is not None:
        sides.append(case.owner.environment)
    for environment in sides:
        of_owner = environment is case.owner.environment
        for name in sorted(environment):
            variable = case.rules.variables.get(name)
            if variable is None:
                yield from _unknown(case, name, environment[name])
            elif of_owner or not _is_elsewhere(case, variable):
                yield from _known(case, variable, environment[name])
    yield from _aliases(case)
    yield from _config_path(case)


def _is_elsewhere(case: Case, variable: Variable) -> bool:
    """Whether the owner's own environment says what counts."""
    return variable.side == "owner" and case.owner.environment is not None


def _unknown(case: Case, name: str, value: str) -> Iterator[Finding]:
    if not _PREFIX.match(name) or name in case.rules.known:
        return
    if any(re.search(pattern, name) for pattern in case.rules.cluster):
        return
    known = [one for one in case.rules.variables if one.startswith(_OURS)] + [*case.rules.known]
    guess = nearest(name, known)
    place = f"environment: {name}"
    message = f"{name}={shown(value)}: no variable of vLLM or Mooncake has this name"
    if guess is None:
        yield finding("unknown-variable", "note", place, message, why="nothing reads it")
        return
    message += f"; did you mean {guess}?"
    why = "it is ignored without a word, so the default stays"
    mend = f"{guess}={shlex.quote(value)}" if value else f"unset {name}"
    yield finding("unknown-variable", "warning", place, message, why=why, environment=mend)


def _known(case: Case, variable: Variable, value: str) -> Iterator[Finding]:
    if variable.side == "sglang":
        message = f"{variable.name}={shown(value)} is read by SGLang, not by vLLM"
        place = f"environment: {variable.name}"
        why = f"vLLM reads {variable.instead}"
        yield finding("foreign-variable", "note", place, message, why=why)
        return
    problem = _problem(variable, value)
    if problem is None:
        return
    default = f", {variable.default}" if variable.default else ""
    why = variable.otherwise.replace("its default", f"its default{default}")
    yield finding(
        "variable",
        variable.severity,
        case.variable_at(variable.name),
        f"{variable.name}={shown(value)}: {problem}",
        why=why,
        environment=f"{variable.name}={_right(variable, value)}",
    )


def _problem(variable: Variable, value: str) -> str | None:
    problem: str | None = None
    match variable.type:
        case "whole":
            problem = _whole(variable, value)
        case "ratio":
            problem = ratio_problem(value)
        case "flag" | "lenient":
            word = value.lower() if variable.any_case else value
            if word not in {*variable.on, *variable.off}:
                words = ", ".join(variable.on), ", ".join(variable.off[:2])
                problem = f"neither on ({words[0]}) nor off ({words[1]})"
        case "choice":
            if value not in variable.choices:
                problem = did_you_mean(value, variable.choices)
        case "host-port" | "host":
            fault = fault_of_address(value, port=variable.type == "host-port")
            problem = f"it must be host:port: {fault}" if fault else None
        case "path" | "text":
            problem = None if value.strip() else "it is empty"
    return problem


def _whole(variable: Variable, value: str) -> str | None:
    digits = value.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal():
        return "it must be a whole number, without a unit"
    number = int(value) if len(digits) <= _LONGEST else (-1 if value[0] == "-" else 1 << 64)
    if variable.low is not None and number < variable.low:
        return f"it must be {variable.low} or more"
    if variable.high is not None and number > variable.high:
        return f"it must be {variable.high} or less"
    return None


def ratio_problem(value: str) -> str | None:
    """What is wrong with a share; ``None`` if it is more than 0 and at most 1."""
    try:
        number = float(value)
    except ValueError:
        return "it must be a number"
    if math.isnan(number) or not 0 < number <= 1:
        return "it must be more than 0 and at most 1"
    return None


def _right(variable: Variable, value: str) -> str:
    """What was most likely meant."""
    match variable.type:
        case "flag" | "lenient":
            yes = value.strip().lower() in {"1", "true", "yes", "on", "y", "t", "enable", "enabled"}
            return (variable.on if yes else variable.off)[0]
        case "choice":
            return nearest(value.strip().lower(), variable.choices) or variable.default
        case "host-port":
            return "<host of the owner>:50053"
        case "host":
            return "<address of this machine>"
        case "whole" | "ratio" | "path" | "text":
            return variable.default or "<path>"


def _aliases(case: Case) -> Iterator[Finding]:
    environment = case.owner_environment
    for alias in case.rules.alias:
        new, old = environment.get(alias.name), environment.get(alias.old)
        if new is None or old is None or _same(case.rules.variables.get(alias.name), new, old):
            continue
        place = case.variable_at(alias.old)
        message = (
            f"{alias.old}={shown(old)} and {alias.name}={shown(new)} disagree: {alias.name} wins"
        )
        why = f"they are two names of one setting, and {alias.old} is the old one"
        mend = f"unset {alias.old}"
        yield finding("alias", "warning", place, message, why=why, environment=mend)


def _same(variable: Variable | None, new: str, old: str) -> bool:
    if variable is not None and variable.type == "flag":
        return (new in variable.on) == (old in variable.on)
    return new.strip() == old.strip()


def _config_path(case: Case) -> Iterator[Finding]:
    """vLLM reads the file that the variable names, whatever file is checked."""
    name = "MOONCAKE_CONFIG_PATH"
    mend = f"{name}={case.machine.config_path or case.place}"
    value = case.environment.get(name)
    place = f"environment: {name}"
    if value is None:
        message = f"{name} is not set here: vLLM must be started with it, naming {case.place}"
        why = "without it vLLM raises ValueError: 'MOONCAKE_CONFIG_PATH' is not set"
        yield finding("config-path", "note", place, message, why=why, environment=mend)
    elif value.strip() and not _is_same_file(case, value):
        message = f"{name}={shown(value)}: vLLM reads that file, and {case.place} is checked"
        why = "nothing that is said here need hold for it"
        yield finding("config-path", "warning", place, message, why=why, environment=mend)


def _is_same_file(case: Case, value: str) -> bool:
    there = posixpath.normpath(value)
    if case.machine.config_path is not None and posixpath.isabs(there):
        return there == posixpath.normpath(case.machine.config_path)
    here = posixpath.normpath(case.place)
    if posixpath.isabs(there) == posixpath.isabs(here):
        return there == here
    longer, shorter = (there, here) if posixpath.isabs(there) else (here, there)
    return longer.endswith("/" + shorter)  # from which folder, nobody said


def integer(environment: Mapping[str, str], name: str, default: int) -> int:
    """What Mooncake takes for a whole number: its default for anything else."""
    value = environment.get(name, "")
    digits = value.removeprefix("-")
    if digits.isascii() and digits.isdecimal() and len(digits) <= _LONGEST:
        return int(value)
    return default
