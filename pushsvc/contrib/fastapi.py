"""FastAPI: `push = Push(…); app.include_router(push.router)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from pushsvc.client import AsyncPublisher, ServiceError
from pushsvc.contrib import pages

_ROUTE: Final = "pushsvc_ticket"


def _none() -> tuple[str, ...]:
    return ()


class Push(AsyncPublisher):
    """A publisher for asyncio, with a route `ticket_path` that gives tickets to the pages of who is logged in."""

    def __init__(
        self,
        url: str,
        token: Any,
        *,
        user: Callable[..., Any],
        topics: Callable[..., Any] = _none,
        public_url: str = "",
        ticket_path: str = pages.TICKET_PATH,
        **options: Any,
    ) -> None:
        """`user`: a dependency that gives the id of who is logged in; None: nobody is. `topics`: another, that gives
        the topics they may follow. `public_url`: what browsers call the service; the same by default. `options`: of
        `Publisher`. Raises ValueError."""
        super().__init__(url, token, **options)
        self._public = pages.base(public_url or url)
        self._path = ticket_path
        self._tickets = AsyncPublisher(url, token, patience=pages.PATIENCE_SECONDS)
        self.router = APIRouter()

        who, which = Depends(user), Depends(topics)

        async def ticket(request: Request, user: Any = who, topics: Any = which) -> Response:
            found = await self._answer(user, topics, request.headers.get("Sec-Fetch-Site"))
            return Response(found.body, found.status, dict(found.headers), "application/json")

        self.router.add_api_route(ticket_path, ticket, methods=["GET"], name=_ROUTE, include_in_schema=False)

    async def _answer(self, user: Any, topics: Any, site: str | None) -> pages.Answer:
        if not pages.may_ask(site):
            return pages.FOREIGN
        if user is None:
            return pages.NOBODY
        try:
            return pages.given(await self._tickets.ticket(str(user), topics=topics), self._public)
        except ServiceError as error:
            return pages.refused(error)

    def script(self, user: str | None, nonce: str = "", request: Request | None = None) -> str:
        """The script elements of a page, as HTML: `window.push` is its connection. `request`: the page's, where the
        router has a prefix, or the application a root path."""
        path = self._path if request is None else request.url_for(_ROUTE).path
        return pages.script(self._public, path, user, nonce)

    async def close(self) -> bool:
        """See `AsyncPublisher.close`."""
        await self._tickets.close()
        return await super().close()
