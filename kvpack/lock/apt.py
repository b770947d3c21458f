"""Which Debian packages a root needs: asks apt, in a world of its own.

apt runs with its own state, sources and configuration in a temporary folder, so that neither the
host's packages nor its ``/etc/apt`` decide anything but where the archive is. Release files are
verified by apt against Debian's keyring.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

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


def resolve(
    archive: Archive, suite: str, arch: Arch, packages: tuple[str, ...], reporter: Reporter
) -> tuple[LockedDeb, ...]:
    """The closure of ``packages`` without recommendations, sorted by name.

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
        environment = _world(Path(folder), archive, suite, arch)
        update = run(Command(args=["apt-get", "update", "-q"], environment=environment), reporter)
        said = update.output + update.errors
        if update.code != 0 or re.search(r"^(W|E|Err):? ", said, re.MULTILINE):
            raise _unreachable(suite, update)
        args = ["apt-get", "install", "--yes", "--print-uris", "-qq", "--", *packages]
        install = run(
            Command(
                args=args,
                environment=environment,
                args_shown=[*args[:6], f"<{len(packages)} packages of {suite} {arch.debian}>"],
            ),
            reporter,
        )
        if install.code != 0:
            raise _unknown(suite, install)
    return parse_uris(install.output)


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


def _world(folder: Path, archive: Archive, suite: str, arch: Arch) -> dict[str, str]:
    parts = ("apt.conf.d", "sources.list.d", "preferences.d", "trusted.gpg.d", "auth.conf.d")
    for name in ("lists/partial", "cache/archives/partial", *(f"etc/{part}" for part in parts)):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    source = f"deb [signed-by={KEYRING}] {archive.mirror} {suite} main\n"
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
        hint=f"correct build.debian in the recipe: the names are those of Debian {suite}",
    )
