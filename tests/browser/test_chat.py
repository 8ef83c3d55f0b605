"""The chat page in a real Chromium: an answer is whole, whatever happens to the page that shows it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from tests.conftest import Ask, Start
from tests.support.clients.chatpage import answer, ends, generation, messages, say, text
from tests.support.models.model import HEAD, Model, plain, silent
from tests.support.stack import Stack

# An answer, by the model that comes with the service


def test_a_question_is_answered_by_what_comes_with_the_service(stack: Stack, page: Page, user: str) -> None:
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
    page.goto(stack.page("/chat"))
    expect(page.locator("#welcome")).to_be_visible()
    say(page, f"Hello,\n{user}")
    expect(page.locator("#welcome")).to_be_hidden()
    ends(page, "running")
    expect(page.locator("#rate")).to_contain_text("tokens/s")
    ends(page)
    kept = generation(page, stack)
    assert kept["state"] == "completed"
    assert text(page) == kept["text"]
    assert f"“Hello,\n{user}”\n\n" in text(page)
    expect(page.locator("#rate")).to_have_text(re.compile(r"^[\d.]+ tokens/s$"))
    expect(page.locator("#tokens")).to_have_text(str(kept["usage"]["completion_tokens"]))
    expect(page.locator("#resumes")).to_have_text("0")
    expect(page.locator("#state")).to_have_attribute("data-state", "done")
    expect(page.locator(f'#history [data-id="{kept["id"]}"][aria-current]')).to_contain_text("Hello,")
    assert not refused, "the page does what its own policy forbids"


def test_a_reload_in_the_middle_goes_on_where_it_was(stack: Stack, page: Page, user: str) -> None:
    page.goto(stack.page("/chat"))
    say(page, f"{user} 🚀\n\n  and  more")
    expect(answer(page)).to_contain_text("I type well")
    page.reload()
    expect(answer(page)).to_contain_text("I type well")
    ends(page, "running")
    expect(page.locator("#resumes")).to_have_text("1")
    ends(page)
    kept = generation(page, stack)
    assert text(page) == kept["text"]
    assert f"{user} 🚀\n\n  and  more" in text(page)
    assert messages(page)[0] == f"{user} 🚀\n\n  and  more"
    page.reload()
    ends(page)
    assert text(page) == kept["text"]
    expect(page.locator("#resumes")).to_have_text("1")


def test_stop_ends_the_answer_for_good(stack: Stack, page: Page, user: str) -> None:
    page.goto(stack.page("/chat"))
    say(page, user)
    expect(answer(page)).to_contain_text("You said")
    page.click("#stop")
    ends(page, "cancelled")
    kept = generation(page, stack)
    assert kept["state"] == "cancelled"
    assert text(page) == kept["text"]
    expect(answer(page)).to_contain_text("Stopped")
    expect(page.locator("#stop")).to_be_hidden()
    expect(page.locator("#send")).to_be_enabled()
    page.reload()
    ends(page, "cancelled")
    assert text(page) == kept["text"]


# With a model in hand


def test_a_second_tab_follows_the_answer_and_then_the_conversation(
    ask: Ask, answering: Stack, page: Page, model: Model, user: str
) -> None:
    first = ask(user).say("one, ")
    expect(answer(page)).to_contain_text("one, ")
    tab = page.context.new_page()
    tab.goto(page.url)
    expect(answer(tab)).to_contain_text("one, ")
    first.say("two\n").done()
    for each in (page, tab):
        ends(each)
        assert text(each) == "one, two\n" == generation(each, answering)["text"]
    say(tab, f"{user} again")
    second = model.asked(2)
    assert [message["content"] for message in second.json["messages"]] == [user, "one, two\n", f"{user} again"]
    second.send(HEAD).say("three")
    for each in (page, tab):
        expect(answer(each)).to_contain_text("three")
        ends(each, "running")
    second.done()
    for each in (page, tab):
        ends(each)
        assert messages(each) == [user, "one, two\n", f"{user} again", "three"]
        expect(each.locator("#history a").filter(has_text=user)).to_have_count(1)
    assert page.url == tab.url
    assert len(model.conversations) == 2


def test_a_broken_connection_loses_nothing(start: Start, model: Model, page: Page, user: str) -> None:
    model.script = silent
    stack = start(llm_base_url=model.url, workers=1)
    page.goto(stack.page("/chat"))
    say(page, user)
    conversation = model.asked().send(HEAD).say("before, ")
    expect(answer(page)).to_contain_text("before, ")
    stack.kill("nginx")
    conversation.say("meanwhile, ")
    expect(answer(page)).to_contain_text("meanwhile, ")
    expect(page.locator("#resumes")).not_to_have_text("0")
    conversation.say("after").done()
    ends(page)
    assert text(page) == "before, meanwhile, after" == generation(page, stack)["text"]


def test_a_double_click_asks_once(answering: Stack, model: Model, page: Page, user: str) -> None:
    posts: list[Request] = []
    page.on("request", lambda request: posts.append(request) if request.method == "POST" else None)
    page.goto(answering.page("/chat"))
    page.fill("#prompt", user)
    page.dblclick("#send")
    ends(page)
    assert text(page) == "Hello world"
    assert len(posts) == len(model.conversations) == 1
    assert len(posts[0].headers["idempotency-key"]) >= 32


def test_a_question_whose_answer_was_lost_on_the_way_is_asked_once(
    answering: Stack, model: Model, page: Page, user: str
) -> None:
    page.goto(answering.page("/chat"))

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route("**/v1/generations", lose, times=1)
    say(page, user)
    expect(page.locator(".fault")).to_contain_text("cannot be reached")
    page.click("text=Try again")
    ends(page)
    assert text(page) == "Hello world"
    assert len(model.conversations) == 1


def test_a_refusal_is_said_in_words_and_can_be_tried_again(
    answering: Stack, model: Model, page: Page, user: str
) -> None:
    model.script = lambda conversation: conversation.answer(
        "429 Too Many Requests", b'{"error": {"message": "slow down"}}'
    )
    page.goto(answering.page("/chat"))
    say(page, user)
    ends(page, "upstream_error")
    expect(page.locator(".fault")).to_contain_text("The model is busy")
    expect(page.locator(".fault")).to_contain_text("slow down")
    expect(page.locator("#state")).to_have_attribute("data-state", "failed")
    model.script = plain
    page.click("text=Try again")
    ends(page)
    assert messages(page) == [user, "Hello world"]
    expect(page.locator("#history a").filter(has_text=user)).to_have_count(1)
    expect(page.locator(".fault")).to_have_count(0)


def test_an_answer_that_breaks_off_keeps_what_was_said(ask: Ask, page: Page, user: str) -> None:
    conversation = ask(user).say("The first")
    expect(answer(page)).to_contain_text("The first")
    conversation.send(b"0\r\n\r\n")  # the end of the response, and not of the answer
    ends(page, "upstream_error")
    expect(page.locator(".fault")).to_be_visible()
    assert text(page) == "The first"


SAID = """\
a <img src=x onerror="document.title = 1"> & `b <i>c</i>`

```html
<script>document.title = 2</script>
```

# 🚀\t…"""


@pytest.mark.parametrize("size", [1, 7, len(SAID)])
def test_an_answer_is_text_and_nothing_else(ask: Ask, answering: Stack, page: Page, user: str, size: int) -> None:
    conversation = ask(f"<b>{user}</b>")
    for start in range(0, len(SAID), size):
        conversation.say(SAID[start : start + size])
    conversation.done()
    ends(page)
    assert messages(page)[0] == f"<b>{user}</b>"
    assert generation(page, answering)["text"] == SAID
    expect(answer(page).locator("p")).to_have_text('a <img src=x onerror="document.title = 1"> & b <i>c</i>')
    expect(answer(page).locator("p code")).to_have_text("b <i>c</i>")
    expect(answer(page).locator("pre code")).to_have_text("<script>document.title = 2</script>")
    expect(answer(page).locator("h3")).to_have_text("🚀 …")
    assert page.locator("#messages").locator("img, b, i, script").count() == 0
    assert page.title() == "pushsvc chat"
