"""The proof of ownership on real wheels of the real index, read by range requests."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Kvpack

pytestmark = pytest.mark.integration
POPULAR = Path(__file__).parents[1] / "data" / "popular.txt"
PROGRAMS = ["bin/nixl_etcd_example", "bin/nixl_example", "bin/telemetry_reader"]


def judged(
    kvpack: Kvpack, *specs: str, arch: str = "x86_64", glibc: str = "2.39"
) -> dict[str, Any]:
    words = ("conflicts", *specs, "--python", "3.12", "--arch", arch, "--glibc", glibc, "--json")
    answer = kvpack(*words, timeout=300)
    assert answer.code in {0, 70}, answer.err
    report = answer.json
    assert answer.code == (70 if report["conflicts"] else 0)
    return report


def paths(rows: list[dict[str, Any]]) -> list[str]:
    return [row["path"] for row in rows]


def pair(kvpack: Kvpack, first: str, second: str, version: str, arch: str) -> dict[str, Any]:
    """Two members of a family: read by less than a hundredth, named in every conflict."""
    report = judged(kvpack, f"{first}=={version}", f"{second}=={version}", arch=arch)
    assert report["bytes-read"] * 100 <= report["bytes-total"]
    assert report["bytes-total"] > 20_000_000
    for row in report["conflicts"]:
        assert row["kind"] == "different-bytes"
        assert [owner["distribution"] for owner in row["owners"]] == [first, second]
        assert {owner["version"] for owner in row["owners"]} == {version}
        assert len({owner["sha256"] for owner in row["owners"]}) == 2
    return report


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("version", ["1.0.1", "1.1.0", "1.2.0"])
def test_nixl_shares_an_extension_and_its_programs(kvpack: Kvpack, version: str, arch: str) -> None:
    report = pair(kvpack, "nixl-cu12", "nixl-cu13", version, arch)
    extension = f"site-packages/nixl_ep/nixl_ep_cpp.cpython-312-{arch}-linux-gnu.so"
    assert paths(report["conflicts"]) == [*PROGRAMS, extension]
    for row in report["conflicts"]:
        assert "the family nixl: keep one of nixl-cu12, nixl-cu13; nixl stays" in row["advice"]


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_later_nixl_shares_its_programs_only(kvpack: Kvpack, arch: str) -> None:
    report = pair(kvpack, "nixl-cu12", "nixl-cu13", "1.5.1", arch)
    assert paths(report["conflicts"]) == PROGRAMS
    assert paths(report["shared"]) == ["pkgconfig/asio.pc"]


@pytest.mark.parametrize("version", ["0.3.10", "0.3.12"])
def test_mooncake_for_two_majors(kvpack: Kvpack, version: str) -> None:
    names = ("mooncake-transfer-engine", "mooncake-transfer-engine-cuda13")
    report = pair(kvpack, *names, version, "x86_64")
    found = paths(report["conflicts"])
    assert any(path.startswith("site-packages/mooncake/engine.") for path in found)
    assert not [path for path in found if path.endswith(".dist-info/RECORD")]
    assert "mooncake" in report["conflicts"][0]["advice"]


def test_opencv_with_and_without_a_head(kvpack: Kvpack) -> None:
    report = judged(kvpack, "opencv-python==4.12.0.88", "opencv-python-headless==4.12.0.88")
    assert paths(report["conflicts"]) == [
        "site-packages/cv2/cv2.abi3.so",
        "site-packages/cv2/typing/__init__.py",
        "site-packages/cv2/version.py",
    ]
    assert "the family opencv" in report["conflicts"][0]["advice"]


def test_popular_wheels_raise_no_alarm(kvpack: Kvpack) -> None:
    report = judged(kvpack, str(POPULAR), glibc="2.28")
    assert len(report["distributions"]) == 60
    assert report["conflicts"] == []
    assert report["bytes-read"] * 20 <= report["bytes-total"]


def test_a_dispatcher_stays_beside_its_member(kvpack: Kvpack) -> None:
    assert judged(kvpack, "nixl==1.5.1", "nixl-cu13==1.5.1")["conflicts"] == []


def test_a_version_that_no_wheel_has(kvpack: Kvpack) -> None:
    answer = kvpack("conflicts", "nixl-cu13==0.0.1", "--arch", "x86_64")
    assert answer.code == 23
    assert "nixl-cu13 0.0.1 has no wheel for Python 3.12" in answer.err
