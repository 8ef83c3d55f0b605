"""Requests that are cancelled at random moments: `python -m tests.proofs.cancelled 100000` finds no foreign byte.

An answer that nobody waits for any more must not be taken for the answer to somebody else's question. Each tenant's
data is marked with its name; every answer is looked at. Nine in ten requests are greenlets that are killed between
their commands and the answers, the others are clients of a real stack that hang up.
"""

from __future__ import annotations

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import argparse
import logging
import random
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import gevent
import gevent.pool

from pushsvc import auth
from pushsvc.events.event import BEGINNING, Event
from pushsvc.storage.log import EventLog, Receipt
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import ALONE
from pushsvc.storage.retention import Retention
from tests.support.stack import SECRET, Stack, read_to_the_end

TENANTS = 50
AT_ONCE = 64
EVENTS = 20  # of each tenant
_MARK = re.compile(rb"<(\d+)>")


class Requests:
    """Asks, hangs up, and counts."""

    def __init__(self, data_dir: Path, app: str, seed: int) -> None:
        """`app`: where gunicorn listens."""
        self.count: Counter[str] = Counter()
        host, port = app.split(":")
        self._address = host, int(port)
        self._rng = random.Random(seed)
        self._store = RedisClient(connect(f"unix://{data_dir}/valkey.sock", Fence(ALONE).handshake))
        self._log = EventLog(self._store, Retention(keep_events=EVENTS, keep_seconds=3600, dedupe_seconds=3600))
        for tenant in range(TENANTS):
            self._log.append([self._event(tenant) for _ in range(EVENTS)])
        self._tokens = [auth.encode({"sub": f"t{tenant}"}, SECRET, ttl=86400) for tenant in range(TENANTS)]

    def _event(self, tenant: int) -> Event:
        return Event(f"user:t{tenant}", "message", f"<{tenant}>" * self._rng.randint(1, 400))

    def run(self, aborted: int) -> None:
        """Send requests until so many were cancelled."""
        pool = gevent.pool.Pool(AT_ONCE)
        while self.count["cancelled"] < aborted:
            pool.spawn(self._ask if self._rng.random() < 0.9 else self._hang_up, self._rng.randrange(TENANTS))
        pool.join()

    def _look(self, tenant: int, answer: bytes) -> None:
        self.count["answers"] += 1
        marks = set(_MARK.findall(answer))
        self.count["foreign"] += len(marks - {b"%d" % tenant})
        self.count["own"] += len(marks)

    def _ask(self, tenant: int) -> None:
        """Ask in a greenlet, which may be killed."""
        asking = gevent.spawn(self._question(), tenant)
        if self._rng.random() < 0.8:
            gevent.sleep(self._rng.random() * 0.004)
            if not asking.dead:
                asking.kill()
                self.count["cancelled"] += 1
        asking.join()
        self.count["failed"] += asking.exception is not None

    def _question(self) -> Callable[[int], None]:
        return self._rng.choice((self._echo, self._echo_many, self._read, self._append, self._load))

    def _echo(self, tenant: int) -> None:
        self._look(tenant, self._store.execute_one(("ECHO", f"<{tenant}>")))

    def _echo_many(self, tenant: int) -> None:
        answers = self._store.execute([("ECHO", f"<{tenant}> {number}") for number in range(7)])
        self._look(tenant, b"".join(answers))
        self.count["foreign"] += [answer.split()[1] for answer in answers] != [b"%d" % n for n in range(7)]

    def _read(self, tenant: int) -> None:
        [piece] = self._log.read([f"user:t{tenant}"], BEGINNING, self._log.clock(), 100)
        self._look(tenant, b"".join(entry.wire for entry in piece.entries))

    def _append(self, tenant: int) -> None:
        [receipt] = self._log.append([self._event(tenant)])
        assert isinstance(receipt, Receipt)
        self.count["answers"] += 1

    def _load(self, tenant: int) -> None:
        self._store.load_scripts()

    def _hang_up(self, tenant: int) -> None:
        """Be a client of the real stack that may leave at any moment."""
        path = self._rng.choice((f"/history?channel=user:t{tenant}", "/events?since=earliest", "/unread"))
        head = f"Host: x\r\nConnection: close\r\nAuthorization: Bearer {self._tokens[tenant]}"
        with socket.create_connection(self._address, timeout=30) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
            if path.startswith("/events"):
                taken = client.recv(65536)
            elif self._rng.random() < 0.8:
                gevent.sleep(self._rng.random() * 0.01)
                taken = b""
            else:
                taken = read_to_the_end(client)
        if taken:
            self._look(tenant, taken)
        else:
            self.count["cancelled"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Cancel requests at random moments, and look for foreign bytes.")
    parser.add_argument("aborted", type=int)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--stack", nargs=2, metavar=("DATA_DIR", "APP"), help="one that runs; else one is started")
    given = parser.parse_args()
    logging.disable()
    with ExitStack() as closing:
        if given.stack is None:
            stack = Stack(Path(closing.enter_context(TemporaryDirectory())) / "data", max_connections_per_user=1000)
            closing.callback(stack.stop)
            given.stack = stack.data_dir, stack.settings["app"]
        requests = Requests(Path(given.stack[0]), given.stack[1], given.seed)
        requests.run(given.aborted)
    count = requests.count
    print(
        f"seed {given.seed}: {count['cancelled']} requests cancelled, {count['answers']} answers looked at, "
        f"{count['own']} marks seen, {count['foreign']} foreign, "
        f"{count['failed']} failed"
    )
    sys.exit(bool(count["foreign"] or count["failed"]))


if __name__ == "__main__":
    main()
