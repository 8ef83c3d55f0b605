"""/v1/ui/chat, as the AI SDK's transport asks it; `make clients` runs the AI SDK itself against it."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from tests.support.clients.eventsource import until
from tests.support.models.answers import running, state
from tests.support.models.completions import data
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack

PATH = "/v1/ui/chat"


def question(chat: str, text: str = "q", **members: Any) -> dict[str, Any]:
    message = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": chat, "messages": [message], "trigger": "submit-message"} | members


def begun(conversation: Conversation) -> None:
    conversation.send(HEAD).say("Hel")


def said(events: list[Any]) -> str:
    return "".join(each.get("delta", "") for each in events if each != "[DONE]")


class Page:
    """A page that asks, or resumes, until its stream ends."""

    def __init__(self, stack: Stack, user: str, chat: str, **asked: Any) -> None:
        self.events: list[Any] = []
        self.headers = httpx.Headers()
        self.status = 0
        self.wire = ""
        self._stack, self._user, self._chat, self._asked = stack, user, chat, asked
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        headers, url = self._stack.bearer(self._user), self._stack.url + PATH
        asked: dict[str, Any] = {"method": "GET", "url": f"{url}/{self._chat}/stream"}
        if self._asked:
            asked = {"method": "POST", "url": url, "json": question(self._chat, **self._asked)}
        with httpx.stream(**asked, headers=headers, trust_env=False) as answer:
            self.status, self.headers = answer.status_code, answer.headers
            for piece in answer.iter_text():
                self.wire += piece

    def hears(self, text: str) -> Page:
        until(lambda: text in self.wire, f"{text!r} in the page")
        return self

    def ended(self) -> list[Any]:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return data(self.wire)


def test_pages_share_an_answer_and_a_reload_misses_nothing(answering: Stack, user: str, model: Model) -> None:
    model.script = begun
    first = Page(answering, user, "c1", text="q").hears("Hel")
    assert first.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert first.headers["content-type"].startswith("text/event-stream")
    second = Page(answering, user, "c1").hears("Hel")
    model.asked().say("lo").done()
    events = first.ended()
    assert said(events) == "Hello"
    assert second.ended() == events
    assert [each["type"] for each in events[:-1]] == [
        "start", "start-step", "text-start", "text-delta", "text-delta", "text-end", "finish-step", "finish",
    ]  # fmt: skip
    assert answering.get(f"{PATH}/c1/stream", answering.bearer(user)).status_code == 204
    assert answering.get(f"{PATH}/c1/stream", answering.bearer(f"{user}-other")).status_code == 204


def test_stop_ends_it_in_every_page_and_at_the_model(answering: Stack, user: str, model: Model) -> None:
    model.script = begun
    pages = [Page(answering, user, "c1", text="q").hears("Hel")]
    pages.append(Page(answering, user, "c1").hears("Hel"))
    for other in (user + "-other", user):
        url = f"{answering.url}{PATH}/c1/stream"
        assert httpx.delete(url, headers=answering.bearer(other), trust_env=False).status_code == 204
        assert len(running(answering, user)) == (1 if other != user else 0)
    for page in pages:
        assert [each["type"] for each in page.ended()[-3:-1]] == ["text-end", "abort"]
    model.asked().wait_for_hang_up()


def test_the_next_question_interrupts_the_answer(answering: Stack, user: str, model: Model) -> None:
    model.script = begun
    first = Page(answering, user, "c1", text="one").hears("Hel")
    other = Page(answering, user, "c2", text="other").hears("Hel")
    refused = answering.post(PATH, question("c1", interrupt=False), answering.bearer(user))
    assert refused.status_code == 409
    keyed = answering.bearer(user) | {"Idempotency-Key": f"{user}-c3"}
    names = []
    for _ in range(2):  # the same one once more is no conflict
        asked = question("c3", interrupt=False)
        with httpx.stream("POST", answering.url + PATH, json=asked, headers=keyed, trust_env=False) as page:
            names.append(page.headers["x-generation-id"])
    assert names[0] == names[1]
    second = Page(answering, user, "c1", text="two").hears("Hel")
    assert first.ended()[-2]["type"] == "abort"
    for number in (2, 4):
        model.asked(number).say("lo").done()
    assert (said(second.ended()), said(other.ended())) == ("Hello", "Hello")


@pytest.mark.parametrize("returns", [True, False])
def test_a_page_that_leaves_cancels_only_if_it_does_not_come_back(
    answering: Stack, user: str, model: Model, returns: bool
) -> None:
    """The page asks with `on_disconnect: cancel`. `stop` alone ends the answer too, in a few seconds."""
    model.script = begun
    asked = question("c1", on_disconnect="cancel")
    with httpx.stream(
        "POST", answering.url + PATH, json=asked, headers=answering.bearer(user), trust_env=False
    ) as page:
        name = page.headers["x-generation-id"]
        next(page.iter_raw())
    if returns:
        back = Page(answering, user, "c1").hears("Hel")
        model.asked().say("lo").done()
        assert said(back.ended()) == "Hello"
    until(lambda: state(answering, user, name)["state"] == ("completed" if returns else "cancelled"), "its ending")


def test_refusals(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("429 No", b'{"error":{"message":"slow","type":"t","code":"k"}}')
    refused = answering.post(PATH, question("c1"), answering.bearer(user))
    assert (refused.status_code, refused.json()["error"]["message"]) == (429, "slow")
    assert answering.post(PATH, question(""), answering.bearer(user)).json()["error"]["param"] == "id"
    for method in ("GET", "DELETE"):
        assert httpx.request(method, f"{answering.url}{PATH}/c1/stream", trust_env=False).status_code == 401
