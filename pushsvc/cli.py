"""The same service from a shell: start it, and speak to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import httpx
import orjson

from pushsvc import auth
from pushsvc.config import PREFIX, Settings
from pushsvc.embedded import redis_url
from pushsvc.errors import ConfigError

_ROOT: Final = Path(__file__).resolve().parent.parent
_DEMO_TOKEN_SECONDS: Final = 30 * 86400


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, version=__import__("pushsvc").__version__, prog_name="pushsvc")
def cli() -> None:
    """Real-time push: backends publish, the right browsers hear it. Settings are PUSHSVC_* in the environment."""


def main() -> None:
    """Run a command; what goes wrong is one line on stderr and status 1."""
    try:
        cli()
    except ConfigError as error:
        sys.exit(f"pushsvc: {error.detail}")
    except httpx.HTTPError as error:
        sys.exit(f"pushsvc: the service does not answer: {error}")


def _settings() -> Settings:
    return Settings.from_env(os.environ)


@cli.command()
def up() -> None:
    """The whole stack: Redis (embedded unless PUSHSVC_REDIS_URL is set), gunicorn, nginx."""
    from pushsvc.supervisor import Supervisor

    settings = _settings()
    settings = settings.model_copy(update={"data_dir": settings.data_dir.resolve()})
    auth.load_secret(settings.secret, settings.data_dir)
    Supervisor(settings, os.environ).run(_announce)


def _announce(settings: Settings) -> None:
    secret = auth.load_secret(settings.secret, settings.data_dir)
    token = auth.encode(auth.DEMO_CLAIMS, secret, ttl=_DEMO_TOKEN_SECONDS)
    url = f"http://{settings.http}"
    click.echo(f"""
pushsvc is up

  open     {url}/
  token    {token}
  publish  curl -X POST {url}/publish -H 'Authorization: Bearer {token}' \\
             -H 'Content-Type: application/json' -d '{{"user": "alice", "data": "hello"}}'

Ctrl-C ends it.""")
    sys.stdout.flush()


@cli.command()
def serve() -> None:
    """gunicorn alone, for those who run Redis and nginx themselves."""
    from pushsvc.supervisor import check_redis

    settings = _settings()
    check_redis(redis_url(settings))
    os.environ[f"{PREFIX}DATA_DIR"] = str(settings.data_dir.resolve())
    os.chdir(_ROOT)  # where app.py is
    command = [sys.executable, "-m", "gunicorn", "-c", "python:pushsvc.gunicorn_conf", "app:app"]
    os.execv(sys.executable, command)


@cli.command()
@click.option("--user", help="Claim sub: may read its own events and those to all.")
@click.option("--publish", multiple=True, metavar="CHANNEL", help="May publish to it; a trailing * matches the rest.")
@click.option("--subscribe", multiple=True, metavar="CHANNEL", help="May subscribe to it.")
@click.option("--admin", is_flag=True, help="May see and end connections.")
@click.option("--ttl", type=click.IntRange(1), default=3600, show_default=True, help="Seconds until it expires.")
def token(user: str | None, publish: tuple[str, ...], subscribe: tuple[str, ...], admin: bool, ttl: int) -> None:
    """Print a token."""
    settings = _settings()
    claims: dict[str, Any] = {"publish": list(publish), "subscribe": list(subscribe)}
    if user is not None:
        claims["sub"] = user
    if admin:
        claims["admin"] = True
    secret = auth.load_secret(settings.secret, settings.data_dir)
    encoded = auth.encode(claims, secret, ttl=ttl)
    auth.decode(encoded, secret)  # what the service would refuse is not printed
    click.echo(encoded)


@cli.command()
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
        value = orjson.loads(data) if as_json else data
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"not valid JSON: {error}", param_hint="DATA") from error
    item = {"user": user, "topic": topic, "all": to_all or None, "event": event, "key": key, "ttl": ttl}
    body = {name: given for name, given in item.items() if given is not None} | {"data": value}
    with _client({"publish": ["*"]}) as client:
        answer = client.post("/publish", content=orjson.dumps(body), headers={"Content-Type": "application/json"})
    _check(answer)
    click.echo(answer.text)


@cli.command()
@click.argument("user")
@click.option("--topics", default="", help="Topics to follow too, comma separated.")
@click.option("--since", type=click.Choice(["unread", "now", "earliest"]), default="now", show_default=True)
@click.option("--after", metavar="ID", help="Resume after this event id.")
def tail(user: str, topics: str, since: str, after: str | None) -> None:
    """Print a user's events as they come, one JSON object a line; moves no unread position."""
    parameters = {"since": since, "ack": "manual"} | ({"topics": topics} if topics else {})
    headers = {"Last-Event-ID": after} if after else {}
    with _client({"sub": user, "subscribe": ["topic:*"]}) as client:
        timeout = httpx.Timeout(5.0, read=None)
        with client.stream("GET", "/events", params=parameters, headers=headers, timeout=timeout) as answer:
            if answer.status_code != 200:
                answer.read()
            _check(answer)
            for event in _events(answer.iter_lines()):
                click.echo(orjson.dumps(event))


def _events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "data" and "data" in event:
            event["data"] += "\n" + value
        elif name in ("id", "event", "data"):
            event[name] = value
        elif not line and "data" in event:
            yield event
            event = {}


@cli.command()
@click.argument("user")
@click.option("--topics", default="", help="Topics it opens too, comma separated.")
@click.option("--ttl", type=int, default=60, show_default=True, help="Seconds to use it in.")
def ticket(user: str, topics: str, ttl: int) -> None:
    """Print a ticket's URL, for an EventSource."""
    body = {"user": user, "topics": [name for name in topics.split(",") if name], "ttl": ttl}
    with _client({"subscribe": ["*"]}) as client:
        answer = client.post("/tickets", json=body)
    _check(answer)
    click.echo(str(client.base_url.join(answer.json()["url"])))


def _client(claims: dict[str, Any]) -> httpx.Client:
    """Speaks to the service at PUSHSVC_HTTP, with a token of its own that lives a day."""
    settings = _settings()
    secret = auth.load_secret(settings.secret, settings.data_dir)
    transport = None
    base = f"http://{settings.http}"
    if settings.http.startswith("unix:"):
        transport, base = httpx.HTTPTransport(uds=settings.http.removeprefix("unix:")), "http://localhost"
    bearer = auth.encode(claims, secret, ttl=86400)
    return httpx.Client(
        base_url=base, transport=transport, headers={"Authorization": f"Bearer {bearer}"}, trust_env=False
    )


def _check(answer: httpx.Response) -> None:
    if answer.status_code >= 400:
        sys.exit(f"pushsvc: {answer.json().get('detail', answer.text)}")
