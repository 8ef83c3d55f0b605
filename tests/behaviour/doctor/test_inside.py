"""`python -m pushsvc doctor` on the machine itself: a Redis and a kernel that are set up wrong."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pushsvc.config import Settings
from pushsvc.doctor import data, machine
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.doctor.visit import from_inside
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.redis.filtering import Words, filtering
from tests.support.redis.servers import Alone, Relay
from tests.support.stack import Stack, command


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    server = Alone(tmp_path_factory.mktemp("alone"))
    yield server
    server.stop()


@pytest.fixture
def wrong(alone: Alone, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings with a Redis one of whose own is changed."""
    [(name, value)] = request.param.items()
    [before] = alone.redis.config_get(name).values()
    alone.redis.config_set(name, value)
    yield Settings(redis_url=alone.url, workers=1)
    alone.redis.config_set(name, str(before))


def bad(findings: Iterator[Finding]) -> list[Finding]:
    return [each for each in findings if each.mend]


def test_a_good_redis(alone: Alone) -> None:
    [finding] = data.server(Settings(redis_url=alone.url))
    assert finding.mend == ""
    assert "all that the service needs works" in finding.text


@pytest.mark.parametrize("wrong", [{"maxmemory-policy": "allkeys-lru"}], indirect=True)
def test_a_redis_that_evicts(wrong: Settings) -> None:
    [finding] = data.server(wrong)
    assert finding.text.startswith("EVENTS WILL BE LOST. Redis evicts events")
    assert "CONFIG SET maxmemory-policy noeviction" in finding.mend


@pytest.mark.parametrize("wrong", [{"appendonly": "no"}], indirect=True)
def test_a_redis_without_a_file(wrong: Settings) -> None:
    [finding] = bad(data.server(wrong))
    assert "keeps no append-only file" in finding.text
    assert "CONFIG SET appendonly yes" in finding.mend


@pytest.mark.parametrize("wrong", [{"maxclients": 5}], indirect=True)
def test_a_redis_for_few(wrong: Settings) -> None:
    [finding] = bad(data.server(wrong))
    assert "takes 5 connections" in finding.text
    assert "CONFIG SET maxclients" in finding.mend


def test_replicas_that_are_missing(alone: Alone) -> None:
    [finding, *_] = bad(data.server(Settings(redis_url=alone.url, wait_replicas=1)))
    assert "0 of the 1 replicas" in finding.text
    assert "PUSHSVC_WAIT_REPLICAS" in finding.mend


def test_no_redis() -> None:
    nobody = Settings(redis_url=f"redis://127.0.0.1:{free_port()}", workers=1)
    found = {each.check: each.text for each in from_inside(nobody) if each.mend}
    assert "Redis does not answer" in found["Redis"]
    assert "Redis does not answer" in found["latency"]


def test_no_settings_of_the_service(tmp_path: Path) -> None:
    [finding] = from_inside(Settings(data_dir=tmp_path))
    assert "not looked at" in finding.text
    assert finding.mend == ""


def _old(words: Words) -> Words:
    said = "redis_version:6.2.14\\r\\nrole:master\\r\\nmaxmemory_policy:noeviction\\r\\n"
    return [b"EVAL", f"return '{said}'".encode(), b"0"] if words[0].upper() == b"INFO" else words


def test_an_old_redis(alone: Alone) -> None:
    with filtering(alone.port, _old) as port, pytest.raises(Wrong, match=r"Redis 6\.2\.14 is too old") as wrong:
        list(data.server(Settings(redis_url=f"redis://127.0.0.1:{port}")))
    assert "docs/redis.md" in wrong.value.mend


class Slow(Relay):
    """A relay that is a long way from Redis."""

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        far = threading.Event()
        with suppress(OSError):
            while piece := source.recv(65536):
                far.wait(0.01)
                target.sendall(piece)
        target.close()


def test_a_redis_that_is_far(alone: Alone) -> None:
    relay = Slow(alone.port)
    try:
        with pytest.raises(Wrong, match="each publish waits for that") as wrong:
            list(data.latency(Settings(redis_url=f"redis://127.0.0.1:{relay.port}")))
    finally:
        relay.close()
    assert "nearer" in wrong.value.mend


def test_few_descriptors(stack: Stack) -> None:
    """The whole command, where a process may open a thousand files."""
    words, environ = command("doctor", **stack.settings)
    done = subprocess.run(
        words, env=environ, capture_output=True, text=True, timeout=120,
        preexec_fn=dies_with_the_tests(signal.SIGKILL, 1000),
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "WRONG  descriptors: a process may open 1000 files here" in done.stdout
    assert "mend: LimitNOFILE=20200" in done.stdout
    assert "PUSHSVC_MAX_CONNECTIONS=800" in done.stdout
    assert "well   Redis: version" in done.stdout


def test_enough_descriptors() -> None:
    [finding] = machine.descriptors(Settings(max_connections=1))
    assert finding.mend == ""


def test_fewer_descriptors_than_somebody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number that was asked for is missed, which is wrong; by default a worker just takes fewer connections."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 20_000))
    [asked], [default] = machine.descriptors(Settings(max_connections=20_000)), machine.descriptors(Settings())
    assert (asked.mark, default.mark) == ("WRONG", "note")
    assert "a worker takes 19800 connections" in default.text
    assert default.mend == asked.mend


GOOD = {"net/core/somaxconn": "4096", "net/ipv4/ip_local_port_range": "32768\t60999", "vm/overcommit_memory": "1"}
SMALL = Settings(redis_url="redis://localhost", workers=1)


def kernel(folder: Path, files: dict[str, str], settings: Settings = SMALL) -> list[Finding]:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{content}\n")
    return list(machine.kernel(settings, folder))


@pytest.mark.parametrize("files", [GOOD, {}])
def test_a_good_kernel(tmp_path: Path, files: dict[str, str]) -> None:
    [finding] = kernel(tmp_path, files)
    assert finding.mend == ""


@pytest.mark.parametrize(
    ("file", "value", "words", "mend"),
    [
        ("net/core/somaxconn", "128", "128 connections may wait", "sysctl -w net.core.somaxconn=4096"),
        ("net/ipv4/ip_local_port_range", "60000\t60999", "nginx has 1000 ports", "PUSHSVC_APP=unix:"),
        ("vm/overcommit_memory", "2", "Redis may fail to rewrite", "sysctl -w vm.overcommit_memory=1"),
    ],
)
def test_a_bad_kernel(tmp_path: Path, file: str, value: str, words: str, mend: str) -> None:
    [finding] = kernel(tmp_path, GOOD | {file: value})
    assert finding.is_wrong
    assert words in finding.text
    assert mend in finding.mend


def test_what_an_ordinary_machine_has_is_worth_a_note(tmp_path: Path) -> None:
    usual = GOOD | {"vm/overcommit_memory": "0"}
    good, ports, overcommit = kernel(tmp_path, usual, Settings(redis_url="redis://localhost", workers=2))
    assert (good.mark, ports.mark, overcommit.mark) == ("well", "note", "note")
    assert "nginx has 28232 ports" in ports.text
    [chosen, *_] = kernel(tmp_path, usual, Settings(redis_url="redis://localhost", workers=2, max_connections=19_000))
    assert (chosen.mark, chosen.check) == ("WRONG", "kernel")
    [full] = kernel(tmp_path, usual, Settings(workers=1, max_memory="1000 GB", app="unix:/run/app.sock"))
    assert full.mark == "WRONG"


@pytest.mark.parametrize(
    ("file", "value", "changed"),
    [
        ("net/ipv4/ip_local_port_range", "50000\t60999", {"app": "unix:/run/app.sock"}),
        ("vm/overcommit_memory", "0", {"redis_url": "redis://data.example.com"}),
        ("vm/overcommit_memory", "0", {"redis_url": "rediss://192.0.2.1"}),
    ],
)
def test_what_does_not_concern_this_machine(tmp_path: Path, file: str, value: str, changed: dict[str, str]) -> None:
    [finding] = kernel(tmp_path, GOOD | {file: value}, SMALL.model_copy(update=changed))
    assert finding.mend == ""
