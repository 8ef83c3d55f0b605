"""pushsvc: real-time push for Python teams. Backends publish, the right browsers hear it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from pushsvc.config import Settings

__version__ = "0.1.0"


def create_app(settings: Settings) -> Flask:
    """The only place where things are wired. Raises ConfigError. Nothing runs until `Service.start()`.

    The imports stand here because gunicorn's master imports this package to find the worker class, and what it
    has imported before the worker patches the standard library would stay unpatched.
    """
    from flask import Flask
    from flask.json.provider import DefaultJSONProvider
    from flask_cors import CORS

    from pushsvc import arguments, auth, problems, views
    from pushsvc.bus import Bus
    from pushsvc.connections import Connections
    from pushsvc.embedded import redis_url
    from pushsvc.event import Limits
    from pushsvc.eventlog import EventLog
    from pushsvc.hub import Hub
    from pushsvc.presence import Presence
    from pushsvc.service import EXTENSION, Service
    from pushsvc.store import Store, connect
    from pushsvc.tickets import Tickets

    worker_id = secrets.token_hex(6)
    secret = auth.load_secret(settings.secret, settings.data_dir)
    client = connect(redis_url(settings))
    store = Store(client)
    log = EventLog(
        store,
        keep_events=settings.keep_events,
        keep_seconds=settings.keep_seconds,
        dedupe_seconds=settings.dedupe_seconds,
    )
    presence = Presence(store, worker_id, settings.max_connections_per_user)
    connections = Connections(
        log,
        lambda subscriber: presence.leave(subscriber.user),
        heartbeat_seconds=settings.heartbeat_seconds,
        retry_seconds=settings.retry_seconds,
        send_buffer_bytes=settings.send_buffer_bytes,
    )
    hub = Hub(
        log,
        connections,
        presence,
        lambda ear: Bus(client, store, worker_id, ear),
        max_connections=settings.max_connections,
    )

    app = Flask("pushsvc", template_folder="../templates", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = arguments.MAX_BODY_BYTES
    app.json = provider = DefaultJSONProvider(app)
    provider.sort_keys = False
    app.extensions[EXTENSION] = Service(
        settings=settings,
        secret=secret,
        limits=Limits(settings.max_event_bytes, settings.max_batch),
        store=store,
        log=log,
        hub=hub,
        presence=presence,
        tickets=Tickets(store, secret),
    )
    problems.install(app)
    app.register_blueprint(views.blueprint)
    if settings.allowed_origins:
        CORS(app, origins=list(settings.allowed_origins), supports_credentials=True, expose_headers=["Retry-After"])
    return app
