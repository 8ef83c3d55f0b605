"""`python -m bench.restarts`: how connected browsers fare when the service is reloaded, killed, or loses its Redis."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import httpx
import redis

from bench.programs import proc
from bench.programs.build import build
from bench.programs.child import BenchError, free_port
from bench.programs.load import Heard, Load
from bench.subjects.servers import UNLIMITED, PushsvcUp, bearer
from pushsvc.config import PREFIX
from pushsvc.server.rlimit import raise_descriptor_limit

WINDOW: Final = 10  # tenths of a second, in which returns are counted
OTHERS: Final = 6  # threads that ask for other things meanwhile, on kept-alive connections
BEFORE_SECONDS: Final = 1.0  # of traffic before the blow
AFTER_SECONDS: Final = 0.5  # of traffic after it: events that nobody can have had before
PAUSE_SECONDS: Final = 0.1  # between two requests of one of the other threads
AGAIN_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 90.0


class Service(PushsvcUp):
    """Two workers behind nginx, as in a small deployment."""

    def __init__(self, programs: dict[str, Path], folder: Path, drain_seconds: float) -> None:
        super().__init__(programs, folder)
        self._drain_seconds = drain_seconds

    def settings(self) -> dict[str, str]:
        app = f"127.0.0.1:{free_port()}"
        given = {"workers": "2", "drain_seconds": str(self._drain_seconds), "app": app}
        return super().settings() | {PREFIX + name.upper(): value for name, value in given.items()}

    def gunicorn(self) -> list[int]:
        """The master, then its workers."""
        below = list(proc.family(self.children[0].pid))[1:]
        return [pid for pid in below if not proc.name(pid).startswith(("nginx", "valkey"))]

    def reload(self) -> None:
        """Reload gunicorn. Returns when the old workers have ended."""
        master, *old = self.gunicorn()
        os.kill(master, signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while set(old) & set(self.gunicorn()):
            if time.monotonic() > deadline:
                raise BenchError("the old workers do not end")
            time.sleep(0.1)

    def kill_workers(self) -> None:
        for pid in self.gunicorn()[1:]:
            os.kill(pid, signal.SIGKILL)

    def restart_redis(self) -> None:
        """Kill Redis, which the supervisor starts again. Returns when it answers."""
        for pid in self.pids("valkey"):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with suppress(redis.RedisError):
                if self.redis().ping():
                    return
            time.sleep(0.01)
        raise BenchError("Redis does not come back")


class Traffic:
    """A backend that publishes numbered events to all listeners, each with a key, and other clients that send various
    requests all the time. `answers` counts what they were answered, and the requests that had no answer."""

    def __init__(self, server: Service) -> None:
        self.answers: Counter[str] = Counter()
        self._url = f"http://127.0.0.1:{server.port}"
        name, _, value = bearer("backend", "*").partition(": ")
        self._headers = {name: value}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(OTHERS)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def failures(self) -> dict[str, int]:
        return {answer: count for answer, count in sorted(self.answers.items()) if answer[0] not in "234"}

    def publish(self, phase: int, rate: float, done: Callable[[], bool]) -> int:
        """Publish until `done()`, repeating each event until it is acknowledged. Returns how many events there are."""
        with self._client() as client:
            begun, number = time.monotonic(), 0
            while not done():
                time.sleep(max(0.0, begun + number / rate - time.monotonic()))
                data = f"p={phase} n={number:06d} t={time.monotonic_ns():019d} ".ljust(83, "x")
                item = {"topic": "bench", "data": data, "key": f"{phase}-{number}"}
                while not self._call(client, "POST", "/publish", item):
                    time.sleep(AGAIN_SECONDS)
                number += 1
        return number

    def _ask(self, number: int) -> None:
        with self._client() as client:
            while not self._stop.wait(PAUSE_SECONDS):
                if number % 3 == 0:
                    self._call(client, "POST", "/publish", {"user": "nobody", "data": "-"})
                elif number % 3 == 1:
                    self._call(client, "GET", "/history?channel=user:backend&wait=1")
                else:
                    self._call(client, "GET", "/readyz")

    def _call(self, client: httpx.Client, method: str, path: str, body: object = None) -> bool:
        try:
            status = str(client.request(method, self._url + path, json=body).status_code)
        except httpx.HTTPError as error:
            status = type(error).__name__
        self.answers[status if status == "200" else f"{status} {path.partition('?')[0]}"] += 1
        return status == "200"

    def _client(self) -> httpx.Client:
        return httpx.Client(headers=self._headers, trust_env=False, timeout=30)


def endure(load: Load, traffic: Traffic, phase: int, rate: float, blow: Callable[[], None]) -> tuple[Heard, float]:
    """Strike while events are published. Returns what was heard, and the seconds from the blow's end until everybody
    had all events."""
    struck: list[float] = []

    def strike() -> None:
        blow()
        struck.append(time.monotonic())

    load.begin_resume(phase, 0, UNLIMITED)
    begun = time.monotonic()
    timer = threading.Timer(BEFORE_SECONDS, strike)
    timer.start()
    events = traffic.publish(phase, rate, lambda: bool(struck) and time.monotonic() > struck[0] + AFTER_SECONDS)
    heard = load.end_resume(events)
    return heard, begun + heard.seconds - struck[0]


def busiest(returns: Sequence[int]) -> int:
    """The largest number of returns within a second."""
    return max(sum(returns[start : start + WINDOW]) for start in range(len(returns)))


def say(what: str, heard: Heard, *more: str) -> None:
    wrong = {name: getattr(heard, name) for name in ("lost", "repeated", "disorder", "failed")}
    told = [f"{count} {name}" for name, count in wrong.items()]
    told += [
        f"{heard.reconnects} reconnects, at most {heard.most} of one client",
        f"p99 {heard.p99_ms:.0f} ms",
        f"slowest {heard.max_ms:.0f} ms",
    ]
    click.echo(f"{what}: {', '.join([*told, *more])}" + (f" ({heard.why})" if heard.failed else ""))


def rolling(programs: dict[str, Path], folder: Path, clients: int) -> None:
    """Reload twenty times, one after the other."""
    with Service(programs, folder, 5) as server, server.load(clients) as load, Traffic(server) as traffic:
        server.settle(load.open(clients).up)
        for number in range(1, 21):
            heard, _ = endure(load, traffic, number, 3, server.reload)
            say(f"reload {number}", heard)
        click.echo(f"answers to others: {dict(traffic.answers)}; failures: {traffic.failures()}")


def even(programs: dict[str, Path], folder: Path, clients: int) -> None:
    """Reload once, and count the reconnects second by second."""
    drain = 20
    with Service(programs, folder, drain) as server, server.load(clients) as load, Traffic(server) as traffic:
        server.settle(load.open(clients).up)
        heard, _ = endure(load, traffic, 1, 3, server.reload)
        rate, most = clients / drain, busiest(heard.returns)
        say("reload", heard, f"at most {most} within a second, {most / rate:.2f} times the even {rate:.0f}")
        seconds = [sum(heard.returns[at : at + WINDOW]) for at in range(0, len(heard.returns), WINDOW)]
        click.echo(f"reconnects by second: {seconds}; failures of others: {traffic.failures()}")


def killed(programs: dict[str, Path], folder: Path, clients: int) -> None:
    """Kill all workers at once."""
    with Service(programs, folder, 1) as server, server.load(clients) as load, Traffic(server) as traffic:
        server.settle(load.open(clients).up)
        heard, seconds = endure(load, traffic, 1, 5, server.kill_workers)
        say("workers killed", heard, f"all caught up {seconds:.1f} s after it")


def redis_restarted(programs: dict[str, Path], folder: Path, clients: int) -> None:
    """Kill Redis, which is started again."""
    with Service(programs, folder, 1) as server, server.load(clients) as load, Traffic(server) as traffic:
        server.settle(load.open(clients).up)
        heard, seconds = endure(load, traffic, 1, 5, server.restart_redis)
        say("Redis restarted", heard, f"all caught up {seconds:.1f} s after it answered again")


SCENES: Final = {
    "rolling": (rolling, 2000),
    "even": (even, 2000),
    "killed": (killed, 5000),
    "redis": (redis_restarted, 8000),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("scenes", nargs=-1, type=click.Choice(list(SCENES)))
@click.option("--clients", type=click.IntRange(1), help="Instead of as many as are promised.")
def main(scenes: Sequence[str], clients: int | None) -> None:
    """Reload, kill, and take Redis away, under traffic and with thousands of browsers connected."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped on the way out
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory(prefix="pushsvc-bench-") as programs:
        built = build(Path(programs))
        for name in scenes or SCENES:
            scene, promised = SCENES[name]
            with tempfile.TemporaryDirectory(prefix="pushsvc-bench-") as folder:
                try:
                    scene(built, Path(folder), clients or promised)
                except BenchError as error:
                    sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
