"""Redis refuses one command of a script, as it does for an account without the right to it, and undoes nothing of what
the script did before. So a repetition must find that, whichever command it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from pushsvc.storage.redis.scripts import Script
from tests.support.stack import Stack

# The script sees another `redis`, which refuses the k-th of its commands on a key, each time: so it is with rights.
REFUSING = """
local real, count, known = redis, 0, {{}}
local function checked(name, key)
  local pair = name .. ' ' .. (key or '')
  if not known[pair] then
    count = count + 1
    known[pair] = count
  end
  return known[pair] == {k} and {{err = "NOPERM this user has no permissions to run the '" .. name .. "' command"}}
end
local redis = setmetatable({{
  call = function(name, ...)
    local problem = checked(name, ...)
    if problem then error(problem) end
    return real.call(name, ...)
  end,
  pcall = function(name, ...) return checked(name, ...) or real.pcall(name, ...) end,
}}, {{__index = real}})
"""
MOST_COMMANDS = 60
TAG = "{refused}:"


class Keyed:
    """A call of a script, on keys that are its own for each test."""

    def __init__(
        self, client: redis.Redis, script: str, names: list[str], *args: Any, after: str | tuple[str, ...] = "log/log"
    ) -> None:
        self._client = client
        self._script = Script(script, after=after)
        Script.all.remove(self._script)
        self._names = names
        self._args = args

    def run(self, refuse: int | None = None) -> Any:
        """Run the call, and give its answer or the refusal. `refuse`: the number of the command that Redis refuses."""
        source = self._script.source.decode()
        whole = source if refuse is None else REFUSING.format(k=refuse) + source
        try:
            return self._client.eval(whole, len(self._names), *self._names, *self._args)
        except redis.ResponseError as error:
            return error


@pytest.fixture
def server(stack: Stack) -> Iterator[redis.Redis]:
    yield stack.redis
    stale = list(stack.redis.scan_iter(match=f"{TAG}*", count=10_000))
    if stale:
        stack.redis.delete(*stale)


def keys(*names: str) -> list[str]:
    return [TAG + name for name in names]


def clean(server: redis.Redis) -> None:
    for name in server.scan_iter(match=f"{TAG}*", count=10_000):
        server.delete(name)


def each_command(server: redis.Redis, call: Keyed, check: Callable[[Any], None]) -> None:
    """Refuse each command in turn, of a first call and of a repetition. `check` gets the answer to the first call, and
    None after the repetition."""
    for k in range(1, MOST_COMMANDS):
        clean(server)
        answer = call.run(refuse=k)
        check(answer)
        clean(server)
        call.run()  # so that the commands of a repetition are refused, too
        call.run(refuse=k)
        check(None)
    clean(server)


def entries(server: redis.Redis, name: str) -> list[Any]:
    return list(server.xrange(TAG + name) or ())


@pytest.mark.parametrize("rates", [(), (5, 2, 9, 60_000, 9, 60_000)], ids=["no rates", "rates"])
def test_one_key_is_one_event(server: redis.Redis, rates: tuple[int, ...]) -> None:
    names = keys("clock", "epoch", "log", "tail", "key", *(["events", "topics"] if rates else []))
    call = Keyed(
        server,
        "log/append",
        names,
        "data: x\n\n",
        1000,
        3600,
        3600,
        0,
        3600,
        *rates,
        after=("counts/counting", "log/log", "log/once"),
    )

    def check(answer: Any) -> None:
        again, once_more = call.run(), call.run()
        [(event_id, _)] = entries(server, "log")
        assert again[0] == once_more[0] == event_id
        assert once_more[1] == 1
        if isinstance(answer, list):
            assert answer[0] == event_id
        else:
            assert answer is None or "no permissions" in str(answer)

    each_command(server, call, check)


def test_one_key_is_one_event_among_several(server: redis.Redis) -> None:
    """What is refused of one keeps the other, without a key, not away, unless the clock or the epoch is refused."""
    names = keys("clock", "epoch", "log", "tail", "key", "log2", "tail2")
    args = (1000, 3600, 3600, 3600, "data: x\n\n", 0, 1, "data: y\n\n", 0, 0)
    call = Keyed(server, "log/append_many", names, *args, after=("log/log", "log/once"))

    def check(answer: Any) -> None:
        others = len(entries(server, "log2"))
        (again, other), (once_more, _) = call.run(), call.run()
        [(event_id, _)] = entries(server, "log")
        assert again[0] == once_more[0] == event_id
        assert (once_more[1], other[1]) == (1, 0)
        assert [each for each, _ in entries(server, "log2")][others] == other[0]
        if answer is not None:
            first, second = answer
            assert "no permissions" in str(first) if isinstance(first, Exception) else first[0] == event_id
            assert others == 1 or "no permissions" in str(second)

    each_command(server, call, check)


BEGIN = (
    "clock",
    "epoch",
    "feed",
    "feed-tail",
    "gen:new",
    "gens",
    "running",
    "generating",
    "producers",
    "key",
    "gen:new",
)


def test_one_key_is_one_question(server: redis.Redis) -> None:
    fields = ("user", "u", "request", "{}", "cancels", "0")
    args = ("new", "w", 3600, 100, 10, 3600, "new", "data: x\n\n", 3600, 100, *fields)
    call = Keyed(server, "answers/begin", keys(*BEGIN), *args)

    def check(answer: Any) -> None:
        record = server.hgetall(f"{TAG}gen:new")
        if isinstance(answer, Exception):
            assert not record, "what was refused has begun nothing that nobody makes"
        assert call.run() in ([b"begun"], [b"known"])
        assert call.run() == [b"known"]
        assert server.hget(f"{TAG}gen:new", "user") == b"u"
        assert server.smembers(f"{TAG}generating") == {b"new"}

    each_command(server, call, check)


def test_what_is_said_is_said_once(server: redis.Redis) -> None:
    names = keys("clock", "epoch", "gen:new", "log:new", "tail:new")
    call = Keyed(server, "answers/say", names, 3600, 1, 2, "data: a\n\n", "data: b\n\n")

    def check(_: Any) -> None:
        server.hset(f"{TAG}gen:new", mapping={"state": "running"})
        server.hsetnx(f"{TAG}gen:new", "seq", 0)
        assert call.run() == [b"running"]
        assert [fields[b"f"] for _, fields in entries(server, "log:new")] == [b"data: a\n\n", b"data: b\n\n"]

    for k in range(1, MOST_COMMANDS):
        clean(server)
        server.hset(f"{TAG}gen:new", mapping={"state": "running", "seq": 0})
        check(call.run(refuse=k))


def test_an_ending_is_said_once(server: redis.Redis) -> None:
    names = keys("clock", "epoch", "log:new", "tail:new", "gen:new", "generating", "feed", "feed-tail", "running")
    args = (1, 3600, "completed", "new", "data: f\n\n", 3600, 2, "data: a\n\n", "data: [DONE]\n\n", "worker", "w")
    call = Keyed(server, "answers/finish", names, *args)
    for k in range(1, MOST_COMMANDS):
        clean(server)
        server.hset(f"{TAG}gen:new", mapping={"state": "running", "seq": 0})
        call.run(refuse=k)
        assert call.run() == b"completed"
        assert len(entries(server, "log:new")) == 2
        assert server.hget(f"{TAG}gen:new", "state") == b"completed"


def test_a_ticket_is_not_lost_and_works_once(server: redis.Redis) -> None:
    names = keys("fresh", "spent", "use", "proof", "proofs:its-proof", "proofs:its-proof")
    args = (3600, 3000, 1, "stream", "5-0", "cookie", "digest", "its-proof", "its-proof", "s")
    call = Keyed(server, "tickets/spend", names, *args, after=())
    for k in range(1, MOST_COMMANDS):
        clean(server)
        server.set(f"{TAG}fresh", '{"user":"a"}')
        first = call.run(refuse=k)
        again = call.run()
        assert [first, again].count(b"") == 1, k
        assert call.run() is None
        assert server.get(f"{TAG}spent") == b'{"user":"a","session":"s"}'


def test_a_life_that_begins_is_noted(server: redis.Redis) -> None:
    call = Keyed(server, "log/epoch", keys("clock", "epoch", "server"), "another", 32, after=())
    for k in range(1, MOST_COMMANDS):
        clean(server)
        server.xadd(f"{TAG}clock", {"": ""}, id="5-0")
        server.set(f"{TAG}epoch", "1-0")
        server.set(f"{TAG}server", "one")
        call.run(refuse=k)
        lives: bytes = call.run()
        assert lives.startswith(b"1-0 5-0 ")
        assert server.get(f"{TAG}server") == b"another"
        assert call.run() == lives


def test_the_epoch_that_may_not_be_read_is_not_taken_for_lost(server: redis.Redis) -> None:
    clock, epoch, process = keys("clock", "epoch", "server")
    server.xadd(clock, {"": ""}, id="9-0")
    server.set(epoch, "1-0 5-0 6-0")
    server.set(process, "one")
    reading = Keyed(server, "log/clock", [clock, epoch], after=())
    greeting = Keyed(server, "log/epoch", [clock, epoch, process], "one", 32, after=())
    for k in range(1, MOST_COMMANDS):
        reading.run(refuse=k)
        greeting.run(refuse=k)
        lives: bytes = server.get(epoch)  # type: ignore[assignment]
        assert f"{lives.decode()} ".startswith("1-0 5-0 6-0 "), k


def test_a_position_that_may_not_be_read_does_not_move_back(server: redis.Redis) -> None:
    [position] = keys("position")
    server.set(position, "5-0")
    call = Keyed(server, "log/advance", [position], 3600, "4-0", after=())
    for k in range(1, MOST_COMMANDS):
        call.run(refuse=k)
        assert server.get(position) == b"5-0"


def test_each_event_names_the_one_before_it(server: redis.Redis) -> None:
    names = keys("clock", "epoch", "log", "tail")
    call = Keyed(server, "log/append", names, "data: x\n\n", 1000, 3600, 3600, 0, 3600, after=("log/log", "log/once"))
    for k in range(1, MOST_COMMANDS):
        clean(server)
        call.run()
        call.run(refuse=k)
        call.run()
        assert all(fields[b"p"] != b"0-0" for _, fields in entries(server, "log")[1:]), k


def test_a_worker_whose_answer_was_taken_over_writes_no_more(server: redis.Redis) -> None:
    clean(server)
    record: Any = {"state": "running", "seq": 3, "worker": "w", "created": 0}
    server.hset(f"{TAG}gen:new", mapping=record)
    names = keys("gen:new", "generating", "generating2", "producers")
    claim = Keyed(server, "answers/claim", names, "new", "w", "x", 1)
    for k in range(1, MOST_COMMANDS):
        server.hset(f"{TAG}gen:new", mapping=record)
        server.hdel(f"{TAG}gen:new", "continued")
        if isinstance(claim.run(refuse=k), Exception):
            assert server.hget(f"{TAG}gen:new", "worker") == b"w"
            assert claim.run()[0] == 1
        assert server.hget(f"{TAG}gen:new", "worker") == b"x"
        assert server.smembers(f"{TAG}generating2") == {b"new"}
    assert Keyed(server, "answers/claim", names, "new", "w", "y", 1).run() == [0], "another was first"
    assert Keyed(server, "answers/claim", names, "new", "x", "y", 1).run() == [-1], "it was taken over too often"
    log = keys("clock", "epoch", "gen:new", "log:new", "tail:new")
    assert Keyed(server, "answers/say", log, 3600, 4, 1, "data: w\n\n").run() == [b"taken"]
    last = keys("clock", "epoch", "log:new", "tail:new", "gen:new", "generating", "feed", "feed-tail", "running")
    ending = (1, 3600, "completed", "new", "data: f\n\n", 3600, 1, "data: [DONE]\n\n", "worker")
    assert Keyed(server, "answers/finish", last, *ending, "w").run() == b"taken"
    assert Keyed(server, "answers/say", log, 3600, 10**9 + 1, 1, "data: x\n\n").run() == [b"running"]
    assert Keyed(server, "answers/finish", last, *ending, "x").run() == b"completed"
    assert [fields[b"f"] for _, fields in entries(server, "log:new")] == [b"data: x\n\n", b"data: [DONE]\n\n"]
