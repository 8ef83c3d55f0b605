"""A server in front of Redis that has some commands answered otherwise, as those of clouds and other products do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import hiredis

from pushsvc.storage.redis.scripts import Script

Words = list[bytes]


def refuse(name: str, says: str) -> Callable[[Words], Words]:
    """Refuse the command of this name, which may have two words, with this error."""

    def rewrite(words: Words) -> Words:
        if b" ".join(words[:2]).upper().startswith(name.encode()):
            return [b"EVAL", f"return redis.error_reply({says!r})".encode(), b"0"]
        return words

    return rewrite


def in_scripts(name: str, says: str | None) -> Callable[[Words], Words]:
    """Refuse what scripts call. With None it is not refused, and does nothing."""
    answer = (
        "return 0" if says is None else f"local no = {{err = {says!r}}} if how == 'pcall' then return no end error(no)"
    )
    shim = f"""
local real = redis
local redis = setmetatable({{}}, {{__index = real}})
for _, how in ipairs({{'call', 'pcall'}}) do
  redis[how] = function(name, ...)
    if name ~= '{name}' then return real[how](name, ...) end
    {answer}
  end
end
"""

    sources = {script.sha: script.source for script in Script.all}

    def rewrite(words: Words) -> Words:
        if words[0] == b"EVALSHA" and words[1].decode() in sources:
            words[:2] = [b"EVAL", sources[words[1].decode()]]
        if words[0] == b"EVAL":
            first, _, rest = words[1].partition(b"\n")
            head, body = (first, rest) if first.startswith(b"#!") else (b"", words[1])
            words[1] = head + b"\n" + shim.encode() + body
        return words

    return rewrite


@contextmanager
def filtering(port: int, rewrite: Callable[[Words], Words]) -> Iterator[int]:
    """The port of such a server in front of another; `rewrite` gets each command's words, and gives those to send."""

    def up(client: socket.socket, server: socket.socket) -> None:
        reader = hiredis.Reader()
        with suppress(OSError):
            while piece := client.recv(65536):
                reader.feed(piece)
                while words := reader.gets():
                    server.sendall(hiredis.pack_command(tuple(rewrite(words))))  # type: ignore[arg-type]  # its stub
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # close alone would not wake who reads it

    def down(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError), closing(client):
            while piece := server.recv(65536):
                client.sendall(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                pair = client, socket.create_connection(("127.0.0.1", port))
                for pump in (up, down):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
