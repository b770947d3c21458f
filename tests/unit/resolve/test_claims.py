import base64
import hashlib

import pytest

from kvpack.resolve.claims import of_environment, of_wheel, requires_of

SITE = "lib/python3.12/site-packages"
SHA = hashlib.sha256(b"x").hexdigest()
DIGEST = "sha256=" + base64.urlsafe_b64encode(bytes.fromhex(SHA)).rstrip(b"=").decode()


def paths(record: str, entry_points: str = "") -> list[str]:
    return [claim.path for claim in of_wheel(record, entry_points, "demo")]


@pytest.mark.parametrize(
    ("member", "place"),
    [
        ("demo/x.py", "site-packages/demo/x.py"),
        ("./demo//x.py", "site-packages/demo/x.py"),
        ("demo.pth", "site-packages/demo.pth"),
        ("demo-1.0.data/purelib/demo/x.py", "site-packages/demo/x.py"),
        ("demo-1.0.data/platlib/demo/x.so", "site-packages/demo/x.so"),
        ("demo-1.0.data/scripts/tool", "bin/tool"),
        ("demo-1.0.data/data/lib/pkgconfig/x.pc", "lib/pkgconfig/x.pc"),
        ("demo-1.0.data/headers/deep/x.h", "include/site/demo/deep/x.h"),
        ("demo-1.0.dist-info/METADATA", "site-packages/demo-1.0.dist-info/METADATA"),
        ("demo.database/x.py", "site-packages/demo.database/x.py"),
    ],
)
def test_where_a_member_comes_to_lie(member: str, place: str) -> None:
    (claim,) = of_wheel(f"{member},{DIGEST},1\n", "", "demo")
    assert (claim.path, claim.sha256, claim.size) == (place, SHA, 1)


@pytest.mark.parametrize(
    "member", ["demo-1.0.data/future/x", "demo-1.0.dist-info/RECORD", "demo/folder/", "demo.data"]
)
def test_what_claims_nothing(member: str) -> None:
    assert paths(f"{member},,\n") == []


def test_a_record_is_csv() -> None:
    record = f'"demo/a,b.py",{DIGEST},1\r\n"demo/say ""hi"".py",{DIGEST},1\r\n\r\ndemo/ö.py,,\r\n'
    assert paths(record) == [
        "site-packages/demo/a,b.py", 'site-packages/demo/say "hi".py', "site-packages/demo/ö.py",
    ]  # fmt: skip


@pytest.mark.parametrize("digest", ["", "md5=abcd", "sha256=", "nonsense"])
def test_a_digest_of_another_kind_is_none(digest: str) -> None:
    (claim,) = of_wheel(f"demo/x.py,{digest},many\n", "", "demo")
    assert (claim.sha256, claim.size) == (None, None)


@pytest.mark.parametrize(
    "record", ["demo/x.py\n", "a,b,c,d\n", f'"{"x" * 200_000}",,\n', "demo/x.py,sha256=!a,1\n"]
)
def test_a_record_that_is_none(record: str) -> None:
    with pytest.raises(ValueError, match=r"RECORD|padd|base64|data"):
        of_wheel(record, "", "demo")


def test_entry_points_become_scripts() -> None:
    text = (
        "[console_scripts]\nTool = demo.cli : main [extra, more]\n; a comment\nother=demo:x.y\n"
        "[gui_scripts]\nwindow = demo.gui:main\n[demo.plugins]\nnot-a-script = demo:plugin\n"
    )
    found = {claim.path: claim for claim in of_wheel("", text, "demo")}
    assert {path: claim.made_from for path, claim in found.items()} == {
        "bin/Tool": "demo.cli:main", "bin/other": "demo:x.y", "bin/window": "demo.gui:main",
    }  # fmt: skip
    assert {claim.sha256 for claim in found.values()} == {None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no section\n", []),
        ("[console_scripts]\na = x:y\na = x:z\n", ["bin/a"]),
        ("[console_scripts]\na = x:%(y)s\n", ["bin/a"]),
        ("", []),
    ],
)
def test_entry_points_that_are_odd(text: str, expected: list[str]) -> None:
    assert paths("", text) == expected


def test_claims_are_sorted_and_a_path_is_claimed_once() -> None:
    record = f"b.py,,\na.py,,\ndemo-1.data/purelib/b.py,{DIGEST},1\n"
    claims = of_wheel(record, "", "demo")
    assert [claim.path for claim in claims] == ["site-packages/a.py", "site-packages/b.py"]
    assert claims[1].sha256 == SHA


# -- environments -------------------------------------------------------------------------------


def test_an_installed_distribution() -> None:
    record = (
        f"demo/x.py,{DIGEST},1\n"
        "demo/__pycache__/x.cpython-312.pyc,,\n"
        f"../../../bin/tool,{DIGEST},1\n"
        "../../../include/site/python3.12/demo/x.h,,\n"
        "../../../../outside,,\n"
        "/etc/demo.conf,,\n"
        "demo-1.0.dist-info/INSTALLER,,\n"
        "demo-1.0.dist-info/RECORD,,\n"
    )
    found = {claim.path: claim.sha256 for claim in of_environment(record, SITE)}
    assert found == {
        "bin/tool": SHA,
        "include/site/python3.12/demo/x.h": None,
        "site-packages/demo-1.0.dist-info/INSTALLER": None,
        "site-packages/demo/x.py": SHA,
    }


def test_an_installed_script_is_known_by_its_entry_point() -> None:
    """Its bytes name the environment's Python, so they say nothing about a wheel's."""
    record = f"../../../bin/tool,{DIGEST},1\n../../../bin/own,{DIGEST},1\n"
    points = "[console_scripts]\ntool = demo:main\nabsent = demo:x\n"
    installed = {claim.path: claim for claim in of_environment(record, SITE, points)}
    assert set(installed) == {"bin/own", "bin/tool"}
    (wheel,) = of_wheel("", "[console_scripts]\ntool = demo:main\n", "demo")
    assert installed["bin/tool"].identity == wheel.identity
    assert installed["bin/own"].sha256 == SHA


def test_site_packages_outside_of_the_environment() -> None:
    record = "demo/x.py,,\n../../bin/tool,,\n"
    assert [claim.path for claim in of_environment(record, "site-packages")] == [
        "site-packages/demo/x.py"
    ]


def test_an_installed_record_that_is_none() -> None:
    with pytest.raises(ValueError, match="RECORD, line 2"):
        of_environment("a.py,,\nb.py\n", SITE)


def test_what_metadata_asks_for() -> None:
    """Headers alone: what a description quotes is no requirement."""
    text = (
        "Metadata-Version: 2.4\nName: x\nRequires-Dist: torch (<2.9,>=2.6) ;\n"
        '        python_version > "3"\nrequires-dist: numpy\n\nRequires-Dist: quoted\n'
    )
    assert requires_of(text) == ('torch (<2.9,>=2.6) ; python_version > "3"', "numpy")
    assert requires_of("") == ()
