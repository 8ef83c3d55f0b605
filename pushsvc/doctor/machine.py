"""Whether the machine lets a worker hold its connections."""

from __future__ import annotations

import ipaddress
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pushsvc.concurrency.memory import usable_memory
from pushsvc.config import PREFIX, Settings
from pushsvc.doctor.findings import Finding
from pushsvc.server.rlimit import RESERVED

_SYSCTLS: Final = Path("/proc/sys")
_QUEUE: Final = 4096  # Linux's own since 5.4
_FEW: Final = 4096  # connections of a worker, below which that is wrong whoever chose it
_STRICT: Final = 2  # vm.overcommit_memory: a fork must have all of its memory at once


def descriptors(settings: Settings) -> Iterator[Finding]:
    """Check the limit on open files that processes started from here have. A worker takes no more connections than that
    allows, which is wrong where somebody chose the number of connections, or where it leaves few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.max_connections + RESERVED
    if hard == resource.RLIM_INFINITY or hard >= needed:
        yield Finding("descriptors", f"a process may open the {needed} files that a worker needs")
        return
    most = max(1, hard - RESERVED)
    yield Finding(
        "descriptors",
        f"a process may open {hard} files here, so a worker takes {most} connections and refuses the rest of its "
        f"{settings.max_connections}",
        f"LimitNOFILE={needed} (systemd), --ulimit nofile={needed} (Docker), ulimit -n {needed} (a shell), or "
        f"{PREFIX}MAX_CONNECTIONS={most}",
        _is_chosen(settings) or most < _FEW,
    )


def _is_chosen(settings: Settings) -> bool:
    """Whether somebody asked for so many connections, who does not get them then."""
    return "max_connections" in settings.model_fields_set


def kernel(settings: Settings, root: Path = _SYSCTLS) -> Iterator[Finding]:
    """Check the kernel's settings. `root`: where they are files; a missing one gives no finding."""
    found = [*_queue(root), *_ports(settings, root), *_overcommit(settings, root)]
    if not any(each.is_wrong for each in found):
        yield Finding("kernel", "its settings are good, where they can be read")
    yield from found


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
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    each = settings.max_connections if hard == resource.RLIM_INFINITY else min(settings.max_connections, hard)
    most = settings.workers * each
    first, last = _read(root, "net/ipv4/ip_local_port_range") or (0, most)
    ports = last - first + 1
    if ports < most and not settings.app.startswith("unix:"):
        yield Finding(
            "kernel",
            f"nginx has {ports} ports for its connections to gunicorn, and {settings.workers} workers of "
            f"{each} connections need {most}",
            f"{PREFIX}APP=unix:/run/pushsvc/app.sock, or fewer {PREFIX}MAX_CONNECTIONS",
            _is_chosen(settings) or ports < settings.workers * _FEW,
        )


def _overcommit(settings: Settings, root: Path) -> Iterator[Finding]:
    """A rewrite forks, and the fork may come to need as much memory again. With the kernel's default, 0, it is refused
    only where that is more than the whole machine has."""
    [mode] = _read(root, "vm/overcommit_memory") or [1]
    if mode != 1 and _has_redis(settings):
        yield Finding(
            "kernel",
            f"Redis may fail to rewrite its file while there is memory (vm.overcommit_memory is {mode})",
            _sysctl("vm.overcommit_memory", 1),
            mode == _STRICT or _fills_the_machine(settings),
        )


def _fills_the_machine(settings: Settings) -> bool:
    """Whether the embedded Redis may come to hold more than half of the memory."""
    memory = usable_memory()
    return not settings.redis_url and memory is not None and settings.max_memory > memory / 2


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
