"""The recipes of docs/recipes.md, and the code blocks of the pages about clients: they run as they stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from openai import OpenAI
from playwright.sync_api import Page
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pushsvc.client import Publisher
from pushsvc.contrib.sqlalchemy import outbox_table
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


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on which nobody else publishes to all, because some blocks read what was published before."""
    running = Stack(tmp_path_factory.mktemp("stack"), heartbeat_seconds=1)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


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


class Handled(Exception):
    """A listener's loop has had its event."""


def handle(*_: object) -> None:
    raise Handled


def _names(stack: Stack, folder: Path, user: str) -> dict[str, object]:
    """The names that the pages leave to their readers."""

    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)

    engine = create_engine(f"sqlite:///{folder}/shop.db")
    outbox_table(Base.metadata)
    Base.metadata.create_all(engine)
    token = stack.token(user, publish=["*"], subscribe=["*"])
    client = OpenAI(base_url=f"{stack.url}/v1", api_key=token)
    return {
        "token": token, "tokens": ["a", "b"], "handle": handle, "client": client,
        "metadata": Base.metadata, "engine": engine, "Session": Session, "order": Order(id=7),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["python", "outbox"])
def test_python_in_the_documentation_runs(
    stack: Stack, name: str, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = _names(stack, tmp_path, user)
    stack.publish(user=user, data="1")
    blocks = [text for kind, text in _BLOCK.findall((ROOT / f"docs/{name}.md").read_text()) if kind == "python"]
    assert blocks
    for text in blocks:
        with suppress(Handled):
            exec(text.replace("https://push.example.com", stack.url).replace("alice", user), names)


@pytest.mark.parametrize("name", ["frameworks", "browser"])
def test_python_in_the_documentation_is_python(name: str) -> None:
    blocks = [text for kind, text in _BLOCK.findall((ROOT / f"docs/{name}.md").read_text()) if kind == "python"]
    for text in blocks:
        ast.parse(text)
