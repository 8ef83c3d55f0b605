"""The gunicorn worker: the service is started before its first request, and drained before its last.

Use: gunicorn -k pushsvc.server.worker.PushWorker app:app
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import gevent
import gevent.event
from gevent.server import StreamServer

from pushsvc.checks.remarks import MARK
from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.server import metrics_folder
from pushsvc.server.httpworker import HttpWorker, speaks_otherwise
from pushsvc.server.reload import SHIFTS
from pushsvc.server.rlimit import most_connections, raise_descriptor_limit
from pushsvc.server.stopping import LAME_DUCK_SECONDS, LAST_SECONDS

if TYPE_CHECKING:
    from pushsvc.delivery.capacity import Capacity
    from pushsvc.service import Service

logger = logging.getLogger(__name__)

STEP_SECONDS: Final = 0.1  # between two looks whether the worker is ready, or done
READY_SECONDS: Final = 3  # a new worker waits so long to be ready, before it accepts connections all the same
MOMENT_SECONDS: Final = 0.2  # enough for a request to arrive on a new connection, or for an answer to be sent
UNUSED_SECONDS: Final = 6  # longer than nginx keeps a connection it does not use (nginx/site.conf)


class PushWorker(HttpWorker):
    """One gevent process that holds connections, and ends them gently when it stops.

    Gunicorn's own worker looks once a second whether it should stop, and waits for kept-alive connections that nobody
    uses. This worker stops accepting at once, and is done when its last request is. On a reload gunicorn stops the old
    workers while the new ones still load the application; here the old ones serve until a new one is ready.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # in gunicorn's master
        with suppress(ConfigError):  # the application says it better
            metrics_folder.choose(Settings.from_env(os.environ).data_dir)
        self._shift = SHIFTS.call(self.cfg)
        self._servers: list[StreamServer] = []
        self._over = False
        self._stopping: gevent.event.Event | None = None  # set when the worker serves
        self._left_at = 0.0  # monotonic time of the signal to stop, if no new worker takes over

    def init_process(self) -> None:
        """Handle SIGTERM from the first moment. Gunicorn's workers do so some time after the fork; a worker that is
        told to stop before that would not notice, and would in the end be killed with all its connections."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        gc.disable()  # until `run`: the application's modules are not garbage
        super().init_process()

    def run(self) -> None:
        """Serve from here to the end of the process; gunicorn's hook."""
        self._stopping = stopping = gevent.event.Event()
        service = self._service
        self._limit_connections(service.capacity)
        if not self.cfg.is_ssl and not speaks_otherwise(self.cfg):  # else bytes are not what they seem
            service.capacity.allow_detaching()
        service.start()
        if self.age == 1 and MARK not in os.environ:  # gunicorn was started by hand, so Redis was not checked yet
            service.look_aside()
        gc.freeze()  # the objects that exist now stay for good, so collections need not look at them
        gc.enable()
        self._get_ready(service)
        self._servers = servers = [self._serve(listener) for listener in self.sockets]
        try:
            self._work(service, stopping)
            relieved = not service.capacity.leaving
            if not relieved:
                self._stay(LAME_DUCK_SECONDS)
                self._refuse()
                self._accept_all()
            for server in servers:
                server.close()
            if relieved and self.alive:
                gevent.sleep(MOMENT_SECONDS)  # clients that were accepted just now are still served
                self._refuse()
            self._finish(service, servers)
        finally:
            self._over = True
            service.stop()

    def _stay(self, seconds: float) -> None:
        """Serve for so many seconds more, unless the worker is told to end at once."""
        until = time.monotonic() + seconds
        while self.alive and time.monotonic() < until:
            self.notify()
            gevent.sleep(STEP_SECONDS)

    def _accept_all(self) -> None:
        """Accept all connections that wait in the kernel: closing the listener would reset them. No other greenlet runs
        meanwhile."""
        for server in self._servers:
            while not server.full() and (accepted := server.do_read()):
                server.do_handle(*accepted)

    def _get_ready(self, service: Service) -> None:
        """Wait until the service is ready, while other workers take the connections. The wait is bounded, because a
        worker that is not ready must still answer what is wrong. On a reload the old workers can do so longer."""
        old_serve = self._shift > 1 and SHIFTS.awaits_next(self._shift - 1)
        latest = time.monotonic() + (max(READY_SECONDS, self.cfg.timeout / 2) if old_serve else READY_SECONDS)
        while service.unready() is not None and self.alive and time.monotonic() < latest:
            self.notify()
            gevent.sleep(STEP_SECONDS / 2)

    def _work(self, service: Service, stopping: gevent.event.Event) -> None:
        """Serve until the worker is told to stop and, on a reload, a new worker is ready."""
        ready = False
        while self.alive and not stopping.wait(1.0 if ready else STEP_SECONDS):
            self.notify()
            if not ready and service.unready() is None:
                ready = True
                SHIFTS.begin(self._shift)
        latest = time.monotonic() + self.cfg.timeout  # a new worker that takes longer is killed by gunicorn
        while self.alive and SHIFTS.awaits_next(self._shift) and time.monotonic() < latest:
            self.notify()
            gevent.sleep(STEP_SECONDS / 2)

    @staticmethod
    def _limit_connections(capacity: Capacity) -> None:
        descriptors = raise_descriptor_limit()
        wanted = capacity.most
        capacity.limit(most_connections(wanted, descriptors))
        if descriptors < wanted:
            logger.warning(
                "PUSHSVC_MAX_CONNECTIONS is %d, but this process may open %d files: it will take %d connections; "
                "raise the limit (ulimit -n, LimitNOFILE=)",
                wanted,
                descriptors,
                capacity.most,
            )

    def _finish(self, service: Service, servers: list[StreamServer]) -> None:
        """End the streams, then wait for the requests under way, up to gunicorn's graceful timeout."""
        began = time.monotonic()
        deadline = (self._left_at or began) + self.cfg.graceful_timeout - LAST_SECONDS
        # Idle connections stay open until then: a proxy may be sending a request on one that it uses all the time. The
        # response to that closes it.
        unused = began + min(UNUSED_SECONDS, service.settings.drain_seconds)
        draining = gevent.spawn(service.drain, service.settings.drain_seconds)
        while self._busy(service, servers) and time.monotonic() < deadline:
            self.notify()
            if draining.ready() and time.monotonic() > unused:
                self._close_idle()
            gevent.sleep(STEP_SECONDS)
        service.end_answers()  # clients that wait for an answer are told, before their requests are killed
        self._await_end(service, MOMENT_SECONDS)
        service.end_all()
        self._await_end(service, MOMENT_SECONDS)
        for server in servers:
            server.stop(timeout=MOMENT_SECONDS)

    def _await_end(self, service: Service, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._busy(service, self._servers) and time.monotonic() < until:
            gevent.sleep(STEP_SECONDS / 10)

    @staticmethod
    def _busy(service: Service, servers: list[StreamServer]) -> bool:
        return bool(len(service.capacity) or service.generating or any(server.pool for server in servers))

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Handle SIGTERM. On a reload the worker serves until new ones are ready; else it is not ready from now on."""
        awaits_next = SHIFTS.awaits_next(self._shift)
        if self._stopping is None:  # it has not begun
            super().handle_exit(sig, frame)
            if not awaits_next:
                SHIFTS.begin(self._shift)  # or old workers would wait for this one
            return
        if not awaits_next:
            self._left_at = self._left_at or time.monotonic()
            self._service.capacity.announce_stop()
        self._stopping.set()

    def handle_quit(self, _sig: int, _frame: Any) -> None:
        """Handle SIGINT and SIGQUIT: end at once, but not in the signal handler, which must not wait."""
        gevent.spawn(self._quit)

    def _quit(self) -> None:
        self.alive = False
        self.cfg.worker_int(self)
        gevent.sleep(STEP_SECONDS)
        for server in self._servers:
            server.stop(timeout=0)  # kills the requests, each of which gets an answer (handle_error)
        if not self._over:  # else the interpreter is ending already, and would print the SystemExit
            sys.exit(0)

    def _refuse(self) -> None:
        """Take no more connections: be not ready, and close each connection after its response."""
        self.alive = False
        self._service.capacity.stop_accepting()
