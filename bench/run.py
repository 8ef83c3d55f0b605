"""Gives every server its turns, round by round, so that what else the machine does falls on all alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.plan import Faulty, Figures, Plan
from bench.programs.child import BenchError
from bench.scenarios import SCENARIOS
from bench.subjects.servers import Server


@dataclass
class Results:
    """`figures[scenario][server]` has an entry for each round, None if the turn failed; `notes` say why."""

    figures: dict[str, dict[str, list[Figures | None]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: bool = False

    def values(self, scenario: str, server: str, name: str) -> list[float | None]:
        """One figure, by round; None where a round does not have it."""
        turns = self.figures.get(scenario, {}).get(server, [])
        return [None if turn is None else turn.get(name) for turn in turns]


def run(names: Sequence[str], plan: Plan, programs: dict[str, Path], progress: Callable[[str], None]) -> Results:
    """Run all turns. Before each, `progress` is called with a description of it."""
    results = Results()
    for name in names:
        servers = SCENARIOS[name].servers
        results.figures[name] = {server.name: [] for server in servers}
        for number in range(_rounds(name, plan)):
            for server in servers if number % 2 == 0 else reversed(servers):
                progress(f"round {number + 1} of {_rounds(name, plan)}: {name}, {server.name}")
                results.figures[name][server.name].append(_turn(name, server, plan, programs, results))
    return results


def turns(names: Sequence[str], plan: Plan) -> int:
    return sum(_rounds(name, plan) * len(SCENARIOS[name].servers) for name in names)


def _rounds(name: str, plan: Plan) -> int:
    return 1 if SCENARIOS[name].once else plan.rounds


def _turn(scenario: str, kind: type[Server], plan: Plan, programs: dict[str, Path], results: Results) -> Figures | None:
    try:
        with tempfile.TemporaryDirectory(prefix="pushsvc-bench-") as folder, kind(programs, Path(folder)) as server:
            figures = SCENARIOS[scenario].measure(server, plan)
    except (BenchError, Faulty) as error:
        note = f"{kind.name}: {error}" if str(error) == "not installed" else f"{scenario}, {kind.name}: {error}"
        if note not in results.notes:
            results.notes.append(note)
        results.failed = results.failed or kind.ours
        return None
    results.notes += [f"{scenario}, {kind.name}: {fault}" for fault in server.faults]
    results.failed = results.failed or bool(server.faults)
    return figures
