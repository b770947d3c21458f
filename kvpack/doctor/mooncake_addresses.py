"""``host:port`` as Mooncake splits it."""

import re

_HOST = re.compile(r"\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_HIGHEST = 65535
_UNEXPANDED = re.compile(r"\$[({A-Za-z_]|<[^>]*>")


def is_unexpanded(text: str) -> bool:
    """Whether a launcher or a person still has to put a value in: ``$(POD_IP)``, ``<host>``."""
    return bool(_UNEXPANDED.search(text))


def fault_of_address(text: str, *, port: bool = True) -> str:
    """Why this is no ``host:port``; ``""`` if it is one, or cannot be known yet.

    :param port: whether a port is required; without one, the whole is the host.
    """
    if is_unexpanded(text):
        return ""
    if text != text.strip():
        return "blanks around it"
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, number = text, ""
    if "://" in text:
        return "it has a scheme"
    return _fault_of_port(number, required=port or text.endswith(":")) or _fault_of_host(host)


def _fault_of_port(number: str, *, required: bool) -> str:
    if not number:
        return "no port" if required else ""
    if not number.isascii() or not number.isdecimal() or len(number) > 5:  # noqa: PLR2004
        return f"{number[:20]!r} is no port"
    return "" if 1 <= int(number) <= _HIGHEST else f"{number} is no port (1 to {_HIGHEST})"


def _fault_of_host(host: str) -> str:
    if not host:
        return "no host"
    if _HOST.fullmatch(host):
        return ""
    return "an IPv6 address stands in brackets" if ":" in host else f"{host[:40]!r} is no host"


def host_of(text: str) -> str:
    host, colon, number = text.rpartition(":")
    return (host if colon and number.isdecimal() else text).strip("[]")


def port_of(text: str) -> str:
    """The port as it is written; ``""`` if there is none."""
    _, colon, number = text.rpartition(":")
    return number if colon and number.isdecimal() else ""


def is_loopback(text: str) -> bool:
    host = host_of(text)
    return host in {"localhost", "::1"} or bool(re.fullmatch(r"127(\.\d{1,3}){1,3}", host))
