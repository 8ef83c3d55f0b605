"""Gunicorn's settings for this service, for `python -m pushsvc serve` and for
`gunicorn -c pushsvc/server/gunicorn_conf.py`. Gunicorn's master runs this file when it starts and with each reload
(SIGHUP), and reads the names below (gunicorn's documentation, "Settings")."""

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import Any

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until gunicorn takes it: no traceback from the middle of an import

# Workers inherit the modules that the master has loaded. So a reload must load them again, or new workers would run old
# code. The exception is the shared memory by which old workers see that the new ones are ready.
_kept = {__name__, "pushsvc.server.reload", "pushsvc.shifts"}  # the last: as it was named up to 0.3
for _name in [name for name in sys.modules if name.partition(".")[0] == "pushsvc" and name not in _kept]:
    del sys.modules[_name]

from pushsvc.checks.remarks import tell  # noqa: E402
from pushsvc.config import Settings  # noqa: E402
from pushsvc.errors import ConfigError  # noqa: E402
from pushsvc.server.limits import LONGEST_LINE, MOST_FIELDS  # noqa: E402
from pushsvc.server.stopping import graceful_timeout as _graceful_timeout  # noqa: E402
from pushsvc.settings.upstreams import hold  # noqa: E402

tell(os.environ)
try:
    _settings = Settings.from_env(os.environ)
    if _wrong := hold(_settings.llm_upstreams, os.environ):
        print(f"pushsvc: {_wrong}", file=sys.stderr)
except ConfigError as error:
    sys.exit(f"pushsvc: {error.detail}")

bind = _settings.app
workers = _settings.workers
worker_class = "pushsvc.server.worker.PushWorker"
worker_connections = _settings.max_connections + 1000  # the service itself refuses with 503 well before gunicorn stalls
backlog = 16384  # connections that wait in the kernel; the kernel lowers it to net.core.somaxconn
timeout = 30  # seconds without a sign of life before a worker is killed
graceful_timeout = _graceful_timeout(_settings.drain_seconds)
keepalive = 75  # seconds; longer than nginx keeps an idle upstream connection, so that nginx closes first
limit_request_line = 8190  # bytes, the most that gunicorn's own workers take; ours takes more: pushsvc/server/limits.py
limit_request_fields = MOST_FIELDS
limit_request_field_size = LONGEST_LINE  # bytes
max_requests = 0  # a worker that restarted by itself would throw out its connections
control_socket_disable = True  # its default path is shared by all instances of a user
# The application decides which proxies to trust about address and scheme (pushsvc/server/forwarding.py).
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
# With gunicorn's option --proxy-protocol: whose headers are believed; others' are refused.
proxy_allow_ips = ",".join(["127.0.0.1", "::1", *_settings.trusted_proxies])
accesslog = None
logger_class = "pushsvc.server.log.logger"
loglevel = "warning"


def on_starting(arbiter: Any) -> None:
    """Make gunicorn's master remove the file of a unix socket only after its workers have ended. Gunicorn itself
    removes it at the beginning of the stop, while workers still accept connections there."""
    gc.freeze()  # what is loaded now stays for good: no collection looks at it, here or in a worker
    stop = arbiter.stop

    def stop_and_unlink(graceful: bool = True) -> None:
        if arbiter.systemd or arbiter.reexec_pid or arbiter.master_pid:  # then others use the file
            stop(graceful)
            return
        names = [each.getsockname() for each in arbiter.LISTENERS]
        files = {name: os.stat(name) for name in names if isinstance(name, str) and os.path.exists(name)}
        arbiter.systemd = True  # makes gunicorn leave the files
        stop(graceful)
        for name, was in files.items():
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(name), was):  # else another process has made a file of this name
                    os.unlink(name)

    arbiter.stop = stop_and_unlink
