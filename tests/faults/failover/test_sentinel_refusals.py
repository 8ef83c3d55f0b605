"""Sentinels that name no master are said in one sentence, with the reason and without a password."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.clients.eventsource import until
from tests.support.listening import listening
from tests.support.ports import free_port
from tests.support.redis.checking import check, refused
from tests.support.redis.servers import SERVICE, Servers
from tests.support.stack import Stack

_CONFIGURATION = """
port {port}
dir {folder}
sentinel monitor {service} 127.0.0.1 {master} 1
"""


class Watched(Servers):
    """A master, and a sentinel with accounts of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.master, self.sentinel = free_port(), free_port()
        self.serve(self.master)
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            _CONFIGURATION.format(port=self.sentinel, folder=folder, service=SERVICE, master=self.master)
        )
        self._run(self.sentinel, str(configuration), "--sentinel")
        with redis.Redis(port=self.sentinel) as client:
            client.execute_command("ACL", "SETUSER", "limited", "on", ">a b+c&d", "-@all", "+ping")
            client.execute_command("ACL", "SETUSER", "asker", "on", ">a b+c&d", "+@all")
            rights = (
                "-@all",
                "+sentinel|get-master-addr-by-name",
                "+sentinel|master",
                "+sentinel|sentinels",
                "+subscribe",
                "&*",
            )
            client.execute_command("ACL", "SETUSER", "least", "on", ">pw", *rights)
            client.execute_command("ACL", "SETUSER", "default", "resetpass", ">a b+c&d")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    running = Watched(tmp_path_factory.mktemp("watched"))
    yield running
    running.stop()


def test_an_account_that_the_sentinels_take(watched: Watched) -> None:
    for account in ("sentinel_password=a+b%2Bc%26d", "sentinel_username=asker&sentinel_password=a%20b%2Bc%26d"):
        check(f"redis+sentinel://127.0.0.1:{watched.sentinel}/{SERVICE}?{account}")


def test_the_least_rights_at_the_sentinels(watched: Watched, tmp_path: Path) -> None:
    """The rights that the documentation names suffice: the sentinel's log of refusals has nothing of ours."""
    account = "sentinel_username=least&sentinel_password=pw"
    stack = Stack(tmp_path, redis_url=f"redis+sentinel://127.0.0.1:{watched.sentinel}/{SERVICE}?{account}", workers=1)
    try:
        with redis.Redis(port=watched.sentinel, username="asker", password="a b+c&d", protocol=2) as client:
            until(lambda: any(each["sub"] != "0" for each in client.client_list()), "the subscription")
            assert [each for each in client.acl_log() if each["username"] == "least"] == []
    finally:
        stack.stop()


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (SERVICE, "the sentinels refuse the service: Authentication required."),
        (f"{SERVICE}?sentinel_password=hunter2", "the sentinels refuse the service: invalid username-password pair"),
        (f"{SERVICE}?sentinel_username=nobody&sentinel_password=hunter2", "the sentinels refuse the service: invalid"),
        (
            f"{SERVICE}?sentinel_username=limited&sentinel_password=a+b%2Bc%26d",
            "the sentinels refuse the service: User limited has no permissions to run the 'sentinel|",
        ),
        (
            "nobody?sentinel_password=a+b%2Bc%26d",
            "the sentinels refuse the service: they know no master called 'nobody'",
        ),
    ],
)
def test_what_the_sentinels_refuse(watched: Watched, end: str, says: str) -> None:
    for others in ("", "127.0.0.1:1,"):  # one that is away says nothing of it
        line = refused(f"redis+sentinel://:secret@{others}127.0.0.1:{watched.sentinel}/{end}")
        assert line.startswith(f"PUSHSVC_REDIS_URL: {says}")
        assert not [word for word in ("hunter2", "a b", "secret") if word in line]


def test_no_sentinel_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert refused(f"redis+sentinel://:hunter2@127.0.0.1:{port},[::1]:1,no-such.invalid/s") == (
            f"PUSHSVC_REDIS_URL: no sentinel answers: 127.0.0.1:{port} (Timeout reading from socket), "
            "[::1]:1 (Connection refused), no-such.invalid:26379 (Name or service not known)"
        )


def test_what_answers_is_no_sentinel(watched: Watched) -> None:
    says = "PUSHSVC_REDIS_URL: what answers at 127.0.0.1:{} is no sentinel"
    assert refused(f"redis+sentinel://127.0.0.1:{watched.master}/{SERVICE}") == says.format(watched.master)
    with listening(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert refused(f"redis+sentinel://127.0.0.1:{port}/{SERVICE}") == says.format(port)


def test_a_server_that_repeats_what_it_was_sent() -> None:
    """Any Redis does so with a command that it does not know, and some proxies do not know AUTH."""

    def repeat(sent: bytes) -> bytes:
        return b"-ERR unknown command 'AUTH', with args beginning with: 'someone' 'hunter2' \r\n"

    def tell(sent: bytes) -> bytes:
        return b"-ERR wrong password: hunter2\r\n"

    for answer in (repeat, tell):
        with listening(answer) as port:
            for url in (
                f"redis://someone:hunter2@127.0.0.1:{port}",
                f"redis+cluster://someone:hunter2@127.0.0.1:{port}",
                f"redis+sentinel://127.0.0.1:{port}/s?sentinel_password=hunter2",
            ):
                assert "hunter2" not in refused(url)


def test_the_words_of_redis_stand_though_the_password_is_among_them(watched: Watched) -> None:
    line = refused(f"redis+sentinel://127.0.0.1:{watched.sentinel}/{SERVICE}?sentinel_password=pass")
    assert "invalid username-password pair" in line
