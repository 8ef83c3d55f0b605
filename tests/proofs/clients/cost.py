"""The cost of the Python client: `python -m tests.proofs.clients.cost`. Its import, a publish beside the bare request
that it makes, and the events of one stream, straight to a worker and through nginx; rounds alternate, medians count."""

from __future__ import annotations

import http.client
import json
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pushsvc.client import Publisher
from tests.support.stack import ROOT, Stack

ROUNDS: Final = 7
PUBLISHES: Final = 1000
EVENTS: Final = 50_000
IMPORTS: Final = 15


def import_ms() -> float:
    """CPU of the import, without that of the interpreter's own start."""

    def cost(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    costs = [(cost("import pushsvc.client"), cost("pass")) for _ in range(IMPORTS)]
    return 1000 * (statistics.median(each[0] for each in costs) - statistics.median(each[1] for each in costs))


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def publish_ratio(stack: Stack) -> tuple[float, float]:
    """A publish, as times a bare request with the same body; and the bare one in µs."""
    token = stack.token(publish=["*"])
    connection = http.client.HTTPConnection(str(stack.settings["app"]))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def bare() -> None:
        for number in range(PUBLISHES):
            body = json.dumps({"user": "alice", "data": number, "key": secrets.token_hex(16)})
            connection.request("POST", "/publish", body, headers)
            connection.getresponse().read()

    with Publisher(stack.app_url, token) as push:

        def ours() -> None:
            for number in range(PUBLISHES):
                push.publish(number, user="alice")

        bare()
        ours()
        pairs = [(seconds(ours), seconds(bare)) for _ in range(ROUNDS)]
    connection.close()
    base = statistics.median(each[1] for each in pairs)
    return statistics.median(each[0] / each[1] for each in pairs), 1e6 * base / PUBLISHES


def streamed(stack: Stack, url: str) -> float:
    """Events a second."""

    def work() -> None:
        with push.stream() as stream:
            for number in range(EVENTS):
                stream.publish(number, user="alice")

    with Publisher(url, stack.token(publish=["*"])) as push:
        return EVENTS / seconds(work)


def main() -> None:
    print(f"import pushsvc.client     {import_ms():6.1f} ms of CPU   (at most 60)")
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), workers=1)
        try:
            ratio, base = publish_ratio(stack)
            print(f"publish                   {ratio:6.2f} of a bare request of {base:.0f} µs   (at most 1.2)")
            rounds = [(streamed(stack, stack.app_url), streamed(stack, stack.url)) for _ in range(ROUNDS)]
        finally:
            stack.stop()
    for name, rates in zip(("to the worker", "through nginx"), zip(*rounds, strict=True), strict=True):
        median, least = statistics.median(rates), min(rates)
        print(f"stream {name}      {median:6.0f} events/s, at least {least:.0f}   (at least 20000)")


if __name__ == "__main__":
    main()
