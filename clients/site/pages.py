"""The site whose pages use the service: an empty page, and the backend that asks for their tickets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

_PAGE = b"<!doctype html><meta charset=utf-8><title>A page</title><link rel=icon href=data:,>"


class Pages:
    """Listens on all of this machine's names: `127.0.0.1` and `localhost` are two sites to a browser."""

    def __init__(self, ticket: Callable[[str], dict[str, Any]]) -> None:
        """`ticket` gives a user's ticket. A page may name a URL that it gets in place of its first ticket's."""
        asked: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/your-backend/ticket":
                    self._ticket(parse_qs(parts.query))
                else:
                    self._answer("text/html", _PAGE)

            def _ticket(self, query: dict[str, list[str]]) -> None:
                try:
                    given = ticket(query["user"][0])
                except httpx.HTTPError:  # the service is away
                    self._answer("text/html", b"<h1>502 Bad Gateway</h1>", 502)
                    return
                if "first" in query and self.path not in asked:
                    given["url"] = query["first"][0]
                asked.add(self.path)
                self._answer("application/json", json.dumps(given).encode())

            def _answer(self, media_type: str, body: bytes, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                # For pages of the service's own origin, which have their backend elsewhere here.
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
