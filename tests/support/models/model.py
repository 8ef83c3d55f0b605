"""A model's server, as odd as a test wants it: raw sockets, so that nothing is tidied up on the way."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.support.clients.eventsource import until

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Conversation:
    """One connection to the model: what was asked, and what the test makes of it."""

    sock: socket.socket
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hung_up: threading.Event = field(default_factory=threading.Event)
    scripted: threading.Event = field(default_factory=threading.Event)  # the script has said what it says
    thread: int = field(default_factory=threading.get_ident)  # the script's

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def send(self, data: bytes) -> Self:
        """A test that says something comes after the script."""
        if threading.get_ident() != self.thread:
            self.scripted.wait(15)
        self.sock.sendall(data)
        return self

    def chunk(self, data: bytes) -> Self:
        """One chunk of the response's body."""
        return self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def say(self, text: str, **members: Any) -> Self:
        return self.chunk(event(text, **members))

    def done(self, finish_reason: str = "stop") -> None:
        self.chunk(event(None, finish_reason=finish_reason) + b"data: [DONE]\n\n").send(b"0\r\n\r\n")

    def answer(self, status: str, body: bytes, media_type: str = "application/json", *headers: str) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *headers]
        self.send("\r\n".join([*head, "", ""]).encode() + body)

    def close(self) -> None:
        self.sock.close()

    def wait_for_hang_up(self) -> None:
        """Wait until the service has closed the connection."""
        self.sock.settimeout(40)
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionError:
            pass
        self.hung_up.set()


def event(text: str | None, *, index: int = 0, finish_reason: str | None = None, **members: Any) -> bytes:
    """A chunk of an answer, as an event."""
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": [choice]}
    return b"data: " + json.dumps(value | members, ensure_ascii=False).encode() + b"\n\n"


class Model:
    """Listens on a free port; each request is given to `script` in a thread of its own."""

    def __init__(self) -> None:
        self.script: Callable[[Conversation], object] = plain
        self.conversations: list[Conversation] = []
        self.connections = 0
        self.wrap: Callable[..., socket.socket] | None = None  # makes a connection an encrypted one
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for each in self.conversations:
            each.sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self.wrap is not None:
                sock = self.wrap(sock, server_side=True)
            while (conversation := _read(sock)) is not None:
                self.conversations.append(conversation)
                try:
                    self.script(conversation)
                finally:
                    conversation.scripted.set()
        except OSError:
            pass  # the service hung up, as many tests want it to

    def asked(self, count: int = 1) -> Conversation:
        """The last of so many requests, once they came."""
        until(lambda: len(self.conversations) >= count, "the model to be asked")
        return self.conversations[count - 1]


def plain(conversation: Conversation) -> None:
    """Answers with four tokens."""
    conversation.send(HEAD)
    for token in ("Hel", "lo ", "wor", "ld"):
        conversation.say(token)
    conversation.done()


def silent(conversation: Conversation) -> None:
    """Leaves all that is said to the test."""


def _read(sock: socket.socket) -> Conversation | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += sock.recv(65536)
    return Conversation(sock, headers | {":path": lines[0].split(" ")[1]}, body)
