"""The part of the gunicorn worker that serves connections, from their accepting to their end."""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http.parser import RequestParser
from gunicorn.sock import ssl_context
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker

from pushsvc.concurrency.throttle import TickThrottle
from pushsvc.delivery.transports.handover import CLOSES, HELD, UNREAD, HandOver
from pushsvc.server.heads import BoundedRequest, head_of, opens_stream
from pushsvc.server.keepalive import HEAD_SECONDS, Idle, KeepAlive, KeptConnection
from pushsvc.server.unanswered import answer_to, is_bug

if TYPE_CHECKING:
    from pushsvc.service import Service

NEWCOMERS: Final = 5  # connections accepted, and streams begun, in one turn of the event loop
SKIPPED_BYTES: Final = 65536  # at a time
LINGER_SECONDS: Final = 0.5  # for a client that still sends when its request is refused


class HttpWorker(GeventWorker):
    """Gunicorn's gevent worker, but for three things: its connections are kept alive in a way that tells idle ones from
    others, what it cannot read is answered with a problem, and a response may go on without its greenlet."""

    wsgi: Any  # what gunicorn calls for each request

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: dict[gevent.Greenlet, KeptConnection] = {}  # by who reads requests from it
        self._idle: dict[KeptConnection, gevent.Greenlet] = {}
        self._newcomers = TickThrottle(NEWCOMERS)

    def init_process(self) -> None:
        """Have gunicorn read heads within our bounds; its hook."""
        RequestParser.mesg_class = BoundedRequest
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, and stand before it; gunicorn's hook."""
        super().load_wsgi()
        self._application, self.wsgi = self.wsgi, self._answer

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request. `CLOSES` lets the application end the connection: gunicorn takes no such header from it."""
        response = start_response.__self__
        environ[CLOSES] = response.force_close
        kept = self._kept.get(gevent.getcurrent())
        if kept is not None:  # else it is one of HTTP/2's
            kept.response = response
            environ[HELD] = kept.held
            environ[UNREAD] = partial(_unread, response.req.unreader)
        return self._application(environ, start_response)

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

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        """Serve a connection; gunicorn's hook. A crowd's first requests may all arrive in one turn of the loop."""
        kept = self._kept[gevent.getcurrent()] = KeptConnection(client)
        try:
            if opens_stream(self._await_request(kept)):
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
        """Wrap the reading of a request's head; gunicorn's hook."""
        return KeepAlive(partial(self._await_request, self._kept[gevent.getcurrent()]))

    def handle_request(self, listener: Any, request: Any, client: Any, address: Any) -> None:
        """Serve a request over HTTP/1; gunicorn's hook. A request that is killed gets an answer, see `handle_error`:
        gunicorn's own gevent worker would hide that."""
        try:
            super(GeventWorker, self).handle_request(listener, request, client, address)
        except HandOver as response:
            response.adopt(client)
            raise StopIteration from None  # gunicorn's word for: done with this connection
        # A body that was refused unread. Gunicorn would skip it by 1 KB, and copy what it holds of it each time.
        while request.body.read(SKIPPED_BYTES):
            gevent.sleep(0)
        request.unreader.unread(self._kept[gevent.getcurrent()].finish(request.unreader.take_buffered()))

    def handle_error(self, request: Any, client: Any, _address: Any, error: BaseException) -> None:
        """Answer a request that cannot be read, or was killed; gunicorn's hook, whose own answer would be HTML."""
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
    """Give back bytes that were read too far: gunicorn reads them behind what it holds already."""
    unreader.unread(unreader.take_buffered() + said)


class _Name:
    """A listener's address, which is all that gunicorn wants of it while it serves: the listener itself is closed when
    the worker stops, and connections accepted before that may yet bring a request."""

    def __init__(self, listener: Any) -> None:
        self._name = listener.getsockname()

    def getsockname(self) -> Any:
        return self._name
