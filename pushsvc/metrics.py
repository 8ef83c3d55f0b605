"""The numbers that the service counts and measures, for Prometheus. One increment stands for a whole batch, never for
one socket.

The workers of a gunicorn write to shared files (prometheus_client's multiprocess mode), so each can answer for all of
them. The folder of these files is chosen before this module is loaded, see server/metrics_folder.py; without it a
worker answers for itself.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # as prometheus_client reads it when it is loaded
ENDED: Final = "0"  # stands for all processes that have ended, in names of files
_MOMENTS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds
_LONG: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0)

WORKERS: Final = Gauge("pushsvc_workers", "Workers that serve.", multiprocess_mode="livesum")
CONNECTIONS: Final = Gauge(
    "pushsvc_connections", "Open connections.", ["transport"], multiprocess_mode="livesum"
)  # fmt: skip
USERS: Final = Gauge(
    "pushsvc_users", "Users with a connection, counted once in each worker.", multiprocess_mode="livesum"
)  # fmt: skip
JOINS: Final = Counter("pushsvc_joins", "Connections that began.", ["transport"])
ENDS: Final = Counter("pushsvc_connection_ends", "Connections that ended, by the reason.", ["reason"])
PUBLISHED: Final = Counter("pushsvc_published", "Events that were sent to be published, by the result.", ["result"])
DELIVERED: Final = Counter("pushsvc_delivered", "Events written to connections as they were announced.")
DELIVERY: Final = Histogram(
    "pushsvc_delivery_seconds",
    "From an event's id (Redis's clock, in ms) to the moment at which it had been written to all its live connections.",
    buckets=_MOMENTS,
)
REPLAYED: Final = Counter("pushsvc_replayed", "Events written to connections from the log.")
GAPS: Final = Counter("pushsvc_gaps", "Gap events that clients were sent, by the reason.", ["reason"])
HEALS: Final = Counter("pushsvc_heals", "Channels that were read from the log because an announcement was lost.")
BUS_LAG: Final = Histogram(
    "pushsvc_bus_lag_seconds", "From sending an announcement to oneself to hearing it.", buckets=_MOMENTS
)
REDIS: Final = Histogram("pushsvc_redis_seconds", "Round trips to Redis.", buckets=_MOMENTS)
HOOKS: Final = Counter("pushsvc_hooks", "Hooks that were sent, by the result.", ["result"])
HOOKS_WAITING: Final = Gauge(
    "pushsvc_hooks_waiting", "Hooks that no receiver has taken yet.", ["partition"], multiprocess_mode="livesum"
)
TOKENS: Final = Counter("pushsvc_tokens", "Tokens of answers, as the model's server or an estimate says.", ["kind"])
GENERATIONS: Final = Counter("pushsvc_generations", "Answers of the model that ended, by the state.", ["state"])
GENERATING: Final = Gauge(
    "pushsvc_generating", "Answers that are being made.", multiprocess_mode="livesum"
)  # fmt: skip
UPSTREAM_CALLS: Final = Counter(
    "pushsvc_upstream_calls", "Questions to models' servers, by the result.", ["upstream", "result"]
)  # fmt: skip
UPSTREAM_OPEN: Final = Gauge(
    "pushsvc_upstream_open", "Workers that leave a model's server alone.", ["upstream"], multiprocess_mode="livesum"
)
UPSTREAM_WAITING: Final = Gauge(
    "pushsvc_upstream_waiting", "Questions that wait for a model's server.", ["upstream"], multiprocess_mode="livesum"
)
FIRST_TOKEN: Final = Histogram(
    "pushsvc_upstream_first_token_seconds", "From the question to the model's first token.", buckets=_LONG
)
UPSTREAM: Final = Histogram("pushsvc_upstream_seconds", "From the question to the end of the answer.", buckets=_LONG)

for _transport in ("sse", "long_poll", "answer"):  # so that each is there from the start, with a 0
    CONNECTIONS.labels(_transport)
    JOINS.labels(_transport)


def exposition(accept: str) -> tuple[bytes, str]:
    """All metrics of all workers, and the media type: that of OpenMetrics if `accept`, the header of this name, asks
    for it, else Prometheus's text format."""
    encode, media_type = choose_encoder(accept)
    folder = os.environ.get(FOLDER)
    if folder is None:
        return encode(REGISTRY), media_type
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    with _alone(Path(folder)):
        _merge_ended(Path(folder))
        return encode(registry), media_type


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other workers from merging or reading meanwhile."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _merge_ended(folder: Path) -> None:
    """Add the counts of processes that have ended into one file, so that counts never fall and reloads leave no files
    behind. What such a process had open is gone with it."""
    for path in folder.glob("*.db"):
        kind, _, process = path.stem.rpartition("_")
        if process == ENDED or _lives(int(process)):
            continue
        if not kind.startswith("gauge"):
            _add(path, path.with_name(f"{kind}_{ENDED}.db"))
        path.unlink()


def _add(source: Path, sums: Path) -> None:
    total = MmapedDict(str(sums))  # type: ignore[no-untyped-call]
    try:
        for key, value, stamp, _ in MmapedDict.read_all_values_from_file(str(source)):  # type: ignore[no-untyped-call]
            before, _ = total.read_value(key)  # type: ignore[no-untyped-call]
            total.write_value(key, before + value, stamp)  # type: ignore[no-untyped-call]
    finally:
        total.close()  # type: ignore[no-untyped-call]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def count_tokens(usage: Mapping[str, Any]) -> None:
    """Count the tokens of an answer, as its model or an estimate says."""
    for kind in ("prompt", "completion"):
        tokens = usage.get(f"{kind}_tokens")
        if isinstance(tokens, int) and tokens > 0:
            TOKENS.labels(kind).inc(tokens)
