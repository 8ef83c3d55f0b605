"""A proxy as companies have: it reads requests, and tunnels with CONNECT."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class ForwardProxy:
    """Whatever is asked of it, it leads to one server; what it was asked, it keeps."""

    def __init__(self, port: int) -> None:
        """`port`: of the server."""
        self.heads: list[str] = []
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(65536)
            if not piece:
                return
            data += piece
        head = data.partition(b"\r\n\r\n")[0].decode()
        self.heads.append(head)
        server = socket.create_connection(("127.0.0.1", self._port))
        if head.startswith("CONNECT "):
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            server.sendall(data)
        threading.Thread(target=_pump, args=(server, client), daemon=True).start()
        _pump(client, server)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
