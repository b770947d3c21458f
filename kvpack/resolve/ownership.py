"""Which paths have more than one owner. Pure: claims in, report out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from kvpack.resolve.families import Families
from kvpack.resolve.model import Claim, Claims, Collision, ConflictReport, Owner

_Side = tuple[Claims, Claim]


def judge(sets: Sequence[Claims], families: Families) -> ConflictReport:
    """Compare all claims of a set of distributions.

    A path that several write with other bytes is a conflict: the last one installed wins, and an
    uninstall of either breaks the other. So are paths that differ only in case (one file on a
    case-insensitive file system) and a file where another needs a folder. The same bytes are
    no conflict, but told: the first uninstall takes them from all (pip and uv do not count owners).
    """
    by_path: defaultdict[str, list[_Side]] = defaultdict(list)
    for claims in sets:
        for claim in claims.claims:
            by_path[claim.path].append((claims, claim))
    conflicts: list[Collision] = []
    shared: list[Collision] = []
    for path, sides in by_path.items():
        if len({claims.distribution for claims, _ in sides}) < 2:  # noqa: PLR2004  # one owner
            continue
        same = len({claim.identity for _, claim in sides}) == 1
        kind = "same-bytes" if same else "different-bytes"
        collision = _collision(path, kind, sides, families)
        (shared if same else conflicts).append(collision)
    conflicts += _case_only(by_path, families)
    conflicts += _file_and_folder(by_path, families)
    return ConflictReport(
        distributions=tuple(sorted((c.distribution, c.version) for c in sets)),
        conflicts=tuple(sorted(conflicts, key=lambda one: (one.path, one.kind))),
        shared=tuple(sorted(shared, key=lambda one: one.path)),
        bytes_read=sum(claims.read for claims in sets),
        bytes_total=sum(claims.size for claims in sets),
    )


def _case_only(by_path: dict[str, list[_Side]], families: Families) -> Iterator[Collision]:
    folded: defaultdict[str, list[str]] = defaultdict(list)
    for path in by_path:
        folded[path.casefold()].append(path)
    for paths in folded.values():
        sides = [side for path in paths for side in by_path[path]]
        if len(paths) > 1 and len({claims.distribution for claims, _ in sides}) > 1:
            yield _collision(min(paths), "case", sides, families)


def _file_and_folder(by_path: dict[str, list[_Side]], families: Families) -> Iterator[Collision]:
    inside: defaultdict[str, dict[str, _Side]] = defaultdict(dict)
    for path in sorted(by_path):
        for folder in _folders(path):
            if folder in by_path:
                for side in by_path[path]:  # one path tells that a distribution needs the folder
                    inside[folder].setdefault(side[0].distribution, side)
    for path, others in inside.items():
        sides = by_path[path]
        if len({*others, *(claims.distribution for claims, _ in sides)}) > 1:
            yield _collision(path, "file-and-folder", [*sides, *others.values()], families)


def _folders(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _sort_key(side: _Side) -> tuple[str, str, str, str]:
    claims, claim = side
    return (claims.distribution, claims.version, claim.path, claim.sha256 or "")


def _collision(path: str, kind: str, sides: Iterable[_Side], families: Families) -> Collision:
    owners = tuple(
        Owner(
            distribution=claims.distribution,
            version=claims.version,
            sha256=claim.sha256,
            path=claim.path,
        )
        for claims, claim in sorted(sides, key=_sort_key)
    )
    names = sorted({owner.distribution for owner in owners})
    return Collision.model_validate(
        {"path": path, "kind": kind, "owners": owners, "advice": _advice(names, families)}
    )


def _advice(names: list[str], families: Families) -> str:
    family = families.of(names)
    if family is None:
        return f"leave one of {', '.join(names)} out of the set"
    stays = f"; {family.dispatcher} stays" if family.dispatcher else ""
    which = ", ".join(names)
    return (
        f"an environment takes one member of the family {family.name}: keep one of {which}{stays}"
    )
