"""Applications of Flask, each with one worker of gunicorn and gevent."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time

import redis

from bench.programs.child import BenchError
from bench.subjects.servers import Server, run_valkey


def _gunicorn(port: int, module: str) -> list[str]:
    words = [sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1", "--worker-connections", "20000"]
    return [*words, "-b", f"127.0.0.1:{port}", "--no-control-socket", f"bench.subjects.{module}:app"]


class FlaskNothing(Server):
    """An application that reads a POST and does nothing with it; nobody listens."""

    name = "flask, no-op"

    def start(self) -> None:
        self.run(_gunicorn(self.port, "flask_nothing_app"), "/healthz", signal.SIGINT)


class FlaskSse(Server):
    """flask-sse under gunicorn with gevent. Each stream takes a Redis connection, so it is given less load."""

    name = "flask-sse"
    share = 0.125
    batches = False
    blind = True

    def start(self) -> None:
        if importlib.util.find_spec("flask_sse") is None:
            raise BenchError("not installed")
        self._socket = run_valkey(self, "--maxclients", "20000")
        self.run(
            _gunicorn(self.port, "flask_sse_app"), "/healthz", signal.SIGINT, BENCH_REDIS_URL=f"unix://{self._socket}"
        )

    def settle(self, connections: int) -> None:
        client = redis.Redis(unix_socket_path=str(self._socket))
        deadline = time.monotonic() + 60
        while int(client.info("clients")["pubsub_clients"]) < connections:
            if time.monotonic() > deadline:
                raise BenchError("flask-sse does not subscribe all its connections")
            time.sleep(0.1)
        super().settle(connections)
