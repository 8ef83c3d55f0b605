"""Somebody else's site, with the page of docs/listen.md, and what that lives through."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, Self
from urllib.parse import urljoin

from tests.support.clients.eventsource import until
from tests.support.clients.network import Network
from tests.support.ports import free_port
from tests.support.stack import ROOT, Stack, connections

# `render` shows the site's own state, `show` an event; what the page has said so far is `said`.
_PAGE = """\
<!doctype html><html lang="en"><title>a page of somebody's</title><a href="/elsewhere">away</a><script>
const said = [], show = (data) => said.push(data);
const render = async () => said.push(...await (await fetch("/state", { cache: "no-store" })).json());
let failures = 0;
window.EventSource = class extends EventSource {
  constructor(url) { super(url); this.addEventListener("error", () => failures++); }
};
%s
</script></html>"""


def snippet() -> str:
    """The page's code, as docs/listen.md has it, with what it leaves to its reader."""
    text = (ROOT / "docs/listen.md").read_text()
    found = re.search(r"^```js\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    code, times = re.subn(r"//.*read and show your own state here.*", "if (!cursor) await render();", found[1])
    assert times == 1
    return code


class Tab(Protocol):
    """A browser's tab, whatever drives it."""

    def open(self, url: str) -> None: ...
    def run(self, script: str) -> Any: ...
    def back(self) -> None: ...


class Site:
    """Its pages are at http://localhost, the service at http://127.0.0.1: to browsers these are two sites."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), self._handler())
        self._server.daemon_threads = True
        self.origin = f"http://localhost:{self._server.server_port}"
        self.page = f"{self.origin}/page"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stand_before(self, stack: Stack, user: str) -> Self:
        """`stack` must allow the site's origin."""
        self.stack, self.user, self.network = stack, user, Network(str(stack.settings["http"]))
        self.state, self.backend_fails, self.failed = list[str](), False, 0
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def publish(self, text: str) -> None:
        self.state.append(text)
        self.stack.publish(user=self.user, event="order.paid", data=text)

    def ticket(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.stack.post(
            "/tickets", {"user": self.user}, self.stack.bearer(subscribe=["*"])
        ).json()
        return answer | {"url": urljoin(f"http://{self.network.address}", answer["url"])}

    def _answer(self, path: str) -> tuple[int, str, str]:
        match path:
            case "/page":
                return 200, "text/html", _PAGE % snippet()
            case "/state":
                return 200, "application/json", json.dumps(self.state)
            case "/your-backend/ticket" if self.backend_fails:
                self.failed += 1
                return 502, "text/html", "<h1>502</h1>"
            case "/your-backend/ticket":
                return 200, "application/json", json.dumps(self.ticket())
            case _:
                return 200, "text/html", "<!doctype html><title>elsewhere</title>"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, media_type, text = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", f"{media_type}; charset=utf-8")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


# What a page lives through. Each gets a tab that has shown an event; between the two steps another is published.

Step = Callable[[Tab, Site], None]


def _failed(tab: Tab, count: int) -> None:
    """Wait until the browser has tried so often in vain. Firefox gives up at the first try."""
    until(lambda: tab.run("failures") >= count, "the browser to notice")


def _cut(tab: Tab, site: Site) -> None:
    site.network.cut()
    _failed(tab, 1)


def _refused(tab: Tab, site: Site) -> None:
    site.network.refuse()
    _failed(tab, 3)


def _bad_gateway(tab: Tab, site: Site) -> None:
    site.network.be_a_bad_gateway()
    _failed(tab, 3)


def _backend_away(tab: Tab, site: Site) -> None:
    site.backend_fails = True
    site.network.be_a_bad_gateway()
    until(lambda: site.failed > 1, "the page to ask its backend again")


def _away(tab: Tab, site: Site) -> None:
    tab.run("document.querySelector('a').click()")
    until(lambda: connections(site.stack, site.user) == 0, "the stream of a page that was left to end")


def _heal(tab: Tab, site: Site) -> None:
    site.backend_fails = False
    site.network.heal()


def _back(tab: Tab, site: Site) -> None:
    tab.back()


FAULTS: dict[str, tuple[Step, Step]] = {
    "cut": (_cut, _heal),
    "refused": (_refused, _heal),
    "a bad gateway": (_bad_gateway, _heal),
    "no backend": (_backend_away, _heal),
    "away and back": (_away, _back),
}


def lives_through(tab: Tab, site: Site, fault: str, times: int = 1) -> None:
    """Check that the page says everything, once and in order: by the site's own state, or by an event."""
    site.publish("before the page")
    tab.open(site.page)
    _says(tab, site)
    before, after = FAULTS[fault]
    for number in range(times):
        site.publish(f"{number}, live")
        _says(tab, site)
        tab.run("failures = 0")
        before(tab, site)
        site.publish(f"{number}, meanwhile")
        after(tab, site)
        _says(tab, site)


def begins_late(tab: Tab, site: Site) -> None:
    """The page's first connect fails."""
    site.publish("before the page")
    site.network.refuse()
    tab.open(site.page)
    _failed(tab, 1)
    site.publish("meanwhile")
    site.network.heal()
    _says(tab, site)


def _says(tab: Tab, site: Site) -> None:
    """Wait until it says this and listens, so that what is published next is no part of a first state."""

    def whole() -> bool:
        return bool(tab.run("events?.readyState === 1 && said.length") == len(site.state))

    until(whole, "the page to say all")
    assert tab.run("said") == site.state
