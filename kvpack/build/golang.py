"""What Go needs to build without a network: locked modules as its proxy, and its environment.

A folder is a proxy, too: go.dev/ref/mod#goproxy-protocol ("file" scheme).
"""

import json
from collections.abc import Callable
from pathlib import Path

from kvpack.build.model import INPUTS, BuildPlan
from kvpack.lock.gofile import escaped
from kvpack.tools.files import place_file

GO = 1
"""Raise it when what this file writes or says changes the bytes of what Go builds."""
PROXY = "go"
"""The folder of the project's inputs that is the proxy."""
_SCRATCH = "/tmp/kvpack-go"  # noqa: S108  # in the container of one build
_FLAGS = ("-trimpath", "-buildvcs=false")
"""Folders of the build and of Go stay out of binaries, and so does what git knows."""


def place_modules(plan: BuildPlan, inputs: Path, blob: Callable[[str], Path]) -> None:
    """Lay the locked files of Go modules out as a proxy.

    :param inputs: the project's folder of inputs.
    """
    versions: dict[str, dict[str, str]] = {}
    for file in plan.inputs.modules:
        place_file(blob(file.sha256), inputs / PROXY / file.place)
        versions.setdefault(file.place.rpartition("/")[0], {})[escaped(file.version)] = file.version
    for folder, named in versions.items():
        below = inputs / PROXY / folder
        for name, version in named.items():
            text = json.dumps({"Version": version})
            (below / f"{name}.info").write_text(text, encoding="utf-8")
        (below / "list").write_text("".join(f"{v}\n" for v in named.values()), encoding="utf-8")


def go_environment(plan: BuildPlan) -> dict[str, str]:
    """What Go is told, where a target takes it; it looks at no configuration of a user.

    There is no checksum database to ask; go.sum is still held to.
    """
    if plan.recipe.go_of(plan.inputs.target) is None:
        return {}
    return {
        "GOPROXY": f"file:///project/{INPUTS}/{PROXY}",
        "GOSUMDB": "off",
        "GOTOOLCHAIN": "local",
        "GOENV": "off",
        "GOFLAGS": " ".join(_FLAGS),
        "GOPATH": f"{_SCRATCH}/path",
        "GOMODCACHE": f"{_SCRATCH}/modules",
        "GOCACHE": f"{_SCRATCH}/cache",
    }
