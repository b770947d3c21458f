"""Sizes against upstream's grammar written down again, and no input that breaks the check."""

import json
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kvpack.doctor.mooncake import check_config
from kvpack.doctor.mooncake_model import MachineFacts
from kvpack.doctor.mooncake_programs import owner_of
from kvpack.doctor.mooncake_rules import load_rules
from kvpack.doctor.mooncake_sizes import SizeError, Staging, human, parse_client_size, parse_size

FAST = settings(
    max_examples=60, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),  # they measure time
)  # fmt: skip
GIB = 1 << 30


def upstream(value: str) -> int | None:
    """``_parse_size`` of vLLM for a string; ``None`` where it raises."""
    match = re.match(r"^\s*([\d.]+)\s*(gb|mb|kb|b)?\s*$", value.strip().lower())
    if match is None:
        return None
    power = ["b", "kb", "mb", "gb"].index(match[2] or "b")
    try:
        return int(float(match[1]) * 1024**power)
    except (ValueError, OverflowError):
        return None


def ours(value: object) -> int | None:
    try:
        return parse_size(value)
    except SizeError:
        return None


texts = st.from_regex(r"\s?[+-]?[0-9.]{0,5}[ \t]?(?i:gb|mb|kb|b|tb|gib|k|)\s?", fullmatch=True)


@FAST
@given(texts | st.text(max_size=6))
@example("4 GB")
@example("1.5gb")
@example("4..0GB")
@example("4\u212a\u0042")
@example("٤GB")
@example("9" * 400)
def test_sizes_are_upstreams(value: str) -> None:
    assert ours(value) == upstream(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [(0, 0), (-5, -5), (4.0, 4), (True, None), (None, None), ([], None), (float("inf"), None)],
)
def test_sizes_that_are_no_text(value: object, size: int | None) -> None:
    assert ours(value) == size


@pytest.mark.parametrize(
    ("value", "instead"),
    [("4TB", "4096GB"), ("80GiB", "80GB"), ("1.5t", "1536GB"), ("3k", "3KB"), ("4pb", "")],
)
def test_how_to_write_what_was_meant(value: str, instead: str) -> None:
    with pytest.raises(SizeError) as caught:
        parse_size(value)
    assert caught.value.instead == instead
    if instead:
        assert parse_size(instead) > 0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("80GB", 80 * GIB),
        ("80 gb", 80 * GIB),
        ("1T", 1024 * GIB),
        ("4G", 4 * GIB),
        ("1e3", 1000),
        (".5kb", 512),
        ("12", 12),
        ("80GiB", None),
        ("", None),
        ("many", None),
        ("1e999GB", None),
    ],
)
def test_sizes_of_the_client(text: str, size: int | None) -> None:
    assert parse_client_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"), [(80 * GIB, "80GB"), (GIB * 5 // 4, "1.25GB"), (12, "12B"), (0, "0B")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human(size) == text


def test_the_largest_key_is_the_largest_that_fits() -> None:
    rules = load_rules().staging
    staging = Staging(
        budget=rules.budget, ratio=rules.ratio, alignment=rules.alignment, padding=rules.padding
    )
    assert staging.of_key(staging.largest_key) <= staging.budget
    assert staging.of_key(staging.largest_key + 1) > staging.budget
    assert staging.usable == 1207959552


# -- nothing breaks it --------------------------------------------------------------------------

RULES = load_rules()
keys = st.sampled_from([*RULES.keys, *(one.name for one in RULES.foreign)]) | st.text(max_size=8)
words = st.sampled_from(["", "4GB", "standalone-store", "embedded", "a:1", ":", "a,,b", "efa"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
surrogates = st.text(st.characters(exclude_characters="\0"), max_size=8)
names = st.sampled_from([*RULES.variables, *RULES.known]) | surrogates.map("MOONCAKE_".__add__)
environments = st.dictionaries(names | surrogates, words | surrogates, max_size=5)
arguments = st.none() | surrogates | st.sampled_from(["--enable_offload=true", "--port", "-- '"])


@FAST
@given(st.dictionaries(keys, values, max_size=6), environments, arguments, st.integers(1, 1 << 70))
def test_no_object_breaks_it(
    given_: dict[str, object], environment: dict[str, str], args: str | None, number: int
) -> None:
    owner = owner_of(
        master_args=args,
        client_args=args,
        master_config=(args or "", "m.yaml"),
        environment=environment if number % 2 else None,
        key_bytes=number,
        nodes=2,
    )
    machine = MachineFacts(gpus=8, rdma_devices=("mlx5_0",), memory=1)
    found = check_config(
        json.dumps(given_), "mc.json", environment=environment, owner=owner, machine=machine
    )
    assert all(one.message for one in found)
    assert json.dumps([one.as_json() for one in found], ensure_ascii=False).encode()


@FAST
@given(st.text() | st.binary(), environments)
def test_no_text_breaks_it(text: str | bytes, environment: dict[str, str]) -> None:
    found = check_config(text, "mc.json\udcff", environment=environment)
    try:
        told = isinstance(json.loads(text), dict)
    except ValueError:
        told = False
    assert told or "mooncake-json" in {one.check for one in found}
