"""The bounds of a model's response, in bytes, and of its writes."""

from __future__ import annotations

from typing import Final

MOST_EVENT: Final = 8 * 2**20  # of a chunk; an image comes in one
MOST_ANSWER: Final = 16 * 2**20
MOST_UNASKED: Final = 4 * MOST_ANSWER  # as a stream that is to be joined: each token has a chunk around it
MOST_REFUSAL: Final = 2**18
MOST_UNWRITTEN: Final = 2**18  # if more waits for Redis, reading from the model is paused
EVENT: Final = 64  # added for each event, which takes memory in the log even if it is empty
WRITES: Final = 10**9  # numbers of writes that each worker has that makes the answer; see say.lua
