"""The embedded server is full: publishes are refused, nothing kept is lost, and streams and replay go on."""

from __future__ import annotations

from typing import Any

from tests.conftest import Start
from tests.support.clients.eventsource import until

MEMORY = 16 * 2**20
EVENT = "x" * 60_000


def test_a_full_server_refuses_publishes_and_evicts_nothing(start: Start) -> None:
    stack = start(workers=2, max_memory="16mb", keep_events=10**6)
    assert stack.redis.config_get("maxmemory*")["maxmemory"] == str(MEMORY)
    kept = [stack.publish(user="alice", data="first")]
    caller = stack.bearer("backend", publish=["*"])
    with stack.listen("alice", "?since=earliest") as source:
        source.wait_ids(*kept)

        def is_full() -> Any:
            answer = stack.post("/publish", {"user": "alice", "data": EVENT}, caller)
            if answer.status_code == 200:
                kept.append(answer.json()["id"])
                return False
            assert answer.status_code == 507, answer.text
            assert int(answer.headers["retry-after"]) > 0
            return True

        until(is_full, "the server to be full", 60)
        assert 100 < len(kept) < MEMORY // len(EVENT)
        assert stack.redis.info("stats")["evicted_keys"] == 0
        source.wait_ids(*kept)  # live
    with stack.listen("alice", "?since=earliest") as again:  # replayed
        again.wait_ids(*kept)
    with stack.listen("bob") as newcomer:
        assert newcomer.statuses == [200]
    assert stack.get("/history", stack.bearer("alice"), channel="user:alice", limit=1).status_code == 200
