"""Events and listeners one by one: each listener is another user's, and each event is for one of them."""

from __future__ import annotations

import time

from bench.plan import Faulty, Figures, Plan
from bench.programs import proc
from bench.programs.load import Heard, Load
from bench.subjects.flasks import FlaskNothing
from bench.subjects.servers import Server


def publish(server: Server, plan: Plan) -> Figures:
    """Publish now and then among many idle listeners; then as fast as 32 publishers get answers; then a hundred events
    in each request."""
    if isinstance(server, FlaskNothing):
        with server.own_load(1) as load:
            return fast(server, load, server.to_one, plan.seconds)
    figures = _among(server, plan)
    time.sleep(2.0)  # until those have left
    with server.own_load(plan.heard) as load:
        server.settle(load.open(plan.heard).up)
        figures |= {"connections": plan.heard} | fast(server, load, server.to_one, plan.seconds)
        if server.batches:
            hundred = fast(server, load, f"[{','.join([server.to_one] * 100)}]", plan.seconds / 2)
            figures |= {f"batch_{name}": value for name, value in hundred.items()}
    return figures


def _among(server: Server, plan: Plan) -> Figures:
    before = proc.uss(server.pids())
    with server.own_load(plan.among) as load:
        server.settle(load.open(plan.among).up)
        memory = (proc.uss(server.pids()) - before) / plan.among
        load.flow(server.to_one, 300, plan.seconds / 5)  # meanwhile code is compiled and caches are filled
        heard = load.flow(server.to_one, 300, plan.seconds)
        _check(heard)
    return {"memory": memory, "p50_ms": heard.p50_ms, "p99_ms": heard.p99_ms, "max_ms": heard.max_ms}


def fast(server: Server, load: Load, body: str, seconds: float) -> Figures:
    """The CPU time of all the server's processes for each event in µs, and events a second."""
    load.flow(body, 0, seconds / 5, publishers=32)
    before = proc.cpu_seconds(server.pids())
    heard = load.flow(body, 0, seconds, publishers=32)
    time.sleep(0.3)  # what the server does a moment later is part of the cost
    used = proc.cpu_seconds(server.pids()) - before
    _check(heard)
    events = heard.posts * body.count("@DATA@")
    return {"cpu_us": used / events * 1e6, "per_second": events / heard.seconds}


def _check(heard: Heard) -> None:
    if heard.faults():
        raise Faulty(heard.faults())


def join(server: Server, plan: Plan) -> Figures:
    """Connect users who have missed nothing."""
    with server.own_load(plan.fanout) as load:
        before = proc.cpu_seconds(server.pids())
        opened = load.open(plan.fanout)
        used = proc.cpu_seconds(server.pids()) - before
    return {
        "connections": opened.up,
        "connects_per_second": opened.up / opened.seconds,
        "connect_cpu_us": used / opened.up * 1e6,
    }


def ndjson(server: Server, plan: Plan) -> Figures:
    """Publish many lines in one request, each for one listener, and watch the worker's memory meanwhile."""
    with server.own_load(plan.heard) as load:
        server.settle(load.open(plan.heard).up)
        load.flow(server.to_one, 0, 1, publishers=4)
        pids = server.pids()
        valkey = server.pids("valkey-server")
        worker = [pid for pid in pids if pid not in valkey]
        before, cpu = proc.uss(worker), (proc.cpu_seconds(worker), proc.cpu_seconds(valkey))
        load.begin_lines(server.to_one, plan.lines)
        most = before
        while not load.ready(0.25):
            most = max(most, proc.uss(worker))
        heard = load.answer()
        time.sleep(0.3)
        used = proc.cpu_seconds(worker) - cpu[0], proc.cpu_seconds(valkey) - cpu[1]
    _check(heard)
    return {
        "events": heard.deliveries,
        "cpu_us": sum(used) / heard.deliveries * 1e6,
        "valkey_cpu_us": used[1] / heard.deliveries * 1e6,
        "per_second": heard.deliveries / heard.seconds,
        "growth": most - before,
    }
