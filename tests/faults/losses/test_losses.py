"""Announcements that are lost, and logs that are trimmed while they are read: found, healed, or said."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest
import redis

from pushsvc.delivery.reading.replay import Backfill, Replay
from pushsvc.errors import Unavailable
from pushsvc.events.event import Event, EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.log import EventLog, Receipt
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.epochs import EpochHistory
from pushsvc.storage.redis.keys import ALONE as keys
from pushsvc.storage.redis.scripts import Script
from pushsvc.storage.retention import Retention
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.stack import Stack


def append_unannounced(stack: Stack, user: str, data: str) -> str:
    """Append as the service does, except that the announcement gets lost on its way."""
    whole = Script("log/append", after=("counts/counting", "log/log", "log/once")).source.decode()
    silent = "\n".join(line for line in whole.splitlines() if "try('SPUBLISH'" not in line)
    assert silent != whole.rstrip("\n")
    channel = f"user:{user}"
    names = [keys.clock, keys.epoch, keys.log(channel), keys.tail(channel)]
    answer = stack.redis.eval(silent, len(names), *names, f"data: {data}\n\n", 1000, 604800, 604800, 0, 0)
    event_id: bytes = answer[0]
    return event_id.decode()


def test_a_lost_announcement_is_found_by_the_next(stack: Stack, server: str, user: str) -> None:
    with stack.listen(user, base=server) as source:
        ids = [stack.publish(user=user, data="1")]
        source.wait_ids(*ids)
        ids += [append_unannounced(stack, user, "2"), append_unannounced(stack, user, "3")]
        ids.append(stack.publish(user=user, data="4"))
        source.wait_ids(*ids)
        assert [message.id for message in source.messages if message.id in ids] == ids


def test_an_announcement_lost_behind_a_later_one_of_another_channel(stack: Stack, server: str, user: str) -> None:
    """Its id lies below what the listener has had by then, so that it must be read from where its channel was whole."""
    with stack.listen(user, f"?since=now&topics={user}", base=server) as source:
        ids = [stack.publish(user=user, data="1")]
        source.wait_ids(*ids)
        lost = append_unannounced(stack, user, "lost")
        ids.append(stack.publish(topic=user, data="2"))
        source.wait_ids(*ids)
        with stack.listen(user, f"?topics={user}", base=server, headers={"Last-Event-ID": ids[0]}) as other:
            other.wait_ids(lost, ids[1])
            ids.append(stack.publish(user=user, data="3"))
            source.wait_ids(*ids, lost)
            assert source.data == ["1", "2", "lost", "3"]
            other.wait_ids(ids[2])
            assert other.data == ["lost", "2", "3"], "who has read it from the log does not get it twice"


def test_a_late_event_that_was_trimmed_is_said(start: Start, user: str) -> None:
    stack = start(workers=1, keep_events=2)
    with stack.listen(user, f"?since=now&topics={user}") as source:
        ids = [stack.publish(user=user, data="1")]
        source.wait_ids(*ids)
        append_unannounced(stack, user, "trimmed")
        append_unannounced(stack, user, "late")
        ids.append(stack.publish(topic=user, data="2"))
        source.wait_ids(*ids)
        stack.redis.xtrim(keys.log(f"user:{user}"), maxlen=1)
        ids.append(stack.publish(user=user, data="3"))
        source.wait_ids(*ids)
        assert [message.data for message in source.messages if message.event != "gap"] == ["1", "2", "late", "3"]
        assert [message.event for message in source.messages].count("gap") == 1
        assert source.parser.last_event_id == ids[-1]


def test_a_join_does_not_hide_a_loss_from_those_who_listen(single: Stack, user: str) -> None:
    stack = single
    with stack.listen(user) as source:
        ids = [stack.publish(user=user, data="1")]
        source.wait_ids(*ids)
        ids.append(append_unannounced(stack, user, "2"))
        with stack.listen(user, "?since=earliest") as other:
            other.wait_ids(*ids)
            ids.append(stack.publish(user=user, data="3"))
            for each in (source, other):
                each.wait_ids(*ids)
                assert each.ids == ids


def test_a_subscription_that_is_cut_in_silence_is_made_again(single: Stack, user: str) -> None:
    stack = single
    with stack.listen(user) as source:
        ids = [stack.publish(user=user, data="1")]
        source.wait_ids(*ids)
        stack.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        ids.append(append_unannounced(stack, user, "2"))  # nobody could hear it, and nothing follows on it
        source.wait_ids(*ids)
        assert source.ids == ids
        assert source.statuses == [200]


@pytest.fixture
def store(stack: Stack) -> Iterator[RedisClient]:
    with connect(f"unix://{stack.data_dir}/valkey.sock") as client:
        yield RedisClient(client)


def stored(log: EventLog, channel: str, *data: object) -> list[EventId]:
    receipts = log.append([Event(channel, "message", str(each)) for each in data])
    return [receipt.id for receipt in receipts if isinstance(receipt, Receipt)]


class TrimmedBehindTheClock(EventLog):
    """A log to which more is published between a reader's look at the clock and its read."""

    meanwhile: tuple[Event, ...] = ()

    def clock(self) -> Clock:
        clock = super().clock()
        events, self.meanwhile = self.meanwhile, ()
        if events:
            self.append(events)
        return clock


def gaps_and_data(log: EventLog, channel: str, after: EventId) -> tuple[list[str], list[str]]:
    wires = [page.wire.decode() for page in Replay(log, [channel], after).pages()]
    gaps = [json.loads(wire.partition("data: ")[2])["reason"] for wire in wires if "event: gap" in wire]
    return gaps, [line for wire in wires if "event: gap" not in wire for line in wire.splitlines() if "data" in line]


@pytest.mark.parametrize("missed", [1, 3])
def test_a_log_that_is_trimmed_past_the_clock(store: RedisClient, user: str, missed: int) -> None:
    channel = f"user:{user}"
    log = TrimmedBehindTheClock(store, Retention(keep_events=1, keep_seconds=60, dedupe_seconds=60))
    cursor = stored(log, channel, "had")[0]
    for number in range(missed):
        log.append([Event(channel, "message", f"missed {number}")])
    log.meanwhile = (Event(channel, "message", "new 1"), Event(channel, "message", "new 2"))
    assert gaps_and_data(log, channel, cursor) == (["trimmed"], ["data: new 2"])
    log.meanwhile = (Event(channel, "message", "new 3"), Event(channel, "message", "new 4"))
    now = log.clock().last
    log.meanwhile = (Event(channel, "message", "new 5"), Event(channel, "message", "new 6"))
    assert gaps_and_data(log, channel, now)[0] == ["trimmed"], "new 3 came after that clock"
    last = stored(log, channel, "new 7")[0]
    log.meanwhile = (Event(channel, "message", "new 8"), Event(channel, "message", "new 9"))
    assert gaps_and_data(log, channel, last) == ([], []), "what comes after the clock is announced"


def test_what_is_appended_past_the_clock_is_no_loss(store: RedisClient, user: str) -> None:
    channel = f"user:{user}"
    log = TrimmedBehindTheClock(store, Retention(keep_events=10, keep_seconds=60, dedupe_seconds=60))
    cursor = stored(log, channel, "had")[0]
    log.append([Event(channel, "message", "missed")])
    log.meanwhile = (Event(channel, "message", "announced"),)
    assert gaps_and_data(log, channel, cursor) == ([], ["data: missed"])


def test_a_master_that_was_replaced_answers_no_reader(store: RedisClient, user: str) -> None:
    """The clock is that of the new master; the old one cannot know what was published there up to it."""
    log = EventLog(store, Retention(keep_events=10, keep_seconds=60, dedupe_seconds=60))
    [cursor] = stored(log, f"user:{user}", "had")
    clock = log.clock()
    later = EventId(clock.last.ms + 5, 0)
    successor = clock._replace(
        last=later, epochs=EpochHistory(b"%b %b %b" % (clock.epochs.raw, str(clock.last).encode(), str(later).encode()))
    )
    for read in (
        lambda: list(Replay(log, [f"user:{user}"], cursor, clock=successor).pages()),
        lambda: log.read_back(f"user:{user}", later, successor, 10),
    ):
        with pytest.raises(Unavailable, match="changing its master"):
            read()
    assert log.read([f"user:{user}"], cursor, clock, 10)[0].entries == []


def test_the_cursor_stands_after_each_late_event(store: RedisClient, user: str) -> None:
    """Wherever the connection breaks, what comes again is at most the one event whose cursor was cut off."""
    log = EventLog(store, Retention(keep_events=1000, keep_seconds=60, dedupe_seconds=60))
    late, other = f"user:{user}", f"topic:{user}"
    known, *ids = stored(log, late, "known", "late 1", "late 2", "late 3")
    [cursor] = stored(log, other, "had")
    replay = Replay(log, [late, other], cursor, backfill=Backfill({late: known}, cursor))
    wire = b"".join(page.wire for page in replay.pages()).decode()
    said = [line.removeprefix("id: ") for line in wire.splitlines() if line.startswith("id: ")]
    assert said == [str(each) for event_id in ids for each in (event_id, cursor)]


def test_one_channel_that_goes_on_and_one_that_was_trimmed(store: RedisClient, user: str) -> None:
    """The loss in the short channel is said once, though the long one takes several reads."""
    long = EventLog(store, Retention(keep_events=1000, keep_seconds=60, dedupe_seconds=60))
    short = EventLog(store, Retention(keep_events=1, keep_seconds=60, dedupe_seconds=60))
    channels = [f"user:{user}", f"topic:{user}"]
    cursor = stored(short, channels[1], "had")[0]
    long.append([Event(channels[0], "message", f"{n}") for n in range(250)])
    short.append([Event(channels[1], "message", "gone"), Event(channels[1], "message", "kept")])
    replay = Replay(long, channels, cursor)
    wire = b"".join(page.wire for page in replay.pages()).decode()
    assert wire.count("event: gap") == 1
    assert wire.count("\ndata: ") == 250 + 2
    assert wire.endswith("data: kept\n\n")


def test_an_entry_that_was_deleted_by_hand_is_said(stack: Stack, store: RedisClient, user: str) -> None:
    channel = f"user:{user}"
    log = EventLog(store, Retention(keep_events=1000, keep_seconds=60, dedupe_seconds=60))
    ids = stored(log, channel, *range(5))
    client: redis.Redis = stack.redis
    client.xdel(keys.log(channel), str(ids[2]), str(ids[4]))
    assert gaps_and_data(log, channel, ids[0]) == (["trimmed"], ["data: 1", "data: 3"])


def test_ids_rise_though_the_wall_clock_steps_back(start: Start, user: str) -> None:
    """The service's clock has drawn ids that the wall clock has yet to reach, as after an hour's step back."""
    stack = start(workers=1)
    with stack.listen(user) as source:
        ids = [stack.publish(user=user, data="before")]
        ahead = EventId.parse(ids[0]).ms + 3_600_000
        stack.redis.execute_command("XADD", keys.clock, f"{ahead}-0", "", "")
        ids += [stack.publish(user=user, data=str(number)) for number in range(3)]
        source.wait_ids(*ids)
        assert source.ids == ids
    assert [EventId.parse(event_id).ms >= ahead for event_id in ids] == [False, True, True, True]
    with stack.listen(user, headers={"Last-Event-ID": ids[0]}) as source:
        assert [message.id for message in source.wait_for(3)] == ids[1:], "and no gap"


def test_counts_of_connections_mend_themselves(shared: Start, user: str) -> None:
    """A worker that was stopped for long counts as dead; when it goes on, its connections count again."""
    stack = shared(workers=1, max_connections_per_user=1)
    key = keys.connections(user)
    with stack.listen(user):
        until(lambda: stack.redis.hvals(key) == [b"1"], "the count")
        [worker_id] = stack.redis.hkeys(key)
        assert isinstance(worker_id, bytes)
        pid = stack.pids()["gunicorn"][1]
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: not stack.redis.exists(keys.worker(worker_id.decode())), "the sign of life to run out")
            stack.redis.delete(key)  # as another worker does when the user connects there
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: stack.redis.hvals(key) == [b"1"], "the count to be back")
    until(lambda: not stack.redis.exists(key), "the count to go with the connection, though nothing was sent")
