"""The published index behind nginx: what pip, uv and PDM make of it, and what they keep."""

import json
import os
import subprocess
import sys
import urllib.error
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.integration.conftest import Kvpack
from tests.integration.publish_servers import SCRIPTS, Site, nginx, s3
from tests.integration.test_publish import (
    FIRST,
    SECOND,
    _credentials,
    bucket,
    go,
    prefix,
)
from tests.integration.test_publish_refused import other_time, set_clock
from tests.unit.publish.made import release, wheel_bytes

pytestmark = pytest.mark.integration
__all__ = ["_credentials", "prefix", "s3"]

PAGES = [("demo-a", "cpu"), ("demo-cu13", "cuda13")]
"""A project of each accelerator that has a page."""


@pytest.fixture
def site(s3: int, prefix: str, kvpack: Kvpack, tmp_path: Path) -> Iterator[Site]:
    """A bucket, mirrored into a folder, behind nginx."""
    objects = bucket(s3, prefix)
    go(objects, FIRST)
    go(objects, SECOND)
    go(objects, release("demo-cu13==1.0", accelerator="cuda13"))
    kvpack.env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
    kvpack("mirror", "sync", prefix, str(tmp_path / "site")).ok()
    kvpack("mirror", "verify", prefix, str(tmp_path / "site")).ok()
    with nginx(tmp_path / "site", tmp_path / "nginx") as served:
        yield served


def files_of(url: str, project: str, accelerator: str = "cpu") -> list[dict[str, object]]:
    with urlopen(  # noqa: S310
        f"{url}/stable/{accelerator}/simple/{project}/index.json"
    ) as answer:
        found: list[dict[str, object]] = json.loads(answer.read())["files"]
    return found


def requirement(url: str, project: str, accelerator: str = "cpu") -> str:
    file = files_of(url, project, accelerator)[-1]
    version = str(file["filename"]).split("-")[1]
    return f"{project}=={version} --hash=sha256:{file['hashes']['sha256']}\n"  # type: ignore[index]


def plain_environment() -> dict[str, str]:
    return {n: v for n, v in os.environ.items() if not n.startswith(("PIP_", "UV_", "PDM_"))}


def run(words: Sequence[str | Path], folder: Path, more: dict[str, str]) -> str:
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False,
        env=plain_environment() | more,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Asked:
    """What nginx was asked since the last look: status and path."""

    def __init__(self, site: Site) -> None:
        self._log = site.log
        self._seen = 0

    def __call__(self) -> list[tuple[str, str]]:
        lines = self._log.read_text().splitlines()
        new, self._seen = lines[self._seen :], len(lines)
        return [(status, path) for status, path, *_ in map(str.split, new)]


# -- pip and uv -----------------------------------------------------------------------------------


@pytest.mark.parametrize("installer", ["pip", "uv"])
@pytest.mark.parametrize(("project", "accelerator"), PAGES)
def test_installers_with_hashes_and_what_they_keep(
    site: Site, tmp_path: Path, installer: str, project: str, accelerator: str
) -> None:
    """The first time all is fetched, within a minute nothing, later a page if it changed."""
    url = site.secure_url if installer == "pip" else site.url  # each where it keeps a cache
    (tmp_path / "requirements.txt").write_text(requirement(site.url, project, accelerator))
    cache = ["--cache-dir", str(tmp_path / "cache")]
    words = {
        "pip": [sys.executable, "-m", "pip", "install", "--isolated",
                "--disable-pip-version-check", *cache],
        "uv": [str(SCRIPTS / "uv"), "pip", "install", "--no-config", *cache, "--python",
               sys.executable],
    }[installer]  # fmt: skip
    words += ["--require-hashes", "--index-url", f"{url}/stable/{accelerator}/simple/", "-r",
              str(tmp_path / "requirements.txt")]  # fmt: skip
    trusted = {"SSL_CERT_FILE": str(site.certificate)} if installer == "pip" else {}
    set_clock(tmp_path / "clock", 120)
    later = other_time(tmp_path / "clock")
    page, asked = f"/stable/{accelerator}/simple/{project}/", Asked(site)
    asked()
    for turn, clock in (("first", {}), ("again", {}), ("later", later)):
        run([*words, "--target", str(tmp_path / turn)], tmp_path, trusted | clock)
        assert list((tmp_path / turn).glob("demo_*/__init__.py"))
        seen = asked()
        if turn == "first":
            assert {status for status, _ in seen} == {"200"}
            (wheel,) = [path for _, path in seen if path.endswith(".whl")]
            assert "+" not in wheel
            assert page in {path for _, path in seen}
        else:
            assert seen == ([] if turn == "again" else [("304", page)])
    assert "vnd.pypi.simple.v1+json" in site.log.read_text()


# -- PDM ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pdm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PDM with the dependencies that its makers locked, in an environment of its own."""
    folder = tmp_path_factory.mktemp("pdm")
    venv.create(folder, with_pip=True)
    words = ["-m", "pip", "install", "--quiet", "--no-compile", "pdm[locked]"]
    subprocess.run([folder / "bin" / "python", *words], check=True)
    return folder / "bin" / "pdm"


def pdm_project(pdm: Path, site: Site, folder: Path, page: tuple[str, str]) -> dict[str, str]:
    """A project that PDM has locked; returns the environment that PDM has to run in."""
    project, accelerator = page
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "user"\nversion = "0"\nrequires-python = ">=3.11"\n'
        f'dependencies = ["{project}"]\n\n[[tool.pdm.source]]\nname = "pypi"\n'
        f'url = "{site.url}/stable/{accelerator}/simple/"\n'
    )
    venv.create(folder / ".venv", with_pip=False, symlinks=True)
    home = {"HOME": str(folder), "PDM_CHECK_UPDATE": "0"}
    run([pdm, "lock"], folder, home)
    return home


@pytest.mark.parametrize("page", PAGES)
def test_pdm_locks_and_installs_with_hashes(
    pdm: Path, site: Site, tmp_path: Path, page: tuple[str, str]
) -> None:
    folder, asked = tmp_path / "user", Asked(site)
    home = pdm_project(pdm, site, folder, page)
    text = (folder / "pdm.lock").read_text()
    hashes = [str(file["hashes"]["sha256"]) for file in files_of(site.url, *page)]  # type: ignore[index]
    assert f'hash = "sha256:{hashes[-1]}"' in text
    asked()
    run([pdm, "sync", "--no-self"], folder, home)
    assert [path for _, path in asked() if path.endswith(".whl")]
    module = page[0].replace("-", "_")
    run([folder / ".venv" / "bin" / "python", "-c", f"import {module}"], folder, {})


def test_pdm_takes_no_other_bytes_than_it_locked(pdm: Path, site: Site, tmp_path: Path) -> None:
    """A host that serves another wheel under the locked name: PDM compares with its lock."""
    folder = tmp_path / "user"
    home = pdm_project(pdm, site, folder, ("demo-cu13", "cuda13"))
    (served,) = (tmp_path / "site" / "files" / "demo-cu13").glob("*.whl")
    served.write_bytes(wheel_bytes("demo-cu13", "1.0", "something else"))
    refused = subprocess.run(
        [pdm, "sync", "--no-self"], cwd=folder, capture_output=True, text=True, check=False,
        env=plain_environment() | home,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "hash" in (refused.stdout + refused.stderr).lower()
    assert not list((folder / ".venv").rglob("demo_cu13/__init__.py"))


# -- nginx ----------------------------------------------------------------------------------------


def test_what_nginx_answers(site: Site) -> None:
    url = site.url
    for accept, kind in (
        ("text/html", "text/html"),
        ("application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+json"),
    ):
        request = Request(  # noqa: S310
            f"{url}/stable/cpu/simple/demo-a/", headers={"Accept": accept}
        )
        with urlopen(request) as answer:  # noqa: S310
            assert answer.headers["Content-Type"].startswith(kind)
            assert answer.headers["Cache-Control"] == "public, max-age=60"
    for path in ("stable/cpu/simple/nobody/", "stable/cpu/simple/demo-cu13/", ".kvpack/lock"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urlopen(f"{url}/{path}")  # noqa: S310
