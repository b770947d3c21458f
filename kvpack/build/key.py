"""What decides a wheel's bytes, as one canonical document; its digest is the action key.

Names of registries, mirrors and URLs are not in it: the same bytes from elsewhere are the same
input. What only judges the wheel (allow-lists, import checks) is not in it either: a changed rule
audits the stored wheel again, it does not rebuild it.
"""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from kvpack.build.golang import GO
from kvpack.build.imagedebs import beside_data
from kvpack.build.imagefolder import image_slice
from kvpack.build.merge import MERGE
from kvpack.build.prefix import LAYER
from kvpack.build.root import GENERATOR
from kvpack.build.stamp import STAMP
from kvpack.build.toolkit import data_of
from kvpack.lock.model import Inputs, LockedRoot
from kvpack.lock.source import BuildSource, DirtyTree, LockedGit
from kvpack.names import Sha256
from kvpack.recipe.model import Recipe, Target
from kvpack.recipe.roots import Roots
from kvpack.tools.files import canonical_json, sha256_of

ACTION_SCHEMA = 1
PROCEDURE = 1
"""Raise it when the way kvpack drives the build changes the bytes (``build/project.py``)."""
KEY_SHOWN = 8
"""Digits of the key in the local version (design §6)."""


def source_slice(source: BuildSource) -> dict[str, Any]:
    """What tells a source's bytes, and where they are from, as far as the wheel says it."""
    match source:
        case DirtyTree():
            named = {"git": source.git, "commit": source.commit}
            return {"dirty": True, **named, "sha256": source.sha256}
        case LockedGit():
            # The repository's URL stands in the bill of materials, so it decides bytes too.
            named = {"git": source.git, "commit": source.commit, "tree": source.tree}
            return {**named, "sha256": source.sha256}
        case _:
            return {"file": source.file, "sha256": source.sha256}


def lock_slice(inputs: Inputs) -> dict[str, Any]:
    """The digests of the locked inputs of one target."""
    return {
        "source": source_slice(inputs.source),
        "epoch": inputs.source.epoch,
        **({"wraps": {w.file: w.sha256 for w in inputs.source.wrap}} if inputs.source.wrap else {}),
        **({"go-modules": {m.place: m.sha256 for m in inputs.modules}} if inputs.modules else {}),
        "patches": [{"id": patch.id, "sha256": patch.sha256} for patch in inputs.patches],
        "build-requires": {wheel.file: wheel.sha256 for wheel in inputs.build},
        **(
            {"torch": {b.minor: {w.file: w.sha256 for w in b.wheels} for b in inputs.torch}}
            if inputs.torch
            else {}
        ),
        "host-tools": {wheel.file: wheel.sha256 for wheel in inputs.host},
        "root": {
            "id": inputs.root.id,
            "image": inputs.root.image,
            **({"suite": inputs.root.suite} if inputs.root.suite else {}),
            # A list: of a path in two packages, the first one's bytes count.
            "packages": _packages(inputs.root),
            "tools": {wheel.file: wheel.sha256 for wheel in inputs.root_tools},
        },
        **({"toolkit": {w.file: w.sha256 for w in inputs.toolkit}} if inputs.toolkit else {}),
        **(image_slice(inputs.toolkit_image) if inputs.toolkit_image else {}),
    }


class _Packages(list[str]):
    """The packages of a root, with their canonical JSON: most of an action, the same in many."""

    def __init__(self, root: LockedRoot) -> None:
        super().__init__(f"{deb.name} {deb.version} {deb.sha256}" for deb in root.packages)
        self.root, self.json = root, canonical_json(self)


_PACKAGES: dict[int, _Packages] = {}
"""By the id of the root, which they hold: so the id stays its own."""


def _packages(root: LockedRoot) -> _Packages:
    if id(root) not in _PACKAGES:
        _PACKAGES[id(root)] = _Packages(root)
    return _PACKAGES[id(root)]


def action(
    recipe: Recipe,
    inputs: Inputs,
    roots: Roots,
    libraries: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The document that the key is the digest of. It travels inside the wheel.

    :param libraries: the actions of the native libraries that it is built with, by name. They are
        in it whole, so that ``why`` can tell which of their inputs changed.
    """
    target = inputs.target
    locked = lock_slice(inputs)
    made_by = {"procedure": PROCEDURE, "root-generator": GENERATOR, "stamp": STAMP}
    return {
        "schema": ACTION_SCHEMA,
        "kvpack": made_by
        | ({"library-layer": LAYER} if recipe.library or libraries else {})
        | ({"merge": MERGE} if inputs.torch else {})
        | ({"go": GO} if recipe.go_of(target) else {}),
        "recipe": {
            "name": recipe.name,
            "version": target.version,
            "license": recipe.license,
            "distribution": recipe.distribution.name_for(target.accelerator),
            "options": {
                name: {
                    "cmake": option.cmake,
                    "env": option.env,
                    **({"meson": option.meson} if option.meson else {}),
                    **({"configure": option.configure} if option.configure else {}),
                    "value": value,
                }
                for name, (option, value) in recipe.options_of(target).items()
            },
            "environment": recipe.build.environment,
            "config-settings": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in recipe.build.config_settings.items()
            },
            "host-libraries": list(recipe.audit.host_libraries),
            **_preparation(recipe, target),
        },
        "target": {
            "python": target.python_tag,
            "glibc": target.glibc,
            "arch": str(target.arch),
            "accelerator": str(target.accelerator),
            **({"torch": list(target.torch)} if target.torch else {}),
        },
        "root-data": {"links": roots.debian.links, "exclude": list(roots.debian.exclude)}
        if inputs.root.image is None
        else {},
        **({"beside-data": beside_data(roots)} if inputs.root.suite else {}),
        **({"toolkit-data": data_of(inputs, roots.toolkits)} if inputs.has_toolkit else {}),
        "lock": locked,
        **({"libraries": dict(libraries)} if libraries else {}),
    }


def _preparation(recipe: Recipe, target: Target) -> dict[str, Any]:
    """What happens before the back end, where anything does.

    What a log may not say is in it too: a wheel that was built before it was refused is not
    delivered from the store.
    """
    build = recipe.build
    found = {
        "prefix": recipe.library.prefix if recipe.library else None,
        "steps": recipe.commands_for(target.version, target.accelerator),
        "repaired": recipe.repairs_for(target.version, target.accelerator),
        "package": build.package,
        "rename": build.rename,
        "pure": build.pure,
        "torch-adds": list(build.torch_adds) if len(target.torch) > 1 else [],
        "git-head": build.git_head,
        "refuse": [one.log for one in build.refuse if one.fits(target.version, target.accelerator)],
    }
    return {name: value for name, value in found.items() if value}


def action_key(document: dict[str, Any]) -> Sha256:
    """sha256 of the canonical JSON of an action."""
    locked = document["lock"]
    packages = locked["root"]["packages"]
    if isinstance(packages, _Packages):
        root = {**locked["root"], "packages": _HOLE}
        text = canonical_json({**document, "lock": {**locked, "root": root}})
        head, _, tail = text.partition(_HOLE_JSON)
        if _HOLE_JSON not in tail:  # else somebody wrote the hole's own text
            digest = _begun(head, packages.json).copy()
            digest.update(tail)
            return Sha256(digest.hexdigest())
    return sha256_of(canonical_json(document))


@functools.lru_cache(maxsize=256)
def _begun(head: bytes, packages: bytes) -> "hashlib._Hash":
    """The digest up to the packages: most of the bytes, and many targets begin with the same."""
    return hashlib.sha256(head + packages)


_HOLE = "\0packages"
_HOLE_JSON = canonical_json(_HOLE)


def lock_digest(inputs: Inputs) -> Sha256:
    """sha256 of the canonical JSON of the target's slice of the lock."""
    return sha256_of(canonical_json(lock_slice(inputs)))


def local_version(version: str, key: str, *, dirty: bool = False) -> str:
    """``0.3.14`` -> ``0.3.14+kvp.1a2b3c4d`` (PEP 440 local version; design §6).

    :param dirty: whether it was built from a working tree; then it ends with ``.dirty``.
    """
    digits = key[:KEY_SHOWN]
    # A segment of decimal digits alone is a number to PEP 440: 01234567 is 1234567 there.
    segment = str(int(digits)) if digits.isdecimal() else digits
    return f"{version}{'.' if '+' in version else '+'}kvp.{segment}{'.dirty' if dirty else ''}"
