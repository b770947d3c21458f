"""Native libraries: what a tar offers, whether a wheel has any of it, what commands say."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from kvpack.audit.library import inspect_library, unused
from kvpack.audit.model import ElfFile, ElfKind, Severity, WheelFacts
from kvpack.build.pytools import File
from kvpack.build.root import write_layer
from kvpack.cli.context import Context, Options
from kvpack.cli.judge import static_report, verdict_name
from kvpack.cli.make import stored
from kvpack.cli.shared import SharedResults
from kvpack.cli.sharedverdict import built_of, result_of
from kvpack.console import Console
from kvpack.tools.stored import Objects
from tests.unit.audit.elves import Elf
from tests.unit.cli.face import Place
from tests.unit.libraries import add, use
from tests.unit.publish.made import memory
from tests.unit.publish.signed import wheel

SHARED = Elf(soname="libucp.so.0", needed=("libucs.so.0", "libibverbs.so.1", "libc.so.6"))


def tar(folder: Path, *files: File) -> Path:
    path = folder / "ucx-1.0+kvp.1-debian-bookworm-x86_64-cpu.tar"
    with path.open("wb") as out:
        write_layer(files, out)
    return path


FILES = (
    File("opt/ucx/include/ucp.h", b"int x;\n"),
    File("opt/ucx/lib/libucp.so", link="libucp.so.0.0.0"),
    File("opt/ucx/lib/libucp.so.0.0.0", bytes(SHARED), 0o755),
    File("opt/ucx/lib/libucs.so.0", bytes(Elf(soname="libucs.so.0")), 0o755),
    File("opt/ucx/lib/ucx/libuct_ib.so.0", bytes(Elf(soname="libuct_ib.so.0")), 0o755),
)


def test_a_tar_is_read(tmp_path: Path) -> None:
    facts = inspect_library(tar(tmp_path, *FILES))
    assert facts is not None
    assert facts.prefix == "/opt/ucx"
    assert facts.shared == ("libucp", "libucs", "libuct_ib")
    assert facts.needs == ("libc.so.6", "libibverbs.so.1")
    assert (len(facts.elf), facts.archives) == (3, ())


@pytest.mark.parametrize(
    ("files", "shared", "archives"),
    [
        ((File("opt/ylt/include/x.hpp", b"x"),), (), ()),
        ((File("opt/tool/bin/protoc", bytes(Elf(interpreter="/lib64/ld.so")), 0o755),), (), ()),
        ((File("opt/x/lib/libx.a", b"!<arch>\n"), File("opt/x/lib/libx.so", bytes(Elf()))),
         ("libx",), ("opt/x/lib/libx.a",)),
    ],
    ids=["headers", "a program", "a static archive"],
)  # fmt: skip
def test_what_is_linked_by_no_name_is_not_shared(
    tmp_path: Path, files: tuple[File, ...], shared: tuple[str, ...], archives: tuple[str, ...]
) -> None:
    facts = inspect_library(tar(tmp_path, *files))
    assert facts is not None
    assert (facts.shared, facts.archives) == (shared, archives)


@pytest.mark.parametrize(
    "data", [b"", b"no tar", b"x" * 4096], ids=["empty", "short", "long"]
)  # fmt: skip
def test_what_is_no_tar_is_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(data)
    assert inspect_library(path) is None


def test_a_tar_of_something_else_is_none(tmp_path: Path) -> None:
    assert inspect_library(tar(tmp_path, File("opt/a/x", b""), File("opt/b/x", b""))) is None
    assert inspect_library(tar(tmp_path, File("usr/lib/x.so", bytes(SHARED)))) is None


# -- the finding ----------------------------------------------------------------------------------


def facts_of(*elf: ElfFile) -> WheelFacts:
    return WheelFacts(
        filename="nixl-1-cp311-cp311-manylinux_2_36_x86_64.whl", distribution="nixl", name="nixl",
        version="1", tags=("cp311-cp311-manylinux_2_36_x86_64",), sha256="0" * 64, size=1, elf=elf,
    )  # fmt: skip


def elf(path: str, *needed: str, soname: str | None = None) -> ElfFile:
    return ElfFile(path=path, arch="x86_64", kind=ElfKind.SHARED, needed=needed, soname=soname)


USED = {
    "grafted": [elf("nixl/x.so", "libucp-0a1b2c3d.so.0.0.0")],
    "of the host": [elf("nixl/x.so", "libucp.so.0")],
    "a plugin": [elf("nixl/x.so"), elf("nixl.libs/ucx/libuct_ib.so.0")],
    "carried": [elf("nixl/x.so"), elf("nixl/y", soname="libucs-00000000.so.0")],
}
UNUSED = {
    "nothing": [],
    "others": [elf("nixl/x.so", "libc.so.6", "libucp2.so.0"), elf("nixl/libucpx.so")],
}
OFFERED = ("libucp", "libucs", "libuct_ib")


@pytest.mark.parametrize("files", USED.values(), ids=USED)
def test_a_wheel_that_has_any_of_it_is_right(files: list[ElfFile]) -> None:
    assert list(unused(facts_of(*files), "ucx 1.0", OFFERED, recipe="nixl")) == []


@pytest.mark.parametrize("files", UNUSED.values(), ids=UNUSED)
def test_a_wheel_that_has_nothing_of_it_is_told(files: list[ElfFile]) -> None:
    (found,) = unused(facts_of(*files), "ucx 1.0", OFFERED, recipe="nixl")
    assert (found.check, found.severity) == ("library-unused", Severity.WARNING)
    assert found.message == (
        "build.libraries names ucx 1.0, but no ELF file of the wheel needs or carries a library of "
        "it (libucp, libucs, libuct_ib)"
    )
    assert "recipes/nixl.toml" in found.hint
    assert list(unused(facts_of(*files), "ylt 1.0", (), recipe="nixl")) == []


# -- in a build -----------------------------------------------------------------------------------


@pytest.fixture
def user(place: Place) -> Place:
    add(place.root)
    use(place.tiny, "lib")
    return place


def context_of(place: Place, name: str) -> Context:
    return Context(Options(root=place.root, store=place.folder / name), Console(err=io.StringIO()))


def holding(place: Place, name: str, *files: File) -> Context:
    """A machine whose store has the library."""
    context, (library,) = context_of(place, name), place.plan().libraries
    out = io.BytesIO()
    write_layer(files, out)
    sha256 = context.store.add_bytes(out.getvalue())
    made = {"file": library.tar, "sha256": sha256, "size": out.tell()}
    record = {"made": 1, "seconds": 1, "action": library.action, "library": made}
    context.store.write_record("actions", library.key, record)
    return context


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ((File("opt/lib/lib/libx.so.1", bytes(Elf(soname="libx.so.1"))),), 1),
        ((File("opt/lib/include/x.h", b""),), 0),
        ((File("opt/lib/lib/libx.so.1", bytes(Elf())), File("opt/lib/lib/libx.a", b"")), 0),
        (None, 0),
    ],
    ids=["shared", "headers", "static too", "not here"],
)
def test_the_audit_of_a_build_says_it(
    user: Place, files: tuple[File, ...] | None, count: int
) -> None:
    context = holding(user, "a", *files) if files else context_of(user, "a")
    for _ in range(2):  # read, and remembered
        report = static_report(context, user.plan(), wheel(user.folder / "dist", user.plan()))
        found = [one for one in report.findings if one.check == "library-unused"]
        assert len(found) == count
        assert report.passed


def give(user: Place, context: Context, objects: Objects) -> dict[str, object]:
    """A wheel that was judged there is shared."""
    plan = user.plan()
    path = wheel(user.folder / "built", plan)
    verdict: dict[str, object] = static_report(context, plan, path).as_json()
    sha256, size = context.store.add_file(path), path.stat().st_size
    made = {"file": path.name, "sha256": sha256, "size": size}
    record = {"key": plan.key, "action": plan.action, "made": 7, "seconds": 1, "wheel": made}
    context.store.write_record("actions", plan.key, record)
    context.store.write_record("audits", verdict_name(plan, sha256), verdict)
    built = stored(context, plan)
    assert built is not None
    assert SharedResults(context, objects, write=True).give(plan, built, verdict) is False
    assert built_of(result_of(context, plan, built, verdict)) == built
    return verdict


@pytest.mark.parametrize("imports", [True, False])
def test_who_takes_the_wheel_without_the_library_hears_it_too(
    user: Place, *, imports: bool
) -> None:
    """The same evidence on every machine: it is published."""
    if not imports:
        user.tiny.edit('import = ["tiny"]', "")
        user.tiny.lock()
    objects = memory()
    first = holding(user, "a", File("opt/lib/lib/libx.so.1", bytes(Elf(soname="libx.so.1"))))
    verdict = give(user, first, objects)
    assert json.dumps(verdict).count("library-unused") == 1
    second = context_of(user, "b")
    taken = SharedResults(second, objects, write=False).take(user.plan())
    assert taken is not None
    remembered = second.store.read_record("audits", verdict_name(user.plan(), taken.sha256))
    assert remembered == verdict


# -- commands for wheels --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["audit", "verify"])
def test_commands_for_wheels_say_what_a_librarys_tar_is(
    place: Place, tmp_path: Path, command: str
) -> None:
    path = tar(tmp_path, *FILES)
    answer = place.run(command, str(path))
    assert answer.code == 51
    assert f"{path} is a native library, no wheel: " in answer.err
    assert "below /opt/ucx, 3 of them ELF" in answer.err
    assert "need libc.so.6, libibverbs.so.1 from elsewhere" in answer.err
    assert "kvpack build ucx --rebuild builds it again and compares" in answer.err


def test_the_store_knows_which_recipe_made_it(user: Place, tmp_path: Path) -> None:
    """Whatever the file is called now; headers have no glibc."""
    header = File("opt/lib/include/x.h", b"")
    user.store.root.mkdir(parents=True)
    holding(user, "store", header)
    path = tar(tmp_path, header).rename(tmp_path / "renamed.tar")
    answer = user.run("audit", str(path), "--json")
    (row,) = answer.json["wheels"]
    assert row["passed"] is False
    assert row["hint"].startswith("kvpack build lib --rebuild")
    assert row["cause"].startswith("it is audited and verified as a part of the wheels")


def test_a_bundle_and_a_foreign_tar(place: Place, tmp_path: Path) -> None:
    path = tar(tmp_path, File("kvpack-bundle/MANIFEST.json", b"{}"))
    assert "is a bundle, no wheel" in (answer := place.run("verify", str(path))).err
    assert f"kvpack bundle verify {path}" in answer.err
    with tarfile.open(path, "w") as other:
        other.addfile(tarfile.TarInfo("etc/passwd"))
    assert "is not a wheel that can be read" in place.run("audit", str(path)).err
