"""The scripts before nvcc's programs, run for real; and what a comparison says of nvcc."""

import os
import subprocess
from pathlib import Path

import pytest

from kvpack.build.nvcc import WRAPPER, append_flags, behind, explained

ELF = b"\x7fELF\0\0"
CODE = '# 1 "{0}k.cu"\n# 2 "{0}a b.h" 1\nprintf("{0}k.cu");\n# 9 "/usr/include/stdio.h" 3\n'


def called(folder: Path, *words: str) -> list[str]:
    """What the program behind the script gets."""
    script = folder / "cudafe++"
    script.write_text(WRAPPER)
    program = folder / Path(behind("bin/cudafe++")).name
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    for path in (script, program):
        path.chmod(0o755)
    done = subprocess.run(
        [script, *words], check=True, capture_output=True, text=True, cwd=folder,
        env={"PATH": os.defpath},
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("/project/source/csrc/k.cu", "./csrc/k.cu"),
        ("/project/rebuilt-elsewhere/csrc/k.cu", "./csrc/k.cu"),
        ("/tmp/tmpa_0b1c2d/build/made.cu", "/tmp/tmp/build/made.cu"),  # noqa: S108
        ("csrc/k.cu", "csrc/k.cu"),
        ("/opt/project/source/k.cu", "/opt/project/source/k.cu"),
        ("/tmp/templates/k.cu", "/tmp/templates/k.cu"),  # noqa: S108
        ("/project/source/a 'b'/$k.cu", "./a 'b'/$k.cu"),
    ],
)
def test_a_source_is_named_by_its_place_in_the_build(
    tmp_path: Path, given: str, named: str
) -> None:
    words = ["--c++17", "--orig_src_path_name", given, "--gen_c_file_name", "/project/source/k.cpp"]
    assert called(tmp_path, *words) == [*words[:2], named, *words[3:]]


@pytest.mark.parametrize("folder", ["/project/source/", "/project/rebuilt-elsewhere/"])
def test_the_lines_of_a_preprocessed_source_too(tmp_path: Path, folder: str) -> None:
    """Their places; nothing that the source itself says."""
    (tmp_path / "k.cpp4.ii").write_text(CODE.format(folder))
    assert called(tmp_path, "-m64", "k.cpp4.ii") == ["-m64", "k.cpp4.ii"]
    expected = CODE.format("./").replace('printf("./', f'printf("{folder}')
    assert (tmp_path / "k.cpp4.ii").read_text() == expected
    assert sorted(path.suffix for path in tmp_path.iterdir() if "k.cpp4" in path.name) == [".ii"]


def test_a_source_that_is_preprocessed_itself_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "own.ii").write_text(CODE.format("/project/source/"))
    called(tmp_path, "--orig_src_file_name", "own.ii", "--m64")
    assert (tmp_path / "own.ii").read_text() == CODE.format("/project/source/")


def test_a_missing_input_ends_the_call(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        called(tmp_path, "absent.ii")


def test_flags_of_a_build() -> None:
    assert append_flags("/project/x").split() == [
        "-objtemp",
        "-Xcompiler=-ffile-prefix-map=/project/x=.",
    ]


# A variable in a namespace without a name: the module's id stands in it twice.
MODULES = (
    b"_ZN34_INTERNAL_91c71272_4_k_cu_6203372036_GLOBAL__N__91c71272_4_k_cu_620337206hiddenE",
    b"_ZN34_INTERNAL_c27e6599_4_k_cu_6203372036_GLOBAL__N__c27e6599_4_k_cu_620337206hiddenE",
)
TEMPORARY = (
    b"tmpxft_000076aa_00000000-6_k.cudafe1.cpp",
    b"tmpxft_000070aa_00000000-6_k.cudafe1.cpp",
)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (MODULES, "nvcc's checksums of a source's path differ (_91c71272 and _c27e6599)"),
        (TEMPORARY, "compile with -c"),
    ],
)
def test_names_of_nvcc_are_told(pair: tuple[bytes, bytes], says: str) -> None:
    one, two = (ELF + name + b"\0end" for name in pair)
    alone, more = explained(one, two), explained(one, two + b"!")
    assert alone is not None
    assert says in alone
    assert alone.endswith("nothing else differs")
    assert more == alone.replace("nothing else differs", "other bytes differ, too")


def test_one_that_has_no_such_name_is_told_too() -> None:
    told = explained(ELF + TEMPORARY[0], ELF)
    assert told is not None
    assert f"({TEMPORARY[0].decode()} and none)" in told


def test_what_is_not_of_nvcc_is_not_explained() -> None:
    assert explained(ELF + MODULES[0] + b"1", ELF + MODULES[0] + b"2") is None
