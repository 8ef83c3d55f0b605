"""The WSGI entry point: `gunicorn -k pushsvc.server.worker.PushWorker app:app`."""

import os
import sys

from pushsvc import create_app
from pushsvc.checks.by_hand import look_once
from pushsvc.checks.remarks import tell
from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.telemetry import spans
from pushsvc.telemetry.logs import install

tell(os.environ)
try:
    settings = Settings.from_env(os.environ)
    install(settings.log_format, requests=settings.log_requests, events=settings.log_events)
    spans.start(os.environ)
    app = create_app(settings)
    look_once(settings)
except ConfigError as error:
    print(f"pushsvc: {error.detail}", file=sys.stderr)
    sys.exit(4)  # what gunicorn takes as "the application cannot be loaded": it stops instead of trying for ever
