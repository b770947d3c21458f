"""What an image's manifest names, as registries serve it; and what is refused."""

import json

import pytest

from kvpack.publish.imageparts import Part, digest_of, read

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{A}"}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {**CONFIG, "size": 7},
    "layers": [{"digest": f"sha256:{B}", "size": 9}, {"digest": f"sha256:{B}", "size": 9}],
}
LIST = {
    "schemaVersion": 2,
    "manifests": [
        {"digest": f"sha256:{B}", "size": 5, "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": f"sha256:{C}", "size": 6,
         "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
    ],
}  # fmt: skip


def test_a_manifest_and_a_list() -> None:
    found = read(json.dumps(MANIFEST).encode())
    assert found.blobs == (Part(A, 7), Part(B, 9))  # a layer that comes twice is one blob
    assert found.listed == ()
    listed = read(json.dumps(LIST).encode())
    assert listed.blobs == ()
    assert listed.for_platform("linux/amd64") == Part(B, 5, "linux/amd64")
    assert listed.for_platform("linux/arm64").sha256 == C  # its variant is not asked for
    with pytest.raises(ValueError, match="no image for linux/s390x, only for linux/amd64"):
        listed.for_platform("linux/s390x")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schemaVersion": 1}, "schemaVersion 1"),
        ({"layers": {}}, "no list of layers"),
        ({"layers": ["x"]}, "is no object"),
        ({"layers": [{"digest": f"sha256:{A}"}]}, "with None bytes"),
        ({"layers": [{"digest": f"sha256:{A}", "size": -1}]}, "with -1 bytes"),
        ({"config": {"digest": "sha256:../../x", "size": 1}}, "sha256:../../x"),
        ({"config": {"digest": f"sha512:{A}", "size": 1}}, "sha512"),
        ({"manifests": []}, "lists nothing"),
    ],
)
def test_manifests_that_are_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match="manifest") as refused:
        read(json.dumps({**MANIFEST, **change}).encode())
    assert told in str(refused.value)


def test_text_that_is_no_manifest() -> None:
    for text in (b"", b"[]", b'{"schemaVersion": 2}', b'{"config": 1, "config": 2}'):
        with pytest.raises(ValueError, match="the image's manifest"):
            read(text)


@pytest.mark.parametrize("image", ["x:latest", f"x@sha256:{A}0", f"@sha256:{A}", f"x@sha512:{A}"])
def test_only_a_digest_names_an_image(image: str) -> None:
    assert digest_of(f"host:5000/a/b@sha256:{A}") == A
    with pytest.raises(ValueError, match="is not named by a sha256"):
        digest_of(image)
