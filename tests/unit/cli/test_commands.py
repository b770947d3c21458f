"""Every command on sound input: its human output, its --json twin, its help."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from kvpack import __version__
from kvpack.cli.main import COMMANDS, main, make_parser
from kvpack.resolve.intent import read_intent
from tests.unit.audit.wheels import Wheel
from tests.unit.catalogues import REPOSITORY
from tests.unit.cli.face import SELECTED, Answer, Place
from tests.unit.lock.outside import Outside

RECIPES = sorted(path.stem for path in (REPOSITORY / "recipes").glob("*.toml"))


@pytest.fixture
def own(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy of this repository's catalogue as the working directory."""
    root = place.folder / "own"
    for name in ("recipes", "lock"):
        shutil.copytree(REPOSITORY / name, root / name)
    if (REPOSITORY / "patches").is_dir():
        shutil.copytree(REPOSITORY / "patches", root / "patches")
    monkeypatch.chdir(root)
    return place


def good(answer: Answer) -> Answer:
    assert answer.code == 0, answer.err
    return answer


# -- the catalogue of this repository ---------------------------------------------------------


def test_list(own: Place) -> None:
    lines = good(own.run("list")).out.splitlines()
    assert lines[0].split()[:2] == ["recipe", "version"]
    assert [line.split()[0] for line in lines[2:]] == RECIPES
    document = good(own.run("list", "--json")).json
    assert document["kind"] == "list"
    assert [row["name"] for row in document["recipes"]] == RECIPES
    assert all(row["default-version"] in row["versions"] for row in document["recipes"])


@pytest.mark.parametrize("name", RECIPES)
def test_show(own: Place, name: str) -> None:
    out = good(own.run("show", name)).out
    document = good(own.run("--json", "show", name)).json
    recipe = document["recipe"]
    assert out.startswith(f"{name} {recipe['default-version']}: {recipe['summary']} (")
    assert all(target["root"] in out for target in document["targets"])
    assert document["kind"] == "show"
    assert document["lock"]["digest"].startswith("sha256:")
    assert document["lock"]["state"] in out
    assert {target["recipe"] for target in document["targets"]} == {name}
    for option in recipe["options"].values():
        configure = option["configure"] and f"--{option['configure']}"
        assert (option["cmake"] or option["meson"] or configure or option["env"]) in out


def test_check(own: Place) -> None:
    out = good(own.run("check")).out
    document = good(own.run("check", "--json")).json
    assert [f"{name}: valid" for name in RECIPES] == [x for x in out.splitlines() if x[0] != " "]
    assert document["kind"] == "check"
    assert [(row["recipe"], row["valid"]) for row in document["recipes"]] == [
        (name, True) for name in RECIPES
    ]


def test_lock_check(own: Place) -> None:
    out = good(own.run("lock", "--check", "--offline")).out
    document = good(own.run("lock", "--check", "--json")).json
    assert all(f"lock/{name}.toml is current" in out for name in RECIPES)
    assert document["kind"] == "lock-check"
    assert all(row["current"] for row in document["recipes"])


@pytest.mark.parametrize("name", RECIPES)
def test_plan(own: Place, name: str) -> None:
    document = good(own.run("plan", name, "--arch", "x86_64", "--json")).json
    assert document["kind"] == "plan"
    out = good(own.run("plan", name, "--arch", "x86_64")).out
    for row in document["targets"]:
        assert row["wheel"] is None
        assert row["target"] in out
        if row["state"] == "pending":  # upstream was not reachable where it was locked
            assert row["because"].startswith("source not pinned: ")
            continue
        assert row["state"] == "build"
        assert row["because"] == "never built here"
        assert re.fullmatch(r"[0-9a-f]{64}", row["key"])
        assert row["key"][:12] in out
    keys = [row["key"] or row["target"] for row in document["targets"]]
    assert len(set(keys)) == len(keys) > 0


def test_plan_all(own: Place) -> None:
    few = good(own.run("plan", "dlslime", "--arch", "x86_64", "--json")).json
    document = good(own.run("plan", "dlslime", "--all", "--json")).json
    assert {row["key"] for row in few["targets"]} < {row["key"] for row in document["targets"]}
    assert {"cpu", "cuda12", "cuda13"} == {
        row["target"].rpartition("-")[2] for row in document["targets"]
    }
    assert document["incomplete"] == []
    out = good(own.run("plan", "mori", "--all")).out
    assert out.startswith("no target can be planned yet")
    assert "incomplete: mori: accelerator rocm7: " in out


def test_store_of_an_own_catalogue(own: Place) -> None:
    document = good(own.run("store", "gc", "--json")).json
    assert (document["kind"], document["files"]) == ("store-gc", 0)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_follow_the_schema(own: Place, name: str) -> None:
    schema = json.loads(good(own.run("schema")).out)
    validator = jsonschema.Draft202012Validator(schema)
    recipe = good(own.run("show", name, "--json")).json["recipe"]
    validator.validate(without_nothing(recipe))
    broken = {**recipe, "sumary": recipe["summary"]}
    assert not validator.is_valid(without_nothing(broken))


@pytest.mark.parametrize("name", RECIPES)
def test_the_files_follow_their_schemas(own: Place, name: str) -> None:
    import tomllib

    for kind, folder in (("recipe", "recipes"), ("lock", "lock")):
        schema = json.loads(good(own.run("schema", kind)).out)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        content = tomllib.loads((Path(folder) / f"{name}.toml").read_text())
        jsonschema.Draft202012Validator(schema).validate(content)


def without_nothing(value: object) -> object:
    """What TOML would hold: no nulls."""
    if isinstance(value, dict):
        return {key: without_nothing(one) for key, one in value.items() if one is not None}
    return [without_nothing(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", ["recipe", "lock", "config", "audit"])
def test_a_schema_explains_its_keys(place: Place, kind: str) -> None:
    schema = json.loads(good(place.run("schema", kind)).out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json.loads(good(place.run("schema", kind, "--json")).out)
    tables = [schema, *schema.get("$defs", {}).values()]
    keys = [key for table in tables for key in table.get("properties", {})]
    assert not [key for key in keys if "_" in key]
    assert "description" in json.dumps(schema["properties"]) or "description" in schema


# -- hits, why, diff ----------------------------------------------------------------------------


def test_a_hit_is_delivered_with_its_evidence(place: Place) -> None:
    plan = place.keep(place.wheel())
    name = place.wheel().name
    out = good(place.run("build", *SELECTED, "--out", "made")).out
    assert name in out
    assert "in the store" in out
    assert sorted(path.name for path in Path("made").iterdir()) == [
        name, f"{name}.action.json", f"{name}.audit.json", f"{name}.cdx.json",
        f"{name}.intoto.jsonl",
    ]  # fmt: skip
    assert (Path("made") / name).read_bytes() == place.wheel().read_bytes()
    document = good(place.run("build", *SELECTED, "--json", "--offline")).json
    (row,) = document["targets"]
    assert (document["kind"], row["hit"], row["key"]) == ("build", True, plan.key)
    assert row["audit"] == {"passed": True, "counts": {"error": 0, "warning": 0, "info": 0}}
    assert Path(row["wheel"]) == Path("dist") / name


def test_plan_and_why_of_a_hit(place: Place) -> None:
    place.keep(place.wheel())
    (row,) = good(place.run("plan", *SELECTED, "--json")).json["targets"]
    assert (row["state"], row["seconds"], row["because"]) == ("hit", 2.5, "")
    document = good(place.run("why", *SELECTED, "--json")).json
    assert (document["kind"], document["targets"][0]["differs"]) == ("why", [])
    assert f"hit: {place.wheel().name} is in the store" in good(place.run("why", *SELECTED)).out


def test_why_names_every_input_that_differs(place: Place) -> None:
    place.keep(place.wheel())
    place.tiny.edit('default = "plain"', 'default = "fancy"')
    place.tiny.outside.versions["cibuildwheel"] = "4.4.0"
    place.tiny.lock()
    document = good(place.run("why", *SELECTED, "--json")).json
    differs = {change["input"]: change for change in document["targets"][0]["differs"]}
    assert set(differs) == {
        "recipe options mode value",
        "lock host-tools cibuildwheel-4.3.0-py3-none-any.whl",
        "lock host-tools cibuildwheel-4.4.0-py3-none-any.whl",
    }
    assert differs["recipe options mode value"]["before"] == "plain"
    out = good(place.run("why", *SELECTED)).out
    assert "must be built: recipe options mode value: plain -> fancy" in out
    (row,) = good(place.run("plan", *SELECTED, "--json")).json["targets"]
    assert row["because"] == "recipe options mode value: plain -> fancy"


def test_a_wheel_that_left_the_store_must_be_built(place: Place) -> None:
    plan = place.keep(place.wheel())
    record = place.store.read_record("actions", plan.key) or {}
    place.store.blob_path(record["wheel"]["sha256"]).unlink()
    (row,) = good(place.run("plan", *SELECTED, "--json")).json["targets"]
    assert (row["state"], row["because"]) == ("build", "its wheel left the store")


def test_diff(place: Place) -> None:
    old = place.tiny.lock_file.rename(place.root / "old.toml")
    place.tiny.outside = Outside(deb_version="1:1.1-1")
    place.tiny.lock()
    out = good(place.run("diff", "old.toml", "tiny")).out
    assert "~ deb debian-bookworm x86_64 cmake 1:1.0-1 " in out
    assert re.search(r"^rebuilds \d+ target\(s\):$", out, re.MULTILINE)
    document = good(place.run("diff", "old.toml", "lock/tiny.toml", "--json")).json
    assert document["kind"] == "diff"
    assert {change["kind"] for change in document["changes"]} == {"deb"}
    rebuilt = {row["target"].rpartition("-")[2] for row in document["rebuilds"]}
    assert rebuilt == {"cpu", "cuda12"}
    assert {row["because"].split()[0] for row in document["rebuilds"]} == {"lock"}
    assert "no input differs" in good(place.run("diff", str(old), "old.toml")).out


def test_a_changed_epoch_is_a_change_that_rebuilds(place: Place) -> None:
    place.tiny.lock_file.rename(place.root / "old.toml")
    place.tiny.edit("1700000500", "1700000501")
    place.tiny.lock()
    document = good(place.run("diff", "old.toml", "tiny", "--json")).json
    assert [change["kind"] for change in document["changes"]] == ["epoch"]
    assert document["rebuilds"]
    assert all("2.0rc1" in row["target"] for row in document["rebuilds"])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_lists_every_option(command: str) -> None:
    """In the command's row or below; what is suppressed in the help is no option."""
    (commands,) = (a.choices for a in make_parser(command)._actions if isinstance(a.choices, dict))
    text = (REPOSITORY / "docs" / "reference.md").read_text(encoding="utf-8")
    shown = [a for a in commands[command]._actions if a.help != argparse.SUPPRESS]
    options = {o for a in shown for o in a.option_strings if o.startswith("--")}
    options -= {"--help", "--verbose", "--quiet", "--output"}  # by their letter
    assert not [one for one in options if not re.search(rf"{one}(?![\w-])", text)]


GROUP = """[requirements.proxy]
summary = "a proxy"
requires = ["aiohttp>=3", "quart"]

[audit]"""


def test_show_gives_requirements_as_lines_of_an_intent(place: Place) -> None:
    place.tiny.edit("[audit]", GROUP)
    out = good(place.run("show", "tiny", "--requirements", "proxy")).out
    assert out.splitlines() == ["# tiny proxy: a proxy", "aiohttp>=3", "quart"]
    wishes, faults = read_intent("a.in", {"a.in": out})
    assert ([wish.text for wish in wishes], faults) == (["aiohttp>=3", "quart"], [])
    document = good(place.run("show", "tiny", "--requirements", "proxy", "--json")).json
    assert (document["name"], document["requires"]) == ("proxy", ["aiohttp>=3", "quart"])
    answer = place.run("show", "tiny", "--requirements", "prox")
    assert answer.code == 12
    assert "did you mean 'proxy'?" in answer.err


# -- fetch, audit -------------------------------------------------------------------------------


def test_fetch_makes_later_commands_independent_of_the_network(place: Place) -> None:
    mirror = place.mirror()
    inputs = len([path for path in mirror.rglob("*") if path.is_file()])
    document = good(place.run("fetch", *SELECTED, "--json")).json
    assert (document["kind"], document["inputs"], document["fetched"]) == ("fetch", inputs, inputs)
    shutil.rmtree(mirror)
    out = good(place.run("--offline", "fetch", *SELECTED)).out
    assert out == f"{inputs} inputs in the store, 0 of them fetched now\n"
    assert good(place.run("store", "gc", "--json")).json["files"] == 0


def test_audit_of_a_foreign_wheel(place: Place) -> None:
    wheel = Wheel(filename="demo-1.0-py3-none-any.whl", purelib="true").write(place.folder)
    out = good(place.run("audit", str(wheel))).out
    assert out.startswith("demo-1.0-py3-none-any.whl  ")
    assert "none (pure Python)" in out
    assert "none: not built by kvpack" in out
    assert re.search(r"^passed: 0 error", out, re.MULTILINE)
    document = good(place.run("audit", str(wheel), "--json", "--glibc", "2.36")).json
    assert document["kind"] == "audit"
    assert document["wheels"][0]["passed"] is True
    assert document["wheels"][0]["facts"]["distribution"] == "demo"


def test_audit_by_a_recipe(place: Place) -> None:
    wheel = Wheel(filename="demo-1.0-py3-none-any.whl", purelib="true").write(place.folder)
    answer = place.run("audit", str(wheel), "--recipe", "tiny")
    assert answer.code == 50
    assert re.search(r"^failed: 2 error", answer.out, re.MULTILINE)


# -- the store ----------------------------------------------------------------------------------


def test_store_usage(place: Place) -> None:
    assert "nothing is in it yet" in good(place.run("store", "usage")).out
    place.store.add_bytes(b"12345")
    document = good(place.run("store", "usage", "--json")).json
    assert document["kind"] == "store-usage"
    assert document["kinds"]["blobs"] == {"entries": 1, "bytes": 5}
    out = good(place.run("store", "usage")).out
    assert str(place.store.root) in out
    assert re.search(r"^blobs +1 +5 B$", out, re.MULTILINE)


def test_store_verify_repairs(place: Place) -> None:
    sound, rotten = place.store.add_bytes(b"sound"), place.store.add_bytes(b"rotten")
    place.store.blob_path(rotten).chmod(0o644)
    place.store.blob_path(rotten).write_bytes(b"other")
    assert place.run("store", "verify").code == 34
    assert "1 removed" in good(place.run("store", "verify", "--repair")).out
    document = good(place.run("store", "verify", "--json")).json
    assert (document["kind"], document["blobs"], document["removed"]) == ("store-verify", 1, [])
    assert place.store.has(sound)
    assert not place.store.has(rotten)


def test_store_gc_keeps_what_a_lock_or_a_result_names(place: Place) -> None:
    plan = place.keep(place.wheel())
    wheel = place.store.add_file(place.wheel())
    junk = place.store.add_bytes(b"junk")
    document = good(place.run("store", "gc", "--json")).json
    assert (document["files"], document["bytes"], document["results"]) == (1, 4, 0)
    assert place.store.has(wheel)
    assert not place.store.has(junk)
    out = good(place.run("store", "gc", "--keep-results", "1")).out
    assert "1 results removed" in out
    assert not place.store.has(wheel)
    assert place.store.read_record("actions", plan.key) is None


# -- help, options --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_stands_alone(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: kvpack {command}")
    module = __import__(f"kvpack.cli.{command}", fromlist=["run"])
    assert str(module.__doc__).splitlines()[0] in text
    parser = next(
        action.choices[command]
        for action in make_parser(command)._actions
        if isinstance(action.choices, dict)
    )
    for action in parser._actions:
        assert action.help, action
        for name in action.option_strings:
            assert name in text
        if action.choices and not action.option_strings:
            assert all(str(choice) in text for choice in action.choices)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for command, summary in COMMANDS.items():
        assert re.search(rf"^    {command} ", text, re.MULTILINE)
        assert " ".join(summary.split()) in " ".join(text.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"kvpack {__version__}\n"


def test_no_command_prints_the_help(place: Place) -> None:
    answer = place.run()
    assert answer.code == 2
    assert answer.out.startswith("usage: kvpack")


def test_global_options_stand_before_or_after_the_command(place: Place) -> None:
    root, other = str(place.root), str(place.folder / "other")
    before = good(place.run("--root", root, "--json", "--store", other, "store", "usage")).json
    after = good(place.run("store", "usage", "--root", root, "--json", "--store", other)).json
    assert before == after
    assert before["store"] == other


@pytest.mark.parametrize("value", ["list", "store", "build"])
def test_a_folder_may_be_called_like_a_command(place: Place, value: str) -> None:
    place.root.rename(place.folder / value)
    answer = good(place.run("--root", f"../{value}", "--store", value, "show", "tiny"))
    assert answer.out.startswith("tiny 1.0")
    Path(value).mkdir()
    assert "no catalogue at" in place.run("--root", value, "list").err


def test_narration_is_on_stderr_and_can_be_silenced(place: Place) -> None:
    assert "Verifying" in good(place.run("store", "verify")).err
    assert good(place.run("-q", "store", "verify")).err == ""
    assert good(place.run("store", "verify", "--quiet")).err == ""
    assert "Verifying" not in good(place.run("store", "verify")).out


def test_color_is_for_terminals_or_on_demand(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" not in place.run("show", "x").err
    assert "\x1b[31merror: " in place.run("show", "x", "--color", "always").err
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[31merror: " in place.run("show", "x").err
    assert "\x1b[" not in place.run("show", "x", "--color", "never").err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in place.run("show", "x").err


def terminate(*_: object) -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)
    return 0


def interrupt(*_: object) -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize("run", [terminate, interrupt])
def test_signals_unwind(
    place: Place, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("kvpack.cli.list.run", run)
    answer = place.run("list", "--json")
    signal.signal(signal.SIGTERM, before)
    assert (answer.code, answer.json["error"]) == (130, "Interrupted")
    assert "run the same command again" in answer.err


def test_a_bug_is_told_as_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise RuntimeError("spoon")

    monkeypatch.setattr("kvpack.cli.list.run", broken)
    answer = place.run("list", "--json")
    assert (answer.code, answer.json["error"]) == (1, "KvpackError")
    assert "kvpack itself failed: RuntimeError: spoon" in answer.err
    assert "this is a bug in kvpack" in answer.err
    assert "in broken" in answer.err


def test_the_module_is_the_program(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kvpack", "--root", str(place.root), "check", "tiny"],
        capture_output=True,
        check=False,
        text=True,
        cwd=REPOSITORY,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tiny: valid\n")


def test_a_reader_that_goes_away_is_no_error(place: Place) -> None:
    command = f"{sys.executable} -m kvpack --root {place.root} schema | exit 0"
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, check=False, text=True, cwd=REPOSITORY
    )
    assert (done.returncode, done.stderr) == (0, "")
