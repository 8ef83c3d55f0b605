"""What can be known before the parts of the stack start, and while they come up."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

import httpx
import redis
from redis.exceptions import AuthenticationError, InvalidResponse, ResponseError

from pushsvc.addresses import CLUSTER_SCHEMES
from pushsvc.config import PREFIX, Settings
from pushsvc.embedded import OLDEST_REDIS
from pushsvc.errors import ConfigError
from pushsvc.keys import DEFAULT_PREFIX, Keys
from pushsvc.layout import WrongPartitions
from pushsvc.store import connect


def check_redis(url: str, partitions: int = 1, prefix: str = DEFAULT_PREFIX) -> None:
    """Raises ConfigError unless a Redis or Valkey that is new enough, and may be written to, answers there; of a
    cluster, for each of its `partitions`."""
    for number in range(partitions if url.startswith(CLUSTER_SCHEMES) else 1):
        _check_redis(url, Keys(number, partitions, prefix))


def _check_redis(url: str, keys: Keys) -> None:
    try:
        with connect(url, keys=keys) as client:
            found = client.info("server") | client.info("replication")
    except WrongPartitions as error:
        raise ConfigError(f"{PREFIX}PARTITIONS: {error}") from error
    except InvalidResponse as error:
        raise ConfigError(f"PUSHSVC_REDIS_URL: what answers there is not Redis: {error}") from error
    except (AuthenticationError, ResponseError) as error:
        raise ConfigError(f"PUSHSVC_REDIS_URL: Redis refuses the service: {error}") from error
    except redis.RedisError as error:
        raise ConfigError(f"PUSHSVC_REDIS_URL: Redis does not answer: {error}") from error
    except (ValueError, TypeError) as error:  # redis-py's words may hold a piece of the password
        raise ConfigError("PUSHSVC_REDIS_URL should be such as redis://:password@127.0.0.1:6379/0") from error
    version = str(found.get("redis_version", "of no version"))
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST_REDIS:
        raise ConfigError(f"PUSHSVC_REDIS_URL: Redis {version} is too old; 7.0 or later is needed")
    if "cluster" in (found.get("redis_mode"), found.get("server_mode")) and not url.startswith(CLUSTER_SCHEMES):
        raise ConfigError("PUSHSVC_REDIS_URL: a node of a cluster answers there; use redis+cluster://")
    if found.get("role") == "slave" and found.get("slave_read_only"):
        raise ConfigError("PUSHSVC_REDIS_URL: Redis is a read-only replica there; its master is needed")


def check_addresses(settings: Settings) -> None:
    """Raises ConfigError unless nginx and gunicorn can listen where they should."""
    if settings.http == settings.app:
        raise ConfigError(f"{PREFIX}APP should not be the same as {PREFIX}HTTP, {settings.http}")
    for setting, address in (("HTTP", settings.http), ("APP", settings.app)):
        try:
            if address.startswith("unix:"):
                _try_path(Path(address.removeprefix("unix:")))
            else:
                _try_port(address)
        except OSError as error:
            raise ConfigError(f"{PREFIX}{setting}: cannot listen at {address}: {error.strerror or error}") from error


def _try_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(target)


def _try_path(path: Path) -> None:
    """Also removes the socket of a server that was killed."""
    with socket.socket(socket.AF_UNIX) as probe:
        if path.is_socket():
            if probe.connect_ex(str(path)) == 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            path.unlink()
        probe.bind(str(path))
    path.unlink()


def is_loopback(address: str) -> bool:
    return address.rpartition(":")[0].strip("[]") in ("127.0.0.1", "localhost", "::1")


def valkey_ready(path: Path) -> bool:
    """A plain PING on the socket: quicker to say no than a client that retries."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16) == b"+PONG\r\n"  # while it still loads its data it says -LOADING
    except OSError:
        return False


def answers(address: str, url: str) -> bool:
    path = address.removeprefix("unix:") if address.startswith("unix:") else None
    url = url.replace(address, "localhost") if path else url.replace("//0.0.0.0:", "//127.0.0.1:")
    transport = httpx.HTTPTransport(uds=path, verify=False)  # no TLS; to load certificates takes 40 ms
    try:
        with httpx.Client(transport=transport, trust_env=False, timeout=2.0) as client:
            return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False
