"""An event that a worker acknowledged outlives it: the workers after it notice when Redis has lost that."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import gevent
import pytest

from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.acknowledged import MOST_EPOCHS, Acknowledged
from pushsvc.storage.clock import Clock
from pushsvc.storage.journal import SIZE
from pushsvc.storage.redis.epochs import EpochHistory
from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import ALONE as keys
from tests.conftest import Start
from tests.support.inside.acknowledging import end, process
from tests.support.inside.delivery import clock_comes, make_hub
from tests.support.inside.lives import Known, at, heard
from tests.support.redis.restored import backup, put_back
from tests.support.stack import Stack

LONGEST = f"{2**64 - 1}-{2**64 - 1}"


def test_who_has_ended_leaves_what_it_acknowledged(tmp_path: Path) -> None:
    (first, one), (second, two) = process(tmp_path, "one"), process(tmp_path, "two")
    _, three = process(tmp_path, "three")
    _, other = process(tmp_path, "other", kind="another")
    for known, ids in ((one, (1, 9, 7)), (two, (4,))):
        for ms in ids:
            known.note(b"1-0", at(ms))
        known.save()
    end(first)
    other.inherit()
    assert other.newest() == {}
    three.inherit()
    assert three.newest() == {b"1-0": at(9)}, "the second lives"
    two.inherit()
    assert two.newest() == {b"1-0": at(4)}, "nobody inherits twice"
    end(second)
    _, last = process(tmp_path, "last")
    last.inherit()
    assert last.newest() == {b"1-0": at(4)}
    assert len(list((tmp_path / "acknowledged").iterdir())) == 2, "the third's, who lives, and the heir's"


def test_threads_share_the_file(tmp_path: Path) -> None:
    """Each thread writes its own id there before its receipt goes out, and waits for no lock of another thread."""
    begin = threading.Barrier(8)
    done: list[bool] = []

    def publish(ms: int, known: Acknowledged, file: Path) -> None:
        begin.wait()
        known.note(b"1-0", at(ms))
        known.save()
        done.append(int(file.read_bytes().split()[-1].partition(b"-")[0]) >= ms)

    for number in range(20):
        journal, known = process(tmp_path, str(number))
        threads = [
            threading.Thread(
                target=publish, args=(ms, known, tmp_path / "acknowledged" / f"clock.{number}"), daemon=True
            )
            for ms in range(1, 9)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        end(journal)
    assert done == [True] * 160


def test_what_was_told_is_no_heritage(tmp_path: Path) -> None:
    journal, known = process(tmp_path, "one")
    for epoch, ms in ((b"1-0", 9), (b"20-0", 25)):
        known.note(epoch, at(ms))
    known.save()
    known.forget({b"1-0": at(9), b"20-0": at(25)}, but=b"20-0")
    known.save()
    end(journal)
    _, heir = process(tmp_path, "two")
    heir.inherit()
    assert heir.newest() == {b"20-0": at(25)}


def test_a_file_holds_the_newest_lives_whole(tmp_path: Path) -> None:
    journal, known = process(tmp_path, "one")
    top = EventId.parse(LONGEST)
    for number in range(2 * MOST_EPOCHS):
        known.note(f"{2**63 + number}-{2**63}".encode(), top._replace(seq=top.seq - 100 + number))
    known.save()
    end(journal)
    _, heir = process(tmp_path, "two")
    heir.inherit()
    assert max(heir.newest().values()).seq == top.seq - 100 + 2 * MOST_EPOCHS - 1
    assert len(heir.newest()) == MOST_EPOCHS
    assert len(known._lines()) < SIZE


@pytest.mark.parametrize("content", [b"", b"\0" * SIZE, b"\xff\xfe nonsense", b"1-0\n2-0\n", b"1-0 x\n"])
def test_a_file_that_was_torn_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "acknowledged").mkdir()
    (tmp_path / "acknowledged" / "clock.old").write_bytes(content)
    _, heir = process(tmp_path, "new")
    heir.inherit()
    assert heir.newest() == {}
    assert list((tmp_path / "acknowledged").iterdir()) == []


def test_where_no_file_can_be_the_receipts_go_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "acknowledged").write_text("somebody's")
    _, known = process(tmp_path, "one")
    for ms in (1, 2):
        known.inherit()
        known.note(b"1-0", at(ms))
        known.save()
    assert caplog.text.count("cannot be written") == 1


def again(stack: Stack) -> None:
    stack.output = ""  # of the start before
    stack.start()


def test_what_died_with_its_worker_and_redis_lost_is_said(start: Start, user: str, tmp_path: Path) -> None:
    """All of it is killed at once; the next worker, of the same machine, knows what was acknowledged."""
    stack = start(workers=1)
    seen, _ = stack.publish_many([{"user": user, "data": "seen"}, {"user": user, "data": "kept"}])
    backup(stack, tmp_path / "backup")
    stack.publish_many([{"user": user, "data": f"lost {number}"} for number in range(3)])
    stack.stop(signal.SIGKILL)
    put_back(tmp_path / "backup", stack.data_dir / "valkey")
    again(stack)
    after = stack.publish(user=user, data="after")
    with stack.listen(user, headers={"Last-Event-ID": seen}) as source:
        source.wait_ids(after)
        assert heard(source) == ["kept", "reset", "after"]
    stack.stop()
    again(stack)
    with stack.listen(user, headers={"Last-Event-ID": after}) as source:
        stack.publish(user=user, data="later")
        source.wait_for(1)
        assert heard(source) == ["later"], "it is said once"


def test_who_lives_on_inherits_when_redis_has_another_life(tmp_path: Path) -> None:
    """A worker and Redis are killed together: the other worker tells, before anybody takes the dead one's place."""
    (dead, its), (_, survivor) = process(tmp_path, "dead"), process(tmp_path, "survivor")
    log = Known(b"10-0", 15)
    log.acknowledged = survivor
    hub = make_hub(log)
    told = [clock_comes(hub, at(15), b"10-0")]
    its.note(b"10-0", at(18))
    its.save()
    told.append(clock_comes(hub, at(15), b"10-0"))
    end(dead)
    log.clock_now = Clock(EpochHistory(b"10-0 15-0 20-0"), at(20), 0, 0)
    told += [clock_comes(hub, at(15), b"10-0") for _ in range(2)]
    gevent.sleep(0)
    assert (told, log.noted) == ([False, False, False, True], [(at(15), at(20))])


@pytest.mark.parametrize(
    ("epoch", "newest", "boundary"),
    [
        (b"1-0", 5, None),
        (b"1-0", 6, (5, 9)),
        (b"1-0", 10, (5, 9)),  # by a master that had been replaced
        (b"9-0", 14, None),
        (b"0-0", 7, (5, 9)),  # before the first clock came, nobody knew the life
        (b"0-0", 10, None),
    ],
)
def test_what_a_life_lacks_is_known_by_the_newest_of_it(
    epoch: bytes, newest: int, boundary: tuple[int, int] | None
) -> None:
    epochs = EpochHistory(b"1-0 5-0 9-0")
    lost = epochs.losses_of({epoch: at(newest)})
    assert lost == ({(at(boundary[0]), at(boundary[1]))} if boundary else set())
    assert EpochHistory(epochs.raw, lost).recorded_loss(at(3)) == ((at(5), at(9)) if boundary else None)


def test_nobody_is_served_in_a_life_before_it_is_known_what_that_lacks(tmp_path: Path) -> None:
    """An event that the other workers of the machine acknowledged counts at once, not only when they look
    themselves."""
    _, other = process(tmp_path, "other")
    fence = Fence(keys, process(tmp_path, "this")[1])
    fence.advance_to(EpochHistory(b"10-0"))
    other.note(b"10-0", at(18))
    other.save()
    fence.advance_to(EpochHistory(b"10-0 15-0 20-0"))
    assert fence.epochs.recorded_loss(at(12)) == (at(15), at(20))
    assert fence.epochs.recorded_loss(at(21)) is None
    fence.advance_to(EpochHistory(b"10-0 15-0 20-0!"))
    assert fence.epochs.recorded_loss(at(12)) == (at(15), at(20))
    fence.advance_to(EpochHistory(b"10-0 15-0 20-0! 30-0 40-0"))
    assert fence.epochs.recorded_loss(at(22)) is None, "nothing is missing there"


def test_a_fresh_worker_knows_that_all_was_lost(tmp_path: Path) -> None:
    """There was a FLUSHALL just before it started, which the workers that acknowledged something have yet to notice."""
    _, other = process(tmp_path, "other")
    fence = Fence(keys, process(tmp_path, "fresh")[1])
    assert not fence.knows_more(b"")
    other.note(b"10-0", at(18))
    other.save()
    fence.advance_to(EpochHistory(b"20-0"))
    assert fence.all_lost
    assert fence.knows_more(b"20-0")
    elsewhere = Fence(keys, process(tmp_path, "elsewhere", kind="another")[1])
    elsewhere.advance_to(EpochHistory(b"20-0"))
    assert not elsewhere.knows_more(b"20-0")
    assert elsewhere.knows_more(b"30-0"), "nothing is left of what it knew"


@pytest.mark.parametrize("late", [False, True], ids=["knows the birth", "comes after"])
def test_what_was_before_a_flushall_that_is_known_is_no_news(tmp_path: Path, late: bool) -> None:
    """A process that died in that moment left its file, which is found when Redis has another life."""
    dead, its = process(tmp_path, "dead")
    its.note(b"10-0", at(18))
    fence = Fence(keys, process(tmp_path, "this")[1])
    log = Known(b"20-0", 25)
    log.acknowledged = fence.acknowledged
    losses = make_hub(log).catch_up.losses

    def found(raw: bytes, last: int) -> bool:
        losses.probe_leaves()
        fence.advance_to(EpochHistory(raw))
        return losses.found(at(25), b"20-0", Clock(fence.epochs, at(last), 0, 0))

    if not late:
        assert not found(b"20-0", 25)
    its.save()
    end(dead)
    told = [found(b"20-0 25-0 30-0", 31) for _ in range(3)]
    assert told == [late, False, False]
    assert fence.all_lost == late


def test_a_loss_whose_life_cannot_be_noted_yet() -> None:
    """Redis comes back with less and has too few replicas: the loss is told at once, and noted once the life is."""
    log = Known(b"10-0", 20)
    told: list[bool] = []
    losses = make_hub(log).catch_up.losses
    for through, epochs, last in (
        (20, b"10-0", 20), (20, b"10-0", 15), (15, b"10-0", 15), (15, b"10-0 15-0 30-0", 31),
    ):  # fmt: skip
        losses.probe_leaves()
        told.append(losses.found(at(through), b"10-0", Clock(EpochHistory(epochs), at(last), 0, 0)))
        gevent.sleep(0)
    assert told == [False, True, False, True]
    assert log.noted == [(BEGINNING, at(10)), (at(15), at(30))]
