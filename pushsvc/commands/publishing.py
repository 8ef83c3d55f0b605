"""`pushsvc publish` and `pushsvc ticket`."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, TextIO
from urllib.parse import urljoin

import click

from pushsvc.client import Publisher, PublishError, Receipt
from pushsvc.client.items import Json
from pushsvc.commands.reaching import reach

_MOST_TTL: Final = 2**53  # what JSON carries everywhere
_STREAM_PATIENCE: Final = 60.0  # seconds that a stream of events waits for a service that restarts
_EACH: Final = 100  # events between two looks of the counter


@click.command(
    epilog="""\b
Examples:
  pushsvc publish --user alice "hello"
  pushsvc publish --topic news --event headline --json '{"id": 7}'
  pushsvc publish --stdin < events.ndjson
"""
)
@click.argument("data", required=False)
@click.option("--user", help="To this user.")
@click.option("--topic", help="To this topic.")
@click.option("--all", "to_all", is_flag=True, help="To everybody.")
@click.option("--event", default="message", show_default=True, help="The event's name.")
@click.option("--key", help="Idempotency key: a repeat does nothing.")
@click.option("--ttl", type=click.IntRange(max=_MOST_TTL), help="Seconds after which it is no longer delivered.")
@click.option("--json", "as_json", is_flag=True, help="DATA is JSON, not a string.")
@click.option("--stdin", is_flag=True, help="Publish events from stdin, one a line, in the JSON of POST /publish.")
@click.option("--patience", type=float, default=0.0, help="Seconds for which to try again what fails for now.")
def publish(  # noqa: PLR0913
    data: str | None,
    user: str | None,
    topic: str | None,
    to_all: bool,
    event: str,
    key: str | None,
    ttl: int | None,
    as_json: bool,
    stdin: bool,
    patience: float,
) -> None:
    """Publish an event, and print its id; or publish the events of stdin. The exit status is 1 if one is refused."""
    if stdin:
        if data is not None:
            raise click.UsageError("with --stdin there is no DATA")
        _publish_lines(patience or _STREAM_PATIENCE)
        return
    if data is None:
        raise click.UsageError("Missing argument 'DATA'.")
    item = {"user": user, "topic": topic, "all": to_all or None, "event": event, "key": key, "ttl": ttl}
    head = json.dumps({name: given for name, given in item.items() if given is not None}, ensure_ascii=False)
    text = Json(f'{head[:-1]}, "data": {_checked(data) if as_json else _encoded(data)}}}')
    with _publisher(patience) as push:
        _print(push.publish_item(text))


def _publisher(patience: float) -> Publisher:
    service = reach({"publish": ["*"], "subscribe": ["*"]})
    return Publisher(service.url, service.token, patience=patience, tls=service.tls)


def _encoded(data: str) -> str:
    encoded = json.dumps(data, ensure_ascii=False)
    try:
        encoded.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("not valid UTF-8", param_hint="DATA") from error
    return encoded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names a key twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _checked(data: str) -> str:
    """The JSON as it was written: its numbers keep their digits. Raises BadParameter."""
    try:
        value = json.loads(
            data, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=str, parse_int=str
        )  # fmt: skip
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("it holds half of a surrogate pair", param_hint="DATA") from error
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"not valid JSON: {error}", param_hint="DATA") from error
    return data


def _print(result: Receipt | PublishError) -> None:
    if isinstance(result, PublishError):
        said: dict[str, Any] = {"error": {"status": result.status, "detail": result.detail}}
    else:
        said = {"id": result.id, "duplicate": result.duplicate}
    click.echo(json.dumps(said, ensure_ascii=False, separators=(",", ":")))


def _publish_lines(patience: float) -> None:
    """Publish each line of stdin, and print what became of it, in order."""
    refused = 0

    def tell(_: int, result: Receipt | PublishError) -> None:
        nonlocal refused
        refused += isinstance(result, PublishError)
        _print(result)

    with _publisher(patience) as push:
        try:
            with push.stream(on_result=tell) as stream:
                for number, line in enumerate(_with_progress(sys.stdin), 1):
                    try:
                        stream.publish_item(Json(line))
                    except (ValueError, RecursionError) as error:
                        raise click.ClickException(f"line {number} is no event: {error}") from error
        except PublishError:
            if not refused:
                raise
    if refused:
        sys.exit(f"pushsvc: {refused} events were refused")


def _with_progress(lines: TextIO) -> Iterator[str]:
    """The lines that are not blank. A person is shown how far it is."""
    if not sys.stderr.isatty():
        yield from filter(str.strip, lines)
        return
    status = os.fstat(lines.fileno())
    if stat.S_ISREG(status.st_mode):
        with click.progressbar(length=status.st_size, label="publishing", file=sys.stderr) as bar:
            for line in lines:
                bar.update(len(line.encode()))
                if line.strip():
                    yield line
        return
    yield from _counted(filter(str.strip, lines))


def _counted(lines: Iterable[str]) -> Iterator[str]:
    count = 0
    for count, line in enumerate(lines, 1):
        if count % _EACH == 0:
            click.echo(f"\r{count} events", err=True, nl=False)
        yield line
    click.echo(f"\r{count} events", err=True)


@click.command(
    epilog="""\b
Example:
  pushsvc ticket alice --topics news,sport
"""
)
@click.argument("user")
@click.option("--topics", default="", help="Topics it opens too, comma separated.")
@click.option("--ttl", type=int, default=60, show_default=True, help="Seconds to use it in.")
def ticket(user: str, topics: str, ttl: int) -> None:
    """Print a ticket's URL, for an EventSource."""
    service = reach({"subscribe": ["*"]})
    with Publisher(service.url, service.token, patience=0, tls=service.tls) as push:
        made = push.ticket(user, topics=[name for name in topics.split(",") if name], ttl=ttl)
    click.echo(urljoin(service.url, made.url))
