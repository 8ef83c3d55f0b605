"""The data's password in a file: read at each connect, so that it may change while everything runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from pushsvc.storage.redis.topology.password_file import read
from tests.support.clients.eventsource import until
from tests.support.clients.traffic import publishing
from tests.support.ports import free_port
from tests.support.redis.checking import refused
from tests.support.redis.servers import Servers
from tests.support.redis.tls import SCHEMES, TlsServers
from tests.support.settings import refusal
from tests.support.stack import Stack

FIRST, SECOND, THIRD = "first-word", "zwéite @:/#?%&+ word", "third-word"


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"word", b"word"),
        (b"word\n", b"word"),
        (b"word\r\n", b"word"),
        (b" two words \n", b" two words "),
        ("zwéite @:/#?%".encode(), "zwéite @:/#?%".encode()),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"x" * 65535 + b"\n", b"x" * 65535),
    ],
)
def test_the_last_line_end_is_cut(tmp_path: Path, content: bytes, password: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    assert read(tmp_path / "password") == password


def empty(path: Path) -> None:
    path.write_bytes(b"")


def line_end(path: Path) -> None:
    path.write_bytes(b"\r\n")


def two_lines(path: Path) -> None:
    path.write_bytes(b"hunter2\nhunter2\n")


def empty_last_line(path: Path) -> None:
    path.write_bytes(b"hunter2\n\n")


def utf_16(path: Path) -> None:
    path.write_bytes("hunter2".encode("utf-16"))


def large(path: Path) -> None:
    path.write_bytes(b"hunter2" * 10_000)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def missing(path: Path) -> None:
    """Leave the path without a file."""


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "cannot read {path}: No such file or directory"),
        (Path.mkdir, "cannot read {path}: Is a directory"),
        (pipe, "{path} is no regular file"),
        (empty, "{path} is empty"),
        (line_end, "{path} is empty"),
        (two_lines, "{path} should hold the password in one line, and nothing else"),
        (empty_last_line, "{path} should hold the password in one line, and nothing else"),
        (utf_16, "{path} should hold the password in one line, and nothing else"),
        (large, "{path} is longer than 65536 bytes"),
    ],
)
def test_a_file_that_holds_no_password_is_named(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    path = tmp_path / "password"
    make(path)
    line = refused("redis://127.0.0.1:1", redis_password_file=path)
    assert line == f"PUSHSVC_REDIS_PASSWORD_FILE: {says.format(path=path)}"


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_wrong_password_is_said_to_be_of_the_file(tmp_path: Path, scheme: str) -> None:
    """The URL's, which is not used, may be right."""
    servers, port = Servers(tmp_path / "servers"), free_port()
    clustered = ("--cluster-enabled", "yes", "--cluster-port", str(free_port())) if "cluster" in scheme else ()
    servers.serve(port, *clustered)
    redis.Redis(port=port).execute_command("ACL", "SETUSER", "someone", "on", ">geheim", "~*", "&*", "+@all")
    (tmp_path / "password").write_text("hunter2")
    try:
        line = refused(f"{scheme}://someone:geheim@127.0.0.1:{port}", redis_password_file=tmp_path / "password")
    finally:
        servers.stop()
    assert line.endswith("; the password is that of PUSHSVC_REDIS_PASSWORD_FILE")
    assert "invalid username-password pair" in line
    assert "hunter2" not in line
    assert "geheim" not in line


def test_the_embedded_server_has_no_password(tmp_path: Path) -> None:
    line = refusal(REDIS_PASSWORD_FILE=str(tmp_path / "password"))
    assert "should be empty with the embedded server" in line


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServers]:
    running = TlsServers(tmp_path_factory.mktemp("tls"))
    yield running
    running.stop()


class Rotation:
    """A user whose password changes, and the file in which it stands, as a mounted secret: a link that moves."""

    def __init__(self, folder: Path, servers: TlsServers, port: int) -> None:
        self._folder = folder
        self._servers = servers
        self._port = port
        self.path = folder / "password"
        servers.ask(port, "ACL", "SETUSER", "push", "on", "~*", "&*", "+@all")
        self.change(FIRST)
        self.write(FIRST)

    def change(self, password: str) -> None:
        """Change the password in Redis, which keeps the connections that it has."""
        self._servers.ask(self._port, "ACL", "SETUSER", "push", "resetpass", f">{password}")

    def cut(self) -> None:
        self._servers.ask(self._port, "CLIENT", "KILL", "USER", "push")

    def write(self, password: str) -> None:
        (self._folder / "next").mkdir()
        (self._folder / "next" / "password").write_text(f"{password}\r\n")
        (self._folder / "next").rename(self._folder / password[:3])
        (self._folder / "link").symlink_to(self._folder / password[:3] / "password")
        (self._folder / "link").rename(self.path)

    def stack(self, url: str) -> Stack:
        """A stack whose URL has a password, too, which is nobody's."""
        return Stack(
            self._folder / "stack",
            redis_url=f"{url.replace('://', '://push:hunter2@')}?{self._servers.certificates.query}",
            redis_password_file=self.path,
            workers=1,
            partitions=2,
        )


@pytest.fixture
def rotation(servers: TlsServers, tmp_path: Path, request: pytest.FixtureRequest) -> Rotation:
    return Rotation(tmp_path, servers, servers.node if "cluster" in request.param else servers.single)


@pytest.mark.parametrize(("scheme", "rotation"), [(each, each) for each in SCHEMES], indirect=["rotation"])
def test_a_rotation_under_publishes(servers: TlsServers, rotation: Rotation, user: str, scheme: str) -> None:
    stack = rotation.stack(servers.url(scheme))
    try:
        with stack.listen(user, reconnect=True) as source:
            with publishing(stack, user) as acked:
                until(lambda: len(acked) > 20, "traffic")
                for password in (SECOND, THIRD):
                    rotation.change(password)
                    rotation.write(password)
                    rotation.cut()
                    count = len(acked)
                    until(lambda count=count: len(acked) > count + 20, "traffic")  # type: ignore[misc]
            source.wait(lambda each: len(each.messages) >= len(acked), "all that was acknowledged")
            assert source.data == acked
            assert set(source.statuses) == {200}
    finally:
        stack.stop()
    assert not [word for word in (FIRST, SECOND, THIRD, "hunter2") if word in stack.output]


@pytest.mark.parametrize("rotation", ["single"], indirect=True)
def test_a_file_that_comes_late(servers: TlsServers, rotation: Rotation, user: str) -> None:
    stack = rotation.stack(servers.url("rediss://"))
    try:
        with stack.listen(user, reconnect=True) as source:
            ids = [stack.publish(user=user, data="before")]
            rotation.change(SECOND)
            rotation.cut()
            until(lambda: "invalid username-password pair" in stack.output, "the refusal")
            rotation.path.unlink()
            line = f"PUSHSVC_REDIS_PASSWORD_FILE: cannot read {rotation.path}: No such file or directory"
            until(lambda: line in stack.output, "the reason")
            rotation.write(SECOND)
            stack.until_ready()
            ids.append(stack.publish(user=user, data="after"))
            source.wait_ids(*ids)
            assert source.ids == ids
    finally:
        stack.stop()
    assert "Traceback" not in stack.output
