"""Balancers that pass bytes on, before services that speak the PROXY protocol (PUSHSVC_PROXY_PROTOCOL)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from proxies.conftest import Pair, make_pair
from proxies.support.kinds import BALANCERS, Kind
from proxies.support.running import Proxy, becomes, status_of
from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.redis.servers import Servers

LOG = "--access-logfile - --access-logformat '%({x-forwarded-for}i)s asked for %(U)s'"
CLIENT = "127.0.0.9"
CHECKED_SECONDS = 4.0  # in which a balancer that asks each second has asked


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("behind")
    servers = Servers(folder / "redis")
    servers.serve(port := free_port())
    running = make_pair(folder, port, proxy_protocol="on", trusted_proxies="127.0.0.1", gunicorn=LOG)
    yield running
    running.stop()
    servers.stop()


@pytest.mark.parametrize("kind", BALANCERS, ids=[kind.name for kind in BALANCERS])
def test_the_client_s_address_arrives(kind: Kind, behind: Pair, user: str) -> None:
    """Streams come through, and the workers know who asks."""
    with Proxy(kind, kind.file, behind.fronts) as proxy:
        until(lambda: status_of(f"{proxy.url}/readyz") == 200, "the balancer to find a service")
        assert not becomes(lambda: status_of(f"{proxy.url}/readyz") != 200, CHECKED_SECONDS), "its checks fail"
        with EventSource(f"{proxy.url}/events", behind.one.bearer(user)).wait_open() as source:
            source.wait_ids(publish_directly(behind, user))
        with httpx.Client(transport=httpx.HTTPTransport(local_address=CLIENT), trust_env=False) as caller:
            until(lambda: _asks(caller, f"{proxy.url}/by-{user}"), "an answer")
        told = f"{CLIENT} asked for /by-{user}\n"
        until(lambda: told in behind.one.output + behind.two.output, "the client's address in the log of a worker")


def publish_directly(pair: Pair, user: str) -> str:
    """Publish an event to a worker, and give its id."""
    item = {"user": user, "data": "-"}
    event_id: str = pair.one.post("/publish", item, pair.one.bearer(publish=["*"]), pair.one.app_url).json()["id"]
    return event_id


def _asks(caller: httpx.Client, url: str) -> bool:
    """Whether it is answered; a balancer of TCP closes a connection while it thinks that no service is ready."""
    try:
        return caller.get(url).status_code == 404
    except httpx.HTTPError:
        return False
