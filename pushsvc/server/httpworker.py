"""The part of the gunicorn worker that serves connections, from accept to close."""

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
    """Gunicorn's gevent worker, except for three things: it knows which kept-alive connections are idle, it answers
    unreadable requests with a problem document, and a response may go on without its greenlet."""

    wsgi: Any  # what gunicorn calls for each request

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: dict[gevent.Greenlet, KeptConnection] = {}  # by the greenlet that reads requests from it
        self._idle: dict[KeptConnection, gevent.Greenlet] = {}
        self._newcomers = TickThrottle(NEWCOMERS)

    def init_process(self) -> None:
        """Have gunicorn read heads within our bounds; its hook."""
        RequestParser.mesg_class = BoundedRequest
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, and wrap it in `_answer`; gunicorn's hook."""
        super().load_wsgi()
        self._application, self.wsgi = self.wsgi, self._answer

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request. `CLOSES` lets the application close the connection after the response: gunicorn takes no
        Connection header from an application."""
        response = start_response.__self__
        environ[CLOSES] = response.force_close
        kept = self._kept.get(gevent.getcurrent())
        if kept is not None:  # None: the request came over HTTP/2
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
        # Connections accepted at once. With several workers it is one, so that another worker takes the next. A small
        # number keeps a crowd that reconnects waiting in the kernel, where it costs nothing, instead of in greenlets.
        server.max_accept = 1 if self.cfg.workers > 1 else NEWCOMERS
        server.start()
        return server

    def handle(self, listener: Any, client: Any, address: Any) -> None:
        """Serve a connection; gunicorn's hook. A crowd's first requests may all arrive in one turn of the loop."""
        kept = self._kept[gevent.getcurrent()] = KeptConnection(client)
        try:
            if opens_stream(self._await_request(kept)):
                self._newcomers.wait()  # only streams wait; a publisher need not wait behind listeners that reconnect
            super().handle(listener, client, address)
        except (Idle, OSError):  # no request came, or the client is gone
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
        """Serve a request over HTTP/1; gunicorn's hook. If its greenlet is killed, `handle_error` answers it. The
        method of gunicorn's gevent worker is skipped, because it would swallow that exception."""
        try:
            super(GeventWorker, self).handle_request(listener, request, client, address)
        except HandOver as response:
            response.adopt(client)
            raise StopIteration from None  # tells gunicorn that this connection is done
        # Skip a body that the application did not read. Gunicorn would skip 1 KB at a time, and copy the rest each
        # time. Where the connection ends anyway, the rest of a stream may never come to its end.
        kept = self._kept[gevent.getcurrent()]
        seconds = LINGER_SECONDS if kept.response is not None and kept.response.must_close else None
        with gevent.Timeout(seconds, False):
            while request.body.read(SKIPPED_BYTES):
                gevent.sleep(0)
        request.unreader.unread(kept.finish(request.unreader.take_buffered()))

    def handle_error(self, request: Any, client: Any, _address: Any, error: BaseException) -> None:
        """Answer a request that cannot be read, or whose greenlet was killed; gunicorn's hook. Gunicorn itself would
        answer with HTML."""
        kept = self._kept.get(gevent.getcurrent())
        if kept is None or kept.owes_head:
            service = self._service
            origins, retry_ms = service.settings.allowed_origins, service.retry_ms()
            with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, False):
                write_nonblock(client, answer_to(error, head_of(request, error), origins, retry_ms))
                client.shutdown(socket.SHUT_WR)
                while client.recv(SKIPPED_BYTES):  # closed with unread bytes, it would be reset, and the answer lost
                    pass
        if is_bug(error):
            self.log.exception("Error handling request")

    def _close_idle(self) -> None:
        """Close the kept-alive connections on which no request has begun."""
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
    """Give bytes that belong to the next request back to gunicorn, after those that it holds already."""
    unreader.unread(unreader.take_buffered() + said)


class _Name:
    """Stands in for a listener: gunicorn asks it only for its address while it serves. The listener itself is closed
    when the worker stops, and connections accepted before that may still send a request."""

    def __init__(self, listener: Any) -> None:
        self._name = listener.getsockname()

    def getsockname(self) -> Any:
        return self._name
