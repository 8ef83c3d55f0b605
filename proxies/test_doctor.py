"""`python -m pushsvc doctor` behind real proxies: it knows them, and names the line that their defaults lack."""

from __future__ import annotations

import pytest

from proxies.conftest import Pair
from proxies.support.kinds import KINDS, Kind
from proxies.support.running import Proxy, status_of
from pushsvc.doctor import streams, surface
from pushsvc.doctor.edge import find_edge
from tests.support.clients.eventsource import until
from tests.support.doctor import look, site

_BY_NAME = {kind.name: kind for kind in KINDS}
_NODE = dict.fromkeys(("http-proxy (Node)", "Express, compression", "Vite"), "a proxy written for Node")
_OTHERS = {"Traefik": "a proxy written in Go (Traefik)"} | _NODE


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_it_knows_who_answers(kind: Kind, pair: Pair) -> None:
    with Proxy(kind, kind.file, pair.ports) as proxy:
        until(lambda: status_of(f"{proxy.url}/readyz") == 200, "the proxy to find a service")
        found = find_edge(site(proxy.url))
    assert found is not None
    assert found.name == _OTHERS.get(kind.name, kind.name)


@pytest.mark.parametrize(
    ("name", "mend"), [("HAProxy", "option http-no-delay"), ("lighttpd", "server.stream-response-body = 1")]
)
def test_the_line_that_is_missing(name: str, mend: str, pair: Pair) -> None:
    kind = _BY_NAME[name]
    for file, wanted in ((kind.plain, mend), (kind.file, "")):
        with Proxy(kind, file, pair.ports) as proxy:
            until(lambda: status_of(f"{proxy.url}/readyz") == 200, "the proxy to find a service")
            at = site(proxy.url, app=pair.one.settings["app"])
            assert look(streams.buffering, at).mend.partition(" (")[0].partition(", in")[0] == wanted


def test_a_token_that_is_dropped(pair: Pair) -> None:
    with Proxy(_BY_NAME["Squid"], "plain/squid.conf", pair.ports) as proxy:
        assert "login=PASSTHRU" in look(surface.clock, site(proxy.url)).mend


def test_a_stream_that_is_cut(pair: Pair) -> None:
    with Proxy(_BY_NAME["Envoy"], "plain/envoy.yaml", pair.ports) as proxy:
        finding = look(streams.idle, site(proxy.url, heartbeat_seconds=15))
    assert "was cut after 1" in finding.text
    assert finding.mend.startswith("timeout: 0s (of the route), in Envoy")
