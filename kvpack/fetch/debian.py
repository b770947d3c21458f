"""Where Debian's packages are on this machine: ``kvpack.toml``, then the host's apt sources."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kvpack.errors import FetchFailed, ToolFailed
from kvpack.fetch.config import DebianConfig
from kvpack.report import Reporter
from kvpack.tools.process import Command, Runner
from kvpack.tools.web import HttpSettings

TARGETS = "$(REPO_URI)|$(CODENAME)|$(ORIGIN)|$(COMPONENT)"


@dataclass(frozen=True, kw_only=True, slots=True)
class DebianRegistry:
    """Where packages of Debian may be had, in the order to try."""

    mirrors: tuple[str, ...] = ()
    """Base URLs below which ``pool/`` and ``dists/`` lie."""
    settings: HttpSettings = field(default_factory=HttpSettings)


def discover(
    config: DebianConfig, *, environment: Mapping[str, str], runner: Runner, reporter: Reporter
) -> DebianRegistry:
    """Ask this machine.

    :raises FetchFailed: if nothing names a mirror.
    """

    def ask(*words: str) -> str:
        try:
            result = runner(Command(args=words, environment=environment), reporter)
        except ToolFailed:  # no apt here: not Debian, then
            return ""
        return result.output if result.code == 0 else ""

    targets = ask("apt-get", "indextargets", "--format", TARGETS, "Created-By: Packages")
    mirrors = [url.rstrip("/") for url in (*config.mirrors, *apt_mirrors(targets))]
    if not mirrors:
        raise FetchFailed(
            "no mirror of Debian is known on this machine",
            cause="neither kvpack.toml nor this host's apt sources (apt-get indextargets) name one",
            hint='put [registries.debian] mirrors = ["https://…/debian"] into kvpack.toml',
        )
    proxy = apt_proxy(ask("apt-config", "dump", "Acquire::http::Proxy"))
    return DebianRegistry(mirrors=tuple(dict.fromkeys(mirrors)), settings=HttpSettings(proxy=proxy))


def apt_mirrors(targets: str) -> Iterator[str]:
    """Pick the mirrors of Debian itself from ``apt-get indextargets``, one per line.

    Security and update suites have pools of their own.
    """
    for line in targets.splitlines():
        uri, codename, origin, component = (*line.split("|"), "", "", "", "")[:4]
        parts = urlsplit(uri)
        is_debian = origin == "Debian" or (
            not origin and parts.path.rstrip("/").endswith("/debian")
        )
        other_pool = re.search(r"security|updates", codename) or "security" in parts.path
        if is_debian and component == "main" and not other_pool:
            if parts.scheme in {"http", "https", "file"}:
                yield uri
            elif parts.scheme == "copy":  # apt's word for a folder
                yield parts._replace(scheme="file").geturl()


def apt_proxy(dump: str) -> str | None:
    """Read ``apt-config dump Acquire::http::Proxy``: the proxy for all hosts, if there is one."""
    found = re.search(r'^Acquire::http::Proxy "([^"]+)";', dump, re.MULTILINE)
    return found[1] if found and found[1] != "DIRECT" else None
