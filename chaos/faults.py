"""One function for each class of fault: it breaks something, and mends what does not mend itself."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import redis

from chaos.stacks.replicated import Pair, Watched
from chaos.stacks.stack import Stack
from chaos.traffic.listeners import Listeners


@dataclass(frozen=True)
class Scene:
    """The things that can be broken. `longest`: seconds that a fault may last."""

    stack: Stack
    listeners: Listeners
    longest: float

    async def wait(self, chance: random.Random, least: float, most: float) -> None:
        await asyncio.sleep(chance.uniform(min(least, self.longest), min(most, self.longest)))


Fault = Callable[[Scene, random.Random], Awaitable[None]]


async def kill_worker(scene: Scene, chance: random.Random) -> None:
    workers = scene.stack.pids("gunicorn")[1:]
    if workers:
        scene.stack.send(signal.SIGKILL, [chance.choice(workers)])


async def kill_workers(scene: Scene, _: random.Random) -> None:
    scene.stack.send(signal.SIGKILL, scene.stack.pids("gunicorn")[1:])


async def kill_redis(scene: Scene, chance: random.Random) -> None:
    await scene.stack.kill_redis()
    await scene.wait(chance, 0, 3)
    await scene.stack.start_redis()


async def freeze_redis(scene: Scene, chance: random.Random) -> None:
    pid = scene.stack.redis_pid
    frozen = [] if pid is None else [pid]
    scene.stack.send(signal.SIGSTOP, frozen)
    try:
        await scene.wait(chance, 5, 30)
    finally:
        scene.stack.send(signal.SIGCONT, frozen)


async def cut_network(scene: Scene, chance: random.Random) -> None:
    """Some or all connections to Redis break; at times new ones are refused for a while."""
    proxy = scene.stack.proxy
    proxy.refusing = chance.random() < 0.5
    proxy.cut(chance.choice((0.3, 0.6, 1.0)), chance)
    try:
        if proxy.refusing:
            await scene.wait(chance, 1, 10)
    finally:
        proxy.refusing = False


async def delay_network(scene: Scene, chance: random.Random) -> None:
    proxy = scene.stack.proxy
    proxy.delay_seconds = chance.choice((0.05, 0.5, 1.5))
    try:
        await scene.wait(chance, 5, 15)
    finally:
        proxy.delay_seconds = 0.0


async def pull_network(scene: Scene, chance: random.Random) -> None:
    """Data to and from Redis waits. At the end it arrives after all, or the connections break."""
    proxy = scene.stack.proxy
    proxy.swallow()
    try:
        await scene.wait(chance, 5, 20)
    finally:
        if chance.random() < 0.5:
            proxy.cut(1.0, chance)
        proxy.release()


async def kill_subscriptions(scene: Scene, _: random.Random) -> None:
    with suppress(redis.RedisError):  # another fault may have Redis down
        await asyncio.to_thread(scene.stack.redis.execute_command, "CLIENT", "KILL", "TYPE", "pubsub")


async def drop_clients(scene: Scene, chance: random.Random) -> None:
    scene.listeners.drop(chance.choice((0.1, 0.5, 1.0)), chance)


async def kill_nginx(scene: Scene, _: random.Random) -> None:
    """Kill nginx's workers, and with them every connection of a client and every request under way."""
    scene.stack.send(signal.SIGKILL, scene.stack.pids("nginx")[1:])


async def reload_workers(scene: Scene, _: random.Random) -> None:
    """Reload gunicorn, and wait until the old workers are gone, so that what they do while they stop is seen."""
    old = scene.stack.pids("gunicorn")
    scene.stack.send(signal.SIGHUP, old[:1])
    with suppress(TimeoutError):
        async with asyncio.timeout(scene.longest):
            while set(old[1:]) & set(scene.stack.pids("gunicorn")):
                await asyncio.sleep(0.1)


async def reload_nginx(scene: Scene, _: random.Random) -> None:
    scene.stack.send(signal.SIGHUP, scene.stack.pids("nginx")[:1])


async def restart_all(scene: Scene, chance: random.Random) -> None:
    """Restart everything, Redis too, by SIGTERM or by SIGKILL."""
    await scene.stack.restart(chance.choice((signal.SIGTERM, signal.SIGKILL)))


async def fail_over(scene: Scene, _: random.Random) -> None:
    """Fail over as an operator does."""
    if isinstance(scene.stack, Pair):
        await scene.stack.fail_over()


async def kill_master(scene: Scene, _: random.Random) -> None:
    if isinstance(scene.stack, Watched):
        await scene.stack.kill_master()


FAULTS: Final[dict[str, Fault]] = {
    "worker killed": kill_worker,
    "workers killed": kill_workers,
    "redis killed": kill_redis,
    "redis frozen": freeze_redis,
    "network cut": cut_network,
    "network slow": delay_network,
    "network pulled": pull_network,
    "subscriptions killed": kill_subscriptions,
    "clients dropped": drop_clients,
    "nginx killed": kill_nginx,
    "gunicorn reloaded": reload_workers,
    "nginx reloaded": reload_nginx,
    "stack restarted": restart_all,
    "redis failed over": fail_over,
    "master killed": kill_master,
}
