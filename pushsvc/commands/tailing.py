"""`pushsvc tail`."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Final

import click

from pushsvc.client import ClientError, Event, Gap, Listener, MemoryCursor, ServiceError
from pushsvc.commands.reaching import given_token, reach
from pushsvc.program.terminal import say

_ID: Final = re.compile(r"\d+-\d+(\.\d+-\d+)*")
_COMMANDS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # to a terminal
_TEMPORARY: Final = (429, 503)  # of a service that answers, and will have room


@click.command(
    epilog="""\b
Examples:
  pushsvc tail alice                      # signs a token with this machine's secret
  PUSHSVC_URL=https://push.example.com PUSHSVC_TOKEN=… pushsvc tail --topic news --since unread
  pushsvc tail alice --json | jq .data
"""
)
@click.argument("user", required=False)
@click.option("--topic", multiple=True, help="A topic to follow too; may be repeated.")
@click.option("--topics", default="", help="The same, comma separated.")
@click.option("--since", type=click.Choice(["unread", "now", "earliest"]), default="now", show_default=True)
@click.option("--after", metavar="ID", help="Resume after this event id.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, as wherever stdout is no terminal.")
def tail(user: str | None, topic: tuple[str, ...], topics: str, since: str, after: str | None, as_json: bool) -> None:
    """Print the events of USER, or of PUSHSVC_TOKEN's user, as they come. Moves no unread position, outlasts restarts.

    The exit status is 1 if the service refuses, or does not answer at first.
    """
    if user is None and not given_token():
        raise click.UsageError("Missing argument 'USER', or PUSHSVC_TOKEN.")
    if user is not None and given_token():
        raise click.UsageError("PUSHSVC_TOKEN names its own user: leave out USER.")
    after and after.encode()  # raises UnicodeEncodeError for what the shell passed that is no text
    if after and not _ID.fullmatch(after):
        raise ClientError("last_event_id: must be an event id such as 1795229804123-0.")
    service = reach({"sub": user, "subscribe": ["topic:*"]})
    plain = as_json or not sys.stdout.isatty()
    show = _as_json if plain else _for_people
    with Listener(
        service.url, service.token, topics=[*topic, *filter(None, topics.split(","))], since=since, ack="none",
        cursor=MemoryCursor(after or None), on_gap=lambda gap: _missed(gap, plain=plain), on_state=_State().tell,
        tls=service.tls,
    ) as events:  # fmt: skip
        for event in events:
            show(event)


class _State:
    """Says why the stream waits. A service that does not answer at first is an error."""

    def __init__(self) -> None:
        self._opened = False

    def tell(self, state: str, error: ServiceError | None) -> None:
        self._opened = self._opened or state == "open"
        if error is None:
            return
        if not self._opened and error.status not in _TEMPORARY:
            raise error
        if error.status is not None:
            say(error.detail)


def _as_json(event: Event) -> None:
    named = {} if event.name == "message" else {"event": event.name}
    _line({"id": event.id, **named, "data": event.data})


def _line(fields: dict[str, object]) -> None:
    click.echo(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))


def _for_people(event: Event) -> None:
    ms = event.id.partition("-")[0]
    clock = time.strftime("%H:%M:%S", time.localtime(int(ms) / 1000)) if ms.isdigit() else event.id
    name, data = (_COMMANDS.sub("\N{REPLACEMENT CHARACTER}", text) for text in (event.name, event.data))
    click.echo(f"{click.style(clock, dim=True)} {click.style(name, fg='cyan', bold=True)} {data}")


def _missed(gap: Gap, *, plain: bool) -> None:
    if plain:
        _line({"event": "gap", "data": json.dumps(gap._asdict())})
    else:
        click.echo(click.style(f"events were missed ({gap.reason})", fg="yellow"))
