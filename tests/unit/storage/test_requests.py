"""The commands that leave for Redis together, and what becomes of a request that leaves in parts."""

from __future__ import annotations

from pushsvc.storage.redis.requests import OWN_BYTES, OWN_COMMANDS, Request, Requests


def _asked(requests: Requests) -> list[tuple[str, int]]:
    return [(request.owner, request.asked) for request in requests.take()[0]]


def test_a_long_request_leaves_in_parts_and_lets_others_in() -> None:
    requests = Requests()
    long = Request([b"x"] * (2 * OWN_COMMANDS + 1), "mallory", whole=False)
    after = Request([b"y"], "mallory", whole=False)
    for each in (long, after, Request([b"z"], "alice", whole=False)):
        requests.put(each)
    assert _asked(requests) == [("mallory", OWN_COMMANDS), ("alice", 1)]
    requests.put(Request([b"z"], "alice", whole=False))
    assert _asked(requests) == [("mallory", OWN_COMMANDS), ("alice", 1)]
    assert _asked(requests) == [("mallory", 1), ("mallory", 1)]
    assert not requests


def test_many_short_requests_of_one_owner_count_together() -> None:
    requests = Requests()
    for _ in range(3):
        requests.put(Request([b"x" * (OWN_BYTES // 2)], "mallory", whole=False))
    requests.put(Request([b"x"] * 500))  # the service's own are whole
    assert _asked(requests) == [("mallory", 1), ("", 500), ("mallory", 1)]
    assert _asked(requests) == [("mallory", 1)]


def test_commands_that_weigh_more_leave_fewer_at_a_time() -> None:
    requests = Requests()
    requests.put(Request([b"x"] * 40, "mallory", [8] * 40, whole=False))
    requests.put(Request([b"z"], "alice", whole=False))
    assert _asked(requests) == [("mallory", OWN_COMMANDS // 8), ("alice", 1)]
    assert _asked(requests) == [("mallory", OWN_COMMANDS // 8)]
    assert _asked(requests) == [("mallory", 40 - 2 * OWN_COMMANDS // 8)]


def test_the_answers_of_all_parts_come_together() -> None:
    request = Request([b"x"] * 3, "mallory", whole=False)
    request.next_part(2, OWN_BYTES)
    request.answer([1, 2], [])
    assert not request.place.ready()
    request.next_part(2, OWN_BYTES)
    request.answer([3], ["last"])
    assert request.place.get() == [1, 2, 3, "last"]


def test_what_was_done_before_a_failure_stands_and_the_rest_is_not_sent() -> None:
    requests = Requests()
    request = Request([b"x"] * (2 * OWN_COMMANDS + 1), "mallory", whole=False)
    requests.put(request)
    requests.take()
    request.answer([1] * OWN_COMMANDS, [])
    requests.take()
    broken, not_sent = ConnectionError("broken"), ConnectionError("not sent")
    request.fail(broken, not_sent)
    assert request.place.get() == [1] * OWN_COMMANDS + [broken] * OWN_COMMANDS + [not_sent]
    assert requests.take() == ([], [])
    assert not requests


def test_a_request_of_which_nothing_was_done_fails_as_a_whole() -> None:
    request = Request([b"x"])
    request.next_part(1, 1)
    request.fail(ConnectionError("broken"), ConnectionError("not sent"))
    assert isinstance(request.place.exception, ConnectionError)
