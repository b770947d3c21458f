"""What a source says about itself: pyproject.toml (PEP 621), PKG-INFO (core metadata). Pure."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from kvpack.recipe.hints import Hints

UNKNOWN_LICENCE = "LicenseRef-Unknown"
"""An SPDX expression that says that nobody has looked."""


@dataclass(frozen=True, kw_only=True)
class About:
    """Metadata; empty where the source is silent."""

    project: str = ""
    version: str = ""
    summary: str = ""
    license: str = ""
    """An SPDX expression, canonical."""
    license_said: str = ""
    """What the source says where it is no expression."""
    homepage: str = ""
    requires_python: str = ""
    scripts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    """Import names that its back end is told to pack."""
    cmake_version: str = ""
    """What scikit-build-core is told to ask for."""


def read_about(pyproject: bytes | None, pkg_info: bytes | None, hints: Hints) -> About:
    """Read both; pyproject.toml counts where both speak, but for what it calls dynamic.

    :param pyproject: TOML; the caller has shown that it can be read.
    """
    raw = tomllib.loads((pyproject or b"").decode())
    project, tool = _table(raw, "project"), _table(raw, "tool")
    headers = HeaderParser().parsestr((pkg_info or b"").decode(errors="replace"))

    def said(key: str, header: str) -> str:
        value = project.get(key)
        return value if isinstance(value, str) else str(headers.get(header) or "")

    urls = dict(_urls(headers.get_all("Project-URL") or ()))
    urls |= {str(key).lower(): str(value) for key, value in _table(project, "urls").items()}
    licence = _licence(project, headers, hints)
    scikit = _table(tool, "scikit-build")
    return About(
        project=said("name", "Name"),
        version=said("version", "Version"),
        summary=" ".join(said("description", "Summary").split()),
        license=licence[0],
        license_said=licence[1],
        homepage=_homepage(urls, str(headers.get("Home-page") or "")),
        requires_python=said("requires-python", "Requires-Python"),
        scripts=tuple(sorted(_table(project, "scripts"))),
        packages=tuple(_packages(scikit, _table(tool, "setuptools"))),
        cmake_version=_cmake_version(_table(scikit, "cmake")),
    )


def _table(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = raw.get(key)
    return found if isinstance(found, dict) else {}


def _urls(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        label, _, url = line.partition(",")
        yield label.strip().lower(), url.strip()


def _homepage(urls: Mapping[str, str], home_page: str) -> str:
    for label in ("homepage", "home", "repository", "source", "source code", "github"):
        if label in urls:
            return urls[label]
    return home_page if home_page.startswith("http") else next(iter(urls.values()), "")


def _licence(project: Mapping[str, Any], headers: Message, hints: Hints) -> tuple[str, str]:
    """An SPDX expression, or what is said instead of one.

    Order: the expression (PEP 639), the old ``license`` field where it happens to be one, the
    classifiers that name one licence exactly.
    """
    raw = project.get("license")
    texts = [raw if isinstance(raw, str) else str(_table(project, "license").get("text", ""))]
    texts += [str(headers.get("License-Expression") or ""), str(headers.get("License") or "")]
    for text in texts:
        try:
            return canonicalize_license_expression(text.strip()), ""
        except InvalidLicenseExpression:
            continue
    classifiers = [*(project.get("classifiers") or []), *(headers.get_all("Classifier") or [])]
    mark = "License :: "
    named = [one.rpartition(" :: ")[2] for one in classifiers if str(one).startswith(mark)]
    found = sorted({hints.licences[one] for one in named if one in hints.licences})
    if found and set(named) <= {*hints.licences, "OSI Approved"}:
        return (found[0], "") if len(found) == 1 else ("", " and ".join(found))
    first = next((text.strip().splitlines()[0] for text in texts if text.strip()), "")
    return "", first or ", ".join(dict.fromkeys(named))


def _packages(scikit: Mapping[str, Any], setuptools: Mapping[str, Any]) -> Iterable[str]:
    """Last parts of scikit-build's ``wheel.packages``; first parts of setuptools' ``packages``."""
    listed = _table(scikit, "wheel").get("packages")
    if isinstance(listed, list):
        return sorted({str(one).rstrip("/").rpartition("/")[2] for one in listed} - {""})
    if isinstance(listed, dict):
        return sorted({str(one).partition("/")[0] for one in listed})
    listed = setuptools.get("packages")
    named = [*listed, *setuptools.get("py-modules", [])] if isinstance(listed, list) else []
    return sorted({str(one).partition(".")[0] for one in named})


def _cmake_version(cmake: Mapping[str, Any]) -> str:
    if minimum := cmake.get("minimum-version"):
        return f">={minimum}"
    version = str(cmake.get("version") or "")
    return version if re.fullmatch(r"[<>=!~0-9., ]+", version) else ""
