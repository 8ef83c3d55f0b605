"""The recipes of docs/recipes.md, and the code blocks of the pages about clients: they run as they stand."""

from __future__ import annotations

import ast
import re
from typing import Final

import pytest
from playwright.sync_api import Page

from pushsvc.client import Publisher
from tests.support.stack import ROOT, Stack
from tests.support.tokens import new_ticket

_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES: Final = dict(
    section.split("\n", 1) for section in (ROOT / "docs/recipes.md").read_text().split("\n## ")[1:]
)  # fmt: skip
SHOWN: Final = {
    "Notifications": "Bob answered", "Order status": "order 7 is paid", "A progress bar": "100",
    "A chat room": "bob: hello", "A model's tokens": " 42.", "Who is here": "alice",
}  # fmt: skip


def test_every_recipe_is_tried() -> None:
    assert list(RECIPES) == list(SHOWN)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works_as_it_stands(stack: Stack, page: Page, name: str) -> None:
    backend, listening = (
        "".join(text for kind, text in _BLOCK.findall(RECIPES[name]) if kind == wanted) for wanted in ("python", "js")
    )
    assert backend
    assert listening
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user="alice", topics=["room.7"])
    page.route("**/a-page", lambda route: route.fulfill(content_type="text/html", body="<title>a page</title>"))
    page.goto(f"{stack.url}/a-page")
    page.evaluate(
        """async ([url, code]) => {
          window.shown = [];
          window.show = (...words) => shown.push(words.join(" "));
          const { connect } = await import("/push.js");
          window.push = connect({ ticket: async () => url, since: "now" });
          new Function("push", code)(push);
        }""",
        [ticket["url"], listening],
    )
    page.wait_for_function("push.state == 'open'")
    with Publisher(stack.url, stack.token(publish=["*"])) as push:
        exec(backend, {"push": push, "url": stack.url, "admin_token": stack.token("root", admin=True)})
        page.wait_for_function("text => shown.some(each => each.includes(text))", arg=SHOWN[name])


@pytest.mark.parametrize("name", ["python", "outbox", "frameworks", "browser"])
def test_python_in_the_documentation_is_python(name: str) -> None:
    blocks = [text for kind, text in _BLOCK.findall((ROOT / f"docs/{name}.md").read_text()) if kind == "python"]
    for text in blocks:
        ast.parse(text)
