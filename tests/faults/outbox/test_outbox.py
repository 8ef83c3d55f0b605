"""Events of committed transactions are heard once each and in order, those of others never, whoever is killed when."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, MetaData, create_engine, text
from sqlalchemy.orm import Session

from pushsvc.client import Publisher
from pushsvc.contrib.outbox import row
from pushsvc.contrib.outbox.relay import Relay
from pushsvc.contrib.outbox.store import open_store
from pushsvc.contrib.sqlalchemy import outbox_table, publish
from tests.support.clients.eventsource import until
from tests.support.others.postgres import Postgres
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT, Stack

# The relay kills itself at a step.
KILLED: Final = """
import os, signal, sys
from pushsvc.contrib.outbox.store import Store
from pushsvc.client import Publisher

def dies(owner, name, before):
    real = getattr(owner, name)
    def wrapped(*words):
        if before: os.kill(os.getpid(), signal.SIGKILL)
        found = real(*words)
        os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(owner, name, wrapped)

owner, name, before = {step}
dies(owner, name, before)
from pushsvc.__main__ import run
run()
"""
STEPS: Final = [
    "Store, 'pending', False", "Publisher, 'publish_many', True", "Publisher, 'publish_many', False",
    "Store, 'settle', True", "Store, 'settle', False",
]  # fmt: skip


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    running = Postgres()
    yield running.url
    running.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    url = f"sqlite:///{tmp_path}/app.db" if request.param == "sqlite" else request.getfixturevalue("postgres")
    store = open_store(url)
    store.prepare()
    store.close()
    yield url
    with engine(url).begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pushsvc_outbox WHERE error IS NULL")) == 0
        connection.execute(text("DELETE FROM pushsvc_outbox"))


def engine(url: str) -> Engine:
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


def put(url: str, user: str, numbers: range) -> None:
    """One transaction for each; each third is rolled back."""
    made = engine(url)
    for number in numbers:
        with Session(made) as session:
            publish(session, number, user=user)
            if number % 3 == 2:
                session.rollback()
            else:
                session.commit()
    made.dispose()


def committed(numbers: range) -> list[str]:
    return [str(number) for number in numbers if number % 3 != 2]


def relay(stack: Stack, url: str, *words: str, step: str = "") -> subprocess.Popen[bytes]:
    program = ["-c", KILLED.format(step=step)] if step else ["-m", "pushsvc"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")}
    environ |= {"PUSHSVC_URL": stack.url, "PUSHSVC_TOKEN": stack.token(publish=["*"])}
    return subprocess.Popen(
        [sys.executable, *program, "relay", url, *words], cwd=ROOT, env=environ, stderr=subprocess.PIPE,
        preexec_fn=dies_with_the_tests(signal.SIGKILL),
    )  # fmt: skip


def heard(stack: Stack, user: str) -> list[str]:
    return [each["data"] for each in stack.kept(user)]


@pytest.mark.parametrize("step", STEPS)
def test_a_relay_that_is_killed(stack: Stack, database: str, user: str, step: str) -> None:
    put(database, user, range(9))
    killed = relay(stack, database, "--batch", "2", step=step)
    assert killed.wait(60) == -signal.SIGKILL
    assert relay(stack, database, "--drain").wait(60) == 0
    assert heard(stack, user) == committed(range(9))


def test_several_relays_at_once(stack: Stack, database: str, user: str) -> None:
    relays = [relay(stack, database, "--batch", "5") for _ in range(3)]
    put(database, user, range(45))
    relays[0].kill()
    put(database, user, range(45, 90))
    until(lambda: len(heard(stack, user)) >= 60, "all events")
    for each in relays[1:]:
        each.terminate()
        assert each.wait(60) in (0, -signal.SIGTERM)  # the latter if it is still being loaded
    relays[0].wait()
    assert relay(stack, database, "--drain").wait(60) == 0
    assert heard(stack, user) == committed(range(90))


def test_what_is_refused_for_good_stays_with_the_reason(stack: Stack, database: str, user: str) -> None:
    with engine(database).begin() as connection:
        publish(connection, 1, user=user)
        publish(connection, 2, user="no name at all")
        publish(connection, 3, user=user)
    assert relay(stack, database, "--drain").wait(60) == 0
    assert heard(stack, user) == ["1", "3"]
    with engine(database).connect() as connection:
        assert "user: must be" in connection.scalar(text("SELECT error FROM pushsvc_outbox"))


def test_it_waits_for_the_service_and_says_so_once(
    stack: Stack, tmp_path: Path, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    outbox_table(metadata := MetaData())
    metadata.create_all(engine(url))
    put(url, user, range(2))
    ending, token = threading.Event(), stack.token(publish=["*"])
    with caplog.at_level(logging.WARNING), Publisher(f"http://127.0.0.1:{free_port()}", token, patience=0) as away:
        thread = threading.Thread(target=Relay(open_store(url), away).run, args=[ending])
        thread.start()
        until(lambda: "the relay waits: " in caplog.text, "a word about it")
        ending.set()
        thread.join()
    with Publisher(stack.url, token) as push:
        Relay(open_store(url), push).run(threading.Event(), drain=True)
    assert heard(stack, user) == ["0", "1"]


def test_an_event_without_a_receiver_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        row("x", user="a", all=True)
