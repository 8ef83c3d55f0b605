"""The network between people and the service: a relay that can cut, refuse, and be somebody's proxy with no backend."""

from __future__ import annotations

import socket
import struct
import threading

from tests.support.ports import free_port

_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<h1>502</h1>"


class Network:
    """Relays connections to `upstream` (host:port) until it is told to break."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.partition(":")
        self._upstream = (host, int(port))
        self.address = f"127.0.0.1:{free_port()}"
        self._bad_gateway = False
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.heal()

    def heal(self) -> None:
        self._bad_gateway = False
        if self._listener is None:
            host, _, port = self.address.partition(":")
            self._listener = socket.create_server((host, int(port)))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Reset every connection."""
        for each in list(self._open):
            try:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RD)  # wakes who reads it, and closes it
            except OSError:
                pass

    def refuse(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def be_a_bad_gateway(self) -> None:
        self._bad_gateway = True
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            self._open.add(client)
            try:
                if self._bad_gateway:
                    client.recv(65536)
                    client.sendall(_BAD_GATEWAY)
                else:
                    self._relay(client)
            except OSError:
                pass
            finally:
                self._open.discard(client)

    def _relay(self, client: socket.socket) -> None:
        with socket.create_connection(self._upstream) as upstream:
            threading.Thread(target=_pump, args=(upstream, client), daemon=True).start()
            _pump(client, upstream)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for each in (source, sink):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
