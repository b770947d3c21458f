"""``kvpack.toml`` at a catalogue's root: where this machine's, or this team's, mirrors are.

::

    [registries.pypi]
    index = "https://…/simple"          # a simple index (PEP 503, PEP 691)
    files = ["https://…"]               # base URLs below which packages/… lies
    find-links = ["file:///…"]          # folders or pages with sdists of your own, for locking

    [registries.debian]
    mirrors = ["https://…/debian"]      # base URLs below which pool/… and dists/… lie

    [registries.go]
    proxies = ["https://…"]             # of Go modules (GOPROXY protocol): tried before GOPROXY

    [registries.git.mirrors]            # for repositories whose URL starts so: tried before it
    "https://github.com/" = ["https://…/github/"]

    [registries.images.mirrors]         # for images whose name starts so: tried before it
    "docker.io/" = ["harbor.example/dockerhub/"]

    [mirrors]
    releases = ["https://…", "s3://…"]  # where kvpack get looks, in this order
    inputs = ["s3://…"]                 # locked files by their sha256: kvpack mirror inputs --to

    [mirrors.public]                    # what serves a storage over HTTP: kvpack get --emit
    "s3://bucket/prefix" = "https://…"

    [shared]                            # results of builds, shared between machines
    url = "s3://bucket/prefix"
    mode = "read"                       # or "read-write" (default)
    keys = ["release.pub"]              # public keys: nothing that none of them signed is taken

    [provenance]
    builder-id = "https://ci.example/runners/trusted"   # whom provenance names as the builder
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from kvpack.base import Text, Value
from kvpack.errors import ConfigInvalid, Fault
from kvpack.names import did_you_mean
from kvpack.recipe.source import git_url_fault
from kvpack.tools.web import redact

FILE = "kvpack.toml"
BaseUrl = Annotated[
    str, StringConstraints(pattern=r"^(https?://[^/\s]+|file:///)\S*$", strip_whitespace=True)
]
"""A URL of a host or folder; whether it ends with a slash does not matter."""


class PypiConfig(Value):
    """The table ``[registries.pypi]``."""

    index: BaseUrl | None = None
    """Simple index; it replaces the default one of pip and uv."""
    files: tuple[BaseUrl, ...] = ()
    """Base URLs to which a locked place is appended; tried first."""
    find_links: tuple[BaseUrl, ...] = ()
    """Folders or pages that list files: sources may be locked from them, before the index."""


class DebianConfig(Value):
    """The table ``[registries.debian]``."""

    mirrors: tuple[BaseUrl, ...] = ()
    """Base URLs to which a locked place is appended; tried before apt's own sources."""


class GoConfig(Value):
    """The table ``[registries.go]``."""

    proxies: tuple[BaseUrl, ...] = ()
    """Base URLs below which ``<module>/@v/`` lies; tried before those of GOPROXY."""


def _git_base(url: str) -> str:
    if fault := git_url_fault(url, local=True):
        raise ValueError(f"{url!r}: {fault}")
    return url


GitBase = Annotated[str, AfterValidator(_git_base)]


class GitConfig(Value):
    """The table ``[registries.git]``."""

    mirrors: dict[GitBase, tuple[GitBase, ...]] = Field(default_factory=dict)
    """How URLs of git repositories, submodules too, start -> what mirrors have in place of it."""


ImageBase = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?/([a-z0-9._/-]*)$")
]
"""How names of images start: a registry, maybe a folder of it."""


class ImagesConfig(Value):
    """The table ``[registries.images]``."""

    mirrors: dict[ImageBase, tuple[ImageBase, ...]] = Field(default_factory=dict)
    """How names of images start -> what mirrors have in place of it."""


class RegistriesConfig(Value):
    """The table ``[registries]``."""

    pypi: PypiConfig = Field(default_factory=PypiConfig)
    debian: DebianConfig = Field(default_factory=DebianConfig)
    go: GoConfig = Field(default_factory=GoConfig)
    git: GitConfig = Field(default_factory=GitConfig)
    images: ImagesConfig = Field(default_factory=ImagesConfig)


MirrorUrl = Annotated[
    str, StringConstraints(pattern=r"^((https?|s3|gs|az)://[^@/\s]+|file:///)[^@?#\s]*$")
]
"""A storage to read from: also a static host. Credentials are the environment's, or in netrc."""


PublicUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^@/\s]+(/[^@?#\s]*)?$")]
"""What anybody reaches with curl alone."""


class MirrorsConfig(Value):
    """The table ``[mirrors]``: storages that hold the same bytes; any may answer."""

    releases: tuple[MirrorUrl, ...] = ()
    """Where ``kvpack get`` takes published wheels from, in the order to try."""
    inputs: tuple[MirrorUrl, ...] = ()
    """Where locked files are tried first, under their sha256."""
    public: dict[MirrorUrl, PublicUrl] = Field(default_factory=dict)
    """Storage -> the HTTP address under which it is served to everybody."""


StorageUrl = Annotated[str, StringConstraints(pattern=r"^((s3|gs|az)://[^@/\s]+|file:///)[^@\s]*$")]


class SharedConfig(Value):
    """The table ``[shared]``: results of builds that several machines share."""

    url: StorageUrl
    """An object storage, or a folder: s3://…, gs://…, az://…, file:///…"""
    mode: Literal["read", "read-write"] = "read-write"
    """``read``: never write; for runners that are not trusted to say what a key gives."""
    keys: tuple[Text, ...] = ()
    """Public keys (PEM files, below the catalogue's root): a result that none of them signed is not
    taken."""


class ProvenanceConfig(Value):
    """The table ``[provenance]``."""

    builder_id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*:\S+$")]
    """A URI that names who builds here: whom those that verify provenance trust."""


class Config(Value):
    """All of ``kvpack.toml``; an absent file is an empty one."""

    registries: RegistriesConfig = Field(default_factory=RegistriesConfig)
    mirrors: MirrorsConfig = Field(default_factory=MirrorsConfig)
    shared: SharedConfig | None = None
    provenance: ProvenanceConfig | None = None


def load(root: Path) -> Config:
    """Read ``kvpack.toml`` below ``root``.

    :raises ConfigInvalid: with every fault of it.
    """
    path = root / FILE
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(
            path, [Fault(place=str(path), message=f"cannot be read: {error}")]
        ) from error
    try:
        return Config.model_validate(tomllib.loads(text))
    except ValidationError as error:
        faults = [
            _fault(path, [str(part) for part in entry["loc"]], entry["type"], entry["msg"])
            for entry in error.errors(include_url=False)
        ]
        raise _invalid(path, faults) from error
    except (ValueError, RecursionError) as error:  # also numbers too long, lists too deep
        raise _invalid(path, [Fault(place=str(path), message=f"not TOML: {error}")]) from error


_TABLES: dict[tuple[str, ...], type[Value]] = {
    (): Config,
    ("registries",): RegistriesConfig,
    ("registries", "pypi"): PypiConfig,
    ("registries", "debian"): DebianConfig,
    ("registries", "go"): GoConfig,
    ("registries", "git"): GitConfig,
    ("registries", "images"): ImagesConfig,
    ("mirrors",): MirrorsConfig,
    ("shared",): SharedConfig,
    ("provenance",): ProvenanceConfig,
}


_MIRROR = "an http, https, s3, gs, az or file URL without credentials and query"
_FORMS: dict[tuple[str, ...], str] = {
    ("registries", "images"): 'a registry and a slash, maybe a folder: "docker.io/"',
    ("mirrors", "releases"): _MIRROR,
    ("mirrors", "inputs"): _MIRROR,
    ("mirrors", "public"): 'the URL of a storage = "https://…", both without credentials and query',
    ("shared", "url"): "s3://bucket/prefix, gs://…, az://… or file:///folder, without credentials",
    ("provenance", "builder-id"): "a URI, such as https://ci.example/runners/trusted",
}


def _fault(path: Path, keys: list[str], kind: str, message: str) -> Fault:
    place = f"{path}: {redact('.'.join(keys))}"  # keys may be URLs
    if kind == "extra_forbidden":
        table = _TABLES.get(tuple(keys[:-1]))
        hint = did_you_mean(keys[-1], table.model_fields) if table else ""
        return Fault(place=place, message=f"unknown key {keys[-1]!r}", hint=hint)
    if kind == "tuple_type":
        return Fault(place=place, message="must be a list", hint="write it in brackets")
    if kind == "string_pattern_mismatch":
        wanted = _FORMS.get(tuple(keys[:2]), "an http, https or file URL")
        return Fault(place=place, message=f"not {wanted}")
    return Fault(place=place, message=message)


def _invalid(path: Path, faults: list[Fault]) -> ConfigInvalid:
    return ConfigInvalid(
        f"{path} has {len(faults)} fault{'s' if len(faults) > 1 else ''}",
        cause="docs/reference.md, Configuration of the machine, has its keys",
        hint="correct what is listed and run the same command again",
        faults=faults,
    )
