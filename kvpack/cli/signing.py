"""The options that sign, and who is named as the builder."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvpack.cli.context import Context, Options
from kvpack.errors import SigningFailed, UsageError

if TYPE_CHECKING:
    from kvpack.build.model import BuildPlan
    from kvpack.tools.signing import IdentityCommand, Signer

URI = r"[a-z][a-z0-9+.-]*:\S+"


class Signing(Options):
    """The options of ``add_signing``, as the parser leaves them."""

    sign_key: Path | None = None
    sign_command: str | None = None
    sign_key_id: str | None = None
    sign_public_key: Path | None = None
    sign_identity: bool = False
    sign_identity_command: str | None = None
    builder_id: str | None = None


def add_signing(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that write provenance."""
    group = parser.add_argument_group("provenance", "docs/howto-provenance.md")
    group.add_argument(
        "--builder-id", metavar="URI",
        help="who builds here (default: [provenance] builder-id of kvpack.toml)",
    )  # fmt: skip
    group.add_argument(
        "--sign-key", type=Path, metavar="FILE", help="Ed25519 or ECDSA P-256 private key (PEM)"
    )
    group.add_argument(
        "--sign-command", metavar="CMD",
        help="signs what it gets on standard input, writes the signature (KMS, HSM)",
    )  # fmt: skip
    group.add_argument("--sign-key-id", metavar="ID", help="name of --sign-command's key")
    group.add_argument(
        "--sign-public-key", type=Path, metavar="FILE",
        help="its public key: each signature is checked",
    )  # fmt: skip
    group.add_argument(
        "--sign-identity-command", metavar="CMD",
        help="signs keyless: gets a statement on standard input, writes a Sigstore bundle (cosign, "
        "sigstore)",
    )  # fmt: skip
    group.add_argument("--sign-identity", action="store_true", help=argparse.SUPPRESS)


def signer_of(args: Signing, context: Context) -> "Signer | IdentityCommand | None":
    """Whoever signs; ``None`` if nobody was named.

    :raises UsageError: if the options do not fit each other.
    :raises SigningFailed: if a key cannot be used.
    """
    if args.sign_identity:
        raise SigningFailed(
            "kvpack itself cannot sign keyless",
            cause="that takes an identity provider, Fulcio and Rekor; cosign and sigstore do it",
            hint="--sign-identity-command CMD hands the statement to one of them "
            "(docs/howto-provenance.md); or --sign-key, --sign-command",
        )
    if args.sign_identity_command:
        if args.sign_key or args.sign_command:
            raise UsageError("--sign-identity-command excludes --sign-key and --sign-command")
        from kvpack.tools.signing import IdentityCommand

        return IdentityCommand(args.sign_identity_command, context.console)
    if args.sign_key and args.sign_command:
        raise UsageError("--sign-key and --sign-command exclude each other")
    if not (args.sign_key or args.sign_command):
        return None
    from kvpack.tools.signing import CommandSigner, KeyFile, public_key

    if args.sign_key:
        return KeyFile(args.sign_key)
    public = public_key(args.sign_public_key) if args.sign_public_key else None
    keyid = args.sign_key_id or (public.keyid if public else None)
    if not keyid:
        raise UsageError(
            "--sign-command needs --sign-key-id or --sign-public-key",
            cause="whoever verifies has to know which key to take",
            hint="the key's name in the KMS will do: --sign-key-id arn:aws:kms:…",
        )
    return CommandSigner(str(args.sign_command), keyid, context.console, public)


def builder_of(args: Signing, context: Context) -> str | None:
    """Who builds here, if anybody said so.

    :raises UsageError: if it is no URI.
    """
    import re

    if args.builder_id:
        if not re.fullmatch(URI, args.builder_id):
            raise UsageError(
                f"--builder-id {args.builder_id!r} is no URI",
                hint="such as https://ci.example/runners/trusted",
            )
        return args.builder_id
    config = context.config.provenance
    return config.builder_id if config else None


def sign_wheels(
    context: Context,
    args: Signing,
    what: "tuple[Sequence[BuildPlan], Path]",
    held: Callable[[str, str], bytes | None],
) -> int:
    """Bring the statements beside the wheels of an output folder up to date, and sign them.

    :param held: reads what was published beside a wheel before: distribution, file name.
    :returns: how many signatures were made.
    """
    import functools
    import json

    from kvpack.publish.attest import attest, beside
    from kvpack.publish.model import EVIDENCE
    from kvpack.publish.statement import digest_of
    from kvpack.tools.signing import IdentityCommand

    planned, folder = what
    known: dict[str, BuildPlan] = {plan.key: plan for plan in planned}
    signer, count = signer_of(args, context), 0
    for path in sorted(folder.glob(f"*.whl{EVIDENCE['action']}")):
        wheel = path.with_name(path.name.removesuffix(EVIDENCE["action"]))
        try:
            plan = known.get(digest_of(json.loads(path.read_bytes())))
        except ValueError:
            plan = None  # gathering says what is wrong with it
        if plan is None or not wheel.is_file():
            continue
        builder = args.builder_id and builder_of(args, context)
        if builder is None and not beside(wheel, "statement").is_file():
            builder = builder_of(args, context)
        before = functools.partial(_held, held, plan.distribution, wheel.name)
        if isinstance(signer, IdentityCommand):
            from kvpack.publish.keyless import attest_keyless

            said = attest(wheel, plan.action, builder=builder).envelope
            held_now = before(EVIDENCE["provenance"])
            count += attest_keyless(wheel, said, signer, held_now, builder=args.builder_id)
        else:
            done = attest(wheel, plan.action, builder=builder, signer=signer, held=before)
            count += done.signed
    return count


def _held(
    held: Callable[[str, str], bytes | None], project: str, file: str, suffix: str
) -> bytes | None:
    return held(project, file + suffix)
