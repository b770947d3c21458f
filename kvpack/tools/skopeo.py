"""Images as they lie in registries, byte for byte: skopeo, a program of the makers of podman.

podman itself unpacks what it pulls, and packs it anew when it saves it: other bytes, another
digest. skopeo reads the same configuration: registries and their mirrors, credentials, proxies.
"""

import os
import re
from pathlib import Path

from kvpack.errors import FetchFailed
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
    args = [PROGRAM, *(["--registries-conf", named] if named else [])]
    args += ["copy", "--quiet", "--multi-arch=all", "--preserve-digests"]
    args += [f"docker://{image}", f"dir:{folder}"]
    done = run(Command(args=args, environment=environment), reporter)
    if done.code != 0:
        raise FetchFailed(
            f"the image {image} cannot be copied",
            cause=_said(" ".join(done.tail(3))),
            hint="name a mirror of its registry in registries.conf, or run the same command again",
        )


def _said(text: str) -> str:
    """The message of a line that skopeo logs: ``time="…" level=fatal msg="…"``."""
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', text)
    return found[1].replace('\\"', '"') if found else text
