"""Where a source lies, as recipes write it: an sdist, a git commit or an archive. Pure values."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from kvpack.base import Name, Sha256, Value
from kvpack.names import COMMIT_PATTERN, nearest

_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f\\]")
_GIT_SCHEMES = ("https", "http", "ssh")
"""``git://`` is neither encrypted nor served by the large forges; ``ext::`` runs a program;
``file:`` is for ``--source`` only: a recipe means the same on every machine."""


def git_url_fault(url: str, *, local: bool = False) -> str:
    """What forbids a git URL; empty: it may be asked.

    An option in place of a URL or a host starts programs (CVE-2017-1000117, CVE-2018-17456), and
    so does the transport ``ext::`` (CVE-2015-7545).

    :param local: whether ``file:`` is allowed (``--source``).
    """
    schemes = (*_GIT_SCHEMES, "file") if local else _GIT_SCHEMES
    if _UNPRINTABLE.search(url) or url.startswith("-"):
        return "not a URL: a space, a backslash, a control character, or an option"
    scheme, separator, rest = url.partition("://")
    if not separator or "::" in scheme:
        if re.match(r"[A-Za-z0-9_.-]+@[^/]+:", url):
            user, _, path = url.partition(":")
            return f"not a URL; git's short form is written out: ssh://{user}/{path.lstrip('/')}"
        return f"not a URL of one of {', '.join(schemes)}"
    if scheme not in schemes:
        return f"the transport {scheme!r} is not allowed, only {', '.join(schemes)}"
    if scheme == "file":
        return "" if rest.startswith("/") else "a file URL names this machine: file:///…"
    return _host_fault(url)


def web_url_fault(url: str) -> str:
    """What forbids the URL of an archive; empty: it may be asked."""
    if _UNPRINTABLE.search(url) or not re.match(r"https?://", url):
        return "not an http or https URL"
    return _host_fault(url)


def _host_fault(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, user, password = parts.hostname, parts.username, parts.password
        _ = parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    if not host or host.startswith("-") or (user or "").startswith("-"):
        return "it names no host"
    if password is not None or (user is not None and parts.scheme != "ssh"):
        return "credentials do not belong into a recipe: git and kvpack read them from ~/.netrc"
    if "#" in url:
        return "a '#' has no meaning here"
    return ""


def _git_url(url: str) -> str:
    if fault := git_url_fault(url):
        raise ValueError(f"{_safe(url)!r}: {fault}")
    return url


def _web_url(url: str) -> str:
    if fault := web_url_fault(url):
        raise ValueError(f"{_safe(url)!r}: {fault}")
    return url


def _safe(url: str) -> str:
    """A URL as messages show it: without what may be a secret."""
    return re.sub(r"//[^/@]*@", "//…@", url)


def _ref(text: str) -> str:
    """A tag's name (git-check-ref-format(1)); options and refspecs are none."""
    if not re.fullmatch(r"[A-Za-z0-9_][^\x00-\x20\x7f~^:?*\[\\]*", text) or re.search(
        r"\.\.|@\{|//|/$|\.$|\.lock(/|$)|/\.", text
    ):
        raise ValueError(f"{text!r} is not the name of a git tag, such as v0.3.14")
    return text


def is_ref(text: str) -> bool:
    """Whether a text may name a tag or branch."""
    try:
        _ref(text)
    except ValueError:
        return False
    return True


GitUrl = Annotated[str, AfterValidator(_git_url)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
Ref = Annotated[str, AfterValidator(_ref)]
Commit = Annotated[str, StringConstraints(pattern=COMMIT_PATTERN)]
"""A commit's or tree's full hash."""


class SdistSource(Value):
    """A source distribution in the registry ``pypi``."""

    sdist: Name
    """The project's normalized name; the file is the sdist of the recipe's version."""


class GitSource(Value):
    """A commit of a git repository."""

    git: GitUrl
    """URL of the repository: https, ssh, or http where nothing else is served."""
    tag: Ref | None = None
    """The tag to lock; it is resolved to a commit once."""
    commit: Commit | None = None
    """The commit to lock. Beside ``tag``, it is what the tag must be: a tag that was moved is told.
    Where upstream cannot be reached, it lets the lock name the commit all the same."""
    submodules: bool = False
    """Whether the trees of submodules belong to the source, at the commits that it records."""
    mirrors: tuple[GitUrl, ...] = ()
    """Other URLs of the same repository, in the order to try; the commit decides, not the place."""

    @model_validator(mode="after")
    def _pinned(self) -> "GitSource":
        if self.tag is None and self.commit is None:
            raise ValueError('a git source names a tag or a commit: add tag = "v1" or commit = "…"')
        return self


class ArchiveSource(Value):
    """A tar or zip archive at a URL."""

    archive: WebUrl
    sha256: Sha256
    """Of the archive: the bytes that count, wherever they come from."""
    mirrors: tuple[WebUrl, ...] = ()
    """Other URLs of the same bytes, in the order to try."""

    @property
    def file(self) -> str:
        """The archive's file name."""
        name = urlsplit(self.archive).path.rpartition("/")[2]
        return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._+~!%-]+", "-", name).lstrip("-") or "archive"


_KINDS = {"sdist": "<sdist>", "git": "<git>", "archive": "<archive>"}
_OWN = {"tag": "<git>", "commit": "<git>", "submodules": "<git>", "sha256": "<archive>"}
"""What tells the kind where its own key is missing or misspelt."""


def _kind(value: Any) -> str | None:  # noqa: ANN401  # what TOML may hold, or a model
    """Which kind of source a table means, so that its faults are told as those of that kind."""
    if not isinstance(value, dict):
        models = ((SdistSource, "<sdist>"), (GitSource, "<git>"), (ArchiveSource, "<archive>"))
        return next((kind for model, kind in models if isinstance(value, model)), None)
    named = [kind for key, kind in _KINDS.items() if key in value]
    if named:
        return named[0] if len(named) == 1 else None
    for key in map(str, value):
        guess = nearest(key, _KINDS)
        if key in _OWN or guess:
            return _OWN.get(key) or _KINDS[str(guess)]
    return None


Source = Annotated[
    Annotated[SdistSource, Tag("<sdist>")]
    | Annotated[GitSource, Tag("<git>")]
    | Annotated[ArchiveSource, Tag("<archive>")],
    Discriminator(
        _kind,
        custom_error_type="source_kind",
        custom_error_message="a source is one of { sdist = … }, { git = … }, { archive = … }",
    ),
    Field(),
]
