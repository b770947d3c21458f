"""What a source tree asks for, read from its texts: options, libraries, traps. Pure.

Nothing is run: regular expressions over CMake, Meson, C, Cython and setup.py find what is usual,
not everything that is possible. What they find is a guess, and is told as one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from packaging.version import InvalidVersion, Version

from kvpack.recipe.hints import Hints, Library, Words

SOURCES = (".c", ".cc", ".cpp", ".cxx", ".cu", ".cuh", ".h", ".hh", ".hpp", ".inl", ".pyx", ".pxd")
COMPILED = (*SOURCES[:5], ".pyx", ".rs", ".f90", ".hip")
"""What only a compiler makes use of; headers alone are no sign of it."""
BUILD_FILES = (
    *("CMakeLists.txt", "meson.build", "meson_options.txt", "meson.options"),
    *("setup.py", "pyproject.toml"),
)
_LICENCE = re.compile(r"(?i)(licen[cs]e|copying)\b")
_OLD_CMAKE = Version("3.5")
"""Projects that ask for an older one are refused by CMake 4 (its release notes, "Deprecated")."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """An option that the build system declares."""

    variable: str
    summary: str
    default: str
    """As written upstream: ``ON``, ``${OTHER}``; empty where nothing is."""
    file: str


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One library of the tables, and what it was guessed from."""

    library: Library
    because: str
    sure: bool
    """Whether the build seems to fail without it."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a tree's own files show."""

    cmake: tuple[Switch, ...] = ()
    meson: tuple[Switch, ...] = ()
    environment: tuple[str, ...] = ()
    """Variables that setup.py reads."""
    guesses: tuple[Guess, ...] = ()
    notes: tuple[str, ...] = ()
    requires: tuple[tuple[str, str], ...] = ()
    """Requirements that words of build files stand for, each with what was found."""
    old_cmake: str = ""
    """The file that asks for a CMake which CMake 4 no longer stands for."""
    compiled: bool = False
    """Whether there is anything to compile."""
    licences: tuple[str, ...] = ()
    """Files that look like licence texts."""


def wanted(path: str) -> bool:
    """Whether a survey reads this file."""
    return path.endswith((*SOURCES, ".cmake")) or path.rpartition("/")[2] in BUILD_FILES


def survey(names: Iterable[str], texts: Mapping[str, str], hints: Hints) -> Survey:
    """Read a tree.

    :param names: paths of all its files, below its top folder.
    :param texts: content of those that are ``wanted``.
    """
    everything = sorted(names, key=lambda path: (path.count("/"), path))
    own = [path for path in everything if _is_own(path, hints)]
    read = {path: _without_comments(path, texts[path]) for path in own if path in texts}
    cmake = {path: text for path, text in read.items() if _is_cmake(path)}
    guesses = [*_headers(read, everything, hints), *_build_files(read, hints)]
    return Survey(
        cmake=_switches(cmake, _CMAKE_OPTION),
        meson=_switches(_named(read, "meson_options.txt", "meson.options"), _MESON_OPTION),
        environment=_environment(_named(read, "setup.py")),
        guesses=_best(guesses),
        notes=tuple(f"{place}: {row.note}" for row, place in _words(read, hints) if row.note),
        requires=tuple((row.requires, at) for row, at in _words(read, hints) if row.requires),
        old_cmake=next(_old_cmake({path: texts[path] for path in texts if _is_cmake(path)}), ""),
        compiled=any(path.endswith(COMPILED) for path in everything),
        licences=tuple(path for path in own if _LICENCE.match(path.rpartition("/")[2])),
    )


def _is_own(path: str, hints: Hints) -> bool:
    return not {part.lower() for part in path.split("/")[:-1]} & set(hints.aside)


def _is_cmake(path: str) -> bool:
    return path.endswith((".cmake", "CMakeLists.txt"))


def _named(texts: Mapping[str, str], *names: str) -> dict[str, str]:
    return {path: text for path, text in texts.items() if path.rpartition("/")[2] in names}


def _without_comments(path: str, text: str) -> str:
    if path.endswith(SOURCES):
        return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    text = re.sub(r"#\[(=*)\[.*?\]\1\]", "", text, flags=re.DOTALL) if _is_cmake(path) else text
    return re.sub(r'(?m)^((?:[^"\'#\n]|"[^"\n]*"|\'[^\'\n]*\')*)#[^\n]*$', r"\1", text)


# -- options ----------------------------------------------------------------------------------

_CMAKE_OPTION = re.compile(
    r'(?mi)^[ \t]*\w*option\s*\(\s*(?P<name>[A-Za-z_]\w*)\s+"(?P<doc>(?:[^"\\]|\\.)*)"'
    r"\s*(?P<default>[^\s)]*)"
)
"""``option(NAME "doc" ON)`` (cmake-commands(7)), and functions that wrap it."""
_MESON_OPTION = re.compile(r"option\s*\(\s*'(?P<name>[^']+)'(?P<rest>[^)]*)\)")


def _switches(texts: Mapping[str, str], pattern: re.Pattern[str]) -> tuple[Switch, ...]:
    found: dict[str, Switch] = {}
    for path, text in texts.items():
        for match in pattern.finditer(text):
            doc, default = match.groupdict().get("doc"), match.groupdict().get("default")
            rest = match.groupdict().get("rest") or ""
            found.setdefault(
                match["name"],
                Switch(
                    variable=match["name"],
                    summary=_keyword(rest, "description") if doc is None else doc,
                    default=_keyword(rest, "value") if default is None else default,
                    file=path,
                ),
            )
    return tuple(found.values())


def _keyword(text: str, name: str) -> str:
    found = re.search(rf"\b{name}\s*:\s*(?:'([^']*)'|([\w.-]+))", text)
    return (found[1] or found[2] or "") if found else ""


def _environment(texts: Mapping[str, str]) -> tuple[str, ...]:
    pattern = r"(?:environ\.get\(|getenv\(|environ\[)\s*['\"]([A-Z][A-Z0-9_]+)['\"]"
    return tuple(sorted({name for text in texts.values() for name in re.findall(pattern, text)}))


def _old_cmake(texts: Mapping[str, str]) -> Iterator[str]:
    pattern = (
        r"(?i)cmake_minimum_required\s*\(\s*VERSION\s+(\d+(?:\.\d+)*)(?:\.\.\.(\d+(?:\.\d+)*))?"
    )
    for path, text in texts.items():
        for low, high in re.findall(pattern, text):
            try:
                if Version(high or low) < _OLD_CMAKE:
                    yield path
            except InvalidVersion:
                continue


# -- libraries --------------------------------------------------------------------------------

_INCLUDE = re.compile(r'(?m)^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]')
_CYTHON = re.compile(r"""cdef extern from\s+['"]<?([^'">\n]+)>?['"]""")
_FIND_PACKAGE = re.compile(r"(?i)\bfind_package\s*\(\s*(\w[\w.+-]*)([^)]*)\)")
_PKG_CONFIG = re.compile(r"(?i)\bpkg_(?:check_modules|search_module)\s*\(\s*\w+([^)]*)\)")
_DEPENDENCY = re.compile(r"\bdependency\s*\(\s*'([^']+)'([^)]*)\)")
_MADE = re.compile(r"(?i)\b\w*library\s*\(\s*(\w[\w+-]*)")
"""Targets that the tree makes itself: ``add_library(NAME`` and functions that wrap it."""
_LINKED = (
    re.compile(r"(?i)\btarget_link_libraries\s*\(([^)]*)\)"),
    re.compile(r"(?i)\bfind_library\s*\(\s*\w+([^)]*)\)"),
    re.compile(r"\blibraries\s*=\s*\[([^\]]*)\]"),
    re.compile(r"\bfind_library\s*\(([^)]*)\)"),
)


def _headers(read: Mapping[str, str], names: list[str], hints: Hints) -> Iterator[Guess]:
    """Headers that the tree includes but does not hold."""
    held = {name.rpartition("/")[2]: name for name in reversed(names)}
    ends = {"/" + name for name in names}
    for path, text in read.items():
        if not path.endswith(SOURCES):
            continue
        for header in dict.fromkeys([*_INCLUDE.findall(text), *_CYTHON.findall(text)]):
            last = header.rpartition("/")[2]
            if last in held and any(end.endswith("/" + header) for end in ends):
                continue
            because = f"#include <{header}> in {path}"
            if last in held:  # its build may put it there
                because += f", perhaps its own {held[last]}"
            yield from _of(hints, lambda one: one.headers, header, because, sure=last not in held)


def _build_files(read: Mapping[str, str], hints: Hints) -> Iterator[Guess]:
    files = {path: text for path, text in read.items() if not path.endswith(SOURCES)}
    made = {name for text in files.values() for name in _MADE.findall(text)}
    for path, text in files.items():
        for name, rest in _FIND_PACKAGE.findall(text):
            because = f"find_package({name}) in {path}"
            sure = "REQUIRED" in rest
            yield from _of(hints, lambda one: one.cmake, name, because, sure=sure)
        for rest in _PKG_CONFIG.findall(text):
            for word in re.findall(r"[A-Za-z][\w.+-]*", rest):
                because = f"pkg-config {word} in {path}"
                yield from _of(
                    hints, lambda one: one.pkgconfig, word, because, sure="REQUIRED" in rest
                )
        for name, rest in _DEPENDENCY.findall(text):
            because = f"dependency('{name}') in {path}"
            sure = "required" not in rest
            yield from _of(hints, lambda one: one.pkgconfig, name, because, sure=sure)
        for pattern in _LINKED:
            for rest in pattern.findall(text):
                for word in re.findall(r"(?:-l)?([A-Za-z][\w+-]*)", rest):
                    because = f"linked as {word!r} in {path}"
                    sure = word not in made
                    yield from _of(hints, lambda one: one.link, word, because, sure=sure)


def _of(
    hints: Hints,
    globs: Callable[[Library], tuple[str, ...]],
    word: str,
    because: str,
    *,
    sure: bool,
) -> Iterator[Guess]:
    for library in hints.libraries:
        if any(fnmatchcase(word, glob) for glob in globs(library)):
            yield Guess(library=library, because=because, sure=sure and library.assumed)
            return


def _best(guesses: Iterable[Guess]) -> tuple[Guess, ...]:
    """One guess per library: the surest, then the first."""
    found: dict[str, Guess] = {}
    for guess in guesses:
        key = guess.library.note or guess.library.title
        if key not in found or (guess.sure and not found[key].sure):
            found[key] = guess
    return tuple(found[key] for key in sorted(found))


def _words(read: Mapping[str, str], hints: Hints) -> Iterator[tuple[Words, str]]:
    for row in hints.words:
        for path, text in read.items():
            fits = fnmatchcase(path.rpartition("/")[2], row.file)
            if not (fits or (row.file == "*.cmake" and _is_cmake(path))):
                continue
            if said := next((word for word in row.words if word in text), ""):
                yield row, f"{path} has {said!r}"
                break
