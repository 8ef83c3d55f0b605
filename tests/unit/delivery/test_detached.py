"""Detached sockets: bytes that the kernel has no room for, and descriptors that change hands."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import gevent
import pytest

from pushsvc.concurrency.loops import TimeSlice
from pushsvc.delivery.endings import Reason
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.detached import DetachedSocket, write_all
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from tests.support.inside.delivery import at, live, subscriber


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


def on_fast_path(hub: Hub, end: socket.socket) -> tuple[int, Subscriber]:
    fd = os.dup(end.fileno())
    who, _ = subscriber("a")
    hub.subscribers.add(who)
    who.go_live()
    who.transport = DetachedSocket(fd, hub.lifetimes.sockets, who, chunked=True)
    hub.lifetimes.sockets.add(who.transport)
    hub.subscribers.to_fast_path(who)
    assert who.on_fast_path
    return fd, who


def test_who_is_spoken_to_while_events_are_sent_misses_and_repeats_nothing(
    hub: Hub, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    """The words that are said leave no room, so the client leaves the fast path: after the batch, which it has had by
    then."""
    (ours, theirs), channels = pairs[0], hub.subscribers.channels
    _, who = on_fast_path(hub, ours)
    with channels.writing():
        saying = gevent.spawn(hub.lifetimes.say, who, b"x" * 10_000_000)
        gevent.sleep(0)
        assert who.on_fast_path
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        channels.through = at(7)
    saying.join(5)
    assert not who.on_fast_path
    assert who.last == at(7)
    assert theirs.recv(1) == b"x"


def test_a_descriptor_that_changed_hands_hears_nothing(
    hub: Hub, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    """A client leaves while a fan-out shares its turn, and its descriptor's number goes to somebody else."""
    followers = [on_fast_path(hub, ours) for ours, _ in pairs[:3]]
    fd, leaver = followers[1]
    stranger, heard = pairs[4]

    class Theft(TimeSlice):
        def yield_if_over(self) -> bool:
            if leaver.reason is None:
                hub.lifetimes.end(leaver, Reason.GONE)
                os.dup2(stranger.fileno(), fd)
            return True

    channels = hub.subscribers.channels
    hub.broadcaster.write(EncodedBatch.of(live(1)), channels["a"].fast_fds(), Theft(), channels.version)
    os.close(fd)
    assert [pairs[number][1].recv(20) for number in (0, 2)] == [b"2\r\n1;\r\n"] * 2
    with pytest.raises(BlockingIOError):
        heard.recv(20)
    for _, who in (followers[0], followers[2]):
        hub.lifetimes.end(who, Reason.GONE)


@pytest.mark.parametrize("crowd", [True, False])
def test_what_the_kernel_has_no_room_for_follows(
    hub: Hub, pairs: list[tuple[socket.socket, socket.socket]], crowd: bool
) -> None:
    ours, theirs = pairs[0]
    _, who = on_fast_path(hub, ours)
    channels, transport = hub.subscribers.channels, who.transport
    assert isinstance(transport, DetachedSocket)
    if not crowd:
        hub.subscribers.to_slow_path(who)
    sent = heard = b""
    while transport.drained:
        burst = EncodedBatch.of([EncodedEvent(at(len(sent)), b"%d" % len(sent) + b"x" * 10_000)])
        sent += burst.chunk
        if crowd:
            hub.broadcaster.write(burst, channels["a"].fast_fds(), TimeSlice(), channels.version)
        else:
            assert who.offer(burst, time.monotonic())
        assert len(sent) < 100_000_000, "something waits, or was lost"
    more = EncodedBatch.of([EncodedEvent(at(len(sent)), b"more")])
    assert who.offer(more, time.monotonic())
    sent += more.chunk
    while not transport.drained or len(heard) < len(sent):
        try:
            heard += theirs.recv(2**20)
        except BlockingIOError:
            assert transport.flush() or not transport.drained
    assert heard == sent
    hub.lifetimes.end(who, Reason.GONE)


def test_nothing_of_a_connection_waits_for_the_collector(
    hub: Hub, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    """A worker stands still while it collects, and a crowd that leaves would have it do so."""
    who = Subscriber("who leaves", ["a"], at(1), QueuedTransport(1000))
    hub.subscribers.add(who)
    who.go_live()
    gc.collect()
    gc.disable()
    try:
        hub.adopt(who, pairs[0][0].dup(), chunked=True)
        hub.lifetimes.end(who, Reason.GONE)
        assert who not in hub.subscribers
        del who
        held = [each for each in gc.get_objects() if isinstance(each, Subscriber)]
        assert "who leaves" not in [each.user for each in held]
    finally:
        gc.enable()
