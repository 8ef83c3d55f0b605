"""The receiver of hooks: where hooks are sent to, and where not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pushsvc.attendance.hooks import read_hook
from pushsvc.attendance.receiver import Receiver
from tests.support.others.hookreceiver import HOOK_SECRET, HookReceiver
from tests.support.ports import free_port

HOOK = read_hook(b"1795229804123-7 1795229804123 went topic:a b", "")


@pytest.fixture
def there() -> Iterator[HookReceiver]:
    receiver = HookReceiver()
    yield receiver
    receiver.close()


def test_a_name_that_leads_to_a_private_address(there: HookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the name can point it at machines inside, and learn from the time it takes what is there."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *more, **named: resolve("127.0.0.1", *more, **named))
    url = f"http://hooks.example:{there.port}/hooks"
    assert not Receiver(url, HOOK_SECRET, private=False).post(HOOK.body)
    assert there.seen == []
    assert Receiver(url, HOOK_SECRET, private=True).post(HOOK.body)
    assert len(there.taken) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_address_that_stands_in_the_url(there: HookReceiver, host: str) -> None:
    assert Receiver(f"http://{host}:{there.port}/hooks", HOOK_SECRET, private=False).post(HOOK.body)
    assert there.forged == []


def test_what_is_no_success(there: HookReceiver) -> None:
    receiver = Receiver(there.url, HOOK_SECRET, private=False)
    for status in (301, 400, 404, 429, 500, 503):
        there.answer = lambda hook, status=status: (status, {}, b"")  # type: ignore[misc]
        assert not receiver.post(HOOK.body)
    assert not Receiver(f"http://127.0.0.1:{free_port()}/", HOOK_SECRET, private=False).post(HOOK.body)


def test_what_is_told() -> None:
    assert HOOK.body == (
        b'{"id":"1795229804123-7","type":"topic.vacated","user":null,"topic":"a b","at":"2026-11-21T02:56:44.123Z"}'
    )
    assert read_hook(HOOK.member, "3").id == "1795229804123-7.3"
