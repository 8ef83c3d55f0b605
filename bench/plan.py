"""The sizes of the scenarios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Figures = dict[str, float]


class Faulty(Exception):
    """A server lost, repeated or disordered events: its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Most fields are numbers of connections: `heard` hear events of their own at full speed, `among` at an even rate,
    and `idle`, those of `million`, are watched for `idle_seconds`. `lines` is the length of a stream of events.
    `answers` are heard at the same time, `unsaid` ones wait for their model. Events flow for `seconds`, and every
    server has its turn in each of `rounds`."""

    fanout: int = 4000
    many: int = 8000
    few: int = 400
    latency: int = 1000
    proxied: int = 2000
    proxied_many: int = 4000
    live: int = 100
    heard: int = 200
    among: int = 5000
    lines: int = 200_000
    idle: int = 200_000
    idle_seconds: float = 60.0
    answers: int = 200
    unsaid: int = 1000
    seconds: float = 5.0
    rounds: int = 5
    pairs: int = 5  # of metrics on and off, in each round

    def within(self, descriptors: int) -> Plan:
        """The plan scaled down to the files that a process may open: a proxied stream takes two, and some are kept
        for other uses."""
        room = descriptors - 500
        return Plan(
            fanout=min(self.fanout, room),
            many=min(self.many, room),
            few=min(self.few, room // 20),
            latency=min(self.latency, room // 2),
            proxied=min(self.proxied, room // 4),
            proxied_many=min(self.proxied_many, room // 2),
            live=self.live,
            heard=self.heard,
            among=min(self.among, room),
            lines=self.lines,
            idle=self.idle,
            idle_seconds=self.idle_seconds,
            answers=min(self.answers, room // 4),
            unsaid=min(self.unsaid, room // 2),
            seconds=self.seconds,
            rounds=self.rounds,
            pairs=self.pairs,
        )


QUICK: Final = Plan(
    fanout=400, many=800, few=40, latency=100, proxied=200, proxied_many=400, live=20, heard=50,
    among=400, lines=5000, idle=2000, idle_seconds=15.0, answers=20, unsaid=100, seconds=1.0, rounds=2, pairs=2,
)  # fmt: skip
