"""The two states of a Generation. Its docstring describes the transitions."""

from __future__ import annotations

import enum


class Response(enum.Enum):
    """How much of the model's response has come."""

    ASKED = "nothing yet"
    WHOLE = "a head; what follows is a document, as far as is known"
    STREAMING = "the beginning of a stream of events, as was asked for"
    REFUSED = "a head with a status that is no success"


class Life(enum.Enum):
    """How far a generation is from its end."""

    RUNNING = "its model may say more"
    ENDING = "its ending is known, and to be written"
    OVER = "its ending is written, by this worker or another"


# Module constants, because on Python 3.11 reading a member of an Enum is a call, too slow for every token.
ASKED, WHOLE, STREAMING, REFUSED = Response
RUNNING, ENDING, OVER = Life
