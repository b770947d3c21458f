"""MoRI at floor 2.35, which vLLM's image lacks: in an image, with Debian packages beside it.

The image is a stand-in of PyPA's (a generated root without MoRI's packages); sources and ROCm are
the stand-ins of ``test_rocm``. Recipe and packages are real: those of bullseye, glibc 2.31.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvpack.lock.file import read_lock, seal, write_lock
from kvpack.lock.model import LockedRoot
from tests.gitserver import served
from tests.integration import rocm
from tests.integration.conftest import Kvpack, remove_images
from tests.integration.standins import build, changed, lay_out, proved, report
from tests.integration.test_rocm import MORI
from tests.integration.test_roots import serving_images, stand_in, without_tls

pytestmark = pytest.mark.integration
WORDS = ("mori", "--rocm=7", "--python=3.11", "--glibc=2.35")
ROOT = "pypa-manylinux_2_34"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kvpack]:
    """A catalogue locked against stand-ins, PyPA's image among them; MoRI was built once."""
    forge, root, store, folder = (
        tmp_path_factory.mktemp(name) for name in ("forge", "root", "store", "images")
    )
    lay_out(forge, root, ["mori"], ["mori"])
    with serving_images(folder) as registry, served(forge) as base:
        rocm.push(folder, registry, rocm.layers(folder))
        mirror = f'[registries.git.mirrors]\n"https://github.com/" = ["{base}/"]\n'
        (root / "kvpack.toml").write_text(mirror + rocm.mirror(registry))
        kvpack = Kvpack(root, store, without_tls(registry, folder))
        kvpack("lock").ok()
        edited(kvpack, image=stand_in(kvpack, folder, registry))
        build(kvpack, folder / "dist", *WORDS).ok()
        yield kvpack
    remove_images(store)


def edited(kvpack: Kvpack, **update: object) -> LockedRoot:
    """Change the locked root that is an image; returns it as it was."""
    path = kvpack.root / "lock" / "mori.toml"
    lock = read_lock(path, "lock/mori.toml")
    (before,) = (root for root in lock.root if root.id == ROOT)
    after = LockedRoot.model_validate({**before.model_dump(), **update})
    roots = tuple(after if root is before else root for root in lock.root)
    write_lock(path, seal(lock.model_copy(update={"root": roots})))
    return before


def test_every_python_of_the_floor_has_a_plan(world: Kvpack) -> None:
    words = ("--rocm=7", "--python=3.10,3.11,3.12,3.13", "--glibc=2.35")
    plan = world("--json", "plan", "mori", *words).ok().json
    tags = [f"mori 1.2.4 cp3{minor}-manylinux_2_35_x86_64-rocm7" for minor in (10, 11, 12, 13)]
    assert [one["target"] for one in plan["targets"]] == tags
    assert len({one["key"] for one in plan["targets"]}) == 4
    lock = read_lock(world.root / "lock" / "mori.toml", "lock/mori.toml")
    (root,) = (one for one in lock.root if one.image)
    assert (root.id, root.suite) == (ROOT, "bullseye")
    assert lock.incomplete == ()
    names = {deb.name for deb in root.packages}
    assert {"libdrm-dev", "libibverbs-dev", "libnuma-dev", "libpci-dev"} <= names
    assert not {"libc6", "libc6-dev", "libstdc++6"} & names


def test_the_wheel_is_what_every_other_one_is(world: Kvpack, tmp_path: Path) -> None:
    done = build(world, tmp_path, *WORDS, "--rebuild")
    assert proved(done) == MORI
    assert done.json["targets"][0]["rebuild"]["identical"]
    facts = report(done)["facts"]
    assert facts["needed-from-host"] == ["libamdhip64.so.7", "libnuma.so.1", "libpci.so.3"]
    (wheel,) = tmp_path.glob("amd_mori-1.2.4+kvp.*-cp311-cp311-manylinux_2_35_x86_64.whl")
    bill = json.loads(wheel.with_name(f"{wheel.name}.cdx.json").read_text())
    debs = [one["purl"] for one in bill["components"] if one.get("purl", "").startswith("pkg:deb")]
    assert [purl for purl in debs if purl.startswith("pkg:deb/debian/libpci-dev@")]
    assert {purl.rpartition("distro=")[2] for purl in debs} == {"bullseye"}


SEES = (
    "[build]\n", """[build]
steps = ['''
set -x
test ! -e /usr/include/x86_64-linux-gnu/pci/pci.h
test -e /opt/debian/usr/include/x86_64-linux-gnu/pci/pci.h
test "$(pkg-config --variable=includedir libdrm)" = /opt/debian/usr/include
pkg-config --cflags libdrm | grep -- -I/opt/debian/usr/include/libdrm
echo 'int ibv_fork_init(void); int main(void) { return ibv_fork_init() != 0; }' > /tmp/verbs.c
gcc /tmp/verbs.c -libverbs -o /tmp/verbs
/tmp/verbs
ldd /tmp/verbs | grep /opt/debian/usr/lib/x86_64-linux-gnu/libibverbs.so.1
! ldd /usr/bin/python3.11 | grep /opt/debian
''']
""",
)  # fmt: skip


def test_a_build_is_led_to_the_packages_and_the_image_stays_as_it_is(
    world: Kvpack, tmp_path: Path
) -> None:
    """Found by pkg-config, compiler, linker and loader; nothing of the image is written over."""
    own = changed(world, tmp_path, "mori", SEES)
    build(own, tmp_path / "dist", *WORDS).ok()


def test_what_is_locked_stays_until_the_root_is_told_to_move(world: Kvpack, tmp_path: Path) -> None:
    own = changed(world, tmp_path, "mori")
    (older,) = (d for d in edited(own).packages if d.name == "pci.ids")
    moved = older.model_copy(update={"version": "0.0~2020.01.01-1", "sha256": "0" * 64})
    packages = [moved if d.name == "pci.ids" else d for d in edited(own).packages]
    edited(own, packages=packages)
    own("lock", "mori").ok()
    assert "0.0~2020.01.01-1" in (own.root / "lock" / "mori.toml").read_text()
    told = own("lock", "mori", "--upgrade", ROOT).ok()
    assert (
        f"~ deb {ROOT} x86_64 pci.ids 0.0~2020.01.01-1 000000000000 -> {older.version}" in told.out
    )
