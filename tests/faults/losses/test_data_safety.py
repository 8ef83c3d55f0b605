"""Data that the embedded server has written down stays, and what it has no room for is refused and not lost."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proofs import powercut
from tests.support.clients.eventsource import until
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT, Stack

_CLONE_NEWNS = 0x20000  # unshare(2)


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    machine, missing = powercut.cut(10, 20, seed=1, data_dir=tmp_path)
    assert missing == []
    assert machine.torn > 0
    assert sum(map(len, machine.acked.values())) >= 200


def test_without_always_it_does_which_shows_that_it_is_looked_for(tmp_path: Path) -> None:
    _, missing = powercut.cut(10, 20, seed=1, data_dir=tmp_path, durability="everysec")
    assert missing


def test_cancelled_requests_leave_no_answer_to_others(stack: Stack) -> None:
    """This runs in a process of its own, where the standard library is gevent's, as in a worker."""
    words = [
        sys.executable,
        "-m",
        "tests.proofs.cancelled",
        "3000",
        "--stack",
        str(stack.data_dir),
        stack.settings["app"],
    ]
    done = subprocess.run(
        [str(word) for word in words], cwd=ROOT, capture_output=True, text=True, timeout=100,
        preexec_fn=dies_with_the_tests(signal.SIGKILL),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 foreign" in done.stdout
    assert " 0 marks" not in done.stdout


def incremental_log(stack: Stack) -> Path:
    [path] = (stack.data_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
    return path


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$100\r\nhalf", "what was torn is cut off ("),
        (b"\0" * 70_000, "its data ended in 70000 zeros, as after a power cut; they are cut off"),
    ],
    ids=["half a command", "zeros"],
)
def test_a_torn_tail_is_cut_off_and_said(small: Stack, user: str, tail: bytes, says: str) -> None:
    stack = small
    an_id = stack.publish(user=user, data="kept")
    stack.stop()
    with incremental_log(stack).open("ab") as log:
        log.write(tail)
    stack.output = ""
    stack.start()
    assert stack.output.count(says) == 1, stack.output
    assert stack.output.count("pushsvc: valkey:") == 1, stack.output
    history = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
    assert [event["id"] for event in history] == [an_id]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on a disk that fills up, if we may make one, and whose memory a test can limit."""
    data_dir = tmp_path_factory.mktemp("small")
    # In a view of the file systems that only this thread and its children have: it goes with them, whatever happens.
    # Where `/` is no mount point, as in a plain chroot, it cannot be kept to ourselves, and the disk stays as it is.
    if ctypes.CDLL(None).unshare(_CLONE_NEWNS) == 0 and _mount("--make-rprivate", "/"):
        _mount("-t", "tmpfs", "-o", "size=12m", "none", str(data_dir))
    running = Stack(data_dir, workers=1)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def _mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode == 0


def fill_memory(stack: Stack) -> Callable[[], object]:
    stack.redis.config_set("maxmemory", 1)
    return lambda: stack.redis.config_set("maxmemory", 0)


def fill_disk(stack: Stack) -> Callable[[], object]:
    if not stack.data_dir.is_mount():
        pytest.skip("a small disk cannot be made here: that takes root, and a / that is a mount point")
    ballast = stack.data_dir / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass  # full
    return ballast.unlink


@pytest.mark.parametrize(
    ("fill", "detail"),
    [
        (fill_memory, "Redis has no memory left; try again later."),
        (fill_disk, "Redis cannot write to its disk; try again later."),
    ],
    ids=["memory", "disk"],
)
def test_without_room_publishes_are_refused_and_listeners_served(
    small: Stack, user: str, fill: Callable[[Stack], Callable[[], object]], detail: str
) -> None:
    stack, headers = small, small.bearer(publish=["*"])
    with stack.listen(user) as source:
        acked = [stack.publish(user=user, data="before")]
        make_room = fill(stack)

        def refused() -> bool:
            answer = stack.post("/publish", {"user": user, "data": "x" * 5000}, headers)
            if answer.status_code == 200:  # a page of the file, or a buffer, had room for it
                acked.append(answer.json()["id"])
                return False
            assert (answer.status_code, answer.json()["detail"]) == (507, detail)
            assert int(answer.headers["retry-after"]) > 0
            return True

        try:
            until(refused, "a refusal")
            batch = stack.post("/publish", [{"user": user, "data": "x" * 1000}] * 5, headers)
            assert batch.status_code == 507
            source.wait_ids(*acked)
            with stack.listen(user, headers={"Last-Event-ID": acked[0]}) as late, stack.listen(f"{user}-new") as new:
                late.wait_ids(*acked[1:])
                assert new.statuses == [200]
            assert stack.get("/readyz", {}).status_code == 200, "who listens needs this worker"
        finally:
            make_room()
        stack.until_ready()

        def taken() -> bool:
            answer = stack.post("/publish", {"user": user, "data": "after"}, headers)
            if answer.status_code == 200:
                acked.append(answer.json()["id"])
            return answer.status_code == 200

        until(taken, "room")
        source.wait_ids(*acked)
        assert source.ids == acked
        assert source.statuses == [200]
        until(lambda: stack.get("/unread", stack.bearer(user)).json()["id"] == acked[-1], "the position")
