"""Sends mutated streams of requests to nginx and to a worker alone, and says what they did that they should not.

    python -m tests.proofs.fuzz [--seconds N] [--seed S] [--only CASE]

Each case is a stream of good requests that was changed at random, on a connection of its own, and then a good request
on another. Looked for: a status of 5xx (503 is counted, 501 and 505 are refusals), an answer that is malformed or cut,
a good request that is not answered as it should be, as many publications in the log as were answered, a connection
that hangs, a traceback. Exits with 1 if there was one. The same seed gives the same cases.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from tests.support.clients.eventsource import until
from tests.support.clients.fuzzing.mutated import Corpus, mutate
from tests.support.clients.wire import Answer, read_answer, request
from tests.support.stack import Stack

ROUND: Final = 500  # cases between two counts of the log
DEADLINE: Final = 20.0  # seconds, after which a connection hangs
PATIENCE: Final = 0.05  # seconds for the next answer before the client says that it sends no more
THREADS: Final = 16
DOORS: Final = ("worker", "nginx", "worker, streams of events", "nginx, streams of events")
OTHERS: Final = 4  # good requests that are answered before a client of nginx gives up
FINE: Final = (501, 503, 505)  # two refusals for good, and one for now
_BEYOND: Final = re.compile(rb"[\x80-\xff]")
_TRAILER: Final = re.compile(
    rb"((?:\A|\r\n)0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*?)(Content-Length|Transfer-Encoding|Connection|Upgrade)(?=:)",
    re.IGNORECASE,
)
_ADDED: Final = b'"duplicate":false'


class Outcome(NamedTuple):
    """The outcome of a case. `found`: what is wrong; `added`: publications that were answered; `certain`: there is an
    answer to all that the server did; `busy`: answers of 503."""

    found: list[str]
    added: int
    certain: bool
    busy: int


class Fuzz:
    """A stack that is fuzzed."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self._stack = stack
        self._seed = seed
        self._bearer = stack.bearer("fuzz", ttl=30 * 86400, publish=["*"], subscribe=["*"])["Authorization"]
        self._corpus = Corpus("fuzz", self._bearer)

    def round(self, first: int, door: str) -> tuple[list[str], int]:
        """Run cases. Gives what was found, and the number of temporary refusals."""
        before = self._logged()
        with ThreadPoolExecutor(THREADS) as threads:
            outcomes = list(threads.map(lambda number: self.case(number, door), range(first, first + ROUND)))
        found = [f"case {first + place} ({door}): {each}" for place, one in enumerate(outcomes) for each in one.found]
        added = sum(one.added for one in outcomes)
        # Events that had come before a stream of them broke off are kept, whether or not they were answered.
        lost = sum(not one.certain for one in outcomes) * 20 if "streams" in door else 0
        with suppress(AssertionError):
            until(lambda: added <= self._logged() - before <= added + lost, "the count")
        logged = self._logged() - before
        if not added <= logged <= added + lost:
            found.append(f"cases {first} to {first + ROUND - 1} ({door}): {added} answered, {logged} in the log")
        return found, sum(one.busy for one in outcomes)

    def bytes_of(self, number: int, door: str) -> list[bytes]:
        """The pieces that a case sends."""
        chance = random.Random(f"{self._seed}/{number}")
        seeds = self._corpus.lines if "streams" in door else self._corpus.ordinary
        if "streams" not in door and chance.random() < 0.2:
            seeds = self._corpus.smuggled
        raw = mutate(chance, chance.choice(seeds), seeds)
        if chance.random() < 0.5:
            raw += request("GET /healthz", "Connection: close")
        if chance.random() < 0.8:
            return [raw]
        places = sorted(chance.randrange(len(raw) + 1) for _ in range(chance.choice((1, 2, 5))))
        return [raw[begin:end] for begin, end in zip([0, *places], [*places, len(raw)], strict=True)]

    def case(self, number: int, door: str) -> Outcome:
        """Run one case."""
        pieces = self.bytes_of(number, door)
        found: list[str] = []
        try:
            with socket.create_connection(self._address(door), timeout=DEADLINE) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                with suppress(BrokenPipeError, ConnectionResetError):
                    for piece in pieces:
                        client.sendall(piece)
                raw, others, by_server = self._heard(client, door, found)
        except TimeoutError:
            return Outcome([*found, "hangs"], 0, False, 0)
        answers, problem = _read(raw, door)
        found += [problem] if problem else []
        found += [f"status {each.status}" for each in answers if each.status >= 500 and each.status not in FINE]
        if door.startswith("worker"):
            found += [f"cut: {each}" for each in answers if _is_cut(each)]
            if len(answers) > (most := _complete(b"".join(pieces)) + 1):
                found.append(f"{len(answers)} answers to {most - 1} requests and at most one that is broken")
        added = others + sum(each.body.count(_ADDED) for each in answers)
        certain = bool(answers) and all(each.whole for each in answers) and (by_server or door.startswith("worker"))
        return Outcome(found, added, certain, sum(each.status == 503 for each in answers))

    def _heard(self, client: socket.socket, door: str, found: list[str]) -> tuple[bytes, int, bool]:
        """All that comes; how many good requests were served meanwhile; and whether the server ended the connection by
        itself. A worker answers a client that says that it sends no more. nginx may drop what is under way for such a
        client, so it is told only after nothing has come several times."""
        raw, address, patience = b"", self._address(door), OTHERS if door.startswith("nginx") else 0
        for silent in range(patience + 1):
            found += self._good(address, f"other{silent}")
            client.settimeout(PATIENCE if silent < patience else DEADLINE)
            try:
                if silent == patience:
                    client.shutdown(socket.SHUT_WR)
                while piece := client.recv(65536):
                    raw += piece
                return raw, silent + 1, silent < patience
            except TimeoutError:
                if silent == patience:
                    raise
            except OSError:  # reset, or closed before
                return raw, silent + 1, silent < patience
        raise AssertionError

    def _good(self, address: tuple[str, int], user: str) -> list[str]:
        """Send a request on a connection of its own. Gives what is wrong with its answer."""
        fields = "Content-Type: application/json", f"Authorization: {self._bearer}", "Connection: close"
        asked = request("POST /publish", *fields, body=orjson.dumps({"users": [user], "data": "-"}))
        with socket.create_connection(address, timeout=DEADLINE) as client, client.makefile("rb") as file:
            client.sendall(asked)
            answer = read_answer(file)
        right = answer and answer.status == 200 and orjson.loads(answer.body)["results"][0]["user"] == user
        return [] if right else [f"a good request was answered {answer}"]

    def _address(self, door: str) -> tuple[str, int]:
        host, port = str(self._stack.settings["app" if door.startswith("worker") else "http"]).split(":")
        return host, int(port)

    def _logged(self) -> int:
        """Events in the log: each has drawn an id."""
        [clock] = self._stack.redis.keys("*:clock")
        added: int = self._stack.redis.xinfo_stream(clock)["entries-added"]
        return added


def _read(raw: bytes, door: str) -> tuple[list[Answer], str | None]:
    """The final answers in these bytes, and what is wrong with the last."""
    file, answers = io.BytesIO(raw), list[Answer]()
    while True:
        place = file.tell()
        try:
            answer = read_answer(file)
        except (AssertionError, ValueError) as error:
            rest = raw[place:]
            if door.startswith("nginx") and rest[:1] in b"{r<":  # without a head, to HTTP/0.9
                return [*answers, Answer(200, {}, rest)], None
            return answers, None if door.startswith("nginx") and rest.isspace() else f"malformed answer: {error}"
        if answer is None:
            return answers, None
        if answer.status >= 200:
            answers.append(answer)


class _Counter:
    """The callbacks of the parser in C."""

    def __init__(self) -> None:
        self.complete = 0

    def on_message_complete(self) -> None:
        self.complete += 1


def _complete(raw: bytes) -> int:
    """The number of whole requests that the parser in C finds before it finds a fault. It takes letters beyond ASCII in
    a target, and some trailers, for faults, which they are not."""
    counter = _Counter()
    try:
        HttpRequestParser(counter).feed_data(_without_faulty_trailers(_BEYOND.sub(b"a", raw)))
    except HttpParserUpgrade as stopped:
        return counter.complete + _complete(raw[stopped.args[0] :])
    except HttpParserError:
        pass
    return counter.complete


def _without_faulty_trailers(raw: bytes) -> bytes:
    """The same bytes with other names for those trailers. Each round finds the first of each body."""
    while (changed := _TRAILER.sub(lambda found: found[1] + b"X" * len(found[2]), raw)) != raw:
        raw = changed
    return raw


def _is_cut(answer: Answer) -> bool:
    """Whether the answer was cut short. Streams may end so."""
    kind = answer.fields.get("content-type", "").partition(";")[0]
    return not answer.whole and kind not in ("text/event-stream", "application/x-ndjson")


def run(stack: Stack, seconds: float, seed: int) -> int:
    """Fuzz for so long. Gives the number of findings."""
    fuzz = Fuzz(stack, seed)
    began, number, findings, busy = time.monotonic(), 0, 0, 0
    while time.monotonic() - began < seconds:
        door = DOORS[number // ROUND % len(DOORS)]
        found, refused = fuzz.round(number, door)
        number, findings, busy = number + ROUND, findings + len(found), busy + refused
        for each in found:
            print(each[:2000], flush=True)
        if "Traceback" in stack.output or "Error handling request" in stack.output:
            print(f"a traceback, by case {number}:\n{stack.output[-3000:]}", flush=True)
            findings, stack.output = findings + 1, ""
    took = time.monotonic() - began
    print(f"{number} cases in {took:.0f} s, {number / took:.0f} a second; {findings} findings; {busy} answers of 503")
    return findings


def main() -> int:
    """Start a stack, and fuzz it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one case: print what it sends, and what came of it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pushsvc-fuzz-") as folder:
        stack = Stack(Path(folder), workers=1)
        try:
            if chosen.only is None:
                return int(run(stack, chosen.seconds, chosen.seed) > 0)
            fuzz, door = Fuzz(stack, chosen.seed), DOORS[chosen.only // ROUND % len(DOORS)]
            print(*fuzz.bytes_of(chosen.only, door), sep="\n")
            print(fuzz.case(chosen.only, door))
            return 0
        finally:
            stack.stop()


if __name__ == "__main__":
    sys.exit(main())
