"""Gunicorn started by hand, beside a stack."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT, Stack, command


@contextmanager
def gunicorn(stack: Stack, folder: Path, *words: str, scheme: str = "http", account: str = "") -> Iterator[str]:
    """Run gunicorn by hand, with the stack's Redis. `account`: the account there, as in a URL."""
    settings = stack.settings | {"data_dir": folder, "redis_url": f"unix://{account}{stack.data_dir}/valkey.sock"}
    address = f"127.0.0.1:{free_port()}"
    _, environ = command(**settings)
    line = [sys.executable, "-m", "gunicorn", "--no-control-socket", "--bind", address, *words, "app:app"]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            line, cwd=ROOT, env=environ, stdout=output, stderr=output, preexec_fn=dies_with_the_tests(signal.SIGKILL)
        )
        try:
            until(lambda: _answers(f"{scheme}://{address}/healthz"), "gunicorn")
            yield f"{scheme}://{address}"
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in (folder / "output").read_text()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, verify=False, trust_env=False, timeout=30).status_code == 200
    except httpx.HTTPError:
        return False
