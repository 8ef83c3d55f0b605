"""A request as gunicorn's own code expects it: its WSGI environment, its hooks and its access log."""

from __future__ import annotations

from typing import Any, Final

from pushsvc.server.limits import MOST_SKIPPED_BYTES
from pushsvc.server.wire.body import Body, Expected, as_input, body_of
from pushsvc.server.wire.connection import Connection
from pushsvc.server.wire.head import Head

_VERSIONS: Final = {"HTTP/1.1": (1, 1), "HTTP/1.0": (1, 0)}


class Request:
    """A request that is being answered. Its attributes are those of gunicorn's `http.message.Request`, where these mean
    something here."""

    fragment = ""
    proxy_protocol_info = None  # connections with that protocol are served by gunicorn's own code
    _expected_100_continue = False  # Body answers it, when the application reads

    def __init__(self, connection: Connection, head: Head, scheme: str) -> None:
        self.head = head
        self.scheme = scheme
        self.incoming: Body | None = body_of(connection, head)
        self.trailers: list[tuple[str, str]] = []
        self.must_close = False
        self._connection = connection
        self._body: Any = None

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self.head.method

    @property
    def uri(self) -> str:
        """The request target, as it was sent."""
        return self.head.target

    @property
    def path(self) -> str:
        """The target's path, percent-encoded."""
        return self.head.path

    @property
    def query(self) -> str:
        """The target's query, percent-encoded."""
        return self.head.query

    @property
    def version(self) -> tuple[int, int]:
        """The version of HTTP."""
        return _VERSIONS[self.head.protocol]

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields, with their names in capitals."""
        return [(name.upper(), value) for name, value in self.head.fields.items()]

    @property
    def peer_addr(self) -> Any:
        """The address of the other end of the connection."""
        return self._connection.address

    @property
    def remote_addr(self) -> Any:
        """The same as `peer_addr`: whom a proxy speaks for is found out by forwarding.py."""
        return self._connection.address

    @property
    def body(self) -> Any:
        """WSGI's `wsgi.input`."""
        if self._body is None:
            self._body = as_input(self._connection, self.incoming)
        return self._body

    @property
    def waits(self) -> bool:
        """Whether the client still waits for 100 (Continue): whether its body will come is not certain."""
        return isinstance(self.incoming, Expected) and not self.incoming.asked

    def force_close(self) -> None:
        """Close the connection after the response."""
        self.must_close = True

    def should_close(self) -> bool:
        """Whether the connection ends with the response."""
        if self.must_close or not self.head.keeps_alive or self.method == "CONNECT":
            return True
        body = self.incoming  # if much of it was not read, the connection ends: the next request is too far away
        return body is not None and (self.waits or body.broken or body.left > MOST_SKIPPED_BYTES)
