"""Requests that cannot be read, and what becomes of them."""

from __future__ import annotations

from typing import ClassVar


class Unreadable(Exception):
    """A request is refused before the application sees it. The connection ends with the answer, because where the next
    request would begin is not certain."""

    status: ClassVar = 400
    detail: ClassVar = "The request is malformed."


class LineTooLong(Unreadable):
    """The request line is longer than `limits.LONGEST_LINE`."""

    status = 414
    detail = "The request's first line is too long."


class HeadTooLarge(Unreadable):
    """The header fields are too long, or too many."""

    status = 431
    detail = "The request's headers are too long, or too many."


class SlowHead(Unreadable):
    """The head did not come to its end within `limits.HEAD_SECONDS`."""

    status = 408
    detail = "The request's head took too long."


class UnknownExpectation(Unreadable):
    """The request expects what this server does not know."""

    status = 417
    detail = "Expect: may be 100-continue, and nothing else."


class UnknownCoding(Unreadable):
    """The body has a transfer coding other than chunked."""

    status = 501
    detail = "Transfer-Encoding: may be chunked, and nothing else."


class UnknownVersion(Unreadable):
    """The request is of another version than HTTP/1.0 and HTTP/1.1."""

    status = 505
    detail = "The request must be HTTP/1.1 or HTTP/1.0."


class BrokenBody(OSError):
    """The body is cut off, or its chunks are malformed. The connection cannot be used any longer."""


class SlowBody(BrokenBody, TimeoutError):
    """The body comes more slowly than `limits` allow. The connection cannot be used any longer."""
