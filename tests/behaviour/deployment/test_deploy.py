"""docs/deploy.md, command by command, up to an event that is published and heard through a real nginx."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

import httpx
import pytest

from pushsvc import auth
from tests.support.clients.eventsource import until
from tests.support.deployment import NAME, Machine, blocks, certificate, environment_file
from tests.support.ports import free_port
from tests.support.redis.servers import Servers
from tests.support.stack import ROOT, SECRET

PAGE = ROOT / "docs" / "deploy.md"
FIRST, ENVIRONMENT, TOKEN, VERSION, *_ = blocks(PAGE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, httpx.Client]]:
    """A machine with Redis, and nginx as Debian has it, which serves nothing yet; and a client at the site to come."""
    folder = tmp_path_factory.mktemp("deploy")
    redis, app, https = (f"127.0.0.1:{free_port()}" for _ in range(3))
    servers = Servers(folder / "redis")
    servers.serve(int(redis.partition(":")[2]))
    key, cert = certificate(folder)

    def settings(_: str) -> str:
        """The page's settings, with all that it only proposes."""
        text = re.sub(r"^#PUSHSVC", "PUSHSVC", ENVIRONMENT, flags=re.MULTILINE).replace(
            "SECRET=...", f"SECRET={SECRET}"
        )
        return machine.here(text) + f"PUSHSVC_APP={app}\nPUSHSVC_WORKERS=1\nPUSHSVC_DRAIN_SECONDS=0\n"

    def names_and_certificate(text: str) -> str:
        text = re.sub(r" *listen \[::\]:443.*\n", "", text).replace("listen 443", f"listen {https}")
        text = re.sub(r"/etc/ssl/private/[^;]*", str(key), re.sub(r"/etc/ssl/certs/[^;]*", str(cert), text))
        return machine.here(text)

    there = f"--cacert {cert} --connect-to {NAME}:443:{https} https://{NAME}/"  # where the name would lead
    moved = {"127.0.0.1:8000": app, "127.0.0.1:6379": redis, f"https://{NAME}/": there}
    edits = {"pushsvc.env": settings, "site.conf": names_and_certificate}
    machine = Machine(folder / "root", edits, moved)
    trust = ssl.create_default_context(cafile=cert)
    extensions = {"sni_hostname": NAME}
    with httpx.Client(base_url=f"https://{https}", verify=trust, trust_env=False, headers={"Host": NAME}) as client:
        client.event_hooks["request"].append(lambda request: request.extensions.update(extensions))
        yield machine, client
    machine.stop()
    servers.stop()


def test_the_whole_page_up_to_an_event_that_is_heard(site: tuple[Machine, httpx.Client]) -> None:
    machine, client = site
    machine.run(FIRST)
    assert machine.journal == "", "nothing in the page's settings is wrong"
    assert "ready" in machine.said
    until(lambda: answers(client), "nginx to serve the site")

    mine = {"Authorization": f"Bearer {auth.encode({'sub': 'alice'}, SECRET, ttl=60)}"}
    page = mine | {"Origin": "https://app.example.com"}
    with client.stream("GET", "/events?since=now", headers=page) as stream:
        assert stream.status_code == 200, "the secret is the one that was given, and nothing more"
        assert stream.headers["access-control-allow-origin"] == "https://app.example.com"
        lines = stream.iter_lines()
        assert next(lines)
        machine.run(TOKEN)
        assert "data: hello" in lines

    ticket = client.post("/tickets", json={"user": "alice"}, headers={"Authorization": f"Bearer {machine.token}"})
    assert ticket.json()["url"].startswith(f"https://{NAME}/events?ticket=")

    machine.run(VERSION)
    until(lambda: answers(client), "the new workers")
    assert "Traceback" not in machine.journal


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_no_comment_stands_behind_a_value() -> None:
    """It would be a part of the value."""
    assert "#" not in "".join(environment_file(ENVIRONMENT).values())
    assert environment_file("A=1 # one\n# B=2\n;C=3\nD='4 5' \n\nE=\n") == {"A": "1 # one", "D": "4 5", "E": ""}
    for name in ("SECRET", "REDIS_URL", "PUBLIC_URL", "ALLOWED_ORIGINS", "TRUSTED_PROXIES"):
        assert f"PUSHSVC_{name}=" in ENVIRONMENT
