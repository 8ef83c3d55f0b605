"""GET /openapi.json: all calls are in it and nothing else, and what it says of them is so."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from playwright.sync_api import Page

from pushsvc import create_app
from pushsvc.config import Settings
from pushsvc.web.openapi.document import document, routes
from pushsvc.web.openapi.operations import OPERATIONS
from tests.proofs.schema import tried
from tests.support.stack import SECRET, Stack


@pytest.fixture(scope="module")
def described(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{stack.url}/openapi.json", trust_env=False).json()
    return found


def test_it_is_openapi(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(described).validate()


def test_each_call_is_described_and_nothing_else() -> None:
    app = create_app(Settings(redis_url="redis://127.0.0.1:1", secret=(SECRET,)))
    assert {(path, method) for path, method, _ in routes(app)} == set(OPERATIONS)
    made = document(app, app.extensions["pushsvc"].limits, "/")
    for path, item in made["paths"].items():
        for method, call in item.items():
            assert method == "parameters" or call["summary"].startswith(method.upper()), (path, method)


def test_its_limits_are_those_of_the_service() -> None:
    app = create_app(Settings(redis_url="redis://127.0.0.1:1", secret=(SECRET,), max_batch=7, max_event_bytes=99))
    event = document(app, app.extensions["pushsvc"].limits, "/")["components"]["schemas"]["Event"]
    assert event["properties"]["users"]["maxItems"] == 7
    assert "99 bytes" in event["properties"]["data"]["description"]


def valid(described: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "components": described["components"]}
    Draft202012Validator(whole).validate(value)


def asked(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """The calls that a plain request can make, with their descriptions."""
    found = []
    for path, item in described["paths"].items():
        for method, call in item.items():
            if method != "parameters" and "{" not in path and path not in ("/ws", "/events", "/v1/generations/events"):
                found.append((path, method, call))
    return found


QUERIES = {"/history": {"channel": "user:ada"}, "/connections": {"user": "nobody"}}


def test_each_example_is_taken_and_answered_as_it_says(stack: Stack, described: dict[str, Any]) -> None:
    headers = stack.bearer("ada", admin=True, publish=["*"], subscribe=["*"])
    for path, method, call in asked(described):
        sent = call.get("requestBody", {}).get("content", {}).get("application/json")
        if sent is not None:
            valid(described, sent["schema"], sent["example"])
        answer = httpx.request(
            method,
            f"{stack.url}{path}",
            params=QUERIES.get(path),
            json=None if sent is None else sent["example"],
            headers=headers,
            trust_env=False,
        )
        assert answer.status_code < 300, (path, answer.text)
        content = call["responses"][str(answer.status_code)]["content"]
        media = answer.headers["content-type"].partition(";")[0]
        assert media in content, (path, media)
        if media == "application/json":
            valid(described, content[media]["schema"], answer.json())


def test_each_refusal_of_a_stranger_is_described(stack: Stack, described: dict[str, Any]) -> None:
    for path, method, call in asked(described):
        answer = httpx.request(method, f"{stack.url}{path}", params=QUERIES.get(path), trust_env=False)
        expected = call["responses"].get(str(answer.status_code))
        assert expected is not None, (path, answer.status_code)
        if call.get("security") != []:
            assert answer.status_code == 401, path
            content = expected["content"]
            media = answer.headers["content-type"].partition(";")[0]
            valid(described, content[media]["schema"], answer.json())


def test_odd_requests_are_answered_as_it_says(stack: Stack) -> None:
    """The same few on each run; `python -m tests.proofs.schema` tries many."""
    status, found = tried(stack, 3, 20261127, "--phases", "fuzzing")
    assert status == 0, found


def test_the_page_for_people(stack: Stack, page: Page) -> None:
    page.goto(f"{stack.url}/docs")
    assert page.locator("section h2", has_text="/publish").count() == 1
    assert page.locator("nav[aria-label=Calls] a").count() == len(OPERATIONS)
    violations = Axe().run(page).response["violations"]
    assert violations == [], [each["id"] for each in violations]
