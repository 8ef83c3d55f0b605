"""The network between the workers and Redis: a relay that can cut, refuse, delay, and swallow what is sent."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Final

READ_BYTES: Final = 65536


class Proxy:
    """Listens on a TCP port, and speaks to Redis over its socket."""

    def __init__(self, port: int, upstream: Path) -> None:
        self.port = port
        self.refusing = False  # new connections are closed at once
        self.delay_seconds = 0.0  # the longest delay of a piece, in either direction
        self._upstream = upstream
        self._flowing = asyncio.Event()  # cleared: whatever is sent waits, as behind a cable that was pulled
        self._flowing.set()
        self._relays: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=READ_BYTES)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut(1.0, random.Random())

    def move(self, upstream: Path) -> None:
        """Move to another master, as a balancer does: all connections break."""
        self._upstream = upstream
        self.cut(1.0, random.Random())

    def swallow(self) -> None:
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def cut(self, share: float, chance: random.Random) -> None:
        """Break this share of the connections."""
        for relay in sorted(self._relays, key=lambda relay: relay.get_name()):
            if chance.random() < share:
                relay.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.current_task()
        assert relay is not None
        self._relays.add(relay)
        try:
            if not self.refusing:
                await self._flowing.wait()
                await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # cut, by a fault or by Redis: both sides are closed below
        finally:
            self._relays.discard(relay)
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes in both directions until either side ends."""
        redis_reader, redis_writer = await asyncio.open_unix_connection(str(self._upstream), limit=READ_BYTES)
        ways = [
            asyncio.create_task(self._pump(reader, redis_writer)),
            asyncio.create_task(self._pump(redis_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            redis_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(random.uniform(0, self.delay_seconds))
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
