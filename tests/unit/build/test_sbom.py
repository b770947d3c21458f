"""The bill of materials: CycloneDX 1.6 by its own schema, every locked input once."""

import json
from typing import Any
from uuid import UUID

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from kvpack.build.sbom import sbom
from kvpack.lock.model import Inputs
from kvpack.tools.files import canonical_json
from tests.unit.build.made import ARCHIVE, GIT, INPUTS, SUB, inputs, locked_wheel, recipe

KEY = "0123456789abcdef" * 4
IMAGE = f"quay.io/pypa/manylinux_2_28_x86_64@sha256:{'1' * 64}"
VARIANTS = {
    "debian": INPUTS,
    "image": inputs(("root.image", IMAGE), ("root.packages", []), ("root-tools", [])),
    "bare": inputs(("patches", []), ("build", []), ("host", [])),
    "local": inputs(("target.version", "1.0+cu12"), ("source.version", "1.0+cu12")),
    "git": inputs(("source", GIT)),
    "dirty": inputs(("source", {**GIT, "dirty": True})),
    "archive": inputs(("source", ARCHIVE)),
    "shared": inputs(("root-tools", [*INPUTS.build, locked_wheel("pip", b"pip")])),
}


@pytest.fixture(params=sorted(VARIANTS))
def locked(request: pytest.FixtureRequest) -> Inputs:
    return VARIANTS[request.param]


def parts(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["components"]
    return found


def digests(document: dict[str, Any]) -> list[str]:
    none = [{"content": ""}]
    return [item["content"] for part in parts(document) for item in part.get("hashes", none)]


def test_it_is_valid_by_the_strict_schema(locked: Inputs) -> None:
    """https://cyclonedx.org/docs/1.6/json/."""
    document = canonical_json(sbom(recipe(), locked, KEY)).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None


def test_the_validator_would_complain() -> None:
    broken = {**sbom(recipe(), INPUTS, KEY), "components": [{"type": "thing"}]}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None


def test_every_locked_input_is_in_it_once(locked: Inputs) -> None:
    expected = [locked.source.sha256]
    expected += [""] * len(getattr(locked.source, "submodule", ()))  # its commit is in its name
    expected += [patch.sha256 for patch in locked.patches]
    for wheels in (locked.build, locked.root_tools, locked.host):
        expected += [wheel.sha256 for wheel in wheels]
    expected += [deb.sha256 for deb in locked.root.packages]
    expected += [""] * (locked.root.image is not None)  # its digest is in its name
    document = sbom(recipe(), locked, KEY)
    assert digests(document) == expected
    assert (IMAGE in {part["name"] for part in parts(document)}) == bool(locked.root.image)


def test_what_only_checks_the_wheel_is_not_in_it() -> None:
    assert "numpy" not in canonical_json(sbom(recipe(), INPUTS, KEY)).decode()


def test_references_are_unique_and_the_wheel_depends_on_all(locked: Inputs) -> None:
    document = sbom(recipe(), locked, KEY)
    references = [part["bom-ref"] for part in parts(document)]
    main = document["metadata"]["component"]["bom-ref"]
    assert len({main, *references}) == len(references) + 1
    assert document["dependencies"] == [{"ref": main, "dependsOn": sorted(references)}]


def test_package_urls_can_be_parsed_and_name_the_part(locked: Inputs) -> None:
    document = sbom(recipe(), locked, KEY)
    for part in (document["metadata"]["component"], *parts(document)):
        if "purl" in part:
            url = PackageURL.from_string(part["purl"])
            assert (url.name, url.version) == (part["name"], part["version"])
            assert url.type in {"pypi", "deb", "generic"}


def test_debian_packages_name_architecture_and_suite() -> None:
    (part,) = (part for part in parts(sbom(recipe(), INPUTS, KEY)) if part["name"] == "libstdc++6")
    assert "/libstdc%2B%2B6@" in part["purl"]
    url = PackageURL.from_string(part["purl"])
    assert (url.namespace, url.qualifiers) == ("debian", {"arch": "amd64", "distro": "bookworm"})


def test_the_wheel_is_named_with_version_licence_and_key() -> None:
    component = sbom(recipe(), INPUTS, KEY)["metadata"]["component"]
    assert (component["name"], component["version"]) == (
        "demo-kv",
        "1.0+kvp.1234567",
    )  # a number to PEP 440
    assert component["licenses"] == [{"expression": "Apache-2.0"}]
    named = {item["name"]: item["value"] for item in component["properties"]}
    assert named["kvpack:action-key"] == KEY
    assert named["kvpack:target"] == "cp311-manylinux_2_36_x86_64-cpu"


def test_roles_tell_what_is_in_the_wheel_from_what_made_it() -> None:
    roles = {
        part["properties"][0]["value"]: part.get("scope")
        for part in parts(sbom(recipe(), INPUTS, KEY))
    }
    assert roles.pop("source") == "required"
    assert roles.pop("patch") is None
    assert set(roles) == {"build-requirement", "root-tool", "host-tool", "builder-root"}
    assert set(roles.values()) == {"excluded"}


def test_a_patch_is_named_by_its_id_wherever_its_file_lies() -> None:
    (part,) = (part for part in parts(sbom(recipe(), INPUTS, KEY)) if part["type"] == "file")
    assert (part["name"], part["bom-ref"]) == ("fix", "patch:fix")
    renamed = inputs(("patches.0.file", "renamed.patch"))
    assert sbom(recipe(), renamed, KEY) == sbom(recipe(), INPUTS, KEY)
    twins = [*INPUTS.patches, INPUTS.patches[0].model_copy(update={"id": "twin"})]
    references = [
        part["bom-ref"] for part in parts(sbom(recipe(), inputs(("patches", twins)), KEY))
    ]
    assert len(set(references)) == len(references)


def test_one_key_has_one_document_and_one_serial_number() -> None:
    first, second = sbom(recipe(), INPUTS, KEY), sbom(recipe(), INPUTS, KEY)
    assert canonical_json(first) == canonical_json(second)
    serial = UUID(first["serialNumber"])
    assert (serial.version, serial.variant) == (8, "specified in RFC 4122")
    assert sbom(recipe(), INPUTS, "f" * 64)["serialNumber"] != first["serialNumber"]
    assert "timestamp" not in first["metadata"]


def test_a_git_source_names_its_repository_and_submodules() -> None:
    source, module, *_ = parts(sbom(recipe(), VARIANTS["git"], KEY))
    assert PackageURL.from_string(source["purl"]).qualifiers == {
        "vcs_url": f"git+https://git.example/team/demo.git@{'c' * 40}"
    }
    assert PackageURL.from_string(module["purl"]).qualifiers == {
        "vcs_url": f"git+https://git.example/team/sub@{SUB}"
    }
    assert (module["name"], module["version"]) == ("sub", SUB)


def test_a_working_tree_is_called_dirty_and_so_is_its_wheel() -> None:
    document = sbom(recipe(), VARIANTS["dirty"], KEY)
    assert {"name": "kvpack:dirty", "value": "true"} in parts(document)[0]["properties"]
    assert document["metadata"]["component"]["version"].endswith(".dirty")
    clean = canonical_json(sbom(recipe(), VARIANTS["git"], KEY)).decode()
    assert "dirty" not in clean


def test_an_archive_is_named_by_its_bytes_alone() -> None:
    """Its URL is not in the key, so it must not be in the wheel."""
    document = canonical_json(sbom(recipe(), VARIANTS["archive"], KEY)).decode()
    assert f"checksum=sha256:{ARCHIVE['sha256']}" in document
    assert "files.example" not in document
