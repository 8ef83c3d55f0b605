"""Django: `"pushsvc.contrib.django"` in INSTALLED_APPS, and in the settings:

    PUSHSVC = {"URL": "https://push.example.com", "TOKEN": "…"}

TOKEN: a backend's, which may publish and subscribe for its users. PUBLIC_URL: what browsers call the service; the same
by default. USER: the path of a function that gives a request's user id (None: nobody is logged in); the primary key by
default. TOPICS: of one that gives the topics that its user may follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, Unpack

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils.module_loading import import_string

from pushsvc.client import Publisher, Receipt
from pushsvc.client.items import Target
from pushsvc.client.publisher import PATIENCE_SECONDS as SENDING_SECONDS
from pushsvc.contrib.outbox import row
from pushsvc.contrib.pages import PATIENCE_SECONDS, base


@cache
def publisher(patience: float = SENDING_SECONDS) -> Publisher:
    """The site's publisher. Raises KeyError, or ValueError, for settings that are missing or wrong."""
    return Publisher(settings.PUSHSVC["URL"], settings.PUSHSVC["TOKEN"], patience=patience)


def tickets() -> Publisher:
    """The publisher that asks for tickets, and soon gives up: the page asks again."""
    return publisher(PATIENCE_SECONDS)


def public_url() -> str:
    """The URL by which browsers call the service."""
    return base(settings.PUSHSVC.get("PUBLIC_URL") or settings.PUSHSVC["URL"])


def user_id(request: HttpRequest) -> str | None:
    """The user who is logged in. None: nobody."""
    if "USER" in settings.PUSHSVC:
        find: Callable[[HttpRequest], str | None] = import_string(settings.PUSHSVC["USER"])
        return find(request)
    user = request.user
    return str(user.pk) if user.is_authenticated else None


def topics(request: HttpRequest) -> list[str]:
    """The topics that the request's user may follow."""
    return list(import_string(settings.PUSHSVC["TOPICS"])(request)) if "TOPICS" in settings.PUSHSVC else []


def publish(data: Any, **target: Unpack[Target]) -> Receipt:
    """See `pushsvc.client.Publisher.publish`."""
    return publisher().publish(data, **target)


def publish_on_commit(data: Any, *, using: str | None = None, **target: Unpack[Target]) -> None:
    """Publish in the background once the transaction is committed, or at once without one. It is lost if the process
    ends in that moment, or the queue is full, which is logged: `publish_in_transaction` loses nothing. Raises
    ValueError, or TypeError."""
    given = json.loads(row(data, **target))  # here, where the mistake is: a commit that is done must not fail

    def publish_now() -> None:
        publisher().enqueue(**given)

    transaction.on_commit(publish_now, using=using, robust=True)


def publish_in_transaction(data: Any, *, using: str | None = None, **target: Unpack[Target]) -> None:
    """Publish if and when the transaction is committed: the event is a row of it, which `pushsvc relay` publishes.
    Raises ValueError, or TypeError."""
    from pushsvc.contrib.django.models import OutboxEvent

    OutboxEvent.objects.using(using).create(item=row(data, **target))
