"""The recognition of a question that is asked once more: by its `Idempotency-Key`, or as a retry by OpenAI's
clients."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

RETRY_SECONDS: Final = 600  # how long an answer that was asked for whole can be joined; after that nobody retries


class RepeatKey(NamedTuple):
    """The key of a question. `word`: equal for repeats of it by one user; `seconds`: how long it is remembered, None:
    as the settings say; `first`: the question is new, whoever had the key before; `given`: by the client, which can use
    it again."""

    word: str
    seconds: int | None = None
    first: bool = False
    given: bool = True


def key_of(given: str | None, body: bytes, *, whole: bool, retries: str) -> RepeatKey | None:
    """The key of a question. None: it has none. `given`: the client's; `whole`: the answer is to come in one piece;
    `retries`: the header `x-stainless-retry-count`. A client that waited in vain and closed the connection cannot know
    that its answer is still being made; its retry, with the same body, is to join that."""
    if given is not None:
        return RepeatKey(given)
    if not whole:
        return None
    first = not retries.strip().isdecimal() or not int(retries.strip()[:9])
    # No client can give such a word, as keys have no control characters.
    return RepeatKey(f"\0{hashlib.sha256(body).hexdigest()}", RETRY_SECONDS, first, given=False)
