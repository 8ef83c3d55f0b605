"""The headers of requests to a model's server: the service's own, its key, and those of the settings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_OWN: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "Accept-Encoding": "identity",  # compression would delay tokens
    "User-Agent": "pushsvc",
}
_MOST_KEY_BYTES: Final = 65536
_KEY: Final = re.compile(rb"[!-~]+")  # a line break would end the header it is sent in


class NoKey(ValueError):
    """The file of the key cannot be read now, or holds no key."""


class Credentials:
    """The credentials that this service shows a model's server."""

    def __init__(self, api_key: str, file: Path | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        """`file`: of the key, read for each request, as mounted secrets change; it replaces `api_key`. `headers`: names
        and values, which replace ours of the same name."""
        self._api_key = api_key
        self._file = file
        self._headers = dict(headers)

    def headers(self, given: Mapping[str, str], *, private: bool) -> dict[str, str]:
        """The headers of a request. `given`: those of this request alone; `private`: with the key, and the headers of
        the settings, which another server must not see. Raises NoKey."""
        found = {name.lower(): (name, value) for name, value in (_OWN | dict(given)).items()}
        if private:
            own = self._headers
            if not any(name.lower() == "authorization" for name in own) and (key := self._key()):
                own = {"Authorization": f"Bearer {key}"} | own
            found |= {name.lower(): (name, value) for name, value in own.items()}
        return dict(found.values())

    def _key(self) -> str:
        if self._file is None:
            return self._api_key
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never waits
            with open(descriptor, "rb") as file:
                key = file.read(_MOST_KEY_BYTES)
        except OSError as error:
            raise NoKey(f"the file of PUSHSVC_LLM_API_KEY_FILE cannot be read: {error.strerror}") from None
        key = key.removesuffix(b"\n").removesuffix(b"\r")
        if not _KEY.fullmatch(key):
            raise NoKey("the file of PUSHSVC_LLM_API_KEY_FILE holds no key of visible ASCII characters in one line")
        return key.decode()
