"""The Responses API, as other people's libraries speak it: whole, streamed, and a call of a tool."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clients.drivers.runtimes import Program, node, python
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("responses"))
    yield running
    running.stop()


@pytest.mark.parametrize("library", ["openai", "langchain-openai", "pydantic-ai", "litellm", "node openai", "node ai"])
def test_the_responses_api(service: Stack, library: str) -> None:
    runtime, _, name = library.rpartition(" ")
    words = node("responses.mjs") if runtime else python("responses.py")
    program = Program(*words, name, f"{service.url}/v1", service.token(library.replace(" ", "-")))
    try:
        lines = program.wait()
    finally:
        program.close()
    said = {key: value for line in lines for key, value in line.items()}
    assert said["whole"] == said["streamed"]
    assert said["whole"].startswith("You said: “q”")
    assert (said["tool"], said["arguments"], said["ended"]) == ("weather", {"city": "Oslo"}, True)
