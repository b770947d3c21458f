"""Where a wheel is from: its hash, RECORD, action, statement, signature, lock and release.

WHEEL is a file, or a URL in a storage (s3://, gs://, az://, file://, https://). Each check is told
on its own: verified, failed, or not checked, and why. A check that could not be made is no success:
name it with --require to fail then. Nothing of a wheel is executed.
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context, Options
from kvpack.errors import FetchFailed, OfflineMissing, UsageError, VerificationFailed
from kvpack.names import did_you_mean

if TYPE_CHECKING:
    from kvpack.cli.verify_places import Place
    from kvpack.publish.attest_checks import Check, Files
    from kvpack.publish.keyless import Attestations
    from kvpack.publish.model import Release


class Args(Options):
    wheels: list[str]
    key: list[Path]
    identity: str | None = None
    recipe: str | None = None
    channel: str = "stable"
    release: str | None = None
    require: str | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wheels", metavar="WHEEL|URL", nargs="+", help="a wheel, or where one is")
    parser.add_argument(
        "--key", action="append", default=[], type=Path, metavar="PUB",
        help="a public key (PEM) whose signature is enough; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--identity",
        metavar="ID",
        help="whom a keyless certificate must name (its truth is not checked)",
    )
    parser.add_argument("--recipe", metavar="R", help="compare with this recipe's lock")
    parser.add_argument("--channel", default="stable", metavar="NAME", help="of a URL's storage")
    parser.add_argument("--release", metavar="ID", help="the release whose manifest counts")
    parser.add_argument(
        "--require", metavar="CHECK,…", help="checks that must be verified, such as signature,lock"
    )


def run(args: Args, context: Context) -> int:
    """Verify each wheel; all are told."""
    required = _required(args.require)
    rows = []
    for named in args.wheels:
        with _place(named, context) as place:
            checks = _checks(args, context, place)
        bad = [one for one in checks if one.outcome == "failed"]
        bad += [one for one in checks if one.outcome == "not checked" and one.name in required]
        rows.append((place, checks, bad))
    console = context.console
    code = VerificationFailed.exit_code if any(bad for _, _, bad in rows) else 0
    if console.as_json:
        told = [_as_json(*row) for row in rows]
        console.answer("verify", {"exit-code": code, "wheels": told})
        return code
    for place, checks, bad in rows:
        console.print(place.shown)
        console.table(
            ["check", "outcome", "detail"], [[one.name, one.outcome, one.detail] for one in checks]
        )
        missing = [one.name for one in checks if one.outcome == "not checked"]
        if bad:
            console.error(_failed(place, bad))
        elif missing:
            console.print(f"nothing failed; not checked: {', '.join(missing)}")
        else:
            console.print("verified")
    return code


def _as_json(place: "Place", checks: "list[Check]", bad: "list[Check]") -> dict[str, Any]:
    return {
        "wheel": place.shown,
        "passed": not bad,
        "failed": [one.name for one in bad],
        "checks": [one.as_json() for one in checks],
    }


def _failed(place: "Place", bad: "list[Check]") -> VerificationFailed:
    from kvpack.errors import Fault

    count = len(bad)
    return VerificationFailed(
        f"{place.shown}: {count} check{'s' if count > 1 else ''} failed",
        cause="the wheel, what lies beside it or the storage was changed, or you asked for more "
        "than is there",
        hint="do not install it; fetch it again from another place",
        faults=[
            Fault(
                place=one.name,
                message=f"{one.outcome}: {one.detail}",
                hint=one.hint,
            )
            for one in bad
        ],
    )


def _required(text: str | None) -> set[str]:
    from kvpack.publish.attest_checks import CHECKS

    names = {name.strip() for name in (text or "").split(",") if name.strip()}
    for name in names - set(CHECKS):
        raise UsageError(f"--require: there is no check {name!r}", cause=did_you_mean(name, CHECKS))
    return names


# -- the checks -----------------------------------------------------------------------------------


def _checks(args: Args, context: Context, place: "Place") -> "list[Check]":
    from kvpack.audit.wheel import inspect_wheel
    from kvpack.cli.verify_locks import library_checks, lock_check
    from kvpack.publish import attest_checks as told
    from kvpack.publish.attest import embedded
    from kvpack.publish.keyless import identity_check, is_ours
    from kvpack.publish.model import EVIDENCE
    from kvpack.tools.files import sha256_file
    from kvpack.tools.signing import public_key

    keys = [public_key(path) for path in args.key]
    wheel = (place.path.name, sha256_file(place.path))
    facts, faults = inspect_wheel(place.path)
    wrong = "; ".join(f"{fault.place}: {fault.message}" for fault in faults[:3])
    more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""  # noqa: PLR2004
    inside = embedded(place.path) if facts else None
    files = told.Files(
        statement=place.beside(EVIDENCE["statement"]),
        provenance=place.beside(EVIDENCE["provenance"]),
    )
    envelope, sound = told.read_files(files)
    released, manifest = _release(args, place, wheel, files)
    found = [
        _hash(place, wheel[1]),
        released,
        told.outcome("record", wrong + more, "every member has the hash that RECORD names"),
        *told.embedded_checks(inside, facts.version if facts else ""),
        lock_check(args.recipe, context, inside),
        *library_checks(place, inside, manifest),
        sound,
    ]
    attestations = _attestations(files)
    said = envelope or next((one.envelope for one in attestations.found if is_ours(one)), None)
    if said is None:
        found += told.unchecked(("subject", "statement"), "there is no statement that can be read")
    else:
        found += told.statement_checks(said, wheel, inside.document if inside else {})
    found.append(told.signature_check(envelope, keys))
    found.append(identity_check(attestations, wheel, args.identity))
    return sorted(found, key=lambda one: told.CHECKS.index(one.name))


def _attestations(files: "Files") -> "Attestations":
    """The keyless attestations beside a wheel; a file that is none is told by another check."""
    from kvpack.publish.keyless import Attestations, attestations_of

    with contextlib.suppress(ValueError):
        return attestations_of(files.provenance or b"")
    return Attestations()


def _hash(place: "Place", sha256: str) -> "Check":
    from kvpack.publish.attest_checks import Check, outcome

    if place.sha256 is None:
        return Check("hash", "not checked", f"{sha256}: nothing to compare it with (URL#sha256=…)")
    wrong = f"{sha256}, the URL says {place.sha256}" if sha256 != place.sha256 else ""
    return outcome("hash", wrong, f"{sha256}, as the URL says")


def _release(
    args: Args, place: "Place", wheel: tuple[str, str], files: "Files"
) -> "tuple[Check, Release | None]":
    """What the release says of the wheel, and its manifest, if there is one to be believed."""
    from kvpack.publish.attest_checks import Check, outcome
    from kvpack.publish.attest_release import Unlisted, manifested
    from kvpack.tools.files import sha256_of

    if place.storage is None:
        return Check("release", "not checked", "the wheel is not in a storage of releases"), None
    try:
        found = manifested(place.storage, args.channel, wheel[0], args.release)
    except Unlisted as reason:
        return Check("release", "not checked", str(reason)), None
    except ValueError as error:
        return Check("release", "failed", str(error)), None
    wrong = []
    if found.wheel.sha256 != wheel[1]:
        wrong.append(f"it names {found.wheel.sha256}, the wheel has {wheel[1]}")
    for kind in ("statement", "provenance"):
        data, named = getattr(files, kind), found.wheel.evidence.get(kind)
        if (named.sha256 if named else None) != (sha256_of(data) if data is not None else None):
            wrong.append(f"what lies beside the wheel as its {kind} is not what it names")
    about = f"release {found.release}"
    wrongs = f"{about}: {'; '.join(wrong)}" if wrong else ""
    return outcome("release", wrongs, f"{about} names it"), found.manifest


# -- places ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _place(named: str, context: Context) -> "Iterator[Place]":
    from kvpack.cli.nowheel import no_wheel
    from kvpack.cli.verify_places import local, remote

    if "://" in named:
        if context.options.offline and not named.startswith("file:"):
            raise OfflineMissing(f"{named} cannot be read with --offline")
        with context.store.scratch("verify") as folder:
            yield remote(named, folder, context)
    else:
        path = Path(named)
        if not path.is_file():
            raise FetchFailed(f"{named}: no such file", hint="name a wheel, or a URL")
        if (other := no_wheel(path, context)) is not None:
            raise other
        yield local(path)
