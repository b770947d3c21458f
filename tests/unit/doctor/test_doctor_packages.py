import pytest

from kvpack.doctor.environment import Torch
from kvpack.doctor.packages import (
    built_for,
    dispatchers,
    doubled,
    two_members,
    wrong_accelerator,
)
from kvpack.names import Accelerator
from tests.unit.doctor.patients import (
    CPU,
    CU12,
    CU13,
    PYTHON,
    ROCM,
    commands,
    dist,
    environment,
    h200,
    ids,
    only,
    patient,
    shared,
)

EP = "site-packages/nixl_ep/nixl_ep_cpp.so"
BOTH = ("nixl==1.2.0", "nixl-cu12==1.2.0", "nixl-cu13==1.2.0")
ASKS = dist("nixl==1.5.1", requires=("nixl-cu12", "nixl-cu13"))


# -- two members -----------------------------------------------------------------------------------


def test_two_members_are_removed_before_one_is_installed() -> None:
    found = environment(*BOTH, torch=CU13, collisions=(shared(EP, "nixl-cu12", "nixl-cu13"),))
    finding = only(two_members, patient(found))
    assert (finding.severity, finding.place) == ("error", "nixl-cu12, nixl-cu13")
    assert EP in finding.message
    assert "nixl-cu13 is the right one: torch 2.13.0+cu130 is of CUDA 13" in finding.message
    assert commands(finding, "pip") == [
        f"{PYTHON} -m pip uninstall -y nixl-cu12 nixl-cu13",
        f"{PYTHON} -m pip install --no-deps nixl-cu13==1.2.0",
    ]
    assert commands(finding, "uv") == [
        f"uv pip uninstall --python {PYTHON} nixl-cu12 nixl-cu13",
        f"uv pip install --python {PYTHON} --no-deps nixl-cu13==1.2.0",
    ]


def test_the_other_torch_keeps_the_other_member() -> None:
    finding = only(two_members, patient(environment(*BOTH, torch=CU12)))
    assert commands(finding, "uv")[-1].endswith("--no-deps nixl-cu12==1.2.0")


def test_members_that_share_programs_alone_are_a_warning() -> None:
    clash = shared("bin/nixl_example", "nixl-cu12", "nixl-cu13")
    assert only(two_members, patient(environment(*BOTH, collisions=(clash,)))).severity == "warning"


def test_without_a_witness_nothing_is_guessed() -> None:
    finding = only(two_members, patient(environment(*BOTH)))
    assert finding.mend == ()
    assert "kvpack doctor --cuda 12 or 13" in finding.message


@pytest.mark.parametrize(
    ("more", "told", "kept"),
    [
        (("nvidia-cuda-runtime==13.0.48",), None, "nixl-cu13"),
        (("nvidia-cuda-runtime-cu12==12.8.90",), None, "nixl-cu12"),
        (("mooncake-transfer-engine-cuda13==0.3.14",), None, "nixl-cu13"),
        ((), Accelerator.CUDA12, "nixl-cu12"),
    ],
)
def test_what_tells_the_right_member(
    more: tuple[str, ...], told: Accelerator | None, kept: str
) -> None:
    finding = only(two_members, patient(environment(*BOTH, *more), told=told))
    assert f"--no-deps {kept}==1.2.0" in commands(finding, "pip")[-1]


def test_what_is_told_beats_torch() -> None:
    judged = patient(environment(*BOTH, torch=CU13), told=Accelerator.CUDA12)
    assert commands(only(two_members, judged), "pip")[-1].endswith("nixl-cu12==1.2.0")


def test_witnesses_that_disagree_tell_nothing() -> None:
    more = ("mooncake-transfer-engine==0.3.14", "cupy-cuda13x==14.0")
    assert patient(environment(*BOTH, *more)).target is None


def test_the_right_member_gets_the_dispatchers_version() -> None:
    found = environment("nixl==1.0.1", "nixl-cu12==1.5.1", "nixl-cu13==1.0.1", torch=CU12)
    finding = only(two_members, patient(found))
    assert commands(finding, "pip")[-1].endswith("nixl-cu12==1.0.1")


def test_others_that_own_deleted_paths_are_installed_again() -> None:
    clash = shared("site-packages/x.py", "nixl-cu12", "other", kind="same-bytes")
    found = environment(*BOTH, "other==3", torch=CU13, collisions=(clash,))
    finding = only(two_members, patient(found))
    assert commands(finding, "pip")[-1].endswith("--no-deps nixl-cu13==1.2.0 other==3")


def test_a_member_from_a_url_comes_from_there_again() -> None:
    url = "mooncake-transfer-engine-cuda13 @ file:///dist/m.whl"
    mine = dist("mooncake-transfer-engine-cuda13==0.3.14+kvp.1", spec=url)
    found = environment("mooncake-transfer-engine==0.3.14", mine, torch=CU13)
    finding = only(two_members, patient(found))
    assert commands(finding, "pip")[-1].endswith(f"--no-deps '{url}'")


def test_one_member_is_right() -> None:
    found = environment("nixl==1.2.0", "nixl-cu13==1.2.0", "opencv-python==4.12", torch=CU13)
    judged = patient(found, h200())
    for check in (two_members, dispatchers, wrong_accelerator, built_for, doubled):
        assert list(check(judged)) == []


# -- dispatchers -----------------------------------------------------------------------------------


def test_a_dispatcher_without_a_member() -> None:
    finding = only(dispatchers, patient(environment(ASKS, torch=CU12)))
    assert ids([finding]) == [("member-missing", "error")]
    assert commands(finding, "uv") == [
        f"uv pip install --python {PYTHON} --no-deps nixl-cu12==1.5.1"
    ]


def test_a_dispatcher_without_a_member_or_a_witness() -> None:
    finding = only(dispatchers, patient(environment(ASKS)))
    assert finding.mend == ()
    assert "--cuda 13" in finding.message


def test_a_nixl_that_asks_for_no_member_is_whole_by_itself() -> None:
    assert list(dispatchers(patient(environment("nixl==0.7.1")))) == []


def test_a_member_without_its_dispatcher() -> None:
    finding = only(dispatchers, patient(environment("nixl-cu13==1.5.1")))
    assert ids([finding]) == [("dispatcher-missing", "error")]
    assert "no import nixl" in finding.message
    assert commands(finding, "pip") == [f"{PYTHON} -m pip install --no-deps nixl==1.5.1"]


def test_a_member_that_is_its_own_dispatcher() -> None:
    whole = dist("nixl-cu12==0.8.0", top_level=("nixl",))
    assert list(dispatchers(patient(environment(whole)))) == []


def test_a_member_out_of_step() -> None:
    finding = only(dispatchers, patient(environment("nixl==1.0.1", "nixl-cu12==1.5.1")))
    assert ids([finding]) == [("out-of-step", "error")]
    assert commands(finding, "pip") == [f"{PYTHON} -m pip install --no-deps nixl-cu12==1.0.1"]


def test_a_local_version_is_in_step() -> None:
    found = environment("nixl==1.5.1", "nixl-cu13==1.5.1+kvp.12345678")
    assert list(dispatchers(patient(found))) == []


# -- accelerators ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("torch", "installed", "right"),
    [
        (CU13, "mooncake-transfer-engine==0.3.14", "mooncake-transfer-engine-cuda13==0.3.14"),
        (CU12, "cupy-cuda13x==14.0.1", "cupy-cuda12x==14.0.1"),
        (ROCM, "nixl-cu13==1.5.1", "nixl-rocm==1.5.1"),
        (
            CU12,
            "mooncake-transfer-engine-efa-cuda13==0.3.14",
            "mooncake-transfer-engine-efa==0.3.14",
        ),
    ],
)
def test_a_member_of_another_accelerator(torch: Torch, installed: str, right: str) -> None:
    finding = only(wrong_accelerator, patient(environment(installed, torch=torch)))
    assert ids([finding]) == [("wrong-accelerator", "error")]
    name = installed.split("==", maxsplit=1)[0]
    assert commands(finding, "pip") == [
        f"{PYTHON} -m pip uninstall -y {name}",
        f"{PYTHON} -m pip install --no-deps {right}",
    ]


def test_a_family_without_the_right_member() -> None:
    finding = only(wrong_accelerator, patient(environment("amd-mori==1.2.4", torch=CU13)))
    assert finding.mend == ()
    assert "has no such member" in finding.message


def test_members_without_an_accelerator_fit_all() -> None:
    found = environment("mooncake-transfer-engine-npu==0.3.14", torch=CU13)
    assert list(wrong_accelerator(patient(found))) == []


@pytest.mark.parametrize(("machine", "severity"), [(None, "note"), (h200(), "warning")])
def test_torch_for_the_cpu_beside_a_member_for_cuda(machine: object, severity: str) -> None:
    found = environment("nixl-cu13==1.5.1", torch=CPU)
    finding = only(wrong_accelerator, patient(found, machine))  # type: ignore[arg-type]
    assert (finding.place, finding.severity) == ("torch", severity)
    assert (
        "--torch-backend=cu130 --reinstall-package torch torch==2.13.0" in finding.mend[0].command
    )


def test_versions_that_are_built_for_another_major() -> None:
    finding = only(built_for, patient(environment("lmcache==0.4.5", torch=CU12)))
    assert "versions <=0.4.4 are" in finding.message
    assert commands(finding, "pip") == [f"{PYTHON} -m pip install --no-deps 'lmcache<=0.4.4'"]


@pytest.mark.parametrize(
    ("version", "torch"),
    [("0.4.4", CU12), ("0.4.5", CU13), ("0.4.5+kvp.1", CU12), ("0.4.5", ROCM), ("0.4.5", CPU)],
)
def test_versions_that_are_not(version: str, torch: Torch) -> None:
    assert list(built_for(patient(environment(f"lmcache=={version}", torch=torch)))) == []


def test_a_name_that_is_there_twice() -> None:
    finding = only(doubled, patient(environment("nixl==1.2.0", doubled=("nixl",))))
    assert ids([finding]) == [("installed-twice", "error")]
    assert commands(finding, "pip") == [
        f"{PYTHON} -m pip uninstall -y nixl",
        f"{PYTHON} -m pip install --no-deps --force-reinstall nixl==1.2.0",
    ]


def test_torch_of_an_old_cuda_is_no_witness() -> None:
    old = Torch(version="2.1.0+cu118", cuda="11.8")
    assert patient(environment("nixl==1", torch=old)).target is None
