"""The cells of the second table in docs/clients.md: a model's answers, asked for by other people's clients."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from clients.drivers.runtimes import Program, node, python
from clients.site.engine import ARGUMENTS, REFUSAL_HEADERS, TEXT, WORDS, Engine
from clients.site.site import Site
from tests.support.clients.eventsource import until

Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Client:
    name: str
    library: str
    words: Callable[[str], list[str]]
    headers: bool = True  # its error has them


def _python(program: str) -> list[str]:
    return python(f"{program}.py")


def _node(program: str) -> list[str]:
    return node(f"{program}.mjs")


CLIENTS = [
    Client("`openai` (Python)", "openai", _python),
    Client("`openai` (Node)", "openai", _node),
    Client("`langchain-openai`", "langchain-openai", _python),
    Client("`litellm`", "litellm", _python),
    Client("`pydantic-ai`", "pydantic-ai", _python),
    Client("AI SDK `streamText`, `generateText`", "ai", _node),
]
COLUMNS: list[str] = []


class Asking:
    """Asks with a client, and records that its cell is green once the test is through."""

    def __init__(self, site: Site, engine: Engine) -> None:
        self.site, self.engine = site, engine

    def start(self, client: Client, how: str, question: str, *key: str, token: str = "") -> Program:
        token = token or self.site.stack.token("asker")
        return Program(*client.words("ask"), client.library, f"{self.site.url}/v1", token, how, question, *key)

    def ask(self, client: Client, how: str, question: str, *key: str, token: str = "") -> list[dict[str, Any]]:
        """All that it said, until it ended."""
        program = self.start(client, how, question, *key, token=token)
        try:
            return program.wait()
        finally:
            program.close()


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    engine = Engine()
    site = Site(tmp_path_factory.mktemp("answers"), llm_base_url=engine.model.url)
    yield Asking(site, engine)
    site.close()
    engine.close()


def column(name: str) -> pytest.MarkDecorator:
    """A test of each client in this column of the table."""
    COLUMNS.append(name)
    given = [pytest.param(client, name, id=client.name) for client in CLIENTS]
    return pytest.mark.parametrize(("client", "column"), given)


@pytest.fixture(autouse=True)
def cell(client: Client, column: str, record_property: Record) -> None:
    """Tell the table; see conftest.py."""
    record_property("cell", ["answers", client.name, column])
    record_property("mark", "✓")


def text(lines: list[dict[str, Any]]) -> str:
    return "".join(line.get("text", "") for line in lines)


@column("streamed")
def test_streamed(asking: Asking, client: Client) -> None:
    lines = asking.ask(client, "streamed", "plain")
    assert text(lines) == TEXT
    assert any(line.get("finished") for line in lines), "why it ended"
    assert lines[-1] == {"ended": True}


@column("whole")
def test_whole(asking: Asking, client: Client) -> None:
    assert asking.ask(client, "whole", "plain") == [{"text": TEXT}, {"ended": True}]


@column("tool calls")
def test_tool_calls(asking: Asking, client: Client) -> None:
    """Calls of tools come whole, and streamed in pieces."""
    lines = asking.ask(client, "tools", "plain")
    calls = [line for line in lines if "tool" in line]
    assert calls == [{"tool": "weather", "arguments": json.loads(ARGUMENTS)}] * 2
    assert lines[-1] == {"ended": True}


@column("refused")
def test_refused(asking: Asking, client: Client) -> None:
    """A refusal has the model's status, words and headers. A library that was told not to try again does not."""
    *_, last = asking.ask(client, "whole", f"refuse {client.name}")
    assert last["status"] == 429, last
    assert "Slow down." in last["message"], last
    assert REFUSAL_HEADERS.items() <= last["headers"].items(), last


@column("cut in the middle")
def test_cut_in_the_middle(asking: Asking, client: Client) -> None:
    """The client is told of the cut, and the same key gives the whole answer without asking the model again."""
    question, key = f"slow {client.name}", f"key-{client.library}-{client.words.__name__}"
    asking.engine.go_on.clear()
    program = asking.start(client, "streamed", question, key)
    try:
        until(lambda: WORDS[0] in text(program.lines), f"the first word; {program.lines} {program.said()}", 60)
        asking.site.cut(lambda: None)
        lines = program.wait()
        assert "error" in lines[-1], lines
        assert text(lines) == WORDS[0]
    finally:
        asking.engine.go_on.set()
        program.close()
    lines = asking.ask(client, "streamed", question, key)
    assert text(lines) == TEXT
    assert lines[-1] == {"ended": True}
    assert asking.engine.asked(question) == 1


@column("wrong token")
def test_wrong_token(asking: Asking, client: Client) -> None:
    *_, last = asking.ask(client, "streamed", f"wrong {client.name}", token="no.such.token")
    assert last["status"] == 401, last
    assert asking.engine.asked(f"wrong {client.name}") == 0
