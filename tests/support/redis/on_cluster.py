"""A stack on a cluster."""

from __future__ import annotations

import redis

from pushsvc.config import DEFAULT_PREFIX
from pushsvc.storage.redis.keys import Keys, place
from tests.support.redis.servers import Cluster
from tests.support.stack import Stack

PARTITIONS = 8


class OnCluster(Stack):
    """A stack on a cluster as one user sees it: ids are those of the user's own partition."""

    def __init__(self, cluster: Cluster, *args: object, **settings: object) -> None:
        self.user = ""
        self._cluster = cluster
        super().__init__(*args, **{"redis_url": cluster.url} | settings)  # type: ignore[arg-type]

    @property
    def redis(self) -> redis.Redis:
        return redis.RedisCluster(host="127.0.0.1", port=self._cluster.ports[0])  # type: ignore[return-value]  # for most that we ask

    def keys_of(self, user: str) -> Keys:
        prefix = str(self.settings.get("redis_prefix", DEFAULT_PREFIX))
        return Keys(place(user, PARTITIONS), PARTITIONS, prefix)

    def publish_many(self, items: list[dict[str, object]]) -> list[str]:
        return [self.keys_of(self.user).own(event_id) for event_id in super().publish_many(items)]

    def publish(self, **item: object) -> str:
        return self.keys_of(self.user).own(super().publish(**item))
