"""The proof of a set, over real HTTP: what is fetched, what is remembered, what is refused."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvpack.cli.context import Context, Options
from kvpack.cli.indexes import Indexes
from kvpack.cli.pins import Pin
from kvpack.cli.proof import Prover, Question, prove
from kvpack.console import QUIET, Console
from kvpack.errors import DigestMismatch, FetchFailed, UsageError, WheelInvalid
from kvpack.fetch.registries import Registries
from kvpack.names import Accelerator
from kvpack.resolve.environment import Environment
from kvpack.resolve.model import ProofReport
from kvpack.tools.files import remove_tree
from tests.unit.audit.elves import Elf
from tests.unit.audit.wheels import Wheel
from tests.unit.fetch.upstream import Reply, Upstream, serving, sha

ENVIRONMENT = Environment("3.12", "2.28", "x86_64")
NATIVE = "py3-none-manylinux_2_28_x86_64"
CUDA13 = bytes(Elf(needed=["libcudart.so.13", "libc.so.6"]))


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with serving() as found:
        yield found


@pytest.fixture
def upstream(server: Upstream) -> Upstream:
    server.routes.clear()
    server.seen.clear()
    return server


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    """An empty index. One for all: to ask pip and to load certificates takes half a second."""
    folder = tmp_path_factory.mktemp("registries")
    (folder / "index").mkdir()
    (folder / "kvpack.toml").write_text(
        f'[registries.pypi]\nindex = "{(folder / "index").as_uri()}"\n'
    )
    environment = {"HOME": str(folder), "PATH": "", "PIP_CONFIG_FILE": os.devnull}
    console = Console(verbosity=QUIET)
    with Registries(folder, reporter=console, environment=environment) as found:
        yield found


@pytest.fixture
def context(tmp_path: Path, registries: Registries) -> Context:
    """With an empty store."""
    made = Context(Options(store=tmp_path / "store"), Console(verbosity=QUIET))
    made.registries = registries
    return made


def wheel(
    folder: Path, name: str, files: dict[str, bytes], tag: str = NATIVE, more: str = ""
) -> bytes:
    """The bytes of a wheel with these files."""
    made = Wheel(
        filename=f"{name}-1.0-{tag}.whl",
        files=files,
        dist_info=f"{name}-1.0.dist-info",
        metadata=f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{more}",
    )
    path = made.write(folder)
    data = path.read_bytes()
    path.unlink()
    return data


def served(upstream: Upstream, name: str, data: bytes, tag: str = NATIVE) -> Pin:
    url = upstream.put(f"/{name}-1.0-{tag}.whl", data)
    return Pin(name, "1.0", url, sha(data), brought_by=f"set.txt, line 1: {name}==1.0")


@pytest.fixture
def native(tmp_path: Path, upstream: Upstream) -> Pin:
    return served(upstream, "nixl", wheel(tmp_path, "nixl", {"nixl/_x.so": CUDA13}))


@pytest.fixture
def plain(tmp_path: Path, upstream: Upstream) -> Pin:
    tag = "py3-none-any"
    return served(upstream, "plain", wheel(tmp_path, "plain", {"p.py": b""}, tag), tag)


def found(report: ProofReport) -> list[tuple[str, str]]:
    return [(one.check, one.distribution) for one in report.findings]


def forget(context: Context, *kinds: str) -> None:
    for kind in kinds:
        remove_tree(context.store.root / kind)


def test_libraries_and_paths(context: Context, native: Pin, plain: Pin) -> None:
    report = prove(context, ENVIRONMENT, [native, plain], accelerator=Accelerator.CUDA12)
    assert found(report) == [("accelerator-major", "nixl")]
    assert report.findings[0].brought_by == ("set.txt, line 1: nixl==1.0",)
    assert report.provided == {"libc.so.6": "policy manylinux_2_28_x86_64"}
    assert report.distributions == (("nixl", "1.0"), ("plain", "1.0"))
    assert report.libraries
    assert not report.holds
    assert prove(context, ENVIRONMENT, [native, plain], torch="2.11.0").holds


def test_a_second_proof_reads_nothing(
    context: Context, upstream: Upstream, native: Pin, plain: Pin
) -> None:
    """Neither with the whole set's record, nor with the wheels' own, nor without their bytes."""
    first = prove(context, ENVIRONMENT, [native, plain])
    assert (first.bytes_read, first.bytes_fetched) == (
        len(upstream.routes["/plain-1.0-py3-none-any.whl"][0].body),
        len(upstream.routes[f"/nixl-1.0-{NATIVE}.whl"][0].body),
    )
    asked = len(upstream.seen)
    context.options.offline = True
    for gone in ((), ("proofs",), ("proofs", "blobs")):
        forget(context, *gone)
        again = prove(context, ENVIRONMENT, [plain, native])
        assert again == first.model_copy(update={"bytes_read": 0, "bytes_fetched": 0})
    assert len(upstream.seen) == asked
    forget(context, "proofs", "claims")
    with pytest.raises(UsageError, match="--offline forbids"):
        prove(context, ENVIRONMENT, [plain])


def test_another_question_is_another_proof(context: Context, native: Pin) -> None:
    for accelerator, holds in ((Accelerator.CUDA13, True), (Accelerator.CUDA12, False)):
        report = prove(context, ENVIRONMENT, [native], accelerator=accelerator)
        assert report.holds is holds
    assert prove(
        context, ENVIRONMENT, [native], brought_by={"nixl": ["lmcache 0.5"]}
    ).brought_by == {"nixl": ("lmcache 0.5",)}


def test_what_one_address_served_proves_nothing_about_another(
    context: Context, upstream: Upstream, plain: Pin
) -> None:
    """RECORD by ranges is not the digest's word: only verified bytes count everywhere."""
    prove(context, ENVIRONMENT, [plain])
    body = upstream.routes["/plain-1.0-py3-none-any.whl"][0].body
    mirror = upstream.put("/mirror/plain-1.0-py3-none-any.whl", body)
    asked = len(upstream.seen)
    prove(context, ENVIRONMENT, [Pin("plain", "1.0", mirror, plain.sha256)])
    assert len(upstream.seen) > asked


def test_other_bytes_than_the_index_says(
    context: Context, native: Pin, upstream: Upstream, tmp_path: Path
) -> None:
    other = wheel(tmp_path, "nixl", {"nixl/_x.so": CUDA13, "nixl/more.py": b""})
    upstream.put(f"/nixl-1.0-{NATIVE}.whl", other)
    with pytest.raises(DigestMismatch, match="other bytes than its index names"):
        prove(context, ENVIRONMENT, [native])
    assert not context.store.has(sha(other))
    path = tmp_path / f"nixl-1.0-{NATIVE}.whl"
    path.write_bytes(other)
    local = Pin("nixl", "1.0", path.as_uri(), native.sha256)
    with pytest.raises(DigestMismatch, match=f"has sha256 {sha(other)}"):
        prove(context, ENVIRONMENT, [local])


def test_a_wheel_without_a_digest_is_judged_and_not_remembered(
    context: Context, native: Pin, upstream: Upstream
) -> None:
    pin = Pin("nixl", "1.0", native.url)
    for asked in (1, 2):
        assert prove(context, ENVIRONMENT, [pin], torch="2.11").holds
        assert len(upstream.seen) == asked
    assert not (context.store.root / "proofs").exists()


def test_what_the_environment_provides_is_never_fetched(
    context: Context, upstream: Upstream, plain: Pin
) -> None:
    absent = Pin("torch", "2.11.0", upstream.url + "/torch.whl", "0" * 64)
    triton = Pin("triton", "3.0", upstream.url + "/triton.whl", "0" * 64)
    report = prove(context, ENVIRONMENT, [absent, triton, plain], torch="2.11.0", base=["triton"])
    assert report.distributions == (("plain", "1.0"),)
    assert not [path for path in upstream.paths if "/t" in path]


def test_toolkit_wheels_are_known_by_their_file_names(
    context: Context, upstream: Upstream, native: Pin, tmp_path: Path
) -> None:
    data = wheel(tmp_path, "nvidia_cuda_runtime", {"nvidia/cu13/lib/libcudart.so.13": CUDA13})
    url = upstream.put(f"/nvidia_cuda_runtime-1.0-{NATIVE}.whl", data)
    runtime = Pin("nvidia-cuda-runtime", "1.0", url, sha(data))
    report = prove(context, ENVIRONMENT, [native, runtime], accelerator=Accelerator.CUDA13)
    assert report.findings == ()
    assert report.provided["libcudart.so.13"] == "nvidia-cuda-runtime 1.0"
    assert not context.store.has(runtime.sha256)


def test_a_wheel_for_any_platform_that_holds_libraries(
    context: Context, upstream: Upstream, tmp_path: Path
) -> None:
    tag = "py3-none-any"
    files = {"odd/libodd.so.1": bytes(Elf(needed=["libnowhere.so.1"]))}
    pin = served(upstream, "odd", wheel(tmp_path, "odd", files, tag), tag)
    assert found(prove(context, ENVIRONMENT, [pin])) == [("library", "odd")]
    assert context.store.has(pin.sha256)


def test_paths_alone_fetch_nothing_whole(context: Context, native: Pin) -> None:
    prover = Prover(Indexes(context, ENVIRONMENT), Question(libraries=False))
    report = prover.prove([native])
    assert (report.libraries, report.findings, report.bytes_fetched) == (False, (), 0)
    assert not context.store.has(native.sha256)


def test_requirements_on_torch_of_this_environment(
    context: Context, upstream: Upstream, tmp_path: Path
) -> None:
    more = 'Requires-Dist: torch<2.9\nRequires-Dist: torch<1; python_version < "3.10"\n'
    more += 'Requires-Dist: torch<1; extra == "old"\n'
    pin = served(upstream, "x", wheel(tmp_path, "x", {}, "py3-none-any", more), "py3-none-any")
    assert prove(context, ENVIRONMENT, [pin], torch="2.8.0").holds
    (finding,) = prove(context, ENVIRONMENT, [pin], torch="2.11.0").findings
    assert finding.message.startswith("it requires torch<2.9")


def test_no_wheel(context: Context, upstream: Upstream) -> None:
    pin = served(upstream, "bad", b"<!DOCTYPE html>")
    with pytest.raises(WheelInvalid) as caught:
        prove(context, ENVIRONMENT, [pin])
    assert caught.value.faults


def test_a_damaged_record_of_the_store_is_read_anew(context: Context, native: Pin) -> None:
    first = prove(context, ENVIRONMENT, [native])
    for path in context.store.root.rglob("*.json"):
        path.write_text('{"schema": 99}')
    assert found(prove(context, ENVIRONMENT, [native])) == found(first)


# -- indexes ------------------------------------------------------------------------------------


def page(upstream: Upstream, index: str, *names: str, status: int = 200) -> str:
    links = "".join(f'<a href="/{name}#sha256={"0" * 64}">{name}</a>\n' for name in names)
    upstream.put(f"/{index}/demo/", Reply(body=links.encode(), status=status))
    return f"{upstream.url}/{index}"


def located(context: Context, *indexes: str, version: str = "1.0") -> str:
    found = Indexes(context, ENVIRONMENT, indexes).locate(Pin("demo", version))
    assert found.sha256 == "0" * 64
    return found.filename


def test_the_first_index_that_has_a_project_is_the_only_one(
    context: Context, upstream: Upstream
) -> None:
    own = page(upstream, "own", "demo-1.0-py3-none-any.whl")
    other = page(upstream, "other", "demo-1.0+evil-py3-none-any.whl", "demo-2.0-py3-none-any.whl")
    empty = f"{upstream.url}/empty"
    assert located(context, own, other) == "demo-1.0-py3-none-any.whl"
    assert located(context, empty, other, own) == "demo-1.0+evil-py3-none-any.whl"
    with pytest.raises(Exception, match=r"demo 2\.0 has no wheel"):
        located(context, own, other, version="2.0")


def test_an_index_that_fails_is_not_passed_over(
    context: Context, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvpack.cli.indexes.PAUSE", 0)
    own = page(upstream, "own", status=503)
    other = page(upstream, "other", "demo-1.0-py3-none-any.whl")
    with pytest.raises(FetchFailed, match="HTTP 503"):
        located(context, own, other)
    assert upstream.paths == ["/own/demo/"] * 3


def test_a_failure_that_passes_is_tried_again(
    context: Context, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvpack.cli.indexes.PAUSE", 0)
    own = page(upstream, "own", "demo-1.0-py3-none-any.whl")
    upstream.routes["/own/demo/"].insert(0, Reply(status=502))
    assert located(context, own) == "demo-1.0-py3-none-any.whl"


def test_digests_that_a_requirement_admits(context: Context, upstream: Upstream) -> None:
    """As pip does: a wheel with another digest is none of the candidates."""
    names = ["demo-1.0-py3-none-any.whl", f"demo-1.0-{NATIVE}.whl"]
    links = [
        f'<a href="/{name}#sha256={digit * 64}">x</a>'
        for name, digit in zip(names, "12", strict=True)
    ]
    links.append('<a href="/other-1.0-py3-none-any.whl">x</a>')
    upstream.put("/own/demo/", "\n".join(links).encode())
    indexes = Indexes(context, ENVIRONMENT, [f"{upstream.url}/own"])
    for digit, name in (("1", names[0]), ("2", names[1])):
        pin = Pin("demo", "1.0", hashes=frozenset({digit * 64, "f" * 64}))
        assert (indexes.locate(pin).filename, indexes.locate(pin).sha256) == (name, digit * 64)
    with pytest.raises(DigestMismatch, match="line 1 admits other digests only"):
        indexes.locate(
            Pin("demo", "1.0", brought_by="set.txt, line 1", hashes=frozenset({"f" * 64}))
        )
    upstream.put("/own/demo/", links[0].partition("#")[0].encode() + b'">x</a>')
    assert indexes.locate(Pin("demo", "1.0", hashes=frozenset({"f" * 64}))).sha256 == "f" * 64


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.0", "demo-1.0+kvp.1-py3-none-any.whl"),
        ("1.0.0", "demo-1.0+kvp.1-py3-none-any.whl"),
        ("2", "demo-2.0-py3-none-any.whl"),
        ("1.0.1", "demo-1.0.1-py3-none-any.whl"),
    ],
)
def test_a_long_page_is_narrowed_to_the_version(
    context: Context, upstream: Upstream, version: str, expected: str
) -> None:
    """Also where the page writes the version in another way, or a plus by its code."""
    names = ["demo-1.0-py3-none-any.whl", "demo-1.0%2Bkvp.1-py3-none-any.whl"]
    names += ["demo-1.0.1-py3-none-any.whl", "demo-2.0-py3-none-any.whl"]
    assert located(context, page(upstream, "own", *names), version=version) == expected
