"""Another life of the data: after a restart nobody is told of a loss, and after a restored backup everybody is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.events.event import BEGINNING
from pushsvc.storage.clock import Clock
from pushsvc.storage.redis.epochs import EpochHistory
from pushsvc.storage.redis.fencing import MOST_EPOCHS
from pushsvc.storage.redis.keys import ALONE as keys
from tests.support.clients.eventsource import until
from tests.support.inside.delivery import make_hub
from tests.support.inside.lives import Known, at, heard
from tests.support.redis.restored import backup, put_back, restart, without_redis
from tests.support.stack import Stack


@given(st.lists(st.integers(1, 40), min_size=2, max_size=7, unique=True), st.integers(0, 42))
def test_a_cursor_is_of_the_data_or_between_two_of_its_lives(numbers: list[int], ms: int) -> None:
    bounds = sorted(numbers)[: (len(numbers) - 1) // 2 * 2 + 1]
    epochs = EpochHistory(" ".join(f"{bound}-0" for bound in bounds).encode())
    boundaries = [(low, high) for low, high in zip(bounds[1::2], bounds[2::2], strict=True) if low < ms < high]
    assert epochs.unowned_range(at(ms)) == (None if not boundaries else (at(boundaries[0][0]), at(boundaries[0][1])))
    assert epochs.birth == at(bounds[0])
    assert epochs.recorded_loss(at(ms)) is None, "no loss is known"
    clock = Clock(epochs, at(41), 0, 0)
    expected = (
        None if ms == 0 else BEGINNING if not bounds[0] <= ms <= 41 else at(boundaries[0][1]) if boundaries else None
    )
    assert clock.restart(at(ms)) == expected


def test_a_known_loss_is_met_by_who_was_before_it() -> None:
    epochs = EpochHistory(b"1-0 5-0 9-0! 12-0 15-0 20-0 25-0!")
    assert [epochs.recorded_loss(at(ms)) for ms in (1, 5)] == [(at(5), at(9))] * 2
    assert [epochs.recorded_loss(at(ms)) for ms in (6, 9, 20)] == [(at(20), at(25))] * 3
    assert epochs.recorded_loss(at(21)) is None
    assert [epochs.unowned_range(at(ms)) for ms in (7, 9, 13)] == [(at(5), at(9)), None, (at(12), at(15))]


@pytest.mark.parametrize(
    ("epoch", "acknowledged", "boundary"),
    [
        (b"10-0", 25, (20, 30)),  # of the life before, behind its end as the data has it
        (b"10-0", 35, (20, 30)),  # by a master that had been replaced
        (b"10-0", 20, None),
        (b"30-0", 40, None),
        (b"30-0", 41, (0, 10)),  # beyond all there is: who brings no cursor is told
    ],
)
def test_what_was_acknowledged_here_counts_as_heard(
    epoch: bytes, acknowledged: int, boundary: tuple[int, int] | None
) -> None:
    log = Known(b"10-0 20-0 30-0", 40)
    hub = make_hub(log)
    log.acknowledged.note(epoch, at(acknowledged))
    told = []
    for _ in range(2):
        hub.subscribers.channels.through, hub.subscribers.channels.epoch = at(40), b"30-0"
        before, (_, answered) = hub.losses, hub.catch_up.probe()
        log.acknowledged.note(b"30-0", at(99))  # after the probe left: its answer need not know of it
        answered(None)
        told.append(hub.losses > before)
        log.acknowledged.forget(log.acknowledged.newest(), but=b"")
        gevent.sleep(0)
    assert told == [boundary is not None, False], "it is told once"
    assert log.noted == ([tuple(map(at, boundary))] if boundary else [])


@pytest.fixture(scope="module", params=["", "gevent"], ids=["detached", "queue"])
def restored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose data is put back, one test after the other."""
    running = Stack(tmp_path_factory.mktemp("lives"), worker=request.param)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def test_a_restart_is_no_loss_to_anybody(restored: Stack, user: str) -> None:
    stack = restored
    epochs = len((stack.redis.get(keys.epoch) or b"").split())
    first = stack.publish(user=user, data="1")
    with stack.listen(user) as source, stack.listen(f"{user}-idle") as idle:
        source.wait_for(1)
        for number in (2, 3):
            restart(stack)
            stack.publish(user=user, data=str(number))
            source.wait_for(number)
        assert heard(source) == ["1", "2", "3"]
        stack.publish(user=f"{user}-idle", data="only")
        idle.wait_for(1)
        assert heard(idle) == ["only"]
    epoch = stack.redis.get(keys.epoch)
    assert isinstance(epoch, bytes)
    assert len(epoch.split()) == epochs + 4, "two more lives, though two workers and all their connections saw each"
    with stack.listen(user, headers={"Last-Event-ID": first}) as source:
        source.wait_for(2)
        assert heard(source) == ["2", "3"]


def test_a_backup_that_is_put_back_is_said_to_all(restored: Stack, user: str, tmp_path: Path) -> None:
    """It is said once to each: to listeners, to readers whose cursor is lost, and to users who were away all the
    time."""
    stack, idle, away = restored, f"{user}-idle", f"{user}-away"
    with stack.listen(user, base=stack.app_url) as source, stack.listen(idle, base=stack.app_url) as other:
        had, old, _ = stack.publish_many([{"user": each, "data": "had"} for each in (user, away, idle)])
        for each in (source, other):
            each.wait_for(1)
        backup(stack, tmp_path / "backup")
        lost = stack.publish(user=user, data="lost")
        source.wait_ids(lost)
        with without_redis(stack) as data:
            put_back(tmp_path / "backup", data)
        for each in (source, other):
            each.wait(lambda each: each.messages[-1].event == "gap", "the gap")
        new = stack.publish_many([{"user": each, "data": "new"} for each in (user, away, idle)])
        source.wait_ids(new[0])
        other.wait_ids(new[2])
        assert heard(source) == ["had", "lost", "reset", "new"]
        assert heard(other) == ["had", "reset", "new"]
        gap = source.messages[2]
    for name, cursor, says in (
        (user, lost, ["reset", "new"]),
        (user, had, ["reset", "new"]),
        (away, old, ["reset", "new"]),
        (user, gap.id, ["new"]),
        (user, new[0], []),
    ):
        with stack.listen(name, base=stack.app_url, headers={"Last-Event-ID": cursor}) as again:
            again.wait_for(len(says))
            assert heard(again) == says, cursor
        page = stack.get("/history", stack.bearer(name), channel=f"user:{name}", after=cursor).json()
        assert [event["data"] for event in page["events"]] == [word for word in says if word != "reset"]
        assert page.get("gap", {}).get("reason") == ("reset" if "reset" in says else None), cursor
    with stack.listen(f"{user}-new", base=stack.app_url) as fresh:
        stack.publish(user=f"{user}-new", data="first")
        fresh.wait_for(2)
        assert heard(fresh) == ["reset", "first"], "nobody can know that they never were here"


def test_who_was_away_is_told_of_what_was_acknowledged_and_lost(restored: Stack, user: str, tmp_path: Path) -> None:
    """Nobody heard the lost event, but the worker that acknowledged it knows of it."""
    stack = restored
    seen, _ = stack.publish_many([{"user": user, "data": "seen"}, {"user": user, "data": "kept"}])
    backup(stack, tmp_path / "backup")
    with without_redis(stack) as data:  # at once: no probe has seen what follows the backup
        put_back(tmp_path / "backup", data)
    stack.publish_many([{"user": user, "data": f"lost {number}"} for number in range(5)])
    with without_redis(stack) as data:
        put_back(tmp_path / "backup", data)
    after = stack.publish(user=user, data="after")
    with stack.listen(user, base=stack.app_url, headers={"Last-Event-ID": seen}) as source:
        source.wait_ids(after)
        assert sorted(heard(source)) == ["after", "kept", "reset"]
        assert heard(source)[-1] == "after"
    stack.publish(user=user, data="later")
    with stack.listen(user, base=stack.app_url, headers={"Last-Event-ID": after}) as source:
        source.wait_for(1)
        assert heard(source) == ["later"], "it is said once"


def test_a_backup_that_is_put_back_while_nothing_runs(restored: Stack, user: str, tmp_path: Path) -> None:
    stack = restored
    had = stack.publish(user=user, data="had")
    backup(stack, tmp_path / "backup")
    lost = stack.publish(user=user, data="lost")
    stack.stop()
    put_back(tmp_path / "backup", stack.data_dir / "valkey")
    stack.output = ""
    stack.start()
    new = stack.publish(user=user, data="new")
    for cursor, says in ((lost, ["reset", "new"]), (new, [])):
        with stack.listen(user, base=stack.app_url, headers={"Last-Event-ID": cursor}) as again:
            again.wait_for(len(says))
            assert heard(again) == says
    assert had < lost < new


def is_calm(stack: Stack, user: str) -> bool:
    """Whether a new tab hears of no loss, not even of one that another test made."""
    stack.redis.delete(keys.loss)
    with stack.listen(user, "?ack=manual&since=unread", base=stack.app_url) as source:
        event = stack.publish(user=user, data="calm")
        source.wait_ids(event)
        return "reset" not in heard(source) and not stack.redis.exists(keys.loss)


def test_a_flushall_is_said_to_who_listens(restored: Stack, user: str) -> None:
    stack = restored
    until(
        lambda: all(is_calm(stack, f"{user}-calm") for _ in range(16)), "both workers to have told of what was before"
    )
    with stack.listen(user, base=stack.app_url) as source, stack.listen(f"{user}-idle", base=stack.app_url) as idle:
        stack.publish(user=user, data="had")
        source.wait_for(1)
        stack.redis.flushall()
        for each in (source, idle):
            each.wait(lambda each: each.messages and each.messages[-1].event == "gap", "the gap")
        for name in (user, f"{user}-idle"):
            stack.publish(user=name, data="new")
        source.wait_for(3)
        idle.wait_for(2)
        assert heard(source) == ["had", "reset", "new"]
        assert heard(idle) == ["reset", "new"]


@pytest.mark.parametrize("lost", [False, True])
def test_lives_are_forgotten_beyond_a_number(restored: Stack, user: str, lost: bool) -> None:
    """Losses of events are not forgotten: all that was before counts as other data then."""
    stack = restored
    stack.publish(user=user)  # the clock runs; who starts it writes the epoch
    words = [f"{ms}-0" for ms in range(1, 2 * MOST_EPOCHS + 2)]
    stack.redis.set(keys.epoch, " ".join([*words[:2], words[2] + "!" * lost, *words[3:]]))
    restart(stack)
    epoch = stack.redis.get(keys.epoch)
    assert isinstance(epoch, bytes)
    assert epoch.decode().split()[:-2] == (words[2:] if lost else [words[0], *words[3:]])
    stack.redis.flushall()  # the next test has a whole one
