"""Whatever fails, whenever: pages are those of a committed state, and a second run completes."""

import pytest

from kvpack.errors import KvpackError
from kvpack.publish.commit import Channel
from kvpack.publish.gather import Prepared
from kvpack.publish.release import publish, roll_back
from kvpack.report import Silent
from kvpack.tools.stored import Objects
from tests.unit.publish.faulty import Faulty, Killed
from tests.unit.publish.made import check_legal, complete, listed, memory, release

FIRST = release("demo-a==1.0", "demo-b==1.0")
SECOND = release("demo-a==1.1", "demo-c==1.0")
OTHER = release("demo-a==1.2", "demo-d==1.0")
A10, B10 = "demo_a-1.0-py3-none-any.whl", "demo_b-1.0-py3-none-any.whl"
A11, C10 = "demo_a-1.1-py3-none-any.whl", "demo_c-1.0-py3-none-any.whl"
A12, D10 = "demo_a-1.2-py3-none-any.whl", "demo_d-1.0-py3-none-any.whl"


def go(objects: Objects, what: Prepared = SECOND, channel: str = "stable") -> None:
    publish(what, Channel(objects, channel), Silent())


def attempt(objects: Objects, what: Prepared = SECOND) -> bool:
    try:
        go(objects, what)
    except (KvpackError, Killed):
        return False
    return True


def started() -> Objects:
    objects = memory()
    go(objects, FIRST)
    return objects


def operations() -> int:
    counting = Faulty(started(), 0)
    go(counting)
    return counting.count


OPERATIONS = operations()


def steps(count: int) -> pytest.MarkDecorator:
    """Moments all over a publication, from its first request on.

    Which tests there are is no measurement: workers that count differently refuse the whole run.
    """
    moments = [1 + (OPERATIONS - 1) * part // count for part in range(count)]
    ids = [f"{part}-of-{count}" for part in range(count)]
    return pytest.mark.parametrize("step", moments, ids=ids)


def test_a_publication_needs_a_bounded_number_of_requests() -> None:
    assert OPERATIONS < 120


def test_an_update_reads_no_page_and_not_what_it_wrote_itself() -> None:
    """Of a page only the first bytes, which say of which state it is; of listings the old one."""
    counting = Faulty(started(), 0)
    go(counting)
    read = [what.partition(" ")[2] for what in counting._seen if what.startswith("get ")]
    assert not [key for key in read if key.startswith("stable/")]
    assert len([key for key in read if key.startswith("lists/")]) == 1
    assert "start stable/cpu/simple/demo-a/index.html" in counting._seen


@steps(8)
def test_killed_at_any_request(step: int) -> None:
    objects = started()
    assert not attempt(Faulty(objects, step, kill_after=step))
    check_legal(objects)
    assert {A10, B10} <= listed(objects) <= {A10, B10, A11, C10}
    go(objects)
    complete(objects)
    assert listed(objects) == {A10, B10, A11, C10}


@pytest.mark.parametrize("seed", range(4))
def test_requests_fail_and_answers_are_lost(seed: int) -> None:
    objects = started()
    faulty, done = Faulty(objects, seed, rate=0.3), False
    for _ in range(30):
        if done := attempt(faulty):
            break
        check_legal(objects)
    assert done
    complete(objects)
    assert listed(objects) == {A10, B10, A11, C10}


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestTimeTooSkewed"])
@steps(4)
def test_refused_from_any_request_on(step: int, code: str) -> None:
    """Credentials expire, a clock jumps: the error of the first refusal is what is told."""
    objects = started()
    faulty = Faulty(objects, step)
    faulty.refused = (range(step, 1000), f"403 Forbidden: <Code>{code}<")
    with pytest.raises(KvpackError) as caught:
        go(faulty)
    assert "run the same command again" in caught.value.hint
    check_legal(objects)
    go(objects)
    complete(objects)
    assert listed(objects) == {A10, B10, A11, C10}


@steps(6)
def test_two_publishers_on_one_channel(step: int) -> None:
    """The second one publishes all of its release in the middle of the first one's."""
    objects = started()
    go(Faulty(objects, step, between=(step, lambda: go(objects, OTHER))))
    complete(objects)
    assert listed(objects) == {A10, B10, A11, C10, A12, D10}


@steps(6)
def test_the_faster_publisher_loses_nothing_when_the_slower_one_dies(step: int) -> None:
    """Pages are made from the pointer's state alone: a dead publisher cannot leave others' out."""
    objects = started()
    last = min(step + 3, OPERATIONS)
    attempt(Faulty(objects, step, kill_after=last, between=(step, lambda: go(objects, OTHER))))
    check_legal(objects)
    assert {A10, B10, A12, D10} <= listed(objects)


@pytest.mark.parametrize(
    "page",
    [
        "stable/cpu/simple/demo-a/index.html",
        "stable/cpu/simple/demo-a/index.json",
        "stable/cpu/simple/index.html",
        "stable/cpu/projects/demo-a.html",
        "stable/index.html",
    ],
)
def test_a_slow_publisher_does_not_set_a_page_back(page: str) -> None:
    """The other one publishes between the slow one's look at the page and its write."""
    objects = started()
    go(Faulty(objects, 0, between=(f"swap {page}", lambda: go(objects, OTHER))))
    complete(objects)
    assert listed(objects) == {A10, B10, A11, C10, A12, D10}


def test_the_next_publisher_finishes_the_pages_of_a_dead_one() -> None:
    """Also those of projects that it does not touch itself."""
    objects = started()

    def die() -> None:
        raise Killed

    assert not attempt(Faulty(objects, 0, between=("get channels/stable.settled.json", die)))
    assert listed(objects) == {A10, B10}
    go(objects, OTHER)
    complete(objects)
    assert listed(objects) == {A10, B10, A11, C10, A12, D10}


def test_a_lost_answer_of_the_pointer_is_no_other_writer() -> None:
    objects = started()
    faulty = Faulty(objects, 0, lose="swap channels/stable.json")
    assert publish(SECOND, Channel(faulty, "stable"), Silent()).moved
    complete(objects)


@pytest.mark.parametrize("step", range(0, 30, 8))
def test_a_rollback_is_as_safe(step: int) -> None:
    objects = started()
    go(objects, SECOND)
    faulty = Faulty(objects, step, kill_after=step)
    try:
        roll_back(Channel(faulty, "stable"), FIRST.release.id)
    except Killed:
        check_legal(objects)
    roll_back(Channel(objects, "stable"), FIRST.release.id)
    complete(objects)
    assert listed(objects) == {A10, B10}
