import pytest

from kvpack.resolve.intent import included, read_intent


def wishes(text: str, **more: str) -> list[tuple[str, str]]:
    found, faults = read_intent("a.in", {"a.in": text, **more})
    assert faults == []
    return [(wish.place, wish.text) for wish in found]


def test_requirements_syntax() -> None:
    text = (
        "# what a decode node needs\n\nlmcache>=0.3.9\n"
        "nixl == 1.4.1  # pinned\n"
        "mooncake-transfer-engine[administration]>=0.3.12 ; python_version >= '3.10'\n"
    )
    assert wishes(text) == [
        ("a.in, line 3", "lmcache>=0.3.9"),
        ("a.in, line 4", "nixl==1.4.1"),
        (
            "a.in, line 5",
            'mooncake-transfer-engine[administration]>=0.3.12; python_version >= "3.10"',
        ),
    ]


def test_a_line_that_goes_on() -> None:
    assert wishes("lmcache>=0.3.9, \\\n  <0.5\nnixl\n") == [
        ("a.in, line 1", "lmcache<0.5,>=0.3.9"),
        ("a.in, line 3", "nixl"),
    ]


def test_includes_are_followed() -> None:
    found = wishes("-r b.in\nnixl\n", **{"b.in": "lmcache\n"})
    assert found == [("b.in, line 1", "lmcache"), ("a.in, line 2", "nixl")]
    assert list(included("-r b.in\n--requirement=c.in\nnixl")) == ["b.in", "c.in"]


def test_every_fault_is_told() -> None:
    text = (
        "nixl=1.4\n--index-url x\nx @ https://h/x-1-py3-none-any.whl\nnixl==1 --hash=sha256:00\n"
        "-r none.in\n-r a.in\n"
    )
    found, faults = read_intent("a.in", {"a.in": text})
    assert found == ()
    assert [fault.place for fault in faults] == [f"a.in, line {n}" for n in range(1, 7)]
    for fault, words in zip(
        faults,
        ["'nixl=1.4'", "--index-url", "names one file", "no hashes", "none.in", "includes itself"],
        strict=True,
    ):
        assert words in fault.message


@pytest.mark.parametrize("text", ["", "\\", "\\\n", "\0", "-", "#", "a\\\n", "[", ";", "\u2028"])
def test_no_text_breaks_it(text: str) -> None:
    read_intent("a.in", {"a.in": text})
