"""`python -m pushsvc token`: what a token holds, and what is said of one that is of no use."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path

import jwt
import pytest
from click.testing import CliRunner

from pushsvc.cli import cli
from pushsvc.tokens.verifier import Verifier
from tests.support.clients.cli import printed, refusal, run
from tests.support.clients.eventsource import EventSource
from tests.support.stack import ROOT, SECRET, Stack


def test_a_token_holds_what_was_asked(stack: Stack) -> None:
    words = ["--user", "alice", "--publish", "topic:*", "--publish", "all", "--subscribe", "topic:a", "--ttl", "60"]
    identity = Verifier([SECRET]).verify(printed(stack, "token", *words).strip())
    assert identity.user == "alice"
    assert identity.publish == ("topic:*", "all")
    assert (identity.subscribe, identity.admin) == (("topic:a",), False)
    assert Verifier([SECRET]).verify(printed(stack, "token", "--admin").strip()).admin


def test_a_printed_token_opens_the_stream(stack: Stack, user: str) -> None:
    token = printed(stack, "token", "--user", user).strip()
    with EventSource(f"{stack.url}/events", {"Authorization": f"Bearer {token}"}).wait_open() as source:
        assert source.statuses == [200]


@pytest.mark.parametrize("user", ["", "a b", "a*", "x" * 256, "a,b", "a\nb", "\udcff"])
def test_a_token_for_no_user_is_not_printed(stack: Stack, user: str) -> None:
    assert "The token is valid, but its sub: must be 1 to 255 characters" in refusal(stack, "token", "--user", user)


def warnings(*words: str) -> list[str]:
    done = CliRunner().invoke(cli, ["token", *words], env={"PUSHSVC_SECRET": SECRET})
    assert done.exit_code == 0
    assert Verifier([SECRET]).verify(done.stdout.strip())
    return done.stderr.splitlines()


def test_the_help_says_what_an_admin_and_a_channel_are() -> None:
    said = " ".join(CliRunner().invoke(cli, ["token", "--help"]).stdout.split())
    assert "May read and cancel the answers of all users" in said
    assert "A CHANNEL is user:ID, topic:NAME or all; " in said


@pytest.mark.parametrize("words", [[], ["--publish", "news"], ["--publish", "", "--subscribe", "user:"]])
def test_a_token_that_may_do_nothing_is_warned_of(words: list[str]) -> None:
    *_, last = warnings(*words)
    assert last == "pushsvc: this token may do nothing; see --user, --publish, --subscribe and --admin"


@pytest.mark.parametrize("channel", ["news", "topics:*", "user:", "topic:a b", "*:a", "All", "user:a*b"])
@pytest.mark.parametrize("option", ["--publish", "--subscribe"])
def test_a_channel_that_cannot_be_is_warned_of(option: str, channel: str) -> None:
    [line] = warnings("--user", "a", option, channel)
    assert line.startswith(f"pushsvc: no channel is like {channel!r}: they are user:ID, topic:NAME and all; ")


@pytest.mark.parametrize("channel", ["*", "user:*", "us*", "topic:a*", "topic:a", "all", "a*", "user:ä|1"])
def test_a_channel_that_can_be_is_not(channel: str) -> None:
    assert warnings("--publish", channel) == []


@pytest.mark.parametrize("words", [["--admin"], ["--user", "a"]])
def test_a_token_that_may_do_something_without_channels(words: list[str]) -> None:
    assert warnings(*words) == []


def test_readmes_token_for_a_backend_publishes_to_users_and_topics_for_long(stack: Stack) -> None:
    [line] = re.findall(r"^python -m pushsvc (token .*?) *# for a backend.*$", (ROOT / "README.md").read_text(), re.M)
    token = printed(stack, *shlex.split(line)).strip()
    identity = Verifier([SECRET]).verify(token)
    assert identity.may_publish("user:alice")
    assert identity.may_publish("topic:news")
    assert jwt.decode(token, options={"verify_signature": False})["exp"] > time.time() + 86400
    answer = stack.post("/tickets", {"user": "alice", "topics": ["news"]}, {"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize("words", [["token", "--user", "a"], ["publish", "x", "--all"]])
def test_a_secret_that_a_command_makes_is_told(stack: Stack, tmp_path: Path, words: list[str]) -> None:
    first, second = (run(stack, *words, secret="", data_dir=tmp_path / "wrong") for _ in range(2))
    line = first.stderr.splitlines()[0]
    assert line.startswith(f"pushsvc: a new secret was made, in {tmp_path}/wrong/secret: ")
    assert line.endswith(f"PUSHSVC_DATA_DIR={tmp_path}/wrong knows it")
    assert "new secret" not in second.stderr, "it is not new any more"
