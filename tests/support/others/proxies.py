"""Proxies before the service that are set up wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx

from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests

_MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
"""
_CONF = """
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port} {listen};
        {server}
        location / {{ proxy_pass {target}; proxy_set_header Host $http_host; {location} }}
    }}
}}
"""
_RELAY = """
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass {target};
        {server}
    }}
}}
"""


class _Running:
    """An nginx with a configuration of its own."""

    def __init__(self, folder: Path, text: str, **words: str) -> None:
        folder.mkdir()
        self.port = free_port()
        file = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        file.write_text((_MAIN + text).format(folder=folder, port=self.port, user=user, **words))
        binary = nginx_command(Settings(data_dir=folder / "unused"))[0]
        self._process = subprocess.Popen(
            [binary, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")],
            preexec_fn=dies_with_the_tests(signal.SIGTERM),
        )
        until(lambda: (folder / "nginx.pid").exists(), "nginx")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


class Nginx(_Running):
    """An nginx before the service at `target`. `location`, `server`, `listen`: words of its configuration."""

    def __init__(self, folder: Path, target: str, location: str, server: str = "", listen: str = "") -> None:
        super().__init__(folder, _CONF, target=target, location=location, server=server, listen=listen)


class Relay(_Running):
    """An nginx that passes bytes on to `target`, a host:port, and knows nothing of HTTP."""

    def __init__(self, folder: Path, target: str, server: str = "") -> None:
        super().__init__(folder, _RELAY, target=target, server=server)


Head = list[tuple[str, str]]


class Proxy:
    """A proxy of a few lines before the service at `target`. `head` changes the head of each answer; `body` what of
    it is sent; with `gzip` it compresses, for those who take that."""

    def __init__(
        self,
        target: str,
        head: Callable[[Head], Head] = lambda head: head,
        body: Callable[[Iterator[bytes]], Iterator[bytes]] = lambda pieces: pieces,
        gzip: bool = False,
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                compressed = gzip and "gzip" in self.headers.get("Accept-Encoding", "")
                given = [each for each in self.headers.items() if each[0].lower() != "accept-encoding"]
                with httpx.stream(
                    self.command, target + self.path, headers=[*given, ("Accept-Encoding", "identity")],
                    content=content, trust_env=False, timeout=60,
                ) as answer:  # fmt: skip
                    self.send_response_only(answer.status_code)
                    kept = [(name, value) for name, value in answer.headers.multi_items()
                            if name not in ("content-length", "transfer-encoding", "connection")]  # fmt: skip
                    for name, value in head(kept) + ([("Content-Encoding", "gzip")] if compressed else []):
                        self.send_header(name, value)
                    self.end_headers()
                    pieces = answer.iter_raw()
                    for piece in body(pieces) if compressed or not gzip else pieces:
                        self.wfile.write(piece)

            do_POST = do_OPTIONS = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # the client has left

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def unflushed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Compress as a proxy does that does not know of streams."""
    coder = zlib.compressobj(wbits=31)
    for piece in pieces:
        yield coder.compress(piece)
    yield coder.flush()
