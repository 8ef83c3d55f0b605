"""The response of a model's server to one question, as far as its head and the size of its body are concerned. Pure."""

from __future__ import annotations

from pushsvc.events import exact_json
from pushsvc.events.sse_parser import TooLong
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.formats.openai import Chunk, Malformed
from pushsvc.llm.making import sizes
from pushsvc.llm.models.body import Body, Unreadable


class Broken(Exception):
    """The response cannot be read, or tells of an error. `code`: for programs; `said`: the error in its own words."""

    def __init__(self, message: str, code: str = "upstream_malformed", said: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.said = said


def read_chunk(data: bytes, *, first: bool) -> Chunk:
    """Read the data of an event. `first`: no token has come yet. Raises Broken."""
    try:
        chunk = openai.parse(data)
    except Malformed as error:
        raise Broken(f"The model sent what cannot be read: {error}.") from error
    if "error" in chunk.value and (failure := openai.error_of(exact_json.loads(chunk.raw))) is not None:
        raise Broken("The model failed.", "upstream_failed", failure)
    if first and openai.is_completion(chunk.value):  # all at once, and only framed as a stream
        return openai.parse(exact_json.dumps(openai.chunk_of(exact_json.loads(chunk.raw)), lone=True))
    return chunk


class Reply:
    """Reads a response. `refusal`: the status and the headers, if the status is no success."""

    __slots__ = ("_body", "_most", "_overhead", "refusal")

    def __init__(self, status: int, headers: dict[str, str], most: int = sizes.MOST_ANSWER) -> None:
        """`most`: bytes of an answer. Raises Broken."""
        self.refusal = None if 200 <= status < 300 else (status, headers)
        self._overhead = 0  # bytes
        self._most = most if self.refusal is None else sizes.MOST_REFUSAL
        self._body: Body | None = None  # None: that of a refusal, which nobody can read
        try:
            self._body = Body(headers, most, sizes.MOST_EVENT, refusal=self.refusal is not None)
        except Unreadable as error:
            if self.refusal is None:
                raise Broken(str(error)) from error

    @property
    def streams(self) -> bool:
        """Whether a stream of events comes; see Body."""
        return self.refusal is None and self._body is not None and self._body.streams

    @property
    def document(self) -> bytes | None:
        """All of the body. None: it is a stream, or cannot be read."""
        return None if self._body is None else self._body.document

    def feed(self, piece: bytes) -> list[bytes]:
        """Take a piece of the body, and give the data of the events that it completes. Raises Broken."""
        if self._body is None:
            return []
        try:
            events = self._body.feed(piece)
        except Unreadable as error:
            if self.refusal is not None:
                return []
            raise Broken(str(error)) from error
        except TooLong as error:
            raise Broken(f"The model sent what is no event: {error}.") from error
        self._overhead += sizes.EVENT * len(events)
        if self._body.bytes + self._overhead > self._most:
            raise Broken("The model's answer is too long.", "upstream_too_long")
        return events

    def finish(self) -> list[bytes]:
        """Take the end of the body, and give the data of an event that only its blank line is missing."""
        return [] if self._body is None else self._body.finish()
