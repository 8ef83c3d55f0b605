"""The head of a request (RFC 9112 sections 2 to 6), read strictly: what two servers could read in two ways is refused.

A proxy and this server that disagree about where a request ends would let a stranger smuggle a second request inside
the first.
"""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from pushsvc.server.limits import LONGEST_LINE, MOST_FIELDS
from pushsvc.server.wire.unreadable import (
    HeadTooLarge,
    LineTooLong,
    UnknownCoding,
    UnknownExpectation,
    UnknownVersion,
    Unreadable,
)

END: Final = b"\r\n\r\n"
_VERSION: Final = re.compile(rb" HTTP/[0-9]\.[0-9]\Z")
_PROTOCOLS: Final = {b" HTTP/1.1": "HTTP/1.1", b" HTTP/1.0": "HTTP/1.0"}
_ONCE: Final = frozenset({"host", "content-type", "content-length"})  # fields that two proxies could read differently
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")
_HOST: Final = re.compile(r"[^\s/?#@\\]*")  # section 3.2: a request names one host, in HTTP/1.0 maybe none
_ABSOLUTE: Final = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)


class Head:
    """A request's head.

    `target`: as it was sent; `path`, `query`: its parts, still percent-encoded; `protocol`: "HTTP/1.1" or "HTTP/1.0";
    `fields`: the values by lower-case names, those of one name joined by commas; `length`: the body's bytes; None: it
    is chunked; `plain`: the target is a path, as browsers and proxies send it.
    """

    __slots__ = ("expects", "fields", "length", "method", "path", "plain", "protocol", "query", "target")

    def __init__(self, method: str, target: str, protocol: str, fields: dict[str, str]) -> None:
        """Find out how the body is framed. Raises Unreadable."""
        self.method = method
        self.target = target
        self.protocol = protocol
        self.fields = fields
        self.plain = target.startswith("/")
        self.path, self.query = _split(method, target, fields)
        self.length = _length(fields, protocol)
        self.expects = _expects(fields, protocol)

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants to send another request on the connection (RFC 9112 section 9.3)."""
        options = self.fields.get("connection")
        if options is None:
            return self.protocol == "HTTP/1.1"
        named = {each.strip().lower() for each in options.split(",")}
        return "close" not in named and (self.protocol == "HTTP/1.1" or "keep-alive" in named)


class _Collector:
    """The receiver that the parser calls with the parts of a head."""

    __slots__ = ("fields", "target")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def read_head(raw: bytes) -> Head:
    """Read a head. `raw`: its bytes, up to and including the empty line, and nothing before the request line. Raises
    Unreadable."""
    end = raw.index(b"\r\n")
    if end > LONGEST_LINE:
        raise LineTooLong
    protocol = _PROTOCOLS.get(raw[end - 9 : end])
    if protocol is None:
        raise UnknownVersion if _VERSION.search(raw, 0, end) else Unreadable
    if raw.count(b" ", 0, end) != 2 or raw.find(b"\n", 0, end) >= 0:  # the parser would end the line at a lone LF
        raise Unreadable
    if not raw.isascii():  # some clients send UTF-8 without percent-encoding, and nginx passes it on
        raw = _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], raw[:end]) + raw[end:]
    collector = _Collector()
    try:
        HttpRequestParser(collector).feed_data(raw)
    except HttpParserUpgrade:
        pass  # offered, and not taken
    except HttpParserError as error:
        raise (UnknownCoding if str(error) in _CODING_ERRORS else Unreadable) from error
    method = raw[: raw.index(b" ")].decode("ascii")
    fields = _joined(collector.fields)
    if _HOST.fullmatch(fields.get("host", "" if protocol == "HTTP/1.0" else "/")) is None:
        raise Unreadable
    return Head(method, collector.target.decode("ascii"), protocol, fields)


# What llhttp says of a body whose last transfer coding is not chunked.
_CODING_ERRORS: Final = frozenset({"Request has invalid `Transfer-Encoding`"})


# The names that most requests have, as most clients write them.
_USUAL: Final = {
    spelled.encode(): name.lower()
    for name in (
        "Host", "User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control",
        "Connection", "Content-Length", "Content-Type", "Cookie", "Last-Event-ID", "Origin", "Referer",
        "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "X-Forwarded-For", "X-Forwarded-Proto",
    )
    for spelled in (name, name.lower())
}  # fmt: skip


def _joined(collected: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The fields by name. Names with an underscore are left out: in the environment of WSGI they could not be told from
    those with a hyphen, so a client could pass itself off as a proxy."""
    if len(collected) > MOST_FIELDS:
        raise HeadTooLarge
    fields: dict[str, str] = {}
    for raw_name, raw_value in collected:
        if len(raw_name) + len(raw_value) > LONGEST_LINE:
            raise HeadTooLarge
        name, value = (
            _USUAL.get(raw_name) or raw_name.decode("ascii").lower(),
            raw_value.rstrip(b" \t").decode("latin-1"),
        )
        if "_" in name:
            continue
        if name in fields:
            if name in _ONCE:
                raise Unreadable
            value = f"{fields[name]},{value}"
        fields[name] = value
    return fields


def _split(method: str, target: str, fields: dict[str, str]) -> tuple[str, str]:
    """Split a request target into path and query (RFC 9112 section 3.2). If it names a host, `Host` has to name the
    same: clients must send it so, and servers must ignore it, so that two servers could see two hosts."""
    if not target.startswith("/"):
        if target == "*" and method == "OPTIONS":
            return "*", ""
        authority = _ABSOLUTE.match(target)
        if authority is None or authority[1].lower() != fields.setdefault("host", authority[1]).lower():
            raise Unreadable
        target = target[authority.end() :]
        if not target.startswith("/"):
            target = f"/{target}"
    path, _, query = target.partition("#")[0].partition("?")
    return path, query


def _length(fields: dict[str, str], protocol: str) -> int | None:
    """The number of bytes in the body, as far as it is told before (RFC 9112 section 6). The parser has refused bodies
    with two lengths, and lengths that are no numbers."""
    coding = fields.get("transfer-encoding")
    if coding is None:
        return int(fields.get("content-length", "0"))
    if protocol == "HTTP/1.0":  # a proxy of that version knows no chunks, and would see the body's end elsewhere
        raise Unreadable
    if coding.lower() != "chunked":
        raise UnknownCoding
    return None


def _expects(fields: dict[str, str], protocol: str) -> bool:
    """Whether the client waits for 100 (Continue) before it sends the body (RFC 9110 section 10.1.1)."""
    expectation = fields.get("expect")
    if expectation is None:
        return False
    if expectation.lower() != "100-continue":
        raise UnknownExpectation
    return protocol == "HTTP/1.1"
