"""Stand-ins as people get them: cloned from a server, with submodules, patches on top."""

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import CHECKOUT
from tests.standins.make import HISTORIES, make_repository, submodules_at

pytestmark = pytest.mark.integration


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  - its name there
        del format, args


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """All repositories behind a server that knows nothing of git."""
    folder = tmp_path_factory.mktemp("forge")
    for name in HISTORIES:
        make_repository(name, folder)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    command = [words[0], *(who if words[0] == "git" else ()), *words[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def clone(forge: tuple[Path, str], place: str, ref: str, target: Path) -> Path:
    quiet = ("-c", "advice.detachedHead=false", "clone", "--quiet", "--recursive")
    run(target.parent, "git", *quiet, "--branch", ref, f"{forge[1]}/{place}", target.name)
    return target


@pytest.mark.parametrize("name", [name for name in HISTORIES if "tag" in str(HISTORIES[name])])
def test_clones_with_submodules(name: str, forge: tuple[Path, str], tmp_path: Path) -> None:
    made = make_repository(name, forge[0])
    for tag, commit in made.tags.items():
        tree = clone(forge, made.place, tag, tmp_path / tag)
        assert run(tree, "git", "rev-parse", "HEAD").strip() == commit
        assert run(tree, "git", "fsck", "--strict") == ""
        there = {path for path in made.submodules if (tree / path / "README.md").is_file()}
        assert there == set(submodules_at(made, tag))


def test_the_fix_is_cherry_picked_onto_the_tag(forge: tuple[Path, str], tmp_path: Path) -> None:
    made = make_repository("mooncake", forge[0])
    tree = clone(forge, made.place, "v0.3.10.post2", tmp_path / "tree")
    run(tree, "git", "cherry-pick", made.commits["address-range"])
    changed = run(tree, "git", "diff", "--name-only", "v0.3.10.post2").split()
    assert [Path(path).name for path in changed] == ["rdma_context.cpp"]


def test_the_patch_of_the_default_applies_without_fuzz(
    forge: tuple[Path, str], tmp_path: Path
) -> None:
    """The catalogue's own, as a build applies it."""
    made = make_repository("mooncake", forge[0])
    tree = clone(forge, made.place, "v0.3.14", tmp_path / "tree")
    patch = str(CHECKOUT / "patches" / "mooncake" / "peermem-default.patch")
    run(tree, "patch", "-p1", "-F0", "--batch", "--input", patch)
    assert run(tree, "git", "diff", "--name-only") == "mooncake-wheel/mooncake/__init__.py\n"


def test_the_scripts_are_sound(forge: tuple[Path, str], tmp_path: Path) -> None:
    scripts = {
        "mooncake": ["scripts/build_wheel.sh", "dependencies.sh"],
        "ucx": ["autogen.sh", "config/configure.in", "contrib/configure-release-mt"],
        "mori": ["tools/make-hip-standin"],
    }
    for name, files in scripts.items():
        made = make_repository(name, forge[0])
        tree = clone(forge, made.place, list(made.tags)[-1], tmp_path / name)
        for file in files:
            run(tree, "bash" if file.startswith(("scripts", "dep")) else "sh", "-n", file)
