"""The bounds on a request. Those on its head are nginx's, too (nginx/locations.conf)."""

from __future__ import annotations

from typing import Final

# 100 topics of 100 characters are a line of 120 KB when encoded.
LONGEST_LINE: Final = 128 * 1024  # bytes, of the request line, and of a header field
LONGEST_HEAD: Final = 4 * LONGEST_LINE
MOST_FIELDS: Final = 256
HEAD_SECONDS: Final = 30  # from a request's first byte to the end of its head
# What a body may take of the time that the worker waits for it, beside the time for which it is read and worked on:
BODY_SECONDS: Final = 30  # and a second for each
BODY_BYTES: Final = 1024  # that have come
MOST_SKIPPED_BYTES: Final = 2**20  # of a body that the application did not read
