"""The texts of a bundle for an air-gapped site: its requirements, index pages, README. Pure."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from kvpack.names import normalize

WHEELS = "wheels"


@dataclass(frozen=True)
class Environment:
    """What wheels are installed into: CPython on Linux."""

    python: str
    glibc: str
    arch: str

    @property
    def marker(self) -> str:
        return f'(python_version == "{self.python}" and platform_machine == "{self.arch}")'


def environment_of(target: str) -> Environment:
    """``cp311-manylinux_2_39_x86_64-cpu`` -> what it is installed into.

    :raises ValueError: if it is no target.
    """
    found = re.fullmatch(r"cp3(\d+)-manylinux_(\d+)_(\d+)_(\w+)-\w+", target)
    if found is None:
        raise ValueError(f"{target!r} is no target of CPython and glibc")
    return Environment(f"3.{found[1]}", f"{found[2]}.{found[3]}", found[4])


@dataclass
class Pinned:
    """One line of rewritten requirements."""

    name: str
    version: str
    wheels: dict[str, str] = field(default_factory=dict)
    """File name -> sha256, of those in the bundle."""
    environments: list[Environment] = field(default_factory=list)
    """Where it is wanted."""


def requirements(pins: Iterable[Pinned], environments: Sequence[Environment], origin: str) -> str:
    """A set that installs from the bundle alone.

    :param environments: all that the bundle is for: a line that is for all of them has no marker.
    :param origin: the file that it was made from.
    """
    lines = [
        f"# {origin}, for an installation without a network. In the bundle's folder:",
        "#   python3 -m pip install --no-deps --require-hashes -r THIS-FILE",
        "--no-index",
        f"--find-links {WHEELS}",
        "",
    ]
    kinds = {(one.python, one.arch) for one in environments}
    for pin in sorted(pins, key=lambda one: (one.name, one.version)):
        wanted = {(one.python, one.arch): one.marker for one in pin.environments}
        marker = "" if set(wanted) == kinds else f" ; {' or '.join(sorted(wanted.values()))}"
        hashes = [f"    --hash=sha256:{one}" for one in sorted(set(pin.wheels.values()))]
        lines.append(" \\\n".join([f"{pin.name}=={pin.version}{marker}", *hashes]))
    return "\n".join(lines) + "\n"


def simple_pages(wheels: Mapping[str, str]) -> dict[str, bytes]:
    """A static simple index (PEP 503) with relative links: path -> page.

    :param wheels: file name -> sha256.
    """
    projects: dict[str, list[str]] = {}
    for name in sorted(wheels):
        projects.setdefault(normalize(name.partition("-")[0]), []).append(name)
    pages = {
        f"simple/{project}/index.html": _page(
            (f"../../{WHEELS}/{quote(name)}#sha256={wheels[name]}", name) for name in names
        )
        for project, names in projects.items()
    }
    pages["simple/index.html"] = _page((f"{project}/", project) for project in projects)
    return pages


def _page(links: Iterable[tuple[str, str]]) -> bytes:
    body = "".join(
        f'<a href="{html.escape(url)}">{html.escape(text)}</a><br>\n' for url, text in links
    )
    return f"<!DOCTYPE html>\n<html><body>\n{body}</body></html>\n".encode()


def readme(title: str, files: Sequence[str], left_out: Sequence[str]) -> str:
    """What a person at the site reads first."""
    first = files[0] if files else "FILE.txt"
    missing = "".join(f"- {one}\n" for one in left_out) or "- nothing that is known\n"
    return f"""\
{title}

Everything here installs without a network and without a server. In this folder:

    python3 -m pip install --no-deps --require-hashes -r {first}
    uv pip install --offline --no-deps --require-hashes -r {first}

Requirements in this bundle: {", ".join(files)}
wheels-*.txt are the wheels of the release alone; the others are complete sets with dependencies.

Check it first: sha256sum --check --quiet SHA256SUMS, or, with kvpack: kvpack bundle verify FILE
The digest of MANIFEST.json, as its maker gives it, says that it is theirs (--digest); their public
key says so of the wheels that they built and signed (--key).

wheels/      wheels                       simple/     the same as a static index (PEP 503)
evidence/    SBOM, audit, provenance      releases/   manifests
locks/       every input by digest        recipes/, patches/, sources/   what they were built from
inputs/      (with --inputs) all inputs of the builds: kvpack.toml [mirrors] inputs = ["file://…"]

Not in it:
{missing}"""
