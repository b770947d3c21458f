"""Native libraries: their part of a key, how one is built, and its canonical tar."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from kvpack.build.compare import Difference, compare_libraries
from kvpack.build.difference import first_difference
from kvpack.build.key import action, action_key
from kvpack.build.library import build_library, canonical, lay_out
from kvpack.build.model import BuildPlan, BuiltLibrary
from kvpack.build.prefix import library_environment
from kvpack.build.sbom import sbom
from kvpack.errors import BuildFailed, OptionIgnored
from kvpack.recipe.model import Recipe
from kvpack.tools.files import canonical_json, sha256_of
from tests.unit.build.made import (
    GIT,
    INPUTS,
    PATCH,
    RECIPE,
    ROOTS,
    Blobs,
    Heard,
    changed,
    entry,
    folder,
    hard,
    inputs,
    link,
    locked_deb,
    plan,
    recipe,
    sha,
    shop,
    tar_bytes,
)
from tests.unit.engines import Playing

LOG = Path("build.log")
LIBRARY: dict[str, Any] = {
    **{key: RECIPE[key] for key in ("schema", "summary", "license", "default-version", "patches")},
    "name": "ucx",
    "library": {"prefix": "/opt/ucx"},
    "versions": {"1.0": {"source": {"git": GIT["git"], "tag": "v1.0", "submodules": True}}},
    "targets": {"glibc": ["2.36"]},
    "options": {"mt": {"default": True, "configure": "enable-mt"}},
    "build": {"steps": ['./configure --prefix="$PREFIX" $KVPACK_CONFIGURE_OPTIONS', "make"]},
}
LOCKED = inputs(
    ("target.recipe", "ucx"), ("target.python", ""), ("source", GIT), ("build", []), ("host", []),
    ("root-tools", []), ("imports", []),
)  # fmt: skip


def library(
    *changes: tuple[str, object], locked: tuple[str, object] | None = None, needs: str = ""
) -> BuildPlan:
    """The plan of the library; a change names a key of its recipe by its dotted path.

    :param needs: a library of that name that it is built with.
    """
    made = Recipe.model_validate(changed(LIBRARY, *changes))
    held = changed(LOCKED.model_dump(by_alias=True), *([locked] if locked else []))
    found = plan(made, type(LOCKED).model_validate(held))
    below = (library(("name", needs)),) if needs else ()
    document = action(made, found.inputs, ROOTS, {one.recipe.name: one.action for one in below})
    return dataclasses.replace(
        found, distribution=made.name, libraries=below, action=document, key=action_key(document)
    )


# -- the key ------------------------------------------------------------------------------------


def user(*libraries: BuildPlan) -> dict[str, Any]:
    """The action of the demo, built with libraries."""
    return action(recipe(), INPUTS, ROOTS, {one.recipe.name: one.action for one in libraries})


def test_a_librarys_action_is_part_of_its_users() -> None:
    made = library()
    assert user(made)["libraries"] == {"ucx": made.action}
    assert user(made)["kvpack"]["library-layer"] == made.action["kvpack"]["library-layer"]
    assert made.action["recipe"]["prefix"] == "/opt/ucx"


def test_what_has_no_libraries_has_the_document_of_before() -> None:
    document = user()
    assert document == action(recipe(), INPUTS, ROOTS)
    assert "libraries" not in document
    assert set(document["kvpack"]) == {"procedure", "root-generator", "stamp"}


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "its source": (
        {"locked": ("source.sha256", sha(b"other"))}, "libraries ucx lock source sha256: ",
    ),
    "its commit": (
        {"locked": ("source.commit", "d" * 40)}, f"libraries ucx lock source commit: {'c' * 40} ->",
    ),
    "its patch": ({"locked": ("patches.0.sha256", "0" * 64)}, "libraries ucx lock patches: "),
    "a package of its root": (
        {"locked": ("root.packages.0.sha256", "0" * 64)},
        "libraries ucx lock root packages: ",
    ),
    "an option": (
        {"changes": ("options.mt.default", False)},
        "libraries ucx recipe options mt value: yes -> no",
    ),
    "its prefix": (
        {"changes": ("library.prefix", "/opt/x")},
        "libraries ucx recipe prefix: /opt/ucx -> /opt/x",
    ),
    "a step": (
        {"changes": ("build.steps", ["make $KVPACK_CONFIGURE_OPTIONS"])},
        "libraries ucx recipe steps: ",
    ),
    "what it is built with": ({"needs": "rdma"}, "libraries ucx libraries: added "),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_a_library_changes_what_is_built_with_it(name: str) -> None:
    how, told = CHANGES[name]
    changes = [how["changes"]] if "changes" in how else []
    other = library(*changes, locked=how.get("locked"), needs=how.get("needs", ""))
    before, after = user(library()), user(other)
    assert action_key(before) != action_key(after)
    assert str(first_difference(before, after)).startswith(told)


def test_a_library_more_is_told_by_its_name() -> None:
    found = first_difference(user(), user(library()))
    assert str(found).startswith("libraries: added ")


def test_the_file_of_a_library_names_version_and_cell() -> None:
    made = BuiltLibrary(plan=library(), sha256=sha256_of(b""), size=1, seconds=1.0, hit=False)
    assert made.file == f"ucx-{made.plan.version}-debian-bookworm-x86_64-cpu.tar"


# -- the canonical tar --------------------------------------------------------------------------

TREE = [
    folder("ucx/"), folder("ucx/lib"), entry("ucx/lib/libucp.so.0", b"\x7fELF", mode=0o700),
    entry("ucx/lib/ä.pc", b"pc", mode=0o666), link("ucx/lib/libucp.so", "libucp.so.0"),
    folder("ucx/share"), link("ucx/share/abroad", "/etc/hosts"),
]  # fmt: skip


def written(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes], made: bytes = b"") -> bytes:
    (tmp_path / "taken.tar").write_bytes(made or tar_bytes(*members))
    out = io.BytesIO()
    canonical(library(), tmp_path / "taken.tar", out, LOG)
    return out.getvalue()


def held(data: bytes) -> dict[str, tuple[str, int, bytes]]:
    """Name -> kind or target of a link, mode, content."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {
            info.name: (
                info.linkname or ("folder" if info.isdir() else "file"),
                info.mode,
                stream.read() if info.isreg() and (stream := tar.extractfile(info)) else b"",
            )
            for info in tar
        }


EXPECTED = {
    "opt": ("folder", 0o755, b""),
    "opt/ucx": ("folder", 0o755, b""),
    "opt/ucx/lib": ("folder", 0o755, b""),
    "opt/ucx/lib/libucp.so": ("libucp.so.0", 0o777, b""),
    "opt/ucx/lib/libucp.so.0": ("file", 0o755, b"\x7fELF"),
    "opt/ucx/lib/ä.pc": ("file", 0o644, b"pc"),
    "opt/ucx/share": ("folder", 0o755, b""),
    "opt/ucx/share/abroad": ("/etc/hosts", 0o777, b""),
}


def test_a_tree_is_kept_with_its_links(tmp_path: Path) -> None:
    data = written(tmp_path, *TREE)
    assert {name.rstrip("/"): found for name, found in held(data).items()} == EXPECTED
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")


def test_order_owners_and_times_do_not_show(tmp_path: Path) -> None:
    top, *rest = TREE
    others = [
        entry(info.name, data, info.type, mode=info.mode | 0o4020, linkname=info.linkname,
              mtime=1, uid=1000, gid=7, uname="me", gname="us")
        for info, data in (top, *reversed(rest))
    ]  # fmt: skip
    assert written(tmp_path, *others) == written(tmp_path, *TREE)
    other = [*TREE[:2], entry("ucx/lib/libucp.so.0", b"\x7fELF", mode=0o600), *TREE[3:]]
    assert written(tmp_path, *other) != written(tmp_path, *TREE)


@pytest.mark.parametrize("head", ["./ucx/", "./", ""])
@pytest.mark.parametrize("top", [True, False])
def test_engines_differ_in_what_they_put_first(tmp_path: Path, head: str, top: bool) -> None:
    members = []
    for info, data in TREE if top and head else TREE[1:]:
        name = head + info.name.removeprefix("ucx/")
        members.append(entry(name, data, info.type, mode=info.mode, linkname=info.linkname))
    assert written(tmp_path, *members) == written(tmp_path, *TREE)


def test_a_folder_of_the_same_name_inside_is_not_taken_for_the_prefix(tmp_path: Path) -> None:
    for head in ("ucx/", "./"):
        found = held(written(tmp_path, folder(head), entry(f"{head}ucx/a", b"1")))
        assert "opt/ucx/ucx/a" in found


@pytest.mark.parametrize("head", ["ucx/", "./"])
def test_a_hard_link_becomes_a_file(tmp_path: Path, head: str) -> None:
    """Which of the two names is the file is chance."""
    first = [folder(head), entry(f"{head}a", b"1", mode=0o755), hard(f"{head}b", f"{head}a")]
    second = [folder(head), entry(f"{head}b", b"1", mode=0o755), hard(f"{head}a", f"{head}b")]
    assert written(tmp_path, *first) == written(tmp_path, *second)
    found = held(written(tmp_path, *first))
    assert found["opt/ucx/a"] == found["opt/ucx/b"] == ("file", 0o755, b"1")


def test_a_hard_link_to_a_link_is_a_link(tmp_path: Path) -> None:
    made = [*TREE, hard("ucx/lib/z.so", "ucx/lib/libucp.so")]
    assert held(written(tmp_path, *made))["opt/ucx/lib/z.so"][0] == "libucp.so.0"


BAD = [
    entry("ucx/fifo", kind=tarfile.FIFOTYPE), entry("ucx/null", kind=tarfile.CHRTYPE),
    entry("ucx/../../etc/passwd", b"x"), entry("../x", b"x"), entry("/etc/x", b"x"),
    entry(b"ucx/\xff", b"x"), entry("ucx/l", kind=tarfile.SYMTYPE, linkname="\udcff"),
    hard("ucx/h", "ucx/nowhere"),
]  # fmt: skip


def test_what_no_library_holds_is_refused_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="left what no library holds") as caught:
        written(tmp_path, *TREE, *BAD)
    assert {(one.place, one.message) for one in caught.value.faults} == {
        ("ucx/fifo", "is a device, pipe or socket"),
        ("ucx/null", "is a device, pipe or socket"),
        ("ucx/../../etc/passwd", "leads out of the prefix"),
        ("../x", "leads out of the prefix"),
        ("/etc/x", "leads out of the prefix"),
        ("'ucx/\\udcff'", "is no UTF-8 name"),
        ("ucx/l", "links to '\\udcff', which is no UTF-8 name"),
        ("ucx/h", "is a hard link to 'ucx/nowhere', which is not there"),
    }
    assert "recipes/ucx.toml" in caught.value.hint
    assert str(LOG) in caught.value.hint


def test_a_prefix_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        written(tmp_path, link("ucx", "/usr"))
    assert [(one.place, one.message) for one in caught.value.faults] == [
        ("/opt/ucx", "is no folder")
    ]


@pytest.mark.parametrize("members", [[], [folder("ucx/")], [folder("ucx/"), folder("ucx/lib")]])
def test_a_prefix_without_files_is_told(tmp_path: Path, members: list[Any]) -> None:
    with pytest.raises(BuildFailed, match=r"installed nothing below /opt/ucx") as caught:
        written(tmp_path, *members)
    assert "$PREFIX" in caught.value.hint


# -- a build ------------------------------------------------------------------------------------

AUTOCONF = "configure: WARNING: unrecognized options: --enable-mt\n"


@pytest.fixture
def playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playing:
    return Playing(tmp_path).on(monkeypatch)


def built(playing: Playing, made: BuildPlan | None = None) -> Path:
    made, heard, where = made or library(), Heard(), shop(playing.folder / "shop")
    (playing.folder / "fix.patch").write_bytes(PATCH)
    lay_out(made, where, Blobs(playing.folder), playing.folder.joinpath).mkdir()
    log = playing.folder / "build.log"
    return build_library(made, where, playing.engine, log=log, reporter=heard)


def test_a_build_runs_the_steps_alone_and_takes_the_prefix(playing: Playing) -> None:
    playing.plays("made\n", taken=tar_bytes(*TREE))
    tar = built(playing)
    assert set(EXPECTED) == {name.rstrip("/") for name in held(tar.read_bytes())}
    (words,) = playing.calls("create")
    assert words[-4:] == [
        "--workdir=/project", "localhost/root:1", "bash", "/project/kvpack-inputs/library.sh",
    ]  # fmt: skip
    assert "--network=none" in words
    assert "--env=SOURCE_DATE_EPOCH=1600000000" in words
    assert [call[-1] for call in playing.calls("cp")] == ["0a1b2c:/project", "-"]
    assert (playing.folder / "build.log").read_text() == "made\n"
    given = playing.folder / "given" / "kvpack-inputs"
    assert {path.name for path in given.iterdir()} == {"library.sh", "patches", "steps.sh"}
    lines = (given / "library.sh").read_text().splitlines()
    assert lines[-1] == "bash /project/kvpack-inputs/steps.sh"
    assert lines[-2].startswith("patch -d /project/source -p1 -F0")
    exported = (given / "steps.sh").read_text()
    assert "export PREFIX=/opt/ucx\n" in exported
    assert "export KVPACK_CONFIGURE_OPTIONS=--enable-mt=yes\n" in exported
    assert "PYTHON" not in exported


def test_containers_that_a_killed_build_left_go_first(playing: Playing) -> None:
    (playing.folder / "left").write_text("dead\n")
    playing.plays(taken=tar_bytes(*TREE))
    built(playing)
    assert playing.calls("rm")[0] == ["--force", "dead"]
    label = playing.calls("create")[0][0]
    assert label.startswith(f"--label=kvpack.build={library().key}-")
    assert playing.calls("ps")[0][-1] == label.replace("--label=", "label=")


def test_steps_that_install_nothing_are_told(playing: Playing) -> None:
    with pytest.raises(BuildFailed, match=r"installed nothing below /opt/ucx"):
        built(playing)


def test_the_step_that_failed_is_named(playing: Playing) -> None:
    playing.plays("cc1: error\nkvpack: step failed: 2 of build.steps\n", code=1)
    with pytest.raises(BuildFailed, match=r"\(its commands exited with code 1\)") as caught:
        built(playing)
    assert caught.value.cause.startswith("step 2 of build.steps failed (make); ")
    assert caught.value.hint == f"the full log is {playing.folder}/build.log"
    assert not playing.calls("cp")[1:]


def test_an_option_that_configure_does_not_know_fails_a_build_that_ended_well(
    playing: Playing,
) -> None:
    playing.plays(AUTOCONF, taken=tar_bytes(*TREE))
    with pytest.raises(OptionIgnored, match=r"configure ignored the option mt \(enable-mt\)"):
        built(playing)


# -- in the roots of its users ------------------------------------------------------------------


def test_programs_of_a_library_are_found_before_the_roots() -> None:
    below = {"PATH": "/usr/bin", "HOME": "/root", "LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
    found = library_environment("/opt/ucx", below)
    assert found == {
        "PATH": "/opt/ucx/bin:/usr/bin",
        "PKG_CONFIG_PATH": "/opt/ucx/lib/pkgconfig:/opt/ucx/lib64/pkgconfig:"
        "/opt/ucx/share/pkgconfig",
        "CMAKE_PREFIX_PATH": "/opt/ucx",
        "LD_LIBRARY_PATH": "/opt/ucx/lib:/opt/ucx/lib64:/usr/local/cuda/lib64",
    }
    both = library_environment("/opt/a", below | found)
    assert both["CMAKE_PREFIX_PATH"] == "/opt/a:/opt/ucx"
    assert both["PATH"] == "/opt/a/bin:/opt/ucx/bin:/usr/bin"


# -- two builds of one --------------------------------------------------------------------------


def compared(tmp_path: Path, first: bytes, second: bytes) -> list[Difference]:
    (tmp_path / "1.tar").write_bytes(first)
    (tmp_path / "2.tar").write_bytes(second)
    return compare_libraries(tmp_path / "1.tar", tmp_path / "2.tar")


ONE = (folder("opt"), entry("opt/a", b"1", mode=0o644), link("opt/l", "a"))
DIFFERENT = {
    "nothing": (ONE, []),
    "a file more": (
        (*ONE, entry("opt/b")), [Difference("opt/b", "only in one", "only in the second build")],
    ),
    "a file less": (ONE[:-1], [Difference("opt/l", "only in one", "only in the first build")]),
    "another kind": (
        (ONE[0], folder("opt/a"), ONE[2]), [Difference("opt/a", "kind", "a file and a folder")],
    ),
    "another target": (
        (*ONE[:2], link("opt/l", "b")), [Difference("opt/l", "link", "to a and to b")],
    ),
    "another mode": (
        (ONE[0], entry("opt/a", b"1", mode=0o755), ONE[2]),
        [Difference("opt/a", "mode", "644 and 755")],
    ),
    "other bytes": (
        (ONE[0], entry("opt/a", b"2", mode=0o644), ONE[2]),
        [Difference("opt/a", "content", "1 and 1 bytes, first difference at 0")],
    ),
    "a path": (
        (ONE[0], entry("opt/a", b"/project/rebuilt-elsewhere/x", mode=0o644), ONE[2]),
        [Difference("opt/a", "path", "a build path is in it: /project/rebuilt-elsewhere/x; "
                    "1 and 28 bytes, first difference at 0")],
    ),
    "the order alone": (
        (ONE[0], ONE[2], ONE[1]),
        [Difference("(archive)", "container", "same members, written otherwise")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_each_kind_of_difference(tmp_path: Path, name: str) -> None:
    other, expected = DIFFERENT[name]
    assert compared(tmp_path, tar_bytes(*ONE), tar_bytes(*other)) == expected


# -- the bill of materials ----------------------------------------------------------------------


def billed(*libraries: BuildPlan) -> list[dict[str, Any]]:
    document = sbom(recipe(), INPUTS, "0" * 64, libraries)
    text = canonical_json(document).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    references = [part["bom-ref"] for part in document["components"]]
    assert document["dependencies"][0]["dependsOn"] == sorted(references)
    assert len(set(references)) == len(references)
    found: list[dict[str, Any]] = document["components"]
    return found


def test_a_library_is_a_part_with_its_source_and_what_is_not_there_already() -> None:
    made = library()
    before, after = billed(), billed(made)
    assert after[: len(before)] == before
    own, *parts = after[len(before) :]
    assert (own["bom-ref"], own["version"]) == ("library:ucx", made.version)
    assert own["scope"] == "required"
    assert own["licenses"] == [{"expression": "Apache-2.0"}]
    assert {"name": "kvpack:action-key", "value": made.key} in own["properties"]
    # The packages of the root are the user's as well; patches and submodules are not.
    assert [part["bom-ref"].partition("?")[0] for part in parts] == [
        "pkg:generic/ucx@1.0", "submodule:ucx/extern/sub", "patch:ucx/fix",
    ]  # fmt: skip


def test_a_package_of_another_root_is_listed() -> None:
    other = locked_deb("rdma", b"rdma")
    names = {part["name"] for part in billed(library(locked=("root.packages", [other])))}
    assert {"rdma", "g++"} <= names


def test_a_library_that_two_need_is_listed_once() -> None:
    found = [part["bom-ref"] for part in billed(library(("name", "a")), library(needs="a"))]
    assert found.count("library:a") == found.count("library:ucx") == 1
    nested = [part["bom-ref"] for part in billed(library(needs="a"))]
    assert {"library:a", "library:ucx"} <= set(nested)


def test_the_action_of_a_library_can_be_written_and_read() -> None:
    document = user(library(needs="a"))
    assert action_key(json.loads(canonical_json(document))) == action_key(document)
