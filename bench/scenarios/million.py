"""Idle listeners, as many as the machine has room for, each another user's: what each costs, and how soon they hear."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import ceil
from typing import Final

import httpx

from bench.plan import Faulty, Figures, Plan
from bench.programs import proc
from bench.programs.load import Load
from bench.subjects.servers import PushsvcOften, bearer

MOST: Final = 18_000  # connections of a process, which may open 20 000 files on many machines
PACE: Final = 200  # connections under way
ONES: Final = 1000
TO_ALL, TO_ONES = 1, 2  # phases


def million(server: PushsvcOften, plan: Plan) -> Figures:
    """Measure with one client process for each worker, to which it connects directly."""
    ports = server.serve(max(2, ceil(plan.idle / MOST)))
    bounds = [plan.idle * number // len(ports) for number in range(len(ports) + 1)]
    shares = [range(first, end) for first, end in pairwise(bounds)]
    with ExitStack() as running:
        loads = [running.enter_context(_load(server, *each)) for each in zip(ports, shares, strict=True)]
        before = _memory(server)
        connect = _connect(loads, shares)
        server.settle(plan.idle)
        cpu = proc.cpu_seconds(server.pids())
        time.sleep(plan.idle_seconds)
        idle = proc.cpu_seconds(server.pids()) - cpu
        memory = [(after - then) / plan.idle for after, then in zip(_memory(server), before, strict=True)]
        to_all = _heard(loads, [len(share) for share in shares], TO_ALL, partial(_post, server, ['"all":true']))
        ones = range(0, plan.idle, ceil(plan.idle / ONES))
        expected = [sum(user in share for user in ones) for share in shares]
        to_ones = _heard(loads, expected, TO_ONES, partial(_post, server, [f'"user":"u{user}"' for user in ones]))
    return {
        "connections": plan.idle,
        "workers": len(ports),
        "connect_seconds": connect,
        "bare_memory": before[0] / len(ports),
        "worker_memory": memory[0],
        "valkey_memory": memory[1],
        "memory": memory[0] + memory[1],
        "kernel_memory": memory[2],
        "cpu_us": idle / plan.idle_seconds / plan.idle * 1e6,
        "all_seconds": to_all,
        "ones_seconds": to_ones,
    }


def _load(server: PushsvcOften, port: int, users: range) -> Load:
    target = replace(server.target(), port=port, stream=server.own)
    return Load(server.programs["load"], server.folder, target, [bearer(f"u{user}") for user in users])


def _memory(server: PushsvcOften) -> tuple[int, int, int]:
    """The bytes that the workers, Valkey and the kernel hold."""
    valkey = server.pids("valkey-server")
    workers = [pid for pid in server.pids() if pid not in valkey]
    return proc.uss(workers), proc.uss(valkey), proc.kernel_bytes()


def _connect(loads: Sequence[Load], shares: Sequence[range]) -> float:
    """Open all connections; gives the seconds until all are up."""
    began = time.monotonic()
    for load, share in zip(loads, shares, strict=True):
        load.begin_open(len(share), max(1, PACE // len(loads)))
    for load, share in zip(loads, shares, strict=True):
        load.end_open(len(share))
    return time.monotonic() - began


def _heard(loads: Sequence[Load], expected: Sequence[int], phase: int, publish: Callable[[str], None]) -> float:
    """The seconds from the publish to the last of the expected deliveries. Raises Faulty if one is missing or wrong."""
    for load in loads:
        load.listen(phase)
    for load, deliveries in zip(loads, expected, strict=True):
        load.begin_hear(deliveries)
    publish(f"p={phase:02d} n=000000 t={time.monotonic_ns():019d} ".ljust(83, "x"))
    heard = [load.answer() for load in loads]
    faults = [told.faults() for told in heard if told.faults()]
    if faults:
        raise Faulty("; ".join(faults))
    return max(told.max_ms for told in heard) / 1000


def _post(server: PushsvcOften, whom: Sequence[str], data: str) -> None:
    """Publish one event with this data to each of `whom`, a hundred in a request."""
    name, _, value = bearer("publisher", "*").partition(": ")
    headers = {name: value, "Content-Type": "application/json"}
    with httpx.Client(headers=headers, trust_env=False, timeout=60) as client:
        for first in range(0, len(whom), 100):
            events = [f'{{{each},"data":"{data}"}}' for each in whom[first : first + 100]]
            answer = client.post(f"http://127.0.0.1:{server.port}/publish", content=f"[{','.join(events)}]")
            if answer.status_code != 200 or b"error" in answer.content:
                raise Faulty(f"a publish was refused: {answer.text[:200]}")
