"""The bounds of a model's response, in bytes."""

from __future__ import annotations

from typing import Final

MOST_EVENT: Final = 8 * 2**20  # of a chunk: images come in one
MOST_ANSWER: Final = 16 * 2**20
MOST_REFUSAL: Final = 2**18
MOST_UNWRITTEN: Final = 2**18  # then the model has to wait for Redis
EVENT: Final = 64  # what an event takes in the log, beside what it says: so many empty ones are too long as well
