"""The states of a Generation. Its docstring describes the transitions."""

from __future__ import annotations

import enum


class Life(enum.Enum):
    """The distance of a generation from its end."""

    RUNNING = "its model may say more"
    ENDING = "its ending is known, and to be written"
    OVER = "its ending is written, by this worker or another"


# Module constants, because on Python 3.11 reading a member of an Enum is a call, too slow for every token.
RUNNING, ENDING, OVER = Life
