"""Balancers that pass bytes on, before services that speak the PROXY protocol (PUSHSVC_PROXY_PROTOCOL)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from proxies.conftest import Pair, make_pair
from proxies.kinds import BALANCERS, Kind
from proxies.running import Proxy, status_of
from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.redis.servers import Servers

LOG = "--access-logfile - --access-logformat '%({x-forwarded-for}i)s asked for %(U)s'"
CLIENT = "127.0.0.9"


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
        with EventSource(f"{proxy.url}/events", behind.one.bearer(user)).wait_open() as source:
            answer = behind.one.post(
                "/publish", {"user": user, "data": "-"}, behind.one.bearer(publish=["*"]), proxy.url
            )
            source.wait_ids(answer.json()["id"])
        with httpx.Client(transport=httpx.HTTPTransport(local_address=CLIENT), trust_env=False) as caller:
            assert caller.get(f"{proxy.url}/by-{user}").status_code == 404
        told = f"{CLIENT} asked for /by-{user}\n"
        until(lambda: told in behind.one.output + behind.two.output, "the client's address in the log of a worker")
