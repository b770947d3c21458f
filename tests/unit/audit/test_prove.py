"""What [[prove]] tables say about wheels, from the wheels' own bytes."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvpack.audit.checks import audit
from kvpack.audit.evidence import questions, selects
from kvpack.audit.model import AuditReport, Policy, Proof, Severity
from kvpack.audit.prove import Held, with_proofs
from kvpack.audit.symbols import Prober
from kvpack.audit.wheel import inspect_wheel
from kvpack.names import Accelerator
from kvpack.recipe.prove import Identity, Prove
from tests.unit.audit.elves import ET_EXEC, Elf
from tests.unit.audit.wheels import Wheel

IDENTITY = Identity(
    file="demo/master", match=r"(?P<version>\d[\w.]*) \(git: (?P<commit>[0-9a-f]+)\)"
)
VERBS = {"libibverbs.so.1": ["IBVERBS_1.12"]}
DMABUF = Elf(
    symbols=["ibv_reg_dmabuf_mr@IBVERBS_1.12", "+open"], versions=VERBS, needed=["libx.so.1"]
)
PEERMEM = Elf(symbols=["ibv_reg_mr", "+open"])


def tables(text: str) -> tuple[Prove, ...]:
    """Tables that need no id of their own."""
    parts = [
        f'[[prove]]\nid = "p{n}"\nsummary = "S"\n{one}' for n, one in enumerate(text.split("--"))
    ]
    return tuple(Prove.model_validate(one) for one in tomllib.loads("\n".join(parts))["prove"])


def report(
    folder: Path,
    text: str,
    files: Mapping[str, bytes],
    held: Held | None = None,
    modes: Mapping[str, int] | None = None,
) -> AuditReport:
    wheel = Wheel(files=files, modes=modes or {}).write(folder)
    proves = tables(text)
    prober = Prober(questions(proves, IDENTITY))
    facts, faults = inspect_wheel(wheel, prober)
    assert facts is not None
    plain = audit(facts, Policy(), faults)
    return with_proofs(plain, proves, IDENTITY, prober.seen, held or Held())


def proof(folder: Path, text: str, files: Mapping[str, bytes], **more: object) -> Proof:
    (found,) = report(folder, text, files, **more).proofs  # type: ignore[arg-type]
    return found


ENGINE = {"demo/engine.so": bytes(DMABUF), "demo/master": b"#!x 1.0 (git: abcdef0)\n"}
CONDITIONS = {
    "a symbol": ('needs-symbol = "ibv_reg_dmabuf_mr"', True, "needs ibv_reg_dmabuf_mr@IBVERBS_1"),
    "its version": ('needs-symbol = "ibv_reg_dmabuf_mr@IBVERBS_1.12"', True, "@IBVERBS_1.12"),
    "another version": ('needs-symbol = "ibv_reg_dmabuf_mr@IBVERBS_1.1"', False, "does not need"),
    "a symbol that it defines": ('needs-symbol = "open"', False, "does not need open"),
    "an export": ('defines-symbol = "open"', True, "defines open"),
    "a need is no export": ('defines-symbol = "ibv_reg_dmabuf_mr"', False, "does not define"),
    "part of a name": ('has-symbol = "dmabuf"', True, "has 1 symbol with dmabuf"),
    "no part of a name": ('has-symbol = "nvlink"', False, "has no symbol with nvlink"),
    "all of a list": ('has-symbol = ["dmabuf", "nvlink"]', False, "nvlink"),
    "a library": ('needs-library = "libx.so.*"', True, "needs libx.so.1"),
    "no library": ('needs-library = "liby*"', False, "does not need liby*"),
    "a text": ('has-string = "IBVERBS"', True, "has string 'IBVERBS'"),
    "no text": ('has-string = "WITH_PEERMEM"', False, "has no string 'WITH_PEERMEM'"),
    "a kind": ('elf-kind = ["shared"]', True, "is shared"),
    "another kind": ('elf-kind = ["pie"]', False, "is shared"),
    "not": ('not = { has-symbol = "nvlink" }', True, "has no symbol with nvlink"),
    "any": ('any = [{ has-symbol = "nvlink" }, { has-symbol = "dmabuf" }]', True, "dmabuf"),
    "none of any": ('any = [{ has-symbol = "n1" }, { has-symbol = "n2" }]', False, "n2"),
    "all": ('all = [{ has-symbol = "open" }, { has-symbol = "dmabuf" }]', True, "dmabuf"),
    "another file": ('all = [{ file = "demo/master", has-string = "git" }]', True, "demo/master"),
    "present": ('all = [{ file = "demo/master", present = true }]', True, "is there"),
    "absent": ('not = { file = "demo/other", present = true }', True, "no file matches demo/other"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "holds", "evidence"), CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition(tmp_path: Path, text: str, holds: bool, evidence: str) -> None:
    found = proof(tmp_path, f'file = "demo/engine*.so"\n{text}', ENGINE)
    assert (found.holds, found.value) == (holds, None)
    assert evidence in found.evidence


UNKNOWN = {
    "no such file": ('file = "demo/x.so"\nneeds-symbol = "f"', "no file matches demo/x.so"),
    "not of no such file": ('file = "demo/x.so"\nnot = { needs-symbol = "f" }', "no file matches"),
    "no ELF file": ('file = "demo/master"\nneeds-symbol = "f"', "it is no ELF file"),
    "no symbol table": ('file = "demo/bare.so"\nhas-symbol = "f"', "no dynamic symbol table"),
    "no libraries of a text": ('file = "demo/master"\nneeds-library = "f"', "is no ELF file"),
    "one of several": (
        'file = "demo/*"\nany = [{ has-symbol = "q" }, { has-string = "nothing" }]',
        "shows no symbols",
    ),
    "a cut file": ('file = "demo/cut.so"\nhas-symbol = "f"', "it is no ELF file"),
    "another version": ('file = "demo/bare.so"\nhas-string = "x"\nwhen = ">=2"', "about >=2"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "evidence"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_told_is_neither_true_nor_false(
    tmp_path: Path, text: str, evidence: str
) -> None:
    files = {**ENGINE, "demo/bare.so": bytes(Elf()), "demo/cut.so": bytes(DMABUF)[:200]}
    found = proof(tmp_path, text, files)
    assert found.holds is None
    assert evidence in found.evidence


def test_false_outweighs_what_cannot_be_told(tmp_path: Path) -> None:
    text = (
        'all = [{ file = "gone", has-string = "x" }, { file = "demo/master", has-string = "x.y" }]'
    )
    assert proof(tmp_path, text, ENGINE).holds is False


def test_one_file_of_many_is_enough_unless_each_has_to(tmp_path: Path) -> None:
    files = {"demo/a": bytes(Elf(type=ET_EXEC)), "demo/b": bytes(Elf(pie=True))}
    text = 'file = "demo/?"\nelf-kind = ["static-pie"]\n'
    assert proof(tmp_path, text, files).holds is True
    found = proof(tmp_path, f"{text}each = true", files)
    assert (found.holds, found.evidence) == (False, "demo/a is static")


def test_modes_and_twins(tmp_path: Path) -> None:
    files = {"a/plugin_X.so": b"", "b/plugin_X.so": b"", "b/plugin_Y.so": b"", "bin/x": b""}
    text = """file = "bin/*"
executable = true
--
file = "*/plugin_*.so"
unique = true
--
file = "b/plugin_*.so"
unique = true"""
    lost, twice, once = report(tmp_path, text, files).proofs
    assert (lost.holds, lost.evidence) == (False, "bin/x has lost mode x")
    assert twice.holds is False
    assert twice.evidence == "1 of 2 names are in several of a, b: plugin_X.so"
    assert once.holds is True
    kept, *_ = report(tmp_path, text, files, modes={"bin/x": 0o100755}).proofs
    assert kept.holds is True


PEERMEM_SWITCH = """file = "demo/engine.so"
case = [
  { value = "run-time", has-string = "WITH_PEERMEM" },
  { value = "build-off", needs-symbol = "ibv_reg_dmabuf_mr" },
  { value = "build-on" },
]
"""


@pytest.mark.parametrize(
    ("engine", "value"),
    [
        (Elf(symbols=["ibv_reg_dmabuf_mr"], strings=b"\0WITH_PEERMEM\0"), "run-time"),
        (DMABUF, "build-off"),
        (PEERMEM, "build-on"),
        (Elf(), None),
        (None, None),
    ],
)
def test_the_first_case_that_is_true_is_the_value(
    tmp_path: Path, engine: Elf | None, value: str | None
) -> None:
    files = {"demo/engine.so": bytes(engine)} if engine else {}
    found = proof(tmp_path, PEERMEM_SWITCH, files)
    assert (found.value, found.holds) == (value, True if value else None)


def test_no_case_is_no_value(tmp_path: Path) -> None:
    text = 'file = "demo/engine.so"\ncase = [{ value = "v", has-string = "nowhere" }]'
    found = proof(tmp_path, text, ENGINE)
    assert (found.value, found.holds) == (None, None)


LIBRARY = "file = \"**/*.so\"\nvalue = { library = 'cudart\\.so\\.(\\d+)', single = true }"


def test_a_value_that_is_read(tmp_path: Path) -> None:
    one = {"a/x.so": bytes(Elf(needed=["libcudart.so.13"])), "y.so": bytes(Elf())}
    found = proof(tmp_path, LIBRARY, one)
    assert (found.holds, found.value, found.evidence) == (True, "13", "13 in x.so")
    both = {**one, "y.so": bytes(Elf(needed=["libcudart.so.12"]))}
    found = proof(tmp_path, LIBRARY, both)
    assert (found.holds, found.value) == (False, "12, 13")
    assert found.evidence == "12 in y.so, 13 in x.so"
    assert proof(tmp_path, LIBRARY, {"y.so": bytes(Elf())}).holds is None


def test_values_of_paths_and_texts(tmp_path: Path) -> None:
    text = """file = "e/*.so"
value = { path = 'torch(\\d)(\\d+)\\.' }
--
file = "lib?.so"
value = { string = '(?<![\\d._-])(1\\.\\d\\d\\.\\d)\\x00' }
--
file = "e/*.so"
value = { string = 'V(\\d+)' }"""
    files = {f"e/x_torch{n}.so": bytes(Elf()) for n in (29, 211, 210)}
    files["libu.so"] = bytes(Elf(strings=b"A1.23.0\0GLIBC_1.22.5\0"))
    torch, ucx, nothing = report(tmp_path, text, files).proofs
    assert torch.value == "2.9, 2.10, 2.11"
    assert (ucx.value, ucx.holds) == ("1.23.0", True)
    assert (nothing.value, nothing.holds) == (None, None)
    assert nothing.evidence == "3 files match e/*.so, none shows a value"


@pytest.mark.parametrize(
    ("elf", "hosts", "holds", "evidence"),
    [
        (Elf(), (), True, "promises glibc 2.28, its files need 2.5"),
        (Elf(needed=["libhip.so.7"]), ("libhip.so.*",), True, "promises glibc 2.28"),
        (Elf(needed=["libhip.so.7"]), (), False, "needs 1 library that nobody promises: libhip"),
        (Elf(needed=["libhip.so.7"]), None, None, "does not build demo"),
        (Elf(versions={"libc.so.6": ["GLIBC_2.34"]}), (), False, "its files need 2.34"),
    ],
)
def test_a_platform_tag_is_kept_or_not(
    tmp_path: Path, elf: Elf, hosts: tuple[str, ...] | None, holds: bool | None, evidence: str
) -> None:
    held = Held(host_libraries=hosts)
    found = proof(tmp_path, "keeps-tag = true", {"demo/x.so": bytes(elf)}, held=held)
    assert (found.holds, evidence in found.evidence) == (holds, True)


def test_long_evidence_is_cut(tmp_path: Path) -> None:
    files = {f"demo/engine_{number:03}.so": bytes(Elf(symbols=["x"])) for number in range(60)}
    found = proof(tmp_path, 'file = "demo/engine*.so"\nhas-symbol = "nvlink"', files)
    assert found.evidence.endswith("…")
    assert len(found.evidence) == 400


# -- what follows for the report ---------------------------------------------------------------

WANTED = """file = "demo/engine.so"
has-symbol = "nvlink"
expect = [{ accelerator = ["cuda13"], is = true }]
profile = ["gb200"]
hint = "set the option nvlink"
--
file = "demo/engine.so"
has-symbol = "dmabuf"
profile = ["store"]
--
file = "demo/gone.so"
has-symbol = "dmabuf"
profile = ["store"]
"""
CUDA13 = Accelerator.CUDA13


def missed(folder: Path, held: Held, text: str = WANTED) -> list[str]:
    made = report(folder, text, ENGINE, held)
    errors = [one for one in made.findings if one.check == "prove"]
    assert all(one.severity is Severity.ERROR for one in errors)
    assert made.passed is not bool(errors)
    return [one.message for one in errors]


def test_a_foreign_wheel_is_told_not_judged(tmp_path: Path) -> None:
    assert missed(tmp_path, Held(accelerator=CUDA13)) == []


def test_our_own_wheel_must_show_what_the_recipe_expects(tmp_path: Path) -> None:
    (message,) = missed(tmp_path, Held(accelerator=CUDA13, own=True))
    assert message.startswith("p0: it does not hold, but the recipe wants it (S); demo/engine.so")
    assert missed(tmp_path, Held(accelerator=Accelerator.CPU, own=True)) == []


def test_a_profile_must_hold_for_any_wheel(tmp_path: Path) -> None:
    (message,) = missed(tmp_path, Held(profiles=("store",)))
    assert message.startswith("p2: it cannot be told, but the profile store wants it")
    (message,) = missed(tmp_path, Held(profiles=("gb200",), accelerator=CUDA13))
    assert message.startswith("p0: it does not hold, but the profile gb200 wants it")


EXTENSIONS = "file = 'demo/ext_*.so'\nvalue = { path = 'ext_torch(\\d)(\\d+)' }\ntorch = true\n"


@pytest.mark.parametrize(
    ("shown", "minors", "told"),
    [
        (["213"], ("2.13",), ""),
        (["213", "29"], ("2.9", "2.13"), ""),
        ([], (), ""),
        (["213"], ("2.13", "2.14"), "p0: it is 2.13, but the recipe wants 2.13, 2.14"),
        ([], ("2.13",), "p0: it cannot be told, but the recipe wants 2.13"),
        (["213"], (), "p0: it is 2.13, but the recipe wants nothing"),
    ],
)
def test_extensions_are_for_the_torch_that_was_asked_for(
    tmp_path: Path, shown: list[str], minors: tuple[str, ...], told: str
) -> None:
    files = {f"demo/ext_torch{one}.so": bytes(Elf()) for one in shown} | ENGINE
    found = report(tmp_path, EXTENSIONS, files, Held(own=True, torch=minors))
    errors = [one.message for one in found.findings if one.check == "prove"]
    assert [text.partition(";")[0] for text in errors] == ([told] if told else [])
    foreign = report(tmp_path, EXTENSIONS, files, Held(torch=minors))
    assert [one for one in foreign.findings if one.check == "prove"] == []


OPTIONAL = 'has-symbol = "nvlink"\nexpect = true\nprofile = ["gb200"]\noptional = true\n'


@pytest.mark.parametrize(
    ("file", "profiles", "faults"),
    [("absent", (), 0), ("engine", (), 1), ("absent", ("gb200",), 1), ("absent", ("other",), 0)],
)
def test_an_option_may_leave_the_part_out_that_is_proved(
    tmp_path: Path, file: str, profiles: tuple[str, ...], faults: int
) -> None:
    """Not there is right for a wheel of ours, there and wrong is not; a profile needs it."""
    held, text = Held(own=True, profiles=profiles), f'file = "demo/{file}.so"\n{OPTIONAL}'
    assert len(missed(tmp_path, held, text)) == faults
    assert len(missed(tmp_path, held, text.replace("optional = true", ""))) == 1


def test_an_optional_value_is_the_expected_one_or_none(tmp_path: Path) -> None:
    text = 'file = "demo/{}"\nvalue = {{ string = "!(x) " }}\nexpect = "{}"\noptional = true'
    found = [
        len(missed(tmp_path, Held(own=True), text.format(*words)))
        for words in (("master", "x"), ("master", "y"), ("absent", "y"))
    ]
    assert found == [0, 1, 0]


def test_a_value_must_be_the_expected_one(tmp_path: Path) -> None:
    wants = [f'{PEERMEM_SWITCH}expect = "{value}"' for value in ("build-off", "run-time")]
    assert missed(tmp_path, Held(own=True), wants[0]) == []
    (message,) = missed(tmp_path, Held(own=True), wants[1])
    assert message.startswith("p0: it is build-off, but the recipe wants run-time; demo/engine.so")


def test_errors_come_first(tmp_path: Path) -> None:
    made = report(tmp_path, WANTED, ENGINE, Held(accelerator=CUDA13, own=True))
    severities = [list(Severity).index(one.severity) for one in made.findings]
    assert severities == sorted(severities)
    assert made.findings[0].hint == "set the option nvlink"


@pytest.mark.parametrize(
    ("text", "commit", "warned"),
    [
        (b"1.0 (git: abcdef0)", "abcdef0", False),
        (b"0.9 (git: abcdef0)", "abcdef0", True),
        (b"1.0 (git: abcdef0) 1.0 (git: 1234567)", None, False),
        (b"1.0", None, False),
    ],
)
def test_the_commit_that_a_file_tells(
    tmp_path: Path, text: bytes, commit: str | None, warned: bool
) -> None:
    made = report(tmp_path, 'file = "demo/master"\nhas-string = "x"', {"demo/master": text})
    assert made.facts.commit == commit
    assert ["identity" in one.check for one in made.findings].count(True) == warned


@pytest.mark.parametrize(
    ("needed", "major"),
    [
        (["libcudart.so.13", "libcublas.so.13"], 13),
        (["libcudart.so.11.0"], 11),
        (["libcudart.so.12", "libcudart.so.13"], None),
        (["libcuda.so.1", "libcufft.so.11"], None),
    ],
)
def test_the_cuda_major(tmp_path: Path, needed: list[str], major: int | None) -> None:
    wheel = Wheel(files={"demo/x.so": bytes(Elf(needed=needed))}).write(tmp_path)
    facts, _ = inspect_wheel(wheel)
    assert facts is not None
    assert facts.cuda_major == major


@pytest.mark.parametrize(
    ("glob", "path", "found"),
    [
        ("a/*.so", "a/x.so", True),
        ("a/*.so", "a/b/x.so", False),
        ("**/*.so", "a/b/x.so", True),
        ("**/*.so", "x.so", True),
        ("a/**/x", "a/x", True),
        ("a/**/x", "ab/x", False),
        ("*.libs/lib?.so", "m.libs/libx.so", True),
        ("a.so", "axso", False),
    ],
)
def test_globs_stay_in_their_folder(glob: str, path: str, found: bool) -> None:
    assert selects([glob], path) is found


@pytest.mark.parametrize(
    ("commit", "when", "said"),
    [
        ("abcdef0" + "1" * 33, None, None),
        ("b" * 40, None, "its files say commit abcdef0, the lock says bbbb"),
        ("b" * 40, "<1.0", None),
        (None, None, None),
    ],
)
def test_a_wheel_of_ours_names_the_locked_commit(
    commit: str | None, when: str | None, said: str | None, tmp_path: Path
) -> None:
    wheel = Wheel(files=ENGINE).write(tmp_path)
    identity = IDENTITY.model_copy(update={"when": when})
    prober = Prober(questions((), identity))
    facts, faults = inspect_wheel(wheel, prober)
    assert facts is not None
    plain = audit(facts, Policy(), faults)
    made = with_proofs(plain, (), identity, prober.seen, Held(commit=commit))
    found = [one.message for one in made.findings if one.check == "identity"]
    assert len(found) == (said is not None)
    assert all(message.startswith(str(said)) for message in found)


def test_a_wheel_of_ours_that_names_no_commit(tmp_path: Path) -> None:
    files = {**ENGINE, "demo/master": b"#!x 1.0 (git: unknown)\n"}
    wheel = Wheel(files=files).write(tmp_path)
    prober = Prober(questions((), IDENTITY))
    facts, faults = inspect_wheel(wheel, prober)
    assert facts is not None
    made = with_proofs(
        audit(facts, Policy(), faults), (), IDENTITY, prober.seen, Held(commit="a" * 40)
    )
    (found,) = [one for one in made.findings if one.check == "identity"]
    assert found.message.startswith("its files name no commit, the lock says aaaa")
    assert found.severity is Severity.ERROR
