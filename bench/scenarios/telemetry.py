"""The cost of telling of requests and events: log lines, and spans."""

from __future__ import annotations

from bench.plan import Figures, Plan
from bench.scenarios.flow import measured_flow
from bench.scenarios.ones import fast
from bench.subjects.servers import Server


def telemetry(server: Server, plan: Plan) -> Figures:
    """Publishes are made as fast as answers come, as in `publish`; then all hear one stream, as in `fanout`."""
    with server.own_load(plan.heard) as load:
        server.settle(load.open(plan.heard).up)
        figures = {"connections": plan.heard} | fast(server, load, server.to_one, plan.seconds)
    with server.load() as load:
        server.settle(load.open(plan.fanout).up)
        _, figures["delivery_cpu_us"] = measured_flow(server, load, server.body, 20, plan.seconds)
    return figures
