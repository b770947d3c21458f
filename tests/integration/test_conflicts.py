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
    answer = kvpack(*words, timeout=600)
    assert answer.code in {0, 70}, answer.err
    report = answer.json
    assert answer.code == (70 if report["conflicts"] or errors(report) else 0)
    return report


def errors(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (one["check"], one["distribution"])
        for one in report["findings"]
        if one["severity"] == "error"
    ]


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
    assert report["bytes-read"] * 100 <= report["bytes-total"]


def test_popular_wheels_raise_no_alarm_about_libraries(kvpack: Kvpack) -> None:
    report = judged(kvpack, str(POPULAR), "--libraries", glibc="2.28")
    assert report["libraries"]
    assert [one for one in report["findings"] if one["severity"] != "note"] == []
    assert 0 < report["bytes-fetched"] <= report["bytes-total"]
    again = judged(kvpack, str(POPULAR), "--libraries", glibc="2.28")
    assert (again["bytes-read"], again["bytes-fetched"]) == (0, 0)


def test_a_dispatcher_stays_beside_its_member(kvpack: Kvpack) -> None:
    assert judged(kvpack, "nixl==1.5.1", "nixl-cu13==1.5.1")["conflicts"] == []


def test_a_version_that_no_wheel_has(kvpack: Kvpack) -> None:
    answer = kvpack("conflicts", "nixl-cu13==0.0.1", "--arch", "x86_64")
    assert answer.code == 23
    assert "nixl-cu13 0.0.1 has no wheel for Python 3.12" in answer.err


SET = ("nixl==1.4.1", "nixl-cu13==1.4.1")
CUDA13, CUDA12 = "mooncake-transfer-engine-cuda13", "mooncake-transfer-engine"


def test_a_set_for_cuda_13(kvpack: Kvpack) -> None:
    """Nothing forbids it, and everything that it needs has a provider."""
    words = ("--cuda", "13", "--torch", "2.11.0")
    report = judged(kvpack, *SET, f"{CUDA13}==0.3.13.post1", *words)
    assert {one["severity"] for one in report["findings"]} == {"note"}
    provided = report["provided"]
    assert provided["libcudart.so.13"] == provided["libc10_cuda.so"] == "torch (environment)"
    assert provided["libcuda.so.1"] == "NVIDIA driver"
    assert provided["libmlx5.so.1"] == "host: ibverbs-providers"
    assert "libcudart.so.12" not in provided


def test_the_other_major_in_a_set_for_cuda_13(kvpack: Kvpack) -> None:
    report = judged(kvpack, *SET, f"{CUDA12}==0.3.13.post1", "--libraries", "--cuda", "13")
    assert report["conflicts"] == []
    assert errors(report) == [("accelerator-major", CUDA12)]
    (finding,) = (one for one in report["findings"] if one["severity"] == "error")
    assert finding["brought-by"] == [f"{CUDA12}==0.3.13.post1"]
    assert finding["advice"] == f"take {CUDA13} in place of {CUDA12}"


def test_the_other_major_in_a_set_that_nobody_spoke_for(kvpack: Kvpack) -> None:
    report = judged(kvpack, *SET, f"{CUDA12}==0.3.13.post1", "--libraries")
    assert errors(report) == [("accelerator-major", CUDA12)]


def test_a_torch_that_nixl_was_not_built_for(kvpack: Kvpack) -> None:
    report = judged(kvpack, *SET, "--cuda", "13", "--torch", "2.9.1")
    assert errors(report) == [("torch-extension", "nixl-cu13")]


def test_the_runtime_as_a_wheel(kvpack: Kvpack) -> None:
    """What auditwheel left out is provided by NVIDIA's own wheel."""
    specs = (f"{CUDA13}==0.3.13.post1", "nvidia-cuda-runtime==13.0.96", "--cuda", "13")
    report = judged(kvpack, *specs)
    assert errors(report) == []
    assert report["provided"]["libcudart.so.13"] == "nvidia-cuda-runtime 13.0.96"
