import itertools

import pytest

from kvpack.resolve.claims import of_wheel
from kvpack.resolve.families import Families, load_families
from kvpack.resolve.model import Claim, Claims, Collision, ConflictReport
from kvpack.resolve.ownership import judge

NONE = Families.model_validate({"schema": 1, "family": []})


def owner(name: str, files: dict[str, str], version: str = "1.0", scripts: str = "") -> Claims:
    """A distribution with files; equal letters are equal bytes."""
    claims = tuple(Claim(path=path, sha256=one * 64) for path, one in files.items())
    made = of_wheel("", f"[console_scripts]\n{scripts}", name)
    return Claims(
        distribution=name, version=version, origin=name, claims=claims + made, size=100, read=7
    )


def found(*sets: Claims) -> list[tuple[str, str]]:
    report = judge(sets, NONE)
    return [(one.kind, one.path) for one in (*report.conflicts, *report.shared)]


def one(report: ConflictReport) -> Collision:
    (collision,) = report.conflicts
    return collision


def test_nothing_in_common() -> None:
    report = judge([owner("a", {"site-packages/ns/a.py": "a"}),
                    owner("b", {"site-packages/ns/b.py": "b"})], NONE)  # fmt: skip
    assert (report.conflicts, report.shared) == ((), ())
    assert report.distributions == (("a", "1.0"), ("b", "1.0"))
    assert (report.bytes_read, report.bytes_total) == (14, 200)


def test_different_bytes_conflict() -> None:
    collision = one(judge([owner("b", {"x": "b"}, "2"), owner("a", {"x": "a"})], NONE))
    assert (collision.kind, collision.path) == ("different-bytes", "x")
    assert [(o.distribution, o.version, o.sha256, o.path) for o in collision.owners] == [
        ("a", "1.0", "a" * 64, "x"), ("b", "2", "b" * 64, "x"),
    ]  # fmt: skip
    assert collision.advice == "leave one of a, b out of the set"


def test_the_same_bytes_are_shared() -> None:
    report = judge([owner("a", {"x": "a"}), owner("b", {"x": "a"})], NONE)
    assert report.conflicts == ()
    assert [(c.kind, len(c.owners)) for c in report.shared] == [("same-bytes", 2)]


def test_three_owners_of_which_one_differs() -> None:
    sets = [owner("a", {"x": "a"}), owner("b", {"x": "a"}), owner("c", {"x": "c"})]
    collision = one(judge(sets, NONE))
    assert [o.distribution for o in collision.owners] == ["a", "b", "c"]
    assert collision.advice == "leave one of a, b, c out of the set"


def test_bytes_that_are_not_known_are_not_those_that_are() -> None:
    unknown = Claims(distribution="u", version="1", origin="u", claims=(Claim(path="x"),))
    assert found(owner("a", {"x": "a"}), unknown) == [("different-bytes", "x")]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("tool = a:main", [("same-bytes", "bin/tool")]),
        ("tool = b:main", [("different-bytes", "bin/tool")]),
        ("Tool = a:main", [("case", "bin/Tool")]),
        ("tools = b:main", []),
    ],
)
def test_generated_scripts(second: str, expected: list[tuple[str, str]]) -> None:
    assert (
        found(owner("a", {}, scripts="tool = a:main"), owner("b", {}, scripts=second)) == expected
    )


def test_a_generated_script_against_a_file() -> None:
    sets = [owner("a", {}, scripts="tool = a:main"), owner("b", {"bin/tool": "b"})]
    assert found(*sets) == [("different-bytes", "bin/tool")]


def test_case_only() -> None:
    sets = [owner("a", {"site-packages/Demo.py": "a"}), owner("b", {"site-packages/demo.py": "a"})]
    collision = one(judge(sets, NONE))
    assert (collision.kind, collision.path) == ("case", "site-packages/Demo.py")
    assert [o.path for o in collision.owners] == ["site-packages/Demo.py", "site-packages/demo.py"]


def test_case_within_one_distribution_is_its_own_affair() -> None:
    assert found(owner("a", {"README": "a", "readme": "b"}), owner("b", {"x": "b"})) == []


def test_a_file_where_another_needs_a_folder() -> None:
    sets = [owner("a", {"site-packages/x": "a"}), owner("b", {"site-packages/x/deep/y.py": "b"})]
    collision = one(judge(sets, NONE))
    assert (collision.kind, collision.path) == ("file-and-folder", "site-packages/x")
    assert [o.path for o in collision.owners] == ["site-packages/x", "site-packages/x/deep/y.py"]


def test_every_distribution_that_needs_the_folder_is_named() -> None:
    sets = [owner("a", {"x": "a"}), owner("b", {"x/1": "b", "x/2": "b"}), owner("c", {"x/3": "c"})]
    assert [o.path for o in one(judge(sets, NONE)).owners] == ["x", "x/1", "x/3"]


def test_one_distribution_twice_is_no_conflict() -> None:
    sets = [owner("a", {"x": "a"}), owner("a", {"x": "b"}, "2.0"), owner("a", {"x/y": "c"}, "3.0")]
    assert found(*sets) == []
    assert judge(sets, NONE).distributions == (("a", "1.0"), ("a", "2.0"), ("a", "3.0"))


def test_advice_names_the_family_and_what_stays() -> None:
    sets = [owner("nixl-cu12", {"x": "a"}), owner("nixl-cu13", {"x": "b"})]
    assert one(judge(sets, load_families())).advice == (
        "an environment takes one member of the family nixl: "
        "keep one of nixl-cu12, nixl-cu13; nixl stays"
    )
    sets = [owner("opencv-python", {"x": "a"}), owner("opencv-python-headless", {"x": "b"})]
    assert one(judge(sets, load_families())).advice.endswith("opencv-python-headless")


def test_the_report_does_not_depend_on_the_order() -> None:
    sets = [
        owner("a", {"x": "a", "Case": "1", "f": "1", "same": "1"}),
        owner("b", {"x": "b", "case": "2", "f/g": "1", "same": "1"}),
        owner("c", {"x": "c", "cASE": "3", "f/h": "1", "same": "1"}),
        owner("c", {"x": "d"}, "2.0"),
    ]
    reports = [judge(order, NONE).as_json() for order in itertools.permutations(sets)]
    assert all(report == reports[0] for report in reports)
    paths = [c["path"] for c in reports[0]["conflicts"]]  # type: ignore[attr-defined]
    assert paths == ["Case", "f", "x"]


def test_the_proof_grows_with_the_number_of_paths_only() -> None:
    """Deep and wide sets: every pair of distributions is never compared."""
    sets = [owner(f"d{n}", {f"p{n}/a/b/c/{i}": "a" for i in range(20)}) for n in range(200)]
    assert found(*sets) == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"site-packages/ns/a.py": "a"}, {"site-packages/ns/b/__init__.py": "b"}, []),
        (
            {"site-packages/ns/__init__.py": "a"},
            {"site-packages/ns/__init__.py": "a"},
            [("same-bytes", "site-packages/ns/__init__.py")],
        ),
        (
            {"site-packages/ns/__init__.py": "a"},
            {"site-packages/ns/__init__.py": "b"},
            [("different-bytes", "site-packages/ns/__init__.py")],
        ),
        ({"site-packages/a-nspkg.pth": "a"}, {"site-packages/b-nspkg.pth": "b"}, []),
        (
            {"site-packages/distutils-precedence.pth": "a"},
            {"site-packages/distutils-precedence.pth": "b"},
            [("different-bytes", "site-packages/distutils-precedence.pth")],
        ),
        (
            {"site-packages/ns.py": "a"},
            {"site-packages/ns.py/a.py": "b"},
            [("file-and-folder", "site-packages/ns.py")],
        ),
    ],
)
def test_namespaces_and_pth_files(
    first: dict[str, str], second: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    """A namespace without ``__init__.py`` is shared by right (PEP 420)."""
    assert found(owner("a", first), owner("b", second)) == expected
