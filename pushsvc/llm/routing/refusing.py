"""What a refusal by a model's server means: whether another is asked, and when the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OF_QUESTION: Final = frozenset({403, 404})  # statuses of which another may differ, but the same will not
RETRIED: Final = OF_QUESTION | {401, 408, 425, 429, 500, 502, 503, 504, 529}  # all of which another may differ


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds for which the server wants to be left alone."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        said = headers.get(name, "")
        if said.isdecimal() and len(said) < 9:
            return int(said) / unit
    return None
