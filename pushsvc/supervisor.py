"""The stack in one terminal: Redis, gunicorn and nginx as children that are restarted, and never orphaned."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import httpx
import redis

from pushsvc.config import PREFIX, Settings
from pushsvc.embedded import OLDEST_REDIS, server_command, socket_path
from pushsvc.errors import ConfigError
from pushsvc.limits import raise_descriptor_limit
from pushsvc.proxy import nginx_command
from pushsvc.store import connect

READY_SECONDS: Final = 30.0  # how long a part may take to come up
STEADY_SECONDS: Final = 5.0  # a part that lived so long starts again at once, others with growing pauses
LONGEST_PAUSE: Final = 5.0
STOP_SECONDS: Final = 5.0  # what a part that is told to stop at once may take
LOCK_SECONDS: Final = 3.0  # the parts of a supervisor that was killed need a moment to end
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


@dataclass
class Part:
    """One child process and how to keep it."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    environ: Mapping[str, str]
    lock: int  # a descriptor that the part holds too, so that the lock outlives a supervisor that was killed
    gently: signal.Signals = signal.SIGTERM  # lets what is under way finish
    at_once: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _pause: float = 0.0
    _due: float = field(default=0.0)

    def start(self) -> None:
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            env=dict(self.environ),
            pass_fds=(self.lock,),
            start_new_session=True,  # Ctrl-C is for us to pass on, and the group can be ended as one
            preexec_fn=_dies_with_parent(self.at_once),
        )

    def mend(self) -> None:
        """Start again what has died, after a pause that grows while it keeps dying early."""
        now = time.monotonic()
        if self.process is not None:
            if self.process.poll() is None:
                return
            _say(f"{self.name} ended with status {self.process.returncode}; starting it again")
            self._end_group()
            steady = now - self._started > STEADY_SECONDS
            self._pause = 0.0 if steady else min(max(self._pause * 2, 0.1), LONGEST_PAUSE)
            self._due = now + self._pause
            self.process = None
        if now >= self._due:
            try:
                self.start()
            except OSError as error:  # out of processes or memory, say: that passes
                _say(f"{self.name} cannot be started: {error.strerror}")
                self._due = now + LONGEST_PAUSE

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self, *, gently: bool) -> None:
        if self.process is not None:
            self.process.send_signal(self.gently if gently else self.at_once)

    def end(self) -> None:
        """Leave nothing of it."""
        if self.process is None:
            return
        if self.alive:
            _say(f"{self.name} does not stop; killing it")
        self._end_group()
        self.process.wait()
        self.process = None

    def _end_group(self) -> None:
        """Children of a part that was killed hold its port; nobody else would end them."""
        assert self.process is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Supervisor:
    """Runs the stack until a signal. Raises ConfigError if it cannot start."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        # A signal handler may not take a lock that its own thread holds; SimpleQueue.put is made for that.
        self._wake: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._parts: list[Part] = []

    def run(self, announce: Callable[[Settings], None]) -> None:
        """`announce` is called once, when all answers."""
        os.umask(0o077)  # what we and our children write down is nobody else's to read
        lock = self._lock_data_dir()
        raise_descriptor_limit()  # the children inherit it
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._signalled)
        try:
            _check_addresses(self._settings)
            for part in self._make_parts(lock.fileno()):
                self._parts.append(part)
                self._bring_up(part)
                if self._signals:
                    return
            announce(self._settings)
            while not self._signals:
                self._wait(0.5)
                for part in self._parts:
                    part.mend()
        finally:
            self._stop()
            lock.close()

    def _make_parts(self, lock: int) -> list[Part]:
        settings = self._settings
        environ = dict(self._environ)
        environ[f"{PREFIX}DATA_DIR"] = str(settings.data_dir)
        parts = []
        if settings.redis_url:
            check_redis(settings.redis_url)
        else:
            path = socket_path(settings.data_dir)
            parts.append(Part("valkey", server_command(settings), lambda: _valkey_ready(path), environ, lock))
            environ[f"{PREFIX}REDIS_URL"] = f"unix://{path}"
        demo_key = secrets.token_hex() if settings.demo and _is_loopback(settings.http) else ""
        environ[f"{PREFIX}DEMO_KEY"] = demo_key
        serve = [sys.executable, "-m", "pushsvc", "serve"]
        ready = f"http://{settings.app}/readyz"
        serving = Part("gunicorn", serve, lambda: _answers(settings.app, ready), environ, lock, at_once=signal.SIGINT)
        healthy = f"http://{settings.http}/healthz"
        proxy = Part(
            "nginx", nginx_command(settings, demo_key), lambda: _answers(settings.http, healthy), environ, lock
        )
        return [*parts, serving, proxy]

    def _bring_up(self, part: Part) -> None:
        try:
            part.start()
        except OSError as error:
            raise ConfigError(f"{part.name} could not start: {error.strerror}") from error
        deadline = time.monotonic() + READY_SECONDS
        while not part.ready():
            assert part.process is not None
            if part.process.poll() is not None:
                raise ConfigError(f"{part.name} could not start (status {part.process.returncode})")
            if time.monotonic() > deadline:
                raise ConfigError(f"{part.name} did not come up within {READY_SECONDS:.0f} s")
            if self._signals:
                return
            time.sleep(0.05)

    def _signalled(self, number: int, _frame: Any) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)
        self._wake.put(number)

    def _wait(self, seconds: float) -> None:
        """Until a signal or the end of a child, at most so long."""
        try:
            self._wake.get(timeout=seconds)
        except queue.Empty:
            pass

    @property
    def _gently(self) -> bool:
        """Ctrl-C means now. SIGTERM drains, until a second signal."""
        return self._signals == [signal.SIGTERM]

    def _stop(self) -> None:
        """In the order of the traffic: gunicorn lets its connections go through nginx, and Redis is needed last."""
        for part in sorted(self._parts, key=lambda part: ("gunicorn", "nginx", "valkey").index(part.name)):
            if self._gently:
                part.ask_to_stop(gently=True)
                deadline = time.monotonic() + self._settings.drain_seconds + 15
                while part.alive and self._gently and time.monotonic() < deadline:
                    self._wait(0.5)
            part.ask_to_stop(gently=False)
            deadline = time.monotonic() + STOP_SECONDS
            while part.alive and time.monotonic() < deadline:
                self._wait(0.5)
            part.end()

    def _lock_data_dir(self) -> IO[str]:
        data_dir = self._settings.data_dir
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (data_dir / "lock").open("w")
        except OSError as error:
            raise ConfigError(f"PUSHSVC_DATA_DIR: cannot write to {data_dir}: {error.strerror}") from error
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() > deadline:
                    lock.close()
                    raise ConfigError(f"PUSHSVC_DATA_DIR: another pushsvc runs in {data_dir}") from error
                time.sleep(0.05)
            else:
                return lock


def check_redis(url: str) -> None:
    """Raises ConfigError unless a Redis or Valkey that is new enough answers there."""
    try:
        with connect(url) as client:
            version = str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        raise ConfigError(f"PUSHSVC_REDIS_URL: Redis does not answer: {error}") from error
    except (ValueError, TypeError) as error:  # redis-py's words may hold a piece of the password
        raise ConfigError("PUSHSVC_REDIS_URL should be such as redis://:password@127.0.0.1:6379/0") from error
    if tuple(int(number) for number in version.split(".")[:2]) < OLDEST_REDIS:
        raise ConfigError(f"PUSHSVC_REDIS_URL: Redis {version} is too old; 7.0 or later is needed")


def _dies_with_parent(number: signal.Signals) -> Callable[[], None]:
    """For a child, between fork and exec: be sent `number` when the parent dies, even by SIGKILL (Linux only)."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def prepare() -> None:
        if hasattr(libc, "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, int(number))
            if os.getppid() != parent:
                os._exit(1)

    return prepare


def _check_addresses(settings: Settings) -> None:
    """Raises ConfigError unless nginx and gunicorn can listen where they should."""
    if settings.http == settings.app:
        raise ConfigError(f"{PREFIX}APP should not be the same as {PREFIX}HTTP, {settings.http}")
    for setting, address in (("HTTP", settings.http), ("APP", settings.app)):
        try:
            if address.startswith("unix:"):
                _try_path(Path(address.removeprefix("unix:")))
            else:
                _try_port(address)
        except OSError as error:
            raise ConfigError(f"{PREFIX}{setting}: cannot listen at {address}: {error.strerror or error}") from error


def _try_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(target)


def _try_path(path: Path) -> None:
    """Also removes the socket of a server that was killed."""
    with socket.socket(socket.AF_UNIX) as probe:
        if path.is_socket():
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            path.unlink()
        probe.bind(str(path))
    path.unlink()


def _is_loopback(address: str) -> bool:
    return address.rpartition(":")[0].strip("[]") in ("127.0.0.1", "localhost", "::1")


def _valkey_ready(path: Path) -> bool:
    """A plain PING on the socket: quicker to say no than a client that retries."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16) == b"+PONG\r\n"  # while it still loads its data it says -LOADING
    except OSError:
        return False


def _answers(address: str, url: str) -> bool:
    transport = httpx.HTTPTransport(uds=address.removeprefix("unix:")) if address.startswith("unix:") else None
    url = url.replace(address, "localhost") if transport else url.replace("//0.0.0.0:", "//127.0.0.1:")
    try:
        with httpx.Client(transport=transport, trust_env=False, timeout=2.0) as client:
            return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _say(line: str) -> None:
    print(f"pushsvc: {line}", file=sys.stderr, flush=True)
