"""Sends well-formed requests with odd values to each call of the API, through nginx and to a worker, and says what was
answered that should not be.

    python -m tests.proofs.fuzz_calls [--cases N] [--seed S] [--only CASE]

The calls and their parameters are those of the OpenAPI document. Looked for: a status of 5xx other than 501, 505 and
507, a call without an answer, a traceback. Exits with 1 if there was one. The same seed gives the same cases.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson

from pushsvc.web.openapi.operations import OPERATIONS
from tests.support.clients.wire import request
from tests.support.models.model import Model
from tests.support.stack import Stack

ROUND: Final = 500  # cases between two looks for a traceback
DEADLINE: Final = 20.0  # seconds for an answer to begin
MOMENT: Final = 0.3  # seconds, for a long poll: it may rightly wait for longer
THREADS: Final = 8
DOORS: Final = ("app", "http")
FINE: Final = (501, 505, 507)  # refusals
HUGE: Final = "9" * 30
IDS: Final = [
    *("0-0", "0-1", "1-0", "-", "~", "0-0~", "1-1~proof", "1-1~~", "1-1~a~b", f"{2**64 - 1}-{2**64 - 1}", f"{2**64}-0"),
    *("0", "-1", "1.0-1", "01-01", " 1-1", "1-1\n", f"{HUGE}-{HUGE}", "a:1-1", "0:1-1,1:2-2", "0:1-1.1:2-2", "1-1_2-2"),
    *("00000000000000000000-0", "\u0661-\u0661", "1-1,1-1", "1-1:", "9223372036854775807-1", "9223372036854775808-1"),
]
WORDS: Final = [
    *(
        "",
        "now",
        "unread",
        "earliest",
        "auto",
        "manual",
        "event",
        "comment",
        "id",
        "true",
        "null",
        "*",
        "user:",
        "topic:",
    ),
    *(
        "user:fuzz",
        "topic:a",
        "topic:*",
        "a,b",
        ",",
        ",,a",
        "fuzz",
        "answer:x",
        "gen-1",
        "..",
        "../..",
        "%",
        "%zz",
        "\0",
    ),
    *("\u00e4", "\ud800", "\U0001f600", "\u202e", "a" * 101, "b" * 3000, "{}", "[]", "'\"", "\r\nX: y", "{tag}", "+"),
]
NUMBERS: Final = [
    "0",
    "1",
    "-1",
    "1000",
    "1001",
    HUGE,
    f"-{HUGE}",
    "1e309",
    "nan",
    "inf",
    "0x1",
    "1_0",
    "\u0663",
    "1.5",
]
TEXTS: Final = [*IDS, *WORDS, *NUMBERS]
LEAVES: Final[list[Any]] = [None, True, 0, -1, 2**63, 2**64, 10**30, 1.5, 1e308, [], {}, "", "\ud800", "\0"]
MEMBERS: Final = (
    *("user", "users", "topic", "topics", "data", "event", "id", "key", "ttl", "retry", "idempotency_key", "silent"),
    *("model", "messages", "role", "content", "stream", "stream_options", "n", "max_tokens", "temperature", "channel"),
    *("channels", "publish", "subscribe", "last_event_id", "since", "tools", "metadata", "stop", "store", "generation"),
)
# What is good for parameters and bodies, so that a case with one odd value comes as far as that. No case names the user
# of all cases where it would cut them off.
GOOD: Final = {
    "channel": "user:fuzz", "topics": "a,b", "limit": "5", "since": "now", "user": "someone", "topic": "a", "jti": "j",
    "after": "1-0", "before": "9-0", "last_event_id": "1-0", "name": "m", "generation_id": "gen-1", "wait": "0.1",
}  # fmt: skip
_ASKED: Final = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BODIES: Final[dict[str, dict[str, Any]]] = {
    "/publish": {"user": "fuzz", "data": "-"}, "/tickets": {"user": "fuzz"}, "/ack": {"id": "1-0"},
    "/v1/chat/completions": _ASKED, "/v1/generations": _ASKED,
}  # fmt: skip
FIELDS: Final = ("Last-Event-ID", "Idempotency-Key", "Accept", "Accept-Encoding", "Origin", "Cookie", "If-None-Match")
OFFERS: Final = [
    *("text/event-stream", "*/*;q=0", "a/b;q=x", "gzip;q=0, *", "br, zstd;q=1.0001", ",", "application/json;q=nan"),
    *("http://[", "null", "https://a.example:99999", "pushsvc=x; pushsvc=y", "=", "a" * 4000, 'W/"x"', "q=" * 500),
]


class Calls:
    """A stack whose calls are tried."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self._stack, self._seed = stack, seed
        rights: dict[str, Any] = {"publish": ["*"], "subscribe": ["*"], "ttl": 30 * 86400}
        self._bearers = [
            f"Bearer {stack.token('fuzz', **rights)}", f"Bearer {stack.token('fuzz', admin=True, **rights)}",
            f"Bearer {stack.token(None, **rights)}", f"Bearer {stack.token('other')}", "Bearer x.y.z", "Basic \xff", "",
        ]  # fmt: skip
        self._calls = sorted(OPERATIONS)
        self.answers: Counter[int] = Counter()  # by status

    def bytes_of(self, number: int) -> bytes:
        """The bytes that a case sends."""
        chance = random.Random(f"{self._seed}/{number}")
        call, method = chance.choice(self._calls)
        path = call
        while "{" in path:
            begin, _, rest = path.partition("{")
            name, _, rest = rest.partition("}")
            value = GOOD.get(name, "") if chance.random() < 0.5 else chance.choice(TEXTS)
            path = begin + _quoted(chance, value) + rest
        named = [each["name"] for each in OPERATIONS[call, method].get("parameters", ()) if each["in"] == "query"]
        names = [*named, *named, *named, "ticket", "after", "limit", "last_event_id", "odd"]
        asked = [(chance.choice(names), chance.choice(TEXTS)) for _ in range(chance.choice((0, 1, 1, 2, 3, 6)))]
        needed = [each for each in named if chance.random() < 0.5 and each in GOOD and each not in dict(asked)]
        if "channel" in named and "channel" not in dict(asked):
            needed.append("channel")
        asked += [(name, GOOD[name]) for name in needed]
        query = "&".join(f"{name}={_quoted(chance, value)}" for name, value in asked)
        bearer = chance.choices(self._bearers, [8, 4, 2, 2, 1, 1, 1])[0]
        fields = [f"Authorization: {bearer}"] if bearer else []
        for _ in range(chance.choice((0, 0, 1, 2))):
            value = chance.choice([*TEXTS, *OFFERS]).encode("utf-8", "surrogatepass").decode("latin-1")
            fields.append(f"{chance.choice(FIELDS)}: {''.join(each for each in value if each.isprintable())}")
        body = self._body(chance, call) if method in ("post", "put", "patch") or chance.random() < 0.05 else b""
        if body:
            kinds = ["application/json"] * 6 + ["application/x-ndjson", "text/plain", "application/json; charset=x", ""]
            fields.append(f"Content-Type: {chance.choice(kinds)}")
        line = f"{method.upper()} {path}{'?' if query else ''}{query}"
        return request(line, *fields, "Connection: close", body=body)

    def _body(self, chance: random.Random, call: str) -> bytes:
        good = BODIES.get(call, {}) if chance.random() < 0.7 else {}
        values = [_value(chance, 0) for _ in range(chance.choice((1, 1, 1, 3)))]
        raw = b"\n".join(_json({**good, **each} if good and isinstance(each, dict) else each) for each in values)
        if chance.random() < 0.1:
            place = chance.randrange(len(raw) + 1)
            raw = raw[:place] + chance.choice((b"\xff", b"\0", b"\\ud800", b"{", b'"', b"1e999")) + raw[place:]
        return raw

    def case(self, number: int) -> str | None:
        """Run one case. Gives what is wrong; None if nothing is."""
        raw = self.bytes_of(number)
        polls = b"wait=" in raw
        host, port = str(self._stack.settings[DOORS[number % 2]]).split(":")
        try:
            with socket.create_connection((host, int(port)), timeout=DEADLINE) as client:
                client.sendall(raw)
                client.settimeout(MOMENT if polls else DEADLINE)
                heard = client.recv(4096)
        except TimeoutError:
            return None if polls else "hangs"
        except OSError as error:
            return f"{error}"
        status = int(heard[9:12]) if heard[:5] == b"HTTP/" else 0
        self.answers[status] += 1
        wrong = not status or (status >= 500 and status not in FINE)
        return f"answered {heard[:700]!r}" if wrong else None


def _value(chance: random.Random, depth: int) -> Any:
    shape = chance.random()
    if depth > 3 or (depth and shape < 0.6):
        return chance.choice(chance.choice((LEAVES, TEXTS)))
    if shape < 0.7 and depth:
        return [_value(chance, depth + 1) for _ in range(chance.choice((0, 1, 2, 5)))]
    if not depth and shape < 0.15:
        return [_value(chance, depth + 1) for _ in range(3)]
    return {chance.choice(MEMBERS): _value(chance, depth + 1) for _ in range(chance.choice((0, 1, 2, 4)))}


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # surrogates, and numbers of more than 64 bits
        return json.dumps(value).encode()


def _quoted(chance: random.Random, text: str) -> str:
    if chance.random() < 0.1 and text.isascii() and text.isprintable() and not set(text) & set(" #?\"'{}"):
        return text
    return quote(text.encode("utf-8", "surrogatepass"), safe="" if chance.random() < 0.5 else ":~,*-")


def run(stack: Stack, cases: int, seed: int) -> int:
    """Run so many cases. Gives the number of findings."""
    calls, findings, began = Calls(stack, seed), 0, time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        for first in range(0, cases, ROUND):
            numbers = range(first, min(first + ROUND, cases))
            for number, found in zip(numbers, threads.map(calls.case, numbers), strict=True):
                if found:
                    findings += 1
                    print(f"case {number}: {found}\n  {calls.bytes_of(number)[:1000]!r}", flush=True)
            if "Traceback" in stack.output or "Error handling request" in stack.output:
                print(f"a traceback, by case {numbers[-1]}:\n{stack.output[-3000:]}", flush=True)
                findings, stack.output = findings + 1, ""
    took = time.monotonic() - began
    print(
        f"{cases} cases in {took:.0f} s, {cases / took:.0f} a second; {findings} findings; by status: "
        + ", ".join(f"{status}: {count}" for status, count in sorted(calls.answers.items())),
        flush=True,
    )
    return findings


def main() -> int:
    """Start a stack, and try its calls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one case: print what it sends, and what came of it")
    chosen = parser.parse_args()
    model = Model()
    with tempfile.TemporaryDirectory(prefix="pushsvc-fuzz-") as folder:
        stack = Stack(
            Path(folder), workers=1, max_connections_per_user=10_000, rate_publish="1000000 per minute",
            llm_base_url=model.url, llm_api_key="a-test-key", llm_model="m",
        )  # fmt: skip
        try:
            if chosen.only is None:
                return int(run(stack, chosen.cases, chosen.seed) > 0)
            calls = Calls(stack, chosen.seed)
            print(calls.bytes_of(chosen.only), calls.case(chosen.only), sep="\n")
            return 0
        finally:
            stack.stop()
            model.close()


if __name__ == "__main__":
    sys.exit(main())
