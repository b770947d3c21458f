"""Debian packages beside an image: where they lie, what is led there, what is part of the key."""

import io
import tarfile
from pathlib import Path

import pytest

from kvpack.build.imagedebs import (
    beside_data,
    beside_environment,
    beside_key,
    libraries_beside,
)
from kvpack.build.key import action, action_key
from kvpack.build.root import write_beside
from kvpack.build.sbom import sbom
from kvpack.build.toolkit import toolkit_environment
from kvpack.lock.model import Inputs
from kvpack.names import Arch
from kvpack.publish.statement import dependencies
from tests.unit.build.made import (
    DEBIAN,
    INPUTS,
    ROOTS,
    Blobs,
    MadeDeb,
    entry,
    folder,
    hard,
    inputs,
    link,
    locked_deb,
    recipe,
)

LIBRARY = "usr/lib/x86_64-linux-gnu"
CMAKE = """\
# for /usr/share/doc; see https://demo.example/usr/x
set(_realOrig "/usr/lib/x86_64-linux-gnu/cmake/demo")
set(DEMO_INCLUDE ${_PREFIX}/usr/include ../usr/x)
if(A MATCHES "^(.+)/lib/python" OR B MATCHES "^/usr/lib/")  # <p>/lib, c++/lib, /lib-old
set(DEMO_PATH /usr;/lib:/usr/lib${SUFFIX} '/lib')
"""
PC = """\
prefix=/usr
libdir=${prefix}/lib/x86_64-linux-gnu
Libs: -L/usr/lib/x86_64-linux-gnu -L${libdir} -ldemo /lib/libextra.a
Cflags: -I/usr/include/demo -I/usrlocal/include
"""
DEV = MadeDeb(
    name="libdemo-dev",
    files=[
        folder("./usr"),
        entry("./usr/include/demo.h", b"#define DEMO 1\n"),
        entry(f"./{LIBRARY}/pkgconfig/demo.pc", PC.encode()),
        entry(f"./{LIBRARY}/cmake/demo/demo-config.cmake", CMAKE.encode()),
        link(f"./{LIBRARY}/libdemo.so", "/lib/x86_64-linux-gnu/libdemo.so.1"),
        link(f"./{LIBRARY}/libbeside.so", "libdemo.so.1"),
        entry("./usr/share/demo/notes", b"/usr/lib stays: no build system reads it\n"),
        entry("./usr/share/doc/demo/copyright", b"free"),
    ],
)
RUN = MadeDeb(
    name="libdemo1",
    files=[
        entry("./lib/x86_64-linux-gnu/libdemo.so.1", b"\x7fELF", mode=0o644),
        hard("./lib/x86_64-linux-gnu/libdemo.so.1.0", "./lib/x86_64-linux-gnu/libdemo.so.1"),
    ],
)
IMAGE = "quay.io/pypa/manylinux_2_34_x86_64@sha256:" + "a" * 64


class Layer:
    """The packages, laid beside an image."""

    def __init__(self, tmp_path: Path) -> None:
        blobs, packed = Blobs(tmp_path), {deb.name: bytes(deb) for deb in (DEV, RUN)}
        for data in packed.values():
            blobs.add(data)
        out = io.BytesIO()
        self.progress: list[tuple[int, int]] = []
        write_beside(
            [locked_deb(name, data) for name, data in packed.items()], (ROOTS.image, DEBIAN),
            blobs, out, lambda *at: self.progress.append(at),
        )  # fmt: skip
        self.tar = tarfile.open(fileobj=io.BytesIO(out.getvalue()))  # noqa: SIM115  # in memory
        self.members = {info.name: info for info in self.tar}

    def text(self, name: str) -> str:
        stream = self.tar.extractfile(f"opt/debian/{name}")
        assert stream is not None
        return stream.read().decode()


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    return Layer(tmp_path)


def test_everything_lies_below_the_prefix(layer: Layer) -> None:
    assert {name for name in layer.members if not f"{name}/".startswith("opt/debian/")} == {"opt"}
    assert layer.members["opt/debian/lib"].linkname == "usr/lib"
    assert layer.members[f"opt/debian/{LIBRARY}/libdemo.so.1"].isreg()
    assert not [name for name in layer.members if "/doc/" in name or "/dpkg/" in name]
    assert layer.progress == [(0, 2), (1, 2), (2, 2)]


def test_links_stay_below_it_too(layer: Layer) -> None:
    found = {n.rpartition("/")[2]: i.linkname for n, i in layer.members.items() if i.linkname}
    assert found["libdemo.so"] == "/opt/debian/lib/x86_64-linux-gnu/libdemo.so.1"
    assert found["libbeside.so"] == "libdemo.so.1"
    assert found["libdemo.so.1.0"] == f"opt/debian/{LIBRARY}/libdemo.so.1"


def test_paths_that_build_systems_read_are_led_below_it(layer: Layer) -> None:
    assert (
        layer.text(f"{LIBRARY}/pkgconfig/demo.pc")
        == """\
prefix=/opt/debian/usr
libdir=${prefix}/lib/x86_64-linux-gnu
Libs: -L/opt/debian/usr/lib/x86_64-linux-gnu -L${libdir} -ldemo /opt/debian/lib/libextra.a
Cflags: -I/opt/debian/usr/include/demo -I/usrlocal/include
"""
    )
    assert (
        layer.text(f"{LIBRARY}/cmake/demo/demo-config.cmake")
        == """\
# for /opt/debian/usr/share/doc; see https://demo.example/usr/x
set(_realOrig "/opt/debian/usr/lib/x86_64-linux-gnu/cmake/demo")
set(DEMO_INCLUDE ${_PREFIX}/usr/include ../usr/x)
if(A MATCHES "^(.+)/lib/python" OR B MATCHES "^/opt/debian/usr/lib/")  # <p>/lib, c++/lib, /lib-old
set(DEMO_PATH /opt/debian/usr;/opt/debian/lib:/opt/debian/usr/lib${SUFFIX} '/opt/debian/lib')
"""
    )
    assert layer.text("usr/share/demo/notes").startswith("/usr/lib stays")


def test_the_images_own_places_come_first() -> None:
    own = {"PATH": "/opt/rh/bin:/usr/bin", "LD_LIBRARY_PATH": "/opt/rh/lib64", "LANG": "C"}
    found = beside_environment("/opt/debian", Arch.AARCH64, own)
    lib = "/opt/debian/usr/lib/aarch64-linux-gnu"
    assert found["PATH"] == "/opt/rh/bin:/usr/bin:/opt/debian/usr/bin"
    assert found["LD_LIBRARY_PATH"] == f"/opt/rh/lib64:{lib}:/opt/debian/usr/lib"
    assert found["LIBRARY_PATH"] == f"{lib}:/opt/debian/usr/lib"
    assert found["PKG_CONFIG_PATH"] == f"{lib}/pkgconfig:/opt/debian/usr/share/pkgconfig"
    assert found["CMAKE_PREFIX_PATH"] == f"/opt/debian/usr:{lib}/cmake"
    assert "LANG" not in found
    # A toolkit over it keeps them.
    assert toolkit_environment(found)["LIBRARY_PATH"].endswith(f"/stubs:{found['LIBRARY_PATH']}")
    assert toolkit_environment({})["LIBRARY_PATH"].endswith("/lib64/stubs")


def test_no_list_of_folders_names_the_current_one() -> None:
    """An empty part does: ``ld.so(8)``, gcc's manual, ``PATH`` of POSIX."""
    own = {"LD_LIBRARY_PATH": ":/opt/rh/lib64::/opt/rh/lib:", "C_INCLUDE_PATH": ":"}
    found = beside_environment("/opt/debian", Arch.X86_64, own)
    assert found["LD_LIBRARY_PATH"].startswith("/opt/rh/lib64:/opt/rh/lib:/opt/debian/usr/lib/")
    assert not [name for name, value in found.items() if "" in value.split(":")]


def beside(*changes: tuple[str, object]) -> Inputs:
    debs = [deb.model_dump(mode="json") for deb in INPUTS.root.packages]
    of_image = [("root.id", "pypa-manylinux_2_34"), ("root.image", IMAGE), ("root.suite", "sid")]
    return inputs(*of_image, ("root.packages", debs), *changes)


def test_a_trial_finds_the_libraries() -> None:
    found = libraries_beside(beside().root, "/opt/debian")
    assert found == (f"/opt/debian/{LIBRARY}", "/opt/debian/usr/lib")
    assert libraries_beside(INPUTS.root, "/opt/debian") == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("root.image", IMAGE.replace("a" * 64, "b" * 64)),
        ("root.packages.0.sha256", "0" * 64),
        ("root.packages.1.sha256", "0" * 64),
    ],
)
def test_the_layers_key_changes_with_image_and_packages(path: str, value: object) -> None:
    assert beside_key(beside((path, value)).root, ROOTS) != beside_key(beside().root, ROOTS)


def test_the_action_names_suite_packages_and_how_they_lie() -> None:
    found = action(recipe(), beside(), ROOTS)
    assert found["beside-data"] == beside_data(ROOTS)
    assert found["root-data"] == {}
    assert found["lock"]["root"]["suite"] == "sid"
    other = ROOTS.model_copy(
        update={"image": ROOTS.image.model_copy(update={"prefix": "/opt/other"})}
    )
    assert action_key(action(recipe(), beside(), other)) != action_key(found)
    plain = action(recipe(), INPUTS, ROOTS)
    assert "beside-data" not in plain
    assert "suite" not in plain["lock"]["root"]


def test_bill_and_provenance_name_the_suite() -> None:
    document = beside()
    names = [deb.name for deb in document.root.packages]
    parts = sbom(recipe(), document, "a" * 64)["components"]
    found = {one["purl"] for one in parts if one.get("purl", "").startswith("pkg:deb/")}
    assert len(found) == len(names)
    assert all(purl.endswith("distro=sid") for purl in found)
    told = dependencies(action(recipe(), document, ROOTS))
    debs = [one for one in told if str(one.get("uri", "")).startswith("pkg:deb/")]
    assert [one["name"].split(" ")[0] for one in debs] == names
    assert all(str(one["uri"]).endswith("?distro=sid") for one in debs)
    assert not [one for one in told if one["annotations"]["kvpack:role"] not in {
        "source", "patch", "build-requirement", "root-tool", "host-tool", "builder-root",
    }]  # fmt: skip
