"""POST to the paths that PUSHSVC_LLM_PASS names: they go through to the model's server as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_plus

from flask import Flask, Response
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import whole_body
from pushsvc.calls.call import Call
from pushsvc.delivery.transports.hangup import HangUp, hang_up
from pushsvc.errors import ClientLeft
from pushsvc.llm.making import sizes
from pushsvc.llm.making.passing import Passage
from pushsvc.llm.models.base import Fault, Passed, passing
from pushsvc.llm.outcome import OPERATORS, refused, timeout, upstream_error
from pushsvc.web.answers.asking import MOST_BODY_BYTES
from pushsvc.web.http.current import call, service

ENDPOINT: Final = "passing."  # the names of the views begin with it
_NAMES: Final = ("content-type", "content-encoding", "accept", "openai-beta", "anthropic-version", "anthropic-beta")
_PAGES: Final = re.compile(r"\s*(text/html|application/xhtml|image/svg|text/xml|application/xml)", re.IGNORECASE)
_HEADERS: Final = {
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


def install(app: Flask, paths: tuple[str, ...]) -> None:
    """Have these paths under /v1 go through."""
    for path in paths:
        app.add_url_rule(
            f"/v1/{path}", ENDPOINT + path.replace(".", "_"), _pass, methods=["POST"], defaults={"path": path}
        )


def _pass(path: str) -> ResponseReturnValue:
    """POST to a path of LLM_PASS: the model's server is asked with the same query and body, and its response is passed
    on as it comes. When the client leaves, the model's server is hung up on.

    Refuses: 401 without a good token, 413 for a body that is too large, 429 as POST /v1/chat/completions does, 502 if
    the model's server fails, or refuses this service's account, 503 if this worker is full or stopping, 504 if that
    server takes too long.
    """
    svc, asked = service(), call()
    user = identify(asked).need_user()
    svc.capacity.check()
    with svc.partition_of(user).asks.counting(user) as counted:
        counted()
        with whole_body(asked, MOST_BODY_BYTES, f"user:{user}") as body:
            passage = svc.passing.send(Passed(f"/{path}", _query(asked.query), body, _along(asked)), user)
    watched = _Watched(asked, passage)
    try:
        passage.wait_for_head()
        if passage.status in OPERATORS:
            return watched.closing(_not_ours(passage))
        response = Response(watched.pieces(), passage.status, passing(passage.headers) | _HEADERS | _kind(passage))
        response.call_on_close(watched.end)
        return response
    except Fault as fault:
        return watched.closing(_failed(fault))
    except BaseException:
        watched.end()
        raise


class _Watched:
    """A passage that ends with its client's connection."""

    def __init__(self, asked: Call, passage: Passage) -> None:
        self._passage = passage
        self._client = asked.client
        self._held = asked.held
        self._hang_up = HangUp(asked.client, asked.unread)
        self._held[self.end] = None
        self._hang_up.watch(passage.close)

    def pieces(self) -> Iterator[bytes]:
        """The body. If the rest of it does not come, the client's connection is cut."""
        try:
            yield from self._passage.pieces()
        except (Fault, ClientLeft):
            hang_up(self._client)

    def closing(self, response: Response) -> Response:
        self.end()
        return response

    def end(self) -> None:
        self._hang_up.unwatch()
        self._passage.close()
        self._held.pop(self.end, None)


def _along(asked: Call) -> Mapping[str, str]:
    """The headers of the request that go along. The client's credentials do not."""
    return {name: value for name in _NAMES if (value := asked.header(name)) is not None}


def _query(query: str) -> str:
    """The query without a ticket, which is for this service alone."""
    kept = [each for each in query.split("&") if unquote_plus(each.partition("=")[0]) != "ticket"]
    return quote("&".join(kept).encode("latin-1"), safe="%/?:@!$&'()*+,;=-._~")


def _kind(passage: Passage) -> dict[str, Any]:
    """The headers that say what the body is. A page of the model's server must not be shown as a page of ours."""
    kind = passage.headers.get("content-type", "application/octet-stream")
    coding = passage.headers.get("content-encoding")
    found = {"Content-Type": "text/plain; charset=utf-8" if _PAGES.match(kind) else kind}
    return found | ({} if coding is None else {"Content-Encoding": coding})


def _not_ours(passage: Passage) -> Response:
    """The response where the model's server refuses this service's own account."""
    told = refused(passage.status, passage.headers, passage.body(sizes.MOST_REFUSAL)).told()
    headers = passing(passage.headers) | {"x-should-retry": "false"}
    return Response(told, 502, headers, content_type="application/json")


def _failed(fault: Fault) -> Response:
    late = fault.code in ("connect_timeout", "total_timeout")
    ending = (timeout if late else upstream_error)(str(fault), fault.code)
    return Response(ending.told(), 504 if late else 502, content_type="application/json")
