"""Asks a model through the service, and hears the answer: each piece once, over reconnects, and by its id from any
other process."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pushsvc.client.backoff import Backoff
from pushsvc.client.errors import AnswerError, ServiceError
from pushsvc.client.http.transport import Failure, Response, Token, Transport
from pushsvc.client.sse import Message, Parser

PATIENCE_SECONDS: Final = 60.0
SILENCE_SECONDS: Final = 60.0  # four heartbeats of the service's default
_CONNECT_SECONDS: Final = 10.0
_READ_BYTES: Final = 65536
_END: Final = "[DONE]"
_PATH: Final = "/v1/generations"

Messages = str | Sequence[dict[str, Any]]


class Answers:
    """The model behind one service, for the user of a token. May be used by several threads at a time."""

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        patience: float = PATIENCE_SECONDS,
        silence: float = SILENCE_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`patience`: seconds in which the service must be there again; `silence`: seconds without any byte after which
        a connection is given up, more than the service's HEARTBEAT_SECONDS. Raises ValueError."""
        self._transport = Transport(url, token, timeout=_CONNECT_SECONDS, tls=tls)
        self._patience = patience
        self._silence = silence

    def ask(self, messages: Messages, *, key: str | None = None, **members: Any) -> Answer:
        """Ask a question: a text, or messages of OpenAI's chat completions, with its other members, such as `model`.
        `key`: the same key gives the same answer; one is drawn, so that a try that got lost asks nothing twice. Raises
        AnswerError."""
        said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        body = json.dumps({**members, "messages": said}).encode()
        begun = self._call("POST", _PATH, body, {"Idempotency-Key": key or secrets.token_hex(16)})
        return self.get(str(begun["id"]))

    def get(self, answer_id: str, cursor: str | None = None, text: str = "") -> Answer:
        """An answer that was asked for, anywhere. `cursor`, `text`: where another process was with it, and what it had
        heard up to there."""
        return Answer(self, answer_id, cursor, text)

    def close(self) -> None:
        """Close what is not in use."""
        self._transport.close()

    def _call(self, method: str, path: str, body: bytes | None = None, more: dict[str, str] | None = None) -> Any:
        tries = _Tries(self._transport, self._patience)
        while True:
            try:
                response = self._transport.request(method, path, body, more)
                if not response.is_json():
                    raise _refusal(self._transport, response)
                return json.loads(response.body)
            except ServiceError as error:
                tries.wait(error)


class Answer:
    """An iterator over the text of one answer, for one thread. A loop over it may stop anywhere; the next one goes on
    there. `id`, `cursor` and `text` are what another process goes on with: see Answers.get."""

    def __init__(self, answers: Answers, answer_id: str, cursor: str | None, text: str) -> None:
        self.id = answer_id
        self.cursor = cursor
        self.text = text
        self.finish_reason: str | None = None
        self._answers = answers
        self._transport = answers._transport  # noqa: SLF001
        self._over = False
        self._ready: deque[Message] = deque()
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._parser = Parser()
        self._tries = _Tries(self._transport, answers._patience)  # noqa: SLF001

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next piece of text. Raises AnswerError if the answer failed, or the service does not give it."""
        while not self._over:
            while self._ready:
                piece = self._take(self._ready.popleft())
                if piece:
                    return piece
            if not self._over:
                self._read()
        self._disconnect()
        raise StopIteration

    def cancel(self) -> None:
        """Have the model stop. Raises AnswerError."""
        self._answers._call("DELETE", f"{_PATH}/{self.id}")  # noqa: SLF001

    def state(self) -> dict[str, Any]:
        """The service's account of it: `state`, `text`, `choices`, `usage`, `error` and more. Raises AnswerError."""
        found: dict[str, Any] = self._answers._call("GET", f"{_PATH}/{self.id}")  # noqa: SLF001
        return found

    def close(self) -> None:
        """Close the connection; the model goes on, and so can the iteration."""
        self._disconnect()

    def _take(self, message: Message) -> str:
        """Handle what came, and give the text in it."""
        if message.name == "refused":
            problem = json.loads(message.data)
            self._lost(ServiceError(str(problem.get("detail")), status=problem.get("status")))
            return ""
        self.cursor = message.id or self.cursor
        if message.name != "message":
            return ""  # a cursor; a gap, after which comes the text so far
        if message.data == _END:
            self._over = True
            return ""
        chunk = json.loads(message.data)
        if chunk.get("error"):
            self._over = True
            self._disconnect()
            raise AnswerError(str(chunk["error"].get("message")), code=chunk["error"].get("code"), temporary=False)
        piece = self._said(chunk)
        if chunk.get("snapshot"):
            piece = self._rest_of(piece)
        self.text += piece
        return piece

    def _said(self, chunk: dict[str, Any]) -> str:
        for choice in chunk.get("choices") or ():
            if not choice.get("index"):
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
                content = (choice.get("delta") or choice.get("message") or {}).get("content")
                return content if isinstance(content, str) else ""
        return ""

    def _rest_of(self, whole: str) -> str:
        """The part of the text so far that was not heard yet."""
        if not whole.startswith(self.text):
            self._over = True
            raise AnswerError("The service has another text than was heard: its data was lost.", temporary=False)
        return whole[len(self.text) :]

    def _read(self) -> None:
        """Wait for what comes, on a connection that stands or is made."""
        try:
            response = self._response or self._connect()
            piece = b"" if response is None else response.read1(_READ_BYTES)
        except ServiceError as error:
            self._lost(error)
            return
        except Failure as error:
            self._lost(self._transport.unreachable(error))
            return
        if piece:
            messages = self._parser.feed(piece)
            if all(each.name != "refused" for each in messages):
                self._tries.succeeded()
            self._ready += messages
        elif not self._over:
            self._lost(ServiceError("the stream ended"))

    def _connect(self) -> http.client.HTTPResponse | None:
        """Open a stream behind the cursor. None: there is nothing more. Raises ServiceError, or one of `Failure`."""
        self._connection = connection = self._transport.connect()
        self._parser = Parser(self.cursor or "")
        headers = self._transport.headers() | {"Accept": "text/event-stream"}
        if self.cursor is not None:
            headers["Last-Event-ID"] = self.cursor
        connection.request("GET", f"{self._transport.address.path}{_PATH}/{self.id}/events", headers=headers)
        response = connection.getresponse()
        if response.status == 204:
            self._over = True
            return None
        if response.status != 200 or response.msg.get_content_type() != "text/event-stream":
            raise _refusal(self._transport, Response(response.status, response.msg, response.read(_READ_BYTES)))
        sock = connection.sock or response.fp.raw._sock  # type: ignore[attr-defined]  # noqa: SLF001
        sock.settimeout(self._answers._silence)  # noqa: SLF001
        self._response = response
        return response

    def _lost(self, error: ServiceError) -> None:
        self._disconnect()
        self._ready.clear()
        self._tries.wait(error)

    def _disconnect(self) -> None:
        connection, self._connection, self._response = self._connection, None, None
        if connection is not None:
            connection.close()


class _Tries:
    """Waits between tries, for as long as something may come of them."""

    def __init__(self, transport: Transport, patience: float) -> None:
        self._transport = transport
        self._patience = patience
        self._backoff = Backoff()
        self._since: float | None = None
        self._renewed = False

    def succeeded(self) -> None:
        self._since, self._renewed = None, False
        self._backoff.reset()

    def wait(self, error: ServiceError) -> None:
        """Wait before the next try. Raises AnswerError if there will be none."""
        if error.status == 401 and not self._renewed and self._transport.renew_token():
            self._renewed = True
            return
        now = time.monotonic()
        self._since = self._since or now
        pause = self._backoff.pause(error.retry_after)
        if not error.temporary or now + pause - self._since > self._patience:
            told = {"status": error.status, "errors": error.errors, "retry_after": error.retry_after}
            raise AnswerError(
                error.detail, code=getattr(error, "code", None), temporary=error.temporary, **told
            ) from error
        time.sleep(pause)


def _refusal(transport: Transport, response: Response) -> ServiceError:
    """The error that an answer tells in OpenAI's shape, or as others do."""
    try:
        error = json.loads(response.body)["error"]
        detail, code = str(error["message"]), error.get("code")
    except (ValueError, TypeError, KeyError):
        return transport.refusal(response)
    after = response.headers.get("Retry-After", "")
    return AnswerError(
        detail, code=code, status=response.status, retry_after=float(after) if after.isdecimal() else None
    )
