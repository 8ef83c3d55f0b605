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

    from pushsvc import answering, arguments, asking, auth, pages, problems, views
    from pushsvc.bus import Bus
    from pushsvc.connections import Connections
    from pushsvc.embedded import redis_url
    from pushsvc.event import Limits
    from pushsvc.eventlog import EventLog
    from pushsvc.generation import Limits as TimeLimits
    from pushsvc.generations import Generations
    from pushsvc.hub import Hub
    from pushsvc.lives import greet
    from pushsvc.mock import Mock
    from pushsvc.presence import Presence
    from pushsvc.records import Records
    from pushsvc.scribe import Scribe
    from pushsvc.service import EXTENSION, Service
    from pushsvc.store import Store, connect
    from pushsvc.subscriber import Subscriber
    from pushsvc.tickets import Tickets
    from pushsvc.upstream import Upstream

    worker_id = secrets.token_hex(6)
    secret = auth.load_secret(settings.secret, settings.data_dir)
    client = connect(redis_url(settings), greet)
    store = Store(client)
    kept = {
        "keep_events": settings.keep_events,
        "keep_seconds": settings.keep_seconds,
        "dedupe_seconds": settings.dedupe_seconds,
    }
    log = EventLog(store, **kept, wait_replicas=settings.wait_replicas)
    presence = Presence(store, worker_id, settings.max_connections_per_user)
    records = Records(store, log, worker_id, **kept, most_per_user=settings.llm_max_generations_per_user)
    generations = Generations(
        records,
        Scribe(store, records, worker_id),
        Upstream(settings.llm_base_url, settings.llm_api_key, settings.llm_connect_seconds)
        if settings.llm_base_url
        else Mock(),
        TimeLimits(settings.llm_first_token_seconds, settings.llm_between_tokens_seconds, settings.llm_total_seconds),
        worker_id,
        presence,
        most=settings.llm_max_generations,
    )

    def left(subscriber: Subscriber) -> None:
        presence.leave(subscriber.user)
        generations.left(subscriber)

    connections = Connections(
        log,
        left,
        heartbeat_seconds=settings.heartbeat_seconds,
        retry_seconds=settings.retry_seconds,
        send_buffer_bytes=settings.send_buffer_bytes,
    )
    hub = Hub(
        log,
        connections,
        presence,
        lambda ear: Bus(client, store, worker_id, ear),
        called=generations.look_at,
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
        generations=generations,
    )
    problems.install(app)
    for each in (views, asking, answering, pages):
        app.register_blueprint(each.blueprint)
    if settings.allowed_origins:
        exposed = ["Retry-After", "X-Generation-Id"]
        CORS(app, origins=list(settings.allowed_origins), supports_credentials=True, expose_headers=exposed)
    return app
