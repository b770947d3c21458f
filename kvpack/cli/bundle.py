"""One file for an air-gapped site: wheels, dependencies, index, locks, sources, evidence.

With RECIPE… the wheels are those that kvpack build left in --dist, proved as for publish; without,
those of --release ID or of --channel in the storage that --from names. --requirements FILE adds all
that a requirements.txt or pylock.toml names, by the digests that it holds, and writes it again for
an installation with --no-index. The same inputs give the same bytes.

kvpack bundle verify FILE checks every member against the manifest, the manifest's own digest, each
wheel against its RECORD, its release and its statement, and with --key PUB the signatures of these
statements: a wheel of a release that the key did not sign is then a fault. Nothing outside of the
file is asked. What could not be checked is said.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context
from kvpack.cli.copies import BundleArgs, add_source
from kvpack.cli.select import add_selectors
from kvpack.console import human_size
from kvpack.errors import UsageError, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvpack.errors import Fault

_SHOWN = 20


class Args(BundleArgs):
    """What ``bundle verify`` is asked for, too."""

    key: list[Path]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_selectors(parser, recipes="*")
    add_source(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="such as kv.tar")
    parser.add_argument(
        "--requirements", action="append", default=[], type=Path, metavar="FILE",
        help="a requirements.txt or pylock.*.toml with digests; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--index", dest="indexes", action="append", default=[], metavar="URL",
        help="an index to ask for dependencies before the machine's own; may be repeated",
    )  # fmt: skip
    parser.add_argument("--dist", type=Path, default=Path("dist"), metavar="DIR",
                        help="with RECIPE: what kvpack build left (default: dist)")  # fmt: skip
    parser.add_argument("--inputs", action="store_true",
                        help="also every locked input, so that the site can build")  # fmt: skip
    parser.add_argument("--allow-partial", action="store_true",
                        help="although wheels of RECIPE are missing")  # fmt: skip
    parser.add_argument("--digest", metavar="SHA256",
                        help="verify: what the manifest must have")  # fmt: skip
    parser.add_argument(
        "--key", action="append", default=[], type=Path, metavar="PUB",
        help="verify: a public key (PEM) that signed the wheels of the release; may be repeated",
    )  # fmt: skip


def run(args: Args, context: Context) -> int:
    """Make a bundle, or check one."""
    if args.recipes[:1] == ["verify"]:
        return _verify(args, context)
    for word, given in (("--digest", args.digest), ("--key", args.key)):
        if given:
            raise UsageError(
                f"{word} is for kvpack bundle verify", hint=f"kvpack bundle verify FILE {word} …"
            )
    return _make(args, context)


def _make(args: BundleArgs, context: Context) -> int:
    from kvpack.cli.bundling import gather_parts
    from kvpack.publish.bundle import manifest_of, write

    if args.output is None:
        raise UsageError("kvpack bundle was told no file", hint="add: -o kv.tar")
    if args.output.is_dir():
        raise UsageError(f"-o {args.output} is a folder", hint=f"-o {args.output}/kv.tar")
    found = gather_parts(args, context)
    manifest = manifest_of(found.title, found.releases, tuple(found.left_out), found.parts)
    with context.console.step(f"Writing {args.output}"):
        digest = write(manifest, found.parts, args.output)
    size = args.output.stat().st_size
    wheels = [piece.path for piece in manifest.members if piece.path.startswith("wheels/")]
    if context.console.as_json:
        context.console.answer(
            "bundle",
            {
                "file": str(args.output), "size": size, "manifest-sha256": digest,
                "members": manifest.count, "wheels": len(wheels), "manifest": manifest.as_json(),
            },
        )  # fmt: skip
        return 0
    console = context.console
    console.print(
        f"{args.output}: {len(wheels)} wheel{'' if len(wheels) == 1 else 's'}, "
        f"{manifest.count} members, {human_size(size)}"
    )
    console.print(f"manifest sha256 {digest}: give it to the site by another way")
    for one in found.left_out:
        console.print(f"not in it: {one}")
    console.print(f"check:   kvpack bundle verify {args.output} --digest {digest}")
    first = found.texts[0]
    console.print(
        f"install: tar -xf {args.output.name} && cd kvpack-bundle && python3 -m pip install "
        f"--no-deps --require-hashes -r {first}"
    )
    return 0


def _verify(args: Args, context: Context) -> int:
    from kvpack.publish.bundlecheck import check
    from kvpack.tools.signing import public_key

    if len(args.recipes) != 2:  # noqa: PLR2004  # the word and the file
        raise UsageError("kvpack bundle verify takes one file", hint="kvpack bundle verify kv.tar")
    path = Path(args.recipes[1])
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="kvpack bundle verify kv.tar")
    keys = [public_key(one) for one in args.key]
    with context.console.step(f"Checking {path}"), context.store.scratch("bundle") as folder:
        found = check(path, folder, _record_faults, digest=args.digest, keys=keys)
    console = context.console
    if found.faults:
        count = len(found.faults)
        raise VerificationFailed(
            f"{path} does not pass: {count} fault{'s' if count > 1 else ''}",
            cause="it was changed, damaged or cut after it was made, or the given key is not that "
            "of whoever published its wheels"
            if keys
            else "it was changed, damaged or cut after it was made",
            hint="install nothing of it; copy it again from where it was made",
            faults=found.faults,
        )
    if console.as_json:
        console.answer(
            "bundle-verify",
            {
                "file": str(path), "manifest-sha256": found.digest, "members": len(found.seen),
                "wheels": found.wheels, "not-checked": found.not_checked,
                "provenance": [one.as_json() for one in found.proofs.judged],
            },
        )  # fmt: skip
        return 0
    wheels = f"{found.wheels} wheel{'' if found.wheels == 1 else 's'}"
    told = f"{len(found.seen)} members as the manifest says, {wheels} as RECORD says"
    console.print(f"{path}: {told}")
    console.print(f"manifest sha256 {found.digest}")
    for by, count in found.proofs.verified.items():
        console.print(f"signed {by}: {count} wheel{'s' if count > 1 else ''}")
    for one in found.not_checked[:_SHOWN]:
        console.print(f"not checked: {one}")
    if len(found.not_checked) > _SHOWN:
        console.print(f"… and {len(found.not_checked) - _SHOWN} more (--json has all)")
    return 0


def _record_faults(wheel: Path) -> "Sequence[Fault]":
    from kvpack.audit.wheel import inspect_wheel

    return inspect_wheel(wheel)[1]
