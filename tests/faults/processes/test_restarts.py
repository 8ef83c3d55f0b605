"""A worker that stops, and a reload: new code takes over, and nobody who is connected or asks loses by it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.clients.eventsource import until
from tests.support.clients.traffic import publishing
from tests.support.processes import alive
from tests.support.stack import ROOT, Stack, command, copied

LOADED_BY_THE_MASTER = "server/worker.py", "config.py"
LOADED_BY_WORKERS = "web/publish.py"


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that runs a copy of the service."""
    folder = copied(tmp_path_factory.mktemp("service"))
    running = Stack(tmp_path_factory.mktemp("restarts"), folder=folder, retry_seconds=1)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def reload(stack: Stack) -> list[int]:
    """Begin a reload. Gives the workers that are to go."""
    master, *workers = stack.pids()["gunicorn"]
    os.kill(master, signal.SIGHUP)
    return workers


def until_gone(stack: Stack, workers: list[int]) -> None:
    until(lambda: not set(workers) & set(stack.pids()["gunicorn"]), "the old workers to end", 60)


@contextmanager
def asking(stack: Stack, user: str) -> Iterator[list[str]]:
    """Clients that send various requests without a pause, on connections that are kept alive. Gives what was not
    answered as it should be."""
    wrong: list[str] = []
    stop = threading.Event()

    def work(method: str, path: str, body: object = None) -> None:
        with httpx.Client(trust_env=False, timeout=30, headers=stack.bearer(user, publish=["*"])) as client:
            while not stop.is_set():
                try:
                    answer = client.request(method, f"{stack.url}{path}", json=body)
                except httpx.HTTPError as error:
                    wrong.append(f"{path}: {error!r}")
                else:
                    if answer.status_code != 200:
                        wrong.append(f"{path}: {answer.status_code} {answer.text}")

    question = {"model": "mock", "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    jobs: list[tuple[str, str, object]] = [
        ("GET", "/readyz", None),
        ("GET", "/history?channel=all&wait=1", None),
        ("POST", "/publish", {"user": f"{user}-other", "data": "-"}),
        ("POST", "/v1/chat/completions", question),
    ]
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_reload_loses_nobody_and_nobody_comes_back_twice(reloaded: Stack, user: str) -> None:
    stack = reloaded
    sources = [stack.listen(user, reconnect=True).wait_open() for _ in range(6)]
    try:
        with publishing(stack, user) as acked, asking(stack, user) as wrong:
            until(lambda: len(acked) > 20, "traffic")
            until_gone(stack, reload(stack))
            count = len(acked)
            until(lambda: len(acked) > count + 20, "traffic on the new workers")
        for source in sources:
            source.wait(lambda source: len(source.messages) >= len(acked), "all that was acknowledged")
            assert source.data == acked
            assert source.statuses == [200, 200], "let go once, and back"
    finally:
        for source in sources:
            source.close()
    assert wrong == []


def test_while_the_new_workers_start_the_old_ones_serve(reloaded: Stack, user: str) -> None:
    stack = reloaded
    old = reload(stack)
    started: list[int] = []

    def freeze() -> bool:
        for pid in stack.pids()["gunicorn"][1:]:
            if pid not in (*old, *started):
                started.append(pid)
                os.kill(pid, signal.SIGSTOP)
        return len(started) == len(old)

    try:
        until(freeze, "the new workers")
        for address in (stack.url, stack.app_url):
            assert httpx.get(f"{address}/readyz", trust_env=False).status_code == 200
        with stack.listen(user, reconnect=True) as source:
            source.wait_ids(stack.publish(user=user))
            assert source.statuses == [200]
            assert all(map(alive, old))
            for pid in started:
                os.kill(pid, signal.SIGCONT)
            until_gone(stack, old)
            source.wait_ids(stack.publish(user=user))
            assert source.statuses == [200, 200]
    finally:
        for pid in started:
            os.kill(pid, signal.SIGCONT)


def test_a_reload_runs_the_new_code(reloaded: Stack) -> None:
    stack = reloaded
    files = (*LOADED_BY_THE_MASTER, LOADED_BY_WORKERS)
    for name in files:
        with Path(stack.folder, "pushsvc", name).open("a") as file:
            file.write(f"\nprint('new code in {name}', flush=True)\n")
    until_gone(stack, reload(stack))
    for name in files:
        assert f"new code in {name}" in stack.output
    assert "MonkeyPatchWarning" not in stack.output, "gunicorn's master imports what gevent must patch first"
    assert httpx.get(f"{stack.url}/readyz", trust_env=False).status_code == 200


def unit(stack: Stack) -> str:
    """The service file, for the stack's folder and the tests' Python."""
    text = (ROOT / "systemd" / "pushsvc.service").read_text()
    return text.replace("/srv/pushsvc/.venv/bin/python", sys.executable).replace("/srv/pushsvc", stack.folder)


def test_a_reload_is_refused_where_the_new_code_does_not_load(reloaded: Stack) -> None:
    """The first of the two commands of `systemctl reload` refuses it; gunicorn itself would end."""
    check = next(line.removeprefix("ExecReload=") for line in unit(reloaded).splitlines() if "--check-config" in line)
    _, environ = command(**reloaded.settings)

    def checked() -> int:
        return subprocess.run(check.split(), cwd=reloaded.folder, env=environ, capture_output=True).returncode

    assert checked() == 0
    publish = Path(reloaded.folder, "pushsvc", "web", "publish.py")
    text = publish.read_text()
    publish.write_text(text + "\nimport something_that_was_not_installed\n")
    try:
        assert checked() != 0
    finally:
        publish.write_text(text)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_understands_the_service_file(reloaded: Stack, tmp_path: Path) -> None:
    path = tmp_path / "pushsvc.service"
    path.write_text(unit(reloaded))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pushsvc.service" not in done.stderr
