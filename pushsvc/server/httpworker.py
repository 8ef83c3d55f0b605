"""The part of the gunicorn worker that serves connections, from accept to close."""

from __future__ import annotations

import contextlib
import ssl
import time
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http import wsgi
from gunicorn.sock import is_http2_negotiated, ssl_context
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker

from pushsvc.concurrency.shares import OWNER
from pushsvc.concurrency.throttle import TickThrottle
from pushsvc.delivery.transports.handover import CLOSES, HELD, PATIENT, UNREAD, HandOver
from pushsvc.server.begun import stays
from pushsvc.server.limits import HEAD_SECONDS, MOST_SKIPPED_BYTES
from pushsvc.server.request_lines import log_request
from pushsvc.server.unanswered import answer_to, is_bug
from pushsvc.server.wire.connection import PIECE_BYTES, Connection, Idle
from pushsvc.server.wire.head import read_head
from pushsvc.server.wire.lingering import LINGER_SECONDS, linger
from pushsvc.server.wire.request import Request
from pushsvc.server.wire.response import WireResponse
from pushsvc.server.wire.unreadable import BrokenBody
from pushsvc.server.wire.writing import write
from pushsvc.telemetry.current import go_on

if TYPE_CHECKING:
    from pushsvc.server.shortcut import Shortcut
    from pushsvc.service import Service

NEWCOMERS: Final = 5  # connections accepted, and streams begun, in one turn of the event loop
SKIP_SECONDS: Final = 5.0  # for the rest of a body that the application did not read


class HttpWorker(GeventWorker):
    """Gunicorn's gevent worker, except for HTTP/1: it reads requests with a parser in C, knows which connections are
    idle, answers unreadable requests with a problem document, and a response may go on without its greenlet.

    Connections with HTTP/2, the PROXY protocol or uwsgi are served by gunicorn's own code.
    """

    wsgi: Any  # what gunicorn calls for each request
    alive: bool  # gunicorn's: the worker goes on

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle: dict[Connection, gevent.Greenlet] = {}  # the one that waited longest is the first
        self._newcomers = TickThrottle(NEWCOMERS)
        self._shortcut: Shortcut | None = None
        self._scheme = "https" if self.cfg.is_ssl else "http"
        self._foreign = speaks_otherwise(self.cfg)

    def load_wsgi(self) -> None:
        """Load the application; gunicorn's hook. Where gunicorn logs requests, or has hooks for them, they all go
        through the application."""
        super().load_wsgi()
        hooks = (self.cfg.settings[name] for name in ("pre_request", "post_request"))
        counts = self.log.access_log_enabled or self.cfg.statsd_host
        if not counts and all(hook.get() is hook.default for hook in hooks):
            from pushsvc.server.shortcut import shortcut_to  # after gunicorn has patched the standard library

            self._shortcut = shortcut_to(self.wsgi)

    def _serve(self, listener: Any) -> StreamServer:
        listener.setblocking(1)
        tls = {"ssl_context": ssl_context(self.cfg)} if self.cfg.is_ssl else {}
        server = StreamServer(
            listener, handle=partial(self.handle, _Name(listener)), spawn=Pool(self.worker_connections), **tls
        )
        # Connections accepted at once. With several workers it is one, so that another worker takes the next. A small
        # number keeps a crowd that reconnects waiting in the kernel, where it costs nothing, instead of in greenlets.
        server.max_accept = 1 if self.cfg.workers > 1 else NEWCOMERS
        server.start()
        return server

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        """Serve a connection; gunicorn's hook."""
        if self._foreign or is_http2_negotiated(client):
            super().handle(listener, client, address)
            return
        connection = Connection(client, address)
        try:
            while self._serve_next(listener.getsockname(), connection):
                if connection.has(1):
                    connection.turn.yield_if_over()  # who sends requests without waiting would never let others in
        except (Idle, ConnectionError, TimeoutError, BrokenBody, ssl.SSLError):
            pass  # no request came, or the client is gone
        except BaseException as error:  # noqa: BLE001  # also if the greenlet is killed: each request gets an answer
            self._answer_error(connection, error)
        finally:
            connection.end()
            client.close()

    def _serve_next(self, name: Any, connection: Connection) -> bool:
        """Serve the next request. False: the connection ends. Raises Idle, OSError or Unreadable."""
        greenlet = gevent.getcurrent()
        go_on(None)  # until the request has a name
        OWNER.set("")  # until it is known whose it is
        self._idle[connection] = greenlet
        try:
            connection.await_request()
        finally:
            del self._idle[connection]
        head = read_head(connection.take_head())
        if stays(head.method, head.path):
            self._newcomers.wait()  # only streams wait; a publisher need not wait behind listeners that reconnect
        request = Request(connection, head, self._scheme)
        self._count()
        try:
            goes_on = self._answer(name, connection, request)
        except HandOver as response:
            response.adopt(connection.client)
            return False
        if not self._skip_body(connection, request, seconds=SKIP_SECONDS if goes_on else LINGER_SECONDS) or not goes_on:
            return False
        connection.finish(time.monotonic())
        return True

    def _answer(self, name: Any, connection: Connection, request: Request) -> bool:
        """Answer a request, by the short way if it has one. False: the connection ends with the response."""
        if not self.alive or not self.cfg.keepalive:
            request.force_close()
        began = time.monotonic()
        answer = None if self._shortcut is None else self._shortcut.answer(connection, request)
        if answer is None:
            return self._run_application(name, connection, request)
        write(connection, request, answer, began)
        return not request.should_close()

    def _count(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False

    def _run_application(self, name: Any, connection: Connection, request: Request) -> bool:
        """Have the application answer (PEP 3333). False: the connection ends with the response. Raises HandOver."""
        began = datetime.now()
        environ: dict[str, Any] = {}
        response = None
        self.cfg.pre_request(self, request)
        try:
            response, environ = wsgi.create(
                request, connection.client, connection.address, name, self.cfg, WireResponse, (connection,)
            )
            environ["wsgi.multithread"] = True
            environ[CLOSES] = response.force_close  # gunicorn takes no Connection header from an application
            environ[HELD] = connection.held
            environ[UNREAD] = connection.push_back
            environ[PATIENT] = connection.be_patient
            self._send(environ, response, began)
            return not response.should_close()
        except OSError:  # the client is gone
            raise
        except Exception:
            if not connection.answered:
                raise
            self.log.exception("Error handling request")  # the response is cut, so that the client sees it
            return False
        finally:
            self._call_post_request(request, environ, response)

    def _send(self, environ: dict[str, Any], response: WireResponse, began: datetime) -> None:
        pieces = self.wsgi(environ, response.start_response)
        try:
            if isinstance(pieces, environ["wsgi.file_wrapper"]):
                response.write_file(pieces)
            else:
                for piece in pieces:
                    response.write(piece)
            response.close()
        finally:
            self.log.access(response, response.req, environ, seconds := datetime.now() - began)
            log_request(response.req.method, response.req.path, response.status, seconds.total_seconds())
            if hasattr(pieces, "close"):
                pieces.close()

    def _call_post_request(self, request: Request, environ: dict[str, Any], response: Any) -> None:
        try:
            self.cfg.post_request(self, request, environ, response)
        except Exception:
            self.log.exception("Exception in post_request hook")

    @staticmethod
    def _skip_body(connection: Connection, request: Request, seconds: float) -> bool:
        """Skip what the application did not read of the body, so that closing the connection does not reset it, and
        the next request is found. False: the body is too long for that, or does not come to its end."""
        body, skipped = request.incoming, 0
        if body is None or request.waits:
            return not request.waits
        if body.left > MOST_SKIPPED_BYTES:
            return linger(connection)
        with gevent.Timeout(seconds, False):
            while piece := body.receive(PIECE_BYTES):
                skipped += len(piece)
                if skipped > MOST_SKIPPED_BYTES:
                    return linger(connection)
                connection.turn.yield_if_over()
            return True
        return False

    def _answer_error(self, connection: Connection, error: BaseException) -> None:
        """Answer a request that cannot be read, or whose greenlet was killed, with a problem document."""
        if connection.owes_head:
            origins, retry_ms = self._service.settings.allowed_origins, self._service.retry_ms()
            with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, False):
                write_nonblock(connection.client, answer_to(error, connection.begun, origins, retry_ms))
                linger(connection)
        if is_bug(error):
            self.log.exception("Error handling request")

    def notify(self) -> None:
        """Give gunicorn's master a sign of life, about once a second; gunicorn's hook. It also ends the connections
        that have been idle for too long: one look at all costs less than a timer for each."""
        super().notify()
        self._close_idle(time.monotonic() - (self.cfg.keepalive or HEAD_SECONDS))

    def _close_idle(self, since: float | None = None) -> None:
        """Close the connections on which no request has begun. `since`: only those that have waited since that
        monotonic time."""
        for connection, greenlet in list(self._idle.items()):
            if since is not None and connection.idle_since > since:
                return
            gevent.get_hub().loop.run_callback(self._end, connection, greenlet)

    def _end(self, connection: Connection, greenlet: gevent.Greenlet) -> None:
        if connection in self._idle and connection.silent():  # else a request has begun since
            greenlet.throw(Idle())

    @property
    def _service(self) -> Service:
        from pushsvc.service import EXTENSION  # after gunicorn has patched the standard library

        service: Service = self.wsgi.extensions[EXTENSION]
        return service


def speaks_otherwise(settings: Any) -> bool:
    """Whether gunicorn's settings ask for more than HTTP/1 on connections without TLS."""
    return bool(settings.protocol != "http" or settings.proxy_protocol != "off" or settings.http2_cleartext != "off")


class _Name:
    """Stands in for a listener: gunicorn asks it only for its address while it serves. The listener itself is closed
    when the worker stops, and connections accepted before that may still send a request."""

    def __init__(self, listener: Any) -> None:
        self._name = listener.getsockname()

    def getsockname(self) -> Any:
        return self._name
