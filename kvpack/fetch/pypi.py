"""Where PyPI, or what stands for it, is on this machine: asked of the tools that know.

Order: ``kvpack.toml``, pip's configuration, uv's, and the default that is built into uv or pip,
which is read from the tool's own help. The last is used only where no other default is set.
"""

import ast
import re
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvpack.errors import ConfigInvalid, Fault, FetchFailed, ToolFailed
from kvpack.fetch.config import PypiConfig
from kvpack.fetch.remembered import Memory, recalled, remember, signature
from kvpack.report import Reporter
from kvpack.tools.process import Command, Runner
from kvpack.tools.web import HttpSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class PypiRegistry:
    """Where files of PyPI may be had, in the order to try."""

    files: tuple[str, ...] = ()
    """Base URLs to which a place is appended."""
    find_links: tuple[str, ...] = ()
    """Folders, ``file`` URLs or pages that list files (pip's ``find-links``)."""
    indexes: tuple[str, ...] = ()
    """Simple indexes (PEP 503): any of them may have the bytes of a digest."""
    declared: tuple[str, ...] = ()
    """``find-links`` of the catalogue's own ``kvpack.toml``; no other may add a source."""
    primary: str | None = None
    """The one index that new versions are taken from: extra indexes never add any, so that a
    higher version elsewhere cannot win (dependency confusion)."""
    settings: HttpSettings = field(default_factory=HttpSettings)

    @property
    def index(self) -> str:
        """The primary index.

        :raises FetchFailed: if there is none.
        """
        if self.primary is None:
            raise FetchFailed(
                "no index of PyPI is known on this machine",
                hint="configure pip or uv, or put [registries.pypi] index = … into kvpack.toml",
            )
        return self.primary


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """What one tool's configuration says."""

    default: str | None = None
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    settings: HttpSettings = field(default_factory=HttpSettings)


def discover(
    config: PypiConfig,
    *,
    environment: Mapping[str, str],
    runner: Runner,
    reporter: Reporter,
    memory: Memory | None = None,
) -> PypiRegistry:
    """Ask this machine. It costs a third of a second where pip must start.

    :param memory: where pip's answer is remembered as long as it holds.
    :raises ConfigInvalid: if a configuration that was found cannot be understood.
    :raises FetchFailed: if nothing names a place to fetch from.
    """
    pip = _pip(environment, runner, reporter, memory)
    uv = _uv(environment)
    indexes = [config.index, pip.default, *pip.extra, uv.default, *uv.extra]
    primary = config.index or pip.default or uv.default
    if not (primary or pip.no_index or uv.no_index):
        primary = _built_in(environment, runner, reporter)
        indexes.append(primary)
    registry = PypiRegistry(
        files=config.files,
        find_links=_unique([*config.find_links, *pip.find_links, *uv.find_links]),
        declared=config.find_links,
        indexes=_unique(url.rstrip("/") for url in indexes if url),
        primary=primary.rstrip("/") if primary else None,
        settings=pip.settings,
    )
    if not (registry.files or registry.find_links or registry.indexes):
        raise FetchFailed(
            "no Python package index is known on this machine",
            cause="neither kvpack.toml, nor pip's or uv's configuration names one, "
            "and neither pip nor uv is installed to ask for its default",
            hint='put [registries.pypi] index = "https://…/simple" into kvpack.toml',
        )
    return registry


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


# -- pip ------------------------------------------------------------------------------------


def _pip_commands() -> list[list[str]]:
    """Ways to start pip: kvpack's own interpreter may have none (``uv tool install``)."""
    commands = [[sys.executable, "-m", "pip"]] if sys.executable else []
    found = shutil.which("pip")
    return [*commands, [found]] if found else commands


def _ask_pip(
    words: list[str], environment: Mapping[str, str], runner: Runner, reporter: Reporter
) -> str | None:
    for pip in _pip_commands():
        try:
            result = runner(Command(args=[*pip, *words], environment=environment), reporter)
        except ToolFailed:
            continue
        if result.code == 0:
            return result.output
        if "no module named pip" not in result.errors.lower():
            reporter.detail(f"pip {' '.join(words)} failed: {' '.join(result.tail(1))}")
    return None


def _pip(
    environment: Mapping[str, str], runner: Runner, reporter: Reporter, memory: Memory | None
) -> _Said:
    name = signature(environment, _pip_commands())
    output = recalled(memory, name)
    if output is None:
        output = _ask_pip(["config", "list"], environment, runner, reporter)
        if output is not None:
            remember(memory, name, output)
    output = output or ""
    values = parse_pip_config(output)
    no_index = values.get("no-index", "").lower() in {"1", "true", "yes", "on"}
    timeout = _seconds(values.get("timeout") or values.get("default-timeout"))
    plain = HttpSettings()
    settings = HttpSettings(
        connect=min(plain.connect, timeout or plain.connect),
        read=timeout or plain.read,
        cert=values.get("cert") or None,
        proxy=values.get("proxy") or None,
    )
    return _Said(
        default=None if no_index else values.get("index-url"),
        extra=() if no_index else tuple(values.get("extra-index-url", "").split()),
        find_links=tuple(values.get("find-links", "").split()),
        no_index=no_index,
        settings=settings,
    )


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if seconds > 0:
        return seconds
    fault = Fault(place="pip's configuration: timeout", message=f"{text!r} is no number of seconds")
    raise ConfigInvalid(
        f"pip's timeout is {text!r}",
        cause="PIP_TIMEOUT, PIP_DEFAULT_TIMEOUT or pip.conf sets it",
        hint="pip config debug shows where",
        faults=[fault],
    )


def parse_pip_config(output: str) -> dict[str, str]:
    """Merge the lines of ``pip config list``: ``global.index-url='https://…'``.

    A later section wins, as in pip: all commands, then ``install``, then the environment.
    """
    merged: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in output.splitlines():
            name, equals, value = line.partition("=")
            if not equals or not name.startswith(f"{section}."):
                continue
            try:
                merged[name.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
            except (ValueError, SyntaxError):
                merged[name.removeprefix(f"{section}.")] = value
    return merged


# -- uv -------------------------------------------------------------------------------------


def _uv(environment: Mapping[str, str]) -> _Said:
    """Read uv's environment variables, then its file, as uv does."""
    file = _uv_file(environment)
    default = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL")
    extra = environment.get("UV_INDEX", "") + " " + environment.get("UV_EXTRA_INDEX_URL", "")
    links = [link for link in environment.get("UV_FIND_LINKS", "").split(",") if link]
    no_index = environment.get("UV_NO_INDEX", "").lower() in {"1", "true", "yes", "on"}
    return _Said(
        default=_url_of(default) if default else file.default,
        extra=_unique([*map(_url_of, extra.split()), *file.extra]),
        find_links=_unique([*links, *file.find_links]),
        no_index=no_index or file.no_index,
    )


def _url_of(index: str) -> str:
    """``name=url`` or ``url`` (uv's ``--index``) -> ``url``."""
    named = re.match(r"[A-Za-z0-9._-]+=(.*)", index)
    return named[1] if named else index


def _uv_file(environment: Mapping[str, str]) -> _Said:
    for path in _uv_files(environment):
        try:
            data = tomllib.loads(path.read_bytes().decode())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise ConfigInvalid(
                f"uv's configuration {path} cannot be read",
                cause=str(error),
                hint="correct it: uv itself fails on it too",
                faults=[Fault(place=str(path), message=str(error))],
            ) from error
        return _uv_said(data)
    return _Said()


def _uv_files(environment: Mapping[str, str]) -> list[Path]:
    """Where uv reads from, first found first (its "Configuration files")."""
    if named := environment.get("UV_CONFIG_FILE"):
        return [Path(named)]
    home = Path(environment.get("HOME", "/"))
    folder = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    return [folder / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]


def _uv_said(data: Mapping[str, object]) -> _Said:
    entries = data.get("index")
    listed = entries if isinstance(entries, list) else []
    tables = [entry for entry in listed if isinstance(entry, dict)]
    usable = [entry for entry in tables if entry.get("url") and not entry.get("explicit")]
    defaults = [str(entry["url"]) for entry in usable if entry.get("default")]
    defaults += _strings([data["index-url"]] if data.get("index-url") else [])
    return _Said(
        default=next(iter(defaults), None),
        extra=(
            *(str(entry["url"]) for entry in usable if not entry.get("default")),
            *_strings(data.get("extra-index-url")),
        ),
        find_links=_strings(data.get("find-links")),
        no_index=data.get("no-index") is True,
    )


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, list) else ()


# -- the default ----------------------------------------------------------------------------


def _built_in(environment: Mapping[str, str], runner: Runner, reporter: Reporter) -> str | None:
    """Read the default index from uv's help, else from pip's."""
    beside = Path(sys.executable).parent / "uv" if sys.executable else Path("uv")
    uv = str(beside) if beside.is_file() else "uv"
    try:
        words = [uv, "pip", "compile", "--help"]
        output = runner(Command(args=words, environment=environment), reporter).output
    except ToolFailed:
        output = ""
    found = re.search(r"by\s+default:\s+<(https?://[^>\s]+)>", output)
    if found is None:
        output = _ask_pip(["install", "--help"], environment, runner, reporter) or ""
        found = re.search(r"\(default\s+(https?://[^)\s]+)\)", output)
    return found[1] if found else None
