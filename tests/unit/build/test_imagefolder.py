"""A folder of an image as a layer: what of its layers counts, in which bytes; what is refused."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvpack.build.imagefolder import image_environment, image_key, write_folder
from kvpack.build.key import action, action_key, lock_slice
from kvpack.build.sbom import sbom
from kvpack.build.toolkit import toolkit_key, trial_libraries
from kvpack.errors import ArchiveUnsafe, KvpackError, RootFailed
from kvpack.lock.model import LockedImage, LockedLayer
from kvpack.names import Accelerator, Arch
from kvpack.publish.statement import dependencies
from kvpack.recipe.roots import load_roots
from kvpack.recipe.toolkits import Toolkits
from tests.unit.build.made import INPUTS, ROOTS, recipe

TOOLKITS = load_roots().toolkits
IMAGE = LockedImage(
    accelerator=Accelerator.ROCM7,
    arch=Arch.X86_64,
    tagged="docker.io/rocm/dev:7",
    folder="/opt/rocm",
    image=f"docker.io/rocm/dev@sha256:{'a' * 64}",
    layers=(LockedLayer(sha256="b" * 64, size=1),),
)
HOME = "opt/rocm-7.2.1"
LINKS = {"opt/rocm": "-> /etc/alternatives/rocm", "etc/alternatives/rocm": f"-> /{HOME}"}
Layer = Mapping[str, bytes | str | None]
"""Path -> bytes of a file, ``-> link``, ``= hard link``, ``device``; ``None``: a folder."""
KINDS = {"->": tarfile.SYMTYPE, "=": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}


def tar_of(layer: Layer, mode: int = 0o600) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, what in layer.items():
            info = tarfile.TarInfo(path)
            info.mode = 0o4711 if "/bin/" in path else mode
            info.uid, info.gname, info.mtime = 1000, "users", 1_600_000_000
            if isinstance(what, bytes):
                info.size = len(what)
                tar.addfile(info, io.BytesIO(what))
                continue
            kind, _, info.linkname = (what or "").partition(" ")
            info.type = KINDS.get(kind, tarfile.DIRTYPE)
            tar.addfile(info)
    return out.getvalue()


def laid(folder: Path, *layers: Layer | bytes, image: LockedImage = IMAGE) -> bytes:
    """The layer over a root that images of these layers give; every second one is packed."""
    paths = []
    for index, one in enumerate(layers):
        data = one if isinstance(one, bytes) else tar_of(one)
        if index % 2 == 0 and not isinstance(one, bytes):
            data = gzip.compress(data)
        path = folder / f"layer-{index}"
        path.write_bytes(data)
        paths.append(path)
    out = io.BytesIO()
    write_folder(image, paths, TOOLKITS, out, lambda *_: None)
    return out.getvalue()


def members(data: bytes) -> dict[str, bytes | str]:
    """Path -> bytes of a file, ``-> target``, ``= target``; folders are left out."""
    found: dict[str, bytes | str] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")
            assert info.mtime == 315532800
            stream = tar.extractfile(info) if info.isreg() else None
            if stream is not None:
                found[info.name] = stream.read()
            elif info.issym() or info.islnk():
                found[info.name] = f"{'->' if info.issym() else '='} {info.linkname}"
    return found


def test_the_folder_and_the_links_that_lead_to_it(tmp_path: Path) -> None:
    found = members(laid(tmp_path, {**LINKS, f"{HOME}/lib/liba.so": b"a", "usr/bin/other": b"b"}))
    assert found == {**LINKS, f"{HOME}/lib/liba.so": b"a"}


def test_modes_are_of_two_kinds_and_parents_come_first(tmp_path: Path) -> None:
    content: Layer = {**LINKS, f"{HOME}/bin/hipcc": b"x", f"{HOME}/include/hip.h": b"y"}
    with tarfile.open(fileobj=io.BytesIO(laid(tmp_path, content))) as tar:
        modes = {info.name: oct(info.mode) for info in tar}
    assert list(modes) == [
        "opt", HOME, "etc", "etc/alternatives", "etc/alternatives/rocm", "opt/rocm",
        f"{HOME}/bin", f"{HOME}/include", f"{HOME}/bin/hipcc", f"{HOME}/include/hip.h",
    ]  # fmt: skip
    assert modes[f"{HOME}/bin/hipcc"] == modes[f"{HOME}/bin"] == "0o755"
    assert modes[f"{HOME}/include/hip.h"] == "0o644"


BASE: Layer = {**LINKS, f"{HOME}/lib/a": b"1", f"{HOME}/lib/b": b"2", f"{HOME}/doc/c": b"3"}
CHANGES: dict[str, tuple[list[Layer], dict[str, bytes | str]]] = {
    "a file is replaced": (
        [{f"{HOME}/lib/a": b"new"}],
        {"lib/a": b"new", "lib/b": b"2", "doc/c": b"3"},
    ),
    "a whiteout removes a file": (
        [{f"{HOME}/lib/.wh.a": b""}],
        {"lib/b": b"2", "doc/c": b"3"},
    ),
    "a whiteout removes a folder": (
        [{f"{HOME}/.wh.lib": b""}],
        {"doc/c": b"3"},
    ),
    "an opaque folder hides what is below, wherever its mark stands": (
        [{f"{HOME}/lib/new": b"n", f"{HOME}/lib/.wh..wh..opq": b""}],
        {"lib/new": b"n", "doc/c": b"3"},
    ),
    "a whiteout hides what is below alone": (
        [{f"{HOME}/lib/a": b"again", f"{HOME}/lib/.wh.a": b""}],
        {"lib/a": b"again", "lib/b": b"2", "doc/c": b"3"},
    ),
    "a folder that is named again keeps its files": (
        [{f"{HOME}/lib": None}],
        {"lib/a": b"1", "lib/b": b"2", "doc/c": b"3"},
    ),
    "a link takes the place of a folder": (
        [{f"{HOME}/lib": "-> lib64", f"{HOME}/lib64/a": b"64"}],
        {"lib": "-> lib64", "lib64/a": b"64", "doc/c": b"3"},
    ),
    "a folder takes the place of a file": (
        [{f"{HOME}/lib/a/deep": b"d"}],
        {"lib/a/deep": b"d", "lib/b": b"2", "doc/c": b"3"},
    ),
    "a hard link outlives the name that was linked": (
        [{f"{HOME}/lib/z": f"= {HOME}/lib/a"}, {f"{HOME}/lib/.wh.a": b""}],
        {"lib/z": b"1", "lib/b": b"2", "doc/c": b"3"},
    ),
    "one file with two names": (
        [{f"{HOME}/lib/z": f"= {HOME}/lib/a"}],
        {"lib/a": b"1", "lib/z": f"= {HOME}/lib/a", "lib/b": b"2", "doc/c": b"3"},
    ),
    "what no compiler reads": (
        [{f"{HOME}/lib/rocblas/library/x.co": b"k", f"{HOME}/share/doc/d/x": b"k"}],
        {"lib/a": b"1", "lib/b": b"2", "doc/c": b"3"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_layers_lie_over_each_other(tmp_path: Path, name: str) -> None:
    more, wanted = CHANGES[name]
    found = members(laid(tmp_path, BASE, *more))
    assert found == {**LINKS, **{f"{HOME}/{path}": what for path, what in wanted.items()}}


def test_a_folder_that_is_no_link(tmp_path: Path) -> None:
    assert members(laid(tmp_path, {"./opt/rocm/lib/a": b"1"})) == {"opt/rocm/lib/a": b"1"}


def test_the_same_layers_give_the_same_bytes(tmp_path: Path) -> None:
    assert laid(tmp_path, BASE, LINKS) == laid(tmp_path, BASE, LINKS)


REFUSED: dict[str, tuple[list[Layer | bytes], type[KvpackError], str]] = {
    "no such folder": ([{"opt/other/x": b""}], RootFailed, "there are /opt/other"),
    "a file": ([{"opt/rocm": b""}], RootFailed, "/opt/rocm is a file"),
    "a link to nothing": ([{"opt/rocm": "-> rocm-8"}], RootFailed, "there is no /opt/rocm-8 in it"),
    "a link to itself": ([{"opt/rocm": "-> rocm"}], RootFailed, "its links go round: opt/rocm"),
    "a link to the root": ([{"opt/rocm": "-> /usr", "usr/x": b""}], RootFailed, "no folder of its"),
    "a device": ([{"opt/rocm/null": "device"}], ArchiveUnsafe, "is a device or pipe"),
    "a dangling hard link": ([{"opt/rocm/x": "= y"}], ArchiveUnsafe, "is a hard link to nothing"),
    "a way out": ([{"opt/../../x": b""}], ArchiveUnsafe, "leaves the image"),
    "a cut layer": ([gzip.compress(tar_of(BASE))[:-40]], ArchiveUnsafe, "is damaged"),
    "no layer": ([b"PK\x03\x04 something else"], ArchiveUnsafe, "is damaged"),
    "zstd": ([b"\x28\xb5\x2f\xfd more"], RootFailed, "packed with gzip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path: Path, name: str) -> None:
    layers, kind, said = REFUSED[name]
    with pytest.raises(kind) as caught:
        laid(tmp_path, *layers)
    told = [caught.value.cause, *(fault.message for fault in caught.value.faults)]
    assert any(said in text for text in told), told
    assert "build.toolkit-image" in caught.value.hint


def test_a_device_elsewhere_in_the_image_does_not_matter(tmp_path: Path) -> None:
    assert members(laid(tmp_path, {"dev/null": "device", "opt/rocm/a": b"1"})) == {
        "opt/rocm/a": b"1"
    }


# -- keys and evidence ----------------------------------------------------------------------------

WITH = INPUTS.model_copy(update={"toolkit_image": IMAGE})
OTHERS = {
    "image": f"docker.io/rocm/dev@sha256:{'c' * 64}",
    "folder": "/opt/rocm-7.2.1",
}


def test_digest_and_folder_are_part_of_every_key_and_the_tag_is_not() -> None:
    images = [IMAGE, *(IMAGE.model_copy(update={key: value}) for key, value in OTHERS.items())]
    made = [INPUTS, *(INPUTS.model_copy(update={"toolkit_image": image}) for image in images)]
    assert len({action_key(action(recipe(), one, ROOTS)) for one in made}) == 4
    assert len({toolkit_key(one, "root", TOOLKITS) for one in made}) == 4
    retagged = IMAGE.model_copy(update={"tagged": "docker.io/rocm/dev:other"})
    again = INPUTS.model_copy(update={"toolkit_image": retagged})
    assert action(recipe(), again, ROOTS) == action(recipe(), WITH, ROOTS)
    assert lock_slice(WITH)["toolkit-image"] == {"image": IMAGE.image, "folder": "/opt/rocm"}
    assert "toolkit-image" not in lock_slice(INPUTS)


def test_kvpacks_own_data_and_the_root_are_part_of_the_layers_key() -> None:
    assert len({
        image_key(IMAGE, "root", TOOLKITS), image_key(IMAGE, "other", TOOLKITS),
        image_key(IMAGE, "root", Toolkits()),
    }) == 3  # fmt: skip


def test_the_folder_is_named_where_it_is_built_with() -> None:
    found = image_environment(IMAGE, TOOLKITS, {"PATH": "/usr/bin", "LANG": "C"})
    assert found == {"ROCM_PATH": "/opt/rocm", "PATH": "/opt/rocm/bin:/usr/bin"}
    assert trial_libraries(WITH) == ("/opt/rocm/lib",)
    assert trial_libraries(INPUTS) == ()


def test_bill_and_provenance_name_the_image() -> None:
    (part,) = (
        one for one in sbom(recipe(), WITH, "a" * 64)["components"] if one["type"] == "container"
    )
    assert (part["name"], part["properties"][0]["value"]) == (IMAGE.image, "toolkit")
    (found,) = (
        one
        for one in dependencies(action(recipe(), WITH, ROOTS))
        if one["annotations"]["kvpack:role"] == "toolkit"
    )
    assert found["digest"] == {"sha256": "a" * 64}
    assert found["uri"].startswith("pkg:oci/dev@sha256%3Aaaaa")
