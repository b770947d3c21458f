"""Each promise of a wheel, kept and broken."""

import io
import json
from typing import Any

import pytest

from kvpack.audit import checks
from kvpack.audit.elf import read_elf
from kvpack.audit.model import AuditReport, ElfFile, Finding, Policy, Severity, WheelFacts
from kvpack.errors import Fault
from tests.unit.audit.elves import ET_EXEC, Elf

LOADER = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}
TOOL = "demo-1.0.data/scripts/tool"
NEW = {"libc.so.6": ["GLIBC_2.34", "GLIBC_2.17"]}
STRICT = Policy(host_libraries=())


def elf(path: str = "demo/x.so", *, mode_x: bool = False, **fields: Any) -> ElfFile:  # noqa: ANN401
    return read_elf(io.BytesIO(bytes(Elf(**fields))), path, executable_bit=mode_x)


def facts(*files: ElfFile, platform: str = "manylinux_2_28_x86_64", **fields: Any) -> WheelFacts:  # noqa: ANN401
    floors = [one.floor for one in files if one.floor]
    values: dict[str, Any] = {
        "filename": f"demo-1.0-cp311-cp311-{platform}.whl",
        "distribution": "demo",
        "name": "demo",
        "version": "1.0",
        "tags": tuple(f"cp311-cp311-{one}" for one in platform.split(".")),
        "sha256": "0" * 64,
        "size": 1,
        "elf": files,
        "true_floor": max(floors) if floors else None,
    }
    return WheelFacts(**values | fields)


def found(report: AuditReport, check: str) -> list[Finding]:
    return [one for one in report.findings if one.check == check]


def held(wheel: WheelFacts, policy: Policy = STRICT) -> list[tuple[str, str, str]]:
    """All findings of one wheel, short."""
    report = checks.audit(wheel, policy)
    return [(one.check, one.severity.value, one.place) for one in report.findings]


def test_a_sound_wheel_has_no_findings() -> None:
    wheel = facts(
        elf(runpath="$ORIGIN/../demo.libs", needed=["libz-1.so.1", "libc.so.6"]),
        elf("demo.libs/libz-1.so.1", soname="libz-1.so.1"),
        elf(TOOL, mode_x=True, interpreter=LOADER["x86_64"], pie=True),
        top_level=("demo",),
    )
    policy = Policy(
        glibc="2.28",
        arch="x86_64",
        host_libraries=(),
        owns=("demo",),
        distribution="Demo",
        tag_exact=True,
    )
    report = checks.audit(wheel, policy)
    assert report.findings == ()
    assert report.passed
    assert report.as_json()["counts"] == {"error": 0, "warning": 0, "note": 0}


class TestFloor:
    """Every ELF file, programs too, loads on the floor."""

    @pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
    @pytest.mark.parametrize(
        ("versions", "floor", "named"),
        [
            (["libc.so.6", "GLIBC_2.34"], "2.33", "GLIBC_2.34 of libc.so.6 (floor 2.34"),
            (["libstdc++.so.6", "GLIBCXX_3.4.30"], "2.34", "GLIBCXX_3.4.30 of libstdc++"),
            (["libstdc++.so.6", "CXXABI_1.3.15"], "2.35", "CXXABI_1.3.15 of libstdc++"),
            (["libgcc_s.so.1", "GCC_14.0.0"], "2.34", "GCC_14.0.0 of libgcc_s.so.1"),
            (["libc.so.6", "GLIBC_ABI_DT_RELR"], "2.35", "GLIBC_ABI_DT_RELR of libc.so.6"),
            (["libc.so.6", "GLIBC_2.99"], "2.41", "GLIBC_2.99 of libc.so.6 (no floor"),
        ],
    )
    def test_broken(self, arch: str, versions: list[str], floor: str, named: str) -> None:
        library, version = versions
        for path, fields in (("demo/x.so", {}), (TOOL, {"interpreter": LOADER[arch]})):
            file = elf(path, arch=arch, mode_x=True, versions={library: [version]}, **fields)
            wheel = facts(file, platform=f"manylinux_2_41_{arch}")
            (finding,) = found(checks.audit(wheel, Policy(glibc=floor)), "floor")
            assert (finding.severity, finding.place) == (Severity.ERROR, path)
            assert named in finding.message
            assert floor in finding.hint

    @pytest.mark.parametrize("floor", ["2.34", "2.39"])
    def test_kept(self, floor: str) -> None:
        wheel = facts(elf(versions=NEW), platform="manylinux_2_34_x86_64")
        assert held(wheel, Policy(glibc=floor, host_libraries=())) == []

    def test_a_floor_between_two_policies(self) -> None:
        file = elf(versions={"libc.so.6": ["GLIBC_2.33"]})
        assert held(facts(file, platform="manylinux_2_33_x86_64")) == []
        broken = held(facts(file, platform="manylinux_2_32_x86_64"))
        assert {one[0] for one in broken} == {"floor", "tag"}

    def test_relr_without_the_version_that_guards_it(self) -> None:
        report = checks.audit(facts(elf(relr=True)), STRICT)
        (finding,) = found(report, "floor")
        assert "DT_RELR relocations (floor 2.36 and later)" in finding.message
        assert held(facts(elf(relr=True), platform="manylinux_2_36_x86_64")) == []

    def test_one_line_names_the_highest_of_each_prefix(self) -> None:
        versions = {"libc.so.6": ["GLIBC_2.29", "GLIBC_2.4", "GLIBC_2.34", "GLIBC_2.30"]}
        (finding,) = found(checks.audit(facts(elf(versions=versions)), STRICT), "floor")
        assert "needs GLIBC_2.34 of libc.so.6 (floor 2.34 and later)" in finding.message
        assert "GLIBC_2.29" not in finding.message

    def test_the_library_s_own_versions_are_its_own_affair(self) -> None:
        assert held(facts(elf(versions={"libc.so.6": ["OPENSSL_9"]}))) == []

    def test_device_code_is_not_judged(self) -> None:
        assert held(facts(elf("demo/k.cubin", arch="cuda"))) == []


class TestTag:
    """The platform tag says what the files are."""

    EXACT = Policy(glibc="2.28", arch="x86_64", host_libraries=(), tag_exact=True)

    @pytest.mark.parametrize(
        "platform",
        [
            "manylinux_2_27_x86_64",
            "manylinux_2_28_x86_64.manylinux_2_27_x86_64",
            "manylinux_2_39_x86_64",
            "linux_x86_64",
        ],
    )
    def test_not_exact(self, platform: str) -> None:
        (finding,) = [
            one
            for one in found(checks.audit(facts(elf(), platform=platform), self.EXACT), "tag")
            if one.severity is Severity.ERROR
        ]
        assert "not exactly manylinux_2_28_x86_64" in finding.message

    def test_exact_by_its_own_tag(self) -> None:
        assert held(facts(elf()), Policy(tag_exact=True)) == []
        (finding,) = found(
            checks.audit(facts(elf(), platform="linux_x86_64"), Policy(tag_exact=True)), "tag"
        )[:1]
        assert "manylinux_<floor>_<arch>" in finding.message

    def test_a_pure_wheel_needs_no_platform(self) -> None:
        assert held(facts(platform="any"), self.EXACT) == []

    @pytest.mark.parametrize(
        "platform", ["manylinux2014_x86_64", "manylinux_2_17_x86_64.manylinux_2_35_x86_64"]
    )
    def test_promises_less_than_it_needs(self, platform: str) -> None:
        report = checks.audit(facts(elf(versions=NEW), platform=platform), STRICT)
        (finding,) = found(report, "tag")
        assert finding.message == "promises glibc 2.17, but its files need 2.34"
        assert finding.hint.endswith("manylinux_2_34_x86_64")

    def test_no_promise_at_all(self) -> None:
        assert held(facts(elf(versions=NEW), platform="linux_x86_64")) == [
            ("tag", "note", "demo-1.0-cp311-cp311-linux_x86_64.whl")
        ]

    def test_musl_is_not_judged_as_glibc(self) -> None:
        file = elf(needed=["libc.musl-x86_64.so.1"])
        assert held(facts(file, platform="musllinux_1_2_x86_64")) == []

    @pytest.mark.parametrize(
        ("arch", "platform", "policy"),
        [
            ("aarch64", "manylinux_2_28_x86_64", STRICT),
            ("x86_64", "manylinux_2_28_aarch64", STRICT),
            ("odd", "manylinux_2_28_x86_64", STRICT),
            ("x86_64", "any", STRICT),
            ("x86_64", "macosx_11_0_arm64", STRICT),
        ],
    )
    def test_another_architecture(self, arch: str, platform: str, policy: Policy) -> None:
        report = checks.audit(facts(elf(arch=arch), platform=platform), policy)
        (finding,) = found(report, "arch")
        assert finding.severity is Severity.ERROR
        assert f"an ELF file for {arch.replace('odd', 'other')} in a wheel" in finding.message

    def test_tags_of_two_architectures(self) -> None:
        platform = "manylinux_2_28_aarch64.manylinux_2_28_x86_64"
        assert ("arch", "error", facts(platform=platform).filename) in held(
            facts(elf(), platform=platform), Policy(arch="x86_64")
        )

    @pytest.mark.parametrize("platform", ["win_amd64", "macosx_11_0_arm64", "any"])
    def test_other_systems_pass(self, platform: str) -> None:
        assert held(facts(platform=platform)) == []

    def test_aarch64_is_judged_like_x86_64(self) -> None:
        file = elf(arch="aarch64", needed=["libc.so.6", "ld-linux-aarch64.so.1"], versions=NEW)
        assert held(facts(file, platform="manylinux_2_34_aarch64")) == []


class TestNeeded:
    """Every needed library comes from somewhere."""

    WHEEL = facts(elf(needed=["libibverbs.so.1", "libfoo.so.2"]), elf("demo/y.so"))

    def test_nobody_provides_it(self) -> None:
        report = checks.audit(self.WHEEL, STRICT)
        first, second = found(report, "needed")
        assert first.message.startswith("libfoo.so.2 is not provided by anyone")
        assert "audit.host-libraries" in first.hint
        assert "rdma-core" in second.hint

    def test_the_host_provides_it(self) -> None:
        policy = Policy(host_libraries=("libibverbs.so.1", "libfoo.so.*"))
        assert held(self.WHEEL, policy) == []

    def test_the_wheel_provides_it_by_file_name_or_soname(self) -> None:
        wheel = facts(
            elf(needed=["a.so", "b.so.1"], runpath="$ORIGIN"),
            elf("demo/a.so"),
            elf("demo/b.so.1.0", soname="b.so.1"),
        )
        assert [one for one in held(wheel) if one[0] == "needed"] == []

    def test_of_a_foreign_wheel_it_is_a_note(self) -> None:
        report = checks.audit(self.WHEEL, Policy())
        assert report.passed
        assert [one.severity for one in found(report, "needed")] == [Severity.NOTE] * 2

    def test_the_whitelist_depends_on_the_floor(self) -> None:
        wheel = facts(elf(needed=["libmvec.so.1"]), platform="manylinux_2_17_x86_64")
        assert ("needed", "error", "demo/x.so") in held(wheel)
        assert held(facts(elf(needed=["libmvec.so.1"]))) == []

    def test_libpython(self) -> None:
        report = checks.audit(facts(elf(needed=["libpython3.11.so.1.0"])), STRICT)
        assert "PEP 513" in found(report, "needed")[0].hint

    def test_several_users_make_one_finding(self) -> None:
        wheel = facts(*(elf(f"demo/{n}.so", needed=["libfoo.so.2"]) for n in "abc"))
        (finding,) = found(checks.audit(wheel, STRICT), "needed")
        assert "and 2 other file(s)" in finding.message


@pytest.mark.parametrize(
    ("path", "soname", "bad"),
    [
        ("demo.libs/libibverbs-3f2a.so.1.14", None, True),
        ("demo.libs/x.so", "libmlx5.so.1", True),
        ("demo/libcuda.so.1", None, True),
        ("demo.libs/libnl-route-3-aa.so.200", None, True),
        ("demo.libs/libcudart-aa.so.12", None, False),
        ("demo.libs/libnuma-aa.so.1", None, False),
        ("demo/libibverbs.cpython-311-x86_64-linux-gnu.so", None, False),
        ("demo/libibverbs.cpython-313t-x86_64-linux-gnu.so", None, False),
        ("demo/libibverbs.abi3.so", None, False),
        ("demo/libibverbs.abi3.so", "libibverbs.so.1", True),
        ("demo/libibverbs.cpython-311-x86_64-linux-gnu.so", "libmlx5.so.1", True),
        ("demo/libibverbs-abi3.so", None, True),
    ],
)
def test_grafted(path: str, soname: str | None, *, bad: bool) -> None:
    report = checks.audit(facts(elf(path, soname=soname)), STRICT)
    assert [one.place for one in found(report, "grafted")] == [path] * bad


def test_the_policy_can_forbid_others() -> None:
    policy = Policy(never_graft=("libfoo*",), host_libraries=())
    wheel = facts(elf("demo.libs/libfoo.so"), elf("demo.libs/libibverbs.so.1"))
    (finding,) = found(checks.audit(wheel, policy), "grafted")
    assert "libfoo.so must not be inside a wheel: the recipe forbids it" in finding.message


class TestOwnership:
    """The wheel is the distribution that was asked for, and takes no other's import names."""

    WHEEL = facts(top_level=("demo", "utils"), platform="any")

    def test_owns(self) -> None:
        assert held(self.WHEEL, Policy(owns=("demo",))) == [("owns", "error", "utils")]
        assert held(self.WHEEL, Policy(owns=("demo", "utils"))) == []
        assert held(self.WHEEL, Policy()) == []

    def test_distribution(self) -> None:
        (finding,) = checks.audit(self.WHEEL, Policy(distribution="demo-cu12")).findings
        assert finding.message == "the distribution is demo, not demo-cu12"


class TestSearchPaths:
    """Search paths name places of the environment from $ORIGIN."""

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ("/usr/local/cuda/lib64", "is an absolute path"),
            ("/project/build/lib", "names a folder of the machine that built it"),
            ("$ORIGIN:", "is empty"),
            ("lib", "is relative to the working directory"),
            ("$ORIGINAL/x", "is relative to the working directory"),
            ("$ORIGIN/../..", "leaves site-packages"),
            ("${ORIGIN}/../../lib", "leaves site-packages"),
        ],
    )
    @pytest.mark.parametrize("tag", ["rpath", "runpath"])
    def test_broken(self, tag: str, entry: str, message: str) -> None:
        fields: dict[str, Any] = {tag: entry}
        report = checks.audit(facts(elf(**fields)), STRICT)
        (finding,) = found(report, "runpath")
        assert message in finding.message
        assert f"DT_{tag.upper()} entry" in finding.message

    def test_a_folder_that_the_recipe_gives_to_every_host(self) -> None:
        wheel = facts(elf(runpath="$ORIGIN:/opt/rocm/lib", needed=["libc.so.6"]))
        assert held(wheel) == [("runpath", "error", "demo/x.so")]
        assert held(wheel, STRICT.model_copy(update={"host_folders": ("/opt/rocm/lib",)})) == []

    @pytest.mark.parametrize(
        "entry", ["$ORIGIN", "$ORIGIN/..", "${ORIGIN}/../demo.libs", "$ORIGIN/../nvidia/cu13/lib"]
    )
    def test_kept(self, entry: str) -> None:
        assert held(facts(elf(runpath=entry))) == []

    def test_a_program_reaches_site_packages_from_bin(self) -> None:
        fields: dict[str, Any] = {"interpreter": LOADER["x86_64"], "pie": True, "mode_x": True}
        good = elf(TOOL, runpath="$ORIGIN/../lib/python3.11/site-packages/demo.libs", **fields)
        bad = elf(TOOL, runpath="$ORIGIN/../lib", **fields)
        assert held(facts(good)) == []
        assert held(facts(bad)) == [("runpath", "error", TOOL)]

    def test_rpath_is_a_note_for_the_whole_wheel(self) -> None:
        wheel = facts(elf(rpath="$ORIGIN"), elf("demo/y.so", rpath="$ORIGIN"))
        assert held(wheel) == [("rpath", "note", "demo/x.so")]


class TestReachable:
    """What the wheel ships for a file lies where that file looks."""

    LIBRARY = elf("demo.libs/libz.so.9", soname="libz.so.9")

    @pytest.mark.parametrize(("runpath", "warned"), [("$ORIGIN/../demo.libs", 0), ("$ORIGIN", 1)])
    def test_own_search_path(self, runpath: str, warned: int) -> None:
        wheel = facts(elf(needed=["libz.so.9"], runpath=runpath), self.LIBRARY)
        assert held(wheel) == [("reachable", "warning", "demo/x.so")] * warned

    def test_rpath_is_inherited_by_what_is_needed(self) -> None:
        middle = elf("demo.libs/liby.so.1", needed=["libz.so.9"])
        user = elf(needed=["liby.so.1"], rpath="$ORIGIN/../demo.libs")
        assert [one[0] for one in held(facts(user, middle, self.LIBRARY))] == ["rpath"]
        modern = elf(needed=["liby.so.1"], runpath="$ORIGIN/../demo.libs")
        assert held(facts(modern, middle, self.LIBRARY)) == [
            ("reachable", "warning", "demo.libs/liby.so.1")
        ]

    def test_only_under_another_file_name(self) -> None:
        library = elf("demo/libz.so.9.1", soname="libz.so.9")
        wheel = facts(elf(needed=["libz.so.9"], runpath="$ORIGIN"), library)
        (finding,) = found(checks.audit(wheel, STRICT), "reachable")
        assert "only under another file name" in finding.message


class TestPrograms:
    """A program can be started."""

    @pytest.mark.parametrize(
        ("path", "severity"),
        [(TOOL, "error"), ("demo/bin/tool", "error"), ("demo/tool", "warning")],
    )
    def test_no_execute_bit(self, path: str, severity: str) -> None:
        file = elf(path, interpreter=LOADER["x86_64"], pie=True)
        assert held(facts(file)) == [("executable-bit", severity, path)]

    @pytest.mark.parametrize(
        ("fields", "severity"),
        [
            ({"interpreter": LOADER["x86_64"]}, "warning"),
            ({"dynamic": False}, "note"),
        ],
    )
    def test_not_position_independent(self, fields: dict[str, Any], severity: str) -> None:
        file = elf(TOOL, mode_x=True, type=ET_EXEC, **fields)
        assert held(facts(file)) == [("pie", severity, TOOL)]

    def test_a_loader_that_hosts_lack(self) -> None:
        file = elf(TOOL, mode_x=True, interpreter="/nix/store/x/ld-linux-x86-64.so.2", pie=True)
        assert held(facts(file)) == [("interpreter", "error", TOOL)]
        wrong = elf(TOOL, mode_x=True, arch="aarch64", interpreter=LOADER["x86_64"], pie=True)
        assert held(facts(wrong, platform="manylinux_2_28_aarch64")) == [
            ("interpreter", "error", TOOL)
        ]

    @pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
    def test_kept(self, arch: str) -> None:
        file = elf(TOOL, mode_x=True, arch=arch, interpreter=LOADER[arch], pie=True)
        assert held(facts(file, platform=f"manylinux_2_28_{arch}")) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"versions": {"libc.so.6": ["GLIBC_PRIVATE"]}}, ("private-symbols", "error")),
        ({"stack": 7}, ("executable-stack", "warning")),
        ({"textrel": True}, ("text-relocations", "warning")),
        ({"isa": 4}, ("instruction-set", "error")),
    ],
)
def test_one_file_alone(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    assert held(facts(elf(**fields))) == [(*expected, "demo/x.so")]


def test_private_symbols_of_another_library_are_a_warning_that_names_it() -> None:
    """Only glibc's change with every release of every distribution."""
    versions = {
        "libibverbs.so.1": ["IBVERBS_1.1", "IBVERBS_PRIVATE_59"],
        "libc.so.6": ["GLIBC_2.17", "GLIBC_PRIVATE"],
    }
    found_ones = found(checks.audit(facts(elf(versions=versions)), STRICT), "private-symbols")
    assert [one.severity for one in found_ones] == [Severity.ERROR, Severity.WARNING]
    assert "libc.so.6" in found_ones[0].message
    assert "needs IBVERBS_PRIVATE_59 of libibverbs.so.1" in found_ones[1].message
    assert found_ones[1].place == "demo/x.so"


def test_startup_files() -> None:
    assert held(facts(startup=("demo.pth",), platform="any")) == [
        ("startup", "warning", "demo.pth")
    ]


def test_faults_become_errors_and_errors_stand_first() -> None:
    fault = Fault(place="z.whl: a", message="not listed in RECORD", hint="pack it anew")
    report = checks.audit(facts(elf(stack=7, needed=["libfoo.so"])), Policy(), [fault])
    assert [one.check for one in report.findings] == ["wheel", "executable-stack", "needed"]
    assert report.counts == {"error": 1, "warning": 1, "note": 1}
    assert not report.passed
    assert report.errors == report.findings[:1]
    data = report.as_json()
    assert data["passed"] is False
    assert AuditReport.model_validate_json(json.dumps(data)) == report
    schema = AuditReport.model_json_schema(mode="serialization")
    assert set(data) == set(schema["properties"])


def test_every_finding_says_what_to_do_or_is_a_plain_fact() -> None:
    files = [
        elf(versions=NEW, needed=["libfoo.so"], runpath="/x:", rpath="/y", stack=7, textrel=True),
        elf(TOOL, type=ET_EXEC, interpreter="/x", arch="aarch64", isa=2),
        elf("demo/libcuda.so.1", versions={"libc.so.6": ["GLIBC_PRIVATE"]}),
    ]
    wheel = facts(*files, platform="manylinux_2_17_x86_64", top_level=("a",), startup=("x.pth",))
    policy = Policy(host_libraries=(), owns=("b",), distribution="c", tag_exact=True)
    report = checks.audit(wheel, policy)
    assert len({one.check for one in report.findings}) >= 12
    assert all(one.hint for one in report.findings)
