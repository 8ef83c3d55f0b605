"""A service that answers what a test says, to see what a client does with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any


@dataclass(frozen=True)
class Say:
    """One answer. `status` 0: the connection is cut without any. `body` None: all that came is kept."""

    status: int = 200
    body: bytes | None = None
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


CUT = Say(0)


def problem(status: int, detail: str = "No.", **headers: str) -> Say:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"title": "x", "status": status, "detail": detail}).encode()
    return Say(status, body, "application/problem+json", named)


def _kept(body: bytes) -> bytes:
    kept, given = {"id": "1-0", "duplicate": False}, json.loads(body)
    return json.dumps({"results": [kept] * len(given)} if isinstance(given, list) else kept).encode()


def html(status: int) -> Say:
    return Say(status, b"<html><h1>Welcome</h1></html>", "text/html")


def events(*blocks: str) -> Say:
    return Say(200, "".join(f"{block}\n\n" for block in blocks).encode(), "text/event-stream; charset=utf-8")


@dataclass
class Scripted:
    url: str
    answers: list[Say]  # the last one stays
    requests: list[dict[str, Any]] = field(default_factory=list)

    def bodies(self) -> list[Any]:
        return [json.loads(request["body"]) for request in self.requests]


@contextmanager
def scripted(*answers: Say) -> Iterator[Scripted]:
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def do_GET(self) -> None:
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            with lock:
                found.requests.append({"path": self.path, "headers": self.headers, "body": body})
                say = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            if not say.status:
                self.close_connection = True
                return
            answer = _kept(body) if say.body is None else say.body
            self.send_response(say.status)
            for name, value in {"Content-Type": say.kind, "Content-Length": str(len(answer)), **say.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Scripted(f"http://127.0.0.1:{server.server_port}", list(answers))
    thread = Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
