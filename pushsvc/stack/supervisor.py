"""Runs the whole stack: Redis, gunicorn and nginx as child processes that are restarted, and never orphaned."""

from __future__ import annotations

import fcntl
import os
import queue
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import IO, Any, Final

from pushsvc.addresses.embedded import socket_path
from pushsvc.addresses.redis_address import at_socket
from pushsvc.checks.start import check_redis
from pushsvc.config import PREFIX, Settings
from pushsvc.errors import ConfigError
from pushsvc.program.terminal import say
from pushsvc.server.rlimit import raise_descriptor_limit
from pushsvc.server.stopping import patience
from pushsvc.stack.certificate import CertificateWatch
from pushsvc.stack.gunicorn import COMMAND, FOLDER
from pushsvc.stack.nginx import nginx_command
from pushsvc.stack.probes import answers, check_addresses, is_loopback, nginx_answers, valkey_ready
from pushsvc.stack.process import ManagedProcess
from pushsvc.stack.valkey import cut_zeros, log_path, server_command
from pushsvc.stack.valkey_log import ServerLog

READY_SECONDS: Final = 30.0  # how long a part may take to come up
STOP_SECONDS: Final = 5.0  # how long a part may take to stop at once
LOCK_SECONDS: Final = 3.0  # how long to wait for the lock, which the parts of a killed supervisor hold until they end


class Supervisor:
    """Runs the stack until a signal comes."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        word = secrets.token_urlsafe(16) if settings.demo and is_loopback(settings.http) else ""
        self._settings = settings.model_copy(update={"demo_key": word})
        self._environ = environ
        # A SimpleQueue, because a signal handler must not wait for a lock that its own thread holds.
        self._wake: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._parts: list[ManagedProcess] = []
        self._certificate = CertificateWatch(settings)
        self._data_is_there = True
        self._server_log = ServerLog(log_path(settings.data_dir))

    def run(self, announce: Callable[[Settings], None]) -> None:
        """Run the stack until a signal comes. `announce` is called once, when all parts are up. Raises ConfigError if a
        part cannot start."""
        os.umask(0o077)  # no other user may read the files that we and our children write
        lock = self._lock_data_dir()
        raise_descriptor_limit()  # the children inherit it
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._signalled)
        try:
            check_addresses(self._settings)
            self._certificate.find()
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
                if self._certificate.has_changed():
                    self._parts[-1].reload()  # nginx
                self._tell()
                self._look_for_data(lock)
        except OSError as error:  # a file where a folder should be, a full disk
            raise ConfigError(f"{PREFIX}DATA_DIR: cannot write to {error.filename}: {error.strerror}") from error
        finally:
            self._stop()
            lock.close()

    def _make_parts(self, lock: int) -> Iterator[ManagedProcess]:
        """Yield the parts in the order in which they start; the caller brings each up before it asks for the next."""
        settings = self._settings
        environ = dict(self._environ)
        environ[f"{PREFIX}DATA_DIR"] = str(settings.data_dir)
        environ[f"{PREFIX}DEMO_KEY"] = settings.demo_key
        proxy = nginx_command(settings, self._certificate.found)
        url = settings.redis_url
        if not url:
            zeros = cut_zeros(settings.data_dir)
            if zeros:
                say(f"valkey: its data ended in {zeros} zeros, as after a power cut; they are cut off")
            path = socket_path(settings.data_dir)
            yield ManagedProcess("valkey", server_command(settings), lambda: valkey_ready(path), environ, lock)
            url = at_socket(path)
        for warning in check_redis(url, settings, lambda: self._signals):
            say(warning)
        environ[f"{PREFIX}REDIS_URL"] = url
        environ[f"{PREFIX}REDIS_PASSWORD_FILE"] = str(settings.redis_password_file or "")
        environ[f"{PREFIX}LLM_API_KEY_FILE"] = str(settings.llm_api_key_file or "")
        environ[f"{PREFIX}JWKS"] = settings.jwks
        ready = partial(answers, settings.app, f"http://{settings.app}/readyz")
        yield ManagedProcess("gunicorn", COMMAND, ready, environ, lock, at_once=signal.SIGINT, folder=FOLDER)
        yield ManagedProcess("nginx", proxy, partial(nginx_answers, settings), environ, lock)

    def _bring_up(self, part: ManagedProcess) -> None:
        try:
            part.start()
        except OSError as error:
            raise ConfigError(f"{part.name} could not start: {error.strerror}") from error
        deadline = time.monotonic() + READY_SECONDS
        while not part.ready():
            self._tell()
            assert part.process is not None
            if part.process.poll() is not None:
                self._tell()
                raise ConfigError(f"{part.name} could not start (status {part.process.returncode})")
            if time.monotonic() > deadline:
                raise ConfigError(f"{part.name} did not come up within {READY_SECONDS:.0f} s")
            if self._signals:
                return
            time.sleep(0.05)

    def _look_for_data(self, lock: IO[str]) -> None:
        """Say that somebody has deleted the data directory: what Redis keeps is in memory alone then."""
        there = os.fstat(lock.fileno()).st_nlink > 0
        if self._data_is_there and not there:
            say(f"{PREFIX}DATA_DIR: {self._settings.data_dir} was deleted; what is kept now ends with this process")
        self._data_is_there = there

    def _tell(self) -> None:
        for line in self._server_log.news():
            say(f"valkey: {line}")

    def _signalled(self, number: int, _frame: Any) -> None:
        if number != signal.SIGCHLD:
            self._signals.append(number)
        self._wake.put(number)

    def _wait(self, seconds: float) -> None:
        """Sleep until a signal comes or a child ends, for at most so many seconds."""
        try:
            self._wake.get(timeout=seconds)
        except queue.Empty:
            pass

    @property
    def _gently(self) -> bool:
        """Whether to stop gently: after one SIGTERM, but not after Ctrl-C or a second signal."""
        return self._signals == [signal.SIGTERM]

    def _stop(self) -> None:
        """Stop gunicorn first, because its connections end through nginx, then nginx. Redis is stopped last, because
        gunicorn writes to it until its end."""
        for part in sorted(self._parts, key=lambda part: ("gunicorn", "nginx", "valkey").index(part.name)):
            if self._gently:
                part.ask_to_stop(gently=True)
                deadline = time.monotonic() + patience(self._settings.drain_seconds)
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
