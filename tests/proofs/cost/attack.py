"""The definition of an attack, and the process that runs one."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from pushsvc import auth
from tests.support.clients.wire import request
from tests.support.stack import SECRET

PREPARE_SECONDS = 60.0
ANSWER_SECONDS = 60.0


class Target(NamedTuple):
    """A stack: `app` is where gunicorn listens, `http` where nginx does, over TLS if `tls`."""

    app: str
    http: str
    tls: bool = False

    def bearer(self, user: str | None = None, **claims: Any) -> str:
        """A header line with a token."""
        token = auth.encode(({"sub": user} if user else {}) | claims, SECRET, ttl=3600)
        return f"Authorization: Bearer {token}"

    def connect(self, door: str = "") -> socket.socket:
        """Connect to gunicorn, or to another `door`."""
        host, port = (door or self.app).split(":")
        client = socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS)
        if not self.tls or door != self.http:
            return client
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(client)

    def ask(self, line: str, *fields: str, body: bytes = b"", door: str = "") -> bytes:
        """Send one request on a connection of its own, and give all that comes back."""
        with contextlib.suppress(OSError), self.connect(door) as client:
            with contextlib.suppress(OSError):  # an answer may come before all was sent
                client.sendall(request(line, "Connection: close", *fields, body=body))
            taken = bytearray()
            with contextlib.suppress(OSError):
                while piece := client.recv(2**18):
                    taken += piece
            return bytes(taken)
        return b""


class Attack(NamedTuple):
    """`prepare` is called once; what it gives goes to `send`, which is repeated by `at_once` threads, each pausing for
    `pause` seconds after every call. `settings`: of the stack."""

    send: Callable[[Target, Any], object]
    prepare: Callable[[Target], Any] = lambda _: None
    at_once: int = 4
    pause: float = 0.0
    settings: Mapping[str, str] = {}


@contextlib.contextmanager
def running(attack: Attack, target: Target) -> Iterator[None]:
    """Run an attack in a process of its own, from when it is prepared until the block ends."""
    context = multiprocessing.get_context("fork")
    prepared = context.Event()
    process = context.Process(target=_run, args=(attack, target, prepared), daemon=True)
    process.start()
    try:
        if not prepared.wait(PREPARE_SECONDS):
            raise TimeoutError("the attack could not be prepared")
        yield
    finally:
        process.kill()
        process.join()


def _run(attack: Attack, target: Target, prepared: Any) -> None:
    given = attack.prepare(target)
    prepared.set()

    def repeat() -> None:
        while True:
            with contextlib.suppress(OSError):
                attack.send(target, given)
            time.sleep(attack.pause)

    threads = [threading.Thread(target=repeat, daemon=True) for _ in range(attack.at_once)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
