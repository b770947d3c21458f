import pytest
from packaging.requirements import Requirement

from kvpack.errors import Fault
from kvpack.names import Accelerator, normalize
from kvpack.resolve.choose import Ask, Found, amended, first_ask, left_out
from kvpack.resolve.families import load_families
from kvpack.resolve.intent import read_intent

FAMILIES = load_families()
LINUX = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "platform_machine": "x86_64",
    "sys_platform": "linux",
}


def asked(text: str, accelerator: str = "cuda13") -> tuple[Ask | None, list[Fault]]:
    wishes, faults = read_intent("a.in", {"a.in": text})
    assert faults == []
    return first_ask(wishes, FAMILIES, Accelerator(accelerator))


def ask_of(text: str, accelerator: str = "cuda13") -> Ask:
    ask, faults = asked(text, accelerator)
    assert faults == []
    assert ask is not None
    return ask


def test_a_dispatcher_gets_its_member() -> None:
    ask = ask_of("nixl==1.4.1")
    assert ask.requires == ("nixl==1.4.1", "nixl-cu13==1.4.1")
    assert {"nixl-cu12", "nixl-rocm", "torch"} <= set(ask.excludes)
    assert "nixl-cu13" not in ask.excludes


@pytest.mark.parametrize(
    ("text", "accelerator", "requires"),
    [
        ("mooncake-transfer-engine>=0.3.12", "cuda12", "mooncake-transfer-engine>=0.3.12"),
        ("mooncake-transfer-engine>=0.3.12", "cuda13", "mooncake-transfer-engine-cuda13>=0.3.12"),
        ("mooncake-transfer-engine-cuda13", "cuda12", "mooncake-transfer-engine"),
        ("mooncake_transfer_engine>=0.3.13", "rocm7", "mooncake-transfer-engine-rocm>=0.3.13"),
        ("mooncake-transfer-engine", "cpu", "mooncake-transfer-engine-non-cuda"),
        ("mooncake-transfer-engine-efa", "cuda13", "mooncake-transfer-engine-efa-cuda13"),
        ("mooncake-transfer-engine-npu", "cuda13", "mooncake-transfer-engine-npu"),
        ("cupy-cuda12x<14", "cuda13", "cupy-cuda13x<14"),
        ("opencv-python-headless", "cuda13", "opencv-python-headless"),
        ("mooncake-transfer-engine ; python_version < '3.13'", "cuda13",
         'mooncake-transfer-engine-cuda13 ; python_version < "3.13"'),
    ],
)  # fmt: skip
def test_the_member_of_the_accelerator_is_asked_for(
    text: str, accelerator: str, requires: str
) -> None:
    ask = ask_of(text, accelerator)
    assert ask.requires == (requires,)
    name = normalize(Requirement(requires).name)
    family = FAMILIES.family_of(name)
    assert family is not None
    assert {one for one in family.names if one != name} <= set(ask.excludes)
    assert name not in ask.excludes


def test_members_stay_out_although_nobody_wished_their_family() -> None:
    """They may come in transitively: lmcache asks for nixl, which asks for both."""
    ask = ask_of("lmcache", "cuda12")
    assert {"nixl-cu13", "nixl-rocm", "cupy-cuda13x", "mooncake-transfer-engine-cuda13"} <= set(
        ask.excludes
    )
    assert not {"nixl-cu12", "cupy-cuda12x", "opencv-python"} & set(ask.excludes)
    assert ask.constraints == ("lmcache<=0.4.4",)


def test_torch_is_the_environments_unless_it_is_wished() -> None:
    assert "torch" in ask_of("lmcache").excludes
    assert "torch" not in ask_of("lmcache\ntorch==2.13.0").excludes


@pytest.mark.parametrize(
    ("text", "accelerator", "words"),
    [
        ("nixl", "cpu", "no member"),
        ("amd-mori", "cuda13", "no member"),
        ("lmcache", "rocm7", "no version of lmcache is built for rocm7"),
        ("mooncake-transfer-engine\nmooncake-transfer-engine-efa", "cuda13", "cannot live beside"),
        ("opencv-python\nopencv-python-headless", "cuda13", "cannot live beside"),
    ],
)
def test_what_no_family_can_give_is_a_fault(text: str, accelerator: str, words: str) -> None:
    ask, faults = asked(text, accelerator)
    assert ask is None
    assert len(faults) == 1
    assert words in faults[0].message
    assert faults[0].place.startswith("a.in, line ")


def test_all_faults_at_once() -> None:
    _, faults = asked("nixl\namd-mori\nlmcache", "cpu")
    assert [fault.place for fault in faults] == ["a.in, line 1", "a.in, line 2", "a.in, line 3"]


def test_two_wishes_for_one_member_are_one() -> None:
    ask = ask_of("mooncake-transfer-engine>=0.3.12\nmooncake-transfer-engine-cuda13<0.4")
    assert ask.requires == (
        "mooncake-transfer-engine-cuda13>=0.3.12", "mooncake-transfer-engine-cuda13<0.4",
    )  # fmt: skip


# -- after a solution ---------------------------------------------------------------------------


def found(name: str, version: str, *requires: str) -> Found:
    return Found(name=name, version=version, requires=requires)


def test_a_whole_solution_needs_nothing() -> None:
    set_ = [
        found("nixl", "1.4.1", "nixl-cu12==1.4.1", "nixl-cu13==1.4.1"),
        found("nixl-cu13", "1.4.1", "torch", "numpy"),
    ]
    ask = ask_of("nixl==1.4.1")
    assert amended(ask, set_, FAMILIES, LINUX) is None
    assert left_out(ask, set_, LINUX) == {"nixl-cu12": ["nixl 1.4.1"], "torch": ["nixl-cu13 1.4.1"]}


@pytest.mark.parametrize(
    ("text", "set_", "added"),
    [
        # lmcache asks for nixl; 1.0.1 asks for nixl-cu12 alone, which is dropped
        ("lmcache", [found("nixl", "1.0.1", "nixl-cu12>=1.0.1")], "nixl-cu13==1.0.1"),
        # lmcache 0.4.5 asks for nixl-cu13, which nothing imports without its dispatcher
        ("lmcache", [found("nixl-cu13", "1.5.1")], "nixl==1.5.1"),
        # the range of a transitive variant holds for the one that replaces it
        ("x", [found("x", "1", "cupy-cuda12x<14.1")], "cupy-cuda13x<14.1"),
        ("x", [found("x", "1", "mooncake-transfer-engine")], "mooncake-transfer-engine-cuda13"),
        ("x", [found("x", "1", "cupy-cuda12x ; python_version < '3.13'")], "cupy-cuda13x"),
    ],
)
def test_a_missing_half_is_added(text: str, set_: list[Found], added: str) -> None:
    better = amended(ask_of(text), set_, FAMILIES, LINUX)
    assert better is not None
    assert better.requires[-1] == added
    assert better.reasons


@pytest.mark.parametrize(
    "wanted",
    [
        "cupy-cuda12x ; python_version < '3.9'", 'cupy-cuda12x ; extra == "cuda"', "numpy",
        "torch", "=broken=",
    ],
)  # fmt: skip
def test_what_is_not_wanted_here_is_not_added(wanted: str) -> None:
    assert amended(ask_of("x"), [found("x", "1", wanted)], FAMILIES, LINUX) is None


def test_lockstep_takes_the_lower_version() -> None:
    """``nixl[cu13]==1.0.1`` let nixl-cu12 1.5.1 in: the range of 1.0.x leaks."""
    set_ = [found("nixl", "1.4.1"), found("nixl-cu13", "1.5.1")]
    better = amended(ask_of("nixl<1.5"), set_, FAMILIES, LINUX)
    assert better is not None
    assert {"nixl==1.4.1", "nixl-cu13==1.4.1"} <= set(better.requires)


def test_lockstep_ignores_our_own_local_version() -> None:
    set_ = [found("nixl", "1.4.1"), found("nixl-cu13", "1.4.1+kvp.12345678")]
    assert amended(ask_of("nixl<1.5"), set_, FAMILIES, LINUX) is None


def test_a_question_that_was_asked_is_not_asked_again() -> None:
    set_ = [found("nixl", "1.4.1"), found("nixl-cu13", "1.5.1")]
    better = amended(ask_of("nixl<1.5"), set_, FAMILIES, LINUX)
    assert better is not None
    assert amended(better, set_, FAMILIES, LINUX) is None
