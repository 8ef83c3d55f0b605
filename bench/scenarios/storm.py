"""The replay storm: all come back at once, and each is owed ten events of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import httpx

from bench.plan import Faulty, Figures, Plan
from bench.programs import proc
from bench.programs.load import Load
from bench.scenarios.flow import measured_flow
from bench.subjects.servers import Pushsvc, bearer

MISSED: Final = 10  # events for each
MISSED_PHASE: Final = 99  # the phase of the missed events
LIVE_PHASE: Final = 50
PUBLISHERS: Final = 16  # of the live flow: enough that a request that waits does not hold up the next
LIVE: Final = '{"topic":"live","data":"@DATA@"}'
TO_ALL: Final = '{"all":true,"data":"@DATA@"}'


def storm(server: Pushsvc, plan: Plan) -> Figures:
    """Measure the storm; before it, memory and the cost of a delivery when every connection is another user's."""
    with _live(server, plan.live) as live, server.load(users=plan.many) as load:
        before = proc.uss(server.pids())
        server.settle(load.open(plan.many).up)
        memory = (proc.uss(server.pids()) - before) / plan.many
        _, cpu_us = measured_flow(server, load, TO_ALL, 5, plan.seconds * 0.4)  # gives everybody an id to resume from
        load.close()
        _publish_missed(server, plan.many)
        figures = _come_back(server, load, live, plan.many)
    return figures | {"own_users_memory": memory, "own_users_cpu_us": cpu_us}


def _live(server: Pushsvc, count: int) -> Load:
    """Other users, who stay connected."""
    target = replace(server.target(), stream="/events?since=now&topics=live")
    headers = [bearer(f"live{number}") for number in range(count)]
    load = Load(server.programs["load"], server.folder, target, headers, phase=LIVE_PHASE - 1)
    load.open(count)
    return load


def _publish_missed(server: Pushsvc, users: int) -> None:
    name, _, value = bearer("publisher", "*").partition(": ")
    with httpx.Client(headers={name: value}, trust_env=False, timeout=60) as client:
        for first in range(0, users, 100):
            batch = list(_missed(range(first, min(first + 100, users))))
            answer = client.post(f"http://127.0.0.1:{server.port}/publish", json=batch)
            if answer.status_code != 200 or b"error" in answer.content:
                raise Faulty(f"a batch was refused: {answer.text[:200]}")


def _missed(users: range) -> Iterator[dict[str, str]]:
    for number in range(MISSED):
        for user in users:
            yield {"user": f"u{user}", "data": f"p={MISSED_PHASE} n={number:06d} ".ljust(83, "x")}


def _come_back(server: Pushsvc, load: Load, live: Load, users: int) -> Figures:
    before = _calls(server)
    live.begin_flow(LIVE, 20, publishers=PUBLISHERS)
    back = load.resume(MISSED_PHASE, MISSED, pace=users)
    heard = live.end_flow()
    after = _calls(server)
    server.faults += [f"{who}: {said.faults()}" for who, said in (("storm", back), ("live", heard)) if said.faults()]
    return {
        "connections": users,
        "storm_seconds": back.seconds,
        "storm_lost": back.lost,
        "storm_repeated": back.repeated,
        "storm_disorder": back.disorder,
        "storm_failed": back.failed,
        "storm_reconnects": back.reconnects,
        "live_wrong": heard.lost + heard.repeated + heard.disorder + heard.dropped,
        "live_refused": heard.refused,
        "live_p50_ms": heard.p50_ms,
        "live_p99_ms": heard.p99_ms,
        "live_max_ms": heard.max_ms,
        "live_samples": heard.deliveries,
        **{f"redis_{name}": count - before.get(name, 0) for name, count in after.items()},
    }


def _calls(server: Pushsvc) -> dict[str, int]:
    """The number of calls of each command, also by scripts."""
    stats: Any = server.redis().info("commandstats")
    return {name.removeprefix("cmdstat_"): int(entry["calls"]) for name, entry in stats.items()}
