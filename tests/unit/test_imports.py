"""The import law of ``kvpack/__init__.py`` and docs/architecture.md, held over the import graph."""

import ast
import functools
import json
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

import kvpack
from kvpack.cli.main import COMMANDS

PACKAGE = Path(kvpack.__file__).parent
REPOSITORY = Path(__file__).parents[2]
GIT = shutil.which("git")

VOCABULARY = ["kvpack.errors", "kvpack.names", "kvpack.base", "kvpack.report"]
"""Each may import those before it."""
STAGES = ["recipe", "lock", "fetch", "build", "audit", "publish", "resolve", "doctor"]
"""In the order in which the data flows."""
VALUES = {
    "kvpack.recipe.model": "Recipe and Target: what to build",
    "kvpack.recipe.prove": "Prove: what a wheel must show",
    "kvpack.recipe.versions": "version ranges",
    "kvpack.recipe.source": "where a source lies, as a recipe writes it",
    "kvpack.recipe.steps": "what runs before the back end, and what a log may not say",
    "kvpack.recipe.roots": "Roots: which builder roots exist, data that the package carries",
    "kvpack.recipe.toolkits": "Toolkits: what lies over a root, data that the package carries",
    "kvpack.recipe.toolkitimage": "ToolkitImage: a folder of an image, as recipes name it",
    "kvpack.recipe.torch": "minor versions of torch",
    "kvpack.recipe.golang": "Go modules, as recipes name them",
    "kvpack.lock.model": "Lock and Inputs: exactly which bytes",
    "kvpack.lock.source": "what a lock says about sources and patches",
    "kvpack.lock.gofile": "files of Go modules, as a lock names them",
    "kvpack.fetch.model": "Wanted: a locked file and its place",
    "kvpack.build.model": "BuildPlan and BuiltWheel",
    "kvpack.audit.model": "WheelFacts and AuditReport",
    "kvpack.publish.model": "Release, Listing and State: what a storage holds",
    "kvpack.resolve.model": "Claims and ConflictReport: who owns which path",
    "kvpack.resolve.families": "Families: data that the package carries",
}
"""What later stages may import of earlier ones. No verb is here: only cli joins stages."""
PURE = {
    "kvpack.recipe.model", "kvpack.recipe.prove", "kvpack.recipe.versions",
    "kvpack.recipe.source",
    "kvpack.recipe.roots", "kvpack.recipe.toolkits", "kvpack.recipe.expand",
    "kvpack.recipe.toolkitimage", "kvpack.recipe.fitting", "kvpack.lock.toolkit",
    "kvpack.recipe.hints", "kvpack.recipe.survey", "kvpack.recipe.about", "kvpack.recipe.facts",
    "kvpack.recipe.draft", "kvpack.recipe.page",
    "kvpack.recipe.steps", "kvpack.recipe.library", "kvpack.recipe.option",
    "kvpack.recipe.host", "kvpack.recipe.markdown",
    "kvpack.recipe.build", "kvpack.recipe.torch", "kvpack.recipe.extensions",
    "kvpack.build.torch", "kvpack.build.settings", "kvpack.lock.torch",
    "kvpack.lock.roots",
    "kvpack.lock.wraps", "kvpack.build.nvcc",
    "kvpack.recipe.golang", "kvpack.recipe.gofaults", "kvpack.lock.gofile",
    "kvpack.lock.gomodules",
    "kvpack.recipe.hostpage", "kvpack.build.steps", "kvpack.build.ignored",
    "kvpack.build.prefix",
    "kvpack.lock.model", "kvpack.lock.source", "kvpack.lock.expect", "kvpack.lock.check",
    "kvpack.lock.diff",
    "kvpack.fetch.model",
    "kvpack.audit.model", "kvpack.audit.checks", "kvpack.audit.elf_checks", "kvpack.audit.layout",
    "kvpack.audit.evidence", "kvpack.audit.conditions", "kvpack.audit.prove",
    "kvpack.audit.licences",
    "kvpack.publish.model", "kvpack.publish.channel", "kvpack.publish.index",
    "kvpack.publish.human", "kvpack.publish.getspec", "kvpack.publish.bundletext",
    "kvpack.publish.statement",
    "kvpack.publish.envelope", "kvpack.publish.imageparts",
    "kvpack.resolve.model", "kvpack.resolve.claims", "kvpack.resolve.ownership",
    "kvpack.resolve.wheels", "kvpack.resolve.graph", "kvpack.resolve.majors",
    "kvpack.resolve.torch", "kvpack.resolve.environment",
    "kvpack.doctor.model", "kvpack.doctor.port", "kvpack.doctor.machine",
    "kvpack.doctor.environment", "kvpack.doctor.rules", "kvpack.doctor.patient",
    "kvpack.doctor.mends", "kvpack.doctor.packages", "kvpack.doctor.integrity",
    "kvpack.doctor.libraries", "kvpack.doctor.host", "kvpack.doctor.rdma",
    "kvpack.doctor.memory", "kvpack.doctor.amd", "kvpack.doctor.diagnose",
    "kvpack.doctor.mooncake", "kvpack.doctor.mooncake_addresses",
    "kvpack.doctor.mooncake_environment", "kvpack.doctor.mooncake_json",
    "kvpack.doctor.mooncake_keys", "kvpack.doctor.mooncake_model",
    "kvpack.doctor.mooncake_offload", "kvpack.doctor.mooncake_owner",
    "kvpack.doctor.mooncake_programs", "kvpack.doctor.mooncake_rules",
    "kvpack.doctor.mooncake_sizes", "kvpack.doctor.mooncake_wheel",
}  # fmt: skip
"""Values and decisions: they touch no tool."""
ONLY = {
    "subprocess": {
        "kvpack.tools.process": "the one place that starts programs",
        "kvpack.audit.trial": "runs inside the container, without kvpack",
    },
    "httpx2": {"kvpack.tools.http": "the one place that speaks HTTP"},
    "obstore": {"kvpack.tools.objects": "the one place that speaks to object storage"},
    "cryptography": {
        "kvpack.tools.signing": "the one place that knows keys and signatures",
        "kvpack.tools.certificates": "reads whom the certificate of a keyless signature names",
    },
    "sigstore": {},
    "socket": {},
    "http": {},
    "urllib.request": {},
    "pickle": {},
    "tarfile": {
        "kvpack.tools.packed": "reads archives, for safe unpacking",
        "kvpack.tools.tree": "writes a source tree as one canonical tar",
        "kvpack.build.deb": "reads the data.tar of a Debian package, member by member",
        "kvpack.build.root": "writes the builder root's image",
        "kvpack.build.imagefolder": "writes a folder of a toolkit's image over a root",
        "kvpack.build.imagelayers": "reads the layers of a toolkit's image, member by member",
        "kvpack.build.library": "reads what a container gives out, member by member",
        "kvpack.build.pure": "reads what a container gives out, member by member",
        "kvpack.build.compare": "compares members",
        "kvpack.audit.smoke": "writes what a container is given",
    },
    "zipfile": {
        "kvpack.tools.packed": "reads archives, for safe unpacking",
        "kvpack.audit.archive": "describes a wheel, unpacks nothing",
        "kvpack.audit.wheel": "describes a wheel, unpacks nothing",
        "kvpack.audit.smoke": "reads entry points",
        "kvpack.build.compare": "compares members",
        "kvpack.build.merge": "merges wheels inside the builder root",
        "kvpack.build.pytools": "takes apart locked wheels",
        "kvpack.build.run": "reads the evidence back from the wheel that a build left",
        "kvpack.build.stamp": "packs wheels, also inside the builder root",
        "kvpack.build.toolkit": "lays out the wheels of a toolkit",
        "kvpack.cli.make": "copies a wheel's bill of materials out of it",
        "kvpack.cli.remote": "reads one file of the locked cibuildwheel",
        "kvpack.publish.attest": "reads what a wheel carries about its build",
        "kvpack.publish.gather": "takes METADATA out of a wheel, which is published beside it",
        "kvpack.resolve.ranged": "reads two members of a wheel, unpacks nothing",
    },
}
"""Modules that few may import, each with its reason."""
UNPACKING = {"extractall": {"kvpack.build.pytools"}, "extract": set(), "unpack_archive": set()}
"""Functions that write what an archive says. Elsewhere ``kvpack.tools.archive`` does."""
LATE = {
    "cryptography",
    "obstore",
    "pydantic",
    "httpx2",
    "rich",
    "elftools",
    "packaging",
    "tomlkit",
    "cyclonedx",
    "auditwheel",
    "uv",
}
"""What ``kvpack --help`` must not load."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def read(name: str) -> tuple[list[str], frozenset[str]]:
    """Every module that a module imports, at its top, in functions and for types; and attributes.

    Read when a test asks: both workers collect.
    """
    imports, attributes = set(), set()
    for node in ast.walk(ast.parse(FILES[name].read_bytes())):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            module = str(node.module)
            below = [f"{module}.{alias.name}" for alias in node.names]
            imports |= {full if full in FILES else module for full in below}
        elif isinstance(node, ast.Attribute):
            attributes.add(node.attr)
    return sorted(imports), frozenset(attributes)


def imports_of(name: str) -> list[str]:
    return read(name)[0]


def stage_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def allowed(importer: str, imported: str) -> bool:
    """The law, for two modules of kvpack."""
    mine, theirs = stage_of(importer), stage_of(imported)
    if importer in VOCABULARY:
        return imported in VOCABULARY[: VOCABULARY.index(importer)]
    if importer in {"kvpack", "kvpack.__main__"} or mine == "cli":
        return importer != "kvpack"
    if imported in VOCABULARY:
        return mine != "tools" or imported != "kvpack.base"
    if theirs in {mine, "tools"}:
        return mine == theirs or (mine in STAGES and importer not in PURE)
    earlier = STAGES[: STAGES.index(mine)] if mine in STAGES else []
    return theirs in earlier and imported in VALUES


def test_every_module_is_known_to_the_law() -> None:
    known = {"", "__main__", "console", "cli", "tools", *STAGES}
    known |= {name.removeprefix("kvpack.") for name in VOCABULARY}
    assert {stage_of(name) for name in FILES} <= known
    assert set(FILES) >= {*VALUES, *PURE, *VOCABULARY}


@pytest.mark.parametrize("name", FILES)
def test_the_import_law(name: str) -> None:
    ours = [found for found in imports_of(name) if found.split(".")[0] == "kvpack"]
    assert [found for found in ours if not allowed(name, found)] == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("kvpack.lock.pin", "kvpack.fetch.model"),
        ("kvpack.build.run", "kvpack.fetch.download"),
        ("kvpack.build.run", "kvpack.recipe.load"),
        ("kvpack.tools.files", "kvpack.recipe.model"),
        ("kvpack.tools.files", "kvpack.base"),
        ("kvpack.lock.model", "kvpack.tools.files"),
        ("kvpack.audit.wheel", "kvpack.console"),
        ("kvpack.audit.wheel", "kvpack.cli.main"),
        ("kvpack.names", "kvpack.base"),
        ("kvpack.console", "kvpack.tools.files"),
        ("kvpack.resolve.claims", "kvpack.tools.http"),
        ("kvpack.resolve.ranged", "kvpack.audit.archive"),
        ("kvpack.audit.wheel", "kvpack.resolve.model"),
    ],
)
def test_the_law_forbids(importer: str, imported: str) -> None:
    assert not allowed(importer, imported)


@pytest.mark.parametrize("module", ONLY)
def test_who_may_import(module: str) -> None:
    found = {
        name
        for name in FILES
        if any(one == module or one.startswith(f"{module}.") for one in imports_of(name))
    }
    assert found == set(ONLY[module])


@pytest.mark.parametrize("function", UNPACKING)
def test_who_may_unpack(function: str) -> None:
    found = {name for name in FILES if function in read(name)[1]}
    assert found == UNPACKING[function]


def test_there_are_no_import_cycles() -> None:
    """Imports for types included: they are read as much as the others."""
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name in done or name not in FILES:
            return
        for found in imports_of(name):
            if found != "kvpack":  # __version__: the package itself imports nothing
                visit(found, (*way, name))
        done.add(name)

    for name in FILES:
        visit(name, ())
    assert not [found for found in imports_of("kvpack") if found.startswith("kvpack")]


@pytest.mark.parametrize("name", FILES)
def test_modules_are_short_enough_to_read(name: str) -> None:
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 300


def test_help_loads_nothing_heavy() -> None:
    """Also with every command's own arguments filled in."""
    program = (
        "import json, sys\n"
        "from kvpack.cli.main import COMMANDS, make_parser\n"
        "make_parser(None).format_help()\n"
        "plain = sorted(sys.modules)\n"
        "for name in COMMANDS: make_parser(name).format_help()\n"
        "print(json.dumps([plain, sorted(sys.modules)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, cwd=PACKAGE.parent
    )
    plain, filled = (set(names) for names in json.loads(done.stdout))
    assert "kvpack.cli.main" in plain
    assert not plain & LATE
    assert not filled & LATE
    assert not {name for name in plain if name.startswith("kvpack.cli.")} & {
        f"kvpack.cli.{command}" for command in COMMANDS
    }


def test_every_folder_of_tests_is_collected(pytestconfig: pytest.Config) -> None:
    """pytest's own list of folders to leave out has ``build``, as this package has."""
    patterns = pytestconfig.getini("norecursedirs")
    folders = {path.parent.name for path in (REPOSITORY / "tests").rglob("test_*.py")}
    assert "build" in folders
    assert [name for name in folders for one in patterns if fnmatch(name, one)] == []


# -- what no committed file holds -------------------------------------------------------------

FORBIDDEN = [
    host + end
    for host, end in (
        ("pypi", ".org"),
        ("files.pythonhosted", ".org"),
        ("deb.debian", ".org"),
        ("security.debian", ".org"),
        ("registry.npmjs", ".org"),
        ("/work/", "main"),
    )
]
"""Hosts of registries (configuration of the machine), and paths of the machine this was made on."""


def committed() -> list[Path]:
    """Files that git knows or would take."""
    assert GIT is not None
    own = ("-c", "safe.directory=*")  # whoever owns the checkout: a container's root may not
    done = subprocess.run(
        [GIT, *own, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
    )
    paths = [REPOSITORY / name.decode() for name in done.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def test_no_file_names_a_registry_or_this_machine() -> None:
    files = committed()
    assert REPOSITORY / "pyproject.toml" in files
    found = [
        f"{path.relative_to(REPOSITORY)}: {text}"
        for path in files
        for text in FORBIDDEN
        if text.encode() in path.read_bytes()
    ]
    assert found == []
