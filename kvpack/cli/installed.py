"""The distributions of an environment, from their own records. Nothing of it is imported."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from kvpack.audit.model import ElfFile
from kvpack.cli.interpreter import Interpreter
from kvpack.cli.proof import Installed
from kvpack.errors import WheelInvalid
from kvpack.resolve.claims import of_environment, requires_of
from kvpack.resolve.model import Claim, Claims


def installed(where: Interpreter, *, libraries: bool) -> list[Installed]:
    """What an environment has; of a distribution that is there twice, the one that is imported.

    :param libraries: whether to describe ELF files too.
    :raises WheelInvalid: if a record cannot be read.
    """
    found: dict[str, Installed] = {}
    for site in where.sites:
        inside = site.is_relative_to(where.prefix)
        below = site.relative_to(where.prefix).as_posix() if inside else "site-packages"
        for claims in _distributions(site, below):
            elf = tuple(_elf(claims, site, below)) if libraries else ()
            found.setdefault(claims.distribution, Installed(claims, elf))
    return list(found.values())


def _distributions(site: Path, below: str) -> Iterator[Claims]:
    for record in sorted(site.glob("*.dist-info/RECORD")):
        yield _of_record(record, below)
    for info in sorted(site.glob("*.egg-info")):
        yield _of_egg_info(info, site)


def _of_record(record: Path, below: str) -> Claims:
    name, _, version = record.parent.name.removesuffix(".dist-info").rpartition("-")
    try:
        claims = of_environment(
            record.read_text(encoding="utf-8"), below, _text(record, "entry_points.txt")
        )
        return Claims(
            distribution=canonicalize_name(name),
            version=version,
            origin=str(record.parent),
            claims=claims,
            requires=requires_of(_text(record, "METADATA")),
        )
    except ValueError as error:  # of the text, of RECORD, or of the folder's name
        raise WheelInvalid(
            f"the installed {record.parent} cannot be judged: {error}",
            cause="it was written by hand, or an uninstall was cut",
            hint="install that distribution again",
        ) from error


def _text(record: Path, name: str) -> str:
    path = record.with_name(name)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


# -- what setuptools and Debian left ------------------------------------------------------------


def _of_egg_info(info: Path, site: Path) -> Claims:
    """A distribution without RECORD: its files are listed without digests, or only named.

    ``installed-files.txt`` was written by ``setup.py install --record`` through pip; Debian's
    packages have ``top_level.txt`` alone.
    """
    stem = info.name.removesuffix(".egg-info")
    name, _, version = stem.partition("-")
    files = info / "installed-files.txt"
    if files.is_file():
        lines = files.read_text(encoding="utf-8", errors="replace").splitlines()
        paths = [info / line for line in lines if line.strip()]
    else:
        paths = list(_of_top_level(info, site))
    claims = {}
    for path in paths:
        place = path.resolve()
        if place.is_relative_to(site.resolve()) and place.is_file() and place.suffix != ".pyc":
            inner = place.relative_to(site.resolve()).as_posix()
            with place.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            claims[inner] = Claim(path=f"site-packages/{inner}", sha256=digest)
    return Claims(
        distribution=canonicalize_name(name),
        version=version.partition("-py")[0] or "0",
        origin=str(info),
        claims=tuple(claims[inner] for inner in sorted(claims)),
    )


def _of_top_level(info: Path, site: Path) -> Iterator[Path]:
    listed = info / "top_level.txt"
    names = listed.read_text(encoding="utf-8", errors="replace").split() if listed.is_file() else []
    for name in names:
        if (site / name).is_dir():
            yield from (site / name).rglob("*")
        yield from site.glob(f"{name}.*")


# -- ELF files ----------------------------------------------------------------------------------


def _elf(claims: Claims, site: Path, below: str) -> Iterator[ElfFile]:
    """Describe the ELF files of a distribution where they lie; a damaged one is no affair here."""
    from kvpack.audit.elf import MAGIC, ElfDamagedError, read_elf

    prefix = Path(str(site).removesuffix(below)) if below != "site-packages" else site.parent
    for claim in claims.claims:
        head, _, inner = claim.path.partition("/")
        path = site / inner if head == "site-packages" else prefix / claim.path
        try:
            with path.open("rb") as stream:
                if stream.read(len(MAGIC)) == MAGIC:
                    stream.seek(0)
                    yield read_elf(stream, claim.path)
        except (OSError, ElfDamagedError):
            continue
