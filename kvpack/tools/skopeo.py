"""Images as they lie in registries, byte for byte: skopeo, a program of the makers of podman.

podman itself unpacks what it pulls, and packs it anew when it saves it: other bytes, another
digest. skopeo reads the same configuration: registries and their mirrors, credentials, proxies.
"""

import os
import re
from dataclasses import replace
from pathlib import Path

from kvpack.errors import DigestMismatch, FetchFailed, ResolutionFailed, ToolFailed
from kvpack.report import Reporter
from kvpack.tools.engine import PASSED, WEB
from kvpack.tools.process import Command, find, run

PROGRAM = "skopeo"
VERSION = b"Directory Transport Version: 1.1\n"
"""What stands in the file ``version`` of a folder (containers/image, ``directory_dest.go``)."""


def copy_to_folder(image: str, folder: Path, reporter: Reporter) -> None:
    """Write an image's manifest and blobs, and all it lists if it is a list, into a new folder.

    :param image: by digest.
    :raises FetchFailed: if that does not succeed.
    :raises DigestMismatch: if the registry has other bytes under that digest.
    """
    copying = ["copy", "--quiet", "--multi-arch=all", "--preserve-digests"]
    command = _command([*copying, f"docker://{image}", f"dir:{folder}"], image)
    done = run(command, reporter)
    if done.code == 0:
        return
    cause = _said(" ".join(done.tail(3)))
    if any(words in cause for words in _OTHER_BYTES):
        raise DigestMismatch(
            f"the image {image} cannot be copied: its registry gives other bytes",
            cause=cause,
            hint="its registry, or a mirror of it, is damaged: name another one in kvpack.toml, "
            "[registries.images.mirrors]",
        )
    raise FetchFailed(
        f"the image {image} cannot be copied",
        cause=cause,
        hint="name a mirror of its registry in kvpack.toml ([registries.images.mirrors]) or in "
        "registries.conf, or run the same command again",
    )


def manifest(image: str, scratch: Path, reporter: Reporter) -> bytes:
    """What a registry answers for an image's name, byte for byte: a manifest, or a list of them.

    :param image: by tag or by digest.
    :param scratch: a file that may be written.
    :raises FetchFailed: if the registry does not answer, or refuses.
    :raises ResolutionFailed: if it answers that there is no such image.
    """
    command = _command(["inspect", "--raw", f"docker://{image}"], image, timeout=ANSWERS)
    try:
        done = run(replace(command, output_to=scratch), reporter)
    except ToolFailed as error:
        raise _unasked(image, error.what) from error
    if done.code == 0:
        return scratch.read_bytes()
    cause = _said(" ".join(done.tail(3)))
    if any(words in cause for words in _NO_SUCH):
        raise ResolutionFailed(
            f"there is no image {image}",
            cause=f"its registry says: {cause}",
            hint="correct the tag: build.toolkit-image in the recipe names another image; "
            f"skopeo list-tags docker://{image.rpartition(':')[0]} lists those that there are",
        )
    raise _unasked(image, cause)


def _unasked(image: str, cause: str) -> FetchFailed:
    return FetchFailed(
        f"the registry of the image {image} cannot be asked",
        cause=cause,
        hint="name a mirror of it in kvpack.toml ([registries.images.mirrors]) or in "
        "registries.conf, or lock where it can be reached",
    )


ANSWERS = 60
"""Seconds in which a registry says what a tag names."""
_NO_SUCH = ("manifest unknown", "name unknown", "repository name not known")
"""How registries say 404 (OCI Distribution 1.1, error codes), as skopeo shows it."""
_OTHER_BYTES = ("did not match", "does not match")
"""How containers/image says that a digest is another one."""


def _command(words: list[str], image: str, timeout: float | None = None) -> Command:
    """skopeo with the host's registries, mirrors and credentials.

    :raises FetchFailed: if it is not installed.
    """
    if find(PROGRAM) is None:
        raise FetchFailed(
            f"the image {image} cannot be copied",
            cause="skopeo is not installed; podman and docker do not keep an image's own bytes",
            hint="apt-get install skopeo, dnf install skopeo",
        )
    environment = {name: os.environ[name] for name in (*PASSED, *WEB) if name in os.environ}
    # podman takes this file from the environment; skopeo has an option that its help hides.
    named = environment.get("CONTAINERS_REGISTRIES_CONF")
    args = [PROGRAM, *(["--registries-conf", named] if named else []), *words]
    return Command(args=args, environment=environment, timeout=timeout)


def _said(text: str) -> str:
    """The message of a line that skopeo logs: ``time="…" level=fatal msg="…"``."""
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', text)
    said = found[1].replace('\\"', '"') if found else text
    # What it says first of any failure, whatever failed.
    return re.sub(r'^Error parsing image name "[^"]*": ', "", said)
