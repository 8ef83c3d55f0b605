"""Clients that speak while they should only listen, or wait for an answer: nobody hears it, and it harms nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.clients.eventsource import until
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack, connections

BEHIND: dict[str, bytes] = {
    "a line end": b"\r\n",
    "a body": b"{}",
    "another request": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "much": b"x" * 300_000,
}


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=40) as client:
        yield client


def read_until(client: socket.socket, *wanted: bytes) -> bytes:
    taken = b""
    while not all(each in taken for each in wanted):
        piece = client.recv(65536)
        assert piece, taken[-1000:]
        taken += piece
    return taken


def head(stack: Stack, user: str, first: str, *more: str) -> bytes:
    bearer = stack.bearer(user, subscribe=["*"])["Authorization"]
    return "\r\n".join([first, "Host: x", f"Authorization: {bearer}", *more, "", ""]).encode()


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "behind"])
@pytest.mark.parametrize("what", BEHIND)
def test_a_stream_goes_on(stack: Stack, base: str, user: str, what: str, declared: bool) -> None:
    said = BEHIND[what]
    more = [f"Content-Length: {len(said)}"] if declared else []
    with connected(base) as client:
        client.sendall(head(stack, user, "GET /events?since=now HTTP/1.1", *more) + said)
        until(lambda: connections(stack, user) == 1, "it to be connected")
        first = stack.publish(user=user)
        taken = read_until(client, first.encode())
        client.sendall(b"and more\r\n")
        last = stack.publish(user=user)
        taken += read_until(client, last.encode())
        assert taken.count(b"HTTP/1.1 ") == 1, "the stream's own head, and no answer in the middle of it"
        assert connections(stack, user) == 1


def question(stack: Stack, user: str, body: dict[str, object]) -> bytes:
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "?"}]} | body).encode()
    words = "Content-Type: application/json", f"Content-Length: {len(raw)}"
    return head(stack, user, "POST /v1/chat/completions HTTP/1.1", *words) + raw


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("late", [True, False], ids=["late", "at once"])
def test_a_line_end_behind_a_question_cancels_no_answer(
    answering: Stack, door: str, user: str, model: Model, stream: bool, late: bool
) -> None:
    def script(conversation: Conversation) -> None:
        if stream:
            conversation.send(HEAD).say("so ")

    model.script = script
    with connected(door) as client:
        asked = question(answering, user, {"stream": stream, "on_disconnect": "cancel"})
        client.sendall(asked if late else asked + b"\r\n")
        conversation = model.asked()
        if late:
            client.sendall(b"\r\n")
        if stream:
            read_until(client, b"so ")
            conversation.say("it is").done()
            taken = read_until(client, b"[DONE]")
        else:
            whole = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "it is"}}]}
            conversation.answer("200 OK", json.dumps(whole).encode())
            taken = read_until(client, b"it is")
        assert b"it is" in taken


def test_what_was_asked_behind_a_question_is_answered_in_its_turn(
    answering: Stack, user: str, model: Model, server_door: str
) -> None:
    """HTTP/1.1 wants that if the first answer is whole and its connection lives on."""
    model.script = lambda conversation: None
    with connected(server_door) as client:
        client.sendall(question(answering, user, {}))
        conversation = model.asked()
        client.sendall(b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        whole = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "it is"}}]}
        conversation.answer("200 OK", json.dumps(whole).encode())
        taken = read_until(client, b"it is", b'"alive"')
        assert taken.index(b"it is") < taken.index(b'"alive"')


@pytest.fixture
def server_door(answering: Stack) -> str:
    return answering.app_url


@pytest.mark.parametrize("leave", [lambda client: client.shutdown(socket.SHUT_WR), lambda client: client.close()])
def test_who_said_something_and_leaves_is_noticed(
    stack: Stack, server: str, user: str, leave: Callable[[socket.socket], None]
) -> None:
    with connected(server) as client:
        client.sendall(head(stack, user, "GET /events HTTP/1.1") + b"hello")
        until(lambda: connections(stack, user) == 1, "it to be connected")
        client.sendall(b"hello")
        leave(client)
        until(lambda: connections(stack, user) == 0, "its place to be free")
