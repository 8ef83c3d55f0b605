"""Who answers questions, and who hears the answers: what an upstream, the mock and a generation know of each other."""

from __future__ import annotations

from typing import Final, Protocol

HEADERS: Final = ("content-type", "retry-after")  # those of a response that matter here


class Fault(Exception):
    """The server cannot be reached, or does not speak HTTP as it should. `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Hearer(Protocol):
    """Who hears what an upstream answers. Nothing is heard after `complete` or `failed`, or once the call is closed."""

    def began(self, status: int, headers: dict[str, str]) -> None:
        """The head came, with those of the headers that matter here (HEADERS)."""

    def heard(self, body: bytes) -> None:
        """A piece of the body."""

    def complete(self) -> None:
        """The body has ended as it should."""

    def failed(self, fault: Fault) -> None: ...


class Call(Protocol):
    """A question that was asked."""

    def pause(self) -> None:
        """Hear nothing for a while: what was heard cannot be put anywhere."""

    def resume(self) -> None: ...

    def release(self) -> None:
        """Hear nothing more: all was said, and the response is about to end."""

    def close(self) -> None:
        """Hear nothing more, and let the server know at once. Harmless when repeated."""


class Model(Protocol):
    """Who answers: an Upstream, or the Mock."""

    def ask(self, body: bytes, hearer: Hearer) -> Call: ...
