"""GET /metrics: one answer for all workers, whichever is asked, and counts that never fall."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import pushsvc.metrics  # noqa: F401  # it registers them
from tests.support.clients.eventsource import until
from tests.support.stack import ROOT, Stack

DOCS = ROOT / "docs" / "metrics"


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that no other test's events are counted in."""
    running = Stack(tmp_path_factory.mktemp("metrics"), workers=2, keep_events=5)
    yield running
    running.stop()


def scraped(stack: Stack) -> dict[str, float]:
    """All samples by name and labels, as they are written."""
    answer = stack.get("/metrics", stack.bearer("ada", admin=True))
    assert answer.status_code == 200
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values() if sample.name[-6:] != "bucket"): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name[-7:] != "_bucket"
    }


def test_what_is_counted(counted: Stack) -> None:
    before = scraped(counted)
    with counted.listen("bob") as first, counted.listen("bob") as second:
        until(lambda: scraped(counted)["pushsvc_connections sse"] == 2, "both connections to be counted")
        for number in range(3):
            counted.publish(user="bob", data=number, key=f"metrics{number}")
        counted.post("/publish", {"user": "bob", "data": 0, "key": "metrics0"}, counted.bearer(publish=["*"]))
        first.wait_for(3)
        second.wait_for(3)

        def seen() -> bool:
            now = scraped(counted)
            return (
                now["pushsvc_published_total new"] - before.get("pushsvc_published_total new", 0) == 3
                and now["pushsvc_published_total duplicate"] - before.get("pushsvc_published_total duplicate", 0) == 1
                and now["pushsvc_delivered_total"] - before["pushsvc_delivered_total"] == 6
                and now["pushsvc_delivery_seconds_count"] - before["pushsvc_delivery_seconds_count"] >= 2
            )

        until(seen, "all to be counted")
    until(lambda: scraped(counted)["pushsvc_connections sse"] == 0, "both to have left")
    assert scraped(counted)["pushsvc_connection_ends_total gone"] >= 2


def test_replays_and_gaps(counted: Stack) -> None:
    ids = counted.publish_many([{"user": "carl", "data": number} for number in range(9)])
    before = scraped(counted)
    with counted.listen("carl", f"?last_event_id={ids[0]}") as source:
        source.wait_ids(*ids[4:])
    after = scraped(counted)
    assert after["pushsvc_replayed_total"] - before["pushsvc_replayed_total"] == 5
    assert after["pushsvc_gaps_total trimmed"] - before.get("pushsvc_gaps_total trimmed", 0) == 1


def test_answers_and_their_tokens(counted: Stack) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    assert counted.post("/v1/chat/completions", body, counted.bearer("ada")).status_code == 200
    until(lambda: scraped(counted).get("pushsvc_tokens_total completion", 0) > 0, "the tokens to be counted")
    found = scraped(counted)
    assert found["pushsvc_generations_total completed"] == 1
    assert found["pushsvc_upstream_seconds_count"] == 1
    assert found["pushsvc_generating"] == 0


def test_counts_outlive_a_worker(counted: Stack) -> None:
    with counted.listen("dora", reconnect=True):
        until(lambda: scraped(counted)["pushsvc_connections sse"] == 1, "the connection to be counted")
        before = scraped(counted)
        counted.kill("gunicorn", slice(1, None))
        counted.until_ready()
        until(
            lambda: scraped(counted)["pushsvc_connections sse"] == 1, "only the connection to the new workers to count"
        )
        until(lambda: scraped(counted)["pushsvc_workers"] == 2, "the new workers to count, and the old not to")
        after = scraped(counted)
    for name, value in before.items():
        if name.endswith(("_total", "_count")) or "_total " in name:
            assert after[name] >= value, name


def test_strangers_learn_nothing(counted: Stack) -> None:
    assert httpx.get(f"{counted.url}/metrics", trust_env=False).status_code == 401
    assert counted.get("/metrics", counted.bearer("ada")).status_code == 403


def test_openmetrics_for_who_asks(counted: Stack) -> None:
    headers = counted.bearer("ada", admin=True) | {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = counted.get("/metrics", headers)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("name", ["dashboard.json", "alerts.yml"])
def test_the_dashboard_and_the_alerts_name_what_there_is(name: str) -> None:
    types = dict(re.findall(r"^# TYPE (pushsvc_\w+) (\w+)$", generate_latest(REGISTRY).decode(), re.MULTILINE))
    there = set(types) | {f"{each}_{end}" for each in types for end in ("bucket", "count", "sum")}
    named = set(re.findall(r"pushsvc_\w+", _expressions(Path(name), (DOCS / name).read_text())))
    assert named
    assert named <= there


def _expressions(path: Path, text: str) -> str:
    if path.suffix == ".json":
        panels = json.loads(text)["panels"]
        return " ".join(target["expr"] for panel in panels for target in panel["targets"])
    return " ".join(re.findall(r"^\s*expr: (.+)$", text, re.MULTILINE))
