"""How a wheel was made, as an in-toto Statement with an SLSA provenance predicate: pure.

It is a function of the action document that travels inside the wheel, the wheel's digest and the
builder's id, so whoever has the wheel can derive it again and compare. Moments are left out: the
same key gives the same wheel on any machine at any time, and a time would make two truths of one.

Rules: in-toto Statement v1 (``spec/v1/statement.md``, ``resource_descriptor.md``), SLSA Provenance
v1 (slsa.dev/spec/v1.1/provenance). docs/howto-provenance.md describes ``BUILD_TYPE``.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:kvpack:build:wheel:1"
UNNAMED = "urn:kvpack:builder:unnamed"
"""The builder's id where nobody configured one: it promises nothing."""
_INTERNAL = ("schema", "kvpack", "root-data", "beside-data")
"""Parts of an action that kvpack sets, not the recipe."""
_DIGEST = re.compile(r"[0-9a-f]{64}")

Descriptor = dict[str, Any]
Action = Mapping[str, Any]


def statement(action: Action, wheel: tuple[str, str], builder: str) -> dict[str, Any]:
    """The statement about one wheel.

    :param action: the action document (``kvpack/build/key.py``).
    :param wheel: its file name and sha256.
    :param builder: a URI that names who ran the build, and so whom a verifier trusts.
    """
    filename, sha256 = wheel
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": filename, "digest": {"sha256": sha256}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": build_definition(action),
            "runDetails": {"builder": {"id": builder}},
        },
    }


def build_definition(action: Action) -> dict[str, Any]:
    """What was built from what: nothing in it depends on who built it, or when."""
    # As it is read back from the wheel: lists follow the order of keys, which JSON does not keep.
    action = json.loads(canonical(action))
    external = _external(action)
    internal = {k: action[k] for k in _INTERNAL if action.get(k)}
    lock = action["lock"]
    return {
        "buildType": BUILD_TYPE,
        "externalParameters": external,
        "internalParameters": {
            **internal,
            "action-key": digest_of(action),
            "lock-digest": digest_of(lock),
            "epoch": lock.get("epoch"),
            "root": lock.get("root", {}).get("id"),
        },
        "resolvedDependencies": dependencies(action),
    }


def _external(action: Action) -> dict[str, Any]:
    """What was asked for, of the target and of the native libraries below it."""
    found = {k: v for k, v in action.items() if k not in {*_INTERNAL, "lock", "libraries"}}
    libraries = action.get("libraries", {})
    below = {name: _external(one) for name, one in libraries.items()}
    return {**found, **({"libraries": below} if below else {})}


def canonical(value: object) -> bytes:
    """The one JSON text of a value, as ``kvpack.tools.files.canonical_json`` writes it."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest_of(value: object) -> str:
    """sha256 of the canonical JSON of an action (its key) or of its lock slice."""
    return hashlib.sha256(canonical(value)).hexdigest()


# -- resolved dependencies ------------------------------------------------------------------------


def dependencies(action: Action) -> list[Descriptor]:
    """Every locked input of an action, by digest.

    Kinds of inputs that this module does not know are found by their digests, so that a new kind
    is told, if less nicely, and never left out.
    """
    lock = dict(action["lock"])
    recipe = action.get("recipe", {})
    found = [_source(lock.pop("source"), recipe)]
    patches = lock.pop("patches", ())
    found += [_descriptor("patch", patch["id"], None, patch["sha256"]) for patch in patches]
    for role, key in (("build-requirement", "build-requires"), ("host-tool", "host-tools")):
        found += [_wheel(role, file, sha256) for file, sha256 in lock.pop(key, {}).items()]
    further = {pair for wheels in lock.pop("torch", {}).values() for pair in wheels.items()}
    more = [_wheel("build-requirement", *pair) for pair in sorted(further)]
    found += [one for one in more if one not in found]
    wraps = lock.pop("wraps", {}).items()
    found += [_descriptor("subproject", file, None, sha256) for file, sha256 in wraps]
    modules = lock.pop("go-modules", {}).items()
    found += [_descriptor("go-module", place, None, sha256) for place, sha256 in modules]
    root = dict(lock.pop("root", {}))
    found += [_wheel("root-tool", *pair) for pair in root.pop("tools", {}).items()]
    suite = str(root.pop("suite", None) or root.get("id")).removeprefix("debian-")
    found += [_deb(text, suite) for text in root.pop("packages", ())]
    toolkit = lock.pop("toolkit-image", {}).get("image")
    for role, image in (("builder-root", root.pop("image", None)), ("toolkit", toolkit)):
        found += [_image(role, image)] if image else []
    for name, rest in {**lock, **{f"root {key}": value for key, value in root.items()}}.items():
        found += _unknown(name, rest)
    for library in action.get("libraries", {}).values():
        found += [one for one in dependencies(library) if one not in found]
    return found


def _descriptor(
    role: str, name: str, uri: str | None, sha256: str, more: Mapping[str, str] | None = None
) -> Descriptor:
    found: Descriptor = {"name": name, "digest": {"sha256": sha256, **(more or {})}}
    return {**found, **({"uri": uri} if uri else {}), "annotations": {"kvpack:role": role}}


def _source(source: Action, recipe: Action) -> Descriptor:
    name, version = str(recipe.get("name", "")), str(recipe.get("version", ""))
    if "git" in source:
        commit = str(source["commit"])
        role = "source, from a working tree" if source.get("dirty") else "source"
        uri = f"git+{source['git']}@{commit}"
        # The sha256 is that of the commit's tree as one canonical tar (kvpack/tools/tree.py).
        return _descriptor(role, name, uri, source["sha256"], {"gitCommit": commit})
    file = str(source["file"])
    uri = f"pkg:generic/{quote(name)}@{quote(version)}?file_name={quote(file)}"
    return _descriptor("source", file, uri, source["sha256"])


def _wheel(role: str, file: str, sha256: str) -> Descriptor:
    name, version = [*file.split("-"), ""][:2]
    project = quote(re.sub(r"[-_.]+", "-", name).lower())
    uri = f"pkg:pypi/{project}@{quote(version)}?file_name={quote(file)}"
    return _descriptor(role, file, uri, sha256)


def _deb(text: str, distribution: str) -> Descriptor:
    name, version, sha256 = text.split(" ")
    uri = f"pkg:deb/debian/{quote(name)}@{quote(version)}?distro={quote(distribution)}"
    return _descriptor("builder-root", f"{name} {version}", uri, sha256)


def _image(role: str, image: str) -> Descriptor:
    place, _, sha256 = image.partition("@sha256:")
    name = place.rpartition("/")[2].partition(":")[0]
    uri = f"pkg:oci/{quote(name)}@sha256%3A{sha256}?repository_url={quote(place, safe='/')}"
    return _descriptor(role, image, uri, sha256)


def _unknown(name: str, value: object) -> Iterator[Descriptor]:
    """Whatever carries a digest below a part of the lock that has no function of its own."""
    if isinstance(value, str):
        for digest in _DIGEST.findall(value):
            shown = value.replace(digest, "").strip(" :@") or name.rpartition(" ")[2]
            yield _descriptor(name.partition(" ")[0], shown, None, digest)
    elif isinstance(value, Mapping):
        if isinstance(digest := value.get("sha256"), str) and _DIGEST.fullmatch(digest):
            known = next((str(value[k]) for k in ("file", "name", "id") if k in value), name)
            yield _descriptor(name.partition(" ")[0], known, None, digest)
            value = {key: one for key, one in value.items() if key != "sha256"}
        for key, one in value.items():
            yield from _unknown(f"{name} {key}", one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _unknown(name, one)
