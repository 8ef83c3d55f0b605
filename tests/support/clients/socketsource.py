"""A WebSocket that is listened to as if it were an EventSource, so that the tests of streams can be run over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from tests.support.clients.eventsource import EventSource, Message, Parser
from tests.support.clients.websocket import WebSocket
from tests.support.stack import Stack

_STATUSES = {1001: 503, 1008: 401, 1013: 503}  # of the refusal that an EventSource is told in such a case


def listen(stack: Stack, user: str, query: str = "", *, base: str | None = None, **options: Any) -> SocketSource:
    """Listen by a WebSocket, in the place of `Stack.listen`."""
    headers = stack.bearer(user, subscribe=["topic:*"]) | options.pop("headers", {})
    source = SocketSource(f"{base or stack.url}/ws{query}", headers, **options)
    source.wait_open()
    return source


class SocketSource(EventSource):
    _ws: WebSocket | None = None

    def cut(self) -> None:
        if self._ws is not None:
            self._ws.close()

    def _listen(self) -> None:
        last, parser = self.parser.last_event_id, Parser()
        parser.last_event_id = last
        self.parser = parser
        try:
            ws = WebSocket(self.url, self._given | ({"Last-Event-ID": last} if last else {}))
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        self._ws = ws
        with self._changed:
            self.statuses.append(200 if ws.status == 101 else ws.status)
            self.headers = httpx.Headers(ws.headers)
            self._changed.notify_all()
        if ws.status != 101:
            self.body = ws.body
            return
        if self._stop.is_set():
            ws.close()
        opened = False
        for message in self._messages(ws):
            opened = self._take([message], opened)
        ws.close()

    def _messages(self, ws: WebSocket) -> Iterator[Message]:
        taken = 0
        while True:
            with ws._changed:
                while len(ws.messages) == taken and not ws.over:
                    ws._changed.wait()
                new, over = ws.messages[taken:], ws.over
            taken += len(new)
            yield from filter(None, map(self._message, new))
            if over and taken == len(ws.messages):
                break
        if ws.closed is not None and ws.closed[0] in _STATUSES:
            yield Message("", "refused", json.dumps({"status": _STATUSES[ws.closed[0]], "detail": ws.closed[1]}))

    def _message(self, said: dict[str, Any]) -> Message | None:
        kind, self.parser.last_event_id = said.get("type"), said.get("id") or self.parser.last_event_id
        at = self.parser.last_event_id
        if kind == "gap":
            data = {name: said[name] for name in ("requested", "oldest", "reason")}
            return Message(at, "gap", json.dumps(data))
        if kind == "open":
            return Message(at, "cursor", "") if said["id"] else None
        return Message(at, said["event"], said["data"]) if "channel" in said else None
