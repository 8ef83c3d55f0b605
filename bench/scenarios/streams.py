"""One stream of events that many hear."""

from __future__ import annotations

import statistics
import time

from bench.plan import Figures, Plan
from bench.programs import proc
from bench.scenarios.flow import measured_flow
from bench.subjects.servers import Floor, Pushsvc, PushsvcSwitched, Server


def fanout(server: Server, plan: Plan) -> Figures:
    """Publish to all, one event 20 times a second; then ten at a time, twice a second."""
    with server.load() as load:
        opened = load.open(int(plan.fanout * server.share))
        server.settle(opened.up)
        rate = 20 if server.share == 1 else 4
        heard, cpu_us = measured_flow(server, load, server.body, rate, plan.seconds)
        figures = {
            "connections": opened.up,
            "cpu_us": cpu_us,
            "bytes": heard.bytes / heard.deliveries,
            "events_per_second": heard.deliveries / opened.up / heard.seconds,
        }
        if server.batches:
            ten = f"[{','.join([server.body] * 10)}]"
            heard, figures["batch_cpu_us"] = measured_flow(server, load, ten, 2, plan.seconds * 0.8)
            figures["batch_bytes"] = heard.bytes / heard.deliveries
    return figures


def metrics(server: Server, plan: Plan) -> Figures:
    """All hear the events of `fanout` while metrics are switched off and on again and again, so that both have the same
    connections and moments. The ratio is the median of the pairs, one after the other, in an order that alternates."""
    assert isinstance(server, PushsvcSwitched)
    seconds = max(1.0, plan.seconds * 0.4)
    ratios = {server.body: list[float](), f"[{','.join([server.body] * 10)}]": list[float]()}
    with server.load() as load:
        server.settle(load.open(plan.fanout).up)
        for number in range(plan.pairs):
            for (body, found), rate in zip(ratios.items(), (20, 10), strict=True):
                costs = {}
                for on in (True, False) if number % 2 else (False, True):
                    server.switch(on=on)
                    _, costs[on] = measured_flow(server, load, body, rate, seconds)
                if costs[False]:  # what is short may take less time than the kernel counts
                    found.append(costs[True] / costs[False])
    one, ten = (statistics.median(found or [1.0]) for found in ratios.values())
    return {"connections": plan.fanout, "ratio": one, "batch_ratio": ten}


def latency(server: Server, plan: Plan) -> Figures:
    """Publish ten events a second to all."""
    with server.load() as load:
        server.settle(load.open(plan.latency).up)
        heard, cpu_us = measured_flow(server, load, server.body, 10, plan.seconds * 0.5)
    return {"p50_ms": heard.p50_ms, "p99_ms": heard.p99_ms, "max_ms": heard.max_ms, "cpu_us": cpu_us}


def size(server: Server, plan: Plan) -> Figures:
    """Measure the memory of idle connections; then the cost of the same number of deliveries to many, and to few."""
    figures: Figures = {}
    before = proc.uss(server.pids())
    with server.load() as load:
        figures["connections"] = load.open(int(plan.many * min(1, 2 * server.share))).up
        server.settle(int(figures["connections"]))
        figures["memory"] = (proc.uss(server.pids()) - before) / figures["connections"]
        if not isinstance(server, Pushsvc | Floor):
            return figures
        _, figures["many_cpu_us"] = measured_flow(server, load, server.body, 5, plan.seconds * 0.6)
    time.sleep(1.0)  # until those have left
    with server.load() as load:
        server.settle(load.open(plan.few).up)
        rate = 5 * plan.many / plan.few
        _, figures["few_cpu_us"] = measured_flow(server, load, server.body, rate, plan.seconds * 0.6)
    return figures


def proxied(server: Server, plan: Plan) -> Figures:
    """Publish ten events a second to all through nginx; then measure nginx's memory with more connections."""
    before = proc.uss(server.pids("nginx"))
    with server.load() as load:
        server.settle(load.open(plan.proxied).up)
        _, cpu_us = measured_flow(server, load, server.body, 10, plan.seconds * 0.6)
        opened = load.open(plan.proxied_many)
        server.settle(opened.up)
        memory = (proc.uss(server.pids("nginx")) - before) / opened.up
    return {"cpu_us": cpu_us, "nginx_memory": memory, "connections": opened.up}
