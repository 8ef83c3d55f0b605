"""The page of an answer in docs/answers.md, as it stands there, in a browser, over every chunk that models send."""

from __future__ import annotations

import re

from playwright.sync_api import Page

from tests.support.clients.eventsource import until
from tests.support.models.chunks import CHUNKS
from tests.support.models.model import HEAD, Conversation, Model, event
from tests.support.stack import ROOT, Stack

ODD = [
    *CHUNKS.values(),
    b'{"choices":[{"index":1,"delta":{"content":"of another choice"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":null,"tool_calls":[{"index":0}]},"finish_reason":null}]}',
    b'{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}',
    b'{"choices":[],"usage":null,"prompt_progress":{"processed":1}}',
]


def snippet() -> str:
    section = (ROOT / "docs/answers.md").read_text().partition("can only GET, so a page asks first")[2]
    found = re.search(r"^```js\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_script_bears_every_chunk(answering: Stack, page: Page, user: str, model: Model) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD)
        for number, odd in enumerate(ODD):
            conversation.chunk(b"data: %b\n\n" % odd).say(f"{number} ")
            conversation.hung_up.wait(0.02)
        conversation.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n')
        conversation.hung_up.wait(0.2)
        conversation.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"\\ude80"}}]}\n\n')
        conversation.chunk(event(None, index=1, finish_reason="stop")).done()

    model.script = script
    page.context.add_cookies([{"name": "pushsvc_token", "value": answering.token(user), "url": answering.url}])
    page.goto(f"{answering.url}/healthz")
    page.evaluate(f"(async () => {{ {snippet()} window.heard = () => [text, answer.readyState]; }})()")
    whole = "".join(f"{number} " for number in range(len(ODD))) + "🚀"
    until(lambda: page.evaluate("heard()") == [whole, 2], "all of the answer, and the end of its stream")
