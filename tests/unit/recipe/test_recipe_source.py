"""Where a source lies: what a recipe may write, and what is refused with which words."""

from pathlib import Path

import pytest

from kvpack.errors import RecipeInvalid
from kvpack.recipe.load import load_recipe, parse_recipe
from kvpack.recipe.source import ArchiveSource, GitSource, git_url_fault, is_ref, web_url_fault
from tests.unit.catalogues import TINY, Tiny

COMMIT = "658297c4d9d1f047a26e86fb3c646965c80b3c72"
SHA256 = "a" * 64
NO_CREDENTIALS = "credentials do not belong into a recipe: git and kvpack read them from ~/.netrc"


def faults(source: str) -> dict[str, tuple[str, str]]:
    """Faults of a recipe whose first version has this source: message and hint by key."""
    text = TINY.replace('{ sdist = "tiny" }', source, 1)
    _, found = parse_recipe(text.encode(), "recipes/tiny.toml")
    start = 'recipes/tiny.toml: versions."1.0".'
    return {one.place.removeprefix(start): (one.message, one.hint) for one in found}


@pytest.mark.parametrize(
    "source",
    [
        '{ git = "https://github.com/kvcache-ai/Mooncake.git", tag = "v0.3.14" }',
        '{ git = "ssh://git@git.example:2222/team/x", tag = "release/v1", submodules = true }',
        f'{{ git = "http://127.0.0.1:80/x", commit = "{COMMIT}" }}',
        f'{{ git = "https://x.example/x", tag = "v1", commit = "{COMMIT}" }}',
        '{ git = "https://x.example/x", tag = "v1", mirrors = ["https://y.example/x"] }',
        f'{{ archive = "https://x.example/x.tar.gz?raw=1", sha256 = "{SHA256}" }}',
    ],
)
def test_sources_that_are_taken(source: str) -> None:
    assert faults(source) == {}


@pytest.mark.parametrize(
    ("source", "key", "message", "hint"),
    [
        ('{ gti = "https://x.example/x", tag = "v1" }', "source.gti", "unknown key 'gti'",
         "did you mean 'git'?"),
        ('{ git = "https://x.example/x", tga = "v1" }', "source.tga", "unknown key 'tga'",
         "did you mean 'tag'?"),
        ('{ git = "https://x.example/x" }', "source",
         'a git source names a tag or a commit: add tag = "v1" or commit = "…"', ""),
        ('{ git = "https://x.example/x", sdist = "x" }', "source",
         "a source is one of { sdist = … }, { git = … }, { archive = … }", ""),
        ('"https://x.example/x"', "source",
         "a source is one of { sdist = … }, { git = … }, { archive = … }", ""),
        ('{ git = "https://x.example/x", commit = "658297c" }', "source.commit",
         "'658297c' has the wrong form",
         "a commit is 40 lower-case hexadecimal digits: a short one is ambiguous"),
        ('{ git = "https://x.example/x", tag = "--upload-pack=id" }', "source.tag",
         "'--upload-pack=id' is not the name of a git tag, such as v0.3.14", ""),
        ('{ git = "https://me:secret@x.example/x", tag = "v1" }', "source.git",
         f"'https://…@x.example/x': {NO_CREDENTIALS}", ""),
        ('{ git = "https://x.example/x", tag = "v1", mirrors = ["ext::sh"] }',
         "source.mirrors[0]", "'ext::sh': not a URL of one of https, http, ssh", ""),
        ('{ archive = "https://x.example/x.tgz" }', "source.sha256", "required, but missing",
         "add 'sha256' here"),
        (f'{{ archive = "ftp://x.example/x", sha256 = "{SHA256}" }}', "source.archive",
         "'ftp://x.example/x': not an http or https URL", ""),
    ],
)  # fmt: skip
def test_one_fault_of_a_source(source: str, key: str, message: str, hint: str) -> None:
    assert faults(source)[key] == (message, hint)


def test_all_faults_of_a_source_at_once() -> None:
    found = faults('{ git = "file:///srv/x", commit = "abc", tag = "a b", submodule = true }')
    assert set(found) == {"source.git", "source.commit", "source.tag", "source.submodule"}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ext::sh -c id", "a space"),
        ("ext::sh", "not a URL of one of"),
        ("-uexec", "an option"),
        ("--upload-pack=id", "an option"),
        ("ssh://-oProxyCommand=id/x", "names no host"),
        ("ssh://-o@x.example/x", "names no host"),
        ("ssh://git:secret@x.example/x", "credentials"),
        ("https://token@x.example/x", "credentials"),
        ("https:///x", "names no host"),
        ("https://x.example:port/x", "not a URL"),
        ("https://x.example/x#y", "'#'"),
        ("file:///srv/x", "'file' is not allowed"),
        ("git://x.example/x", "'git' is not allowed"),
        ("fd://17/x", "'fd' is not allowed"),
        ("git@x.example:team/x.git", "ssh://git@x.example/team/x.git"),
        ("/srv/x", "not a URL of one of"),
        ("https://x.example/\nx", "control character"),
    ],
)
def test_git_urls_that_are_refused(url: str, words: str) -> None:
    assert words in git_url_fault(url)


def test_a_file_url_is_for_the_command_line_only() -> None:
    assert git_url_fault("file:///srv/x", local=True) == ""
    assert "names this machine" in git_url_fault("file://host/x", local=True)
    assert web_url_fault("file:///srv/x.tar.gz")


@pytest.mark.parametrize("ref", ["v0.3.14", "release/v1", "1.0", "lts_2025_08_14", "main"])
def test_names_of_refs(ref: str) -> None:
    assert is_ref(ref)


@pytest.mark.parametrize(
    "ref", ["", "-u", "a..b", "a b", "a:b", "+a", "a^{}", "a/", "a.lock", "x/.y", "@{u}", "a~1"]
)
def test_what_is_no_name_of_a_ref(ref: str) -> None:
    assert not is_ref(ref)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("https://x.example/v1/x-1.0.tar.gz?download=1", "x-1.0.tar.gz"),
        ("https://x.example/", "archive"),
        ("https://x.example/.hidden@1", "hidden-1"),
    ],
)
def test_an_archive_has_a_name(url: str, file: str) -> None:
    assert ArchiveSource(archive=url, sha256=SHA256).file == file


def test_the_repository_of_a_commit_that_is_a_patch() -> None:
    text = TINY.replace('file = "first.patch"', f'commit = "{COMMIT}"')
    recipe, _ = parse_recipe(text.encode(), "recipes/tiny.toml")
    assert recipe is not None
    assert recipe.git_for(recipe.patches[0]) is None
    git = text.replace('{ sdist = "tiny" }', '{ git = "https://x.example/x", tag = "v1" }', 1)
    recipe, _ = parse_recipe(git.encode(), "recipes/tiny.toml")
    assert recipe is not None
    assert recipe.git_for(recipe.patches[0]) == GitSource(git="https://x.example/x", tag="v1")


def test_a_patch_is_from_one_place() -> None:
    text = TINY.replace('file = "first.patch"', f'file = "first.patch"\ncommit = "{COMMIT}"')
    _, found = parse_recipe(text.encode(), "recipes/tiny.toml")
    assert [one.message for one in found] == ["a patch is either a file or a commit: name one"]


def test_a_commit_as_patch_needs_a_repository(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    tiny.edit('file = "first.patch"', f'commit = "{COMMIT}"')
    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(tiny.catalogue, "tiny")
    (fault,) = caught.value.faults
    assert fault.place == "recipes/tiny.toml: patches[0].commit"
    assert fault.message == "no version has a git source to take the commit from"
