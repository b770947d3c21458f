"""``kvpack store gc`` and images: a stand-in for the engine, the real decisions."""

import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from kvpack.build.model import BuiltLibrary
from kvpack.build.root import root_key
from kvpack.cli.context import Context, Options
from kvpack.cli.images import claim_path, laid_digest, store_mark
from kvpack.cli.layer import library_layer_key
from kvpack.console import Console
from kvpack.names import Sha256
from kvpack.tools.claims import Claim
from kvpack.tools.engineimages import Image, own_size
from tests.unit.build.made import script
from tests.unit.cli.face import Answer, Place
from tests.unit.libraries import add, use

_PROGRAM = """
import json, sys
STATE = HERE
with open(STATE) as stream:
    state = json.load(stream)
words = sys.argv[1:]
if words[0] == "version":
    print("{}")
elif words[:2] == ["image", "ls"]:
    print("\\n".join(one["Id"] for one in state for _ in one["RepoTags"] or [""]))
elif words[:2] == ["image", "inspect"]:
    ids = [word for word in words[2:] if not word.startswith("{") and word != "--format"]
    found = [one for one in state if one["Id"] in ids]
    print(found[0]["Id"] if "--format" in words and found else json.dumps(found))
    sys.exit(0 if found else 125)
elif words[:2] == ["image", "rm"]:
    left = []
    for one in state:
        gone = set(words[2:]) & {one["Id"], *one["RepoTags"]}
        if gone and one["Used"]:
            sys.exit("image is in use by a container")
        one["RepoTags"] = [tag for tag in one["RepoTags"] if tag not in gone]
        if not gone or one["RepoTags"]:
            left.append(one)
    with open(STATE, "w") as stream:
        json.dump(left, stream)
else:
    sys.exit(f"what is {words}?")
"""


@dataclass
class Engine:
    """An engine that keeps images, and a store that knows some of them."""

    place: Place
    name: str

    def __post_init__(self) -> None:
        self.state = self.place.folder / "images"
        self.state.write_text("[]")
        text = _PROGRAM.replace("HERE", repr(str(self.state)))
        script(self.place.folder / "bin" / self.name, text, interpreter=f"{sys.executable} -IS")

    @property
    def images(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.state.read_text())
        return found

    def has(self, number: int, **changes: object) -> str:
        """Put an image there: 100 bytes for each of its layers; its id."""
        layers = changes.pop("layers", [f"layer{number}"])
        assert isinstance(layers, list)
        made = {
            "Id": f"{number:064x}", "RepoTags": [], "Config": {"Labels": {}}, "Used": False,
            "Size": 100 * len(layers), "RootFS": {"Layers": layers}, **changes,
        }  # fmt: skip
        self.state.write_text(json.dumps([*self.images, made]))
        return str(made["Id"])

    def made(self, number: int, key: str, *, record: bool = True, **changes: object) -> str:
        """An image as kvpack makes it, and the store's record of it."""
        name = f"localhost/kvpack/debian-bookworm-x86_64:{key[:16]}-0a0b"
        labels = {"kvpack.root": key, "kvpack.store": store_mark(self.place.store)}
        given = {"RepoTags": [name], "Config": {"Labels": labels}, **changes}
        made = self.has(number, **given)
        if record:
            said = {"id": made, "image": name, "sha256": f"{number:x}" * 64, "size": 7}
            self.place.store.write_record("roots", f"{key}-{self.name}", said)
        return made

    def left(self) -> list[int]:
        return [int(one["Id"], 16) for one in self.images]

    def gc(self, *words: str) -> dict[str, Any]:
        answer = self.place.run("store", "gc", "--json", *words)
        assert answer.code == 0, answer.err
        return answer.json


@pytest.fixture
def engine(place: Place, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("PATH", str(place.folder / "bin"))
    return Engine(place, getattr(request, "param", "podman"))


BOTH = pytest.mark.parametrize("engine", ["podman", "docker"], indirect=True)


OLD = "a" * 64


@BOTH
def test_an_image_that_nothing_needs_goes_with_its_record(engine: Engine) -> None:
    engine.made(1, OLD)
    engine.has(2, RepoTags=["somebody/elses:1"])
    told = engine.gc()["images"]
    assert [(one["engine"], one["bytes"]) for one in told["removed"]] == [(engine.name, 100)]
    assert (told["bytes"], told["kept"], engine.left()) == (100, {}, [2])
    assert list(engine.place.store.records("roots")) == []


def test_a_dry_run_says_the_same_and_removes_nothing(engine: Engine) -> None:
    engine.made(1, OLD)
    engine.place.store.add_bytes(b"stray")
    dry, shown = engine.gc("--dry-run"), engine.place.run("store", "gc", "--dry-run").out
    assert engine.left() == [1]
    assert "1 image, 100 B would be removed" in shown
    assert (dry["files"], dry["dry-run"]) == (1, True)
    real = engine.gc()
    assert {**dry, "dry-run": False} == real
    assert engine.left() == []
    assert engine.gc()["files"] == 0


def plan_keys(engine: Engine) -> tuple[str, Context]:
    plan = engine.place.plan()
    context = Context(Options(root=engine.place.root, store=engine.place.store.root), Console())
    return root_key(plan.inputs, context.roots.debian), context


def test_what_a_recipe_builds_in_stays(engine: Engine) -> None:
    key, _ = plan_keys(engine)
    engine.made(1, key)
    engine.made(2, OLD)
    assert engine.gc()["images"]["kept"] == {"needed by what a recipe builds now": 1}
    assert engine.left() == [1]
    # Another lock, another root: the old one goes.
    engine.place.tiny.outside.versions["pip"] = "99"
    engine.place.tiny.outside.deb_version = "1:1.1-1"
    engine.place.tiny.lock()
    assert plan_keys(engine)[0] != key
    assert len(engine.gc()["images"]["removed"]) == 1
    assert engine.left() == []


def test_layers_of_libraries_stay_with_the_library(engine: Engine) -> None:
    place = engine.place
    add(place.root)
    use(place.tiny, "lib")
    key, _ = plan_keys(engine)
    (library,) = place.plan().libraries
    sha256 = place.store.add_bytes(b"library")
    made = {"file": "lib.tar", "sha256": sha256, "size": 7}
    place.store.write_record("actions", library.key, {"made": 1, "seconds": 1, "library": made})
    built = BuiltLibrary(plan=library, sha256=Sha256(sha256), size=7, seconds=1, hit=True)
    over = library_layer_key(built, "1" * 64)
    engine.made(1, key, layers=["a"])
    engine.made(2, over, layers=["a", "b"])
    engine.made(3, OLD, layers=["a", "c"])
    told = engine.gc()["images"]
    assert told["kept"] == {"needed by what a recipe builds now": 2}
    assert [one["bytes"] for one in told["removed"]] == [100]  # its own layer alone
    # The library's result is dropped: what was laid over roots of it goes, the root stays.
    assert len(engine.gc("--keep-results", "0", "--dry-run")["images"]["removed"]) == 1
    assert len(engine.gc("--keep-results", "0")["images"]["removed"]) == 1
    assert engine.left() == [1]


@pytest.mark.parametrize("chained", [True, False])
def test_what_a_kept_result_was_built_in_stays(engine: Engine, *, chained: bool) -> None:
    """Its record says which digest the whole has; of older ones, and of roots, it is their own."""
    store = engine.place.store
    engine.made(1, OLD)
    record = store.read_record("roots", f"{OLD}-{engine.name}")
    assert record is not None
    whole = laid_digest("below", "1" * 64) if chained else "1" * 64
    store.write_record(
        "roots", f"{OLD}-{engine.name}", record | ({"chain": whole} if chained else {})
    )
    store.write_record("actions", "k" * 64, {"made": 1, "root": whole})
    (why,) = engine.gc()["images"]["kept"]
    assert "a kept result was built in it" in why
    assert engine.left() == [1]
    engine.gc("--keep-results", "1")
    assert engine.left() == []


def test_what_is_in_use_stays(engine: Engine) -> None:
    """By a kvpack, as its claim tells; by a container, as the engine does."""
    engine.made(1, OLD)
    claim = Claim(claim_path(engine.place.store, f"{OLD}-{engine.name}"))
    assert engine.gc("--dry-run")["images"]["kept"] == {"a running kvpack uses it": 1}
    assert engine.gc()["images"]["kept"] == {"a running kvpack uses it": 1}
    del claim
    engine.made(2, "b" * 64, Used=True)
    (why,) = engine.gc()["images"]["kept"]
    assert "a container or another image uses it" in why
    assert engine.left() == [2]
    assert len(list(engine.place.store.records("roots"))) == 1


def test_images_that_kvpack_did_not_make_for_this_store_are_not_touched(engine: Engine) -> None:
    labels = {"kvpack.root": OLD, "kvpack.store": store_mark(engine.place.store)}
    other = {**labels, "kvpack.store": "0" * 16}
    old = {"kvpack.root": OLD}
    engine.made(1, "b" * 64)  # so that the engine is asked
    engine.has(2, RepoTags=["somebody/elses:1"], Config={"Labels": {}})
    engine.has(3, RepoTags=["built/from-ours:1"], Config={"Labels": labels})
    engine.has(4, Config={"Labels": labels})  # a stage of such a build
    engine.made(5, OLD, record=False, Config={"Labels": other})
    engine.made(6, OLD, record=False, Config={"Labels": old})
    engine.made(7, "c" * 64, Config={"Labels": {**other, "kvpack.root": "c" * 64}})
    told = engine.gc()["images"]
    assert engine.left() == [2, 3, 4, 5, 6, 7]
    assert (told["kept"], told["others"]) == ({}, 3)


def test_what_a_killed_import_left_goes(engine: Engine) -> None:
    """No record knows it, but its name and its labels are kvpack's, and of this store."""
    (engine.place.store.root / "locks").mkdir(parents=True)
    (engine.place.store.root / "locks" / f"root-{OLD}-{engine.name}").touch()
    engine.made(1, OLD, record=False)
    claim = Claim(claim_path(engine.place.store, f"{OLD}-{engine.name}"))
    engine.gc()
    assert engine.left() == [1]  # it is just being made
    del claim
    engine.gc()
    assert engine.left() == []


def test_an_image_of_an_older_kvpack_goes_if_a_record_knows_it(engine: Engine) -> None:
    engine.made(1, OLD, Config={"Labels": {"kvpack.root": OLD}})
    engine.gc()
    assert engine.left() == []


def test_what_others_build_on_stays(engine: Engine) -> None:
    engine.made(1, OLD, layers=["a"])
    engine.has(2, RepoTags=["built/from-ours:1"], RootFS={"Layers": ["a", "b"]})
    assert engine.gc()["images"]["kept"] == {"another image that stays lies on it": 1}
    assert engine.left() == [1, 2]


def test_the_same_root_of_another_store_keeps_its_bytes_but_not_this_one(engine: Engine) -> None:
    engine.made(1, OLD, layers=["a"])
    engine.has(2, RepoTags=["localhost/kvpack/x:1"], RootFS={"Layers": ["a"]})
    engine.has(3, RepoTags=["localhost/kvpack/y:1"], RootFS={"Layers": ["a", "b"]})
    assert [one["bytes"] for one in engine.gc()["images"]["removed"]] == [0]
    assert engine.left() == [2, 3]


def test_an_image_that_somebody_named_stays(engine: Engine) -> None:
    engine.made(1, OLD)
    (image,) = engine.images
    engine.state.write_text(json.dumps([{**image, "RepoTags": [*image["RepoTags"], "my/root:1"]}]))
    assert engine.gc()["images"]["kept"] == {"it has a name that kvpack did not give": 1}
    assert engine.left() == [1]


def test_where_a_recipe_cannot_be_planned_images_are_left(engine: Engine) -> None:
    engine.made(1, OLD)
    engine.place.tiny.edit('debian = ["cmake"]', 'debian = ["cmake", "flex"]')
    answer: Answer = engine.place.run("store", "gc")
    assert "images were left: lock/tiny.toml no longer matches recipes/tiny.toml" in answer.err
    assert "next: kvpack lock tiny" in answer.err
    assert engine.left() == [1]
    engine.place.tiny.lock_file.unlink()  # nothing is built from a recipe without a lock
    engine.gc()
    assert engine.left() == []


def test_a_store_that_made_no_image_asks_no_engine(engine: Engine) -> None:
    engine.made(1, OLD, record=False)
    (engine.place.folder / "bin" / engine.name).unlink()
    assert engine.gc()["images"] == {"removed": [], "bytes": 0, "kept": {}, "others": 0}
    assert engine.place.run("store", "gc").out == "0 files, 0 B and 0 results removed\n"


def test_an_engine_that_does_not_answer_is_told(engine: Engine) -> None:
    engine.made(1, OLD)
    script(engine.place.folder / "bin" / engine.name, "echo is it running >&2; exit 1\n")
    assert "images were left: no container engine answers" in engine.gc()["notes"][0]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("else json.dumps(found)", 'else "cut ["', "podman image inspect"),
        ('words[:2] == ["image", "ls"]', 'words[:2] == ["image", "LS"]', "podman image ls"),
    ],
    ids=["inspect", "ls"],
)
def test_an_engine_that_does_not_list_its_images_is_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, old: str, new: str, told: str
) -> None:
    """podman lists none, where another process removes one while it reads them."""
    monkeypatch.setattr("kvpack.tools.engineimages.PAUSE", 0)
    engine.made(1, OLD)
    program = engine.place.folder / "bin" / engine.name
    assert old in program.read_text()
    program.write_text(program.read_text().replace(old, new))
    assert f"images of podman were left: {told}" in engine.gc()["notes"][0]
    assert engine.left() == [1]


def test_the_size_of_an_image_is_that_of_its_own_layers() -> None:
    def image(*layers: str) -> Image:
        return Image(id="".join(layers), size=10 ** len(layers), layers=layers)

    top = image("a", "b", "c")
    assert own_size(top, [image("a"), image("a", "b"), image("b", "c")]) == 900
    assert own_size(top, [image("b"), image("a", "b", "d")]) == 1000
    assert own_size(top, [image("a"), image("a", "b", "c", "d")]) == 0
    assert not top.lies_on(image())
