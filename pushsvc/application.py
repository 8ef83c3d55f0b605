"""Makes all parts of the service and connects them. No other module does."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence, Sized
from functools import partial
from typing import Final

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from flask_cors import CORS

from pushsvc import auth
from pushsvc.addresses.origins import EXPOSED
from pushsvc.addresses.redis_address import CLUSTER_SCHEMES
from pushsvc.attendance.hooks import Hooks, HookSender
from pushsvc.attendance.receiver import Receiver
from pushsvc.attendance.register import Register
from pushsvc.attendance.roll_call import RollCall
from pushsvc.checks.health import Health
from pushsvc.concurrency.gathering import GATHERING
from pushsvc.concurrency.room import Room
from pushsvc.config import Settings, redis_url
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.reading.history import MOST_BYTES as PAGE_BYTES
from pushsvc.errors import ConfigError
from pushsvc.events.publication import Limits
from pushsvc.llm.dialects.responses.native import WithResponses
from pushsvc.llm.making.passing import Passing
from pushsvc.llm.models.base import Model
from pushsvc.llm.models.connecting import Connector
from pushsvc.llm.models.credentials import Credentials, NoKey
from pushsvc.llm.models.mock import Mock
from pushsvc.llm.models.upstream import Upstream
from pushsvc.llm.routing.place import Place
from pushsvc.llm.routing.router import Router
from pushsvc.partition import Partition, Shared, limits_of, make_partition
from pushsvc.program.files import FOLDER
from pushsvc.server.forwarding import Forwarding
from pushsvc.service import EXTENSION, Service
from pushsvc.settings.upstreams import UpstreamSettings, load
from pushsvc.storage.partitioned_log import PartitionedLog
from pushsvc.storage.redis.client import nodes_of
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.topology.coverage import Coverage
from pushsvc.storage.revoking import Revocation, Revoking
from pushsvc.tokens.provider_keys import ProviderKeys
from pushsvc.tokens.revocations import Revocations
from pushsvc.tokens.verifier import Verifier
from pushsvc.web import events, history, pages, publish, reference, tickets, unread, websocket
from pushsvc.web.answers import completions, generations, models, passing, responses, stored, ui, usage
from pushsvc.web.http import before_request, problems
from pushsvc.web.operating import connections, health, metrics, presence

_PAGES: Final = 64  # of history that a worker holds at a time
_OWN_PAGES: Final = 8  # the same, for one user
_RESOURCES: Final = (
    publish, events, connections, history, tickets, unread, health, metrics, presence, completions, generations, models,
    responses, stored, ui, usage, pages, websocket, reference,
)  # fmt: skip


def create_app(settings: Settings) -> Flask:
    """Make the Flask application and its Service. Nothing runs until `Service.start()`. Raises ConfigError."""
    app = Flask("pushsvc", template_folder=str(FOLDER / "templates"), static_folder=None)
    app.url_map.merge_slashes = False  # a redirect would repeat the query, and nginx answers 502 to a head of 4 KB
    app.json = json = DefaultJSONProvider(app)
    json.sort_keys = False
    app.extensions[EXTENSION] = service = _make_service(settings)
    problems.install(app)
    before_request.install(app, service)
    for each in _RESOURCES:
        app.register_blueprint(each.blueprint)
    if settings.asks_a_server:
        passing.install(app, settings.llm_pass)
    if settings.allowed_origins:
        # Given as patterns, because Flask-CORS takes a string with a bracket, such as an IPv6 address, for a pattern.
        allowed = [re.compile(re.escape(each) + r"\Z", re.IGNORECASE) for each in settings.allowed_origins]
        CORS(app, origins=allowed, supports_credentials=True, expose_headers=list(EXPOSED))
    app.wsgi_app = Forwarding(app.wsgi_app, settings, [rule.rule for rule in app.url_map.iter_rules()])  # type: ignore[method-assign]
    return app


def _make_service(settings: Settings) -> Service:
    own = auth.load_secrets(settings.secret, settings.data_dir)
    provider = ProviderKeys(settings.jwks) if settings.jwks else None
    revocations = Revocations()
    partitions: list[Partition] = []
    asked: list[Sized] = []
    shared = _shared(settings, own, partitions, asked)
    coverage = _make_partitions(settings, shared, partitions)
    passing_on = Passing(shared.model, limits_of(settings), settings.llm_max_generations_per_user, shared.full)
    asked += [passing_on, *(each.generations for each in partitions)]
    logs = [each.log for each in partitions]
    limits = Limits(settings.max_event_bytes, settings.max_batch)
    return Service(
        settings=settings,
        secrets=own,
        verifier=Verifier(
            own,
            settings.leeway_seconds,
            provider=provider,
            issuer=settings.issuer,
            audience=settings.audience,
            revocations=revocations,
        ),
        limits=limits,
        room=Room(2 * limits.body_bytes, limits.body_bytes),
        pages=Room(_PAGES * PAGE_BYTES, _OWN_PAGES * PAGE_BYTES),
        capacity=shared.capacity,
        partitions=tuple(partitions),
        model=shared.model,
        passing=passing_on,
        log=logs[0] if len(logs) == 1 else PartitionedLog(logs),
        health=Health(partitions, coverage),
        roll=shared.roll,
        revoking=Revoking(partitions[0].store, revocations, partial(_end_revoked, partitions)),
        hooks=_hooks(shared, partitions) if settings.hook_url else None,
    )


def _shared(
    settings: Settings, own: tuple[str, ...], partitions: Sequence[Partition], asked: Sequence[Sized]
) -> Shared:
    """The parts that the partitions have in common. `partitions`, `asked` (who asks the model's server): they are added
    later."""
    worker_id = secrets.token_hex(6)
    return Shared(
        settings,
        own,
        worker_id,
        Capacity(settings.max_connections, lambda: sum(len(each.hub.subscribers) for each in partitions)),
        _model(settings),
        lambda: sum(map(len, asked)) >= settings.llm_max_generations,
        RollCall(worker_id),
        Register(worker_id, settings.retry_seconds),
    )


def _make_partitions(settings: Settings, shared: Shared, partitions: list[Partition]) -> Coverage | None:
    """Add the partitions: on a cluster many, whose coverage this gives; else one."""
    url = redis_url(settings)
    is_cluster = url.startswith(CLUSTER_SCHEMES)
    keys = Keys(0, settings.partitions if is_cluster else 1, settings.redis_prefix)
    partitions += [make_partition(url, each, shared) for each in keys.all()]
    return Coverage(nodes_of(url, settings.redis_password_file), keys) if is_cluster else None


def _model(settings: Settings) -> Model:
    if settings.llm_upstreams is not None:
        places = [_place(each, settings) for each in load(settings.llm_upstreams)]
        return WithResponses(Router(places, settings.llm_first_token_seconds))
    if not settings.llm_base_url:
        return Mock()
    credentials = Credentials(settings.llm_api_key, settings.llm_api_key_file, settings.llm_headers)
    try:
        credentials.headers({}, private=True)
    except NoKey as error:
        raise ConfigError(f"PUSHSVC_LLM_API_KEY_FILE should be the file of a key: {error}") from None
    connector = Connector(settings.llm_connect_seconds)
    return WithResponses(Upstream(settings.llm_base_url, credentials, connector, GATHERING[settings.poller]))


def _place(upstream: UpstreamSettings, settings: Settings) -> Place:
    credentials = Credentials(upstream.api_key, upstream.api_key_file, upstream.headers)
    connector = Connector(settings.llm_connect_seconds)
    model = Upstream(upstream.base_url, credentials, connector, GATHERING[settings.poller])
    return Place(upstream.name, model, upstream.models, upstream.weight, upstream.at_a_time, upstream.queue)


def _hooks(shared: Shared, partitions: Sequence[Partition]) -> Hooks:
    settings = shared.settings
    receiver = Receiver(settings.hook_url, settings.hook_secret, private=settings.hook_private)
    return Hooks(shared.register, [HookSender(each.store, shared.worker_id, receiver) for each in partitions])


def _end_revoked(partitions: Sequence[Partition], revoked: Revocation) -> None:
    for each in partitions:
        each.streams.end_revoked(revoked.token, revoked.user)
