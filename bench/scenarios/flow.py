"""A flow of events, and what it cost the server."""

from __future__ import annotations

import time

from bench.plan import Faulty
from bench.programs import proc
from bench.programs.load import Heard, Load
from bench.subjects.servers import Server


def measured_flow(server: Server, load: Load, body: str, rate: float, seconds: float) -> tuple[Heard, float]:
    """The results of the load, and the CPU time of all the server's processes for each delivery, in µs."""
    before = proc.cpu_seconds(server.pids())
    heard = load.flow(body, rate, seconds)
    time.sleep(0.3)  # what the server does a moment later, such as keeping positions, is part of the cost
    used = proc.cpu_seconds(server.pids()) - before
    if heard.faults():
        raise Faulty(heard.faults())
    return heard, used / heard.deliveries * 1e6
