"""What a wheel was made from: by the rules of in-toto and SLSA, complete, the same each time."""

import json
import re
from typing import Any

import jsonschema
import pytest

from kvpack.publish.statement import UNNAMED, build_definition, canonical, dependencies, statement
from tests.unit.build.made import GIT, inputs, plan

DESCRIPTOR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "uri": {"type": "string", "pattern": r"^[a-z][a-z0-9+.-]*:\S+$"},
        "digest": {
            "type": "object",
            "minProperties": 1,
            "properties": {
                "sha256": {"pattern": "^[0-9a-f]{64}$"}, "gitCommit": {"pattern": "^[0-9a-f]{40}$"}
            },
            "additionalProperties": False,
        },
        "annotations": {"type": "object"},
        "content": {"type": "string"},
        "downloadLocation": {"type": "string"},
        "mediaType": {"type": "string"},
    },
    "anyOf": [{"required": ["uri"]}, {"required": ["digest"]}, {"required": ["content"]}],
}  # fmt: skip
"""in-toto: spec/v1/resource_descriptor.md (one of uri, digest, content MUST be there)."""
URI = {"type": "string", "pattern": r"^[a-z][a-z0-9+.-]*:\S+$"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["_type", "subject", "predicateType", "predicate"],
    "properties": {
        "_type": {"const": "https://in-toto.io/Statement/v1"},
        "predicateType": {"const": "https://slsa.dev/provenance/v1"},
        "subject": {
            "type": "array",
            "minItems": 1,
            # in-toto: a subject's digest MUST be there; its name is what tells subjects apart.
            "items": {"allOf": [DESCRIPTOR, {"required": ["name", "digest"]}]},
        },
        "predicate": {
            "type": "object",
            "additionalProperties": False,
            "required": ["buildDefinition", "runDetails"],
            "properties": {
                "buildDefinition": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["buildType", "externalParameters"],
                    "properties": {
                        "buildType": URI,
                        "externalParameters": {"type": "object"},
                        "internalParameters": {"type": "object"},
                        "resolvedDependencies": {"type": "array", "items": DESCRIPTOR},
                    },
                },
                "runDetails": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["builder"],
                    "properties": {
                        "builder": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["id"],
                            "properties": {"id": URI, "version": {}, "builderDependencies": {}},
                        },
                        "metadata": {"type": "object"},
                        "byproducts": {"type": "array", "items": DESCRIPTOR},
                    },
                },
            },
        },
    },
}
"""in-toto: spec/v1/statement.md; SLSA: schema/provenance.proto and its "REQUIRED" fields."""
WHEEL = ("demo-1.0-py3-none-any.whl", "a" * 64)
IMAGE = "quay.example/pypa/manylinux_2_28_x86_64@sha256:" + "9" * 64
PLANS = {
    "sdist": plan(),
    "git": plan(locked=inputs(("source", GIT))),
    "image": plan(locked=inputs(("root.packages", ()), ("root.image", IMAGE))),
}


@pytest.mark.parametrize("kind", PLANS)
def test_it_keeps_the_rules_of_in_toto_and_slsa(kind: str) -> None:
    jsonschema.validate(statement(PLANS[kind].action, WHEEL, UNNAMED), SCHEMA)


@pytest.mark.parametrize("kind", PLANS)
def test_every_digest_of_the_lock_is_a_dependency(kind: str) -> None:
    lock = PLANS[kind].action["lock"]
    locked = set(re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", json.dumps(lock)))
    told = [one["digest"]["sha256"] for one in dependencies(PLANS[kind].action)]
    assert locked == set(told)
    assert len(told) == len(set(told)) > 4


def test_kinds_of_inputs_that_are_not_known_yet_are_told_too() -> None:
    action = json.loads(canonical(PLANS["sdist"].action))
    action["lock"]["toolkit"] = {"cuda": {"file": "nvcc.tar.xz", "sha256": "1" * 64}}
    action["lock"]["firmware"] = [f"blob 3.1 {'2' * 64}", {"x": "3" * 64}]
    action["lock"]["root"]["more"] = ["4" * 64]
    found = {
        one["digest"]["sha256"][0]: (one["annotations"]["kvpack:role"], one["name"])
        for one in dependencies(action)
        if len(set(one["digest"]["sha256"])) == 1
    }
    assert found == {
        "1": ("toolkit", "nvcc.tar.xz"),
        "2": ("firmware", "blob 3.1"),
        "3": ("firmware", "x"),
        "4": ("root", "more"),
    }
    jsonschema.validate(statement(action, WHEEL, UNNAMED), SCHEMA)


def test_where_inputs_are_from() -> None:
    (git, *_) = dependencies(PLANS["git"].action)
    assert git["uri"] == f"git+{GIT['git']}@{GIT['commit']}"
    assert git["digest"] == {"sha256": GIT["sha256"], "gitCommit": GIT["commit"]}
    uris = [one.get("uri", "") for one in dependencies(PLANS["sdist"].action)]
    assert "pkg:generic/demo@1.0?file_name=demo-1.0.tar.gz" in uris
    assert "pkg:pypi/setuptools@1.0?file_name=setuptools-1.0-py3-none-any.whl" in uris
    assert "pkg:deb/debian/g%2B%2B@1.0-1?distro=bookworm" in uris
    image = dependencies(PLANS["image"].action)[-1]
    assert image["uri"].startswith("pkg:oci/manylinux_2_28_x86_64@sha256%3A999")
    assert image["digest"] == {"sha256": "9" * 64}


def test_only_the_builder_differs_between_two_machines() -> None:
    made = PLANS["sdist"]
    here = statement(made.action, WHEEL, "https://ci.example/a")
    there = statement(plan().action, WHEEL, "https://ci.example/b")
    assert here["predicate"].pop("runDetails") == {"builder": {"id": "https://ci.example/a"}}
    assert there["predicate"].pop("runDetails") == {"builder": {"id": "https://ci.example/b"}}
    assert canonical(here) == canonical(there)
    said = build_definition(made.action)
    assert said["internalParameters"]["action-key"] == made.key
    assert said["externalParameters"]["recipe"]["name"] == "demo"
    assert said["externalParameters"]["target"]["glibc"] == "2.36"


def test_the_order_of_keys_says_nothing() -> None:
    """The action that a wheel carries has sorted keys, the one that a build is made by has not."""

    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    action = plan().action
    other = turned(action)
    assert isinstance(other, dict)
    assert list(other) != list(action)
    assert build_definition(other) == build_definition(action)
