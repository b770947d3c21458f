"""Which Debian packages a root needs: asks apt, in a world of its own.

apt runs with its own state, sources and configuration in a temporary folder, so that neither the
host's packages nor its ``/etc/apt`` decide anything but where the archive is. Release files are
verified by apt against Debian's keyring.
"""

import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from kvpack.base import ALTERNATIVE
from kvpack.errors import ResolutionFailed, ToolFailed
from kvpack.lock.model import LockedDeb
from kvpack.names import Arch
from kvpack.report import Reporter
from kvpack.tools.process import Command, Result, find, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_LINE = re.compile(
    r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$"
)


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A Debian archive as this machine reaches it."""

    mirror: str
    """Base URL that holds ``dists/`` and ``pool/``."""
    proxy: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Packages that are asked for."""

    suite: str
    arch: Arch
    packages: tuple[str, ...]
    """Of alternatives (``a | b``), the first one is taken that the suite has."""
    provided: tuple[str, ...] = ()
    """Packages that are there already, in the version of the suite; what they need is, too."""


def resolve(archive: Archive, wish: Wish, reporter: Reporter) -> tuple[LockedDeb, ...]:
    """The closure of what is asked for, without recommendations, sorted by name.

    :raises ToolFailed: if apt or Debian's keyring is not on this machine.
    :raises ResolutionFailed: if the archive cannot be read or a package does not exist.
    """
    if find("apt-get") is None or not KEYRING.is_file():
        raise ToolFailed(
            "Debian packages can only be locked where apt and Debian's keyring are",
            cause=f"apt-get or {KEYRING} is missing; building needs neither of them",
            hint="apt-get install apt debian-archive-keyring, or run kvpack lock on Debian",
        )
    with tempfile.TemporaryDirectory(prefix="kvpack-apt-") as folder:
        environment = _world(Path(folder), archive, wish)
        update = run(Command(args=["apt-get", "update", "-q"], environment=environment), reporter)
        said = update.output + update.errors
        if update.code != 0 or re.search(r"^(W|E|Err):? ", said, re.MULTILINE):
            raise _unreachable(wish.suite, update)
        cache = partial(_cache, environment, reporter, wish.suite)
        if wish.provided:
            stanzas = cache("show", "--no-all-versions", "--", *wish.provided)
            (Path(folder) / "status").write_text(installed(stanzas), encoding="utf-8")
        known = {*cache("pkgnames").split()} if ALTERNATIVE in "".join(wish.packages) else ()
        packages = {chosen(one, known) for one in wish.packages} - {*wish.provided}
        args = ["apt-get", "install", "--yes", "--print-uris", "-qq", "--", *sorted(packages)]
        shown = f"<{len(packages)} packages of {wish.suite} {wish.arch.debian}>"
        command = Command(args=args, environment=environment, args_shown=[*args[:6], shown])
        install = run(command, reporter)
        if install.code != 0:
            raise _unknown(wish.suite, install)
    found = parse_uris(install.output)
    return tuple(deb for deb in found if deb.name not in wish.provided)


def _cache(environment: dict[str, str], reporter: Reporter, suite: str, *args: str) -> str:
    """What apt-cache says; a name that it does not know is not in it.

    :raises ResolutionFailed: if it fails: what is provided would be locked, or the wrong package.
    """
    result = run(Command(args=["apt-cache", *args], environment=environment), reporter)
    if result.code != 0:
        raise _unreachable(suite, result)
    return result.output


def chosen(package: str, known: Collection[str]) -> str:
    """Of alternatives, the first that exists; the first one if none does, for apt to name it."""
    names = package.split(ALTERNATIVE)
    return next((name for name in names if name in known), names[0])


_KEPT = ("Package", "Version", "Architecture", "Multi-Arch", "Provides")


def installed(stanzas: str) -> str:
    """Packages as a data base of dpkg has them (deb-control(5)), with nothing that they need.

    :param stanzas: as ``apt-cache show`` prints them.
    """
    found = []
    for stanza in filter(None, (text.strip() for text in stanzas.split("\n\n"))):
        kept = [line for line in stanza.splitlines() if line.split(":")[0] in _KEPT]
        found.append("\n".join(["Status: install ok installed", *kept]) + "\n")
    return "\n".join(found)


def parse_uris(text: str) -> tuple[LockedDeb, ...]:
    """The lines of ``apt-get --print-uris``: URI, file name, size, digest.

    :raises ResolutionFailed: if a file has no digest: nothing may be left out of a lock.
    """
    found = []
    for line in text.splitlines():
        match = _LINE.match(line.strip())
        if match is None:
            if line.startswith("'"):
                raise ResolutionFailed(
                    f"apt names a file without size and sha256: {line.strip()}",
                    cause="the archive's Packages file has no SHA256 for it",
                    hint="lock against another mirror: [registries.debian] in kvpack.toml",
                )
            continue
        name, version, _ = unquote(match["file"]).rsplit("_", 2)
        _, _, pool = unquote(match["uri"]).partition("/pool/")
        found.append(
            LockedDeb(
                name=name,
                version=version,
                path=f"pool/{pool}",
                size=int(match["size"]),
                sha256=match["sha256"],
            )
        )
    return tuple(sorted(found, key=lambda deb: deb.name))


def _world(folder: Path, archive: Archive, wish: Wish) -> dict[str, str]:
    arch = wish.arch
    parts = ("apt.conf.d", "sources.list.d", "preferences.d", "trusted.gpg.d", "auth.conf.d")
    for name in ("lists/partial", "cache/archives/partial", *(f"etc/{part}" for part in parts)):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    source = f"deb [signed-by={KEYRING}] {archive.mirror} {wish.suite} main\n"
    (folder / "etc" / "sources.list").write_text(source, encoding="utf-8")
    lines = [
        f'Dir::State "{folder}";',
        f'Dir::State::status "{folder}/status";',
        f'Dir::Cache "{folder}/cache";',
        f'Dir::Etc "{folder}/etc";',
        f'APT::Architecture "{arch.debian}";',
        f'APT::Architectures {{ "{arch.debian}"; }};',
        'APT::Sandbox::User "root";',
        'APT::Install-Recommends "false";',
        'APT::Cmd::Pattern-Only "true";',  # a name that is no package is not tried as a regex
        'Acquire::Languages "none";',
        'Acquire::ForceHash "SHA256";',
        'Acquire::Retries "3";',
        'Debug::NoLocking "true";',
    ]
    if archive.proxy:
        lines.append(f'Acquire::http::Proxy "{archive.proxy}";')
    (folder / "apt.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        "APT_CONFIG": str(folder / "apt.conf"),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
    }


def _unreachable(suite: str, result: Result) -> ResolutionFailed:
    return ResolutionFailed(
        f"the Debian archive's suite {suite!r} cannot be read",
        cause="apt says:\n  " + "\n  ".join(result.tail(8)),
        hint="check the mirror: [registries.debian] in kvpack.toml, else the host's apt sources",
    )


def _unknown(suite: str, result: Result) -> ResolutionFailed:
    return ResolutionFailed(
        f"suite {suite!r} cannot provide the root's packages",
        cause="apt says:\n  " + "\n  ".join(result.tail(8)),
        hint=f"correct build.debian in the recipe: the names are those of Debian {suite}; where "
        'another suite of its roots calls a package differently: "one | other"',
    )
