"""Redis behind sentinels: each connection goes to the master that they name, and ends when they name another."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import gevent.event
import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry

from pushsvc.addresses.redis_address import Address, RedisUrl
from pushsvc.storage.redis.fencing import reject_slow_connect
from pushsvc.storage.redis.pipeline import NotSent
from pushsvc.storage.redis.topology import connecting
from pushsvc.storage.redis.topology.connecting import Account, PlainConnection, TlsConnection
from pushsvc.storage.redis.topology.no_master import no_master

logger = logging.getLogger(__name__)

FORGET_SECONDS: Final = 10.0  # seconds; a master that no sentinel has named for so long is dropped
# How long to wait for the new master's name once its promotion was announced. A sentinel learns it within a second,
# and a publisher waits three.
HOLD_SECONDS: Final = 2.0


class Said(NamedTuple):
    """An answer of a sentinel about the master. Failovers raise its `epoch`; `down`: the sentinel cannot reach it;
    `leaving`: the sentinel is about to promote another."""

    address: Address
    epoch: int
    down: bool = False
    leaving: bool = False


class Sentinels:
    """Decides which master to use. The newest answer counts: a sentinel that was cut off or suspended still names an
    earlier master, and must not lead the service back there."""

    def __init__(self, service: str, clients: list[redis.Redis], *, tls: bool = False) -> None:
        """`service`: the name under which they know the master. `tls`: whether they use TLS."""
        self.service = service
        self._tls = tls
        self.clients = tuple(clients)
        self._order = list(clients)  # the one that answered last comes first
        self._said: WeakKeyDictionary[redis.Redis, Said] = WeakKeyDictionary()  # the last answer of each
        self._known: Said | None = None
        self._named = 0.0  # monotonic time at which a sentinel named this master last
        self._connections: WeakSet[_ToMaster] = WeakSet()
        self._settled = gevent.event.Event()
        self._settled.set()
        self._held_until = 0.0  # monotonic time

    @property
    def known(self) -> Address | None:
        """The address of the master in use, None before there is one."""
        return None if self._known is None else self._known.address

    def master(self) -> Address:
        """The address to connect to. The first answer decides, unless it is older than an earlier one, or there was
        none yet. Where no sentinel names a master, the last one stays. Raises RedisError."""
        failures: dict[Address, Exception | None] = {}
        first, down = self._known is None, False
        for client in list(self._order):
            try:
                said = self.ask(client)
            except (redis.RedisError, OSError) as error:
                failures[_address(client)] = error
                continue
            if said is None:
                failures[_address(client)] = None
                continue
            self._order.remove(client)
            self._order.insert(0, client)
            self.hear(client, said)
            if said.address == self.known:
                down = said.down
                if not (down or first):
                    return said.address
        if down:
            raise redis.ConnectionError("the sentinels do not reach the master")
        if self._known is None:
            raise no_master(self.service, failures, tls=self._tls)
        return self._known.address

    def ask(self, client: redis.Redis) -> Said | None:
        """Ask one sentinel. None: it knows no master by that name. Raises RedisError."""
        with client.pipeline(transaction=False) as both:
            # In this order: of a failover between the two, the address is the new one and the epoch may be the old. And
            # the address is not in the first answer, which has the old one until all replicas follow the new.
            both.execute_command("SENTINEL", "MASTER", self.service)
            both.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
            state, address = both.execute(raise_on_error=False)
        if isinstance(address, Exception):
            raise address
        if address is None:
            return None
        # If the account may only ask for the address, that is enough.
        fields = {} if isinstance(state, Exception) else dict(zip(state[::2], state[1::2], strict=True))
        judged = [fields.get(b"ip"), fields.get(b"port")] == address  # if they differ, the flags are of the old master
        flags = set(fields[b"flags"].split(b",")) if judged else set()
        return Said(
            (address[0].decode(), int(address[1])),
            int(fields.get(b"config-epoch", 0)),
            down=bool({b"s_down", b"o_down"} & flags),
            leaving=b"failover_in_progress" in flags,
        )

    def others(self) -> set[Address] | None:
        """Other sentinels that these know of, unless the URL names as many as there are. None: no sentinel reports
        any."""
        for client in self._order:
            try:
                known = client.execute_command("SENTINEL", "SENTINELS", self.service)
            except (redis.RedisError, OSError):
                continue
            if len(known) < len(self.clients):
                return set()
            states = [dict(zip(each[::2], each[1::2], strict=True)) for each in known]
            alive = [each for each in states if b"s_down" not in each[b"flags"].split(b",")]
            found = {(each[b"ip"].decode(), int(each[b"port"])) for each in alive}
            return found - {_address(each) for each in self.clients}
        return None

    def another(self, address: Address) -> redis.Redis:
        """A client for another sentinel, with the same options as for those of the URL."""
        host, port = address
        model = self.clients[0].connection_pool
        options = model.connection_kwargs | {"host": host, "port": port}
        return redis.Redis(connection_pool=ConnectionPool(connection_class=model.connection_class, **options))

    def hear(self, client: redis.Redis, said: Said) -> None:
        """Judge an answer. It is accepted if it is newer than all before; or if most sentinels give it, for accounts
        that may not ask for epochs; or if no sentinel has named the master for long, as after a new setup of the
        sentinels."""
        now, known = time.monotonic(), self._known
        left = client in self._said and self._said[client].leaving
        self._said[client] = said
        if said.leaving and not left:  # hold only once for the same promotion
            self.hold()
        if known is not None and said.address == known.address:
            self._known = said._replace(epoch=max(said.epoch, known.epoch))
            self._named = now
        elif (
            known is None
            or said.epoch > known.epoch
            or (said.epoch == known.epoch and self._is_of_most(said.address))
            or now - self._named > FORGET_SECONDS
        ):
            self._named = now
            self._follow(said, known)
        if left and not said.leaving:  # it promoted another, or gave up
            self._settled.set()

    def _is_of_most(self, address: Address) -> bool:
        named = sum(said.address == address for said in self._said.values())
        return 2 * named > max(len(self.clients), len(self._said))

    def _follow(self, said: Said, before: Said | None) -> None:
        self._known = said
        if before is None:
            return
        for connection in list(self._connections):
            connection.abandon()
        self._settled.set()
        logger.warning("the master is %s:%s now, say the sentinels, and no more %s:%s", *said.address, *before.address)

    def hold(self) -> None:
        """Send nothing more: another master is about to be promoted, and the old one may lose new writes. The hold ends
        when the new master is named, or after a time limit."""
        if self.held:
            return
        logger.info("the sentinels make another master; what is for it waits")
        self._held_until = time.monotonic() + HOLD_SECONDS
        self._settled.clear()

    @property
    def held(self) -> bool:
        """Whether sending is on hold."""
        return not self._settled.is_set()

    def wait_while_held(self) -> bool:
        """Wait while sending is on hold. Returns whether it was."""
        if not self.held:
            return False
        self._settled.wait(max(0.0, self._held_until - time.monotonic()))
        if time.monotonic() >= self._held_until:
            self._settled.set()
        return True

    def end_on_change(self, connection: _ToMaster) -> None:
        """End the connection when another master is named."""
        self._connections.add(connection)


class _ToMaster(PlainConnection):
    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # redis-py's
        self._sentinels = sentinels
        self._left = False

    def connect(self) -> None:
        address = self._sentinels.master()
        if self._sentinels.wait_while_held():
            address = self._sentinels.master()
        self.host, self.port = address
        self._left = False
        self._sentinels.end_on_change(self)
        with reject_slow_connect(self):
            super().connect()  # type: ignore[no-untyped-call]

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        self._sentinels.wait_while_held()
        if self._left:
            raise NotSent("the sentinels have named another master")
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]

    def abandon(self) -> None:
        """End the connection: a greenlet that reads from it wakes up, and nothing more is sent."""
        self._left = True
        if self._sock is not None:
            with suppress(OSError), socket.socket(fileno=os.dup(self._sock.fileno())) as twin:  # also beneath TLS
                twin.shutdown(socket.SHUT_RDWR)


class _ToMasterByTls(_ToMaster, TlsConnection):
    pass


def _address(client: redis.Redis) -> Address:
    options = client.connection_pool.connection_kwargs
    return options["host"], options["port"]


def pool(url: RedisUrl, ask_seconds: float, **options: Any) -> ConnectionPool:
    """A pool of connections with these `options`. A sentinel that does not answer within `ask_seconds` is skipped."""
    own: dict[str, Any] = connecting.network(url) | {
        "connection_class": TlsConnection if url.tls else PlainConnection,
        "credential_provider": Account(
            url.options.get("sentinel_username", ""), url.options.get("sentinel_password", "")
        ),
        "socket_timeout": ask_seconds,
        "socket_connect_timeout": ask_seconds,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    pools = [ConnectionPool(**own | {"host": host, "port": port}) for host, port in url.servers]
    return ConnectionPool(
        connection_class=_ToMasterByTls if url.tls else _ToMaster,
        sentinels=Sentinels(url.service, [redis.Redis(connection_pool=each) for each in pools], tls=url.tls),
        **options,
    )
