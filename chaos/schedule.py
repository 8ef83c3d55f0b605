"""The schedule of faults: everything random comes from one seed, so that a run can be repeated."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

TOGETHER_SECONDS: Final = 3.0  # within which the faults of one step begin
CALM_SECONDS: Final = (0.5, 3.0)  # between two steps


@dataclass(frozen=True)
class Blow:
    """One fault of a step, so many seconds after the step began. `seed` decides its details."""

    fault: str
    after: float
    seed: int


@dataclass(frozen=True)
class Step:
    name: str
    blows: Sequence[Blow]
    calm: float  # seconds after it, once the service is ready again


def steps(seed: int, faults: Sequence[str], count: int) -> list[Step]:
    """The first `count` steps: every fault alone, every pair, all together, and then all that again. Single faults and
    pairs are shuffled each time."""
    chance = random.Random(seed)
    return [_step(names, chance) for names in itertools.islice(_rounds(sorted(faults), chance), count)]


def whole(faults: int) -> int:
    """The number of steps in one round."""
    pairs = faults * (faults - 1) // 2
    return faults + pairs + (faults > 2)


def _rounds(faults: Sequence[str], chance: random.Random) -> Iterator[Sequence[str]]:
    while True:
        for size in (1, 2):
            sets = list(itertools.combinations(faults, size))
            chance.shuffle(sets)
            yield from sets
        if len(faults) > 2:
            yield faults


def _step(names: Sequence[str], chance: random.Random) -> Step:
    late = 0.0 if len(names) == 1 else TOGETHER_SECONDS
    blows = [Blow(name, chance.uniform(0, late), chance.getrandbits(32)) for name in names]
    title = " + ".join(names) if len(names) < 3 else "all together"
    return Step(title, blows, chance.uniform(*CALM_SECONDS))
