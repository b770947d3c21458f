"""Places that failed are asked last, by every process, for a while; slow answers are given up."""

from pathlib import Path

import pytest

from kvpack.tools.circuits import OPEN, Circuits
from kvpack.tools.pace import Limits
from kvpack.tools.store import Store
from kvpack.tools.web import Body, TryFailed


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_two_failures_or_one_time_out_open_a_circuit() -> None:
    circuits = Circuits(clock=Clock())
    circuits.failed("a")
    assert circuits.ordered(["a", "b"]) == ["a", "b"]
    circuits.failed("a")
    circuits.failed("c", slow=True)
    assert circuits.ordered(["a", "b", "c"]) == ["b", "a", "c"]
    circuits.worked("a")
    assert circuits.ordered(["a", "b", "c"]) == ["a", "b", "c"]
    assert circuits.is_open("c")


def test_other_processes_know_for_a_while(tmp_path: Path) -> None:
    clock, store = Clock(), Store(tmp_path)
    Circuits(store, clock=clock).failed("https://user:secret@host", slow=True)
    assert Circuits(store, clock=clock).is_open("https://user:secret@host/")
    assert all("secret" not in p.read_text() for p in tmp_path.rglob("*.json"))
    clock.now += OPEN
    assert not Circuits(store, clock=clock).is_open("https://user:secret@host")
    clock.now -= 10 * OPEN  # the clock was set back: nothing is open for ever
    assert not Circuits(store, clock=clock).is_open("https://user:secret@host")


def test_a_record_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Circuits(store).failed("a", slow=True)
    for path in tmp_path.rglob("circuits/*.json"):
        path.write_text('{"failures": "many"}')
    assert not Circuits(store).is_open("a")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(whole=2), "the time-out of one try"),
        (Limits(slowest=100, settle=1), "under 100 bytes/s"),
        (Limits(until=2.5), "the whole command"),
    ],
)
def test_a_drip_is_given_up_and_its_bytes_are_kept(limits: Limits, reason: str) -> None:
    ticks = iter(range(100))
    body = Body(start=0, total=9, chunks=iter([b"x"] * 9))
    gained: list[bytes] = []
    with pytest.raises(TryFailed, match=reason):
        gained.extend(limits.watched(body, clock=lambda: float(next(ticks))))
    assert 0 < len(gained) < 9


def test_a_quick_answer_is_read_to_its_end() -> None:
    body = Body(start=0, total=9, chunks=iter([b"x" * 1000] * 9))
    assert len(b"".join(Limits(slowest=100, settle=1).watched(body))) == 9000
