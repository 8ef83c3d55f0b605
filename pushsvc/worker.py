"""The gunicorn worker: gevent's, with the service started before the first request and drained before the last.

Use: gunicorn -k pushsvc.worker.PushWorker app:app
"""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import gevent
import gevent.event
import gevent.socket
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.sock import ssl_context
from gunicorn.workers.ggevent import GeventWorker

from pushsvc.handover import CLOSES, HandOver
from pushsvc.keepalive import KeepAlive
from pushsvc.limits import most_connections, raise_descriptor_limit
from pushsvc.shifts import SHIFTS
from pushsvc.turnstile import Turnstile

if TYPE_CHECKING:
    from pushsvc.room import Room
    from pushsvc.service import Service

logger = logging.getLogger(__name__)

NEWCOMERS: Final = 5  # connections accepted, and streams begun, in one turn of the event loop
_STREAM: Final = b"GET /events"
SKIPPED_BYTES: Final = 65536  # at a time
LAST_SECONDS: Final = 3  # before gunicorn kills a worker that has not stopped, to write the ends of its answers
STEP_SECONDS: Final = 0.1  # how often a worker looks whether it is ready, or done
READY_SECONDS: Final = 3  # which a worker that starts may take before it accepts connections all the same
MOMENT_SECONDS: Final = 0.2  # from a proxy's connection to the request on it
UNUSED_SECONDS: Final = 6  # longer than nginx keeps a connection it does not use (nginx/site.conf)


class PushWorker(GeventWorker):
    """One gevent process that holds connections and lets them go gently.

    Gunicorn's own worker looks once a second whether it should stop, and waits for kept-alive connections that
    nobody uses; this one stops accepting at once, and is done when its last request is. On a reload gunicorn stops the
    old workers while the new ones still load the application; these go on until one of the new is ready.
    """

    wsgi: Any  # what gunicorn calls for each request

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shift = SHIFTS.call(self.cfg)
        self._idle: dict[KeepAlive, gevent.Greenlet] = {}
        self._newcomers = Turnstile(NEWCOMERS)
        self._over = False
        self._stopping: gevent.event.Event | None = None  # set when the worker serves

    def init_process(self) -> None:
        """Gunicorn's workers heed signals only some time after the fork. One that is told to stop before that would
        never know, and be killed in the end, with all its connections."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self._application, self.wsgi = self.wsgi, self._answer

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Gunicorn takes no `Connection: close` from an application, as a header."""
        environ[CLOSES] = start_response.__self__.force_close
        return self._application(environ, start_response)

    def run(self) -> None:
        self._stopping = stopping = gevent.event.Event()
        service = self._service
        self._limit_connections(service.room)
        service.room.detaches = not self.cfg.is_ssl and self.cfg.protocol == "http"  # else bytes are not what they seem
        service.start()
        gc.freeze()  # what is here by now stays; a collection need not look at it while events wait
        self._get_ready(service)
        servers = [self._serve(listener) for listener in self.sockets]
        try:
            self._work(service, stopping)
            for server in servers:
                server.close()
            if self.alive:
                gevent.sleep(MOMENT_SECONDS)  # who was accepted just now gets what they came for
                self._refuse()
            self._finish(service, servers)
        finally:
            self._over = True
            service.stop()

    def _get_ready(self, service: Service) -> None:
        """Siblings take what comes meanwhile. Not for long: somebody must say what is wrong."""
        latest = time.monotonic() + READY_SECONDS
        while service.unready() is not None and self.alive and time.monotonic() < latest:
            self.notify()
            gevent.sleep(STEP_SECONDS / 2)

    def _work(self, service: Service, stopping: gevent.event.Event) -> None:
        """Until it is told to stop, and there is somebody to take over from it."""
        ready = False
        while self.alive and not stopping.wait(1.0 if ready else STEP_SECONDS):
            self.notify()
            if not ready and service.unready() is None:
                ready = True
                SHIFTS.begin(self._shift)
        latest = time.monotonic() + self.cfg.timeout  # in which a new one is ready, or gunicorn kills it
        while self.alive and SHIFTS.awaits_next(self._shift) and time.monotonic() < latest:
            self.notify()
            gevent.sleep(STEP_SECONDS / 2)

    @staticmethod
    def _limit_connections(room: Room) -> None:
        descriptors = raise_descriptor_limit()
        wanted, room.most = room.most, most_connections(room.most, descriptors)
        if descriptors < wanted:
            logger.warning(
                "PUSHSVC_MAX_CONNECTIONS is %d, but this process may open %d files: it will take %d connections; "
                "raise the limit (ulimit -n, LimitNOFILE=)",
                wanted,
                descriptors,
                room.most,
            )

    def _serve(self, listener: Any) -> StreamServer:
        listener.setblocking(1)
        tls = {"ssl_context": ssl_context(self.cfg)} if self.cfg.is_ssl else {}
        server = StreamServer(
            listener, handle=partial(self.handle, _Name(listener)), spawn=Pool(self.worker_connections), **tls
        )
        # At once: one leaves the next connection to a sibling, and a few keep a crowd that comes back waiting in the
        # kernel, where it costs nothing, instead of in greenlets.
        server.max_accept = 1 if self.cfg.workers > 1 else NEWCOMERS
        server.start()
        return server

    def _finish(self, service: Service, servers: list[StreamServer]) -> None:
        """Let the connections go, then wait for the requests under way, up to gunicorn's graceful timeout."""
        began = time.monotonic()
        deadline = began + self.cfg.graceful_timeout - LAST_SECONDS
        # Not before: a request may be on its way on a connection that a proxy uses all the time. Its answer ends it.
        unused = began + min(UNUSED_SECONDS, service.settings.drain_seconds)
        draining = gevent.spawn(service.drain, service.settings.drain_seconds)
        while self._busy(service, servers) and time.monotonic() < deadline:
            self.notify()
            if draining.ready() and time.monotonic() > unused:
                self._close_idle()
            gevent.sleep(STEP_SECONDS)
        service.end_answers()  # who waits for one is told, before its request is killed
        for server in servers:
            server.stop(timeout=1)

    @staticmethod
    def _busy(service: Service, servers: list[StreamServer]) -> bool:
        return bool(len(service.room) or service.generating or any(server.pool for server in servers))

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        """Gunicorn serves a connection in here. A crowd's first requests may all arrive in one turn of the loop."""
        if not self.cfg.is_ssl and not self._spoken(client):
            client.close()
            return
        if self._wants_stream(client):
            self._newcomers.wait()
        super().handle(listener, client, address)

    def _wants_stream(self, client: Any) -> bool:
        """Others, such as publishers, do not wait behind a crowd of listeners that comes back."""
        with contextlib.suppress(OSError):  # reset already: who reads on notices
            return not self.cfg.is_ssl and client.recv(len(_STREAM), socket.MSG_PEEK) == _STREAM
        return False

    def _spoken(self, client: Any) -> bool:
        """Wait for the first byte of a request, as long as for a next one."""
        with self.timeout_ctx():
            gevent.socket.wait_read(client.fileno())
            return True
        return False

    def handle_request(self, listener: Any, request: Any, client: Any, address: Any) -> None:
        """Gunicorn calls this for each request over HTTP/1."""
        try:
            super().handle_request(listener, request, client, address)
        except HandOver as response:
            response.adopt(client.detach(), bool(request.unreader.take_buffered()))
            raise StopIteration from None  # gunicorn's word for: done with this connection
        # A body that was refused unread. Gunicorn would skip it by 1 KB, and copy what it holds of it each time.
        while request.body.read(SKIPPED_BYTES):
            gevent.sleep(0)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: not ready, and no longer accepting, from this moment; on a reload, once others are ready."""
        awaits_next = SHIFTS.awaits_next(self._shift)
        if self._stopping is None:  # it has not begun
            super().handle_exit(sig, frame)
            if not awaits_next:
                SHIFTS.begin(self._shift)  # nobody shall wait for it
            return
        if not awaits_next:
            self._refuse()
        self._stopping.set()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGINT and SIGQUIT: end at once. Not in a signal handler, which must not wait."""
        gevent.spawn(self._quit)

    def _quit(self) -> None:
        self.alive = False
        self.cfg.worker_int(self)
        gevent.sleep(STEP_SECONDS)
        if not self._over:  # else it is ending, and an interpreter that ends prints what is raised
            sys.exit(0)

    def _refuse(self) -> None:
        """Take nothing new: not ready, and each answer says that its connection ends with it."""
        self.alive = False
        self._service.room.draining = True

    def timeout_ctx(self) -> KeepAlive:
        """Gunicorn waits for a connection's next request inside this."""
        return KeepAlive(self._idle, self.cfg.keepalive)

    def _close_idle(self) -> None:
        """End the kept-alive connections on which no request has begun."""
        for timeout, greenlet in list(self._idle.items()):
            gevent.get_hub().loop.run_callback(self._end, timeout, greenlet)

    def _end(self, timeout: KeepAlive, greenlet: gevent.Greenlet) -> None:
        if timeout in self._idle:  # a request may have begun since
            greenlet.throw(timeout)

    @property
    def _service(self) -> Service:
        from pushsvc.service import EXTENSION  # after gunicorn has patched the standard library

        service: Service = self._application.extensions[EXTENSION]
        return service


class _Name:
    """All that gunicorn wants of a listener while it serves: the listener itself is closed when the worker stops, and
    connections accepted before that may yet bring a request."""

    def __init__(self, listener: Any) -> None:
        self._name = listener.getsockname()

    def getsockname(self) -> Any:
        return self._name
