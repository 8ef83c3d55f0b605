"""Whether the machine lets a worker hold its connections."""

from __future__ import annotations

import ipaddress
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pushsvc.config import PREFIX, Settings
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.server.rlimit import RESERVED

_SYSCTLS: Final = Path("/proc/sys")
_QUEUE: Final = 4096  # Linux's own since 5.4


def descriptors(settings: Settings) -> Iterator[Finding]:
    """Check the limit on open files that processes started from here have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_connections + RESERVED
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Wrong(
            f"a process may open {hard} files here, and a worker with {settings.max_connections} connections needs "
            f"{needed}",
            f"LimitNOFILE={needed} (systemd), --ulimit nofile={needed} (Docker), ulimit -n {needed} (a shell), or "
            f"{PREFIX}MAX_CONNECTIONS={max(1, hard - RESERVED)}",
        )
    yield Finding("descriptors", f"a process may open the {needed} files that a worker needs")


def kernel(settings: Settings, root: Path = _SYSCTLS) -> Iterator[Finding]:
    """Check the kernel's settings. `root`: where they are files; a missing one gives no finding."""
    bad = [*_queue(root), *_ports(settings, root), *_overcommit(settings, root)]
    yield from bad or [Finding("kernel", "its settings are good, where they can be read")]


def _queue(root: Path) -> Iterator[Finding]:
    [waiting] = _read(root, "net/core/somaxconn") or [_QUEUE]
    if waiting < _QUEUE:
        yield Finding(
            "kernel",
            f"{waiting} connections may wait to be accepted; when all browsers come back at once more are dropped",
            _sysctl("net.core.somaxconn", _QUEUE),
        )


def _ports(settings: Settings, root: Path) -> Iterator[Finding]:
    """Nginx takes a port of its own for each stream, where it reaches gunicorn over TCP."""
    most = settings.workers * settings.max_connections
    first, last = _read(root, "net/ipv4/ip_local_port_range") or (0, most)
    ports = last - first + 1
    if ports < most and not settings.app.startswith("unix:"):
        yield Finding(
            "kernel",
            f"nginx has {ports} ports for its connections to gunicorn, and {settings.workers} workers of "
            f"{settings.max_connections} connections need {most}",
            f"{PREFIX}APP=unix:/run/pushsvc/app.sock, or fewer {PREFIX}MAX_CONNECTIONS",
        )


def _overcommit(settings: Settings, root: Path) -> Iterator[Finding]:
    [mode] = _read(root, "vm/overcommit_memory") or [1]
    if mode != 1 and _has_redis(settings):
        yield Finding(
            "kernel",
            f"Redis may fail to rewrite its file while there is memory (vm.overcommit_memory is {mode})",
            _sysctl("vm.overcommit_memory", 1),
        )


def _has_redis(settings: Settings) -> bool:
    """Whether Redis runs on this machine."""
    if not settings.redis_url or settings.redis_url.startswith("unix:"):
        return True
    host = urlsplit(settings.redis_url).hostname or "localhost"
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sysctl(name: str, value: int) -> str:
    return f"sysctl -w {name}={value}, and the same in /etc/sysctl.d/pushsvc.conf"


def _read(root: Path, name: str) -> list[int]:
    try:
        return [int(word) for word in (root / name).read_text().split()]
    except (OSError, ValueError):
        return []
