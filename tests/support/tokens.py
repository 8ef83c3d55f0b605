"""Tokens and tickets, good and bad."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.support.stack import Stack

LEEWAY = 30  # seconds; the default


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def unsigned(claims: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def new_ticket(stack: Stack, headers: dict[str, str], **body: Any) -> Any:
    answer = stack.post("/tickets", body, headers)
    assert answer.status_code == 200, answer.text
    return answer.json()
