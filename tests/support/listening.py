"""A server that says what a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager


@contextmanager
def listening(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """The port of something that has an answer to each piece it receives."""

    def converse(client: socket.socket) -> None:
        with closing(client):
            while piece := client.recv(4096):
                client.sendall(answer(piece))

    def accept() -> None:
        try:
            while True:
                threading.Thread(target=converse, args=(server.accept()[0],), daemon=True).start()
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)  # close alone would not wake the accept
