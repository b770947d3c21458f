import tomllib

import pytest
from packaging.pylock import Pylock
from packaging.requirements import Requirement

from kvpack.names import Accelerator
from kvpack.resolve.written import (
    Entry,
    WrittenSet,
    WrittenWheel,
    merged,
    pylock_text,
    relative,
    requirements_text,
    uv_stanza,
)


def entry(name: str, version: str = "1.0", arch: str = "x86_64", **more: object) -> Entry:
    file = f"{name.replace('-', '_')}-{version}-py3-none-manylinux_2_28_{arch}.whl"
    return Entry.model_validate(
        {
            "name": name,
            "version": version,
            "wheels": [{"file": file, "sha256": (arch[0] + name[0]) * 32,
                        "url": f"https://files.example/{file}", "size": 7,
                        "uploaded": "2026-09-01T23:45:05Z"}],
            **more,
        }
    )  # fmt: skip


def written(*entries: Entry, **more: object) -> WrittenSet:
    return WrittenSet.model_validate(
        {
            "accelerator": Accelerator.CUDA13,
            "python": "3.12",
            "glibc": "2.35",
            "arches": ["x86_64"],
            "command": "kvpack requirements a.in --cuda 13",
            "intent-sha256": "0" * 64,
            "entries": entries,
            **more,
        }
    )


def test_requirements() -> None:
    one = written(
        entry("nixl", via=("a.in, line 1",)), entry("nixl-cu13"), notes=("Left out: nixl-cu12",)
    )
    text = requirements_text(one)
    lines = text.splitlines()
    assert lines[0] == (
        "# One conflict-free set: CUDA 13, Python 3.12, glibc 2.35 or newer, x86_64."
    )
    assert "# Left out: nixl-cu12" in lines
    assert "--no-deps --require-hashes" in text
    assert text.endswith(
        "nixl==1.0 \\\n    --hash=sha256:" + "xn" * 32 + "\n    # via a.in, line 1\n"
        "nixl-cu13==1.0 \\\n    --hash=sha256:" + "xn" * 32 + "\n"
    )


def test_pylock_is_valid() -> None:
    text = pylock_text(written(entry("nixl"), entry("nixl-cu13")))
    raw = tomllib.loads(text)
    lock = Pylock.from_dict(raw)
    assert [str(package.name) for package in lock.packages] == ["nixl", "nixl-cu13"]
    assert raw["requires-python"] == "==3.12.*"
    assert raw["packages"][0]["wheels"][0] == {
        "name": "nixl-1.0-py3-none-manylinux_2_28_x86_64.whl",
        "upload-time": raw["packages"][0]["wheels"][0]["upload-time"],
        "url": "https://files.example/nixl-1.0-py3-none-manylinux_2_28_x86_64.whl",
        "size": 7,
        "hashes": {"sha256": "xn" * 32},
    }
    assert raw["tool"]["kvpack"]["accelerator"] == "cuda13"


def test_a_wheel_of_a_folder_has_a_path() -> None:
    wheel = WrittenWheel(file="a-1-py3-none-any.whl", sha256="a" * 64, path="../dist/a.whl")
    raw = tomllib.loads(pylock_text(written(Entry(name="a", version="1", wheels=(wheel,)))))
    assert raw["packages"][0]["wheels"] == [
        {"name": "a-1-py3-none-any.whl", "path": "../dist/a.whl", "hashes": {"sha256": "a" * 64}}
    ]


def test_the_same_set_gives_the_same_bytes() -> None:
    one, two = written(entry("b"), entry("a")), written(entry("b"), entry("a"))
    assert requirements_text(one) == requirements_text(two)
    assert pylock_text(one) == pylock_text(two)


def test_two_architectures_in_one_file() -> None:
    entries = merged(
        {
            "x86_64": [entry("a"), entry("b", "2.0"), entry("only-x86")],
            "aarch64": [entry("a", arch="aarch64"), entry("b", "1.9", arch="aarch64")],
        }
    )
    one = written(*entries, arches=["x86_64", "aarch64"])
    lines = [
        line for line in requirements_text(one).splitlines() if "==" in line and line[0] != "#"
    ]
    pins = [Requirement(line.removesuffix(" \\")) for line in lines]
    assert [(pin.name, str(pin.specifier), str(pin.marker or "")) for pin in pins] == [
        ("a", "==1.0", ""),
        ("b", "==1.9", 'platform_machine == "aarch64"'),
        ("b", "==2.0", 'platform_machine == "x86_64"'),
        ("only-x86", "==1.0", 'platform_machine == "x86_64"'),
    ]
    assert requirements_text(one).count("--hash=") == 5
    raw = tomllib.loads(pylock_text(one))
    assert len(raw["packages"][0]["wheels"]) == 2
    assert raw["packages"][1]["marker"] == "platform_machine == 'aarch64'"
    assert len(raw["environments"]) == 2


def test_sources_are_written_without_credentials_by_the_caller() -> None:
    one = written(entry("a"), indexes=("https://index.example/simple",), folders=("../dist",))
    text = requirements_text(one)
    assert "--extra-index-url https://index.example/simple\n--find-links ../dist\n" in text


def test_uv_stanza() -> None:
    one = written(entry("nixl"), entry("nixl-cu13"))
    raw = tomllib.loads(uv_stanza(["nixl-cu12", "nixl-rocm", "nixl"], ["lmcache>=0.4.5"], one))
    assert raw["tool"]["uv"] == {
        "exclude-dependencies": ["nixl-cu12", "nixl-rocm"],
        "constraint-dependencies": ["lmcache>=0.4.5"],
        "environments": ["sys_platform == 'linux' and platform_machine == 'x86_64'"],
    }


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("/a/dist/x+kvp.1-py3.whl", "/a/requirements", "../dist/x+kvp.1-py3.whl"),
        ("/a/b c/x.whl", "/a", "b c/x.whl"),
    ],
)
def test_relative(path: str, folder: str, expected: str) -> None:
    assert relative(path, folder) == expected
