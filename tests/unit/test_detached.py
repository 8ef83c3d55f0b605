"""Detached sockets: bytes that the kernel has no room for, and descriptors that change hands."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pushsvc.concurrency.loops import TimeSlice
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.subscriber import Reason, Subscriber
from pushsvc.delivery.transports.detached import DetachedSocket, write_all
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from tests.support.delivery import at, live, subscriber


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
