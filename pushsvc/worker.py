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
from gunicorn.http.parser import RequestParser
from gunicorn.sock import ssl_context
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker

from pushsvc.handover import CLOSES, HELD, UNREAD, HandOver
from pushsvc.heads import BoundedRequest, head_of
from pushsvc.keepalive import HEAD_SECONDS, Idle, KeepAlive, KeptConnection
from pushsvc.limits import most_connections, raise_descriptor_limit
from pushsvc.shifts import SHIFTS
from pushsvc.stopping import LAME_DUCK_SECONDS, LAST_SECONDS
from pushsvc.turnstile import Turnstile
from pushsvc.unanswered import answer_to, is_bug

if TYPE_CHECKING:
    from pushsvc.room import Room
    from pushsvc.service import Service

logger = logging.getLogger(__name__)

NEWCOMERS: Final = 5  # connections accepted, and streams begun, in one turn of the event loop
_STREAM: Final = b"GET /events"
SKIPPED_BYTES: Final = 65536  # at a time
STEP_SECONDS: Final = 0.1  # how often a worker looks whether it is ready, or done
READY_SECONDS: Final = 3  # which a worker that starts may take before it accepts connections all the same
MOMENT_SECONDS: Final = 0.2  # from a proxy's connection to the request on it; from a word to its being sent
LINGER_SECONDS: Final = 0.5  # for a client that still sends when its request is refused
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
        self._kept: dict[gevent.Greenlet, KeptConnection] = {}  # by who reads requests from it
        self._idle: dict[KeptConnection, gevent.Greenlet] = {}
        self._servers: list[StreamServer] = []
        self._newcomers = Turnstile(NEWCOMERS)
        self._over = False
        self._stopping: gevent.event.Event | None = None  # set when the worker serves
        self._left_at = 0.0  # monotonic time of the signal to stop though nobody takes over

    def init_process(self) -> None:
        """Gunicorn's workers heed signals only some time after the fork. One that is told to stop before that would
        never know, and be killed in the end, with all its connections."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        RequestParser.mesg_class = BoundedRequest
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self._application, self.wsgi = self.wsgi, self._answer

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Gunicorn takes no `Connection: close` from an application, as a header."""
        response = start_response.__self__
        environ[CLOSES] = response.force_close
        kept = self._kept.get(gevent.getcurrent())
        if kept is not None:  # else it is one of HTTP/2's
            kept.response = response
            environ[HELD] = kept.held
            environ[UNREAD] = partial(_unread, response.req.unreader)
        return self._application(environ, start_response)

    def run(self) -> None:
        self._stopping = stopping = gevent.event.Event()
        service = self._service
        self._limit_connections(service.room)
        service.room.detaches = not self.cfg.is_ssl and self.cfg.protocol == "http"  # else bytes are not what they seem
        service.start()
        gc.freeze()  # what is here by now stays; a collection need not look at it while events wait
        self._get_ready(service)
        self._servers = servers = [self._serve(listener) for listener in self.sockets]
        try:
            self._work(service, stopping)
            relieved = not service.room.leaving
            if not relieved:
                self._stay(LAME_DUCK_SECONDS)
                self._refuse()
                self._accept_all()
            for server in servers:
                server.close()
            if relieved and self.alive:
                gevent.sleep(MOMENT_SECONDS)  # who was accepted just now gets what they came for
                self._refuse()
            self._finish(service, servers)
        finally:
            self._over = True
            service.stop()

    def _stay(self, seconds: float) -> None:
        """Serve on, unless all is to end at once."""
        until = time.monotonic() + seconds
        while self.alive and time.monotonic() < until:
            self.notify()
            gevent.sleep(STEP_SECONDS)

    def _accept_all(self) -> None:
        """Who waits in the kernel would be reset with the listener. Nobody else runs meanwhile."""
        for server in self._servers:
            while not server.full() and (accepted := server.do_read()):
                server.do_handle(*accepted)

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
        deadline = (self._left_at or began) + self.cfg.graceful_timeout - LAST_SECONDS
        # Not before: a request may be on its way on a connection that a proxy uses all the time. Its answer ends it.
        unused = began + min(UNUSED_SECONDS, service.settings.drain_seconds)
        draining = gevent.spawn(service.drain, service.settings.drain_seconds)
        while self._busy(service, servers) and time.monotonic() < deadline:
            self.notify()
            if draining.ready() and time.monotonic() > unused:
                self._close_idle()
            gevent.sleep(STEP_SECONDS)
        service.end_answers()  # who waits for one is told, before its request is killed
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
        return bool(len(service.room) or service.generating or any(server.pool for server in servers))

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        """Gunicorn serves a connection in here. A crowd's first requests may all arrive in one turn of the loop."""
        kept = self._kept[gevent.getcurrent()] = KeptConnection(client)
        try:
            if self._await_request(kept).startswith(_STREAM):
                self._newcomers.wait()  # others, such as publishers, do not wait behind listeners that come back
            super().handle(listener, client, address)
        except (Idle, OSError):  # nobody asked anything, or who did is gone
            client.close()
        finally:
            kept.end()
            del self._kept[gevent.getcurrent()]

    def _await_request(self, kept: KeptConnection) -> bytes:
        self._idle[kept] = gevent.getcurrent()
        try:
            return kept.await_request(self.cfg.keepalive or HEAD_SECONDS)
        finally:
            del self._idle[kept]

    def timeout_ctx(self) -> KeepAlive:
        """Gunicorn reads a request's head inside this."""
        return KeepAlive(partial(self._await_request, self._kept[gevent.getcurrent()]))

    def handle_request(self, listener: Any, request: Any, client: Any, address: Any) -> None:
        """Gunicorn calls this for each request over HTTP/1. One that is killed gets an answer, see `handle_error`:
        gevent's own worker class would hide that."""
        try:
            super(GeventWorker, self).handle_request(listener, request, client, address)
        except HandOver as response:
            response.adopt(client)
            raise StopIteration from None  # gunicorn's word for: done with this connection
        # A body that was refused unread. Gunicorn would skip it by 1 KB, and copy what it holds of it each time.
        while request.body.read(SKIPPED_BYTES):
            gevent.sleep(0)
        request.unreader.unread(self._kept[gevent.getcurrent()].finish(request.unreader.take_buffered()))

    def handle_error(self, request: Any, client: Any, address: Any, error: BaseException) -> None:
        """Gunicorn calls this where a request cannot be read, or was killed. Its own answer would be HTML."""
        kept = self._kept.get(gevent.getcurrent())
        if kept is None or kept.owes_head:
            service = self._service
            origins, retry_ms = service.settings.allowed_origins, service.retry_ms()
            with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, False):
                write_nonblock(client, answer_to(error, head_of(request, error), origins, retry_ms))
                client.shutdown(socket.SHUT_WR)
                while client.recv(SKIPPED_BYTES):  # else what is still to be read would have it reset, unheard
                    pass
        if is_bug(error):
            self.log.exception("Error handling request")

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: if nobody takes over, not ready from this moment; on a reload, once others are ready."""
        awaits_next = SHIFTS.awaits_next(self._shift)
        if self._stopping is None:  # it has not begun
            super().handle_exit(sig, frame)
            if not awaits_next:
                SHIFTS.begin(self._shift)  # nobody shall wait for it
            return
        if not awaits_next:
            self._left_at = self._left_at or time.monotonic()
            self._service.room.leaving = True
        self._stopping.set()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGINT and SIGQUIT: end at once. Not in a signal handler, which must not wait."""
        gevent.spawn(self._quit)

    def _quit(self) -> None:
        self.alive = False
        self.cfg.worker_int(self)
        gevent.sleep(STEP_SECONDS)
        for server in self._servers:
            server.stop(timeout=0)  # who waits for an answer gets one
        if not self._over:  # else it is ending, and an interpreter that ends prints what is raised
            sys.exit(0)

    def _refuse(self) -> None:
        """Take nothing new: not ready, and each answer says that its connection ends with it."""
        self.alive = False
        self._service.room.draining = True

    def _close_idle(self) -> None:
        """End the kept-alive connections on which no request has begun."""
        for kept, greenlet in list(self._idle.items()):
            gevent.get_hub().loop.run_callback(self._end, kept, greenlet)

    def _end(self, kept: KeptConnection, greenlet: gevent.Greenlet) -> None:
        if kept in self._idle and kept.silent():  # else a request has begun since
            greenlet.throw(Idle())

    @property
    def _service(self) -> Service:
        from pushsvc.service import EXTENSION  # after gunicorn has patched the standard library

        service: Service = self._application.extensions[EXTENSION]
        return service


def _unread(unreader: Any, said: bytes) -> None:
    """Gunicorn reads this behind what it holds already."""
    unreader.unread(unreader.take_buffered() + said)


class _Name:
    """All that gunicorn wants of a listener while it serves: the listener itself is closed when the worker stops, and
    connections accepted before that may yet bring a request."""

    def __init__(self, listener: Any) -> None:
        self._name = listener.getsockname()

    def getsockname(self) -> Any:
        return self._name
