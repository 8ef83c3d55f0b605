"""`pushsvc relay`."""

from __future__ import annotations

import logging
import signal
import threading

import click

from pushsvc.client import Publisher
from pushsvc.commands.reaching import reach
from pushsvc.contrib.outbox.relay import BATCH, Relay
from pushsvc.contrib.outbox.store import Away, open_store


@click.command(
    epilog="""\b
Examples:
  pushsvc relay postgresql://app@db/shop
  pushsvc relay sqlite:////var/lib/app/db.sqlite3 --create
"""
)
@click.argument("database", envvar="PUSHSVC_DATABASE_URL")
@click.option("--create", is_flag=True, help="Make the table pushsvc_outbox, if there is none.")
@click.option("--drain", is_flag=True, help="End when the outbox is empty.")
@click.option("--batch", type=click.IntRange(1, BATCH), default=BATCH, show_default=True, help="Rows taken at a time.")
def relay(database: str, create: bool, drain: bool, batch: int) -> None:
    """Publish the events that applications put into the outbox of DATABASE, once each.

    Several may run. Where there is no database, or no service, it waits. Rows that the service refuses for good stay,
    with the reason in the column `error`.
    """
    logging.basicConfig(format="pushsvc: %(message)s")
    store = open_store(database)
    if create:
        try:
            store.prepare()
        except Away as error:
            raise click.ClickException(str(error)) from error
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    service = reach({"publish": ["*"]})
    with Publisher(service.url, service.token, tls=service.tls) as push:
        Relay(store, push, batch=batch).run(ending, drain=drain)
