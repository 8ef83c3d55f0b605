"""Some servers run no script that touches a key which was not declared (ElastiCache Serverless, Dragonfly, Kvrocks). So
the service runs here with scripts that look at the names of each of their commands before Redis does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import redis

from pushsvc.events.names import answer_channel
from pushsvc.storage.redis.scripts import Script
from tests.support import behaviour
from tests.support.clients.eventsource import EventSource, until
from tests.support.models.model import Model, silent
from tests.support.stack import Stack, copied

globals().update(behaviour.marked("every_script"))  # run with the `stack` of this module

CAP = 3  # streams of a user
KEPT = 20
SAYS = "is not declared"
# The script sees another `redis`. That of a file which comes before another one is wrapped twice, which does no harm.
CHECKING = f"""
local redis = (function(real)
  local declared = {{}}
  for _, name in ipairs(KEYS) do declared[name] = true end
  local function problem(command, ...)
    local names = real.pcall('COMMAND', 'GETKEYS', command, ...)
    if names.err then names = command == 'SPUBLISH' and {{(...)}} or {{}} end
    for _, name in ipairs(names) do
      if not declared[name] then return {{err = 'ERR ' .. command .. ': ' .. name .. ' {SAYS}'}} end
    end
  end
  return setmetatable({{
    call = function(...)
      local found = problem(...)
      if found then error(found) end
      return real.call(...)
    end,
    pcall = function(...) return problem(...) or real.pcall(...) end,
  }}, {{__index = real}})
end)(redis)
"""


def check_names(script: str) -> str:
    """Put a check of the names before each command of a script. A shebang stays the first line."""
    first, _, rest = script.partition("\n")
    return f"{first}\n{CHECKING}{rest}" if first.startswith("#!") else CHECKING + script


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, _model: Model) -> Iterator[Stack]:
    folder = copied(tmp_path_factory.mktemp("service"))
    for path in (folder / "pushsvc/storage/redis/lua").rglob("*.lua"):
        path.write_text(check_names(path.read_text()))
    settings = behaviour.settings(_model) | {"max_connections_per_user": CAP, "workers": 3, "keep_events": KEPT}
    running = Stack(tmp_path_factory.mktemp("checked"), folder=folder, llm_max_generations_per_user=2, **settings)
    yield running
    running.stop()
    assert SAYS not in running.output, running.output
    assert "Traceback" not in running.output, running.output


@pytest.fixture(autouse=True)
def stack(checked: Stack, model: Model) -> Stack:
    return checked


@pytest.mark.parametrize(
    "script",
    [
        "return redis.call('GET', KEYS[1] .. 'x')",
        "return redis.pcall('DEL', KEYS[1], 'other')",
        "return redis.call('SPUBLISH', 'channel', KEYS[1])",
        "#!lua\nreturn redis.call('SET', ARGV[1], '')",
    ],
)
def test_the_check_finds_a_name_that_is_made(checked: Stack, script: str) -> None:
    with pytest.raises(redis.ResponseError, match=SAYS):
        checked.redis.eval(check_names(script), 1, "declared", "name")
    fine = "redis.call('SET', KEYS[1], '', 'EX', 1) redis.call('SPUBLISH', KEYS[1], '') return redis.call('TIME')"
    assert checked.redis.eval(check_names(fine), 1, "declared")


def test_flags_stand_in_the_first_line() -> None:
    """Flags anywhere else are a comment. This holds for a script that comes after another file, too."""
    for script in Script.all:
        assert (b"#!lua" in script.source) == script.source.startswith(b"#!lua ")


def test_streams_of_a_worker_that_is_gone(checked: Stack, user: str) -> None:
    """Its count is dropped where that matters, and only there."""
    counts = checked.keys_of(user).connections(user)
    checked.redis.hset(counts, "gone", CAP - 1)
    with ExitStack() as opened:
        sources = [opened.enter_context(checked.listen(user))]
        assert checked.redis.hexists(counts, "gone")
        sources += [opened.enter_context(checked.listen(user)) for _ in range(CAP - 1)]
        assert not checked.redis.hexists(counts, "gone")
        event = checked.publish(user=user)
        for source in sources:
            source.wait_ids(event)
            assert not source.refusals


def begin(stack: Stack, user: str) -> str:
    body = {"messages": [{"role": "user", "content": "?"}]}
    answer = stack.post("/v1/generations", body, stack.bearer(user))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_the_oldest_answers_are_forgotten(checked: Stack, user: str) -> None:
    """Everything that belongs to them goes with them."""
    keys, server = checked.keys_of(user), checked.redis
    oldest, younger = (hear(checked, user) for _ in range(2))
    channel = answer_channel(oldest)
    names = [keys.generation(oldest), keys.log(channel), keys.tail(channel)]
    assert server.exists(*names) == 3
    later = server.zscore(keys.generations(user), younger) + 1  # type: ignore[operator]
    server.zadd(keys.generations(user), {f"gen_{number}": later for number in range(KEPT - 2)})
    hear(checked, user)
    until(lambda: server.exists(*names) == 0, "the oldest to be forgotten")
    assert server.zrange(keys.generations(user), 0, 0) == [younger.encode()]
    assert server.exists(keys.generation(younger))


def hear(stack: Stack, user: str) -> str:
    """Ask, and hear the answer to its end."""
    begun = begin(stack, user)
    with EventSource(f"{stack.url}/v1/generations/{begun}/events", stack.bearer(user)) as source:
        source.wait(lambda source: source.messages and source.messages[-1].data == "[DONE]", "the answer")
    return begun


def test_answers_that_expired_do_not_run(checked: Stack, user: str, model: Model) -> None:
    model.script = silent
    checked.redis.sadd(checked.keys_of(user).running(user), "gen_gone", "gen_gone_too")
    ids = [begin(checked, user) for _ in range(2)]
    refused = checked.post("/v1/generations", {"messages": [{"role": "user", "content": "?"}]}, checked.bearer(user))
    assert refused.status_code == 429
    for each in ids:
        assert checked.get(f"/v1/generations/{each}", checked.bearer(user)).json()["state"] == "running"
        httpx.delete(f"{checked.url}/v1/generations/{each}", headers=checked.bearer(user), trust_env=False)
