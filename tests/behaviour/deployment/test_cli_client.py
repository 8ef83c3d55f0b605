"""The commands that call a service somewhere else: PUSHSVC_URL and PUSHSVC_TOKEN, and nothing of this machine."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.clients.eventsource import until
from tests.support.stack import ROOT, Stack

# Without the service's libraries, as `pip install pushsvc` leaves it.
RUN: Final = """
import sys
for name in ("flask", "gevent", "redis", "pydantic", "jwt", "httpx", "orjson"):
    sys.modules[name] = None
from pushsvc.__main__ import run
run()
"""


def environ(stack: Stack, token: str, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")}
    return clean | {"PUSHSVC_URL": stack.url, "PUSHSVC_TOKEN": token, "PYTHONPATH": str(ROOT)} | more


def call(stack: Stack, folder: Path, token: str, *words: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    """A command in a folder that has nothing."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], cwd=folder, env=environ(stack, token), input=lines,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert not list(folder.iterdir())
    return done


def test_lines_of_stdin_are_published_and_answered_in_order(stack: Stack, tmp_path: Path, user: str) -> None:
    token = stack.token(publish=[f"user:{user}"])
    lines = [json.dumps({"user": user, "data": number, "key": f"{user}{number}"}) for number in range(300)]
    lines[7] = f'{{"user": "{user}", "data": 1.10}}'
    lines[8] = '{"user": "somebody-else", "data": 8}'
    done = call(stack, tmp_path, token, "publish", "--stdin", lines="\n\n".join(lines))
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 300
    assert [number for number, each in enumerate(answers) if "error" in each] == [8]
    assert answers[8]["error"]["status"] == 403
    assert (done.returncode, done.stderr) == (1, "pushsvc: 1 events were refused\n")
    kept = stack.kept(user)
    assert [each["id"] for each in kept] == [each["id"] for each in answers if "id" in each][: len(kept)]
    assert kept[7]["data"] == "1.10"


@pytest.mark.parametrize(
    ("words", "lines", "says"),
    [
        (["publish", "--stdin"], "[]", "line 1 is no event: an event is a JSON object"),
        (["publish", "--stdin"], "{", "line 1 is no event: "),
        (["tail", "alice"], "", "PUSHSVC_TOKEN names its own user"),
        (["token"], "", "is not installed for"),
    ],
)
def test_what_is_wrong_is_said(stack: Stack, tmp_path: Path, words: list[str], lines: str, says: str) -> None:
    done = call(stack, tmp_path, stack.token("a", publish=["*"]), *words, lines=lines)
    assert done.returncode in (1, 2)
    assert says in done.stderr


def test_a_ticket_and_one_event(stack: Stack, tmp_path: Path, user: str) -> None:
    token = stack.token(publish=["*"], subscribe=["*"])
    assert call(stack, tmp_path, token, "ticket", user).stdout.startswith(f"{stack.url}/events?ticket=")
    answer = json.loads(call(stack, tmp_path, token, "publish", "--user", user, "hello").stdout)
    assert stack.kept(user) == [{"id": answer["id"], "event": "message", "data": "hello"}]


def test_a_person_sees_colours_and_no_commands_of_others(stack: Stack, user: str) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pushsvc", "tail", "--topic", f"{user}.news", "--since", "earliest"], cwd=ROOT,
        env=environ(stack, stack.token(user, subscribe=["topic:*"]), TERM="xterm"), stdout=terminal,
    )  # fmt: skip
    try:
        stack.publish(topic=f"{user}.news", event="order", data="a\x1b[2Jb")
        seen = b""

        def heard() -> bool:
            nonlocal seen
            seen += os.read(controller, 65536)
            return b"\n" in seen.partition(b"order")[2]

        until(heard, "the event")
    finally:
        process.terminate()
        process.wait()
        os.close(controller)
        os.close(terminal)
    assert "\x1b[36m\x1b[1morder\x1b[0m a\N{REPLACEMENT CHARACTER}[2Jb".encode() in seen


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(stack: Stack, tmp_path: Path, shell: str) -> None:
    assert "_PUSHSVC_COMPLETE" in call(stack, tmp_path, "t", "completion", shell).stdout
