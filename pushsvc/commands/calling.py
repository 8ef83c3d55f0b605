"""Commands that call the service on this machine, with tokens of their own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import click
import httpx
import orjson

from pushsvc import auth
from pushsvc.addresses import hosts
from pushsvc.config import Settings
from pushsvc.events import exact_json
from pushsvc.events.exact_json import NotJson
from pushsvc.events.tail import events
from pushsvc.program.terminal import say
from pushsvc.stack.certificate import find_certificate

RECONNECT_SECONDS: Final = 1.0


def read_settings() -> Settings:
    """The settings of the environment. Raises ConfigError."""
    return Settings.from_env(os.environ)


def own_secret(settings: Settings) -> str:
    """Read the secret that signs; say so if a new one had to be made. That happens when a command runs in another
    folder than the service: the service does not know that secret, and refuses tokens signed with it."""
    path = settings.data_dir.resolve() / "secret"
    made = not settings.secret and not path.exists()
    secrets = auth.load_secrets(settings.secret, settings.data_dir)
    if made:
        say(f"a new secret was made, in {path}: only a service with PUSHSVC_DATA_DIR={path.parent} knows it")
    return secrets[0]


@click.command()
@click.argument("data")
@click.option("--user", help="To this user.")
@click.option("--topic", help="To this topic.")
@click.option("--all", "to_all", is_flag=True, help="To everybody.")
@click.option("--event", default="message", show_default=True, help="The event's name.")
@click.option("--key", help="Idempotency key: a repeat does nothing.")
@click.option("--ttl", type=int, help="Seconds after which it is no longer delivered.")
@click.option("--json", "as_json", is_flag=True, help="DATA is JSON, not a string.")
def publish(
    data: str,
    user: str | None,
    topic: str | None,
    to_all: bool,
    event: str,
    key: str | None,
    ttl: int | None,
    as_json: bool,
) -> None:
    """Publish one event, and print its id."""
    try:
        value = exact_json.loads(data.encode(), unique=True) if as_json else data
    except NotJson as error:
        raise click.BadParameter(f"not valid JSON: {error}", param_hint="DATA") from error
    item = {"user": user, "topic": topic, "all": to_all or None, "event": event, "key": key, "ttl": ttl}
    body = {name: given for name, given in item.items() if given is not None} | {"data": value}
    click.echo(_post("/publish", body, {"publish": ["*"]}).text)


@click.command()
@click.argument("user")
@click.option("--topics", default="", help="Topics to follow too, comma separated.")
@click.option("--since", type=click.Choice(["unread", "now", "earliest"]), default="now", show_default=True)
@click.option("--after", metavar="ID", help="Resume after this event id.")
def tail(user: str, topics: str, since: str, after: str | None) -> None:
    """Print a user's events as they come, one JSON object a line; moves no unread position, outlasts restarts."""
    connected = False
    while True:
        pause = RECONNECT_SECONDS
        parameters = {"since": since, "ack": "manual", "topics": topics, "last_event_id": after or ""}
        try:
            for event in _listen(user, parameters):
                connected = True
                after = event.get("id", after)
                if event.get("event") == "refused" and "id" not in event:
                    pause = _refused(event)
                elif "data" in event:
                    click.echo(orjson.dumps({name: event[name] for name in event if name != "retry"}))
        except httpx.TransportError:
            if not connected:
                raise
        time.sleep(pause)


def _refused(event: dict[str, str]) -> float:
    """Print why the service refuses the stream for now, and give the seconds to wait before the next try. Exits if the
    token is refused."""
    problem = orjson.loads(event["data"])
    if problem["status"] == HTTPStatus.UNAUTHORIZED:
        sys.exit(f"pushsvc: {problem['detail']}")
    say(problem["detail"])
    return int(event.get("retry", 1000 * RECONNECT_SECONDS)) / 1000


def _listen(user: str, parameters: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yield the events of one connection; first an empty one, as soon as the connection is accepted."""
    accept = {"Accept": "text/event-stream"}  # then a worker that restarts refuses in a stream, not with an error
    timeout = httpx.Timeout(5.0, read=3 * read_settings().heartbeat_seconds)
    with (
        _client({"sub": user, "subscribe": ["topic:*"]}) as client,
        client.stream("GET", "/events", params=parameters, headers=accept, timeout=timeout) as answer,
    ):
        if answer.status_code != 200:
            answer.read()
        _check(answer, "text/event-stream")
        yield {}
        yield from events(answer.iter_text())


@click.command()
@click.argument("user")
@click.option("--topics", default="", help="Topics it opens too, comma separated.")
@click.option("--ttl", type=int, default=60, show_default=True, help="Seconds to use it in.")
def ticket(user: str, topics: str, ttl: int) -> None:
    """Print a ticket's URL, for an EventSource."""
    body = {"user": user, "topics": [name for name in topics.split(",") if name], "ttl": ttl}
    answer = _post("/tickets", body, {"subscribe": ["*"]})
    click.echo(str(answer.url.join(answer.json()["url"])))


def _post(path: str, body: dict[str, Any], claims: dict[str, Any]) -> httpx.Response:
    try:
        content = exact_json.dumps(body)
    except ValueError as error:  # an integer or bytes that JSON cannot carry
        raise click.UsageError(f"cannot be sent as JSON: {error}") from error
    with _client(claims) as client:
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
    _check(answer, "application/json")
    return answer


def _client(claims: dict[str, Any]) -> httpx.Client:
    """Make a client of the service at PUSHSVC_HTTP, or of the workers where only proxies may speak there, with a token
    of its own that lives a day."""
    settings = read_settings()
    secret = own_secret(settings)
    bearer = auth.encode(claims | settings.own_claims, secret, ttl=86400)
    headers = {"Authorization": f"Bearer {bearer}"}
    url, path, certificate = settings.http_url, None, find_certificate(settings)
    if settings.proxy_protocol:
        url, path = hosts.url_to_call(settings.app)
    transport = httpx.HTTPTransport(verify=False if certificate is None else certificate.trust(), uds=path)
    return httpx.Client(base_url=url, headers=headers, transport=transport, trust_env=False)


def _check(answer: httpx.Response, media_type: str) -> None:
    """Exit with the service's own error text unless the response is a success of this media type."""
    given = answer.headers.get("Content-Type", "").partition(";")[0]
    if given == "application/problem+json":
        sys.exit(f"pushsvc: {answer.json()['detail']}")
    if not answer.is_success or given != media_type:
        sys.exit(f"pushsvc: what answers at {answer.url.netloc.decode()} is not pushsvc (status {answer.status_code})")
