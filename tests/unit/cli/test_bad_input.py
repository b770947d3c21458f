"""Bad input, one case each: the right exit code, a message that helps, nothing lost or written."""

import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvpack import errors
from kvpack.errors import KvpackError
from kvpack.lock.file import seal, write_lock
from tests.unit.audit.wheels import Wheel, record_line
from tests.unit.catalogues import PATCH
from tests.unit.cli.face import SELECTED, Place

Prepare = Callable[[Place], list[str]]


@dataclass(frozen=True)
class Case:
    """What is done to a sound catalogue, and what the program must say then."""

    prepare: Prepare
    """Spoils something; returns the words of the command line."""
    error: type[KvpackError]
    says: tuple[str, ...]
    """Fragments of the message: what, where, what next."""


CASES: dict[str, Case] = {}


def case(name: str, error: type[KvpackError], *says: str) -> Callable[[Prepare], Prepare]:
    """Add a row to the table."""

    def add(prepare: Prepare) -> Prepare:
        assert name not in CASES
        CASES[name] = Case(prepare, error, says)
        return prepare

    return add


def words(name: str, line: str, error: type[KvpackError], *says: str) -> None:
    """A row where only the command line is wrong."""
    CASES[name] = Case(lambda _place: line.split(), error, says)


# -- the command line ---------------------------------------------------------------------------

words(
    "unknown command",
    "biuld tiny",
    errors.UsageError,
    "no command 'biuld'",
    "did you mean 'build'?",
    "kvpack --help",
)
words(
    "unknown command before a known one",
    "frob list",
    errors.UsageError,
    "no command 'frob'",
    "known here: audit, build",
    "kvpack --help",
)
words(
    "unknown option",
    "build tiny --glib 2.36",
    errors.UsageError,
    "kvpack build: unrecognized arguments: --glib",
    "did you mean '--glibc'?",
    "kvpack build --help",
)
words(
    "option without its value",
    "build tiny --glibc",
    errors.UsageError,
    "--glibc",
    "kvpack build --help",
)
words("no recipe named", "build", errors.UsageError, "required: RECIPE", "kvpack build --help")
words("color that is none", "--color sometimes list", errors.UsageError, "--color", "sometimes")
words(
    "glibc that is none",
    "build tiny --glibc 3",
    errors.UsageError,
    "--glibc does not take '3'",
    "a floor is written as 2.39",
    "kvpack show",
)
words(
    "python that is none",
    "plan tiny --python cp311",
    errors.UsageError,
    "--python does not take 'cp311'",
    "a Python is written as 3.11",
)
words(
    "arch that is none",
    "plan tiny --arch x86",
    errors.UsageError,
    "--arch does not take 'x86'",
    "did you mean 'x86_64'?",
)
words(
    "cuda that is none",
    "build tiny --cuda 11",
    errors.UsageError,
    "--cuda does not take '11'",
    "known majors: 12, 13",
)
words(
    "rocm that is none",
    "build tiny --rocm six",
    errors.UsageError,
    "--rocm does not take 'six'",
    "known majors: 7",
)
words(
    "version the recipe lacks",
    "build tiny --version 3.0",
    errors.TargetUnavailable,
    "recipe tiny has no version '3.0'",
    "did you mean '1.0'",
    "kvpack lock tiny",
)
words(
    "floor the recipe lacks",
    "build tiny --glibc 2.40",
    errors.TargetUnavailable,
    "does not offer glibc '2.40'",
    "a wheel for --glibc 2.39 also loads",
    "targets.glibc",
)
words(
    "python no root has there",
    "build tiny --python 3.13 --glibc 2.36",
    errors.TargetUnavailable,
    "no builder root has Python 3.13 at or below glibc 2.36",
    "debian-trixie: glibc 2.41",
)
words(
    "accelerator not offered",
    "build tiny --rocm 7",
    errors.TargetUnavailable,
    "does not offer accelerator 'rocm7'",
    "cpu, cuda12",
)
words(
    "unknown recipe",
    "show tinny",
    errors.CatalogueError,
    "no recipe named 'tinny'",
    "did you mean 'tiny'?",
    "kvpack list",
)
words(
    "recipe outside the catalogue",
    "build ../tiny",
    errors.CatalogueError,
    "no recipe named '../tiny'",
    "kvpack list",
)
words(
    "lock --check with --upgrade",
    "lock --check --upgrade pip",
    errors.UsageError,
    "--check and --upgrade exclude each other",
    "kvpack lock --help",
)
words(
    "lock --offline",
    "--offline lock tiny",
    errors.UsageError,
    "--offline forbids",
    "kvpack lock --check works offline",
)
words(
    "offline with an empty store",
    "--offline build tiny --glibc 2.36",
    errors.OfflineMissing,
    "--offline forbids fetching",
    "pypi: packages/",
    "tiny-1.0.tar.gz",
    "kvpack fetch",
)
words(
    "offline fetch",
    "fetch tiny --offline",
    errors.OfflineMissing,
    "--offline forbids fetching",
    "debian: pool/main/c/cmake/",
    "kvpack fetch RECIPE",
)
words(
    "diff of an absent file",
    "diff absent.toml tiny",
    errors.UsageError,
    "there is no lock file absent.toml",
    "kvpack diff",
)
words(
    "diff of a recipe without git",
    "diff tiny",
    errors.ToolFailed,
    "git is not installed",
    "install it",
)
words(
    "diff of a recipe that is not locked",
    "diff tiny teeny",
    errors.LockMissing,
    "there is no lock/teeny.toml",
    "kvpack lock teeny",
)
words(
    "schema of an unknown format",
    "schema wheel",
    errors.UsageError,
    "invalid choice: 'wheel'",
    "kvpack schema --help",
)
words(
    "unknown store action",
    "store clean",
    errors.UsageError,
    "invalid choice: 'clean'",
    "kvpack store --help",
)
words(
    "audit --run without a recipe",
    "audit --run x.whl",
    errors.UsageError,
    "--run needs --recipe",
    "the clean environment",
    "kvpack audit --run --recipe NAME WHEEL",
)
words(
    "audit of a floor that is none",
    "audit x.whl --glibc new",
    errors.UsageError,
    "--glibc does not take 'new'",
    "a floor is written as 2.39",
)
words(
    "audit of an absent file",
    "audit absent.whl",
    errors.UsageError,
    "absent.whl: No such file or directory",
    "check the path",
)


@case("an empty selector", errors.UsageError, "--glibc", "names nothing", "leave the option out")
def _(place: Place) -> list[str]:
    del place
    return ["build", "tiny", "--glibc", ""]


# -- catalogues and recipes ---------------------------------------------------------------------


@case("no catalogue", errors.CatalogueError, "no catalogue at", "recipes/", "--root DIR")
def _(place: Place) -> list[str]:
    return ["--root", str(place.folder), "list"]


@case("a root that is absent", errors.CatalogueError, "no catalogue at", "absent", "--root DIR")
def _(place: Place) -> list[str]:
    return ["list", "--root", str(place.folder / "absent")]


@case("unknown key in a recipe", errors.RecipeInvalid,
      "recipes/tiny.toml: targets.glib: unknown key 'glib'", "did you mean 'glibc'?",
      "kvpack check tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit("[targets]", "[targets]\nglib = []")
    return ["plan", "tiny"]


@case("wrong type in a recipe", errors.RecipeInvalid,
      "recipes/tiny.toml: targets.glibc[0]: must be a string (found 2.36)",
      'write it in quotes: "2.36"')  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit('glibc = ["2.36", "2.39"', 'glibc = [2.36, "2.39"')
    return ["build", "tiny"]


@case("many faults in a recipe", errors.RecipeInvalid, "recipes/tiny.toml has 3 faults",
      "summary: required", "versions.x: 'x' is not a version", "patches[0].why: must not be empty",
      "mend them, then: kvpack check tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit('summary = "A package with one of everything"', "")
    place.tiny.edit('[versions."1.0"]', '[versions.x]\nsource = { sdist = "x" }\n[versions."1.0"]')
    place.tiny.edit('why = "it is needed"', 'why = ""')
    return ["show", "tiny"]


@case("a patch is missing", errors.RecipeInvalid,
      "recipes/tiny.toml: patches[0].file: patches/tiny/first.patch does not exist",
      "did you mean 'second.patch'?")  # fmt: skip
def _(place: Place) -> list[str]:
    (place.root / "patches" / "tiny" / "first.patch").unlink()
    return ["build", "tiny"]


@case("binary garbage as a recipe", errors.RecipeInvalid,
      "recipes/tiny.toml: not TOML", "strings stand in quotes", "kvpack check tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.recipe_file.write_bytes(b"\x7fELF\x02\x01\x01\x00\x00")
    return ["check", "tiny"]


@case("a recipe that is no UTF-8", errors.RecipeInvalid, "recipes/tiny.toml: not UTF-8 text",
      "kvpack check tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.recipe_file.write_bytes("name = 'ö'".encode("latin-1"))
    return ["show", "tiny"]


@case("an empty recipe", errors.RecipeInvalid, "recipes/tiny.toml: name: required, but missing",
      "add 'name' here")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.recipe_file.write_bytes(b"")
    return ["plan", "tiny"]


@case("a recipe of a thousand brackets", errors.RecipeInvalid, "recipes/tiny.toml: not TOML",
      "recursion", "kvpack check tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.recipe_file.write_text("x = " + "[" * 9000)
    return ["plan", "tiny"]


@case("a recipe that is a loop of links", errors.RecipeInvalid,
      "recipes/tiny.toml: cannot be read: Too many levels of symbolic links",
      "kvpack check tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.recipe_file.unlink()
    place.tiny.recipe_file.symlink_to("tiny.toml")
    return ["show", "tiny"]


@case("a recipe that is a folder", errors.RecipeInvalid,
      "recipes/tiny.toml: cannot be read: Is a directory", "a recipe is a file")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.recipe_file.unlink()
    place.tiny.recipe_file.mkdir()
    return ["build", "tiny"]


@case("one bad recipe among good ones", errors.RecipeInvalid, "recipes/bad.toml has", "tiny: valid",
      "kvpack check bad")  # fmt: skip
def _(place: Place) -> list[str]:
    (place.root / "recipes" / "bad.toml").write_text("schema = 1\n")
    return ["check"]


@case(
    "a recipe copied under another name",
    errors.RecipeInvalid,
    "recipes/copy.toml: name: the name 'tiny' is not the file's",
    "rename one of them: tiny.toml",
)
def _(place: Place) -> list[str]:
    shutil.copy(place.tiny.recipe_file, place.root / "recipes" / "copy.toml")
    return ["plan", "copy"]


# -- locks --------------------------------------------------------------------------------------


@case("no lock", errors.LockMissing, "there is no lock/tiny.toml", "never locked",
      "kvpack lock tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.lock_file.unlink()
    return ["build", "tiny"]


@case("a toolkit whose registry did not answer", errors.LockMissing, "the lock is incomplete",
      "rocm7: the digest of docker.io/rocm/dev-almalinux-8:7.2.1-complete is not known",
      "build.toolkit.rocm7 = []")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit('cuda12 = "tiny-cu12"', 'rocm7 = "tiny-rocm7"')
    place.tiny.edit('["cpu", "cuda12"]', '["cpu", "rocm7"]')
    place.tiny.edit("per-accelerator = { cuda12 = false }", "")
    place.tiny.lock()
    return ["build", "tiny", "--rocm", "7"]


@case("a component that the toolkit lacks", errors.RecipeInvalid, "has 1 fault",
      "build.toolkit: cuda12 has no component 'nvcc'", "neither nvcc nor cicc",
      "build.toolkit.cuda12 = […]")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit("[build]", '[build]\ntoolkit = ["runtime", "nvcc"]')
    return ["lock", "tiny"]


@case("an edited lock", errors.LockInvalid, "lock/tiny.toml contradicts itself", "edited by hand",
      "lock/tiny.toml: digest: sha256:", "git checkout lock/tiny.toml")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit_lock("tiny-1.0.tar.gz", "tiny-1.1.tar.gz")
    return ["build", "tiny"]


@case("a lock with a digest changed", errors.LockInvalid, "contradicts itself", "kvpack lock tiny")
def _(place: Place) -> list[str]:
    digest = place.tiny.lock().wheels[0].sha256
    place.tiny.edit_lock(digest, "0" * 64)
    return ["lock", "--check"]


@case("a lock with a merge conflict", errors.LockInvalid, "lock/tiny.toml cannot be read",
      "not TOML", "conflict markers", "git checkout lock/tiny.toml")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit_lock("[[source]]", "<<<<<<< HEAD\n[[source]]")
    return ["plan", "tiny"]


@case("an unknown key in a lock", errors.LockInvalid, "lock/tiny.toml: source[0].siz: unknown key",
      "did you mean 'size'?", "kvpack lock tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit_lock("size = 1234", "siz = 1234")
    return ["check"]


@case("a lock of the future", errors.LockInvalid, "lock/tiny.toml: schema: 9 is not one of",
      "another version of kvpack wrote it", "known here: 1")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit_lock("schema = 1", "schema = 9")
    return ["plan", "tiny"]


@case("the lock of another recipe", errors.LockInvalid, "lock/other.toml is the lock of recipe",
      "'tiny'", "kvpack lock other")  # fmt: skip
def _(place: Place) -> list[str]:
    text = place.tiny.recipe_file.read_text().replace('name = "tiny"', 'name = "other"', 1)
    (place.root / "recipes" / "other.toml").write_text(text)
    shutil.copytree(place.root / "patches" / "tiny", place.root / "patches" / "other")
    shutil.copy(place.tiny.lock_file, place.root / "lock" / "other.toml")
    return ["build", "other"]


@case("an empty lock", errors.LockInvalid, "lock/tiny.toml: recipe: required, but missing",
      "kvpack lock tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.lock_file.write_bytes(b"")
    return ["lock", "--check"]


@case("a lock that is a folder", errors.UsageError, "lock/tiny.toml: Is a directory", "check the")
def _(place: Place) -> list[str]:
    place.tiny.lock_file.unlink()
    place.tiny.lock_file.mkdir()
    return ["plan", "tiny"]


@case("a patch was edited", errors.LockDrift, "lock/tiny.toml no longer matches recipes/tiny.toml",
      "patches: first.patch has other bytes than the locked", "kvpack lock tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    (place.root / "patches" / "tiny" / "first.patch").write_bytes(PATCH + b"\n")
    return ["build", "tiny"]


@case("drift of several kinds", errors.LockDrift,
      "source: version 1.1 is not locked", "source: epoch 1700000500 is locked",
      "patches: patch 'third' is not locked", "patches: patch 'second' left the recipe",
      "root: debian-bookworm x86_64: packages changed (locked ['cmake'], now ['ninja-build'])",
      "requirements changed (locked [], now ['ninja'])", "kvpack lock tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    place.tiny.edit('[versions."1.0"]', '[versions."1.1"]\nsource = { sdist = "tiny" }\n'
                    '[versions."1.0"]')  # fmt: skip
    place.tiny.edit("epoch = 1700000500", "epoch = 1700000501")
    place.tiny.edit('id = "second"', 'id = "third"')
    place.tiny.edit('debian = ["cmake"]', 'debian = ["ninja-build"]\nrequires = ["ninja"]')
    return ["lock", "--check"]


@case("a lock that names no wheel", errors.LockInvalid, "closure[0].files: no wheel 'gone.whl'",
      "kvpack lock tiny")  # fmt: skip
def _(place: Place) -> list[str]:
    lock = place.tiny.lock()
    first = lock.closure[0].model_copy(update={"files": ("gone.whl",)})
    changed = lock.model_copy(update={"closure": (first, *lock.closure[1:])})
    write_lock(place.tiny.lock_file, seal(changed))
    return ["plan", "tiny"]


@case("diff with a file that is no lock", errors.LockInvalid, "recipes/tiny.toml has",
      "it is no lock", "unknown key 'name'")  # fmt: skip
def _(place: Place) -> list[str]:
    del place
    return ["diff", "lock/tiny.toml", "recipes/tiny.toml"]


# -- the store, folders, configuration ----------------------------------------------------------


@case("a corrupt blob", errors.StoreCorrupt, "1 of 1 blobs", "wrong digest", "--repair")
def _(place: Place) -> list[str]:
    digest = place.store.add_bytes(b"sound")
    path = place.store.blob_path(digest)
    path.chmod(0o644)
    path.write_bytes(b"rotten")
    return ["store", "verify"]


@case("a corrupt wheel in the store", errors.StoreCorrupt, "does not hold the bytes of its name",
      "it was removed", "run the same command again")  # fmt: skip
def _(place: Place) -> list[str]:
    wheel = place.wheel()
    place.keep(wheel)
    path = place.store.blob_path(place.store.add_file(wheel))
    path.chmod(0o644)
    path.write_bytes(wheel.read_bytes() + b"x")
    return ["build", *SELECTED]


@case(
    "a wheel that failed its audit",
    errors.AuditFailed,
    "breaks 1 rule",
    "demo/x.so [floor]",
    "needs glibc 2.99",
    "was not written to the output folder",
    "build it on an older root",
)
def _(place: Place) -> list[str]:
    finding = {"severity": "error", "check": "floor", "place": "demo/x.so",
               "message": "needs glibc 2.99", "hint": "build it on an older root"}  # fmt: skip
    place.keep(place.wheel(), {"passed": False, "counts": {}, "findings": [finding]})
    return ["build", *SELECTED]


@case(
    "no container engine",
    errors.EngineMissing,
    "no container engine: podman and docker not found on PATH",
    "builds run in a container",
    "apt-get install podman",
)
def _(place: Place) -> list[str]:
    place.mirror()
    return ["build", *SELECTED]


@case(
    "a corrupt source in the store",
    errors.StoreCorrupt,
    "does not hold the bytes of its name",
    "run the same command again",
)
def _(place: Place) -> list[str]:
    wheel = place.wheel()
    place.keep(wheel, {})
    (path,) = (place.store.root / "audits").rglob("*.json")
    path.unlink()
    blob = place.store.blob_path(place.store.add_file(wheel))
    blob.chmod(0o644)
    blob.write_bytes(b"rotten")
    return ["build", *SELECTED]


@case("a store that is a file", errors.UsageError, "store.txt is a file", "--store DIR")
def _(place: Place) -> list[str]:
    path = place.folder / "store.txt"
    path.write_text("x")
    return ["--store", str(path), "store", "verify"]


@case("a store below a file", errors.UsageError, "Not a directory", "check the path")
def _(place: Place) -> list[str]:
    path = place.folder / "store.txt"
    path.write_text("x")
    return ["--store", str(path / "deep"), "plan", "tiny"]


@case("an output folder that is a file", errors.UsageError, "--out wheels.txt", "is a file",
      "--out DIR")  # fmt: skip
def _(place: Place) -> list[str]:
    (place.root / "wheels.txt").write_text("x")
    return ["build", "tiny", "--out", "wheels.txt"]


@case("an output folder below a file", errors.UsageError, "--out wheels.txt/a/b", "is a file")
def _(place: Place) -> list[str]:
    (place.root / "wheels.txt").write_text("x")
    return ["build", "tiny", "--out", "wheels.txt/a/b"]


@case("a compiler cache that is a file", errors.UsageError, "--compiler-cache", "is a file")
def _(place: Place) -> list[str]:
    (place.root / "cache.txt").write_text("x")
    return ["build", "tiny", "--compiler-cache", "cache.txt"]


@case("unknown keys in kvpack.toml", errors.ConfigInvalid, "kvpack.toml has 3 faults",
      "registries.pypi.idnex: unknown key 'idnex'", "did you mean 'index'?",
      "registries.npm: unknown key 'npm'", "registries.debian.mirrors",
      "run the same command again")  # fmt: skip
def _(place: Place) -> list[str]:
    text = '[registries.pypi]\nidnex = "x"\n[registries.npm]\n[registries.debian]\nmirrors = 3\n'
    (place.root / "kvpack.toml").write_text(text)
    return ["fetch", "tiny", "--glibc", "2.36"]


@case("a mirror that is no URL", errors.ConfigInvalid, "kvpack.toml has 1 fault",
      "registries.pypi.files.0", "not an http, https or file URL")  # fmt: skip
def _(place: Place) -> list[str]:
    (place.root / "kvpack.toml").write_text('[registries.pypi]\nfiles = ["mirror"]\n')
    return ["fetch", "tiny"]


@case("a kvpack.toml that is no TOML", errors.ConfigInvalid, "kvpack.toml", "not TOML",
      "correct what is listed")  # fmt: skip
def _(place: Place) -> list[str]:
    (place.root / "kvpack.toml").write_text("[registries")
    return ["fetch", "tiny"]


@case("mirrors that do not answer", errors.FetchFailed, "could not be fetched",
      "tiny-1.0.tar.gz", "run the same command again")  # fmt: skip
def _(place: Place) -> list[str]:
    place.use(place.folder / "empty")
    return ["fetch", *SELECTED]


@case("mirrors with other bytes", errors.DigestMismatch, "could not be fetched",
      "what came is not what the lock names", "none of those bytes were kept")  # fmt: skip
def _(place: Place) -> list[str]:
    place.mirror(spoiled=b"a login page")
    return ["fetch", *SELECTED]


# -- wheels -------------------------------------------------------------------------------------


@case("audit of a folder", errors.UsageError, "Is a directory", "check the path")
def _(place: Place) -> list[str]:
    (place.folder / "demo-1.0-py3-none-any.whl").mkdir()
    return ["audit", str(place.folder / "demo-1.0-py3-none-any.whl")]


@case("a wheel that is no zip", errors.WheelInvalid, "is not a wheel that can be read",
      "demo-1.0-py3-none-any.whl", "not a zip", "fetch it again")  # fmt: skip
def _(place: Place) -> list[str]:
    path = place.folder / "demo-1.0-py3-none-any.whl"
    path.write_text("<!DOCTYPE html>")
    return ["audit", str(path)]


@case("a truncated wheel", errors.WheelInvalid, "is not a wheel that can be read", "fetch it again")
def _(place: Place) -> list[str]:
    path = place.wheel()
    path.write_bytes(path.read_bytes()[:-30])
    return ["audit", str(path)]


@case("an empty wheel", errors.WheelInvalid, "is not a wheel that can be read", "fetch it again")
def _(place: Place) -> list[str]:
    path = place.folder / "demo-1.0-py3-none-any.whl"
    path.write_bytes(b"")
    return ["audit", str(path)]


@case("a wheel with a bad name", errors.WheelInvalid, "demo.whl", "fetch it again")
def _(place: Place) -> list[str]:
    return ["audit", str(place.wheel().rename(place.folder / "demo.whl"))]


@case("a bomb", errors.WheelInvalid, "archive bomb", "do not install this wheel")
def _(place: Place) -> list[str]:
    path = place.folder / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("demo/zeros", bytes(80 << 20))
    data = path.read_bytes()
    size = (80 << 20).to_bytes(4, "little")
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, (0xFFFFFFF0).to_bytes(4, "little")))
    return ["audit", str(path)]


def _audit(place: Place, wheel: Wheel) -> list[str]:
    return ["audit", str(wheel.write(place.folder))]


@case("a wheel without RECORD", errors.AuditFailed, "demo-1.0.dist-info/RECORD",
      "the wheel has no RECORD", "pack it anew")  # fmt: skip
def _(place: Place) -> list[str]:
    return _audit(place, Wheel(without=frozenset({"RECORD"})))


@case("a RECORD that lies", errors.AuditFailed, "demo/__init__.py", "RECORD")
def _(place: Place) -> list[str]:
    lies = record_line("demo/__init__.py", b"other bytes")
    return _audit(place, Wheel(record=lies))


@case("a wheel without METADATA", errors.AuditFailed, "METADATA")
def _(place: Place) -> list[str]:
    return _audit(place, Wheel(without=frozenset({"METADATA"})))


@case("a member that leaves the wheel", errors.AuditFailed, "../../evil", "leaves the wheel",
      "do not install this wheel")  # fmt: skip
def _(place: Place) -> list[str]:
    return _audit(place, Wheel(files={"../../evil.py": b""}))


@case("audit by an unknown recipe", errors.CatalogueError, "no recipe named 'tinny'",
      "did you mean 'tiny'?")  # fmt: skip
def _(place: Place) -> list[str]:
    return ["audit", str(place.wheel()), "--recipe", "tinny"]


# -- conflicts ----------------------------------------------------------------------------------

words("conflicts of nothing", "conflicts", errors.UsageError, "nothing to judge", "--help")
words(
    "a set that is not pinned",
    "conflicts demo>=1.0",
    errors.UsageError,
    "'demo>=1.0' does not pin a version",
    "write name==version",
)
words(
    "a set with a version that is none",
    "conflicts demo==1.*",
    errors.UsageError,
    "'demo==1.*' does not pin a version",
    "write name==version",
)
words(
    "conflicts of an absent wheel",
    "conflicts absent-1.0-py3-none-any.whl",
    errors.UsageError,
    "there is no file absent-1.0-py3-none-any.whl",
    "kvpack conflicts --help",
)
words(
    "conflicts of an absent requirements file",
    "conflicts absent.txt",
    errors.UsageError,
    "there is no file absent.txt",
)
words(
    "conflicts of an absent pylock",
    "conflicts pylock.toml",
    errors.UsageError,
    "there is no file pylock.toml",
)
words(
    "conflicts for a python that is none",
    "conflicts demo==1.0 --python cp312",
    errors.UsageError,
    "--python does not take 'cp312'",
    "such as 3.12",
)
words(
    "conflicts for a glibc that is none",
    "conflicts demo==1.0 --glibc 3",
    errors.UsageError,
    "--glibc does not take '3'",
    "2.39",
)
words(
    "conflicts for an arch that is none",
    "conflicts demo==1.0 --arch x86",
    errors.UsageError,
    "--arch does not take 'x86'",
    "did you mean 'x86_64'?",
)
words(
    "conflicts with an index, offline",
    "conflicts demo==1.0 --offline",
    errors.UsageError,
    "--offline forbids",
    "name wheel files",
)
words(
    "conflicts in an absent environment",
    "conflicts --installed absent/bin/python",
    errors.ToolFailed,
    "absent/bin/python is not installed",
    "install it",
)
words(
    "conflicts in what is no Python",
    "conflicts --installed /bin/true",
    errors.UsageError,
    "/bin/true is no Python",
    "name an environment's bin/python",
)


@case("conflicts of a project that the index lacks", errors.FetchFailed,
      "no index lists a file of the project demo", "[registries.pypi] index")  # fmt: skip
def _(place: Place) -> list[str]:
    place.use(place.folder / "empty")
    return ["conflicts", "demo==1.0"]


@case("a requirements file that is not pinned", errors.UsageError,
      "set.txt, line 4: 'other' does not pin a version", "uv pip compile")  # fmt: skip
def _(place: Place) -> list[str]:
    (place.root / "set.txt").write_text("# set\ndemo==1.0 \\\n  --hash=sha256:00\nother\n")
    return ["conflicts", "set.txt"]


@case("an editable in a requirements file", errors.UsageError, "set.txt, line 1: '-e .'")
def _(place: Place) -> list[str]:
    (place.root / "set.txt").write_text("-e .\n")
    return ["conflicts", "set.txt"]


@case("a requirements file that is no text", errors.UsageError, "set.txt is not UTF-8 text")
def _(place: Place) -> list[str]:
    (place.root / "set.txt").write_bytes(b"\xff\xfe")
    return ["conflicts", "set.txt"]


@case("a pylock that is not TOML", errors.UsageError, "pylock.x.toml is not TOML", "PEP 751")
def _(place: Place) -> list[str]:
    (place.root / "pylock.x.toml").write_text("[[packages")
    return ["conflicts", "pylock.x.toml"]


@case("a pylock that is none", errors.UsageError, "pylock.toml is not a pylock", "PEP 751")
def _(place: Place) -> list[str]:
    (place.root / "pylock.toml").write_text('lock-version = "1.0"\npackages = 3\n')
    return ["conflicts", "pylock.toml"]


@case("a pylock without a wheel that fits", errors.ResolutionFailed,
      "pylock.toml: demo 1.0 has no wheel for Python 3.12, glibc 2.39",
      "it offers demo-1.0-py2-none-any.whl", "--python, --glibc, --arch")  # fmt: skip
def _(place: Place) -> list[str]:
    (place.root / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "demo"\nversion = "1.0"\n'
        'wheels = [{ path = "demo-1.0-py2-none-any.whl", hashes = { sha256 = "00" } }]\n'
    )
    return ["conflicts", "pylock.toml"]


@case("conflicts of a wheel without RECORD", errors.WheelInvalid, "it has no RECORD",
      "kvpack audit names every fault")  # fmt: skip
def _(place: Place) -> list[str]:
    return ["conflicts", str(Wheel(without=frozenset({"RECORD"})).write(place.folder))]


@case("conflicts of a wheel with a bad name", errors.WheelInvalid, "has no wheel's name")
def _(place: Place) -> list[str]:
    return ["conflicts", str(place.wheel().rename(place.folder / "demo.whl"))]


@case("conflicts of a wheel that is no zip", errors.WheelInvalid,
      "is not a wheel that can be judged", "not a zip file", "kvpack audit")  # fmt: skip
def _(place: Place) -> list[str]:
    path = place.folder / "demo-1.0-py3-none-any.whl"
    path.write_text("<!DOCTYPE html>")
    return ["conflicts", str(path)]


# -- the table ----------------------------------------------------------------------------------


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; a link is where it points."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            found[str(path)] = (
                os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            )
    return found


def test_the_table_is_long_enough() -> None:
    assert len(CASES) >= 40
    assert len({row.error for row in CASES.values()}) >= 14


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, place: Place) -> None:
    row = CASES[name]
    argv = row.prepare(place)
    before = everything(place.root)
    answer = place.run(*argv)
    shown = answer.out + answer.err
    assert answer.code == row.error.exit_code, shown
    assert "Traceback" not in shown
    for text in row.says:
        assert text in shown
    assert everything(place.root) == before


@pytest.mark.parametrize("name", CASES)
def test_bad_input_as_json(name: str, place: Place) -> None:
    row = CASES[name]
    argv = row.prepare(place)
    before = everything(place.root)
    answer = place.run(*argv, "--json")
    assert answer.code == row.error.exit_code, answer.err
    assert "Traceback" not in answer.err
    document = answer.json
    rows = [document, *document.get("recipes", []), *document.get("targets", [])]
    told = [one for one in rows if one.get("error")]
    if document["kind"] == "audit":
        (report,) = document["wheels"]
        assert document["exit-code"] == row.error.exit_code
        assert not report["passed"]
        broken = {"error": "AuditFailed", "hint": "", "faults": report.get("findings", [])}
        told = [report if "error" in report else broken]
    assert {one["error"] for one in told} == {row.error.__name__}
    for one in told:
        assert one["hint"] or any(fault["hint"] for fault in one["faults"])
    assert everything(place.root) == before
