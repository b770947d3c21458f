"""Where Go modules are on this machine: ``kvpack.toml``, then ``GOPROXY`` as Go itself reads it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kvpack.errors import ConfigInvalid, FetchFailed
from kvpack.fetch.config import GoConfig
from kvpack.tools.web import redact


@dataclass(frozen=True, kw_only=True, slots=True)
class GoRegistry:
    """Where Go modules may be had, in the order to try."""

    proxies: tuple[str, ...]
    """Base URLs below which ``<module>/@v/`` lies (go.dev/ref/mod#goproxy-protocol)."""


def discover(config: GoConfig, *, environment: Mapping[str, str]) -> GoRegistry:
    """Ask this machine.

    :raises ConfigInvalid: if ``GOPROXY`` names what is no URL.
    :raises FetchFailed: if nothing names a proxy.
    """
    named = environment.get("GOPROXY") or _from_file(environment)
    found = [url.rstrip("/") for url in (*config.proxies, *listed(named))]
    if not found:
        raise FetchFailed(
            "no proxy of Go modules is known on this machine",
            cause="neither kvpack.toml nor GOPROXY (the environment, or go env -w) names one"
            + (f": GOPROXY is {redact(named)!r}" if named else ""),
            hint='put [registries.go] proxies = ["https://…"] into kvpack.toml, or set GOPROXY'
            + (f" (now {redact(named)!r})" if named else ""),
        )
    return GoRegistry(proxies=tuple(dict.fromkeys(found)))


def listed(goproxy: str) -> Iterator[str]:
    """The URLs of a ``GOPROXY``; Go takes the next one after a comma or a bar.

    At ``direct`` and ``off`` the list ends, as for Go (cmd/go, ``modfetch.proxyList``): it asks
    version control then, which gives no zip that a lock could name. A proxy without a scheme is
    https.

    :raises ConfigInvalid: at what is no URL.
    """
    for word in re.split(r"[,|]", goproxy):
        url = word.strip()
        if url in {"direct", "off"}:
            return
        if url and ":/" not in url and not url.startswith("/") and re.search(r"[.:/]", url):
            url = f"https://{url}"
        if url.startswith("/"):
            url = Path(url).as_uri()
        if url and not re.match(r"https?://[^/\s]|file:///", url):
            raise ConfigInvalid(
                f"GOPROXY names {redact(url)!r}, which is no http, https or file URL",
                cause="it is a list of URLs, parted by commas or bars, that direct or off may end",
                hint="correct GOPROXY (go env GOPROXY), or name proxies in kvpack.toml: "
                "[registries.go] proxies",
            )
        if url:
            yield url


def _from_file(environment: Mapping[str, str]) -> str:
    """``GOPROXY`` as ``go env -w`` keeps it: lines ``NAME=value`` of the file that GOENV names."""
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    place = environment.get("GOENV") or f"{home}/go/env"
    try:
        text = "" if place == "off" else Path(place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    found = re.findall(r"(?m)^GOPROXY=(.*)$", text)
    return str(found[-1]).strip() if found else ""
