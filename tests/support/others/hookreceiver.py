"""A backend that is told of hooks, as an application would write it."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOOK_SECRET = "a-test-key-for-hooks-and-nothing-else"


class HookReceiver:
    """Takes hooks on a free port. `answer`: the status for a hook, and headers and a body; it may be replaced."""

    def __init__(self, port: int = 0) -> None:
        self.taken: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []  # also those that were not taken
        self.heads: list[dict[str, str]] = []  # of these
        self.forged: list[str] = []
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]] = lambda hook: (204, {}, b"")
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with suppress(ConnectionError):  # a worker was killed
                    super().handle()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self, body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def take(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        given = handler.headers["Pushsvc-Signature"]
        at, _, mark = given.removeprefix("t=").partition(",v1=")
        right = hmac.new(HOOK_SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        if mark != right or abs(time.time() - int(at)) > 60:
            self.forged.append(given)
        hook = json.loads(body)
        self.seen.append(hook)
        self.heads.append({name.lower(): value for name, value in handler.headers.items()})
        status, headers, said = self.answer(hook)
        if 200 <= status < 300:
            self.taken.append(hook)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said)

    def has_more_than(self, count: int) -> bool:
        """Whether it has taken more hooks than so many."""
        return len(self.taken) > count

    def told(self, name: str) -> list[str]:
        """The hooks that told of a user or topic, each hook once."""
        ids = {hook["id"]: hook["type"] for hook in self.taken if name in (hook["user"], hook["topic"])}
        return list(ids.values())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
