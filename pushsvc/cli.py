"""The command line: `up` and `serve` start the service; the other commands write its configuration or call it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click
import httpx
import orjson

from pushsvc import __version__, auth
from pushsvc.checks.remarks import MARK, tell
from pushsvc.config import PREFIX, Settings, redis_url
from pushsvc.errors import PushError
from pushsvc.events import exact_json
from pushsvc.events.exact_json import NotJson
from pushsvc.events.tail import events
from pushsvc.provider_keys import ProviderKeys
from pushsvc.setting_types import SELF_SIGNED
from pushsvc.stack.certificate import find_certificate
from pushsvc.terminal import say
from pushsvc.verifier import Verifier

RECONNECT_SECONDS: Final = 1.0
_DEMO_TOKEN_SECONDS: Final = 30 * 86400
_LONGEST_TOKEN_SECONDS: Final = 10 * 365 * 86400


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, version=__version__, prog_name="pushsvc")
def cli() -> None:
    """Real-time push: backends publish, the right browsers hear it. Settings are PUSHSVC_* in the environment."""


def main() -> None:
    """Run a command. An error is printed as one line on stderr, and the exit status is 1."""
    try:
        cli()
    except PushError as error:
        sys.exit(f"pushsvc: {error.detail}")
    except UnicodeEncodeError:  # Python turns bytes of the command line that are not UTF-8 into lone surrogates
        sys.exit("pushsvc: an argument is not valid UTF-8")
    except httpx.HTTPError as error:
        sys.exit(f"pushsvc: the service does not answer: {error}")


def _settings() -> Settings:
    return Settings.from_env(os.environ)


def _starting() -> Settings:
    """Read the settings of a command that starts the service."""
    tell(os.environ)
    os.environ[MARK] = "1"
    settings = _settings().from_anywhere()
    if settings.jwks:
        ProviderKeys(settings.jwks)  # stops the start for a file that cannot be used
    return settings


def _secret(settings: Settings) -> str:
    """Read the secret that signs; say so if a new one had to be made. That happens when a command runs in another
    folder than the service: the service does not know that secret, and refuses tokens signed with it."""
    path = settings.data_dir.resolve() / "secret"
    made = not settings.secret and not path.exists()
    secrets = auth.load_secrets(settings.secret, settings.data_dir)
    if made:
        say(f"a new secret was made, in {path}: only a service with PUSHSVC_DATA_DIR={path.parent} knows it")
    return secrets[0]


@cli.command()
def up() -> None:
    """Start the whole stack: Redis (embedded unless PUSHSVC_REDIS_URL is set), gunicorn, nginx."""
    from pushsvc.stack.supervisor import Supervisor

    settings = _starting()
    auth.load_secrets(settings.secret, settings.data_dir)
    Supervisor(settings, os.environ).run(_announce)


def _announce(settings: Settings) -> None:
    [secret, *_] = auth.load_secrets(settings.secret, settings.data_dir)
    token = auth.encode(auth.DEMO_CLAIMS | settings.own_claims, secret, ttl=_DEMO_TOKEN_SECONDS)
    url = settings.http_url
    made = settings.data_dir / "tls" / "certificate.pem"
    trusting = f" --cacert {made}" if settings.tls == SELF_SIGNED else ""
    click.echo(f"""
pushsvc is up

  open     {url}/{f"?demo={settings.demo_key}" if settings.demo_key else ""}
  token    {token}
  publish  curl{trusting} -X POST {url}/publish -H 'Authorization: Bearer {token}' \\
             -H 'Content-Type: application/json' -d '{{"user": "alice", "data": "hello"}}'

Ctrl-C ends it.""")
    sys.stdout.flush()


@cli.command()
def serve() -> None:
    """Start gunicorn alone, for those who run Redis and nginx themselves."""
    from pushsvc.checks.start import check_redis
    from pushsvc.stack import gunicorn

    settings = _starting()
    for warning in check_redis(redis_url(settings), settings):
        say(warning)
    os.environ |= {
        f"{PREFIX}DATA_DIR": str(settings.data_dir),
        f"{PREFIX}REDIS_URL": settings.redis_url,
        f"{PREFIX}REDIS_PASSWORD_FILE": str(settings.redis_password_file or ""),
        f"{PREFIX}JWKS": settings.jwks,
    }
    os.chdir(gunicorn.FOLDER)
    os.execv(sys.executable, gunicorn.COMMAND)


@cli.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def nginx(folder: Path) -> None:
    """Write to DIR what a system nginx includes: http.conf, locations.conf, and a site.conf to begin with.

    They hold PUSHSVC_APP, ALLOWED_ORIGINS, PUBLIC_URL, TRUSTED_PROXIES and RETRY_SECONDS: write them anew, and reload
    nginx, where one of these changes.
    """
    from pushsvc.stack.nginx import write_site

    write_site(_settings(), folder)


@cli.command(epilog="A CHANNEL is user:ID, topic:NAME or all; a trailing * matches the rest.")
@click.option("--user", help="Claim sub: may read its own events and those to all.")
@click.option("--publish", multiple=True, metavar="CHANNEL", help="May publish to it.")
@click.option("--subscribe", multiple=True, metavar="CHANNEL", help="May subscribe to it, and make tickets for it.")
@click.option("--admin", is_flag=True, help="May read and cancel the answers of all users (/v1/generations).")
@click.option(
    "--ttl",
    type=click.IntRange(1, _LONGEST_TOKEN_SECONDS),
    default=3600,
    show_default=True,
    help="Seconds until it expires.",
)
def token(user: str | None, publish: tuple[str, ...], subscribe: tuple[str, ...], admin: bool, ttl: int) -> None:
    """Print a token."""
    settings = _settings()
    claims: dict[str, Any] = {"publish": list(publish), "subscribe": list(subscribe)} | settings.own_claims
    if user is not None:
        claims["sub"] = user
    if admin:
        claims["admin"] = True
    secret = _secret(settings)
    encoded = auth.encode(claims, secret, ttl=ttl)
    identity = Verifier([secret]).verify(encoded)  # a token that the service would refuse is not printed
    vain = [pattern for pattern in (*publish, *subscribe) if not auth.matches_something(pattern)]
    for pattern in vain:
        say(f"no channel is like {pattern!r}: they are user:ID, topic:NAME and all; a trailing * matches the rest")
    if identity.user is None and not identity.admin and len(vain) == len((*publish, *subscribe)):
        say("this token may do nothing; see --user, --publish, --subscribe and --admin")
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
        value = exact_json.loads(data.encode(), unique=True) if as_json else data
    except NotJson as error:
        raise click.BadParameter(f"not valid JSON: {error}", param_hint="DATA") from error
    item = {"user": user, "topic": topic, "all": to_all or None, "event": event, "key": key, "ttl": ttl}
    body = {name: given for name, given in item.items() if given is not None} | {"data": value}
    click.echo(_post("/publish", body, {"publish": ["*"]}).text)


@cli.command()
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
    timeout = httpx.Timeout(5.0, read=3 * _settings().heartbeat_seconds)
    with (
        _client({"sub": user, "subscribe": ["topic:*"]}) as client,
        client.stream("GET", "/events", params=parameters, headers=accept, timeout=timeout) as answer,
    ):
        if answer.status_code != 200:
            answer.read()
        _check(answer, "text/event-stream")
        yield {}
        yield from events(answer.iter_text())


@cli.command()
@click.argument("user")
@click.option("--topics", default="", help="Topics it opens too, comma separated.")
@click.option("--ttl", type=int, default=60, show_default=True, help="Seconds to use it in.")
def ticket(user: str, topics: str, ttl: int) -> None:
    """Print a ticket's URL, for an EventSource."""
    body = {"user": user, "topics": [name for name in topics.split(",") if name], "ttl": ttl}
    answer = _post("/tickets", body, {"subscribe": ["*"]})
    click.echo(str(answer.url.join(answer.json()["url"])))


@cli.command()
@click.argument("url", required=False, default="", envvar="PUSHSVC_URL")
def doctor(url: str) -> None:
    """Look at the deployment at URL, and say what is wrong and what mends it. The exit status is 1 if anything is.

    Without URL: at PUSHSVC_URL, else at PUSHSVC_HTTP. It calls with PUSHSVC_TOKEN, else with a token that it makes with
    the secret of this machine. Redis and the machine are looked at where PUSHSVC_REDIS_URL or PUSHSVC_DATA_DIR name the
    Redis of the service.
    """
    from pushsvc.doctor.site import find_site
    from pushsvc.doctor.visit import from_inside, from_outside

    settings = _settings()
    site = find_site(url, os.environ.get("PUSHSVC_TOKEN", ""), settings, lambda: _secret(settings))
    wrong = False
    for check, text, mend in chain(from_outside(site), from_inside(settings)):
        click.echo(f"{'WRONG' if mend else 'well '}  {check}: {text}" + (f"\n       mend: {mend}" if mend else ""))
        wrong = wrong or bool(mend)
    sys.exit(int(wrong))


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
    """Make a client of the service at PUSHSVC_HTTP, with a token of its own that lives a day."""
    settings = _settings()
    secret = _secret(settings)
    bearer = auth.encode(claims | settings.own_claims, secret, ttl=86400)
    headers = {"Authorization": f"Bearer {bearer}"}
    certificate = find_certificate(settings)
    transport = httpx.HTTPTransport(verify=False if certificate is None else certificate.trust())
    return httpx.Client(base_url=settings.http_url, headers=headers, transport=transport, trust_env=False)


def _check(answer: httpx.Response, media_type: str) -> None:
    """Exit with the service's own error text unless the response is a success of this media type."""
    given = answer.headers.get("Content-Type", "").partition(";")[0]
    if given == "application/problem+json":
        sys.exit(f"pushsvc: {answer.json()['detail']}")
    if not answer.is_success or given != media_type:
        sys.exit(f"pushsvc: what answers at {answer.url.netloc.decode()} is not pushsvc (status {answer.status_code})")
