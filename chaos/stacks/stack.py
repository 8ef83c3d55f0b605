"""The stack that is broken: Redis, a proxy before it, gunicorn and nginx, on free ports and in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import redis

from bench.programs import proc
from bench.programs.child import BenchError, Child, free_port
from chaos.stacks.proxy import Proxy
from pushsvc import auth
from pushsvc.addresses.embedded import socket_path
from pushsvc.config import PREFIX, Settings
from pushsvc.stack.valkey import server_command

SECRET: Final = "a-key-for-chaos-and-nothing-but-chaos"  # noqa: S105 - no secret, on purpose
STOP_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 0.5
DRAIN_SECONDS: Final = 2.0
KEEP_EVENTS: Final = 10**6  # enough that nothing is trimmed, which would be a true gap


class Stack:
    """Redis is a child of ours, behind the proxy; the rest is `python -m pushsvc up`."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._data_dir = folder / "data"
        self._logs = folder
        self._http = free_port()
        self._embedded = Settings(data_dir=self._data_dir)
        self._valkey: Child | None = None
        self._up: Child | None = None
        self._starts = 0
        # Faults that come together may both want to start or end Redis, or the service.
        self._redis_lock = asyncio.Lock()
        self._service_lock = asyncio.Lock()
        self.proxy = Proxy(free_port(), socket_path(self._data_dir))
        given = {
            "data_dir": str(self._data_dir),
            "secret": SECRET,
            "redis_url": self._redis_url(),
            "http": f"127.0.0.1:{self._http}",
            "app": f"127.0.0.1:{free_port()}",
            "workers": str(workers),
            "keep_events": str(KEEP_EVENTS),
            "drain_seconds": str(DRAIN_SECONDS),
            "retry_seconds": "1",
            "rate_connect": "off",  # one user comes back more often than people do
            "rate_ask": "off",
        }
        self._environ = {PREFIX + name.upper(): value for name, value in given.items()}

    def _redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.proxy.port}"

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._http

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http}"

    @staticmethod
    def token(user: str, *publish: str) -> str:
        return auth.encode({"sub": user, "subscribe": ["topic:*"], "publish": publish}, SECRET, ttl=86400)

    async def start(self) -> None:
        await self.proxy.start()
        await self.start_redis()
        await self.start_service()

    async def stop(self) -> None:
        await self.proxy.stop()
        if self._up is not None:
            await asyncio.to_thread(self._up.stop)
        await self._end_redis()

    # Redis

    @property
    def redis(self) -> redis.Redis:
        """A client that goes past the proxy."""
        return redis.Redis(unix_socket_path=str(socket_path(self._data_dir)), socket_timeout=2)

    @property
    def redis_pid(self) -> int | None:
        return None if self._valkey is None else self._valkey.pid

    async def start_redis(self) -> None:
        """Start Redis unless it runs, and again if another fault does not let it come up."""
        async with self._redis_lock:
            while self._valkey is None:
                self._valkey = Child(server_command(self._embedded))
                try:
                    await asyncio.to_thread(self._valkey.until, self._pings)
                except BenchError:
                    await self._end_redis()
                    await asyncio.sleep(AGAIN_SECONDS)

    async def kill_redis(self) -> None:
        """Kill Redis unless it is dead."""
        async with self._redis_lock:
            await self._end_redis()

    async def _end_redis(self) -> None:
        child, self._valkey = self._valkey, None
        if child is not None:
            child.process.kill()
            await asyncio.to_thread(child.stop)

    def _pings(self) -> bool:
        try:
            return bool(self.redis.ping())
        except redis.RedisError:
            return False

    # gunicorn and nginx

    async def start_service(self) -> None:
        """Start the service unless it runs. While Redis is in no state to start with, try again and again, as systemd
        would."""
        async with self._service_lock:
            while self._up is None:
                self._starts += 1
                try:
                    await self._try_to_start(self._logs / f"up{self._starts}.log")
                except BenchError:
                    await self._end_service(signal.SIGKILL)
                    await asyncio.sleep(AGAIN_SECONDS)

    async def _try_to_start(self, log: Path) -> None:
        self._up = Child([sys.executable, "-m", "pushsvc", "up"], self._environ, signal.SIGINT, output=log)
        await asyncio.to_thread(self._up.until, lambda: "pushsvc is up" in log.read_text())

    async def restart(self, ending: signal.Signals) -> None:
        """Restart the service and Redis. With SIGTERM the service lets its connections go first."""
        async with self._service_lock:
            await self._end_service(ending)
        await self.kill_redis()
        await self.start_redis()
        await self.start_service()

    async def _end_service(self, ending: signal.Signals) -> None:
        child, self._up = self._up, None
        if child is None:
            return
        child.process.send_signal(ending)
        with suppress(Exception):
            await asyncio.to_thread(child.process.wait, STOP_SECONDS)
        await asyncio.to_thread(child.stop)

    def output(self) -> str:
        """The output of the service so far, each time it was started."""
        logs = sorted(self._logs.glob("up*.log"), key=lambda log: log.stat().st_ctime)
        return "".join(log.read_text(errors="replace") for log in logs)

    def pids(self, part: str) -> list[int]:
        """The process ids of `gunicorn` or `nginx`: the master, then its workers."""
        if self._up is None:
            return []
        below = list(proc.family(self._up.pid))[1:]
        return [pid for pid in below if ("nginx" in proc.name(pid)) == (part == "nginx")]

    def send(self, number: signal.Signals, pids: list[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):  # another fault was quicker
                os.kill(pid, number)
