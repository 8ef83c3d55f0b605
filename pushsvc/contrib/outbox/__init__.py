"""An outbox: events are rows of the transaction that they tell of, and `pushsvc relay` publishes what was committed.

Each row has a key, and is deleted once it was published. So a relay that is killed at any moment, or works beside
others, publishes again what the service knows by its key, and nothing is heard twice.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, Final, Unpack

from pushsvc.client.items import Target, item

TABLE: Final = "pushsvc_outbox"


def row(data: Any, **target: Unpack[Target]) -> str:
    """The column `item` of an event: the JSON that will be published. Raises ValueError for a target that is missing,
    TypeError or ValueError for data that is no JSON."""
    given = item(data, **target)
    if len(given.keys() & {"user", "users", "topic", "all"}) != 1:
        raise ValueError("name exactly one of user, users, topic and all")  # here, where the mistake is
    given["key"] = given.get("key") or secrets.token_hex(16)
    return json.dumps(given, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
