"""Answers of a model: what the service adds to a token's latency, and the memory of an answer that waits for one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

import httpx
import orjson

from bench.plan import Figures, Plan
from bench.programs import proc
from bench.programs.asking import Asking
from bench.programs.child import BenchError
from bench.subjects.models import RATE, Answering, LiteLLM, Unsaid
from bench.subjects.servers import Server, bearer

BEGINNING_SECONDS: Final = 4  # of each answer, while the others begin
WARM: Final = 50  # answers before anything is measured
PATIENCE: Final = 30.0  # seconds


def tokens(server: Server, plan: Plan) -> Figures:
    """Measure many answers that are heard at a time; or many that nobody listens to and that wait for the model."""
    if isinstance(server, Answering):
        _warm_up(server)
    return _unsaid(server, plan.unsaid) if isinstance(server, Unsaid) else _said(server, plan)


def _said(server: Server, plan: Plan) -> Figures:
    """Cost and latency while all answers are under way, and what was lost or repeated in any of them."""
    seconds, answers = 2 * plan.seconds, max(1, int(plan.answers * server.share))
    most = int((seconds + BEGINNING_SECONDS) * RATE)
    with Asking(server.programs["ask"], server.folder, server.port, _question("speaks", most),
                server.headers(answers)) as asking:  # fmt: skip
        begun = asking.open()
        before = _cpu(server)
        heard = asking.hear(seconds)
        cpu_us = [(after - then) / heard.tokens * 1e6 for after, then in zip(_cpu(server), before, strict=True)]
        end = asking.finish()
    lost = answers * most - begun.tokens - heard.tokens - end.tokens
    repeated = begun.repeated + heard.repeated + end.repeated
    if end.complete != answers or lost or repeated:
        told = f"{end.complete} of {answers} answers came to their end, {lost} tokens lost, {repeated} repeated"
        server.faults.append(f"{told} {end.why}".strip())
    return {
        "answers": answers,
        "tokens": heard.tokens,
        "tokens_per_event": heard.tokens / heard.events,
        "p50_ms": heard.p50_ms,
        "p99_ms": heard.p99_ms,
        "max_ms": heard.max_ms,
        "cpu_us": cpu_us[0],
        "valkey_cpu_us": cpu_us[1],
        "lost": lost,
        "repeated": repeated,
        "begin_seconds": begun.seconds,
    }


def _cpu(server: Server) -> tuple[float, float]:
    """Seconds of the server's own processes, and of its Valkey."""
    if isinstance(server, Answering):
        return proc.cpu_seconds(server.processes()), proc.cpu_seconds(server.valkey())
    return proc.cpu_seconds(server.processes() if isinstance(server, LiteLLM) else server.pids()), 0.0


def _unsaid(server: Unsaid, count: int) -> Figures:
    """The memory that each waiting answer holds in the service's own processes."""
    with _client(server) as client:
        before = proc.uss(server.processes())
        for _ in range(count):
            _begin(client, server.says, 100)
        _until(lambda: len(os.listdir(f"/proc/{server.model.pid}/fd")) > count, "the model is not asked")
        time.sleep(1.0)
        return {"answers": count, "memory": (proc.uss(server.processes()) - before) / count}


def _warm_up(server: Answering) -> None:
    with _client(server) as client:
        paths = [_begin(client, "speaks", 3) for _ in range(WARM)]
        _until(lambda: all(client.get(path).json()["state"] == "completed" for path in paths), "answers do not end")


def _client(server: Answering) -> httpx.Client:
    name, _, value = bearer("asker").partition(": ")
    headers = {name: value, "Content-Type": "application/json"}
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers, trust_env=False, timeout=60)


def _begin(client: httpx.Client, model: str, most: int) -> str:
    """Begin an answer, and give its path."""
    answer = client.post("/v1/generations", content=_question(model, most))
    if answer.status_code != 202:
        raise BenchError(f"no answer is begun: {answer.status_code} {answer.text[:200]}")
    return f"/v1/generations/{answer.json()['id']}"


def _question(model: str, most: int) -> str:
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Tell me something."}]
    return orjson.dumps({"model": model, "stream": True, "max_tokens": most, "messages": messages}).decode()


def _until(reached: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            raise BenchError(otherwise)
        time.sleep(0.05)
