"""The same behaviour with the other poller, gevent's own watchers, and on a system that has no epoll at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from tests.conftest import Start
from tests.faults.processes.test_sockets import (
    test_clients_that_leave_take_their_descriptors_along,  # noqa: F401
    test_one_who_never_reads_is_cut_when_more_waits_than_may,  # noqa: F401
)
from tests.support import behaviour
from tests.support.models.model import Model
from tests.support.stack import Stack

globals().update(behaviour.marked("every_redis"))  # run with the `stack` of this module

# Python runs this before anything else: then it has as little as on macOS.
_NO_LINUX = """
import os, select, socket
linux = {
    select: ["epoll"],
    os: ["sched_", "memfd_create", "eventfd", "pidfd_open", "splice", "copy_file_range", "posix_fadvise"],
    socket: ["msg_nosignal", "msg_more", "msg_cmsg", "so_peercred", "so_bindtodevice", "so_incoming_cpu",
             "sock_cloexec", "sock_nonblock", "tcp_defer", "tcp_quickack", "tcp_user_timeout", "tcp_keepidle",
             "tcp_cork"],
}
for module, starts in linux.items():
    for name in [name for name in vars(module) if name.lower().startswith(tuple(starts))]:
        delattr(module, name)
        if name in getattr(module, "__all__", ()):
            module.__all__.remove(name)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, _model: Model) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("stack"), poller="gevent", **behaviour.settings(_model))
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.fixture
def single(shared: Start) -> Stack:
    return shared(poller="gevent", workers=1, max_connections_per_user=1000, send_buffer_bytes=50_000, keep_events=5000)


def test_each_worker_watches_through_gevents_loop_alone(stack: Stack, user: str) -> None:
    with stack.listen(user), stack.listen(user):
        _, *workers = stack.pids()["gunicorn"]
        for pid in workers:
            kinds = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]
            assert kinds.count("anon_inode:[eventpoll]") == 1


def test_without_what_only_linux_has_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(_NO_LINUX)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stack = Stack(tmp_path / "data", workers=1)
    try:
        with stack.listen(user) as source:
            event = stack.publish(user=user, data="x")
            source.wait_ids(event)
        assert stack.stop() == 0
        assert "Traceback" not in stack.output
    finally:
        stack.stop()


def test_epoll_is_not_to_be_had_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.from_env({}).poller == "epoll"
    monkeypatch.delattr("select.epoll")
    assert Settings.from_env({}).poller == "gevent"
    with pytest.raises(ConfigError, match=r"^PUSHSVC_POLLER is 'epoll': should be gevent: this system has no epoll$"):
        Settings.from_env({"PUSHSVC_POLLER": "epoll"})
