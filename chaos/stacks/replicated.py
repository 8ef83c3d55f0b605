"""Stacks whose Redis is a master and its replica. Sentinels know which is which, or the proxy does, as a balancer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import redis

from bench.programs.child import BenchError, Child, free_port
from chaos.stacks.proxy import Proxy
from chaos.stacks.stack import Stack
from pushsvc.addresses.embedded import socket_path
from pushsvc.config import Settings
from pushsvc.stack.valkey import server_command

SERVICE: Final = "events"
LOOK_SECONDS: Final = 0.01
SETTLE_SECONDS: Final = 60.0  # until an old master follows the new one: the sentinels tell it after some ten
_SENTINEL: Final = """
port {port}
dir {folder}
logfile {log}
sentinel monitor {service} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {service} 2000
sentinel failover-timeout {service} 5000
"""


class Server:
    """One of the two Redis servers."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.path = socket_path(folder)
        self._settings = Settings(data_dir=folder)
        self._child: Child | None = None

    def start(self, *options: str) -> None:
        """Start the server unless it runs."""
        if self._child is None:
            port = ("--port", str(self.port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
            self._child = Child([*server_command(self._settings), *port, *options])
            self._child.until(lambda: self.role() is not None)

    def kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.process.kill()
            child.stop()

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.path), socket_timeout=2)

    def role(self) -> list[Any] | None:
        """The answer to ROLE; None if the server does not answer."""
        try:
            role: list[Any] = self.redis.role()
        except redis.RedisError:
            return None
        return role

    @property
    def is_master(self) -> bool:
        return bool((self.role() or [b""])[0] == b"master")

    @property
    def is_fed(self) -> bool:
        """Whether it is a replica that has all its master has."""
        role = self.role()
        return role is not None and role[0] == b"slave" and role[3] == b"connected"


class Pair(Stack):
    """A pair behind the proxy, which moves when the roles change, as a balancer does that looks at them."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._servers = [Server(folder / name) for name in ("first", "second")]
        self._changing = asyncio.Lock()
        super().__init__(folder, workers)
        self.proxy = Proxy(self.proxy.port, self._servers[0].path)

    @property
    def redis(self) -> redis.Redis:
        return self._servers[0].redis

    async def start_redis(self) -> None:
        """Start both. The first of the two is always the master."""
        master, replica = self._servers
        await asyncio.to_thread(master.start)
        await asyncio.to_thread(replica.start, "--replicaof", "127.0.0.1", str(master.port))
        await _until(lambda: replica.is_fed, "the replica")

    async def _end_redis(self) -> None:
        for server in self._servers:
            await asyncio.to_thread(server.kill)

    async def fail_over(self) -> None:
        """Fail over with Redis' own command, which lets nobody write until the replica has everything."""
        async with self._changing:
            old, new = self._servers
            old.redis.execute_command("FAILOVER", "TO", "127.0.0.1", new.port)
            await _until(lambda: new.is_master, "the failover")
            self._servers.reverse()
            self.proxy.move(new.path)
            await _until(lambda: old.is_fed, "the old master to follow the new")


class Watched(Pair):
    """A pair with three sentinels, which the workers ask."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._ports = [free_port() for _ in range(3)]
        self._sentinels: list[Child] = []
        super().__init__(folder, workers)

    def _redis_url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self._ports)}/{SERVICE}"

    async def start_redis(self) -> None:
        await super().start_redis()
        for port in self._ports:
            folder = self._folder / str(port)
            folder.mkdir(parents=True)
            file = folder / "sentinel.conf"
            master = self._servers[0].port
            log = self._folder / f"sentinel-{port}.log"
            file.write_text(_SENTINEL.format(port=port, folder=folder, log=log, service=SERVICE, master=master))
            binary = server_command(Settings(data_dir=folder))[0]
            self._sentinels.append(Child([binary, str(file), "--sentinel"]))
        await _until(lambda: len(self._ask("REPLICAS")) == 1, "the sentinels to know the replica")
        await _until(lambda: len(self._ask("SENTINELS")) == 2, "the sentinels to find each other")

    async def _end_redis(self) -> None:
        for sentinel in self._sentinels:
            await asyncio.to_thread(sentinel.stop)
        await super()._end_redis()

    def _ask(self, command: str) -> Any:
        """Ask the first sentinel. The answer is empty if it does not answer or refuses."""
        with redis.Redis(port=self._ports[0], protocol=2, socket_timeout=2) as client, suppress(redis.RedisError):
            return client.execute_command("SENTINEL", command, SERVICE)
        return ()

    @property
    def _named(self) -> int:
        """The port of the master, as the sentinels have it; 0 if they do not say."""
        answer = self._ask("GET-MASTER-ADDR-BY-NAME")
        return int(answer[1]) if answer else 0

    async def fail_over(self) -> None:
        """Have the sentinels fail over. The old master knows nothing of it for some ten seconds."""
        async with self._changing:
            await self._replaced(lambda: self._ask("FAILOVER"))  # repeated, as the sentinels give up on some

    async def kill_master(self) -> None:
        """Kill the master. It comes back once another is the master."""
        async with self._changing:
            await asyncio.to_thread(self._servers[0].kill)
            await self._replaced()

    async def _replaced(self, ask: Callable[[], object] = lambda: None) -> None:
        old = self._servers[0]

        def done() -> bool:
            if self._named not in (0, old.port):
                return True
            ask()
            return False

        await _until(done, "another master")
        await asyncio.to_thread(old.start)
        await _until(self._is_settled, "the old master to follow the new")

    def _is_settled(self) -> bool:
        """Whether there is a master, and a replica that has all it has. The sentinels may have gone back to the old
        master meanwhile."""
        self._servers.sort(key=lambda server: server.port != self._named)
        return self._servers[0].is_master and self._servers[1].is_fed


async def _until(condition: Callable[[], object], what: str) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + SETTLE_SECONDS
    while not await asyncio.to_thread(condition):
        if clock() > deadline:
            raise BenchError(f"waited in vain for {what}")
        await asyncio.sleep(LOOK_SECONDS)
