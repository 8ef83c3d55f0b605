"""The browser client (npm/) as other people's tools take it: TypeScript checks it, React hears with its hooks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Route, sync_playwright

from clients.drivers.runtimes import MODULES
from tests.support import programs
from tests.support.stack import ROOT, Stack

NPM = ROOT / "npm"
USE = """
import { connect } from "./index.mjs";
import type { Gap } from "./index.d.ts";
const push = connect({ ticket: async () => ({ url: "/events" }), share: "alice" });
const over: () => void = push.on("order.paid", (data, event) => [data.id, event.id]);
push.onGap((gap: Gap) => gap.oldest);
// @ts-expect-error
connect({});
"""
PAGE = """<!doctype html><title>React</title><div id="root"></div><script src="/umd/react.js"></script>
<script src="/umd/react-dom.js"></script><script src="/push.js"></script><script type="importmap">{"imports": {"react":
  "data:text/javascript,export const { useEffect, useRef, useState } = React"}}</script><script type="module">
import { usePushData, usePushState } from "/react.mjs";
const ticket = async () => (await fetch("/tickets", { method: "POST", body: '{"user": "alice"}',
  headers: { Authorization: "Bearer TOKEN", "Content-Type": "application/json" } })).json();
const push = pushsvc.connect({ ticket });
const Shown = () => `${usePushState(push)} ${usePushData(push, "count", 0)}`;
ReactDOM.createRoot(document.querySelector("#root")).render(React.createElement(Shown));
</script>"""


def _module(path: str) -> Path:
    if not (MODULES / path).exists():
        pytest.skip(f"there is no clients/node_modules/{path}; `make clients` makes it")
    return MODULES / path


def test_typescript_checks_it(tmp_path: Path) -> None:
    compiler = _module("typescript/bin/tsc")
    for each in NPM.iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    (tmp_path / "use.ts").write_text(USE)
    (tmp_path / "node_modules").symlink_to(MODULES)
    config = (NPM / "tsconfig.json").read_text().replace('"push.js",', '"push.js", "use.ts",')
    (tmp_path / "tsconfig.json").write_text(config)
    node = programs.need(programs.NODE)
    done = subprocess.run([node, str(compiler), "-p", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_react_hears_with_its_hooks(tmp_path: Path) -> None:
    stack = Stack(tmp_path, workers=1)
    answers = {
        "/page": PAGE.replace("TOKEN", stack.token(subscribe=["*"])),
        "/react.mjs": (NPM / "react.mjs").read_text(),
        "/umd/react.js": _module("react/umd/react.production.min.js").read_text(),
        "/umd/react-dom.js": _module("react-dom/umd/react-dom.production.min.js").read_text(),
    }

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(stack.url)
        kind = "text/html" if path == "/page" else "text/javascript"
        route.fulfill(content_type=kind, body=answers[path]) if path in answers else route.fallback()

    with sync_playwright() as playwright:
        path = programs.need(programs.CHROMIUM)
        browser = playwright.chromium.launch(executable_path=path, args=programs.CHROMIUM_FLAGS)
        page = browser.new_page()
        page.route("**/*", answer)
        page.goto(f"{stack.url}/page")
        page.wait_for_function("document.querySelector('#root').innerText == 'open 0'")
        stack.publish(user="alice", event="count", data=7)
        page.wait_for_function("document.querySelector('#root').innerText == 'open 7'")
        browser.close()
    assert stack.stop() == 0
