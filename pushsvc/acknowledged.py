"""What this process acknowledged, so that it notices when Redis has lost it, though nobody here was listening. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pushsvc.event import EventId


class Acknowledged:
    """The newest id in each life of the data (see lives.py) in which this process acknowledged any."""

    def __init__(self) -> None:
        self._newest: dict[bytes, EventId] = {}

    def note(self, life: bytes, event_id: EventId) -> None:
        known = self._newest.get(life)
        if known is None or event_id > known:
            self._newest[life] = event_id

    def newest(self) -> dict[bytes, EventId]:
        """By life, as of now."""
        return dict(self._newest)

    def forget(self, judged: Mapping[bytes, EventId], but: bytes) -> None:
        """These were looked at, and all of them are told or are there; the life `but` goes on."""
        for life, event_id in judged.items():
            if life != but and self._newest.get(life) == event_id:
                del self._newest[life]
