"""How gunicorn runs this service; `python -m pushsvc serve` uses it, and `gunicorn -c python:pushsvc.gunicorn_conf`
does. Gunicorn reads the names below (its documentation, "Settings")."""

import os

from pushsvc.config import Settings

_settings = Settings.from_env(os.environ)

bind = _settings.app
workers = _settings.workers
worker_class = "pushsvc.worker.PushWorker"
worker_connections = _settings.max_connections + 1000  # the service itself refuses with 503 well before gunicorn stalls
backlog = 16384  # where a crowd waits; the kernel makes it net.core.somaxconn if that is less
timeout = 30  # seconds without a sign of life before a worker is killed
graceful_timeout = int(_settings.drain_seconds) + 10
keepalive = 75  # seconds; longer than nginx keeps an idle upstream connection, so that nginx closes first
limit_request_line = 8190  # bytes, the most gunicorn has; many topics make a long line
max_requests = 0  # a worker that restarted by itself would throw out its connections
control_socket_disable = True  # its default path is shared by all instances of a user
forwarded_allow_ips = "*" if bind.startswith("unix:") else "127.0.0.1,::1"
accesslog = None
loglevel = "warning"
