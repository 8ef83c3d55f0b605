"""Markdown as /chat shows it: made of nodes, whole at any moment, and never HTML of a model's."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Ask
from tests.support.clients.chatpage import answer, ends, text
from tests.support.stack import Stack

SHOW = """async ([base, text, size]) => {
  const { Markdown } = await import(base + "/static/chat/markdown.js");
  const element = document.createElement("div"), prose = new Markdown(element);
  for (let end = size; end < text.length; end += size) prose.show(text.slice(0, end));
  prose.show(text);
  const more = / (dir="auto"|dir="ltr"|tabindex="0"|data-language=""|rel="[^"]*"|target="[^"]*")/g;
  const bare = element.innerHTML.replace(more, "");
  return bare.replace(/>\\n+(?=<|$)/g, ">");
}"""

CASES = [
    (
        "**bold**, *it*, ***both***, __b__",
        "<p>%(bold)s, <em>it</em>, <em><strong>both</strong></em>, <strong>b</strong></p>",
    ),
    ("`co*d*e` ``a`b`` ~~x~~", "<p><code>co*d*e</code> <code>a`b</code> <del>x</del></p>"),
    ("snake_case_name 2 * 3 * 4 **open \\*esc\\*", "<p>snake_case_name 2 * 3 * 4 **open *esc*</p>"),
    ("**\u6ce8\uff1a**\u7136", "<p><strong>\u6ce8\uff1a</strong>\u7136</p>"),
    ("# A\n### B #\ntext\nmore", "<h3>A</h3><h4>B</h4><p>text\nmore</p>"),
    ("### first\n# second", "<h3>first</h3><h3>second</h3>"),
    ("- a\n- b\n  - c\n\ntext", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><p>text</p>"),
    (
        "3. a\n   ```py\n   x = 1\n   ```",
        '<ol start="3"><li>a<pre data-language="py"><code>x = 1</code></pre></li></ol>',
    ),
    ("1. a\n  - b\n2. c", '<ol start="1"><li>a<ul><li>b</li></ul></li><li>c</li></ol>'),
    ("- [ ] a\n- [x] b", "<ul><li>\u2610 a</li><li>\u2611 b</li></ul>"),
    ("* a\n\n* b", "<ul><li><p>a</p></li><li><p>b</p></li></ul>"),
    ("~~~\n<b>\n  open", "<pre><code>&lt;b&gt;\n  open</code></pre>"),
    ("| a |  |\n|---|--:|\n| 1 | `x\\|y` |\n\nend", "%(table)s<p>end</p>"),
    ("> a\nb\n\n---\n", "<blockquote><p>a\nb</p></blockquote><hr>"),
    ("[x](https://e.com/a_(b) 't')", '<p><a href="https://e.com/a_(b)">x</a></p>'),
    ("https://x.org/a_b?c=1.", '<p><a href="https://x.org/a_b?c=1">https://x.org/a_b?c=1</a>.</p>'),
    ("![p](https://p.org/i.png)", '<p><a href="https://p.org/i.png">p</a></p>'),
    ("[a](javascript:alert(1)) [b](/publish)", "<p>[a](javascript:alert(1)) [b](/publish)</p>"),
    ("[c](data:text/html,x) <b>d</b>", "<p>[c](data:text/html,x) &lt;b&gt;d&lt;/b&gt;</p>"),
    ("para\n- ", "<p>para\n- </p>"),
    ("#tag\n\n1.5 and -1", "<p>#tag</p><p>1.5 and -1</p>"),
]
PARTS = {
    "bold": "<strong>bold</strong>",
    "table": '<div class="wide"><table><thead><tr><th>a</th><td class="end"></td></tr></thead>'
    '<tbody><tr><td>1</td><td class="end"><code>x|y</code></td></tr></tbody></table></div>',
}


@pytest.fixture(scope="module")
def blank(browser: Browser, stack: Stack) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(f"{stack.url}/demo")
    yield page
    page.close()


@pytest.mark.parametrize(("source", "shown"), CASES)
def test_it_is_shown_the_same_however_it_came(blank: Page, stack: Stack, source: str, shown: str) -> None:
    for size in (1, 2, 5, len(source)):
        assert blank.evaluate(SHOW, [stack.url, source, size]) == shown % PARTS


def test_what_grows_is_not_shown_anew(blank: Page, stack: Stack) -> None:
    kept = blank.evaluate(
        """async base => {
          const { Markdown } = await import(base + "/static/chat/markdown.js");
          const element = document.createElement("div"), prose = new Markdown(element);
          prose.show("one\\n\\ntwo\\n\\nthr");
          const first = element.firstElementChild;
          prose.show("one\\n\\ntwo\\n\\nthree\\n\\nfour\\n");
          return first === element.firstElementChild && element.textContent;
        }""",
        stack.url,
    )
    assert kept == "one\n\ntwo\n\nthree\n\nfour\n"


@pytest.mark.parametrize(
    "odd",
    ["*a " * 20_000, "[a](" * 20_000, "`" * 20_000 + "a", "> " * 20_000, "- " * 5_000, "*_" * 20_000, "|a" * 20_000],
)
def test_nothing_odd_takes_long(blank: Page, stack: Stack, odd: str) -> None:
    blank.evaluate(SHOW, [stack.url, f"{odd}\n\nend", len(odd) + 5])


STRANGE: list[dict[str, object]] = [
    {"choices": None}, {}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}, {"choices": [{"delta": None}]},
    {"choices": [{"index": None, "delta": {"content": "b"}}]}, {"choices": [{"index": 1, "delta": {"content": "no"}}]},
    {"choices": [{"index": 0, "delta": {"content": None, "reasoning_content": "hm"}}]}, {"choices": [], "usage": {}},
    {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [{"index": 0}]}}], "object": 7},
]  # fmt: skip


def test_strange_chunks_harm_nothing(blank: Page, stack: Stack) -> None:
    found = blank.evaluate(
        """async ([base, chunks]) => {
          const { chunkOf } = await import(base + "/static/chat/generations.js");
          return chunks.map(chunk => chunkOf(chunk).text);
        }""",
        [stack.url, [json.dumps(each) for each in STRANGE] + ["null", "7", "{", '{"error":{"type":null}}']],
    )
    assert "".join(found) == "b"


def test_the_page_says_which_model_answers(ask: Ask, page: Page, user: str) -> None:
    conversation = ask(user)
    expect(answer(page).locator(".who")).to_have_text("Answer")
    for each in (STRANGE[0], STRANGE[2], STRANGE[4]):
        conversation.chunk(b"data: " + json.dumps({"model": "m-2026"} | each).encode() + b"\n\n")
    conversation.say("Hello", model="m-2026")
    expect(answer(page)).to_contain_text("Hello")
    expect(answer(page).locator(".who")).to_have_text("m-2026")
    conversation.done()
    ends(page)
    assert text(page) == "Hello"
    expect(answer(page).locator(".who")).to_have_text("m-2026")
