"""Pages of lists in the shape of OpenAI's (API reference, "Pagination")."""

from __future__ import annotations

from typing import Final

from flask import request

from pushsvc.calls.arguments import choice, number
from pushsvc.errors import Invalid
from pushsvc.llm.formats.joining import Json
from pushsvc.web.http.current import call

DEFAULT_LIMIT: Final = 20
MOST_LIMIT: Final = 100


def order(default: str) -> str:
    """The parameter `order`. Raises Invalid."""
    return choice(call(), "order", (default, "asc" if default == "desc" else "desc"))


def limit() -> int:
    """The parameter `limit`. Raises Invalid."""
    return number(call(), "limit", DEFAULT_LIMIT, 0, MOST_LIMIT)


def after(ids: list[str]) -> int:
    """The place in a list after the id that the parameter `after` names; 0 without it. Raises Invalid."""
    named = request.args.get("after")
    if not named:
        return 0
    if named not in ids:
        raise Invalid.field("after", "is not in this list.")
    return ids.index(named) + 1


def shaped(data: list[Json], *, more: bool) -> Json:
    """The page. `more`: there are others after it."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


def page(items: list[Json], default: str) -> Json:
    """The page of a list that the request asks for. `items`: oldest first; `default`: the order."""
    size = limit()
    items = items[::-1] if order(default) == "desc" else items
    rest = items[after([item["id"] for item in items]) :]
    return shaped(rest[:size], more=len(rest) > size)
