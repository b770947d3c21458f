"""Where repositories and their submodules are looked for, and which URLs are refused."""

import pytest

from kvpack.fetch.gitplaces import GitPlaces, submodule
from kvpack.fetch.model import GitRepository

URL = "https://github.com/team/main.git"
MAIN = GitRepository(name="tiny", label="tiny 1.0", git=URL, mirrors=("https://b.example/main",))


def test_mirrors_of_the_machine_come_first_those_of_the_recipe_last() -> None:
    places = GitPlaces(
        mirrors={
            "https://github.com/": ("https://m.example/gh/", "file:///srv/git/"),
            "https://gitlab.com/": ("https://m.example/gl/",),
            "https://github.com/team/main.git": ("https://b.example/main",),
        }
    )
    assert places.of(MAIN) == (
        "https://m.example/gh/team/main.git",
        "file:///srv/git/team/main.git",
        "https://b.example/main",
        URL,
    )


def test_a_source_of_the_command_line_is_the_only_place() -> None:
    places = GitPlaces(mirrors={URL: ("https://m.example/x",)}, supplied={"tiny": "file:///x"})
    assert places.of(MAIN) == ("file:///x",)
    other = MAIN.model_copy(update={"name": "tiny/extern/sub"})
    assert "file:///x" not in places.of(other)


@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        (URL, "../sub.git", "https://github.com/team/sub.git"),
        (URL, "../../other/sub", "https://github.com/other/sub"),
        (URL, "./sub", f"{URL}/sub"),
        (f"{URL}/", "../sub", "https://github.com/team/sub"),
        (URL, "../../../../sub", "https://github.com/sub"),
        ("ssh://git@x.example/a/b", "../c", "ssh://git@x.example/a/c"),
        (URL, "https://gitlab.com/x/y.git", "https://gitlab.com/x/y.git"),
    ],
)
def test_the_url_of_a_submodule(base: str, url: str, expected: str) -> None:
    parent = MAIN.model_copy(update={"git": base})
    found, fault = submodule(parent, "extern/sub", url, (base,))
    assert found is not None, fault
    assert found.git == expected
    assert found.name == "tiny/extern/sub"
    assert found.label == "submodule extern/sub of tiny 1.0"


def test_a_relative_submodule_lies_beside_each_place_of_its_parent() -> None:
    places = (URL, "https://b.example/git/main", "file:///srv/main")
    found, _ = submodule(MAIN, "extern/sub", "../sub.git", places)
    assert found is not None
    assert (found.git, *found.mirrors) == (
        "https://github.com/team/sub.git",
        "https://github.com/team/sub.git",
        "https://b.example/git/sub.git",
        "file:///srv/sub.git",
        "file:///srv/main/extern/sub",
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("--upload-pack=touch x", "an option"),
        ("-u./x", "an option"),
        ("ext::sh -c id", "a space"),
        ("ext::sh", "not a URL"),
        ("file:///etc", "'file' is not allowed"),
        ("/etc", "not a URL"),
        ("git@github.com:x/y", "ssh://git@github.com/x/y"),
        ("http://x.example/y", "http, although"),
        ("https://u:p@x.example/y", "credentials"),
        ("", "not a URL"),
        ("../x\nurl = y", "control character"),
    ],
)
def test_hostile_submodules(url: str, words: str) -> None:
    found, fault = submodule(MAIN, "extern/sub", url, (URL,))
    assert found is None
    assert words in fault


def test_http_below_http() -> None:
    parent = MAIN.model_copy(update={"git": "http://127.0.0.1/main"})
    found, _ = submodule(parent, "s", "http://127.0.0.1/sub", ())
    assert found is not None
