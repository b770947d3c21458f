import pytest

from kvpack.doctor.amd import bundled_ionic, channel, missing_ionic, mori_archs, mori_rocm, refused
from kvpack.doctor.machine import Gpu, MachineFacts, Nic, Refusal
from tests.unit.doctor.patients import (
    commands,
    environment,
    h200,
    ids,
    lib,
    mi300,
    only,
    patient,
)

MORI = environment("amd-mori==1.2.4", mori_rocm="7.2.4")
KERNEL_4 = Refusal(driver="ionic", abi=4, least=1, most=1)


def nics(abi: int | None, firmware: str | None = None) -> list[Nic]:
    return [Nic(name="ionic_0", driver="ionic", abi=abi, firmware=firmware)]


def test_what_libibverbs_says_itself() -> None:
    machine = mi300(refusals=[KERNEL_4], ionic_module="25.08.4.004")
    finding = only(refused, patient(MORI, machine))
    assert ids([finding]) == [("verbs-abi", "error")]
    assert finding.place == "libionic1 54.0-187-1"
    assert "speaks ABI 4, and the user space supports 1 to 1: 2 devices" in finding.message
    assert "/1.117.3-hydra noble main" in commands(finding, "file")[0]
    assert "apt-get purge -y libionic1 libionic-dev ionic-common" in commands(finding, "system")[0]


def test_another_driver_is_told_without_a_channel() -> None:
    said = Refusal(driver="bnxt_re", abi=6, least=1, most=1)
    finding = only(refused, patient(MORI, mi300(refusals=[said])))
    assert (finding.place, finding.mend) == ("bnxt_re", ())


@pytest.mark.parametrize(
    ("libionic", "abi", "supports"),
    [
        ("54.0-187-1", 4, "1 to 1"),
        ("54.0-149.g3304be71", 1, "4 to 4"),
        ("54.0-187-1", 1, None),
        ("54.0-149.g3304be71", 4, None),
        ("54.0-1870", 4, None),
        ("54.0-192-1", 4, None),
        (None, 4, None),
        ("54.0-187-1", None, None),
    ],
)
def test_without_its_words_the_table_tells(
    libionic: str | None, abi: int | None, supports: str | None
) -> None:
    packages = {"libionic1": libionic} if libionic else {}
    findings = list(refused(patient(MORI, mi300(nics=nics(abi), packages=packages))))
    assert len(findings) == (1 if supports else 0)
    if supports:
        assert f"supports {supports}" in findings[0].message


@pytest.mark.parametrize(
    ("firmware", "module", "taken"),
    [
        ("1.117.5-a-56", "26.03.3.001", "1.117.5-a-56"),
        ("1.117.5", "25.11.1.001", "1.117.3-hydra"),
        (None, "26.03.27.002", "1.125.0-a-187"),
        (None, "1.2.3", "1.117.1-a-63"),
    ],
)
def test_the_channel_follows_the_host(firmware: str | None, module: str, taken: str) -> None:
    machine = mi300(refusals=[KERNEL_4], nics=nics(4, firmware), ionic_module=module)
    assert f"/{taken} noble" in commands(only(refused, patient(MORI, machine)), "file")[0]


@pytest.mark.parametrize(
    ("libionic", "module", "told"),
    [
        ("54.0-187-1", "26.03.3.001", False),
        ("54.0-187-1", "25.11.1.001", True),
        ("54.0-192-1", "26.03.3.001", True),
        ("54.0-999", "26.03.3.001", False),
        ("54.0-187-1", None, False),
    ],
)
def test_libionic_and_module_of_two_channels(libionic: str, module: str | None, told: bool) -> None:
    machine = mi300(packages={"libionic1": libionic}, ionic_module=module)
    findings = list(channel(patient(MORI, machine)))
    assert ids(findings) == ([("ionic-channel", "warning")] if told else [])


def test_a_refusal_is_not_told_twice() -> None:
    machine = mi300(refusals=[KERNEL_4], ionic_module="25.11.1.001")
    assert list(channel(patient(MORI, machine))) == []


def test_devices_without_libionic() -> None:
    finding = only(missing_ionic, patient(MORI, mi300(libraries={}, packages={})))
    assert ids([finding]) == [("ionic-missing", "error")]
    assert "/1.117.5-a-77 noble" in commands(finding, "file")[0]


@pytest.mark.parametrize("machine", [mi300(), h200(libraries={}), mi300(libraries=None)])
def test_libionic_that_is_not_missed(machine: MachineFacts) -> None:
    assert list(missing_ionic(patient(MORI, machine))) == []


@pytest.mark.parametrize(("machine", "severity"), [(mi300(), "warning"), (h200(), "note")])
def test_a_wheel_with_its_own_libionic(machine: MachineFacts, severity: str) -> None:
    own = lib("amd-mori", path="site-packages/amd_mori.libs/libionic-1234.so.1")
    findings = list(bundled_ionic(patient(environment("amd-mori", libraries=[own]), machine)))
    assert ids(findings) == [("ionic-bundled", severity)]


@pytest.mark.parametrize(
    ("value", "gpu", "told"),
    [
        ("gfx942;gfx950", "gfx950", True),
        ("gfx942;gfx950", "gfx942", False),
        ("gfx950", "gfx950", False),
        ("gfx950", "gfx942", True),
        ("gfx90a", "gfx942", True),
        ("", "gfx942", False),
    ],
)
def test_a_list_of_architectures(value: str, gpu: str, told: bool) -> None:
    machine = mi300(variables={"MORI_GPU_ARCHS": value}, gpus=[Gpu(vendor="amd", name=gpu)])
    findings = list(mori_archs(patient(MORI, machine)))
    assert ids(findings) == ([("mori-archs", "error")] if told else [])
    if told:
        assert commands(findings[0], "environment") == [
            "unset MORI_GPU_ARCHS", f"MORI_GPU_ARCHS={gpu}",
        ]  # fmt: skip


def test_architectures_without_mori() -> None:
    machine = mi300(variables={"MORI_GPU_ARCHS": "gfx942;gfx950"})
    assert list(mori_archs(patient(environment("numpy"), machine))) == []


@pytest.mark.parametrize(
    ("built", "there", "severity"),
    [
        ("7.14.60850", "7.2.4", "warning"),
        ("7.2.4", "7.2.1-43", None),
        ("7.2.4", "6.4.3", "error"),
        (None, "7.2.4", None),
        ("7.2.4", None, None),
    ],
)
def test_rocm_of_the_wheel(built: str | None, there: str | None, severity: str | None) -> None:
    found = environment("amd-mori==1.2.4", mori_rocm=built)
    findings = list(mori_rocm(patient(found, mi300(rocm=there))))
    assert [one.severity for one in findings] == ([severity] if severity else [])
