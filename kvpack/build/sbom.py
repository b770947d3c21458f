"""What a wheel was made from, as CycloneDX 1.6 JSON (PEP 770).

Written here and not by a library: its bytes are part of the wheel, so they must not depend on what
happens to be installed on the host. ``tests`` validate it against CycloneDX's own schema.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from kvpack.build.key import local_version
from kvpack.build.model import BuildPlan
from kvpack.lock.gofile import LockedGoFile
from kvpack.lock.model import Inputs, LockedDeb, LockedWheel
from kvpack.lock.source import DirtyTree, LockedArchive, LockedGit, LockedSource, LockedWrap
from kvpack.recipe.model import Recipe


def sbom(
    recipe: Recipe, inputs: Inputs, key: str, libraries: Sequence[BuildPlan] = ()
) -> dict[str, Any]:
    """The bill of materials of one target: the wheel, its source, everything that made it.

    Grafted libraries stand in auditwheel's own document beside this one.

    :param libraries: the native libraries that it is built with.
    """
    target = inputs.target
    name = recipe.distribution.name_for(target.accelerator) or recipe.name
    version = local_version(target.version, key, dirty=isinstance(inputs.source, DirtyTree))
    reference = f"pkg:pypi/{name}@{quote(version)}"
    made_from = _components(inputs)
    for library in libraries:
        made_from += _library(library, {part["bom-ref"] for part in made_from})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_uuid(key)}",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "component": {
                "type": "library",
                "bom-ref": reference,
                "name": name,
                "version": version,
                "purl": reference,
                "licenses": [{"expression": recipe.license}],
                "properties": [
                    {"name": "kvpack:action-key", "value": key},
                    {"name": "kvpack:target", "value": target.id},
                ],
            },
        },
        "components": made_from,
        "dependencies": [
            {"ref": reference, "dependsOn": sorted({part["bom-ref"] for part in made_from})}
        ],
    }


def _components(inputs: Inputs, owner: str = "") -> list[dict[str, Any]]:
    """What a target was made from.

    :param owner: the native library that it is, with ``/``: patches and submodules have no names
        that all recipes share.
    """
    found = _source(inputs, owner)
    found += [
        {
            "type": "file",
            "bom-ref": f"patch:{owner}{patch.id}",
            "name": patch.id,
            "hashes": [{"alg": "SHA-256", "content": patch.sha256}],
            "properties": [{"name": "kvpack:role", "value": "patch"}],
        }
        for patch in inputs.patches
    ]
    for role, wheels in (
        ("build-requirement", _environments(inputs)),
        ("root-tool", inputs.root_tools),
        ("toolkit", inputs.toolkit),
        ("host-tool", inputs.host),
    ):
        found += [_wheel(wheel, role) for wheel in wheels]
    found += [_deb(deb, inputs) for deb in inputs.root.packages]
    toolkit = inputs.toolkit_image.image if inputs.toolkit_image else None
    for role, image in (("builder-root", inputs.root.image), ("toolkit", toolkit)):
        found += [_image(image, role)] if image else []
    return found


def _image(image: str, role: str) -> dict[str, Any]:
    return {
        "type": "container",
        "bom-ref": f"image:{image}",
        "name": image,
        "properties": [{"name": "kvpack:role", "value": role}],
    }


def _environments(inputs: Inputs) -> Iterable[LockedWheel]:
    """The wheels of all environments that the wheel was built in, each once."""
    every = [*inputs.build, *(wheel for one in inputs.torch for wheel in one.wheels)]
    return {wheel.file: wheel for wheel in every}.values()


def _library(plan: BuildPlan, known: set[str]) -> list[dict[str, Any]]:
    """A native library that was in the root, its source, and what only it was made from.

    It is "required": its code can be in the wheel, linked or grafted.
    """
    version = quote(plan.version)
    own = {
        "type": "library",
        "bom-ref": f"library:{plan.recipe.name}",
        "name": plan.recipe.name,
        "version": plan.version,
        "purl": f"pkg:generic/{plan.recipe.name}@{version}",
        "scope": "required",
        "licenses": [{"expression": plan.recipe.license}],
        "properties": [
            {"name": "kvpack:role", "value": "native-library"},
            {"name": "kvpack:action-key", "value": plan.key},
        ],
    }
    if own["bom-ref"] in known:  # another library needs it as well
        return []
    made_from = _components(plan.inputs, f"{plan.recipe.name}/")
    parts = [part for part in made_from if part["bom-ref"] not in known]
    for below in plan.libraries:
        parts += _library(below, known | {part["bom-ref"] for part in (own, *parts)})
    return [own, *parts]


def _source(inputs: Inputs, owner: str) -> list[dict[str, Any]]:
    source, name = inputs.source, inputs.target.recipe
    match source:
        case LockedSource():
            name = source.project
            purl = f"pkg:pypi/{name}@{quote(source.version)}?file_name={quote(source.file)}"
        case LockedArchive():
            # Where it was fetched from is not in the key, so not here either.
            purl = f"pkg:generic/{name}@{quote(source.version)}?checksum=sha256:{source.sha256}"
        case _:
            where = quote(f"git+{source.git}@{source.commit}", safe="")
            purl = f"pkg:generic/{name}@{quote(source.version)}?vcs_url={where}"
    found = [_component(purl, (name, source.version, source.sha256), "source")]
    if isinstance(source, DirtyTree):
        found[0]["properties"].append({"name": "kvpack:dirty", "value": "true"})
    for module in source.submodule if isinstance(source, LockedGit) else ():
        where = quote(f"git+{module.url}@{module.commit}", safe="")
        name = module.path.rpartition("/")[2]
        found.append(
            {
                "type": "library",
                "bom-ref": f"submodule:{owner}{module.path}",
                "name": name,
                "version": module.commit,
                "purl": f"pkg:generic/{quote(name)}@{module.commit}?vcs_url={where}",
                "scope": "required",
                "properties": [
                    {"name": "kvpack:role", "value": "source-submodule"},
                    {"name": "kvpack:path", "value": module.path},
                ],
            }
        )
    found += [_wrap(wrap, owner) for wrap in source.wrap]
    return found + [_module(one, owner) for one in inputs.modules if one.file == "zip"]


def _wrap(wrap: LockedWrap, owner: str) -> dict[str, Any]:
    """An archive of a subproject of meson, which is compiled into what is built."""
    purl = f"pkg:generic/{quote(wrap.name)}?checksum=sha256:{wrap.sha256}"
    return {
        "type": "library",
        "bom-ref": f"subproject:{owner}{wrap.file}",
        "name": wrap.name,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": wrap.sha256}],
        "scope": "required",
        "properties": [
            {"name": "kvpack:role", "value": "subproject"},
            {"name": "kvpack:file", "value": wrap.file},
        ],
    }


def _module(module: LockedGoFile, owner: str) -> dict[str, Any]:
    """A Go module whose code a build can take; a go.mod alone only decides about versions."""
    # The type golang of purl-spec: namespace and name in lower case.
    version = quote(module.version, safe="")
    return {
        "type": "library",
        "bom-ref": f"go-module:{owner}{module.module}@{module.version}",
        "name": module.module,
        "version": module.version,
        "purl": f"pkg:golang/{quote(module.module.lower())}@{version}",
        "hashes": [{"alg": "SHA-256", "content": module.sha256}],
        "scope": "required",
        "properties": [{"name": "kvpack:role", "value": "go-module"}],
    }


def _wheel(wheel: LockedWheel, role: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{wheel.project}@{quote(wheel.version)}?file_name={quote(wheel.file)}"
    found = _component(purl, (wheel.project, wheel.version, wheel.sha256), role)
    return found | {"bom-ref": f"{role}:{purl}"}


def _deb(deb: LockedDeb, inputs: Inputs) -> dict[str, Any]:
    distribution = inputs.root.distribution
    purl = (
        f"pkg:deb/debian/{quote(deb.name)}@{quote(deb.version)}"
        f"?arch={inputs.target.arch.debian}&distro={distribution}"
    )
    return _component(purl, (deb.name, deb.version, deb.sha256), "builder-root")


def _component(purl: str, named: tuple[str, str, str], role: str) -> dict[str, Any]:
    name, version, sha256 = named
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "scope": "required" if role == "source" else "excluded",
        "properties": [{"name": "kvpack:role", "value": role}],
    }


def _uuid(key: str) -> str:
    """A UUID (version 8, RFC 9562) made of the key, so that one key has one serial number."""
    variant = "89ab"[int(key[16], 16) % 4]
    return f"{key[:8]}-{key[8:12]}-8{key[13:16]}-{variant}{key[17:20]}-{key[20:32]}"
