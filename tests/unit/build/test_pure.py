"""A wheel without binaries: built by ``build`` in a container, without cibuildwheel."""

import io
import shlex
import zipfile
from pathlib import Path

import pytest

from kvpack.build.model import BuildPlan
from kvpack.build.project import lay_out
from kvpack.build.pure import pure_wheel
from kvpack.errors import BuildFailed
from tests.unit.build.made import (
    Blobs,
    Heard,
    entry,
    folder,
    inputs,
    link,
    plan,
    recipe,
    shop,
    tar_bytes,
)
from tests.unit.engines import Playing


def demo(*changes: tuple[str, object]) -> BuildPlan:
    changes = (("build.pure", True), ("options", {}), *changes)
    return plan(recipe(*changes), inputs(("build", []), ("patches", [])))


MADE = demo()
WHEEL = f"demo_kv-{MADE.version}-py3-none-any.whl"


@pytest.fixture
def playing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playing:
    found = Playing(tmp_path).on(monkeypatch)
    found.plays("Successfully built\n", taken=tar_bytes(folder("output"), entry(f"output/{WHEEL}")))
    return found


def wheel(made: BuildPlan, laid: Path) -> bytes:
    """A wheel with the evidence that was ordered."""
    info, out = f"demo_kv-{made.version}.dist-info", io.BytesIO()
    evidence = laid / "kvpack-inputs" / "evidence"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{info}/RECORD", b"")
        for path in evidence.rglob("*"):
            if path.is_file():
                archive.write(path, f"{info}/{path.relative_to(evidence)}")
    return out.getvalue()


def built(
    playing: Playing, made: BuildPlan = MADE, *, top: str = "output/", more: bytes = b""
) -> Path:
    where = shop(playing.folder / "shop")
    laid = lay_out(made, where, Blobs(playing.folder), playing.folder.joinpath)
    name = f"demo_kv-{made.version}-py3-none-any.whl"
    data = wheel(made, laid)
    members = [
        folder(top), entry(top + name, data), link(f"{top}x.whl", "/etc/passwd"),
        entry(f"{top}deep/er/other-1-py3-none-any.whl", b"no"), entry(f"{top}log.txt", b"no"),
    ]  # fmt: skip
    playing.plays("Successfully built\n", taken=more or tar_bytes(*members))
    log = playing.folder / "build.log"
    return pure_wheel(made, where, playing.engine, log=log, reporter=Heard())


@pytest.mark.parametrize("top", ["output/", "./", "./output/"])
def test_the_one_wheel_of_the_output_folder_is_taken(playing: Playing, top: str) -> None:
    """Nothing but plain files at its top: neither links nor what lies deeper."""
    found = built(playing, top=top)
    assert found == playing.folder / "shop" / "wheels" / WHEEL
    assert [path.name for path in found.parent.iterdir()] == [WHEEL]


def script_of(playing: Playing) -> list[str]:
    (words,) = playing.calls("create")
    assert words[-5:-1] == ["bash", "-euo", "pipefail", "-c"]
    return words[-1].splitlines()


def test_requirements_patches_and_stamp_are_those_of_any_wheel(playing: Playing) -> None:
    built(playing)
    path, before, folders, build, repair = script_of(playing)
    assert path == "export PATH=/opt/python/cp311-cp311/bin:$PATH"
    assert before == "sh /project/kvpack-inputs/before-build.sh"
    *_, place, output = folders.split()
    assert output == "/output"
    assert shlex.split(build) == [
        *("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", place),
        *("--config-setting=wheel.exclude=include/**", "--config-setting=define=a"),
        *("--config-setting=define=b", "/project/source"),
    ]
    assert repair == f"sh /project/kvpack-inputs/repair.sh {place}/*.whl {output}"
    assert [call[-2:] for call in playing.calls("cp")][-1] == ["0a1b2c:/output", "-"]


def test_a_package_below_the_root_is_what_is_built(playing: Playing) -> None:
    built(playing, demo(("build.package", "meta/it")))
    assert shlex.split(script_of(playing)[3])[-1] == "/project/source/meta/it"


def test_a_build_that_leaves_no_wheel_is_told(playing: Playing) -> None:
    with pytest.raises(BuildFailed, match=r"left \[\], not one demo_kv-"):
        built(playing, more=tar_bytes(folder("output")))


@pytest.mark.parametrize("name", ["output/ä-1-py3-none-any.whl", b"output/\xff.whl"])
def test_a_name_that_no_wheel_has_is_refused(playing: Playing, name: str | bytes) -> None:
    with pytest.raises(BuildFailed, match="left a wheel called"):
        built(playing, more=tar_bytes(entry(name, b"x")))
