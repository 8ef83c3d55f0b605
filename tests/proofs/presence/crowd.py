"""Users that listen, of whom some come and some go all the time: one process, one epoll."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple

AT_ONCE = 100  # connections that begin together
SETTLE_SECONDS = 1.0  # without a connection that ends, after a kill


class Change(NamedTuple):
    """A user came (the stream has begun) or left (the socket is closed). `at`: by time.monotonic."""

    user: str
    came: bool
    at: float


class Crowd:
    """The sockets of those who are here. Users come in turn, and the one who came first leaves first."""

    def __init__(self, pipe: Connection, address: tuple[str, int], tokens: Mapping[str, str]) -> None:
        self._pipe = pipe
        self._address = address
        self._tokens = tokens
        self._absent = deque(tokens)
        self._here: deque[str] = deque()
        self._sockets: dict[int, tuple[str, socket.socket]] = {}
        self._descriptors: dict[str, int] = {}
        self._coming: set[int] = set()
        self._epoll = select.epoll()
        self.refused = 0

    @classmethod
    def main(
        cls, pipe: Connection, address: tuple[str, int], tokens: Mapping[str, str], users: int, rate: float,
        seconds: float,
    ) -> None:  # fmt: skip
        """Send how many are here, once they are; then each `Change`; then the joins a second and who is here. A word
        that comes is answered with who is left, when no more connections end."""
        crowd = cls(pipe, address, tokens)
        crowd.fill(users)
        pipe.send(users)
        began = time.monotonic()
        joins = crowd.change(rate, seconds)
        took = time.monotonic() - began
        if crowd.refused:
            print(f"{crowd.refused} connects were refused")
        pipe.send((joins / took, set(crowd._here)))
        while not pipe.poll():
            crowd._look(0.05, told=False)
        pipe.recv()
        crowd.until_settled()
        pipe.send(set(crowd._descriptors))
        pipe.recv()  # until the end

    def fill(self, users: int) -> None:
        """Let so many come."""
        while len(self._here) < users or self._coming:
            for _ in range(min(AT_ONCE - len(self._coming), users - len(self._here) - len(self._coming))):
                self._begin()
            self._look(0.05, told=False)

    def change(self, rate: float, seconds: float) -> int:
        """Let so many a second come, and as many go. Gives how many came."""
        began, joins = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds or self._coming:
            due = int((now - began) * rate) - joins if now < began + seconds else 0
            for _ in range(min(due, AT_ONCE - len(self._coming))):
                self._begin()
                self._end()
                joins += 1
            self._look(0.002, told=True)
        return joins

    def until_settled(self) -> None:
        """Wait until no more connections end."""
        ended = time.monotonic()
        while time.monotonic() < ended + SETTLE_SECONDS:
            before = len(self._descriptors)
            self._look(0.05, told=False)
            if len(self._descriptors) != before:
                ended = time.monotonic()

    def _begin(self) -> None:
        user = self._absent.popleft()
        client = socket.create_connection(self._address)
        client.setblocking(False)
        client.send(f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._tokens[user]}\r\n\r\n".encode())
        self._sockets[client.fileno()] = user, client
        self._coming.add(client.fileno())
        self._epoll.register(client, select.EPOLLIN)

    def _end(self) -> None:
        user = self._here.popleft()
        self._close(self._descriptors[user])
        self._absent.append(user)
        self._pipe.send(Change(user, False, time.monotonic()))

    def _close(self, descriptor: int) -> None:
        user, client = self._sockets.pop(descriptor)
        self._descriptors.pop(user, None)
        if descriptor in self._coming:  # it was refused
            self._coming.remove(descriptor)
            self._absent.append(user)
            self.refused += 1
        self._epoll.unregister(descriptor)
        client.close()

    def _look(self, seconds: float, *, told: bool) -> None:
        """Read what has come. `told`: say who came."""
        for descriptor, _ in self._epoll.poll(seconds):
            user, client = self._sockets[descriptor]
            try:
                piece = client.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                self._close(descriptor)
            elif descriptor in self._coming and b"event: cursor" in piece:
                self._coming.remove(descriptor)
                self._descriptors[user] = descriptor
                self._here.append(user)
                if told:
                    self._pipe.send(Change(user, True, time.monotonic()))
