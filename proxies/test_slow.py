"""An answer of a model that is not streamed, and takes longer than the minute that many proxies allow."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import orjson

from proxies.support.kinds import KINDS
from proxies.support.running import Proxy, status_of
from tests.support.clients.eventsource import until
from tests.support.stack import Stack

SILENT_SECONDS = 65.0
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
ANSWER = orjson.dumps({
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "late"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
})  # fmt: skip


class _Silent(BaseHTTPRequestHandler):
    """A model that says nothing until it has the whole answer."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        threading.Event().wait(SILENT_SECONDS)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_it_comes_through_each_proxy(tmp_path: Path) -> None:
    model = ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    stack = Stack(tmp_path, workers=1, llm_base_url=f"http://127.0.0.1:{model.server_port}/v1", llm_ask_streamed="off")
    port = int(str(stack.settings["app"]).rpartition(":")[2])
    headers = stack.bearer("asker")

    def ask(proxy: Proxy) -> tuple[int, str]:
        with httpx.Client(headers=headers, trust_env=False, timeout=2 * SILENT_SECONDS) as client:
            answer = client.post(f"{proxy.url}/v1/chat/completions", json=QUESTION)
        return answer.status_code, answer.text

    try:
        with ExitStack() as running, ThreadPoolExecutor(len(KINDS)) as threads:
            found = {kind.name: running.enter_context(Proxy(kind, kind.file, (port, port))) for kind in KINDS}
            for proxy in found.values():
                until(lambda at=proxy: status_of(f"{at.url}/readyz") == 200, "the proxy to find the service")  # type: ignore[misc]
            told = dict(zip(found, threads.map(ask, found.values()), strict=True))
        assert {name: answer for name, answer in told.items() if answer[0] != 200 or "late" not in answer[1]} == {}
    finally:
        stack.stop()
        model.shutdown()
        model.server_close()
