"""The service below a path of somebody's Flask application (pushsvc.contrib.flask.mount)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pushsvc.client import Publisher
from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT, SECRET, Stack

APPLICATION = """
from flask import Flask
from pushsvc.contrib.flask import mount

app = Flask(__name__)
app.get("/")(lambda: "somebody's own page")
mount(app)
"""


@pytest.fixture
def site(stack: Stack, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "shop.py").write_text(APPLICATION)
    address = f"127.0.0.1:{free_port()}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")} | {
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "PUSHSVC_SECRET": SECRET,
        "PUSHSVC_REDIS_URL": f"unix://{stack.data_dir}/valkey.sock",
        "PUSHSVC_DATA_DIR": str(tmp_path / "data"),
        "PUSHSVC_PUBLIC_URL": f"http://{address}/push",
    }
    gunicorn = ["-m", "gunicorn", "-c", str(ROOT / "pushsvc/server/gunicorn_conf.py"), "--bind", address]
    process = subprocess.Popen(
        [sys.executable, *gunicorn, "--workers", "2", "shop:app"], cwd=tmp_path, env=environ,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=dies_with_the_tests(signal.SIGKILL),
    )  # fmt: skip

    def ready() -> bool:
        try:
            return httpx.get(f"http://{address}/push/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    until(ready, "the site")
    yield f"http://{address}"
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output, output
    assert process.returncode == 0, output


def test_it_is_heard_below_its_path_beside_the_applications_own_views(stack: Stack, site: str, user: str) -> None:
    assert httpx.get(site, trust_env=False).text == "somebody's own page"
    assert httpx.get(f"{site}/push/push.js", trust_env=False).status_code == 200
    with Publisher(f"{site}/push", stack.token(publish=["*"], subscribe=["*"])) as push:
        ticket = push.ticket(user)
        assert ticket.url.startswith(f"{site}/push/events?ticket=")
        with EventSource(ticket.url).wait_open() as source:
            source.wait_ids(push.publish("hello", user=user).id)
            source.wait_ids(stack.publish(user=user, data="from the other host"))
