"""Publishing straight to the service's Redis, for `pushsvc.client.Publisher(redis_url=…)`: the same checks, the same
script and the same answers as `POST /publish`, with the rights of whoever reaches Redis."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from pushsvc.addresses.redis_address import CLUSTER_SCHEMES
from pushsvc.auth import Identity
from pushsvc.client.errors import ServiceError
from pushsvc.config import Settings
from pushsvc.errors import ConfigError, Later, PushError
from pushsvc.events import exact_json
from pushsvc.events.publication import Limits
from pushsvc.publishing.publisher import Answer, Publisher
from pushsvc.storage.log import EventLog
from pushsvc.storage.partitioned_log import Appender, PartitionedLog
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.retention import Retention

T = TypeVar("T")

_ANYBODY: Final = Identity(user=None, publish=("*",))


class DirectService:
    """The service as far as publishing needs it. May be used by several threads, and after a fork."""

    def __init__(self, redis_url: str) -> None:
        """The other settings (KEEP_EVENTS, REDIS_PREFIX and so on) are those of the environment, and must be the
        service's. Raises ValueError."""
        try:
            self._settings = Settings.from_env({**os.environ, "PUSHSVC_REDIS_URL": redis_url})
        except ConfigError as error:
            raise ValueError(error.detail) from None
        self._url = redis_url
        self._limits = Limits(self._settings.max_event_bytes, self._settings.max_batch)
        self._publisher = self._make()
        self._pid = os.getpid()

    def _make(self) -> Publisher:
        settings = self._settings
        count = settings.partitions if self._url.startswith(CLUSTER_SCHEMES) else 1
        logs = [self._log(keys) for keys in Keys(0, count, settings.redis_prefix).all()]
        log: Appender = logs[0] if count == 1 else PartitionedLog(logs)
        return Publisher(_ANYBODY, log, self._limits)

    def _log(self, keys: Keys) -> EventLog:
        settings, fence = self._settings, Fence(keys)
        client = connect(self._url, fence.handshake, keys, settings.redis_password_file)
        store = RedisClient(client, keys, fence, wait_replicas=settings.wait_replicas)
        return EventLog(store, Retention.from_settings(settings))

    def one(self, body: bytes) -> Answer:
        """Publish one event. Raises ServiceError."""
        return self._told(lambda publisher: publisher.publish(exact_json.loads_items(body), None))

    def batch(self, bodies: Sequence[bytes]) -> list[Answer]:
        """Publish several, and answer each in order. Raises ServiceError."""
        items = [exact_json.loads_items(body) for body in bodies]
        return self._told(lambda publisher: publisher.publish_batch(items))

    def _told(self, call: Callable[[Publisher], T]) -> T:
        if self._pid != os.getpid():  # the parent goes on with its own connections
            self._publisher, self._pid = self._make(), os.getpid()
        try:
            return call(self._publisher)
        except PushError as error:
            raise ServiceError(
                error.detail,
                status=error.status,
                errors=error.errors,
                retry_after=error.retry_after if isinstance(error, Later) else None,
            ) from error

    def renew_token(self) -> bool:
        """Renew nothing: there is no token."""
        return False

    def close(self) -> None:
        """The connections end with the object."""
