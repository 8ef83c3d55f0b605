"""The pages for everybody: what axe finds (nothing), keyboards, composed and right-to-left text."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import Ask
from tests.support.clients.chatpage import answer, ends, no_wider_than
from tests.support.models.model import Model
from tests.support.stack import Stack

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
PAGES = ["/", "/chat", "/demo", "/docs", "/console"]
ANSWER = """\
# Here is **how**, with `code` and a [link](https://example.org)
### Deeper
1. one
   - two

| engine |  |
|---|--:|
| a long name of an engine that does not wrap at all, and one more | 0.5 s |

> said

```python
print("a line that is far too long for a telephone, and yet is not broken anywhere, since it is code")
```
"""


def faults(page: Page) -> list[Any]:
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document).then(found => found.violations)")
    return [(each["id"], [node["target"] for node in each["nodes"]]) for each in found]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (640, "dark"), (375, "dark"), (375, "light")])
def test_axe_finds_nothing(ask: Ask, answering: Stack, page: Page, user: str, width: int, scheme: Any) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for path in (f"/?user={user}", "/demo"):
        page.goto(answering.page(path))
        if path != "/demo":
            page.click("#send")
            expect(page.locator("#events .event")).to_have_count(1)
        no_wider_than(page, width)
        assert faults(page) == []
    page.goto(answering.page("/chat"))
    assert faults(page) == []
    conversation = ask(user).say(ANSWER)
    expect(answer(page).locator("pre")).to_be_visible()
    ends(page, "running")
    no_wider_than(page, width)
    assert faults(page) == []
    conversation.done()
    ends(page)
    if width < 760:
        page.click("#menu")
        expect(page.locator("#history a").first).to_be_visible()
    assert faults(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_lead_to_each_other(stack: Stack, page: Page, path: str) -> None:
    page.goto(stack.page(path))
    links = page.locator("nav[aria-label=Pages] a")
    assert links.evaluate_all("all => all.map(each => each.getAttribute('href'))") == PAGES
    expect(page.locator("nav [aria-current=page]")).to_have_attribute("href", path)
    expect(page.locator("main")).to_have_count(1)
    expect(page.locator("h1")).to_be_visible()


def test_the_clock_shows_the_code_that_it_runs(stack: Stack, page: Page) -> None:
    page.goto(stack.page("/demo"))
    assert page.locator("pre").text_content() == page.evaluate(
        "fetch('/static/clock.js').then(each => each.text())"
    ).rstrip("\n")
    expect(page.locator("#time")).to_contain_text("T")


KEYDOWN = """keys => {
  const event = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...keys });
  return document.getElementById("prompt").dispatchEvent(event);
}"""


@pytest.mark.parametrize("keys", [{"isComposing": True}, {"isComposing": False, "keyCode": 229}])
def test_enter_that_ends_a_composition_sends_nothing(
    answering: Stack, model: Model, page: Page, user: str, keys: dict[str, Any]
) -> None:
    page.goto(answering.page("/chat"))
    expect(page.locator("#prompt")).to_be_focused()
    page.fill("#prompt", user)
    assert page.evaluate(KEYDOWN, keys), "it was taken"
    expect(page.locator("#prompt")).to_have_value(user)
    expect(page.locator(".message")).to_have_count(0)
    assert not page.evaluate(KEYDOWN, {"keyCode": 13})
    ends(page)
    assert len(model.conversations) == 1


def test_escape_stops_the_answer(ask: Ask, page: Page, user: str) -> None:
    conversation = ask(user).say("Hello")
    expect(answer(page)).to_contain_text("Hello")
    page.keyboard.press("Escape")
    ends(page, "cancelled")
    conversation.wait_for_hang_up()
    expect(page.locator("#prompt")).to_be_focused()


def test_each_block_runs_in_the_direction_of_its_words(ask: Ask, page: Page) -> None:
    hebrew = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd! SSE?"
    assert page.evaluate("getComputedStyle(document.getElementById('prompt')).direction") == "ltr"
    page.fill("#prompt", hebrew)
    assert page.evaluate("getComputedStyle(document.getElementById('prompt')).direction") == "rtl"
    conversation = ask(f"{hebrew}\nlatin").say(f"{hebrew}\n\nlatin\n\n- {hebrew}\n- latin\n")
    expect(answer(page).locator("li")).to_have_count(2)
    found = page.locator(".text [dir]").evaluate_all(
        "all => all.map(each => [each.dir, getComputedStyle(each).direction])"
    )
    assert found == [["auto", "rtl"], ["auto", "ltr"]] * 3
    assert page.locator("#history b").first.get_attribute("dir") == "auto"
    conversation.done()
    ends(page)
