"""What is asked of registries: place after place, once; what they say, in words for people.

skopeo is a script here: it answers from a folder, and writes down what it was asked.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvpack.cli.context import Context, Options
from kvpack.cli.imageplaces import copied_image, image_places
from kvpack.cli.toolkitimages import find_image, image_parts, supply_parts
from kvpack.console import Console
from kvpack.errors import (
    ConfigInvalid,
    DigestMismatch,
    FetchFailed,
    KvpackError,
    OfflineMissing,
    ResolutionFailed,
)
from kvpack.lock.model import LockedImage
from kvpack.names import Accelerator, Arch

SKOPEO = """\
#!/bin/sh
# skopeo inspect --raw docker://NAME; skopeo copy … docker://NAME dir:FOLDER
PATH=/usr/bin:/bin
for word; do
  case $word in docker://*) name=${word#docker://} ;; dir:*) folder=${word#dir:} ;; esac
done
place=$(printf %s "$name" | tr '/:@' '___')
echo "$1 $name" >> ANSWERS/asked
[ -e "ANSWERS/$place" ] || {
  said='Error parsing image name \\"docker://x\\": dial tcp: no such host'
  echo "time=\\"now\\" level=fatal msg=\\"$said\\"" >&2
  exit 1
}
case $1 in
  inspect) [ ! -e "ANSWERS/$place/error" ] || { cat "ANSWERS/$place/error" >&2; exit 1; }
    cat "ANSWERS/$place/raw" ;;
  copy) mkdir "$folder"; cp "ANSWERS/$place/"* "$folder"
    [ ! -e "ANSWERS/$place/error" ] || { cat "ANSWERS/$place/error" >&2; exit 1; } ;;
esac
"""
IMAGE = "docker.io/rocm/dev:7"
MIRROR = "mirror.example/hub/rocm/dev:7"
KVPACK = '[registries.images.mirrors]\n"docker.io/" = ["mirror.example/hub/"]\n'
UNKNOWN = 'time="now" level=fatal msg="reading manifest 7: manifest unknown"'
OTHER = 'time="now" level=fatal msg="Digest did not match, expected sha256:1, got sha256:2"'


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


LAYERS = [b"the first layer", b"the second layer"]
CONFIG = b"{}"
MANIFEST = json.dumps({
    "schemaVersion": 2,
    "config": {"digest": f"sha256:{sha(CONFIG)}", "size": len(CONFIG)},
    "layers": [{"digest": f"sha256:{sha(one)}", "size": len(one)} for one in LAYERS],
}).encode()  # fmt: skip
LIST = json.dumps({
    "schemaVersion": 2,
    "manifests": [
        {"digest": f"sha256:{sha(MANIFEST)}", "size": len(MANIFEST),
         "platform": {"os": "linux", "architecture": "amd64"}},
    ],
}).encode()  # fmt: skip
LOCKED = LockedImage.model_validate({
    "accelerator": Accelerator.ROCM7, "arch": Arch.X86_64, "tagged": IMAGE, "folder": "/opt/rocm",
    "image": f"docker.io/rocm/dev@sha256:{sha(MANIFEST)}",
    "layers": [{"sha256": sha(one), "size": len(one)} for one in LAYERS],
})  # fmt: skip


class World:
    """A catalogue, a store and the answers of registries."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.answers = folder, folder / "answers"
        self.answers.mkdir()
        program = folder / "bin" / "skopeo"
        program.parent.mkdir()
        program.write_text(SKOPEO.replace("ANSWERS", str(self.answers)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF", raising=False)
        (folder / "recipes").mkdir()
        self.configure("")

    def configure(self, text: str, *, offline: bool = False) -> None:
        (self.folder / "kvpack.toml").write_text(text)
        options = Options(root=self.folder, store=self.folder / "store", offline=offline)
        self.context = Context(options, Console())

    def answer(self, name: str, files: Mapping[str, bytes | str]) -> None:
        place = self.answers / name.translate(str.maketrans("/:@", "___"))
        place.mkdir()
        for file, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (place / file).write_bytes(data)

    def has(self, name: str, *layers: bytes) -> None:
        """A registry has the image, with these layers."""
        parts = {f"part-{index}": one for index, one in enumerate((MANIFEST, CONFIG, *layers))}
        self.answer(name, {"version": "Directory Transport Version: 1.1\n", **parts})

    @property
    def asked(self) -> list[str]:
        path = self.answers / "asked"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


# -- what a tag names -----------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [True, False])
def test_a_tag_names_the_manifest_of_the_platform(world: World, *, listed: bool) -> None:
    world.answer(IMAGE, {"raw": LIST if listed else MANIFEST})
    world.answer(LOCKED.image, {"raw": MANIFEST})
    found = find_image(world.context, IMAGE, Arch.X86_64)
    assert (found.image, found.layers) == (LOCKED.image, LOCKED.layers)
    assert find_image(world.context, IMAGE, Arch.X86_64) == found
    assert world.asked == [f"inspect {IMAGE}", f"inspect {LOCKED.image}"][: 1 + listed]


def test_a_mirror_is_asked_first_and_the_registrys_name_is_locked(world: World) -> None:
    world.configure(KVPACK)
    assert image_places(world.context, IMAGE) == [MIRROR, IMAGE]
    assert image_places(world.context, "quay.io/x/y:1") == ["quay.io/x/y:1"]
    world.answer(MIRROR, {"raw": MANIFEST})
    assert find_image(world.context, IMAGE, Arch.X86_64).image == LOCKED.image
    assert world.asked == [f"inspect {MIRROR}"]


def test_a_registry_that_does_not_answer_is_asked_once(world: World) -> None:
    world.configure(KVPACK)
    world.answer(MIRROR, {"error": UNKNOWN})
    with pytest.raises(FetchFailed, match=f"the registry of the image {IMAGE}") as caught:
        find_image(world.context, IMAGE, Arch.X86_64)
    with pytest.raises(FetchFailed):
        find_image(world.context, IMAGE, Arch.X86_64)
    assert world.asked == [f"inspect {MIRROR}", f"inspect {IMAGE}"]
    assert [(fault.place, fault.message) for fault in caught.value.faults] == [
        (MIRROR, "its registry says: reading manifest 7: manifest unknown"),
        (IMAGE, "dial tcp: no such host"),
    ]


REFUSED: dict[str, tuple[dict[str, bytes | str], str, str]] = {
    "no such tag": ({"error": UNKNOWN}, "there is no image", "manifest unknown"),
    "a list without the platform": (
        {"raw": LIST.replace(b"amd64", b"s390x")}, "cannot be a toolkit for x86_64",
        "it has no image for linux/amd64, only for linux/s390x",
    ),
    "no layers": (
        {"raw": json.dumps({**json.loads(MANIFEST), "layers": []})},
        "cannot be a toolkit for x86_64", "it has no layers",
    ),
    "no manifest": ({"raw": "<html>"}, "cannot be a toolkit", "the image's manifest"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_locked(world: World, name: str) -> None:
    files, what, cause = REFUSED[name]
    world.answer(IMAGE, files)
    with pytest.raises(ResolutionFailed) as caught:
        find_image(world.context, IMAGE, Arch.X86_64)
    assert what in caught.value.what
    assert cause in caught.value.cause
    assert "build.toolkit-image" in caught.value.hint


def test_without_skopeo(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(world.folder / "recipes"))
    with pytest.raises(FetchFailed) as caught:
        find_image(world.context, IMAGE, Arch.X86_64)
    assert "skopeo is not installed" in caught.value.cause


# -- its parts ------------------------------------------------------------------------------------


def test_parts_are_blobs_under_their_digests(world: World) -> None:
    world.has(LOCKED.image, *LAYERS)
    for _ in range(2):
        supply_parts(world.context, image_parts(LOCKED))
    assert [world.context.store.read(one.sha256) for one in LOCKED.layers] == LAYERS
    assert world.context.store.read(LOCKED.image[-64:]) == MANIFEST
    assert not world.context.store.has(sha(CONFIG))  # nothing reads it
    assert world.asked == [f"copy {LOCKED.image}"]
    world.configure("", offline=True)
    supply_parts(world.context, image_parts(LOCKED))


def test_other_bytes_at_a_mirror_lead_to_the_registry(world: World) -> None:
    world.configure(KVPACK)
    mirror = f"mirror.example/hub/rocm/dev@sha256:{sha(MANIFEST)}"
    world.answer(mirror, {"part": b"half of it", "error": OTHER})
    world.has(LOCKED.image, *LAYERS)
    supply_parts(world.context, image_parts(LOCKED))
    assert world.asked == [f"copy {mirror}", f"copy {LOCKED.image}"]


FAILS: dict[str, tuple[dict[str, Mapping[str, bytes | str]], type[KvpackError], str]] = {
    "nobody answers": ({}, FetchFailed, "cannot be copied"),
    "other bytes": ({LOCKED.image: {"error": OTHER}}, DigestMismatch, "gives other bytes"),
    "not whole": ({LOCKED.image: {"x": MANIFEST, "y": LAYERS[0]}}, FetchFailed, "not copied whole"),
}


@pytest.mark.parametrize("name", FAILS)
def test_what_cannot_be_had(world: World, name: str) -> None:
    answers, kind, what = FAILS[name]
    for place, files in answers.items():
        world.answer(place, files)
    with pytest.raises(kind) as caught:
        supply_parts(world.context, image_parts(LOCKED))
    assert LOCKED.image in caught.value.what
    assert what in caught.value.what
    assert caught.value.hint
    assert not world.context.store.has(LOCKED.layers[1].sha256)


def test_offline(world: World) -> None:
    world.configure(KVPACK, offline=True)
    with pytest.raises(OfflineMissing) as caught:
        supply_parts(world.context, image_parts(LOCKED))
    assert "kvpack fetch" in caught.value.hint
    assert world.asked == []


def test_other_bytes_count_more_than_a_silent_registry(world: World, tmp_path: Path) -> None:
    world.configure(KVPACK)
    world.answer(f"mirror.example/hub/rocm/dev@sha256:{sha(MANIFEST)}", {"error": OTHER})
    (tmp_path / "copies").mkdir()
    with pytest.raises(DigestMismatch, match=f"the image {LOCKED.image}") as caught:
        copied_image(world.context, LOCKED.image, tmp_path / "copies")
    assert [fault.message for fault in caught.value.faults] == [
        "Digest did not match, expected sha256:1, got sha256:2", "dial tcp: no such host",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line", ['"docker.io" = []', '"docker.io/" = ["https://x/"]', '"docker.io/" = ["user@x/"]']
)
def test_what_a_mirror_of_images_cannot_be(world: World, line: str) -> None:
    world.configure(f"[registries.images.mirrors]\n{line}\n")
    with pytest.raises(ConfigInvalid) as caught:
        image_places(world.context, IMAGE)
    assert 'not a registry and a slash, maybe a folder: "docker.io/"' in (
        caught.value.faults[0].message
    )
