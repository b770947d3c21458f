"""Real uv on loopback indexes: the order of sources, and indexes that behave badly."""

from pathlib import Path

import pytest

from kvpack.errors import FetchFailed, ResolutionFailed
from kvpack.report import Silent
from kvpack.resolve.choose import Ask
from kvpack.resolve.environment import Environment
from kvpack.resolve.folder import wheels_in, write_index
from kvpack.resolve.solve import Sources, solve
from kvpack.tools.files import sha256_file
from tests.unit.audit.wheels import Wheel
from tests.unit.fetch.upstream import Reply, Upstream, serving

pytestmark = pytest.mark.integration
HTML = (("Content-Type", "text/html"),)
ENVIRONMENT = Environment("3.12", "2.35", "x86_64")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "2")


def wheel(folder: Path, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
    return Wheel(
        filename=f"{name.replace('-', '_')}-{version}-{tag}.whl",
        dist_info=f"{name.replace('-', '_')}-{version}.dist-info",
        metadata=f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{lines}",
    ).write(folder)


def index_of(folder: Path, tmp_path: Path) -> str:
    into = tmp_path / f"index-{folder.name}"
    into.mkdir()
    return write_index(wheels_in(folder), into)


def ask(*requires: str, excludes: tuple[str, ...] = (), constraints: tuple[str, ...] = ()) -> Ask:
    return Ask(requires=requires, excludes=excludes, constraints=constraints, chosen={})


def solved(question: Ask, sources: Sources) -> list[tuple[str, str]]:
    return [(pick.name, pick.version) for pick in solve(question, ENVIRONMENT, sources, Silent())]


def test_a_higher_version_elsewhere_never_wins(tmp_path: Path) -> None:
    """Dependency confusion: whoever lists the project first is the only one that counts."""
    wheel(tmp_path / "ours", "engine", "1.0+kvp.12345678", "helper")
    wheel(tmp_path / "theirs", "engine", "99.0")
    wheel(tmp_path / "theirs", "helper", "1.0")
    ours, theirs = (index_of(tmp_path / name, tmp_path) for name in ("ours", "theirs"))
    found = solve(ask("engine"), ENVIRONMENT, Sources(default=theirs, declared=[ours]), Silent())
    assert [(pick.version, Path(pick.url).parent.name) for pick in found] == [
        ("1.0+kvp.12345678", "ours"), ("1.0", "theirs"),
    ]  # fmt: skip
    with pytest.raises(ResolutionFailed, match="no set of wheels"):
        solved(ask("engine>=2"), Sources(default=theirs, declared=[ours]))


def test_excludes_and_constraints_hold_transitively(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    wheel(folder, "meta", "1.0", "left==1.0", "right==1.0")
    wheel(folder, "left", "1.0", "base")
    wheel(folder, "right", "1.0")
    wheel(folder, "base", "1.0")
    wheel(folder, "base", "2.0")
    sources = Sources(default=index_of(folder, tmp_path))
    question = ask("meta", excludes=("right",), constraints=("base<2",))
    assert solved(question, sources) == [("base", "1.0"), ("left", "1.0"), ("meta", "1.0")]


def test_the_best_wheel_of_the_floor_is_taken(tmp_path: Path) -> None:
    for glibc in ("2_28", "2_34", "2_39"):
        wheel(tmp_path / "all", "a", "1.0", tag=f"cp312-cp312-manylinux_{glibc}_x86_64")
    sources = Sources(default=index_of(tmp_path / "all", tmp_path))
    (pick,) = solve(ask("a"), ENVIRONMENT, sources, Silent())
    assert pick.file == "a-1.0-cp312-cp312-manylinux_2_34_x86_64.whl"


def test_no_wheel_for_the_floor_is_told_with_its_chain(tmp_path: Path) -> None:
    wheel(tmp_path / "all", "b", "1.0", tag="cp312-cp312-manylinux_2_39_x86_64")
    wheel(tmp_path / "all", "a", "1.0", "b")
    sources = Sources(default=index_of(tmp_path / "all", tmp_path))
    with pytest.raises(ResolutionFailed) as caught:
        solved(ask("a", constraints=("c<1",)), sources)
    assert "all versions of a depend on b" in caught.value.cause
    assert "manylinux_2_39_x86_64" in caught.value.cause
    assert "bound: c<1" in caught.value.cause


def served(upstream: Upstream, path: Path, **reply: object) -> None:
    upstream.put(f"/files/{path.name}", Reply(body=path.read_bytes(), **reply))  # type: ignore[arg-type]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_index_without_metadata_files(tmp_path: Path, *, ranges: bool) -> None:
    path = wheel(tmp_path / "all", "a", "1.0")
    with serving() as upstream:
        served(upstream, path, ranges=ranges)
        page = f'<a href="/files/{path.name}#sha256={"0" * 64}">{path.name}</a>'
        upstream.put("/simple/a/", Reply(body=page.encode(), headers=HTML))
        sources = Sources(default=f"{upstream.url}/simple/")
        (pick,) = solve(ask("a"), ENVIRONMENT, sources, Silent())
    assert pick.sha256 == "0" * 64


def test_an_index_without_hashes(tmp_path: Path) -> None:
    """uv fetches the file and tells its digest; the proof later reads the same bytes or fails."""
    path = wheel(tmp_path / "all", "a", "1.0")
    with serving() as upstream:
        served(upstream, path)
        page = f'<a href="/files/{path.name}">{path.name}</a>'
        upstream.put("/simple/a/", Reply(body=page.encode(), headers=HTML))
        (pick,) = solve(ask("a"), ENVIRONMENT, Sources(default=f"{upstream.url}/simple/"), Silent())
    assert pick.sha256 == sha256_file(path)


def test_a_declared_index_that_fails_is_not_passed_over(tmp_path: Path) -> None:
    """Taking the project from the next index instead would be a silent fallback."""
    wheel(tmp_path / "theirs", "a", "1.0")
    theirs = index_of(tmp_path / "theirs", tmp_path)
    with serving() as upstream:
        upstream.put("/simple/a/", Reply(status=503))
        with pytest.raises(FetchFailed, match="does not answer"):
            solved(ask("a"), Sources(default=theirs, declared=[f"{upstream.url}/simple/"]))
