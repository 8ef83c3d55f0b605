"""Who gets which bytes: the parts of the hub that need no server."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from pushsvc.concurrency.loops import TimeSlice
from pushsvc.concurrency.poll import EpollPoll
from pushsvc.concurrency.throttle import TickThrottle
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.channels import Channels
from pushsvc.delivery.fanout import plan, runs
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.read_cache import SHELF_SECONDS, ReadCache
from pushsvc.delivery.subscriber import HELD_EVENTS, SLOW_SECONDS, Reason, Subscriber
from pushsvc.delivery.subscribers import Connections
from pushsvc.delivery.timer_wheel import TimerWheel
from pushsvc.delivery.transports.detached import DetachedSocket, write_all
from pushsvc.delivery.transports.queued import REPLAY_SECONDS, QueuedTransport
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.entries import Entry, Slice
from pushsvc.storage.log import Clock
from pushsvc.storage.redis.epochs import EpochHistory


def at(number: int) -> EventId:
    return EventId(1000, number)


def live(*numbers: int) -> list[EncodedEvent]:
    return [EncodedEvent(at(number), b"%d;" % number) for number in numbers]


class Taken:
    """An outlet that keeps what it gets, as long as it has room."""

    detached = False
    clear = True

    def __init__(self, room: bool = True) -> None:
        self.room = room
        self.wires: list[bytes] = []

    def send(self, burst: EncodedBatch) -> bool:
        if self.room:
            self.wires.append(burst.wire)
        return self.room

    def wake(self) -> None: ...

    def end(self, farewell: bytes, *, whole: bool) -> bool:
        return True

    def cut(self) -> None: ...

    def stuck(self, now: float, behind: bool, patience: float) -> bool:
        return False


def subscriber(*channels: str, after: EventId = BEGINNING) -> tuple[Subscriber, Taken]:
    outlet = Taken()
    return Subscriber("u", channels, after, outlet), outlet


CLOCK = Clock(EpochHistory(b"0-0"), at(5), 2_000, 0)


def test_a_burst_is_framed_as_one_chunk() -> None:
    burst = EncodedBatch.of(live(1, 2))
    assert (burst.wire, burst.chunk, burst.last) == (b"1;2;", b"4\r\n1;2;\r\n", at(2))
    assert EncodedBatch(b"").chunk == b"", "an empty chunk would end the response"
    assert burst.after(at(0)) is burst
    later = burst.after(at(1))
    assert later is not None
    assert later.wire == b"2;"
    assert burst.after(at(2)) is None


def test_what_is_announced_during_a_replay_is_sent_once_after_it() -> None:
    who, outlet = subscriber("a")
    assert who.catching is not None
    who.offer(EncodedBatch.of(live(4)), 0)  # before the clock: the log has it
    who.catching.clock = CLOCK
    who.offer(EncodedBatch.of(live(5, 6)), 0)
    who.offer(EncodedBatch.of(live(7)), 0)
    assert outlet.wires == []
    assert who.caught_up(at(5), 0)
    assert outlet.wires == [b"6;7;"]
    who.offer(EncodedBatch.of(live(7, 8)), 0)
    assert outlet.wires == [b"6;7;", b"8;"]


def test_more_than_may_be_held_is_read_instead() -> None:
    who, outlet = subscriber("a")
    assert who.catching is not None
    who.catching.clock = CLOCK
    for number in range(10, 11 + HELD_EVENTS):
        who.offer(EncodedBatch.of(live(number)), 0)
    assert who.caught_up(at(5), 0)
    assert outlet.wires == []
    assert who.catching is not None, "not live: another clock is due"


def test_what_finds_no_room_was_not_had() -> None:
    who, outlet = subscriber("a")
    who.go_live()
    outlet.room = False
    assert not who.offer(EncodedBatch.of(live(1)), 0)
    assert who.last == BEGINNING


@pytest.fixture
def channels() -> Channels:
    """Descriptors 1 and 2 follow a, 2 and 3 follow b, all settled."""
    found: dict[int, Subscriber] = {}
    result = Channels()
    result.epoch = b"1-0"
    for fd, names in {1: "a", 2: "ab", 3: "b"}.items():
        found[fd], _ = subscriber(*names)
        result.enter(found[fd])
        result.settle(found[fd], fd)
    result.prove(["a", "b"], at(0))
    return result


def announcement(channel: str, number: int, prev: int, epoch: str = "1-0") -> tuple[str, bytes]:
    return channel, f"{at(number)} {at(prev)} {epoch} data: {number}\n\n".encode()


def sent(channels: Channels, *batch: tuple[str, bytes]) -> dict[int, list[str]]:
    found, torn = runs(batch, channels)
    assert not torn
    return {fd: [str(event.id.seq) for event in burst.events] for burst, fds in plan(found) for fd in fds}


def test_events_of_several_channels_leave_in_one_order(channels: Channels) -> None:
    batch = [announcement("a", 1, 0), announcement("b", 2, 0), announcement("a", 3, 1), announcement("c", 4, 0)]
    assert sent(channels, *batch) == {1: ["1", "3"], 2: ["1", "2", "3"], 3: ["2"]}
    assert sent(channels, announcement("a", 5, 3), announcement("a", 6, 5)) == {1: ["5", "6"], 2: ["5", "6"]}


def test_a_torn_chain_is_said_with_what_was_whole(channels: Channels) -> None:
    assert runs([announcement("a", 1, 0), announcement("a", 4, 3), announcement("b", 5, 0)], channels)[1] == {
        "a": at(1)
    }
    assert runs([announcement("a", 6, 4)], channels)[1] == {}, "once is enough"


def test_what_a_replaced_master_announces_is_not_sent(channels: Channels) -> None:
    runs([announcement("a", 1, 0)], channels)
    assert runs([announcement("a", 2, 1, epoch="0-5")], channels) == ([], {"a": at(1)})
    assert sent(channels, announcement("a", 3, 1)) == {1: ["3"], 2: ["3"]}, "and the chain goes on"


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with ExitStack() as stack:
        made = [socket.socketpair() for _ in range(5)]
        for pair in made:
            for end in pair:
                stack.enter_context(end)
                end.setblocking(False)
        yield made


def test_one_full_and_one_broken_socket_harm_no_other(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    full, broken = pairs[1][0], pairs[3]
    filled = 0
    try:
        while True:
            filled += full.send(b"x" * 65536)
    except BlockingIOError:
        pass
    broken[1].close()
    wire = b"hello"
    assert write_all([ours.fileno() for ours, _ in pairs], wire) == [5, 0, 5, 5, 5]
    assert [pairs[number][1].recv(10) for number in (0, 2, 4)] == [wire] * 3
    taken = 0
    while taken < filled:
        taken += len(os.read(pairs[1][1].fileno(), 1 << 20))
    assert taken == filled


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Without a bus; it looks up after each connection."""
    monkeypatch.setattr("pushsvc.delivery.hub.LOOK", 1)
    nothing: Any = SimpleNamespace(ask=lambda: None)
    connections = Connections(
        nothing, lambda subscriber: None, heartbeat_seconds=15, retry_seconds=2, send_buffer_bytes=65536, poll=EpollPoll
    )
    return Hub(nothing, connections, nothing, lambda ear: nothing, called=print, capacity=Capacity(10, lambda: 0))


def settled(hub: Hub, end: socket.socket) -> tuple[int, Subscriber]:
    fd = os.dup(end.fileno())
    who, _ = subscriber("a")
    hub.connections.enter(who)
    who.go_live()
    who.outlet = DetachedSocket(fd, hub.connections.sockets, chunked=True)
    hub.connections.sockets.add(fd, who)
    hub.connections.settle(who)
    assert who.due
    return fd, who


def test_a_descriptor_that_changed_hands_hears_nothing(
    hub: Hub, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    """While a fan-out shares its turn, a client leaves, and its descriptor's number goes to somebody else."""
    followers = [settled(hub, ours) for ours, _ in pairs[:3]]
    fd, leaver = followers[1]
    stranger, heard = pairs[4]

    class Theft(TimeSlice):
        def yield_if_over(self) -> None:
            if leaver.reason is None:
                hub.connections.end(leaver, Reason.GONE)
                os.dup2(stranger.fileno(), fd)

    channels = hub.connections.channels
    hub._write(EncodedBatch.of(live(1)), channels["a"].fds(), Theft(), channels.unsettled)
    os.close(fd)
    assert [pairs[number][1].recv(20) for number in (0, 2)] == [b"2\r\n1;\r\n"] * 2
    with pytest.raises(BlockingIOError):
        heard.recv(20)
    for _, who in (followers[0], followers[2]):
        hub.connections.end(who, Reason.GONE)


@pytest.mark.parametrize("crowd", [True, False])
def test_what_the_kernel_has_no_room_for_follows(
    hub: Hub, pairs: list[tuple[socket.socket, socket.socket]], crowd: bool
) -> None:
    ours, theirs = pairs[0]
    _, who = settled(hub, ours)
    channels, outlet = hub.connections.channels, who.outlet
    assert isinstance(outlet, DetachedSocket)
    if not crowd:
        hub.connections.unsettle(who)
    sent = heard = b""
    while outlet.clear:
        burst = EncodedBatch.of([EncodedEvent(at(len(sent)), b"%d" % len(sent) + b"x" * 10_000)])
        sent += burst.chunk
        if crowd:
            hub._write(burst, channels["a"].fds(), TimeSlice(), channels.unsettled)
        else:
            assert who.offer(burst, time.monotonic())
        assert len(sent) < 100_000_000, "something waits, or was lost"
    more = EncodedBatch.of([EncodedEvent(at(len(sent)), b"more")])
    assert who.offer(more, time.monotonic())
    sent += more.chunk
    while not outlet.clear or len(heard) < len(sent):
        try:
            heard += theirs.recv(2**20)
        except BlockingIOError:
            assert outlet.flush() or not outlet.clear
    assert heard == sent
    hub.connections.end(who, Reason.GONE)


def test_one_that_ends_during_its_replay_gets_its_farewell(hub: Hub) -> None:
    """A queue's own greenlet writes it; being up to date must not cut the connection before."""
    who, _ = subscriber("a")
    who.outlet = outlet = QueuedTransport(65536)
    hub.connections.enter(who)
    hub.connections.end(who, Reason.DRAINING)
    hub.connections.recovered(who, True)
    assert outlet.take(wait=False)[0].startswith(b"retry: ")
    assert len(hub.connections) == 1, "until the request ends"


def test_one_that_takes_nothing_is_stuck_when_more_waits_for_it() -> None:
    """Once it was too slow for what came live, it reads on from the log, where nothing finds no room any more."""
    outlet, event = QueuedTransport(4), EncodedBatch.of(live(1))
    began = time.monotonic()
    late = began + 2 * SLOW_SECONDS
    assert outlet.send(event)
    outlet.take(wait=False)
    with outlet.writing():
        assert not outlet.stuck(late, behind=False, patience=SLOW_SECONDS), "nothing more waits for it"
        assert not outlet.stuck(late, behind=True, patience=SLOW_SECONDS), "it may be a poor line"
        assert outlet.stuck(began + 2 * REPLAY_SECONDS, behind=True, patience=SLOW_SECONDS)
        assert [outlet.send(event) for _ in range(3)] == [True, True, False]
        assert outlet.stuck(late, behind=True, patience=SLOW_SECONDS)
    outlet.take(wait=False)
    assert not outlet.stuck(late, behind=True, patience=SLOW_SECONDS), "no write hangs"
    with outlet.writing():  # a page
        assert not outlet.stuck(began + SLOW_SECONDS / 2, behind=True, patience=SLOW_SECONDS)
        assert outlet.stuck(late, behind=True, patience=SLOW_SECONDS)
    assert outlet.send(event), "it has caught up"
    with outlet.writing():
        assert not outlet.stuck(late, behind=False, patience=SLOW_SECONDS)
        outlet.end(b"farewell", whole=False)
        assert outlet.stuck(late, behind=False, patience=SLOW_SECONDS)


class Log:
    """As much of an EventLog as a shelf needs: one event a second, and a count of the reads."""

    def __init__(self) -> None:
        self.reads = 0
        self.entries = [Entry(at(number), at(number - 1), b"", None) for number in range(1, 6)]

    def read(self, names: list[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
        self.reads += len(names)
        gevent.sleep(0)
        return [Slice([entry for entry in self.entries if entry.id > after], self.entries[-1].id) for _ in names]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def shelf(log: Log) -> ReadCache:
    return ReadCache(log, lambda name: name != "lonely", lambda: 0.0)  # type: ignore[arg-type]


def numbers(pieces: list[Slice]) -> list[list[int]]:
    return [[entry.id.seq for entry in piece.entries] for piece in pieces]


def test_a_crowd_shares_reads_also_while_they_are_under_way(log: Log, shelf: ReadCache) -> None:
    readers = [gevent.spawn(shelf.read, ["a", "b"], at(2), CLOCK, 100) for _ in range(50)]
    assert all(numbers(reader.get()) == [[3, 4, 5]] * 2 for reader in readers)
    assert log.reads == 2
    assert numbers(shelf.read(["a"], at(4), CLOCK, 100)) == [[5]]
    assert log.reads == 2, "a later cursor wants a part of it"
    assert numbers(shelf.read(["a"], at(1), CLOCK, 100)) == [[2, 3, 4, 5]]
    assert log.reads == 3, "an earlier one more"
    for _ in range(2):
        shelf.read(["lonely"], at(1), CLOCK, 100)
    assert log.reads == 5, "what nobody shares is not kept"


def test_a_later_clock_needs_the_tails_to_be_the_same(log: Log, shelf: ReadCache) -> None:
    later = CLOCK._replace(last=at(9))
    shelf.read(["a", "b"], at(2), CLOCK, 100)
    shelf.validate(later, {"a": at(5), "b": at(8)})
    assert numbers(shelf.read(["a"], at(2), later, 100)) == [[3, 4, 5]]
    assert log.reads == 2
    log.entries.append(Entry(at(8), at(5), b"", None))
    assert numbers(shelf.read(["b"], at(2), later, 100)) == [[3, 4, 5, 8]], "its announcement was lost"
    assert numbers(shelf.read(["a"], at(2), later._replace(last=at(10)), 100)) == [[3, 4, 5, 8]], "nobody vouched"


def test_an_announcement_takes_a_channel_off_the_shelf(log: Log, shelf: ReadCache) -> None:
    shelf.read(["a"], at(2), CLOCK, 100)
    shelf.forget("a")
    shelf.read(["a"], at(2), CLOCK, 100)
    assert log.reads == 2


def test_what_stood_on_the_shelf_for_long_is_read_again(log: Log) -> None:
    now = [0.0]
    shelf = ReadCache(log, lambda name: True, lambda: now[0])  # type: ignore[arg-type]
    shelf.read(["a"], at(2), CLOCK, 100)
    now[0] = SHELF_SECONDS + 1
    shelf.evict_old()
    shelf.read(["a"], at(2), CLOCK, 100)
    assert log.reads == 2


def test_a_read_that_fails_fails_for_all_who_wait_and_is_tried_again(log: Log, shelf: ReadCache) -> None:
    good, log.read = log.read, lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    readers = [gevent.spawn(shelf.read, ["a"], at(2), CLOCK, 100) for _ in range(2)]
    gevent.joinall(readers)
    assert all(isinstance(reader.exception, ZeroDivisionError) for reader in readers)
    log.read = good  # type: ignore[method-assign]
    assert numbers(shelf.read(["a"], at(2), CLOCK, 100)) == [[3, 4, 5]]


def test_the_wheel_has_each_at_one_place() -> None:
    wheel = TimerWheel(0.5)
    (first, _), (second, _), (third, _) = subscriber("a"), subscriber("a"), subscriber("a")
    wheel.put(first, 1.0)
    wheel.put(second, 0.1)
    wheel.put(third, 0.6)
    wheel.put(first, 1.5)
    wheel.take(third)
    assert [wheel.turn() for _ in range(4)] == [[second], [], [first], []]


def test_a_turnstile_lets_a_crowd_through_bit_by_bit_and_in_order() -> None:
    turnstile, through = TickThrottle(3), []

    def walk(number: int) -> None:
        turnstile.wait()
        through.append(number)

    crowd = [gevent.spawn(walk, number) for number in range(20)]
    gevent.sleep(0)
    assert len(through) <= 6
    gevent.joinall(crowd, timeout=10)
    assert through == list(range(20))
