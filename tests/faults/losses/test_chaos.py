"""`make chaos` in short: it runs, it sees what goes wrong, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.checker import Witness, close, missing
from chaos.ledger import Ledger, event_id
from chaos.schedule import steps, whole
from chaos.stacks.topologies import TOPOLOGIES
from chaos.traffic.wire import Answer, Message, Stream
from tests.support.clients.eventsource import until
from tests.support.processes import alive, descendants, dies_with_the_tests
from tests.support.stack import ROOT

QUICK = ("worker killed", "redis killed", "subscriptions killed", "clients dropped", "nginx killed", "network cut")


def command(results: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "chaos", "--results", str(results), *words]


def test_nobody_misses_an_event_whatever_breaks(tmp_path: Path) -> None:
    only = [word for fault in QUICK for word in ("--only", fault)]
    words = ["--seed", "7", "--users", "200", "--faults", str(len(QUICK)), "--events", "2000", "--longest", "2"]
    done = subprocess.run(command(tmp_path, *words, *only), cwd=ROOT, capture_output=True, text=True, timeout=110)
    report = json.loads((tmp_path / "chaos.json").read_bytes()) if (tmp_path / "chaos.json").exists() else {}
    assert report, done.stdout + done.stderr
    run = report["rows"][-1]
    assert {name: run[name] for name in ("lost", "repeated", "disorder", "foreign", "gaps", "refused")} == {
        "lost": 0, "repeated": 0, "disorder": 0, "foreign": 0, "gaps": 0, "refused": 0,
    }, report["notes"]  # fmt: skip
    assert set(QUICK) <= {row["name"] for row in report["rows"]}
    assert run["acked"] >= 2000
    assert run["deliveries"] > run["acked"]
    assert run["reconnects"] > 0
    assert "the service printed a traceback" not in report["notes"]


@pytest.mark.parametrize("redis", ["replica", "sentinels"])
def test_a_planned_failover_loses_nothing(tmp_path: Path, redis: str) -> None:
    words = ["--redis", redis, "--only", "redis failed over", "--faults", "1", "--users", "40", "--events", "500"]
    done = subprocess.run(command(tmp_path, *words), cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "chaos.json").read_bytes())
    run = report["rows"][-1]
    assert (run["lost"], run["gone"], run["gaps"]) == (0, 0, 0), report["notes"]
    assert run["acked"] >= 500


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    running = subprocess.Popen(
        command(tmp_path, "--users", "5", "--only", "redis frozen"), cwd=ROOT, stdout=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE, text=True, preexec_fn=dies_with_the_tests(signal.SIGKILL),
    )  # fmt: skip
    family: set[int] = set()

    def stands() -> bool:
        family.update(descendants(running.pid))
        return len(family) >= 8  # Redis; the supervisor; gunicorn, nginx, and two workers of each

    until(stands, "the stack", 60)
    running.send_signal(number)
    running.wait(30)
    until(lambda: not any(alive(pid) for pid in family), "the end of all")
    assert running.stderr is not None
    said = running.stderr.read()
    running.stderr.close()
    assert said == ("" if number == signal.SIGKILL else "chaos: interrupted, nothing is written\n")


def test_a_seed_decides_everything() -> None:
    names = TOPOLOGIES["single"].faults
    round_ = steps(7, names, whole(len(names)))
    assert round_ == steps(7, list(reversed(names)), whole(len(names)))
    assert round_ != steps(8, names, whole(len(names)))
    sets = [frozenset(blow.fault for blow in step.blows) for step in round_]
    assert len(set(sets)) == len(sets) == 13 + 78 + 1, "each alone, each pair, all together"
    assert {len(each) for each in sets} == {1, 2, 13}
    assert steps(7, names, 200)[: len(round_)] == round_
    assert len(steps(7, ["worker killed"], 5)) == 5


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def witness(ledger: Ledger) -> Witness:
    return Witness("u1", ["user:u1", "all"], ledger, lambda: 1.0)


def publish(ledger: Ledger, channel: str, acked: str | None = None) -> str:
    number = ledger.begin(channel)
    if acked is not None:
        ledger.ack(number, event_id(acked), 0.5)
    return ledger.data(number)


def verdict(ledger: Ledger, witness: Witness) -> dict[str, int]:
    close([witness], ledger)
    names = ("lost", "repeated", "disorder", "foreign", "gaps", "crossed")
    found = {name: sum(getattr(chapter, name) for chapter in ledger.chapters) for name in names}
    return {name: count for name, count in found.items() if count}


def test_the_checker_is_content_with_what_is_right(ledger: Ledger, witness: Witness) -> None:
    first, second = publish(ledger, "user:u1", "1-0"), publish(ledger, "all", "2-0")
    publish(ledger, "user:u2", "3-0")
    never_acked = publish(ledger, "user:u1")
    publish(ledger, "user:u1")  # neither acked nor seen
    for identity, data in (("1-0", first), ("2-0", second), ("4-0", never_acked)):
        witness.heard(Message(identity, "message", data))
    assert verdict(ledger, witness) == {}
    assert list(ledger.chapters[0].lags_ms) == [500, 500, 0]


def test_the_checker_finds_what_is_wrong(ledger: Ledger, witness: Witness) -> None:
    first, second = publish(ledger, "user:u1", "1-0"), publish(ledger, "user:u1", "2-0")
    late, other = publish(ledger, "all", "3-0"), publish(ledger, "user:u2", "4-0")
    publish(ledger, "user:u1", "5-0")
    renamed = publish(ledger, "user:u1", "6-0")
    ledger.turn("a fault")
    heard = [
        Message("2-0", "message", second),
        Message("1-0", "message", first),
        Message("1-0", "message", first),
        Message("4-0", "message", other),
        Message("4-0", "message", "user:u1 who knows"),
        Message("7-0", "message", renamed),
        Message("3-0", "message", late),
        Message("8-0", "gap", "{}"),
    ]
    assert missing([witness], ledger) == 5
    for message in heard:
        witness.heard(message)
    assert missing([witness], ledger) == 1
    assert verdict(ledger, witness) == {
        "lost": 1, "repeated": 1, "disorder": 2, "foreign": 2, "gaps": 1, "crossed": 2,
    }  # fmt: skip
    assert ledger.chapters[0].lost == 1, "what is lost counts where it was acked"


def test_what_a_failover_lost_must_be_said(ledger: Ledger, witness: Witness) -> None:
    kept, told, silent = (publish(ledger, "user:u1", each) for each in ("1-0", "2-0", "3-0"))
    again = publish(ledger, "user:u1")
    witness.heard(Message("1-0", "message", kept))
    witness.heard(Message("4-0", "message", again))  # and was not acknowledged
    witness.heard(Message("", "gap", '{"requested": "1-0", "oldest": "5-0", "reason": "reset"}'))
    witness.heard(Message("5-0", "message", again))
    ledger.ack(3, event_id("5-0"), 0.5)
    other = Witness("u1", ["user:u1"], ledger, lambda: 1.0)
    for each, data in (("1-0", kept), ("2-0", told), ("5-0", again)):
        other.heard(Message(each, "message", data))
    close([witness, other], ledger, {1, 2})
    chapter = ledger.chapters[0]
    assert (chapter.lost, chapter.gone, chapter.gaps, chapter.repeated, chapter.disorder) == (1, 1, 1, 0, 0)
    assert f"u1 never heard {silent}, acked in before" in ledger.notes


WIRE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"d\r\nretry: 1500\r\n\r\n10\r\n: open\n\nid: 1-0\n\r\n14\r\ndata: a\ndata:b\r\n\r\nid\r\n"
    b"1e\r\n: 2-0\nevent: x\ndata: \xc3\xa9\n\ndata:\r\n0\r\n\r\n"
)


def pieces(size: int) -> Iterator[bytes]:
    yield from (WIRE[at : at + size] for at in range(0, len(WIRE), size))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_what_a_browser_reads_in_pieces_of_any_size(size: int) -> None:
    answer, stream = Answer(), Stream("0-9")
    heard = [message for piece in pieces(size) for message in stream.messages(answer.feed(piece))]
    assert heard == [Message("1-0", "message", "a\nb"), Message("2-0", "x", "é")], "what the end cut off is dropped"
    assert (answer.status, stream.retry_ms, stream.last_event_id) == (200, 1500, "2-0")


def test_an_id_counts_once_its_event_is_whole() -> None:
    stream = Stream("")
    assert list(stream.messages(b"id: 1-0\ndata: a\n\nid: 2-0\ndata: b\n")) == [Message("1-0", "message", "a")]
    assert stream.last_event_id == "1-0"
    assert list(stream.messages(b"\nid: 3-0\n\n")) == [Message("2-0", "message", "b")]
    assert stream.last_event_id == "2-0", "a bare id moves the cursor in Chromium alone"
    assert list(stream.messages(b"event: cursor\nid: 3-0\ndata:\n\n")) == [Message("3-0", "cursor", "")]
    assert stream.last_event_id == "3-0"
