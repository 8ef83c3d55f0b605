"""The history of the chat page in a real Chromium, and whose it is."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.conftest import Ask
from tests.support.clients.chatpage import DEMO, answer, ends, generation, messages, no_wider_than, say, text
from tests.support.models.model import HEAD, Model, silent
from tests.support.stack import Stack


def test_the_history_opens_what_was_asked_before(ask: Ask, page: Page, user: str) -> None:
    ask(f"{user} first").say("1").done()
    ends(page)
    page.click("#new")
    expect(page.locator("#welcome")).to_be_visible()
    ask(f"{user} second").say("2")
    expect(answer(page)).to_contain_text("2")
    page.locator("#history a").filter(has_text=f"{user} first").click()
    ends(page)
    assert messages(page) == [f"{user} first", "1"]
    page.go_back()
    ends(page, "running")  # it went on without anybody
    assert messages(page) == [f"{user} second", "2"]


def test_more_of_the_history(answering: Stack, page: Page, user: str) -> None:
    for number in range(22):
        question = {"messages": [{"role": "user", "content": f"{user} {number}."}]}
        assert answering.post("/v1/generations", question, answering.bearer(DEMO)).status_code == 202
    page.goto(answering.page("/chat"))
    entries = page.locator("#history a")
    expect(entries).to_have_count(20)
    expect(entries.first).to_contain_text(f"{user} 21.")
    page.click("#more")
    expect(entries.filter(has_text=f"{user} ")).to_have_count(22)


def test_with_a_token_instead_of_the_cookie(
    answering: Stack, model: Model, page: Page, browser: Browser, user: str
) -> None:
    model.script = silent
    page.goto(f"{answering.app_url}/chat")  # nobody vouches for who comes past nginx
    expect(page.locator("#send")).to_be_disabled()
    page.fill("#token", answering.token(user))
    page.press("#token", "Enter")
    say(page, user)
    conversation = model.asked().send(HEAD).say("one, ")
    expect(answer(page)).to_contain_text("one, ")
    page.reload()
    expect(page.locator("#resumes")).to_have_text("1")
    elsewhere = browser.new_page()
    elsewhere.goto(page.url)
    elsewhere.fill("#token", answering.token(user))
    elsewhere.press("#token", "Enter")
    expect(answer(elsewhere)).to_contain_text("one, ")  # it has no ticket for the stream
    conversation.say("two").done()
    for each in (page, elsewhere):
        ends(each)
        assert text(each) == "one, two" == generation(each, answering, user)["text"]
    elsewhere.close()


def test_somebody_elses_conversation_is_not_shown(answering: Stack, page: Page, user: str) -> None:
    question = {"messages": [{"role": "user", "content": "a secret"}]}
    theirs = answering.post("/v1/generations", question, answering.bearer(user)).json()["id"]
    page.goto(answering.page(f"/chat#{theirs}"))
    expect(page.locator(".fault")).to_contain_text("not yours")
    assert "secret" not in page.content()


def test_on_a_phone(ask: Ask, answering: Stack, page: Page, user: str) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    no_wider_than(page, 360)
    ask(f"{user} {'wide' * 50}").say(f"{'long' * 100} `{'code' * 50}`\n```\n{'x' * 500}\n```\n").done()
    ends(page)
    no_wider_than(page, 360)
    expect(page.locator("#new")).to_be_hidden()
    page.focus("#menu")
    page.keyboard.press("Enter")
    expect(page.locator("#new")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#menu")).to_be_focused()
    expect(page.locator("#new")).to_be_hidden()
    page.click("#menu")
    page.click("#new")
    expect(page.locator("#welcome")).to_be_visible()
    no_wider_than(page, 360)
