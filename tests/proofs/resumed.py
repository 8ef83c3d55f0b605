"""Asks for many background responses, cuts whoever hears them at random, and kills workers meanwhile:

    python -m tests.proofs.resumed 500 20

Each response must be heard to its end, in pieces that fit together to the byte, with exactly one ending.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.support.stack import Stack

FINAL = ("response.completed", "response.failed", "response.incomplete")
AT_ONCE = 40
WORKERS = 4


def bear(call: Callable[[], httpx.Response]) -> httpx.Response:
    """The call is repeated until a worker answers it, as by a client that retries: a worker may be dying."""
    while True:
        try:
            answer = call()
            if answer.status_code < 500 and answer.status_code != 429:
                return answer
        except httpx.TransportError:
            pass
        time.sleep(random.uniform(0.1, 0.5))


def piece(stack: Stack, headers: dict[str, str], name: str, after: int) -> list[dict[str, Any]]:
    """The piece that comes until a random cut."""
    params = {"stream": "true"} | ({} if after < 0 else {"starting_after": str(after)})
    most, wire = random.randint(500, 60_000), ""
    try:
        url = f"{stack.url}/v1/responses/{name}"
        with httpx.stream("GET", url, params=params, headers=headers, trust_env=False, timeout=30) as answer:
            if answer.status_code != 200:
                time.sleep(0.2)
                return []
            for each in answer.iter_text():
                wire += each
                if len(wire) > most:
                    break
    except httpx.TransportError:
        pass
    lines = wire.rpartition("\n\n")[0].split("\n")
    found = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    return [each for each in found if "sequence_number" in each]


def one(stack: Stack, number: int) -> tuple[str, int]:
    """Begin a response and hear it; give its ending, and in how many pieces it came."""
    headers = stack.bearer(f"user{number % 50}")
    body = {"model": "mock", "input": f"question {number}", "background": True}
    keyed = headers | {"Idempotency-Key": f"key{number}"}
    begun = bear(lambda: httpx.post(f"{stack.url}/v1/responses", json=body, headers=keyed, trust_env=False, timeout=30))
    name, heard, pieces = begun.json()["id"], list[dict[str, Any]](), 0
    while not heard or heard[-1]["type"] not in FINAL:
        heard += piece(stack, headers, name, heard[-1]["sequence_number"] if heard else -1)
        pieces += 1
    assert [each["sequence_number"] for each in heard] == list(range(len(heard))), "a number is missing, or came twice"
    assert sum(each["type"] in FINAL for each in heard) == 1
    kept = bear(
        lambda: httpx.get(f"{stack.url}/v1/responses/{name}", headers=headers, trust_env=False, timeout=30)
    ).json()
    assert kept["output"] == heard[-1]["response"]["output"]
    text = "".join(each["delta"] for each in heard if each["type"] == "response.output_text.delta")
    said = "".join(part["text"] for item in kept["output"] for part in item.get("content", ()))
    assert text == said, "the text that was heard is not the one that is kept"
    assert kept["status"] == heard[-1]["response"]["status"]
    return heard[-1]["type"], pieces


def main(responses: int, kills: int) -> None:
    folder = Path(tempfile.mkdtemp())
    stack = Stack(folder, workers=WORKERS, rate_ask="off", rate_connect="off", max_connections_per_user=1000)
    over = threading.Event()

    def kill() -> None:
        for _ in range(kills):
            if over.wait(random.uniform(1.0, 3.0)):
                return
            workers = stack.pids()["gunicorn"][1:]
            if len(workers) > 1:
                stack.kill("gunicorn", slice(len(workers), len(workers) + 1))
                done.append(1)

    done: list[int] = []
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(lambda number: one(stack, number), range(responses)))
    finally:
        over.set()
        killer.join()
        stack.stop()
    endings, pieces = Counter(ending for ending, _ in found), sum(count for _, count in found)
    print(f"{len(found)} responses in {pieces} pieces, {len(done)} workers killed: {dict(endings)}")
    print("each was heard to the byte as it is kept, and has one ending")


if __name__ == "__main__":
    main(*(map(int, sys.argv[1:3] or ("500", "20"))))
